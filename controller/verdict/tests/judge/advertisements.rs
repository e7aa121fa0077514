use landfall_model::{BgpAdvertisement, CommunityName, Labels, Selector};
use landfall_verdict::{Mode, Objects};

use crate::objects::*;

fn reaching(ranges: &[&str], change: impl FnOnce(&mut BgpAdvertisement)) -> Objects {
    let mut one = advertisement("adv");
    change(&mut one);
    Objects { pools: vec![pool("gold", ranges)], bgp_advertisements: vec![one], ..none() }
}

#[test]
fn a_route_is_not_wider_than_an_entry_of_its_pool() {
    const V4: &str = "BGPAdvertisement adv spec.aggregationLength Conflict";
    const V6: &str = "BGPAdvertisement adv spec.aggregationLengthV6 Conflict";
    let v4 = |ranges: &[&str], length: u8| reaching(ranges, |one| one.aggregation_length = length);
    let v6 = |ranges: &[&str], length: u8| reaching(ranges, |one| one.aggregation_length_v6 = length);
    let elsewhere = reaching(&["192.0.2.0/24"], |one| {
        one.aggregation_length = 8;
        one.pools.insert("none".into());
    });
    let mut labelled = reaching(&["192.0.2.0/24"], |one| {
        one.aggregation_length = 8;
        one.pool_selectors.push(Selector::parse([("tier", "1")], []).unwrap());
    });
    labelled.bgp_advertisements[0].pools.insert("none".into());
    let unselected = labelled.clone();
    labelled.pools[0].labels = Labels::from([("tier".to_owned(), "1".to_owned())]);
    table(
        Mode::Frr,
        [
            ("/24 with 24", v4(&["192.0.2.0/24"], 24), vec![]),
            ("/24 with 32", v4(&["192.0.2.0/24"], 32), vec![]),
            ("/24 with 23", v4(&["192.0.2.0/24"], 23), vec![V4]),
            (".2-.254 with 26", v4(&["192.0.2.2-192.0.2.254"], 26), vec![]),
            (".2-.254 with 25", v4(&["192.0.2.2-192.0.2.254"], 25), vec![V4]),
            ("each entry by itself", v4(&["192.0.2.0/24", "198.51.100.4/30"], 24), vec![V4]),
            ("IPv6 /64 with 64", v6(&["2001:db8::/64"], 64), vec![]),
            ("IPv6 /64 with 63", v6(&["2001:db8::/64"], 63), vec![V6]),
            ("the length of the other family", v6(&["192.0.2.0/24"], 0), vec![]),
            ("a pool that is not reached", elsewhere, vec![]),
            ("a pool that a selector beside a name reaches", labelled, vec![V4]),
            ("a pool that no selector reaches", unselected, vec![]),
        ],
    );
    let mut two = v4(&["192.0.2.0/24", "198.51.100.4/30"], 16);
    two.pools.push(pool("bronze", &["203.0.113.0/25"]));
    let message = message(&two, Mode::Frr);
    assert!(message.contains("use 30 or more") && message.contains("\"gold\""), "{message}");
}

#[test]
fn a_name_of_a_community_must_be_given() {
    let named = |texts: &[&str]| {
        let communities = texts.iter().map(|text| CommunityName::Alias((*text).into())).collect();
        Objects {
            bgp_advertisements: vec![BgpAdvertisement { communities, ..advertisement("adv") }],
            ..none()
        }
    };
    const UNKNOWN: &str = "BGPAdvertisement adv spec.communities UnknownReference?";
    let given = Objects {
        communities: vec![communities("c", &[("no-export", "65535:65281")])],
        ..named(&["no-export"])
    };
    table(
        Mode::FrrK8s,
        [
            ("alias that is given", given, vec![]),
            ("unknown alias", named(&["no-export"]), vec![UNKNOWN]),
            ("three-part value without marker", named(&["1:2:3"]), vec![UNKNOWN]),
            ("two of them", named(&["a", "b"]), vec![UNKNOWN, UNKNOWN]),
        ],
    );
}

/// Two advertisements of all pools that say 100 and 200.
fn differing(ranges: &[&str], change: impl FnOnce(&mut BgpAdvertisement, &mut BgpAdvertisement)) -> Objects {
    let (mut one, mut other) = (advertisement("a"), advertisement("b"));
    (one.local_pref, other.local_pref) = (100, 200);
    change(&mut one, &mut other);
    Objects { pools: vec![pool("gold", ranges)], bgp_advertisements: vec![other, one], ..none() }
}

