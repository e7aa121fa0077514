//! The audit: each object is asked for its details once in a round, so that what was changed by hand is found.
//!
//! A ring, in which what was asked last is last. One question after the other is sent at a steady pace, so that each object has
//! its turn within the time of a round, whatever comes and goes meanwhile.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use landfall_model::Instant;

use super::{
    Effects, Failure, FailureKind, Job, World,
    entry::{Entry, Wanted},
    job::Slot,
};
use crate::{Need, Op, Outcome, tags};

/// So many questions that nobody waits for are under way at most. Where AWS, or its limits, are slower than the round asks for, they
/// go as fast as they are answered, and none piles up.
pub(super) const UNDER_WAY: usize = 8;
/// So many turns that were missed are made up for.
const MISSED: u32 = 8;
/// Between two questions at least.
const STEP: Duration = Duration::from_millis(1);

/// What is asked for again and again.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// In the order of their turns.
    queue: VecDeque<Queued>,
    members: BTreeSet<Need>,
    /// The members have to be looked for anew.
    pub(super) outdated: bool,
    /// The next turn.
    pub(super) at: Option<Instant>,
}

/// One that waits for its turn.
#[derive(Debug)]
struct Queued {
    need: Need,
    /// So many turns, its own with them, were to come when it was put here.
    place: u32,
}

impl Ring {
    fn push(&mut self, need: Need) {
        let place = u32::try_from(self.queue.len()).unwrap_or(u32::MAX / 2) + 1;
        self.queue.push_back(Queued { need, place });
    }

    fn add(&mut self, need: Need) {
        if self.members.insert(need.clone()) && !self.queue.iter().any(|queued| queued.need == need) {
            self.push(need);
        }
    }

    /// Takes these as all that is there. What is gone has its turn, but no question.
    fn replace(&mut self, needs: Vec<Need>) {
        let queued: BTreeSet<&Need> = self.queue.iter().map(|queued| &queued.need).collect();
        let new: Vec<Need> = needs.iter().filter(|need| !queued.contains(need)).cloned().collect();
        new.into_iter().for_each(|need| self.push(need));
        self.members = needs.into_iter().collect();
    }

    /// Has a question asked again that got no answer.
    fn hurry(&mut self, need: &Need) {
        let at = self.queue.iter().rposition(|queued| queued.need == *need);
        if let Some(queued) = at.and_then(|at| self.queue.remove(at)) {
            self.queue.push_front(queued);
        }
    }

    /// Between two turns, so that nobody waits for longer than a round: everybody's pace is that of the one with the most before it.
    /// A little less than that, since answers take time and so does what puts things back.
    fn step(&self, round: Duration) -> Duration {
        let most = self.queue.iter().map(|queued| queued.place).max().unwrap_or(0);
        (round / (most + most / 16 + 1)).max(STEP)
    }

    /// More objects have their turns sooner.
    fn pace(&mut self, round: Duration, now: Instant) {
        let next = (!self.queue.is_empty()).then(|| now + self.step(round));
        self.at = self.at.into_iter().chain(next).min();
    }
}

impl World {
    /// Sends the questions whose turn has come.
    pub(super) fn audit(&mut self, now: Instant, out: &mut Effects) {
        let round = self.rhythm.audit;
        if std::mem::take(&mut self.audit.outdated) {
            let needs = self.auditable();
            self.audit.replace(needs);
            self.audit.pace(round, now);
        }
        let Some(at) = self.audit.at.filter(|at| *at <= now) else { return };
        // Where questions had to wait, the round lasts longer: what was missed is not made up for all at once.
        let mut at = at.max(now - self.audit.step(round) * MISSED);
        while at <= now && self.background.len() < UNDER_WAY && !self.audit.queue.is_empty() {
            self.next_turn(now, out);
            at += self.audit.step(round);
        }
        self.audit.at = (!self.audit.queue.is_empty()).then_some(at);
    }

    fn next_turn(&mut self, now: Instant, out: &mut Effects) {
        let pauses = |queued: &Queued| {
            let trouble = self.troubles.get(&Slot::Need(queued.need.clone()));
            trouble.is_some_and(|trouble| trouble.until > now)
        };
        let Some(at) = self.audit.queue.iter().position(|queued| !pauses(queued)) else { return };
        let Some(Queued { need, .. }) = self.audit.queue.remove(at) else { return };
        let known = need.subject().is_some_and(|arn| self.inventory.knows(arn));
        if known && self.audit.members.contains(&need) {
            self.audit.push(need.clone());
            // Where a Service asks for it just now, its answer will do.
            self.ask_in_background(need, now, out);
        }
    }

    /// Asks for what nobody waits for.
    pub(super) fn ask_in_background(&mut self, need: Need, now: Instant, out: &mut Effects) {
        let start = self.inventory.begin_listing();
        if self.start(Job::Describe(need.clone(), start), now, out) {
            self.background.insert(need);
        }
    }

    /// Notes what became of a question. One that AWS had no time for is asked again soon, and not a round later.
    pub(super) fn audited(&mut self, need: &Need, failure: Option<&Failure>) {
        let again = failure.is_some_and(|failure| match failure.kind {
            FailureKind::Throttled | FailureKind::Unavailable => true,
            FailureKind::Busy | FailureKind::Stale | FailureKind::Refused => false,
        });
        if self.background.remove(need) && again {
            self.audit.hurry(need);
        }
    }

    /// Takes in what a call has just made.
    pub(super) fn audit_new(&mut self, op: &Op, outcome: &Outcome, now: Instant) {
        match (op, outcome) {
            (_, Outcome::LoadBalancer { arn, .. }) => self.audit.add(Need::LoadBalancer(arn.clone())),
            (_, Outcome::TargetGroup(arn)) => {
                self.audit.add(Need::TargetGroup(arn.clone()));
                self.audit.add(Need::Targets(arn.clone()));
            }
            (Op::ModifyCapacityReservation { arn, .. }, _) => self.audit.add(Need::Capacity(arn.clone())),
            (_, Outcome::Done | Outcome::Listener(_) | Outcome::SecurityGroup(_)) => return,
        }
        self.audit.pace(self.rhythm.audit, now);
    }

    /// What one round of the audit asks for.
    fn auditable(&self) -> Vec<Need> {
        let mut needs = Vec::new();
        for (key, entry) in &self.services {
            self.audit_service(&key.to_string(), entry, &mut needs);
        }
        // These stay for as long as other clusters have targets in them.
        for key in self.garbage.seen() {
            let stack = key.to_string();
            let groups = self.inventory.stack_target_groups(&self.settings.cluster, &stack);
            let shared = groups.filter(|group| tags::is_shared(&group.tags));
            needs.extend(shared.map(|group| Need::Targets(group.arn.clone())));
        }
        needs
    }

    fn audit_service(&self, stack: &str, entry: &Entry, needs: &mut Vec<Need>) {
        let cluster = &self.settings.cluster;
        let (adopted, capacity) = entry.wanted.as_ref().map_or((None, false), Wanted::audited);
        let own = self.inventory.stack_load_balancers(cluster, stack).map(|lb| &lb.arn);
        for arn in own.chain(adopted) {
            needs.push(Need::LoadBalancer(arn.clone()));
            if capacity {
                needs.push(Need::Capacity(arn.clone()));
            }
        }
        for group in self.inventory.stack_target_groups(cluster, stack) {
            needs.push(Need::TargetGroup(group.arn.clone()));
            needs.push(Need::Targets(group.arn.clone()));
        }
    }
}
