//! Peers look whether an owner is heard on the segment; one that is not gives its addresses away, once.

use std::{collections::BTreeSet, time::Duration};

use landfall_engine::verification::{FIRST, Verified};
use landfall_model::{Instant, Reason};

use crate::{
    lan::{Lan, Told},
    objects::{ip, key, see_service, see_slice, service, slice},
    start::{lan_with, ranked},
};

const NAMES: [&str; 3] = ["oak", "elm", "fir"];
const ADDRESS: &str = "192.0.2.9";
/// Five rounds, the last wait among them, and the way of what follows.
const FOUND_OUT: u64 = 2_600;

fn verified(lan: &Lan, host: usize, service: &str) -> Verified {
    lan.hosts[host].announced[&key(service)].verified.clone()
}

fn confirmed_by(lan: &Lan, host: usize, service: &str) -> Option<Box<str>> {
    match verified(lan, host, service) {
        Verified::Confirmed { by, .. } => Some(by),
        Verified::Pending | Verified::Unable | Verified::Wrong { .. } => None,
    }
}

/// What each host told about an address that is not found where it is announced.
fn complaints(lan: &Lan) -> Vec<(usize, String)> {
    let hosts = lan.hosts.iter().enumerate();
    let told = hosts.flat_map(|(number, host)| host.told.iter().map(move |told| (number, told)));
    told.filter_map(|(number, told)| match told {
        Told::Event(_, "announcementNotConfirmed", message) => Some((number, message.clone())),
        Told::Event(..) | Told::Status(..) => None,
    })
    .collect()
}

/// Owners of an address that changed, as the first host saw it.
fn moves(lan: &Lan, host: usize, address: &str) -> Vec<(Option<Box<str>>, Reason)> {
    let of = |(moved, ..): &&(_, _, _, _)| *moved == ip(address);
    lan.hosts[host].moves.iter().filter(of).map(|(_, _, to, reason)| (to.clone(), *reason)).collect()
}

#[test]
fn the_next_in_line_confirms_each_takeover_and_the_gap_is_known() {
    let mut lan = lan_with(&[ADDRESS], 1);
    let ranks = ranked(&NAMES, ADDRESS);
    lan.run_ms(3_000);
    let owner = lan.index(ranks[0]);
    assert_eq!(confirmed_by(&lan, owner, ADDRESS).as_deref(), Some(ranks[1]));
    assert_eq!(lan.hosts[owner].announced[&key(ADDRESS)].gap, None, "nobody had it before");
    assert_eq!(lan.hosts[owner].statuses, 2, "that it is announced, and that it is confirmed");
    lan.kill(owner);
    let killed = lan.now;
    lan.run_ms(400);
    let heir = lan.index(ranks[1]);
    let announced = lan.hosts[heir].announced[&key(ADDRESS)].clone();
    let Verified::Confirmed { at, by } = announced.verified else { panic!("{announced:?}") };
    assert_eq!(&*by, ranks[2]);
    assert!(at.since(killed) <= Duration::from_millis(200) + FIRST + Duration::from_millis(40));
    let gap = announced.gap.unwrap();
    assert!((100..=200).contains(&gap.as_millis()), "{gap:?}");
    let written = lan.hosts[heir].statuses;
    lan.run_ms(60_000);
    assert_eq!((lan.hosts[heir].statuses, complaints(&lan).len()), (written, 0), "that was all");
}

#[test]
fn a_planned_move_is_confirmed_too_and_has_no_gap() {
    let mut lan = lan_with(&[ADDRESS], 2);
    let ranks = ranked(&NAMES, ADDRESS);
    lan.run_ms(3_000);
    lan.shut_down(lan.index(ranks[0]));
    lan.run_ms(300);
    let heir = lan.index(ranks[1]);
    assert_eq!(confirmed_by(&lan, heir, ADDRESS).as_deref(), Some(ranks[2]));
    assert_eq!(lan.hosts[heir].announced[&key(ADDRESS)].gap, None);
}

