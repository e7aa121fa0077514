//! From a [`Stack`] to calls: what is missing is made, what differs is changed, what is no longer wanted goes, in an order in
//! which traffic never stops and a crash at any point is repaired by the next pass.
//!
//! Order of one pass: front-end group, target groups, load balancer, the targets of groups that a live listener moves to,
//! listeners, the other targets (register, then deregister), then what is stale: load balancers, target groups, groups. A
//! call is ready when all ids in it have been observed.
//!
//! # Crashes
//!
//! Everything is created with its tags, so it is found again. Before the first change to a live stack its fingerprint becomes
//! [`tags::CHANGING`], and after the last one the hash of what is in place: an equal hash proves that nobody needs to
//! describe attributes and listeners, and any other value makes the next pass do so.

use std::collections::{BTreeMap, BTreeSet};

use landfall_model::Instant;

use crate::{
    FrontendGroups, Inventory, LoadBalancer, LoadBalancerArn, Map, Need, Op, Plan, Resource, SecurityGroupId,
    Settings, Stack, TargetGroupArn, TargetSet, TargetState, Waiting, resolve::backend_group, tags,
};

mod delete;
mod group;
mod listeners;
mod load_balancer;
mod target_groups;

pub use delete::release;

/// How soon to look again at a load balancer that is being set up.
const PROVISIONING_MICROS: u64 = 10_000_000;

/// What to do so that AWS has `stack` with these targets, by target group resource.
///
/// Call it again after the ready operations were recorded, and whenever the Service, its targets or the inventory changed.
/// Calling it early costs nothing: without news it answers the same.
#[must_use]
pub fn plan(
    stack: &Stack,
    targets: &BTreeMap<String, TargetSet>,
    settings: &Settings,
    inventory: &Inventory,
    now: Instant,
) -> Plan<Op> {
    let mut plan = Plan::nothing();
    if !inventory.listed() {
        plan.waiting.push(Waiting::Inventory);
        return plan;
    }
    Pass::new(stack, settings, inventory).run(targets, now)
}

/// The targets of some target groups, by resource.
type Targets<'t> = BTreeMap<&'t String, &'t TargetSet>;

/// One pass over one stack.
struct Pass<'a> {
    stack: &'a Stack,
    settings: &'a Settings,
    inventory: &'a Inventory,
    /// `namespace/name`.
    name: String,
    /// The load balancer of the right scheme, or the adopted one.
    live: Option<&'a LoadBalancer>,
    /// The stack's other load balancers.
    others: Vec<&'a LoadBalancer>,
    /// All is in place according to the fingerprint.
    trusted: bool,
    ready: Vec<Op>,
    waiting: BTreeSet<Waiting>,
}

impl<'a> Pass<'a> {
    fn new(stack: &'a Stack, settings: &'a Settings, inventory: &'a Inventory) -> Self {
        let name = stack.key.to_string();
        let wanted = &stack.load_balancer;
        let mut others: Vec<&LoadBalancer> =
            inventory.stack_load_balancers(&settings.cluster, &name).collect();
        let live = match &wanted.adopted {
            Some(arn) => inventory.load_balancer(arn),
            None => others.iter().copied().find(|lb| lb.scheme == wanted.scheme),
        };
        others.retain(|lb| live.is_none_or(|live| live.arn != lb.arn));
        let written = live.and_then(|lb| lb.tags.get(tags::FINGERPRINT));
        let trusted =
            wanted.adopted.is_none() && written.is_some_and(|written| *written == stack.fingerprint());
        Self {
            stack,
            settings,
            inventory,
            name,
            live,
            others,
            trusted,
            ready: Vec::new(),
            waiting: BTreeSet::new(),
        }
    }

    fn run(mut self, targets: &BTreeMap<String, TargetSet>, now: Instant) -> Plan<Op> {
        if self.live.is_none() && !self.others.is_empty() && !self.stack.load_balancer.create_before_delete {
            // Target groups serve one load balancer only: the old one has to go before they can be used again.
            self.delete_others();
            return self.finish(now);
        }
        let front = self.security_group();
        let groups = self.target_groups(targets);
        self.load_balancer(front.as_ref());
        let (moves, rest): (Targets<'_>, Targets<'_>) =
            targets.iter().partition(|(resource, _)| self.moves(resource, &groups));
        self.targets(&groups, moves);
        self.listeners(&groups);
        self.targets(&groups, rest);
        if self.others.is_empty() || self.successor_serves(&groups, targets) {
            self.delete_others();
        }
        self.delete_target_groups(&groups, targets);
        self.delete_security_groups(front.as_ref());
        let of_targets = |op: &Op| matches!(op, Op::RegisterTargets { .. } | Op::DeregisterTargets { .. });
        self.fingerprint(!self.ready.iter().all(of_targets));
        self.finish(now)
    }

