use std::{collections::BTreeMap, time::Duration};

use landfall_kubernetes::{
    clock::{Clock, until},
    lease::Leadership,
    source::Source,
    state::{Program, Reporter, Verdict},
    write::{Store, WriteError},
};
use landfall_model::{Instant, Observation, Reason};
use landfall_plan::{Effect, Outcome, Plan, Settings, World};
use landfall_probes::Gate;
use landfall_verdict::Fault;
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::Metrics,
    outbox::{Done, Outbox, failure},
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
        let clock = Clock::start();
        let now = || clock.now();
        let mut world = World::new(world);
        let mut reporter = Reporter::start(&store, Program::Controller, leadership.clone());
        let mut outbox = Outbox::new(store);
        let mut synced = false;
        let mut judge = false;
        let mut answered = true;
        let mut waiting = BTreeMap::new();
        let mut refused = BTreeMap::new();
        let mut observed = false;
        metrics.leader.set(1);
        let health = source.health();
        metrics.watch_age.follow(move || health.ages().collect());
        metrics.client.config_loaded.set(false);
        metrics.client.config_stale.set(false);
        loop {
            let (before, begun) = (world.examined(), std::time::Instant::now());
            let Plan { effects, recheck } = if synced { world.plan(now()) } else { Plan::default() };
            if world.examined() != before {
                metrics.planned.observe(begun.elapsed().as_secs_f64());
            }
            gate.set(synced);
            if std::mem::take(&mut observed) {
                tell_refused(&world, &mut refused);
                metrics.client.config_loaded.set(synced);
                metrics.client.config_stale.set(world.invalid().next().is_some() || !refused.is_empty());
            }
            if synced && std::mem::take(&mut judge) {
                reporter.tell(verdict(&world));
            }
            if waiting != *world.waiting_by_reason() {
                waiting.clone_from(world.waiting_by_reason());
                metrics.waiting(&waiting);
            }
            if !effects.is_empty() {
                show(metrics, &effects);
                metrics.events_dropped.inc_by(outbox.add(effects));
            }
            if outbox.may_start(now()) {
                // The one place where writes begin: a leader that slept through its lease stops here.
                if !leadership.as_ref().is_none_or(Leadership::is_current) {
                    break;
                }
                outbox.start();
            }
            let wake = recheck.into_iter().chain(outbox.resume(now())).min();
            tokio::select! {
                biased;
                // 1. The end.
                () = shutdown.cancelled() => break,
                () = lost(&mut leadership) => break,
                // 2. What became of writes, so that the next ones start.
                Some(done) = outbox.next(), if !outbox.is_idle() => {
                    if let Some(pause) = settle(metrics, &mut world, done, now(), &mut answered) {
                        outbox.pause(now() + pause);
                    }
                }
                Some(result) = reporter.next() => metrics.written("configuration", result),
                // 3. What changed, many changes at once.
                observation = source.next() => {
                    let Some(mut observation) = observation else { break };
                    for more in (0..BATCH).rev() {
                        synced |= observation == Observation::Synced;
                        judge |= is_configuration(&observation);
                        take(metrics, &mut world, observation);
                        let Some(next) = (more > 0).then(|| source.try_next()).flatten() else { break };
                        observation = next;
                    }
                    observed = true;
                }
                // 4. What waits for its time.
                () = until(wake, now()) => {}
            }
        }
        reporter.stop();
        while outbox.next().await.is_some() {}
        while let Some(result) = reporter.next().await {
            metrics.written("configuration", result);
        }
        metrics.leads_no_longer();
        gate.set(false);
    }
}

/// Waits until leadership is lost; for ever where nobody competes.
async fn lost(leadership: &mut Option<Leadership>) {
    match leadership {
        Some(leadership) => leadership.lost().await,
        None => std::future::pending().await,
    }
}

