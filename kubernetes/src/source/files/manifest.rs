//! Documents of a manifest file, and what an API server would have added to them. Pure.

use std::net::IpAddr;

use landfall_model::{Family, FamilyPolicy, ServiceKey, ServiceView};
use serde_json::{Value, json};

use crate::{
    names::label,
    overlay::{FIRST_VERSION, Overlay},
    source::{
        kind::{EndpointSlices, Kind as _, L2Advertisements, Namespaces, Nodes, Pools, Services, Speakers},
        seen::{Outcome, Seen},
    },
};

/// Kinds without a namespace.
const CLUSTER_SCOPED: &[&str] = &["Node", "Namespace"];

/// Kinds whose names matter: they become names of files, of nodes and in labels.
const READ: &[&str] = &[
    Services::KIND,
    Pools::KIND,
    L2Advertisements::KIND,
    Nodes::KIND,
    EndpointSlices::KIND,
    Namespaces::KIND,
    Speakers::KIND,
];

/// How many scalars and collections aliases (`*name`) may stand for in one file: enough for what people share between
/// objects, and too little for some lines that stand for gigabytes.
const ALIASED: usize = 10_000;

/// The documents of a file, with `List` objects opened and with every field of the metadata that names an object.
///
/// # Errors
/// When the text is not YAML or JSON, or a document is not an object with kind and name.
pub fn parse(text: &str) -> Result<Vec<Value>, String> {
    open(text)?.into_iter().map(|(place, object)| named(object, &place)).collect()
}

/// The documents of a file as they are, with `List` objects opened, each with its place for a message.
///
/// # Errors
/// When the text is not YAML or JSON.
pub(super) fn open(text: &str) -> Result<Vec<(String, Value)>, String> {
    let documents = match serde_json::from_str(text) {
        Ok(document) => vec![document],
        Err(_) => yaml(text)?,
    };
    let mut objects = Vec::new();
    for (index, document) in documents.into_iter().enumerate() {
        let place = format!("document {}", index + 1);
        if document.is_null() {
            continue;
        }
        if !is_list(&document) {
            objects.push((place, document));
            continue;
        }
        let Some(items) = document["items"].as_array() else {
            return Err(format!("{place} is a list without items; add or remove it"));
        };
        let items = items.iter().enumerate();
        objects.extend(items.map(|(position, item)| (format!("{place}, items[{position}]"), item.clone())));
    }
    Ok(objects)
}

/// What a text is made of is limited by its length, not by a number that a large cluster is above.
fn yaml(text: &str) -> Result<Vec<Value>, String> {
    let most = text.len().saturating_add(ALIASED);
    let options = serde_saphyr::options! {
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: ALIASED },
        budget: serde_saphyr::budget! {
            max_documents: most,
            max_nodes: most,
            max_events: most.saturating_mul(2),
            max_total_scalar_bytes: most,
        },
    };
    serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| format!("it is not valid YAML: {error}"))
}

fn is_list(object: &Value) -> bool {
    object["kind"].as_str().is_some_and(|kind| kind.ends_with("List"))
}

/// Checks that an object can be spoken of, and gives it the default namespace.
fn named(mut object: Value, place: &str) -> Result<Value, String> {
    let Some(kind) = object["kind"].as_str().map(str::to_owned) else {
        return Err(format!("{place} has no kind; every object needs apiVersion, kind and metadata.name"));
    };
    if object["metadata"]["name"].as_str().is_none_or(str::is_empty) {
        return Err(format!("{place} ({kind}) has no metadata.name; give the object one"));
    }
    let metadata = &mut object["metadata"];
    if CLUSTER_SCOPED.contains(&kind.as_str()) {
        if let Some(fields) = metadata.as_object_mut() {
            fields.remove("namespace");
        }
    } else if metadata["namespace"].as_str().is_none_or(str::is_empty) {
        metadata["namespace"] = json!("default");
    }
    if READ.contains(&kind.as_str()) {
        check_name(metadata, "name", true).map_err(|error| format!("{place} ({kind}): {error}"))?;
        check_name(metadata, "namespace", false).map_err(|error| format!("{place} ({kind}): {error}"))?;
    }
    Ok(object)
}

