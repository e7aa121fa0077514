//! Whatever a Service goes through, and wherever the controller is killed, the end is the same.

use landfall_aws_plan::{Map, REPLACE, TargetPort, tags};
use landfall_model::{Family, NodePort, Protocol};
use proptest::prelude::*;

use crate::{
    shared::SHARED,
    weighted::{action, backend, canary},
    world::{World, map, node, port, security_group},
};

/// A change that a user or the cluster makes.
#[derive(Clone, Copy, Debug)]
enum Edit {
    Scheme,
    TargetType,
    AddUdp,
    MergeUdp,
    DropPort,
    NodePort,
    Attributes,
    GroupAttributes,
    Tls,
    HealthCheck,
    Groups,
    SourceRanges,
    Tags,
    Dualstack,
    NodeJoins,
    NodeLeaves,
    CreateBeforeDelete,
    Recreated,
    ProxyProtocol,
    ListenerAttributes,
    Weights,
    Shared,
}

const EDITS: [Edit; 22] = [
    Edit::Scheme,
    Edit::TargetType,
    Edit::AddUdp,
    Edit::MergeUdp,
    Edit::DropPort,
    Edit::NodePort,
    Edit::Attributes,
    Edit::GroupAttributes,
    Edit::Tls,
    Edit::HealthCheck,
    Edit::Groups,
    Edit::SourceRanges,
    Edit::Tags,
    Edit::Dualstack,
    Edit::NodeJoins,
    Edit::NodeLeaves,
    Edit::CreateBeforeDelete,
    Edit::Recreated,
    Edit::ProxyProtocol,
    Edit::ListenerAttributes,
    Edit::Weights,
    Edit::Shared,
];

/// Sets an annotation, or takes it away if it is there.
fn toggle(world: &mut World, name: &str, value: &str) {
    let key = format!("{}{name}", landfall_aws_plan::PREFIX);
    if world.service.annotations.remove(&key).is_none() {
        world.annotate(name, value);
    }
}

fn edit(world: &mut World, edit: Edit) {
    match edit {
        Edit::Scheme => toggle(world, "aws-load-balancer-scheme", "internet-facing"),
        Edit::TargetType => toggle(world, "aws-load-balancer-nlb-target-type", "ip"),
        Edit::AddUdp => world.service.ports.push(port("dns", Protocol::Udp, 53, 30053)),
        Edit::MergeUdp => {
            let mut udp = port("http3", Protocol::Udp, 80, 30080);
            udp.target = TargetPort::Number(8080);
            world.service.ports.push(udp);
        }
        Edit::DropPort => _ = world.service.ports.pop(),
        Edit::NodePort => world
            .service
            .ports
            .iter_mut()
            .for_each(|port| port.node_port = port.node_port.map(|old| NodePort(old.0 + 1))),
        Edit::Attributes => {
            toggle(world, "aws-load-balancer-attributes", "load_balancing.cross_zone.enabled=true")
        }
        Edit::GroupAttributes => toggle(
            world,
            "aws-load-balancer-target-group-attributes",
            "deregistration_delay.timeout_seconds=30",
        ),
        Edit::Tls => {
            toggle(world, "aws-load-balancer-ssl-cert", "arn:one,arn:two");
            world.annotate("aws-load-balancer-ssl-ports", "443");
        }
        Edit::HealthCheck => toggle(world, "aws-load-balancer-healthcheck-protocol", "http"),
        Edit::Groups => toggle(world, "aws-load-balancer-security-groups", "mine"),
        Edit::SourceRanges => world.service.source_ranges = vec!["10.1.0.0/16".to_owned()],
        Edit::Tags => toggle(world, "aws-load-balancer-additional-resource-tags", "team=shop"),
        Edit::Dualstack => {
            toggle(world, "aws-load-balancer-ip-address-type", "dualstack");
            world.annotate("aws-load-balancer-enable-prefix-for-ipv6-source-nat", "on");
            world.service.families = match world.service.families.len() {
                1 => vec![Family::V4, Family::V6],
                _ => vec![Family::V4],
            };
        }
        Edit::NodeJoins => world.nodes.extend([node("n3", "i-03")]),
        Edit::NodeLeaves => _ = world.nodes.pop_first(),
        Edit::CreateBeforeDelete => {
            _ = world.service.annotations.insert(REPLACE.to_owned(), "create-before-delete".to_owned())
        }
        Edit::Recreated => world.service.uid = format!("{}x", world.service.uid).into(),
        Edit::ProxyProtocol => toggle(world, "aws-load-balancer-proxy-protocol", "*"),
        Edit::ListenerAttributes => {
            toggle(world, "aws-load-balancer-listener-attributes.TCP-80", "tcp.idle_timeout.seconds=60")
        }
        Edit::Weights => {
            let backend = backend(&world.service);
            world.backends.insert(backend.service.key.clone(), backend);
            toggle(world, "actions.TCP-80", &action(90, &canary(10)));
        }
        Edit::Shared => toggle(world, SHARED, "true"),
    }
}

