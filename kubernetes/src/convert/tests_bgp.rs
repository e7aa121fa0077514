//! The verdicts on one object of BGP alone, a table for each kind.

use std::time::Duration;

use landfall_model::{
    BgpAdvertisement, BgpPeer, Community, CommunityName, Invalid, PeerEndpoint, PeerPassword, Reason,
    RemoteAs,
};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn object<T: DeserializeOwned>(spec: &Value) -> T {
    serde_json::from_value(json!({ "metadata": { "name": "one" }, "spec": spec })).unwrap()
}

fn advertisement(spec: &Value) -> Result<BgpAdvertisement, Invalid> {
    super::bgp_advertisement(&object(spec))
}

fn peer(spec: &Value) -> Result<BgpPeer, Invalid> {
    super::bgp_peer(&object(spec))
}

/// A peer that is accepted, with these fields changed; null takes a field out.
fn changed(fields: &Value) -> Value {
    let mut spec = json!({ "myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1" });
    for (field, value) in fields.as_object().unwrap() {
        if value.is_null() {
            spec.as_object_mut().unwrap().remove(field);
        } else {
            spec[field] = value.clone();
        }
    }
    spec
}

/// Each row is refused at this field, for this reason, with a message that says this.
fn refused<T>(read: impl Fn(&Value) -> Result<T, Invalid>, rows: &[(Value, &str, Reason, &str)]) {
    for (spec, field, reason, says) in rows {
        let error = read(spec).err().unwrap_or_else(|| panic!("accepted: {spec}"));
        assert_eq!((&*error.field, error.reason), (*field, *reason), "{spec}");
        assert!(error.message.contains(says), "{}", error.message);
    }
}

#[test]
fn advertisements_take_what_metallb_takes() {
    let plain = advertisement(&json!({})).unwrap();
    assert_eq!(plain, BgpAdvertisement { name: "one".into(), ..BgpAdvertisement::default() });
    let full = advertisement(&json!({
        "aggregationLength": 24, "aggregationLengthV6": 64, "localPref": 4_294_967_295_i64, "asPathPrepend": 10,
        "communities": ["64500:7", "large:1:2:3", "no-export", "1:2:3"],
        "ipAddressPools": ["gold", "none"], "peers": ["tor", "none"],
    }))
    .unwrap();
    assert_eq!((full.aggregation_length, full.aggregation_length_v6), (24, 64));
    assert_eq!((full.local_pref, full.as_path_prepend), (u32::MAX, 10));
    assert_eq!((full.pools.len(), full.peers.len()), (2, 2));
    let alias = |text: &str| CommunityName::Alias(text.into());
    let communities = [
        CommunityName::Value(Community::Standard(64500, 7)),
        CommunityName::Value(Community::Large(1, 2, 3)),
        // A value of three parts without its marker may yet be a name.
        alias("1:2:3"),
        alias("no-export"),
    ];
    assert_eq!(full.communities, communities.into());
    let words = json!({ "matchExpressions": [{ "key": "a", "operator": "In", "values": ["b"] }] });
    let same_in_other_words = json!({ "nodeSelectors": [{ "matchLabels": { "a": "b" } }, words] });
    assert_eq!(advertisement(&same_in_other_words).unwrap().node_selectors.len(), 2);
    let chosen = json!({ "serviceSelectors": [{}], "aggregationLength": 32, "aggregationLengthV6": 128 });
    assert_eq!(advertisement(&chosen).unwrap().service_selectors.len(), 1);
    assert!(advertisement(&json!({ "serviceSelectors": [], "aggregationLength": 24 })).is_ok());
}

