//! Writes to the API server that the engine asked for: statuses, the latest of each Service, and events. They are
//! beside the path of failover and may be late or fail.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use landfall_kubernetes::write::{EventWrite, L2StatusFound, L2StatusWrite, Store, WriteError};
use landfall_model::ServiceKey;
use tokio::time::sleep;

const IN_FLIGHT: usize = 8;
/// Events that wait at most; more are dropped and counted, since an event is only a notice.
const EVENTS_WAITING: usize = 2_000;
/// After a failure that may pass.
const SHORT_PAUSE: Duration = Duration::from_secs(1);
/// After a refusal, which somebody must mend first.
const LONG_PAUSE: Duration = Duration::from_secs(30);

type Interfaces = Option<BTreeSet<Box<str>>>;

/// What became of a write.
pub(crate) enum Done {
    /// Of a status, with what it was.
    Status(ServiceKey, Interfaces, Result<(), WriteError>),
    /// Of an event.
    Event(Result<(), WriteError>),
    /// Of the question what is written about a node.
    Found(Box<str>, Result<Vec<L2StatusFound>, WriteError>),
    /// Of the removal of a status that somebody else left.
    Removed(Result<(), WriteError>),
}

impl Done {
    /// The kind of the write and its failure.
    pub(crate) fn outcome(&self) -> (&'static str, Option<&WriteError>) {
        match self {
            Self::Status(_, _, result) => ("status", result.as_ref().err()),
            Self::Event(result) => ("event", result.as_ref().err()),
            Self::Found(_, result) => ("list", result.as_ref().err()),
            Self::Removed(result) => ("removal", result.as_ref().err()),
        }
    }
}

enum Job {
    Event(EventWrite),
    Find(Box<str>),
    Remove(Box<str>),
}

/// The writes that wait and those that are on their way.
pub(crate) struct Outbox {
    store: Store,
    node: Box<str>,
    /// What this node announces.
    announced: BTreeSet<ServiceKey>,
    statuses: BTreeMap<ServiceKey, Interfaces>,
    /// Services with a write on its way: writes of one Service go one after another.
    busy: BTreeSet<ServiceKey>,
    jobs: VecDeque<Job>,
    flying: FuturesUnordered<BoxFuture<'static, Done>>,
}

impl Outbox {
    pub(crate) fn new(store: Store, node: &str) -> Self {
        Self {
            store,
            node: node.into(),
            announced: BTreeSet::new(),
            statuses: BTreeMap::new(),
            busy: BTreeSet::new(),
            jobs: VecDeque::new(),
            flying: FuturesUnordered::new(),
        }
    }

    /// Queues a status in place of an older one that still waits.
    pub(crate) fn status(&mut self, service: ServiceKey, interfaces: Interfaces) {
        if interfaces.is_some() {
            self.announced.insert(service.clone());
        } else {
            self.announced.remove(&service);
        }
        self.statuses.insert(service, interfaces);
        self.start();
    }

    /// Queues an event. False when it was dropped because too many wait.
    pub(crate) fn event(&mut self, event: EventWrite) -> bool {
        if self.jobs.len() >= EVENTS_WAITING {
            return false;
        }
        self.jobs.push_back(Job::Event(event));
        self.start();
        true
    }

    /// Removes what is written about `node` and no longer true: of this node, all that it does not announce; of
    /// another one, all that this node announces now.
    pub(crate) fn tidy(&mut self, node: &str) {
        self.jobs.push_back(Job::Find(node.into()));
        self.start();
    }

    /// Whether nothing is on its way or waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.flying.is_empty()
    }

    /// The next write that ends. Only to be called while one is on its way. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Done> {
        let done = self.flying.next().await?;
        match &done {
            Done::Status(service, interfaces, result) => {
                self.busy.remove(service);
                if result.as_ref().is_err_and(|error| !matches!(error, WriteError::Gone { .. })) {
                    self.statuses.entry(service.clone()).or_insert_with(|| interfaces.clone());
                }
            }
            Done::Found(node, Ok(found)) => self.sort_out(node, found),
            Done::Found(node, Err(_)) => self.jobs.push_back(Job::Find(node.clone())),
            Done::Event(_) | Done::Removed(_) => {}
        }
        self.start();
        Some(done)
    }

    fn sort_out(&mut self, node: &str, found: &[L2StatusFound]) {
        for L2StatusFound { name, service, ours } in found {
            let announced = self.announced.contains(service);
            if node != &*self.node {
                if announced {
                    self.jobs.push_back(Job::Remove(name.clone()));
                }
            } else if !ours {
                self.jobs.push_back(Job::Remove(name.clone()));
            } else if !announced {
                self.statuses.entry(service.clone()).or_insert(None);
            }
        }
    }

    fn start(&mut self) {
        while self.flying.len() < IN_FLIGHT {
            let store = self.store.clone();
            let next = self.statuses.keys().find(|service| !self.busy.contains(*service)).cloned();
            if let Some((service, interfaces)) = next.and_then(|service| self.statuses.remove_entry(&service))
            {
                self.busy.insert(service.clone());
                let write =
                    L2StatusWrite { service, node: self.node.clone(), interfaces: interfaces.clone() };
                self.flying.push(Box::pin(async move {
                    let result = paused(store.l2_status(&write).await).await;
                    Done::Status(write.service, interfaces, result)
                }));
            } else if let Some(job) = self.jobs.pop_front() {
                self.flying.push(carry_out(store, job));
            } else {
                return;
            }
        }
    }
}

fn carry_out(store: Store, job: Job) -> BoxFuture<'static, Done> {
    Box::pin(async move {
        match job {
            Job::Event(event) => Done::Event(store.event(&event).await),
            Job::Find(node) => {
                let found = paused(store.l2_statuses(&node).await).await;
                Done::Found(node, found)
            }
            Job::Remove(name) => Done::Removed(store.delete_l2_status(&name).await),
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
