//! MetalLB's rules for addresses, as `landfall plan` shows them.

use super::*;

/// Objects, the Service that is asked about, what it gets, and the reason.
struct Row {
    title: &'static str,
    objects: Vec<Value>,
    gets: &'static [&'static str],
    reason: &'static str,
    events: &'static [&'static str],
}

const ALLOCATED: &[&str] = &["N:IPAllocated"];
const FAILED: &[&str] = &["W:AllocationFailed"];

fn lan() -> Value {
    pool("lan", &["192.0.2.10-192.0.2.19"], json!({}))
}

fn dual() -> Value {
    pool("dual", &["192.0.2.10-192.0.2.19", "2001:db8::10-2001:db8::19"], json!({}))
}

fn asks(changes: Value) -> Value {
    service("web", changes)
}

fn policy(policy: &str, families: &[&str]) -> Value {
    json!({"spec": {"ipFamilyPolicy": policy, "ipFamilies": families}})
}

/// The Service of each row is `web`; the others are there before it.
fn rows() -> Vec<Row> {
    let row = |title, objects, gets, reason, events| Row { title, objects, gets, reason, events };
    vec![
        row("the lowest address", vec![lan(), asks(json!({}))], &["192.0.2.10"], "Allocated", ALLOCATED),
        row("no pool at all", vec![asks(json!({}))], &[], "NoPools", FAILED),
        row(
            "the listed order within a pool",
            vec![pool("lan", &["192.0.2.20/32", "192.0.2.10/32"], json!({})), asks(json!({}))],
            &["192.0.2.20"],
            "Allocated",
            ALLOCATED,
        ),
        row(
            "a network address is handed out",
            vec![pool("lan", &["192.0.2.0/24"], json!({})), asks(json!({}))],
            &["192.0.2.0"],
            "Allocated",
            ALLOCATED,
        ),
        row(
            "avoidBuggyIPs",
            vec![pool("lan", &["192.0.2.0/24"], json!({"spec": {"avoidBuggyIPs": true}})), asks(json!({}))],
            &["192.0.2.1"],
            "Allocated",
            ALLOCATED,
        ),
        row(
            "an address in use is passed over",
            vec![lan(), service("first", holding(&["192.0.2.10"])), asks(json!({}))],
            &["192.0.2.11"],
            "Allocated",
            ALLOCATED,
        ),
        row(
            "a full pool",
            vec![
                pool("lan", &["192.0.2.10/32"], json!({})),
                service("first", holding(&["192.0.2.10"])),
                asks(json!({})),
            ],
            &[],
            "NoAvailableAddresses",
            FAILED,
        ),
        row(
            "autoAssign false",
            vec![pool("lan", &["192.0.2.10/32"], json!({"spec": {"autoAssign": false}})), asks(json!({}))],
            &[],
            "NoAvailableAddresses",
            FAILED,
        ),
        row(
            "autoAssign false, asked for by name",
            vec![
                pool("lan", &["192.0.2.10/32"], json!({"spec": {"autoAssign": false}})),
                asks(annotated("metallb.io/address-pool", "lan")),
            ],
            &["192.0.2.10"],
            "Allocated",
            ALLOCATED,
        ),
        row(
            "a requested address",
            vec![lan(), asks(annotated("metallb.io/loadBalancerIPs", "192.0.2.15"))],
            &["192.0.2.15"],
            "Allocated",
            ALLOCATED,
        ),
        row(
            "the old prefix, with its warning",
            vec![lan(), asks(annotated("metallb.universe.tf/loadBalancerIPs", "192.0.2.15"))],
            &["192.0.2.15"],
            "Allocated",
            &["N:IPAllocated", "W:deprecatedAnnotation"],
        ),
        row(
            "spec.loadBalancerIP",
            vec![lan(), asks(json!({"spec": {"loadBalancerIP": "192.0.2.15"}}))],
            &["192.0.2.15"],
            "Allocated",
            ALLOCATED,
        ),
        row(
            "both ways at once",
            vec![
                lan(),
                asks(merged(
                    annotated("metallb.io/loadBalancerIPs", "192.0.2.15"),
                    json!({"spec": {"loadBalancerIP": "192.0.2.15"}}),
                )),
            ],
            &[],
            "InvalidRequest",
            FAILED,
        ),
        row(
            "a request that cannot be read, on a Service that has an address",
            vec![
                lan(),
                asks(merged(annotated("metallb.io/loadBalancerIPs", "nonsense"), holding(&["192.0.2.12"]))),
            ],
            &["192.0.2.12"],
            "InvalidRequest",
            &["W:LoadBalancerFailed"],
        ),
        row(
            "outside every pool",
            vec![lan(), asks(annotated("metallb.io/loadBalancerIPs", "203.0.113.1"))],
            &[],
            "AddressNotInPools",
            FAILED,
        ),
        row(
            "another address is asked for",
            vec![
                lan(),
                asks(merged(annotated("metallb.io/loadBalancerIPs", "192.0.2.15"), holding(&["192.0.2.12"]))),
            ],
            &["192.0.2.15"],
            "Allocated",
            ALLOCATED,
        ),
        row(
            "a request that is gone keeps the address",
            vec![lan(), asks(holding(&["192.0.2.15"]))],
            &["192.0.2.15"],
            "Allocated",
            &[],
        ),
        row(
            "an unknown pool",
            vec![lan(), asks(annotated("metallb.io/address-pool", "wan"))],
            &[],
            "UnknownPool",
            FAILED,
        ),
        row(
            "an address of another Service without a key",
            vec![
                lan(),
                service("first", holding(&["192.0.2.10"])),
                asks(annotated("metallb.io/loadBalancerIPs", "192.0.2.10")),
            ],
            &[],
            "AddressInUse",
            FAILED,
        ),
        row(
            "RequireDualStack",
            vec![dual(), asks(policy("RequireDualStack", &["IPv4", "IPv6"]))],
            &["192.0.2.10", "2001:db8::10"],
            "Allocated",
            ALLOCATED,
        ),
        row(
            "RequireDualStack on a pool of one family",
            vec![lan(), asks(policy("RequireDualStack", &["IPv4", "IPv6"]))],
            &[],
            "NoAvailableAddresses",
            FAILED,
        ),
        row(
            "RequireDualStack with one cluster address",
            vec![dual(), asks(policy("RequireDualStack", &["IPv4"]))],
            &[],
            "NotEnoughClusterIps",
            &["W:not enough clusterips"],
        ),
        row(
            "SingleStack of IPv6",
            vec![dual(), asks(policy("SingleStack", &["IPv6"]))],
            &["2001:db8::10"],
            "Allocated",
            ALLOCATED,
        ),
        row(
            "an address that no pool has any more",
            vec![
                lan(),
                asks(merged(
                    annotated("metallb.io/ip-allocated-from-pool", "old"),
                    holding(&["203.0.113.1"]),
                )),
            ],
            &["192.0.2.10"],
            "Allocated",
            &["N:ClearAssignment", "N:IPAllocated"],
        ),
        row(
            "somebody else's status",
            vec![
                lan(),
                asks(json!({"status": {"loadBalancer": {"ingress": [{"hostname": "lb.example.com"}]}}})),
            ],
            &[],
            "ForeignStatus",
            &[],
        ),
        row(
            "another class",
            vec![lan(), asks(json!({"spec": {"loadBalancerClass": "example.com/other"}}))],
            &[],
            "ForeignClass",
            &[],
        ),
    ]
}

