use std::time::Duration;

use landfall_model::{BgpAdvertisement, BgpPeer, L2Advertisement, Pool};
use landfall_verdict::{Mode, Objects};

use crate::objects::*;

fn pools(pools: &[(&str, &[&str])]) -> Objects {
    Objects { pools: pools.iter().map(|(name, ranges)| pool(name, ranges)).collect(), ..none() }
}

#[test]
fn pools_share_no_address() {
    let at = |index: usize| match index {
        0 => "IPAddressPool b spec.addresses[0] Overlap",
        _ => "IPAddressPool b spec.addresses[1] Overlap",
    };
    table(
        Mode::FrrK8s,
        [
            ("none at all", none(), vec![]),
            ("one pool", pools(&[("a", &["192.0.2.0/24", "2001:db8::/64"])]), vec![]),
            (
                "adjacent but disjoint",
                pools(&[("a", &["192.0.2.0/25"]), ("b", &["192.0.2.128-192.0.2.255", "198.51.100.0/24"])]),
                vec![],
            ),
            ("the same", pools(&[("a", &["192.0.2.0/24"]), ("b", &["192.0.2.0/24"])]), vec![at(0)]),
            (
                "the later one by name, whatever the order and whichever is larger",
                pools(&[("b", &["192.0.2.0/24"]), ("a", &["192.0.2.7/32"])]),
                vec![at(0)],
            ),
            (
                "the smaller one later",
                pools(&[("b", &["192.0.2.7/32"]), ("a", &["192.0.2.0/24"])]),
                vec![at(0)],
            ),
            (
                "by one address",
                pools(&[("a", &["192.0.2.1-192.0.2.9"]), ("b", &["192.0.2.9-192.0.2.10"])]),
                vec![at(0)],
            ),
            (
                "IPv6",
                pools(&[("a", &["2001:db8::/64"]), ("b", &["192.0.2.0/24", "2001:db8::5-2001:db8::9"])]),
                vec![at(1)],
            ),
            ("all of IPv4 and all of IPv6", pools(&[("a", &["0.0.0.0/0"]), ("b", &["::/0"])]), vec![]),
            (
                "each entry",
                pools(&[("a", &["192.0.2.0/24"]), ("b", &["192.0.2.0/30", "192.0.2.8/30"])]),
                vec![at(0), at(1)],
            ),
            (
                "what is at fault is not in the way",
                pools(&[
                    ("a", &["192.0.2.1-192.0.2.5"]),
                    ("b", &["192.0.2.5-192.0.2.9"]),
                    ("c", &["192.0.2.9/32"]),
                ]),
                vec![at(0)],
            ),
            (
                "a wide one over several",
                pools(&[("a", &["192.0.2.8/29", "192.0.2.64/29"]), ("b", &["192.0.2.0/24"])]),
                vec![at(0)],
            ),
        ],
    );
    let two = pools(&[("gold", &["192.0.2.0/24"]), ("silver", &["192.0.2.9-192.0.2.12"])]);
    let message = message(&two, Mode::FrrK8s);
    for part in ["192.0.2.9-192.0.2.12", "192.0.2.0-192.0.2.255", "\"gold\""] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_name_stands_once() {
    let l2 = L2Advertisement { name: "a".into(), ..L2Advertisement::default() };
    let wide = BgpAdvertisement { aggregation_length: 24, ..advertisement("a") };
    table(
        Mode::FrrK8s,
        [
            (
                "two pools with the same name",
                pools(&[("a", &["192.0.2.0/24"]), ("b", &["198.51.100.0/24"]), ("a", &["192.0.2.0/24"])]),
                vec!["IPAddressPool a metadata.name Duplicate"],
            ),
            (
                "two L2Advertisements of one name",
                Objects { l2_advertisements: vec![l2.clone(), l2], ..none() },
                vec!["L2Advertisement a metadata.name Duplicate"],
            ),
            (
                "two BGPAdvertisements equal in every field including the name",
                Objects { bgp_advertisements: vec![advertisement("a"), advertisement("a")], ..none() },
                vec!["BGPAdvertisement a metadata.name Duplicate"],
            ),
            (
                "two BGPAdvertisements of one name that differ",
                Objects { bgp_advertisements: vec![advertisement("a"), wide], ..none() },
                vec!["BGPAdvertisement a metadata.name Duplicate"],
            ),
            (
                "two BGPAdvertisements equal in all but the name",
                Objects { bgp_advertisements: vec![advertisement("a"), advertisement("b")], ..none() },
                vec![],
            ),
            (
                "identical peer including the name",
                Objects { peers: vec![peer("a", "192.0.2.1"), peer("a", "192.0.2.1")], ..none() },
                vec!["BGPPeer a metadata.name Duplicate"],
            ),
            (
                "BFDProfile of the same name",
                Objects { bfd_profiles: vec![profile("a", false), profile("a", true)], ..none() },
                vec!["BFDProfile a metadata.name Duplicate"],
            ),
            (
                "Community of the same name",
                Objects {
                    communities: vec![communities("a", &[]), communities("a", &[("x", "1:2")])],
                    ..none()
                },
                vec!["Community a metadata.name Duplicate"],
            ),
        ],
    );
}

#[test]
fn a_name_of_a_community_stands_once() {
    let two = |one: &[(&str, &str)], other: &[(&str, &str)]| Objects {
        communities: vec![communities("b", other), communities("a", one)],
        ..none()
    };
    table(
        Mode::FrrK8s,
        [
            ("different aliases", two(&[("x", "1:2")], &[("y", "1:2")]), vec![]),
            (
                "same alias across objects",
                two(&[("x", "1:2")], &[("y", "1:2"), ("x", "1:2")]),
                vec!["Community b spec.communities[1].name Duplicate"],
            ),
        ],
    );
}

/// How long it takes, in a build for tests.
#[expect(clippy::disallowed_types, reason = "measures, and decides nothing")]
fn took(objects: &Objects) -> Duration {
    let start = std::time::Instant::now();
    assert_eq!(verdict(objects, Mode::FrrK8s), Vec::<String>::new());
    start.elapsed()
}

fn thousands() -> Vec<Pool> {
    let one = |number: u32| {
        pool(&format!("pool-{number:04}"), &[&format!("10.{}.{}.7/32", number / 256, number % 256)])
    };
    (0..3000).map(one).collect()
}

#[test]
fn thousands_of_pools_take_little_time() {
    let elapsed = took(&Objects { pools: thousands(), ..none() });
    assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
}

/// An advertisement for each pool, a hundred more for all of them that differ and have a node each, and a peer with
/// settings of its own on each node.
#[test]
fn many_advertisements_and_peers_take_little_time() {
    let own = (0..3000).map(|number| BgpAdvertisement {
        pools: [format!("pool-{number:04}").into()].into(),
        peers: ["one".into()].into(),
        ..advertisement(&format!("own-{number:04}"))
    });
    let all = (0..100).map(|number| BgpAdvertisement {
        node_selectors: on(&format!("n{number}")),
        peers: ["other".into()].into(),
        local_pref: number,
        ..advertisement(&format!("all-{number:03}"))
    });
    let peers = (0..1000_u32).map(|number| {
        let host = format!("{}.{}", number / 250, number % 250 + 1);
        BgpPeer {
            node_selectors: on(&format!("n{number}")),
            router_id: Some(ip(&format!("172.17.{host}"))),
            my_asn: 64512 + number,
            ..peer(&format!("p{number}"), &format!("172.16.{host}"))
        }
    });
    let elapsed = took(&Objects {
        pools: thousands(),
        bgp_advertisements: own.chain(all).collect(),
        peers: peers.collect(),
        nodes: (0..1000).map(|number| node(&format!("n{number}"))).collect(),
        ..none()
    });
    assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");
}
