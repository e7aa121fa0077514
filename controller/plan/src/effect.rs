use std::time::Duration;

use landfall_model::{Instant, ServiceKey, ServiceStatusWrite};
use landfall_pool::Counts;

/// Types of the conditions that are written on Services.
pub mod condition {
    /// True: the Service has the addresses that it should have. False: the reason says why not.
    pub const ALLOCATED: &str = "landfall.dev/Allocated";
    /// True: a node announces the addresses; the reason says whether that was verified on the wire. False: none does, or clients
    /// do not reach it. Missing until a node announced them once.
    pub const ANNOUNCED: &str = "landfall.dev/Announced";
    /// False: the forwarding mode asked for is not used, and why. Missing where all is well.
    pub const FORWARDING: &str = "landfall.dev/Forwarding";
}

/// Reasons of events; MetalLB's names. Beside them, events about forwarding have the name of their
/// [`landfall_model::Reason`].
pub mod event {
    /// Addresses were assigned.
    pub const IP_ALLOCATED: &str = "IPAllocated";
    /// No address could be assigned.
    pub const ALLOCATION_FAILED: &str = "AllocationFailed";
    /// An address was taken back, since the configuration does not allow it any more.
    pub const CLEAR_ASSIGNMENT: &str = "ClearAssignment";
    /// The addresses in a status are not one, or one of each family.
    pub const NO_LB_IPS_FAMILY: &str = "nolbIPsIPFamily";
    /// A second family is wanted and not to be had.
    pub const ADDITIONAL_ASSIGN_FAILED: &str = "AdditionalAssignFailed";
    /// The request of a Service that has an address cannot be read.
    pub const LOAD_BALANCER_FAILED: &str = "LoadBalancerFailed";
    /// `RequireDualStack` without two cluster addresses.
    pub const NOT_ENOUGH_CLUSTER_IPS: &str = "not enough clusterips";
    /// An annotation has the prefix `metallb.universe.tf/`.
    pub const DEPRECATED_ANNOTATION: &str = "deprecatedAnnotation";
}

/// What is to be done, and when to plan again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be carried out in this order: what is taken back stands before what is given away, and should be done
    /// before that begins; see [`ServiceStatusWrite::taken_back`].
    pub effects: Vec<Effect>,
    /// Plan again at this time even if nothing is observed until then.
    pub recheck: Option<Instant>,
}

/// One thing to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write the status of a Service; report back by [`crate::World::written`].
    Service(Box<ServiceStatusWrite>),
    /// Emit an event about a Service.
    Event {
        /// The Service.
        service: ServiceKey,
        /// Its `metadata.uid`.
        uid: Box<str>,
        /// `Warning` rather than `Normal`.
        warning: bool,
        /// A name of [`event`], or that of a [`landfall_model::Reason`].
        reason: &'static str,
        /// For people.
        message: String,
    },
    /// Write the status of a pool; report back by [`crate::World::pool_written`].
    PoolStatus {
        /// The pool.
        pool: Box<str>,
        /// What its status shall show.
        counts: Counts,
    },
}

/// What came of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Applied {
        /// The new `metadata.resourceVersion`, where the writer knows it. Without it the next write of this Service
        /// waits for the watch to show this one, at most a second.
        resource_version: Option<Box<str>>,
    },
    /// The object has changed since; it is planned again once the change is observed.
    Conflict,
    /// The object is gone, or another one of its name is there.
    Gone,
    /// The server refuses it, which somebody has to mend; it is tried again after 100 ms, doubling up to 60 s.
    Refused,
    /// There was no answer; it is tried again after 100 ms, doubling up to 5 s, so that little time is lost when the
    /// server is back, or after `retry_after` if that is longer.
    Failed {
        /// What the server asked for.
        retry_after: Option<Duration>,
    },
}
