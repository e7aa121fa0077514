use std::{borrow::Cow, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use landfall_model::{Invalid, Reason, ServiceKey};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Value, json};

use super::kind::Kind;

/// What an object turned out to be: a value, nothing of interest, or not valid.
pub(super) type Outcome<M> = Result<Option<M>, Invalid>;

/// An object that was converted while it was parsed. Parsing it never fails: one object that cannot be read must
/// not hide all the others of a list.
pub(super) struct Seen<K: Kind> {
    meta: ObjectMeta,
    pub(super) outcome: Outcome<K::Model>,
}

impl<K: Kind> Seen<K> {
    /// Reads an object from its JSON form.
    pub(super) fn from_value(mut value: Value) -> Self {
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        let text = |field: &str| value["metadata"][field].as_str().map(str::to_owned);
        let meta = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        let object = read::<K::Object>(K::KIND, value, K::SPEC_OPTIONAL);
        Self { meta, outcome: object.and_then(|object| K::convert(&object)) }
    }

    /// Namespace and name; the namespace is empty for objects without one.
    pub(super) fn key(&self) -> ServiceKey {
        ServiceKey::new(
            self.meta.namespace.as_deref().unwrap_or_default(),
            self.meta.name.as_deref().unwrap_or_default(),
        )
    }
}

/// An object of a kind from its JSON form.
///
/// # Errors
/// Names the field that has not the shape that its schema asks for.
pub(super) fn read<T: DeserializeOwned>(
    kind: &str,
    mut value: Value,
    spec_optional: bool,
) -> Result<T, Invalid> {
    if spec_optional && let Some(object) = value.as_object_mut() {
        object.retain(|field, value| field != "spec" || !value.is_null());
        object.entry("spec").or_insert_with(|| json!({}));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let field = error.path().to_string();
        let field = if field == "." { String::new() } else { field };
        let message = format!("{}; see the schema of {kind}", error.inner());
        Invalid { field: field.into(), reason: Reason::InvalidValue, message: message.into() }
    })
}

impl<'de, K: Kind> Deserialize<'de> for Seen<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from_value)
    }
}

impl<K: Kind> Clone for Seen<K> {
    fn clone(&self) -> Self {
        Self { meta: self.meta.clone(), outcome: self.outcome.clone() }
    }
}

impl<K: Kind> fmt::Debug for Seen<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(K::KIND).field("name", &self.meta.name).field("outcome", &self.outcome).finish()
    }
}

impl<K: Kind> Resource for Seen<K> {
    type DynamicType = ();
    type Scope = <K::Object as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::Object::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::Object::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::Object::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::Object::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}
