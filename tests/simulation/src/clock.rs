use std::time::Duration;

use landfall_model::Instant;

/// The clock that a process reads, which is not the world's: it may go fast or slow, and stop with its machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostClock {
    /// The two clocks at the last change of speed.
    world: Instant,
    own: Instant,
    /// Parts per million that it goes too fast.
    ppm: i32,
    stopped: bool,
}

impl HostClock {
    /// Clocks of two hosts have nothing to do with each other, so each has an origin of its own.
    pub(crate) const fn new(world: Instant, origin: Instant) -> Self {
        Self { world, own: origin, ppm: 0, stopped: false }
    }

    pub(crate) fn set_speed(&mut self, ppm: i32, world: Instant) {
        self.mark(world);
        self.ppm = ppm;
    }

    pub(crate) fn set_stopped(&mut self, stopped: bool, world: Instant) {
        self.mark(world);
        self.stopped = stopped;
    }

    pub(crate) fn read(&self, world: Instant) -> Instant {
        if self.stopped {
            return self.own;
        }
        let passed = micros(world.since(self.world));
        self.own + Duration::from_micros(passed.saturating_add_signed(scaled(passed, self.ppm)))
    }

    /// The first moment of the world at which this clock shows `own` or more; not asked while it is stopped.
    pub(crate) fn when(&self, own: Instant) -> Instant {
        let wanted = micros(own.since(self.own));
        // The speeds are near one, so a first guess and a step are enough.
        let mut passed = wanted.saturating_add_signed(-scaled(wanted, self.ppm));
        while self.read(self.world + Duration::from_micros(passed)) < own {
            passed += 1;
        }
        self.world + Duration::from_micros(passed)
    }

    fn mark(&mut self, world: Instant) {
        self.own = self.read(world);
        self.world = world;
    }
}

fn scaled(passed: u64, ppm: i32) -> i64 {
    let product = i128::from(passed) * i128::from(ppm) / 1_000_000;
    i64::try_from(product).unwrap_or(i64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_met_at_the_first_moment_that_shows_it() {
        for ppm in [-500, -1, 0, 1, 500] {
            let start = Instant::from_micros(77);
            let mut clock = HostClock::new(start, Instant::from_micros(5_000));
            clock.set_speed(ppm, start + Duration::from_secs(3));
            for ahead in [0, 1, 99, 100_000, 7_000_001] {
                let own = clock.read(start + Duration::from_secs(3)) + Duration::from_micros(ahead);
                let at = clock.when(own);
                assert!(clock.read(at) >= own, "{ppm} {ahead}");
                let earlier = at - Duration::from_micros(2);
                assert!(at <= start + Duration::from_secs(3) || clock.read(earlier) <= own, "{ppm} {ahead}");
            }
        }
    }

    #[test]
    fn a_stopped_clock_goes_on_where_it_stopped() {
        let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
        let mut clock = HostClock::new(at(0), at(100));
        clock.set_stopped(true, at(5));
        assert_eq!(clock.read(at(50)), at(105));
        clock.set_stopped(false, at(60));
        assert_eq!(clock.read(at(61)), at(106));
    }
}
