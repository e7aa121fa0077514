use landfall_model::{BgpPeer, PeerEndpoint, PeerPassword, RemoteAs};
use landfall_verdict::{Mode, Objects, SecretKind};

use crate::objects::*;

#[test]
fn what_a_peer_names_must_be_there() {
    let secret = |kind: Option<SecretKind>| {
        let one = BgpPeer { password: PeerPassword::Secret("tor".into()), ..peer("a", "192.0.2.1") };
        let secrets = kind.map(|kind| ("tor".into(), kind)).into_iter().collect();
        Objects { peers: vec![one], secrets: Some(secrets), ..none() }
    };
    let bfd = |profiles: &[&str]| {
        let one = BgpPeer { bfd_profile: Some("fast".into()), ..peer("a", "192.0.2.1") };
        let bfd_profiles = profiles.iter().map(|name| profile(name, false)).collect();
        Objects { peers: vec![one], bfd_profiles, ..none() }
    };
    const SECRET: &str = "BGPPeer a spec.passwordSecret.name InvalidValue";
    for mode in [Mode::Frr, Mode::FrrK8s] {
        table(
            mode,
            [
                ("profile that exists", bfd(&["fast", "slow"]), vec![]),
                ("bfdProfile missing", bfd(&["slow"]), vec!["BGPPeer a spec.bfdProfile UnknownReference?"]),
            ],
        );
    }
    for mode in Mode::ALL {
        let missing = vec!["BGPPeer a spec.passwordSecret.name UnknownReference?"];
        table(
            *mode,
            [
                ("Secret with a password", secret(Some(SecretKind::Password)), vec![]),
                ("Secret missing", secret(None), missing),
                ("Secret of another type", secret(Some(SecretKind::OtherType)), vec![SECRET]),
                ("without key password", secret(Some(SecretKind::NoPassword)), vec![SECRET]),
            ],
        );
    }
    assert!(message(&secret(None), Mode::Frr).contains("in the namespace \"lb\""));
}

fn two(change: impl FnOnce(&mut BgpPeer, &mut BgpPeer)) -> Objects {
    let (mut one, mut other) = (peer("a", "192.0.2.1"), peer("b", "192.0.2.2"));
    change(&mut one, &mut other);
    Objects { peers: vec![other, one], ..none() }
}

type Change = fn(&mut BgpPeer, &mut BgpPeer);

/// What two peers on one node cannot have.
const CLASHES: &[(&str, Change, &str)] = &[
    (
        "different router ids",
        |one, other| (one.router_id, other.router_id) = (Some(ip("192.0.2.8")), Some(ip("192.0.2.9"))),
        "BGPPeer b spec.routerID Conflict",
    ),
    (
        "a router id in one of them",
        |one, _| one.router_id = Some(ip("192.0.2.8")),
        "BGPPeer b spec.routerID Conflict",
    ),
    (
        "different router ids, even in two VRFs",
        |one, other| {
            one.router_id = Some(ip("192.0.2.8"));
            other.vrf = "red".into();
        },
        "BGPPeer b spec.routerID Conflict",
    ),
    (
        "same address in the same VRF",
        |one, other| other.endpoint = one.endpoint.clone(),
        "BGPPeer b spec.peerAddress Conflict",
    ),
    (
        "same interface in the same VRF",
        |one, other| {
            one.endpoint = PeerEndpoint::Interface("eth0".into());
            other.endpoint = one.endpoint.clone();
            (one.vrf, other.vrf) = ("red".into(), "red".into());
        },
        "BGPPeer b spec.interface Conflict",
    ),
    ("different myASN in the same VRF", |_, other| other.my_asn = 64600, "BGPPeer b spec.myASN Conflict"),
];

