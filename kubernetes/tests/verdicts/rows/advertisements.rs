use landfall_verdict::Mode;
use serde_json::{Value, json};

use super::{FRR, Row, accepted, bgp, community, node, object, on, pool, refused, selector_rows, transient};

const V4: &[&str] = &["192.0.2.0/24"];
const V6: &[&str] = &["2001:db8::/64"];
const DUAL: &[&str] = &["192.0.2.0/24", "2001:db8::/64"];

pub(super) fn rows() -> Vec<Row> {
    let mut rows = [lengths(), preferences(), communities()].concat();
    let one = |spec: Value| vec![pool("a", V4), bgp("one", &spec)];
    rows.extend([
        accepted("BGPAdvertisement: empty", one(json!({}))),
        accepted(
            "BGPAdvertisement: unknown names",
            one(json!({ "ipAddressPools": ["x", "a"], "peers": ["x"] })),
        ),
        refused("BGPAdvertisement: a pool twice", one(json!({ "ipAddressPools": ["a", "a"] }))),
        refused("BGPAdvertisement: a peer twice", one(json!({ "peers": ["x", "x"] }))),
        refused("BGPAdvertisement: a community twice", one(json!({ "communities": ["1:2", "1:2"] }))),
        accepted("BGPAdvertisement: the highest localPref", one(json!({ "localPref": u32::MAX }))),
        refused("BGPAdvertisement: localPref beyond 32 bits", one(json!({ "localPref": 4_294_967_296_i64 }))),
        refused("BGPAdvertisement: one twice", vec![bgp("one", &json!({})), bgp("one", &json!({}))]),
        accepted("BGPAdvertisement: asPathPrepend 10", one(json!({ "asPathPrepend": 10 })))
            .in_modes(&[Mode::FrrK8s]),
        accepted("BGPAdvertisement: asPathPrepend 0", one(json!({ "asPathPrepend": 0 }))),
        accepted("BGPAdvertisement: asPathPrepend 11", one(json!({ "asPathPrepend": 11 })))
            .in_modes(&[Mode::FrrK8s]),
        refused("BGPAdvertisement: asPathPrepend without frr-k8s", one(json!({ "asPathPrepend": 1 })))
            .in_modes(&[Mode::Native, Mode::Frr]),
    ]);
    rows.extend(
        accepted("IPv6 in a pool that BGP reaches", vec![pool("a", DUAL), bgp("one", &json!({}))])
            .not_native(),
    );
    let elsewhere = json!({ "ipAddressPools": ["b"] });
    rows.push(accepted(
        "IPv6 in a pool that BGP does not reach",
        vec![pool("a", DUAL), pool("b", &["198.51.100.0/24"]), bgp("one", &elsewhere)],
    ));
    for field in ["ipAddressPoolSelectors", "nodeSelectors", "serviceSelectors"] {
        rows.extend(selector_rows(&format!("BGPAdvertisement.{field}"), |list| {
            bgp("one", &json!({ field: list }))
        }));
    }
    rows
}

fn lengths() -> Vec<Row> {
    let reaching = |addresses: &[&str], spec: Value| vec![pool("a", addresses), bgp("one", &spec)];
    let v4 = |addresses: &[&str], length: i64| reaching(addresses, json!({ "aggregationLength": length }));
    let v6 = |addresses: &[&str], length: i64| reaching(addresses, json!({ "aggregationLengthV6": length }));
    let chosen = |field: &str, length: i64| reaching(V4, json!({ "serviceSelectors": [{}], field: length }));
    let range = &["192.0.2.2-192.0.2.254"];
    vec![
        accepted("lengths: /24 with 24", v4(V4, 24)),
        refused("lengths: /24 with 23", v4(V4, 23)),
        accepted("lengths: a range with that of its largest block", v4(range, 26)),
        refused("lengths: a range with one less", v4(range, 25)),
        refused("lengths: 33", v4(V4, 33)),
        refused("lengths: 0", v4(V4, 0)),
        accepted("lengths: 0 and no pool", vec![bgp("one", &json!({ "aggregationLength": 0 }))]),
        accepted("lengths: IPv6 /64 with 64", v6(V6, 64)).in_modes(FRR),
        refused("lengths: IPv6 /64 with 63", v6(V6, 63)),
        refused("lengths: IPv6 129", v6(V4, 129)),
        accepted("lengths: IPv6 0 and no pool with IPv6", v6(V4, 0)),
        accepted("lengths: IPv6 -1 and no pool with IPv6", v6(V4, -1)),
        accepted("lengths: all of IPv4 with 1", v4(&["0.0.0.1-255.255.255.254"], 2)),
        refused("lengths: each entry counts", v4(&["192.0.2.0/24", "198.51.100.7/32"], 31)),
        refused("lengths: IPv4 in IPv6", reaching(&["::ffff:192.0.2.0/120"], json!({}))),
        accepted("lengths: chosen Services with 32", chosen("aggregationLength", 32)),
        refused("lengths: chosen Services with 31", chosen("aggregationLength", 31)),
        accepted("lengths: chosen Services with 128", chosen("aggregationLengthV6", 128)),
        refused("lengths: chosen Services with 127", chosen("aggregationLengthV6", 127)),
    ]
}

