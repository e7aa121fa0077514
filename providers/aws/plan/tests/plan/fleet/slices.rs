//! Endpoints are kept of those Services only that need them.

use std::time::Duration;

use landfall_aws_plan::{Job, Observation, Op, PREFIX, PodEndpoint, Rhythm, Service, TargetState};
use landfall_model::ServiceKey;

use super::Fleet;
use crate::{
    targets::pod,
    weighted::{action, backend, canary},
};

fn of_pods(service: &mut Service) {
    let name = format!("{PREFIX}aws-load-balancer-nlb-target-type");
    service.annotations.insert(name, "ip".to_owned());
    service.ports.truncate(1);
}

fn endpoints(addresses: &[&str]) -> Vec<PodEndpoint> {
    addresses.iter().map(|address| pod(&format!("pod-{address}"), address)).collect()
}

fn targets(fleet: &Fleet) -> usize {
    let all = fleet.aws.target_groups.values().flat_map(|group| group.targets.as_ref().unwrap());
    all.filter(|(_, state)| **state != TargetState::Draining).count()
}

fn deregisters(fleet: &Fleet) -> usize {
    let gone = |job: &&Job| matches!(job, Job::Call(_, Op::DeregisterTargets { .. }));
    fleet.jobs.iter().filter(gone).count()
}

/// A Service of another class with a slice.
fn other(fleet: &mut Fleet) -> Service {
    let mut service = fleet.services.values().next().unwrap().clone();
    (service.key, service.uid) = (ServiceKey::new("shop", "other"), "uid-other".into());
    service.class = Some("another".into());
    service.finalizers.clear();
    service.annotations.clear();
    fleet.world.observe(Observation::Service(service.key.clone(), Some(Box::new(service.clone()))));
    fleet.slice("other-x", "other", endpoints(&["10.0.98.1", "10.0.98.2"]));
    service
}

#[test]
fn only_services_with_pods_as_targets_keep_endpoints() {
    let mut fleet = Fleet::new(2, Rhythm::default());
    fleet.slice("web-0-x", "web-0", endpoints(&["10.0.97.1", "10.0.97.2"]));
    fleet.slice("web-1-x", "web-1", endpoints(&["10.0.97.3"]));
    fleet.slice("early-x", "early", endpoints(&["10.0.97.4"]));
    fleet.change("web-0", of_pods);
    other(&mut fleet);
    assert_eq!(fleet.world.kept_endpoints(), 4, "what a Service needs is not known before it is planned");
    fleet.converge();
    assert_eq!((fleet.world.kept_endpoints(), fleet.relists), (3, 0));
    let mut early = fleet.services[&ServiceKey::new("shop", "web-0")].clone();
    (early.key, early.uid) = (ServiceKey::new("shop", "early"), "uid-early".into());
    early.finalizers.clear();
    fleet.set(early);
    fleet.converge();
    assert_eq!(
        (targets(&fleet), fleet.relists),
        (2 + 2 * 2 + 1, 0),
        "a slice may be seen before its Service"
    );
    // What changes later is forgotten as well.
    fleet.slice("web-1-x", "web-1", endpoints(&["10.0.97.3", "10.0.97.5"]));
    fleet.slice("other-x", "other", endpoints(&["10.0.98.3"]));
    assert_eq!(fleet.world.kept_endpoints(), 3);
}

#[test]
fn who_needs_what_was_forgotten_waits_for_a_new_list() {
    let mut fleet = Fleet::new(3, Rhythm::default());
    fleet.slice("web-0-x", "web-0", endpoints(&["10.0.97.1"]));
    fleet.slice("web-0-y", "web-0", endpoints(&["10.0.97.2"]));
    fleet.slice("web-1-x", "web-1", endpoints(&["10.0.97.3"]));
    fleet.change("web-2", of_pods);
    fleet.slice("web-2-x", "web-2", endpoints(&["10.0.97.4"]));
    fleet.converge();
    let before = targets(&fleet);
    fleet.jobs.clear();
    fleet.change("web-0", of_pods);
    let effects = fleet.world.plan(fleet.now);
    assert!(effects.relist && effects.jobs.is_empty(), "{:?}", effects.jobs);
    fleet.change("web-1", of_pods);
    assert!(!fleet.world.plan(fleet.now).relist, "one is under way");
    fleet.tell("web-0-x");
    assert!(fleet.world.plan(fleet.now).jobs.is_empty(), "one slice of two");
    assert_eq!(targets(&fleet), before);
    fleet.list_slices();
    fleet.converge();
    assert_eq!((targets(&fleet), fleet.world.kept_endpoints()), (2 + 1 + 1, 4));
    assert_eq!(fleet.relists, 0, "the list was for both");

    // The other way round, and back.
    fleet.change("web-0", |service| service.annotations.clear());
    fleet.converge();
    assert_eq!(fleet.world.kept_endpoints(), 2);
    fleet.change("web-0", of_pods);
    fleet.converge();
    assert_eq!((fleet.relists, fleet.world.kept_endpoints()), (1, 4));
}

#[test]
fn a_service_that_becomes_ours_or_is_named_gets_its_endpoints() {
    let mut fleet = Fleet::new(1, Rhythm::default());
    fleet.change("web-0", of_pods);
    fleet.slice("web-0-x", "web-0", endpoints(&["10.0.97.1"]));
    let mut service = other(&mut fleet);
    let named = backend(fleet.services.values().next().unwrap()).service;
    fleet.world.observe(Observation::Service(named.key.clone(), Some(Box::new(named))));
    let theirs =
        endpoints(&["10.0.98.7"]).into_iter().map(|one| PodEndpoint { port_name: "web".into(), ..one });
    fleet.slice("canary-x", "canary", theirs.collect());
    fleet.converge();
    assert_eq!((targets(&fleet), fleet.world.kept_endpoints()), (1, 1));

    fleet.change("web-0", |service| {
        _ = service.annotations.insert(format!("{PREFIX}actions.TCP-80"), action(1, &canary(1)));
    });
    fleet.converge();
    assert_eq!((targets(&fleet), fleet.world.kept_endpoints(), fleet.relists), (2, 2, 1));
    service.class = Some(landfall_aws_plan::CLASS.into());
    of_pods(&mut service);
    fleet.set(service);
    fleet.converge();
    assert_eq!((targets(&fleet), fleet.world.kept_endpoints(), fleet.relists), (4, 4, 2));
    assert_eq!(deregisters(&fleet), 0);

    fleet.change("web-0", |service| {
        _ = service.annotations.remove(&format!("{PREFIX}actions.TCP-80"));
    });
    fleet.change("other", |service| service.class = Some("another".into()));
    fleet.pass(Duration::from_mins(2));
    assert_eq!((targets(&fleet), fleet.world.kept_endpoints()), (1, 1));
}
