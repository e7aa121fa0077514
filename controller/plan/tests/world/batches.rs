//! What several changes do that the world sees at once.

use landfall_model::{Ingress, Reason};

use crate::cluster::*;

#[test]
fn what_one_loses_another_of_the_same_batch_gets_at_once() {
    let mut cluster = Cluster::new(&[pool("a", &["192.0.2.0/32"])]);
    cluster.set(service("young").created(9));
    cluster.take_events();
    cluster.take_writes();
    let young = cluster.stored[&key("young")].clone();
    cluster.apply(service("old").created(1));
    cluster.apply(young.with(|s| s.load_balancer = false));
    cluster.settle();
    assert_eq!(cluster.status("old"), ["192.0.2.0"]);
    assert_eq!(cluster.take_events(), ["IPAllocated: Assigned IP [\"192.0.2.0\"]"]);
    assert_eq!(cluster.take_writes().len(), 2);
}

#[test]
fn another_class_may_have_written_before_its_name_was_seen() {
    for status in ["lb.example.com", "203.0.113.9"] {
        let mut cluster = Cluster::new(&[pool("a", &["192.0.2.0/32"])]);
        cluster.set(service("web"));
        cluster.take_writes();
        cluster.apply(service("web").with(|s| s.class = Some("x".into())).status(&[status]));
        cluster.settle();
        assert_eq!(cluster.take_writes(), [], "{status}");
        assert_ne!(cluster.stored[&key("web")].ingress, [] as [Ingress; 0]);
    }
}

#[test]
fn many_pools_at_once_are_one_look_at_each_that_waits() {
    let mut cluster = Cluster::new(&[]);
    for index in 0..50 {
        cluster.apply(service(&format!("waiter-{index}")).of_pool("late"));
    }
    cluster.settle();
    let examined = cluster.examined(|c| {
        for index in 0..20 {
            c.set_pool(pool(&format!("p{index}"), &[&format!("198.51.100.{index}/32")]));
        }
    });
    assert_eq!(examined, 50);
}

#[test]
fn one_family_alone_wakes_nobody_who_needs_both() {
    let mut cluster = Cluster::new(&[pool("a", &["192.0.2.0/32", "2001:db8::/128"])]);
    cluster.set(service("four"));
    cluster.set(service("six").v6());
    for index in 0..100 {
        cluster.apply(service(&format!("dual-{index:03}")).require_dual().created(2));
    }
    cluster.settle();
    assert_eq!(cluster.examined(|c| c.delete("four")), 0);
    assert_eq!(cluster.examined(|c| c.delete("six")), 1);
    assert_eq!(cluster.status("dual-000"), ["192.0.2.0", "2001:db8::"]);
}

#[test]
fn one_more_on_a_shared_address_wakes_nobody() {
    let mut cluster = Cluster::new(&[pool("a", &["192.0.2.0/32"])]);
    cluster.set(service("first").key("k"));
    for index in 0..100 {
        cluster.apply(service(&format!("waiter-{index:03}")).key("k").created(2));
    }
    cluster.settle();
    assert_eq!(cluster.examined(|c| c.set(service("second").key("k").udp(53))), 1);
    assert_eq!(cluster.status("second"), cluster.status("first"));
    // A port that is given up makes room.
    cluster.set(service("first").key("k").udp(54));
    assert_eq!(cluster.status("waiter-000"), cluster.status("first"));
    assert_eq!(cluster.allocated("waiter-001"), Some((false, Reason::NoAvailableAddresses)));
}
