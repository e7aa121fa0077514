//! Target groups in which other clusters register targets too.

use std::time::Duration;

use landfall_aws_plan::{
    FailureKind, Observation, PREFIX, REGISTERED, Rhythm, Target, TargetId, TargetState, tags,
};

use super::Fleet;
use crate::shared::SHARED;

/// One Service whose groups are shared.
pub(super) fn fleet(rhythm: Rhythm) -> Fleet {
    let mut fleet = Fleet::new(1, rhythm);
    fleet.change("web-0", |service| {
        service.annotations.insert(format!("{PREFIX}{SHARED}"), "true".to_owned());
        service.ports.truncate(1);
    });
    fleet
}

fn theirs() -> Target {
    Target { id: TargetId::Instance("i-99".into()), port: 30080, zone_all: false }
}

/// Another cluster's controller registers a target in each group.
pub(super) fn join(fleet: &mut Fleet) {
    for group in fleet.aws.target_groups.values_mut() {
        group.targets.as_mut().unwrap().insert(theirs(), TargetState::Healthy);
    }
}

pub(super) fn there(fleet: &Fleet) -> Vec<String> {
    let all = fleet.aws.target_groups.values().flat_map(|group| group.targets.as_ref().unwrap());
    let all = all.filter(|(_, state)| **state != TargetState::Draining);
    all.map(|(target, _)| match &target.id {
        TargetId::Instance(id) => id.to_string(),
        TargetId::Ip(address) => address.to_string(),
    })
    .collect()
}

pub(super) fn ledger(fleet: &Fleet) -> Option<&String> {
    fleet.services.values().next().unwrap().annotations.get(REGISTERED)
}

fn remove_node(fleet: &mut Fleet, name: &str) {
    fleet.world.observe(Observation::Node(name.into(), None));
}

#[test]
fn killed_at_any_call_ours_go_and_theirs_stay() {
    let mut whole = fleet(Rhythm::default());
    whole.converge();
    let made = whole.calls();
    for killed in 0..made + 3 {
        let mut fleet = fleet(Rhythm::default());
        let mut left = killed;
        for _ in 0..200 {
            if fleet.step(&mut left) == 0 {
                break;
            }
        }
        let joined = !fleet.aws.target_groups.is_empty();
        join(&mut fleet);
        fleet.restart(Rhythm::default());
        fleet.converge();
        assert_eq!(there(&fleet)[..2], ["i-01", "i-02"], "killed after {killed} calls");
        assert_eq!(there(&fleet).len() == 3, joined, "killed after {killed} calls");
        join(&mut fleet);
        remove_node(&mut fleet, "n1");
        let mut left = killed % 3;
        for _ in 0..200 {
            if fleet.step(&mut left) == 0 {
                break;
            }
        }
        fleet.restart(Rhythm::default());
        remove_node(&mut fleet, "n1");
        fleet.converge();
        assert_eq!(there(&fleet), ["i-02", "i-99"], "killed after {killed} calls");
        assert_eq!(ledger(&fleet).map(String::as_str), Some("i-02:30080"));
        fleet.change("web-0", |service| service.deleting = true);
        fleet.pass(Duration::from_mins(2));
        assert!(fleet.services.is_empty() && fleet.aws.load_balancers.is_empty());
        assert_eq!(there(&fleet), ["i-99"]);
    }
}

#[test]
fn a_memory_that_is_not_written_is_told_and_tried_again() {
    let mut fleet = fleet(Rhythm::default());
    fleet.fail = Some(("Ledger", FailureKind::Unavailable));
    fleet.settle();
    let told = fleet.events("web-0").into_iter().filter(|reason| *reason == "FailedRememberTargets");
    assert_eq!(told.count(), 1);
    fleet.converge();
    assert_eq!(there(&fleet), ["i-01", "i-02"]);
    assert_eq!(fleet.status("web-0").1, "Active");
}

#[test]
fn the_memory_is_put_back_when_it_is_changed_and_goes_when_it_is_not_needed() {
    let mut fleet = fleet(Rhythm::default());
    fleet.converge();
    let known = ledger(&fleet).cloned();
    assert_eq!(known.as_deref(), Some("i-01:30080,i-02:30080"));
    fleet.change("web-0", |service| _ = service.annotations.insert(REGISTERED.to_owned(), "odd".to_owned()));
    fleet.settle();
    assert_eq!(ledger(&fleet), known.as_ref());
    let again = fleet.services.values().next().unwrap().clone();
    fleet.change("web-0", |service| service.class = Some("other".into()));
    fleet.pass(Duration::from_mins(2));
    assert_eq!((ledger(&fleet), fleet.aws.target_groups.len()), (None, 0));
    fleet.set(again);
    fleet.converge();
    assert!(ledger(&fleet).is_some());
    fleet.change("web-0", |service| _ = service.annotations.remove(&format!("{PREFIX}{SHARED}")));
    fleet.converge();
    assert_eq!(ledger(&fleet), None);
    assert!(fleet.aws.target_groups.values().all(|group| !tags::is_shared(&group.tags)));
}

#[test]
fn a_service_without_nodes_serves_through_another_cluster() {
    let mut fleet = fleet(Rhythm::default());
    fleet.converge();
    join(&mut fleet);
    fleet.pass(Duration::from_mins(31));
    remove_node(&mut fleet, "n1");
    remove_node(&mut fleet, "n2");
    fleet.converge();
    assert_eq!((there(&fleet), fleet.status("web-0").1), (vec!["i-99".to_owned()], "Active"));
    fleet.aws.target_groups.values_mut().for_each(|group| group.targets.as_mut().unwrap().clear());
    fleet.pass(Duration::from_mins(31));
    assert_eq!(fleet.status("web-0").1, "NoTargets");
}

#[test]
fn garbage_stays_for_as_long_as_others_have_targets_in_it() {
    let rhythm = Rhythm { collect_garbage: true, ..Rhythm::default() };
    let mut fleet = fleet(rhythm);
    fleet.converge();
    join(&mut fleet);
    fleet.change("web-0", |service| service.deleting = true);
    fleet.pass(Duration::from_mins(60));
    assert!(fleet.services.is_empty());
    assert_eq!((there(&fleet), fleet.world.garbage().count()), (vec!["i-99".to_owned()], 1));
    fleet.aws.target_groups.values_mut().for_each(|group| group.targets.as_mut().unwrap().clear());
    fleet.pass(Duration::from_mins(60));
    assert_eq!((fleet.aws.target_groups.len(), fleet.world.garbage().count()), (0, 0));
}