#[test]
fn addresses_are_those_of_metallb() {
    for Row { title, objects, gets, reason, events } in rows() {
        let report = planned(&objects);
        let web = found(&report, "web");
        assert_eq!(addresses(web), gets, "{title}: {}", web.message);
        assert_eq!((web.reason.as_str(), told(web)), (reason, events.to_vec()), "{title}: {}", web.message);
        assert!(report.config.valid, "{title}: {:?}", report.config.errors);
    }
}

#[test]
fn pinned_pools_go_first_and_the_others_are_told() {
    let pinned = |name: &str, address: &str, allocation: Value| {
        pool(name, &[address], json!({"spec": {"serviceAllocation": allocation}}))
    };
    let objects = [
        pool("amber", &["192.0.2.10/32"], json!({})),
        pinned("blue", "192.0.2.20/32", json!({"namespaces": ["bank"]})),
        pinned(
            "coral",
            "192.0.2.30/32",
            json!({"priority": 20, "serviceSelectors": [{"matchLabels": {"tier": "front"}}]}),
        ),
        pinned(
            "dark",
            "192.0.2.40/32",
            json!({"priority": 10, "namespaceSelectors": [{"matchLabels": {"team": "web"}}]}),
        ),
        pool("east", &["192.0.2.50/32"], json!({"spec": {"autoAssign": false}})),
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "web"}}}),
        service("web", json!({"metadata": {"labels": {"tier": "front"}}})),
        service("worker", json!({})),
    ];
    let report = planned(&objects);
    let rejected = |name: &str| -> Vec<String> {
        found(&report, name).rejected.iter().map(|one| format!("{} {}", one.pool, one.reason)).collect()
    };
    assert_eq!(addresses(found(&report, "web")), ["192.0.2.40"]);
    assert_eq!(found(&report, "web").pool.as_deref(), Some("dark"));
    assert!(rejected("web").contains(&"blue NamespaceNotAllowed".to_owned()), "{:?}", rejected("web"));
    assert!(rejected("web").contains(&"east NotAutoAssigned".to_owned()), "{:?}", rejected("web"));
    assert_eq!(addresses(found(&report, "worker")), ["192.0.2.10"]);
    let worker = rejected("worker");
    assert!(worker.contains(&"coral ServiceNotSelected".to_owned()), "{worker:?}");
    assert!(worker.contains(&"dark PoolExhausted".to_owned()), "{worker:?}");
}

