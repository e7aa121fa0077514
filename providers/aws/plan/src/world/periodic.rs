//! What is done for all Services together, and again and again.

use std::collections::BTreeSet;
use std::time::Duration;

use landfall_model::Instant;

use super::{Asked, Effects, Job, Line, World, audit::UNDER_WAY, job::Slot};
use crate::{LoadBalancerArn, Need, Waiting, backend, tags};

/// The most between questions for the state of a load balancer that is being set up; from a second on it doubles.
const STATES_AGAIN: Duration = Duration::from_secs(10);
/// Between two such questions, so that one is for many.
const STATES_APART: Duration = Duration::from_secs(1);

impl Asked {
    fn again(&self) -> Instant {
        let pause = STATES_APART * (1 << self.times.saturating_sub(1).min(4));
        self.at + pause.min(STATES_AGAIN)
    }
}

impl World {
    pub(super) fn periodic(&mut self, now: Instant, out: &mut Effects) {
        if self.list_at <= now && self.start(Job::List(self.inventory.begin_listing()), now, out) {
            self.list_at = now + self.rhythm.listing;
        }
        if self.watch_at.is_some_and(|at| at <= now) {
            self.watch_at = None;
            for arn in std::mem::take(&mut self.watched) {
                let start = self.inventory.begin_listing();
                self.start(Job::Describe(Need::Targets(arn), start), now, out);
            }
        }
        if self.synced && self.inventory.listed() && std::mem::take(&mut self.states_due) {
            self.states(now, out);
        }
    }

    /// Load balancers of this cluster that do not serve yet: soon after they were made, then at leisure.
    fn states(&mut self, now: Instant, out: &mut Effects) {
        let ours = |tags| tags::of_cluster(tags, &self.settings.cluster);
        let pending: BTreeSet<LoadBalancerArn> = self
            .inventory
            .load_balancers()
            .filter(|lb| !lb.state.serves() && ours(&lb.tags))
            .map(|lb| lb.arn.clone())
            .collect();
        self.states_asked.retain(|arn, _| pending.contains(arn));
        let due = |arn: &LoadBalancerArn| self.states_asked.get(arn).map_or(Instant::ZERO, Asked::again);
        let Some(next) = pending.iter().map(due).min() else { return };
        let next = next.max(self.states_at);
        if next > now {
            self.alarms.insert((next, Slot::States));
            return;
        }
        let asked: BTreeSet<LoadBalancerArn> =
            pending.iter().filter(|arn| due(arn) <= now).cloned().collect();
        if self.start(Job::States(asked.clone()), now, out) {
            self.states_at = now + STATES_APART;
            for arn in asked {
                let times = self.states_asked.get(&arn).map_or(0, |asked| asked.times);
                self.states_asked.insert(arn, Asked { times: times.saturating_add(1), at: now });
            }
        }
    }

    /// Rules on the groups of nodes and pods, once for all that changed.
    pub(super) fn backend(&mut self, now: Instant, out: &mut Effects) {
        if !std::mem::take(&mut self.backend_dirty) {
            return;
        }
        // What Services of namespaces that are not watched need is not known, so while they have anything, nothing is closed.
        let watched =
            |stack: &str| stack.split_once('/').is_none_or(|(namespace, _)| self.settings.watches(namespace));
        let complete =
            self.synced && self.unset.is_empty() && self.inventory.stacks().into_iter().all(watched);
        let plan = backend::plan(&self.openings, &self.settings, &self.inventory, complete);
        if let Some(op) = self.backend_held.next(&plan.ready, now).cloned() {
            self.start(Job::Call(Line::Backend, op), now, out);
        } else if plan.waiting.iter().any(|waiting| matches!(waiting, Waiting::GroupInUse(_))) {
            self.alarms.insert((now + STATES_AGAIN, Slot::Line(Line::Backend)));
        }
    }

    /// What is left of Services that are gone, where it shall be deleted: of each the next call, so that none waits for another
    /// that AWS refuses.
    pub(super) fn collect(&mut self, now: Instant, out: &mut Effects) {
        if !self.rhythm.collect_garbage || self.garbage.seen().next().is_none() {
            return;
        }
        let plans = self.garbage.plan(&self.inventory, &self.settings, now);
        self.garbage_held.retain(|key, _| plans.contains_key(key));
        for (key, plan) in plans {
            let op = match self.garbage_held.get_mut(&key) {
                Some(held) => held.next(&plan.ready, now),
                None => plan.ready.first(),
            };
            if let Some(op) = op.cloned() {
                self.start(Job::Call(Line::Garbage(key), op), now, out);
            }
            for waiting in plan.waiting {
                if let Waiting::Need(need) = waiting
                    && self.background.len() < UNDER_WAY
                {
                    self.ask_in_background(need, now, out);
                }
            }
        }
    }
}
