//! Writes to the API server that the engine asked for: statuses, the latest of each Service, and events. They are
//! beside the path of failover and may be late or fail.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound::{Excluded, Unbounded},
    time::Duration,
};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use landfall_kubernetes::write::{EventWrite, L2Status, L2StatusFound, L2StatusWrite, Store, WriteError};
use landfall_model::{Assigned, ServiceKey};
use tokio::time::{Instant, sleep};

const IN_FLIGHT: usize = 8;
/// Events that wait at most; more are dropped and counted, since an event is only a notice.
const EVENTS_WAITING: usize = 2_000;
/// After a failure that may pass.
const SHORT_PAUSE: Duration = Duration::from_secs(1);
/// After a refusal, which somebody must mend first.
const LONG_PAUSE: Duration = Duration::from_secs(30);
/// After a write that met no API server, it may still be starting for so long.
const STARTS_WITHIN: Duration = Duration::from_secs(30);
const FORBIDDEN: u16 = 403;

/// What became of a write.
pub(crate) enum Done {
    /// Of a status, with what it was.
    Status(ServiceKey, Option<L2Status>, Result<(), WriteError>),
    /// Of an event.
    Event(Box<EventWrite>, Result<(), WriteError>),
    /// Of the question what is written about a node.
    Found(Box<str>, Result<Vec<L2StatusFound>, WriteError>),
    /// Of the removal of a status that is not true, written about this node.
    Removed(Box<str>, Result<(), WriteError>),
    /// Of a decision of another machine.
    Adopted(Box<Assigned>, Result<(), WriteError>),
}

impl Done {
    /// The kind of the write and its failure.
    pub(crate) fn outcome(&self) -> (&'static str, Option<&WriteError>) {
        match self {
            Self::Status(_, _, result) => ("status", result.as_ref().err()),
            Self::Event(_, result) => ("event", result.as_ref().err()),
            Self::Found(_, result) => ("list", result.as_ref().err()),
            Self::Removed(_, result) => ("removal", result.as_ref().err()),
            Self::Adopted(_, result) => ("adoption", result.as_ref().err()),
        }
    }
}

enum Job {
    /// After this pause.
    Event(Box<EventWrite>, Duration),
    Find(Box<str>),
    /// About this node, of this name.
    Remove(Box<str>, Box<str>),
    Adopt(Box<Assigned>),
}

/// The writes that wait and those that are on their way.
pub(crate) struct Outbox {
    store: Store,
    node: Box<str>,
    /// What this node announces.
    announced: BTreeSet<ServiceKey>,
    statuses: BTreeMap<ServiceKey, Option<L2Status>>,
    /// The Service whose status was last sent off. The one after it is next, so that those that are refused again and
    /// again hold up none of the others for ever.
    last: Option<ServiceKey>,
    /// The last thing sent off was a status.
    status_last: bool,
    /// Services with a write on its way: writes of one Service go one after another.
    busy: BTreeSet<ServiceKey>,
    jobs: VecDeque<Job>,
    /// When a write last met no API server.
    away: Option<Instant>,
    flying: FuturesUnordered<BoxFuture<'static, Done>>,
}

impl Outbox {
    pub(crate) fn new(store: Store, node: &str) -> Self {
        Self {
            store,
            node: node.into(),
            announced: BTreeSet::new(),
            statuses: BTreeMap::new(),
            last: None,
            status_last: false,
            busy: BTreeSet::new(),
            jobs: VecDeque::new(),
            away: None,
            flying: FuturesUnordered::new(),
        }
    }

    /// Queues a status in place of an older one that still waits.
    pub(crate) fn status(&mut self, service: ServiceKey, status: Option<L2Status>) {
        if status.is_some() {
            self.announced.insert(service.clone());
        } else {
            self.announced.remove(&service);
        }
        self.statuses.insert(service, status);
        self.start();
    }

    /// Queues an event. False when it was dropped because too many wait.
    pub(crate) fn event(&mut self, event: EventWrite) -> bool {
        if self.jobs.len() >= EVENTS_WAITING {
            return false;
        }
        self.jobs.push_back(Job::Event(Box::new(event), Duration::ZERO));
        self.start();
        true
    }

    /// Removes what is written about `node` and no longer true: of this node, all that it does not announce; of
    /// another one, all that this node announces now.
    pub(crate) fn tidy(&mut self, node: &str) {
        self.find(node);
        self.start();
    }

    /// Queues a decision of another machine.
    pub(crate) fn adopt(&mut self, assigned: Assigned) {
        self.jobs.push_back(Job::Adopt(Box::new(assigned)));
        self.start();
    }

