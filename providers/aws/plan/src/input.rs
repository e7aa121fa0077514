//! What the planner reads of Kubernetes objects. Values are as the API server holds them: annotations are parsed here
//! and nowhere else, so that an error can name the annotation and its value.

use std::{collections::BTreeMap, net::IpAddr};

use landfall_model::{Family, Labels, NodePort, Protocol, ServiceKey, TrafficPolicy};

use crate::InstanceId;

/// One Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub key: ServiceKey,
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// `spec.type`.
    pub kind: ServiceType,
    /// `spec.loadBalancerClass`.
    pub class: Option<Box<str>>,
    /// `metadata.annotations`, all of them.
    pub annotations: BTreeMap<String, String>,
    /// `metadata.finalizers`.
    pub finalizers: Vec<Box<str>>,
    /// `spec.ipFamilies`.
    pub families: Vec<Family>,
    /// `spec.externalTrafficPolicy`.
    pub traffic_policy: TrafficPolicy,
    /// `spec.loadBalancerSourceRanges`, as written.
    pub source_ranges: Vec<String>,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
    /// `spec.healthCheckNodePort`.
    pub health_check_node_port: Option<NodePort>,
    /// `hostname`s of `status.loadBalancer.ingress`.
    pub hostnames: Vec<String>,
}

/// Another Service that a weighted action names, with its endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The Service. Its annotations are not asked: those of the Service with the load balancer count.
    pub service: Service,
    /// Its endpoints.
    pub endpoints: Vec<PodEndpoint>,
}

/// The Services that weighted actions name, as far as they are there.
pub type Backends = BTreeMap<ServiceKey, Backend>;

/// `spec.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceType {
    /// `ClusterIP`.
    ClusterIp,
    /// `NodePort`.
    NodePort,
    /// `LoadBalancer`.
    LoadBalancer,
    /// `ExternalName`.
    ExternalName,
}

/// One entry of `spec.ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// `name`, empty for a single unnamed port.
    pub name: Box<str>,
    /// `protocol`.
    pub protocol: Protocol,
    /// `port`, the one that clients use.
    pub port: u16,
    /// `targetPort`.
    pub target: TargetPort,
    /// `nodePort`, if one is allocated.
    pub node_port: Option<NodePort>,
}

/// `targetPort`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetPort {
    /// A number.
    Number(u16),
    /// The name of a container port, which may differ from pod to pod.
    Name(Box<str>),
}

/// One Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `metadata.name`.
    pub name: Box<str>,
    /// `metadata.labels`.
    pub labels: Labels,
    /// `spec.providerID`, empty if it is not set.
    pub provider_id: Box<str>,
    /// `spec.taints`.
    pub taints: Vec<Taint>,
    /// The status of condition `Ready`.
    pub ready: Readiness,
}

impl Node {
    /// The last segment of `spec.providerID`, if it is that of an EC2 instance.
    #[must_use]
    pub fn instance(&self) -> Option<InstanceId> {
        let id = self.provider_id.rsplit('/').next()?;
        let digits = id.strip_prefix("i-")?;
        (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| id.into())
    }
}

/// One entry of `spec.taints`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    /// `key`.
    pub key: Box<str>,
    /// `effect`.
    pub effect: Box<str>,
}

/// The status of a node's condition `Ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// `True`.
    Ready,
    /// `False`.
    NotReady,
    /// `Unknown`, or no such condition: the node lease has expired.
    Unknown,
}

/// One pod behind one port of a Service: an endpoint of an `EndpointSlice`, joined with its Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodEndpoint {
    /// Name of the Pod, in the Service's namespace (`targetRef`).
    pub pod: Box<str>,
    /// The Pod's address.
    pub address: IpAddr,
    /// `nodeName`.
    pub node: Option<Box<str>>,
    /// `name` of the slice's port; it belongs to the Service port of that name.
    pub port_name: Box<str>,
    /// `port` of the slice.
    pub port: u16,
    /// Condition `ready`; a missing value counts as true.
    pub ready: bool,
    /// Condition `serving`; a missing value counts as `ready` (KEP-1672).
    pub serving: bool,
    /// Condition `terminating`.
    pub terminating: bool,
    /// The Pod's condition `ContainersReady` is `True`.
    pub containers_ready: bool,
    /// `spec.readinessGates` of the Pod.
    pub readiness_gates: Vec<Box<str>>,
}
