//! The leader's lease (`coordination.k8s.io/v1`). [`machine`] decides, this module asks and writes.
//!
//! ```text
//! elector task:  Step::Read / Step::Write ─▶ API server ─▶ machine ─▶ deadline (atomic) ─▶ Leadership::is_current
//! ```

pub mod machine;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use landfall_model::Instant;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use self::machine::{Machine, Observed, Record, Step, Timing, Written};
use crate::{
    clock::Clock,
    write::{WriteError, describe},
};

/// What to compete for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseOptions {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who is competing; see [`identity`].
    pub identity: String,
    /// Durations; see [`Timing::default`].
    pub timing: Timing,
}

/// An identity that no other process has, not even the next one of the same Pod.
///
/// # Errors
/// When the system has no entropy.
pub fn identity(pod: &str) -> Result<String, getrandom::Error> {
    getrandom::u64().map(|number| format!("{pod}_{number:016x}"))
}

/// Whether this process leads. Clones are cheap and agree.
#[derive(Clone, Debug)]
pub struct Leadership {
    started: Clock,
    /// Microseconds after `started` until which this process leads; 0 when it does not.
    deadline: Arc<AtomicU64>,
    changes: watch::Receiver<bool>,
}

impl Leadership {
    /// Whether this process leads now, by the monotonic clock. To be asked just before each write: a process that
    /// was stopped for a while finds its deadline passed when it wakes. Costs one clock and one memory read.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.started.now().as_micros() < self.deadline.load(Ordering::Acquire)
    }

    /// Waits until leadership was won or lost, and says which. `None` when the elector has ended.
    ///
    /// It follows a little later than [`Leadership::is_current`]: use it to wake up, not to decide.
    pub async fn changed(&mut self) -> Option<bool> {
        self.changes.changed().await.ok()?;
        Some(*self.changes.borrow_and_update())
    }

    /// Waits until leadership is lost, or nobody competes for it any more.
    pub async fn lost(&mut self) {
        while self.changed().await == Some(true) {}
    }
}

/// Competes for the lease in a task of the current tokio runtime, until `stop` is cancelled. Then a leader gives
/// the lease back, so that its successor need not wait; await the handle for that.
#[must_use]
pub fn compete(
    client: Client,
    options: LeaseOptions,
    stop: CancellationToken,
) -> (Leadership, JoinHandle<()>) {
    let (sender, changes) = watch::channel(false);
    let leadership = Leadership { started: Clock::start(), deadline: Arc::default(), changes };
    let elector = Elector {
        api: Api::namespaced(client, &options.namespace),
        machine: Machine::new(&options.identity, options.timing),
        started: leadership.started,
        deadline: Arc::clone(&leadership.deadline),
        changes: sender,
        options,
    };
    (leadership, tokio::spawn(elector.run(stop)))
}

/// Leadership that is given and taken by another part of this process, where there is no API server.
#[derive(Debug)]
pub struct Appointment {
    deadline: Arc<AtomicU64>,
    changes: watch::Sender<bool>,
}

impl Appointment {
    /// An appointment, not made yet, and the leadership that follows it.
    #[must_use]
    pub fn new() -> (Self, Leadership) {
        let (sender, changes) = watch::channel(false);
        let deadline = Arc::new(AtomicU64::new(0));
        let leadership = Leadership { started: Clock::start(), deadline: Arc::clone(&deadline), changes };
        (Self { deadline, changes: sender }, leadership)
    }

    /// Makes this process the leader, or no longer. It counts at once.
    pub fn set(&self, leads: bool) {
        self.deadline.store(if leads { u64::MAX } else { 0 }, Ordering::Release);
        // Nobody may be listening yet, or any more.
        self.changes.send_replace(leads);
    }
}

struct Elector {
    api: Api<Lease>,
    machine: Machine,
    options: LeaseOptions,
    started: Clock,
    deadline: Arc<AtomicU64>,
    changes: watch::Sender<bool>,
}

