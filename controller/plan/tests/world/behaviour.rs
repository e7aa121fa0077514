//! What happens to a Service when it, or the configuration, changes.

use landfall_model::{Assignment, Forwarding, Ingress, IpMode, Pool, Reason};
use landfall_plan::condition;

use crate::cluster::*;

const NONE: &[&str] = &[];

fn two_pools() -> Vec<Pool> {
    vec![pool("a", &["192.0.2.0/29", "2001:db8::/125"]), pool("b", &["198.51.100.0/29", "2001:db8:1::/125"])]
}

#[test]
fn a_new_service_is_served_and_told() {
    let mut cluster = Cluster::new(&two_pools());
    cluster.set(service("web").require_dual());
    assert_eq!(cluster.status("web"), ["192.0.2.0", "2001:db8::"]);
    assert_eq!(cluster.take_events(), ["IPAllocated: Assigned IP [\"192.0.2.0\" \"2001:db8::\"]"]);
    assert_eq!(cluster.allocated("web"), Some((true, Reason::Allocated)));
    let stored = &cluster.stored[&key("web")];
    assert_eq!(stored.requests.allocated_from.as_deref(), Some("a"));
    assert_eq!(stored.conditions[0].generation, 1);
    assert_eq!(cluster.writes.len(), 1);
    assert_eq!(cluster.counts["a"].assigned_v4, 1);
    assert_eq!(cluster.counts["a"].available_v6, 7);
}

/// Rows of §2.3 to §2.5, column "Service that already has an address".
#[test]
fn requests_of_an_assigned_service() {
    let change =
        |row, before, after, status: &'static [&'static str], reason, events: &'static [&'static str]| {
            (row, before, after, status, reason, events)
        };
    let web = || service("web");
    let cleared = "current IP for \"shop/web\" not allowed by config, will attempt for new IP assignment: ";
    for (row, before, after, status, reason, events) in [
        change(
            "§2.3 annotation",
            web(),
            web().asks("192.0.2.5"),
            &["192.0.2.5"],
            Reason::Allocated,
            &["IPAllocated: Assigned IP [\"192.0.2.5\"]"],
        ),
        change(
            "§2.3 both set: keeps its address; §10 D12: and says so",
            web(),
            web().asks("192.0.2.5").with(|s| s.requests.load_balancer_ip = Some("192.0.2.6".into())),
            &["192.0.2.0"],
            Reason::InvalidRequest,
            &[
                "LoadBalancerFailed: invalid requested loadbalancer IPs: spec.loadBalancerIP and the annotation \
               loadBalancerIPs are both set; remove one of them",
            ],
        ),
        change(
            "§2.3 unparseable",
            web(),
            web().asks("x"),
            &["192.0.2.0"],
            Reason::InvalidRequest,
            &["LoadBalancerFailed: invalid requested loadbalancer IPs: \"x\" in \"x\" is not an IP address"],
        ),
        change(
            "§2.3 family",
            web(),
            web().asks("2001:db8::1"),
            NONE,
            Reason::FamilyMismatch,
            &["AllocationFailed: Failed to allocate IP for \"shop/web\": requested loadBalancer IP(s) \
             [\"2001:db8::1\"] are not of the Service's families, IPv4"],
        ),
        change(
            "§2.3 outside",
            web(),
            web().asks("203.0.113.1"),
            NONE,
            Reason::AddressNotInPools,
            &[
                "AllocationFailed: Failed to allocate IP for \"shop/web\": [\"203.0.113.1\"] is not allowed in config",
            ],
        ),
        change("§2.3 removed", web().asks("192.0.2.5"), web(), &["192.0.2.5"], Reason::Allocated, &[]),
        change("§2.4 removed", web().of_pool("b"), web(), &["198.51.100.0"], Reason::Allocated, &[]),
        change(
            "§2.4 changed",
            web(),
            web().of_pool("b"),
            &["198.51.100.0"],
            Reason::Allocated,
            &["IPAllocated: Assigned IP [\"198.51.100.0\"]"],
        ),
        change(
            "§2.4 unknown",
            web(),
            web().of_pool("x"),
            NONE,
            Reason::UnknownPool,
            &["AllocationFailed: Failed to allocate IP for \"shop/web\": unknown pool \"x\""],
        ),
        change(
            "§2.5 other family",
            web(),
            web().v6(),
            &["2001:db8::"],
            Reason::Allocated,
            &["IPAllocated: Assigned IP [\"2001:db8::\"]"],
        ),
        change(
            "§2.5 dual wanted: the other family of the same pool",
            web().of_pool("b"),
            web().prefer_dual(),
            &["198.51.100.0", "2001:db8:1::"],
            Reason::Allocated,
            &["IPAllocated: Assigned additional IP \"2001:db8:1::\""],
        ),
        change(
            "§2.5 RequireDualStack with one cluster IP",
            web().require_dual(),
            web().require_dual().with(|s| s.cluster_families.truncate(1)),
            NONE,
            Reason::NotEnoughClusterIps,
            &[
                "not enough clusterips: RequireDualStack needs cluster IPs of both families, the Service has IPv4 only",
            ],
        ),
        change(
            "§10 D1 one cluster IP less: the other address stays",
            web().prefer_dual(),
            web().prefer_dual().with(|s| s.cluster_families.truncate(1)),
            &["192.0.2.0"],
            Reason::Allocated,
            &[],
        ),
        change(
            "§2.1 cluster IP gone",
            web(),
            web().with(|s| s.cluster_families.clear()),
            NONE,
            Reason::NoClusterIp,
            &[],
        ),
    ] {
        let mut cluster = Cluster::new(&two_pools());
        cluster.set(before);
        cluster.take_events();
        cluster.set(after.with(|s| s.generation = 2));
        assert_eq!(cluster.status("web"), status, "{row}");
        assert_eq!(cluster.allocated("web").unwrap().1, reason, "{row}");
        let told = cluster.take_events();
        let events: Vec<String> = events.iter().map(|event| event.replace("{cleared}", cleared)).collect();
        assert_eq!(told, events, "{row}");
        let waiting: Vec<Reason> = cluster.world.waiting().map(|(_, reason, _)| reason).collect();
        assert_eq!(waiting.first().copied().unwrap_or(Reason::Allocated), reason, "{row}");
        let restarted = cluster.restarted();
        assert_eq!(
            (&restarted.writes, &restarted.events),
            (&Vec::new(), &Vec::new()),
            "{row}: after a restart"
        );
    }
}

