//! Whether a program can use the configuration, said in its `ConfigurationState`. [`machine`] decides, this module asks
//! and writes.
//!
//! ```text
//! driver ── Verdict (the latest) ──▶ ┌───────────────┐ ──▶ one request in flight ──▶ API server
//! watch of the one object ─────────▶ │ reporter task │
//!                                    └───────────────┘ ── (1) what came of each request ──▶ driver
//! ```
//!
//! The watch is limited to the own object by a field selector on its name, so that it brings nothing but own writes, and
//! what others do to the object. It costs the API server one watch per program, which it asks for anew every three
//! minutes.

pub(crate) mod machine;
mod text;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, future::BoxFuture};
use jiff::Timestamp;
use kube::{Api, runtime::watcher::Event};
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use self::machine::Machine;
pub use self::text::Verdict;
use crate::{
    api::ConfigurationState,
    lease::Leadership,
    names::{self, label, manager},
    source::{backoff::random, events_of},
    write::{Store, WriteError, Writer},
};

/// Kubernetes allows names of objects of this length.
const NAME_BYTES: usize = 253;
/// A controller that does not lead looks so much later whether it leads again.
const LEADS_AGAIN: Duration = Duration::from_secs(1);

/// Who reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// The controller that leads.
    Controller,
    /// The speaker of this node.
    Speaker(Box<str>),
}

impl Program {
    /// The name of its object.
    #[must_use]
    pub fn object(&self) -> String {
        match self {
            Self::Controller => "controller".to_owned(),
            Self::Speaker(node) => names::fitted(&format!("speaker-{node}"), NAME_BYTES),
        }
    }

    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        let (component, node) = match self {
            Self::Controller => ("controller", None),
            Self::Speaker(node) => ("speaker", Some(node)),
        };
        let component = (label::STATE_COMPONENT.to_owned(), component.to_owned());
        let node = node.map(|node| (label::STATE_NODE.to_owned(), names::label_value(node)));
        [component].into_iter().chain(node).collect()
    }

    pub(crate) const fn condition(&self) -> &'static str {
        match self {
            Self::Controller => "poolReconcilerValid",
            Self::Speaker(_) => "configReconcilerValid",
        }
    }

    pub(crate) const fn manager(&self) -> &'static str {
        match self {
            Self::Controller => manager::POOL_RECONCILER,
            Self::Speaker(_) => manager::CONFIG_RECONCILER,
        }
    }
}

/// Keeps the `ConfigurationState` of a program as it should be, in a task of the current tokio runtime, which ends when
/// this is dropped. A store of files has none: there it does nothing.
#[derive(Debug)]
pub struct Reporter {
    verdicts: watch::Sender<Option<Verdict>>,
    outcomes: mpsc::Receiver<&'static str>,
    stop: CancellationToken,
    _task: Option<AbortOnDropHandle<()>>,
}

impl Reporter {
    /// Begins. Nothing is written before the first [`Reporter::tell`], before the owner of the store's writer is known,
    /// and while `leadership`, where there is one, is not current.
    #[must_use]
    pub fn start(store: &Store, program: Program, leadership: Option<Leadership>) -> Self {
        let (verdicts, latest) = watch::channel(None);
        let (sender, outcomes) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let task = match store {
            Store::Files(_) => None,
            Store::Api(writer) => {
                let task = Task { writer: writer.clone(), program, leadership, latest, outcomes: sender };
                Some(AbortOnDropHandle::new(tokio::spawn(task.run(stop.clone()))))
            }
        };
        Self { verdicts, outcomes, stop, _task: task }
    }

    /// What the object should show from now on. The same again costs nothing.
    pub fn tell(&self, verdict: Verdict) {
        self.verdicts.send_if_modified(|latest| {
            let differs = latest.as_ref() != Some(&verdict);
            *latest = Some(verdict);
            differs
        });
    }

    /// What came of the next request: `ok`, or [`WriteError::kind`]. To be asked for again and again: the next request
    /// waits for it. `None` when the task has ended, or there is none. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<&'static str> {
        self.outcomes.recv().await
    }

    /// Begins no other request. [`Reporter::next`] ends after the one that is under way.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

type Answer = Result<ConfigurationState, WriteError>;

struct Task {
    writer: Writer,
    program: Program,
    leadership: Option<Leadership>,
    latest: watch::Receiver<Option<Verdict>>,
    outcomes: mpsc::Sender<&'static str>,
}

impl Task {
    async fn run(mut self, stop: CancellationToken) {
        let owner = tokio::select! {
            owner = self.writer.identity.owner.wait() => owner.clone(),
            () = stop.cancelled() => return,
        };
        let mut machine = Machine::new(&self.program, owner);
        let api = Api::namespaced(self.writer.client.clone(), &self.writer.identity.namespace);
        let mut events = events_of(api, "ConfigurationState", &self.program.object());
        let mut listed = None;
        let mut flight: Option<BoxFuture<'static, Answer>> = None;
        loop {
            // The one place where writes begin: a leader that slept through its lease waits for its end here.
            let leads = self.leadership.as_ref().is_none_or(Leadership::is_current);
            if leads && let Some(write) = machine.write(random(), Instant::now(), Timestamp::now()) {
                let (writer, program) = (self.writer.clone(), self.program.clone());
                flight = Some(Box::pin(async move { writer.configuration_state(&program, &write).await }));
            }
            let wake = if leads { machine.wake() } else { Some(Instant::now() + LEADS_AGAIN) };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                // What the object is comes before what a write made of it, or its echo would be news.
                Some(event) = events.next() => match event {
                    Event::Init => listed = None,
                    Event::InitApply(object) => listed = Some(Box::new(object)),
                    Event::InitDone => machine.list(listed.take()),
                    Event::Apply(object) => machine.see(Box::new(object)),
                    Event::Delete(object) => machine.gone(&object),
                },
                answer = landed(&mut flight) => {
                    flight = None;
                    if !self.settle(&mut machine, answer).await {
                        return;
                    }
                }
                told = self.latest.changed() => match told {
                    Ok(()) => machine.want_latest(&mut self.latest),
                    Err(_) => return,
                },
                () = until(wake) => {}
            }
        }
        if let Some(flight) = flight {
            let answer = flight.await;
            self.settle(&mut machine, answer).await;
        }
    }

    /// False when nobody asks any more.
    async fn settle(&self, machine: &mut Machine, answer: Answer) -> bool {
        let object = self.program.object();
        let outcome = match answer {
            Ok(state) => {
                machine.written(Ok(Box::new(state)), random(), Instant::now());
                "ok"
            }
            Err(error) => {
                // One line for all that fail in a row.
                if machine.written(Err(&error), random(), Instant::now()) {
                    tracing::warn!(op = "configuration", object, %error, "not written; it is tried again");
                } else {
                    tracing::debug!(op = "configuration", object, %error, "still not written");
                }
                error.kind()
            }
        };
        self.outcomes.send(outcome).await.is_ok()
    }
}

impl Machine {
    fn want_latest(&mut self, latest: &mut watch::Receiver<Option<Verdict>>) {
        if let Some(verdict) = latest.borrow_and_update().clone() {
            self.want(verdict);
        }
    }
}

async fn landed(flight: &mut Option<BoxFuture<'static, Answer>>) -> Answer {
    match flight {
        Some(flight) => flight.await,
        None => std::future::pending().await,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep(at.saturating_duration_since(Instant::now())).await,
        None => std::future::pending().await,
    }
}
