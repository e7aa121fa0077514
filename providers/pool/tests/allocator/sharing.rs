//! Several Services on one address: §2.6.

use landfall_model::{Protocol, Reason};
use landfall_pool::Change;

use crate::cluster::*;

#[test]
fn who_may_join() {
    let web = [("app", "web")];
    let first = || service("first").key("k");
    let udp = |name: &str| service(name).key("k").port(Protocol::Udp, 80);
    for (row, first, second, joins) in [
        ("1 same key", first(), udp("second"), true),
        ("1 other key", first(), udp("second").key("other"), false),
        ("1 no key", first(), service("second").port(Protocol::Udp, 80), false),
        ("1 empty keys share nothing", first().key(""), udp("second").key(""), false),
        ("2 same port", first(), service("second").key("k"), false),
        ("2 other number", first(), service("second").key("k").port(Protocol::Tcp, 81), true),
        ("3 Local with equal selectors", first().local(&web), udp("second").local(&web), true),
        ("3 Local with other selectors", first().local(&web), udp("second").local(&[("app", "x")]), false),
        ("3 Cluster and Local", first(), udp("second").local(&web), false),
        ("3 Cluster and Local with an empty selector", first(), udp("second").local(&[]), true),
        ("namespaces do not matter", first(), udp("second").in_namespace("other"), true),
    ] {
        let mut allocator = allocator(&[pool("a", &["192.0.2.0/30"])]);
        assert_eq!(allocate(&mut allocator, &first).unwrap(), ["192.0.2.0"], "{row}");
        let expected = if joins { "192.0.2.0" } else { "192.0.2.1" };
        assert_eq!(allocate(&mut allocator, &second).unwrap(), [expected], "{row}");
        let counts = allocator.counts("a").unwrap();
        assert_eq!(counts.assigned_v4, if joins { 1 } else { 2 }, "{row}: distinct addresses are counted");
        assert_eq!(
            allocate(&mut allocator, &second.clone().asks("192.0.2.0")).is_ok(),
            joins,
            "{row}: on request"
        );
    }
}

#[test]
fn the_pool_must_admit_both() {
    let mut allocator = allocator(&[pinned("p", &["192.0.2.0/30"], 0, &["shop"])]);
    allocate(&mut allocator, &service("first").key("k")).unwrap();
    let other = service("second").key("k").port(Protocol::Udp, 1).in_namespace("other").asks("192.0.2.0");
    assert_eq!(allocate(&mut allocator, &other).unwrap_err().reason, Reason::NamespaceNotAllowed);
}

#[test]
fn a_shareable_address_is_reached_before_a_free_one_only_if_it_is_lower() {
    let mut allocator = allocator(&[pool("a", &["192.0.2.0/30"])]);
    allocate(&mut allocator, &service("low")).unwrap();
    allocate(&mut allocator, &service("shared").key("k")).unwrap();
    let joiner = service("joiner").key("k").port(Protocol::Udp, 53);
    assert_eq!(allocate(&mut allocator, &joiner).unwrap(), ["192.0.2.1"]);
    allocator.release(&service("low").key);
    assert_eq!(allocate(&mut allocator, &joiner).unwrap(), ["192.0.2.0"], "permission, not a wish");
}

#[test]
fn causes_are_those_that_scripts_look_for() {
    let mut allocator = allocator(&[pool("a", &["192.0.2.0/30"])]);
    allocate(&mut allocator, &service("one").key("k").asks("192.0.2.1")).unwrap();
    allocate(&mut allocator, &service("two").key("k").asks("192.0.2.1").port(Protocol::Udp, 80)).unwrap();
    let port = allocate(&mut allocator, &service("three").key("k").asks("192.0.2.1")).unwrap_err();
    assert_eq!(port.cause, "port TCP/80 is already in use on \"192.0.2.1\"");
    let key = allocate(&mut allocator, &service("three").key("x").asks("192.0.2.1")).unwrap_err();
    assert_eq!(key.reason, Reason::SharingConflict);
    assert_eq!(
        key.cause,
        "can't change sharing key for \"shop/three\", address also in use by shop/one,shop/two: \
         the sharing keys differ"
    );
}

#[test]
fn a_lone_user_may_change_its_traits_and_one_with_neighbours_must_fit() {
    let mut allocator = allocator(&[pool("a", &["192.0.2.0/30"])]);
    allocate(&mut allocator, &service("one")).unwrap();
    assert_eq!(keep(&mut allocator, &service("one").key("k").local(&[("app", "web")])), Ok(None));
    assert_eq!(keep(&mut allocator, &service("one").key("k")), Ok(None));
    let two = service("two").key("k").port(Protocol::Udp, 80);
    assert_eq!(allocate(&mut allocator, &two).unwrap(), ["192.0.2.0"], "the new key is in force");
    assert_eq!(keep(&mut allocator, &service("two").key("k").port(Protocol::Udp, 81)), Ok(None));
    assert_eq!(keep(&mut allocator, &service("two").key("k")), Err(Reason::SharingConflict), "port taken");
    assert_eq!(keep(&mut allocator, &service("one")), Err(Reason::AddressInUse), "key given up");
    assert_eq!(keep(&mut allocator, &service("one").key("x")), Err(Reason::SharingConflict));
    let third = service("three").key("k").port(Protocol::Udp, 80);
    assert_eq!(allocate(&mut allocator, &third).unwrap(), ["192.0.2.0"], "the port that two gave up is free");
}

#[test]
fn a_search_that_failed_is_repeated_once_an_address_loosens() {
    let mut allocator = allocator(&[pool("a", &["192.0.2.0/31"])]);
    let tcp = |name: &str| service(name).key("k");
    let udp = |name: &str| service(name).key("k").port(Protocol::Udp, 80);
    allocate(&mut allocator, &tcp("a1")).unwrap();
    allocate(&mut allocator, &tcp("b1")).unwrap();
    assert_eq!(allocate(&mut allocator, &udp("a2")).unwrap(), ["192.0.2.0"]);
    assert!(allocate(&mut allocator, &tcp("late")).is_err());
    allocator.take_changes();
    allocator.release(&tcp("a1").key);
    let address = "192.0.2.0".parse().unwrap();
    assert_eq!(allocator.take_changes(), [Change::Users { address, key: Some("k".into()) }]);
    assert_eq!(allocate(&mut allocator, &tcp("late")).unwrap(), ["192.0.2.0"]);
}
