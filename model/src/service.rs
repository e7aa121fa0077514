use std::{collections::BTreeMap, fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::{Family, Labels, Reason};

/// The name of a Service, ordered by namespace, then name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceKey {
    /// `metadata.namespace`.
    pub namespace: Box<str>,
    /// `metadata.name`.
    pub name: Box<str>,
}

impl ServiceKey {
    /// The key of `namespace`/`name`.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What Landfall reads of one Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServiceView {
    /// Namespace and name.
    pub key: ServiceKey,
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// `metadata.resourceVersion`, opaque; a write that names an older one is refused by the API server.
    pub resource_version: Box<str>,
    /// `metadata.generation`, for `observedGeneration` of conditions; 0 where the API server keeps none.
    pub generation: i64,
    /// `metadata.creationTimestamp` in seconds since 1970; orders Services by age (ties: by key).
    pub created: i64,
    /// `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// `spec.type` is `LoadBalancer`.
    pub load_balancer: bool,
    /// `spec.loadBalancerClass` (KEP-1959).
    pub class: Option<Box<str>>,
    /// `metadata.labels`.
    pub labels: Labels,
    /// What its annotations and `spec.loadBalancerIP` ask for.
    pub requests: Requests,
    /// Families of its cluster addresses, in the order of `spec.clusterIPs`; empty while it has none.
    pub cluster_families: Vec<Family>,
    /// `spec.ipFamilyPolicy`.
    pub family_policy: FamilyPolicy,
    /// `spec.externalTrafficPolicy`.
    pub traffic_policy: TrafficPolicy,
    /// `spec.sessionAffinity` is `ClientIP`.
    pub client_affinity: bool,
    /// `spec.selector`.
    pub selector: BTreeMap<String, String>,
    /// `spec.ports`.
    pub ports: Vec<PortSpec>,
    /// `spec.healthCheckNodePort`; set for policy Local only.
    pub health_check_node_port: Option<NodePort>,
    /// `status.loadBalancer.ingress`.
    pub ingress: Vec<Ingress>,
    /// Our own entries of `status.conditions`, those whose type begins with `landfall.dev/`.
    pub conditions: Vec<Condition>,
}

impl ServiceView {
    /// The addresses of `status.loadBalancer.ingress`, in its order; hostname entries are left out.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.ingress.iter().filter_map(|ingress| match ingress {
            Ingress::Address { address, .. } => Some(*address),
            Ingress::Other(_) | Ingress::Unreadable(_) => None,
        })
    }
}

/// What a Service asks for beside its spec. Where both prefixes are present, `metallb.io/` wins over
/// `metallb.universe.tf/`, even with an empty value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Requests {
    /// `address-pool`: allocate from this pool only.
    pub pool: Option<Box<str>>,
    /// `loadBalancerIPs`, as written: one address, or one of each family with a comma between.
    pub addresses: Option<Box<str>>,
    /// `spec.loadBalancerIP`, as written.
    pub load_balancer_ip: Option<Box<str>>,
    /// `allow-shared-ip`: the sharing key. An empty key shares nothing.
    pub sharing_key: Option<Box<str>>,
    /// `ip-allocated-from-pool`, which the controller writes; see [`Requests::pools_held`].
    pub allocated_from: Option<Box<str>>,
    /// A `metallb.universe.tf/` annotation is in use.
    pub deprecated_annotation: bool,
    /// Annotations of the AWS Load Balancer Controller claim the Service for it, although it has no class.
    #[serde(default)]
    pub aws: bool,
    /// `landfall.dev/forwarding`, as written; `Err` holds an unknown value.
    pub forwarding: Option<Result<Forwarding, Box<str>>>,
    /// `landfall.dev/health-check`, as written; `Err` holds an unknown value.
    pub health_check: Option<Result<HealthCheck, Box<str>>>,
    /// `landfall.dev/preferred-node` and, beside it, `landfall.dev/move-requested`.
    #[serde(default)]
    pub preferred_node: Option<PreferredNode>,
}

/// The node that should announce a Service, when it can. A change of either part while speakers run asks for a move.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PreferredNode {
    /// Its name, as written; there may be no such node.
    pub node: Box<str>,
    /// What `landfall move` writes to ask again for the same node: any text that was not there before.
    pub requested: Box<str>,
}

