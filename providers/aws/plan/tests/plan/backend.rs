//! Rules on the groups of nodes and pods.

use std::collections::BTreeSet;

use landfall_aws_plan::{
    Op, SecurityGroupId, ServicePort, Source, TargetPort, Waiting,
    backend::{self, DESCRIPTION, interface_group},
};
use landfall_model::Protocol;

use crate::world::{World, port, security_group};

/// Our rules on the nodes' group.
fn rules(world: &World) -> Vec<String> {
    let group = &world.aws.security_groups[&"sg-nodes".into()];
    let text = |source: &Source| match source {
        Source::Block(block) => block.to_string(),
        Source::PrefixList(list) => list.clone(),
        Source::Group(id) => {
            world.aws.security_groups[id].name.split('-').nth(1).unwrap_or_default().to_owned()
        }
    };
    let ours = group.ingress.iter().filter(|rule| rule.description == DESCRIPTION);
    ours.map(|rule| format!("{} {}-{} {}", rule.protocol, rule.from, rule.to, text(&rule.source))).collect()
}

#[test]
fn one_range_for_each_protocol() {
    let mut world = World::new();
    assert_eq!(rules(world.converge()), ["tcp 30080-30443 traffic"]);
    world.service.ports.push(port("dns", Protocol::Udp, 53, 30053));
    assert_eq!(
        rules(world.converge()),
        ["tcp 30053-30443 traffic", "udp 30053-30053 traffic"],
        "UDP has TCP checks"
    );
    world.annotate("aws-load-balancer-healthcheck-port", "32000");
    assert_eq!(rules(world.converge()), ["tcp 30080-32000 traffic", "udp 30053-30053 traffic"]);
    world.settings.unrestricted_backend_rules = true;
    assert_eq!(rules(world.converge()), ["tcp 0-65535 traffic", "udp 0-65535 traffic"]);
}

#[test]
fn without_a_backend_group_rules_name_the_front_end_group() {
    let mut world = World::new();
    world.settings.backend_security_group = false;
    assert_eq!(rules(world.converge()), ["tcp 30080-30443 shop"]);
}

#[test]
fn with_given_groups_rules_are_managed_only_where_asked_for() {
    let mut world = World::new();
    world.annotate("aws-load-balancer-security-groups", "mine");
    assert_eq!(rules(world.converge()), [""; 0]);
    world.annotate("aws-load-balancer-manage-backend-security-group-rules", "true");
    assert_eq!(rules(world.converge()), ["tcp 30080-30443 traffic"]);
}

#[test]
fn a_load_balancer_without_groups_is_let_in_by_blocks() {
    let legacy = ("aws-load-balancer-disable-nlb-sg", "true");
    let mut world = World::new();
    world
        .annotate(legacy.0, legacy.1)
        .annotate("aws-load-balancer-target-group-attributes", "preserve_client_ip.enabled=false");
    assert_eq!(rules(world.converge()), ["tcp 30080-30443 10.0.97.0/24", "tcp 30080-30443 10.0.98.0/24"]);
    world.annotate("aws-load-balancer-target-group-attributes", "preserve_client_ip.enabled=true");
    assert_eq!(
        rules(world.converge()),
        ["tcp 30080-30443 10.0.0.0/16"],
        "internal: the VPC, which holds the subnets"
    );
    world.service.source_ranges = vec!["172.16.0.0/12".to_owned()];
    assert_eq!(rules(world.converge()).len(), 3, "source ranges, and the subnets for checks");
    world.service.source_ranges.clear();
    world.annotate("aws-load-balancer-scheme", "internet-facing");
    assert_eq!(rules(world.converge()), ["tcp 30080-30443 0.0.0.0/0"]);
}

