//! Who serves, in which order targets come and go, and what pods are told.

use landfall_aws_plan::{
    LeftOutReason, Need, Node, Op, PodEndpoint, READINESS_GATE, Readiness, Taint, Target, TargetId,
    TargetPort, TargetSet, TargetState, Waiting,
};
use landfall_model::Protocol;

use crate::world::{World, node, port};

fn set(world: &mut World) -> TargetSet {
    let stack = world.stack().unwrap();
    world.targets(&stack).remove("shop/web:80").unwrap()
}

fn ids(set: &TargetSet) -> Vec<String> {
    ids_of(&set.wanted)
}

fn ids_of<'a>(targets: impl IntoIterator<Item = &'a Target>) -> Vec<String> {
    let text = |id: &TargetId| match id {
        TargetId::Instance(id) => id.to_string(),
        TargetId::Ip(address) => address.to_string(),
    };
    targets.into_iter().map(|target| format!("{}:{}", text(&target.id), target.port)).collect()
}

type Change = Box<dyn Fn(&mut Node)>;

#[test]
fn a_node_that_cannot_serve_is_left_out_alone_with_its_reason() {
    let label = |key: &'static str, value: &'static str| {
        move |node: &mut Node| _ = node.labels.insert(key.to_owned(), value.to_owned())
    };
    let taint = |key: &'static str, effect: &'static str| {
        move |node: &mut Node| node.taints.push(Taint { key: key.into(), effect: effect.into() })
    };
    let rows: Vec<(Change, Option<LeftOutReason>)> = vec![
        (Box::new(label("node-role.kubernetes.io/master", "")), Some(LeftOutReason::ExcludedByLabel)),
        (
            Box::new(label("node.kubernetes.io/exclude-from-external-load-balancers", "false")),
            Some(LeftOutReason::ExcludedByLabel),
        ),
        (
            Box::new(label("alpha.service-controller.kubernetes.io/exclude-balancer", "x")),
            Some(LeftOutReason::ExcludedByLabel),
        ),
        (Box::new(label("eks.amazonaws.com/compute-type", "fargate")), Some(LeftOutReason::Fargate)),
        (Box::new(label("eks.amazonaws.com/compute-type", "ec2")), None),
        (Box::new(taint("ToBeDeletedByClusterAutoscaler", "NoSchedule")), Some(LeftOutReason::Leaving)),
        (Box::new(taint("karpenter.sh/disrupted", "NoSchedule")), Some(LeftOutReason::Leaving)),
        (Box::new(taint("karpenter.sh/disrupted", "NoExecute")), None),
        (Box::new(|node| node.ready = Readiness::NotReady), Some(LeftOutReason::NotReady)),
        (Box::new(|node| node.ready = Readiness::Unknown), Some(LeftOutReason::NotReady)),
        (Box::new(|node| node.provider_id = "".into()), Some(LeftOutReason::InvalidProviderId)),
        (
            Box::new(|node| node.provider_id = "aws:///eu-west-1a/fargate-10-0-0-1".into()),
            Some(LeftOutReason::InvalidProviderId),
        ),
        (
            Box::new(|node| node.provider_id = "kind://docker/i-".into()),
            Some(LeftOutReason::InvalidProviderId),
        ),
    ];
    for (row, (change, reason)) in rows.iter().enumerate() {
        let mut world = World::new();
        change(world.nodes.get_mut("n1").unwrap());
        let set = set(&mut world);
        let left: Vec<LeftOutReason> = set.left_out.iter().map(|left| left.reason).collect();
        let expected: Vec<LeftOutReason> = reason.iter().copied().collect();
        assert_eq!(left, expected, "row {row}");
        assert!(ids(&set).contains(&"i-02:30080".to_owned()), "row {row}");
    }
}

#[test]
fn with_no_ready_node_those_of_unknown_state_serve() {
    let mut world = World::new();
    world.nodes.get_mut("n1").unwrap().ready = Readiness::Unknown;
    world.nodes.get_mut("n2").unwrap().ready = Readiness::NotReady;
    assert_eq!(ids(&set(&mut world)), ["i-01:30080"]);
    world.settings.endpoints_fail_open = false;
    assert_eq!(ids(&set(&mut world)), [""; 0]);
}