#[test]
fn both_families_are_looked_for() {
    let mut lan = lan_with(&[], 3);
    let (v4, v6) = (ADDRESS, "2001:db8::9");
    lan.see(see_slice(slice("web", &NAMES)));
    lan.see(see_service(service("web", &[v4, v6])));
    lan.run_ms(3_000);
    let owner = lan.index(ranked(&NAMES, v4)[0]);
    assert!(confirmed_by(&lan, owner, "web").is_some());
    for address in [v4, v6] {
        assert!(
            lan.questions.iter().any(|asked| asked.address == ip(address) && asked.node != owner),
            "{address}"
        );
    }
}

#[test]
fn who_is_not_heard_gives_its_addresses_to_the_next_and_takes_none_back() {
    for seed in 0..5 {
        let mut lan = lan_with(&[ADDRESS], 10 + seed);
        let ranks = ranked(&NAMES, ADDRESS);
        let owner = lan.index(ranks[0]);
        lan.unheard = BTreeSet::from([owner]);
        lan.run_ms(1_500 + FOUND_OUT);
        assert_eq!(lan.who_has(ADDRESS), [ranks[1]]);
        let heir = lan.index(ranks[1]);
        assert_eq!(confirmed_by(&lan, heir, ADDRESS).as_deref(), Some(ranks[2]));
        let told = complaints(&lan);
        assert_eq!(told.len(), 1, "{told:?}");
        for part in [ADDRESS, "nobody answers", "another node takes it over"] {
            assert!(told[0].1.contains(part), "{told:?}");
        }
        lan.run_ms(30_000);
        assert_eq!(moves(&lan, heir, ADDRESS).len(), 2, "it stays where it is heard");
        // One that is not heard is better than none.
        for name in &ranks[1..] {
            lan.kill(lan.index(name));
        }
        lan.run_ms(1_000);
        assert_eq!(lan.who_has(ADDRESS), [ranks[0]]);
    }
}

#[test]
fn where_nobody_is_heard_each_tries_once_and_the_last_one_keeps_it() {
    let mut lan = lan_with(&[ADDRESS], 20);
    let ranks = ranked(&NAMES, ADDRESS);
    lan.unheard = (0..3).collect();
    lan.run_ms(1_500 + 3 * FOUND_OUT);
    let last = lan.index(ranks[2]);
    assert_eq!(lan.who_has(ADDRESS), [ranks[2]]);
    let Verified::Wrong { answer: None, shared: false, .. } = verified(&lan, last, ADDRESS) else {
        panic!("{:?}", verified(&lan, last, ADDRESS))
    };
    let told = complaints(&lan);
    assert_eq!(told.iter().map(|(host, _)| *host).collect::<Vec<_>>(), [0, 1, 2], "once each");
    assert!(told[last].1.contains("no better node may have it"), "{told:?}");
    lan.run_ms(700_000);
    assert_eq!((moves(&lan, 0, ADDRESS).len(), complaints(&lan).len()), (3, 3), "it does not go round");
    // The segment is mended: the one that has it finds out by itself, and nothing moves.
    lan.unheard.clear();
    lan.run_ms(400_000);
    assert!(confirmed_by(&lan, last, ADDRESS).is_some());
    assert_eq!(moves(&lan, 0, ADDRESS).len(), 3);
}

#[test]
fn a_filter_between_the_nodes_moves_nothing() {
    let mut lan = lan_with(&[ADDRESS], 30);
    // No frame of one node reaches another.
    lan.frame_loss = 100;
    lan.run_ms(60_000);
    let ranks = ranked(&NAMES, ADDRESS);
    assert_eq!(verified(&lan, lan.index(ranks[0]), ADDRESS), Verified::Unable);
    assert_eq!((moves(&lan, 0, ADDRESS).len(), complaints(&lan).len()), (1, 0));
}

