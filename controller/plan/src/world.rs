use std::collections::{BTreeMap, BTreeSet};

use landfall_model::{
    Family, Instant, Invalid, Labels, ObjectName, Observation, Pool, Reason, ServiceKey, ServiceStatusWrite,
    ServiceView,
};
use landfall_pool::{Allocator, Change, Claimant, Counts, PoolUpdate};

use crate::{
    Effect, Outcome, Plan, Settings,
    announced::Announcements,
    decide::{Case, Target, decide},
    entry::{Decided, Entry},
    ownership::{Ownership, suspended},
    queue::{Age, Queue, Queues, count},
    report::{Due, Reports},
};

/// The kind of pools in [`ObjectName::kind`].
const POOL_KIND: &str = "IPAddressPool";

/// An index of what was observed, and the decisions made on it. See the crate's documentation for how to drive it.
#[derive(Clone, Debug, Default)]
pub struct World {
    settings: Settings,
    synced: bool,
    /// Addresses in use have been taken over: decisions are being made.
    deciding: bool,
    services: BTreeMap<ServiceKey, Entry>,
    namespaces: BTreeMap<Box<str>, Labels>,
    /// Pools that came before the first list was complete.
    offered: BTreeMap<Box<str>, Pool>,
    allocator: Allocator,
    invalid: BTreeMap<ObjectName, Invalid>,
    /// Pools whose newest version cannot be read.
    unreadable: BTreeSet<Box<str>>,
    dirty: BTreeSet<Age>,
    queues: Queues,
    waiting: BTreeSet<ServiceKey>,
    /// All that wait are to be looked at again.
    reconsider: bool,
    waiting_by_reason: BTreeMap<Reason, usize>,
    /// Pools and families with something free to offer, and who was asked last.
    offers: BTreeMap<(Box<str>, Family), Option<Age>>,
    retries: BTreeSet<(Instant, ServiceKey)>,
    reports: Reports,
    announcements: Announcements,
    examined: u64,
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Takes over one fact. Kinds that allocation does not depend on are ignored.
    pub fn observe(&mut self, observation: Observation) {
        match observation {
            Observation::Service(key, Some(view)) => self.observe_service(key, view),
            Observation::Service(key, None) => self.remove_service(&key),
            Observation::Pool(name, pool) => self.observe_pool(name, pool),
            Observation::Namespace(name, labels) => self.observe_namespace(name, labels),
            Observation::Node(name, node) => {
                let addresses = node.map(|node| node.addresses).unwrap_or_default();
                for pool in self.allocator.set_node(&name, addresses) {
                    self.reports.touch(&pool);
                }
            }
            Observation::Invalid(object, invalid) => self.observe_invalid(object, invalid),
            Observation::Announcement(name, announcement) => {
                self.announcements.observe(name, announcement.map(|announcement| *announcement));
            }
            Observation::Synced => self.begin(),
            Observation::L2Advertisement(..)
            | Observation::Bgp(_)
            | Observation::EndpointSlice(..)
            | Observation::Speaker(..) => {}
        }
    }

    /// Takes over what the status of a pool shows (`None`: nothing), so that the same is not written again.
    pub fn observe_pool_status(&mut self, pool: &str, counts: Option<Counts>) {
        self.reports.observe(pool, counts);
    }

    /// Takes over what came of an [`Effect::Service`]. A report that nobody waits for is ignored.
    pub fn written(&mut self, write: &ServiceStatusWrite, outcome: Outcome, now: Instant) {
        let Some(entry) = self.services.get_mut(&write.key) else { return };
        let (again, at) = entry.written(write, outcome, now);
        if again {
            self.dirty.insert(entry.age());
        }
        if let Some(at) = at {
            self.retries.insert((at, write.key.clone()));
        }
    }

    /// Takes over what came of an [`Effect::PoolStatus`]. A report that nobody waits for is ignored.
    pub fn pool_written(&mut self, pool: &str, outcome: &Outcome, now: Instant) {
        self.reports.written(pool, outcome, now);
    }

