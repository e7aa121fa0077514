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
use tokio::time::sleep;

const IN_FLIGHT: usize = 8;
/// Events that wait at most; more are dropped and counted, since an event is only a notice.
const EVENTS_WAITING: usize = 2_000;
/// After a failure that may pass.
const SHORT_PAUSE: Duration = Duration::from_secs(1);
/// After a refusal, which somebody must mend first.
const LONG_PAUSE: Duration = Duration::from_secs(30);

/// What became of a write.
pub(crate) enum Done {
    /// Of a status, with what it was.
    Status(ServiceKey, Option<L2Status>, Result<(), WriteError>),
    /// Of an event.
    Event(Result<(), WriteError>),
    /// Of the question what is written about a node.
    Found(Box<str>, Result<Vec<L2StatusFound>, WriteError>),
    /// Of the removal of a status that somebody else left.
    Removed(Result<(), WriteError>),
    /// Of a decision of another machine.
    Adopted(Box<Assigned>, Result<(), WriteError>),
}

impl Done {
    /// The kind of the write and its failure.
    pub(crate) fn outcome(&self) -> (&'static str, Option<&WriteError>) {
        match self {
            Self::Status(_, _, result) => ("status", result.as_ref().err()),
            Self::Event(result) => ("event", result.as_ref().err()),
            Self::Found(_, result) => ("list", result.as_ref().err()),
            Self::Removed(result) => ("removal", result.as_ref().err()),
            Self::Adopted(_, result) => ("adoption", result.as_ref().err()),
        }
    }
}

enum Job {
    Event(EventWrite),
    Find(Box<str>),
    Remove(Box<str>),
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
        match &done {
            Done::Status(service, status, result) => {
                self.busy.remove(service);
                if result.as_ref().is_err_and(|error| !matches!(error, WriteError::Gone { .. })) {
                    self.statuses.entry(service.clone()).or_insert_with(|| status.clone());
                }
            }
            Done::Found(node, Ok(found)) => self.sort_out(node, found),
            Done::Found(node, Err(_)) => self.jobs.push_back(Job::Find(node.clone())),
            Done::Adopted(assigned, Err(WriteError::Unavailable { .. })) => {
                self.jobs.push_back(Job::Adopt(assigned.clone()));
            }
            Done::Event(_) | Done::Removed(_) | Done::Adopted(..) => {}
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
            Job::Event(event) => Done::Event(store.event(&event).await),
            Job::Find(node) => {
                let found = paused(store.l2_statuses(&node).await).await;
                Done::Found(node, found)
            }
            Job::Remove(name) => Done::Removed(store.delete_l2_status(&name).await),
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use landfall_kubernetes::write::FileWriter;

    use super::*;

    /// A store in a folder of its own, removed at the end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("landfall-outbox-{name}-{}", std::process::id()));
            std::fs::create_dir_all(path.join("status")).unwrap();
            Self(path)
        }

        fn store(&self) -> Store {
            Store::Files(FileWriter::new(&self.0.join("status")))
        }

        async fn services(&self, node: &str) -> Vec<String> {
            let found = self.store().l2_statuses(node).await.unwrap();
            let mut names: Vec<String> = found.into_iter().map(|found| found.service.name.into()).collect();
            names.sort_unstable();
            names
        }

        async fn write(&self, node: &str, service: &str) {
            let status = Some(L2Status::default());
            let write = L2StatusWrite { service: key(service), node: node.into(), status };
            self.store().l2_status(&write).await.unwrap();
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn key(service: &str) -> ServiceKey {
        ServiceKey::new("shop", service)
    }

    fn event() -> EventWrite {
        EventWrite {
            service: key("a"),
            uid: "u".into(),
            severity: landfall_kubernetes::write::Severity::Normal,
            reason: "nodeAssigned",
            action: "Announce",
            message: String::new(),
        }
    }

    async fn drain(outbox: &mut Outbox) -> Vec<&'static str> {
        let mut kinds = Vec::new();
        while let Some(done) = outbox.next().await {
            let (kind, error) = done.outcome();
            assert!(error.is_none(), "{kind}: {error:?}");
            kinds.push(kind);
        }
        kinds
    }

