//! Every cloud Service of the cluster at once: what is observed goes in, requests to AWS and writes to the API server come
//! out. Pure: the shell sends them and reports what became of each.
//!
//! # Cost
//!
//! A changed Service, or changed endpoints, plan that Service. A changed node, and a complete listing, plan all of them, and ask
//! AWS nothing by that: one inventory serves all. What is asked again and again is the listing, one for all Services; states
//! of load balancers that are being set up, 20 in a call; the health of targets that somebody waits for; and the
//! audit, each object once in a round.

mod answers;
mod audit;
mod backends;
mod entry;
mod held;
mod instances;
mod job;
mod needs;
mod observe;
mod pass;
mod periodic;
mod slices;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use audit::Ring;
use entry::Entry;
use held::Held;
use job::Slot;
pub use job::{
    Answer, Failure, FailureKind, Hostname, Instances, Interface, Job, Line, RouteTables, Status, Turn,
    Write, Written,
};
use landfall_model::{Instant, ServiceKey};
pub use observe::{GatedPod, Observation};
use slices::Slice;
use trouble::Trouble;

use crate::{
    DriftKind, Garbage, InstanceId, Inventory, LoadBalancerArn, Need, Node, Service, Settings,
    TargetGroupArn, backend::Openings,
};

/// How often what is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// Between complete listings.
    pub listing: Duration,
    /// For one round of the audit: how long a change by hand may last.
    pub audit: Duration,
    /// Delete what is left of Services that are gone, instead of only telling of it.
    pub collect_garbage: bool,
}

impl Default for Rhythm {
    fn default() -> Self {
        Self { listing: Duration::from_mins(2), audit: Duration::from_mins(30), collect_garbage: false }
    }
}

/// What to do now.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// To send to AWS, at once and side by side.
    pub jobs: Vec<Job>,
    /// To write, in their order.
    pub writes: Vec<Write>,
    /// What was found changed by somebody else, and is put back: for metrics.
    pub drifts: Vec<DriftKind>,
    /// Tell all slices anew, and [`Observation::SlicesListed`] after them.
    pub relist: bool,
    /// When to plan again even if nothing is observed.
    pub recheck: Option<Instant>,
}

/// Questions for one load balancer.
#[derive(Clone, Copy, Debug)]
struct Asked {
    times: u32,
    at: Instant,
}

/// All that is known of Services, nodes and AWS, and what is under way.
#[derive(Debug)]
pub struct World {
    settings: Settings,
    rhythm: Rhythm,
    inventory: Inventory,
    openings: Openings,
    services: BTreeMap<ServiceKey, Entry>,
    /// Services that are not ours, without what nobody asks of them.
    others: BTreeMap<ServiceKey, Service>,
    /// The Services that each Service's actions name, and the other way round.
    used: BTreeMap<ServiceKey, BTreeSet<ServiceKey>>,
    users: BTreeMap<ServiceKey, BTreeSet<ServiceKey>>,
    nodes: BTreeMap<Box<str>, Node>,
    /// By namespace and name of the slice.
    slices: BTreeMap<ServiceKey, Slice>,
    slices_of: BTreeMap<ServiceKey, BTreeSet<ServiceKey>>,
    /// A new list of all slices is under way, and who waits for it.
    relisting: bool,
    wait_for_slices: BTreeSet<ServiceKey>,
    pods: BTreeMap<ServiceKey, GatedPod>,
    instances: Instances,
    wanted_instances: BTreeSet<InstanceId>,
    /// Instances that do not run or are not shown, and how often that was answered.
    hidden: BTreeMap<InstanceId, u8>,
    /// Services whose openings are not known yet.
    unset: BTreeSet<ServiceKey>,
    garbage: Garbage,
    /// Refused calls of [`Line::Garbage`].
    garbage_held: BTreeMap<ServiceKey, Held>,
    synced: bool,
    dirty: BTreeSet<ServiceKey>,
    backend_dirty: bool,
    /// Refused calls of [`Line::Backend`].
    backend_held: Held,
    busy: BTreeSet<Slot>,
    troubles: BTreeMap<Slot, Trouble>,
    waiters: BTreeMap<Slot, BTreeSet<ServiceKey>>,
    alarms: BTreeSet<(Instant, Slot)>,
    list_at: Instant,
    /// A load balancer may have to be asked for.
    states_due: bool,
    states_at: Instant,
    /// When and how often each load balancer that does not serve yet was asked for.
    states_asked: BTreeMap<LoadBalancerArn, Asked>,
    /// Target groups whose targets somebody waits for, and when to ask for them.
    watched: BTreeSet<TargetGroupArn>,
    watch_at: Option<Instant>,
    audit: Ring,
    /// Questions under way that nobody waits for.
    background: BTreeSet<Need>,
    examined: u64,
    /// Services that began to change.
    changes: u64,
}

