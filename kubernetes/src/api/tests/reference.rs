//! docs/reference/custom-resources.md, written from the definitions. `LANDFALL_BLESS=1` writes it anew.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaPropsOrArray;

use super::*;
use crate::golden;

const HEAD: &str = "\
# Custom resources

Written from the definitions by a test; do not edit. `LANDFALL_BLESS=1 cargo test -p landfall-kubernetes` writes it anew.
`kubectl explain` shows the same. `[]` stands for the items of a list; **required** ones must be given with what holds them.
";

#[test]
fn the_reference_of_custom_resources_is_that_of_the_code() {
    golden::is_up_to_date("../docs/reference/custom-resources.md", &text());
}

fn text() -> String {
    let mut text = HEAD.to_owned();
    for definition in crds() {
        let names = &definition.spec.names;
        let short = names.short_names.iter().flatten().map(|name| format!(", `{name}`")).collect::<String>();
        let _ = write!(text, "\n## {}\n\n`{}.{}`{short}\n", names.kind, names.plural, definition.spec.group);
        for version in &definition.spec.versions {
            let served = if version.served { "" } else { ", not served" };
            let stored = if version.storage { ", stored" } else { "" };
            let _ = write!(text, "\n### {}/{}{stored}{served}\n\n", definition.spec.group, version.name);
            text.push_str("| Field | Type | Default | Meaning |\n| --- | --- | --- | --- |\n");
            let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
            for part in ["spec", "status"] {
                if let Some(schema) = schema.and_then(|schema| schema.properties.as_ref()?.get(part)) {
                    rows(&mut text, part, schema);
                }
            }
        }
    }
    text
}

/// The fields below `path`, each followed by those below it.
fn rows(text: &mut String, path: &str, schema: &JSONSchemaProps) {
    let required = schema.required.as_deref().unwrap_or_default();
    for (name, field) in schema.properties.iter().flatten() {
        let must = if required.contains(name) { "**required** " } else { "" };
        let (kind, path, inner) = described(&format!("{path}.{name}"), field);
        let default = field.default.as_ref().map(|value| format!("`{}`", value.0)).unwrap_or_default();
        let meaning = field.description.as_deref().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
        let _ = writeln!(text, "| `{path}` | {must}{kind} | {default} | {meaning} |");
        rows(text, &path, inner);
    }
}

/// Type and full path of a field, and the schema that has its fields.
fn described<'a>(path: &str, field: &'a JSONSchemaProps) -> (String, String, &'a JSONSchemaProps) {
    let kind = field.type_.clone().unwrap_or_else(|| "integer or string".to_owned());
    let limits = limits(field);
    match &field.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => {
            let of = items.type_.as_deref().unwrap_or("value");
            (format!("list of {of}{limits}"), format!("{path}[]"), items)
        }
        Some(JSONSchemaPropsOrArray::Schemas(_)) | None => {
            (format!("{kind}{limits}"), path.to_owned(), field)
        }
    }
}

fn limits(field: &JSONSchemaProps) -> String {
    let number = |value: f64| if value.fract() == 0.0 { format!("{value:.0}") } else { value.to_string() };
    let mut limits = Vec::new();
    match (field.minimum, field.maximum) {
        (Some(low), Some(high)) => limits.push(format!("{} to {}", number(low), number(high))),
        (Some(low), None) => limits.push(format!("from {}", number(low))),
        (None, Some(high)) => limits.push(format!("up to {}", number(high))),
        (None, None) => {}
    }
    if let Some(values) = &field.enum_ {
        limits.push(values.iter().map(|value| format!("`{}`", value.0)).collect::<Vec<_>>().join(", "));
    }
    limits.extend(field.format.clone());
    if limits.is_empty() { String::new() } else { format!(", {}", limits.join(", ")) }
}