#[test]
fn advertisements_refuse_what_metallb_refuses() {
    use Reason::{Contradiction, Duplicate, InvalidSelector, InvalidValue};
    let same = json!({ "matchLabels": { "a": "b" } });
    let bad = json!({ "matchExpressions": [{ "key": "a", "operator": "Near" }] });
    refused(
        advertisement,
        &[
            (json!({ "ipAddressPools": ["a", "a"] }), "spec.ipAddressPools[1]", Duplicate, "\"a\""),
            (json!({ "peers": ["a", "b", "a"] }), "spec.peers[2]", Duplicate, "\"a\""),
            (json!({ "communities": ["1:2", "1:2"] }), "spec.communities[1]", Duplicate, "1:2"),
            (
                json!({ "ipAddressPoolSelectors": [same, same] }),
                "spec.ipAddressPoolSelectors[1]",
                Duplicate,
                "selector",
            ),
            (json!({ "nodeSelectors": [same, same] }), "spec.nodeSelectors[1]", Duplicate, "selector"),
            (json!({ "serviceSelectors": [same, same] }), "spec.serviceSelectors[1]", Duplicate, "selector"),
            (
                json!({ "nodeSelectors": [{ "matchLabels": { "a": "b c" } }] }),
                "spec.nodeSelectors[0]",
                InvalidSelector,
                "\"b c\"",
            ),
            (json!({ "nodeSelectors": [same, bad] }), "spec.nodeSelectors[1]", InvalidSelector, "Near"),
            (json!({ "aggregationLength": 33 }), "spec.aggregationLength", InvalidValue, "1 to 32"),
            (json!({ "aggregationLength": 0 }), "spec.aggregationLength", InvalidValue, "1 to 32"),
            (json!({ "aggregationLengthV6": 129 }), "spec.aggregationLengthV6", InvalidValue, "0 to 128"),
            (json!({ "aggregationLengthV6": -1 }), "spec.aggregationLengthV6", InvalidValue, "-1"),
            (json!({ "localPref": -1 }), "spec.localPref", InvalidValue, "-1"),
            (json!({ "localPref": 4_294_967_296_i64 }), "spec.localPref", InvalidValue, "4294967295"),
            (json!({ "asPathPrepend": 11 }), "spec.asPathPrepend", InvalidValue, "1 to 10"),
            (json!({ "communities": ["1:2", "65536:1"] }), "spec.communities[1]", InvalidValue, "65535"),
            (json!({ "communities": ["huge:1:2:3"] }), "spec.communities[0]", InvalidValue, "\"large\""),
            (json!({ "communities": ["a:b"] }), "spec.communities[0]", InvalidValue, "\"a\""),
            (
                json!({ "communities": ["large:1:2:4294967296"] }),
                "spec.communities[0]",
                InvalidValue,
                "4294967295",
            ),
            (
                json!({ "serviceSelectors": [same], "aggregationLength": 31 }),
                "spec.aggregationLength",
                Contradiction,
                "serviceSelectors",
            ),
            (
                json!({ "serviceSelectors": [same], "aggregationLengthV6": 127 }),
                "spec.aggregationLengthV6",
                Contradiction,
                "128",
            ),
        ],
    );
}

#[test]
fn a_peer_is_read_in_full() {
    let selector = json!({ "matchLabels": { "rack": "1" } });
    let full = changed(&json!({
        "localASN": 64600, "sourceAddress": "2001:db8::2", "peerPort": 1179, "holdTime": "90s",
        "keepaliveTime": "20s", "connectTime": "1m5s", "routerID": "2001:db8::9", "nodeSelectors": [selector],
        "passwordSecret": { "name": "tor" }, "bfdProfile": "fast", "ebgpMultiHop": true,
        "enableGracefulRestart": true, "vrf": "red", "disableMP": true, "dualStackAddressFamily": true,
    }));
    let full = peer(&full).unwrap();
    assert_eq!((full.my_asn, full.remote, full.local_asn), (64512, RemoteAs::Number(64513), Some(64600)));
    assert_eq!(full.endpoint, PeerEndpoint::Address("192.0.2.1".parse().unwrap()));
    // Other families than the peer's are accepted, and so is an IPv6 router id.
    assert_eq!(full.source, Some("2001:db8::2".parse().unwrap()));
    assert_eq!(full.router_id, Some("2001:db8::9".parse().unwrap()));
    assert_eq!((full.port, full.connect_time), (1179, Some(Duration::from_secs(65))));
    assert_eq!(full.password, PeerPassword::Secret("tor".into()));
    assert_eq!((full.bfd_profile.as_deref(), &*full.vrf), (Some("fast"), "red"));
    assert!(full.multi_hop && full.graceful_restart && full.disable_mp && full.dual_stack);
    assert_eq!(full.node_selectors.len(), 1);

    let plain = peer(&changed(&json!({}))).unwrap();
    assert_eq!((plain.port, plain.hold_time, plain.keepalive_time), (179, None, None));
    assert_eq!((&plain.password, &plain.bfd_profile, &*plain.vrf), (&PeerPassword::None, &None, ""));
    assert!(!plain.multi_hop && !plain.graceful_restart && !plain.disable_mp && !plain.dual_stack);

    let unnumbered =
        json!({ "peerAddress": null, "interface": "eth0", "peerASN": null, "dynamicASN": "external" });
    let unnumbered = peer(&changed(&unnumbered)).unwrap();
    assert_eq!(unnumbered.endpoint, PeerEndpoint::Interface("eth0".into()));
    assert_eq!(unnumbered.remote, RemoteAs::External);
    // What is empty counts as left out.
    let empty = json!({
        "peerASN": 0, "dynamicASN": "internal", "interface": "", "sourceAddress": "", "routerID": "", "vrf": "",
        "password": "secret", "passwordSecret": {}, "bfdProfile": "", "peerPort": 0,
    });
    let empty = peer(&changed(&empty)).unwrap();
    assert_eq!((empty.remote, empty.port), (RemoteAs::Internal, 179));
    assert_eq!((empty.source, empty.router_id, empty.bfd_profile), (None, None, None));
    assert_eq!(empty.password, PeerPassword::Plain);
    // Several hops to a peer of the same system are only noticed when its number is written.
    assert!(peer(&changed(&json!({ "peerASN": 64512 }))).is_ok());
    assert!(peer(&changed(&json!({ "password": "x".repeat(1000) }))).is_ok());
}

