//! When a Service keeps its addresses and when not: §2.3 and §2.4 (right columns), §2.5, §2.7, §3.2.

use landfall_model::{Family, FamilyPolicy, Pool, Reason, ServiceView};
use landfall_pool::{Allocator, Request};

use crate::cluster::*;

const V4: Family = Family::V4;
const V6: Family = Family::V6;

fn pools() -> Vec<Pool> {
    vec![pool("a", &["192.0.2.0/28", "2001:db8::/124"]), pool("b", &["198.51.100.0/28", "2001:db8:1::/124"])]
}

/// The allocator in which `service` holds these addresses.
fn holding(service: &ServiceView, held: &[&str]) -> Allocator {
    let mut allocator = allocator(&pools());
    claim(&mut allocator, service, held).unwrap();
    allocator
}

#[test]
fn triggers() {
    let one = |allocator: &Allocator, expected: &[&str], row: &str| {
        let held = allocator.holding(&service("s").key).map(|holding| holding.addresses.clone());
        assert_eq!(held, Some(addresses(expected)), "{row}");
    };
    for (row, before, held, after, expected) in [
        ("nothing changed", service("s"), &["192.0.2.5"][..], service("s"), Ok(None)),
        ("§2.3 request removed", service("s").asks("192.0.2.5"), &["192.0.2.5"], service("s"), Ok(None)),
        ("§2.4 annotation removed", service("s").of_pool("a"), &["192.0.2.5"], service("s"), Ok(None)),
        (
            "§2.3 asked for what it has",
            service("s"),
            &["192.0.2.5"],
            service("s").asks("192.0.2.5"),
            Ok(None),
        ),
        (
            "§2.3 same addresses in another order",
            service("s").require_dual(),
            &["192.0.2.5", "2001:db8::5"],
            service("s").require_dual().asks("2001:db8::5,192.0.2.5"),
            Ok(None),
        ),
        (
            "§2.3 another address asked for",
            service("s"),
            &["192.0.2.5"],
            service("s").asks("192.0.2.6"),
            Err(Reason::NotAllowedByConfig),
        ),
        (
            "§2.4 another pool",
            service("s"),
            &["192.0.2.5"],
            service("s").of_pool("b"),
            Err(Reason::PoolMismatch),
        ),
        (
            "§2.4 unknown pool",
            service("s"),
            &["192.0.2.5"],
            service("s").of_pool("x"),
            Err(Reason::PoolMismatch),
        ),
        ("§2.5 other family", service("s"), &["192.0.2.5"], service("s").v6(), Err(Reason::FamilyMismatch)),
        ("§3.2 needs dual", service("s"), &["192.0.2.5"], service("s").require_dual(), Ok(Some(V6))),
        ("§2.5 wants dual", service("s").v6(), &["2001:db8::5"], service("s").prefer_dual(), Ok(Some(V4))),
        (
            "§2.3 both set: keeps",
            service("s"),
            &["192.0.2.5"],
            service("s").asks("x"),
            Err(Reason::InvalidRequest),
        ),
    ] {
        let mut allocator = holding(&before, held);
        assert_eq!(keep(&mut allocator, &after), expected, "{row}");
        one(&allocator, held, row);
    }
}

#[test]
fn a_family_given_up_leaves_the_other_address() {
    let mut allocator = holding(&service("s").prefer_dual(), &["192.0.2.5", "2001:db8::5"]);
    let single = service("s").families(FamilyPolicy::PreferDualStack, &[V6]);
    assert_eq!(keep(&mut allocator, &single), Ok(None));
    assert_eq!(allocator.holding(&single.key).unwrap().addresses, addresses(&["2001:db8::5"]));
    assert_eq!(allocator.users("192.0.2.5".parse().unwrap()).count(), 0);
}

#[test]
fn the_missing_family_comes_from_the_same_pool() {
    let mut allocator = holding(&service("s"), &["198.51.100.5"]);
    let namespace = landfall_model::Labels::new();
    let dual = service("s").prefer_dual();
    let request = Request::of(&dual, &namespace).unwrap();
    assert_eq!(allocator.complete(&request, V6).unwrap(), addresses(&["2001:db8:1::"])[0], "§2.5");
    assert_eq!(keep(&mut allocator, &dual), Ok(None));
    assert_eq!(allocator.holding(&dual.key).unwrap().addresses, addresses(&["198.51.100.5", "2001:db8:1::"]));

    let mut single =
        crate::cluster::allocator(&[pool("a", &["192.0.2.0/28"]), pool("b", &["2001:db8::/124"])]);
    claim(&mut single, &dual, &["192.0.2.1"]).unwrap();
    let rejection = single.complete(&request, V6).unwrap_err();
    assert_eq!(rejection.reason, Reason::FamilyMissing);
    assert_eq!(single.holding(&dual.key).unwrap().addresses, addresses(&["192.0.2.1"]), "untouched");
}

