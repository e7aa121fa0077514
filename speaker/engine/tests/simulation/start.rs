//! From nothing to an answered request.

use std::{collections::BTreeSet, time::Duration};

use landfall_engine::{
    links::LinkSummary,
    ownership,
    responder::{ASK_EVERY, QUESTIONS},
};
use landfall_model::{Ingress, IpMode, NodePreference, Observation, Reason, TrafficPolicy};

use crate::{
    lan::{Lan, Told},
    objects::{advertisement, ip, key, see_advertisement, see_service, see_slice, selector, service, slice},
};

/// A segment with `oak`, `elm` and `fir`, and a Service for each of these addresses, named by them.
pub(crate) fn lan_with(addresses: &[&str], seed: u64) -> Lan {
    let mut lan = Lan::new(&["oak", "elm", "fir"], seed);
    for address in addresses {
        lan.see(see_slice(slice(address, &["oak", "elm", "fir"])));
        lan.see(see_service(service(address, &[address])));
    }
    lan
}

pub(crate) fn ranked(names: &[&'static str], address: &str) -> Vec<&'static str> {
    let mut names = names.to_vec();
    names.sort_by_key(|name| ownership::digest(name, ip(address)));
    names
}

const ADDRESSES: [&str; 8] =
    ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7", "192.0.2.8"];

#[test]
fn speakers_that_start_together_agree_on_metallbs_owners() {
    let mut lan = lan_with(&ADDRESSES, 1);
    lan.run_ms(3_000);
    let mut owners = BTreeSet::new();
    for address in ADDRESSES {
        let best = ranked(&["oak", "elm", "fir"], address)[0];
        assert_eq!(lan.who_has(address), [best], "{address}");
        owners.insert(best);
        for host in &lan.hosts {
            let moves: Vec<_> = host.moves.iter().filter(|(moved, ..)| *moved == ip(address)).collect();
            assert_eq!(
                moves,
                [&(ip(address), None, Some(best.into()), Reason::Owner)],
                "seen by {}",
                host.name
            );
            let told: Vec<_> = host.told.iter().filter(|told| is_about(told, address)).collect();
            if host.name == best {
                let message = format!("announcing from node \"{best}\" with protocol \"layer2\"");
                let event = Told::Event(key(address), "nodeAssigned", message);
                let status = Told::Status(key(address), Some(BTreeSet::new()));
                assert_eq!(told, [&event, &status]);
            } else {
                assert!(told.is_empty(), "{} tells {told:?}", host.name);
            }
            let snapshot = host.speaker.as_ref().unwrap().snapshot();
            assert_eq!(&*snapshot.owners[&ip(address)].node, best);
            assert_eq!(snapshot.owners[&ip(address)].answering, host.name == best);
            let reason = if host.name == best { Reason::Owner } else { Reason::NotOwner };
            assert_eq!(snapshot.services[&key(address)], reason);
        }
    }
    assert!(owners.len() > 1, "the addresses are spread");
}

fn is_about(told: &Told, service: &str) -> bool {
    match told {
        Told::Status(about, _) | Told::Event(about, ..) => *about == key(service),
    }
}

#[test]
fn nothing_is_announced_before_enough_is_known() {
    let mut lan = lan_with(&["192.0.2.1"], 2);
    // Nobody hears anybody: each waits for the settling time before it takes itself for the only one.
    lan.loss = 100;
    lan.run_ms(900);
    assert_eq!(lan.who_has("192.0.2.1"), Vec::<&str>::new());
    lan.loss = 0;
    lan.run_ms(3_000);
    assert_eq!(lan.who_has("192.0.2.1").len(), 1);
}

#[test]
fn a_new_service_is_answered_within_a_moment() {
    let mut lan = lan_with(&[], 3);
    lan.run_ms(3_000);
    lan.see(see_slice(slice("web", &["oak"])));
    lan.see(see_service(service("web", &["192.0.2.9"])));
    let seen = lan.watch("192.0.2.9", Duration::from_millis(500));
    assert_eq!(seen.len(), 2, "nobody, then one: {seen:?}");
    assert_eq!(seen[1].1, [ranked(&["oak", "elm", "fir"], "192.0.2.9")[0]]);
    let probed = ASK_EVERY * QUESTIONS.into();
    assert!((probed..probed + Duration::from_millis(20)).contains(&seen[1].0), "{seen:?}");
    // Its gratuitous frames are on the wire: two forms at each of six times.
    lan.run_ms(3_000);
    let sent = lan.announcements.iter().filter(|sent| sent.address == ip("192.0.2.9")).count();
    assert_eq!(sent, 12);
}

#[test]
fn a_deleted_service_is_silent_at_once() {
    let mut lan = lan_with(&["192.0.2.1"], 4);
    lan.run_ms(3_000);
    let owner = lan.who_has("192.0.2.1")[0];
    lan.see(Observation::Service(key("192.0.2.1"), None));
    lan.run_ms(20);
    assert_eq!(lan.who_has("192.0.2.1"), Vec::<&str>::new());
    let owner = &lan.hosts[lan.index(owner)];
    assert_eq!(owner.told.last(), Some(&Told::Status(key("192.0.2.1"), None)));
    assert_eq!(owner.moves.last().unwrap().3, Reason::ServiceDeleted);
}

#[test]
fn policy_local_and_endpoints_choose_the_node() {
    let mut lan = lan_with(&[], 5);
    lan.run_ms(3_000);
    let mut local = service("web", &["192.0.2.9"]);
    local.traffic_policy = TrafficPolicy::Local;
    lan.see(see_service(local));
    lan.run_ms(500);
    assert_eq!(lan.who_has("192.0.2.9"), Vec::<&str>::new(), "no endpoint");
    for at in ["oak", "elm", "fir"] {
        lan.see(see_slice(slice("web", &[at])));
        lan.run_ms(1_500);
        assert_eq!(lan.who_has("192.0.2.9"), [at]);
    }
}

#[test]
fn both_families_and_all_sharers_stay_on_one_node() {
    let mut lan = lan_with(&[], 6);
    lan.run_ms(3_000);
    for (name, addresses) in [("a", ["192.0.2.9", "2001:db8::9"]), ("b", ["192.0.2.10", "2001:db8::9"])] {
        lan.see(see_slice(slice(name, &["oak"])));
        lan.see(see_service(service(name, &addresses)));
    }
    lan.run_ms(500);
    let first = lan.who_has("192.0.2.9");
    assert_eq!(first.len(), 1);
    assert_eq!(lan.who_has("192.0.2.10"), first);
    let owner = lan.hosts[lan.index(first[0])].speaker.as_ref().unwrap();
    assert!(owner.responder().is_listening(ip("2001:db8::9")));
}

#[test]
fn an_interface_that_no_node_has_is_complained_about_once() {
    let mut lan = lan_with(&["192.0.2.1"], 7);
    let mut named = advertisement("all");
    named.interfaces = BTreeSet::from(["eth7".into()]);
    lan.see(see_advertisement(named));
    lan.run_ms(3_000);
    lan.see(see_slice(slice("192.0.2.1", &["oak"])));
    lan.run_ms(1_000);
    assert_eq!(lan.who_has("192.0.2.1"), Vec::<&str>::new());
    let complaints: Vec<_> = lan.hosts.iter().flat_map(|host| &host.told).collect();
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(matches!(complaints[0], Told::Event(_, "announceFailed", message) if message.contains("eth7")));

    let mut named = advertisement("all");
    named.interfaces = BTreeSet::from(["eth0".into()]);
    lan.see(see_advertisement(named));
    lan.run_ms(1_000);
    let owner = lan.who_has("192.0.2.1");
    let told = &lan.hosts[lan.index(owner[0])].told;
    let limit = BTreeSet::from(["eth0".into()]);
    assert!(told.contains(&Told::Status(key("192.0.2.1"), Some(limit))));
}

#[test]
fn the_fleet_agrees_whatever_the_status_mode_is() {
    let mut lan = lan_with(&[], 8);
    lan.run_ms(3_000);
    let mut mixed = service("web", &["192.0.2.9"]);
    mixed.ingress.insert(0, Ingress::Other("a.example".into()));
    assert!(matches!(mixed.ingress[1], Ingress::Address { mode: IpMode::Vip, .. }));
    lan.see(see_slice(slice("web", &["oak"])));
    lan.see(see_service(mixed));
    lan.run_ms(500);
    assert_eq!(lan.who_has("192.0.2.9").len(), 1);
    // What the nodes told each other of their links is what they see themselves.
    let fir = lan.hosts[lan.index("fir")].speaker.as_ref().unwrap();
    let links: Vec<LinkSummary> = fir.links().summary().to_vec();
    let oak = lan.hosts[lan.index("oak")].speaker.as_ref().unwrap();
    let told = &oak.membership().member("fir").unwrap().profile.unwrap().links;
    assert_eq!(told.len(), links.len());
    assert_eq!(told[0].prefixes, links[0].prefixes);
}

#[test]
fn a_preference_decides_at_the_start_and_moves_nothing_later() {
    let mut lan = lan_with(&["192.0.2.1"], 9);
    let line = ranked(&["oak", "elm", "fir"], "192.0.2.1");
    let prefer = |name: &str| {
        let mut all = advertisement("all");
        all.preferences = vec![NodePreference { weight: 10, nodes: selector(&[("name", name)]) }];
        see_advertisement(all)
    };
    lan.see(prefer(line[2]));
    lan.run_ms(3_000);
    assert_eq!(lan.who_has("192.0.2.1"), [line[2]]);
    lan.see(prefer(line[1]));
    lan.run_ms(3_000);
    assert_eq!(lan.who_has("192.0.2.1"), [line[2]]);
}
