use std::time::Duration;

use landfall_model::Instant;

/// How many addresses an interface announces back to back, and how fast afterwards. It works as the generic cell
/// rate algorithm: one number instead of a bucket that has to be refilled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    interval: Duration,
    tolerance: Duration,
    /// When the next one would be due at the sustained rate.
    next: Instant,
}

impl Pace {
    /// First announcements: 50 back to back, then one per millisecond.
    pub(super) fn first() -> Self {
        Self::new(50, Duration::from_millis(1))
    }

    /// Repeats: half of it, 25 back to back, then one per two milliseconds.
    pub(super) fn repeat() -> Self {
        Self::new(25, Duration::from_millis(2))
    }

    /// Probes: the frames of first announcements, which are two each, in the same time.
    pub(crate) fn probe() -> Self {
        Self::new(100, Duration::from_micros(500))
    }

    fn new(burst: u32, interval: Duration) -> Self {
        Self { interval, tolerance: interval * (burst - 1), next: Instant::ZERO }
    }

    /// The earliest time at which [`Self::take`] is permitted.
    pub(crate) fn ready(&self) -> Instant {
        self.next - self.tolerance
    }

    /// Counts one announcement at `now`, which must not be before [`Self::ready`].
    pub(crate) fn take(&mut self, now: Instant) {
        self.next = self.next.max(now) + self.interval;
    }
}
