use std::{net::IpAddr, time::Duration};

use landfall_model::{Assignment, Condition, Ingress, Instant, Reason, ServiceStatusWrite, ServiceView};

use crate::{
    Effect, Outcome, condition,
    decide::{Decision, Event, Target},
    queue::{Age, Queue},
};

/// How long to wait for the watch to show a write whose version the writer did not learn.
const ECHO: Duration = Duration::from_secs(1);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_WITHOUT_ANSWER: Duration = Duration::from_secs(5);
const LONGEST_REFUSED: Duration = Duration::from_secs(60);

/// A delay that doubles with every failure in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    /// How long to wait after a write that was refused.
    pub(crate) fn refused(&mut self) -> Duration {
        self.next(LONGEST_REFUSED)
    }

    /// How long to wait after a write without an answer.
    pub(crate) fn failed(&mut self, at_least: Option<Duration>) -> Duration {
        self.next(LONGEST_WITHOUT_ANSWER).max(at_least.unwrap_or_default())
    }

    fn next(&mut self, longest: Duration) -> Duration {
        self.0 = (self.0 * 2).clamp(FIRST_DELAY, longest);
        self.0
    }
}

/// One Service: what was observed of it, and what was decided.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) view: Box<ServiceView>,
    pub(crate) decided: Decided,
}

/// What is known about a Service beside its view; gone when decisions are forgotten.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decided {
    flight: Flight,
    /// Something called for a new decision while one was in flight.
    stale: bool,
    /// The version that our last write replaced.
    superseded: Option<Box<str>>,
    retry_at: Option<Instant>,
    backoff: Backoff,
    /// The addresses of the status that the last decision saw, or wrote since.
    seen: Option<Vec<IpAddr>>,
    /// The addresses of the last write, whatever is known of its outcome.
    wrote: Option<Vec<IpAddr>>,
    pub(crate) ours: bool,
    /// The events of the last decision, told or known without telling.
    told: Vec<Event>,
    pub(crate) queues: Vec<Queue>,
    pub(crate) waiting: Option<(Reason, String)>,
}

#[derive(Clone, Debug, Default)]
enum Flight {
    /// Nothing is under way: the view is what counts.
    #[default]
    Landed,
    /// A write that replaces version `base` was handed out; `expected` is what it makes of the view.
    Sent { base: Box<str>, expected: Box<ServiceView> },
    /// It is done, and the watch has not shown it yet.
    Echo { until: Instant },
    /// It met a newer version, which has not been observed yet.
    Conflicted,
}

impl Entry {
    pub(crate) fn new(view: Box<ServiceView>) -> Self {
        Self { view, decided: Decided::default() }
    }

    pub(crate) fn age(&self) -> Age {
        (self.view.created, self.view.key.clone())
    }

    /// Takes over a newer view; true if the Service is to be decided again.
    pub(crate) fn observe(&mut self, view: Box<ServiceView>) -> bool {
        let decided = &mut self.decided;
        if decided.superseded.as_ref() == Some(&view.resource_version) {
            return false;
        }
        let changed = !same(&mut self.view, &view);
        let again = match &mut decided.flight {
            Flight::Landed => changed,
            Flight::Sent { expected, .. } => {
                decided.stale |= changed && !same(expected, &view);
                false
            }
            Flight::Echo { .. } => changed || decided.stale,
            Flight::Conflicted => true,
        };
        match decided.flight {
            Flight::Echo { .. } | Flight::Conflicted => {
                decided.flight = Flight::Landed;
                decided.stale = false;
            }
            Flight::Landed | Flight::Sent { .. } => {}
        }
        if again {
            decided.retry_at = None;
        }
        self.view = view;
        again
    }

    /// Whether a decision may be made now. If not, it is made up for later, at the time in `wake` at the latest.
    pub(crate) fn ready(&mut self, now: Instant, wake: &mut Option<Instant>) -> bool {
        let decided = &mut self.decided;
        let free = match decided.flight {
            Flight::Landed => true,
            Flight::Sent { .. } | Flight::Conflicted => false,
            Flight::Echo { until } => {
                *wake = Some(until);
                until <= now
            }
        };
        if !free {
            decided.stale = true;
            return false;
        }
        if let Some(at) = decided.retry_at
            && at > now
        {
            return false;
        }
        decided.retry_at = None;
        decided.flight = Flight::Landed;
        decided.stale = false;
        true
    }

    /// Whether the status has other addresses than the last decision saw or wrote, be it that the answer was lost.
    pub(crate) fn edited(&self) -> bool {
        let observed = self.observed();
        self.decided.seen.as_ref().is_some_and(|seen| *seen != observed)
            && self.decided.wrote.as_ref() != Some(&observed)
    }

    /// Takes over what came of the write in flight; true if the Service is to be decided again now, and the time at
    /// which it is at the latest.
    pub(crate) fn written(
        &mut self,
        write: &ServiceStatusWrite,
        outcome: Outcome,
        now: Instant,
    ) -> (bool, Option<Instant>) {
        let decided = &mut self.decided;
        let landed = std::mem::take(&mut decided.flight);
        let waited_for = self.view.uid == write.uid;
        let (base, expected) = match landed {
            Flight::Sent { base, expected } if waited_for && base == write.resource_version => {
                (base, expected)
            }
            Flight::Landed | Flight::Sent { .. } | Flight::Echo { .. } | Flight::Conflicted => {
                decided.flight = landed;
                return (false, None);
            }
        };
        let unseen = self.view.resource_version == base;
        match outcome {
            Outcome::Applied { resource_version } => {
                decided.backoff = Backoff::default();
                decided.seen = Some(sorted(&expected));
                decided.ours = !expected.ingress.is_empty();
                decided.superseded = Some(base);
                let mut wake = None;
                if unseen {
                    self.view = expected;
                    match resource_version {
                        Some(version) => self.view.resource_version = version,
                        None => {
                            let until = now + ECHO;
                            decided.flight = Flight::Echo { until };
                            if decided.stale {
                                wake = Some(until);
                            }
                            return (false, wake);
                        }
                    }
                }
                (std::mem::take(&mut decided.stale), wake)
            }
            Outcome::Conflict if !unseen => (true, None),
            Outcome::Conflict | Outcome::Gone => {
                decided.flight = Flight::Conflicted;
                (false, None)
            }
            Outcome::Refused => (false, Some(decided.retry(now, Backoff::refused))),
            Outcome::Failed { retry_after } => {
                (false, Some(decided.retry(now, |backoff| backoff.failed(retry_after))))
            }
        }
    }

