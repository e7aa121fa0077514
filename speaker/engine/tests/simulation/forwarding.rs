//! Mode `node-port`: rules before answers, and where they point.

use std::time::Duration;

use landfall_engine::forwarding::{Backend, Frontend};
use landfall_model::{Observation, Protocol, Reason};

use crate::{
    lan::{Lan, host_address},
    objects::{ip, key, proxied, see_service, see_slice, service, slice},
    start::{lan_with, ranked},
};

const ADDRESS: &str = "192.0.2.1";

fn expose(lan: &mut Lan) {
    lan.see(see_slice(slice("web", &["oak", "elm", "fir"])));
    lan.see(see_service(proxied(service("web", &[ADDRESS]))));
}

fn backends(lan: &Lan, host: usize) -> Vec<Backend> {
    let frontend = Frontend { address: ip(ADDRESS), protocol: Protocol::Tcp, port: 80 };
    lan.hosts[host].table.as_ref().map(|table| table.backends(&frontend)).unwrap_or_default()
}

fn points_at(lan: &Lan, host: usize, node: usize) -> bool {
    backends(lan, host).iter().any(|backend| match backend {
        Backend::NodePort { address, .. } => *address == host_address(node),
        Backend::Endpoint(_) => false,
    })
}

#[test]
fn nothing_is_answered_before_the_rules_are_in_force() {
    let mut lan = lan_with(&[], 1);
    lan.run_ms(3_000);
    expose(&mut lan);
    let start = lan.now;
    while lan.now.since(start) < Duration::from_millis(200) {
        for name in lan.who_has(ADDRESS) {
            let host = lan.index(name);
            assert!(!backends(&lan, host).is_empty(), "{name} answers and forwards nowhere");
        }
        lan.run(Duration::from_micros(300));
    }
    assert_eq!(lan.who_has(ADDRESS).len(), 1);
}

#[test]
fn the_rules_of_an_heir_are_brought_into_force_while_the_owner_is_judged() {
    for seed in 10..30 {
        let mut lan = lan_with(&[], seed);
        expose(&mut lan);
        lan.run_ms(3_000 + seed * 7);
        let line = ranked(&["oak", "elm", "fir"], ADDRESS);
        let (owner, heir, other) = (lan.index(line[0]), lan.index(line[1]), lan.index(line[2]));
        lan.hosts[heir].forward_takes = 70_000;
        lan.cut(&[owner]);
        // The verdict comes 95 ms after the cut or later.
        lan.run_ms(160);
        assert!(lan.who_has(ADDRESS).contains(&line[1]), "seed {seed}");
        assert!(backends(&lan, other).is_empty(), "nobody else prepares for it");
    }
}

#[test]
fn rules_that_were_not_needed_after_all_go_away() {
    let mut lan = lan_with(&[], 8);
    expose(&mut lan);
    lan.run_ms(3_000);
    let line = ranked(&["oak", "elm", "fir"], ADDRESS);
    let (owner, heir) = (lan.index(line[0]), lan.index(line[1]));
    lan.cut(&[owner]);
    let cut = lan.now;
    while backends(&lan, heir).is_empty() {
        assert!(lan.now.since(cut) < Duration::from_millis(95), "it is dead by now");
        lan.run_ms(1);
    }
    lan.heal();
    let seen = lan.watch(ADDRESS, Duration::from_secs(2));
    assert!(seen.iter().all(|(_, answers)| answers == &[line[0]]), "nothing moves: {seen:?}");
    lan.run_ms(4_000);
    assert!(backends(&lan, heir).is_empty());
}

