use std::time::{Duration, Instant};

/// The first pause.
const FIRST: Duration = Duration::from_millis(250);
/// The longest pause before jitter.
const LONGEST: Duration = Duration::from_secs(8);

/// After so long without a failure the next one is a first one: a watch that works may be silent.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Pauses that double from [`FIRST`] to [`LONGEST`], each prolonged by up to a half at random, so that a thousand
/// nodes do not come back in step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    last: Option<Instant>,
}

impl Backoff {
    /// The pause after one more failure. `random` is any number; it chooses the jitter.
    pub(crate) fn next(&mut self, random: u32, now: Instant) -> Duration {
        if !self.failing(now) {
            self.failures = 0;
        }
        self.last = Some(now);
        let pause = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        pause + (pause / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
    }

    /// Whether something failed lately, with no success since.
    pub(crate) fn failing(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| now.saturating_duration_since(last) < FORGOTTEN)
    }

    /// Notes a success.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
        self.last = None;
    }
}

/// A number for the jitter. When the system has no entropy, all jitter is the same, which is harmless.
pub(crate) fn random() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_start_anew_after_success() {
        let mut backoff = Backoff::default();
        let start = Instant::now();
        let pauses: Vec<u128> = (0..8).map(|_| backoff.next(0, start).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
        assert_eq!(backoff.next(u32::MAX, start), Duration::from_secs(12));
        backoff.reset();
        assert!(!backoff.failing(start));
        assert_eq!(backoff.next(0, start), FIRST);
        assert_eq!(backoff.next(0, start), FIRST * 2);
        assert_eq!(backoff.next(0, start + FORGOTTEN), FIRST);
    }
}