    /// Decides about everything that changed since the last call. Empty before [`Observation::Synced`].
    pub fn plan(&mut self, now: Instant) -> Plan {
        let mut effects = Vec::new();
        if !self.synced {
            return Plan::default();
        }
        self.allocator.at(now);
        if !self.deciding {
            self.take_over();
        }
        let announced = self.announcements.take_due(now);
        self.dirty.extend(announced.iter().filter_map(|key| Some(self.services.get(key)?.age())));
        while let Some((_, key)) = self.retries.pop_first_if_due(now) {
            if let Some(entry) = self.services.get(&key) {
                self.dirty.insert(entry.age());
            }
        }
        self.absorb_changes();
        if std::mem::take(&mut self.reconsider) {
            self.dirty.extend(self.waiting.iter().filter_map(|key| Some(self.services.get(key)?.age())));
        }
        for (_, key) in self.with_addresses() {
            self.examine(&key, now, &mut effects);
        }
        loop {
            while let Some((_, key)) = self.dirty.pop_first() {
                self.examine(&key, now, &mut effects);
            }
            match self.next_in_line() {
                Some(age) => self.dirty.insert(age),
                None => break,
            };
        }
        self.reports.effects(&self.allocator, now, &mut effects);
        let next_retry = self.retries.first().map(|(at, _)| *at);
        let rested = self.allocator.next_end_of_quarantine();
        let others = [self.reports.recheck(), self.announcements.next(), rested];
        let recheck = others.into_iter().chain([next_retry]).flatten().min();
        Plan { effects, recheck }
    }

    /// Drops every decision and keeps what was observed: for a leader that is none any more. The next plan starts
    /// from the status of all Services again.
    pub fn forget_decisions(&mut self) {
        for entry in self.services.values_mut() {
            entry.decided = Decided::default();
        }
        self.deciding = false;
        self.allocator.release_all();
        self.dirty.clear();
        self.queues = Queues::default();
        self.waiting.clear();
        self.reconsider = false;
        self.waiting_by_reason.clear();
        self.offers.clear();
        self.retries.clear();
        self.reports.forget_flights();
    }

    /// Services of ours that have not what they should have, and why: reason and sentence, by name. Empty on
    /// replicas that do not plan.
    pub fn waiting(&self) -> impl Iterator<Item = (&ServiceKey, Reason, &str)> {
        self.waiting.iter().filter_map(|key| {
            let (reason, message) = self.services.get(key)?.decided.waiting.as_ref()?;
            Some((key, *reason, message.as_str()))
        })
    }

    /// How many Services [`World::waiting`] lists for each reason, without going through them.
    #[must_use]
    pub const fn waiting_by_reason(&self) -> &BTreeMap<Reason, usize> {
        &self.waiting_by_reason
    }

    /// Objects that could not be parsed, by kind and name; their last valid version is in force.
    pub fn invalid(&self) -> impl Iterator<Item = (&ObjectName, &Invalid)> {
        self.invalid.iter()
    }

    /// The pools in force, the refused ones, and who holds what.
    #[must_use]
    pub const fn allocator(&self) -> &Allocator {
        &self.allocator
    }

    /// What was last observed of a Service, or written to it since.
    #[must_use]
    pub fn service(&self, key: &ServiceKey) -> Option<&ServiceView> {
        self.services.get(key).map(|entry| &*entry.view)
    }

    /// How many times a Service was looked at, since the start.
    #[must_use]
    pub const fn examined(&self) -> u64 {
        self.examined
    }

    fn observe_service(&mut self, key: ServiceKey, view: Box<ServiceView>) {
        if self.services.get(&key).is_some_and(|entry| entry.view.uid != view.uid) {
            self.remove_service(&key);
        }
        let entry = match self.services.get_mut(&key) {
            Some(entry) => {
                if !entry.observe(view) {
                    return;
                }
                entry
            }
            None => self.services.entry(key).or_insert(Entry::new(view)),
        };
        if self.deciding {
            self.dirty.insert(entry.age());
        }
    }

    fn remove_service(&mut self, key: &ServiceKey) {
        let Some(entry) = self.services.remove(key) else { return };
        let age = entry.age();
        for queue in &entry.decided.queues {
            self.queues.leave(queue, &age);
        }
        self.waiting.remove(key);
        count(&mut self.waiting_by_reason, entry.decided.waiting.as_ref(), None);
        self.dirty.remove(&age);
        self.allocator.release(key);
    }

