//! A stream of [`Observation`]s, from the watches of an API server or from a directory of manifests.
//!
//! ```text
//! one task per kind:  watch ─▶ convert ─▶ tracker (fingerprints) ─▶ ┐
//!                                                                   ├─▶ one bounded channel ─▶ Source
//!                                       barrier (last first list) ─▶ ┘
//! ```
//!
//! Objects are converted while they are parsed, so that only values of the model and fingerprints stay in memory.
//! The channel holds [`CAPACITY`] observations; when it is full the watches wait, nothing is dropped.

pub(crate) mod backoff;
mod files;
mod kind;
mod live;
mod one;
mod seen;
mod tracker;
mod watch;

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::Stream;
use landfall_model::Observation;
use tokio::{sync::mpsc, task::JoinSet};

pub use files::{Directory, FilesError, Snapshot, documents, files, is_manifest, node_addresses};
pub use live::{configuration, read_configuration};
pub(crate) use one::events_of;
pub use one::{events, follow};
pub use watch::{Interests, watch};
pub(crate) use watch::{PAGE, WATCH_SECONDS, paused};

/// How many observations wait at most.
pub const CAPACITY: usize = 1024;

/// A stream of observations. It ends when its tasks do, which is never as long as the `Source` lives. Dropping it
/// ends the watches.
#[derive(Debug)]
pub struct Source {
    observations: mpsc::Receiver<Observation>,
    health: Health,
    _tasks: JoinSet<()>,
}

impl Source {
    /// The next observation. Waits for one; `None` only when every task has ended.
    pub async fn next(&mut self) -> Option<Observation> {
        self.observations.recv().await
    }

    /// The next observation if one is there already, so that a caller can take many before it decides.
    pub fn try_next(&mut self) -> Option<Observation> {
        self.observations.try_recv().ok()
    }

    /// What `filter` makes of this source, in a task of the current tokio runtime. The filter ends when its sender is
    /// closed; the health stays that of this source.
    #[must_use]
    pub fn through<F: Future<Output = ()> + Send + 'static>(
        self,
        filter: impl FnOnce(Self, mpsc::Sender<Observation>) -> F,
    ) -> Self {
        let health = self.health();
        let (sender, observations) = mpsc::channel(CAPACITY);
        let mut tasks = JoinSet::new();
        tasks.spawn(filter(self, sender));
        Self { observations, health, _tasks: tasks }
    }

    /// How the watches do. The handle outlives the source.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }
}

impl Stream for Source {
    type Item = Observation;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Observation>> {
        self.observations.poll_recv(context)
    }
}

/// How long a failed request counts. A source that keeps failing tries again sooner than that, and an idle watch
/// that works again may stay silent for long.
const FAILURE_COUNTS: Duration = Duration::from_secs(20);

/// How the watches of a [`Source`] do; for readiness and metrics.
#[derive(Clone, Debug)]
pub struct Health {
    synced: Arc<AtomicBool>,
    started: Instant,
    kinds: Arc<Vec<KindHealth>>,
}

#[derive(Debug)]
struct KindHealth {
    kind: &'static str,
    /// Milliseconds after the start until which it counts as failing.
    failing_until: AtomicU64,
    /// Milliseconds after the start since when it does, if it does.
    failing_since: AtomicU64,
}

impl Health {
    fn new(kinds: &[&'static str]) -> Self {
        let kinds = kinds.iter().map(|&kind| KindHealth {
            kind,
            failing_until: AtomicU64::new(0),
            failing_since: AtomicU64::new(0),
        });
        Self { synced: Arc::default(), started: Instant::now(), kinds: Arc::new(kinds.collect()) }
    }

    /// Whether the first list of every kind is complete.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.synced.load(Ordering::Relaxed)
    }

    /// The kinds whose requests failed lately: what is known of them may be old.
    pub fn failing(&self) -> impl Iterator<Item = &'static str> + '_ {
        let now = self.elapsed();
        let failing = move |kind: &&KindHealth| now < kind.failing_until.load(Ordering::Relaxed);
        self.kinds.iter().filter(failing).map(|kind| kind.kind)
    }

    /// For how long the requests of each kind have been failing; zero for one that works.
    pub fn ages(&self) -> impl Iterator<Item = (&'static str, Duration)> + '_ {
        let now = self.elapsed();
        self.kinds.iter().map(move |kind| {
            let fails = now < kind.failing_until.load(Ordering::Relaxed);
            let since = if fails { kind.failing_since.load(Ordering::Relaxed) } else { now };
            (kind.kind, Duration::from_millis(now.saturating_sub(since)))
        })
    }

    fn set_failing(&self, kind: &'static str, failing: bool) {
        let now = self.elapsed();
        let counts = u64::try_from(FAILURE_COUNTS.as_millis()).unwrap_or(u64::MAX);
        for entry in self.kinds.iter().filter(|entry| entry.kind == kind) {
            if failing && now >= entry.failing_until.load(Ordering::Relaxed) {
                entry.failing_since.store(now, Ordering::Relaxed);
            }
            entry
                .failing_until
                .store(if failing { now.saturating_add(counts) } else { 0 }, Ordering::Relaxed);
        }
    }

    fn elapsed(&self) -> u64 {
        // The first millisecond counts as one, so that 0 always means "not failing".
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1).saturating_add(1)
    }
}

/// Where a task sends what it sees, and the barrier that it shares with the other tasks.
#[derive(Clone)]
struct Outlet {
    observations: mpsc::Sender<Observation>,
    /// How many kinds have not finished their first list.
    missing: Arc<AtomicUsize>,
    health: Health,
}

impl Outlet {
    fn new(kinds: &[&'static str]) -> (Self, mpsc::Receiver<Observation>) {
        let (observations, receiver) = mpsc::channel(CAPACITY);
        let missing = Arc::new(AtomicUsize::new(kinds.len()));
        (Self { observations, missing, health: Health::new(kinds) }, receiver)
    }

    /// Sends in order. `false` when the source was dropped: the task ends.
    async fn send(&self, observations: impl IntoIterator<Item = Observation>) -> bool {
        for observation in observations {
            if self.observations.send(observation).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Says that the first list of one kind was sent. The last to say so opens the barrier. To be called once for
    /// each kind, after everything of the list was sent: then `Synced` comes after all first lists.
    async fn listed(&self) -> bool {
        if self.missing.fetch_sub(1, Ordering::AcqRel) != 1 {
            return true;
        }
        self.health.synced.store(true, Ordering::Relaxed);
        self.send([Observation::Synced]).await
    }
}
