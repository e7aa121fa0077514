//! What AWS refuses or does not answer: when it is tried again, what goes on without it, and what the user sees.

use std::collections::BTreeSet;
use std::time::Duration;

use landfall_aws_plan::{FailureKind, Hostname, Job, OpKind, Rhythm};
use landfall_model::NodePort;
use proptest::prelude::*;

use super::{Fleet, cases::picture};
use crate::world::map;

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
    assert_eq!(fleet.events("web-1"), ["SyncLoadBalancerFailed", "FailedDeployModel"], "once");
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

/// Calls that a load balancer may lack, and an annotation that needs them.
const OPTIONAL: [(&str, &str, &str); 4] = [
    (
        "ModifyLoadBalancerAttributes",
        "aws-load-balancer-attributes",
        "load_balancing.cross_zone.enabled=true",
    ),
    ("ModifyCapacityReservation", "aws-load-balancer-minimum-load-balancer-capacity", "CapacityUnits=3000"),
    ("AddTags", "aws-load-balancer-additional-resource-tags", "team=shop"),
    ("SetSubnets", "aws-load-balancer-subnets", "subnet-a"),
];

#[test]
fn targets_come_and_go_whatever_else_is_refused() {
    let group = (
        "ModifyTargetGroupAttributes",
        "aws-load-balancer-target-group-attributes",
        "deregistration_delay.timeout_seconds=30",
    );
    for (call, annotation, value) in OPTIONAL.into_iter().chain([group]) {
        let mut fleet = Fleet::new(1, Rhythm::default());
        fleet.converge();
        fleet.refused.insert(call);
        fleet.annotate("web-0", annotation, value);
        fleet.pass(Duration::from_secs(1));
        assert!(fleet.kinds().contains(&call), "{call}");
        fleet.jobs.clear();
        fleet.node("n3", Some("i-03"));
        fleet.settle();
        fleet.node("n2", None);
        fleet.settle();
        let wanted = vec![vec!["i-01".to_owned(), "i-03".to_owned()]; 2];
        assert_eq!(fleet.registered(), wanted, "{call}");
        let order = ["RegisterTargets", "RegisterTargets", "DeregisterTargets", "DeregisterTargets"];
        assert_eq!(fleet.kinds(), order, "{call}");
        fleet.pass(Duration::from_mins(10));
        assert!(matches!(fleet.status("web-0"), (Hostname::Publish(_), "Refused")), "{call}");
        assert!(fleet.message("web-0").starts_with(&format!("{call}: AccessDenied")));
        let tries = fleet.kinds().iter().filter(|kind| **kind == call).count();
        assert!((5..=27).contains(&tries), "later and later: {call} {tries}");

        fleet.refused.clear();
        fleet.pass(Duration::from_mins(6));
        assert_eq!(fleet.status("web-0").1, "Active", "{call}");
        fleet.jobs.clear();
        fleet.restart(Rhythm::default());
        fleet.settle();
        // The nodes are others again, and for the rest the fingerprint vouches.
        assert!(fleet.kinds().iter().all(|kind| kind.ends_with("Targets")), "{:?}", fleet.kinds());
    }
}

#[test]
fn the_name_of_a_load_balancer_that_serves_is_published_whatever_is_refused_beside_it() {
    for (call, annotation, value) in &OPTIONAL[..3] {
        let mut fleet = Fleet::new(1, Rhythm::default());
        fleet.refused.insert(call);
        fleet.annotate("web-0", annotation, value);
        fleet.converge();
        assert!(matches!(fleet.status("web-0"), (Hostname::Publish(_), "Refused")), "{call}");
        assert_eq!(fleet.registered()[1].len(), 2, "{call}");
    }
    // Without its targets it serves nobody.
    let mut fleet = Fleet::new(1, Rhythm::default());
    fleet.refused.insert("RegisterTargets");
    fleet.converge();
    assert_eq!(fleet.status("web-0"), (Hostname::Clear, "Refused"));
}

