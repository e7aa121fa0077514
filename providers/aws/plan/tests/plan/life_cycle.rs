//! From the first call to the last.

use landfall_aws_plan::{LoadBalancer, LoadBalancerState, Need, Op, REPLACE, TargetState, Waiting, tags};
use landfall_model::{Family, Protocol};

use crate::world::{World, map, node, port};

#[test]
fn a_new_service_with_two_ports_takes_at_most_twenty_calls() {
    let mut world = World::new();
    world.converge();
    let calls = world.aws.calls.len();
    assert!(calls <= 20, "{calls} calls: {:#?}", world.aws.calls);
    let lb = world.aws.load_balancers.values().next().unwrap();
    assert_eq!(lb.listeners.as_ref().unwrap().keys().copied().collect::<Vec<_>>(), [80, 443]);
    assert_eq!(lb.security_groups.len(), 2);
    for group in world.aws.target_groups.values() {
        assert_eq!(group.targets.as_ref().unwrap().len(), 2);
    }
}

#[test]
fn in_steady_state_nothing_is_asked_after_a_restart_but_targets() {
    let mut world = World::new();
    world.annotate("aws-load-balancer-attributes", "deletion_protection.enabled=false");
    world.converge();
    world.restart();
    let plan = world.plan();
    assert_eq!(plan.ready, []);
    assert!(
        plan.waiting.iter().all(|waiting| matches!(waiting, Waiting::Need(Need::Targets(_)))),
        "{:?}",
        plan.waiting
    );
    assert_eq!(plan.waiting.len(), 2);
}

#[test]
fn nothing_is_planned_before_the_first_listing() {
    let mut world = World::new();
    let stack = world.stack().unwrap();
    world.inventory = landfall_aws_plan::Inventory::default();
    let plan = landfall_aws_plan::plan(&stack, &[].into(), &world.settings, &world.inventory, world.now);
    assert_eq!((plan.ready, plan.waiting), (vec![], vec![Waiting::Inventory]));
}

#[test]
fn a_load_balancer_that_is_set_up_is_looked_at_again() {
    let mut world = World::new();
    loop {
        let plan = world.plan();
        if plan.ready.is_empty() {
            assert!(
                plan.waiting.iter().any(|waiting| waiting.reason() == "Provisioning"),
                "{:?}",
                plan.waiting
            );
            assert!(plan.recheck.is_some());
            break;
        }
        for op in plan.ready {
            let outcome = world.aws.apply(&op).unwrap();
            world.inventory.record(&op, &outcome);
        }
    }
    world.converge();
    assert_eq!(world.plan().recheck, None);
}

#[test]
fn deletion_leaves_nothing_of_ours() {
    let mut world = World::new();
    let before = world.picture();
    world.converge();
    world.service.deleting = true;
    world.converge();
    assert_eq!(world.picture(), before);
}

#[test]
fn protection_that_the_service_asks_for_refuses_deletion_and_other_protection_is_lifted() {
    let mut world = World::new();
    world.converge();
    let lb = world.aws.load_balancers.values_mut().next().unwrap();
    lb.attributes = Some(map(&[("deletion_protection.enabled", "true")]));
    world.restart();
    world.annotate("aws-load-balancer-attributes", "deletion_protection.enabled=true");
    let request = world.request().unwrap();
    let own = landfall_aws_plan::Own::default();
    let refusal = landfall_aws_plan::release(
        &world.service.key,
        Some(&request),
        &own,
        &world.settings,
        &world.inventory,
    );
    assert!(refusal.unwrap_err().to_string().contains("deletion_protection is enabled, cannot delete"));
    world.service.annotations.clear();
    world.service.deleting = true;
    world.converge();
    assert!(world.aws.load_balancers.is_empty());
}

#[test]
fn another_scheme_replaces_the_load_balancer() {
    for create_first in [false, true] {
        let mut world = World::new();
        if create_first {
            let replace = REPLACE.to_owned();
            world.service.annotations.insert(replace, "create-before-delete".to_owned());
        }
        world.converge();
        let old = world.aws.load_balancers.keys().next().unwrap().clone();
        world.aws.calls.clear();
        world.annotate("aws-load-balancer-scheme", "internet-facing").converge();
        let position = |wanted: fn(&Op) -> bool| world.aws.calls.iter().position(wanted).unwrap();
        let delete = position(|op| matches!(op, Op::DeleteLoadBalancer { .. }));
        let create = position(|op| matches!(op, Op::CreateLoadBalancer(_)));
        assert_eq!(create < delete, create_first);
        assert!(!world.aws.load_balancers.contains_key(&old));
        assert_eq!(world.aws.load_balancers.len(), 1);
        assert_eq!(world.aws.target_groups.len(), 2);
    }
}

