//! Who waits because something is held back is served as soon as it is not.

use std::time::Duration;

use landfall_model::{NodeView, Observation, PoolRules, Reason};

use crate::cluster::*;

fn with(rules: PoolRules) -> landfall_model::Pool {
    landfall_model::Pool { rules, ..pool("a", &["192.0.2.0/31"]) }
}

#[test]
fn a_quota_is_waited_for() {
    let mut cluster = Cluster::new(&[with(PoolRules { quota: Some(1), ..PoolRules::default() })]);
    cluster.set(service("s"));
    cluster.set(service("t"));
    assert_eq!(cluster.allocated("t"), Some((false, Reason::QuotaExceeded)));
    cluster.delete("s");
    assert_eq!(cluster.status("t"), ["192.0.2.0"]);
}

#[test]
fn a_quarantine_is_waited_for() {
    let rules = PoolRules { quarantine: Some(Duration::from_secs(60)), ..PoolRules::default() };
    let mut cluster = Cluster::new(&[with(rules)]);
    cluster.set(service("s"));
    cluster.set(service("t"));
    cluster.delete("s");
    cluster.set(service("u"));
    assert_eq!(cluster.allocated("u"), Some((false, Reason::NoAvailableAddresses)));
    cluster.pass(Duration::from_secs(59));
    assert_eq!(cluster.status("u"), [""; 0]);
    cluster.pass(Duration::from_secs(2));
    assert_eq!(cluster.status("u"), ["192.0.2.0"]);
}

#[test]
fn a_node_that_goes_leaves_its_address_to_others() {
    let mut cluster = Cluster::new(&[pool("a", &["192.0.2.0/31"])]);
    let node =
        NodeView { name: "n1".into(), addresses: vec!["192.0.2.1".parse().unwrap()], ..NodeView::default() };
    cluster.world.observe(Observation::Node("n1".into(), Some(Box::new(node))));
    cluster.set(service("s"));
    cluster.set(service("t"));
    assert_eq!((cluster.status("s"), cluster.status("t").len()), (vec!["192.0.2.0".to_owned()], 0));
    cluster.world.observe(Observation::Node("n1".into(), None));
    cluster.settle();
    assert_eq!(cluster.status("t"), ["192.0.2.1"]);
}

#[test]
fn a_service_that_has_an_address_of_each_of_two_pools_keeps_them() {
    let pools = [pool("a", &["192.0.2.0/31"]), pool("b", &["2001:db8::/127"])];
    let mut cluster = Cluster::new(&pools);
    cluster.set(service("s").require_dual());
    assert_eq!(cluster.status("s"), ["192.0.2.0", "2001:db8::"]);
    assert_eq!(cluster.stored[&key("s")].requests.allocated_from.as_deref(), Some("a,b"));
    let restarted = cluster.restarted();
    assert_eq!((restarted.status("s"), restarted.writes.len()), (cluster.status("s"), 0));
    cluster.remove_pool("b");
    cluster.settle();
    assert_eq!(cluster.status("s"), [""; 0]);
}
