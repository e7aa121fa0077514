use std::{collections::BTreeSet, time::Duration};

use landfall_kubernetes::{source::Source, write::describe};
use landfall_model::Observation;
use serde_json::value::to_raw_value;
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep_until},
};

use super::{Memory, MemoryError, store::Changes};

/// Changes are gathered for this long before they are written.
const GATHER: Duration = Duration::from_secs(1);
/// Changes that wait for the disk at most; with more, observations wait too.
const WAITING: usize = 4_096;
/// After a write that failed. Observations do not wait for a disk that does not work.
const RETRY: Duration = Duration::from_secs(30);

/// The observations of `source`, kept in `memory`.
///
/// Where its first lists are not complete after `patience`, what is remembered stands in for what is missing, and
/// [`Observation::Synced`] is sent. Once they are, what they lack is reported as gone, and `Synced` is sent once more.
#[must_use]
pub fn remembered(source: Source, memory: Memory, patience: Duration) -> Source {
    source.through(move |source, sender| async move {
        let recorder = Recorder::new(memory.clone());
        // An error means that nobody listens any more.
        drop(Watch { memory, recorder, sender }.run(source, patience).await);
    })
}

type Sent = Result<(), mpsc::error::SendError<Observation>>;

struct Watch {
    memory: Memory,
    recorder: Recorder,
    sender: mpsc::Sender<Observation>,
}

impl Watch {
    async fn run(mut self, mut source: Source, patience: Duration) -> Sent {
        // The objects that the source spoke of before its first lists were complete.
        let mut listed = Some(BTreeSet::new());
        let mut recall_at = Some(Instant::now() + patience);
        loop {
            tokio::select! {
                biased;
                () = self.recorder.work() => {}
                observation = source.next(), if self.recorder.has_room() => {
                    let Some(observation) = observation else { return Ok(()) };
                    if observation == Observation::Synced
                        && let Some(listed) = listed.take()
                    {
                        recall_at = None;
                        for fact in self.facts(&listed).await {
                            self.tell(fact.gone()).await?;
                        }
                    }
                    if let Some(listed) = &mut listed {
                        listed.extend(observation.object().map(|object| object.to_string()));
                    }
                    self.tell(observation).await?;
                }
                () = at(recall_at) => {
                    recall_at = None;
                    if let Some(listed) = &listed {
                        self.stand_in(listed).await?;
                    }
                }
            }
        }
    }

    /// Sends what is remembered about all objects but those in `listed`.
    async fn stand_in(&self, listed: &BTreeSet<String>) -> Sent {
        let facts = self.facts(listed).await;
        let objects = facts.len();
        if facts.is_empty() {
            tracing::warn!(
                op = "remember",
                "the API server does not answer, and this node remembers nothing"
            );
            return Ok(());
        }
        tracing::warn!(
            op = "remember",
            objects,
            "the API server does not answer; this node serves what it remembers"
        );
        for fact in facts {
            self.sender.send(fact).await?;
        }
        self.sender.send(Observation::Synced).await
    }

    async fn tell(&mut self, observation: Observation) -> Sent {
        self.recorder.note(&observation);
        self.sender.send(observation).await
    }

    /// See [`Memory::facts`]. A memory that cannot be read is an empty one.
    async fn facts(&self, except: &BTreeSet<String>) -> Vec<Observation> {
        let (memory, except) = (self.memory.clone(), except.clone());
        match spawn_blocking(move || memory.facts(&except)).await {
            Ok(Ok(facts)) => facts,
            Ok(Err(error)) => {
                tracing::warn!(
                    op = "remember",
                    error = describe(&error),
                    "what this node remembers cannot be read"
                );
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }
}

/// Writes changes, many at once, beside the stream.
struct Recorder {
    memory: Memory,
    waiting: Changes,
    due: Option<Instant>,
    /// The changes that are being written, to be kept when that fails.
    writing: Option<JoinHandle<(Changes, Result<(), MemoryError>)>>,
    failing: bool,
}

impl Recorder {
    const fn new(memory: Memory) -> Self {
        Self { memory, waiting: Changes::new(), due: None, writing: None, failing: false }
    }

    fn note(&mut self, observation: &Observation) {
        // An object that cannot be parsed stays as it was.
        if matches!(observation, Observation::Invalid(_, _)) {
            return;
        }
        let Some(object) = observation.object() else { return };
        // What has no form as JSON, and there is none such, is forgotten.
        let fact = (!observation.is_gone()).then(|| to_raw_value(observation).ok()).flatten();
        self.waiting.insert(object.to_string(), fact);
        self.due.get_or_insert_with(|| Instant::now() + GATHER);
    }

    fn has_room(&self) -> bool {
        self.failing || self.waiting.len() < WAITING
    }

    /// Begins a write when one is due, and sees one to its end. Dropping the future loses nothing.
    async fn work(&mut self) {
        if let Some(writing) = &mut self.writing {
            let result = writing.await;
            self.writing = None;
            // A task that panicked has said so.
            if let Ok((changes, result)) = result {
                self.settle(changes, result);
            }
            return;
        }
        if self.has_room() {
            at(self.due).await;
        }
        self.due = None;
        let (memory, changes) = (self.memory.clone(), std::mem::take(&mut self.waiting));
        self.writing = Some(spawn_blocking(move || {
            let result = memory.keep(&changes);
            (changes, result)
        }));
    }

    fn settle(&mut self, changes: Changes, result: Result<(), MemoryError>) {
        let Err(error) = result else {
            if std::mem::take(&mut self.failing) {
                tracing::info!(op = "remember", "changes are remembered again");
            }
            return;
        };
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(
                op = "remember",
                error = describe(&error),
                "changes cannot be remembered; trying again"
            );
        }
        for (object, value) in changes {
            self.waiting.entry(object).or_insert(value);
        }
        self.due = Some(Instant::now() + RETRY);
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
