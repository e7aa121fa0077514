use std::time::Duration;

use landfall_model::{BgpPeer, CommunityName, PeerEndpoint, RemoteAs};
use landfall_verdict::{Mode, Objects};

use crate::objects::*;

type Change = fn(&mut BgpPeer);

/// What a peer cannot have in the native mode, row by row.
const PEERS: &[(&str, Change)] = &[
    ("spec.bfdProfile", |peer| peer.bfd_profile = Some("none".into())),
    ("spec.keepaliveTime", |peer| {
        peer.keepalive_time = Some(Duration::from_secs(30));
        peer.keepalive_given = true;
    }),
    ("spec.vrf", |peer| peer.vrf = "red".into()),
    ("spec.connectTime", |peer| peer.connect_time = Some(Duration::from_secs(5))),
    ("spec.enableGracefulRestart", |peer| peer.graceful_restart = true),
    ("spec.disableMP", |peer| peer.disable_mp = true),
    ("spec.dualStackAddressFamily", |peer| peer.dual_stack = true),
    ("spec.dynamicASN", |peer| peer.remote = RemoteAs::Internal),
    ("spec.interface", |peer| peer.endpoint = PeerEndpoint::Interface("eth0".into())),
    ("spec.localASN", |peer| peer.local_asn = Some(64600)),
];

#[test]
fn the_native_mode_does_less() {
    for (field, change) in PEERS {
        let mut one = peer("a", "192.0.2.1");
        change(&mut one);
        let objects = Objects { peers: vec![one], bfd_profiles: Vec::new(), ..none() };
        assert_eq!(verdict(&objects, Mode::Native), [format!("BGPPeer a {field} Unsupported")]);
        let fine = Objects { bfd_profiles: vec![profile("none", false)], ..objects };
        for mode in [Mode::Frr, Mode::FrrK8s] {
            assert_eq!(verdict(&fine, mode), Vec::<String>::new(), "{field}");
        }
    }
}

#[test]
fn a_hold_time_alone_is_no_keepalive_time() {
    let mut one = peer("a", "192.0.2.1");
    (one.hold_time, one.keepalive_time) = (Some(Duration::from_secs(90)), Some(Duration::from_secs(30)));
    one.router_id = Some(ip("192.0.2.9"));
    one.multi_hop = true;
    assert_eq!(verdict(&Objects { peers: vec![one], ..none() }, Mode::Native), Vec::<String>::new());
}

#[test]
fn the_native_mode_has_neither_bfd_nor_ipv6_nor_large_communities() {
    let reached = |ranges: &[&str], pools: &[&str]| {
        let mut adv = advertisement("adv");
        adv.pools = pools.iter().map(|name| (*name).into()).collect();
        Objects { pools: vec![pool("gold", ranges)], bgp_advertisements: vec![adv], ..none() }
    };
    let marked = |text: &str| {
        let mut adv = advertisement("adv");
        adv.communities.insert(CommunityName::Value(text.parse().unwrap()));
        Objects { bgp_advertisements: vec![adv], ..none() }
    };
    let named = |value: &str| Objects {
        communities: vec![communities("c", &[("x", "1:2"), ("y", value)])],
        ..none()
    };
    const IPV6: &str = "BGPAdvertisement adv spec.ipAddressPools Unsupported";
    let dual: &[&str] = &["192.0.2.0/24", "2001:db8::/64"];
    let rows = [
        (
            "any BFDProfile object",
            Objects { bfd_profiles: vec![profile("fast", false)], ..none() },
            vec!["BFDProfile fast  Unsupported"],
        ),
        ("an IPv6 entry in a pool that is selected by all", reached(dual, &[]), vec![IPV6]),
        ("an IPv6 entry in a pool that is selected by name", reached(dual, &["gold"]), vec![IPV6]),
        ("an IPv6 entry in a pool that is not selected", reached(dual, &["silver"]), vec![]),
        (
            "a pool with IPv6 and no advertisement",
            Objects { pools: vec![pool("gold", dual)], ..none() },
            vec![],
        ),
        ("an IPv4 pool", reached(&["192.0.2.0/24"], &[]), vec![]),
        (
            "large community in an advertisement",
            marked("large:1:2:3"),
            vec!["BGPAdvertisement adv spec.communities Unsupported"],
        ),
        ("standard community in an advertisement", marked("1:2"), vec![]),
        (
            "large community in a Community object",
            named("large:1:2:3"),
            vec!["Community c spec.communities[1].value Unsupported"],
        ),
        ("standard communities in a Community object", named("1:3"), vec![]),
    ];
    for mode in [Mode::Frr, Mode::FrrK8s] {
        for (row, objects, _) in &rows {
            assert_eq!(verdict(objects, mode), Vec::<String>::new(), "{row}");
        }
    }
    table(Mode::Native, rows);
}

#[test]
fn only_frr_k8s_prepends() {
    let mut adv = advertisement("adv");
    adv.as_path_prepend = 1;
    let objects = Objects { bgp_advertisements: vec![adv], ..none() };
    for mode in [Mode::Native, Mode::Frr] {
        assert_eq!(verdict(&objects, mode), ["BGPAdvertisement adv spec.asPathPrepend Unsupported"]);
    }
    assert!(message(&objects, Mode::Frr).contains("frr-k8s"));
    assert_eq!(verdict(&objects, Mode::FrrK8s), Vec::<String>::new());
}
