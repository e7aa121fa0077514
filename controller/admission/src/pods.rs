//! What becomes of a new Pod: it waits for its target groups. Pure; the rest of the Pod is as it was.

use kube::core::{
    DynamicObject, ResourceExt as _,
    admission::{AdmissionRequest, AdmissionResponse, Operation},
};
use landfall_aws_plan::Gates;
use serde_json::{Value, json};

/// The label of the namespaces whose Pods wait, as the AWS Load Balancer Controller has it.
pub(crate) const LABEL: (&str, &str) = ("elbv2.k8s.aws/pod-readiness-gate-inject", "enabled");

/// The answer, and whether the Pod gets a gate. It is always let in.
pub(crate) fn gated(request: &AdmissionRequest<DynamicObject>, gates: &Gates) -> (AdmissionResponse, bool) {
    let response = AdmissionResponse::from(request);
    let operations = patch(request, gates);
    if operations.is_empty() {
        return (response, false);
    }
    let patched = serde_json::from_value(Value::Array(operations)).map(|patch| response.with_patch(patch));
    match patched {
        Ok(Ok(response)) => (response, true),
        Ok(Err(_)) | Err(_) => (AdmissionResponse::from(request), false),
    }
}

/// The operations of a JSON patch (RFC 6902) that add the gates which the Pod has not.
fn patch(request: &AdmissionRequest<DynamicObject>, gates: &Gates) -> Vec<Value> {
    let Some(pod) = request.object.as_ref().filter(|_| request.operation == Operation::Create) else {
        return Vec::new();
    };
    let there = pod.data["spec"]["readinessGates"].as_array().map(Vec::as_slice);
    let has = |gate: &str| there.into_iter().flatten().any(|one| one["conditionType"] == gate);
    let wanted = gates.of_pod(request.namespace.as_deref().unwrap_or_default(), pod.labels());
    let missing: Vec<Value> =
        wanted.into_iter().filter(|gate| !has(gate)).map(|gate| json!({ "conditionType": gate })).collect();
    match there {
        _ if missing.is_empty() => Vec::new(),
        None => vec![json!({ "op": "add", "path": "/spec/readinessGates", "value": missing })],
        Some(_) => missing
            .into_iter()
            .map(|gate| json!({ "op": "add", "path": "/spec/readinessGates/-", "value": gate }))
            .collect(),
    }
}

#[cfg(test)]
mod tests;