impl Requests {
    /// The pools of `ip-allocated-from-pool`: one, or two with a comma between, if each family comes from its own.
    pub fn pools_held(&self) -> impl Iterator<Item = &str> {
        self.allocated_from.iter().flat_map(|pools| pools.split(',')).filter(|pool| !pool.is_empty())
    }
}

/// How the targets of a Service are asked whether they are well. Standalone only: in a cluster the kubelet asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HealthCheck {
    /// `tcp`: a connection can be opened.
    #[default]
    Tcp,
    /// `http:PATH`: a GET request for the path is answered with a status from 200 to 399.
    Http(Box<str>),
    /// `none`: nobody asks.
    None,
}

impl HealthCheck {
    /// The check of an annotation's value, if it names one. A path begins with a slash and has no spaces.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "tcp" => Some(Self::Tcp),
            "none" => Some(Self::None),
            _ => {
                let path = text.strip_prefix("http:").filter(|path| path.starts_with('/'))?;
                path.bytes().all(|byte| byte.is_ascii_graphic()).then(|| Self::Http(path.into()))
            }
        }
    }
}

/// How packets for a Service's address are brought to its endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Forwarding {
    /// The owner's own kube-proxy takes them (`ipMode: VIP`).
    #[default]
    Announce,
    /// The owner sends them to the NodePorts of healthy nodes (`ipMode: Proxy`).
    NodePort,
}

impl Forwarding {
    /// The annotation's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Announce => "announce",
            Self::NodePort => "node-port",
        }
    }

    /// The mode of an annotation's value, if it names one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Announce, Self::NodePort].into_iter().find(|mode| mode.as_str() == text)
    }

    /// What `status.loadBalancer.ingress[].ipMode` says for it (KEP-1860).
    #[must_use]
    pub const fn ip_mode(self) -> IpMode {
        match self {
            Self::Announce => IpMode::Vip,
            Self::NodePort => IpMode::Proxy,
        }
    }
}

/// `spec.ipFamilyPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FamilyPolicy {
    /// One family.
    #[default]
    SingleStack,
    /// Two if the cluster has two.
    PreferDualStack,
    /// Two or nothing.
    RequireDualStack,
}

/// `spec.externalTrafficPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TrafficPolicy {
    /// Any endpoint of the cluster.
    #[default]
    Cluster,
    /// Only endpoints on the node that takes the packet; the client's address survives.
    Local,
}

/// A transport protocol of a Service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// The name that Kubernetes uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

/// A port that kube-proxy opens on every node for a Service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodePort(pub u16);

/// One entry of `spec.ports`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortSpec {
    /// `name`, empty for a single unnamed port.
    pub name: Box<str>,
    /// `protocol`.
    pub protocol: Protocol,
    /// `port`, the one that clients use.
    pub port: u16,
    /// `nodePort`, missing with `allocateLoadBalancerNodePorts: false` (KEP-1864).
    pub node_port: Option<NodePort>,
}

/// One entry of `status.loadBalancer.ingress`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Ingress {
    /// An entry with a parseable `ip`.
    Address {
        /// `ip`.
        address: IpAddr,
        /// `ipMode`; `VIP` where it is missing, as the API server defaults it.
        mode: IpMode,
    },
    /// An entry with a `hostname` and no `ip`.
    Other(Box<str>),
    /// An entry with an `ip` that cannot be read, or with nothing: its text. No API server stores one.
    Unreadable(Box<str>),
}

/// `status.loadBalancer.ingress[].ipMode` (KEP-1860).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum IpMode {
    /// Packets arrive with the address as destination; kube-proxy handles them on every node.
    #[default]
    Vip,
    /// Packets arrive at the node with another destination; kube-proxy must leave the address alone.
    Proxy,
}

impl IpMode {
    /// The name that Kubernetes uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vip => "VIP",
            Self::Proxy => "Proxy",
        }
    }
}

/// One of our own conditions on a Service. The time of its last transition is the writer's business.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Condition {
    /// `type`, such as `landfall.dev/Allocated`.
    pub kind: Box<str>,
    /// `status`: true or false; `Unknown` is never written by us.
    pub status: bool,
    /// `reason`.
    pub reason: Reason,
    /// `message`, for people.
    pub message: Box<str>,
    /// `observedGeneration`.
    pub generation: i64,
}