#[test]
fn prefer_dual_stack_in_a_pool_of_one_family_is_told_once() {
    let mut cluster = Cluster::new(&[pool("a", &["192.0.2.0/29"])]);
    cluster.set(service("web").prefer_dual());
    let told = cluster.take_events();
    let text = "AdditionalAssignFailed: cannot assign additional IP in PreferDualStack: no available IPs in pool a: \
                it has no IPv6 addresses";
    assert_eq!(told, ["IPAllocated: Assigned IP [\"192.0.2.0\"]", text], "§2.5");
    cluster.set(service("web").prefer_dual().with(|s| drop(s.labels.insert("x".into(), "y".into()))));
    assert_eq!(cluster.take_events(), [""; 0], "once and not on each look");
    assert_eq!(cluster.status("web"), ["192.0.2.0"]);
    cluster.set_pool(pool("b", &["198.51.100.0/29", "2001:db8::/125"]));
    cluster.settle();
    assert_eq!(cluster.status("web"), ["192.0.2.0"], "§2.5 another dual pool appears: stays");
    cluster.set_pool(pool("a", &["192.0.2.0/29", "2001:db8:1::/125"]));
    cluster.settle();
    assert_eq!(cluster.status("web"), ["192.0.2.0", "2001:db8:1::"]);
}

/// §2.7.
#[test]
fn changes_of_pools() {
    let mut cluster = Cluster::new(&[pool("a", &["192.0.2.0/29"]), pool("b", &["198.51.100.0/29"])]);
    cluster.set(service("web").asks("192.0.2.3"));
    cluster.set(service("web"));
    cluster.set_pool(pinned("better", &["203.0.113.0/29"], &["shop"]));
    cluster.settle();
    assert_eq!(cluster.status("web"), ["192.0.2.3"], "pool added: nobody moves");
    cluster.set_pool(Pool { auto_assign: false, ..pool("a", &["192.0.2.0/29"]) });
    cluster.settle();
    assert_eq!(cluster.status("web"), ["192.0.2.3"], "autoAssign off: holders stay");
    cluster.take_writes();

    cluster.set_pool(pool("renamed", &["192.0.2.0/29"]));
    cluster.remove_pool("a");
    cluster.settle();
    assert_eq!(cluster.status("web"), ["192.0.2.3"], "renamed, still covered");
    assert_eq!(cluster.stored[&key("web")].requests.allocated_from.as_deref(), Some("renamed"));
    assert_eq!(cluster.take_writes().len(), 1);

    cluster.set_pool(pinned("renamed", &["192.0.2.0/29"], &["other"]));
    cluster.settle();
    assert_eq!(cluster.status("web"), ["203.0.113.0"], "serviceAllocation tightened: moved");
    cluster.remove_pool("better");
    cluster.settle();
    assert_eq!(cluster.status("web"), ["198.51.100.0"], "pool deleted: elsewhere");
    cluster.set_pool(Pool { avoid_buggy_ips: true, ..pool("b", &["198.51.100.0/29"]) });
    cluster.settle();
    assert_eq!(cluster.status("web"), ["198.51.100.1"], "avoidBuggyIPs");
    cluster.remove_pool("b");
    cluster.settle();
    assert_eq!(cluster.status("web"), NONE, "… or pending");
    assert_eq!(cluster.stored[&key("web")].requests.allocated_from, None);
    cluster.remove_pool("renamed");
    cluster.settle();
    assert_eq!(cluster.allocated("web"), Some((false, Reason::NoPools)));
}

