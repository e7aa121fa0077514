//! Network Load Balancers for Services: what each Service asks for, what AWS has, and the ordered calls in between. Pure: no
//! SDK, no clock, no IO. The IO sibling that observes and applies is `landfall-aws`.
//!
//! ```text
//! Service ──claim──▶ Request ──resolve(Inventory)──▶ Stack ─┐
//! nodes, endpoints ──targets──▶ TargetSet ──────────────────┴─plan(Inventory, now)──▶ Plan<Op> ──apply──▶ Inventory::record
//! ```
//!
//! [`World`] runs this for all Services of a cluster.
//!
//! The semantics are those of the AWS Load Balancer Controller's Service side, so that a manifest written for it works
//! unchanged and either controller can take over from the other.

mod annotations;
pub mod backend;
mod claim;
mod drift;
mod elb;
mod forward;
mod garbage;
mod gates;
pub mod iam;
mod id;
mod input;
mod inventory;
mod ledger;
mod names;
mod notice;
mod op;
mod pace;
mod plan;
mod problem;
mod record;
mod request;
mod resolve;
mod settings;
mod stack;
mod status;
pub mod tags;
mod targets;
mod waiting;
mod world;

pub use annotations::{ADOPT, PREFIX, Parsed, REPLACE, Warning, go_bool};
pub use claim::{Claim, FINALIZER, FOREIGN_FINALIZER, annotated};
pub use drift::DriftKind;
pub use elb::{
    AddressType, Alpn, HealthCheck, HealthProtocol, ListenerProtocol, LoadBalancerState, Map, Scheme,
    SubnetMapping, Target, TargetFamily, TargetId, TargetState, TargetType,
};
pub use forward::Forward;
pub use garbage::Garbage;
pub use gates::Gates;
pub use id::{InstanceId, ListenerArn, LoadBalancerArn, SecurityGroupId, SubnetId, TargetGroupArn};
pub use input::{
    Backend, Backends, Node, PodEndpoint, Readiness, Service, ServicePort, ServiceType, Taint, TargetPort,
};
pub use inventory::{
    Inventory, Listener, Listing, ListingStart, LoadBalancer, Locale, SecurityGroup, Subnet, TargetGroup,
};
pub use ledger::{Ledger, Own, REGISTERED, ledger};
pub use notice::{Notice, notices};
pub use op::{
    CreateLoadBalancer, CreateTargetGroup, IpPermission, ListenerSpec, Op, OpKind, Resource, Source,
    TARGETS_PER_CALL,
};
pub use pace::Pace;
pub use plan::{plan, release};
pub use problem::Problem;
pub use record::Outcome;
pub use request::{
    Action, HealthCheckRequest, HealthPort, ProxyProtocol, Request, TlsRequest, Weighted, WeightedTo,
};
pub use resolve::Unresolved;
pub use settings::{CLASS, Settings};
pub use stack::{
    BackendAccess, FrontendGroups, Stack, WantedForward, WantedGroup, WantedListener, WantedLoadBalancer,
    WantedSecurityGroup, WantedTargetGroup,
};
pub use status::{
    CONDITION, Event, Finalizer, GateCondition, READINESS_GATE, Verdict, finalizer, hostname, readiness,
};
pub use targets::{LeftOut, LeftOutReason, Sources, TargetSet, targets};
pub use waiting::{Need, Plan, Waiting};
pub use world::{
    Answer, Effects, Failure, FailureKind, GatedPod, Hostname, Instances, Interface, Job, Line, Observation,
    Rhythm, RouteTables, Status, Turn, World, Write, Written,
};
