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
/// Notices in flight at once.
const NOTICES_IN_FLIGHT: usize = 4;
/// While statuses wait, a notice goes with every so many of them: a busy API server serves what users wait for first, yet
/// a stream of statuses without end does not hold the notices back for ever.
const STATUSES_PER_NOTICE: usize = 64;
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

/// What nobody waits for.
enum Notice {
    Event(EventWrite),
    Pool { pool: Box<str>, counts: Counts },
}

/// The writes that a plan asked for. Statuses of Services go in the plan's order, each starting after the one before it
/// has started, and none that gives an address away before the one that takes it back has ended; notices go beside them,
/// in their own order.
pub(crate) struct Outbox {
    store: Store,
    statuses: VecDeque<Box<ServiceStatusWrite>>,
    notices: VecDeque<Notice>,
    statuses_in_flight: usize,
    notices_in_flight: usize,
    /// Statuses that started since the last notice did.
    since_notice: usize,
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
            notices: VecDeque::new(),
            statuses_in_flight: 0,
            notices_in_flight: 0,
            since_notice: 0,
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
                Effect::Service(write) => self.statuses.push_back(write),
                Effect::PoolStatus { pool, counts } => self.notices.push_back(Notice::Pool { pool, counts }),
                Effect::Event { .. } if self.notices.len() >= EVENTS_WAITING => dropped += 1,
                Effect::Event { service, uid, warning, reason, message } => {
                    let severity = if warning { Severity::Warning } else { Severity::Normal };
                    let event = EventWrite { service, uid, severity, reason, action: "Allocate", message };
                    self.notices.push_back(Notice::Event(event));
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
        let waits = !self.statuses.is_empty() || !self.notices.is_empty();
        (waits && self.paused_until > now).then_some(self.paused_until)
    }

    /// Whether [`Outbox::start`] would start something.
    pub(crate) fn may_start(&self, now: Instant) -> bool {
        self.paused_until <= now && (self.status_may_start() || self.notice_may_start())
    }

    /// Starts as many writes as may be in flight. To be called only while this replica leads, and
    /// [`Outbox::may_start`].
    pub(crate) fn start(&mut self) {
        while self.status_may_start()
            && let Some(write) = self.statuses.pop_front()
        {
            self.statuses_in_flight += 1;
            self.since_notice += 1;
            self.taking_back.extend(write.taken_back());
            let store = self.store.clone();
            self.flying.push(Box::pin(async move {
                let result = store.service_status(&write).await;
                Done::Service(write, result)
            }));
        }
        while self.notice_may_start()
            && let Some(notice) = self.notices.pop_front()
        {
            self.notices_in_flight += 1;
            self.since_notice = 0;
            self.flying.push(give(self.store.clone(), notice));
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
            Done::Pool(..) | Done::Event(_) => self.notices_in_flight -= 1,
        }
        Some(done)
    }

    /// Whether the first status may go beside those in flight.
    fn status_may_start(&self) -> bool {
        let free =
            |write: &ServiceStatusWrite| write.given().all(|address| !self.taking_back.contains(&address));
        self.statuses_in_flight < STATUSES_IN_FLIGHT && self.statuses.front().is_some_and(|write| free(write))
    }

    fn notice_may_start(&self) -> bool {
        let turn = self.statuses.is_empty() || self.since_notice >= STATUSES_PER_NOTICE;
        turn && self.notices_in_flight < NOTICES_IN_FLIGHT && !self.notices.is_empty()
    }
}

fn give(store: Store, notice: Notice) -> BoxFuture<'static, Done> {
    Box::pin(async move {
        match notice {
            Notice::Event(event) => Done::Event(store.event(&event).await),
            Notice::Pool { pool, counts } => {
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