#[test]
fn datagrams_come_from_clients_whatever_is_asked_for() {
    let udp = || vec![port("dns", Protocol::Udp, 53, 30053)];
    let both = || vec![port("tcp", Protocol::Tcp, 53, 30053), port("udp", Protocol::Udp, 53, 30053)];
    let quic = ("aws-load-balancer-quic-enabled-ports", "53");
    let rows = [(udp(), None), (both(), None), (udp(), Some(quic)), (both(), Some(quic))];
    for (row, (ports, annotation)) in rows.iter().enumerate() {
        let mut world = World::new();
        world.service.ports.clone_from(ports);
        annotation.iter().for_each(|(name, value)| _ = world.annotate(name, value));
        world
            .annotate("aws-load-balancer-disable-nlb-sg", "true")
            .annotate("aws-load-balancer-nlb-target-type", "ip")
            .annotate("aws-load-balancer-scheme", "internet-facing");
        let blocks = world.stack().unwrap().backend.blocks;
        assert!(blocks.contains(&"0.0.0.0/0".parse().unwrap()), "row {row}: {blocks:?}");
        world.annotate("aws-load-balancer-nlb-target-type", "instance").converge();
        assert_eq!(
            rules(&world),
            ["tcp 30053-30053 0.0.0.0/0", "udp 30053-30053 0.0.0.0/0"],
            "row {row}: checks come by TCP"
        );
    }
}

#[test]
fn a_load_balancer_without_groups_may_leave_the_rules_to_the_user() {
    let mut world = World::new();
    world
        .annotate("aws-load-balancer-disable-nlb-sg", "true")
        .annotate("aws-load-balancer-manage-backend-security-group-rules", "false");
    assert_eq!(rules(world.converge()), [""; 0]);
    world.annotate("aws-load-balancer-manage-backend-security-group-rules", "true");
    assert_eq!(rules(world.converge()), ["tcp 30080-30443 10.0.0.0/16"]);
}

#[test]
fn rules_of_others_stay_and_ours_that_nobody_needs_go() {
    let mut world = World::new();
    world.converge();
    let group = world.aws.security_groups.get_mut(&"sg-nodes".into()).unwrap();
    let mut theirs = group.ingress.first().unwrap().clone();
    theirs.description = "by hand".to_owned();
    let mut stale = theirs.clone();
    (stale.from, stale.description) = (1, DESCRIPTION.to_owned());
    group.ingress.extend([theirs.clone(), stale]);
    world.list();
    world.converge();
    assert_eq!(rules(&world), ["tcp 30080-30443 traffic"]);
    assert!(world.aws.security_groups[&"sg-nodes".into()].ingress.contains(&theirs));
}

#[test]
fn nothing_is_closed_before_every_service_was_looked_at() {
    let mut world = World::new();
    world.converge();
    world.restart();
    let plan = backend::plan(&world.openings, &world.settings, &world.inventory, false);
    assert!(plan.is_done(), "{plan:?}");
    let plan = backend::plan(&world.openings, &world.settings, &world.inventory, true);
    assert!(plan.ready.iter().any(|op| matches!(op, Op::RevokeIngress { .. })));
}

#[test]
fn the_shared_group_stays_while_a_load_balancer_carries_it() {
    let mut world = World::new();
    world.converge();
    world.openings.remove(&world.service.key);
    let plan = backend::plan(&world.openings, &world.settings, &world.inventory, true);
    assert!(matches!(plan.waiting[..], [Waiting::GroupInUse(_)]), "{plan:?}");
    assert!(!plan.ready.iter().any(|op| matches!(op, Op::DeleteSecurityGroup { .. })));
}

