//! The first plan of a leader, and restarts.

use landfall_model::{Invalid, ObjectName, Observation, Reason};
use landfall_plan::{Plan, Settings, World};

use crate::cluster::*;

#[test]
fn nothing_is_decided_before_the_first_list_is_complete() {
    let mut world = World::new(Settings::default());
    world.observe(Observation::Pool("a".into(), Some(Box::new(pool("a", &["192.0.2.0/29"])))));
    world.observe(Observation::Service(key("web"), Some(Box::new(service("web")))));
    assert_eq!(world.plan(landfall_model::Instant::ZERO), Plan::default());
    world.observe(Observation::Synced);
    assert!(!world.plan(landfall_model::Instant::ZERO).effects.is_empty());
}

#[test]
fn addresses_in_a_status_are_claimed_before_any_is_given_away() {
    let pools = [pool("a", &["192.0.2.0/31"])];
    let services = [
        service("oldest-pending").created(1),
        service("young").created(9).status(&["192.0.2.0"]).marked("a"),
        service("younger-pending").created(10),
    ];
    let cluster = Cluster::with_services(&pools, &services);
    assert_eq!(cluster.status("young"), ["192.0.2.0"]);
    assert_eq!(cluster.status("oldest-pending"), ["192.0.2.1"], "pending Services are served oldest first");
    assert_eq!(cluster.allocated("younger-pending"), Some((false, Reason::NoAvailableAddresses)));
}

#[test]
fn of_two_claims_the_marked_and_then_the_older_one_wins() {
    let a = || vec![pool("a", &["192.0.2.0/29"])];
    let at = |name: &str, created| service(name).created(created).status(&["192.0.2.0"]);
    for (row, services, keeper, mover) in [
        ("older", [at("x", 1).marked("a"), at("y", 2).marked("a")], "x", "y"),
        ("same age: name", [at("x", 1).marked("a"), at("y", 1).marked("a")], "x", "y"),
        ("marked before recognised", [at("x", 1), at("y", 2).marked("a")], "y", "x"),
    ] {
        for services in [services.to_vec(), services.iter().rev().cloned().collect()] {
            let mut cluster = Cluster::with_services(&a(), &services);
            assert_eq!(cluster.status(keeper), ["192.0.2.0"], "{row}");
            assert_eq!(cluster.status(mover), ["192.0.2.1"], "{row}");
            let events = cluster.take_events();
            assert!(events.iter().any(|e| e.starts_with("ClearAssignment: ")), "{row}: {events:?}");
        }
    }
}

#[test]
fn metallb_services_are_adopted_without_a_move() {
    let services = [
        service("a").created(5).status(&["192.0.2.7"]).marked("a"),
        service("b").created(6).status(&["192.0.2.6"]),
        service("c").created(1).prefer_dual().status(&["192.0.2.5", "2001:db8::5"]).marked("old-name"),
    ];
    let cluster = Cluster::with_services(&[pool("a", &["192.0.2.0/29", "2001:db8::/125"])], &services);
    assert_eq!(cluster.status("a"), ["192.0.2.7"]);
    assert_eq!(cluster.status("b"), ["192.0.2.6"]);
    assert_eq!(cluster.status("c"), ["192.0.2.5", "2001:db8::5"]);
    assert_eq!(cluster.events, [""; 0]);
    assert_eq!(cluster.restarted().writes, []);
}

#[test]
fn our_marks_without_a_covering_pool_are_released() {
    for marked in [
        service("web").status(&["203.0.113.1"]).marked("gone"),
        Cluster::with_services(&[pool("p", &["203.0.113.1/32"])], &[service("web")]).stored[&key("web")]
            .clone()
            .with(|s| s.requests.allocated_from = None),
    ] {
        let cluster = Cluster::with_services(&[], &[marked]);
        assert_eq!(cluster.status("web"), [""; 0], "§2.1 zero pools: what is ours goes");
        assert_eq!(cluster.allocated("web"), Some((false, Reason::NoPools)));
    }
}

