//! Registering targets: one that AWS does not take keeps no other out.

use landfall_aws_plan::{Failure, Op, Outcome, Target, TargetGroupArn, TargetId};

use super::{Aws, apply::target, describe::call};

/// Calls for one operation. One target among the most that a call takes is found in 17; what is left after these is for the next pass.
const CALLS: usize = 40;

impl Aws {
    /// AWS refuses a whole call for one of its targets, so that is halved until each such target stands alone, and all others
    /// are registered.
    ///
    /// # Errors
    /// Names the targets that AWS does not take.
    pub(super) async fn register(
        &self,
        op: &Op,
        arn: &TargetGroupArn,
        targets: &[Target],
    ) -> Result<Outcome, Failure> {
        let (mut left, mut bad, mut refused) = (vec![targets], Vec::new(), None);
        for _ in 0..CALLS {
            let Some(some) = left.pop() else { break };
            let sent = some.iter().map(target).collect();
            let request = self.clients.elb.register_targets().target_group_arn(arn.as_str());
            match call!(self, Register, op.kind().as_str(), request.set_targets(Some(sent))) {
                Ok(_) => {}
                Err(failure) if failure.code == "InvalidTarget" => {
                    if let [one] = some {
                        bad.push(name(one));
                    } else {
                        let (first, second) = some.split_at(some.len() / 2);
                        left.extend([second, first]);
                    }
                    refused = Some(failure);
                }
                Err(failure) => return Err(failure),
            }
        }
        match refused {
            None => Ok(Outcome::Done),
            Some(failure) if bad.is_empty() => Err(failure),
            Some(failure) => {
                let message =
                    format!("AWS does not take {} as a target: {}", bad.join(", "), failure.message);
                Err(Failure { message, ..failure })
            }
        }
    }
}

fn name(target: &Target) -> String {
    match &target.id {
        TargetId::Instance(id) => format!("{id}:{}", target.port),
        TargetId::Ip(address) => std::net::SocketAddr::new(*address, target.port).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::canned::{Canned, document};

    fn targets(count: usize) -> Vec<Target> {
        let target = |number| Target {
            id: TargetId::Instance(format!("i-{number:03}").into()),
            port: 30080,
            zone_all: false,
        };
        (0..count).map(target).collect()
    }

    #[tokio::test]
    async fn one_target_that_aws_does_not_take_keeps_no_other_out() {
        // Targets, those that AWS does not take, most calls, a part of the failure.
        let rows: &[(usize, &[&str], usize, Option<&str>)] = &[
            (200, &[], 1, None),
            (200, &["i-007"], 17, Some("AWS does not take i-007:30080 as a target: no")),
            (9, &["i-000", "i-008"], 13, Some("AWS does not take i-000:30080, i-008:30080 as a target")),
            (1, &["i-000"], 1, Some("i-000:30080")),
        ];
        for &(count, bad, most, part) in rows {
            let refused = move |form: &str| bad.iter().any(|id| form.contains(id));
            let canned = Canned::start(move |form| match refused(form) {
                true => Err("InvalidTarget"),
                false => Ok(document("RegisterTargets", "")),
            });
            let op = Op::RegisterTargets { arn: "group".into(), targets: targets(count) };
            let result = canned.aws().call(op).await;
            let calls = canned.asked("RegisterTargets");
            assert!(calls.len() <= most, "{} calls for {count} targets without {bad:?}", calls.len());
            for target in targets(count) {
                let TargetId::Instance(id) = &target.id else { unreachable!() };
                let taken = calls.iter().any(|form| form.contains(id.as_str()) && !refused(form));
                assert_ne!(taken, bad.contains(&id.as_str()), "{id}");
            }
            let text = result.err().map(|failure| format!("{}: {}", failure.code, failure.message));
            let told = |part: &str| text.as_ref().is_some_and(|text| text.contains(part));
            assert!(part.map_or(text.is_none(), told), "{text:?}");
        }
    }

    #[tokio::test]
    async fn the_calls_for_one_operation_are_bounded_and_another_failure_ends_them() {
        for (code, calls) in [("InvalidTarget", CALLS), ("TooManyTargets", 1)] {
            let canned = Canned::start(move |_| Err(code));
            let op = Op::RegisterTargets { arn: "group".into(), targets: targets(200) };
            let failure = canned.aws().call(op).await.unwrap_err();
            assert_eq!((failure.code.as_str(), canned.asked("RegisterTargets").len()), (code, calls));
        }
    }
}
