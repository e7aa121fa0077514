use std::{fs, path::Path};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps,
};
use serde_json::{Value, json};

use super::*;
use crate::golden;

mod objects;
mod reference;

#[test]
fn deployed_definitions_are_those_of_the_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
    let files = crd_files();
    for (name, text) in &files {
        golden::is_up_to_date(&format!("../deploy/crds/{name}"), text);
    }
    let count = fs::read_dir(&folder).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name != "kustomization.yaml"
    });
    assert_eq!(count.count(), files.len(), "a file in {} belongs to no kind", folder.display());
}

#[test]
fn the_stream_holds_every_definition_and_can_be_read_again() {
    let read: Vec<CustomResourceDefinition> = serde_saphyr::from_multiple(&crds_yaml()).unwrap();
    assert_eq!(read, crds());
}

fn definition(kind: &str) -> CustomResourceDefinition {
    crds().into_iter().find(|crd| crd.spec.names.kind == kind).expect(kind)
}

/// The schema of the version in which objects are kept.
fn schema(kind: &str) -> JSONSchemaProps {
    let version = definition(kind).spec.versions.into_iter().find(|version| version.storage).expect(kind);
    version.schema.unwrap().open_api_v3_schema.unwrap()
}

/// The schema at `path`, where `[]` stands for the items of a list.
fn at(kind: &str, path: &str) -> Value {
    let mut value = json!(schema(kind));
    for step in path.split('.') {
        let (name, list) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
        value = value["properties"][name].take();
        if list {
            value = value["items"].take();
        }
    }
    value
}

#[test]
fn fields_have_the_rules_of_metallb() {
    let pool = "IPAddressPool";
    assert_eq!(at(pool, "spec")["required"], json!(["addresses"]));
    assert_eq!(json!(schema(pool))["required"], json!(["spec"]));
    assert_eq!(at(pool, "spec.autoAssign")["default"], json!(true));
    assert_eq!(at(pool, "spec.avoidBuggyIPs")["default"], json!(false));
    assert_eq!(at(pool, "spec.serviceAllocation.priority")["type"], json!("integer"));
    assert_eq!(
        at(pool, "status")["required"],
        json!(["assignedIPv4", "assignedIPv6", "availableIPv4", "availableIPv6"])
    );
    let advertisement = "L2Advertisement";
    let preferred = at(advertisement, "spec.preferredNodeSelectors[]");
    assert_eq!(preferred["required"], json!(["preference", "weight"]));
    let weight = at(advertisement, "spec.preferredNodeSelectors[].weight");
    assert_eq!((weight["minimum"].as_f64(), weight["maximum"].as_f64()), (Some(1.0), Some(100.0)));
    let requirement = at(advertisement, "spec.nodeSelectors[].matchExpressions[]");
    assert_eq!(requirement["required"], json!(["key", "operator"]));
    for field in ["node", "serviceName", "serviceNamespace"] {
        for kind in ["ServiceL2Status", "ServiceBGPStatus"] {
            let rules = &at(kind, &format!("status.{field}"))["x-kubernetes-validations"];
            assert_eq!(rules[0]["rule"], json!("self == oldSelf"), "{kind} {field}");
        }
    }
}

#[test]
fn kinds_for_bgp_have_the_rules_of_metallb() {
    let advertisement = "BGPAdvertisement";
    assert_eq!(at(advertisement, "spec.aggregationLength")["default"], json!(32));
    assert_eq!(at(advertisement, "spec.aggregationLengthV6")["default"], json!(128));
    let rule = at(advertisement, "spec")["x-kubernetes-validations"][0]["rule"].take();
    assert!(rule.as_str().is_some_and(|rule| rule.contains("self.serviceSelectors")), "{rule}");
    let peer = "BGPPeer";
    assert_eq!(at(peer, "spec")["required"], json!(["myASN"]));
    assert_eq!(at(peer, "spec.peerPort")["default"], json!(179));
    assert_eq!(at(peer, "spec.disableMP")["default"], json!(false));
    assert_eq!(at(peer, "spec.dualStackAddressFamily")["default"], json!(false));
    assert_eq!(at(peer, "spec.dynamicASN")["enum"], json!(["internal", "external"]));
    let graceful = at(peer, "spec.enableGracefulRestart");
    assert_eq!(graceful["x-kubernetes-validations"][0]["rule"], json!("self == oldSelf"));
    // A default would count as set, and nobody could turn it on any more.
    assert_eq!(graceful["default"], Value::Null);
    assert_eq!(at(peer, "spec.connectTime")["x-kubernetes-validations"].as_array().map(Vec::len), Some(2));
    assert_eq!(at(peer, "spec.passwordSecret")["x-kubernetes-map-type"], json!("atomic"));
    let state = "ConfigurationState";
    assert_eq!(at(state, "status.result")["enum"], json!(["Valid", "Invalid", "Unknown"]));
    let conditions = at(state, "status.conditions");
    assert_eq!(conditions["x-kubernetes-list-type"], json!("map"));
    assert_eq!(conditions["x-kubernetes-list-map-keys"], json!(["type"]));
    assert_eq!(at(state, "spec"), Value::Null);
}

