//! Sets of objects at the edges of the rules: from few values that lie close to each other, most of them valid.

use landfall_verdict::Mode;
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Map, Value, json};

use crate::{Set, rows::secrets};

pub(crate) type Field = BoxedStrategy<Option<(&'static str, Value)>>;

/// A field that is there in `percent` of all objects.
pub(crate) fn field<S>(percent: u32, name: &'static str, value: S) -> Field
where
    S: Strategy + 'static,
    Value: From<S::Value>,
{
    let value = value.prop_map(move |value| (name, Value::from(value)));
    if percent == 100 {
        return value.prop_map(Some).boxed();
    }
    proptest::option::weighted(f64::from(percent) / 100.0, value).boxed()
}

pub(crate) fn spec(fields: Vec<Field>) -> impl Strategy<Value = Value> {
    fields.prop_map(|fields| {
        let fields = fields.into_iter().flatten().map(|(name, value)| (name.to_owned(), value));
        Value::Object(fields.collect::<Map<_, _>>())
    })
}

/// One of the good values, and in one of a hundred cases one of the bad ones, or of those that are seldom seen.
fn mostly(good: &'static [&'static str], odd: &'static [&'static str]) -> BoxedStrategy<String> {
    prop_oneof![99 => select(good), 1 => select(odd)].prop_map(str::to_owned).boxed()
}

/// One or more, mostly without a repetition.
fn list<S: Strategy>(entry: S, most: usize) -> impl Strategy<Value = Vec<S::Value>>
where
    S::Value: PartialEq,
{
    (vec(entry, 1..=most), 0..20_u8).prop_map(|(entries, chance)| {
        let mut kept = Vec::new();
        for entry in entries {
            if chance == 0 || !kept.contains(&entry) {
                kept.push(entry);
            }
        }
        kept
    })
}

fn some(good: &'static [&'static str], odd: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    list(mostly(good, odd), 2)
}

fn selector() -> impl Strategy<Value = Value> {
    let labels = || {
        let pair = (select(&["zone", "tier"][..]), mostly(&["a", "b"], &["", "a b", "-a"]));
        pair.prop_map(|(key, value)| json!({ "matchLabels": { key: value } }))
    };
    let expression = (
        mostly(&["zone", "tier"], &["", "zone/", "-zone"]),
        select(&["In", "NotIn"][..]),
        list(mostly(&["a", "b"], &["", "a b"]), 2),
    )
        .prop_map(|(key, operator, values)| json!({ "key": key, "operator": operator, "values": values }))
        .boxed();
    let presence = (select(&["zone", "tier"][..]), mostly(&["Exists", "DoesNotExist"], &["In", "Near"]))
        .prop_map(|(key, operator)| json!({ "key": key, "operator": operator }))
        .boxed();
    let expressions = || list(prop_oneof![expression.clone(), presence.clone()], 2);
    prop_oneof![
        4 => labels(),
        2 => expressions().prop_map(|all| json!({ "matchExpressions": all })),
        1 => (labels(), expressions()).prop_map(|(mut both, all)| {
            both["matchExpressions"] = json!(all);
            both
        }),
        1 => Just(json!({})),
    ]
}

fn selectors() -> impl Strategy<Value = Vec<Value>> {
    list(selector(), 2)
}

fn labels() -> impl Strategy<Value = Value> {
    spec(vec![field(60, "zone", select(&["a", "b"][..])), field(40, "tier", select(&["a", "b"][..]))])
}

