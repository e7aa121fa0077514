//! Which readiness gates a new Pod gets.

use landfall_aws_plan::{FINALIZER, Gates, Map, READINESS_GATE};
use landfall_model::{Protocol, ServiceKey};

use crate::{
    weighted::{action, canary},
    world::{World, map, port},
};

/// A Service with targets of type ip that serves.
fn serving() -> World {
    let mut world = World::new();
    world.service.ports = vec![port("http", Protocol::Tcp, 80, 30080)];
    world.annotate("aws-load-balancer-nlb-target-type", "ip");
    world.service.finalizers = vec![FINALIZER.into()];
    world.service.hostnames = vec!["x.elb.eu-west-1.amazonaws.com".to_owned()];
    world
}

fn of_pod(world: &World, selector: &Map, labels: &Map) -> Vec<String> {
    let mut gates = Gates::default();
    gates.observe(&world.service.key, Some((&world.service, selector)), &world.settings);
    gates.of_pod(&world.service.key.namespace, labels).into_iter().map(str::to_owned).collect()
}

#[test]
fn a_pod_waits_for_the_target_groups_that_aws_has() {
    let mut world = serving();
    world.service.ports.push(port("https", Protocol::Tcp, 443, 30443));
    world.converge();
    let mut names: Vec<String> =
        world.aws.target_groups.values().map(|group| format!("{READINESS_GATE}{}", group.name)).collect();
    names.sort();
    assert_eq!(names.len(), 2);
    let app = map(&[("app", "web")]);
    assert_eq!(of_pod(&world, &app, &map(&[("app", "web"), ("version", "2")])), names);
    // Selectors say all that a Pod must have; one that says nothing selects none.
    for (selector, labels) in [(&app, map(&[("app", "db")])), (&app, Map::new()), (&Map::new(), app.clone())]
    {
        assert!(of_pod(&world, selector, &labels).is_empty(), "{selector:?} {labels:?}");
    }
}

#[test]
fn traffic_that_is_shared_changes_nothing_for_the_pods_of_the_service() {
    let mut world = serving();
    let app = map(&[("app", "web")]);
    let before = of_pod(&world, &app, &app);
    world.annotate("actions.TCP-80", &action(1, &canary(1)));
    assert_eq!((of_pod(&world, &app, &app), before.len()), (before, 1));
}

#[test]
fn nobody_waits_for_what_does_not_serve() {
    let app = map(&[("app", "web")]);
    type Change = fn(&mut World);
    let rows: [(&str, Change, bool); 7] = [
        ("it serves", |_| {}, true),
        ("its name is not published yet", |world| world.service.hostnames.clear(), false),
        ("it is not held", |world| world.service.finalizers.clear(), false),
        ("it goes", |world| world.service.deleting = true, false),
        ("it is another class's", |world| world.service.class = Some("x/y".into()), false),
        ("instances are its targets", |world| world.service.annotations.clear(), false),
        (
            "what it asks for cannot be",
            |world| _ = world.annotate("aws-load-balancer-healthcheck-port", "x y"),
            false,
        ),
    ];
    for (row, change, gated) in rows {
        let mut world = serving();
        change(&mut world);
        assert_eq!(!of_pod(&world, &app, &app).is_empty(), gated, "{row}");
    }
}

#[test]
fn a_group_that_kept_its_name_opens_the_gate_of_today() {
    let mut world = serving();
    world.endpoints = vec![crate::targets::pod("a", "10.0.0.1")];
    world.converge();
    world.aws.settle();
    // The interval is part of the name, and AWS changes it in place.
    world.annotate("aws-load-balancer-healthcheck-interval", "30");
    world.converge();
    let (arn, group) = world.aws.target_groups.iter().next().unwrap();
    let (arn, kept) = (arn.clone(), format!("{READINESS_GATE}{}", group.name));
    assert_eq!(world.aws.target_groups.len(), 1);
    world.aws.answer(&landfall_aws_plan::Need::Targets(arn), &mut world.inventory);
    let app = map(&[("app", "web")]);
    let today = of_pod(&world, &app, &app).remove(0);
    assert_ne!(today, kept);
    world.endpoints[0].readiness_gates = vec![today.as_str().into(), kept.as_str().into()];
    let told: Vec<_> =
        world.readiness().into_iter().map(|one| (one.gate.into_string(), one.healthy)).collect();
    let mut expected = vec![(today, true), (kept, true)];
    expected.sort();
    assert_eq!(told, expected);
}

#[test]
fn only_services_that_matter_are_kept_and_only_the_namespace_is_looked_at() {
    let mut world = serving();
    let app = map(&[("app", "web")]);
    let mut gates = Gates::default();
    for number in 0..10_000 {
        let key = ServiceKey::new(&format!("n{}", number % 100), &format!("web-{number}"));
        world.service.key = key.clone();
        world.service.class = (number % 10 != 0).then(|| "x/y".into());
        world.service.class.get_or_insert_with(|| "service.k8s.aws/nlb".into());
        gates.observe(&key, Some((&world.service, &app)), &world.settings);
    }
    assert_eq!(gates.count(), 1_000);
    assert_eq!(gates.of_pod("n0", &app).len(), 100);
    assert!(gates.of_pod("elsewhere", &app).is_empty());
    for number in 0..10_000 {
        let key = ServiceKey::new(&format!("n{}", number % 100), &format!("web-{number}"));
        gates.observe(&key, None, &world.settings);
    }
    assert_eq!(gates, Gates::default());
}
