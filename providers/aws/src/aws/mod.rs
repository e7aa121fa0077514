//! AWS itself: one request for each job of the plan, at a pace that AWS accepts.

mod apply;
#[cfg(test)]
mod canned;
mod client;
mod create;
mod describe;
mod failure;
mod list;
mod place;
mod read;
mod register;
mod throttle;

pub use client::{Endpoints, EndpointsError, Options};
pub(crate) use place::Place;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use landfall_aws_plan::{Answer, Failure, Job, Settings, Turn};

pub(crate) use self::client::Clients;
pub(crate) use self::throttle::{Calls, Throttle};

/// A connection to AWS in one region and VPC. Clones share it.
#[derive(Clone)]
pub(crate) struct Aws {
    clients: Clients,
    throttle: Throttle,
    vpc: String,
    /// What AWS refused to tell and was warned of.
    refused: Arc<Mutex<BTreeSet<&'static str>>>,
}

impl Aws {
    pub(crate) fn new(clients: Clients, throttle: Throttle, vpc: String) -> Self {
        Self { clients, throttle, vpc, refused: Arc::default() }
    }

    /// The same connection, for calls of that turn.
    pub(crate) fn at(&self, turn: Turn) -> Self {
        Self { throttle: self.throttle.at(turn), ..self.clone() }
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
