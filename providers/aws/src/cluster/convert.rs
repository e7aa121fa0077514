//! Objects of Kubernetes as the plan reads them. What cannot be read is left out: the API server lets nothing through that
//! the plan could not do without.

use std::net::IpAddr;

use k8s_openapi::api::{
    core::v1::{self, NodeSpec, Pod, ServiceSpec},
    discovery::v1::EndpointSlice,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use landfall_aws_plan::{
    GatedPod, Node, PodEndpoint, READINESS_GATE, Readiness, Service, ServicePort, ServiceType, Taint,
    TargetPort,
};
use landfall_kubernetes::names::label;
use landfall_model::{Family, NodePort, Protocol, ServiceKey, TrafficPolicy};

/// A Service.
pub(crate) fn service(key: &ServiceKey, object: &v1::Service) -> Service {
    let none = ServiceSpec::default();
    let spec = object.spec.as_ref().unwrap_or(&none);
    let status = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    Service {
        key: key.clone(),
        uid: text(object.metadata.uid.as_ref()),
        deleting: object.metadata.deletion_timestamp.is_some(),
        kind: match spec.type_.as_deref() {
            Some("LoadBalancer") => ServiceType::LoadBalancer,
            Some("NodePort") => ServiceType::NodePort,
            Some("ExternalName") => ServiceType::ExternalName,
            Some(_) | None => ServiceType::ClusterIp,
        },
        class: spec.load_balancer_class.as_deref().filter(|class| !class.is_empty()).map(Into::into),
        annotations: object.metadata.annotations.clone().unwrap_or_default(),
        finalizers: object.metadata.finalizers.iter().flatten().map(|name| name.as_str().into()).collect(),
        families: spec.ip_families.iter().flatten().filter_map(|family| self::family(family)).collect(),
        traffic_policy: match spec.external_traffic_policy.as_deref() {
            Some("Local") => TrafficPolicy::Local,
            Some(_) | None => TrafficPolicy::Cluster,
        },
        source_ranges: spec.load_balancer_source_ranges.clone().unwrap_or_default(),
        ports: spec.ports.iter().flatten().filter_map(port).collect(),
        health_check_node_port: node_port(spec.health_check_node_port),
        hostnames: ingress.filter_map(|entry| entry.hostname.clone()).collect(),
    }
}

fn family(name: &str) -> Option<Family> {
    match name {
        "IPv4" => Some(Family::V4),
        "IPv6" => Some(Family::V6),
        _ => None,
    }
}

fn port(written: &v1::ServicePort) -> Option<ServicePort> {
    let name = written.protocol.as_deref().unwrap_or("TCP");
    let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    let port = u16::try_from(written.port).ok()?;
    Some(ServicePort {
        name: text(written.name.as_ref()),
        protocol: protocols.into_iter().find(|protocol| protocol.as_str() == name)?,
        port,
        target: match &written.target_port {
            Some(IntOrString::String(name)) => TargetPort::Name(name.as_str().into()),
            Some(IntOrString::Int(number)) => TargetPort::Number(u16::try_from(*number).ok()?),
            None => TargetPort::Number(port),
        },
        node_port: node_port(written.node_port),
    })
}

fn node_port(number: Option<i32>) -> Option<NodePort> {
    u16::try_from(number?).ok().filter(|number| *number != 0).map(NodePort)
}

/// A Node.
pub(crate) fn node(object: &v1::Node) -> Node {
    let none = NodeSpec::default();
    let spec = object.spec.as_ref().unwrap_or(&none);
    let conditions = object.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready");
    Node {
        name: text(object.metadata.name.as_ref()),
        labels: object
            .metadata
            .labels
            .iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        provider_id: text(spec.provider_id.as_ref()),
        taints: spec
            .taints
            .iter()
            .flatten()
            .map(|taint| Taint { key: taint.key.as_str().into(), effect: taint.effect.as_str().into() })
            .collect(),
        ready: match ready.map(|condition| condition.status.as_str()) {
            Some("True") => Readiness::Ready,
            Some("False") => Readiness::NotReady,
            Some(_) | None => Readiness::Unknown,
        },
    }
}

/// The Service of a slice, and its endpoints that are Pods: one for each port.
pub(super) fn slice(object: &EndpointSlice) -> Option<(Box<str>, Vec<PodEndpoint>)> {
    let service = object.metadata.labels.as_ref()?.get(label::SERVICE_NAME)?;
    let mut endpoints = Vec::new();
    for endpoint in &object.endpoints {
        let pod = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
        let name = pod.and_then(|pod| pod.name.as_deref());
        let address = endpoint.addresses.first().and_then(|address| address.parse::<IpAddr>().ok());
        let (Some(name), Some(address)) = (name, address) else { continue };
        let conditions = endpoint.conditions.as_ref();
        let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
        for port in object.ports.iter().flatten() {
            let Some(number) = port.port.and_then(|port| u16::try_from(port).ok()) else { continue };
            endpoints.push(PodEndpoint {
                pod: name.into(),
                address,
                node: endpoint.node_name.as_deref().map(Into::into),
                port_name: text(port.name.as_ref()),
                port: number,
                ready,
                serving: conditions.and_then(|conditions| conditions.serving).unwrap_or(ready),
                terminating: conditions.and_then(|conditions| conditions.terminating).unwrap_or(false),
                containers_ready: false,
                readiness_gates: Vec::new(),
            });
        }
    }
    Some((service.as_str().into(), endpoints))
}

/// A Pod that waits for target groups; `None` for all others.
pub(super) fn gated(object: &Pod) -> Option<GatedPod> {
    let gates = object.spec.as_ref()?.readiness_gates.iter().flatten();
    let gates =
        gates.map(|gate| gate.condition_type.as_str()).filter(|gate| gate.starts_with(READINESS_GATE));
    let gates: Vec<Box<str>> = gates.map(Into::into).collect();
    let conditions = object.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    let containers_ready =
        conditions.any(|condition| condition.type_ == "ContainersReady" && condition.status == "True");
    (!gates.is_empty()).then_some(GatedPod { containers_ready, gates })
}

fn text(value: Option<&String>) -> Box<str> {
    value.map(String::as_str).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_service_keeps_what_decides() {
        let object = read(json!({
            "metadata": { "uid": "u", "annotations": { "a": "b" }, "finalizers": ["f"] },
            "spec": {
                "type": "LoadBalancer", "loadBalancerClass": "service.k8s.aws/nlb", "ipFamilies": ["IPv6", "IPv4"],
                "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000,
                "loadBalancerSourceRanges": ["10.0.0.0/8"],
                "ports": [
                    { "name": "http", "port": 80, "targetPort": "web", "nodePort": 30080 },
                    { "name": "dns", "port": 53, "protocol": "UDP" }
                ],
            },
            "status": { "loadBalancer": { "ingress": [{ "hostname": "x.example.com" }] } },
        }));
        let service = service(&ServiceKey::new("shop", "web"), &object);
        assert_eq!((service.kind, service.deleting), (ServiceType::LoadBalancer, false));
        assert_eq!(service.families, [Family::V6, Family::V4]);
        assert_eq!(service.traffic_policy, TrafficPolicy::Local);
        assert_eq!(service.hostnames, ["x.example.com"]);
        assert_eq!(service.ports[0].target, TargetPort::Name("web".into()));
        assert_eq!(service.ports[1].target, TargetPort::Number(53));
        assert_eq!((service.ports[1].protocol, service.ports[1].node_port), (Protocol::Udp, None));
    }

    #[test]
    fn a_slice_has_an_endpoint_for_each_pod_and_port() {
        let object = read(json!({
            "metadata": { "labels": { "kubernetes.io/service-name": "web" } },
            "addressType": "IPv4",
            "ports": [{ "name": "http", "port": 8080 }, { "name": "admin", "port": 9090 }],
            "endpoints": [
                { "addresses": ["10.1.0.1"], "targetRef": { "kind": "Pod", "name": "a" }, "nodeName": "n1" },
                { "addresses": ["10.1.0.2"], "targetRef": { "kind": "Pod", "name": "b" },
                  "conditions": { "ready": false, "serving": true, "terminating": true } },
                { "addresses": ["10.1.0.3"] }
            ],
        }));
        let (service, endpoints) = slice(&object).unwrap();
        assert_eq!(&*service, "web");
        let told: Vec<_> = endpoints
            .iter()
            .map(|one| (&*one.pod, one.port, one.ready, one.serving, one.terminating))
            .collect();
        assert_eq!(
            told,
            [
                ("a", 8080, true, true, false),
                ("a", 9090, true, true, false),
                ("b", 8080, false, true, true),
                ("b", 9090, false, true, true)
            ]
        );
    }

    #[test]
    fn only_pods_that_wait_for_a_target_are_kept() {
        let pod = |gate: &str| {
            gated(&read(json!({
                "spec": { "containers": [], "readinessGates": [{ "conditionType": gate }] },
                "status": { "conditions": [{ "type": "ContainersReady", "status": "True" }] },
            })))
        };
        assert_eq!(pod("example.com/other"), None);
        let gate = format!("{READINESS_GATE}k8s-shop-web");
        assert_eq!(pod(&gate), Some(GatedPod { containers_ready: true, gates: vec![gate.into()] }));
    }
}
