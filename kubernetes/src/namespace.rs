//! The namespace of Landfall's own objects, where no manifest has made it.

use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client};

use crate::write::{WriteError, create_once};

/// Creates the Namespace `name`, unless it exists. Returns whether it was created.
///
/// # Errors
/// See [`WriteError`].
pub async fn ensure_namespace(client: &Client, name: &str) -> Result<bool, WriteError> {
    let api: Api<Namespace> = Api::all(client.clone());
    // Who may only read it needs no right to create it.
    if api.get_metadata_opt(name).await.map_err(WriteError::from)?.is_some() {
        return Ok(false);
    }
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    create_once(&api, &Namespace { metadata, ..Namespace::default() }).await
}
