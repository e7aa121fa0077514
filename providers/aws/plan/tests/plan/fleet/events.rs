//! The events of the generic Service controller, which dashboards match on: each tells of one change, and none of a pass.

use std::time::Duration;

use landfall_aws_plan::{FailureKind, PREFIX, Rhythm};

use super::Fleet;

/// The events since the last look.
fn news(fleet: &mut Fleet) -> Vec<&'static str> {
    let events = fleet.events("web-0");
    fleet.writes.clear();
    events
}

/// One Service that serves.
fn serving() -> Fleet {
    let mut fleet = Fleet::new(1, Rhythm::default());
    fleet.converge();
    fleet.writes.clear();
    fleet
}

fn count(events: &[&str], reason: &str) -> usize {
    events.iter().filter(|event| **event == reason).count()
}

#[test]
fn nodes_update_a_load_balancer_and_users_have_it_made() {
    const MADE: [&str; 3] = ["EnsuringLoadBalancer", "EnsuredLoadBalancer", "SuccessfullyReconciled"];
    let mut fleet = serving();
    fleet.node("n3", Some("i-03"));
    fleet.converge();
    assert_eq!(news(&mut fleet), ["UpdatedLoadBalancer", "SuccessfullyReconciled"]);
    fleet.change("web-0", |service| _ = service.ports.pop());
    fleet.converge();
    assert_eq!(news(&mut fleet), MADE);
    // Both at once.
    fleet.node("n2", None);
    fleet.settle();
    fleet.node("n4", Some("i-04"));
    fleet.annotate("web-0", "aws-load-balancer-healthcheck-interval", "20");
    fleet.converge();
    let events = news(&mut fleet);
    assert!(events.ends_with(&MADE) && count(&events, "EnsuredLoadBalancer") == 1, "{events:?}");
    fleet.pass(Duration::from_mins(90));
    assert_eq!(news(&mut fleet), [""; 0], "a pass is no change");
}

#[test]
fn a_load_balancer_that_cannot_be_made_is_told_once() {
    for word in ["CreateLoadBalancer", "DescribeTargets", "List"] {
        let mut fleet = Fleet::new(1, Rhythm::default());
        fleet.converge();
        for _ in 0..2 {
            fleet.writes.clear();
            fleet.refused.insert(word);
            fleet.aws.load_balancers.clear();
            fleet.restart(Rhythm::default());
            fleet.pass(Duration::from_mins(30));
            let events = news(&mut fleet);
            assert_eq!(count(&events, "SyncLoadBalancerFailed"), 1, "{word}: {events:?}");
            assert!(count(&events, "FailedDeployModel") >= 1, "{word}: {events:?}");
            assert_eq!(count(&events, "UpdateLoadBalancerFailed"), 0, "{word}: {events:?}");
            fleet.refused.clear();
            fleet.pass(Duration::from_mins(10));
            fleet.converge();
            assert_eq!(fleet.status("web-0").1, "Active", "{word}");
        }
    }
}

#[test]
fn a_rule_that_is_refused_is_told_once() {
    let mut fleet = Fleet::new(1, Rhythm::default());
    fleet.refused.insert("AuthorizeSecurityGroupIngress");
    fleet.settle();
    fleet.aws.settle();
    fleet.pass(Duration::from_mins(30));
    let events = news(&mut fleet);
    assert_eq!(count(&events, "SyncLoadBalancerFailed"), 1, "{events:?}");
}

#[test]
fn targets_that_cannot_follow_are_told_once() {
    let mut fleet = serving();
    for (name, instance) in [("n3", "i-03"), ("n4", "i-04")] {
        fleet.refused.insert("RegisterTargets");
        fleet.node(name, Some(instance));
        fleet.pass(Duration::from_mins(30));
        let events = news(&mut fleet);
        assert_eq!(count(&events, "UpdateLoadBalancerFailed"), 1, "{events:?}");
        assert_eq!(count(&events, "SyncLoadBalancerFailed"), 0, "{events:?}");
        fleet.refused.clear();
        fleet.pass(Duration::from_mins(10));
        let events = news(&mut fleet);
        assert_eq!(count(&events, "UpdatedLoadBalancer"), 1, "{events:?}");
    }
}

#[test]
fn a_mistake_is_told_each_time_that_it_is_made() {
    let mut fleet = serving();
    let name = format!("{PREFIX}aws-load-balancer-scheme");
    for value in ["public", "public", "private"] {
        fleet.annotate("web-0", "aws-load-balancer-scheme", value);
        fleet.pass(Duration::from_mins(30));
        assert_eq!(news(&mut fleet), ["SyncLoadBalancerFailed", "FailedBuildModel"]);
        fleet.change("web-0", |service| _ = service.annotations.remove(&name));
        fleet.pass(Duration::from_mins(10));
        assert_eq!(news(&mut fleet), [""; 0]);
    }
}

#[test]
fn a_load_balancer_without_nodes_is_told_each_time() {
    let mut fleet = serving();
    for _ in 0..2 {
        fleet.node("n1", None);
        fleet.node("n2", None);
        fleet.pass(Duration::from_mins(30));
        let events = news(&mut fleet);
        assert_eq!(count(&events, "UnAvailableLoadBalancer"), 1, "{events:?}");
        fleet.node("n1", Some("i-01"));
        fleet.node("n2", Some("i-02"));
        fleet.converge();
        assert_eq!(news(&mut fleet), ["UpdatedLoadBalancer", "SuccessfullyReconciled"]);
    }
}

#[test]
fn a_release_that_fails_is_no_failed_sync() {
    let mut fleet = serving();
    fleet.fail = Some(("DeleteLoadBalancer", FailureKind::Refused));
    fleet.change("web-0", |service| service.deleting = true);
    fleet.pass(Duration::from_mins(30));
    let expected = ["DeletingLoadBalancer", "DeleteLoadBalancerFailed", "DeletedLoadBalancer"];
    assert_eq!(news(&mut fleet), expected);
}
