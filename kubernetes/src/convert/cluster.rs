use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use landfall_model::{Invalid, Labels, NodeView, SpeakerView};

use super::object_name;
use crate::names::taint;

/// A Node. Addresses that cannot be read are left out: the kubelet wrote them, and the others still count.
///
/// # Errors
/// When it has no name.
pub fn node(object: &Node) -> Result<NodeView, Invalid> {
    let status = object.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let condition =
        |kind: &str| conditions.into_iter().flatten().any(|one| one.type_ == kind && one.status == "True");
    let addresses = status.and_then(|status| status.addresses.as_ref()).into_iter().flatten();
    let taints = object.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    Ok(NodeView {
        name: object_name(object.metadata.name.as_ref())?,
        labels: object.metadata.labels.clone().unwrap_or_default(),
        addresses: addresses
            .filter(|address| address.type_ == "InternalIP")
            .filter_map(|address| address.address.parse().ok())
            .collect(),
        ready: condition("Ready"),
        network_unavailable: condition("NetworkUnavailable"),
        leaving: taints
            .into_iter()
            .flatten()
            .any(|taint| taint.key == taint::OUT_OF_SERVICE || taint.key == taint::TO_BE_DELETED),
    })
}

/// The labels of a Namespace.
#[must_use]
pub fn namespace(object: &Namespace) -> Labels {
    object.metadata.labels.clone().unwrap_or_default()
}

/// The speaker that runs in a Pod. `None` while it has no node or address, and once all its containers have ended.
#[must_use]
pub fn speaker(object: &Pod) -> Option<SpeakerView> {
    let node = object.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())?;
    let status = object.status.as_ref()?;
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    let mut addresses: Vec<IpAddr> =
        status.pod_ips.iter().flatten().filter_map(|entry| entry.ip.parse().ok()).collect();
    if addresses.is_empty() {
        addresses.extend(status.pod_ip.as_deref().and_then(|text| text.parse::<IpAddr>().ok()));
    }
    (!addresses.is_empty()).then(|| SpeakerView { node: node.into(), addresses })
}