#[test]
fn a_route_has_one_local_pref_and_one_path() {
    const CLASH: &str = "BGPAdvertisement b spec.localPref Conflict";
    let (v4, v6): (&[&str], &[&str]) = (&["192.0.2.0/24"], &["2001:db8::/64"]);
    let dual: &[&str] = &["192.0.2.0/24", "2001:db8::/64"];
    let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
    let known = |objects: Objects| Objects { nodes: vec![node("n1"), node("n2")], ..objects };
    let split = |one: &mut BgpAdvertisement, other: &mut BgpAdvertisement| {
        (one.node_selectors, other.node_selectors) = (on("n1"), on("n2"));
    };
    table(
        Mode::FrrK8s,
        [
            ("different localPref, same length", differing(v4, |_, _| {}), vec![CLASH]),
            ("the same localPref", differing(v4, |one, other| one.local_pref = other.local_pref), vec![]),
            ("one that gives none", differing(v4, |one, _| one.local_pref = 0), vec![CLASH]),
            (
                "different v4 length, v4-only pool",
                differing(v4, |one, _| one.aggregation_length = 24),
                vec![],
            ),
            (
                "different v6 length, v4-only pool",
                differing(v4, |one, _| one.aggregation_length_v6 = 64),
                vec![CLASH],
            ),
            (
                "different v6 length, v6-only pool",
                differing(v6, |one, _| one.aggregation_length_v6 = 64),
                vec![],
            ),
            (
                "different v4 length, v6-only pool",
                differing(v6, |one, _| one.aggregation_length = 24),
                vec![CLASH],
            ),
            (
                "both different, dual pool",
                differing(dual, |one, _| (one.aggregation_length, one.aggregation_length_v6) = (24, 64)),
                vec![],
            ),
            (
                "only v4 different, dual pool",
                differing(dual, |one, _| one.aggregation_length = 24),
                vec![CLASH],
            ),
            (
                "only v6 different, dual pool",
                differing(dual, |one, _| one.aggregation_length_v6 = 64),
                vec![CLASH],
            ),
            (
                "both list peers and the lists are disjoint",
                differing(v4, |one, other| (one.peers, other.peers) = (names(&["p"]), names(&["q"]))),
                vec![],
            ),
            (
                "both list peers with one in common",
                differing(v4, |one, other| (one.peers, other.peers) = (names(&["p", "q"]), names(&["q"]))),
                vec![CLASH],
            ),
            ("an empty list means all", differing(v4, |one, _| one.peers = names(&["p"])), vec![CLASH]),
            ("node sets disjoint", known(differing(v4, split)), vec![]),
            ("node sets disjoint, nodes not known", differing(v4, split), vec![CLASH]),
            (
                "node sets overlapping",
                known(differing(v4, |one, _| one.node_selectors = on("n1"))),
                vec![CLASH],
            ),
            ("no node at all", known(differing(v4, |one, _| one.node_selectors = on("n3"))), vec![]),
            (
                "the first has serviceSelectors",
                differing(v4, |one, _| one.service_selectors.push(Selector::default())),
                vec![],
            ),
            (
                "the second has serviceSelectors",
                differing(v4, |_, other| other.service_selectors.push(Selector::default())),
                vec![],
            ),
            (
                "the same localPref and different asPathPrepend",
                differing(v4, |one, other| (one.local_pref, other.as_path_prepend) = (other.local_pref, 2)),
                vec!["BGPAdvertisement b spec.asPathPrepend Conflict"],
            ),
            (
                "both different",
                differing(v4, |_, other| other.as_path_prepend = 2),
                vec![CLASH, "BGPAdvertisement b spec.asPathPrepend Conflict"],
            ),
            (
                "different asPathPrepend, different length",
                differing(v4, |one, other| {
                    (one.local_pref, other.as_path_prepend, one.aggregation_length) =
                        (other.local_pref, 2, 24);
                }),
                vec![],
            ),
            ("no pool in common", differing(v4, |one, _| one.pools = names(&["silver"])), vec![]),
        ],
    );
}

#[test]
fn an_advertisement_at_fault_is_not_in_the_way() {
    let mut three = differing(&["192.0.2.0/24"], |_, _| {});
    three.bgp_advertisements.push(BgpAdvertisement { local_pref: 100, ..advertisement("c") });
    three.pools.push(pool("silver", &["198.51.100.0/24"]));
    assert_eq!(verdict(&three, Mode::Native), ["BGPAdvertisement b spec.localPref Conflict"]);
    let message = message(&three, Mode::Native);
    for part in ["200", "\"a\"", "100", "\"gold\""] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn names_of_nothing_have_no_effect() {
    let loose = reaching(&["192.0.2.0/24"], |one| {
        one.pools = ["none".into(), "gold".into()].into();
        one.peers = ["none".into()].into();
    });
    assert_eq!(verdict(&loose, Mode::FrrK8s), Vec::<String>::new());
}
