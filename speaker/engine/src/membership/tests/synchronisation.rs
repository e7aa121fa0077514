use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use super::network::{Datagram, LATENCY, MS, Network, SECOND, claim, key, name, service, socket};
use crate::links::LinkSummary;
use crate::membership::{
    Claim, ClaimChanges, Event, Membership, Phase, Profile,
    claims::digest64,
    message::{Content, Digests, Echo, Heartbeat, ProfilePart, Stamp, write},
    packet::seal,
    sync::MAX_REPEATED,
    tie::Tie,
};

fn pulls(network: &Network) -> u64 {
    network.nodes.iter().map(|node| node.machine.counters().pulls).sum()
}

#[test]
fn a_takeover_is_known_after_one_packet() {
    let mut network = Network::settled(5, 1);
    let changes: ClaimChanges = (0..40).map(|number| (service(number), Some(claim(7)))).collect();
    let before = network.sent;
    network.act(0, |machine, now| machine.change_claims(&changes, now));
    assert_eq!(network.sent - before, 4, "one packet to each peer");
    network.run(LATENCY);
    for peer in 1..5 {
        assert_eq!(network.nodes[peer].machine.member("n0").unwrap().claims.len(), 40);
        let told = Event::Claims { node: name(0), changes: changes.clone() };
        assert_eq!(network.nodes[peer].log.iter().filter(|(_, event)| *event == told).count(), 1);
    }
    network.run(2 * SECOND);
    assert_eq!(pulls(&network), 0);
    // Giving up works the same way, and repeating it says nothing.
    for expected in [1, 0] {
        let (before, log) = (network.sent, network.nodes[1].log.len());
        network.act(0, |machine, now| machine.change_claims(&[(service(3), None)].into(), now));
        assert_eq!(network.sent - before, 4 * expected);
        network.run(LATENCY);
        assert_eq!(network.nodes[1].log.len() - log, usize::try_from(expected).unwrap());
    }
    assert!(!network.nodes[1].machine.member("n0").unwrap().claims.contains_key(&service(3)));
}

#[test]
fn a_lost_change_comes_with_the_next_heartbeat() {
    let mut network = Network::settled(2, 2);
    network.loss = 1_000;
    network.act(0, |machine, now| machine.set_claims(&[(service(1), claim(1))].into(), now));
    network.loss = 0;
    let start = network.now;
    let known = network.run_until(SECOND, Network::agrees);
    assert!(known.since(start) <= 110 * MS + LATENCY, "{:?}", known.since(start));
    assert_eq!(pulls(&network), 0, "nobody had to ask");
}

#[test]
fn a_change_that_heartbeats_do_not_repeat_is_pulled() {
    let mut network = Network::settled(2, 3);
    network.loss = 1_000;
    // More than a heartbeat repeats.
    let claims = (0..40).map(|number| (service(number), claim(1))).collect();
    network.act(0, |machine, now| machine.set_claims(&claims, now));
    network.loss = 0;
    let start = network.now;
    let known = network.run_until(SECOND, Network::agrees);
    assert!(known.since(start) <= 130 * MS, "{:?}", known.since(start));
    assert_eq!(pulls(&network), 1);
}

fn many(number: u32) -> BTreeMap<IpAddr, Claim> {
    let v6 = |number: u32| IpAddr::V6(Ipv6Addr::from((0x2001_0db8_u128 << 96) + u128::from(number)));
    (0..number).map(|n| (if n % 2 == 0 { service(n) } else { v6(n) }, claim(n.into()))).collect()
}

#[test]
fn ten_thousand_claims_arrive() {
    for (loss, limit) in [(0, 300 * MS), (100, 1_500 * MS)] {
        let mut network = Network::settled(3, 4);
        network.loss = loss;
        let claims = many(10_000);
        let start = network.now;
        network.act(0, |machine, now| machine.set_claims(&claims, now));
        let known = network.run_until(limit, |network| {
            (1..3).all(|peer| network.nodes[peer].machine.member("n0").unwrap().claims.len() == 10_000)
        });
        assert!(known.since(start) > LATENCY);
        network.run(2 * SECOND);
        assert_eq!(network.nodes[1].machine.member("n0").unwrap().claims, &claims);
        // And away again: that is one packet, since nothing need be read.
        network.loss = 0;
        network.run(2 * SECOND);
        network.act(0, |machine, now| machine.set_claims(&BTreeMap::new(), now));
        network.run(LATENCY);
        assert!(network.nodes[1].machine.member("n0").unwrap().claims.is_empty());
    }
}

