//! Moves that a person asks for, and nodes that take back what they are best for.

use std::time::Duration;

use landfall_model::{EXCLUDE_LABEL, PreferredNode, Reason, TrafficPolicy};

use crate::{
    lan::{Lan, Told},
    objects::{ip, key, see_node, see_service, see_slice, service, slice},
    start::{lan_with, ranked},
};

const ADDRESS: &str = "192.0.2.1";
const NAMES: [&str; 3] = ["oak", "elm", "fir"];

/// Three nodes that share some addresses, and the order in which they are candidates for [`ADDRESS`].
fn settled(seed: u64) -> (Lan, Vec<&'static str>) {
    let mut lan = lan_with(&[ADDRESS, "192.0.2.2", "192.0.2.3"], seed);
    lan.run_ms(3_000);
    let line = ranked(&NAMES, ADDRESS);
    assert_eq!(lan.who_has(ADDRESS), [line[0]]);
    (lan, line)
}

fn prefer(lan: &mut Lan, node: &str, requested: &str) {
    let mut web = service(ADDRESS, &[ADDRESS]);
    web.requests.preferred_node = Some(PreferredNode { node: node.into(), requested: requested.into() });
    lan.see(see_service(web));
}

fn exclude(lan: &mut Lan, node: &str, excluded: bool) {
    let mut view = lan.node_view(lan.index(node));
    if excluded {
        view.labels.insert(EXCLUDE_LABEL.to_owned(), "true".to_owned());
    }
    lan.see(see_node(view));
}

fn moves_to(lan: &mut Lan, heir: &str, time: Duration) {
    assert_eq!(lan.watch_handover(ADDRESS, time), heir);
}

fn stays_with(lan: &mut Lan, owner: &str, time: Duration) {
    let seen = lan.watch(ADDRESS, time);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].1, [owner]);
}

#[test]
fn a_move_that_was_asked_for_has_no_gap() {
    for seed in 0..10 {
        let (mut lan, line) = settled(100 + seed);
        prefer(&mut lan, line[2], "1");
        moves_to(&mut lan, line[2], Duration::from_millis(500));
        for host in &lan.hosts {
            let last = host.moves.iter().rfind(|(address, ..)| *address == ip(ADDRESS)).unwrap();
            assert_eq!(last.2.as_deref(), Some(line[2]), "{}", host.name);
            // The others may hear of the claim before the API server tells them why.
            let reasons: &[Reason] =
                if host.name == line[2] { &[] } else { &[Reason::BetterNode, Reason::NotOwner] };
            assert!(last.3 == Reason::MoveRequested || reasons.contains(&last.3), "{}: {last:?}", host.name);
        }
        stays_with(&mut lan, line[2], Duration::from_secs(5));
        assert_eq!(lan.who_has("192.0.2.2"), [ranked(&NAMES, "192.0.2.2")[0]], "others stay where they are");
    }
}

#[test]
fn who_asks_between_two_owners_is_told_by_the_next_one() {
    for seed in 0..10 {
        let (mut lan, line) = settled(110 + seed);
        prefer(&mut lan, line[2], "1");
        lan.told_client.clear();
        let between = (0..1_000).any(|_| {
            lan.run(Duration::from_micros(20));
            lan.who_has(ADDRESS).is_empty()
        });
        assert!(between, "seed {seed}: the owner answers until another one does");
        // The rules that relay what is open take three milliseconds.
        lan.run_ms(5);
        let told: Vec<usize> = lan.told_client.iter().map(|said| said.node).collect();
        assert_eq!(told.first(), Some(&lan.index(line[2])), "seed {seed}");
    }
}

#[test]
fn processes_that_start_anew_move_nothing() {
    let (mut lan, line) = settled(120);
    prefer(&mut lan, line[2], "1");
    lan.run_ms(500);
    let asked = lan.index(line[2]);
    lan.kill(asked);
    lan.run_ms(3_000);
    let heir = lan.who_has(ADDRESS);
    assert_eq!(heir, [line[0]]);
    for name in [line[2], line[1]] {
        let index = lan.index(name);
        lan.kill(index);
        lan.start(index);
        stays_with(&mut lan, line[0], Duration::from_secs(4));
    }
    prefer(&mut lan, line[2], "2");
    moves_to(&mut lan, line[2], Duration::from_millis(500));
}