    fn observe_pool(&mut self, name: Box<str>, pool: Option<Box<Pool>>) {
        if pool.is_none() {
            self.reports.gone(&name);
        }
        if !self.synced {
            match pool {
                Some(pool) => self.offered.insert(name, *pool),
                None => self.offered.remove(&name),
            };
            return;
        }
        let update = match pool {
            Some(pool) => self.allocator.set_pool(*pool),
            None => {
                // Those whose addresses come from it wait for just this.
                self.reconsider |= self.deciding && self.allocator.is_refused(&name);
                self.allocator.remove_pool(&name)
            }
        };
        self.pools_changed(update);
    }

    /// Looks again at all that a change of pools may help or hurt.
    fn pools_changed(&mut self, update: PoolUpdate) {
        if update.pools.is_empty() {
            return;
        }
        for pool in &update.pools {
            self.reports.touch(pool);
        }
        if self.deciding {
            let holders = update.holders.iter().filter_map(|key| self.services.get(key));
            self.dirty.extend(holders.map(Entry::age));
            self.reconsider = true;
        }
    }

    fn observe_invalid(&mut self, object: ObjectName, invalid: Option<Box<Invalid>>) {
        let pool = object.kind == POOL_KIND;
        match invalid {
            Some(invalid) => {
                if pool {
                    self.unreadable.insert(object.name.clone());
                }
                self.invalid.insert(object, *invalid);
            }
            None => {
                self.reconsider |= pool && self.unreadable.remove(&object.name) && self.deciding;
                self.invalid.remove(&object);
            }
        }
    }

    fn observe_namespace(&mut self, name: Box<str>, labels: Option<Labels>) {
        let before = match labels.clone() {
            Some(labels) => self.namespaces.insert(name.clone(), labels),
            None => self.namespaces.remove(&name),
        };
        // A namespace that is not known counts as one without labels.
        if !self.deciding || before.unwrap_or_default() == labels.unwrap_or_default() {
            return;
        }
        let selects =
            |pool: &Pool| pool.allocation.as_ref().is_some_and(|a| !a.namespace_selectors.is_empty());
        if self.allocator.pools().any(selects) {
            let first = ServiceKey { namespace: name.clone(), name: Box::default() };
            let inside = self.services.range(first..).take_while(|(key, _)| key.namespace == name);
            self.dirty.extend(inside.map(|(_, entry)| entry.age()));
        }
    }

    /// The first list is complete: brings the pools into force. Of those that overlap, the ones that Services have
    /// addresses from win, then the first by name.
    fn begin(&mut self) {
        if std::mem::replace(&mut self.synced, true) {
            return;
        }
        let used: BTreeSet<Box<str>> = self
            .services
            .values()
            .flat_map(|entry| entry.view.requests.pools_held())
            .map(Into::into)
            .collect();
        let (first, then): (Vec<Pool>, Vec<Pool>) =
            std::mem::take(&mut self.offered).into_values().partition(|pool| used.contains(&pool.name));
        for pool in first.into_iter().chain(then) {
            let update = self.allocator.set_pool(pool);
            self.pools_changed(update);
        }
    }

    /// Takes over every address in a status of ours, those with our mark first, then the oldest Service first. What
    /// cannot be taken over is sorted out when its Service is looked at.
    fn take_over(&mut self) {
        let mut claims: Vec<(Ownership, Age)> = Vec::new();
        for entry in self.services.values() {
            let view = &entry.view;
            if view.load_balancer && self.settings.handles(view) && !view.deleting {
                let ownership = Ownership::of(view, &self.allocator);
                match ownership {
                    Ownership::Marked | Ownership::Recognised => claims.push((ownership, entry.age())),
                    Ownership::Empty | Ownership::Foreign => {}
                }
            }
        }
        claims.sort_unstable();
        let none = Labels::new();
        for (_, (_, key)) in claims {
            let Some(entry) = self.services.get(&key) else { continue };
            let labels = self.namespaces.get(&key.namespace).unwrap_or(&none);
            let addresses: Vec<_> = entry.view.addresses().collect();
            // A refusal is found again, and acted on, when the Service is examined.
            let _refused = self.allocator.claim(&Claimant::of(&entry.view, labels), &addresses);
        }
        self.dirty = self.services.values().map(Entry::age).collect();
        self.announcements.begin();
        self.deciding = true;
    }