#[test]
fn timers_are_completed_and_judged_as_metallb_does() {
    let accepted = [
        (Some("90s"), None, Some((90_000, 30_000, false))),
        (None, Some("10s"), Some((30_000, 10_000, true))),
        (Some("90s"), Some("30s"), Some((90_000, 30_000, true))),
        (Some("90s"), Some("90s"), Some((90_000, 90_000, true))),
        (Some("3s"), None, Some((3_000, 1_000, false))),
        (Some("3.9s"), Some("3.5s"), Some((3_000, 3_000, true))),
        // Cut off to 0, which turns both off.
        (Some("500ms"), None, Some((0, 0, false))),
        (Some("500ms"), Some("400ms"), Some((0, 0, true))),
        (Some("0s"), Some("0s"), Some((0, 0, false))),
        (Some("0s"), None, Some((0, 0, false))),
        (None, Some("0"), Some((0, 0, false))),
        (None, None, None),
    ];
    for (hold, keepalive, expected) in accepted {
        let peer = peer(&changed(&json!({ "holdTime": hold, "keepaliveTime": keepalive }))).unwrap();
        let milliseconds = peer
            .hold_time
            .zip(peer.keepalive_time)
            .map(|(hold, keepalive)| (hold.as_millis(), keepalive.as_millis(), peer.keepalive_given));
        assert_eq!(milliseconds, expected, "{hold:?} {keepalive:?}");
    }
    let row = |fields: Value, field: &'static str, reason, says: &'static str| {
        (changed(&fields), field, reason, says)
    };
    use Reason::{Contradiction, InvalidValue};
    refused(
        peer,
        &[
            row(json!({ "holdTime": "1s" }), "spec.holdTime", InvalidValue, "at least 3s"),
            row(json!({ "holdTime": "2.9s" }), "spec.holdTime", InvalidValue, "2.9s"),
            row(json!({ "holdTime": "2s", "keepaliveTime": "1s" }), "spec.holdTime", InvalidValue, "2s"),
            row(json!({ "keepaliveTime": "900ms" }), "spec.keepaliveTime", InvalidValue, "at least 1s"),
            row(
                json!({ "holdTime": "30s", "keepaliveTime": "31s" }),
                "spec.keepaliveTime",
                Contradiction,
                "longer than the hold time",
            ),
            row(
                json!({ "holdTime": "0s", "keepaliveTime": "1s" }),
                "spec.keepaliveTime",
                Contradiction,
                "1s",
            ),
            row(json!({ "holdTime": "ninety" }), "spec.holdTime", InvalidValue, "1m30s"),
            row(json!({ "holdTime": "-90s" }), "spec.holdTime", InvalidValue, "-90s"),
            row(json!({ "keepaliveTime": "30" }), "spec.keepaliveTime", InvalidValue, "\"30\""),
            row(json!({ "connectTime": "1.5s" }), "spec.connectTime", InvalidValue, "whole number"),
            row(json!({ "connectTime": "0s" }), "spec.connectTime", InvalidValue, "1s"),
            row(json!({ "connectTime": "65536s" }), "spec.connectTime", InvalidValue, "65535s"),
        ],
    );
}

