use std::{
    collections::BTreeMap,
    net::IpAddr,
    ops::Bound::{Excluded, Unbounded},
    time::Duration,
};

use landfall_model::Instant;

use crate::random::Random;

/// Between two refreshes of a node there is on average at least this time. So the rate has a bound, and a node that owns
/// more than 3,000 addresses at the usual five minutes takes longer for a round.
pub const REFRESH_PACE: Duration = Duration::from_millis(100);

/// Whose turn it is to be announced once more, long after it was announced for the first time. All addresses of the node
/// have their turns one after the other, in equal steps ± 10 %: never two at once, and no timer for each.
#[derive(Debug)]
pub(super) struct Refresh {
    /// One round; `None`: nothing is refreshed.
    every: Option<Duration>,
    /// The last turn, and when it was.
    last: Option<IpAddr>,
    since: Instant,
    /// The next step, in thousandths of the usual one.
    stretch: u32,
    random: Random,
}

impl Default for Refresh {
    fn default() -> Self {
        Self::new(None, 0)
    }
}

impl Refresh {
    pub(super) fn new(every: Option<Duration>, seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self { every, last: None, since: Instant::ZERO, stretch: stretch(&mut random), random }
    }

    /// There was no address until now.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since = now;
    }

    /// When [`Self::pop`] has something to give, with so many addresses.
    pub(super) fn next(&self, addresses: usize) -> Option<Instant> {
        let count = u32::try_from(addresses).unwrap_or(u32::MAX);
        let step = self.every?.checked_div(count)?.max(REFRESH_PACE);
        Some(self.since + (step / 1000).saturating_mul(self.stretch))
    }

    /// The address whose turn it is at `now`. One call gives one, however late it is.
    pub(super) fn pop<T>(&mut self, addresses: &BTreeMap<IpAddr, T>, now: Instant) -> Option<IpAddr> {
        if self.next(addresses.len())? > now {
            return None;
        }
        let after = self.last.map_or(Unbounded, Excluded);
        let mut later = addresses.range((after, Unbounded)).chain(addresses);
        self.last = later.next().map(|(address, _)| *address);
        self.since = now;
        self.stretch = stretch(&mut self.random);
        self.last
    }
}

fn stretch(random: &mut Random) -> u32 {
    u32::try_from(900 + random.next() % 201).unwrap_or(1000)
}

#[cfg(test)]
mod tests;