#[test]
fn labels_of_a_namespace_open_and_close_pools() {
    let mut cluster = Cluster::new(&[for_team("x", &["192.0.2.0/29"], "x")]);
    cluster.set(service("web"));
    assert_eq!(cluster.status("web"), NONE, "§10 D4");
    let team = |team: &str| Some([("team".to_owned(), team.to_owned())].into());
    let observe = |cluster: &mut Cluster, labels| {
        cluster.world.observe(landfall_model::Observation::Namespace("shop".into(), labels));
        cluster.settle();
    };
    observe(&mut cluster, team("x"));
    assert_eq!(cluster.status("web"), ["192.0.2.0"], "§2.7 namespace label change");
    observe(&mut cluster, team("y"));
    assert_eq!(cluster.status("web"), NONE);
    observe(&mut cluster, team("x"));
    assert_eq!(cluster.status("web"), ["192.0.2.0"]);
    observe(&mut cluster, None);
    assert_eq!(cluster.status("web"), NONE);
}

#[test]
fn deletion_type_and_class_release() {
    let pools = [pool("a", &["192.0.2.0/32"])];
    type Leave = fn(&mut Cluster);
    let ways: [(&str, Leave, bool); 4] = [
        ("§2.7 deleted", |c| c.delete("web"), false),
        ("deletion begun", |c| c.set(service("web").with(|s| s.deleting = true)), true),
        ("§2.1 other type", |c| c.set(service("web").with(|s| s.load_balancer = false)), true),
        ("§2.1 other class", |c| c.set(service("web").with(|s| s.class = Some("x".into()))), true),
    ];
    for (row, leave, stays) in ways {
        let mut cluster = Cluster::new(&pools);
        cluster.set(service("web"));
        cluster.set(service("next").created(1));
        assert_eq!(cluster.status("next"), NONE, "{row}");
        leave(&mut cluster);
        assert_eq!(cluster.status("web"), NONE, "{row}");
        if stays {
            assert_eq!(cluster.stored[&key("web")].requests.allocated_from, None, "{row}");
        }
        assert_eq!(cluster.status("next"), ["192.0.2.0"], "{row}: the waiting one is served");
        assert_eq!(cluster.counts["a"].assigned_v4, 1, "{row}");
    }
}

#[test]
fn other_classes_and_types_are_never_touched() {
    let classes = [
        service("other").with(|s| s.class = Some("x".into())).status(&["192.0.2.1"]).marked("a"),
        service("plain").with(|s| s.load_balancer = false),
        service("cloud").with(|s| s.class = Some("x".into())).status(&["lb.example.com"]),
    ];
    let mut cluster = Cluster::with_services(&two_pools(), &classes);
    for service in classes {
        cluster.set(service.with(|s| drop(s.labels.insert("x".into(), "y".into()))));
    }
    assert_eq!(cluster.take_writes(), []);
    assert_eq!(cluster.take_events(), [""; 0]);
    let mut ours = Cluster::new(&[]);
    ours.world = landfall_plan::World::new(landfall_plan::Settings {
        classes: landfall_model::Classes::only("x"),
        leaves_aws: false,
    });
    ours.set_pool(pool("a", &["192.0.2.0/29"]));
    ours.world.observe(landfall_model::Observation::Synced);
    ours.set(service("web"));
    ours.set(service("mine").with(|s| s.class = Some("x".into())));
    assert_eq!(
        (ours.status("web"), ours.status("mine")),
        (vec![], vec!["192.0.2.0".to_owned()]),
        "§2.1 --lb-class"
    );
}

#[test]
fn what_aws_annotations_claim_is_left_to_it_where_there_is_one() {
    for leaves_aws in [false, true] {
        let mut cluster = Cluster::new(&[]);
        cluster.world =
            landfall_plan::World::new(landfall_plan::Settings { leaves_aws, ..Default::default() });
        cluster.set_pool(pool("a", &["192.0.2.0/29"]));
        cluster.world.observe(landfall_model::Observation::Synced);
        cluster.set(service("web").with(|s| s.requests.aws = true));
        assert_eq!(cluster.status("web").is_empty(), leaves_aws);
    }
}

#[test]
fn what_was_released_may_go_to_another_class() {
    let mut cluster = Cluster::new(&two_pools());
    cluster.set(service("web"));
    cluster.set(service("web").with(|s| s.load_balancer = false));
    assert_eq!(cluster.status("web"), NONE);
    cluster.take_writes();
    cluster
        .apply(service("web").with(|s| s.class = Some("x".into())).status(&["203.0.113.9"]).marked("theirs"));
    cluster.settle();
    assert_eq!(cluster.take_writes(), []);
    assert_eq!(cluster.status("web"), ["203.0.113.9"]);
}

