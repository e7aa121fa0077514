//! What the user sees, what is left behind, and which rights it takes.

use std::{collections::BTreeSet, time::Duration};

use landfall_aws_plan::{Garbage, LoadBalancerState, Need, OpKind, TargetState, Verdict, hostname, iam};

use crate::world::World;

fn shown(world: &mut World) -> (Option<String>, Verdict) {
    let (stack, plan) = (world.stack().unwrap(), world.plan());
    let targets = world.targets(&stack);
    let name = hostname(&stack, &plan, &world.settings, &world.inventory);
    (name, Verdict::of_plan(&stack, &plan, &targets, &world.settings, &world.inventory))
}

fn state(world: &mut World, state: LoadBalancerState) {
    world.aws.load_balancers.values_mut().for_each(|lb| lb.state = state);
    world.list();
}

#[test]
fn the_hostname_is_shown_when_it_answers() {
    let mut world = World::new();
    assert_eq!(shown(&mut world).0, None);
    world.converge();
    state(&mut world, LoadBalancerState::Provisioning);
    let (name, verdict) = shown(&mut world);
    assert_eq!((name, verdict.ready, verdict.reason), (None, false, "Provisioning"));
    state(&mut world, LoadBalancerState::Failed);
    assert_eq!(shown(&mut world).1.reason, "Failed");
    for serving in [LoadBalancerState::Active, LoadBalancerState::ActiveImpaired] {
        state(&mut world, serving);
        let (name, verdict) = shown(&mut world);
        assert_eq!((verdict.ready, verdict.reason), (true, "Active"));
        assert!(name.unwrap().ends_with(".elb.eu-west-1.amazonaws.com"));
    }
}

#[test]
fn until_a_successor_serves_the_old_name_is_shown() {
    let mut world = World::new();
    world
        .service
        .annotations
        .insert(landfall_aws_plan::REPLACE.to_owned(), "create-before-delete".to_owned());
    let old = {
        world.converge();
        shown(&mut world).0
    };
    world.annotate("aws-load-balancer-scheme", "internet-facing");
    while world.aws.load_balancers.len() < 2 {
        for op in world.plan().ready {
            let outcome = world.aws.apply(&op).unwrap();
            world.inventory.record(&op, &outcome);
        }
    }
    assert_eq!(shown(&mut world).0, old);
    world.converge();
    let new = shown(&mut world).0;
    assert!(new.is_some() && new != old);
}

#[test]
fn targets_that_are_missing_or_all_unhealthy_are_told() {
    let mut world = World::new();
    world.converge();
    for group in world.aws.target_groups.values_mut() {
        group.targets.as_mut().unwrap().values_mut().for_each(|state| *state = TargetState::Unhealthy);
    }
    for arn in world.aws.target_groups.keys().cloned().collect::<Vec<_>>() {
        world.aws.answer(&Need::Targets(arn), &mut world.inventory);
    }
    assert_eq!(shown(&mut world).1.reason, "AllTargetsUnhealthy");
    world.nodes.clear();
    assert_eq!(shown(&mut world).1.reason, "NoTargets");
}

#[test]
fn problems_are_told_together() {
    let mut world = World::new();
    world
        .annotate("aws-load-balancer-security-groups", "nowhere")
        .annotate("aws-load-balancer-subnets", "nowhere");
    let verdict = Verdict::of_problems(&world.stack().unwrap_err());
    assert_eq!((verdict.ready, verdict.reason), (false, "NoSubnets"));
    assert!(
        verdict.message.contains("couldn't find all subnets")
            && verdict.message.contains("couldn't find all security groups")
    );
}