#[test]
fn node_labels_narrow_instance_targets() {
    let mut world = World::new();
    world.annotate("aws-load-balancer-target-node-labels", "pool=edge");
    world.nodes.get_mut("n2").unwrap().labels.insert("pool".to_owned(), "edge".to_owned());
    let set = set(&mut world);
    assert_eq!(
        (ids(&set), set.left_out[0].reason),
        (vec!["i-02:30080".to_owned()], LeftOutReason::NotSelected)
    );
}

#[test]
fn a_limit_is_kept() {
    let mut world = World::new();
    world.settings.max_targets = 1;
    let set = set(&mut world);
    assert_eq!((ids(&set), set.left_out[0].reason), (vec!["i-01:30080".to_owned()], LeftOutReason::TooMany));
}

pub(crate) fn pod(name: &str, address: &str) -> PodEndpoint {
    PodEndpoint {
        pod: name.into(),
        address: address.parse().unwrap(),
        node: Some("n1".into()),
        port_name: "http".into(),
        port: 8080,
        ready: true,
        serving: true,
        terminating: false,
        containers_ready: true,
        readiness_gates: Vec::new(),
    }
}

fn ip_world(endpoints: Vec<PodEndpoint>) -> World {
    let mut world = World::new();
    world.service.ports = vec![port("http", Protocol::Tcp, 80, 30080)];
    world.annotate("aws-load-balancer-nlb-target-type", "ip");
    world.endpoints = endpoints;
    world
}

#[test]
fn pods_serve_by_their_conditions() {
    // ready, serving, terminating, containers ready, node ready: a target, or one that lingers.
    let rows = [
        ([true, true, false, true, true], (true, false)),
        ([true, true, false, true, false], (true, false)),
        ([false, false, false, true, true], (true, false)),
        ([false, false, false, true, false], (false, false)),
        ([false, false, false, false, true], (false, false)),
        ([false, true, true, true, true], (false, true)),
        ([false, false, true, true, true], (false, false)),
    ];
    for ([ready, serving, terminating, containers_ready, node_ready], (wanted, lingering)) in rows {
        let mut world = ip_world(vec![PodEndpoint {
            ready,
            serving,
            terminating,
            containers_ready,
            ..pod("p", "10.0.0.1")
        }]);
        if !node_ready {
            world.nodes.get_mut("n1").unwrap().ready = Readiness::NotReady;
        }
        let set = set(&mut world);
        let row = format!("{ready} {serving} {terminating} {containers_ready} {node_ready}");
        assert_eq!((set.wanted.len() == 1, set.lingering.len() == 1), (wanted, lingering), "{row}");
        assert_eq!(set.left_out.len(), usize::from(!wanted && !lingering), "{row}");
    }
}

#[test]
fn pods_of_another_port_or_family_are_no_targets_and_outside_addresses_name_all_zones() {
    let mut world = ip_world(vec![
        pod("a", "10.0.0.1"),
        PodEndpoint { port_name: "admin".into(), ..pod("b", "10.0.0.2") },
        pod("c", "fd00::1"),
        pod("d", "192.168.0.1"),
    ]);
    let set = set(&mut world);
    assert_eq!(ids(&set), ["10.0.0.1:8080", "192.168.0.1:8080"]);
    assert_eq!(set.wanted.iter().map(|target| target.zone_all).collect::<Vec<_>>(), [false, true]);
}