#[test]
fn peers_refuse_what_metallb_refuses() {
    use Reason::{Contradiction, Duplicate, InvalidAddress, InvalidSelector, InvalidValue, MissingField};
    let row = |fields: Value, field: &'static str, reason, says: &'static str| {
        (changed(&fields), field, reason, says)
    };
    let same = json!({ "matchLabels": { "a": "b" } });
    let bad = json!({ "matchExpressions": [{ "key": "a", "operator": "In" }] });
    refused(
        peer,
        &[
            row(json!({ "myASN": 0 }), "spec.myASN", InvalidValue, "RFC 7607"),
            row(json!({ "myASN": 4_294_967_296_i64 }), "spec.myASN", InvalidValue, "4294967295"),
            row(json!({ "peerASN": null }), "spec.peerASN", MissingField, "dynamicASN"),
            row(json!({ "peerASN": 0 }), "spec.peerASN", MissingField, "dynamicASN"),
            row(json!({ "peerASN": -1 }), "spec.peerASN", InvalidValue, "-1"),
            row(json!({ "dynamicASN": "internal" }), "spec.dynamicASN", Contradiction, "64513"),
            row(
                json!({ "peerASN": 64512, "ebgpMultiHop": true }),
                "spec.ebgpMultiHop",
                Contradiction,
                "64512",
            ),
            row(json!({ "localASN": 0 }), "spec.localASN", InvalidValue, "1 to 4294967295"),
            row(json!({ "peerAddress": null }), "spec.peerAddress", MissingField, "interface"),
            row(json!({ "peerAddress": "" }), "spec.peerAddress", MissingField, "interface"),
            row(json!({ "interface": "eth0" }), "spec.interface", Contradiction, "192.0.2.1"),
            row(json!({ "peerAddress": "192.0.2.300" }), "spec.peerAddress", InvalidAddress, "192.0.2.300"),
            row(json!({ "peerAddress": "fe80::1%eth0" }), "spec.peerAddress", InvalidAddress, "%eth0"),
            row(json!({ "sourceAddress": "tor" }), "spec.sourceAddress", InvalidAddress, "tor"),
            row(json!({ "routerID": "7" }), "spec.routerID", InvalidAddress, "\"7\""),
            row(json!({ "peerPort": 16385 }), "spec.peerPort", InvalidValue, "16384"),
            row(json!({ "peerPort": -1 }), "spec.peerPort", InvalidValue, "-1"),
            row(json!({ "nodeSelectors": [same, same] }), "spec.nodeSelectors[1]", Duplicate, "selector"),
            row(json!({ "nodeSelectors": [bad] }), "spec.nodeSelectors[0]", InvalidSelector, "at least one"),
            row(
                json!({ "password": "hidden", "passwordSecret": { "name": "tor" } }),
                "spec.passwordSecret.name",
                Contradiction,
                "tor",
            ),
        ],
    );
    let both = peer(&changed(&json!({ "password": "hidden", "passwordSecret": { "name": "tor" } })));
    assert!(!both.unwrap_err().message.contains("hidden"));
}

#[test]
fn peers_of_the_old_version_become_new_ones() {
    let old = object(&json!({
        "myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1", "peerPort": 0, "sourceAddress": "192.0.2.2",
        "routerID": "192.0.2.3", "password": "hidden", "bfdProfile": "fast", "ebgpMultiHop": true,
        "nodeSelectors": [
            { "matchLabels": { "rack": "1" }, "matchExpressions": [{ "key": "z", "operator": "In", "values": ["a"] }] },
        ],
    }));
    let new = super::bgp_peer_from_v1beta1(&old);
    assert_eq!((new.metadata.name.as_deref(), new.spec.peer_port), (Some("one"), Some(179)));
    // MetalLB's webhook makes 0 of timers that were left out; see docs/metallb-kinds.md.
    assert_eq!((&new.spec.hold_time, &new.spec.keepalive_time), (&None, &None));
    let read = super::bgp_peer(&new).unwrap();
    assert_eq!((read.remote, read.multi_hop), (RemoteAs::Number(64513), true));
    assert_eq!(
        (read.source, read.router_id),
        (Some("192.0.2.2".parse().unwrap()), Some("192.0.2.3".parse().unwrap()))
    );
    assert_eq!((read.bfd_profile.as_deref(), &read.password), (Some("fast"), &PeerPassword::Plain));
    assert_eq!(read.node_selectors[0].requirements().count(), 2);
    // Nothing is lost on the way: what the API server reads of the same bytes as v1beta2 is the same peer.
    let as_stored: crate::api::BGPPeer = serde_json::from_value(serde_json::to_value(&old).unwrap()).unwrap();
    assert_eq!(super::bgp_peer(&as_stored).unwrap(), read);
}

