//! One object of every kind, with every field that MetalLB knows.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::theirs;

/// The namespace of all of them.
pub(crate) const NAMESPACE: &str = "metallb-system";

/// An object, and what is changed in it to see that it still can be.
pub(crate) struct Full {
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) version: &'static str,
    /// `spec` and `status`, as far as the kind has them.
    pub(crate) data: Value,
    /// A merge patch, of `spec` or of `status`.
    pub(crate) change: Value,
}

impl Full {
    /// The object without its status, which is written apart.
    pub(crate) fn manifest(&self) -> Value {
        let mut object = json!({
            "apiVersion": format!("metallb.io/{}", self.version),
            "kind": self.kind,
            "metadata": {
                "name": "full",
                "namespace": NAMESPACE,
                "labels": { "kept": "label" },
                "annotations": { "kept": "annotation" },
            },
        });
        if let Some(spec) = self.data.get("spec") {
            object["spec"] = spec.clone();
        }
        object
    }
}

/// All of them, ordered by the names of their kinds.
pub(crate) fn all() -> Vec<Full> {
    let selectors = json!([{
        "matchLabels": { "zone": "a" },
        "matchExpressions": [{ "key": "rack", "operator": "In", "values": ["1", "2"] }],
    }]);
    let service = json!({ "node": "n1", "serviceName": "web", "serviceNamespace": "shop" });
    let with = |mut base: Value, field: &str, value: Value| {
        base[field] = value;
        base
    };
    let full = |kind, plural, data, change| Full { kind, plural, version: "v1beta1", data, change };
    vec![
        full(
            "BFDProfile",
            "bfdprofiles",
            json!({ "spec": {
                "receiveInterval": 10, "transmitInterval": 60000, "detectMultiplier": 255, "echoInterval": 50,
                "echoMode": true, "passiveMode": true, "minimumTtl": 1,
            } }),
            json!({ "spec": { "echoMode": false } }),
        ),
        full(
            "BGPAdvertisement",
            "bgpadvertisements",
            json!({ "spec": {
                "aggregationLength": 32, "aggregationLengthV6": 128, "asPathPrepend": 3, "localPref": 200,
                "communities": ["65000:100", "large:65000:1:2", "no-export"], "peers": ["tor"],
                "ipAddressPools": ["gold"], "ipAddressPoolSelectors": selectors, "nodeSelectors": selectors,
                "serviceSelectors": selectors,
            } }),
            json!({ "spec": { "localPref": 300, "serviceSelectors": null, "aggregationLength": 24 } }),
        ),
        Full {
            kind: "BGPPeer",
            plural: "bgppeers",
            version: "v1beta2",
            data: json!({ "spec": {
                "myASN": 4_200_000_000_u32, "peerASN": 64501, "dynamicASN": "external", "localASN": 64502,
                "peerAddress": "192.0.2.1", "interface": "eth1", "sourceAddress": "192.0.2.7", "peerPort": 1179,
                "holdTime": "90s", "keepaliveTime": "30s", "connectTime": "10s", "routerID": "192.0.2.7",
                "nodeSelectors": selectors, "password": "secret",
                "passwordSecret": { "name": "tor", "namespace": NAMESPACE }, "bfdProfile": "full",
                "ebgpMultiHop": true, "enableGracefulRestart": true, "vrf": "red", "disableMP": true,
                "dualStackAddressFamily": true,
            } }),
            change: json!({ "spec": { "vrf": "blue", "disableMP": false } }),
        },
        full(
            "Community",
            "communities",
            json!({ "spec": { "communities": [{ "name": "no-export", "value": "65535:65281" }] } }),
            json!({ "spec": { "communities": [{ "name": "blackhole", "value": "65535:666" }] } }),
        ),
        full(
            "ConfigurationState",
            "configurationstates",
            json!({ "status": {
                "result": "Invalid", "errorSummary": "pool gold overlaps pool silver",
                "conditions": [{
                    "type": "poolReconcilerValid", "status": "False", "reason": "ConfigurationError",
                    "message": "pool gold overlaps pool silver", "lastTransitionTime": "2026-01-02T03:04:05Z",
                    "observedGeneration": 3,
                }],
            } }),
            json!({ "status": { "result": "Valid", "errorSummary": "", "conditions": null } }),
        ),
        full(
            "IPAddressPool",
            "ipaddresspools",
            json!({
                "spec": {
                    "addresses": ["192.0.2.0/24", "2001:db8::1-2001:db8::9"], "autoAssign": false,
                    "avoidBuggyIPs": true,
                    "serviceAllocation": {
                        "priority": 50, "namespaces": ["shop"], "namespaceSelectors": selectors,
                        "serviceSelectors": selectors,
                    },
                },
                "status": { "assignedIPv4": 1, "assignedIPv6": 2, "availableIPv4": 255, "availableIPv6": 7 },
            }),
            json!({ "spec": { "addresses": ["198.51.100.0/24"], "autoAssign": true } }),
        ),
        full(
            "L2Advertisement",
            "l2advertisements",
            json!({ "spec": {
                "ipAddressPools": ["gold"], "ipAddressPoolSelectors": selectors, "nodeSelectors": selectors,
                "interfaces": ["eth0"], "serviceSelectors": selectors,
                "preferredNodeSelectors": [{ "weight": 100, "preference": selectors[0] }],
            } }),
            json!({ "spec": { "interfaces": ["eth1"] } }),
        ),
        full(
            "ServiceBGPStatus",
            "servicebgpstatuses",
            json!({ "spec": {}, "status": with(service.clone(), "peers", json!(["spine", "tor"])) }),
            json!({ "status": { "peers": ["tor"] } }),
        ),
        full(
            "ServiceL2Status",
            "servicel2statuses",
            json!({ "spec": {}, "status": with(service, "interfaces", json!([{ "name": "eth0" }])) }),
            json!({ "status": { "interfaces": [] } }),
        ),
    ]
}

/// Every field below `schema` that has a name, with `[]` for the items of lists.
fn fields(path: &str, schema: &Value, found: &mut BTreeSet<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        found.insert(path.clone());
        fields(&path, field, found);
    }
    if schema["items"].is_object() {
        fields(&format!("{path}[]"), &schema["items"], found);
    }
}

/// Every field that `value` sets, in the same form.
fn set(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        found.insert(path.clone());
        set(&path, value, found);
    }
    for value in value.as_array().into_iter().flatten() {
        set(&format!("{path}[]"), value, found);
    }
}

#[test]
#[ignore = "needs MetalLB's definitions, which Go generates; make test runs it"]
fn the_objects_have_every_field_of_metallb() {
    let definitions = theirs();
    let objects = all();
    assert_eq!(objects.len(), definitions.len(), "one object for each kind");
    for object in objects {
        let crd =
            definitions.iter().find(|crd| crd["spec"]["names"]["kind"] == object.kind).expect(object.kind);
        let versions = crd["spec"]["versions"].as_array().unwrap();
        let version = versions.iter().find(|one| one["name"] == object.version).expect(object.kind);
        let (mut known, mut given) = (BTreeSet::new(), BTreeSet::new());
        for part in ["spec", "status"] {
            let schema = &version["schema"]["openAPIV3Schema"]["properties"][part];
            fields(part, schema, &mut known);
            set(part, &object.data[part], &mut given);
        }
        let missing: Vec<&String> = known.difference(&given).collect();
        assert!(missing.is_empty(), "{} lacks {missing:?}", object.kind);
    }
}
