//! The names that Landfall reads and writes on objects of the API server: annotations, labels, conditions,
//! events, field managers. They are part of the interface and never change.

/// API group of the kinds that Landfall shares with MetalLB.
pub const GROUP: &str = "metallb.io";

/// Annotations, where nothing else is said on a Service.
pub mod annotation {
    /// Prefix that wins over [`LEGACY_PREFIX`], even with an empty value.
    pub const PREFIX: &str = "metallb.io/";
    /// Prefix that MetalLB had before; read, never written.
    pub const LEGACY_PREFIX: &str = "metallb.universe.tf/";
    /// Prefix of what MetalLB does not know.
    pub const OURS: &str = "landfall.dev/";
    /// Allocate from this pool only (either prefix).
    pub const ADDRESS_POOL: &str = "address-pool";
    /// Addresses asked for, with commas between (either prefix).
    pub const LOAD_BALANCER_IPS: &str = "loadBalancerIPs";
    /// Sharing key (either prefix).
    pub const ALLOW_SHARED_IP: &str = "allow-shared-ip";
    /// The pool that the addresses come from; written by the controller.
    pub const ALLOCATED_FROM: &str = "metallb.io/ip-allocated-from-pool";
    /// Forwarding mode, `announce` or `node-port`.
    pub const FORWARDING: &str = "landfall.dev/forwarding";
    /// The node that should announce the Service: before others when nobody does, and by a planned move when it is changed.
    pub const PREFERRED_NODE: &str = "landfall.dev/preferred-node";
    /// When `landfall move` last asked for the preferred node; a new value asks for the same node again.
    pub const MOVE_REQUESTED: &str = "landfall.dev/move-requested";
    /// How targets are asked whether they are well, `tcp`, `http:PATH` or `none`; standalone only.
    pub const HEALTH_CHECK: &str = "landfall.dev/health-check";
    /// On an `IPAddressPool`: addresses that are never handed out; prefixes, ranges or single ones, with commas between.
    pub const EXCLUDE: &str = "landfall.dev/exclude";
    /// On an `IPAddressPool`: addresses for one Service each, `NAMESPACE/NAME=ADDRESS` with commas between.
    pub const RESERVE: &str = "landfall.dev/reserve";
    /// On an `IPAddressPool`: how many of its addresses the Services of one namespace may have.
    pub const QUOTA: &str = "landfall.dev/quota-per-namespace";
    /// On an `IPAddressPool`: how long an address that was given back waits before another Service gets it, such as `10m`.
    pub const QUARANTINE: &str = "landfall.dev/quarantine";
    /// On a `ServiceL2Status`: the interfaces that really announce, and why these, such as `eth0 (Subnet)`.
    pub const ANNOUNCED_ON: &str = "landfall.dev/announced-on";
    /// On a `ServiceL2Status`: what a peer found when it asked for the addresses on the wire, as JSON.
    pub const VERIFIED: &str = "landfall.dev/verified";
}

/// Labels.
pub mod label {
    /// The Service that an EndpointSlice belongs to.
    pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
    /// The name of a Namespace, which the API server sets on each.
    pub const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
    /// On the Namespace of each install, so that one does not refuse what is meant for another.
    pub const INSTALL: &str = "landfall.dev/install";
    /// Node of a `ServiceL2Status`.
    pub const STATUS_NODE: &str = "metallb.io/node";
    /// Name of the Service of a `ServiceL2Status`.
    pub const STATUS_SERVICE: &str = "metallb.io/service-name";
    /// Namespace of the Service of a `ServiceL2Status`.
    pub const STATUS_NAMESPACE: &str = "metallb.io/service-namespace";
    /// On a `ConfigurationState`: the program that says it, `controller` or `speaker`.
    pub const STATE_COMPONENT: &str = "metallb.io/component-type";
    /// On the `ConfigurationState` of a speaker: its node.
    pub const STATE_NODE: &str = "metallb.io/node-name";
}

/// Taints that say that a node is about to leave.
pub mod taint {
    /// The node has been shut down by hand (KEP-2268).
    pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
    /// The cluster autoscaler is about to delete the node (KEP-3836).
    pub const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";
}

/// Condition types on a Service; the types themselves are names of those who decide, see `landfall_plan::condition`.
pub mod condition {
    /// All of ours begin with it.
    pub const PREFIX: &str = "landfall.dev/";
}

/// Events; their reasons are names of those who decide, see `landfall_plan::event`.
pub mod event {
    /// Reporting component of the controller.
    pub const CONTROLLER: &str = "metallb-controller";
    /// Reporting component of the speakers.
    pub const SPEAKER: &str = "metallb-speaker";
}

/// Owners of fields in server-side apply.
pub mod manager {
    /// The controller.
    pub const CONTROLLER: &str = "landfall-controller";
    /// The speakers.
    pub const SPEAKER: &str = "landfall-speaker";
    /// `landfall move`, for the annotations that it writes to Services.
    pub const MOVE: &str = "landfall-move";
    /// The controller, in its `ConfigurationState`; MetalLB's name, so that what it wrote is taken over.
    pub const POOL_RECONCILER: &str = "poolReconciler";
    /// The speakers, each in its `ConfigurationState`; MetalLB's name.
    pub const CONFIG_RECONCILER: &str = "configReconciler";
}

/// The Lease by which the controllers agree on one that writes.
pub mod lease {
    /// Its name, in the namespace of the installation.
    pub const NAME: &str = "landfall-controller";
}

/// The Secret with the key of the speakers' heartbeats.
pub mod secret {
    /// Its default name.
    pub const NAME: &str = "memberlist";
    /// The entry of its data that holds the key.
    pub const KEY: &str = "secretkey";
}

/// Sixteen hexadecimal digits that stand for `parts` in the name of an object.
pub(crate) fn digest(parts: &[&str]) -> String {
    use sha2::{Digest as _, Sha256};
    let mut hash = Sha256::new();
    for part in parts {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The longest value of a label.
const LABEL_BYTES: usize = 63;

/// `text` as the value of a label. Node names may be longer than label values.
#[must_use]
pub fn label_value(text: &str) -> String {
    fitted(text, LABEL_BYTES)
}

/// `text` in so many bytes. Of one that is longer the end gives way to a digest that tells it from others.
pub(crate) fn fitted(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let digest = digest(&[text]);
    let start = &text[..text.floor_char_boundary(bytes - digest.len() - 1)];
    format!("{start}-{digest}")
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_fit_and_are_told_apart() {
        let long = "n".repeat(200);
        assert_eq!(label_value(&long).len(), LABEL_BYTES);
        assert_ne!(label_value(&long), label_value(&"n".repeat(201)));
        assert_eq!(label_value("n1"), "n1");
        assert_eq!(fitted(&long, 200), long);
    }
}