#[test]
fn configuration_changes() {
    let s = || service("s");
    for (row, change, expected) in [
        ("§2.7 pool added", pinned("first", &["203.0.113.0/28"], 1, &["shop"]), Ok(None)),
        ("§2.7 shrunk away", pool("a", &["192.0.2.0/32", "2001:db8::/124"]), Err(Reason::AddressNotInPools)),
        ("§3.2 order of ranges", pool("a", &["2001:db8::/124", "192.0.2.0/28"]), Ok(None)),
        (
            "§2.7 avoidBuggyIPs",
            Pool { avoid_buggy_ips: true, ..pool("a", &["192.0.2.0/24"]) },
            Err(Reason::BuggyAddress),
        ),
        ("§2.7 autoAssign off", Pool { auto_assign: false, ..pool("a", &["192.0.2.0/24"]) }, Ok(None)),
        ("§2.7 pinned to us", pinned("a", &["192.0.2.0/24"], 9, &["shop"]), Ok(None)),
        (
            "§2.7 pinned to others",
            pinned("a", &["192.0.2.0/24"], 9, &["x"]),
            Err(Reason::NamespaceNotAllowed),
        ),
    ] {
        let held = if expected == Err(Reason::BuggyAddress) { "192.0.2.0" } else { "192.0.2.5" };
        let mut allocator = holding(&s(), &[held]);
        let touched = allocator.set_pool(change.clone()).holders.contains(&s().key);
        assert_eq!(touched, &*change.name == "a", "{row}: only holders of the changed pool are named");
        assert_eq!(keep(&mut allocator, &s()), expected, "{row}");
    }
    let mut allocator = holding(&s(), &["192.0.2.5"]);
    assert!(allocator.remove_pool("a").holders.contains(&s().key));
    assert_eq!(keep(&mut allocator, &s()), Err(Reason::AddressNotInPools), "§2.7 pool deleted");
    assert!(allocator.set_pool(pool("renamed", &["192.0.2.0/24"])).holders.contains(&s().key));
    assert_eq!(keep(&mut allocator, &s()), Ok(None), "§2.7 renamed, still covered");
    assert_eq!(allocator.pool_of("192.0.2.5".parse().unwrap()), Some("renamed"));
    assert_eq!(allocator.counts("renamed").unwrap().assigned_v4, 1);
}

#[test]
fn a_family_of_each_of_two_pools_is_kept() {
    let mut allocator = allocator(&pools());
    let s = service("s").require_dual();
    claim(&mut allocator, &s, &["192.0.2.1", "2001:db8:1::1"]).unwrap();
    assert_eq!(keep(&mut allocator, &s), Ok(None));
    let held = addresses(&["192.0.2.1", "2001:db8:1::1"]);
    assert_eq!(allocator.pools_of(&held).as_deref(), Some("a,b"));
    assert_eq!(keep(&mut allocator, &service("s").require_dual().of_pool("a")), Err(Reason::PoolMismatch));
}

#[test]
fn claims_are_all_or_nothing() {
    for (row, held, reason) in [
        ("more than two", &["192.0.2.1", "192.0.2.2", "2001:db8::1"][..], Reason::NotAllowedByConfig),
        ("two of a family", &["192.0.2.1", "192.0.2.2"], Reason::NotAllowedByConfig),
        ("one outside", &["192.0.2.1", "2001:db8:9::1"], Reason::AddressNotInPools),
        ("none", &[], Reason::NotAllowedByConfig),
    ] {
        let mut allocator = allocator(&pools());
        let rejection = claim(&mut allocator, &service("s"), held).unwrap_err();
        assert_eq!(rejection.reason, reason, "§2.5 {row}");
        assert_eq!(allocator.holding(&service("s").key), None, "{row}");
        assert_eq!(allocator.users("192.0.2.1".parse().unwrap()).count(), 0, "{row}");
    }
}