/// The rule of the API server (RFC 1123): a name without it could be a path to any file.
fn check_name(metadata: &Value, field: &str, dots: bool) -> Result<(), String> {
    let Some(name) = metadata[field].as_str() else { return Ok(()) };
    let letter = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let label = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|c| letter(c) || c == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    let valid =
        if dots { name.len() <= 253 && name.split('.').all(label) } else { name.len() <= 63 && label(name) };
    if valid {
        return Ok(());
    }
    let also = if dots { " and '.'" } else { "" };
    Err(format!(
        "metadata.{field} is {name:?}; use lower-case letters, digits, '-'{also}, as the API server asks for"
    ))
}

/// Kind, namespace and name of an object that [`parse`] returned.
pub(super) fn identity(object: &Value) -> (String, ServiceKey) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    (text(&object["kind"]), ServiceKey::new(&text(&metadata["namespace"]), &text(&metadata["name"])))
}

/// A Service with what was written about it.
pub(super) fn service(mut object: Value, overlay: Overlay) -> Outcome<ServiceView> {
    let (_, key) = identity(&object);
    let metadata = &mut object["metadata"];
    if metadata["uid"].as_str().is_none_or(str::is_empty) {
        metadata["uid"] = json!(format!("file:{key}"));
    }
    let written = !overlay.resource_version.is_empty();
    metadata["resourceVersion"] =
        json!(if written { overlay.resource_version.as_str() } else { FIRST_VERSION });
    if written {
        if metadata["annotations"].is_null() {
            metadata["annotations"] = json!({});
        }
        if let Some(annotations) = metadata["annotations"].as_object_mut() {
            annotations.extend(overlay.annotations.into_iter().map(|(key, value)| (key, json!(value))));
        }
        object["status"] = json!(overlay.status);
    }
    let families = asked_families(&object["spec"]);
    let headless = object["spec"]["clusterIP"] == "None";
    let mut view = Seen::<Services>::from_value(object).outcome?;
    if let Some(view) = &mut view
        && view.cluster_families.is_empty()
        && !headless
    {
        view.cluster_families = match (families.is_empty(), view.family_policy) {
            (false, _) => families,
            (true, FamilyPolicy::SingleStack) => vec![Family::V4],
            (true, FamilyPolicy::PreferDualStack | FamilyPolicy::RequireDualStack) => {
                vec![Family::V4, Family::V6]
            }
        };
    }
    Ok(view)
}

fn asked_families(spec: &Value) -> Vec<Family> {
    let names = spec["ipFamilies"].as_array().into_iter().flatten().filter_map(Value::as_str);
    names
        .filter_map(|name| [Family::V4, Family::V6].into_iter().find(|family| family.as_str() == name))
        .collect()
}

/// A Node of this name with these addresses.
pub(super) fn node(name: &str, addresses: &[IpAddr]) -> Value {
    let addresses: Vec<Value> =
        addresses.iter().map(|address| json!({ "type": "InternalIP", "address": address })).collect();
    json!({ "kind": "Node", "metadata": { "name": name }, "status": { "addresses": addresses } })
}

/// The Pod of the speaker on a Node, which has the Node's internal addresses.
pub(super) fn speaker_of(node: &Value) -> Value {
    let addresses = node["status"]["addresses"].as_array().into_iter().flatten();
    let internal = addresses.filter(|address| address["type"] == "InternalIP");
    let addresses: Vec<Value> = internal.map(|address| json!({ "ip": address["address"] })).collect();
    let name = &node["metadata"]["name"];
    json!({
        "kind": "Pod",
        "metadata": { "namespace": "", "name": name },
        "spec": { "nodeName": name },
        "status": { "podIPs": addresses },
    })
}

/// Gives a Namespace the label with its name, as the API server does.
pub(super) fn complete_namespace(object: &mut Value) {
    let metadata = &mut object["metadata"];
    let name = metadata["name"].clone();
    if metadata["labels"].is_null() {
        metadata["labels"] = json!({});
    }
    if let Some(labels) = metadata["labels"].as_object_mut() {
        labels.insert(label::NAMESPACE_NAME.to_owned(), name);
    }
}

/// Makes a Node without conditions ready: nobody but a kubelet could say so.
pub(super) fn complete_node(object: &mut Value) {
    if object["status"].is_null() {
        object["status"] = json!({});
    }
    if let Some(status) = object["status"].as_object_mut() {
        status.entry("conditions").or_insert_with(|| json!([{ "type": "Ready", "status": "True" }]));
    }
}