#[test]
fn a_node_whose_rules_fail_gives_the_address_to_another() {
    let mut lan = lan_with(&[], 2);
    lan.run_ms(3_000);
    let line = ranked(&["oak", "elm", "fir"], ADDRESS);
    let best = lan.index(line[0]);
    lan.hosts[best].forward_fails = true;
    expose(&mut lan);
    let seen = lan.watch(ADDRESS, Duration::from_secs(2));
    assert!(seen.iter().all(|(_, answers)| !answers.contains(&line[0])), "{seen:?}");
    assert_eq!(seen.last().unwrap().1, [line[1]]);
    let snapshot = lan.hosts[best].speaker.as_ref().unwrap().snapshot();
    assert_eq!(snapshot.services[&key("web")], Reason::ForwardingUnavailable);
    // Once it works again, it is a candidate, and gets nothing back.
    lan.hosts[best].forward_fails = false;
    lan.run_ms(12_000);
    assert_eq!(lan.who_has(ADDRESS), [line[1]]);
    let heir = lan.index(line[1]);
    lan.kill(heir);
    lan.run_ms(2_000);
    assert_eq!(lan.who_has(ADDRESS), [line[0]]);
}

#[test]
fn a_dead_node_gets_no_more_packets() {
    let mut lan = lan_with(&[], 3);
    lan.run_ms(3_000);
    expose(&mut lan);
    lan.run_ms(500);
    let line = ranked(&["oak", "elm", "fir"], ADDRESS);
    let (owner, other) = (lan.index(line[0]), lan.index(line[2]));
    assert!(points_at(&lan, owner, other));
    // The API server is away and says nothing about the node.
    lan.set_api(false);
    lan.kill(other);
    lan.run_ms(700);
    assert!(!points_at(&lan, owner, other));
    lan.start(other);
    lan.run_ms(1_000);
    assert!(points_at(&lan, owner, other), "it is back");
}

#[test]
fn endpoints_of_a_dead_node_get_no_more_packets() {
    let mut lan = lan_with(&[], 7);
    lan.run_ms(3_000);
    let line = ranked(&["oak", "elm", "fir"], ADDRESS);
    lan.see(see_slice(slice("web", &[line[1], line[2]])));
    lan.see(see_service(proxied(service("web", &[ADDRESS]))));
    lan.run_ms(500);
    let (owner, dead) = (lan.index(line[0]), lan.index(line[2]));
    let endpoint =
        |number: u8| Backend::Endpoint(std::net::SocketAddr::new(ip(&format!("10.244.0.{number}")), 8_080));
    // No endpoint runs on the owner, so its own share goes straight to all of them.
    assert!(backends(&lan, owner).contains(&endpoint(1)));
    assert!(backends(&lan, owner).contains(&endpoint(2)));
    lan.kill(dead);
    lan.run_ms(700);
    assert!(backends(&lan, owner).contains(&endpoint(1)));
    assert!(!backends(&lan, owner).contains(&endpoint(2)));
}

#[test]
fn the_heir_forwards_and_the_loser_lingers() {
    let mut lan = lan_with(&[], 4);
    expose(&mut lan);
    lan.run_ms(3_000);
    let line = ranked(&["oak", "elm", "fir"], ADDRESS);
    let (owner, heir) = (lan.index(line[0]), lan.index(line[1]));
    lan.cut(&[owner]);
    lan.run_ms(2_000);
    lan.heal();
    lan.run_ms(1_000);
    assert_eq!(lan.who_has(ADDRESS), [line[1]]);
    assert!(!backends(&lan, heir).is_empty());
    assert!(!backends(&lan, owner).is_empty(), "clients that did not notice the move are still served");
    lan.run_ms(6_000);
    assert!(backends(&lan, owner).is_empty());
}

#[test]
fn rules_of_an_earlier_run_go_when_it_is_known_that_nobody_needs_them() {
    let mut lan = lan_with(&[], 5);
    expose(&mut lan);
    lan.run_ms(3_000);
    let line = ranked(&["oak", "elm", "fir"], ADDRESS);
    let owner = lan.index(line[0]);
    lan.kill(owner);
    lan.run_ms(2_000);
    lan.start(owner);
    lan.run_ms(3_000);
    assert!(!backends(&lan, owner).is_empty(), "they stay at first");
    lan.run_ms(6_000);
    assert!(backends(&lan, owner).is_empty());
}