#[test]
fn what_a_lost_service_left_goes_after_two_listings_and_a_grace_period() {
    let mut world = World::new();
    let before = world.picture();
    world.converge();
    world.restart();
    let live = BTreeSet::from([world.service.key.clone()]);
    let mut garbage = Garbage::default();
    let look = |garbage: &mut Garbage, world: &World, services: &BTreeSet<_>| {
        garbage.observe(&world.inventory, services, &world.settings, world.now).cloned().collect::<Vec<_>>()
    };
    assert_eq!(look(&mut garbage, &world, &live), []);
    let none = BTreeSet::new();
    assert_eq!(look(&mut garbage, &world, &none), [world.service.key.clone()]);
    world.now += Duration::from_secs(600);
    assert!(garbage.plan(&world.inventory, &world.settings, world.now).is_empty(), "seen once only");
    look(&mut garbage, &world, &none);
    assert!(!garbage.plan(&world.inventory, &world.settings, world.now).is_empty());
    look(&mut garbage, &world, &live);
    assert!(garbage.plan(&world.inventory, &world.settings, world.now).is_empty(), "the Service is back");
    look(&mut garbage, &world, &none);
    look(&mut garbage, &world, &none);
    assert!(garbage.plan(&world.inventory, &world.settings, world.now).is_empty(), "within the grace period");
    world.now += Duration::from_secs(300);
    world.service.deleting = true;
    loop {
        let plans = garbage.plan(&world.inventory, &world.settings, world.now);
        let plan = plans.into_values().next().unwrap();
        if plan.is_done() {
            break;
        }
        for waiting in plan.waiting {
            if let landfall_aws_plan::Waiting::Need(need) = waiting {
                world.aws.answer(&need, &mut world.inventory);
            }
        }
        for op in plan.ready {
            let outcome = world.aws.apply(&op).unwrap();
            world.inventory.record(&op, &outcome);
        }
    }
    world.converge();
    assert_eq!(world.picture(), before);
}

#[test]
fn rights_are_those_of_the_calls_and_each_names_the_call() {
    let all = iam::actions();
    for kind in OpKind::ALL {
        let actions = kind.actions();
        assert!(actions[0].ends_with(&format!(":{}", kind.as_str())), "{kind:?}: {actions:?}");
        assert!(actions.iter().all(|action| all.contains(action)), "{kind:?}");
    }
    let needs = [
        Need::LoadBalancer("a".into()),
        Need::Capacity("a".into()),
        Need::TargetGroup("a".into()),
        Need::Targets("a".into()),
        Need::RouteTables,
    ];
    assert!(needs.iter().flat_map(Need::actions).all(|action| all.contains(action)));
    for looked_at in ["AccountAttributes", "Addresses", "InternetGateways", "Instances", "Subnets", "Vpcs"] {
        assert!(all.contains(format!("ec2:Describe{looked_at}").as_str()), "AWS looks at {looked_at} for us");
    }
    let services: BTreeSet<&str> = all.iter().filter_map(|action| action.split(':').next()).collect();
    assert!(services.iter().eq(&["ec2", "elasticloadbalancing", "iam"]), "{services:?}");
}

#[test]
fn what_aws_cannot_change_is_said() {
    let told = |world: &mut World| {
        let (stack, request) = (world.stack().unwrap(), world.request().unwrap());
        let notices = landfall_aws_plan::notices(&stack, &request, &world.settings, &world.inventory);
        notices.iter().map(landfall_aws_plan::Notice::reason).collect::<Vec<_>>()
    };
    let mut world = World::new();
    world.annotate("aws-load-balancer-private-ipv4-addresses", "10.0.97.9,10.0.98.9").converge();
    assert_eq!(told(&mut world), [""; 0]);
    world.annotate("aws-load-balancer-private-ipv4-addresses", "10.0.97.9,10.0.98.10");
    assert_eq!(told(&mut world), ["OtherAddresses"]);
    let mut world = World::new();
    world.annotate("aws-load-balancer-disable-nlb-sg", "true").converge();
    assert_eq!(told(&mut world), [""; 0]);
    world.service.annotations.clear();
    assert_eq!(told(&mut world), ["LegacyNoSecurityGroups"]);
    let mut world = World::new();
    world.annotate("aws-load-balancer-name", "front").converge().aws.calls.clear();
    assert_eq!(told(&mut world), [""; 0]);
    world.annotate("aws-load-balancer-name", "back").converge();
    assert_eq!(told(&mut world), ["OtherName"]);
    let names: Vec<&str> = world.aws.load_balancers.values().map(|lb| lb.name.as_str()).collect();
    assert_eq!(names, ["front"]);
    assert!(world.aws.calls.iter().all(|op| op.kind() == OpKind::AddTags), "only the fingerprint is written");
}
