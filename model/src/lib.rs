//! The words that every part of Landfall shares: Services, pools, nodes, addresses and reasons. Pure: no IO,
//! no clock, no entropy. The IO sibling that turns Kubernetes objects into these values is
//! `landfall-kubernetes`.
//!
//! Values are parsed once, at the edge. What a type of this crate holds is already valid, so the crates above
//! need not check it again. They can be written with `serde`, for a node's memory; that form is not an interface.

mod address;
mod advertisement;
mod announcement;
mod assigned;
mod bgp;
mod classes;
mod endpoints;
mod node;
mod observation;
mod pool;
mod reason;
mod selector;
mod service;
mod service_write;
mod time;

pub use address::{AddressRange, Family, RangeError};
pub use advertisement::{L2Advertisement, NodePreference};
pub use announcement::{Announcement, Verdict, Verification};
pub use assigned::Assigned;
pub use bgp::{
    BfdProfile, BgpAdvertisement, BgpPeer, Communities, Community, CommunityError, CommunityName,
    PeerEndpoint, PeerPassword, RemoteAs,
};
pub use classes::{Classes, NoClasses};
pub use endpoints::{Endpoint, EndpointPort, EndpointSlice};
pub use node::{EXCLUDE_LABEL, NodeView};
pub use observation::{BgpObject, Invalid, ObjectName, Observation, SpeakerView};
pub use pool::{Pool, PoolRules, ServiceAllocation};
pub use reason::Reason;
pub use selector::{Labels, Operator, Requirement, Selector, SelectorError};
pub use service::{
    Condition, FamilyPolicy, Forwarding, HealthCheck, Ingress, IpMode, NodePort, PortSpec, PreferredNode,
    Protocol, Requests, ServiceKey, ServiceView, TrafficPolicy,
};
pub use service_write::{Assignment, ServiceStatusWrite};
pub use time::Instant;
