//! The pace of calls, and their count.

use std::{
    collections::BTreeMap,
    sync::{Arc, MutexGuard, PoisonError},
    time::Instant,
};

use landfall_aws_plan::{Failure, FailureKind, Pace, Turn};
use landfall_kubernetes::{clock::Clock, lease::Leadership};
use landfall_probes::Meter;
use prometheus::{Histogram, IntCounterVec};
use tokio::sync::{AcquireError, Mutex, Semaphore, SemaphorePermit, oneshot};
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

/// The code of a call that was not sent, since this replica ended to lead.
pub(super) const NOT_SENT: &str = "NotSent";

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
    /// Held by one of those that wait, which lets them go one after the other until it may go itself.
    porter: Mutex<()>,
    state: std::sync::Mutex<State>,
}

struct State {
    pace: Pace,
    /// Who waits, by turn, and among those of one turn in the order in which they came.
    waiting: BTreeMap<(Turn, u64), oneshot::Sender<()>>,
    came: u64,
}

impl Lane {
    fn new(rate: f64, burst: f64) -> Self {
        let state = State { pace: Pace::new(rate, burst), waiting: BTreeMap::new(), came: 0 };
        Self { porter: Mutex::default(), state: state.into() }
    }

    /// Waits until no call of an earlier turn waits and there is a token.
    async fn pass(&self, turn: Turn, clock: Clock) {
        let (go, mut may_go) = oneshot::channel();
        {
            let mut state = self.state();
            state.came += 1;
            let place = (turn, state.came);
            state.waiting.insert(place, go);
        }
        let _porter = tokio::select! {
            biased;
            _ = &mut may_go => return,
            porter = self.porter.lock() => porter,
        };
        while may_go.try_recv().is_err() {
            let taken = self.state().pace.take(clock.now());
            match taken {
                Ok(()) => self.state().call_next(),
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// Held for a moment only, and by nothing that panics.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Lets the next one go that has not given up.
    fn call_next(&mut self) {
        while let Some((_, next)) = self.waiting.pop_first() {
            if next.send(()).is_ok() {
                return;
            }
        }
    }
}

/// Lets calls pass one after the other, those of an earlier [`Turn`] first. Clones share the buckets.
#[derive(Clone)]
pub(crate) struct Throttle {
    lanes: Arc<[Lane; 6]>,
    /// So that none waits so long for an answer that it counts as lost.
    under_way: Arc<Semaphore>,
    /// That of the calls that are sent through this clone.
    turn: Turn,
    calls: Calls,
    clock: Clock,
    leadership: Option<Leadership>,
    ended: CancellationToken,
}

impl Throttle {
    /// Nothing passes any more once `ended`, nor when this replica does not lead; without a leadership, nobody competes.
    pub(crate) fn new(calls: Calls, leadership: Option<Leadership>, ended: CancellationToken) -> Self {
        let lanes = Arc::new(LIMITS.map(|(rate, burst)| Lane::new(rate, burst)));
        let under_way = Arc::new(Semaphore::new(UNDER_WAY));
        Self { lanes, under_way, turn: Turn::FIRST, calls, clock: Clock::start(), leadership, ended }
    }

    /// For calls of that turn.
    pub(crate) fn at(&self, turn: Turn) -> Self {
        Self { turn, ..self.clone() }
    }

    /// Waits for the turn of a call, which lasts until what it gives is dropped.
    async fn wait(&self, bucket: Bucket) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.lanes[bucket as usize].pass(self.turn, self.clock).await;
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
        let turn = self.ended.run_until_cancelled(self.wait(bucket)).await;
        // Another replica may have begun to lead while this call waited.
        let leads = self.leadership.as_ref().is_none_or(Leadership::is_current);
        let Some(_turn) = turn.filter(|_| leads) else {
            let message = "this replica no longer leads".to_owned();
            return Err(Failure { kind: FailureKind::Unavailable, code: NOT_SENT.to_owned(), message });
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
                self.lanes[bucket as usize].state().pace.refused(sent, self.clock.now());
            }
        } else {
            tracing::debug!(op = "aws", action, ?took, "called");
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_goes_by_turn_and_then_as_they_came() {
        let (lane, clock) = (Lane::new(20.0, 1.0), Clock::start());
        lane.pass(Turn::LAST, clock).await;
        let order = std::sync::Mutex::new(Vec::new());
        let wait = async |name, turn| {
            lane.pass(turn, clock).await;
            order.lock().unwrap().push(name);
        };
        let given_up =
            tokio::time::timeout(std::time::Duration::from_millis(1), lane.pass(Turn::FIRST, clock));
        let all = futures::join!(
            wait("last", Turn::LAST),
            wait("first", Turn::FIRST),
            wait("second", Turn::FIRST),
            given_up,
            wait("very last", Turn::LAST),
        );
        assert!(all.3.is_err(), "no token is there so soon");
        assert_eq!(*order.lock().unwrap(), ["first", "second", "last", "very last"]);
    }
}
