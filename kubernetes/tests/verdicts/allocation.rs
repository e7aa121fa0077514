//! The addresses that new Services get, one Service after the other, from MetalLB's allocator and from ours.

use std::{cell::RefCell, collections::BTreeMap, net::IpAddr};

use landfall_kubernetes::source::Snapshot;
use landfall_model::{AddressRange, Labels, ServiceKey};
use landfall_pool::{Allocator, Request};
use landfall_verdict::Mode;
use proptest::{collection::vec, prelude::*, sample::select, test_runner::TestCaseError};
use serde_json::{Value, json};

use crate::{Set, answers::Outcome, generator::field, generator::spec, oracle::Oracle, run};

/// What MetalLB gives and we do not, on purpose, and why.
const OPENED: &str =
    "a pool for namespaces by labels that no namespace has: MetalLB opens it to every namespace";

/// Whether MetalLB chose an address of a pool for namespaces with a label that none has.
fn opened(set: &Set, addresses: &[IpAddr]) -> bool {
    let pools = set.objects.iter().filter(|object| {
        let selectors = &object["spec"]["serviceAllocation"]["namespaceSelectors"];
        selectors[0]["matchLabels"]["team"] == "b"
    });
    let ranges = pools.filter_map(|pool| pool["spec"]["addresses"].as_array()).flatten();
    let mut ranges = ranges.map(|text| text.as_str().unwrap().parse::<AddressRange>().unwrap());
    ranges.any(|range| addresses.iter().any(|address| range.contains(*address)))
}

/// Small pools that do not overlap. One at most is for every Service, since MetalLB tries those in an order that changes
/// from run to run; the others have priorities of their own, since equal ones have no order either.
fn pools() -> impl Strategy<Value = Vec<Value>> {
    const V4: &[&[&str]] =
        &[&["_0/30"], &["_254-_255"], &["_9-_10", "_4/31"], &["_0/32", "_200-_202"], &["_128/31", "_1-_1"]];
    const V6: &[&[&str]] = &[&[":/127"], &[":1-:3"], &[":ffff/128", ":1/128"]];
    let selected = |key: &str| {
        select(vec![json!([{ "matchLabels": { key: "a" } }]), json!([{ "matchLabels": { key: "b" } }])])
    };
    let pool = (
        (proptest::option::weighted(0.8, select(V4)), proptest::option::weighted(0.4, select(V6))),
        spec(vec![field(15, "autoAssign", any::<bool>()), field(30, "avoidBuggyIPs", any::<bool>())]),
        spec(vec![
            field(30, "namespaces", select(vec![json!(["default"]), json!(["web"]), json!(["none"])])),
            field(15, "namespaceSelectors", selected("team")),
            field(35, "serviceSelectors", selected("app")),
        ]),
    );
    (vec(pool, 1..5), Just([2, 0, 1, 3]).prop_shuffle(), any::<bool>()).prop_map(|(pools, priorities, general)| {
        let pools = pools.into_iter().enumerate().map(|(index, ((v4, v6), mut spec, mut allocation))| {
            let v4 = v4.into_iter().flatten().map(|form| form.replace('_', &format!("10.0.{index}.")));
            let v6 = v6.into_iter().flatten().map(|form| form.replace(':', &format!("2001:db8:0:{index}::")));
            let mut addresses: Vec<String> = v4.chain(v6).collect();
            if addresses.is_empty() {
                addresses.push(format!("10.0.{index}.77/32"));
            }
            spec["addresses"] = json!(addresses);
            if index > 0 || !general {
                allocation["priority"] = json!(priorities[index]);
                spec["serviceAllocation"] = allocation;
            }
            let metadata = json!({ "name": format!("pool{index}") });
            json!({ "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": metadata, "spec": spec })
        });
        pools.collect()
    })
}

