//! Instances that are not there, or that nobody can be asked about.

use std::time::Duration;

use landfall_aws_plan::{FailureKind, Job, Observation, Rhythm};

use super::Fleet;
use crate::world;

/// How many targets each target group has.
fn registered(fleet: &Fleet) -> Vec<usize> {
    let of = |group: &landfall_aws_plan::TargetGroup| group.targets.as_ref().unwrap().len();
    fleet.aws.target_groups.values().map(of).collect()
}

#[test]
fn an_instance_that_does_not_run_is_left_out_alone() {
    let mut fleet = Fleet::new(2, Rhythm::default());
    let (name, node) = world::node("n3", "i-0gone");
    fleet.world.observe(Observation::Node(name.clone(), Some(node.clone())));
    fleet.gone.insert("i-0gone".into());
    fleet.converge();
    assert_eq!(registered(&fleet), [2, 2, 2, 2], "never sent, since AWS refuses the whole call");
    let said = fleet.message("web-0");
    assert!(said.contains("n3") && said.contains("NoInstance"), "{said}");

    // It is started again, and the node tells.
    fleet.gone.clear();
    let ready = landfall_aws_plan::Readiness::Unknown;
    fleet
        .world
        .observe(Observation::Node(name.clone(), Some(landfall_aws_plan::Node { ready, ..node.clone() })));
    fleet.world.observe(Observation::Node(name, Some(node)));
    fleet.converge();
    assert_eq!(registered(&fleet), [3, 3, 3, 3]);
    assert!(!fleet.message("web-0").contains("n3"));
}

#[test]
fn a_target_that_aws_does_not_take_keeps_no_other_out() {
    let mut fleet = Fleet::new(1, Rhythm::default());
    let (name, node) = world::node("n3", "i-0odd");
    fleet.world.observe(Observation::Node(name, Some(node)));
    fleet.refused_targets.insert("i-0odd".into());
    fleet.converge();
    assert_eq!(registered(&fleet), [2, 2], "those of every port");
    assert!(fleet.message("web-0").contains("InvalidTarget"), "{}", fleet.message("web-0"));
    fleet.refused_targets.clear();
    fleet.pass(Duration::from_mins(2));
    assert_eq!((registered(&fleet), fleet.status("web-0").1), (vec![3, 3], "Active"));
}

/// Both nodes are in every target group, and the first Service serves.
fn all_are_registered(mut fleet: Fleet) {
    fleet.converge();
    assert_eq!(fleet.status("web-0").1, "Active");
    assert!(fleet.aws.target_groups.values().all(|group| group.targets.as_ref().unwrap().len() == 2));
}

#[test]
fn targets_are_registered_without_an_answer_about_their_instances() {
    let mut fleet = Fleet::new(1, Rhythm::default());
    fleet.fail = Some(("DescribeInstances", FailureKind::Refused));
    all_are_registered(fleet);
}

#[test]
fn targets_are_registered_where_aws_knows_none_of_the_instances() {
    let mut fleet = Fleet::new(1, Rhythm::default());
    fleet.gone.extend(["i-01", "i-02"].map(Into::into));
    all_are_registered(fleet);
}

#[test]
fn what_aws_does_not_know_any_more_is_asked_for_again() {
    let mut fleet = Fleet::new(1, Rhythm::default());
    fleet.converge();
    // Somebody deletes a listener, and then its port's TLS is wanted.
    let lb = fleet.aws.load_balancers.values_mut().next().unwrap();
    let gone = lb.listeners.as_mut().unwrap().remove(&80).expect("a listener");
    fleet.unknown = Some(gone.arn);
    fleet.change("web-0", |service| {
        let name = format!("{}aws-load-balancer-ssl-cert", landfall_aws_plan::PREFIX);
        service.annotations.insert(name, "arn:one".to_owned());
    });
    fleet.pass(Duration::from_secs(30));
    let lb = fleet.aws.load_balancers.values().next().unwrap();
    assert_eq!(lb.listeners.as_ref().unwrap().len(), 2, "made again, long before the audit");
    assert_eq!(fleet.status("web-0").1, "Active");
}

#[test]
fn an_instance_that_is_not_shown_yet_is_asked_for_again_soon_and_then_at_leisure() {
    let mut fleet = Fleet::new(1, Rhythm::default());
    fleet.converge();
    fleet.gone.insert("i-03".into());
    fleet.node("n3", Some("i-03"));
    fleet.pass(Duration::from_secs(15));
    assert_eq!(fleet.registered()[0], ["i-01", "i-02"]);
    fleet.gone.clear();
    fleet.pass(Duration::from_secs(10));
    assert_eq!(fleet.registered(), [["i-01", "i-02", "i-03"], ["i-01", "i-02", "i-03"]]);

    // One that never comes costs little, and nobody is told of it again and again.
    fleet.gone.insert("i-04".into());
    fleet.node("n4", Some("i-04"));
    fleet.settle();
    (fleet.jobs, fleet.writes) = (Vec::new(), Vec::new());
    fleet.pass(Duration::from_mins(30));
    let asked = fleet.jobs.iter().filter(|job| matches!(job, Job::Instances(_))).count();
    assert!((15..=15 + 6).contains(&asked), "{asked}");
    assert_eq!(fleet.writes, []);
    fleet.node("n4", None);
    fleet.pass(Duration::from_mins(5));
    fleet.jobs.clear();
    fleet.pass(Duration::from_mins(5));
    assert!(!fleet.jobs.iter().any(|job| matches!(job, Job::Instances(_))), "its node is gone");
}

#[test]
fn a_new_node_is_registered_although_nobody_can_be_asked_and_is_asked_for_soon() {
    for kind in [FailureKind::Throttled, FailureKind::Unavailable, FailureKind::Refused] {
        let mut fleet = Fleet::new(1, Rhythm::default());
        fleet.converge();
        fleet.fail = Some(("DescribeInstances", kind));
        fleet.node("n3", Some("i-03"));
        fleet.settle();
        assert_eq!(fleet.registered()[0].len(), 3, "{kind:?}");
        fleet.jobs.clear();
        fleet.pass(Duration::from_secs(10));
        assert_eq!(fleet.jobs.iter().filter(|job| matches!(job, Job::Instances(_))).count(), 1, "{kind:?}");
    }
}
