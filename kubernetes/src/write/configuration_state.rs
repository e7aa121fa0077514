//! `ConfigurationState`: one object for the controllers and one for each speaker. When it is written, and what, is decided
//! in `state::machine`; one call is one request.

use kube::{Api, api::Patch};
use serde_json::{Value, json};

use super::{
    WriteError, Writer,
    api::{answered, apply_as},
};
use crate::{
    api::ConfigurationState,
    state::{Program, machine::Write},
};

pub(super) async fn write(
    writer: &Writer,
    program: &Program,
    write: &Write,
) -> Result<ConfigurationState, WriteError> {
    let api: Api<ConfigurationState> = Api::namespaced(writer.client.clone(), &writer.identity.namespace);
    let (name, apply) = (program.object(), apply_as(program.manager()));
    match write {
        Write::Metadata => {
            let mut metadata = json!({ "name": name, "labels": program.labels() });
            if let Some(owner) = writer.owner() {
                metadata["ownerReferences"] = json!([owner.reference()]);
            }
            answered(api.patch(&name, &apply, &Patch::Apply(document(&metadata)))).await
        }
        Write::Status(status) => {
            let mut document = document(&json!({ "name": name }));
            document["status"] = json!(status);
            answered(api.patch_status(&name, &apply, &Patch::Apply(document))).await
        }
    }
}

fn document(metadata: &Value) -> Value {
    json!({ "apiVersion": "metallb.io/v1beta1", "kind": "ConfigurationState", "metadata": metadata })
}