    /// Takes over a decision and adds what follows from it to `effects`.
    pub(crate) fn decide(&mut self, decision: Decision, effects: &mut Vec<Effect>) {
        let events = self.events(&decision);
        let assignment = self.assignment(&decision.target);
        let view = &self.view;
        let decided = &mut self.decided;
        decided.seen = Some(sorted(view));
        decided.waiting = decision.waiting;
        let differs = match &assignment {
            Assignment::Leave => false,
            Assignment::Release => true,
            Assignment::Set { ingress, pool } => {
                !shows(view, ingress) || view.requests.allocated_from != *pool
            }
        };
        decided.ours = match assignment {
            Assignment::Set { .. } | Assignment::Release => true,
            Assignment::Leave => false,
        };
        if !differs && same_conditions(&view.conditions, &decision.conditions) {
            effects.extend(events);
            return;
        }
        let write = ServiceStatusWrite {
            key: view.key.clone(),
            uid: view.uid.clone(),
            resource_version: view.resource_version.clone(),
            assignment,
            observed_addresses: view.addresses().collect(),
            conditions: decision.conditions,
            observed_conditions: view.conditions.clone(),
        };
        let expected = Box::new(after(view, &write));
        decided.wrote = Some(sorted(&expected));
        decided.flight = Flight::Sent { base: view.resource_version.clone(), expected };
        effects.push(Effect::Service(Box::new(write)));
        effects.extend(events);
    }

    /// The events of a decision that nobody has heard of: neither were they told for the decision before, nor does
    /// the status say already what they say.
    fn events(&mut self, decision: &Decision) -> Vec<Effect> {
        let told = std::mem::replace(&mut self.decided.told, decision.events.clone());
        let says = |wanted: &Condition| {
            self.view.conditions.iter().any(|c| {
                (&c.kind, c.status, c.reason, &c.message)
                    == (&wanted.kind, wanted.status, wanted.reason, &wanted.message)
            })
        };
        let settled = match self.assignment(&decision.target) {
            Assignment::Leave => true,
            Assignment::Release => false,
            Assignment::Set { ingress, .. } => shows(&self.view, &ingress),
        };
        // What is announced is news of the speakers, and nothing that was decided here.
        let mut ours = decision.conditions.iter().filter(|one| &*one.kind != condition::ANNOUNCED);
        if settled && ours.all(says) {
            return Vec::new();
        }
        let effect = |event: &Event| Effect::Event {
            service: self.view.key.clone(),
            uid: self.view.uid.clone(),
            warning: event.warning,
            reason: event.reason,
            message: event.message.clone(),
        };
        decision.events.iter().filter(|event| !told.contains(event)).map(effect).collect()
    }

    fn assignment(&self, target: &Target) -> Assignment {
        let empty = self.view.ingress.is_empty() && self.view.requests.allocated_from.is_none();
        match target {
            Target::Leave => Assignment::Leave,
            Target::Release if empty => Assignment::Leave,
            Target::Release => Assignment::Release,
            Target::Set { ingress, pool } => Assignment::Set { ingress: ingress.clone(), pool: pool.clone() },
        }
    }

    fn observed(&self) -> Vec<IpAddr> {
        sorted(&self.view)
    }
}

impl Decided {
    fn retry(&mut self, now: Instant, delay: impl FnOnce(&mut Backoff) -> Duration) -> Instant {
        let at = now + delay(&mut self.backoff);
        self.retry_at = Some(at);
        at
    }
}

fn sorted(view: &ServiceView) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = view.addresses().collect();
    addresses.sort_unstable();
    addresses
}

/// Whether two views differ in nothing but their version; `old` gets that of `new`.
fn same(old: &mut ServiceView, new: &ServiceView) -> bool {
    let version = std::mem::replace(&mut old.resource_version, new.resource_version.clone());
    let same = *old == *new;
    old.resource_version = version;
    same
}

fn shows(view: &ServiceView, ingress: &[(IpAddr, landfall_model::IpMode)]) -> bool {
    view.ingress.iter().eq(entries(ingress).iter())
}

fn entries(ingress: &[(IpAddr, landfall_model::IpMode)]) -> Vec<Ingress> {
    ingress.iter().map(|(address, mode)| Ingress::Address { address: *address, mode: *mode }).collect()
}

fn same_conditions(observed: &[Condition], wanted: &[Condition]) -> bool {
    observed.len() == wanted.len() && wanted.iter().all(|condition| observed.contains(condition))
}

/// The view after a write.
fn after(view: &ServiceView, write: &ServiceStatusWrite) -> ServiceView {
    let mut view = view.clone();
    view.conditions.clone_from(&write.conditions);
    match &write.assignment {
        Assignment::Leave => {}
        Assignment::Release => {
            view.ingress.clear();
            view.requests.allocated_from = None;
        }
        Assignment::Set { ingress, pool } => {
            view.ingress = entries(ingress);
            view.requests.allocated_from.clone_from(pool);
        }
    }
    view
}