/// Of one of a few blocks, so that those of different pools meet now and then.
fn address(ipv6: u32) -> impl Strategy<Value = String> {
    const V4: &[&str] = &[
        "_0/24",
        "_0/25",
        "_128/25",
        "_0-_127",
        "_10-_20",
        "_20-_30",
        "_2 - _254",
        "_7/24",
        "_7/32",
        "_0/30",
        "_255/32",
        "_1-_1",
        "_64-_191",
    ];
    const V6: &[&str] = &[":/64", ":/126", ":1-_:4", ":4-_:ff", ":7/128", ":-_ffff:ffff:ffff:ffff"];
    const ODD: &[&str] = &[
        "10.0.0.1",
        "10.0.0.0/33",
        "",
        "10.0.0.9-10.0.0.1",
        "10.0.0.1-2001:db8::1",
        "2001:db8::1-10.0.0.1",
        "0.0.0.0/0",
        "::/0",
        "10.0.0.01/32",
        " 10.0.0.0/24",
        "10.0.0.0/24 ",
        "10.0.0.1-10.0.0.2-10.0.0.3",
        "10.0.0.1-",
        "10.0.0.0-10.0.0.0/24",
        "0.0.0.0-255.255.255.255",
        "::ffff:10.0.0.0/120",
        "::ffff:10.0.0.1-10.0.0.9",
        "fe80::1%eth0/128",
        "10.0.0.0/024",
        "10.0.0.0/+24",
        "255.255.255.255-255.255.255.255",
        "::-::",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db8::/129",
    ];
    let block = |forms: &'static [&'static str], base: fn(u8) -> String| {
        (0..9_u8, select(forms)).prop_map(move |(block, form)| form.replace('_', &base(block)))
    };
    prop_oneof![
        (96 - ipv6) => block(V4, |block| format!("10.0.{block}.")),
        ipv6 => (0..9_u8, select(V6)).prop_map(|(block, form)| {
            let base = format!("2001:db8:0:{block}:");
            format!("{base}{}", form.replace('_', &base))
        }),
        1 => select(ODD).prop_map(str::to_owned),
    ]
}

fn pool(ipv6: u32) -> impl Strategy<Value = Value> {
    let names = || some(&["default", "web", "db"], &[""]);
    let allocation = spec(vec![
        field(40, "priority", -1..3_i64),
        field(40, "namespaces", names()),
        field(25, "namespaceSelectors", selectors()),
        field(25, "serviceSelectors", selectors()),
    ]);
    let fields = vec![
        field(100, "addresses", list(address(ipv6), 2)),
        field(20, "autoAssign", any::<bool>()),
        field(10, "avoidBuggyIPs", any::<bool>()),
        field(15, "serviceAllocation", allocation),
    ];
    (spec(fields), labels()).prop_map(
        |(spec, labels)| json!({ "kind": "IPAddressPool", "metadata": { "labels": labels }, "spec": spec }),
    )
}

fn pool_names() -> impl Strategy<Value = Vec<String>> {
    some(&["pool0", "pool1", "pool2", "pool3", "nowhere"], &[""])
}

fn l2_advertisement() -> impl Strategy<Value = Value> {
    let preference = (prop_oneof![20 => 1..=100_i64, 1 => select(&[0_i64, 101][..])], selector())
        .prop_map(|(weight, preference)| json!({ "weight": weight, "preference": preference }));
    let fields = vec![
        field(30, "ipAddressPools", pool_names()),
        field(20, "ipAddressPoolSelectors", selectors()),
        field(20, "nodeSelectors", selectors()),
        field(10, "serviceSelectors", selectors()),
        field(20, "interfaces", some(&["eth0", "eth1"], &[""])),
        field(20, "preferredNodeSelectors", vec(preference, 1..3)),
    ];
    spec(fields).prop_map(|spec| json!({ "kind": "L2Advertisement", "spec": spec }))
}

fn bgp_advertisement(rich: u32) -> impl Strategy<Value = Value> {
    const COMMUNITIES: &[&str] = &["1:2", "65535:0", "x", "y", "y1", "01:2"];
    const ODD: &[&str] = &[
        "65536:1",
        "a:b",
        "1:2:3",
        "",
        "nothing:1:2:3",
        "large:1:2",
        "large:1:2:4294967296",
        "+1:2",
        "1:2:3:4:5",
        ":",
    ];
    let communities = prop_oneof![
        (100 - rich) => some(COMMUNITIES, ODD),
        rich => some(&["large:1:2:3", "large:0:0:4294967295", "z"], ODD),
    ];
    let fields = vec![
        field(30, "ipAddressPools", pool_names()),
        field(20, "ipAddressPoolSelectors", selectors()),
        field(25, "nodeSelectors", selectors()),
        field(12, "serviceSelectors", selectors()),
        field(25, "peers", some(&["peer0", "peer1", "peer2", "nobody"], &[""])),
        field(
            25,
            "aggregationLength",
            prop_oneof![9 => select(&[32_i64, 31, 30, 26, 25, 24][..]), 1 => select(&[33_i64, 0, 23, 8][..])],
        ),
        field(
            25,
            "aggregationLengthV6",
            prop_oneof![9 => select(&[128_i64, 127, 126, 64][..]), 1 => select(&[129_i64, -1, 0, 63][..])],
        ),
        field(35, "localPref", select(&[0_i64, 100, 100, 200][..])),
        field(rich, "asPathPrepend", prop_oneof![19 => 1..3_i64, 1 => select(&[0_i64, 11][..])]),
        field(25, "communities", communities),
    ];
    spec(fields).prop_map(|spec| json!({ "kind": "BGPAdvertisement", "spec": spec }))
}

