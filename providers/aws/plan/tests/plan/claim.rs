//! Which Services are ours: the rows of claiming, first match decides.

use landfall_aws_plan::{Claim, FINALIZER, FOREIGN_FINALIZER, Finalizer, ServiceType, finalizer};

use crate::world::{World, map};

#[test]
fn each_row_decides() {
    let nlb = Some("service.k8s.aws/nlb");
    // Row, class, type annotation, target type annotation, Service type, ours.
    let rows = [
        ("3: our class", nlb, None, None, ServiceType::LoadBalancer, true),
        ("3: our class beats the annotation", nlb, Some("nlb"), None, ServiceType::LoadBalancer, true),
        (
            "3: another class beats the annotation",
            Some("x/y"),
            Some("nlb-ip"),
            None,
            ServiceType::LoadBalancer,
            false,
        ),
        ("4: nlb-ip", None, Some("nlb-ip"), None, ServiceType::LoadBalancer, true),
        ("4: of any type", None, Some("nlb-ip"), None, ServiceType::ClusterIp, true),
        ("5: external with ip", None, Some("external"), Some("ip"), ServiceType::LoadBalancer, true),
        ("5: external with instance", None, Some("external"), Some("instance"), ServiceType::NodePort, true),
        ("6: external alone", None, Some("external"), None, ServiceType::LoadBalancer, false),
        ("6: external with nonsense", None, Some("external"), Some("pod"), ServiceType::LoadBalancer, false),
        ("6: nlb", None, Some("nlb"), None, ServiceType::LoadBalancer, false),
        ("6: nothing", None, None, None, ServiceType::LoadBalancer, false),
    ];
    for (row, class, kind, target, service_type, ours) in rows {
        let mut world = World::new();
        world.service.finalizers.clear();
        world.service.class = class.map(Into::into);
        world.service.kind = service_type;
        for (name, value) in [("aws-load-balancer-type", kind), ("aws-load-balancer-nlb-target-type", target)]
        {
            if let Some(value) = value {
                world.annotate(name, value);
            }
        }
        let expected = if ours { Claim::Ours } else { Claim::NotOurs };
        assert_eq!(Claim::of(&world.service, &world.settings), expected, "{row}");
        // Row 1: deletion decides before all others.
        world.service.deleting = true;
        assert_eq!(Claim::of(&world.service, &world.settings), Claim::NotOurs, "{row}");
        world.service.finalizers = vec![FINALIZER.into()];
        assert_eq!(Claim::of(&world.service, &world.settings), Claim::Release, "{row}");
    }
}

#[test]
fn row_2_the_gate_leaves_other_types_alone() {
    let mut world = World::new();
    world.settings.load_balancer_type_only = true;
    world.service.kind = ServiceType::NodePort;
    assert_eq!(Claim::of(&world.service, &world.settings), Claim::Release);
    world.service.finalizers.clear();
    assert_eq!(Claim::of(&world.service, &world.settings), Claim::NotOurs);
}

#[test]
fn a_service_without_class_is_ours_where_the_flag_says_so() {
    let mut world = World::new();
    (world.service.class, world.settings.claim_classless) = (None, true);
    assert_eq!(Claim::of(&world.service, &world.settings), Claim::Ours);
    world.annotate("aws-load-balancer-type", "nlb");
    assert_eq!(Claim::of(&world.service, &world.settings), Claim::Release);
    world.service.annotations.clear();
    world.service.kind = ServiceType::ClusterIp;
    assert_eq!(Claim::of(&world.service, &world.settings), Claim::Release);
}

#[test]
fn the_finalizer_of_another_controller_refuses() {
    let mut world = World::new();
    world.service.finalizers.push(FOREIGN_FINALIZER.into());
    let Claim::Refused(problem) = Claim::of(&world.service, &world.settings) else { panic!("claimed") };
    assert!(problem.to_string().contains(FOREIGN_FINALIZER), "{problem}");
}

#[test]
fn the_finalizer_comes_before_the_first_call_and_goes_after_the_last() {
    let mut world = World::new();
    assert_eq!(finalizer(&Claim::Ours, false, None), Finalizer::Add);
    assert_eq!(finalizer(&Claim::Ours, true, None), Finalizer::Keep);
    world.converge();
    world.service.deleting = true;
    let plan = world.plan();
    assert_eq!(finalizer(&Claim::Release, true, Some(&plan)), Finalizer::Keep);
    world.converge();
    let plan = world.plan();
    assert_eq!(finalizer(&Claim::Release, true, Some(&plan)), Finalizer::Remove);
}

#[test]
fn a_load_balancer_of_the_cloud_controller_manager_refuses() {
    let mut world = World::new();
    world.converge();
    for lb in world.aws.load_balancers.values_mut() {
        lb.name = "a7ab4be3311c24a7bb6557add8affab3".to_owned();
        lb.tags =
            map(&[("kubernetes.io/service-name", "shop/web"), ("kubernetes.io/cluster/harbor", "owned")]);
    }
    world.restart();
    assert!(
        world.problem().contains("made for this Service by the AWS cloud controller manager"),
        "{}",
        world.problem()
    );
    world
        .service
        .annotations
        .insert(landfall_aws_plan::ADOPT.to_owned(), "a7ab4be3311c24a7bb6557add8affab3".to_owned());
    assert!(world.problem().contains("another controller owns it"));
}
