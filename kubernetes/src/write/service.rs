//! The status of a Service, in one request where possible.
//!
//! Server-side apply on the `status` subresource carries the annotation as well: for Services that subresource
//! resets `spec` only. An annotation that another manager wrote survives being left out, so it is removed by a
//! JSON patch afterwards.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Service, apimachinery::pkg::apis::meta::v1::Time};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use landfall_model::{Assignment, Condition, IpMode, ServiceStatusWrite};
use serde_json::{Value, json};

use super::{WriteError, Writer, api::answered};
use crate::names::annotation::ALLOCATED_FROM;

pub(super) async fn write(writer: &Writer, write: &ServiceStatusWrite) -> Result<Box<str>, WriteError> {
    let api: Api<Service> = Api::namespaced(writer.client.clone(), &write.key.namespace);
    let earlier = if needs_transition_times(write) {
        transition_times(&answered(api.get(&write.key.name)).await?)
    } else {
        BTreeMap::new()
    };
    let document = document(write, &earlier, Timestamp::now());
    let mut written =
        answered(api.patch_status(&write.key.name, &writer.apply(), &Patch::Apply(document))).await?;
    if wants_no_annotation(&write.assignment)
        && written.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(ALLOCATED_FROM))
    {
        written = remove_annotation(writer, &api, &written, write).await?;
    }
    Ok(written.metadata.resource_version.unwrap_or_default().into())
}

/// Whether a condition stays as it was, so that the time of its last transition must be kept.
pub(super) fn needs_transition_times(write: &ServiceStatusWrite) -> bool {
    let stays = |new: &Condition| {
        write.observed_conditions.iter().any(|old| old.kind == new.kind && old.status == new.status)
    };
    write.conditions.iter().any(stays)
}

fn transition_times(service: &Service) -> BTreeMap<String, (String, Time)> {
    let conditions = service.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .map(|condition| {
            (condition.type_.clone(), (condition.status.clone(), condition.last_transition_time.clone()))
        })
        .collect()
}

/// The document for server-side apply. `earlier` has status and time of the last transition by condition type.
pub(super) fn document(
    write: &ServiceStatusWrite,
    earlier: &BTreeMap<String, (String, Time)>,
    now: Timestamp,
) -> Value {
    let mut metadata = json!({
        "namespace": write.key.namespace,
        "name": write.key.name,
        "uid": write.uid,
        "resourceVersion": write.resource_version,
    });
    let mut status = json!({});
    match &write.assignment {
        Assignment::Leave => {}
        Assignment::Release => status["loadBalancer"] = json!({ "ingress": [] }),
        Assignment::Set { ingress, pool } => {
            let entry = |(address, mode): &(std::net::IpAddr, IpMode)| json!({ "ip": address, "ipMode": mode.as_str() });
            status["loadBalancer"] = json!({ "ingress": ingress.iter().map(entry).collect::<Vec<_>>() });
            if let Some(pool) = pool {
                metadata["annotations"] = json!({ ALLOCATED_FROM: pool });
            }
        }
    }
    if !write.conditions.is_empty() {
        let conditions: Vec<Value> =
            write.conditions.iter().map(|condition| entry(condition, earlier, now)).collect();
        status["conditions"] = Value::Array(conditions);
    }
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "status": status })
}

fn entry(condition: &Condition, earlier: &BTreeMap<String, (String, Time)>, now: Timestamp) -> Value {
    let status = if condition.status { "True" } else { "False" };
    let since = match earlier.get(&*condition.kind) {
        Some((before, since)) if before == status => since.clone(),
        Some(_) | None => Time(now),
    };
    json!({
        "type": condition.kind,
        "status": status,
        "reason": condition.reason.as_str(),
        "message": condition.message,
        "observedGeneration": condition.generation,
        "lastTransitionTime": since,
    })
}

const fn wants_no_annotation(assignment: &Assignment) -> bool {
    match assignment {
        Assignment::Leave => false,
        Assignment::Release => true,
        Assignment::Set { pool, .. } => pool.is_none(),
    }
}

async fn remove_annotation(
    writer: &Writer,
    api: &Api<Service>,
    written: &Service,
    write: &ServiceStatusWrite,
) -> Result<Service, WriteError> {
    let path = format!("/metadata/annotations/{}", ALLOCATED_FROM.replace('~', "~0").replace('/', "~1"));
    let operations = json!([
        { "op": "test", "path": "/metadata/uid", "value": write.uid },
        { "op": "test", "path": "/metadata/resourceVersion", "value": written.metadata.resource_version },
        { "op": "remove", "path": path },
    ]);
    let patch = serde_json::from_value(operations).expect("invariant: the operations are a JSON patch");
    let parameters =
        PatchParams { field_manager: Some(writer.identity.manager.to_owned()), ..PatchParams::default() };
    answered(api.patch_status(&write.key.name, &parameters, &Patch::Json::<()>(patch))).await
}
