//! Hosts on the segment that are no nodes and have addresses of Services.

use std::time::Duration;

use landfall_engine::{Mac, responder::DEFEND_INTERVAL};
use landfall_model::{Instant, Reason};

use crate::{
    lan::{Lan, Told},
    objects::{ip, key, see_service, see_slice, service, slice},
    start::{lan_with, ranked},
};

const ADDRESS: &str = "192.0.2.9";
const OTHER: &str = "2001:db8::9";
const RIVAL: Mac = Mac([2, 0x66, 0, 0, 0, 1]);
/// Three questions, and the way of what starts them.
const PROBED: Duration = Duration::from_millis(150 + 20);

/// A settled segment on which `rivals` are, and then a Service with both addresses, which the first one owns.
fn with_rivals(rivals: &[&str], seed: u64) -> (Lan, usize) {
    let mut lan = lan_with(&[], seed);
    for rival in rivals {
        lan.claim(rival, RIVAL);
    }
    lan.run_ms(3_000);
    lan.see(see_slice(slice("web", &["oak", "elm", "fir"])));
    lan.see(see_service(service("web", &[ADDRESS, OTHER])));
    let owner = lan.index(ranked(&["oak", "elm", "fir"], ADDRESS)[0]);
    (lan, owner)
}

fn conflicts(lan: &Lan) -> Vec<(usize, String)> {
    let told = |(host, told): (usize, &Told)| match told {
        Told::Event(service, "addressConflict", message) => {
            assert_eq!(*service, key("web"));
            Some((host, message.clone()))
        }
        Told::Event(..) | Told::Status(..) => None,
    };
    let hosts = lan.hosts.iter().enumerate();
    hosts
        .flat_map(|(number, host)| host.told.iter().map(move |told| (number, told)))
        .filter_map(told)
        .collect()
}

fn assigned(lan: &Lan, host: usize) -> usize {
    let told = |told: &&Told| matches!(told, Told::Event(_, "nodeAssigned", _));
    lan.hosts[host].told.iter().filter(told).count()
}

fn reason(lan: &Lan, host: usize) -> Reason {
    lan.hosts[host].speaker.as_ref().unwrap().reason(&key("web"))
}

fn answers(lan: &Lan, host: usize, address: &str) -> bool {
    lan.hosts[host].speaker.as_ref().unwrap().responder().is_listening(ip(address))
}

#[test]
fn a_new_address_is_asked_for_three_times_by_its_owner_alone() {
    for seed in 0..10 {
        let (mut lan, owner) = with_rivals(&[], 100 + seed);
        let seen = lan.watch(ADDRESS, Duration::from_millis(400));
        assert_eq!(seen.len(), 2, "nobody, then one: {seen:?}");
        assert_eq!(seen[1].1, [lan.hosts[owner].name]);
        assert!(seen[1].0 <= PROBED, "{seen:?}");
        for address in [ADDRESS, OTHER] {
            let asked: Vec<Instant> = lan
                .probes
                .iter()
                .filter(|probe| probe.address == ip(address))
                .map(|probe| probe.at)
                .collect();
            assert_eq!(asked.len(), 3, "{address}");
            assert!(asked.windows(2).all(|pair| pair[1].since(pair[0]) == Duration::from_millis(50)));
        }
        assert!(lan.probes.iter().all(|probe| probe.node == owner));
        let first = lan.announcements.iter().map(|sent| sent.at).min().unwrap();
        assert!(lan.probes.iter().all(|probe| probe.at < first), "nothing is said before");
        assert_eq!((assigned(&lan, owner), reason(&lan, owner)), (1, Reason::Owner));
    }
}

#[test]
fn a_takeover_asks_nobody() {
    let (mut lan, owner) = with_rivals(&[], 120);
    lan.run_ms(3_000);
    let before = lan.probes.len();
    lan.kill(owner);
    lan.run_ms(2_000);
    let heir = lan.who_has(ADDRESS);
    assert_eq!(heir.len(), 1);
    // Neither does a planned move, nor an owner whose endpoints come back.
    let heir = lan.index(heir[0]);
    lan.shut_down(heir);
    lan.run_ms(2_000);
    assert_eq!(lan.who_has(ADDRESS).len(), 1);
    lan.see(see_slice(slice("web", &[])));
    lan.run_ms(1_000);
    assert!(lan.who_has(ADDRESS).is_empty());
    lan.see(see_slice(slice("web", &["oak", "elm", "fir"])));
    lan.run_ms(100);
    assert_eq!(lan.who_has(ADDRESS).len(), 1);
    assert_eq!(lan.probes.len(), before);
}

