//! A Service, how far it is, and what its user was told.

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_model::Instant;

use super::{
    Effects, Failure, FailureKind, Hostname, Status, Turn, Write, Written,
    held::{Held, is_of_targets},
};
use crate::{Event, LoadBalancerArn, Op, Plan, Problem, REGISTERED, Request, Service, Stack, Verdict};

/// Pod and type of the condition.
pub(super) type Gate = (Box<str>, Box<str>);

/// What a Service asks for, where it can be.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) service: Arc<Service>,
    pub(super) request: Request,
    pub(super) stack: Stack,
}

impl Wanted {
    /// What the audit asks for beyond objects with the Service's tags: the load balancer that is adopted, and the capacity.
    pub(super) fn audited(&self) -> (Option<&LoadBalancerArn>, bool) {
        let wanted = &self.stack.load_balancer;
        (wanted.adopted.as_ref(), wanted.adopted.is_none() && wanted.capacity_units.is_some())
    }
}

/// A Service and how far it is.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) service: Arc<Service>,
    /// What it asked for when that last made sense.
    pub(super) wanted: Option<Wanted>,
    /// Its targets are pods, as far as it could be read.
    pub(super) pods: Option<bool>,
    /// A call succeeded since everything was last in place.
    pub(super) called: bool,
    /// Nothing was to be done or waited for when it was last planned.
    pub(super) done: bool,
    /// Calls have begun, as the so many-th change of all.
    pub(super) begun: Option<u64>,
    /// More than targets is being changed, and the user knows.
    pub(super) ensuring: bool,
    /// Everything was in place once. Before that no name is published; after that, changes under way do not take it back.
    pub(super) settled: bool,
    /// The finalizer is being written.
    pub(super) finalizing: bool,
    /// The last status that was written.
    pub(super) told: Option<Status>,
    /// The last failure or notice of each kind that was told.
    pub(super) said: BTreeMap<Event, String>,
    /// The value of [`REGISTERED`] that was written and has not been seen yet.
    pub(super) ledger: Option<Option<String>>,
    /// What was told of each gate of each Pod.
    pub(super) gates: BTreeMap<Gate, (bool, &'static str)>,
    /// The last failure that was about all calls.
    pub(super) failure: Option<Verdict>,
    /// Calls that are refused.
    pub(super) held: Held,
    pub(super) events: Vec<(Event, String)>,
}

impl Entry {
    pub(super) fn new(service: Service) -> Self {
        Self {
            service: Arc::new(service),
            wanted: None,
            pods: None,
            called: false,
            done: false,
            begun: None,
            ensuring: false,
            settled: false,
            finalizing: false,
            told: None,
            said: BTreeMap::new(),
            ledger: None,
            gates: BTreeMap::new(),
            failure: None,
            held: Held::default(),
            events: Vec::new(),
        }
    }

    /// Notes that a call succeeded.
    pub(super) fn succeeded(&mut self, op: &Op) {
        (self.called, self.failure) = (true, None);
        self.held.succeeded(op);
    }

    /// Notes that a call failed. Answers when to try it again if it alone has to wait, else the whole line does.
    pub(super) fn failed(&mut self, op: &Op, failure: &Failure, now: Instant) -> Option<Instant> {
        let verdict = failure.verdict(op.kind().as_str());
        let event = if self.service.deleting { Event::FailedDelete } else { Event::FailedDeploy };
        // What AWS frees on its own is no news.
        if failure.kind != FailureKind::Busy {
            let generic =
                if self.settled && is_of_targets(op) { Event::FailedUpdate } else { Event::FailedSync };
            if !self.service.deleting && !self.said.contains_key(&generic) {
                self.say(generic, verdict.message.clone());
            }
            self.events.push((event, verdict.message.clone()));
        }
        if Held::takes(failure.kind) {
            return Some(self.held.failed(op, failure, now));
        }
        self.failure = Some(verdict);
        None
    }

    /// What went wrong and still keeps the plan from being done.
    pub(super) fn trouble(&self, plan: &Plan<Op>) -> Option<Verdict> {
        self.failure.as_ref().or_else(|| self.held.verdict(&plan.ready)).cloned()
    }

    /// Deletions and what serves already come first.
    pub(super) fn turn(&self) -> Turn {
        match self.begun {
            Some(since) if !self.service.deleting => Turn { later: !self.settled, since },
            Some(_) | None => Turn::FIRST,
        }
    }

    pub(super) fn reason(&self) -> &'static str {
        let verdict = self.told.as_ref().and_then(|status| status.verdict.as_ref());
        verdict.map_or("Unknown", |verdict| verdict.reason)
    }

    /// Tells something once, until it changes.
    pub(super) fn say(&mut self, event: Event, message: String) {
        if self.said.get(&event) != Some(&message) {
            self.said.insert(event, message.clone());
            self.events.push((event, message));
        }
    }

    /// Tells what keeps the Service from being served as it asks, by the generic name and by the AWS Load Balancer Controller's.
    pub(super) fn complain(&mut self, event: Event, message: String) {
        self.say(Event::FailedSync, message.clone());
        self.say(event, message);
    }

    /// Writes the events that came up.
    pub(super) fn flush(&mut self, out: &mut Effects) {
        for (event, message) in std::mem::take(&mut self.events) {
            self.write(Written::Event(event, message), out);
        }
    }

    pub(super) fn tell(&mut self, status: Status, out: &mut Effects) {
        if self.told.as_ref() != Some(&status) {
            self.told = Some(status.clone());
            self.write(Written::Status(status), out);
        }
    }

    /// Writes the targets that are the Service's own, unless it says so already or is about to.
    pub(super) fn remember(&mut self, wanted: Option<String>, out: &mut Effects) {
        if self.service.annotations.get(REGISTERED) == wanted.as_ref() {
            self.ledger = None;
        } else if self.ledger.as_ref() != Some(&wanted) {
            self.ledger = Some(wanted.clone());
            self.write(Written::Ledger(wanted), out);
        }
    }

    pub(super) fn write(&self, what: Written, out: &mut Effects) {
        let (service, uid) = (self.service.key.clone(), self.service.uid.clone());
        out.writes.push(Write { service, uid, what });
    }

    pub(super) fn refuse(&mut self, problems: &[Problem], out: &mut Effects) {
        let verdict = Verdict::of_problems(problems);
        self.complain(Event::FailedBuild, verdict.message.clone());
        self.tell(Status { hostname: Hostname::Leave, verdict: Some(verdict) }, out);
    }
}