#[test]
fn spec_is_required_where_an_object_without_means_nothing() {
    let required: Vec<String> = crds()
        .into_iter()
        .map(|crd| crd.spec.names.kind)
        .filter(|kind| schema(kind).required.is_some_and(|required| required.contains(&"spec".to_owned())))
        .collect();
    assert_eq!(required, ["IPAddressPool"]);
    for kind in ["ServiceL2Status", "ServiceBGPStatus"] {
        assert_eq!(at(kind, "spec")["default"], json!({}), "{kind}");
    }
}

#[test]
fn the_old_version_of_a_peer_needs_no_webhook() {
    let crd = definition("BGPPeer");
    let versions: Vec<_> = crd.spec.versions.iter().map(|v| (&*v.name, v.served, v.storage)).collect();
    assert_eq!(versions, [("v1beta2", true, true), ("v1beta1", true, false)]);
    let old = &crd.spec.versions[1];
    assert_eq!(old.deprecated, Some(true));
    assert!(old.deprecation_warning.as_ref().is_some_and(|warning| warning.contains("v1beta2")));
    assert_eq!(json!(crd.spec.conversion), json!({ "strategy": "None" }));
    let text =
        crd_files().into_iter().find(|(name, _)| name == "metallb.io_bgppeers.yaml").expect("a file").1;
    let file: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(file["spec"]["conversion"].get("webhook"), Some(&Value::Null), "an old webhook goes");
}

/// What `kubectl get` shows, by name and source.
#[test]
fn columns_are_those_of_metallb() {
    let columns = |kind: &str| -> Vec<String> {
        let columns = definition(kind).spec.versions[0].additional_printer_columns.clone();
        columns.into_iter().flatten().map(|one| format!("{}={}", one.name, one.json_path)).collect()
    };
    assert_eq!(
        columns("BGPAdvertisement"),
        [
            "IPAddressPools=.spec.ipAddressPools",
            "IPAddressPool Selectors=.spec.ipAddressPoolSelectors",
            "Peers=.spec.peers",
            "Node Selectors=.spec.nodeSelectors",
        ]
    );
    assert_eq!(
        columns("BGPPeer"),
        [
            "Address=.spec.peerAddress",
            "ASN=.spec.peerASN",
            "BFD Profile=.spec.bfdProfile",
            "Multi Hops=.spec.ebgpMultiHop",
        ]
    );
    assert_eq!(
        columns("BFDProfile"),
        [
            "Passive Mode=.spec.passiveMode",
            "Transmit Interval=.spec.transmitInterval",
            "Receive Interval=.spec.receiveInterval",
            "Multiplier=.spec.detectMultiplier",
        ]
    );
    assert!(columns("Community").is_empty());
    assert_eq!(
        columns("ServiceBGPStatus"),
        [
            "Node=.status.node",
            "Service Name=.status.serviceName",
            "Service Namespace=.status.serviceNamespace"
        ]
    );
    assert_eq!(
        columns("ConfigurationState"),
        ["Result=.status.result", "ErrorSummary=.status.errorSummary", "Age=.metadata.creationTimestamp"]
    );
}

#[test]
fn kustomize_applies_every_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds/kustomization.yaml");
    let kustomization: Value = serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let files: Vec<String> = crd_files().into_iter().map(|(name, _)| name).collect();
    assert_eq!(kustomization["resources"], json!(files));
}

/// The API server takes only structural schemas, and `kubectl explain` should never be silent.
#[test]
fn every_field_is_typed_and_described() {
    fn walk(path: &str, schema: &Value) {
        assert!(schema["type"].is_string(), "{path} has no type: {schema}");
        assert_eq!(schema["nullable"], Value::Null, "{path}");
        for forbidden in ["$ref", "anyOf", "oneOf", "allOf"] {
            assert_eq!(schema[forbidden], Value::Null, "{path} uses {forbidden}");
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            assert!(field["description"].is_string(), "{path} has no description");
            walk(&path, field);
        }
        if schema["items"].is_object() {
            walk(&format!("{path}[]"), &schema["items"]);
        }
    }
    for crd in crds() {
        let kind = crd.spec.names.kind.clone();
        for version in &crd.spec.versions {
            let path = format!("{kind} {}", version.name);
            walk(&path, &json!(version.schema.as_ref().unwrap().open_api_v3_schema));
            assert!(version.subresources.as_ref().is_some_and(|all| all.status.is_some()), "{path}");
        }
        let stored: Vec<&str> =
            crd.spec.versions.iter().filter(|one| one.storage && one.served).map(|one| &*one.name).collect();
        assert_eq!(stored, [if kind == "BGPPeer" { "v1beta2" } else { "v1beta1" }], "{kind}");
        assert_eq!(crd.spec.scope, "Namespaced", "{kind}");
    }
}
