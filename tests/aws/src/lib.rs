//! AWS for tests: moto behind a front that answers as AWS does where moto does not.
//!
//! ```text
//! AWS client ──HTTP──> front (this crate) ──HTTP──> moto_server (child process)
//!                      log, faults, limits          EC2, ACM, STS, ids, judgement of load balancing calls
//!                      load balancers, listeners,
//!                      target groups, targets, tags
//! ```
//!
//! A [`Double`] listens on a port of its own and takes unsigned or signed requests over plain HTTP; the credential scope
//! of the `Authorization` header names service and region. It knows network load balancers only. Its limits: no QUIC, no
//! events over time (states change with reads, or when a test says so), no check of signatures or rights.
//!
//! ```no_run
//! let aws = landfall_aws_double::Double::start()?;
//! let place = aws.place("eu-central-1", &["eu-central-1a", "eu-central-1b"])?;
//! let (instance, address) = aws.instance(&place, "eu-central-1a")?;
//! // … point a client at aws.endpoint() …
//! assert_eq!(aws.count("CreateLoadBalancer"), 1);
//! # Ok::<(), anyhow::Error>(())
//! ```
#![forbid(unsafe_code)]

mod control;
mod ec2;
mod elb;
mod front;
mod moto;
mod place;
mod query;
mod refusal;
mod wire;
mod xml;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use anyhow::{Result, ensure};

pub use control::{Bucket, Call, Fault, Limits};
pub use elb::Health;
pub use place::{CLUSTER, Place, Zone};

use self::{
    control::Line,
    front::{Front, Listening},
    moto::Moto,
    query::Parameters,
    wire::Request,
};

/// A running double of AWS. When it is dropped, the front stops and moto ends.
#[derive(Debug)]
pub struct Double {
    // Dropped first: no call reaches moto after that.
    listening: Listening,
    front: Arc<Front>,
}

impl Double {
    /// Starts moto and a front on 127.0.0.1.
    ///
    /// The program `moto_server` is the one that `LANDFALL_MOTO` names, or that the script `moto` of this crate installs; the
    /// first time that needs `PyPI`.
    ///
    /// # Errors
    ///
    /// If moto cannot be installed or started, or no port is free.
    pub fn start() -> Result<Self> {
        Self::start_on(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// As [`Self::start`], with the front on another address of this machine.
    ///
    /// # Errors
    ///
    /// Those of [`Self::start`].
    pub fn start_on(address: IpAddr) -> Result<Self> {
        Self::with(Front::new(Moto::start()?, false), address)
    }

    /// moto as it is: the front logs, limits and injects faults, takes one call of a service after the other, and changes no
    /// answer. States and health are moto's.
    ///
    /// # Errors
    ///
    /// Those of [`Self::start`].
    pub fn plain() -> Result<Self> {
        Self::with(Front::new(Moto::start()?, true), IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    fn with(front: Front, address: IpAddr) -> Result<Self> {
        let front = Arc::new(front);
        let listening = Listening::start(Arc::clone(&front), address)?;
        Ok(Self { listening, front })
    }

    /// The URL of the front, for all services.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.listening.address)
    }

    /// All calls since the start, or since [`Self::forget_calls`], in the order in which they were answered.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.front.controls().calls.clone()
    }

    /// How many calls of an action there were, refused ones included.
    #[must_use]
    pub fn count(&self, action: &str) -> usize {
        self.front.controls().calls.iter().filter(|c| c.action == action).count()
    }

    /// Empties the log of calls.
    pub fn forget_calls(&self) {
        self.front.controls().calls.clear();
    }

    /// Lets the next call of an action go wrong. Faults of one action queue up; each is used once.
    pub fn fail(&self, action: &str, fault: Fault) {
        self.front.controls().fail(action, fault);
    }

    /// Carries out the next call that changes something, and from then on neither answers nor carries out any: for AWS, as if
    /// its caller had died at that moment.
    pub fn cut_after_change(&self) {
        self.front.controls().line = Line::UntilChange;
    }

    /// Whether the call that [`Self::cut_after_change`] waits for has come.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.front.controls().line == Line::Cut
    }

    /// Answers calls again.
    pub fn restore(&self) {
        self.front.controls().line = Line::Up;
    }

    /// Limits calls by full token buckets from now on, or no longer.
    pub fn throttle(&self, limits: Option<Limits>) {
        self.front.controls().throttle(limits);
    }

    /// For how many reads a load balancer that is created from now on is `provisioning`; 1 at first.
    pub fn provisioning_reads(&self, reads: u32) {
        self.front.elb().reads.provisioning = reads;
    }

    /// For how many reads a target that is registered from now on is `initial`; 1 at first.
    pub fn initial_reads(&self, reads: u32) {
        self.front.elb().reads.initial = reads;
    }

    /// For how many reads a target that is deregistered from now on is `draining`; 1 at first.
    pub fn draining_reads(&self, reads: u32) {
        self.front.elb().reads.draining = reads;
    }

    /// What health checks find from now on at a target with that id, in all groups and on all ports, after `initial`.
    pub fn set_health(&self, target_id: &str, health: Health) {
        self.front.elb().health.insert(target_id.to_owned(), health);
    }

    /// Puts a load balancer into a state for good, such as `failed` or `active_impaired`.
    ///
    /// # Errors
    ///
    /// If there is no such load balancer.
    pub fn set_state(&self, load_balancer_arn: &str, state: &str) -> Result<()> {
        ensure!(
            self.front.elb().set_state(load_balancer_arn, state),
            "there is no load balancer {load_balancer_arn}"
        );
        Ok(())
    }

    /// Makes a Query call through the front, as a client would, for tests without a client of AWS. Gives status and body.
    ///
    /// # Errors
    ///
    /// Those of the connection, also when it ends without an answer.
    pub fn call(
        &self,
        service: &str,
        region: &str,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Result<(u16, String)> {
        let version = match service {
            "ec2" => ec2::VERSION,
            "sts" => "2011-06-15",
            _ => "2015-12-01",
        };
        let body = Parameters::call(action, version, parameters).encode();
        let answer = Request::query(service, region, body).send(self.listening.address)?;
        Ok((answer.status, String::from_utf8(answer.body)?))
    }
}
