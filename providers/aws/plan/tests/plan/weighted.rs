//! Weighted actions: traffic of a listener is shared with other Services and with target groups of somebody else.

use landfall_aws_plan::{
    Backend, Forward, ListenerProtocol, Map, Op, PREFIX, Service, TargetFamily, TargetGroup, TargetId,
    TargetPort, tags,
};
use landfall_model::{Family, NodePort, Protocol, ServiceKey, TrafficPolicy};

use crate::{
    targets::pod,
    world::{World, port},
};

/// An action: the weight of the Service itself, and the other groups.
pub(crate) fn action(base: u16, others: &str) -> String {
    format!(
        r#"{{"type":"forward","forwardConfig":{{"baseServiceWeight":{base},"targetGroups":[{others}]}}}}"#
    )
}

pub(crate) fn canary(weight: u16) -> String {
    format!(r#"{{"serviceName":"canary","servicePort":8080,"weight":{weight}}}"#)
}

/// `shop/canary` with port 8080.
pub(crate) fn backend(base: &Service) -> Backend {
    let service = Service {
        key: ServiceKey::new("shop", "canary"),
        uid: "c0ffee".into(),
        class: None,
        annotations: Map::new(),
        finalizers: Vec::new(),
        ports: vec![port("web", Protocol::Tcp, 8080, 31080), port("admin", Protocol::Tcp, 9090, 31090)],
        ..base.clone()
    };
    Backend { service, endpoints: Vec::new() }
}

/// One TCP port, which shares its traffic with `shop/canary`.
fn world(base: u16, weight: u16) -> World {
    let mut world = World::new();
    world.service.ports = vec![port("http", Protocol::Tcp, 80, 30080)];
    let backend = backend(&world.service);
    world.backends.insert(backend.service.key.clone(), backend);
    world.annotate("actions.TCP-80", &action(base, &canary(weight)));
    world
}

fn group<'a>(world: &'a World, resource: &str) -> &'a TargetGroup {
    let mut groups = world.aws.target_groups.values();
    groups.find(|group| group.tags[tags::RESOURCE] == resource).expect(resource)
}

fn forward(world: &World) -> &Forward {
    let lb = world.aws.load_balancers.values().next().unwrap();
    lb.listeners.as_ref().unwrap().values().next().unwrap().forward.as_ref().unwrap()
}

/// Weights by resource.
fn shares(world: &World) -> Vec<(&str, u16)> {
    let name = |(arn, weight)| (&*world.aws.target_groups[arn].tags[tags::RESOURCE], weight);
    let mut shares: Vec<_> = forward(world).weights().map(name).collect();
    shares.sort_unstable();
    shares
}

fn targets(group: &TargetGroup) -> Vec<String> {
    let text = |id: &TargetId| match id {
        TargetId::Instance(id) => id.to_string(),
        TargetId::Ip(address) => address.to_string(),
    };
    group
        .targets
        .as_ref()
        .unwrap()
        .keys()
        .map(|target| format!("{}:{}", text(&target.id), target.port))
        .collect()
}

#[test]
fn traffic_is_shared_with_another_service() {
    let mut world = world(90, 10);
    world.converge();
    assert_eq!(shares(&world), [("shop/canary:8080", 10), ("shop/web:80", 90)]);
    let theirs = group(&world, "shop/canary:8080");
    assert_eq!(targets(theirs), ["i-01:31080", "i-02:31080"]);
    assert_eq!(targets(group(&world, "shop/web:80")), ["i-01:30080", "i-02:30080"]);
    assert!(theirs.name.starts_with("k8s-shop-canary-"), "{}", theirs.name);
    assert_eq!((&*theirs.tags[tags::STACK], &*theirs.tags[tags::UID]), ("shop/web", &*world.service.uid));
    let nodes = &world.aws.security_groups[&"sg-nodes".into()];
    let opened: Vec<(i32, i32)> = nodes.ingress.iter().map(|rule| (rule.from, rule.to)).collect();
    assert_eq!(opened, [(30080, 31080)], "the nodes let in what goes to either");

    // Other weights take one call, and nothing is asked after a restart.
    world.aws.calls.clear();
    world.annotate("actions.TCP-80", &action(0, &canary(100))).converge();
    let kinds: Vec<&str> = world.aws.calls.iter().map(|op| op.kind().as_str()).collect();
    assert_eq!(kinds, ["AddTags", "ModifyListener", "AddTags"]);
    assert_eq!(shares(&world), [("shop/canary:8080", 100), ("shop/web:80", 0)]);
    world.aws.calls.clear();
    world.restart();
    world.converge();
    assert_eq!(world.aws.calls, []);

    // Without the action its group goes, after the listener has left it.
    world.service.annotations.clear();
    world.converge();
    assert_eq!(shares(&world), [("shop/web:80", 1)]);
    assert_eq!(world.aws.target_groups.len(), 1);
}

