use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use landfall_model::Instant;
use landfall_pool::{Allocator, Counts};

use crate::{Effect, Outcome, entry::Backoff};

/// What the status of each pool shows, and what is to be written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reports {
    /// What was observed, or written since.
    shown: BTreeMap<Box<str>, Counts>,
    in_flight: BTreeMap<Box<str>, Counts>,
    changed: BTreeSet<Box<str>>,
    backoff: BTreeMap<Box<str>, Backoff>,
    retries: BTreeSet<(Instant, Box<str>)>,
}

impl Reports {
    pub(crate) fn touch(&mut self, pool: &str) {
        if !self.changed.contains(pool) {
            self.changed.insert(pool.into());
        }
    }

    pub(crate) fn observe(&mut self, pool: &str, counts: Option<Counts>) {
        match counts {
            Some(counts) => self.shown.insert(pool.into(), counts),
            None => self.shown.remove(pool),
        };
        self.touch(pool);
    }

    /// The pool is gone: whatever its successor of the same name shows is not this.
    pub(crate) fn gone(&mut self, pool: &str) {
        self.shown.remove(pool);
        self.in_flight.remove(pool);
        self.backoff.remove(pool);
        self.touch(pool);
    }

    pub(crate) fn forget_flights(&mut self) {
        self.in_flight.clear();
        self.backoff.clear();
        self.retries.clear();
    }

    /// The pools whose counters differ from what their status shows. At most one write per pool is under way;
    /// changes in the meantime make one more.
    pub(crate) fn effects(&mut self, allocator: &Allocator, now: Instant, effects: &mut Vec<Effect>) {
        while let Some((_, pool)) = self.retries.pop_first_if_due(now) {
            self.changed.insert(pool);
        }
        for pool in std::mem::take(&mut self.changed) {
            let Some(counts) = allocator.counts(&pool) else {
                continue;
            };
            if self.in_flight.contains_key(&pool) || self.retries.iter().any(|(_, waiting)| *waiting == pool)
            {
                continue;
            }
            if self.shown.get(&pool) != Some(&counts) {
                self.in_flight.insert(pool.clone(), counts);
                effects.push(Effect::PoolStatus { pool, counts });
            }
        }
    }

    pub(crate) fn written(&mut self, pool: &str, outcome: &Outcome, now: Instant) {
        let Some(counts) = self.in_flight.remove(pool) else { return };
        match outcome {
            Outcome::Applied { .. } => {
                self.shown.insert(pool.into(), counts);
                self.backoff.remove(pool);
                self.touch(pool);
            }
            Outcome::Gone => {}
            Outcome::Conflict => self.retry(pool, now, |backoff| backoff.failed(None)),
            Outcome::Refused => self.retry(pool, now, Backoff::refused),
            Outcome::Failed { retry_after } => self.retry(pool, now, |backoff| backoff.failed(*retry_after)),
        }
    }

    pub(crate) fn recheck(&self) -> Option<Instant> {
        self.retries.first().map(|(at, _)| *at)
    }

    fn retry(&mut self, pool: &str, now: Instant, delay: impl FnOnce(&mut Backoff) -> Duration) {
        let delay = delay(self.backoff.entry(pool.into()).or_default());
        self.retries.insert((now + delay, pool.into()));
    }
}

/// A set of times, read from the earliest.
pub(crate) trait Due<T> {
    /// The earliest entry if its time has come.
    fn pop_first_if_due(&mut self, now: Instant) -> Option<(Instant, T)>;
}

impl<T: Ord> Due<T> for BTreeSet<(Instant, T)> {
    fn pop_first_if_due(&mut self, now: Instant) -> Option<(Instant, T)> {
        if self.first().is_some_and(|(at, _)| *at <= now) { self.pop_first() } else { None }
    }
}