    #[tokio::test]
    async fn the_latest_status_of_a_service_stays() {
        let place = Place::new("latest");
        let mut outbox = Outbox::new(place.store(), "n1");
        for (service, announced) in [
            ("a", true),
            ("b", true),
            ("a", false),
            ("b", false),
            ("b", true),
            ("c", false),
            ("a", true),
            ("a", false),
        ] {
            outbox.status(key(service), announced.then(L2Status::default));
        }
        let writes = drain(&mut outbox).await.len();
        assert_eq!(place.services("n1").await, ["b"]);
        assert!(writes <= 5, "what was replaced while it waited was not written: {writes}");
        assert!(outbox.is_idle());
    }

    #[tokio::test]
    async fn writes_that_fail_again_and_again_hold_up_none_of_the_others() {
        let place = Place::new("failing");
        let failing: Vec<String> = (0..=IN_FLIGHT).map(|number| format!("a{number}")).collect();
        for service in &failing {
            place.write("n1", service).await;
        }
        // A folder in the place of each file, so that it cannot be replaced.
        for file in std::fs::read_dir(place.0.join("status")).unwrap() {
            let file = file.unwrap().path();
            std::fs::remove_file(&file).unwrap();
            std::fs::create_dir_all(file.join("in the way")).unwrap();
        }
        let mut outbox = Outbox::new(place.store(), "n1");
        for service in &failing {
            outbox.status(key(service), Some(L2Status::default()));
        }
        outbox.status(key("z"), Some(L2Status::default()));
        assert!(outbox.event(event()));
        let mut missing = BTreeSet::from(["event", "status"]);
        let all = async {
            while !missing.is_empty() {
                let done = outbox.next().await.unwrap();
                let (kind, error) = done.outcome();
                if error.is_none() {
                    missing.remove(kind);
                }
            }
        };
        tokio::time::timeout(SHORT_PAUSE * 10, all).await.unwrap();
    }

    #[tokio::test]
    async fn statuses_that_an_earlier_process_left_go() {
        let place = Place::new("own");
        for service in ["kept", "left", "back"] {
            place.write("n1", service).await;
        }
        place.write("n2", "left").await;
        let mut outbox = Outbox::new(place.store(), "n1");
        outbox.status(key("kept"), Some(L2Status::default()));
        outbox.status(key("back"), None);
        outbox.status(key("back"), Some(L2Status::default()));
        outbox.tidy("n1");
        drain(&mut outbox).await;
        assert_eq!(place.services("n1").await, ["back", "kept"]);
        assert_eq!(place.services("n2").await, ["left"], "not ours to judge");
    }

    #[tokio::test]
    async fn statuses_of_a_dead_node_go_where_this_node_took_over() {
        let place = Place::new("dead");
        for service in ["taken", "elsewhere"] {
            place.write("n2", service).await;
        }
        let mut outbox = Outbox::new(place.store(), "n1");
        outbox.status(key("taken"), Some(L2Status::default()));
        drain(&mut outbox).await;
        outbox.tidy("n2");
        drain(&mut outbox).await;
        assert_eq!(place.services("n2").await, ["elsewhere"]);
        assert_eq!(place.services("n1").await, ["taken"]);
    }

    #[tokio::test]
    async fn events_are_bounded() {
        let place = Place::new("events");
        let mut outbox = Outbox::new(place.store(), "n1");
        let taken = (0..EVENTS_WAITING * 2).filter(|_| outbox.event(event())).count();
        assert_eq!(taken, EVENTS_WAITING + IN_FLIGHT);
        assert_eq!(drain(&mut outbox).await.len(), taken);
    }
}
