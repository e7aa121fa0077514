//! Pools that come, go, change and clash: §1.9 Pools, §10.

use landfall_model::Reason;
use landfall_pool::Allocator;

use crate::cluster::*;

fn in_force(allocator: &Allocator) -> Vec<&str> {
    allocator.pools().map(|pool| &*pool.name).collect()
}

#[test]
fn of_two_that_overlap_the_newcomer_is_refused_and_named() {
    let mut allocator = allocator(&[pool("a", &["192.0.2.0/28"]), pool("b", &["192.0.2.8-192.0.2.40"])]);
    assert_eq!(in_force(&allocator), ["a"]);
    let (name, refused) = allocator.refused().next().unwrap();
    assert_eq!((name, refused.reason), ("b", Reason::Overlap));
    for part in ["\"a\"", "\"b\"", "192.0.2.8-192.0.2.40", "192.0.2.0-192.0.2.15"] {
        assert!(refused.message.contains(part), "{part} in {}", refused.message);
    }
    let update = allocator.set_pool(pool("a", &["192.0.2.0/29"]));
    assert_eq!(update.pools.len(), 2, "b comes into force by itself");
    assert_eq!(in_force(&allocator), ["a", "b"]);
    assert_eq!(allocator.refused().count(), 0);
}

#[test]
fn an_update_that_overlaps_keeps_the_last_good_version() {
    let mut allocator = allocator(&[pool("a", &["192.0.2.0/28"]), pool("b", &["198.51.100.0/28"])]);
    claim(&mut allocator, &service("s"), &["198.51.100.3"]).unwrap();
    let update = allocator.set_pool(pool("b", &["198.51.100.0/28", "192.0.2.0/30"]));
    assert_eq!(update, landfall_pool::PoolUpdate::default(), "nobody is touched");
    assert_eq!(allocator.pool("b"), Some(&pool("b", &["198.51.100.0/28"])));
    assert_eq!(keep(&mut allocator, &service("s")), Ok(None));
    let update = allocator.remove_pool("a");
    assert!(update.holders.contains(&service("s").key));
    assert_eq!(allocator.pool("b").unwrap().ranges.len(), 2);
    assert_eq!(allocator.counts("b").unwrap().assigned_v4, 1, "holders move into the new version");
}

#[test]
fn verdicts_on_overlaps() {
    for (row, first, second, accepted) in [
        ("identical", "192.0.2.0/24", "192.0.2.0/24", false),
        ("smaller inside", "192.0.2.0/24", "192.0.2.128/25", false),
        ("larger around", "192.0.2.128/25", "192.0.2.0/24", false),
        ("first address", "192.0.2.0-192.0.2.9", "192.0.2.9-192.0.2.12", false),
        ("adjacent", "192.0.2.0/25", "192.0.2.128/25", true),
        ("IPv6", "2001:db8::/64", "2001:db8::ffff/128", false),
        ("other family", "0.0.0.0/0", "::/0", true),
    ] {
        let both = allocator(&[pool("a", &[first]), pool("b", &[second])]);
        assert_eq!(both.pool("b").is_some(), accepted, "§1.9 two pools: {row}");
        let inside = allocator(&[pool("a", &[first, second])]);
        assert_eq!(inside.pool("a").is_some(), accepted, "§1.9 inside one pool: {row}");
    }
}

#[test]
fn a_pool_that_covers_several_others_needs_all_of_them_gone() {
    let mut allocator = allocator(&[pool("a", &["192.0.2.0/30"]), pool("b", &["192.0.2.64/30"])]);
    allocator.set_pool(pool("c", &["192.0.2.0/24"]));
    allocator.remove_pool("a");
    assert_eq!(in_force(&allocator), ["b"]);
    allocator.remove_pool("b");
    assert_eq!(in_force(&allocator), ["c"]);
    allocator.remove_pool("c");
    assert_eq!(in_force(&allocator), [""; 0]);
}

#[test]
fn labels_alone_touch_nobody() {
    let mut allocator = allocator(&[pool("a", &["192.0.2.0/30"])]);
    claim(&mut allocator, &service("s"), &["192.0.2.1"]).unwrap();
    let mut labelled = pool("a", &["192.0.2.0/30"]);
    labelled.labels.insert("zone".to_owned(), "x".to_owned());
    assert_eq!(allocator.set_pool(labelled.clone()), landfall_pool::PoolUpdate::default());
    assert_eq!(allocator.pool("a"), Some(&labelled));
}
