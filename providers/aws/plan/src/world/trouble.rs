//! What failed: when to try again, and what to tell.

use std::time::Duration;

use landfall_model::{Instant, ServiceKey};

use super::{Effects, Failure, FailureKind, Hostname, Status, World, job::Slot};
use crate::{Claim, Event, Op, Verdict, Waiting};

/// Failures of one thing, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    times: u32,
    pub(super) until: Instant,
    /// For people, of the last one.
    pub(super) verdict: Verdict,
}

impl Trouble {
    /// One more failure of what `what` says.
    pub(super) fn after(before: Option<&Self>, failure: &Failure, what: &str, now: Instant) -> Self {
        let times = before.map_or(0, |trouble| trouble.times).saturating_add(1);
        let until = now + pause(failure.kind, times);
        Self { times, until, verdict: failure.verdict(what) }
    }

    /// What to tell of a question. It is asked again soon, so one failure says nothing to anybody.
    fn of_question(&self) -> Option<&Verdict> {
        (self.times > 1).then_some(&self.verdict)
    }
}

impl Failure {
    pub(super) fn verdict(&self, what: &str) -> Verdict {
        let reason = match self.kind {
            FailureKind::Throttled => "Throttled",
            FailureKind::Busy => "Applying",
            FailureKind::Stale => "Observation",
            FailureKind::Refused => "Refused",
            FailureKind::Unavailable => "Unavailable",
        };
        Verdict { ready: false, reason, message: format!("{what}: {}: {}", self.code, self.message) }
    }
}

impl World {
    /// Before the first listing nothing is planned. Whoever waits for it is told why it does not come.
    pub(super) fn tell_unlisted(&mut self, out: &mut Effects) {
        let Some(verdict) = self.troubles.get(&Slot::Listing).and_then(Trouble::of_question) else { return };
        for entry in self.services.values_mut() {
            match Claim::of(&entry.service, &self.settings) {
                Claim::Ours => entry.complain(Event::FailedDeploy, verdict.message.clone()),
                Claim::Release => entry.say(Event::FailedDelete, verdict.message.clone()),
                Claim::Refused(_) | Claim::NotOurs => continue,
            }
            entry.tell(Status { hostname: Hostname::Leave, verdict: Some(verdict.clone()) }, out);
            entry.flush(out);
        }
    }

    /// What keeps a Service from serving although nothing of its own is refused: an answer that its plan waits for, or a rule on
    /// a group of its targets.
    pub(super) fn trouble_outside(&self, key: &ServiceKey, waiting: &[Waiting]) -> Option<Verdict> {
        let concerns = |op: &Op| {
            if let Op::AuthorizeIngress { group, .. } = op {
                return self.openings.need(key, group);
            }
            matches!(op, Op::CreateSecurityGroup { .. }) && waiting.contains(&Waiting::BackendGroup)
        };
        let of_rules = || self.backend_held.refused().find(|(op, _)| concerns(op));
        self.unanswered(waiting).or_else(|| of_rules().map(|(_, verdict)| verdict.clone()))
    }

    /// A question whose answer a plan waits for, and that AWS does not answer.
    pub(super) fn unanswered(&self, waiting: &[Waiting]) -> Option<Verdict> {
        let of_need = |waiting: &Waiting| {
            let Waiting::Need(need) = waiting else { return None };
            self.troubles.get(&Slot::Need(need.clone()))?.of_question()
        };
        waiting.iter().find_map(of_need).cloned()
    }
}

/// How long to wait after so many failures.
fn pause(kind: FailureKind, times: u32) -> Duration {
    let (first, most) = match kind {
        FailureKind::Throttled => (Duration::from_secs(1), Duration::from_secs(30)),
        FailureKind::Busy | FailureKind::Stale => (Duration::from_secs(2), Duration::from_secs(30)),
        FailureKind::Refused => (Duration::from_secs(5), Duration::from_mins(5)),
        FailureKind::Unavailable => (Duration::from_secs(1), Duration::from_mins(1)),
    };
    first.saturating_mul(1 << times.saturating_sub(1).min(10)).min(most)
}