#[test]
fn nobody_leaves_before_the_new_ones_are_registered_and_nothing_changes_unmarked() {
    let mut fleet = Fleet::new(1, Rhythm::default());
    fleet.converge();
    fleet.refused.insert("RegisterTargets");
    fleet.jobs.clear();
    fleet.node("n3", Some("i-03"));
    fleet.settle();
    fleet.node("n2", None);
    fleet.pass(Duration::from_mins(10));
    assert!(fleet.kinds().iter().all(|kind| *kind == "RegisterTargets"), "{:?}", fleet.kinds());
    fleet.refused = ["AddTags"].into();
    fleet.jobs.clear();
    fleet.change("web-0", |service| _ = service.ports.pop());
    fleet.pass(Duration::from_mins(10));
    let kinds = fleet.kinds();
    assert!(kinds.contains(&"DeregisterTargets"), "{kinds:?}");
    let beside = |kind: &&&str| kind.ends_with("Targets") || kind.ends_with("SecurityGroupIngress");
    assert!(kinds.iter().filter(|kind| !beside(kind)).all(|kind| *kind == "AddTags"), "{kinds:?}");
}

#[test]
fn protection_that_somebody_set_by_hand_is_found_when_it_refuses_the_deletion() {
    let mut fleet = Fleet::new(1, Rhythm::default());
    fleet.converge();
    let lb = fleet.aws.load_balancers.values_mut().next().unwrap();
    lb.attributes = Some(map(&[("deletion_protection.enabled", "true")]));
    fleet.change("web-0", |service| service.deleting = true);
    fleet.pass(Duration::from_secs(30));
    assert!(fleet.aws.load_balancers.is_empty() && fleet.services.is_empty());
}

#[test]
fn a_deletion_that_hangs_says_on_what() {
    let mut fleet = Fleet::new(1, Rhythm::default());
    fleet.converge();
    fleet.fail = Some(("DeleteTargetGroup", FailureKind::Busy));
    fleet.change("web-0", |service| service.deleting = true);
    fleet.settle();
    assert_eq!(fleet.status("web-0"), (Hostname::Leave, "Applying"));
    assert_eq!(fleet.message("web-0"), "DeleteTargetGroup: DeleteTargetGroup: as the test wants");
    fleet.pass(Duration::from_mins(2));
    assert!(fleet.services.is_empty());
    assert_eq!(fleet.status("web-0"), (Hostname::Clear, ""));
}

#[test]
fn a_rule_for_nodes_that_is_refused_is_told_to_those_who_need_it() {
    let mut fleet = Fleet::new(2, Rhythm::default());
    fleet.converge();
    fleet.refused.insert("AuthorizeSecurityGroupIngress");
    fleet.change("web-0", |service| service.ports[0].node_port = Some(NodePort(31_999)));
    fleet.pass(Duration::from_secs(1));
    for name in ["web-0", "web-1"] {
        assert!(matches!(fleet.status(name), (Hostname::Publish(_), "Refused")), "{name}");
        assert!(fleet.message(name).starts_with("AuthorizeSecurityGroupIngress: AccessDenied"), "{name}");
        assert!(fleet.events(name).contains(&"FailedDeployModel"), "{name}");
    }
    fleet.refused.clear();
    fleet.pass(Duration::from_secs(10));
    assert_eq!((fleet.status("web-0").1, fleet.status("web-1").1), ("Active", "Active"));
}