fn peer(rich: u32) -> impl Strategy<Value = Value> {
    const TIMERS: &[&str] = &["0s", "3s", "9s", "90s", "1m30s", "10s", "3.5s", "30s"];
    const ODD: &[&str] = &["900ms", "1s", "2.9s", "500ms", "1ns", "-1s", "-1ms", "", "9", "2999999999ns"];
    let asn = |percent, name| {
        field(
            percent,
            name,
            prop_oneof![60 => select(&[64512_i64, 64513][..]), 1 => select(&[0_i64, 4_294_967_295][..])],
        )
    };
    let few = rich.min(2);
    let fields = vec![
        field(100, "myASN", prop_oneof![80 => Just(64512_i64), 6 => Just(64513_i64), 1 => Just(0_i64)]),
        asn(99, "peerASN"),
        field(
            99,
            "peerAddress",
            mostly(
                &[
                    "192.0.2.1",
                    "192.0.2.2",
                    "192.0.2.3",
                    "2001:db8::1",
                    "2001:DB8::1",
                    "192.0.2.4",
                    "192.0.2.5",
                ],
                &["192.0.2.1 ", "router", "fe80::1%eth0", "::ffff:192.0.2.1", "01.2.3.4", ""],
            ),
        ),
        field(few, "interface", mostly(&["eth0", "eth1"], &["eth0-red", ""])),
        field(few, "dynamicASN", mostly(&["internal", "external"], &["sometimes"])),
        field(20, "holdTime", mostly(TIMERS, ODD)),
        field(rich, "keepaliveTime", mostly(TIMERS, ODD)),
        field(few, "connectTime", mostly(TIMERS, ODD)),
        field(2, "routerID", mostly(&["192.0.2.9"], &["192.0.2.8", "::ffff:192.0.2.9", "2001:db8::9", "x"])),
        field(10, "sourceAddress", mostly(&["192.0.2.7", "2001:db8::7"], &["x", ""])),
        field(35, "nodeSelectors", selectors()),
        field(5, "password", mostly(&["secret"], &[""])),
        field(
            10,
            "passwordSecret",
            select(&["good", "good", "other", "empty", "none", ""][..])
                .prop_map(|name| json!({ "name": name })),
        ),
        field(rich, "bfdProfile", mostly(&["fast", "echo"], &["none", ""])),
        field(6, "ebgpMultiHop", any::<bool>()),
        field(few, "enableGracefulRestart", any::<bool>()),
        field(rich, "vrf", mostly(&["red", "blue"], &[""])),
        field(few, "disableMP", any::<bool>()),
        field(few, "dualStackAddressFamily", any::<bool>()),
        field(few, "localASN", prop_oneof![9 => Just(64600_i64), 1 => Just(0_i64)]),
        field(5, "peerPort", select(&[1_i64, 179, 16384, 16385][..])),
    ];
    (spec(fields), prop_oneof![20 => Just("v1beta2"), 1 => Just("v1beta1")]).prop_map(
        |(mut spec, version)| {
            if version == "v1beta1" {
                // What the schema of that version asks for, and what it knows.
                let fields = spec.as_object_mut().unwrap();
                fields.retain(|name, _| {
                    ![
                        "nodeSelectors",
                        "dynamicASN",
                        "interface",
                        "connectTime",
                        "passwordSecret",
                        "enableGracefulRestart",
                        "vrf",
                        "disableMP",
                        "dualStackAddressFamily",
                        "localASN",
                    ]
                    .contains(&name.as_str())
                });
                for (name, value) in
                    [("myASN", json!(64512)), ("peerASN", json!(64513)), ("peerAddress", json!("192.0.2.6"))]
                {
                    fields.entry(name).or_insert(value);
                }
            }
            json!({ "apiVersion": format!("metallb.io/{version}"), "kind": "BGPPeer", "spec": spec })
        },
    )
}