#[test]
fn the_group_of_an_interface_is_the_only_one_or_the_tagged_one_or_a_guess() {
    let mut world = World::new();
    for (id, tags) in
        [("sg-a", &[][..]), ("sg-b", &[("kubernetes.io/cluster/harbor", "owned"), ("role", "node")])]
    {
        world.inventory.put_security_group(security_group(id, tags));
    }
    let choose = |world: &World, of: &[&str]| {
        let of: Vec<SecurityGroupId> = of.iter().map(|id| (*id).into()).collect();
        interface_group(&of, &world.settings, &world.inventory).map(|(id, guess)| (id.to_string(), guess))
    };
    assert_eq!(choose(&world, &[]), None);
    assert_eq!(choose(&world, &["sg-a"]), Some(("sg-a".to_owned(), false)));
    assert_eq!(choose(&world, &["sg-a", "sg-b"]), Some(("sg-b".to_owned(), false)));
    assert_eq!(choose(&world, &["sg-b", "sg-nodes"]), Some(("sg-b".to_owned(), true)));
    assert_eq!(choose(&world, &["sg-a", "sg-mine"]), Some(("sg-a".to_owned(), true)));
    world.settings.target_interface_tags = crate::world::map(&[("role", "node")]);
    assert_eq!(choose(&world, &["sg-b", "sg-nodes"]), Some(("sg-b".to_owned(), false)));
}

#[test]
fn two_services_share_one_range_and_each_may_go() {
    let mut world = World::new();
    world.converge();
    let mut stack = world.stack().unwrap();
    let targets = world.targets(&stack);
    stack.key = landfall_model::ServiceKey::new("shop", "api");
    let on = BTreeSet::from(["sg-nodes".into()]);
    world.openings.set(&stack, &targets, &on, None);
    assert!(backend::plan(&world.openings, &world.settings, &world.inventory, true).is_done());
    world.openings.remove(&world.service.key);
    assert!(backend::plan(&world.openings, &world.settings, &world.inventory, true).is_done());
}

#[test]
fn each_protocol_opens_what_traffic_and_checks_need() {
    let udp = |name: &str, number| port(name, Protocol::Udp, number, 30000 + number);
    let tcp = |name: &str, number| port(name, Protocol::Tcp, number, 30000 + number);
    let cert = ("aws-load-balancer-ssl-cert", "one");
    let quic = ("aws-load-balancer-quic-enabled-ports", "u");
    // Ports, annotations, rules.
    type Row<'a> = (Vec<ServicePort>, &'a [(&'a str, &'a str)], &'a [&'a str]);
    let both: &[&str] = &["tcp 30053-30053 traffic", "udp 30053-30053 traffic"];
    let rows: &[Row<'_>] = &[
        (vec![tcp("t", 53)], &[], &both[..1]),
        (vec![tcp("t", 53)], &[cert], &both[..1]),
        (vec![udp("u", 53)], &[], both),
        (vec![udp("u", 53)], &[quic], both),
        (vec![tcp("t", 53), udp("u", 53)], &[], both),
        (vec![tcp("t", 53), udp("u", 53)], &[quic], both),
        (
            vec![udp("u", 53)],
            &[("aws-load-balancer-healthcheck-port", "32000")],
            &["tcp 32000-32000 traffic", "udp 30053-30053 traffic"],
        ),
        (
            vec![tcp("t", 53)],
            &[("aws-load-balancer-healthcheck-port", "32000")],
            &["tcp 30053-32000 traffic"],
        ),
    ];
    for (ports, annotations, expected) in rows {
        let mut world = World::new();
        world.service.ports.clone_from(ports);
        annotations.iter().for_each(|(name, value)| _ = world.annotate(name, value));
        let names: Vec<&str> = ports.iter().map(|port| &*port.name).collect();
        assert_eq!(rules(world.converge()), *expected, "{names:?} {annotations:?}");
    }
}

#[test]
fn a_named_target_port_opens_the_port_of_each_pod() {
    let mut world = World::new();
    world.service.ports = vec![port("http", Protocol::Tcp, 80, 30080)];
    world.service.ports[0].target = TargetPort::Name("web".into());
    world.annotate("aws-load-balancer-nlb-target-type", "ip");
    world.endpoints = vec![
        crate::targets::pod("a", "10.0.0.1"),
        landfall_aws_plan::PodEndpoint { port: 9090, ..crate::targets::pod("b", "10.0.0.2") },
    ];
    assert_eq!(rules(world.converge()), ["tcp 8080-9090 traffic"]);
}
