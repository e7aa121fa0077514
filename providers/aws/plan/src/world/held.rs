//! Calls that AWS refused. Each is tried again after a pause of its own, and what does not depend on it goes on.

use landfall_model::Instant;

use super::{Failure, FailureKind, trouble::Trouble};
use crate::{Op, Verdict, tags};

/// The refused calls of one line.
#[derive(Debug, Default)]
pub(super) struct Held(Vec<(Op, Trouble)>);

impl Held {
    /// Whether such a failure is about the one call. The others are about all calls.
    pub(super) const fn takes(kind: FailureKind) -> bool {
        match kind {
            FailureKind::Busy | FailureKind::Stale | FailureKind::Refused => true,
            FailureKind::Throttled | FailureKind::Unavailable => false,
        }
    }

    /// Notes a failure that it [takes](Self::takes). Answers when to try again.
    pub(super) fn failed(&mut self, op: &Op, failure: &Failure, now: Instant) -> Instant {
        let before = self.0.iter().position(|(held, _)| held == op).map(|at| self.0.swap_remove(at).1);
        let trouble = Trouble::after(before.as_ref(), failure, op.kind().as_str(), now);
        let until = trouble.until;
        self.0.push((op.clone(), trouble));
        until
    }

    /// Notes a success. Whether something is no longer refused by it; the rules of a group are opened by one call.
    pub(super) fn succeeded(&mut self, op: &Op) -> bool {
        let opens = |held: &Op| match (held, op) {
            (Op::AuthorizeIngress { group, .. }, Op::AuthorizeIngress { group: of, .. }) => group == of,
            (held, op) => held == op,
        };
        let before = self.0.len();
        self.0.retain(|(held, _)| !opens(held));
        self.0.len() < before
    }

    /// The next of these calls to send. Those that a plan no longer has are forgotten when their time comes: until then the plan
    /// may only lack an answer.
    pub(super) fn next<'p>(&mut self, ready: &'p [Op], now: Instant) -> Option<&'p Op> {
        self.0.retain(|(held, trouble)| trouble.until > now || ready.contains(held));
        let mut passed: Vec<&Op> = Vec::new();
        for op in ready {
            let held = self.0.iter().any(|(held, trouble)| held == op && trouble.until > now);
            if !held && passed.iter().all(|before| may_pass(op, before)) {
                return Some(op);
            }
            passed.push(op);
        }
        None
    }

    /// What to tell of those that the plan still has: what somebody has to mend before what ends on its own.
    pub(super) fn verdict(&self, ready: &[Op]) -> Option<&Verdict> {
        let of = |op: &Op| self.0.iter().find(|(held, _)| held == op).map(|(_, trouble)| &trouble.verdict);
        let mut verdicts = ready.iter().filter_map(of).peekable();
        let first = verdicts.peek().copied();
        verdicts.find(|verdict| verdict.reason == "Refused").or(first)
    }

    /// What somebody has to mend.
    pub(super) fn refused(&self) -> impl Iterator<Item = (&Op, &Verdict)> {
        let all = self.0.iter().map(|(op, trouble)| (op, &trouble.verdict));
        all.filter(|(_, verdict)| verdict.reason == "Refused")
    }
}

/// Whether a call may go although one that comes before it in the plan is refused. All ids in it are known anyway; what is left is
/// that targets are registered before others go, that a change is marked before it begins, and that its end is only marked
/// when nothing is left.
fn may_pass(op: &Op, before: &Op) -> bool {
    if let Op::DeregisterTargets { arn, .. } = op {
        return !matches!(before, Op::RegisterTargets { arn: of, .. } if of == arn);
    }
    if mark(op).is_some() {
        return is_of_targets(before);
    }
    is_of_targets(op) || is_extra(before) || opens_another(op, before)
}

/// Whether a call changes who is in a target group.
pub(super) const fn is_of_targets(op: &Op) -> bool {
    matches!(op, Op::RegisterTargets { .. } | Op::DeregisterTargets { .. })
}

/// The fingerprint that a call writes.
fn mark(op: &Op) -> Option<&str> {
    let Op::AddTags { tags, .. } = op else { return None };
    tags.get(tags::FINGERPRINT).map(String::as_str)
}

/// Whether `before` opens another group than the one whose rules `op` changes.
fn opens_another(op: &Op, before: &Op) -> bool {
    let (Op::AuthorizeIngress { group, .. } | Op::RevokeIngress { group, .. }) = op else { return false };
    matches!(before, Op::AuthorizeIngress { group: of, .. } if of != group)
}

/// Whether a load balancer serves its clients without this call, and nothing else needs it.
pub(super) fn is_extra(op: &Op) -> bool {
    mark(op) != Some(tags::CHANGING)
        && matches!(
            op,
            Op::AddTags { .. }
                | Op::RemoveTags { .. }
                | Op::TagSecurityGroup { .. }
                | Op::UntagSecurityGroup { .. }
                | Op::SetSubnets { .. }
                | Op::ModifyLoadBalancerAttributes { .. }
                | Op::ModifyCapacityReservation { .. }
                | Op::ModifyListenerAttributes { .. }
        )
}
