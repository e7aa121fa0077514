//! Target groups in which other clusters register targets too: theirs stay, whatever happens to ours.

use landfall_aws_plan::{
    Inventory, Ledger, Need, Op, REGISTERED, Target, TargetGroupArn, TargetId, TargetState, Waiting, tags,
};
use landfall_model::Protocol;

use crate::{
    targets::pod,
    world::{World, node, port},
};

pub(crate) const SHARED: &str = "aws-load-balancer-multi-cluster-target-group";

fn instance(id: &str, port: u16) -> Target {
    Target { id: TargetId::Instance(id.into()), port, zone_all: false }
}

fn address(text: &str) -> Target {
    Target { id: TargetId::Ip(text.parse().unwrap()), port: 8080, zone_all: false }
}

/// One port, shared groups, everything in place.
fn shared_world() -> World {
    let mut world = World::new();
    world.service.ports = vec![port("http", Protocol::Tcp, 80, 30080)];
    world.annotate(SHARED, "true").converge();
    world
}

fn arn(world: &World) -> TargetGroupArn {
    world.aws.target_groups.keys().next().unwrap().clone()
}

/// Another cluster's controller registers a target, and that is seen.
fn join(world: &mut World, target: Target) {
    let arn = arn(world);
    let group = world.aws.target_groups.get_mut(&arn).unwrap();
    group.targets.as_mut().unwrap().insert(target, TargetState::Healthy);
    see(world);
}

fn see(world: &mut World) {
    for arn in world.aws.target_groups.keys().cloned().collect::<Vec<_>>() {
        world.aws.answer(&Need::Targets(arn), &mut world.inventory);
    }
}

/// Targets that do not leave, of all groups.
fn there(world: &World) -> Vec<Target> {
    let all = world.aws.target_groups.values().flat_map(|group| group.targets.as_ref().unwrap());
    all.filter(|(_, state)| **state != TargetState::Draining).map(|(target, _)| target.clone()).collect()
}

fn remembered(world: &World) -> &str {
    world.service.annotations.get(REGISTERED).map_or("", String::as_str)
}

#[test]
fn a_target_is_remembered_before_it_is_registered_and_registered_before_another_goes() {
    let mut world = shared_world();
    world.aws.settle();
    see(&mut world);
    world.nodes = [node("n2", "i-02"), node("n3", "i-03")].into();
    let plan = world.plan();
    assert_eq!((plan.ready, plan.waiting), (vec![], vec![Waiting::Ledger]));
    world.remember();
    assert_eq!(remembered(&world), "i-01:30080,i-02:30080,i-03:30080");
    let kinds: Vec<&str> = world.plan().ready.iter().map(|op| op.kind().as_str()).collect();
    assert_eq!(kinds, ["RegisterTargets", "DeregisterTargets"]);
    world.converge();
    assert_eq!(there(&world), [instance("i-02", 30080), instance("i-03", 30080)]);
    assert_eq!(remembered(&world), "i-02:30080,i-03:30080");
}

#[test]
fn targets_of_another_cluster_stay_and_ours_go() {
    let mut world = shared_world();
    let theirs = instance("i-99", 30080);
    join(&mut world, theirs.clone());
    assert_eq!(world.plan().ready, []);
    // The node is gone for good, so only the Service tells whose the target was.
    world.nodes.remove("n1");
    world.converge();
    assert_eq!(there(&world), [instance("i-02", 30080), theirs.clone()]);
    world.nodes.clear();
    world.converge();
    assert_eq!(there(&world), [theirs]);
    assert_eq!(remembered(&world), "");
}