fn profile() -> impl Strategy<Value = Value> {
    let number = |name, low: i64, high: i64| {
        let odd = select(vec![low - 1, high + 1]);
        field(15, name, prop_oneof![30 => select(vec![low, high]), 1 => odd])
    };
    let fields = vec![
        number("receiveInterval", 10, 60_000),
        number("transmitInterval", 10, 60_000),
        number("echoInterval", 10, 60_000),
        number("detectMultiplier", 2, 255),
        number("minimumTtl", 1, 254),
        field(20, "passiveMode", any::<bool>()),
    ];
    (spec(fields), any::<bool>()).prop_map(|(mut spec, echo)| {
        spec["echoMode"] = json!(echo);
        json!({ "kind": "BFDProfile", "metadata": { "name": if echo { "echo" } else { "fast" } }, "spec": spec })
    })
}

fn community(rich: u32) -> impl Strategy<Value = Value> {
    let alias = (
        mostly(&["x", "y", "z"], &["", "1:2:3", "1:2", "a:b"]),
        prop_oneof![
            (100 - rich) => mostly(&["1:2", "65535:65535"], &["1:65536", "x", "1:2:3", ""]),
            rich => mostly(&["large:1:2:3"], &["large:1:2", "small:1:2:3", "large:1:2:4294967296"]),
        ],
    )
        .prop_map(|(name, value)| json!({ "name": name, "value": value }));
    list(alias, 2).prop_map(|all| json!({ "kind": "Community", "spec": { "communities": all } }))
}

/// Names of the second and third object that are not those of the first, for most of them.
fn own_names(index: usize, mut object: Value) -> Value {
    for alias in object["spec"]["communities"].as_array_mut().into_iter().flatten() {
        if index > 0 && alias["name"] != "z" {
            alias["name"] = json!(format!("{}{index}", alias["name"].as_str().unwrap()));
        }
    }
    object
}

fn node() -> impl Strategy<Value = Value> {
    labels().prop_map(|labels| json!({ "kind": "Node", "metadata": { "labels": labels } }))
}

/// Names the objects of a list, and completes them.
fn named(prefix: &str, objects: Vec<Value>) -> impl Iterator<Item = Value> {
    objects.into_iter().enumerate().map(move |(index, mut object)| {
        let kind = object["kind"].as_str().unwrap();
        let version =
            if ["Node", "Namespace", "Secret"].contains(&kind) { "v1" } else { "metallb.io/v1beta1" };
        if object["apiVersion"].is_null() {
            object["apiVersion"] = json!(version);
        }
        if object["metadata"]["name"].is_null() {
            object["metadata"]["name"] = json!(format!("{prefix}{index}"));
        }
        object
    })
}

pub(crate) fn set() -> impl Strategy<Value = Set> {
    prop_oneof![Just(Mode::FrrK8s), Just(Mode::Frr), Just(Mode::Native)].prop_flat_map(|mode| {
        // How often a set has what only other modes can do.
        let rich = match mode {
            Mode::Native => 1,
            Mode::Frr | Mode::FrrK8s => 15,
        };
        let prepends = if mode == Mode::FrrK8s { 20 } else { 2 };
        let profiles = prop_oneof![rich => vec(profile(), 1..3), 12 => Just(Vec::new())];
        let objects = (
            vec(pool(if mode == Mode::Native { 2 } else { 30 }), 0..4),
            prop_oneof![2 => Just(Vec::new()), 1 => vec(l2_advertisement(), 1..3)],
            vec(bgp_advertisement(prepends), 0..4),
            vec(peer(rich), 0..4),
            profiles,
            prop_oneof![1 => Just(Vec::new()), 1 => vec(community(rich), 1..3)],
            vec(node(), 0..4),
            any::<[bool; 2]>(),
        );
        objects.prop_map(
            move |(pools, l2, bgp, mut peers, mut profiles, communities, nodes, [with_secrets, with_id])| {
                // One for all, or the mode frr takes hardly any two.
                for peer in peers.iter_mut().filter(|_| with_id) {
                    peer["spec"].as_object_mut().unwrap().entry("routerID").or_insert(json!("192.0.2.9"));
                }
                profiles.dedup_by(|one, other| one["metadata"] == other["metadata"]);
                let communities = communities.into_iter().enumerate();
                let communities = communities.map(|(index, object)| own_names(index, object)).collect();
                let objects = named("pool", pools)
                    .chain(named("l2-", l2))
                    .chain(named("bgp-", bgp))
                    .chain(named("peer", peers))
                    .chain(named("", profiles))
                    .chain(named("community", communities))
                    .chain(named("node", nodes))
                    .chain(if with_secrets { secrets() } else { Vec::new() });
                Set { mode, objects: objects.collect() }
            },
        )
    })
}