#[test]
fn a_group_that_joins_has_its_targets_before_it_gets_traffic() {
    let mut world = world(90, 10);
    let action = world.service.annotations.remove(&format!("{PREFIX}actions.TCP-80")).unwrap();
    world.converge();
    world.aws.calls.clear();
    world.annotate("actions.TCP-80", &action).converge();
    let position = |wanted: fn(&Op) -> bool| world.aws.calls.iter().position(wanted).unwrap();
    let register = position(|op| matches!(op, Op::RegisterTargets { .. }));
    assert!(register < position(|op| matches!(op, Op::ModifyListener { .. })));
}

#[test]
fn pods_of_the_other_service_are_found_by_the_name_of_its_port() {
    let mut world = world(1, 1);
    world.annotate("aws-load-balancer-nlb-target-type", "ip");
    world.annotate(
        "actions.TCP-80",
        &action(1, r#"{"serviceName":"canary","servicePort":"admin","weight":1}"#),
    );
    world.endpoints = vec![pod("a", "10.0.0.1")];
    let mut theirs = pod("b", "10.0.0.2");
    (theirs.port_name, theirs.port) = ("admin".into(), 9999);
    let backend = world.backends.values_mut().next().unwrap();
    backend.service.ports[1].target = TargetPort::Name("x".into());
    backend.endpoints = vec![pod("c", "10.0.0.3"), theirs];
    world.converge();
    assert_eq!(targets(group(&world, "shop/web:80")), ["10.0.0.1:8080"]);
    assert_eq!(targets(group(&world, "shop/canary:9090")), ["10.0.0.2:9999"]);
}

#[test]
fn a_group_of_somebody_else_gets_its_share() {
    let mut world = world(3, 1);
    world.converge();
    let mut foreign = group(&world, "shop/canary:8080").clone();
    (foreign.arn, foreign.name, foreign.tags) = ("arn:theirs".into(), "theirs".to_owned(), Map::new());
    world.aws.target_groups.insert(foreign.arn.clone(), foreign.clone());
    world.annotate("actions.TCP-80", &action(3, r#"{"targetGroupARN":"arn:theirs","weight":7}"#));
    world.list();
    world.converge();
    let weights: Vec<_> = forward(&world).weights().map(|(arn, weight)| (arn.as_str(), weight)).collect();
    assert_eq!((weights.len(), weights.contains(&("arn:theirs", 7))), (2, true));
    assert_eq!(world.aws.target_groups.len(), 2, "ours of the other Service is gone");
    world.service.deleting = true;
    world.converge();
    assert!(world.aws.target_groups.contains_key(&foreign.arn) && world.aws.target_groups.len() == 1);
}

#[test]
fn two_listeners_may_share_a_group_if_their_protocols_are_one() {
    let mut world = world(1, 1);
    world.service.ports.push(port("alt", Protocol::Tcp, 81, 30081));
    world.annotate("actions.TCP-81", &action(1, &canary(5))).converge();
    assert_eq!(world.aws.target_groups.len(), 3);
    world.annotate("aws-load-balancer-ssl-cert", "arn:one").annotate("aws-load-balancer-ssl-ports", "81");
    world.service.annotations.remove(&format!("{PREFIX}actions.TCP-81"));
    world.annotate("actions.TLS-81", &action(1, &canary(5)));
    assert!(world.problem().contains("whose protocols differ"), "{}", world.problem());
    let decrypt = r#"{"serviceName":"canary","servicePort":8080,"weight":5,"decrypt":true}"#;
    world.annotate("actions.TLS-81", &action(1, decrypt)).converge();
    assert_eq!(group(&world, "shop/canary:8080").protocol, ListenerProtocol::Tcp);
}

#[test]
fn health_checks_and_families_are_those_of_the_other_service() {
    let mut world = world(1, 1);
    let backend = world.backends.values_mut().next().unwrap();
    backend.service.traffic_policy = TrafficPolicy::Local;
    backend.service.health_check_node_port = Some(NodePort(32000));
    world.converge();
    assert_eq!(group(&world, "shop/canary:8080").health_check.port, Some(32000));
    assert_eq!(group(&world, "shop/web:80").health_check.port, None);
    world.backends.values_mut().next().unwrap().service.families = vec![Family::V6];
    assert!(world.problem().contains("lb not dual-stack"), "{}", world.problem());
    world.annotate("aws-load-balancer-ip-address-type", "dualstack").converge();
    assert_eq!(group(&world, "shop/canary:8080").family, TargetFamily::Ipv6);
}

#[test]
fn what_an_action_cannot_reach_is_told() {
    type Change = fn(&mut World);
    let rows: &[(Change, &str)] = &[
        (|world| world.backends.clear(), "there is no Service shop/canary"),
        (|world| world.backends.values_mut().next().unwrap().service.ports.clear(), "has no port 8080"),
        (
            |world| world.backends.values_mut().next().unwrap().service.ports[0].node_port = None,
            "Service shop/canary: port 8080: unallocated NodePort",
        ),
        (
            |world| _ = world.annotate("actions.TCP-81", &action(1, &canary(1))),
            "the Service has no such listener; its listeners are TCP-80",
        ),
        (|world| world.service.ports[0].protocol = Protocol::Udp, "its listeners are UDP-80"),
    ];
    for (change, part) in rows {
        let mut world = world(1, 1);
        change(&mut world);
        assert!(world.problem().contains(part), "{part} is not in {}", world.problem());
    }
    let mut world = world(1, 1);
    world.annotate("actions.TCP-80", r#"{"type":"forward"}"#).backends.clear();
    world.converge();
    assert_eq!(shares(&world), [("shop/web:80", 1)], "an action that shares nothing is none");
}

#[test]
fn a_client_stays_with_a_group_where_that_is_asked_for() {
    for sticky in [true, false] {
        let mut world = world(1, 1);
        let config = format!(r#","targetGroupStickinessConfig":{{"enabled":{sticky}}}}}}}"#);
        let text = action(1, &canary(1));
        world.annotate("actions.TCP-80", &(text.trim_end_matches('}').to_owned() + &config));
        world.converge();
        assert_eq!(forward(&world).sticky(), sticky);
    }
    let one = Forward::among([("arn".into(), 7)], true);
    assert_eq!(one, Some(Forward::to("arn".into())), "a single group has no weight and no stickiness");
    assert_eq!(Forward::among([], true), None);
}

#[test]
fn what_an_action_cannot_mean_is_refused() {
    let others = |others: &str| action(1, others);
    let rows = [
        ("actions.TCP-80", "{}".to_owned(), "missing field `type`"),
        ("actions.80", r#"{"type":"forward"}"#.to_owned(), "like TCP-80"),
        ("actions.TCP-80", r#"{"type":"redirect"}"#.to_owned(), "is forward"),
        (
            "actions.TCP-80",
            r#"{"type":"forward","forwardConfig":{"wieght":1}}"#.to_owned(),
            "unknown field `wieght`",
        ),
        (
            "actions.TCP-80",
            others(r#"{"serviceName":"a","servicePort":80},{"targetGroupARN":"b"}"#),
            "weight must be set",
        ),
        (
            "actions.TCP-80",
            others(r#"{"serviceName":"a","servicePort":80,"targetGroupARN":"b"}"#),
            "precisely one of targetGroupARN and serviceName",
        ),
        ("actions.TCP-80", others(r#"{"weight":1}"#), "precisely one of targetGroupARN and serviceName"),
        ("actions.TCP-80", others(r#"{"serviceName":"a"}"#), "missing servicePort"),
        ("actions.TCP-80", action(1000, &canary(1)), "0 to 999"),
    ];
    for (name, value, part) in rows {
        let mut world = World::new();
        world.annotate(name, &value);
        let problems = world.request().unwrap_err();
        let text = problems.iter().map(ToString::to_string).collect::<String>();
        assert!(text.contains(part), "{part} is not in {text}");
    }
}