#[test]
fn pods_of_another_cluster_stay_and_ours_go() {
    let mut world = World::new();
    world.service.ports = vec![port("http", Protocol::Tcp, 80, 30080)];
    world.annotate(SHARED, "true").annotate("aws-load-balancer-nlb-target-type", "ip");
    world.endpoints = vec![pod("a", "10.0.0.1"), pod("b", "10.0.0.2")];
    world.converge();
    join(&mut world, address("10.0.9.9"));
    world.endpoints = vec![pod("b", "10.0.0.2"), pod("c", "10.0.0.3")];
    world.converge();
    assert_eq!(there(&world), [address("10.0.0.2"), address("10.0.0.3"), address("10.0.9.9")]);
    assert_eq!(remembered(&world), "10.0.0.2:8080,10.0.0.3:8080");
}

#[test]
fn what_went_while_nobody_looked_is_deregistered() {
    let mut world = shared_world();
    join(&mut world, instance("i-99", 30080));
    world.nodes = [node("n3", "i-03")].into();
    world.restart();
    world.converge();
    assert_eq!(there(&world), [instance("i-03", 30080), instance("i-99", 30080)]);
}

#[test]
fn without_a_memory_only_what_is_certainly_ours_goes() {
    let mut world = shared_world();
    join(&mut world, instance("i-99", 30080));
    world.service.annotations.remove(REGISTERED);
    // A node that may not serve is still ours; one that is gone may have been anybody's.
    world
        .nodes
        .get_mut("n1")
        .unwrap()
        .labels
        .insert("node-role.kubernetes.io/master".to_owned(), String::new());
    world.nodes.remove("n2");
    world.nodes.extend([node("n3", "i-03")]);
    world.restart();
    world.converge();
    assert_eq!(there(&world), [instance("i-02", 30080), instance("i-03", 30080), instance("i-99", 30080)]);
}

#[test]
fn another_node_port_moves_ours_and_leaves_theirs() {
    let mut world = shared_world();
    join(&mut world, instance("i-99", 30080));
    world.service.ports = vec![port("http", Protocol::Tcp, 80, 30081)];
    world.converge();
    assert_eq!(there(&world), [instance("i-01", 30081), instance("i-02", 30081), instance("i-99", 30080)]);
}

#[test]
fn sharing_begins_and_ends_on_a_live_group() {
    let mut world = World::new();
    world.service.ports = vec![port("http", Protocol::Tcp, 80, 30080)];
    world.converge();
    world.aws.calls.clear();
    world.annotate(SHARED, "true").converge();
    assert!(world.aws.calls.iter().all(|op| matches!(op, Op::AddTags { .. })), "{:#?}", world.aws.calls);
    assert!(tags::is_shared(&world.aws.target_groups[&arn(&world)].tags));
    join(&mut world, instance("i-99", 30080));
    world.converge();
    assert_eq!(there(&world).len(), 3);
    world.annotate(SHARED, "false").converge();
    assert_eq!(there(&world), [instance("i-01", 30080), instance("i-02", 30080)]);
    assert!(!tags::is_shared(&world.aws.target_groups[&arn(&world)].tags));
    assert_eq!(remembered(&world), "");
}

#[test]
fn what_went_before_sharing_began_was_ours() {
    let mut world = World::new();
    world.service.ports = vec![port("http", Protocol::Tcp, 80, 30080)];
    world.converge();
    world.nodes = [node("n3", "i-03")].into();
    world.annotate(SHARED, "true").restart();
    world.converge();
    assert_eq!(there(&world), [instance("i-03", 30080)]);
    world.service.deleting = true;
    world.converge();
    assert!(world.aws.target_groups.is_empty());
}

#[test]
fn a_deleted_service_leaves_a_group_with_targets_of_others_for_its_successor() {
    let mut world = shared_world();
    let (arn, theirs) = (arn(&world), instance("i-99", 30080));
    join(&mut world, theirs.clone());
    world.service.deleting = true;
    world.converge();
    assert!(world.aws.load_balancers.is_empty());
    assert_eq!(there(&world), std::slice::from_ref(&theirs));
    world.service.deleting = false;
    world.service.uid = "another".into();
    world.service.annotations.remove(REGISTERED);
    world.restart();
    world.converge();
    assert_eq!(world.aws.target_groups.keys().collect::<Vec<_>>(), [&arn]);
    assert_eq!(there(&world), [instance("i-01", 30080), instance("i-02", 30080), theirs]);
}

