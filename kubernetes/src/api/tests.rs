use std::{fs, path::Path};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::{Value, json};

use super::*;

/// `LANDFALL_BLESS=1` writes the files instead of comparing them.
#[test]
fn deployed_definitions_are_those_of_the_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
    let bless = std::env::var_os("LANDFALL_BLESS").is_some();
    let files = crd_files();
    for (name, text) in &files {
        let path = folder.join(name);
        if bless {
            fs::write(&path, text).unwrap();
        }
        let deployed = fs::read_to_string(&path).unwrap_or_default();
        assert!(deployed == *text, "{} is out of date; run the tests with LANDFALL_BLESS=1", path.display());
    }
    let count = fs::read_dir(&folder).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name != "kustomization.yaml"
    });
    assert_eq!(count.count(), files.len(), "a file in {} belongs to no kind", folder.display());
}

#[test]
fn the_stream_holds_every_definition_and_can_be_read_again() {
    let read: Vec<Value> = serde_saphyr::from_multiple(&crds_yaml()).unwrap();
    let written: Vec<Value> = crds().iter().map(|crd| json!(crd)).collect();
    assert_eq!(read, written);
}

fn schema(kind: &str) -> JSONSchemaProps {
    let crd = crds().into_iter().find(|crd| crd.spec.names.kind == kind).expect(kind);
    crd.spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap()
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
        let rules = &at("ServiceL2Status", &format!("status.{field}"))["x-kubernetes-validations"];
        assert_eq!(rules[0]["rule"], json!("self == oldSelf"), "{field}");
    }
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
        walk(&kind, &json!(schema(&kind)));
        let version = &crd.spec.versions[0];
        assert!(version.storage && version.served && version.name == "v1beta1", "{kind}");
        assert!(version.subresources.as_ref().is_some_and(|all| all.status.is_some()), "{kind}");
        assert_eq!(crd.spec.scope, "Namespaced", "{kind}");
    }
}
