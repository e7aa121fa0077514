use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
    JSONSchemaPropsOrBool,
};
use kube::{CustomResourceExt, core::crd::merge_crds};
use serde_json::{Value, json};

use super::{
    BFDProfile, BGPAdvertisement, BGPPeer, BGPPeerV1Beta1, Community, ConfigurationState, IPAddressPool,
    L2Advertisement, ServiceBGPStatus, ServiceL2Status,
};

/// The definitions of every kind, ordered by name.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut all = vec![
        BFDProfile::crd(),
        BGPAdvertisement::crd(),
        bgp_peer(),
        Community::crd(),
        ConfigurationState::crd(),
        IPAddressPool::crd(),
        L2Advertisement::crd(),
        ServiceBGPStatus::crd(),
        ServiceL2Status::crd(),
    ];
    all.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    for crd in &mut all {
        let kind = crd.spec.names.kind.as_str();
        for version in &mut crd.spec.versions {
            if let Some(schema) =
                version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut())
            {
                forbid_null(schema);
                match kind {
                    "BFDProfile" | "BGPAdvertisement" | "BGPPeer" | "Community" | "L2Advertisement" => {
                        spec_is_optional(schema);
                    }
                    "ServiceBGPStatus" | "ServiceL2Status" => spec_is_filled_in(schema),
                    // A pool without addresses means nothing.
                    _ => {}
                }
            }
        }
    }
    all
}

/// Both versions of `BGPPeer`. Objects are kept as `v1beta2`. No webhook converts: the API server reads an object of one
/// version as if it were of the other and leaves out what that has no field for. This fits, since the old version has no
/// field that the new one lacks, and none of another type: docs/decisions/0012.
fn bgp_peer() -> CustomResourceDefinition {
    let mut crd = merge_crds(vec![BGPPeer::crd(), BGPPeerV1Beta1::crd()], "v1beta2")
        .expect("invariant: the versions of a kind differ in nothing but their schema");
    crd.spec.conversion = Some(CustomResourceConversion { strategy: "None".to_owned(), webhook: None });
    crd
}

/// The definitions as files: name and YAML text of each, ordered by name. `deploy/crds` holds them.
#[must_use]
pub fn crd_files() -> Vec<(String, String)> {
    crds()
        .iter()
        .map(|crd| {
            let name = format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural);
            let mut tree = json!(crd);
            // `kubectl apply` removes MetalLB's webhook, whoever has put it there, only where it is told to.
            if let Some(conversion) = tree.pointer_mut("/spec/conversion") {
                conversion["webhook"] = Value::Null;
            }
            let text =
                serde_saphyr::to_string(&tree).expect("invariant: a definition is a plain tree of values");
            (name, text)
        })
        .collect()
}

/// All definitions as one YAML stream, ordered by name.
#[must_use]
pub fn crds_yaml() -> String {
    crd_files().iter().fold(String::new(), |mut stream, (_, text)| {
        write!(stream, "---\n{text}").expect("invariant: writing to a string does not fail");
        stream
    })
}

/// Makes `spec` optional, as MetalLB has it: without it an advertisement is for everything, a profile has only
/// defaults, no community has a name, and a peer is refused when it is read, not when it is stored.
fn spec_is_optional(schema: &mut JSONSchemaProps) {
    if let Some(required) = &mut schema.required {
        required.retain(|field| field != "spec");
    }
    schema.required.take_if(|required| required.is_empty());
}

/// Makes `spec` optional and lets the API server fill in an empty one: what only reports may come without it.
fn spec_is_filled_in(schema: &mut JSONSchemaProps) {
    spec_is_optional(schema);
    if let Some(spec) = schema.properties.as_mut().and_then(|properties| properties.get_mut("spec")) {
        spec.default = Some(JSON(json!({})));
    }
}

/// Removes `nullable`, and null from enumerations: the derived schema has both on optional fields. Without them the
/// API server drops a null and applies the default, so that nobody has to treat `null` as a third value.
fn forbid_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if let Some(values) = &mut schema.enum_ {
        values.retain(|JSON(value)| !value.is_null());
    }
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        forbid_null(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => forbid_null(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(forbid_null),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        forbid_null(values);
    }
}
