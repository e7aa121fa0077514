//! How fast calls may follow each other.

use std::time::Duration;

use landfall_model::Instant;

/// A rate that does not suffice doubles in this time, as long as AWS refuses nothing.
const DOUBLING: f64 = 0.3;
/// The most that it grows to, in parts of the first rate.
const FASTEST: f64 = 64.0;
/// The least that refusals leave of it.
const SLOWEST: f64 = 1.0 / 16.0;
/// What AWS refused once is tried again after so many seconds, twice as much each time.
const FORGIVEN: f64 = 60.0;
/// After a pause the rate is the first one again.
const PAUSE: f64 = 5.0;
/// After a refusal nothing is sent for so many seconds, so that AWS's bucket has something in it again.
const QUIET: f64 = 1.0;

/// A token bucket whose rate finds out what AWS allows: nobody says how much that is for an account, and others draw from the
/// same bucket. It begins low, doubles while calls wait, and falls to half of what AWS refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    rate: f64,
    burst: f64,
    /// What the rate is multiplied with.
    factor: f64,
    /// The most that the factor may be, since the last refusal.
    limit: f64,
    tokens: f64,
    at: Instant,
    /// Somebody waits.
    hungry: bool,
    refused: Option<Instant>,
}

impl Pace {
    /// A full bucket of `burst` tokens that is filled with `rate` of them each second at first. Both are at least a little
    /// more than nothing.
    #[must_use]
    pub const fn new(rate: f64, burst: f64) -> Self {
        let (rate, burst) = (rate.max(0.01), burst.max(1.0));
        Self {
            rate,
            burst,
            factor: 1.0,
            limit: FASTEST,
            tokens: burst,
            at: Instant::ZERO,
            hungry: false,
            refused: None,
        }
    }

    /// Takes a token if there is one; else how long until there is.
    ///
    /// # Errors
    ///
    /// The time to wait. Others may be quicker: ask again then.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        self.hungry = self.tokens < 1.0;
        if !self.hungry {
            self.tokens -= 1.0;
            return Ok(());
        }
        let seconds = (1.0 - self.tokens) / (self.rate * self.factor);
        Err(Duration::from_secs_f64(seconds.min(60.0)) + Duration::from_micros(1))
    }

    /// Notes that AWS refused a call that was sent then as one too many: the bucket is empty, for us at least. Calls that were
    /// under way when another one was refused say nothing new.
    pub fn refused(&mut self, sent: Instant, now: Instant) {
        self.fill(now);
        self.tokens = self.tokens.min(0.0);
        if self.refused.is_none_or(|before| sent > before) {
            self.limit = (self.factor / 2.0).max(SLOWEST);
            self.factor = self.limit;
            self.refused = Some(now);
            self.tokens = -self.rate * self.factor * QUIET;
        }
    }

    fn fill(&mut self, now: Instant) {
        let seconds = now.since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.limit = (self.limit * (seconds / FORGIVEN).exp2()).min(FASTEST);
        if self.hungry {
            self.factor = (self.factor * (seconds / DOUBLING).exp2()).min(self.limit);
        } else if seconds > PAUSE {
            self.factor = self.factor.min(1.0);
        }
        self.factor = self.factor.max(self.limit.min(1.0)).min(self.limit);
        self.tokens = (self.tokens + seconds * self.rate * self.factor).min(self.burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    /// Calls that pass until `end` when there is always one that waits.
    fn passed(pace: &mut Pace, from: u64, end: u64) -> usize {
        let mut now = at(from);
        let mut passed = 0;
        while now < at(end) {
            match pace.take(now) {
                Ok(()) => passed += 1,
                Err(wait) => now += wait,
            }
        }
        passed
    }

    #[test]
    fn a_burst_passes_and_what_waits_speeds_up() {
        let mut pace = Pace::new(2.0, 5.0);
        assert_eq!((0..100).filter(|_| pace.take(at(0)).is_ok()).count(), 5);
        assert_eq!(pace.take(at(0)).map_err(|wait| wait.as_millis()), Err(500));
        let mut seconds = [0; 4];
        for (second, count) in (0..).zip(&mut seconds) {
            *count = passed(&mut pace, second * 1000, (second + 1) * 1000);
        }
        assert!(seconds.is_sorted() && seconds[0] <= 9 && (60..=128).contains(&seconds[3]), "{seconds:?}");
    }

    #[test]
    fn a_refusal_halves_what_was_too_much_and_time_forgives() {
        let mut pace = Pace::new(2.0, 5.0);
        passed(&mut pace, 0, 2000);
        let fast = pace.factor;
        pace.refused(at(1900), at(2000));
        pace.refused(at(1950), at(2600));
        assert!((pace.factor - fast / 2.0).abs() < fast / 10.0, "one event, not two: {} {fast}", pace.factor);
        let count = passed(&mut pace, 2600, 4600);
        let allowed = fast / 2.0 * 2.0 * 2.0 * 1.1;
        assert!(f64::from(u32::try_from(count).unwrap()) < allowed, "{count} of {allowed}");
        for refusal in 0..20 {
            pace.refused(at(5000 + refusal * 600 - 1), at(5000 + refusal * 600));
        }
        assert!(pace.factor <= SLOWEST * 1.2);
        assert!(passed(&mut pace, 20_000, 30_000) <= 4);
        assert!(passed(&mut pace, 600_000, 610_000) > 100, "ten minutes later nothing is held against AWS");
    }

    #[test]
    fn after_a_pause_it_begins_again() {
        let mut pace = Pace::new(2.0, 5.0);
        passed(&mut pace, 0, 4000);
        assert!(pace.factor > 8.0);
        pace.hungry = false;
        assert!(pace.take(at(30_000)).is_ok());
        assert!((pace.factor - 1.0).abs() < f64::EPSILON);
    }
}
