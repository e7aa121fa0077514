//! Target groups and their targets.

use std::collections::{BTreeMap, BTreeSet};

use super::{Pass, differing};
use crate::{
    CreateTargetGroup, HealthCheck, Inventory, Listener, LoadBalancer, Need, Op, Own, Resource,
    TARGETS_PER_CALL, Target, TargetGroup, TargetGroupArn, TargetSet, TargetState, Waiting,
    WantedTargetGroup, ledger::registered, names, tags,
};

/// Groups of one resource at a time: that of a load balancer that waits for its successor, that of the successor, and the one to
/// which the successor's listener moves.
const NAMES: usize = 3;

impl<'a> Pass<'a> {
    /// Makes target groups or mends them. Answers the ARNs of those that exist, by resource.
    pub(super) fn target_groups(
        &mut self,
        targets: &BTreeMap<String, TargetSet>,
    ) -> BTreeMap<&'a str, TargetGroupArn> {
        let mut found = BTreeMap::new();
        let stack = self.stack;
        let own = own(targets);
        for (resource, wanted) in &stack.target_groups {
            if let Some(group) = self.matching(resource, wanted) {
                if self.may_share(group, wanted, own) {
                    self.retag(&Resource::TargetGroup(group.arn.clone()), &group.tags, &wanted.create.tags);
                }
                self.mend_target_group(group, wanted);
                found.insert(resource.as_str(), group.arn.clone());
            } else {
                self.create_target_group(&wanted.create);
            }
        }
        found
    }

    /// A group that cannot be changed as wanted keeps its name until the listener has left it.
    fn create_target_group(&mut self, create: &CreateTargetGroup) {
        let names = std::iter::successors(Some(create.name.clone()), |name| Some(names::successor(name)));
        let free = |name: &String| self.inventory.target_group_named(name).is_none();
        match names.take(NAMES).find(free) {
            Some(name) => {
                let create = CreateTargetGroup { name, ..create.clone() };
                self.ready.push(Op::CreateTargetGroup(Box::new(create)));
                self.waiting.insert(Waiting::Earlier);
            }
            None => _ = self.waiting.insert(Waiting::NameTaken(create.name.clone())),
        }
    }

    /// The live group: ours, of this resource, with all that cannot be changed as wanted, and free for our load balancer. Its
    /// name and port are not compared, since targets carry their own ports. One in use comes first.
    fn matching(&self, resource: &str, wanted: &WantedTargetGroup) -> Option<&'a TargetGroup> {
        let create = &wanted.create;
        let live = self.live.map(|lb| &lb.arn);
        let groups = self.inventory.stack_target_groups(&self.settings.cluster, &self.name);
        let usable = groups.filter(|group| {
            group.tags.get(tags::RESOURCE).is_some_and(|value| value == resource)
                && group.protocol == create.protocol
                && group.target_type == create.target_type
                && group.family == create.family
                && group.load_balancers.iter().all(|arn| Some(arn) == live)
        });
        usable.min_by_key(|group| (group.load_balancers.is_empty(), &group.arn))
    }

    /// From its tag on, other clusters may have targets in a group, so the Service remembers all that is in it before.
    fn may_share(&mut self, group: &TargetGroup, wanted: &WantedTargetGroup, own: Option<&Own>) -> bool {
        let begins = tags::is_shared(&wanted.create.tags) && !tags::is_shared(&group.tags);
        let Some(own) = own.filter(|_| begins) else { return true };
        let known = group.targets.is_some();
        let remembered = known && registered(group).all(|target| own.ledger.holds(target));
        if !remembered {
            let need = Waiting::Need(Need::Targets(group.arn.clone()));
            self.waiting.insert(if known { Waiting::Ledger } else { need });
        }
        remembered
    }

    fn mend_target_group(&mut self, group: &'a TargetGroup, wanted: &WantedTargetGroup) {
        if !same_check(&group.health_check, &wanted.create.health_check) {
            let health_check = wanted.create.health_check.clone();
            self.ready.push(Op::ModifyTargetGroup { arn: group.arn.clone(), health_check });
        }
        if wanted.attributes.is_empty() {
            return;
        }
        if let Some(attributes) = self.known(group.attributes.as_ref(), Need::TargetGroup(group.arn.clone()))
        {
            let attributes = differing(attributes, &wanted.attributes);
            if !attributes.is_empty() {
                self.ready.push(Op::ModifyTargetGroupAttributes { arn: group.arn.clone(), attributes });
            }
        }
    }

    /// Registers first, then deregisters: a roll-out never leaves a group with fewer targets than before. Targets of other
    /// clusters are left alone.
    pub(super) fn targets(&mut self, groups: &BTreeMap<&str, TargetGroupArn>, targets: super::Targets<'_>) {
        for (resource, set) in targets {
            let Some(group) = groups.get(resource.as_str()).and_then(|arn| self.inventory.target_group(arn))
            else {
                continue;
            };
            let Some(have) = group.targets.as_ref() else {
                self.waiting.insert(Waiting::Need(Need::Targets(group.arn.clone())));
                continue;
            };
            let serving =
                |target: &Target| have.get(target).is_some_and(|state| *state != TargetState::Draining);
            let new: Vec<Target> = set.wanted.iter().filter(|target| !serving(target)).cloned().collect();
            let replaced = new.is_empty()
                && set.wanted.iter().all(|target| have.get(target) != Some(&TargetState::Initial))
                && set.wanted.iter().any(|target| have.get(target) == Some(&TargetState::Healthy));
            let shared = set.own.as_ref().filter(|_| tags::is_shared(&group.tags));
            let ours = |target: &Target| shared.is_none_or(|own| own.holds(target));
            let leaving: BTreeSet<&Target> = have
                .keys()
                .filter(|target| serving(target) && !set.wanted.contains(*target) && ours(target))
                .collect();
            let (held, gone): (Vec<&Target>, Vec<&Target>) =
                leaving.into_iter().partition(|target| set.lingering.contains(*target) && !replaced);
            if !held.is_empty() {
                self.waiting.insert(Waiting::Replacement(group.arn.clone()));
            }
            let arn = &group.arn;
            let (unknown, new): (Vec<Target>, Vec<Target>) =
                new.into_iter().partition(|target| set.unknown.contains(target));
            if !unknown.is_empty() {
                self.waiting.insert(Waiting::Instances);
            }
            let remembered = |target: &Target| set.own.as_ref().is_none_or(|own| own.ledger.holds(target));
            let all = new.len();
            let new: Vec<Target> = new.into_iter().filter(remembered).collect();
            let register = new.chunks(TARGETS_PER_CALL);
            self.ready.extend(
                register.map(|targets| Op::RegisterTargets { arn: arn.clone(), targets: targets.to_vec() }),
            );
            if new.len() < all {
                self.waiting.insert(Waiting::Ledger);
            } else {
                deregister(group, &gone, &mut self.ready);
            }
        }
    }

    /// Groups that are no longer wanted, once no load balancer forwards to them. One that was adopted and is no longer is left
    /// when ours serves.
    pub(super) fn delete_target_groups(
        &mut self,
        groups: &BTreeMap<&str, TargetGroupArn>,
        targets: &BTreeMap<String, TargetSet>,
    ) {
        let own = own(targets);
        let all = self.inventory.stack_target_groups(&self.settings.cluster, &self.name);
        let stale: Vec<_> = all.filter(|group| !groups.values().any(|arn| *arn == group.arn)).collect();
        for group in stale {
            if !self.inventory.in_use(group) {
                delete(group, own, &mut self.ready, &mut |waiting| _ = self.waiting.insert(waiting));
                continue;
            }
            self.waiting.insert(Waiting::Earlier);
            if self.live.is_some_and(|lb| lb.state.serves()) {
                let live = self.live.map(|lb| &lb.arn);
                let foreign = |lb: &LoadBalancer| {
                    Some(&lb.arn) != live && !tags::owned(&lb.tags, &self.settings.cluster, &self.stack.key)
                };
                detach(group, self.inventory, foreign, &mut self.ready, &mut |waiting| {
                    self.waiting.insert(waiting);
                });
            }
        }
    }
}

