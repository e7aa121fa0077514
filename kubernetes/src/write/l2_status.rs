//! `ServiceL2Status`: one object for each node and Service, with a name made of both, so that no two speakers ever
//! write to the same one.

use std::{
    collections::BTreeMap,
    sync::{MutexGuard, PoisonError},
};

use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch},
};
use landfall_model::ServiceKey;
use serde_json::{Value, json};

use super::{L2Status, L2StatusFound, L2StatusWrite, WriteError, Writer, api::answered};
use crate::{
    api::ServiceL2Status,
    names::{annotation, digest, label, label_value},
};

pub(super) async fn write(writer: &Writer, write: &L2StatusWrite) -> Result<(), WriteError> {
    let name = object_name(&write.node, &write.service);
    let Some(wanted) = &write.status else {
        return delete(writer, &name).await;
    };
    let names: Vec<Value> = wanted.interfaces.iter().map(|name| json!({ "name": name })).collect();
    let status = json!({
        "apiVersion": "metallb.io/v1beta1",
        "kind": "ServiceL2Status",
        "metadata": { "name": name },
        "status": {
            "node": write.node,
            "serviceName": write.service.name,
            "serviceNamespace": write.service.namespace,
            "interfaces": names,
        },
    });
    let api = api(writer);
    let before = owned(writer).get(&name).cloned();
    let says = |L2Status { interfaces: _, announced_on, verification }: &L2Status| {
        (announced_on, verification) == (&wanted.announced_on, &wanted.verification)
    };
    if before.as_ref().is_some_and(says) {
        match answered(api.patch_status(&name, &writer.apply(), &Patch::Apply(&status))).await {
            Err(WriteError::Gone { .. }) => {}
            outcome => {
                outcome?;
                owned(writer).insert(name, wanted.clone());
                return Ok(());
            }
        }
    }
    let object = object(writer, write, &name, wanted);
    let found = answered(api.patch(&name, &writer.apply(), &Patch::Apply(&object))).await?;
    // Mostly only what was found on the wire is new, which is an annotation. An object that was just made has no status.
    if found.status.is_none() || before.is_none_or(|before| before.interfaces != wanted.interfaces) {
        answered(api.patch_status(&name, &writer.apply(), &Patch::Apply(&status))).await?;
    }
    owned(writer).insert(name, wanted.clone());
    Ok(())
}

pub(super) async fn delete(writer: &Writer, name: &str) -> Result<(), WriteError> {
    owned(writer).remove(name);
    match answered(api(writer).delete(name, &DeleteParams::default())).await {
        Ok(_) | Err(WriteError::Gone { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

pub(super) async fn list(writer: &Writer, node: &str) -> Result<Vec<L2StatusFound>, WriteError> {
    let of_node = ListParams::default().labels(&format!("{}={}", label::STATUS_NODE, label_value(node)));
    let all = answered(api(writer).list(&of_node)).await?;
    let found = |object: ServiceL2Status| {
        let name = object.name_any();
        let of = |key: &str| object.labels().get(key).cloned().unwrap_or_default();
        let status = object.status.clone().unwrap_or_default();
        let service = ServiceKey::new(
            &status.service_namespace.unwrap_or_else(|| of(label::STATUS_NAMESPACE)),
            &status.service_name.unwrap_or_else(|| of(label::STATUS_SERVICE)),
        );
        let ours = name == object_name(node, &service);
        L2StatusFound { name: name.into(), service, ours }
    };
    Ok(all.items.into_iter().map(found).collect())
}

/// The name of the object for `node` and `service`.
pub(super) fn object_name(node: &str, service: &ServiceKey) -> String {
    format!("l2-{}", digest(&[node, &service.namespace, &service.name]))
}

fn object(writer: &Writer, write: &L2StatusWrite, name: &str, wanted: &L2Status) -> Value {
    let mut metadata = json!({
        "name": name,
        "labels": {
            label::STATUS_NODE: label_value(&write.node),
            label::STATUS_SERVICE: label_value(&write.service.name),
            label::STATUS_NAMESPACE: label_value(&write.service.namespace),
        },
        "annotations": { annotation::ANNOUNCED_ON: wanted.announced_on },
    });
    if let Some(verification) = &wanted.verification {
        metadata["annotations"][annotation::VERIFIED] = json!(json!(verification).to_string());
    }
    if let Some(owner) = writer.owner() {
        metadata["ownerReferences"] = json!([owner.reference()]);
    }
    json!({ "apiVersion": "metallb.io/v1beta1", "kind": "ServiceL2Status", "metadata": metadata, "spec": {} })
}

fn api(writer: &Writer) -> Api<ServiceL2Status> {
    Api::namespaced(writer.client.clone(), &writer.identity.namespace)
}

fn owned(writer: &Writer) -> MutexGuard<'_, BTreeMap<String, L2Status>> {
    writer.owned.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_node_and_service_apart() {
        let web = ServiceKey::new("shop", "web");
        let name = object_name("n1", &web);
        assert_eq!(name, object_name("n1", &web));
        assert_ne!(name, object_name("n2", &web));
        assert_ne!(
            object_name("a", &ServiceKey::new("b", "cd")),
            object_name("a", &ServiceKey::new("bc", "d"))
        );
    }
}
