//! What two definitions of a kind say differently, apart from their words for people.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{name, ours, theirs};

/// What differs on purpose, and why. Of two values the first is MetalLB's.
const DELIBERATE: &[(&str, &str)] = &[
    (
        "bgpadvertisements.metallb.io v1beta1 spec.localPref: maximum is null, 4294967295.0",
        "LOCAL_PREF has 32 bits without a sign, and MetalLB's programs can read no other number either",
    ),
    ("bgpadvertisements.metallb.io v1beta1 spec.localPref: minimum is null, 0.0", "the same"),
    (
        "bgpadvertisements.metallb.io v1beta1 spec: the rules differ",
        "the same verdicts in our own words; `probes` shows it on a real API server",
    ),
    (
        "bgppeers.metallb.io v1beta2 spec.connectTime: the rules differ",
        "the same verdicts in our own words; `probes` shows it on a real API server",
    ),
    (
        "servicebgpstatuses.metallb.io v1beta1 spec: default is null, {}",
        "a report without a spec is read like one with an empty spec, which is how MetalLB writes it",
    ),
    (
        "servicel2statuses.metallb.io v1beta1 spec: default is null, {}",
        "a report without a spec is read like one with an empty spec, which is how MetalLB writes it",
    ),
];

#[test]
#[ignore = "needs MetalLB's definitions, which Go generates; make test runs it"]
fn nothing_differs_from_metallb_but_what_is_listed() {
    let found = differences(&theirs(), &ours());
    let listed: Vec<&str> = DELIBERATE.iter().map(|(what, _)| *what).collect();
    assert_eq!(found, listed, "left: found; right: the table");
}

/// Every difference, as a line that names definition, version and field, in order.
fn differences(theirs: &[Value], ours: &[Value]) -> Vec<String> {
    let mut found = Vec::new();
    let by_name = |all: &[Value]| -> BTreeMap<String, Value> {
        all.iter().map(|crd| (name(crd).to_owned(), crd["spec"].clone())).collect()
    };
    let (theirs, ours) = (by_name(theirs), by_name(ours));
    for (name, theirs, ours) in pairs(&theirs, &ours) {
        let (Some(theirs), Some(ours)) = (theirs, ours) else {
            found.push(format!("{name}: only {}", whose(theirs.is_some())));
            continue;
        };
        values(name, &frame(theirs), &frame(ours), &mut found);
        let versions = |spec: &Value| -> BTreeMap<String, Value> {
            let all = spec["versions"].as_array().into_iter().flatten();
            all.map(|one| (one["name"].as_str().unwrap().to_owned(), one.clone())).collect()
        };
        for (version, theirs, ours) in pairs(&versions(theirs), &versions(ours)) {
            let place = format!("{name} {version}");
            let (Some(theirs), Some(ours)) = (theirs, ours) else {
                found.push(format!("{place}: only {}", whose(theirs.is_some())));
                continue;
            };
            values(&place, &settings(theirs), &settings(ours), &mut found);
            schemas(&place, &schema(theirs), &schema(ours), &mut found);
        }
    }
    found.sort();
    found
}

/// What a definition says of all its versions, with what the API server fills in.
fn frame(spec: &Value) -> Value {
    let kind = spec["names"]["kind"].as_str().unwrap();
    let mut names = spec["names"].clone();
    fill_in(&mut names, "listKind", json!(format!("{kind}List")));
    fill_in(&mut names, "singular", json!(kind.to_lowercase()));
    let mut conversion = spec["conversion"].clone();
    fill_in(&mut conversion, "strategy", json!("None"));
    json!({ "group": spec["group"], "scope": spec["scope"], "names": names, "conversion": conversion })
}

/// What a version says, apart from the schema and from words for people.
fn settings(version: &Value) -> Value {
    let mut version = version.clone();
    let fields = version.as_object_mut().unwrap();
    fields.remove("schema");
    fields.remove("deprecationWarning");
    for column in version["additionalPrinterColumns"].as_array_mut().into_iter().flatten() {
        column.as_object_mut().unwrap().remove("description");
    }
    fill_in(&mut version, "deprecated", json!(false));
    version
}

/// The schema of a version, without what the API server knows of every object.
fn schema(version: &Value) -> Value {
    let mut schema = version["schema"]["openAPIV3Schema"].clone();
    for known in ["apiVersion", "kind", "metadata"] {
        schema["properties"].as_object_mut().unwrap().remove(known);
    }
    schema
}

fn fill_in(value: &mut Value, field: &str, default: Value) {
    if value[field].is_null() {
        value[field] = default;
    }
}

fn values(place: &str, theirs: &Value, ours: &Value, found: &mut Vec<String>) {
    let nothing = Map::new();
    let fields = |value: &Value| value.as_object().unwrap_or(&nothing).clone().into_iter().collect();
    for (field, theirs, ours) in pairs(&fields(theirs), &fields(ours)) {
        let (theirs, ours) = (theirs.unwrap_or(&Value::Null), ours.unwrap_or(&Value::Null));
        if theirs != ours {
            found.push(format!("{place}: {field} is {theirs}, {ours}"));
        }
    }
}