#[test]
fn claims_that_change_while_they_are_read_arrive() {
    let mut network = Network::settled(3, 5);
    network.loss = 50;
    let mut claims = many(5_000);
    network.act(0, |machine, now| machine.set_claims(&claims, now));
    for round in 0..100 {
        let address = service(round * 34 % 5_000 / 2 * 2);
        claims.insert(address, claim(1_000_000 + u64::from(round)));
        network.act(0, |machine, now| machine.set_claims(&claims, now));
        network.run(3 * MS);
    }
    network.run_until(10 * SECOND, Network::agrees);
    assert_eq!(network.nodes[2].machine.member("n0").unwrap().claims, &claims);
}

#[test]
fn a_node_that_starts_knows_all_claims_before_it_settles() {
    let mut network = Network::settled(3, 6);
    let claims = many(3_000);
    network.act(0, |machine, now| machine.set_claims(&claims, now));
    network.kill(2);
    network.run(2 * SECOND);
    network.start(2, 1_100);
    network.run_until(SECOND, |network| network.nodes[2].machine.settled());
    assert_eq!(network.nodes[2].machine.member("n0").unwrap().claims, &claims);
}

#[test]
fn a_peer_whose_claims_cannot_be_read_delays_the_start_but_not_for_ever() {
    let mut network = Network::settled(2, 7);
    network.act(0, |machine, now| machine.set_claims(&many(3_000), now));
    network.kill(1);
    network.run(SECOND);
    // A switch with a wrong MTU: heartbeats pass, answers do not.
    network.longest = 400;
    network.start(1, 1_100);
    let start = network.now;
    let settled = network.run_until(10 * SECOND, |network| network.nodes[1].machine.settled());
    assert_eq!(settled.since(start), 3 * SECOND);
    let before = pulls(&network);
    network.run(10 * SECOND);
    let asked = pulls(&network) - before;
    assert!((40..=60).contains(&asked), "it goes on asking, but not fast: {asked}");
    network.longest = 1_200;
    network.run_until(SECOND, Network::agrees);
}

#[test]
fn parts_that_do_not_fit_make_no_profile() {
    let mut network = Network::settled(2, 11);
    let boot = |node: usize| network.nodes[1 - node].machine.member(&name(node)).unwrap().boot.unwrap();
    let (own, peer) = (boot(0), boot(1));
    network.kill(1);
    let mut sequence = 1_000_000;
    let mut tell = |network: &mut Network, profile_part: Option<ProfilePart<'_>>, profile: u64| {
        sequence += 1;
        let heartbeat = Heartbeat {
            sender: "n1",
            receiver: digest64(b"n0"),
            stamp: Stamp { boot: peer, sequence },
            phase: Phase::Serving,
            interval: 100 * MS,
            echo: Some(Echo { boot: own, now: true }),
            digests: Digests { profile, ..Digests::default() },
            unheard: None,
            tie: Tie::default(),
        };
        let content = Content { profile_part, ..Content::default() };
        let bytes = seal(&key("secret"), |out| write(out, &heartbeat, &content));
        network.inject(&Datagram { from: socket(1), to: 0, bytes });
    };
    let known = |network: &Network| network.nodes[0].machine.member("n1").unwrap().profile.cloned();
    let profile = Profile { version: "right".into(), ..Profile::default() };
    let (right, _) = profile.encode();
    let (wrong, _) = Profile { version: "wrong".into(), ..Profile::default() }.encode();
    let digest = digest64(&right);
    let total = u32::try_from(right.len()).unwrap();
    let part = |offset: u32, bytes| Some(ProfilePart { digest, total, offset, bytes });
    tell(&mut network, None, digest);
    network.run(10 * MS);
    assert_eq!(pulls(&network), 1);
    // A hole, another profile's part, and then what was asked for.
    tell(&mut network, part(1, &right[1..]), digest);
    tell(&mut network, Some(ProfilePart { digest: 1, total, offset: 0, bytes: &wrong }), digest);
    assert_eq!((known(&network), network.nodes[0].machine.counters().unreadable_profiles), (None, 0));
    tell(&mut network, part(0, &right), digest);
    assert_eq!(known(&network), Some(profile.clone()));
    // Bytes that are not what the digest says change nothing, and are not asked for for ever.
    let digest = digest64(b"something else");
    tell(&mut network, None, digest);
    network.run(20 * MS);
    tell(&mut network, Some(ProfilePart { digest, total, offset: 0, bytes: &wrong }), digest);
    assert_eq!(
        (known(&network), network.nodes[0].machine.counters().unreadable_profiles),
        (Some(profile), 1)
    );
    let before = pulls(&network);
    tell(&mut network, None, digest);
    network.run(200 * MS);
    assert_eq!(pulls(&network), before);
}