/// Applies an edit unless the Service would be refused with it: a refused one is left as it is.
fn try_edit(world: &mut World, change: Edit) {
    let (service, nodes) = (world.service.clone(), world.nodes.clone());
    edit(world, change);
    if world.service.ports.is_empty() || world.stack().is_err() {
        (world.service, world.nodes) = (service, nodes);
    }
}

/// A world in which another cluster has a Service of the same name.
fn shared_world() -> World {
    let mut world = World::new();
    let theirs: Map = map(&[
        (tags::CLUSTER, "other"),
        (tags::STACK, "shop/web"),
        (tags::RESOURCE, "ManagedLBSecurityGroup"),
    ]);
    let mut group = security_group("sg-theirs", &[]);
    group.tags = theirs.clone();
    world.aws.security_groups.insert(group.id.clone(), group);
    let mut other = World::new();
    other.settings.cluster = "other".to_owned();
    other.service.uid = "theirs".into();
    let stack = other.stack().unwrap();
    for wanted in stack.target_groups.values() {
        let op = landfall_aws_plan::Op::CreateTargetGroup(Box::new(wanted.create.clone()));
        world.aws.apply(&op).unwrap();
    }
    world.aws.calls.clear();
    world.restart();
    world
}

fn foreign(world: &World) -> String {
    let groups = world
        .aws
        .target_groups
        .values()
        .filter(|group| group.tags.get(tags::CLUSTER).is_some_and(|name| name == "other"));
    let theirs = world.aws.security_groups.get(&"sg-theirs".into());
    let mine = world.aws.security_groups.get(&"sg-mine".into());
    format!("{:?} {theirs:?} {mine:?}", groups.collect::<Vec<_>>())
}

/// All that is there is what the Service asks for.
fn assert_in_place(world: &mut World) {
    let stack = world.stack().unwrap();
    assert_eq!(world.aws.load_balancers.len(), 1);
    let lb = world.aws.load_balancers.values().next().unwrap();
    assert_eq!(lb.scheme, stack.load_balancer.scheme);
    let listeners = lb.listeners.as_ref().unwrap();
    assert!(listeners.keys().eq(stack.listeners.keys()));
    for (port, listener) in listeners {
        assert_eq!(listener.protocol, stack.listeners[port].protocol);
    }
    let ours = world.aws.target_groups.values().filter(|group| group.tags[tags::CLUSTER] == "harbor");
    let ours: Vec<_> = ours.collect();
    assert_eq!(ours.len(), stack.target_groups.len());
    for group in ours {
        let wanted = &stack.target_groups[&group.tags[tags::RESOURCE]].create;
        assert_eq!(
            (group.protocol, group.target_type, group.family, &group.health_check, &group.tags),
            (wanted.protocol, wanted.target_type, wanted.family, &wanted.health_check, &wanted.tags)
        );
    }
    assert_eq!(lb.tags.get(tags::FINGERPRINT), Some(&stack.fingerprint()));
}

fn edits() -> impl Strategy<Value = Edit> {
    prop::sample::select(&EDITS)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_edits_converge_and_nothing_is_left_to_do(changes in prop::collection::vec(edits(), 1..8)) {
        let mut world = shared_world();
        let theirs = foreign(&world);
        let before = world.picture();
        for change in changes {
            try_edit(&mut world, change);
            world.converge();
            assert_in_place(&mut world);
            world.restart();
            world.aws.calls.clear();
            world.converge();
            prop_assert_eq!(&world.aws.calls, &[]);
        }
        prop_assert_eq!(foreign(&world), theirs);
        world.service.deleting = true;
        world.converge();
        prop_assert_eq!(world.picture(), before);
    }

    #[test]
    fn a_crash_after_any_call_is_repaired(first in edits(), second in edits(), calls in 0..40_usize) {
        let mut whole = shared_world();
        try_edit(&mut whole, first);
        whole.converge();
        try_edit(&mut whole, second);
        whole.converge();

        let mut world = shared_world();
        try_edit(&mut world, first);
        world.converge();
        try_edit(&mut world, second);
        if !world.run(calls) {
            world.restart();
        }
        world.converge();
        assert_in_place(&mut world);
        prop_assert_eq!(world.picture(), whole.picture());
    }

    #[test]
    fn crashes_and_edits_in_any_order_end_in_place(steps in prop::collection::vec((edits(), 0..25_usize), 1..10)) {
        let mut world = shared_world();
        let theirs = foreign(&world);
        let before = world.picture();
        for (change, calls) in steps {
            try_edit(&mut world, change);
            if !world.run(calls) {
                world.restart();
            }
        }
        world.converge();
        assert_in_place(&mut world);
        prop_assert_eq!(foreign(&world), theirs);
        world.service.deleting = true;
        if !world.run(3) {
            world.restart();
        }
        world.converge();
        prop_assert_eq!(world.picture(), before);
    }
}
