//! Which objects the schemas take, as far as that can be told without an API server: types, required fields,
//! enumerations, ranges and lengths. CEL rules and patterns are left to the test on a real server.

use serde::{Serialize, de::DeserializeOwned};

use super::*;

/// What is wrong with `value`, as paths of fields. A field that the schema does not know counts as wrong: the API
/// server would drop it.
fn complaints(path: &str, schema: &Value, value: &Value, found: &mut Vec<String>) {
    let right_type = match schema["type"].as_str().expect("every schema has a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("{path}: {other} is not checked here"),
    };
    let in_enum = schema["enum"].as_array().is_none_or(|all| all.contains(value));
    let bound = |name: &str| schema[name].as_f64();
    let size =
        value.as_array().map(Vec::len).or_else(|| value.as_str().map(str::len)).map(|size| size as f64);
    let least = if value.is_array() { bound("minItems") } else { bound("minLength") };
    let in_range = value.as_f64().is_none_or(|number| {
        bound("minimum").is_none_or(|least| number >= least)
            && bound("maximum").is_none_or(|most| number <= most)
    });
    let long_enough = size.is_none_or(|size| least.is_none_or(|least| size >= least));
    if !(right_type && in_enum && in_range && long_enough) {
        found.push(path.to_owned());
        return;
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            found.push(format!("{path}.{name}"));
        }
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let known = [&schema["properties"][name], &schema["additionalProperties"]];
        match known.into_iter().find(|schema| schema.is_object()) {
            Some(schema) => complaints(&path, schema, field, found),
            None => found.push(path),
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        complaints(&format!("{path}[{index}]"), &schema["items"], item, found);
    }
}

/// Objects of one version of one kind: a full one that must survive reading and writing, parts that are accepted,
/// and parts that are refused for the field named.
struct Table<'a> {
    kind: &'a str,
    version: &'a str,
    part: &'a str,
    full: Value,
    accepted: &'a [Value],
    refused: &'a [(&'a str, Value)],
}

impl Table<'_> {
    fn check<T: Serialize + DeserializeOwned>(&self) {
        let Self { kind, version, part, .. } = self;
        let crd = definition(kind);
        let version = crd.spec.versions.iter().find(|one| one.name == *version).expect(version);
        let root = json!(version.schema.as_ref().unwrap().open_api_v3_schema);
        let schema = &root["properties"][*part];
        let verdict = |value: &Value| {
            let mut found = Vec::new();
            complaints(part, schema, value, &mut found);
            found
        };
        let fields = |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
        assert_eq!(
            fields(&self.full),
            fields(&schema["properties"]),
            "{kind}: the full object has every field"
        );
        let read: T = serde_json::from_value(self.full.clone()).unwrap();
        assert_eq!(json!(read), self.full, "{kind}: nothing is lost");
        for value in self.accepted.iter().chain([&self.full]) {
            assert_eq!(verdict(value), [""; 0], "{kind} {value}");
            assert!(serde_json::from_value::<T>(value.clone()).is_ok(), "{kind} {value}");
        }
        for (field, value) in self.refused {
            assert_eq!(verdict(value), [format!("{part}.{field}")], "{kind} {value}");
        }
    }
}

#[test]
fn bgp_advertisements() {
    let selector = json!({ "matchLabels": { "zone": "a" } });
    Table {
        kind: "BGPAdvertisement",
        version: "v1beta1",
        part: "spec",
        full: json!({
            "aggregationLength": 24,
            "aggregationLengthV6": 64,
            "asPathPrepend": 10,
            "communities": ["65000:100", "large:65000:1:2", "no-export"],
            "ipAddressPoolSelectors": [selector],
            "ipAddressPools": ["gold"],
            "localPref": 4_294_967_295_u32,
            "nodeSelectors": [{ "matchExpressions": [{ "key": "zone", "operator": "In", "values": ["a"] }] }],
            "peers": ["tor"],
            "serviceSelectors": [{}],
        }),
        accepted: &[json!({}), json!({ "aggregationLength": 1 }), json!({ "aggregationLengthV6": 0 })],
        refused: &[
            ("aggregationLength", json!({ "aggregationLength": 0 })),
            ("aggregationLength", json!({ "aggregationLength": "32" })),
            ("asPathPrepend", json!({ "asPathPrepend": 0 })),
            ("asPathPrepend", json!({ "asPathPrepend": 11 })),
            ("localPref", json!({ "localPref": -1 })),
            ("localPref", json!({ "localPref": 4_294_967_296_u64 })),
            ("peers", json!({ "peers": "tor" })),
            ("nodeSelectors[0].matchExpressions[0].operator", {
                json!({ "nodeSelectors": [{ "matchExpressions": [{ "key": "zone" }] }] })
            }),
            ("aggregation", json!({ "aggregation": 32 })),
        ],
    }
    .check::<BGPAdvertisementSpec>();
}