#[test]
fn who_has_it_says_once_why_a_move_waits() {
    let (mut lan, line) = settled(130);
    exclude(&mut lan, line[1], true);
    lan.run_ms(100);
    prefer(&mut lan, line[1], "1");
    stays_with(&mut lan, line[0], Duration::from_secs(3));
    lan.see(see_slice(slice(ADDRESS, &["oak", "elm"])));
    lan.run_ms(100);
    let said = |lan: &Lan, name: &str| {
        let events = lan.hosts[lan.index(name)].told.iter();
        let events = events.filter_map(|told| match told {
            Told::Event(service, "moveWaits", text) if *service == key(ADDRESS) => Some(text.clone()),
            Told::Event(..) | Told::Status(..) => None,
        });
        events.collect::<Vec<_>>()
    };
    let texts = said(&lan, line[0]);
    assert_eq!(texts.len(), 1, "{texts:?}");
    for part in [line[0], line[1], "NodeExcluded", "landfall.dev/preferred-node"] {
        assert!(texts[0].contains(part), "{texts:?}");
    }
    assert!(said(&lan, line[2]).is_empty());
    prefer(&mut lan, "birch", "2");
    lan.run_ms(100);
    assert!(said(&lan, line[0])[1].contains("UnknownNode"));
    prefer(&mut lan, line[1], "3");
    lan.run_ms(100);
    exclude(&mut lan, line[1], false);
    moves_to(&mut lan, line[1], Duration::from_millis(500));
}

#[test]
fn the_best_takes_it_back_where_that_is_wanted() {
    let mut lan = Lan::new(&NAMES, 140);
    lan.fail_back = Some(Duration::from_secs(5));
    for index in 0..NAMES.len() {
        lan.kill(index);
        lan.start(index);
    }
    let addresses: Vec<String> = (1..100).map(|number| format!("192.0.2.{number}")).collect();
    for address in &addresses {
        lan.see(see_slice(slice(address, &["oak"])));
        lan.see(see_service(service(address, &[address.as_str()])));
    }
    lan.run_ms(3_000);
    let line = ranked(&NAMES, ADDRESS);
    let best: Vec<&String> =
        addresses.iter().filter(|address| ranked(&NAMES, address)[0] == line[0]).collect();
    assert!(best.len() > 20, "{}", best.len());
    let index = lan.index(line[0]);
    lan.kill(index);
    lan.run_ms(1_000);
    lan.start(index);
    stays_with(&mut lan, line[1], Duration::from_secs(5));
    // One after the other, so that neither frames nor connections burst.
    let owned = |lan: &mut Lan| best.iter().filter(|address| lan.who_has(address) == [line[0]]).count();
    lan.run_ms(1_500);
    let some = owned(&mut lan);
    assert!(some > 0 && some < best.len(), "{some} of {}", best.len());
    lan.run_ms(50 * best.len() as u64);
    assert_eq!(owned(&mut lan), best.len());
    let moves = lan.hosts[index].moves.iter().filter(|(.., reason)| *reason == Reason::BetterNode);
    assert_eq!(moves.count(), best.len(), "each of them moved once");
    stays_with(&mut lan, line[0], Duration::from_secs(10));
}

#[test]
fn a_process_that_stood_still_takes_back_what_others_took_meanwhile() {
    let (mut lan, line) = {
        let mut lan = Lan::new(&NAMES, 150);
        lan.fail_back = Some(Duration::from_secs(1));
        for index in 0..NAMES.len() {
            lan.kill(index);
            lan.start(index);
        }
        lan.see(see_slice(slice(ADDRESS, &["oak"])));
        lan.see(see_service(service(ADDRESS, &[ADDRESS])));
        lan.run_ms(3_000);
        (lan, ranked(&NAMES, ADDRESS))
    };
    let index = lan.index(line[0]);
    for round in 0..3 {
        lan.pause(index);
        lan.run_ms(4_000);
        assert_eq!(lan.who_has(ADDRESS), [line[1]], "round {round}");
        lan.resume(index);
        // It must be heard for one second, then two, then four, before it counts again.
        lan.run_ms(6_000);
        assert_eq!(lan.who_has(ADDRESS), [line[0]], "round {round}");
    }
}

#[test]
fn the_address_leaves_a_node_before_its_last_endpoint_does() {
    for seed in 0..5 {
        let mut lan = lan_with(&[], 160 + seed);
        let line = ranked(&NAMES, ADDRESS);
        let mut web = service("web", &[ADDRESS]);
        web.traffic_policy = TrafficPolicy::Local;
        lan.see(see_service(web));
        lan.see(see_slice(slice("web", &[line[0]])));
        lan.run_ms(3_000);
        assert_eq!(lan.who_has(ADDRESS), [line[0]]);
        // A rolling update: another one is ready, and then the first one terminates.
        let mut both = slice("web", &[line[0], line[2]]);
        lan.see(see_slice(both.clone()));
        stays_with(&mut lan, line[0], Duration::from_secs(2));
        both.endpoints[0].ready = false;
        lan.see(see_slice(both));
        moves_to(&mut lan, line[2], Duration::from_secs(2));
        lan.see(see_slice(slice("web", &[line[2]])));
        stays_with(&mut lan, line[2], Duration::from_secs(2));
    }
}
