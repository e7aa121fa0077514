//! Monotonic time as the pure crates count it, and waiting for a moment of it.

use std::{future::pending, time::Instant as Monotonic};

use jiff::{SignedDuration, Timestamp};
use landfall_model::Instant;

/// A clock that begins at zero and stands still while the machine sleeps. Copies show the same time.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Monotonic);

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self(Monotonic::now())
    }

    /// The time since its beginning.
    #[must_use]
    pub fn now(self) -> Instant {
        Instant::from_micros(u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

/// A moment of the past as people read it, RFC 3339 in whole seconds.
#[must_use]
pub fn date(at: Instant, now: Instant) -> Box<str> {
    let ago = SignedDuration::try_from(now.since(at)).unwrap_or_default();
    let then = Timestamp::now().saturating_sub(ago).unwrap_or(Timestamp::UNIX_EPOCH);
    Timestamp::from_second(then.as_second()).unwrap_or(then).to_string().into()
}

/// Waits until `at`; not at all when that is over, and for ever without one.
pub async fn until(at: Option<Instant>, now: Instant) {
    match at {
        // A timer of zero would still wait for the next tick of a millisecond.
        Some(at) if at <= now => {}
        Some(at) => tokio::time::sleep(at.since(now)).await,
        None => pending().await,
    }
}
