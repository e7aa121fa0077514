//! Asks the speakers for another owner of a Service's addresses.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use landfall_model::ServiceKey;
use serde_json::json;

use crate::{
    names::{annotation, manager},
    write::WriteError,
};

/// Names the node that should announce a Service, as a new request also where it is named already; without a node, takes
/// that back. The speakers do the rest.
///
/// # Errors
/// When there is no such Service, or it may not be written.
pub async fn prefer(client: &Client, service: &ServiceKey, node: Option<&str>) -> Result<(), WriteError> {
    let api: Api<Service> = Api::namespaced(client.clone(), &service.namespace);
    let requested = node.map(|_| Timestamp::now().to_string());
    let annotations = json!({ annotation::PREFERRED_NODE: node, annotation::MOVE_REQUESTED: requested });
    let parameters = PatchParams { field_manager: Some(manager::MOVE.to_owned()), ..PatchParams::default() };
    // An apply would leave what somebody else has annotated.
    let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
    api.patch_metadata(&service.name, &parameters, &patch).await?;
    Ok(())
}