/// Whether an observation may change the verdict on the configuration.
const fn is_configuration(observation: &Observation) -> bool {
    match observation {
        Observation::Pool(..) | Observation::Invalid(..) | Observation::Synced => true,
        Observation::Service(..)
        | Observation::L2Advertisement(..)
        | Observation::Bgp(_)
        | Observation::Node(..)
        | Observation::EndpointSlice(..)
        | Observation::Namespace(..)
        | Observation::Speaker(..)
        | Observation::Announcement(..) => false,
    }
}

/// What is wrong with the configuration: objects that cannot be read, and pools that overlap others.
fn verdict(world: &World) -> Verdict {
    let refused = world.allocator().refused();
    let refused = refused.map(|(pool, refused)| format!("IPAddressPool {pool}: {}", refused.message));
    Verdict::of(
        world
            .invalid()
            .map(|(object, invalid)| Fault::unreadable(object, invalid).to_string())
            .chain(refused),
    )
}

/// Hands one observation to the world.
fn take(metrics: &Metrics, world: &mut World, observation: Observation) {
    metrics.client.updates.inc();
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
        | Observation::Bgp(_)
        | Observation::Node(..)
        | Observation::EndpointSlice(..)
        | Observation::Namespace(..)
        | Observation::Speaker(..)
        | Observation::Announcement(..)
        | Observation::Synced => {}
    }
    world.observe(observation);
}

/// Says once of each pool that overlaps another why it is not in force.
fn tell_refused(world: &World, told: &mut BTreeMap<Box<str>, String>) {
    let refused: BTreeMap<Box<str>, String> =
        world.allocator().refused().map(|(pool, refused)| (pool.into(), refused.message.clone())).collect();
    for (pool, message) in &refused {
        if told.get(pool) != Some(message) {
            tracing::warn!(op = "observe", reason = %Reason::Overlap, pool, "the pool is not in force: {message}");
        }
    }
    *told = refused;
}

/// Shows in metrics and logs what is about to be done.
fn show(metrics: &Metrics, effects: &[Effect]) {
    for effect in effects {
        match effect {
            Effect::PoolStatus { pool, counts } => metrics.pool(pool, *counts),
            Effect::Event { service, reason, message, .. } => {
                tracing::info!(op = "plan", %service, reason, "{message}")
            }
            Effect::Service(_) => {}
        }
    }
}

/// Reports the outcome of a write back. Returns for how long no other should begin.
fn settle(
    metrics: &Metrics,
    world: &mut World,
    done: Done,
    now: Instant,
    answered: &mut bool,
) -> Option<Duration> {
    let (op, object, error) = match done {
        Done::Service(write, Ok(version)) => {
            let resource_version = Some(version).filter(|version| !version.is_empty());
            world.written(&write, Outcome::Applied { resource_version }, now);
            ("service", String::new(), None)
        }
        Done::Service(write, Err(error)) => {
            world.written(&write, failure(&error), now);
            ("service", write.key.to_string(), Some(error))
        }
        Done::Pool(pool, Ok(())) => {
            world.pool_written(&pool, &Outcome::Applied { resource_version: None }, now);
            ("pool", String::new(), None)
        }
        Done::Pool(pool, Err(error)) => {
            world.pool_written(&pool, &failure(&error), now);
            ("pool", pool.into(), Some(error))
        }
        Done::Event(result) => ("event", String::new(), result.err()),
    };
    metrics.written(op, error.as_ref().map_or("ok", WriteError::kind));
    let Some(error) = error else {
        *answered = true;
        return None;
    };
    match error {
        WriteError::Conflict { .. } | WriteError::Gone { .. } => {
            tracing::debug!(op, object, %error, "not written; its next version decides");
            None
        }
        WriteError::Rejected { .. } => {
            tracing::warn!(op, object, %error, "not written");
            None
        }
        // One line for all that fail while the server is away.
        WriteError::Throttled { .. } | WriteError::Unavailable { .. } if !std::mem::take(answered) => {
            tracing::debug!(op, object, %error, "still not written");
            error.retry_after()
        }
        WriteError::Throttled { .. } | WriteError::Unavailable { .. } => {
            tracing::warn!(op, object, %error, "not written; writes pause");
            error.retry_after()
        }
    }
}
