use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Protocol, ServiceKey};

/// What Landfall reads of one EndpointSlice (`discovery.k8s.io/v1`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EndpointSlice {
    /// The Service it belongs to, by its label `kubernetes.io/service-name`.
    pub service: ServiceKey,
    /// Its endpoints, in their order.
    pub endpoints: Vec<Endpoint>,
    /// `ports`: where every endpoint of the slice listens. Entries without a number are left out.
    pub ports: Vec<EndpointPort>,
}

/// One entry of a slice's `ports`. It belongs to the Service port of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EndpointPort {
    /// `name`, empty for a single unnamed port.
    pub name: Box<str>,
    /// `protocol`; TCP where it is missing.
    pub protocol: Protocol,
    /// `port`, the one that the endpoint listens on (`targetPort` of the Service, resolved).
    pub port: u16,
}

/// One endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// The first of `addresses`; the others are without meaning since Kubernetes 1.30.
    pub address: IpAddr,
    /// `nodeName`.
    pub node: Option<Box<str>>,
    /// `conditions.ready`; a missing value counts as true.
    pub ready: bool,
    /// `conditions.serving`; a missing value counts as `ready` (KEP-1672).
    pub serving: bool,
}

impl Endpoint {
    /// Whether it answers requests: ready, or terminating and still serving.
    #[must_use]
    pub const fn answers(&self) -> bool {
        self.ready || self.serving
    }
}