#[test]
fn a_service_without_endpoints_is_not_announced_and_says_so() {
    let mut lan = lan_with(&[], 6);
    expose(&mut lan);
    lan.run_ms(3_000);
    assert_eq!(lan.who_has(ADDRESS).len(), 1);
    let slice_name = landfall_model::ServiceKey::new("shop", "web-slice");
    lan.see(Observation::EndpointSlice(slice_name, None));
    lan.run_ms(50);
    assert_eq!(lan.who_has(ADDRESS), Vec::<&str>::new());
    for host in &lan.hosts {
        assert_eq!(host.speaker.as_ref().unwrap().snapshot().services[&key("web")], Reason::NoEndpoints);
        assert_eq!(host.moves.last().unwrap().3, Reason::NoEndpoints);
    }
}

/// Whom a host relays to what it did not see begin.
fn relays(lan: &Lan, host: usize) -> Option<std::net::IpAddr> {
    lan.hosts[host].table.as_ref().and_then(|table| table.relays().get(&ip(ADDRESS)).copied())
}

#[test]
fn who_succeeds_a_living_owner_relays_to_it_what_is_open() {
    let mut lan = lan_with(&[], 9);
    lan.see(see_slice(slice("web", &["oak", "elm", "fir"])));
    lan.see(see_service(service("web", &[ADDRESS])));
    lan.run_ms(3_000);
    let line = ranked(&["oak", "elm", "fir"], ADDRESS);
    let (owner, heir, third) = (lan.index(line[0]), lan.index(line[1]), lan.index(line[2]));
    assert!(lan.hosts.iter().all(|host| host.table.is_none()), "who was first has nobody to relay to");
    lan.hosts[heir].forward_takes = 70_000;
    lan.shut_down(owner);
    let left = lan.now;
    while lan.who_has(ADDRESS) != [line[1]] {
        assert!(lan.now.since(left) < Duration::from_millis(500), "{:?}", lan.who_has(ADDRESS));
        assert!(relays(&lan, heir).is_none() || lan.who_has(ADDRESS) != [line[0]]);
        lan.run_ms(1);
    }
    assert_eq!(relays(&lan, heir), Some(host_address(owner)), "before it answers");
    // It is back soon, as in a rolling update.
    lan.run_ms(20_000);
    lan.start(owner);
    lan.run_ms(100_000);
    assert_eq!(relays(&lan, heir), Some(host_address(owner)));

    // Then the heir leaves, for good: the third one relays to it, and nobody else does to anybody.
    lan.shut_down(heir);
    lan.run_ms(1_000);
    let (next, other) = if lan.who_has(ADDRESS) == [line[0]] { (owner, third) } else { (third, owner) };
    assert_eq!(relays(&lan, next), Some(host_address(heir)));
    assert_eq!(relays(&lan, other), None);
    lan.run_ms(50_000);
    assert!(relays(&lan, next).is_some(), "it may be on its way back");
    lan.run_ms(20_000);
    assert_eq!(relays(&lan, next), None);
}

#[test]
fn nothing_is_relayed_to_a_dead_node() {
    let mut lan = lan_with(&[], 10);
    expose(&mut lan);
    lan.run_ms(3_000);
    let line = ranked(&["oak", "elm", "fir"], ADDRESS);
    let (owner, heir) = (lan.index(line[0]), lan.index(line[1]));
    lan.kill(owner);
    lan.run_ms(3_000);
    assert_eq!(
        (lan.who_has(ADDRESS), relays(&lan, heir)),
        (vec![line[1]], None),
        "what was open died with it"
    );

    lan.start(owner);
    lan.run_ms(3_000);
    lan.shut_down(heir);
    lan.run_ms(500);
    let owners = lan.who_has(ADDRESS);
    let next = lan.index(owners[0]);
    assert_eq!(relays(&lan, next), Some(host_address(heir)));
    lan.start(heir);
    lan.run_ms(3_000);
    lan.kill(heir);
    lan.run_ms(500);
    assert_eq!(relays(&lan, next), None, "it died, and did not leave");
}
