use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::{
    Announcement, BfdProfile, BgpAdvertisement, BgpPeer, Communities, EndpointSlice, L2Advertisement, Labels,
    NodeView, Pool, Reason, ServiceKey, ServiceView,
};

/// One fact about the cluster, as the watches of `landfall-kubernetes` report it. `None` means deleted.
///
/// The source sends the first list of every kind it was asked for, then [`Observation::Synced`], then changes. (One that
/// began with what a node remembers sends it once more when the real lists are complete.) After a broken
/// watch it sends only what differs, deletions included. An object that does not parse is sent as
/// [`Observation::Invalid`], and its last valid version stays in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Observation {
    /// A Service that is of type LoadBalancer or carries what a load balancer left on it. Once sent, all its later
    /// versions are, whatever their type, so that a change of type is seen.
    Service(ServiceKey, Option<Box<ServiceView>>),
    /// An `IPAddressPool`, by name.
    Pool(Box<str>, Option<Box<Pool>>),
    /// An `L2Advertisement`, by name.
    L2Advertisement(Box<str>, Option<Box<L2Advertisement>>),
    /// An object that is about BGP.
    Bgp(BgpObject),
    /// A Node, by name.
    Node(Box<str>, Option<Box<NodeView>>),
    /// An EndpointSlice, by the key of namespace and its own name.
    EndpointSlice(ServiceKey, Option<Box<EndpointSlice>>),
    /// A Namespace and its labels.
    Namespace(Box<str>, Option<Labels>),
    /// A speaker, by the name of its Pod.
    Speaker(Box<str>, Option<SpeakerView>),
    /// What a speaker says of a Service, by the name of its `ServiceL2Status`.
    Announcement(Box<str>, Option<Box<Announcement>>),
    /// An object that could not be parsed; `None` once it can be, or is gone.
    #[serde(skip)]
    Invalid(ObjectName, Option<Box<Invalid>>),
    /// The first list of every kind is complete: decisions may begin.
    Synced,
}

impl Observation {
    /// The object that it is about; none for [`Observation::Synced`].
    #[must_use]
    pub fn object(&self) -> Option<ObjectName> {
        let namespaced = |kind, key: &ServiceKey| ObjectName {
            kind,
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        };
        let global = |kind, name: &str| ObjectName { kind, namespace: Box::default(), name: name.into() };
        Some(match self {
            Self::Service(key, _) => namespaced("Service", key),
            Self::Pool(name, _) => global("IPAddressPool", name),
            Self::L2Advertisement(name, _) => global("L2Advertisement", name),
            Self::Bgp(object) => {
                let (kind, name) = object.kind_and_name();
                global(kind, name)
            }
            Self::Node(name, _) => global("Node", name),
            Self::EndpointSlice(key, _) => namespaced("EndpointSlice", key),
            Self::Namespace(name, _) => global("Namespace", name),
            Self::Speaker(name, _) => global("Pod", name),
            Self::Announcement(name, _) => global("ServiceL2Status", name),
            Self::Invalid(object, _) => object.clone(),
            Self::Synced => return None,
        })
    }

    /// The observation that the object is gone.
    #[must_use]
    pub fn gone(self) -> Self {
        match self {
            Self::Service(key, _) => Self::Service(key, None),
            Self::Pool(name, _) => Self::Pool(name, None),
            Self::L2Advertisement(name, _) => Self::L2Advertisement(name, None),
            Self::Bgp(object) => Self::Bgp(object.gone()),
            Self::Node(name, _) => Self::Node(name, None),
            Self::EndpointSlice(key, _) => Self::EndpointSlice(key, None),
            Self::Namespace(name, _) => Self::Namespace(name, None),
            Self::Speaker(name, _) => Self::Speaker(name, None),
            Self::Announcement(name, _) => Self::Announcement(name, None),
            Self::Invalid(object, _) => Self::Invalid(object, None),
            Self::Synced => Self::Synced,
        }
    }

    /// Whether it says that an object is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Service(_, view) => view.is_none(),
            Self::Pool(_, pool) => pool.is_none(),
            Self::L2Advertisement(_, advertisement) => advertisement.is_none(),
            Self::Bgp(object) => object.is_gone(),
            Self::Node(_, node) => node.is_none(),
            Self::EndpointSlice(_, slice) => slice.is_none(),
            Self::Namespace(_, labels) => labels.is_none(),
            Self::Speaker(_, speaker) => speaker.is_none(),
            Self::Announcement(_, announcement) => announcement.is_none(),
            Self::Invalid(_, _) | Self::Synced => false,
        }
    }
}

/// An object that says what is announced by BGP, and to whom, by name. `None` means deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BgpObject {
    /// A `BGPAdvertisement`.
    Advertisement(Box<str>, Option<Box<BgpAdvertisement>>),
    /// A `BGPPeer`.
    Peer(Box<str>, Option<Box<BgpPeer>>),
    /// A `BFDProfile`.
    BfdProfile(Box<str>, Option<Box<BfdProfile>>),
    /// A `Community`.
    Community(Box<str>, Option<Box<Communities>>),
}

impl BgpObject {
    fn kind_and_name(&self) -> (&'static str, &str) {
        match self {
            Self::Advertisement(name, _) => ("BGPAdvertisement", name),
            Self::Peer(name, _) => ("BGPPeer", name),
            Self::BfdProfile(name, _) => ("BFDProfile", name),
            Self::Community(name, _) => ("Community", name),
        }
    }

    fn gone(self) -> Self {
        match self {
            Self::Advertisement(name, _) => Self::Advertisement(name, None),
            Self::Peer(name, _) => Self::Peer(name, None),
            Self::BfdProfile(name, _) => Self::BfdProfile(name, None),
            Self::Community(name, _) => Self::Community(name, None),
        }
    }

    const fn is_gone(&self) -> bool {
        match self {
            Self::Advertisement(_, advertisement) => advertisement.is_none(),
            Self::Peer(_, peer) => peer.is_none(),
            Self::BfdProfile(_, profile) => profile.is_none(),
            Self::Community(_, communities) => communities.is_none(),
        }
    }
}

/// One speaker of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// Which kind of rule is broken.
    pub reason: Reason,
    /// What is wrong with its value and how to mend it.
    pub message: Box<str>,
}
