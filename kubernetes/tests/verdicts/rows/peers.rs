use landfall_verdict::Mode;
use serde_json::{Value, json};

use super::{
    FRR, Row, accepted, bgp, node, on, peer, pool, profile, refused, secrets, selector_rows, transient,
};

const A: &str = "192.0.2.1";
const B: &str = "192.0.2.2";

pub(super) fn rows() -> Vec<Row> {
    let mut rows = [fields(), timers(), passwords(), pairs(), profiles()].concat();
    rows.extend(selector_rows("BGPPeer.nodeSelectors", |list| {
        peer("a", A, &json!({ "nodeSelectors": list }))
    }));
    rows
}

fn with(more: Value) -> Vec<Value> {
    vec![peer("a", A, &more)]
}

fn fields() -> Vec<Row> {
    let mut rows = vec![
        accepted("BGPPeer: plain", with(json!({}))),
        refused("BGPPeer: myASN 0", with(json!({ "myASN": 0 }))),
        refused("BGPPeer: myASN absent", with(json!({ "myASN": null }))),
        refused("BGPPeer: myASN beyond 32 bits", with(json!({ "myASN": 4_294_967_296_i64 }))),
        refused("BGPPeer: neither peerASN nor dynamicASN", with(json!({ "peerASN": null }))),
        refused("BGPPeer: both peerASN and dynamicASN", with(json!({ "dynamicASN": "internal" }))),
        refused("BGPPeer: an unknown dynamicASN", with(json!({ "peerASN": null, "dynamicASN": "x" }))),
        accepted("BGPPeer: the own peerASN", with(json!({ "peerASN": 64512 }))),
        refused(
            "BGPPeer: the own peerASN and ebgpMultiHop",
            with(json!({ "peerASN": 64512, "ebgpMultiHop": true })),
        ),
        accepted("BGPPeer: ebgpMultiHop", with(json!({ "ebgpMultiHop": true }))),
        refused("BGPPeer: neither peerAddress nor interface", with(json!({ "peerAddress": null }))),
        refused("BGPPeer: both peerAddress and interface", with(json!({ "interface": "eth0" }))),
        accepted("BGPPeer: an empty interface", with(json!({ "interface": "" }))),
        accepted("BGPPeer: a source of the other family", with(json!({ "sourceAddress": "2001:db8::1" }))),
        accepted("BGPPeer: an IPv6 router id", with(json!({ "routerID": "2001:db8::1" }))),
        accepted("BGPPeer: the highest port", with(json!({ "peerPort": 16384 }))),
        accepted("BGPPeer: a higher port", with(json!({ "peerPort": 16385 }))),
        refused("BGPPeer: a port beyond 16 bits", with(json!({ "peerPort": 65536 }))),
        accepted("BGPPeer: localASN 0", with(json!({ "localASN": 0 }))),
    ];
    for field in ["peerAddress", "sourceAddress", "routerID"] {
        for text in ["x", "192.0.2.1 ", "192.0.02.1", "fe80::1%eth0", "192.0.2.0/24"] {
            rows.push(refused(&format!("BGPPeer: {field} {text:?}"), with(json!({ field: text }))));
        }
        rows.push(accepted(
            &format!("BGPPeer: {field} IPv4 in IPv6"),
            with(json!({ field: "::ffff:192.0.2.1" })),
        ));
    }
    for (field, value) in [
        ("keepaliveTime", json!("3s")),
        ("connectTime", json!("1s")),
        ("vrf", json!("red")),
        ("enableGracefulRestart", json!(true)),
        ("disableMP", json!(true)),
        ("dualStackAddressFamily", json!(true)),
        ("localASN", json!(64600)),
    ] {
        rows.extend(accepted(&format!("BGPPeer: {field}"), with(json!({ field: value }))).not_native());
    }
    let dynamic = with(json!({ "peerASN": null, "dynamicASN": "external" }));
    let unnumbered = with(json!({ "peerAddress": null, "interface": "eth0" }));
    rows.extend(accepted("BGPPeer: dynamicASN", dynamic).not_native());
    rows.extend(accepted("BGPPeer: interface", unnumbered).not_native());
    rows
}