/// The old load balancer keeps its group until the new one serves, and the new one's group cannot be changed as wanted.
#[test]
fn a_successor_that_changes_before_it_serves_gets_another_group() {
    let mut world = World::new();
    world.service.ports.truncate(1);
    world.service.annotations.insert(REPLACE.to_owned(), "create-before-delete".to_owned());
    world.converge();
    world.annotate("aws-load-balancer-scheme", "internet-facing");
    while world.aws.load_balancers.values().any(|lb| lb.listeners.as_ref().unwrap().is_empty())
        || world.aws.load_balancers.len() < 2
    {
        assert!(!world.run(1));
    }
    world.annotate("aws-load-balancer-ip-address-type", "dualstack");
    world.service.families = vec![Family::V6];
    world.converge();
    assert_eq!((world.aws.load_balancers.len(), world.aws.target_groups.len()), (1, 1));
}

#[test]
fn what_was_changed_by_hand_is_put_back_once_it_is_seen() {
    let mut world = World::new();
    world.annotate("aws-load-balancer-attributes", "load_balancing.cross_zone.enabled=true").converge();
    let wanted = world.picture();
    let lb = world.aws.load_balancers.values_mut().next().unwrap();
    lb.attributes = Some(map(&[]));
    lb.listeners.as_mut().unwrap().remove(&80);
    lb.subnets.pop();
    lb.tags.insert("by".to_owned(), "hand".to_owned());
    lb.tags.remove(tags::RESOURCE);
    for group in world.aws.target_groups.values_mut() {
        group.targets.as_mut().unwrap().pop_first();
        group.health_check.interval = 30;
    }
    for group in world.aws.security_groups.values_mut() {
        group.ingress.clear();
    }
    let arns: Vec<_> = world.aws.load_balancers.keys().cloned().collect();
    world.list();
    for arn in arns {
        world.aws.answer(&Need::LoadBalancer(arn), &mut world.inventory);
    }
    for arn in world.aws.target_groups.keys().cloned().collect::<Vec<_>>() {
        world.aws.answer(&Need::Targets(arn), &mut world.inventory);
    }
    // Subnets are pinned to those that a live load balancer has.
    world.annotate("aws-load-balancer-subnets", "subnet-a,subnet-b").converge();
    let fingerprint = |text: &str| {
        text.lines().filter(|line| !line.contains(tags::FINGERPRINT)).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(fingerprint(&world.picture()), fingerprint(&wanted));
}

#[test]
fn what_is_not_told_of_a_health_check_is_as_wanted() {
    let mut world = World::new();
    world.annotate("aws-load-balancer-healthcheck-protocol", "http").converge();
    for group in world.aws.target_groups.values_mut() {
        let check = &mut group.health_check;
        assert!(check.timeout.take().is_some() && check.matcher.take().is_some());
    }
    world.list();
    world.aws.calls.clear();
    world.converge();
    assert_eq!(world.aws.calls, []);
}

#[test]
fn a_change_is_marked_before_its_first_call() {
    let mut world = World::new();
    world.converge();
    world.aws.calls.clear();
    world.service.ports.push(port("dns", Protocol::Udp, 53, 30053));
    world.converge();
    let tags = |op: &Op| {
        let Op::AddTags { tags, .. } = op else { return None };
        tags.get(tags::FINGERPRINT).cloned()
    };
    let marks: Vec<(usize, String)> =
        world.aws.calls.iter().enumerate().filter_map(|(at, op)| Some((at, tags(op)?))).collect();
    let first_change = world.aws.calls.iter().position(|op| matches!(op, Op::CreateTargetGroup(_))).unwrap();
    assert!(marks[0].0 < first_change && marks[0].1 == tags::CHANGING, "{marks:?}");
    assert_eq!(marks.len(), 2, "{marks:?}");
    assert_eq!(marks[1].1, world.stack().unwrap().fingerprint());
}

#[test]
fn a_name_that_is_taken_is_waited_for_and_its_owner_left_alone() {
    let mut world = World::new();
    world.converge();
    for lb in world.aws.load_balancers.values_mut() {
        lb.tags = map(&[("owner", "somebody")]);
        lb.listeners.as_mut().unwrap().clear();
    }
    world.restart();
    world.aws.calls.clear();
    let plan = world.plan();
    assert!(plan.waiting.iter().any(|waiting| waiting.reason() == "NameTaken"), "{:?}", plan.waiting);
    let foreign = world.aws.load_balancers.values().next().unwrap().arn.as_str().to_owned();
    assert!(!format!("{:?}", plan.ready).contains(&foreign));
}

/// A world with a load balancer of somebody else, named `shared`.
fn world_with_shared() -> (World, LoadBalancer) {
    let mut world = World::new();
    world.converge();
    let mut foreign = world.aws.load_balancers.values().next().unwrap().clone();
    world.service.deleting = true;
    world.converge();
    world.service.deleting = false;
    foreign.tags = map(&[("owner", "platform")]);
    foreign.name = "shared".to_owned();
    foreign.arn = "arn:aws:elasticloadbalancing:eu-west-1:1:loadbalancer/net/shared/1".into();
    foreign.listeners = Some([].into());
    foreign.security_groups = [].into();
    foreign.state = LoadBalancerState::Active;
    world.aws.load_balancers.insert(foreign.arn.clone(), foreign.clone());
    world.restart();
    world.service.annotations.insert(landfall_aws_plan::ADOPT.to_owned(), "shared".to_owned());
    (world, foreign)
}

#[test]
fn an_adopted_load_balancer_gets_our_listeners_and_keeps_everything_else() {
    let (mut world, foreign) = world_with_shared();
    world.converge();
    assert_eq!(world.aws.load_balancers[&foreign.arn].listeners.as_ref().unwrap().len(), 2);
    world.restart();
    world.aws.calls.clear();
    world.converge();
    assert_eq!(world.aws.calls, []);
    world.service.deleting = true;
    world.converge();
    assert_eq!(world.aws.load_balancers[&foreign.arn], foreign);
    assert!(world.aws.target_groups.is_empty());
}

#[test]
fn a_load_balancer_that_is_no_longer_adopted_loses_our_listeners_when_ours_serves() {
    let (mut world, foreign) = world_with_shared();
    world.converge();
    world.aws.calls.clear();
    world.service.annotations.clear();
    world.restart();
    world.converge();
    assert_eq!(world.aws.load_balancers[&foreign.arn], foreign);
    assert_eq!((world.aws.load_balancers.len(), world.aws.target_groups.len()), (2, 2));
    let position = |wanted: fn(&Op) -> bool| world.aws.calls.iter().position(wanted).unwrap();
    let created = position(|op| matches!(op, Op::CreateListener { .. }));
    assert!(created < position(|op| matches!(op, Op::DeleteListener { .. })));
}

#[test]
fn a_port_that_an_adopted_load_balancer_uses_is_left_to_its_owner() {
    let (mut world, foreign) = world_with_shared();
    world.converge();
    let lb = world.aws.load_balancers.get_mut(&foreign.arn).unwrap();
    let listener = lb.listeners.as_mut().unwrap().get_mut(&80).unwrap();
    (listener.tags, listener.forward) = (map(&[]), None);
    world.restart();
    world.aws.answer(&Need::LoadBalancer(foreign.arn.clone()), &mut world.inventory);
    let plan = world.plan();
    assert!(plan.waiting.contains(&Waiting::PortTaken(foreign.arn, 80)), "{:?}", plan.waiting);
    assert!(!plan.ready.iter().any(|op| matches!(op, Op::ModifyListener { .. } | Op::DeleteListener { .. })));
}

#[test]
fn a_load_balancer_of_another_controller_is_not_adopted() {
    let mut world = World::new();
    world.converge();
    for lb in world.aws.load_balancers.values_mut() {
        lb.tags = map(&[(tags::CLUSTER, "other"), (tags::STACK, "a/b")]);
        lb.name = "theirs".to_owned();
    }
    world.restart();
    world.service.annotations.insert(landfall_aws_plan::ADOPT.to_owned(), "theirs".to_owned());
    assert!(world.problem().contains("another controller owns it"), "{}", world.problem());
}

#[test]
fn a_node_that_joins_costs_one_call_for_each_target_group() {
    let mut world = World::new();
    world.converge();
    world.aws.calls.clear();
    world.nodes.extend([node("n3", "i-03")]);
    world.converge();
    assert_eq!(world.aws.calls.len(), 2, "{:#?}", world.aws.calls);
    let healthy = |state: &TargetState| *state == TargetState::Healthy || *state == TargetState::Initial;
    assert!(
        world.aws.target_groups.values().all(|group| group
            .targets
            .as_ref()
            .unwrap()
            .values()
            .filter(|state| healthy(state))
            .count()
            == 3)
    );
}

#[test]
fn a_recreated_service_takes_over_what_its_namesake_left() {
    let mut world = World::new();
    world.converge();
    let arns: Vec<_> = world.aws.load_balancers.keys().cloned().collect();
    world.service.uid = "another".into();
    world.restart();
    world.converge();
    assert_eq!(world.aws.load_balancers.keys().cloned().collect::<Vec<_>>(), arns);
    assert!(world.aws.load_balancers.values().all(|lb| lb.tags[tags::UID] == "another"));
}

#[test]
fn names_are_those_of_the_other_controller() {
    let mut world = World::new();
    world.settings.cluster = "my-cluster".to_owned();
    world.service.key = landfall_model::ServiceKey::new("default", "nlb-ip-svc-tls");
    world.service.uid = "bdca2bd0-bfc6-449a-88a3-03451f05f18c".into();
    world.service.ports = vec![port("", Protocol::Tcp, 80, 31223)];
    world.service.ports[0].target = landfall_aws_plan::TargetPort::Number(80);
    world.annotate("aws-load-balancer-nlb-target-type", "ip");
    let stack = world.stack().unwrap();
    assert_eq!(stack.load_balancer.name, "k8s-default-nlbipsvc-6b0ba8ff70");
    assert_eq!(
        stack.target_groups["default/nlb-ip-svc-tls:80"].create.name,
        "k8s-default-nlbipsvc-d4818dcd51"
    );
    world.annotate("aws-load-balancer-scheme", "internet-facing");
    assert_eq!(world.stack().unwrap().load_balancer.name, "k8s-default-nlbipsvc-4d831c6ca6");
}

#[test]
fn what_changed_while_a_listing_was_under_way_is_newer_than_the_listing() {
    let mut world = World::new();
    let (start, early) = (world.inventory.begin_listing(), world.aws.listing());
    world.converge();
    world.inventory.replace_listing(start, early);
    world.aws.assert_known(&world.inventory);
    let (start, full) = (world.inventory.begin_listing(), world.aws.listing());
    world.service.deleting = true;
    world.converge();
    world.inventory.replace_listing(start, full);
    world.aws.assert_known(&world.inventory);
    let start = world.inventory.begin_listing();
    world.inventory.replace_listing(start, world.aws.listing());
    world.aws.assert_known(&world.inventory);
}

#[test]
fn a_group_has_its_targets_before_a_live_listener_moves_to_it() {
    let mut world = World::new();
    world.converge();
    let position = |world: &World, wanted: fn(&Op) -> bool| world.aws.calls.iter().position(wanted).unwrap();
    let register = |op: &Op| matches!(op, Op::RegisterTargets { .. });
    let create = position(&world, |op| matches!(op, Op::CreateLoadBalancer(_)));
    assert!(create < position(&world, register), "AWS takes minutes for it: it is made first");
    world.aws.calls.clear();
    world
        .annotate("aws-load-balancer-ssl-cert", "arn:one")
        .annotate("aws-load-balancer-backend-protocol", "ssl");
    world.converge();
    let last_move = world.aws.calls.iter().rposition(|op| matches!(op, Op::ModifyListener { .. })).unwrap();
    let moves = world.aws.calls[..=last_move].iter();
    let moves = moves.filter(|op| matches!(op, Op::RegisterTargets { .. } | Op::ModifyListener { .. }));
    let order: Vec<&str> = moves.map(|op| op.kind().as_str()).collect();
    assert_eq!(order, ["RegisterTargets", "RegisterTargets", "ModifyListener", "ModifyListener"]);
}