fn service() -> impl Strategy<Value = Value> {
    const ASKED: &[&str] = &[
        "10.0.0.0",
        "10.0.0.1",
        "10.0.0.2",
        "10.0.0.255",
        "10.0.1.9",
        "10.0.2.9",
        "2001:db8::",
        "2001:db8:0:1::1",
        "192.0.2.1",
        "10.0.0.1,2001:db8::1",
        "10.0.1.1,2001:db8:0:1::1",
        "10.0.0.1,2001:db8:0:1::1",
        "10.0.0.1,10.0.0.2",
    ];
    let annotations = spec(vec![
        field(25, "metallb.io/loadBalancerIPs", select(ASKED)),
        field(15, "metallb.io/address-pool", select(&["pool0", "pool1", "pool2", "none"][..])),
        field(50, "metallb.io/allow-shared-ip", select(&["one", "one", "two"][..])),
    ]);
    let families = select(vec![
        (vec!["10.96.0.1"], "SingleStack"),
        (vec!["10.96.0.1"], "SingleStack"),
        (vec!["10.96.0.1"], "PreferDualStack"),
        (vec!["fd00::1"], "SingleStack"),
        (vec!["10.96.0.1", "fd00::1"], "PreferDualStack"),
        (vec!["fd00::1", "10.96.0.1"], "PreferDualStack"),
        (vec!["10.96.0.1", "fd00::1"], "RequireDualStack"),
    ]);
    let port = (select(&["TCP", "UDP"][..]), select(&[80, 443][..]));
    let policy = select(&["Cluster", "Cluster", "Local"][..]);
    let labels = spec(vec![field(70, "app", select(&["a", "b"][..]))]);
    (select(&["default", "web", "db"][..]), labels, annotations, families, port, policy, select(&["x", "y"][..])).prop_map(
        |(namespace, labels, annotations, (addresses, families), (protocol, port), policy, target)| {
            let names: Vec<&str> = addresses.iter().map(|text| if text.contains(':') { "IPv6" } else { "IPv4" }).collect();
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": { "namespace": namespace, "labels": labels, "annotations": annotations },
                "spec": {
                    "type": "LoadBalancer", "clusterIP": addresses[0], "clusterIPs": addresses, "ipFamilies": names,
                    "ipFamilyPolicy": families, "externalTrafficPolicy": policy, "selector": { "run": target },
                    "ports": [{ "protocol": protocol, "port": port }],
                },
            })
        },
    )
}

fn set() -> impl Strategy<Value = Set> {
    let namespaces = || {
        let namespace = |name: &str, team: &str| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": { "team": team } } });
        [namespace("default", "a"), namespace("web", "c"), namespace("db", "c")]
    };
    (pools(), vec(service(), 1..9)).prop_map(move |(pools, services)| {
        let services = services.into_iter().enumerate().map(|(index, mut service)| {
            service["metadata"]["name"] = json!(format!("s{index}"));
            service
        });
        Set { mode: Mode::FrrK8s, objects: pools.into_iter().chain(namespaces()).chain(services).collect() }
    })
}

/// What each Service gets of us, in their order: addresses, or why none.
fn ours(set: &Set, services: &[&Value]) -> Vec<Result<Vec<IpAddr>, String>> {
    let list = json!({ "kind": "List", "items": set.objects }).to_string();
    let snapshot = Snapshot::read([("the set", list.as_str())], None).unwrap();
    assert!(snapshot.invalid.is_empty(), "{:?}", snapshot.invalid);
    let mut allocator = Allocator::default();
    for pool in snapshot.configuration.pools {
        allocator.set_pool(pool);
    }
    let views: BTreeMap<_, _> = snapshot.services.iter().map(|view| (&view.key, view)).collect();
    let none = Labels::new();
    let given = services.iter().map(|service| {
        let text = |field: &str| service["metadata"][field].as_str().unwrap();
        let view = views[&ServiceKey::new(text("namespace"), text("name"))];
        let labels = snapshot.namespaces.get(&view.key.namespace).unwrap_or(&none);
        let request = Request::of(view, labels).map_err(|rejection| rejection.to_string())?;
        allocator.allocate(&request).map_err(|rejection| rejection.to_string())
    });
    given.collect()
}

/// The deliberate difference, if there is one; what comes after it is not compared.
fn compare(set: &Set, oracle: &mut Oracle) -> Result<Option<&'static str>, String> {
    let answer = oracle.ask(set);
    assert_eq!(answer.outcome(), Outcome::Accepted, "{answer:?}");
    let services: Vec<&Value> = set.objects.iter().filter(|object| object["kind"] == "Service").collect();
    assert_eq!(answer.services.len(), services.len());
    for ((service, ours), theirs) in services.iter().zip(ours(set, &services)).zip(&answer.services) {
        let mut addresses = theirs.addresses.clone();
        addresses.sort_unstable();
        if ours.clone().unwrap_or_default() == addresses {
            continue;
        }
        if opened(set, &addresses) {
            return Ok(Some(OPENED));
        }
        return Err(format!(
            "{} gets {ours:?} of us, {addresses:?} of MetalLB {:?}",
            service["metadata"]["name"], theirs.error
        ));
    }
    Ok(None)
}

#[test]
#[ignore = "needs MetalLB's allocator, which Go builds; make test runs it"]
fn new_services_get_the_addresses_that_metallb_gives_them() {
    let oracle = RefCell::new(Oracle::start());
    let seen: RefCell<BTreeMap<Option<&str>, u32>> = RefCell::default();
    run(&set(), |set| {
        let difference = compare(set, &mut oracle.borrow_mut()).map_err(TestCaseError::fail)?;
        *seen.borrow_mut().entry(difference).or_default() += 1;
        Ok(())
    });
    let seen = seen.into_inner();
    println!("{seen:?}");
    assert!(seen.contains_key(&Some(OPENED)), "nothing shows the difference any more: {OPENED}");
    assert!(seen[&None] * 4 > seen.values().sum::<u32>() * 3, "most sets should not differ: {seen:?}");
}