#[test]
fn bgp_peers() {
    let peer = |field: &str, value: Value| {
        let mut peer = json!({ "myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.1" });
        peer[field] = value;
        peer
    };
    Table {
        kind: "BGPPeer",
        version: "v1beta2",
        part: "spec",
        full: json!({
            "bfdProfile": "fast",
            "connectTime": "10s",
            "disableMP": false,
            "dualStackAddressFamily": true,
            "dynamicASN": "external",
            "ebgpMultiHop": true,
            "enableGracefulRestart": true,
            "holdTime": "90s",
            "interface": "eth1",
            "keepaliveTime": "30s",
            "localASN": 64502,
            "myASN": 4_200_000_000_u32,
            "nodeSelectors": [{ "matchLabels": { "rack": "1" } }],
            "password": "secret",
            "passwordSecret": { "name": "tor", "namespace": "metallb-system" },
            "peerASN": 64501,
            "peerAddress": "192.0.2.1",
            "peerPort": 1179,
            "routerID": "192.0.2.7",
            "sourceAddress": "192.0.2.7",
            "vrf": "red",
        }),
        accepted: &[
            json!({ "myASN": 64500 }),
            peer("peerASN", json!(4_294_967_295_u32)),
            peer("dynamicASN", json!("internal")),
            peer("peerPort", json!(16384)),
            peer("passwordSecret", json!({})),
        ],
        refused: &[
            ("myASN", json!({ "peerASN": 64501 })),
            ("myASN", peer("myASN", json!(-1))),
            ("myASN", peer("myASN", json!(4_294_967_296_u64))),
            ("peerASN", peer("peerASN", json!(4_294_967_296_u64))),
            ("localASN", peer("localASN", json!(0))),
            ("dynamicASN", peer("dynamicASN", json!("any"))),
            ("peerPort", peer("peerPort", json!(0))),
            ("peerPort", peer("peerPort", json!(16385))),
            ("holdTime", peer("holdTime", json!(90))),
        ],
    }
    .check::<BGPPeerSpec>();
    let read: BGPPeerSpec = serde_json::from_value(json!({ "myASN": 1 })).unwrap();
    assert_eq!(
        (read.peer_port, read.disable_mp, read.enable_graceful_restart),
        (Some(179), Some(false), None)
    );
}

#[test]
fn bgp_peers_of_the_old_version() {
    let peer = |field: &str, value: Value| {
        let mut peer = json!({ "myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.1" });
        peer[field] = value;
        peer
    };
    let selector =
        |values: Value| json!([{ "matchExpressions": [{ "key": "a", "operator": "In", "values": values }] }]);
    Table {
        kind: "BGPPeer",
        version: "v1beta1",
        part: "spec",
        full: json!({
            "bfdProfile": "fast",
            "ebgpMultiHop": true,
            "holdTime": "90s",
            "keepaliveTime": "30s",
            "myASN": 64500,
            "nodeSelectors": [{
                "matchLabels": { "rack": "1" },
                "matchExpressions": [{ "key": "zone", "operator": "In", "values": ["a"] }],
            }],
            "password": "secret",
            "peerASN": 4_294_967_295_u32,
            "peerAddress": "192.0.2.1",
            "peerPort": 0,
            "routerID": "192.0.2.7",
            "sourceAddress": "192.0.2.7",
        }),
        accepted: &[peer("peerPort", json!(16384)), peer("nodeSelectors", selector(json!(["b"])))],
        refused: &[
            ("peerASN", json!({ "myASN": 64500, "peerAddress": "192.0.2.1" })),
            ("peerAddress", json!({ "myASN": 64500, "peerASN": 64501 })),
            ("peerPort", peer("peerPort", json!(16385))),
            ("nodeSelectors[0].matchExpressions[0].values", peer("nodeSelectors", selector(json!([])))),
            ("nodeSelectors[0].matchExpressions[0].values", {
                peer("nodeSelectors", json!([{ "matchExpressions": [{ "key": "a", "operator": "Exists" }] }]))
            }),
            ("vrf", peer("vrf", json!("red"))),
        ],
    }
    .check::<BGPPeerV1Beta1Spec>();
}

