//! What one Service shall have in AWS: its stack. Made by [`Stack::resolve`], compared with the inventory by
//! [`crate::plan`].

use std::collections::{BTreeMap, BTreeSet};

use landfall_model::ServiceKey;

use crate::{
    AddressType, Alpn, CreateTargetGroup, Forward, IpPermission, ListenerProtocol, LoadBalancerArn, Map,
    Scheme, SecurityGroupId, SubnetMapping, TargetGroupArn, names,
};

/// All that one Service shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// The Service.
    pub key: ServiceKey,
    /// Its front-end group, if one is made for it.
    pub security_group: Option<WantedSecurityGroup>,
    /// Its load balancer.
    pub load_balancer: WantedLoadBalancer,
    /// Its target groups, by the value of [`crate::tags::RESOURCE`].
    pub target_groups: BTreeMap<String, WantedTargetGroup>,
    /// Its listeners, by port.
    pub listeners: BTreeMap<u16, WantedListener>,
    /// Sources of traffic that nodes and pods must let in.
    pub backend: BackendAccess,
}

impl Stack {
    /// The value of [`crate::tags::FINGERPRINT`] once everything is in place.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        names::digest(&format!("1 {self:?}"))[..16].to_owned()
    }
}

/// The front-end group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedSecurityGroup {
    /// `GroupName`.
    pub name: String,
    /// `Description`.
    pub description: String,
    /// Exactly these rules.
    pub ingress: BTreeSet<IpPermission>,
    /// All its tags.
    pub tags: Map,
}

/// The load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedLoadBalancer {
    /// The name of one that must be made; a live one keeps its own.
    pub name: String,
    /// Its scheme.
    pub scheme: Scheme,
    /// Its address type.
    pub address_type: AddressType,
    /// Its subnets, in order.
    pub subnets: Vec<SubnetMapping>,
    /// Its security groups.
    pub groups: FrontendGroups,
    /// `on` or `off`, where asked for.
    pub private_link_rules: Option<String>,
    /// IPv6 source NAT.
    pub source_nat: bool,
    /// Attributes that are managed; all others are left alone.
    pub attributes: Map,
    /// Capacity, where asked for.
    pub capacity_units: Option<i32>,
    /// All its tags but the fingerprint.
    pub tags: Map,
    /// Somebody else's to use: only our listeners on it are managed, and it is never deleted.
    pub adopted: Option<LoadBalancerArn>,
    /// A new one serves before an old one of another scheme is deleted.
    pub create_before_delete: bool,
}

/// Which security groups a load balancer carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrontendGroups {
    /// None, and so for ever.
    None,
    /// The one made for it.
    Managed {
        /// The shared back-end group too.
        backend: bool,
    },
    /// Those of the annotation.
    Given {
        /// Theirs.
        groups: BTreeSet<SecurityGroupId>,
        /// The shared back-end group too.
        backend: bool,
    },
}

impl FrontendGroups {
    /// Whether the shared back-end group belongs to them.
    #[must_use]
    pub const fn backend(&self) -> bool {
        match self {
            Self::None => false,
            Self::Managed { backend } | Self::Given { backend, .. } => *backend,
        }
    }
}

/// Where a listener shall send what it accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedForward {
    /// Target groups with their weights.
    pub groups: Vec<(WantedGroup, u16)>,
    /// A client stays with a group.
    pub sticky: bool,
}

/// A target group of a [`WantedForward`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WantedGroup {
    /// Key in [`Stack::target_groups`].
    Own(String),
    /// Somebody else's.
    Given(TargetGroupArn),
}

impl WantedForward {
    /// To one group of the stack.
    #[must_use]
    pub fn to(resource: String) -> Self {
        Self { groups: vec![(WantedGroup::Own(resource), 1)], sticky: false }
    }

    /// Keys of the groups of the stack.
    pub fn own(&self) -> impl Iterator<Item = &str> {
        self.shares().map(|(resource, _)| resource)
    }

    /// Whether traffic goes to that group of the stack.
    #[must_use]
    pub fn serves(&self, resource: &str) -> bool {
        self.shares().any(|(own, weight)| own == resource && (weight > 0 || self.groups.len() == 1))
    }

    /// With ARNs; `None` while one of the groups is not there.
    pub(crate) fn resolved(&self, groups: &BTreeMap<&str, TargetGroupArn>) -> Option<Forward> {
        let arn = |group: &WantedGroup| match group {
            WantedGroup::Own(resource) => groups.get(resource.as_str()).cloned(),
            WantedGroup::Given(arn) => Some(arn.clone()),
        };
        let all = self.groups.iter().map(|(group, weight)| Some((arn(group)?, *weight)));
        Forward::among(all.collect::<Option<Vec<_>>>()?, self.sticky)
    }

    fn shares(&self) -> impl Iterator<Item = (&str, u16)> {
        self.groups.iter().filter_map(|(group, weight)| match group {
            WantedGroup::Own(resource) => Some((resource.as_str(), *weight)),
            WantedGroup::Given(_) => None,
        })
    }
}

/// One target group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedTargetGroup {
    /// The Service whose nodes or pods are its targets, and the number of that Service's port.
    pub of: (ServiceKey, u16),
    /// How it is made; a live one keeps its name and port.
    pub create: CreateTargetGroup,
    /// Attributes that are managed; all others are left alone.
    pub attributes: Map,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedListener {
    /// Its protocol.
    pub protocol: ListenerProtocol,
    /// Where it sends what it accepts.
    pub forward: WantedForward,
    /// Its default certificate.
    pub certificate: Option<String>,
    /// Certificates for other names.
    pub more_certificates: BTreeSet<String>,
    /// Its TLS policy.
    pub ssl_policy: Option<String>,
    /// Its ALPN policy.
    pub alpn: Option<Alpn>,
    /// Attributes that are managed.
    pub attributes: Map,
    /// All its tags; empty where listeners are not tagged.
    pub tags: Map,
}

/// Whence nodes and pods must let traffic in, for [`crate::backend`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendAccess {
    /// Rules are managed at all.
    pub managed: bool,
    /// Traffic and health checks of the load balancer come from the shared back-end group (else from its front-end group).
    pub from_backend_group: bool,
    /// Legacy mode, for a load balancer without groups: sources by block.
    pub blocks: BTreeSet<ipnet::IpNet>,
}
