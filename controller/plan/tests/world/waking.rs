//! Who is looked at when something changes: cost follows change.

use landfall_model::Reason;

use crate::cluster::*;

fn full(pools: &[landfall_model::Pool], holders: usize) -> Cluster {
    let mut cluster = Cluster::new(pools);
    for index in 0..holders {
        cluster.apply(service(&format!("holder-{index:05}")).created(1));
    }
    cluster.settle();
    cluster
}

#[test]
fn one_changed_service_among_ten_thousand_is_one_look() {
    let mut cluster = full(&[pool("a", &["10.0.0.0/16"])], 10_000);
    assert_eq!(cluster.world.examined(), 10_000);
    assert_eq!(cluster.pool_writes, 2, "one for the empty pool, one for 10,000 assignments");
    assert_eq!(cluster.examined(|c| c.set(service("holder-00500").created(1).asks("10.0.99.99"))), 1);
    assert_eq!(cluster.status("holder-00500"), ["10.0.99.99"]);
    assert_eq!(cluster.examined(|c| c.set(service("new"))), 1);
    assert_eq!(cluster.examined(|c| c.delete("new")), 0);
    assert_eq!(cluster.examined(|c| c.set_pool(pool("b", &["192.0.2.0/24"]))), 0, "nobody waits");
    cluster.take_writes();
    let restarted = cluster.restarted();
    assert_eq!((restarted.writes.len(), restarted.pool_writes), (0, 0));
}

#[test]
fn a_release_wakes_exactly_one_waiter_the_oldest() {
    let mut cluster = full(&[pool("a", &["192.0.2.0/30"])], 4);
    for index in 0..1000 {
        cluster.apply(service(&format!("waiter-{index:04}")).created(2000 - index));
    }
    cluster.settle();
    assert_eq!(cluster.world.waiting().count(), 1000);
    assert!(cluster.world.waiting().all(|(_, reason, _)| reason == Reason::NoAvailableAddresses));
    cluster.take_writes();
    assert_eq!(cluster.examined(|c| c.delete("holder-00002")), 1);
    assert_eq!(cluster.status("waiter-0999"), ["192.0.2.2"]);
    assert_eq!(cluster.take_writes().len(), 1);
    assert_eq!(cluster.world.waiting().count(), 999);
}

#[test]
fn only_those_who_can_use_it_are_woken() {
    let pools =
        [pool("a", &["192.0.2.0/32"]), pool("b", &["198.51.100.0/32"]), pool("c", &["2001:db8::/128"])];
    let mut cluster = full(&pools, 2);
    cluster.set(service("six-holder").v6());
    cluster.set(service("six").v6().created(2));
    cluster.set(service("of-a").of_pool("a").created(3));
    cluster.set(service("of-b").of_pool("b").created(4));
    cluster.set(service("any").created(5));
    cluster.set(service("exact").asks("198.51.100.0").created(6));
    assert_eq!(cluster.world.waiting().count(), 5);
    assert_eq!(cluster.examined(|c| c.delete("holder-00000")), 1);
    assert_eq!(cluster.status("of-a"), ["192.0.2.0"]);
    assert_eq!(cluster.examined(|c| c.delete("six-holder")), 1);
    assert_eq!(cluster.status("six"), ["2001:db8::"]);
    // The one that asked for the very address is served before those that take any.
    cluster.delete("holder-00001");
    assert_eq!(cluster.status("exact"), ["198.51.100.0"]);
    cluster.delete("exact");
    assert_eq!(cluster.status("of-b"), ["198.51.100.0"]);
    assert_eq!(cluster.examined(|c| c.delete("of-b")), 1);
    assert_eq!(cluster.status("any"), ["198.51.100.0"]);
}

#[test]
fn an_address_of_a_pool_on_request_wakes_nobody_else() {
    let manual = landfall_model::Pool { auto_assign: false, ..pool("manual", &["198.51.100.0/32"]) };
    let mut cluster = full(&[pool("a", &["192.0.2.0/32"]), manual], 1);
    cluster.set(service("by-name").of_pool("manual"));
    cluster.set(service("any").created(2));
    assert_eq!(cluster.examined(|c| c.delete("by-name")), 0);
    assert_eq!(cluster.status("any"), [""; 0]);
}

#[test]
fn a_freed_address_that_the_oldest_cannot_use_goes_to_the_next() {
    let mut cluster = full(&[pool("a", &["192.0.2.0/32", "2001:db8::/128"])], 1);
    cluster.set(service("six-holder").v6());
    cluster.set(service("dual").require_dual().created(2));
    cluster.set(service("four").created(3));
    cluster.delete("holder-00000");
    assert_eq!(cluster.status("four"), ["192.0.2.0"]);
    assert_eq!(cluster.status("dual"), [""; 0]);
    cluster.delete("six-holder");
    cluster.delete("four");
    assert_eq!(cluster.status("dual"), ["192.0.2.0", "2001:db8::"]);
}

#[test]
fn a_place_on_a_shared_address_wakes_those_with_the_key() {
    let mut cluster = full(&[pool("a", &["192.0.2.0/31"])], 1);
    cluster.set(service("tcp").key("k"));
    cluster.set(service("udp").key("k").udp(53));
    cluster.set(service("late").key("k").created(2));
    cluster.set(service("other-key").key("x").created(1));
    assert_eq!(cluster.world.waiting().count(), 2);
    assert_eq!(cluster.examined(|c| c.delete("tcp")), 1);
    assert_eq!(cluster.status("late"), cluster.status("udp"));
    cluster.set(service("joins").key("y").udp(1).created(3));
    assert_eq!(cluster.status("joins"), [""; 0]);
    cluster.set(service("holder-00000").created(1).key("y"));
    assert_eq!(cluster.status("joins"), ["192.0.2.0"], "the holder opened its address");
}

/// §2.6: "A user with neighbours that becomes incompatible is moved".
#[test]
fn an_incompatible_neighbour_moves_and_the_other_stays() {
    let mut cluster = Cluster::new(&[pool("a", &["192.0.2.0/30"])]);
    cluster.set(service("one").key("k"));
    cluster.set(service("two").key("k").udp(53));
    assert_eq!(cluster.status("one"), cluster.status("two"));
    cluster.take_events();
    cluster.set(service("two").key("other").udp(53));
    assert_eq!(cluster.status("one"), ["192.0.2.0"]);
    assert_eq!(cluster.status("two"), ["192.0.2.1"]);
    assert!(
        cluster.take_events()[0]
            .contains("can't change sharing key for \"shop/two\", address also in use by shop/one")
    );
}

#[test]
fn a_new_pool_serves_the_waiting_in_order_of_age() {
    let mut cluster = Cluster::new(&[]);
    for (name, created) in [("c", 1), ("a", 3), ("b", 2)] {
        cluster.set(service(name).created(created));
    }
    cluster.set(service("named").of_pool("p").created(9));
    cluster.set_pool(pool("p", &["192.0.2.0/31"]));
    cluster.settle();
    assert_eq!(cluster.status("c"), ["192.0.2.0"]);
    assert_eq!(cluster.status("b"), ["192.0.2.1"]);
    assert_eq!(cluster.status("a"), [""; 0]);
    cluster.set_pool(pool("p", &["192.0.2.0/30"]));
    cluster.settle();
    assert_eq!(cluster.status("a"), ["192.0.2.2"]);
    assert_eq!(cluster.status("named"), ["192.0.2.3"]);
}