fn timers() -> Vec<Row> {
    let timed = |hold: Option<&str>, keepalive: Option<&str>| {
        with(json!({ "holdTime": hold, "keepaliveTime": keepalive }))
    };
    let mut rows = Vec::new();
    for (hold, keepalive) in [
        (Some("90s"), None),
        (Some("0s"), None),
        (Some("500ms"), None),
        (Some("3s"), None),
        (Some("1m30s"), None),
        (None, Some("1s")),
        (None, Some("300ms")),
        (Some("0s"), Some("0s")),
        (Some("3.5s"), Some("3.2s")),
        (Some("500ms"), Some("400ms")),
        (Some("9s"), Some("9s")),
    ] {
        rows.push(accepted(&format!("timers: {hold:?} {keepalive:?}"), timed(hold, keepalive)).in_modes(FRR));
    }
    for (hold, keepalive) in [
        (Some("1s"), None),
        (Some("2.9s"), None),
        (Some("2999999999ns"), None),
        (None, Some("900ms")),
        (Some("9s"), Some("10s")),
        (Some("0s"), Some("1s")),
        (Some("-3s"), None),
        (Some("-500ms"), None),
        (Some("90"), None),
        (Some(""), None),
        (Some("1d"), None),
    ] {
        rows.push(refused(&format!("timers: {hold:?} {keepalive:?}"), timed(hold, keepalive)));
    }
    rows.extend([
        accepted("timers: hold alone", timed(Some("90s"), None)),
        accepted("timers: a keepalive below 0", timed(Some("9s"), Some("-1s"))).in_modes(FRR),
        accepted("timers: a keepalive of 0", timed(Some("90s"), Some("0s"))),
        accepted("timers: connectTime 0", with(json!({ "connectTime": "0s" }))).in_modes(FRR),
        accepted("timers: connectTime with a fraction", with(json!({ "connectTime": "1.5s" }))).in_modes(FRR),
    ]);
    let old = |more: Value| {
        let mut old = peer("a", A, &more);
        old["apiVersion"] = json!("metallb.io/v1beta1");
        vec![old]
    };
    rows.extend([
        accepted("v1beta1: no timers", old(json!({}))),
        accepted("v1beta1: hold alone", old(json!({ "holdTime": "90s" }))),
        accepted("v1beta1: both", old(json!({ "holdTime": "90s", "keepaliveTime": "30s" }))).in_modes(FRR),
        refused("v1beta1: keepalive alone", old(json!({ "keepaliveTime": "30s" }))).in_modes(FRR),
    ]);
    rows
}

fn passwords() -> Vec<Row> {
    let secret = |name: &str, more: Value| {
        let mut spec = json!({ "passwordSecret": { "name": name } });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        [with(spec), secrets()].concat()
    };
    vec![
        accepted("passwords: a long one", with(json!({ "password": "x".repeat(200) }))),
        accepted("passwords: a Secret", secret("good", json!({}))),
        accepted("passwords: a Secret without a name", secret("", json!({ "password": "x" }))),
        refused("passwords: two", secret("good", json!({ "password": "x" }))),
        transient("passwords: no such Secret", secret("none", json!({}))),
        refused("passwords: a Secret of another type", secret("other", json!({}))),
        refused("passwords: a Secret without the key", secret("empty", json!({}))),
    ]
}