fn schemas(place: &str, theirs: &Value, ours: &Value, found: &mut Vec<String>) {
    values(place, &plain(theirs), &plain(ours), found);
    if rules(theirs) != rules(ours) {
        found.push(format!("{place}: the rules differ"));
    }
    let properties = |schema: &Value| -> BTreeMap<String, Value> {
        schema["properties"].as_object().cloned().unwrap_or_default().into_iter().collect()
    };
    for (field, theirs, ours) in pairs(&properties(theirs), &properties(ours)) {
        let place = join(place, field);
        match (theirs, ours) {
            (Some(theirs), Some(ours)) => schemas(&place, theirs, ours, found),
            (theirs, _) => found.push(format!("{place}: only {}", whose(theirs.is_some()))),
        }
    }
    for (keyword, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        let (theirs, ours) = (&theirs[keyword], &ours[keyword]);
        let place = format!("{place}{mark}");
        match (theirs.is_object(), ours.is_object()) {
            (true, true) => schemas(&place, theirs, ours, found),
            (false, false) => values(&place, &json!({ keyword: theirs }), &json!({ keyword: ours }), found),
            (is_theirs, _) => found.push(format!("{place}: only {}", whose(is_theirs))),
        }
    }
}

/// What a schema says of the value itself: everything but its parts, its words, and its rules. The API server does not
/// look at the format of an integer.
fn plain(schema: &Value) -> Value {
    const ELSEWHERE: &[&str] =
        &["title", "description", "properties", "items", "additionalProperties", "x-kubernetes-validations"];
    let integer = schema["type"] == "integer";
    let mut kept = schema.as_object().unwrap().clone();
    kept.retain(|keyword, _| !(ELSEWHERE.contains(&keyword.as_str()) || integer && keyword == "format"));
    for (keyword, value) in &mut kept {
        match (keyword.as_str(), value) {
            ("required" | "enum", Value::Array(list)) => list.sort_by_key(Value::to_string),
            ("minimum" | "maximum", bound) => *bound = json!(bound.as_f64()),
            _ => {}
        }
    }
    Value::Object(kept)
}

/// The texts of the rules. Their messages are words for people.
fn rules(schema: &Value) -> Vec<&str> {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    rules.map(|rule| rule["rule"].as_str().unwrap()).collect()
}

fn pairs<'a>(
    theirs: &'a BTreeMap<String, Value>,
    ours: &'a BTreeMap<String, Value>,
) -> Vec<(&'a str, Option<&'a Value>, Option<&'a Value>)> {
    let more = ours.keys().filter(|key| !theirs.contains_key(*key));
    theirs.keys().chain(more).map(|key| (key.as_str(), theirs.get(key), ours.get(key))).collect()
}

fn join(place: &str, field: &str) -> String {
    // Definition and version come before the first field, which the spaces mark.
    let dot = if place.matches(' ').count() > 1 { "." } else { " " };
    format!("{place}{dot}{field}")
}

fn whose(theirs: bool) -> &'static str {
    if theirs { "theirs" } else { "ours" }
}

#[test]
fn every_kind_of_difference_is_found() {
    let unchanged = ours();
    assert_eq!(differences(&unchanged, &unchanged), [""; 0]);
    let root = "/spec/versions/0/schema/openAPIV3Schema/properties";
    for (definition, path, value, expected) in [
        ("bfdprofiles", "/spec/scope".into(), json!("Cluster"), r#"scope is "Namespaced", "Cluster""#),
        ("bfdprofiles", "/spec/names/shortNames".into(), json!(["bfd"]), "names is"),
        ("bfdprofiles", "/spec/versions/0/subresources".into(), json!({}), "subresources is"),
        (
            "bfdprofiles",
            "/spec/versions/0/additionalPrinterColumns/1/priority".into(),
            json!(1),
            "Columns is",
        ),
        ("bfdprofiles", format!("{root}/spec/properties/more"), json!({}), "spec.more: only ours"),
        (
            "bfdprofiles",
            format!("{root}/spec/properties/echoInterval/maximum"),
            json!(9),
            "maximum is 60000.0, 9.0",
        ),
        (
            "bfdprofiles",
            format!("{root}/spec/properties/echoMode/type"),
            json!("string"),
            "echoMode: type is",
        ),
        ("bfdprofiles", format!("{root}/spec/required"), json!(["echoMode"]), "spec: required is null"),
        (
            "bgppeers",
            format!("{root}/spec/properties/peerPort/default"),
            json!(1),
            "peerPort: default is 179, 1",
        ),
        (
            "bgppeers",
            format!("{root}/spec/properties/dynamicASN/enum"),
            json!(["any"]),
            "dynamicASN: enum is",
        ),
        (
            "bgppeers",
            format!("{root}/spec/properties/connectTime/x-kubernetes-validations"),
            json!([]),
            "rules",
        ),
        ("bgppeers", "/spec/versions/1/served".into(), json!(false), "v1beta1: served is true, false"),
        ("bgppeers", "/spec/conversion/strategy".into(), json!("Webhook"), "conversion is"),
        (
            "configurationstates",
            format!("{root}/status/properties/conditions/items/properties/reason/pattern"),
            json!("^.$"),
            "status.conditions[].reason: pattern is",
        ),
        (
            "configurationstates",
            format!("{root}/status/properties/conditions/x-kubernetes-list-type"),
            json!("atomic"),
            "status.conditions: x-kubernetes-list-type is",
        ),
    ] {
        let mut changed = ours();
        let crd = changed.iter_mut().find(|crd| name(crd).starts_with(definition)).unwrap();
        let (parent, field) = path.rsplit_once('/').unwrap();
        crd.pointer_mut(parent).expect(parent)[field] = value;
        let found = differences(&unchanged, &changed);
        assert!(found.len() == 1 && found[0].contains(expected), "{path}: {expected}: {found:?}");
    }
    assert_eq!(
        differences(&unchanged[1..], &unchanged[..8]),
        ["bfdprofiles.metallb.io: only ours", "servicel2statuses.metallb.io: only theirs"]
    );
}
