//! What AWS refuses or does not answer: when it is tried again, what goes on without it, and what the user sees.

use std::time::Duration;

use landfall_aws_plan::{FailureKind, Hostname, Job, Rhythm};

use super::Fleet;

#[test]
fn a_listing_that_failed_is_tried_again_after_a_pause_and_not_after_a_period() {
    let listings = |fleet: &Fleet| fleet.jobs.iter().filter(|job| matches!(job, Job::List(_))).count();
    for kind in [FailureKind::Throttled, FailureKind::Unavailable, FailureKind::Refused, FailureKind::Stale] {
        let mut fleet = Fleet::new(1, Rhythm { listing: Duration::from_mins(20), ..Rhythm::default() });
        fleet.fail = Some(("List", kind));
        fleet.settle();
        assert!(fleet.aws.load_balancers.is_empty());
        assert_eq!(fleet.writes, [], "one failure is no news");
        fleet.pass(Duration::from_secs(5));
        assert_eq!(listings(&fleet), 2, "{kind:?}");
        fleet.converge();
        assert_eq!(fleet.status("web-0").1, "Active", "{kind:?}");
        // A later one that fails does not end the rhythm, nor hurry it.
        fleet.fail = Some(("List", kind));
        fleet.pass(Duration::from_mins(41));
        assert_eq!(listings(&fleet), 2 + 3, "{kind:?}");
    }
}

#[test]
fn whoever_waits_for_a_listing_that_is_refused_is_told_why() {
    let mut fleet = Fleet::new(2, Rhythm::default());
    fleet.refused.insert("List");
    fleet.pass(Duration::from_mins(10));
    assert_eq!(fleet.status("web-1"), (Hostname::Leave, "Refused"));
    assert_eq!(fleet.message("web-1"), "listing what AWS has: AccessDenied: as the test wants");
    assert_eq!(fleet.events("web-1"), ["FailedDeployModel"], "once");
    assert!((5..10).contains(&fleet.jobs.len()), "later and later: {}", fleet.jobs.len());
    fleet.refused.clear();
    fleet.pass(Duration::from_mins(5));
    fleet.converge();
    assert_eq!(fleet.status("web-1").1, "Active");
}

#[test]
fn an_answer_that_is_refused_is_named_with_its_code() {
    let mut fleet = Fleet::new(1, Rhythm::default());
    fleet.converge();
    fleet.restart(Rhythm::default());
    fleet.refused.insert("DescribeTargets");
    fleet.pass(Duration::from_mins(1));
    assert_eq!(fleet.status("web-0").1, "Refused");
    let said = fleet.message("web-0");
    assert!(said.starts_with("asking for the targets of arn:") && said.contains("AccessDenied"), "{said}");
    assert_eq!(fleet.events("web-0").last(), Some(&"FailedDeployModel"));
    fleet.refused.clear();
    fleet.pass(Duration::from_mins(6));
    assert_eq!(fleet.status("web-0").1, "Active");
}
