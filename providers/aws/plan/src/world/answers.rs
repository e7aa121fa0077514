//! What AWS answered: it is noted, and whoever it concerns is planned again.

use std::collections::BTreeSet;

use landfall_model::{Instant, ServiceKey};

use super::{Answer, Failure, FailureKind, Held, Job, Line, Trouble, World, job::Slot};
use crate::{Listing, Map, Need, Op, tags};

impl World {
    /// Takes what became of a job.
    pub fn answered(&mut self, job: Job, result: Result<Answer, Failure>, now: Instant) {
        let slot = job.slot();
        self.busy.remove(&slot);
        if let Job::Describe(need, _) = &job {
            self.audited(need, result.as_ref().err());
        }
        self.states_due |=
            matches!(job, Job::List(_) | Job::States(_) | Job::Call(_, Op::CreateLoadBalancer(_)));
        match result {
            Ok(answer) => {
                self.troubles.remove(&slot);
                self.take(job, answer, now);
                for service in self.waiters.remove(&slot).unwrap_or_default() {
                    self.touch(&service);
                }
            }
            Err(failure) => self.failed(&job, &failure, now),
        }
    }

    fn failed(&mut self, job: &Job, failure: &Failure, now: Instant) {
        if let Job::Call(_, op) = job {
            // Somebody protects the load balancer against deletion, as its attributes may tell.
            let protected =
                matches!(op, Op::DeleteLoadBalancer { .. }) && failure.kind == FailureKind::Refused;
            if failure.kind == FailureKind::Stale || protected {
                self.inventory.doubt(op);
                self.doubt_instances(op);
            }
        }
        if failure.kind == FailureKind::Stale {
            self.list_at = self.list_at.min(now);
        }
        let until = match job {
            Job::Call(Line::Service(key), op) => {
                self.dirty.insert(key.clone());
                let Some(entry) = self.services.get_mut(key) else { return };
                entry.failed(op, failure, now)
            }
            Job::Call(Line::Backend, op) if Held::takes(failure.kind) => {
                self.backend_dirty = true;
                self.touch_users_of_rule(op);
                if matches!(op, Op::CreateSecurityGroup { .. }) {
                    self.dirty.extend(self.services.keys().cloned());
                }
                Some(self.backend_held.failed(op, failure, now))
            }
            Job::Call(Line::Garbage(key), op) if Held::takes(failure.kind) => {
                Some(self.garbage_held.entry(key.clone()).or_default().failed(op, failure, now))
            }
            Job::List(_) | Job::States(_) | Job::Describe(..) | Job::Instances(_) | Job::Call(..) => None,
        };
        let slot = job.slot();
        let until = until.unwrap_or_else(|| {
            let trouble = Trouble::after(self.troubles.get(&slot), failure, &job.to_string(), now);
            let until = trouble.until;
            self.troubles.insert(slot.clone(), trouble);
            until
        });
        for service in self.waiters.get(&slot).cloned().unwrap_or_default() {
            self.touch(&service);
        }
        if slot == Slot::Listing {
            self.list_at = self.list_at.min(until);
        }
        self.alarms.insert((until, slot));
    }

    /// Plans the Services that a rule is for again.
    fn touch_users_of_rule(&mut self, op: &Op) {
        if let Op::AuthorizeIngress { group, .. } = op {
            let needs = |key: &&ServiceKey| self.openings.need(key, group);
            let users: Vec<ServiceKey> = self.services.keys().filter(needs).cloned().collect();
            self.dirty.extend(users);
        }
    }

    fn take(&mut self, job: Job, answer: Answer, now: Instant) {
        match (job, answer) {
            (Job::List(start), Answer::Listing(listing)) => self.listed(start, *listing, now),
            (Job::States(asked), Answer::States(states)) => {
                for arn in asked {
                    let owner = self.inventory.load_balancer(&arn).and_then(|lb| owner(&lb.tags));
                    match states.get(&arn) {
                        Some((state, reason)) => self.inventory.put_state(&arn, *state, reason.as_deref()),
                        None => self.inventory.remove_load_balancer(&arn),
                    }
                    owner.iter().for_each(|owner| self.touch(owner));
                }
            }
            (Job::Describe(need, start), answer) => {
                if !need.subject().is_some_and(|id| self.inventory.changed_since(id, start)) {
                    self.described(&need, answer);
                }
            }
            (Job::Instances(asked), Answer::Instances(found)) => self.told_instances(asked, found, now),
            (Job::Call(line, op), Answer::Called(outcome)) => {
                self.called(&line, &op, &outcome);
                self.audit_new(&op, &outcome, now);
            }
            // The shell answers what it was asked.
            (Job::List(_) | Job::States(_) | Job::Instances(_) | Job::Call(..), _) => {}
        }
    }

    fn called(&mut self, line: &Line, op: &Op, outcome: &crate::Outcome) {
        self.inventory.record(op, outcome);
        match line {
            Line::Service(key) => {
                if let Some(entry) = self.services.get_mut(key) {
                    entry.succeeded(op);
                    self.dirty.insert(key.clone());
                }
                self.backend_dirty = true;
            }
            Line::Backend => {
                self.backend_dirty = true;
                if self.backend_held.succeeded(op) {
                    self.touch_users_of_rule(op);
                }
                if matches!(op, Op::CreateSecurityGroup { .. } | Op::DeleteSecurityGroup { .. }) {
                    self.dirty.extend(self.services.keys().cloned());
                }
            }
            Line::Garbage(key) => {
                if let Some(held) = self.garbage_held.get_mut(key) {
                    held.succeeded(op);
                }
            }
        }
    }

    fn described(&mut self, need: &Need, answer: Answer) {
        let owner = match need {
            Need::LoadBalancer(arn) | Need::Capacity(arn) => {
                self.inventory.load_balancer(arn).and_then(|lb| owner(&lb.tags))
            }
            Need::TargetGroup(arn) | Need::Targets(arn) => {
                self.inventory.target_group(arn).and_then(|group| owner(&group.tags))
            }
            Need::RouteTables => None,
        };
        self.inventory.put_details(need, answer);
        owner.iter().for_each(|owner| self.touch(owner));
    }

    fn listed(&mut self, start: crate::ListingStart, listing: Listing, now: Instant) {
        self.inventory.replace_listing(start, listing);
        self.audit.outdated = true;
        // Nobody will answer about what is gone.
        let (inventory, troubles) = (&self.inventory, &mut self.troubles);
        let lives = |slot: &Slot| match slot {
            Slot::Need(need) => need.subject().is_none_or(|arn| inventory.knows(arn)),
            Slot::Listing | Slot::States | Slot::Instances | Slot::Line(_) => true,
        };
        self.waiters.retain(|slot, _| lives(slot));
        troubles.retain(|slot, _| lives(slot));
        self.review_instances();
        self.dirty.extend(self.services.keys().cloned());
        self.backend_dirty = true;
        if self.synced {
            let live: BTreeSet<ServiceKey> = self.services.keys().cloned().collect();
            self.garbage.observe(&self.inventory, &live, &self.settings, now).for_each(drop);
        }
    }
}

/// The Service whose tags these are.
fn owner(of: &Map) -> Option<ServiceKey> {
    let (namespace, name) = of.get(tags::STACK)?.split_once('/')?;
    Some(ServiceKey::new(namespace, name))
}
