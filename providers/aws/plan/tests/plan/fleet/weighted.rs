//! Services that share their traffic with others.

use landfall_aws_plan::{
    GatedPod, LoadBalancer, Observation, PREFIX, PodEndpoint, READINESS_GATE, Rhythm, Service, TargetState,
    Written, tags,
};
use landfall_model::{NodePort, ServiceKey};

use super::Fleet;
use crate::{
    targets::pod,
    weighted::{action, backend, canary},
};

/// One Service that shares its traffic with `shop/canary`, which is not there yet.
pub(super) fn fleet(weight: u16, target_type: &str) -> Fleet {
    let mut fleet = Fleet::new(1, Rhythm::default());
    fleet.change("web-0", |service| {
        let mut set = |name: &str, value: &str| {
            service.annotations.insert(format!("{PREFIX}{name}"), value.to_owned());
        };
        set("actions.TCP-80", &action(9, &canary(weight)));
        set("aws-load-balancer-nlb-target-type", target_type);
        service.ports.truncate(1);
    });
    fleet
}

pub(super) fn theirs(fleet: &Fleet) -> Service {
    backend(fleet.services.values().next().unwrap()).service
}

pub(super) fn observe(fleet: &mut Fleet, service: Option<Service>) {
    let key = ServiceKey::new("shop", "canary");
    fleet.world.observe(Observation::Service(key, service.map(Box::new)));
}

pub(super) fn slice(fleet: &mut Fleet, endpoints: &[(&str, &str)]) {
    let endpoint =
        |(name, address): &(&str, &str)| PodEndpoint { port_name: "web".into(), ..pod(name, address) };
    let endpoints = endpoints.iter().map(endpoint).collect();
    fleet.slice("canary-x", "canary", endpoints);
}

pub(super) fn targets(fleet: &Fleet) -> Vec<String> {
    let mut groups = fleet.aws.target_groups.values();
    let group = groups.find(|group| group.tags[tags::RESOURCE] == "shop/canary:8080").expect("its group");
    let there = group.targets.as_ref().unwrap().iter();
    there
        .filter(|(_, state)| **state != TargetState::Draining)
        .map(|(target, _)| format!("{:?}:{}", target.id, target.port))
        .collect()
}

#[test]
fn a_service_that_is_named_is_followed() {
    let mut fleet = fleet(1, "instance");
    fleet.settle();
    assert_eq!(fleet.status("web-0").1, "Conflict");
    assert!(fleet.message("web-0").contains("there is no Service shop/canary"), "{}", fleet.message("web-0"));
    let mut service = theirs(&fleet);
    observe(&mut fleet, Some(service.clone()));
    fleet.converge();
    assert_eq!((fleet.status("web-0").1, fleet.aws.target_groups.len()), ("Active", 2));
    assert!(targets(&fleet).iter().all(|target| target.ends_with(":31080")));

    let examined = fleet.world.examined();
    service.annotations.insert("a".to_owned(), "b".to_owned());
    observe(&mut fleet, Some(service.clone()));
    fleet.settle();
    assert_eq!(fleet.world.examined(), examined, "nobody asks for its annotations");
    service.ports[0].node_port = Some(NodePort(31081));
    observe(&mut fleet, Some(service));
    fleet.converge();
    assert!(targets(&fleet).iter().all(|target| target.ends_with(":31081")), "{:?}", targets(&fleet));

    // It gets a load balancer of its own, and stays what it is for the other one.
    let mut own = theirs(&fleet);
    own.class = Some(landfall_aws_plan::CLASS.into());
    own.ports.truncate(1);
    fleet.set(own);
    fleet.converge();
    assert_eq!((fleet.status("web-0").1, fleet.status("canary").1), ("Active", "Active"));
    assert_eq!((fleet.aws.load_balancers.len(), fleet.aws.target_groups.len()), (2, 3));
    let listeners = |lb: &LoadBalancer| lb.listeners.as_ref().unwrap().len();
    assert!(fleet.aws.load_balancers.values().all(|lb| listeners(lb) == 1));

    // When it is gone, what is there stays and the user is told.
    fleet.change("canary", |service| service.deleting = true);
    fleet.converge();
    assert_eq!((fleet.status("web-0").1, fleet.aws.load_balancers.len()), ("Conflict", 1));
    fleet.change("web-0", |service| service.deleting = true);
    fleet.converge();
    assert!(fleet.services.is_empty() && fleet.aws.target_groups.is_empty());
    let examined = fleet.world.examined();
    let again = backend(&crate::world::World::new().service).service;
    observe(&mut fleet, Some(again));
    fleet.settle();
    assert_eq!(fleet.world.examined(), examined, "nobody names it any more");
}

#[test]
fn pods_of_a_service_that_is_named_are_followed_and_open_their_gates() {
    let mut fleet = fleet(1, "ip");
    let service = theirs(&fleet);
    observe(&mut fleet, Some(service));
    slice(&mut fleet, &[("c-1", "10.0.97.5")]);
    fleet.converge();
    assert_eq!(targets(&fleet).len(), 1);
    slice(&mut fleet, &[("c-1", "10.0.97.5"), ("c-2", "10.0.97.6")]);
    fleet.converge();
    assert_eq!(targets(&fleet).len(), 2);
    let group = fleet.aws.target_groups.values().find(|group| group.name.contains("-canary-")).unwrap();
    let gate = format!("{READINESS_GATE}{}", group.name);
    let gated = GatedPod { containers_ready: true, gates: vec![gate.as_str().into()] };
    fleet.world.observe(Observation::Pod(ServiceKey::new("shop", "c-2"), Some(gated)));
    fleet.converge();
    let told = fleet.writes.iter().rev().find_map(|write| match &write.what {
        Written::Gate(gate) => Some((&*gate.pod, gate.healthy)),
        Written::Finalizer(_) | Written::Status(_) | Written::Event(..) | Written::Ledger(_) => None,
    });
    assert_eq!(told, Some(("c-2", true)));
}

#[test]
fn a_group_without_weight_needs_no_targets() {
    for (weight, reason) in [(0, "Active"), (1, "NoTargets")] {
        let mut fleet = fleet(weight, "ip");
        let service = theirs(&fleet);
        observe(&mut fleet, Some(service));
        let own = ServiceKey::new("shop", "web-0-x");
        fleet.world.observe(Observation::Slice(own, Some(("web-0".into(), vec![pod("a", "10.0.97.4")]))));
        fleet.converge();
        assert_eq!(fleet.status("web-0").1, reason);
    }
}