#[test]
fn a_status_of_somebody_else_is_left_alone() {
    for (row, pools, status) in [
        ("hostname", two_pools(), "lb.example.com"),
        ("address outside our pools", two_pools(), "203.0.113.1"),
        ("§2.1 no pools at all, on purpose unlike MetalLB", vec![], "203.0.113.1"),
    ] {
        let mut cluster = Cluster::with_services(&pools, &[service("web").status(&[status])]);
        let writes = cluster.take_writes();
        assert_eq!(writes.len(), 1, "{row}");
        assert_eq!(writes[0].assignment, Assignment::Leave, "{row}");
        assert_eq!(cluster.allocated("web"), Some((false, Reason::ForeignStatus)), "{row}");
        assert_eq!(cluster.restarted().writes, [], "{row}");
        cluster.apply(service("web"));
        cluster.settle();
        assert_eq!(cluster.status("web").is_empty(), pools.is_empty(), "{row}: served once it is emptied");
    }
    let mut cluster = Cluster::new(&two_pools());
    cluster.set(service("web"));
    let taken = cluster.stored[&key("web")].clone();
    cluster.apply(taken.status(&["lb.example.com"]).with(|s| s.requests.allocated_from = None));
    cluster.settle();
    assert_eq!(cluster.stored[&key("web")].ingress, [Ingress::Other("lb.example.com".into())]);
    assert_eq!(cluster.counts["a"].assigned_v4, 0, "released from us");
}

/// §2.7 "status edited by hand".
#[test]
fn edits_of_our_status() {
    let other = service("other").asks("192.0.2.5");
    for (row, edit, expected) in [
        ("allowed", &["192.0.2.6"][..], "192.0.2.6"),
        ("held by another", &["192.0.2.5"], "192.0.2.3"),
        ("outside", &["203.0.113.1"], "192.0.2.3"),
        ("emptied", &[], "192.0.2.3"),
        ("three", &["192.0.2.0", "192.0.2.2", "192.0.2.3"], "192.0.2.3"),
    ] {
        let mut cluster = Cluster::new(&two_pools());
        cluster.set(service("web").asks("192.0.2.3"));
        cluster.set(service("web"));
        cluster.set(other.clone());
        let edited = cluster.stored[&key("web")].clone().status(edit);
        cluster.apply(edited);
        cluster.settle();
        assert_eq!(cluster.status("web"), [expected], "{row}");
        assert_eq!(cluster.status("other"), ["192.0.2.5"], "{row}");
    }
}

#[test]
fn the_forwarding_annotation() {
    let web = |mode| service("web").with(|s| s.requests.forwarding = Some(mode));
    let proxy = || web(Ok(Forwarding::NodePort));
    for (service, mode, reason) in [
        (web(Ok(Forwarding::Announce)), IpMode::Vip, None),
        (proxy(), IpMode::Proxy, None),
        (proxy().with(|s| s.ports[0].node_port = None), IpMode::Proxy, None),
        (web(Err("fly".into())), IpMode::Vip, Some(Reason::UnknownForwarding)),
    ] {
        let mut cluster = Cluster::new(&two_pools());
        cluster.set(service.clone());
        let address = "192.0.2.0".parse().unwrap();
        assert_eq!(cluster.stored[&key("web")].ingress, [Ingress::Address { address, mode }]);
        assert_eq!(
            cluster.condition("web", condition::FORWARDING).map(|c| (c.status, c.reason)),
            reason.map(|r| (false, r))
        );
        let warned = cluster.take_events().iter().any(|e| reason.is_some_and(|r| e.starts_with(r.as_str())));
        assert_eq!(warned, reason.is_some());
        assert_eq!(cluster.restarted().writes, []);
        cluster.set(service.asks("192.0.2.3"));
        let again = cluster.take_events().iter().any(|e| reason.is_some_and(|r| e.starts_with(r.as_str())));
        assert!(!again, "told once for one cause");
        cluster.set(crate::cluster::service("web"));
        assert_eq!(cluster.condition("web", condition::FORWARDING), None);
    }
}

#[test]
fn deprecated_annotations_are_told_when_something_changes() {
    let mut cluster = Cluster::new(&two_pools());
    let web = service("web").with(|s| s.requests.deprecated_annotation = true);
    cluster.set(web.clone());
    assert!(cluster.take_events().iter().any(|event| event.starts_with("deprecatedAnnotation: ")), "§2.2");
    cluster.set(web.with(|s| drop(s.labels.insert("x".into(), "y".into()))));
    assert_eq!(cluster.take_events(), [""; 0]);
}
