use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Labels, Reason};

/// The label that takes a node out of load balancing, whatever its value.
pub const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// What Landfall reads of one Node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeView {
    /// `metadata.name`.
    pub name: Box<str>,
    /// `metadata.labels`.
    pub labels: Labels,
    /// `status.addresses` of type `InternalIP`, in their order.
    pub addresses: Vec<IpAddr>,
    /// The condition `Ready` is `True`.
    pub ready: bool,
    /// The condition `NetworkUnavailable` is `True`.
    pub network_unavailable: bool,
    /// The taint `node.kubernetes.io/out-of-service` or `ToBeDeletedByClusterAutoscaler` is there.
    pub leaving: bool,
}

impl NodeView {
    /// Whether [`EXCLUDE_LABEL`] is set.
    #[must_use]
    pub fn excluded(&self) -> bool {
        self.labels.contains_key(EXCLUDE_LABEL)
    }

    /// Why the node announces nothing, whatever the protocol. The order of the checks is the order in which reasons are
    /// told.
    #[must_use]
    pub fn refusal(&self, ignore_exclude_lb: bool) -> Option<Reason> {
        if self.network_unavailable {
            Some(Reason::NetworkUnavailable)
        } else if self.excluded() && !ignore_exclude_lb {
            Some(Reason::NodeExcluded)
        } else {
            self.leaving.then_some(Reason::NodeLeaving)
        }
    }
}
