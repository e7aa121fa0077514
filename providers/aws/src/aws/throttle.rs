//! The pace of calls, and their count.

use std::{
    sync::{Arc, MutexGuard, PoisonError},
    time::Instant,
};

use landfall_aws_plan::{Failure, FailureKind, Pace};
use landfall_kubernetes::{clock::Clock, lease::Leadership};
use landfall_probes::Meter;
use prometheus::{Histogram, IntCounterVec};
use tokio::sync::{AcquireError, Mutex, Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

/// AWS counts the calls of an account and region in separate buckets, and so do we, a little below what each allows
/// (Elastic Load Balancing API reference, "Request throttling"; EC2 developer guide, "Request throttling").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bucket {
    /// `Describe…` of Elastic Load Balancing.
    Describe,
    /// `RegisterTargets` and `DeregisterTargets`.
    Register,
    /// `Create…` of Elastic Load Balancing.
    Create,
    /// All other calls that change Elastic Load Balancing.
    Modify,
    /// `Describe…` of EC2.
    Ec2Describe,
    /// Calls that change EC2.
    Ec2Modify,
}

/// Calls a second and at once, by [`Bucket`].
const LIMITS: [(f64, f64); 6] =
    [(8.0, 35.0), (4.0, 20.0), (2.0, 10.0), (3.0, 20.0), (15.0, 60.0), (4.0, 40.0)];

/// So many calls are under way at a time. At the tenth of a second that AWS takes for one, that is more than it allows in a second.
const UNDER_WAY: usize = 16;

/// Counts calls and waits.
#[derive(Clone)]
pub(crate) struct Calls {
    calls: IntCounterVec,
    waits: Histogram,
}

impl Calls {
    pub(crate) fn new(meter: &mut Meter) -> prometheus::Result<Self> {
        Ok(Self {
            calls: meter.counters(
                "landfall_aws_calls_total",
                "Calls to AWS by action and result: ok, throttled, busy, stale, refused or unavailable",
                &["action", "result"],
            )?,
            waits: meter.histogram(
                "landfall_aws_call_wait_seconds",
                "Time that a call waited for its turn, so that AWS has no reason to throttle it",
                &[0.001, 0.1, 1.0, 10.0, 60.0],
            )?,
        })
    }
}

/// The calls of one bucket.
struct Lane {
    /// Held by the call that goes next, so that they go in the order in which they came.
    first: Mutex<()>,
    pace: std::sync::Mutex<Pace>,
}

/// Lets calls pass one after the other. Clones share the buckets.
#[derive(Clone)]
pub(crate) struct Throttle {
    lanes: Arc<[Lane; 6]>,
    /// So that none waits so long for an answer that it counts as lost.
    under_way: Arc<Semaphore>,
    calls: Calls,
    clock: Clock,
    leadership: Leadership,
    ended: CancellationToken,
}

impl Throttle {
    /// Nothing passes any more once `ended`, nor when this replica does not lead.
    pub(crate) fn new(calls: Calls, leadership: Leadership, ended: CancellationToken) -> Self {
        let lane = |(rate, burst)| Lane { first: Mutex::default(), pace: Pace::new(rate, burst).into() };
        let (lanes, under_way) = (Arc::new(LIMITS.map(lane)), Arc::new(Semaphore::new(UNDER_WAY)));
        Self { lanes, under_way, calls, clock: Clock::start(), leadership, ended }
    }

    /// Waits for the turn of a call, which lasts until what it gives is dropped.
    async fn turn(&self, bucket: Bucket) -> Result<SemaphorePermit<'_>, AcquireError> {
        let Lane { first, pace } = &self.lanes[bucket as usize];
        let waits_first = first.lock().await;
        loop {
            let taken = lock(pace).take(self.clock.now());
            let Err(wait) = taken else { break };
            tokio::time::sleep(wait).await;
        }
        drop(waits_first);
        self.under_way.acquire().await
    }

    /// Sends a request in its turn.
    pub(crate) async fn send<T>(
        &self,
        bucket: Bucket,
        action: &'static str,
        request: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let begun = Instant::now();
        let turn = self.ended.run_until_cancelled(self.turn(bucket)).await;
        // Another replica may have begun to lead while this call waited.
        let Some(_turn) = turn.filter(|_| self.leadership.is_current()) else {
            let message = "this replica no longer leads".to_owned();
            return Err(Failure { kind: FailureKind::Unavailable, code: "NotSent".to_owned(), message });
        };
        let waited = begun.elapsed();
        self.calls.waits.observe(waited.as_secs_f64());
        let sent = self.clock.now();
        let result = request.await;
        let took = begun.elapsed().saturating_sub(waited);
        let word = result.as_ref().map_or_else(|failure| failure.kind.as_str(), |_| "ok");
        self.calls.calls.with_label_values(&[action, word]).inc();
        if let Err(failure) = &result {
            tracing::debug!(op = "aws", action, code = failure.code, ?took, "{}", failure.message);
            if failure.kind == FailureKind::Throttled {
                lock(&self.lanes[bucket as usize].pace).refused(sent, self.clock.now());
            }
        } else {
            tracing::debug!(op = "aws", action, ?took, "called");
        }
        result
    }
}

/// Held for a moment only, and by nothing that panics.
fn lock(pace: &std::sync::Mutex<Pace>) -> MutexGuard<'_, Pace> {
    pace.lock().unwrap_or_else(PoisonError::into_inner)
}
