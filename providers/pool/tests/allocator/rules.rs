//! What is held back: excluded, reserved, of a node, in quarantine, beyond a quota.

use std::{net::IpAddr, time::Duration};

use landfall_model::{Instant, Pool, PoolRules, Reason, ServiceKey, ServiceView};
use landfall_pool::{Allocator, Change, Claimant, Request};
use proptest::prelude::*;

use crate::cluster::*;

fn with(pool: Pool, rules: PoolRules) -> Pool {
    Pool { rules, ..pool }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn excluding(ranges: &[&str]) -> PoolRules {
    PoolRules { exclude: ranges.iter().map(|range| range.parse().unwrap()).collect(), ..PoolRules::default() }
}

fn reserving(entries: &[(&str, &str)]) -> PoolRules {
    let entries = entries.iter().map(|(address, name)| (ip(address), ServiceKey::new("shop", name)));
    PoolRules { reserved: entries.collect(), ..PoolRules::default() }
}

fn allocated(allocator: &mut Allocator, view: &ServiceView) -> Result<Vec<String>, Reason> {
    let labels = landfall_model::Labels::new();
    let result = allocator.allocate(&Request::of(view, &labels).map_err(|rejection| rejection.reason)?);
    let texts = |addresses: Vec<IpAddr>| addresses.iter().map(ToString::to_string).collect();
    result.map(texts).map_err(|rejection| rejection.reason)
}

fn free(allocator: &Allocator, pool: &str) -> i64 {
    allocator.counts(pool).unwrap().available_v4
}

#[test]
fn excluded_addresses_are_skipped_and_stay_with_who_has_them() {
    let rules = excluding(&["192.0.2.0/31", "192.0.2.3-192.0.2.3", "198.51.100.0/24"]);
    let mut allocator = allocator(&[pool("a", &["192.0.2.0/29"])]);
    claim(&mut allocator, &service("old"), &["192.0.2.1"]).unwrap();
    allocator.set_pool(with(pool("a", &["192.0.2.0/29"]), rules));
    assert_eq!(keep(&mut allocator, &service("old")), Ok(None));
    assert_eq!(free(&allocator, "a"), 5);
    assert_eq!(allocated(&mut allocator, &service("s")).unwrap(), ["192.0.2.2"]);
    assert_eq!(allocated(&mut allocator, &service("t")).unwrap(), ["192.0.2.4"]);
    assert_eq!(allocated(&mut allocator, &service("u").asks("192.0.2.0")), Err(Reason::AddressExcluded));
    assert_eq!(free(&allocator, "a"), 3);
    // Given back, it is out of reach like the others.
    allocator.release(&service("old").key);
    assert_eq!(
        (free(&allocator, "a"), allocated(&mut allocator, &service("v")).unwrap()),
        (3, vec!["192.0.2.5".to_owned()])
    );
    assert_eq!(allocated(&mut allocator, &service("v").asks("192.0.2.1")), Err(Reason::AddressExcluded));
    // Without the rule it is there again.
    allocator.set_pool(pool("a", &["192.0.2.0/29"]));
    assert_eq!(allocated(&mut allocator, &service("w")).unwrap(), ["192.0.2.0"]);
}

#[test]
fn a_large_exclusion_costs_no_more_than_a_small_one() {
    let rules = excluding(&["2001:db8::/33", "2001:db8:8000::-2001:db8:8000::5"]);
    let mut allocator = allocator(&[with(pool("a", &["2001:db8::/32"]), rules)]);
    assert_eq!(allocated(&mut allocator, &service("s").v6()).unwrap(), ["2001:db8:8000::6"]);
}

#[test]
fn a_reserved_address_waits_for_its_service() {
    let rules = reserving(&[("192.0.2.0", "late"), ("192.0.2.2", "late"), ("192.0.2.3", "old")]);
    let mut allocator = allocator(&[with(pool("a", &["192.0.2.0/29"]), rules)]);
    claim(&mut allocator, &service("other"), &["192.0.2.3"]).unwrap();
    assert_eq!(free(&allocator, "a"), 5);
    assert_eq!(allocated(&mut allocator, &service("s")).unwrap(), ["192.0.2.1"]);
    assert_eq!(allocated(&mut allocator, &service("s").asks("192.0.2.0")), Err(Reason::AddressReserved));
    assert_eq!(allocated(&mut allocator, &service("late")).unwrap(), ["192.0.2.0"]);
    allocator.release(&service("late").key);
    assert_eq!(
        allocated(&mut allocator, &service("t")).unwrap(),
        ["192.0.2.1"],
        "it is held for it all the time"
    );
    assert_eq!(allocated(&mut allocator, &service("late")).unwrap(), ["192.0.2.0"]);
    assert_eq!(
        allocated(&mut allocator, &service("late").asks("192.0.2.5")).unwrap(),
        ["192.0.2.5"],
        "as it asks"
    );
    assert_eq!(allocated(&mut allocator, &service("old")).unwrap(), ["192.0.2.4"], "somebody else has it");
    assert_eq!(keep(&mut allocator, &service("other")), Ok(None), "and keeps it");
}

#[test]
fn a_reservation_is_for_the_families_of_the_service() {
    let rules = reserving(&[("192.0.2.5", "s"), ("2001:db8::5", "s")]);
    let both = with(pool("a", &["192.0.2.0/28", "2001:db8::/124"]), rules);
    let mut allocator = allocator(&[both]);
    assert_eq!(allocated(&mut allocator, &service("s").v6()).unwrap(), ["2001:db8::5"]);
    assert_eq!(
        allocated(&mut allocator, &service("s").require_dual()).unwrap(),
        ["192.0.2.5", "2001:db8::5"]
    );
}

#[test]
fn an_address_of_a_node_is_not_handed_out() {
    let mut allocator = allocator(&[pool("a", &["192.0.2.0/30"])]);
    claim(&mut allocator, &service("old"), &["192.0.2.2"]).unwrap();
    let changed = allocator.set_node("n1", vec![ip("192.0.2.0"), ip("192.0.2.2"), ip("10.0.0.1")]);
    assert!(changed.iter().map(|pool| &**pool).eq(["a"]));
    allocator.set_node("n2", vec![ip("192.0.2.0")]);
    assert_eq!((free(&allocator, "a"), keep(&mut allocator, &service("old"))), (2, Ok(None)));
    assert_eq!(allocated(&mut allocator, &service("s")).unwrap(), ["192.0.2.1"]);
    assert_eq!(allocated(&mut allocator, &service("t").asks("192.0.2.0")), Err(Reason::NodeAddress));
    allocator.set_node("n1", vec![]);
    assert_eq!(
        allocated(&mut allocator, &service("t").asks("192.0.2.0")),
        Err(Reason::NodeAddress),
        "n2 has it"
    );
    allocator.take_changes();
    allocator.set_node("n2", vec![]);
    let freed = Change::Freed { pool: Some("a".into()), address: ip("192.0.2.0") };
    assert_eq!(allocator.take_changes(), [freed], "who waits is told");
    assert_eq!(allocated(&mut allocator, &service("t")).unwrap(), ["192.0.2.0"]);
}

#[test]
fn an_address_is_shared_again_when_its_node_goes() {
    let shares = |name: &str, port| service(name).key("k").port(landfall_model::Protocol::Tcp, port);
    let mut allocator = allocator(&[pool("a", &["192.0.2.0/32"])]);
    assert_eq!(allocated(&mut allocator, &shares("s", 80)).unwrap(), ["192.0.2.0"]);
    allocator.set_node("n1", vec![ip("192.0.2.0")]);
    assert_eq!(allocated(&mut allocator, &shares("t", 81)), Err(Reason::NoAvailableAddresses));
    allocator.take_changes();
    allocator.set_node("n1", vec![]);
    let users = Change::Users { address: ip("192.0.2.0"), key: Some("k".into()) };
    assert_eq!(allocator.take_changes(), [users], "who waits for the key is told");
    assert_eq!(allocated(&mut allocator, &shares("t", 81)).unwrap(), ["192.0.2.0"]);
}

#[test]
fn an_address_rests_before_another_service_gets_it() {
    let rules = PoolRules { quarantine: Some(Duration::from_secs(60)), ..PoolRules::default() };
    let mut allocator = allocator(&[with(pool("a", &["192.0.2.0/31"]), rules)]);
    allocator.at(Instant::ZERO);
    assert_eq!(allocated(&mut allocator, &service("s")).unwrap(), ["192.0.2.0"]);
    allocator.take_changes();
    allocator.release(&service("s").key);
    assert!(!allocator.take_changes().iter().any(|change| matches!(change, Change::Freed { .. })), "not yet");
    assert_eq!(
        (free(&allocator, "a"), allocated(&mut allocator, &service("t")).unwrap()),
        (1, vec!["192.0.2.1".to_owned()])
    );
    assert_eq!(allocated(&mut allocator, &service("u")), Err(Reason::NoAvailableAddresses));
    assert_eq!(allocated(&mut allocator, &service("u").asks("192.0.2.0")), Err(Reason::Quarantined));
    assert_eq!(
        allocated(&mut allocator, &service("s").asks("192.0.2.0")).unwrap(),
        ["192.0.2.0"],
        "its last user"
    );
    allocator.release(&service("s").key);
    let end = Instant::ZERO + Duration::from_secs(60);
    assert_eq!(allocator.next_end_of_quarantine(), Some(end));
    allocator.at(end);
    assert!(allocator.take_changes().iter().any(|change| matches!(change, Change::Freed { .. })));
    assert_eq!(allocated(&mut allocator, &service("u")).unwrap(), ["192.0.2.0"]);
}

#[test]
fn a_namespace_has_no_more_than_its_quota() {
    let rules = |quota| PoolRules { quota: Some(quota), ..PoolRules::default() };
    let of_pool = |quota| with(pool("a", &["192.0.2.0/28"]), rules(quota));
    let mut allocator = allocator(&[of_pool(2)]);
    let there = |name: &str| service(name).in_namespace("bank");
    for (view, result) in [
        (service("s"), Ok("192.0.2.0")),
        (service("t"), Ok("192.0.2.1")),
        (service("u"), Err(Reason::QuotaExceeded)),
        (service("u").asks("192.0.2.9"), Err(Reason::QuotaExceeded)),
        (service("u").of_pool("a"), Err(Reason::QuotaExceeded)),
        (there("u"), Ok("192.0.2.2")),
        (there("v").require_dual(), Err(Reason::NoAvailableAddresses)),
    ] {
        let got = allocated(&mut allocator, &view);
        assert_eq!(got, result.map(|address| vec![address.to_owned()]), "{}", view.key);
    }
    allocator.take_changes();
    allocator.release(&service("s").key);
    let left = Change::Left { namespace: "shop".into() };
    assert!(allocator.take_changes().contains(&left), "who waits is told");
    assert_eq!(allocated(&mut allocator, &service("u")).unwrap(), ["192.0.2.0"]);
    // A lower quota takes nothing away.
    allocator.set_pool(of_pool(1));
    assert_eq!(keep(&mut allocator, &service("t")), Ok(None));
    assert_eq!(allocated(&mut allocator, &service("w")), Err(Reason::QuotaExceeded));
}

#[test]
fn a_shared_address_counts_once_for_a_namespace() {
    let rules = PoolRules { quota: Some(1), ..PoolRules::default() };
    let mut allocator = allocator(&[with(pool("a", &["192.0.2.0/28"]), rules)]);
    let shares = |name: &str, port| service(name).key("k").port(landfall_model::Protocol::Tcp, port);
    assert_eq!(allocated(&mut allocator, &shares("s", 80)).unwrap(), ["192.0.2.0"]);
    assert_eq!(allocated(&mut allocator, &shares("t", 81).asks("192.0.2.0")).unwrap(), ["192.0.2.0"]);
    allocator.release(&shares("s", 80).key);
    assert_eq!(allocated(&mut allocator, &service("u")), Err(Reason::QuotaExceeded));
    allocator.release(&shares("t", 81).key);
    assert_eq!(allocated(&mut allocator, &service("u")).unwrap(), ["192.0.2.0"]);
}

/// A step: a Service comes or goes, or a node has an address or none.
#[derive(Clone, Debug)]
enum Step {
    Come(u8),
    Go(u8),
    Node(u8, Option<u8>),
    Pass(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..8).prop_map(Step::Come),
        2 => (0u8..8).prop_map(Step::Go),
        1 => (0u8..2, proptest::option::of(0u8..16)).prop_map(|(node, address)| Step::Node(node, address)),
        1 => (0u8..90).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn nothing_that_is_held_back_is_handed_out(
        steps in prop::collection::vec(step(), 0..60),
        exclude in 0u8..12,
        reserved in 0u8..16,
        quota in 1u32..6,
        quarantine in proptest::option::of(1u64..90),
    ) {
        let address = |offset: u8| IpAddr::from([192, 0, 2, offset]);
        let owner = ServiceKey::new("shop", "s0");
        let rules = PoolRules {
            exclude: vec![landfall_model::AddressRange::new(address(exclude), address(exclude + 3)).unwrap()],
            reserved: [(address(reserved), owner.clone())].into(),
            quota: Some(quota),
            quarantine: quarantine.map(Duration::from_secs),
        };
        let excluded = rules.exclude[0];
        let mut allocator = allocator(&[with(pool("a", &["192.0.2.0/28"]), rules)]);
        let mut nodes = [None; 2];
        let mut now = Instant::ZERO;
        let mut left: std::collections::BTreeMap<IpAddr, (Instant, ServiceKey)> = std::collections::BTreeMap::new();
        let labels = landfall_model::Labels::new();
        for step in steps {
            match step {
                Step::Come(number) => {
                    let view = service(&format!("s{number}"));
                    if allocator.holding(&view.key).is_some() {
                        continue;
                    }
                    let Ok(got) = allocator.allocate(&Request::of(&view, &labels).unwrap()) else { continue };
                    for one in got {
                        prop_assert!(!excluded.contains(one));
                        prop_assert!(one != address(reserved) || view.key == owner);
                        prop_assert!(nodes.iter().all(|node| *node != Some(one)));
                        if let (Some(seconds), Some((at, last))) = (quarantine, left.get(&one)) {
                            prop_assert!(*last == view.key || *at + Duration::from_secs(seconds) <= now);
                        }
                    }
                    let held = (0..8).filter(|n| allocator.holding(&ServiceKey::new("shop", &format!("s{n}"))).is_some());
                    prop_assert!(held.count() <= quota as usize);
                }
                Step::Go(number) => {
                    let key = ServiceKey::new("shop", &format!("s{number}"));
                    for one in allocator.release(&key) {
                        left.insert(one, (now, key.clone()));
                    }
                }
                Step::Node(node, has) => {
                    let has = has.map(address);
                    nodes[usize::from(node)] = has;
                    allocator.set_node(&format!("n{node}"), has.into_iter().collect());
                }
                Step::Pass(seconds) => {
                    now += Duration::from_secs(u64::from(seconds));
                    allocator.at(now);
                }
            }
            // What the counts call free can be had, one after the other, by namespaces without a quota's end.
            let mut copy = allocator.clone();
            let free = copy.counts("a").unwrap().available_v4;
            for number in 0..free {
                let view = service("more").in_namespace(&format!("other-{number}"));
                let claimant = Claimant::of(&view, &labels);
                let request = Request { claimant, ..Request::of(&view, &labels).unwrap() };
                prop_assert!(copy.allocate(&request).is_ok(), "{} of {} free", number, free);
            }
        }
    }
}