/// moto forgets the zone, and so did a target that somebody registered by hand.
#[test]
fn the_zone_is_sent_but_a_target_without_it_is_the_same() {
    let mut world = ip_world(vec![pod("a", "10.0.0.1"), pod("far", "192.168.0.1")]);
    world.converge();
    let far = world.endpoints.pop().unwrap();
    let arn = world.aws.target_groups.keys().next().unwrap().clone();
    for zone_all in [true, false] {
        let targets = world.aws.target_groups.get_mut(&arn).unwrap().targets.as_mut().unwrap();
        *targets = std::mem::take(targets)
            .into_iter()
            .map(|(target, state)| (Target { zone_all: target.zone_all && zone_all, ..target }, state))
            .collect();
        world.aws.answer(&Need::Targets(arn.clone()), &mut world.inventory);
        world.endpoints.push(far.clone());
        assert_eq!(world.plan().ready, [], "described with the zone: {zone_all}");
        world.endpoints.pop();
        let [Op::DeregisterTargets { targets, .. }] = &world.plan().ready[..] else {
            panic!("{:?}", world.plan())
        };
        let zones: Vec<bool> = targets.iter().map(|target| target.zone_all).collect();
        assert_eq!((ids_of(targets), zones), (vec!["192.168.0.1:8080".to_owned()], vec![zone_all]));
    }
    world.converge();
    world.endpoints.push(far);
    let [Op::RegisterTargets { targets, .. }] = &world.plan().ready[..] else { panic!("{:?}", world.plan()) };
    assert!(targets[0].zone_all, "one that drains without a zone is registered with it");
    world.converge();
    let known = world.inventory.target_group(&arn).unwrap().targets.as_ref().unwrap();
    assert!(known.keys().any(|target| target.zone_all));
}

#[test]
fn a_named_target_port_may_differ_from_pod_to_pod() {
    let mut world = ip_world(vec![pod("a", "10.0.0.1"), PodEndpoint { port: 9090, ..pod("b", "10.0.0.2") }]);
    world.service.ports[0].target = TargetPort::Name("web".into());
    assert_eq!(ids(&set(&mut world)), ["10.0.0.1:8080", "10.0.0.2:9090"]);
}

#[test]
fn targets_are_registered_before_others_are_deregistered() {
    let mut world = World::new();
    world.converge().aws.calls.clear();
    world.nodes = [node("n3", "i-03")].into();
    world.converge();
    let kind = |op: &Op| {
        if let Op::RegisterTargets { arn, .. } = op {
            return Some((arn.clone(), "register"));
        }
        let Op::DeregisterTargets { arn, .. } = op else { return None };
        Some((arn.clone(), "deregister"))
    };
    for arn in world.aws.target_groups.keys() {
        let order: Vec<&str> = world
            .aws
            .calls
            .iter()
            .filter_map(kind)
            .filter(|(of, _)| of == arn)
            .map(|(_, kind)| kind)
            .collect();
        assert_eq!(order, ["register", "deregister"]);
    }
}

#[test]
fn a_terminating_pod_stays_until_its_replacement_is_healthy() {
    let mut world = ip_world(vec![pod("old", "10.0.0.1")]);
    world.converge();
    world.aws.settle();
    world.endpoints = vec![
        PodEndpoint { ready: false, terminating: true, ..pod("old", "10.0.0.1") },
        pod("new", "10.0.0.2"),
    ];
    let arn = world.aws.target_groups.keys().next().unwrap().clone();
    let deregisters = |plan: &[Op]| plan.iter().any(|op| matches!(op, Op::DeregisterTargets { .. }));
    let plan = world.plan();
    assert!(!deregisters(&plan.ready));
    assert!(plan.waiting.contains(&Waiting::Replacement(arn.clone())));
    for op in &plan.ready {
        let outcome = world.aws.apply(op).unwrap();
        world.inventory.record(op, &outcome);
    }
    let plan = world.plan();
    assert_eq!(
        (plan.ready, plan.waiting),
        (vec![], vec![Waiting::Replacement(arn.clone())]),
        "the new one is not healthy yet"
    );
    world.aws.settle();
    world.aws.answer(&Need::Targets(arn), &mut world.inventory);
    assert!(deregisters(&world.plan().ready));
}

#[test]
fn a_pod_that_no_longer_serves_goes_at_once() {
    let mut world = ip_world(vec![pod("old", "10.0.0.1"), pod("other", "10.0.0.3")]);
    world.converge();
    world.endpoints[0] =
        PodEndpoint { ready: false, serving: false, terminating: true, ..pod("old", "10.0.0.1") };
    assert!(world.plan().ready.iter().any(|op| matches!(op, Op::DeregisterTargets { .. })));
}

