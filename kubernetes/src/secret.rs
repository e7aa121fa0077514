//! The one Secret that the controller creates: the key of the speakers' heartbeats.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, api::PostParams};

use crate::{names::manager, write::WriteError};

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
    let ours = PostParams { field_manager: Some(manager::CONTROLLER.to_owned()), ..PostParams::default() };
    match api.create(&ours, &secret).await.map_err(WriteError::from) {
        Ok(_) => Ok(true),
        Err(WriteError::Conflict { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
