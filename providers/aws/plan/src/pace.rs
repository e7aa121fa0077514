//! How fast calls may follow each other, so that AWS has no reason to refuse any.

use std::time::Duration;

use landfall_model::Instant;

/// A refusal divides the rate by two, at most so often.
const SLOWEST: f64 = 1.0 / 16.0;
/// By how much of the full rate it recovers in a second.
const RECOVERY: f64 = 1.0 / 60.0;

/// A token bucket whose rate halves when AWS refuses a call as one too many, and recovers slowly: the account's other users
/// draw from the same bucket, and nobody says how much.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    rate: f64,
    burst: f64,
    /// Part of the rate that is in use.
    share: f64,
    tokens: f64,
    at: Instant,
}

impl Pace {
    /// A full bucket of `burst` tokens that is filled with `rate` of them each second. Both are at least a little more than
    /// nothing.
    #[must_use]
    pub const fn new(rate: f64, burst: f64) -> Self {
        let (rate, burst) = (rate.max(0.01), burst.max(1.0));
        Self { rate, burst, share: 1.0, tokens: burst, at: Instant::ZERO }
    }

    /// Takes a token if there is one; else how long until there is.
    ///
    /// # Errors
    ///
    /// The time to wait. Others may be quicker: ask again then.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let seconds = (1.0 - self.tokens) / (self.rate * self.share);
        Err(Duration::from_secs_f64(seconds.min(60.0)) + Duration::from_micros(1))
    }

    /// Notes that AWS refused a call as one too many: the bucket is empty, for us at least.
    pub fn refused(&mut self, now: Instant) {
        self.fill(now);
        self.tokens = 0.0;
        self.share = (self.share / 2.0).max(SLOWEST);
    }

    fn fill(&mut self, now: Instant) {
        let seconds = now.since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.tokens = (self.tokens + seconds * self.rate * self.share).min(self.burst);
        self.share = (self.share + seconds * RECOVERY).min(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(at: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(at)
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut pace = Pace::new(2.0, 5.0);
        let taken = |pace: &mut Pace, at| (0..100).filter(|_| pace.take(second(at)).is_ok()).count();
        assert_eq!(taken(&mut pace, 0), 5);
        assert_eq!(pace.take(second(0)).map_err(|wait| wait.as_millis()), Err(500));
        assert_eq!([taken(&mut pace, 1), taken(&mut pace, 3), taken(&mut pace, 60)], [2, 4, 5]);
    }

    #[test]
    fn a_refusal_halves_the_rate_and_a_minute_mends_it() {
        let mut pace = Pace::new(4.0, 4.0);
        pace.refused(second(0));
        let wait = pace.take(second(0)).unwrap_err();
        assert_eq!(wait.as_millis(), 500);
        (0..9).for_each(|_| pace.refused(second(0)));
        assert_eq!(pace.take(second(0)).unwrap_err().as_millis(), 4000);
        assert_eq!(pace.take(second(60)), Ok(()));
        assert!((pace.share - 1.0).abs() < 1e-9);
    }
}