#[test]
fn draining_targets_are_not_deregistered_again_and_are_registered_anew() {
    let mut world = World::new();
    world.converge();
    let gone = world.nodes.remove("n1").unwrap();
    world.converge();
    assert!(
        world.aws.target_groups.values().any(|group| group
            .targets
            .as_ref()
            .unwrap()
            .values()
            .any(|state| *state == TargetState::Draining))
    );
    assert_eq!(world.plan().ready, []);
    world.nodes.insert("n1".into(), gone);
    let registers = world.plan().ready.iter().filter(|op| matches!(op, Op::RegisterTargets { .. })).count();
    assert_eq!(registers, 2);
}

#[test]
fn calls_carry_at_most_two_hundred_targets() {
    let mut world = World::new();
    world.service.ports.truncate(1);
    world.nodes = (0..401).map(|number| node(&format!("n{number:03}"), &format!("i-{number:03}"))).collect();
    world.converge();
    let size = |op: &Op| {
        let Op::RegisterTargets { targets, .. } = op else { return None };
        Some(targets.len())
    };
    let sizes: Vec<usize> = world.aws.calls.iter().filter_map(size).collect();
    assert_eq!(sizes, [200, 200, 1]);
}

#[test]
fn readiness_gates_follow_what_aws_says() {
    let mut world = ip_world(vec![pod("a", "10.0.0.1"), pod("b", "10.0.0.2"), pod("c", "10.0.0.3")]);
    world.converge();
    let name = world.aws.target_groups.values().next().unwrap().name.clone();
    for pod in &mut world.endpoints[..2] {
        pod.readiness_gates =
            vec![format!("{READINESS_GATE}{name}").into(), format!("{READINESS_GATE}other").into()];
    }
    let arn = world.aws.target_groups.keys().next().unwrap().clone();
    world.aws.settle();
    let targets = world.aws.target_groups.get_mut(&arn).unwrap().targets.as_mut().unwrap();
    *targets.values_mut().next().unwrap() = TargetState::Unhealthy;
    world.aws.answer(&Need::Targets(arn), &mut world.inventory);
    let conditions = world.readiness();
    let told: Vec<_> =
        conditions.iter().map(|condition| (&*condition.pod, condition.healthy, condition.reason)).collect();
    assert_eq!(told, [("a", false, "unhealthy"), ("b", true, "healthy")]);
}

#[test]
fn a_gate_is_about_the_target_of_its_own_port_and_family() {
    let mut world = ip_world(Vec::new());
    world.service.ports.push(port("https", Protocol::Tcp, 443, 30443));
    let mut endpoints =
        [pod("a", "10.0.0.1"), pod("a", "10.0.0.1"), pod("a", "fd00::1"), pod("a", "fd00::1")];
    for (number, endpoint) in endpoints.iter_mut().enumerate() {
        let (name, port) = [("http", 8080), ("https", 8443)][number % 2];
        (endpoint.port_name, endpoint.port) = (name.into(), port);
    }
    world.endpoints = endpoints.into();
    world.converge();
    world.aws.settle();
    for arn in world.aws.target_groups.keys().cloned().collect::<Vec<_>>() {
        world.aws.answer(&Need::Targets(arn), &mut world.inventory);
    }
    let gates: Vec<Box<str>> = world
        .aws
        .target_groups
        .values()
        .map(|group| format!("{READINESS_GATE}{}", group.name).into())
        .collect();
    assert_eq!(gates.len(), 2);
    for endpoint in &mut world.endpoints {
        endpoint.readiness_gates.clone_from(&gates);
    }
    let told: Vec<_> = world.readiness().into_iter().map(|one| (one.gate, one.healthy)).collect();
    let mut expected: Vec<_> = gates.into_iter().map(|gate| (gate, true)).collect();
    expected.sort();
    assert_eq!(told, expected);
}
