//! Writes on their way: what waits, what is in flight, and in which order they go.

use std::{collections::VecDeque, net::IpAddr};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use landfall_kubernetes::{
    api::IPAddressPoolStatus,
    write::{EventWrite, Severity, Store, WriteError},
};
use landfall_model::{Instant, ServiceStatusWrite};
use landfall_plan::{Effect, Outcome};
use landfall_pool::Counts;

/// Statuses in flight at once: enough to hide the latency of an API server, few enough not to crowd it.
const STATUSES_IN_FLIGHT: usize = 16;
/// Events in flight at once.
const EVENTS_IN_FLIGHT: usize = 4;
/// Events that wait at most; more are dropped and counted, since an event is only a notice.
const EVENTS_WAITING: usize = 20_000;

/// What became of a write.
pub(crate) enum Done {
    /// Of a Service's status, with the version that it made.
    Service(Box<ServiceStatusWrite>, Result<Box<str>, WriteError>),
    /// Of a pool's status.
    Pool(Box<str>, Result<(), WriteError>),
    /// Of an event.
    Event(Result<(), WriteError>),
}

enum Status {
    Service(Box<ServiceStatusWrite>),
    Pool { pool: Box<str>, counts: Counts },
}

/// The writes that a plan asked for. Statuses go in the plan's order, each starting after the one before it has
/// started, and none that gives an address away before the one that takes it back has ended; events go beside them.
pub(crate) struct Outbox {
    store: Store,
    statuses: VecDeque<Status>,
    events: VecDeque<EventWrite>,
    statuses_in_flight: usize,
    events_in_flight: usize,
    /// What the writes in flight take back.
    taking_back: Vec<IpAddr>,
    /// Nothing starts before.
    paused_until: Instant,
    flying: FuturesUnordered<BoxFuture<'static, Done>>,
}

impl Outbox {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            statuses: VecDeque::new(),
            events: VecDeque::new(),
            statuses_in_flight: 0,
            events_in_flight: 0,
            taking_back: Vec::new(),
            paused_until: Instant::ZERO,
            flying: FuturesUnordered::new(),
        }
    }

    /// Queues what a plan asks for. Returns how many events were dropped because too many wait.
    pub(crate) fn add(&mut self, effects: Vec<Effect>) -> u64 {
        let mut dropped = 0;
        for effect in effects {
            match effect {
                Effect::Service(write) => self.statuses.push_back(Status::Service(write)),
                Effect::PoolStatus { pool, counts } => self.statuses.push_back(Status::Pool { pool, counts }),
                Effect::Event { .. } if self.events.len() >= EVENTS_WAITING => dropped += 1,
                Effect::Event { service, uid, warning, reason, message } => {
                    let severity = if warning { Severity::Warning } else { Severity::Normal };
                    self.events.push_back(EventWrite {
                        service,
                        uid,
                        severity,
                        reason,
                        action: "Allocate",
                        message,
                    });
                }
            }
        }
        dropped
    }

    /// Starts nothing before `until`: the server is away or busy, and what waits is better kept than failed.
    pub(crate) fn pause(&mut self, until: Instant) {
        self.paused_until = self.paused_until.max(until);
    }

    /// When [`Outbox::start`] is to be called again although nothing has ended until then.
    pub(crate) fn resume(&self, now: Instant) -> Option<Instant> {
        let waits = !self.statuses.is_empty() || !self.events.is_empty();
        (waits && self.paused_until > now).then_some(self.paused_until)
    }

    /// Whether [`Outbox::start`] would start something.
    pub(crate) fn may_start(&self, now: Instant) -> bool {
        let status = self.statuses.front().is_some_and(|status| self.fits(status));
        let event = !self.events.is_empty() && self.events_in_flight < EVENTS_IN_FLIGHT;
        self.paused_until <= now && (status || event)
    }

    /// Starts as many writes as may be in flight. To be called only while this replica leads, and
    /// [`Outbox::may_start`].
    pub(crate) fn start(&mut self) {
        while self.statuses.front().is_some_and(|status| self.fits(status))
            && let Some(status) = self.statuses.pop_front()
        {
            self.statuses_in_flight += 1;
            if let Status::Service(write) = &status {
                self.taking_back.extend(write.taken_back());
            }
            self.flying.push(carry_out(self.store.clone(), status));
        }
        while self.events_in_flight < EVENTS_IN_FLIGHT
            && let Some(event) = self.events.pop_front()
        {
            self.events_in_flight += 1;
            let store = self.store.clone();
            self.flying.push(Box::pin(async move { Done::Event(store.event(&event).await) }));
        }
    }

    /// Whether nothing is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.flying.is_empty()
    }

    /// The next write that ends. Only to be called while one is in flight.
    pub(crate) async fn next(&mut self) -> Option<Done> {
        let done = self.flying.next().await?;
        match &done {
            Done::Service(write, _) => {
                self.statuses_in_flight -= 1;
                for address in write.taken_back() {
                    if let Some(index) = self.taking_back.iter().position(|taken| *taken == address) {
                        self.taking_back.swap_remove(index);
                    }
                }
            }
            Done::Pool(..) => self.statuses_in_flight -= 1,
            Done::Event(_) => self.events_in_flight -= 1,
        }
        Some(done)
    }

    /// Whether the status may go beside those in flight.
    fn fits(&self, status: &Status) -> bool {
        let free = match status {
            Status::Service(write) => write.given().all(|address| !self.taking_back.contains(&address)),
            Status::Pool { .. } => true,
        };
        free && self.statuses_in_flight < STATUSES_IN_FLIGHT
    }
}

fn carry_out(store: Store, status: Status) -> BoxFuture<'static, Done> {
    Box::pin(async move {
        match status {
            Status::Service(write) => {
                let result = store.service_status(&write).await;
                Done::Service(write, result)
            }
            Status::Pool { pool, counts } => {
                let result = store.pool_status(&pool, pool_status(counts)).await;
                Done::Pool(pool, result)
            }
        }
    })
}

fn pool_status(counts: Counts) -> IPAddressPoolStatus {
    let Counts { assigned_v4, assigned_v6, available_v4, available_v6 } = counts;
    IPAddressPoolStatus {
        assigned_ipv4: assigned_v4,
        assigned_ipv6: assigned_v6,
        available_ipv4: available_v4,
        available_ipv6: available_v6,
    }
}

/// What the plan makes of a failed write.
pub(crate) fn failure(error: &WriteError) -> Outcome {
    match error {
        WriteError::Conflict { .. } => Outcome::Conflict,
        WriteError::Gone { .. } => Outcome::Gone,
        WriteError::Rejected { .. } => Outcome::Refused,
        WriteError::Throttled { .. } | WriteError::Unavailable { .. } => {
            Outcome::Failed { retry_after: error.retry_after() }
        }
    }
}

#[cfg(test)]
mod tests;