/// Two that differ in what a route has once.
fn preferences() -> Vec<Row> {
    let mut rows = Vec::new();
    for (field, modes) in [("localPref", Mode::ALL), ("asPathPrepend", &[Mode::FrrK8s])] {
        let two = |addresses: &[&str], one: Value, other: Value| {
            let with = |mut spec: Value, value: i64| {
                spec[field] = json!(value);
                spec
            };
            vec![
                pool("a", addresses),
                bgp("one", &with(one, 1)),
                bgp("other", &with(other, 2)),
                node("n1"),
                node("n2"),
            ]
        };
        let change = |addresses: &[&str], one: Value| two(addresses, one, json!({}));
        let (l4, l6) = (json!({ "aggregationLength": 24 }), json!({ "aggregationLengthV6": 64 }));
        let both = json!({ "aggregationLength": 24, "aggregationLengthV6": 64 });
        let mut without_nodes = change(V4, json!({}));
        without_nodes.truncate(3);
        let named = |what: &str| format!("{field}: {what}");
        let own = [
            refused(&named("two values"), change(V4, json!({}))),
            accepted(&named("two values, no pool in common"), change(V4, json!({ "ipAddressPools": ["b"] }))),
            accepted(&named("another v4 length, v4 pool"), change(V4, l4.clone())),
            refused(&named("another v6 length, v4 pool"), change(V4, l6.clone())),
            accepted(&named("peers apart"), two(V4, json!({ "peers": ["p"] }), json!({ "peers": ["q"] }))),
            refused(
                &named("a peer in common"),
                two(V4, json!({ "peers": ["p", "q"] }), json!({ "peers": ["q"] })),
            ),
            refused(&named("no list of peers means all"), change(V4, json!({ "peers": ["p"] }))),
            accepted(
                &named("nodes apart"),
                two(V4, json!({ "nodeSelectors": on("n1") }), json!({ "nodeSelectors": on("n2") })),
            ),
            refused(&named("a node in common"), change(V4, json!({ "nodeSelectors": on("n1") }))),
            accepted(&named("no node"), change(V4, json!({ "nodeSelectors": on("n3") }))),
            accepted(&named("chosen Services"), change(V4, json!({ "serviceSelectors": [{}] }))),
            accepted(&named("no Node is known"), without_nodes),
        ];
        rows.extend(own.map(|row| row.in_modes(modes)));
        let ipv6 = [
            accepted(&named("another v6 length, v6 pool"), change(V6, l6.clone())),
            refused(&named("another v4 length, v6 pool"), change(V6, l4.clone())),
            accepted(&named("other lengths, dual pool"), change(DUAL, both)),
            refused(&named("another v4 length, dual pool"), change(DUAL, l4)),
            refused(&named("another v6 length, dual pool"), change(DUAL, l6)),
        ];
        rows.extend(ipv6.map(|row| row.in_modes(&[Mode::FrrK8s])));
    }
    rows
}

fn communities() -> Vec<Row> {
    let used = |text: &str| vec![pool("a", V4), bgp("one", &json!({ "communities": [text] }))];
    let given = |value: &str| vec![community("c", &[("x", value)])];
    let mut rows = Vec::new();
    for text in [
        "65536:1",
        "1:65536",
        "a:b",
        "1:-1",
        "1:+1",
        ":",
        "large:1:2:4294967296",
        "small:1:2:3",
        "large:1:2:x",
    ] {
        rows.push(refused(&format!("communities: {text:?} used"), used(text)));
        rows.push(refused(&format!("communities: {text:?} given"), given(text)));
    }
    for text in ["1:2:3", "large:1:2", "", "x", "1", "1:2:3:4:5"] {
        rows.push(transient(&format!("communities: {text:?} used"), used(text)));
        rows.push(refused(&format!("communities: {text:?} given"), given(text)));
    }
    for text in ["0:0", "65535:65535", "01:2"] {
        rows.push(accepted(&format!("communities: {text:?} used"), used(text)));
        rows.push(accepted(&format!("communities: {text:?} given"), given(text)));
    }
    rows.extend(accepted("communities: a large one used", used("large:1:2:4294967295")).not_native());
    rows.extend(accepted("communities: a large one given", given("large:1:2:4294967295")).not_native());
    let known = |text: &str, name: &str| [used(text), vec![community("c", &[(name, "1:2")])]].concat();
    rows.extend([
        accepted("communities: a name that is given", known("x", "x")),
        transient("communities: a name that is not given", known("x", "y")),
        accepted("communities: a name like a value", known("a:b", "a:b")),
        refused(
            "communities: a name twice in one object",
            vec![community("c", &[("x", "1:2"), ("x", "1:2")])],
        ),
        refused(
            "communities: a name twice in two objects",
            vec![community("c", &[("x", "1:2")]), community("d", &[("x", "1:3")])],
        ),
        accepted("communities: none", vec![object("Community", "c", &json!({}))]),
        refused(
            "communities: no value",
            vec![object("Community", "c", &json!({ "communities": [{ "name": "x" }] }))],
        ),
    ]);
    rows
}