#[test]
fn bfd_profiles() {
    Table {
        kind: "BFDProfile",
        version: "v1beta1",
        part: "spec",
        full: json!({
            "detectMultiplier": 3,
            "echoInterval": 50,
            "echoMode": true,
            "minimumTtl": 254,
            "passiveMode": false,
            "receiveInterval": 300,
            "transmitInterval": 300,
        }),
        accepted: &[
            json!({}),
            json!({ "detectMultiplier": 2, "echoInterval": 10, "minimumTtl": 1 }),
            json!({ "detectMultiplier": 255, "receiveInterval": 60000, "transmitInterval": 60000 }),
        ],
        refused: &[
            ("detectMultiplier", json!({ "detectMultiplier": 1 })),
            ("detectMultiplier", json!({ "detectMultiplier": 256 })),
            ("echoInterval", json!({ "echoInterval": 9 })),
            ("echoInterval", json!({ "echoInterval": 60001 })),
            ("receiveInterval", json!({ "receiveInterval": 9 })),
            ("receiveInterval", json!({ "receiveInterval": 60001 })),
            ("transmitInterval", json!({ "transmitInterval": 9 })),
            ("transmitInterval", json!({ "transmitInterval": 60001 })),
            ("minimumTtl", json!({ "minimumTtl": 0 })),
            ("minimumTtl", json!({ "minimumTtl": 255 })),
            ("echoMode", json!({ "echoMode": "on" })),
        ],
    }
    .check::<BFDProfileSpec>();
}

#[test]
fn communities() {
    Table {
        kind: "Community",
        version: "v1beta1",
        part: "spec",
        full: json!({ "communities": [{ "name": "no-export", "value": "65535:65281" }] }),
        accepted: &[json!({}), json!({ "communities": [] }), json!({ "communities": [{ "name": "a" }] })],
        refused: &[
            ("communities", json!({ "communities": { "name": "a" } })),
            ("communities[0].value", json!({ "communities": [{ "name": "a", "value": 65535 }] })),
        ],
    }
    .check::<CommunitySpec>();
}

#[test]
fn service_bgp_statuses() {
    Table {
        kind: "ServiceBGPStatus",
        version: "v1beta1",
        part: "status",
        full: json!({ "node": "n1", "peers": ["tor"], "serviceName": "web", "serviceNamespace": "shop" }),
        accepted: &[json!({}), json!({ "peers": [] })],
        refused: &[("peers[0]", json!({ "peers": [{ "name": "tor" }] }))],
    }
    .check::<ServiceBGPStatusStatus>();
}

#[test]
fn configuration_states() {
    let condition = json!({
        "type": "configReconcilerValid",
        "status": "False",
        "reason": "ConfigurationError",
        "message": "pool gold overlaps pool silver",
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    });
    let with = |field: &str, value: Value| {
        let mut condition = condition.clone();
        condition[field] = value;
        json!({ "conditions": [condition] })
    };
    Table {
        kind: "ConfigurationState",
        version: "v1beta1",
        part: "status",
        full: json!({ "conditions": [condition], "errorSummary": "overlap", "result": "Invalid" }),
        accepted: &[json!({}), with("status", json!("Unknown")), with("observedGeneration", json!(3))],
        refused: &[
            ("result", json!({ "result": "Good" })),
            ("conditions[0].status", with("status", json!("true"))),
            ("conditions[0].reason", with("reason", json!(""))),
            ("conditions[0].observedGeneration", with("observedGeneration", json!(-1))),
        ],
    }
    .check::<ConfigurationStateStatus>();
}
