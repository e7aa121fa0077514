use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::{
    api::core::v1::{LoadBalancerIngress, Service, ServicePort, ServiceSpec},
    apimachinery::pkg::apis::meta::v1 as meta,
};
use landfall_model::{
    Condition, Family, FamilyPolicy, Forwarding, HealthCheck, Ingress, Invalid, IpMode, NodePort, PortSpec,
    PreferredNode, Protocol, Reason, Requests, ServiceKey, ServiceView, TrafficPolicy,
};

use super::{invalid, object_name};
use crate::names::{annotation, condition};

/// A Service. What its annotations say is kept as written: the planner judges it.
///
/// # Errors
/// When it has no name, or a port has an unknown protocol or number. The API server lets neither through.
pub fn service(object: &Service) -> Result<ServiceView, Invalid> {
    let metadata = &object.metadata;
    let name = object_name(metadata.name.as_ref())?;
    let empty = ServiceSpec::default();
    let spec = object.spec.as_ref().unwrap_or(&empty);
    let status = object.status.as_ref();
    let ingress = status.and_then(|status| status.load_balancer.as_ref()).and_then(|lb| lb.ingress.as_ref());
    let conditions = status.and_then(|status| status.conditions.as_ref());
    Ok(ServiceView {
        key: ServiceKey { namespace: text(metadata.namespace.as_ref()), name },
        uid: text(metadata.uid.as_ref()),
        resource_version: text(metadata.resource_version.as_ref()),
        generation: metadata.generation.unwrap_or(0),
        created: metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
        deleting: metadata.deletion_timestamp.is_some(),
        load_balancer: spec.type_.as_deref() == Some("LoadBalancer"),
        class: filled(spec.load_balancer_class.as_ref()),
        labels: metadata.labels.clone().unwrap_or_default(),
        requests: requests(metadata.annotations.as_ref(), spec),
        cluster_families: cluster_families(spec),
        family_policy: match spec.ip_family_policy.as_deref() {
            Some("PreferDualStack") => FamilyPolicy::PreferDualStack,
            Some("RequireDualStack") => FamilyPolicy::RequireDualStack,
            Some(_) | None => FamilyPolicy::SingleStack,
        },
        traffic_policy: match spec.external_traffic_policy.as_deref() {
            Some("Local") => TrafficPolicy::Local,
            Some(_) | None => TrafficPolicy::Cluster,
        },
        client_affinity: spec.session_affinity.as_deref() == Some("ClientIP"),
        selector: spec.selector.clone().unwrap_or_default(),
        ports: ports(spec)?,
        health_check_node_port: node_port("spec.healthCheckNodePort", spec.health_check_node_port)?,
        ingress: ingress.into_iter().flatten().map(ingress_entry).collect(),
        conditions: conditions.into_iter().flatten().filter_map(own_condition).collect(),
    })
}

fn requests(annotations: Option<&BTreeMap<String, String>>, spec: &ServiceSpec) -> Requests {
    let get = |prefix: &str, key: &str| annotations.and_then(|all| all.get(&format!("{prefix}{key}")));
    let either = |key: &str| {
        let value = get(annotation::PREFIX, key).or_else(|| get(annotation::LEGACY_PREFIX, key));
        value.map(|value| Box::from(value.as_str()))
    };
    let asked = |value: Option<Box<str>>| value.filter(|value| !value.is_empty());
    Requests {
        pool: asked(either(annotation::ADDRESS_POOL)),
        addresses: asked(either(annotation::LOAD_BALANCER_IPS)),
        sharing_key: either(annotation::ALLOW_SHARED_IP),
        load_balancer_ip: filled(spec.load_balancer_ip.as_ref()),
        allocated_from: get("", annotation::ALLOCATED_FROM).map(|value| value.as_str().into()),
        forwarding: get("", annotation::FORWARDING)
            .map(|value| Forwarding::parse(value).ok_or_else(|| value.as_str().into())),
        health_check: get("", annotation::HEALTH_CHECK)
            .map(|value| HealthCheck::parse(value).ok_or_else(|| value.as_str().into())),
        preferred_node: asked(get("", annotation::PREFERRED_NODE).map(|node| node.as_str().into())).map(
            |node| {
                let requested = get("", annotation::MOVE_REQUESTED).map(String::as_str).unwrap_or_default();
                PreferredNode { node, requested: requested.into() }
            },
        ),
        deprecated_annotation: annotations
            .into_iter()
            .flatten()
            .any(|(key, _)| key.starts_with(annotation::LEGACY_PREFIX)),
        aws: annotations.and_then(landfall_aws_plan::annotated).unwrap_or(false),
    }
}

