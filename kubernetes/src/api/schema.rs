use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use super::{IPAddressPool, L2Advertisement, ServiceL2Status};

/// The definitions of every kind, ordered by name.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut all = vec![IPAddressPool::crd(), L2Advertisement::crd(), ServiceL2Status::crd()];
    all.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    for crd in &mut all {
        for version in &mut crd.spec.versions {
            if let Some(schema) =
                version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut())
            {
                forbid_null(schema);
                if crd.spec.names.kind == "L2Advertisement" {
                    spec_is_optional(schema);
                }
            }
        }
    }
    all
}

/// The definitions as files: name and YAML text of each, ordered by name. `deploy/crds` holds them.
#[must_use]
pub fn crd_files() -> Vec<(String, String)> {
    crds()
        .iter()
        .map(|crd| {
            let name = format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural);
            let text =
                serde_saphyr::to_string(crd).expect("invariant: a definition is a plain tree of values");
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

/// Makes `spec` optional: without it an advertisement is for everything.
fn spec_is_optional(schema: &mut JSONSchemaProps) {
    if let Some(required) = &mut schema.required {
        required.retain(|field| field != "spec");
    }
    schema.required.take_if(|required| required.is_empty());
}

/// Removes `nullable`, which the derived schema puts on every optional field. Without it the API server drops a
/// null and applies the default, so that nobody has to treat `null` as a third value.
fn forbid_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
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