#[test]
fn profiles_of_all_sizes_arrive_whole() {
    let mut network = Network::settled(3, 8);
    for links in [0, 1, 30, 400] {
        for loss in [0, 200] {
            network.loss = loss;
            let link = |number: usize| LinkSummary {
                name: format!("eth{number}").into(),
                prefixes: vec!["192.0.2.1/24".parse().unwrap(), "2001:db8::1/64".parse().unwrap()],
                default_v4: number == 0,
                arp: true,
                ..LinkSummary::default()
            };
            let version = format!("1.0.{loss}").into();
            let links = (0..links).map(link).collect();
            let profile = Profile { links, node_port: true, version, ..Profile::default() };
            network.act(1, |machine, now| machine.set_profile(&profile, now));
            network.run_until(5 * SECOND, |network| {
                [0, 2]
                    .iter()
                    .all(|peer| network.nodes[*peer].machine.member("n1").unwrap().profile == Some(&profile))
            });
            let told = Event::Profile { node: name(1), profile: profile.clone() };
            network.run(SECOND);
            assert_eq!(network.nodes[0].log.iter().filter(|(_, event)| *event == told).count(), 1);
            let before = network.sent;
            network.act(1, |machine, now| machine.set_profile(&profile, now));
            assert_eq!(network.sent, before, "the same again says nothing");
        }
    }
    assert_eq!(network.nodes[0].machine.counters().unreadable_profiles, 0);
}

#[test]
fn a_restarted_node_keeps_its_profile_until_it_tells_another() {
    let mut network = Network::settled(2, 10);
    let profile = Profile { version: "1".into(), ..Profile::default() };
    network.act(1, |machine, now| machine.set_profile(&profile, now));
    network.run(SECOND);
    network.kill(1);
    network.start(1, 1_001);
    network.run(SECOND);
    let known = |network: &Network| network.nodes[0].machine.member("n1").unwrap().profile.cloned();
    assert_eq!(known(&network), Some(profile.clone()));
    let told = network.nodes[0].log.len();
    network.act(1, |machine, now| machine.set_profile(&profile, now));
    network.run(SECOND);
    assert_eq!(network.nodes[0].log.len(), told, "the same again is no change");
    let next = Profile { version: "2".into(), ..Profile::default() };
    network.act(1, |machine, now| machine.set_profile(&next, now));
    network.run(SECOND);
    assert_eq!(known(&network), Some(next));
    assert_eq!(network.nodes[0].machine.counters().unreadable_profiles, 0);
}

#[test]
fn a_quiet_cluster_asks_nothing() {
    let mut network = Network::settled(4, 9);
    for node in 0..4 {
        let first = u32::try_from(node).unwrap() * 100;
        let claims = (first..first + 60).map(|number| (service(number), claim(1))).collect();
        network.act(node, |machine: &mut Membership, now| machine.set_claims(&claims, now));
    }
    network.run(2 * SECOND);
    let (before, sent) = (pulls(&network), network.sent);
    network.run(10 * SECOND);
    assert_eq!(pulls(&network), before);
    let beats = network.sent - sent;
    assert!((2_300..=2_600).contains(&beats), "12 directions, 20 a second: {beats}");
}

#[test]
fn a_speaker_without_peers_keeps_nothing_to_repeat() {
    let mut network = Network::new(1, 1);
    network.act(0, |machine, now| {
        for number in 0..1_000 {
            machine.change_claims(&ClaimChanges::from([(service(number), Some(claim(1)))]), now);
        }
    });
    assert!(network.nodes[0].machine.recent.len() <= MAX_REPEATED);
}