#[test]
fn alone_nobody_can_tell_until_somebody_comes() {
    let mut lan = lan_with(&[ADDRESS], 40);
    let ranks = ranked(&NAMES, ADDRESS);
    let (owner, other) = (lan.index(ranks[0]), lan.index(ranks[1]));
    lan.kill(other);
    lan.kill(lan.index(ranks[2]));
    lan.run_ms(30_000);
    assert_eq!(verified(&lan, owner, ADDRESS), Verified::Unable);
    let asked = lan.questions.len();
    lan.start(other);
    lan.run_ms(5_000);
    assert_eq!(confirmed_by(&lan, owner, ADDRESS).as_deref(), Some(ranks[1]));
    assert!(lan.questions.len() > asked);
}

#[test]
fn a_rival_that_answers_too_is_told_of_and_moves_nothing() {
    let mut lan = lan_with(&[ADDRESS], 50);
    lan.run_ms(3_000);
    let ranks = ranked(&NAMES, ADDRESS);
    lan.claim(ADDRESS, landfall_engine::Mac([2, 0x66, 0, 0, 0, 1]));
    lan.kill(lan.index(ranks[0]));
    lan.run_ms(60_000);
    let heir = lan.index(ranks[1]);
    assert_eq!(lan.who_has(ADDRESS), [ranks[1]]);
    let Verified::Wrong { answer: Some(_), shared: true, .. } = verified(&lan, heir, ADDRESS) else {
        panic!("{:?}", verified(&lan, heir, ADDRESS))
    };
    let told = complaints(&lan);
    assert_eq!(told.len(), 1);
    assert!(told[0].1.contains("02:66:00:00:00:01 answers, as does node"), "{told:?}");
}

#[test]
fn one_frame_and_one_packet_of_ten_lost_move_nothing() {
    for seed in 0..10 {
        let mut lan = lan_with(&[ADDRESS, "192.0.2.1", "192.0.2.2", "192.0.2.3"], 100 + seed);
        lan.run_ms(900);
        (lan.loss, lan.frame_loss) = (10, 10);
        lan.run_ms(15_000);
        assert!(complaints(&lan).is_empty(), "{:?}", complaints(&lan));
        for host in 0..3 {
            let services: Vec<_> = lan.hosts[host].announced.keys().cloned().collect();
            for service in services {
                assert!(confirmed_by(&lan, host, &service.name).is_some(), "seed {seed}: {service}");
            }
        }
    }
}

#[test]
fn two_hundred_addresses_at_once_are_confirmed_without_a_burst() {
    let addresses: Vec<String> = (0..200).map(|last| format!("192.0.2.{last}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut lan = lan_with(&addresses, 60);
    lan.run_ms(5_000);
    for name in ["oak", "fir"] {
        lan.kill(lan.index(name));
        lan.questions.clear();
        lan.run_ms(1_000);
    }
    lan.start(lan.index("fir"));
    let started = lan.now;
    lan.run_ms(3_000);
    let survivor = lan.index("elm");
    let late = |address: &&&str| match verified(&lan, survivor, address) {
        Verified::Confirmed { at, .. } => at > started,
        other @ (Verified::Pending | Verified::Unable | Verified::Wrong { .. }) => {
            panic!("{address}: {other:?}")
        }
    };
    let late = addresses.iter().filter(late).count();
    assert!(late > 80, "{late}");
    let asked = lan.questions.iter().filter(|asked| addresses.contains(&&*asked.address.to_string()));
    let asked: Vec<Instant> = asked.map(|asked| asked.at).collect();
    assert_eq!(asked.len(), late, "one question for each that nobody could look for before");
    for start in &asked {
        let within = asked.iter().filter(|at| **at >= *start && at.since(*start) < Duration::from_millis(15));
        assert!(within.count() <= 32, "a batch of an owner");
    }
}