    fn examine(&mut self, key: &ServiceKey, now: Instant, effects: &mut Vec<Effect>) {
        let Some(entry) = self.services.get_mut(key) else { return };
        let mut wake = None;
        if !entry.ready(now, &mut wake) {
            self.retries.extend(wake.map(|at| (at, key.clone())));
            return;
        }
        self.examined += 1;
        let none = Labels::new();
        let pool_suspended = suspended(&entry.view, &self.unreadable, &self.allocator);
        let mut decision = decide(
            &mut self.allocator,
            &Case {
                view: &entry.view,
                namespace_labels: self.namespaces.get(&key.namespace).unwrap_or(&none),
                our_class: self.settings.handles(&entry.view),
                pool_suspended,
                was_ours: entry.decided.ours,
                edited: entry.edited(),
            },
        );
        if matches!(decision.target, Target::Set { .. }) {
            decision.conditions.extend(self.announcements.condition(&entry.view));
        }
        let age = entry.age();
        for queue in entry.decided.queues.drain(..) {
            self.queues.leave(&queue, &age);
        }
        for queue in &decision.queues {
            self.queues.join(queue.clone(), age.clone());
        }
        if decision.queues.is_empty() && decision.waiting.is_none() {
            self.waiting.remove(key);
        } else {
            self.waiting.insert(key.clone());
        }
        entry.decided.queues = std::mem::take(&mut decision.queues);
        count(&mut self.waiting_by_reason, entry.decided.waiting.as_ref(), decision.waiting.as_ref());
        entry.decide(decision, effects);
        self.absorb_changes();
    }

    /// Finds out whom the latest changes of addresses may help.
    fn absorb_changes(&mut self) {
        for change in self.allocator.take_changes() {
            let (address, key) = match change {
                Change::Left { namespace } => {
                    self.dirty.extend(self.queues.all(&Queue::Namespace(namespace)).cloned());
                    continue;
                }
                Change::Users { address, key } => (address, key),
                Change::Freed { pool, address } => {
                    if let Some(pool) = pool {
                        self.offers.insert((pool, Family::of(address)), None);
                    }
                    (address, None)
                }
            };
            if let Some(pool) = self.allocator.pool_of(address) {
                self.reports.touch(pool);
            }
            self.dirty.extend(self.queues.all(&Queue::Address(address)).cloned());
            if let Some(key) = key {
                self.dirty.extend(self.queues.all(&Queue::Key(key)).cloned());
            }
        }
    }

    /// The oldest that waits for something that is free, and has not been asked since it is.
    fn next_in_line(&mut self) -> Option<Age> {
        while let Some(mut offer) = self.offers.first_entry() {
            let (pool, family) = offer.key();
            if self.allocator.has_free(pool, *family) {
                let asked = offer.get().as_ref();
                let named = self.queues.next(&Queue::Pool(pool.clone(), *family), asked);
                let open = self.allocator.pool(pool).is_some_and(|p| p.auto_assign && p.allocation.is_none());
                let both = open && [Family::V4, Family::V6].iter().all(|f| self.allocator.has_general(*f));
                let general = if open { self.queues.next(&Queue::General(*family), asked) } else { None };
                let both = if both { self.queues.next(&Queue::GeneralBoth, asked) } else { None };
                if let Some(age) = named.into_iter().chain(general).chain(both).min().cloned() {
                    offer.insert(Some(age.clone()));
                    return Some(age);
                }
            }
            offer.remove();
        }
        None
    }

    /// Takes those out of `dirty` that have something in their status. They come before those that have nothing:
    /// what they lose is there for the others in the same plan, and what they may keep nobody else gets first.
    fn with_addresses(&mut self) -> BTreeSet<Age> {
        let shows = |(_, key): &Age| self.services.get(key).is_some_and(|e| !e.view.ingress.is_empty());
        let (first, rest) = std::mem::take(&mut self.dirty).into_iter().partition(shows);
        self.dirty = rest;
        first
    }
}
