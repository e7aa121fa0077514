//! What a plan waits for, in types: nothing is done without a reason that can be shown.

use landfall_model::Instant;

use crate::{LoadBalancerArn, SecurityGroupId, TargetGroupArn};

/// What can be done now, what cannot and why, and when to ask again without being woken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan<Op> {
    /// Operations whose inputs have all been observed, in the order to send them. The first error ends the pass, and the
    /// next plan starts from what was recorded.
    pub ready: Vec<Op>,
    /// What keeps the rest from being ready. Empty together with `ready` means: in place.
    pub waiting: Vec<Waiting>,
    /// Plan again at this time even if nothing is observed.
    pub recheck: Option<Instant>,
}

impl<Op> Plan<Op> {
    /// A plan that does nothing and waits for nothing.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { ready: Vec::new(), waiting: Vec::new(), recheck: None }
    }

    /// Whether everything is in place.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.ready.is_empty() && self.waiting.is_empty()
    }
}

/// What a plan waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waiting {
    /// The first complete listing.
    Inventory,
    /// An answer of AWS that the shell has to fetch.
    Need(Need),
    /// Whether the instances of new targets run, which the shell has to ask.
    Instances,
    /// The Service does not remember yet that new targets are its own, so they are not registered; see [`crate::ledger()`].
    Ledger,
    /// Operations of this plan that come before: plan again once they are recorded.
    Earlier,
    /// The shared back-end group, which [`crate::backend::plan`] makes.
    BackendGroup,
    /// The load balancer is `provisioning`; it takes minutes. The hostname is published when it is active.
    Provisioning(LoadBalancerArn),
    /// A new target is not healthy yet, so the one it replaces stays.
    Replacement(TargetGroupArn),
    /// A new load balancer is not active or has no healthy target yet, so the old one stays.
    Successor(LoadBalancerArn),
    /// Load balancers still use the group.
    GroupInUse(SecurityGroupId),
    /// An object that is not this Service's has the name that is needed; names are unique in a region.
    NameTaken(String),
    /// A listener that is not this Service's has the port on an adopted load balancer.
    PortTaken(LoadBalancerArn, u16),
}

/// A describe that the plan depends on; the shell sends it, puts the answer in the inventory and plans again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Attributes and listeners (with certificates, attributes and tags) of a load balancer.
    LoadBalancer(LoadBalancerArn),
    /// `DescribeCapacityReservation`.
    Capacity(LoadBalancerArn),
    /// Attributes of a target group.
    TargetGroup(TargetGroupArn),
    /// `DescribeTargetHealth`.
    Targets(TargetGroupArn),
    /// `DescribeRouteTables` of the VPC, to fill in [`crate::Subnet::public`].
    RouteTables,
}

impl Need {
    /// The ARN that it is about, if it is about one object.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::LoadBalancer(arn) | Self::Capacity(arn) => Some(arn.as_str()),
            Self::TargetGroup(arn) | Self::Targets(arn) => Some(arn.as_str()),
            Self::RouteTables => None,
        }
    }
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LoadBalancer(arn) => write!(f, "the attributes and listeners of {arn}"),
            Self::Capacity(arn) => write!(f, "the capacity of {arn}"),
            Self::TargetGroup(arn) => write!(f, "the attributes of {arn}"),
            Self::Targets(arn) => write!(f, "the targets of {arn}"),
            Self::RouteTables => f.write_str("the route tables of the VPC"),
        }
    }
}

impl Waiting {
    /// Whether the Service's objects are not all as wanted while this lasts. The others only delay what follows on its own.
    #[must_use]
    pub const fn blocks(&self) -> bool {
        match self {
            Self::Provisioning(_) | Self::Replacement(_) | Self::Need(Need::Targets(_)) => false,
            Self::Inventory
            | Self::Need(
                Need::LoadBalancer(_) | Need::Capacity(_) | Need::TargetGroup(_) | Need::RouteTables,
            )
            | Self::Instances
            | Self::Ledger
            | Self::Earlier
            | Self::BackendGroup
            | Self::Successor(_)
            | Self::GroupInUse(_)
            | Self::NameTaken(_)
            | Self::PortTaken(..) => true,
        }
    }

    /// The reason word for conditions and metrics; a closed set.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Inventory => "Inventory",
            Self::Need(_) | Self::Instances => "Observation",
            Self::Earlier | Self::Ledger => "Applying",
            Self::BackendGroup => "BackendSecurityGroup",
            Self::Provisioning(_) => "Provisioning",
            Self::Replacement(_) => "ReplacementNotHealthy",
            Self::Successor(_) => "SuccessorNotReady",
            Self::GroupInUse(_) => "SecurityGroupInUse",
            Self::NameTaken(_) => "NameTaken",
            Self::PortTaken(..) => "PortTaken",
        }
    }
}