#[test]
fn a_leader_may_come_back() {
    let mut cluster = Cluster::new(&[pool("a", &["192.0.2.0/31"])]);
    cluster.set(service("one"));
    cluster.world.forget_decisions();
    // Another leader gives the other address away meanwhile, and this replica only watches.
    cluster.apply(service("two").status(&["192.0.2.1"]).marked("a"));
    cluster.apply(service("three").created(1));
    cluster.take_writes();
    cluster.settle();
    assert_eq!(
        (cluster.status("one"), cluster.status("two")),
        (vec!["192.0.2.0".to_owned()], vec!["192.0.2.1".to_owned()])
    );
    assert_eq!(cluster.allocated("three"), Some((false, Reason::NoAvailableAddresses)));
    cluster.delete("one");
    assert_eq!(cluster.status("three"), ["192.0.2.0"]);
}

#[test]
fn of_two_pools_that_overlap_at_start_the_used_one_wins() {
    let pools = [pool("a-new", &["192.0.2.0/24"]), pool("b-used", &["192.0.2.0/28"])];
    let cluster = Cluster::with_services(&pools, &[service("web").status(&["192.0.2.3"]).marked("b-used")]);
    let refused: Vec<(&str, Reason)> =
        cluster.world.allocator().refused().map(|(name, refused)| (name, refused.reason)).collect();
    assert_eq!(refused, [("a-new", Reason::Overlap)]);
    assert_eq!(cluster.status("web"), ["192.0.2.3"]);
    let unused = Cluster::with_services(&pools, &[]);
    assert_eq!(
        unused.world.allocator().refused().next().map(|(name, _)| name),
        Some("b-used"),
        "else by name"
    );
}

/// A mistake in a pool that was made while no controller looked moves nobody.
#[test]
fn addresses_of_a_pool_that_is_not_in_force_stay() {
    let invalid = |why: Option<&str>| {
        let name =
            ObjectName { kind: "IPAddressPool", namespace: "landfall-system".into(), name: "a".into() };
        let invalid = |text: &str| {
            Box::new(Invalid {
                field: "spec.addresses[0]".into(),
                reason: Reason::InvalidAddress,
                message: text.into(),
            })
        };
        Observation::Invalid(name, why.map(invalid))
    };
    let start = |overlaps: bool| {
        let mut cluster = Cluster::new(&[pool("a", &["192.0.2.0/29"])]);
        cluster.set(service("web"));
        let mut next = Cluster::new(&[]);
        next.world = World::new(Settings::default());
        next.apply(cluster.stored[&key("web")].clone());
        next.apply(service("other"));
        if overlaps {
            next.set_pool(pool("0", &["192.0.2.4/30"]));
            next.set_pool(pool("a", &["192.0.2.0/29"]));
        } else {
            next.world.observe(invalid(Some("no")));
        }
        (next, overlaps)
    };
    for (mut cluster, overlaps) in [start(false), start(true)] {
        // Of two pools that overlap the first by name wins where both are in use.
        if overlaps {
            cluster.apply(service("user").status(&["192.0.2.7"]).marked("0"));
        }
        cluster.world.observe(Observation::Synced);
        cluster.settle();
        assert_eq!(cluster.status("web"), ["192.0.2.0"], "{overlaps}");
        assert_eq!(cluster.allocated("web"), Some((false, Reason::PoolNotInForce)));
        assert!(cluster.world.waiting().any(|(_, reason, _)| reason == Reason::PoolNotInForce));
        cluster.take_events();
        cluster.take_writes();
        cluster.set(service("web").with(|s| drop(s.labels.insert("x".into(), "y".into()))));
        assert_eq!((cluster.take_events(), cluster.take_writes()), (vec![], vec![]));
        // Mended: it is as if nothing had been.
        let mut mended = cluster.clone();
        if overlaps {
            mended.set_pool(pool("0", &["192.0.2.6/31"]));
            mended.set_pool(pool("a", &["192.0.2.0/30"]));
        } else {
            mended.world.observe(invalid(None));
            mended.set_pool(pool("a", &["192.0.2.0/29"]));
        }
        mended.settle();
        assert_eq!(mended.status("web"), ["192.0.2.0"], "{overlaps}");
        assert_eq!(mended.allocated("web"), Some((true, Reason::Allocated)));
        assert_ne!(mended.status("other"), ["192.0.2.0"]);
        // Deleted: what was of it goes.
        cluster.world.observe(invalid(None));
        cluster.remove_pool("a");
        cluster.settle();
        assert_ne!(cluster.status("web"), ["192.0.2.0"], "{overlaps}");
    }
}