    /// Whether nothing is on its way or waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.flying.is_empty()
    }

    /// The next write that ends. Only to be called while one is on its way. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Done> {
        let done = self.flying.next().await?;
        self.take_in(&done);
        self.start();
        Some(done)
    }

    /// Keeps what did not arrive, to be tried again.
    fn take_in(&mut self, done: &Done) {
        if let (_, Some(WriteError::Unavailable { .. })) = done.outcome() {
            self.away = Some(Instant::now());
        }
        match done {
            Done::Status(service, status, result) => {
                self.busy.remove(service);
                if result.as_ref().is_err_and(|error| !matches!(error, WriteError::Gone { .. })) {
                    self.statuses.entry(service.clone()).or_insert_with(|| status.clone());
                }
            }
            Done::Found(node, Ok(found)) => self.sort_out(node, found),
            Done::Found(node, Err(_)) => self.find(node),
            Done::Adopted(assigned, Err(WriteError::Unavailable { .. })) => {
                self.jobs.push_back(Job::Adopt(assigned.clone()));
            }
            // Nobody else says it. If the answer to the first try was lost, it counts twice.
            Done::Event(event, Err(error)) if error.retry_after().is_some() => {
                self.jobs.push_back(Job::Event(event.clone(), Duration::ZERO));
            }
            Done::Event(event, Err(WriteError::Rejected { code: FORBIDDEN, .. })) if self.is_back() => {
                self.jobs.push_back(Job::Event(event.clone(), SHORT_PAUSE));
            }
            // It may be true by the time of the next try.
            Done::Removed(node, Err(error)) if error.retry_after().is_some() => self.find(node),
            Done::Event(..) | Done::Removed(..) | Done::Adopted(..) => {}
        }
    }

    /// The API server was away a moment ago. One that has just started forbids everything until it has read the roles.
    fn is_back(&self) -> bool {
        self.away.is_some_and(|at| at.elapsed() < STARTS_WITHIN)
    }

    /// Asks what is written about `node`, after everything that waits, and once however many want to know it.
    fn find(&mut self, node: &str) {
        let same = |job: &Job| matches!(job, Job::Find(waiting) if **waiting == *node);
        if !self.jobs.iter().any(same) {
            self.jobs.push_back(Job::Find(node.into()));
        }
    }

    fn sort_out(&mut self, node: &str, found: &[L2StatusFound]) {
        for L2StatusFound { name, service, ours } in found {
            let announced = self.announced.contains(service);
            if node != &*self.node {
                if announced {
                    self.jobs.push_back(Job::Remove(node.into(), name.clone()));
                }
            } else if !ours {
                self.jobs.push_back(Job::Remove(node.into(), name.clone()));
            } else if !announced {
                self.statuses.entry(service.clone()).or_insert(None);
            }
        }
    }

    /// Sends statuses and other things in turn.
    fn start(&mut self) {
        while self.flying.len() < IN_FLIGHT {
            let store = self.store.clone();
            let next = self.next_status().filter(|_| !self.status_last || self.jobs.is_empty());
            self.status_last = next.is_some();
            if let Some((service, status)) = next.and_then(|service| self.statuses.remove_entry(&service)) {
                self.busy.insert(service.clone());
                self.last = Some(service.clone());
                let write = L2StatusWrite { service, node: self.node.clone(), status };
                self.flying.push(Box::pin(async move {
                    let result = paused(store.l2_status(&write).await).await;
                    Done::Status(write.service, write.status, result)
                }));
            } else if let Some(job) = self.jobs.pop_front() {
                self.flying.push(carry_out(store, job));
            } else {
                return;
            }
        }
    }

    fn next_status(&self) -> Option<ServiceKey> {
        let after = self.last.as_ref().map_or(Unbounded, Excluded);
        let later = self.statuses.range((after, Unbounded)).chain(&self.statuses);
        later.map(|(service, _)| service).find(|service| !self.busy.contains(*service)).cloned()
    }
}

fn carry_out(store: Store, job: Job) -> BoxFuture<'static, Done> {
    Box::pin(async move {
        match job {
            Job::Event(event, pause) => {
                sleep(pause).await;
                let result = paused_to_repeat(store.event(&event).await).await;
                Done::Event(event, result)
            }
            Job::Find(node) => {
                let found = paused(store.l2_statuses(&node).await).await;
                Done::Found(node, found)
            }
            Job::Remove(node, name) => {
                let result = paused_to_repeat(store.delete_l2_status(&name).await).await;
                Done::Removed(node, result)
            }
            Job::Adopt(assigned) => {
                let result = paused(store.adopt(&assigned).await).await;
                Done::Adopted(assigned, result)
            }
        }
    })
}

/// Keeps a failed write in its place for a while, so that failures slow down what follows.
async fn paused<T>(result: Result<T, WriteError>) -> Result<T, WriteError> {
    let pause = match &result {
        Ok(_) | Err(WriteError::Gone { .. }) => return result,
        Err(WriteError::Rejected { .. }) => LONG_PAUSE,
        Err(
            error @ (WriteError::Conflict { .. }
            | WriteError::Throttled { .. }
            | WriteError::Unavailable { .. }),
        ) => error.retry_after().unwrap_or_default().max(SHORT_PAUSE),
    };
    sleep(pause).await;
    result
}

/// The same for a write that is not tried again after a refusal, which then slows down nothing.
async fn paused_to_repeat(result: Result<(), WriteError>) -> Result<(), WriteError> {
    if result.as_ref().is_err_and(|error| error.retry_after().is_some()) {
        return paused(result).await;
    }
    result
}

#[cfg(test)]
mod tests;