/// Two peers; the native mode takes any two.
fn pairs() -> Vec<Row> {
    let two =
        |one: Value, other: Value| vec![peer("a", A, &one), peer("b", B, &other), node("n1"), node("n2")];
    let ids = (json!({ "routerID": "192.0.2.8" }), json!({ "routerID": "192.0.2.9" }));
    let asns = (json!({}), json!({ "myASN": 64999 }));
    let same = (json!({}), json!({ "peerAddress": A }));
    let mut rows = Vec::new();
    for (what, (one, other)) in [("router ids", ids.clone()), ("myASN", asns), ("one address", same.clone())]
    {
        let on = |node: &str, mut spec: Value| {
            spec["nodeSelectors"] = on(node);
            spec
        };
        let mut unknown = two(on("n1", one.clone()), on("n2", other.clone()));
        unknown.truncate(2);
        rows.extend([
            refused(&format!("two peers: {what}"), two(one.clone(), other.clone())).in_modes(FRR),
            accepted(&format!("two peers: {what}, native"), two(one.clone(), other.clone()))
                .in_modes(&[Mode::Native]),
            refused(
                &format!("two peers: {what}, a node in common"),
                two(one.clone(), on("n1", other.clone())),
            )
            .in_modes(FRR),
            accepted(&format!("two peers: {what}, nodes apart"), two(on("n1", one), on("n2", other))),
            refused(&format!("two peers: {what}, no Node is known"), unknown).in_modes(FRR),
        ]);
    }
    let red = |mut spec: Value| {
        spec["vrf"] = json!("red");
        spec
    };
    let via = |name: &str| json!({ "peerAddress": null, "interface": name });
    rows.extend(
        [
            refused("two peers: a router id and none", two(json!({}), ids.0.clone())),
            refused("two peers: router ids, VRFs apart", two(ids.0, red(ids.1))),
            accepted("two peers: one address, VRFs apart", two(same.0, red(same.1))),
            accepted("two peers: myASN, VRFs apart", two(json!({}), red(json!({ "myASN": 64999 })))),
            refused("two peers: one interface", two(via("eth0"), via("eth0"))),
            accepted("two peers: interfaces", two(via("eth0"), via("eth1"))),
            refused(
                "two peers: an interface like another and its VRF",
                two(red(via("eth0")), via("eth0-red")),
            ),
            accepted(
                "two peers: one address in two forms",
                two(json!({ "peerAddress": "2001:db8::1" }), json!({ "peerAddress": "2001:DB8::1" })),
            ),
            refused(
                "two peers: one router id in two forms",
                two(json!({ "routerID": "192.0.2.9" }), json!({ "routerID": "::ffff:192.0.2.9" })),
            ),
        ]
        .map(|row| row.in_modes(FRR)),
    );
    rows
}

fn profiles() -> Vec<Row> {
    let mut rows = Vec::new();
    for (field, low, high) in [
        ("receiveInterval", 10, 60_000),
        ("transmitInterval", 10, 60_000),
        ("echoInterval", 10, 60_000),
        ("detectMultiplier", 2, 255),
        ("minimumTtl", 1, 254),
    ] {
        for (value, fine) in [(low, true), (high, true), (low - 1, false), (high + 1, false), (-1, false)] {
            let objects = vec![profile("fast", &json!({ field: value }))];
            let what = format!("BFDProfile: {field} {value}");
            rows.push(if fine { accepted(&what, objects).in_modes(FRR) } else { refused(&what, objects) });
        }
    }
    let fast = || profile("fast", &json!({}));
    let uses = |name: &str| peer("a", A, &json!({ "bfdProfile": name }));
    rows.extend(accepted("BFDProfile: one", vec![fast()]).not_native());
    rows.extend(accepted("BFDProfile: used", vec![fast(), uses("fast")]).not_native());
    rows.extend(transient("BFDProfile: not there", vec![fast(), uses("slow")]).not_native());
    rows.extend([
        refused("BFDProfile: a name twice", vec![fast(), profile("fast", &json!({ "passiveMode": true }))]),
        refused("BFDProfile: no name", vec![profile("", &json!({}))]),
    ]);
    let echo = |addresses: &[&str], spec: Value| {
        vec![
            pool("p", addresses),
            bgp("one", &spec),
            profile("echo", &json!({ "echoMode": true })),
            uses("echo"),
            peer("b", B, &json!({})),
        ]
    };
    let dual = &["198.51.100.0/24", "2001:db8::/64"];
    rows.extend(
        [
            refused("echo: IPv6 to every peer", echo(dual, json!({}))),
            refused("echo: IPv6 to the peer", echo(dual, json!({ "peers": ["b", "a"] }))),
            accepted("echo: IPv6 to another peer", echo(dual, json!({ "peers": ["b"] }))),
            accepted("echo: IPv4", echo(&dual[..1], json!({}))),
            accepted(
                "echo: IPv6 in a pool that is not reached",
                echo(dual, json!({ "ipAddressPools": ["x"] })),
            ),
        ]
        .map(|row| row.in_modes(FRR)),
    );
    rows
}