#[test]
fn profiles_keep_to_their_ranges() {
    let read = |spec: &Value| super::bfd_profile(&object(spec));
    assert_eq!(read(&json!({})).unwrap().receive_interval, None);
    let full = read(&json!({
        "receiveInterval": 10, "transmitInterval": 60000, "detectMultiplier": 255, "echoInterval": 50,
        "echoMode": true, "passiveMode": true, "minimumTtl": 254,
    }))
    .unwrap();
    assert_eq!(full.transmit_interval, Some(Duration::from_secs(60)));
    assert_eq!((full.detect_multiplier, full.minimum_ttl), (Some(255), Some(254)));
    assert!(full.echo_mode && full.passive_mode);
    for (field, low, high) in [
        ("receiveInterval", 10, 60000),
        ("transmitInterval", 10, 60000),
        ("detectMultiplier", 2, 255),
        ("echoInterval", 10, 60000),
        ("minimumTtl", 1, 254),
    ] {
        for value in [low - 1, high + 1, i32::MIN] {
            let error = read(&json!({ field: value })).expect_err(field);
            assert_eq!((&*error.field, error.reason), (&*format!("spec.{field}"), Reason::InvalidValue));
            assert!(error.message.contains(&format!("{low} to {high}")), "{}", error.message);
        }
        assert!(read(&json!({ field: low })).is_ok() && read(&json!({ field: high })).is_ok());
    }
    let nameless =
        super::bfd_profile(&serde_json::from_value(json!({ "metadata": {}, "spec": {} })).unwrap());
    assert_eq!(nameless.unwrap_err().reason, Reason::MissingField);
}

#[test]
fn communities_have_one_name_each_and_a_value() {
    let read = |spec: &Value| super::community(&object(spec));
    let two = json!({ "communities": [{ "name": "b", "value": "64500:7" }, { "name": "a", "value": "large:1:2:3" }] });
    let aliases = read(&two).unwrap().aliases;
    assert_eq!(
        aliases,
        [("b".into(), Community::Standard(64500, 7)), ("a".into(), Community::Large(1, 2, 3))]
    );
    assert!(read(&json!({})).unwrap().aliases.is_empty());
    let value = |text: &str| json!({ "communities": [{ "name": "a", "value": text }] });
    let (field, bad) = ("spec.communities[0].value", Reason::InvalidValue);
    refused(
        read,
        &[
            (value("64500"), field, bad, "large:"),
            (value("1:2:3"), field, bad, "large:"),
            (value("huge:1:2:3"), field, bad, "large:"),
            (value("1:2:3:4:5"), field, bad, "large:"),
            (value("65536:1"), field, bad, "65535"),
            (value("a:1"), field, bad, "\"a\""),
            (value("large:1:2:4294967296"), field, bad, "4294967295"),
            (json!({ "communities": [{ "name": "a" }] }), field, Reason::MissingField, "\"a\""),
            (
                json!({ "communities": [{ "name": "a", "value": "1:2" }, { "name": "a", "value": "1:3" }] }),
                "spec.communities[1].name",
                Reason::Duplicate,
                "\"a\"",
            ),
        ],
    );
}

proptest! {
    #[test]
    fn no_peer_panics(
        my_asn: i64, peer_asn: Option<i64>, local_asn: Option<i64>, port: Option<i32>,
        times in prop::collection::vec("[0-9.]{0,20}[a-z]{0,2}", 3), address in "[0-9a-f:.]{0,20}",
    ) {
        drop(peer(&json!({
            "myASN": my_asn, "peerASN": peer_asn, "localASN": local_asn, "peerPort": port, "peerAddress": address,
            "holdTime": times[0], "keepaliveTime": times[1], "connectTime": times[2],
        })));
        drop(peer(&changed(&json!({ "holdTime": times[0], "keepaliveTime": times[1] }))));
    }

    #[test]
    fn no_advertisement_panics(v4: Option<i32>, v6: Option<i32>, pref: Option<i64>, text in ".{0,20}") {
        drop(advertisement(&json!({
            "aggregationLength": v4, "aggregationLengthV6": v6, "localPref": pref, "communities": [text],
        })));
    }
}
