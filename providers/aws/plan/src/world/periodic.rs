//! What is done for all Services together, and again and again.

use std::collections::BTreeSet;
use std::time::Duration;

use landfall_model::Instant;

use super::{Asked, Effects, Job, Line, World, job::Slot};
use crate::{LoadBalancerArn, Need, Waiting, backend, tags};

/// The most between questions for the state of a load balancer that is being set up; from a second on it doubles.
const STATES_AGAIN: Duration = Duration::from_secs(10);
/// Between two such questions, so that one is for many.
const STATES_APART: Duration = Duration::from_secs(1);
/// The shortest time between two steps of the audit.
const AUDIT_STEP: Duration = Duration::from_secs(1);

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
        if self.synced && self.inventory.listed() {
            if std::mem::take(&mut self.states_due) {
                self.states(now, out);
            }
            self.audit(now, out);
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

    /// Asks for the details of one object after another, so that what was changed by hand is found.
    fn audit(&mut self, now: Instant, out: &mut Effects) {
        if self.audit_at.is_none_or(|at| at > now) {
            return;
        }
        if self.audit.is_empty() {
            self.audit = self.auditable().into();
        }
        if let Some(need) = self.audit.pop_front() {
            let start = self.inventory.begin_listing();
            self.start(Job::Describe(need, start), now, out);
        }
        self.audit_at = Some(now + self.audit_step);
    }

    /// Spreads a round of the audit over its time: as many steps as there are objects now, and some to spare for those that
    /// came since the last round began.
    pub(super) fn pace_audit(&mut self, now: Instant) {
        let steps = u32::try_from(self.auditable().len()).unwrap_or(u32::MAX / 2);
        self.audit_step = (self.rhythm.audit / (steps + steps / 8 + 2)).max(AUDIT_STEP);
        let next = now + self.audit_step;
        self.audit_at = Some(self.audit_at.map_or(next, |at| at.min(next)));
    }

    /// What one round of the audit asks for.
    fn auditable(&self) -> Vec<Need> {
        let cluster = &self.settings.cluster;
        let mut needs = Vec::new();
        for lb in self.inventory.load_balancers().filter(|lb| tags::of_cluster(&lb.tags, cluster)) {
            needs.push(Need::LoadBalancer(lb.arn.clone()));
            let Some(stack) = lb.tags.get(tags::STACK) else { continue };
            for group in self.inventory.stack_target_groups(cluster, stack) {
                needs.push(Need::TargetGroup(group.arn.clone()));
                needs.push(Need::Targets(group.arn.clone()));
            }
        }
        // These stay for as long as other clusters have targets in them.
        for key in self.garbage.seen() {
            let stack = key.to_string();
            let groups = self.inventory.stack_target_groups(cluster, &stack);
            let shared = groups.filter(|group| tags::is_shared(&group.tags));
            needs.extend(shared.map(|group| Need::Targets(group.arn.clone())));
        }
        needs
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

    /// What is left of Services that are gone, where it shall be deleted.
    pub(super) fn collect(&mut self, now: Instant, out: &mut Effects) {
        if self.rhythm.collect_garbage
            && self.garbage.seen().next().is_some()
            && let Some(op) = self.garbage.plan(&self.inventory, &self.settings, now).ready.into_iter().next()
        {
            self.start(Job::Call(Line::Garbage, op), now, out);
        }
    }
}