fn own(targets: &BTreeMap<String, TargetSet>) -> Option<&Own> {
    targets.values().find_map(|set| set.own.as_ref())
}

/// Deletes a group that no load balancer forwards to. One in which other clusters have targets loses ours and stays: they know it
/// by its ARN, and a Service of the same name takes it again.
pub(super) fn delete(
    group: &TargetGroup,
    own: Option<&Own>,
    ready: &mut Vec<Op>,
    wait: &mut dyn FnMut(Waiting),
) {
    let Some(own) = own.filter(|_| tags::is_shared(&group.tags)) else {
        ready.push(Op::DeleteTargetGroup { arn: group.arn.clone() });
        return;
    };
    if group.targets.is_none() {
        return wait(Waiting::Need(Need::Targets(group.arn.clone())));
    }
    let (ours, theirs): (Vec<&Target>, Vec<&Target>) =
        registered(group).partition(|target| own.holds(target));
    if theirs.is_empty() {
        ready.push(Op::DeleteTargetGroup { arn: group.arn.clone() });
    } else {
        deregister(group, &ours, ready);
    }
}

fn deregister(group: &TargetGroup, targets: &[&Target], ready: &mut Vec<Op>) {
    let some = targets.chunks(TARGETS_PER_CALL).map(|some| some.iter().copied().cloned().collect());
    ready.extend(some.map(|targets| Op::DeregisterTargets { arn: group.arn.clone(), targets }));
}

/// Deletes the listeners that forward to a group of ours on load balancers that are not.
pub(super) fn detach(
    group: &TargetGroup,
    inventory: &Inventory,
    foreign: impl Fn(&LoadBalancer) -> bool,
    ready: &mut Vec<Op>,
    wait: &mut dyn FnMut(Waiting),
) {
    let known = group.load_balancers.iter().filter_map(|arn| inventory.load_balancer(arn));
    for lb in known.filter(|lb| foreign(lb)) {
        let Some(listeners) = &lb.listeners else {
            wait(Waiting::Need(Need::LoadBalancer(lb.arn.clone())));
            continue;
        };
        let its = |listener: &&Listener| listener.forward.as_ref().is_some_and(|to| to.includes(&group.arn));
        let ours = listeners.values().filter(its);
        ready.extend(ours.map(|listener| Op::DeleteListener { arn: listener.arn.clone() }));
    }
}

/// Fields that are not asked for are not compared: AWS fills them in. Nor are codes and a timeout that are not told.
fn same_check(have: &HealthCheck, want: &HealthCheck) -> bool {
    let asked = HealthCheck {
        path: want.path.as_ref().and(have.path.clone()),
        matcher: want.matcher.as_ref().map(|codes| have.matcher.as_ref().unwrap_or(codes).clone()),
        timeout: want.timeout.map(|seconds| have.timeout.unwrap_or(seconds)),
        ..have.clone()
    };
    asked == *want
}
