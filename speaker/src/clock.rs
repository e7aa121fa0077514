use std::time::Duration;

use landfall_model::Instant;

/// The clock of the machines. It counts the time that this computer slept, which `std::time::Instant` does not on Linux:
/// an owner that wakes must know at once that others may have taken over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BootClock {
    start: Duration,
}

impl BootClock {
    /// Starts at [`Instant::ZERO`].
    pub(crate) fn start() -> Self {
        Self { start: read(libc::CLOCK_BOOTTIME) }
    }

    /// The time since the start, sleep included. Never goes back.
    pub(crate) fn now(&self) -> Instant {
        Instant::ZERO + read(libc::CLOCK_BOOTTIME).saturating_sub(self.start)
    }
}

fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a `timespec` that lives through the call, which writes nothing beyond it.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(result, 0, "invariant: every Linux since 2.6.39 has this clock, and the pointer is good");
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_at_the_speed_of_time_and_counts_sleep() {
        let before = std::time::Instant::now();
        let clock = BootClock::start();
        let first = clock.now();
        // Work, not sleep: what is compared is two clocks.
        while before.elapsed() < Duration::from_millis(5) {
            assert!(clock.now() >= first);
        }
        let passed = clock.now().since(first);
        assert!(passed > Duration::from_millis(1), "{passed:?}");
        let awake = read(libc::CLOCK_MONOTONIC);
        assert!(read(libc::CLOCK_BOOTTIME) >= awake, "sleep is counted");
    }
}