fn cluster_families(spec: &ServiceSpec) -> Vec<Family> {
    let listed = spec.cluster_ips.as_deref().unwrap_or_default();
    let single = spec.cluster_ip.as_slice();
    let addresses = if listed.is_empty() { single } else { listed };
    addresses.iter().filter_map(|text| text.parse::<IpAddr>().ok()).map(Family::of).collect()
}

fn ports(spec: &ServiceSpec) -> Result<Vec<PortSpec>, Invalid> {
    let ports = spec.ports.as_deref().unwrap_or_default();
    ports.iter().enumerate().map(|(index, port)| port_spec(&format!("spec.ports[{index}]"), port)).collect()
}

fn port_spec(field: &str, written: &ServicePort) -> Result<PortSpec, Invalid> {
    let Some(port) = u16::try_from(written.port).ok().filter(|port| *port != 0) else {
        let message = format!("{} is not a port; use 1 to 65535", written.port);
        return Err(invalid(Reason::InvalidValue, format!("{field}.port"), message));
    };
    let protocol = match &written.protocol {
        Some(text) => protocol(&format!("{field}.protocol"), text)?,
        None => Protocol::Tcp,
    };
    Ok(PortSpec {
        name: text(written.name.as_ref()),
        protocol,
        port,
        node_port: node_port(&format!("{field}.nodePort"), written.node_port)?,
    })
}

/// A transport protocol by its name in the API; `field` is its path.
pub(super) fn protocol(field: &str, text: &str) -> Result<Protocol, Invalid> {
    [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
        .into_iter()
        .find(|protocol| protocol.as_str() == text)
        .ok_or_else(|| {
            invalid(Reason::InvalidValue, field, format!("{text:?} is not a protocol; use TCP, UDP or SCTP"))
        })
}

/// A node port; 0 stands for none.
fn node_port(field: &str, number: Option<i32>) -> Result<Option<NodePort>, Invalid> {
    match number.unwrap_or(0) {
        0 => Ok(None),
        number => u16::try_from(number).map(|port| Some(NodePort(port))).map_err(|_| {
            invalid(Reason::InvalidValue, field, format!("{number} is not a port; use 1 to 65535"))
        }),
    }
}

fn ingress_entry(entry: &LoadBalancerIngress) -> Ingress {
    match entry.ip.as_deref().map(|ip| (ip, ip.parse())) {
        Some((_, Ok(address))) => {
            let mode = if entry.ip_mode.as_deref() == Some("Proxy") { IpMode::Proxy } else { IpMode::Vip };
            Ingress::Address { address, mode }
        }
        Some((unreadable, Err(_))) => Ingress::Unreadable(unreadable.into()),
        None => match entry.hostname.as_deref() {
            Some(hostname) => Ingress::Other(hostname.into()),
            None => Ingress::Unreadable(Box::default()),
        },
    }
}

/// One of our conditions. Those of others, and those that no version of ours writes, are left out.
fn own_condition(written: &meta::Condition) -> Option<Condition> {
    if !written.type_.starts_with(condition::PREFIX) {
        return None;
    }
    let status = match written.status.as_str() {
        "True" => true,
        "False" => false,
        _ => return None,
    };
    Some(Condition {
        kind: written.type_.as_str().into(),
        status,
        reason: Reason::parse(&written.reason)?,
        message: written.message.as_str().into(),
        generation: written.observed_generation.unwrap_or(0),
    })
}

fn text(value: Option<&String>) -> Box<str> {
    value.map(String::as_str).unwrap_or_default().into()
}

fn filled(value: Option<&String>) -> Option<Box<str>> {
    value.filter(|value| !value.is_empty()).map(|value| value.as_str().into())
}