#[test]
fn peers_of_one_node_fit_each_other() {
    let known = |objects: Objects| Objects { nodes: vec![node("n1"), node("n2")], ..objects };
    let placed = |mut objects: Objects, one: &str, other: &str| {
        (objects.peers[1].node_selectors, objects.peers[0].node_selectors) = (on(one), on(other));
        objects
    };
    for mode in [Mode::Frr, Mode::FrrK8s] {
        for (row, change, fault) in CLASHES {
            let clashing = two(change);
            table(
                mode,
                [
                    (*row, clashing.clone(), vec![*fault]),
                    (*row, known(clashing.clone()), vec![*fault]),
                    (*row, known(placed(clashing.clone(), "n1", "n1")), vec![*fault]),
                    (*row, known(placed(clashing.clone(), "n1", "n2")), vec![]),
                    (*row, placed(clashing.clone(), "n1", "n2"), vec![*fault]),
                ],
            );
            assert_eq!(verdict(&known(placed(clashing, "n1", "n9")), mode), Vec::<String>::new(), "{row}");
        }
        table(
            mode,
            [
                ("two that fit", two(|_, _| {}), vec![]),
                (
                    "the same router id",
                    two(|one, other| {
                        (one.router_id, other.router_id) = (Some(ip("192.0.2.8")), Some(ip("192.0.2.8")))
                    }),
                    vec![],
                ),
                (
                    "same address in two VRFs",
                    two(|one, other| {
                        other.endpoint = one.endpoint.clone();
                        other.vrf = "red".into();
                    }),
                    vec![],
                ),
                (
                    "different myASN in two VRFs",
                    two(|_, other| (other.my_asn, other.vrf) = (64600, "red".into())),
                    vec![],
                ),
                ("different remote systems", two(|_, other| other.remote = RemoteAs::External), vec![]),
            ],
        );
    }
    for (row, change, _) in CLASHES.iter().filter(|(row, _, _)| !row.contains("VRF")) {
        assert_eq!(verdict(&two(change), Mode::Native), Vec::<String>::new(), "{row}");
    }
}

#[test]
fn a_clash_names_the_other_peer_and_the_node() {
    let mut objects = two(|_, other| other.my_asn = 64600);
    objects.nodes = vec![node("n1"), node("n2")];
    objects.peers[0].node_selectors = on("n2");
    let message = message(&objects, Mode::Frr);
    for part in ["64600", "64512", "\"a\"", "node n2", "default VRF"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_peer_at_fault_is_not_in_the_way() {
    let mut three = two(|_, other| other.my_asn = 64600);
    three.peers.push(peer("c", "192.0.2.3"));
    assert_eq!(verdict(&three, Mode::Frr), ["BGPPeer b spec.myASN Conflict"]);
}

#[test]
fn echo_is_not_for_ipv6() {
    let told = |ranges: &[&str], echo: bool, peers: &[&str]| {
        let mut adv = advertisement("adv");
        adv.peers = peers.iter().map(|name| (*name).into()).collect();
        Objects {
            pools: vec![pool("gold", ranges)],
            bgp_advertisements: vec![adv],
            peers: vec![BgpPeer { bfd_profile: Some("fast".into()), ..peer("a", "192.0.2.1") }],
            bfd_profiles: vec![profile("fast", echo)],
            ..none()
        }
    };
    const ECHO: &str = "BGPPeer a spec.bfdProfile Conflict";
    let dual: &[&str] = &["192.0.2.0/24", "2001:db8::/64"];
    let mut elsewhere = told(dual, true, &[]);
    elsewhere.bgp_advertisements[0].pools.insert("none".into());
    for mode in [Mode::Frr, Mode::FrrK8s] {
        table(
            mode,
            [
                ("by having no list", told(dual, true, &[]), vec![ECHO]),
                ("by list", told(dual, true, &["a", "none"]), vec![ECHO]),
                ("another peer is told", told(dual, true, &["b"]), vec![]),
                ("no echo mode", told(dual, false, &[]), vec![]),
                ("IPv4 alone", told(&["192.0.2.0/24"], true, &[]), vec![]),
                ("a pool that is not announced", elsewhere.clone(), vec![]),
            ],
        );
    }
}
