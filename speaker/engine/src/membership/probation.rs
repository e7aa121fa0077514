use std::time::Duration;

use landfall_model::Instant;

/// No member must be heard for longer than this before it counts again.
pub const LONGEST_PROBATION: Duration = Duration::from_secs(60);
/// A member that was heard without a break for so long since it came back is taken as if it had never been lost.
pub const FORGIVEN_AFTER: Duration = Duration::from_secs(10 * 60);

/// What this node remembers of a member's deaths, and how long the member must be heard before it counts again: for the
/// settling time at first, and twice as long after each further death that is held against it.
///
/// ```text
/// death   1st    2nd    3rd    4th    5th    6th    7th …
/// wait    1 s    2 s    4 s    8 s   16 s   32 s   60 s …        heard for 10 min: from the beginning
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Probation {
    deaths: u32,
    /// The last death has no wait yet.
    blamed: bool,
    /// The present wait is for a death that is held against it.
    doubted: bool,
    /// When it came back last, and until when it waits.
    returned: Instant,
    until: Instant,
}

impl Probation {
    /// It died, and that is held against it.
    pub(super) fn died(&mut self, now: Instant) {
        if now.since(self.returned) >= FORGIVEN_AFTER {
            self.deaths = 0;
        }
        self.deaths = self.deaths.saturating_add(1);
        self.blamed = true;
    }

    /// It is heard again. Says when it counts again, with this settling time.
    pub(super) fn returned(&mut self, settle: Duration, now: Instant) -> Instant {
        self.returned = now;
        if std::mem::take(&mut self.blamed) {
            let doubled = settle.saturating_mul(1 << (self.deaths - 1).min(20));
            self.doubted = true;
            self.until = now + doubled.min(LONGEST_PROBATION.max(settle));
            return self.until;
        }
        self.doubted &= self.until > now;
        self.interrupted(settle, now)
    }

    /// It, or this node, was away for a moment that is no death. Says when it counts again.
    pub(super) fn interrupted(&mut self, settle: Duration, now: Instant) -> Instant {
        self.until = self.until.max(now + settle);
        self.until
    }

    /// It came back no longer ago than that.
    pub(super) fn is_back_since(&self, time: Duration, now: Instant) -> bool {
        now.since(self.returned) <= time
    }

    /// What it waits for is a death that is held against it.
    pub(super) const fn is_doubted(&self) -> bool {
        self.doubted
    }

    /// The same, and the death was soon after another one.
    pub(super) const fn is_repeated(&self) -> bool {
        self.doubted && self.deaths > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(1_000_000_000) + Duration::from_secs(seconds)
    }

    /// After so many deaths, two seconds apart, the last of which was just now.
    fn after(deaths: u64) -> Probation {
        let mut probation = Probation::default();
        for death in 0..deaths {
            probation.returned(SETTLE, at(death * 2));
            probation.died(at(death * 2 + 1));
        }
        probation
    }

    #[test]
    fn each_death_doubles_the_wait_up_to_a_minute() {
        let wait = |deaths| after(deaths).returned(SETTLE, at(100)).since(at(100)).as_secs();
        let waits: Vec<u64> = (0..10).map(wait).collect();
        assert_eq!(waits, [1, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(after(1_000).returned(SETTLE, at(9_000)), at(9_060), "no number is too large");
        let long = Duration::from_secs(90);
        assert_eq!(after(3).returned(long, at(100)), at(190), "never less than the settling time");
    }

    #[test]
    fn who_lived_for_long_begins_anew() {
        for (life, wait) in [(599, 16), (600, 1), (6_000, 1)] {
            let mut probation = after(4);
            let back = at(100);
            probation.returned(SETTLE, back);
            probation.died(back + Duration::from_secs(life));
            let again = back + Duration::from_secs(life + 5);
            assert_eq!(
                probation.returned(SETTLE, again).since(again).as_secs(),
                wait,
                "it lived for {life} s"
            );
            assert_eq!(probation.is_repeated(), wait > 1);
        }
        assert_eq!(after(4).returned(SETTLE, at(9_000)), at(9_008), "a long absence is no life");
    }

    #[test]
    fn what_is_not_held_against_it_costs_the_settling_time_and_ends_no_wait() {
        let mut probation = after(4);
        assert_eq!(probation.returned(SETTLE, at(10)), at(18));
        for (away, until, doubted) in [(12, 18, true), (17, 18, true), (18, 19, false), (30, 31, false)] {
            assert_eq!(probation.returned(SETTLE, at(away)), at(until), "away until {away}");
            assert_eq!(probation.is_doubted(), doubted, "away until {away}");
        }
        assert_eq!(probation.interrupted(SETTLE, at(30)), at(31));
        probation.died(at(32));
        assert_eq!(probation.returned(SETTLE, at(33)), at(49), "its deaths are not forgotten");
    }

    #[test]
    fn one_death_is_nothing_special() {
        let repeated = |deaths| {
            let mut probation = after(deaths);
            probation.returned(SETTLE, at(100));
            (probation.is_doubted(), probation.is_repeated())
        };
        assert_eq!([0, 1, 2].map(repeated), [(false, false), (true, false), (true, true)]);
        let mut probation = Probation::default();
        probation.returned(SETTLE, at(5));
        assert!(probation.is_back_since(SETTLE, at(6)) && !probation.is_back_since(SETTLE, at(7)));
    }
}
