//! Moves that are meant: shutdown, drain, exclude label.

use std::time::Duration;

use landfall_model::{EXCLUDE_LABEL, Reason};

use crate::{
    lan::{Lan, Told},
    objects::{ip, key, proxied, see_node, see_service, see_slice, service, slice},
    start::{lan_with, ranked},
};

const ADDRESS: &str = "192.0.2.1";

fn settled(seed: u64) -> (Lan, usize) {
    let mut lan = lan_with(&[ADDRESS, "192.0.2.2", "192.0.2.3"], seed);
    lan.run_ms(3_000);
    let owner = lan.who_has(ADDRESS);
    let owner = lan.index(owner[0]);
    (lan, owner)
}

#[test]
fn a_shutdown_hands_over_without_a_gap() {
    for seed in 0..10 {
        let (mut lan, owner) = settled(seed);
        let start = lan.now;
        lan.shut_down(owner);
        let line = ranked(&["oak", "elm", "fir"], ADDRESS);
        assert_eq!(lan.watch_handover(ADDRESS, Duration::from_millis(500)), line[1], "seed {seed}");
        let finished = lan.hosts[owner].finished.expect("it is done");
        assert!(finished.since(start) < Duration::from_millis(50), "seed {seed}");
        assert!(lan.hosts[owner].told.contains(&Told::Status(key(ADDRESS), None)), "seed {seed}");
        let heir = &lan.hosts[lan.index(line[1])];
        let last = heir.moves.iter().rfind(|(address, ..)| *address == ip(ADDRESS)).unwrap();
        assert_eq!(last.3, Reason::NodeLeaving);
        lan.kill(owner);
        lan.run_ms(2_000);
        assert_eq!(lan.who_has(ADDRESS), [line[1]]);
    }
}

#[test]
fn a_shutdown_without_a_successor_ends_at_once() {
    let mut lan = Lan::new(&["alone"], 1);
    lan.see(see_slice(slice("web", &["alone"])));
    lan.see(see_service(service("web", &[ADDRESS])));
    lan.run_ms(3_000);
    assert_eq!(lan.who_has(ADDRESS), ["alone"]);
    lan.shut_down(0);
    assert_eq!(lan.hosts[0].finished, Some(lan.now));
}

#[test]
fn a_shutdown_ends_although_nobody_takes_over() {
    let (mut lan, owner) = settled(20);
    for index in (0..3).filter(|index| *index != owner) {
        lan.pause(index);
    }
    let start = lan.now;
    lan.shut_down(owner);
    assert_eq!(lan.who_has(ADDRESS), [lan.hosts[owner].name], "it still answers");
    lan.run_ms(2_100);
    let finished = lan.hosts[owner].finished.expect("it is done");
    assert!(finished.since(start) <= Duration::from_secs(2));
}

#[test]
fn forwarding_rules_outlive_the_process() {
    let mut lan = lan_with(&[], 30);
    lan.see(see_slice(slice("web", &["oak", "elm", "fir"])));
    lan.see(see_service(proxied(service("web", &[ADDRESS]))));
    lan.run_ms(3_000);
    let owner = lan.who_has(ADDRESS);
    let owner = lan.index(owner[0]);
    let table = lan.hosts[owner].table.clone().unwrap();
    assert!(!table.is_empty());
    let seen = lan.hosts[owner].tables_seen;
    lan.shut_down(owner);
    lan.run_ms(2_000);
    assert!(lan.hosts[owner].finished.is_some());
    assert_eq!((lan.hosts[owner].tables_seen, &lan.hosts[owner].table), (seen, &Some(table)));
}

#[test]
fn an_excluded_owner_hands_over_without_a_gap_and_gets_nothing_back() {
    let (mut lan, owner) = settled(40);
    let mut excluded = lan.node_view(owner);
    excluded.labels.insert(EXCLUDE_LABEL.to_owned(), "true".to_owned());
    lan.see(see_node(excluded));
    let heir = lan.watch_handover(ADDRESS, Duration::from_secs(3));
    assert_ne!(heir, lan.hosts[owner].name);
    lan.see(see_node(lan.node_view(owner)));
    let seen = lan.watch(ADDRESS, Duration::from_secs(3));
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].1, [heir]);
}

#[test]
fn a_node_that_is_not_ready_keeps_what_it_has() {
    let (mut lan, owner) = settled(50);
    let mut sick = lan.node_view(owner);
    sick.ready = false;
    lan.see(see_node(sick));
    let seen = lan.watch(ADDRESS, Duration::from_secs(3));
    assert_eq!(seen.len(), 1, "{seen:?}");
}
