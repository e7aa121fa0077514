use std::{fmt, net::IpAddr};

use crate::{EndpointSlice, L2Advertisement, Labels, NodeView, Pool, ServiceKey, ServiceView};

/// One fact about the cluster, as the watches of `landfall-kubernetes` report it. `None` means deleted.
///
/// The source sends the first list of every kind it was asked for, then [`Observation::Synced`] once, then
/// changes. After a broken watch it sends only what differs, deletions included. An object that does not parse
/// is sent as [`Observation::Invalid`], and its last valid version stays in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// A Service that is of type LoadBalancer or carries what a load balancer left on it. Once sent, all its later
    /// versions are, whatever their type, so that a change of type is seen.
    Service(ServiceKey, Option<Box<ServiceView>>),
    /// An `IPAddressPool`, by name.
    Pool(Box<str>, Option<Box<Pool>>),
    /// An `L2Advertisement`, by name.
    L2Advertisement(Box<str>, Option<Box<L2Advertisement>>),
    /// A Node, by name.
    Node(Box<str>, Option<Box<NodeView>>),
    /// An EndpointSlice, by the key of namespace and its own name.
    EndpointSlice(ServiceKey, Option<Box<EndpointSlice>>),
    /// A Namespace and its labels.
    Namespace(Box<str>, Option<Labels>),
    /// A speaker, by the name of its Pod.
    Speaker(Box<str>, Option<SpeakerView>),
    /// An object that could not be parsed; `None` once it can be, or is gone.
    Invalid(ObjectName, Option<Box<Invalid>>),
    /// The first list of every kind is complete: decisions may begin.
    Synced,
}

/// One speaker of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpeakerView {
    /// The node it runs on.
    pub node: Box<str>,
    /// The addresses of its Pod, which are the node's since it uses the host network.
    pub addresses: Vec<IpAddr>,
}

/// Kind, namespace and name of an object. The namespace is empty for objects without one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Kind, such as `IPAddressPool`.
    pub kind: &'static str,
    /// `metadata.namespace`.
    pub namespace: Box<str>,
    /// `metadata.name`.
    pub name: Box<str>,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// Why an object is not in force.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Invalid {
    /// Path of the field, such as `spec.addresses[0]`; empty when the whole object is meant.
    pub field: Box<str>,
    /// What is wrong with its value and how to mend it.
    pub message: Box<str>,
}
