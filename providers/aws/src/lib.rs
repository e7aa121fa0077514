//! Network Load Balancers for Services: watches the cluster, observes AWS, and does what `landfall-aws-plan` decides. An IO
//! crate; it decides nothing but how fast calls follow each other.
//!
//! ```text
//! watches ──Observation──▶ ┌────────────────┐ ──Job───▶ throttle ──▶ AWS
//!                          │ term (one loop)│ ◀─Answer─
//! API server ◀──Write───── └────────────────┘
//! ```
//!
//! Only the leader runs a term. What a leader that was killed left unfinished, the next one finds by tags and finishes. Beside that,
//! every replica keeps the [`gates()`] of new Pods, for its webhook.

mod aws;
mod cluster;
mod driver;
mod gates;
mod metrics;

pub use aws::{Endpoints, EndpointsError, Options};
pub use driver::lead;
pub use gates::gates;
pub use landfall_aws_plan as plan;
pub use metrics::Metrics;

/// What the provider needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is planned; the VPC is filled in when it is known.
    pub plan: landfall_aws_plan::Settings,
    /// How often what is done.
    pub rhythm: landfall_aws_plan::Rhythm,
    /// Whether new Pods get readiness gates, where webhooks are served.
    pub gates: bool,
    /// How AWS is reached.
    pub options: Options,
    /// Namespace of Landfall's own objects.
    pub namespace: String,
    /// Name of this pod, the reporting instance of events.
    pub pod_name: String,
}
