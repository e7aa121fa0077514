//! The one Secret that the controller creates: the key of the speakers' heartbeats.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client};

use crate::write::{WriteError, create_once};

/// Creates the Secret `name` with `bytes` under `key`, unless it exists. An existing one is never read or changed,
/// so that no right to read Secrets is needed, and whoever made it decides what it holds.
///
/// Returns whether it was created.
///
/// # Errors
/// See [`WriteError`].
pub async fn ensure_secret(
    client: Client,
    namespace: &str,
    name: &str,
    key: &str,
    bytes: &[u8],
) -> Result<bool, WriteError> {
    let api: Api<Secret> = Api::namespaced(client, namespace);
    let secret = Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        data: Some(BTreeMap::from([(key.to_owned(), ByteString(bytes.to_vec()))])),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    };
    create_once(&api, &secret).await
}