#[test]
fn an_address_that_somebody_has_is_left_to_him_until_he_is_gone() {
    for (seed, taken, free) in [(130, ADDRESS, OTHER), (131, OTHER, ADDRESS)] {
        let (mut lan, owner) = with_rivals(&[taken], seed);
        lan.run_ms(60_000);
        assert!(lan.announcements.iter().all(|sent| sent.address != ip(taken)));
        assert!(answers(&lan, owner, free) && !answers(&lan, owner, taken), "the other one is served");
        assert_eq!(reason(&lan, owner), Reason::AddressConflict);
        let told = conflicts(&lan);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].0, owner);
        for part in [taken, "02:66:00:00:00:01", "eth0", "does not announce", "take this one out of the pool"]
        {
            assert!(told[0].1.contains(part), "{part} is missing in {told:?}");
        }
        // One question at each try: at once, and after 10, 20 and 40 seconds more.
        let asked = || lan.probes.iter().filter(|probe| probe.address == ip(taken)).count();
        assert_eq!(asked(), 3);
        lan.give_up(taken);
        lan.run_ms(11_000);
        assert!(answers(&lan, owner, taken));
        assert_eq!(reason(&lan, owner), Reason::Owner);
        let sent = lan.announcements.iter().filter(|sent| sent.address == ip(taken)).count();
        assert_eq!(sent, if ip(taken).is_ipv4() { 8 } else { 4 }, "told like any other");
        assert_eq!(conflicts(&lan).len(), 1);
    }
}

#[test]
fn a_rival_that_comes_later_is_told_of_and_answered_with_measure() {
    let (mut lan, owner) = with_rivals(&[], 140);
    lan.run_ms(5_000);
    let start = lan.now;
    for address in [ADDRESS, OTHER] {
        for _ in 0..250 {
            lan.claim(address, RIVAL);
            lan.run_ms(100);
            assert!(answers(&lan, owner, address), "it is kept");
        }
        let sent = lan.announcements.iter().filter(|sent| sent.address == ip(address) && sent.at >= start);
        let mut times: Vec<Instant> = sent.map(|sent| sent.at).collect();
        times.dedup();
        assert_eq!(times.len(), 3, "{address}: {times:?}");
        assert!(times.windows(2).all(|pair| pair[1].since(pair[0]) >= DEFEND_INTERVAL));
    }
    let told = conflicts(&lan);
    assert_eq!(told.len(), 2, "once for each address: {told:?}");
    assert!(told.iter().all(|(host, message)| *host == owner && message.contains("and keeps it")));
    assert_eq!(reason(&lan, owner), Reason::Owner);
    let moves = lan.hosts.iter().map(|host| host.moves.len()).collect::<Vec<_>>();
    assert_eq!(moves, [2, 2, 2], "nobody else was concerned");
}

#[test]
fn only_one_of_two_speakers_that_cannot_hear_each_other_announces() {
    let mut lan = Lan::new(&["oak", "elm"], 150);
    lan.see(see_slice(slice("web", &["oak", "elm"])));
    lan.see(see_service(service("web", &[ADDRESS])));
    let late = lan.index("elm");
    lan.kill(late);
    lan.run_ms(5_000);
    assert_eq!(lan.who_has(ADDRESS), ["oak"]);
    // Heartbeats are filtered, ARP is not: it takes itself for the only one, and hears that it is not.
    lan.loss = 100;
    lan.start(late);
    lan.expect_conflicts();
    let seen = lan.watch(ADDRESS, Duration::from_secs(30));
    assert_eq!(seen.iter().map(|(_, answers)| answers.len()).max(), Some(1), "{seen:?}");
    assert_eq!(reason(&lan, late), Reason::AddressConflict);
}