/// A change by the user or the cluster.
fn edit(fleet: &mut Fleet, number: usize) {
    match number {
        0 => fleet.annotate("web-0", "aws-load-balancer-scheme", "internet-facing"),
        1 => fleet.annotate("web-0", "aws-load-balancer-ssl-cert", "arn:one,arn:two"),
        2 => fleet.annotate("web-0", "aws-load-balancer-healthcheck-protocol", "http"),
        3 => fleet.annotate("web-0", "aws-load-balancer-proxy-protocol", "*"),
        4 => fleet.annotate("web-0", "aws-load-balancer-backend-protocol", "ssl"),
        5 => fleet.change("web-0", |service| service.ports.truncate(1)),
        6 => fleet.change("web-0", |service| service.ports[0].node_port = Some(NodePort(31_999))),
        7 => fleet.change("web-0", |service| service.source_ranges = vec!["10.1.0.0/16".to_owned()]),
        8 => fleet.node("n3", Some("i-03")),
        9 => fleet.node("n2", None),
        // Without these two a load balancer stays as it is.
        10 => fleet.change("web-0", |service| {
            service.annotations.retain(|name, _| name.ends_with("-scheme") || name.ends_with("-subnets"));
        }),
        _ => {
            let (_, annotation, value) = OPTIONAL[number % OPTIONAL.len()];
            fleet.annotate("web-0", annotation, value);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_refused_for_a_while_the_end_is_the_same(
        steps in prop::collection::vec((0..15_usize, prop::sample::subsequence(OpKind::ALL, 0..4)), 1..6),
        deleting: bool,
    ) {
        let mut whole = Fleet::new(1, Rhythm::default());
        let mut fleet = Fleet::new(1, Rhythm::default());
        for (number, refused) in steps {
            edit(&mut whole, number);
            whole.converge();
            fleet.refused = refused.iter().map(|kind| kind.as_str()).collect();
            edit(&mut fleet, number);
            fleet.converge();
        }
        for fleet in [&mut whole, &mut fleet] {
            fleet.change("web-0", |service| service.deleting = deleting);
            fleet.pass(Duration::from_mins(6));
            fleet.refused.clear();
            fleet.pass(Duration::from_mins(11));
            fleet.aws.settle();
            fleet.pass(Duration::from_mins(11));
        }
        // A target group keeps the name that it was made with, whatever it would be called by now.
        let nameless = |fleet: &Fleet| {
            let short = |line: String| match line.split_once(" [") {
                Some((_, targets)) => targets.to_owned(),
                None => line,
            };
            picture(&fleet.aws).into_iter().map(short).collect::<BTreeSet<_>>()
        };
        prop_assert_eq!(nameless(&fleet), nameless(&whole));
        prop_assert_eq!(fleet.drifts.len() + whole.drifts.len(), 0, "nobody else changed anything");
        prop_assert_eq!(fleet.services.is_empty(), deleting);
    }
}

/// The load balancer of one is protected against deletion in a way that AWS does not tell.
#[test]
fn garbage_that_cannot_be_deleted_keeps_no_other() {
    let rhythm = Rhythm { collect_garbage: true, ..Rhythm::default() };
    let mut fleet = Fleet::new(60, rhythm.clone());
    fleet.converge();
    let (kept, _) = fleet.services.pop_last().unwrap();
    fleet.services.clear();
    let (first, lb) = fleet.aws.load_balancers.pop_first().unwrap();
    let lock = lb.attributes.clone();
    fleet.aws.load_balancers.insert(first.clone(), lb);
    fleet.aws.locked = Some(first.clone());
    fleet.restart(rhythm);
    // Two listings, the grace period, and then no longer than the details of sixty take.
    fleet.pass(Duration::from_mins(8));
    assert_eq!(fleet.aws.load_balancers.keys().collect::<Vec<_>>(), [&first], "not that of {kept}");
    assert_eq!(fleet.aws.load_balancers[&first].attributes, lock);
    let tries = fleet.kinds().iter().filter(|kind| **kind == "DeleteLoadBalancer").count();
    assert!(tries < 59 + 10, "later and later: {tries}");
    fleet.aws.locked = None;
    fleet.pass(Duration::from_mins(10));
    assert!(fleet.aws.load_balancers.is_empty() && fleet.aws.target_groups.is_empty());
    assert_eq!(fleet.world.garbage().count(), 0);
}
