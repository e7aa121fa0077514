use std::time::Instant as Clock;

use landfall_kubernetes::{
    lease::Leadership,
    source::Source,
    write::{Store, WriteError},
};
use landfall_model::{Instant, Observation};
use landfall_plan::{Effect, Plan, Settings, World};
use landfall_probes::Gate;
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::Metrics,
    outbox::{Done, Outbox, outcome},
};

/// Observations taken at once before the plan is asked again.
const BATCH: usize = 1024;

/// Runs one term of leadership.
pub(crate) struct Driver<'a> {
    pub(crate) world: Settings,
    pub(crate) store: Store,
    /// `None` where nobody competes.
    pub(crate) leadership: Option<Leadership>,
    pub(crate) metrics: &'a Metrics,
    pub(crate) gate: &'a Gate,
}

impl Driver<'_> {
    /// Plans and writes until leadership is lost or `shutdown`; what is in flight then is waited for.
    pub(crate) async fn lead(self, mut source: Source, shutdown: &CancellationToken) {
        let Self { world, store, mut leadership, metrics, gate } = self;
        let clock = Clock::now();
        let now = || Instant::from_micros(u64::try_from(clock.elapsed().as_micros()).unwrap_or(u64::MAX));
        let mut world = World::new(world);
        let mut outbox = Outbox::new(store);
        let mut synced = false;
        metrics.leader.set(1);
        loop {
            let Plan { effects, recheck } = if synced { world.plan(now()) } else { Plan::default() };
            gate.set(synced);
            if !effects.is_empty() {
                show(metrics, &world, &effects);
                metrics.events_dropped.inc_by(outbox.add(effects));
            }
            if outbox.may_start() {
                // The one place where writes begin: a leader that slept through its lease stops here.
                if !leadership.as_ref().is_none_or(Leadership::is_current) {
                    break;
                }
                outbox.start();
            }
            tokio::select! {
                biased;
                // 1. The end.
                () = shutdown.cancelled() => break,
                lost = lost(&mut leadership) => if lost { break },
                // 2. What became of writes, so that the next ones start.
                Some(done) = outbox.next(), if !outbox.is_idle() => settle(metrics, &mut world, done, now()),
                // 3. What changed, many changes at once.
                observation = source.next() => {
                    let Some(observation) = observation else { break };
                    synced |= take(metrics, &mut world, observation);
                    for _ in 1..BATCH {
                        let Some(observation) = source.try_next() else { break };
                        synced |= take(metrics, &mut world, observation);
                    }
                    metrics.config_loaded.set(i64::from(synced));
                    metrics.config_stale.set(i64::from(world.invalid().next().is_some()));
                }
                // 4. What waits for its time.
                () = until(recheck, now()) => {}
            }
        }
        while outbox.next().await.is_some() {}
        metrics.leader.set(0);
        gate.set(false);
    }
}

/// Whether leadership was lost; pending for ever where nobody competes.
async fn lost(leadership: &mut Option<Leadership>) -> bool {
    match leadership {
        Some(leadership) => leadership.changed().await != Some(true),
        None => std::future::pending().await,
    }
}

async fn until(recheck: Option<Instant>, now: Instant) {
    match recheck {
        Some(at) => tokio::time::sleep(at.since(now)).await,
        None => std::future::pending().await,
    }
}

/// Hands one observation to the world; true for the one that says that everything was listed.
fn take(metrics: &Metrics, world: &mut World, observation: Observation) -> bool {
    metrics.updates.inc();
    match &observation {
        Observation::Pool(name, None) => metrics.pool_gone(name),
        Observation::Invalid(object, Some(invalid)) => {
            let (field, message) = (&invalid.field, &invalid.message);
            tracing::warn!(op = "observe", reason = "InvalidValue", %object, %field, "{message}");
        }
        Observation::Pool(..)
        | Observation::Invalid(..)
        | Observation::Service(..)
        | Observation::L2Advertisement(..)
        | Observation::Node(..)
        | Observation::EndpointSlice(..)
        | Observation::Namespace(..)
        | Observation::Speaker(..)
        | Observation::Synced => {}
    }
    let synced = observation == Observation::Synced;
    world.observe(observation);
    synced
}

/// Shows in metrics and logs what is about to be done.
fn show(metrics: &Metrics, world: &World, effects: &[Effect]) {
    for effect in effects {
        match effect {
            Effect::PoolStatus { pool, counts } => metrics.pool(pool, *counts),
            Effect::Event { service, reason, message, .. } => {
                tracing::info!(op = "plan", %service, reason, "{message}")
            }
            Effect::Service(_) => {}
        }
    }
    metrics.waiting(world.waiting_by_reason());
}

/// Reports the outcome of a write back.
fn settle(metrics: &Metrics, world: &mut World, done: Done, now: Instant) {
    let kind = |result: &Result<(), WriteError>| result.as_ref().map_or_else(WriteError::kind, |()| "ok");
    match done {
        Done::Service(write, result) => {
            metrics.written("service", kind(&result));
            if let Err(error) = &result {
                log_failure("service", &write.key.to_string(), error);
            }
            world.written(&write, outcome(&result), now);
        }
        Done::Pool(pool, result) => {
            metrics.written("pool", kind(&result));
            if let Err(error) = &result {
                log_failure("pool", &pool, error);
            }
            world.pool_written(&pool, &outcome(&result), now);
        }
        Done::Event(result) => {
            metrics.written("event", kind(&result));
            if let Err(error) = &result {
                log_failure("event", "", error);
            }
        }
    }
}

fn log_failure(op: &str, object: &str, error: &WriteError) {
    match error {
        WriteError::Conflict { .. } | WriteError::Gone { .. } => {
            tracing::debug!(op, object, %error, "not written; its next version decides");
        }
        WriteError::Throttled { .. } | WriteError::Unavailable { .. } | WriteError::Rejected { .. } => {
            tracing::warn!(op, object, %error, "not written");
        }
    }
}
