//! AWS itself: one request for each job of the plan, at a pace that AWS accepts.

mod apply;
mod client;
mod describe;
mod failure;
mod list;
mod place;
mod read;
mod throttle;

pub use client::{Endpoints, EndpointsError, Options};
pub(crate) use place::Place;

use landfall_aws_plan::{Answer, Failure, Job, Settings};

pub(crate) use self::throttle::Calls;
use self::{client::Clients, throttle::Throttle};

/// A connection to AWS in one region and VPC. Clones share it.
#[derive(Clone)]
pub(crate) struct Aws {
    clients: Clients,
    throttle: Throttle,
    vpc: String,
}

impl Aws {
    pub(crate) fn new(clients: Clients, calls: Calls, vpc: String) -> Self {
        Self { clients, throttle: Throttle::new(calls), vpc }
    }

    /// Does one job.
    ///
    /// # Errors
    /// What AWS says, classified. Nothing is retried here: the plan knows what else has changed meanwhile.
    pub(crate) async fn run(&self, job: &Job, settings: &Settings) -> Result<Answer, Failure> {
        match job {
            Job::List(_) => self.list().await.map(|listing| Answer::Listing(Box::new(listing))),
            Job::States(arns) => self.states(arns).await.map(Answer::States),
            Job::Describe(need, _) => self.describe(need).await,
            Job::Instances(ids) => self.instances(ids).await.map(Answer::Instances),
            Job::Call(_, op) => self.apply(op, settings).await.map(Answer::Called),
        }
    }
}