impl World {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(settings: Settings, rhythm: Rhythm) -> Self {
        Self {
            settings,
            rhythm,
            inventory: Inventory::default(),
            openings: Openings::default(),
            services: BTreeMap::new(),
            others: BTreeMap::new(),
            used: BTreeMap::new(),
            users: BTreeMap::new(),
            nodes: BTreeMap::new(),
            slices: BTreeMap::new(),
            slices_of: BTreeMap::new(),
            relisting: false,
            wait_for_slices: BTreeSet::new(),
            pods: BTreeMap::new(),
            instances: BTreeMap::new(),
            wanted_instances: BTreeSet::new(),
            hidden: BTreeMap::new(),
            unset: BTreeSet::new(),
            garbage: Garbage::default(),
            garbage_held: BTreeMap::new(),
            synced: false,
            dirty: BTreeSet::new(),
            backend_dirty: false,
            backend_held: Held::default(),
            busy: BTreeSet::new(),
            troubles: BTreeMap::new(),
            waiters: BTreeMap::new(),
            alarms: BTreeSet::new(),
            list_at: Instant::ZERO,
            states_due: false,
            states_at: Instant::ZERO,
            states_asked: BTreeMap::new(),
            watched: BTreeSet::new(),
            watch_at: None,
            audit: Ring::default(),
            background: BTreeSet::new(),
            examined: 0,
            changes: 0,
        }
    }

    /// What to do now. Each job and write is handed out once.
    pub fn plan(&mut self, now: Instant) -> Effects {
        let mut out = Effects::default();
        while let Some((at, slot)) = self.alarms.first().cloned() {
            if at > now {
                break;
            }
            self.alarms.pop_first();
            self.ring(slot);
        }
        self.periodic(now, &mut out);
        if self.synced && self.inventory.listed() {
            while let Some(key) = self.dirty.pop_first() {
                self.examined += 1;
                self.pass(&key, now, &mut out);
            }
            self.ask_instances(now, &mut out);
            self.backend(now, &mut out);
            self.collect(now, &mut out);
            self.audit(now, &mut out);
        } else if self.synced {
            self.tell_unlisted(&mut out);
        }
        let wake = [Some(self.list_at), self.watch_at, self.audit.at, self.alarms.first().map(|(at, _)| *at)];
        out.recheck = wake.into_iter().flatten().filter(|at| *at > now).min();
        out
    }

    fn ring(&mut self, slot: Slot) {
        match &slot {
            Slot::Line(Line::Service(key)) => self.touch(key),
            Slot::Line(Line::Backend) => self.backend_dirty = true,
            Slot::States => self.states_due = true,
            Slot::Instances => self.ask_for_hidden(),
            Slot::Line(Line::Garbage(_)) | Slot::Listing => {}
            Slot::Need(_) => {
                for service in self.waiters.get(&slot).cloned().unwrap_or_default() {
                    self.touch(&service);
                }
            }
        }
    }

    /// Begins a job unless one of its slot is under way or has to wait after a failure.
    fn start(&mut self, job: Job, now: Instant, out: &mut Effects) -> bool {
        let slot = job.slot();
        if self.busy.contains(&slot) {
            return false;
        }
        if let Some(trouble) = self.troubles.get(&slot)
            && trouble.until > now
        {
            self.alarms.insert((trouble.until, slot));
            return false;
        }
        self.busy.insert(slot);
        out.jobs.push(job);
        true
    }

    /// When a job of [`Self::plan`] goes, where several wait. Ask it before anything else is observed.
    #[must_use]
    pub fn turn(&self, job: &Job) -> Turn {
        match job {
            Job::Call(Line::Service(key), _) => self.services.get(key).map_or(Turn::FIRST, Entry::turn),
            Job::Call(Line::Garbage(_), _) => Turn::LAST,
            Job::Describe(need, _) if self.background.contains(need) => Turn::LAST,
            Job::List(_)
            | Job::States(_)
            | Job::Instances(_)
            | Job::Describe(..)
            | Job::Call(Line::Backend, _) => Turn::FIRST,
        }
    }

    /// How many Services have been planned: what one change costs.
    #[must_use]
    pub const fn examined(&self) -> u64 {
        self.examined
    }

    /// How many endpoints are kept: what the pods of a cluster cost here.
    #[must_use]
    pub fn kept_endpoints(&self) -> usize {
        self.slices.values().filter_map(|(_, endpoints)| endpoints.as_ref()).map(Vec::len).sum()
    }

    /// How many Services wait for what, by the reason of their condition; those that serve are `Active`.
    #[must_use]
    pub fn by_reason(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for entry in self.services.values() {
            *counts.entry(entry.reason()).or_default() += 1;
        }
        counts
    }

    /// What is left of Services that are gone, for the report.
    pub fn garbage(&self) -> impl Iterator<Item = &ServiceKey> {
        self.garbage.seen()
    }

    /// What is known of AWS.
    #[must_use]
    pub const fn inventory(&self) -> &Inventory {
        &self.inventory
    }
}
