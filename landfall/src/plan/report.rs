//! The shape that is printed. Other programs read it: fields are added, never renamed or removed.

use std::net::IpAddr;

use serde::Serialize;

/// All that a plan says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    pub(super) config: Config,
    pub(super) services: Vec<Service>,
    pub(super) layer2: Vec<Layer2>,
    pub(super) bgp: Bgp,
}

/// Whether the configuration can be in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Config {
    /// False when any error is not transient.
    pub(super) valid: bool,
    pub(super) errors: Vec<ConfigError>,
}

/// Why an object is not in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ConfigError {
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    /// Empty when the whole object is meant.
    pub(super) field: String,
    pub(super) reason: String,
    pub(super) message: String,
    /// It waits for an object that is not there yet.
    pub(super) transient: bool,
}

/// What a Service gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Service {
    pub(super) namespace: String,
    pub(super) name: String,
    /// What its status would say.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) pool: Option<String>,
    /// Whether the addresses are others than those in its status.
    pub(super) changed: bool,
    pub(super) reason: String,
    pub(super) message: String,
    /// `N:` or `W:` and the reason of each event.
    pub(super) events: Vec<String>,
    /// The pools that do not serve it.
    pub(super) rejected: Vec<RejectedPool>,
}

/// A pool that does not serve a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RejectedPool {
    pub(super) pool: String,
    pub(super) reason: String,
}

/// Who answers for an address of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Layer2 {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) address: IpAddr,
    pub(super) owner: Option<String>,
    /// The node that `landfall.dev/preferred-node` names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) preferred: Option<Candidate>,
    /// The interfaces that advertisements limit the owner to.
    pub(super) interfaces: Vec<String>,
    /// Every node.
    pub(super) candidates: Vec<Candidate>,
}

/// A node that may own an address, or may not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Candidate {
    pub(super) node: String,
    pub(super) eligible: bool,
    pub(super) reason: String,
}

/// Who announces what to whom by BGP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Bgp {
    pub(super) services: Vec<BgpService>,
    pub(super) updates: Vec<Update>,
}

/// The nodes that announce a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct BgpService {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) nodes: Vec<String>,
    pub(super) rejected: Vec<RejectedNode>,
}

/// A node that does not announce a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RejectedNode {
    pub(super) node: String,
    pub(super) reason: String,
}

/// A route that a node tells a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Update {
    pub(super) node: String,
    pub(super) peer: String,
    pub(super) prefix: String,
    pub(super) local_pref: u32,
    pub(super) as_path_prepend: u8,
    pub(super) communities: Vec<String>,
    /// `NAMESPACE/NAME` of each.
    pub(super) services: Vec<String>,
}