    /// Marks a change before its first call, and what is in place after its last.
    fn fingerprint(&mut self, changed: bool) {
        let Some(live) = self.live.filter(|_| self.stack.load_balancer.adopted.is_none()) else { return };
        let tag = |value: String| Op::AddTags {
            resource: Resource::LoadBalancer(live.arn.clone()),
            tags: Map::from([(tags::FINGERPRINT.to_owned(), value)]),
        };
        let written = live.tags.get(tags::FINGERPRINT);
        let marked = changed && written.is_some_and(|written| written != tags::CHANGING);
        if marked {
            self.ready.insert(0, tag(tags::CHANGING.to_owned()));
        }
        if !self.waiting.iter().any(Waiting::blocks) && (marked || !self.trusted) {
            self.ready.push(tag(self.stack.fingerprint()));
        }
    }

    fn finish(mut self, now: Instant) -> Plan<Op> {
        let mut recheck = None;
        if let Some(live) = self.live.filter(|lb| !lb.state.serves()) {
            self.waiting.insert(Waiting::Provisioning(live.arn.clone()));
            recheck = Some(Instant::from_micros(now.as_micros().saturating_add(PROVISIONING_MICROS)));
        }
        Plan { ready: self.ready, waiting: self.waiting.into_iter().collect(), recheck }
    }

    /// What deeper describes said; asks for them where the fingerprint does not vouch for it.
    fn known<T>(&mut self, detail: Option<&'a T>, need: Need) -> Option<&'a T> {
        if detail.is_none() && !self.trusted {
            self.waiting.insert(Waiting::Need(need));
        }
        detail
    }

    fn retag(&mut self, resource: &Resource, have: &Map, want: &Map) {
        let (tags, keys) = tags::difference(have, want, self.settings);
        if !tags.is_empty() {
            self.ready.push(Op::AddTags { resource: resource.clone(), tags });
        }
        if !keys.is_empty() {
            self.ready.push(Op::RemoveTags { resource: resource.clone(), keys });
        }
    }

    /// The groups that the load balancer shall carry, once all of them exist.
    fn frontend_groups(&mut self, front: Option<&SecurityGroupId>) -> Option<BTreeSet<SecurityGroupId>> {
        let wanted = &self.stack.load_balancer.groups;
        let mut groups = match wanted {
            FrontendGroups::None => BTreeSet::new(),
            FrontendGroups::Managed { .. } => BTreeSet::from([front?.clone()]),
            FrontendGroups::Given { groups, .. } => groups.clone(),
        };
        if wanted.backend() {
            let Some(group) = backend_group(self.settings, self.inventory) else {
                self.waiting.insert(Waiting::BackendGroup);
                return None;
            };
            groups.insert(group);
        }
        Some(groups)
    }

    /// With create-before-delete, the old load balancer goes when the new one answers and each target group has a healthy
    /// target.
    fn successor_serves(
        &mut self,
        groups: &BTreeMap<&str, TargetGroupArn>,
        targets: &BTreeMap<String, TargetSet>,
    ) -> bool {
        if !self.stack.load_balancer.create_before_delete {
            return true;
        }
        let active = self.live.is_some_and(|lb| lb.state.serves());
        let healthy = self.stack.target_groups.keys().all(|resource| {
            let wanted = targets.get(resource).is_some_and(|set| !set.wanted.is_empty());
            let group = groups.get(resource.as_str()).and_then(|arn| self.inventory.target_group(arn));
            let states = group.and_then(|group| group.targets.as_ref()).into_iter().flatten();
            !wanted || states.into_iter().any(|(_, state)| *state == TargetState::Healthy)
        });
        if !(active && healthy) {
            let arns: Vec<LoadBalancerArn> = self.others.iter().map(|lb| lb.arn.clone()).collect();
            self.waiting.extend(arns.into_iter().map(Waiting::Successor));
        }
        active && healthy
    }
}

/// Those of `want` that `have` does not show.
fn differing(have: &Map, want: &Map) -> Map {
    want.iter()
        .filter(|(key, value)| have.get(*key) != Some(value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