#[test]
fn one_address_is_shared_by_those_whose_keys_and_ports_allow_it() {
    let key = || annotated("metallb.io/allow-shared-ip", "key");
    let port = |number: u16| json!({"spec": {"ports": [{"port": number}]}});
    let local = |app: &str| json!({"spec": {"externalTrafficPolicy": "Local", "selector": {"app": app}}});
    let other = |changes: Value| service("b", merged(merged(key(), port(81)), changes));
    for (title, second, shared) in [
        ("the same key, other ports", other(json!({})), true),
        ("the same port", other(port(80)), false),
        ("another key", other(annotated("metallb.io/allow-shared-ip", "another")), false),
        ("an empty key", other(annotated("metallb.io/allow-shared-ip", "")), false),
        ("policy Local beside Cluster", other(local("b")), false),
    ] {
        let report = planned(&[lan(), service("a", key()), second]);
        assert_eq!(addresses(found(&report, "a")), ["192.0.2.10"], "{title}");
        let expected = if shared { "192.0.2.10" } else { "192.0.2.11" };
        assert_eq!(addresses(found(&report, "b")), [expected], "{title}");
    }
    for (app, expected) in [("a", "192.0.2.10"), ("b", "192.0.2.11")] {
        let first = service("a", merged(key(), local("a")));
        let report = planned(&[lan(), first, other(local(app))]);
        assert_eq!(addresses(found(&report, "b")), [expected], "policy Local with the selector {app}");
    }
}

#[test]
fn an_address_that_would_be_lost_is_told() {
    let lost = |objects: &[Value]| planner::plan(snapshot(objects), &Options::default()).1;
    assert!(!lost(&[lan(), service("web", holding(&["192.0.2.12"]))]));
    let marked = merged(annotated("metallb.io/ip-allocated-from-pool", "old"), holding(&["203.0.113.9"]));
    assert!(lost(&[lan(), service("web", marked)]));
}

fn told(service: &Service) -> Vec<&str> {
    service.events.iter().map(String::as_str).collect()
}
