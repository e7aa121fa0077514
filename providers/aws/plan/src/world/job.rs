//! What the shell is asked to do, and what it answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use landfall_model::ServiceKey;

use crate::{
    Event, GateCondition, InstanceId, Listener, Listing, ListingStart, LoadBalancerArn, LoadBalancerState,
    Map, Need, Op, Outcome, SecurityGroupId, Target, TargetState, Verdict,
};

/// Requests to AWS. Jobs of different slots may run at the same time; the world never has two of one slot under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// A complete listing.
    List(ListingStart),
    /// `DescribeLoadBalancers` of these, for their states.
    States(BTreeSet<LoadBalancerArn>),
    /// What a plan asks for.
    Describe(Need, ListingStart),
    /// `DescribeInstances` of these, for their interfaces.
    Instances(BTreeSet<InstanceId>),
    /// A call that changes something, the next one of its line.
    Call(Line, Op),
}

/// What was asked, for people.
impl std::fmt::Display for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::List(_) => f.write_str("listing what AWS has"),
            Self::States(_) => f.write_str("asking for the states of load balancers"),
            Self::Describe(need, _) => write!(f, "asking for {need}"),
            Self::Instances(_) => f.write_str("asking for instances"),
            Self::Call(_, op) => f.write_str(op.kind().as_str()),
        }
    }
}

/// Calls of one line are sent one after the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    /// Of one Service.
    Service(ServiceKey),
    /// Rules on the groups of nodes and pods.
    Backend,
    /// What is left of a Service that is gone.
    Garbage(ServiceKey),
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Service(key) => key.fmt(f),
            Self::Backend => f.write_str("groups of nodes and pods"),
            Self::Garbage(key) => write!(f, "garbage of {key}"),
        }
    }
}

/// What can be under way once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    Listing,
    States,
    Instances,
    Need(Need),
    Line(Line),
}

/// Which job goes first where several wait to be sent: the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    /// Nobody waits for it, or only a load balancer that has never served.
    pub(crate) later: bool,
    /// The order in which Services began to change: what is begun is finished before something else.
    pub(crate) since: u64,
}

impl Turn {
    /// Waits for nothing else.
    pub const FIRST: Self = Self { later: false, since: 0 };
    /// Waits for everything else.
    pub const LAST: Self = Self { later: true, since: u64::MAX };
}

impl Job {
    pub(crate) fn slot(&self) -> Slot {
        match self {
            Self::List(_) => Slot::Listing,
            Self::States(_) => Slot::States,
            Self::Instances(_) => Slot::Instances,
            Self::Describe(need, _) => Slot::Need(need.clone()),
            Self::Call(line, _) => Slot::Line(line.clone()),
        }
    }
}

/// What became of a [`Job`] that succeeded.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Of [`Job::List`].
    Listing(Box<Listing>),
    /// Of [`Job::States`], with the reason of each. One that is not named is gone.
    States(BTreeMap<LoadBalancerArn, (LoadBalancerState, Option<String>)>),
    /// Of [`Need::LoadBalancer`].
    LoadBalancer {
        /// `DescribeLoadBalancerAttributes`.
        attributes: Map,
        /// `DescribeListeners` and what belongs to them, by port.
        listeners: BTreeMap<u16, Listener>,
    },
    /// Of [`Need::Capacity`]: `CapacityUnits`.
    Capacity(i32),
    /// Of [`Need::TargetGroup`]: `DescribeTargetGroupAttributes`.
    TargetGroup(Map),
    /// Of [`Need::Targets`]: `DescribeTargetHealth`.
    Targets(BTreeMap<Target, TargetState>),
    /// Of [`Need::RouteTables`].
    RouteTables(RouteTables),
    /// Of [`Job::Instances`]. One that is not named does not exist or does not run.
    Instances(BTreeMap<InstanceId, Vec<Interface>>),
    /// Of [`Job::Call`].
    Called(Outcome),
}

/// Which subnets reach an internet gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTables {
    /// By the subnets that a table names.
    pub explicit: BTreeMap<crate::SubnetId, bool>,
    /// Of all other subnets: the VPC's main table.
    pub main: bool,
}

/// A network interface of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// `Groups`, in their order.
    pub groups: Vec<SecurityGroupId>,
    /// Its addresses, of nodes and pods.
    pub addresses: BTreeSet<IpAddr>,
    /// Prefixes that are delegated to it.
    pub prefixes: Vec<IpNet>,
}

/// Interfaces of instances that were asked for; `None` for those that do not exist or do not run.
pub type Instances = BTreeMap<InstanceId, Option<Vec<Interface>>>;

impl Interface {
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address) || self.prefixes.iter().any(|prefix| prefix.contains(&address))
    }
}

/// Why a [`Job`] did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whether and when to try again.
    pub kind: FailureKind,
    /// AWS's error code, or a word for what went wrong before there was one.
    pub code: String,
    /// For people, without request ids, so that equal events are counted together.
    pub message: String,
}

/// What a failure means for the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// Too many calls: the same call helps, soon.
    Throttled,
    /// Something else has to go or to end first; AWS takes seconds to minutes for that.
    Busy,
    /// An object that was known is gone, or one that was not is there: list again.
    Stale,
    /// A quota is used up, a right is missing, or AWS does not take the value: somebody has to act.
    Refused,
    /// No usable answer.
    Unavailable,
}

impl FailureKind {
    /// Its word in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Busy => "busy",
            Self::Stale => "stale",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Something to write to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The Service.
    pub service: ServiceKey,
    /// Its `metadata.uid`: nothing is written to a successor.
    pub uid: Box<str>,
    /// What.
    pub what: Written,
}

/// What is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// Add (or remove) [`crate::FINALIZER`].
    Finalizer(bool),
    /// The status.
    Status(Status),
    /// An event.
    Event(Event, String),
    /// A condition of a Pod.
    Gate(GateCondition),
    /// The annotation [`crate::REGISTERED`]; `None` takes it away.
    Ledger(Option<String>),
}

/// The status of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What becomes of `status.loadBalancer`.
    pub hostname: Hostname,
    /// The condition; `None` takes it away.
    pub verdict: Option<Verdict>,
}

/// What becomes of `status.loadBalancer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hostname {
    /// It stays.
    Leave,
    /// It is emptied: no name answers.
    Clear,
    /// It is this one, lower-cased.
    Publish(String),
}