#[test]
fn a_deleted_service_asks_what_is_in_its_groups_by_then() {
    for others_come in [false, true] {
        let mut world = shared_world();
        let (arn, theirs) = (arn(&world), instance("i-99", 30080));
        if !others_come {
            join(&mut world, theirs.clone());
        }
        world.service.deleting = true;
        for op in world.plan().ready.into_iter().take(2) {
            let outcome = world.aws.apply(&op).unwrap();
            world.inventory.record(&op, &outcome);
        }
        assert!(world.aws.load_balancers.is_empty(), "it goes first, after the rules on nodes");
        // Nobody has looked since.
        let targets = world.aws.target_groups.get_mut(&arn).unwrap().targets.as_mut().unwrap();
        if others_come {
            targets.insert(theirs.clone(), TargetState::Healthy);
        } else {
            targets.remove(&theirs);
        }
        let waiting = world.plan().waiting;
        assert!(waiting.contains(&Waiting::Need(Need::Targets(arn.clone()))), "{waiting:?}");
        world.converge();
        assert_eq!(world.aws.target_groups.contains_key(&arn), others_come);
    }
}

#[test]
fn a_group_that_is_replaced_stays_until_the_others_have_left_it() {
    let mut world = shared_world();
    let (old, theirs) = (arn(&world), instance("i-99", 30080));
    join(&mut world, theirs.clone());
    world.annotate("aws-load-balancer-nlb-target-type", "ip");
    world.endpoints = vec![pod("a", "10.0.0.1")];
    world.converge();
    assert_eq!(world.aws.target_groups.len(), 2);
    assert_eq!(
        there(&world).iter().filter(|target| **target != address("10.0.0.1")).collect::<Vec<_>>(),
        [&theirs]
    );
    world.aws.target_groups.get_mut(&old).unwrap().targets.as_mut().unwrap().clear();
    see(&mut world);
    world.converge();
    assert_eq!(world.aws.target_groups.len(), 1);
    assert!(!world.aws.target_groups.contains_key(&old));
}

#[test]
fn what_is_in_a_group_is_asked_when_a_listener_has_left_it() {
    let mut world = shared_world();
    let old = arn(&world);
    world.annotate("aws-load-balancer-nlb-target-type", "ip");
    'moved: loop {
        for op in world.plan().ready {
            let outcome = world.aws.apply(&op).unwrap();
            world.inventory.record(&op, &outcome);
            if matches!(op, Op::ModifyListener { .. }) {
                break 'moved;
            }
        }
    }
    assert_eq!(world.inventory.target_group(&old).unwrap().targets, None);
    assert!(world.plan().waiting.contains(&Waiting::Need(Need::Targets(old))));
}

#[test]
fn targets_are_read_as_they_are_written() {
    let mut world = World::new();
    let text = "i-0123:30080,10.0.0.1:80,[fd00::1]:8080";
    world.service.annotations.insert(REGISTERED.to_owned(), text.to_owned());
    let ledger = Ledger::of(&world.service);
    assert_eq!(ledger.text().as_deref(), Some(text));
    assert!(ledger.holds(&instance("i-0123", 30080)) && !ledger.holds(&instance("i-0123", 30081)));
    let odd = format!("nobody:1,i-1,i-1:x,,{text},i-0123:70000");
    world.service.annotations.insert(REGISTERED.to_owned(), odd);
    assert_eq!(Ledger::of(&world.service), ledger);
    assert_eq!(Ledger::default().text(), None);
}

#[test]
fn nothing_is_forgotten_before_the_groups_are_known() {
    let mut world = shared_world();
    world.nodes.remove("n1");
    world.inventory = Inventory::default();
    world.list();
    world.remember();
    assert_eq!(remembered(&world), "i-01:30080,i-02:30080");
}