impl Elector {
    async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.machine.step(self.started.now()) {
                Step::Wait(until) => {
                    let pause = until.since(self.started.now());
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = stop.cancelled() => {}
                    }
                }
                Step::Read => {
                    let read = self.read().await;
                    self.machine.read(read, self.started.now());
                }
                Step::Write { record, version } => {
                    let began = self.started.now();
                    let written = self.write(&record, version.as_deref()).await;
                    self.machine.written(written, began, self.started.now());
                }
            }
            self.publish();
        }
        self.release().await;
    }

    fn publish(&self) {
        let deadline = self.machine.leads_until().map_or(0, Instant::as_micros);
        self.deadline.store(deadline, Ordering::Release);
        let leads = self.started.now().as_micros() < deadline;
        let changed = |before: &mut bool| std::mem::replace(before, leads) != leads;
        if self.changes.send_if_modified(changed) {
            let (lease, identity) = (&self.options.name, &self.options.identity);
            if leads {
                tracing::info!(lease, identity, "this process leads");
            } else {
                tracing::warn!(lease, identity, "this process leads no longer");
            }
        }
    }

    /// Stops leading first, then says so.
    async fn release(&mut self) {
        let released = self.machine.release();
        self.publish();
        if let Some((record, version)) = released {
            match self.write(&record, Some(&version)).await {
                Written::Done { .. } => tracing::info!(lease = self.options.name, "the lease was given back"),
                Written::Conflict | Written::Failed => {
                    tracing::info!(
                        lease = self.options.name,
                        "the lease could not be given back; it will run out"
                    );
                }
            }
        }
    }

    async fn read(&self) -> Observed {
        let limit = self.options.timing.retry.saturating_mul(2);
        match tokio::time::timeout(limit, self.api.get_opt(&self.options.name)).await {
            Ok(Ok(Some(lease))) => {
                let version = lease.metadata.resource_version.clone().unwrap_or_default();
                Observed::Found { record: record_of(&lease), version: version.into() }
            }
            Ok(Ok(None)) => Observed::Missing,
            Ok(Err(error)) => {
                tracing::debug!(
                    lease = self.options.name,
                    error = describe(&error),
                    "the lease cannot be read"
                );
                Observed::Failed
            }
            Err(_) => Observed::Failed,
        }
    }

    async fn write(&self, record: &Record, version: Option<&str>) -> Written {
        let lease = lease(&self.options.name, record, version);
        let parameters = PostParams::default();
        let request = async {
            match version {
                Some(_) => self.api.replace(&self.options.name, &parameters, &lease).await,
                None => self.api.create(&parameters, &lease).await,
            }
        };
        let limit = self.options.timing.retry.saturating_mul(2);
        match tokio::time::timeout(limit, request).await.map(|answer| answer.map_err(WriteError::from)) {
            Ok(Ok(lease)) => {
                let version = lease.metadata.resource_version.clone().unwrap_or_default();
                Written::Done { record: record_of(&lease), version: version.into() }
            }
            Ok(Err(WriteError::Conflict { .. })) => Written::Conflict,
            Ok(Err(error)) => {
                tracing::debug!(lease = self.options.name, %error, "the lease cannot be written");
                Written::Failed
            }
            Err(_) => Written::Failed,
        }
    }
}

fn record_of(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0);
    Record {
        holder: spec.holder_identity.unwrap_or_default().into(),
        duration: Duration::from_secs(seconds),
        acquired: spec.acquire_time.map_or(0, |time| time.0.as_microsecond()),
        renewed: spec.renew_time.map_or(0, |time| time.0.as_microsecond()),
        transitions: spec.lease_transitions.unwrap_or(0),
    }
}

/// The object to write. The machine knows no wall clock, so the times are filled in here.
fn lease(name: &str, record: &Record, version: Option<&str>) -> Lease {
    let now = Timestamp::now();
    let acquired = match record.acquired {
        0 => now,
        micros => Timestamp::from_microsecond(micros).unwrap_or(now),
    };
    Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            resource_version: version.map(str::to_owned),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(record.holder.to_string()),
            lease_duration_seconds: Some(i32::try_from(record.duration.as_secs()).unwrap_or(i32::MAX)),
            acquire_time: Some(MicroTime(acquired)),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(record.transitions),
            ..LeaseSpec::default()
        }),
    }
}
