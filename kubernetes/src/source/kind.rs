use std::{fmt, hash::Hash};

use k8s_openapi::api::{
    core::v1::{Namespace, Node, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::Resource;
use landfall_model::{
    Announcement, BgpObject, Invalid, Labels, NodeView, Observation, Pool, ServiceKey, ServiceView,
    SpeakerView,
};
use serde::de::DeserializeOwned;

use crate::{
    api::{
        BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement, ServiceL2Status,
    },
    convert,
};

/// A kind of object that a source reports.
pub(super) trait Kind: Send + Sync + 'static {
    /// The object of the API.
    type Object: Resource<DynamicType = ()> + DeserializeOwned;
    /// What is kept of it.
    type Model: Clone + fmt::Debug + Hash + Send + Sync + 'static;
    /// `kind` of the object.
    const KIND: &'static str;
    /// A missing `spec` stands for an empty one.
    const SPEC_OPTIONAL: bool = false;
    /// Nothing waits for the first list of this kind: while it cannot be had, there are taken to be no objects.
    const WAITED_FOR: bool = true;

    /// Converts an object; `None` when it says nothing.
    fn convert(object: &Self::Object) -> Result<Option<Self::Model>, Invalid>;

    /// Whether a value is worth reporting that was never reported before.
    fn relevant(_model: &Self::Model) -> bool {
        true
    }

    /// The observation of a value, or of its absence.
    fn observation(key: &ServiceKey, model: Option<Self::Model>) -> Observation;
}

/// Services. One is reported once it is of type LoadBalancer, or carries something that a load balancer left on it;
/// from then on it is, whatever its type, so that a change of type is seen. The others cost no memory.
pub(super) enum Services {}

impl Kind for Services {
    type Object = Service;
    type Model = ServiceView;
    const KIND: &'static str = "Service";

    fn convert(object: &Service) -> Result<Option<ServiceView>, Invalid> {
        convert::service(object).map(Some)
    }

    fn relevant(view: &ServiceView) -> bool {
        view.load_balancer
            || !view.ingress.is_empty()
            || !view.conditions.is_empty()
            || view.requests.allocated_from.is_some()
    }

    fn observation(key: &ServiceKey, model: Option<ServiceView>) -> Observation {
        Observation::Service(key.clone(), model.map(Box::new))
    }
}

/// `IPAddressPool` objects.
pub(super) enum Pools {}

impl Kind for Pools {
    type Object = IPAddressPool;
    type Model = Pool;
    const KIND: &'static str = "IPAddressPool";

    fn convert(object: &IPAddressPool) -> Result<Option<Pool>, Invalid> {
        convert::pool(object).map(Some)
    }

    fn observation(key: &ServiceKey, model: Option<Pool>) -> Observation {
        Observation::Pool(key.name.clone(), model.map(Box::new))
    }
}

/// `L2Advertisement` objects.
pub(super) enum L2Advertisements {}

impl Kind for L2Advertisements {
    type Object = L2Advertisement;
    type Model = landfall_model::L2Advertisement;
    const KIND: &'static str = "L2Advertisement";
    const SPEC_OPTIONAL: bool = true;

    fn convert(object: &L2Advertisement) -> Result<Option<Self::Model>, Invalid> {
        convert::l2_advertisement(object).map(Some)
    }

    fn observation(key: &ServiceKey, model: Option<Self::Model>) -> Observation {
        Observation::L2Advertisement(key.name.clone(), model.map(Box::new))
    }
}

/// `BGPAdvertisement` objects.
pub(super) enum BgpAdvertisements {}

impl Kind for BgpAdvertisements {
    type Object = BGPAdvertisement;
    type Model = landfall_model::BgpAdvertisement;
    const KIND: &'static str = "BGPAdvertisement";
    const SPEC_OPTIONAL: bool = true;
    const WAITED_FOR: bool = false;

    fn convert(object: &BGPAdvertisement) -> Result<Option<Self::Model>, Invalid> {
        convert::bgp_advertisement(object).map(Some)
    }

    fn observation(key: &ServiceKey, model: Option<Self::Model>) -> Observation {
        Observation::Bgp(BgpObject::Advertisement(key.name.clone(), model.map(Box::new)))
    }
}

/// `BGPPeer` objects, in the version that they are stored in.
pub(super) enum BgpPeers {}

impl Kind for BgpPeers {
    type Object = BGPPeer;
    type Model = landfall_model::BgpPeer;
    const KIND: &'static str = "BGPPeer";
    const WAITED_FOR: bool = false;

    fn convert(object: &BGPPeer) -> Result<Option<Self::Model>, Invalid> {
        convert::bgp_peer(object).map(Some)
    }

    fn observation(key: &ServiceKey, model: Option<Self::Model>) -> Observation {
        Observation::Bgp(BgpObject::Peer(key.name.clone(), model.map(Box::new)))
    }
}

/// `BFDProfile` objects.
pub(super) enum BfdProfiles {}

impl Kind for BfdProfiles {
    type Object = BFDProfile;
    type Model = landfall_model::BfdProfile;
    const KIND: &'static str = "BFDProfile";
    const SPEC_OPTIONAL: bool = true;
    const WAITED_FOR: bool = false;

    fn convert(object: &BFDProfile) -> Result<Option<Self::Model>, Invalid> {
        convert::bfd_profile(object).map(Some)
    }

    fn observation(key: &ServiceKey, model: Option<Self::Model>) -> Observation {
        Observation::Bgp(BgpObject::BfdProfile(key.name.clone(), model.map(Box::new)))
    }
}

/// `Community` objects.
pub(super) enum CommunityNames {}

impl Kind for CommunityNames {
    type Object = Community;
    type Model = landfall_model::Communities;
    const KIND: &'static str = "Community";
    const SPEC_OPTIONAL: bool = true;
    const WAITED_FOR: bool = false;

    fn convert(object: &Community) -> Result<Option<Self::Model>, Invalid> {
        convert::community(object).map(Some)
    }

    fn observation(key: &ServiceKey, model: Option<Self::Model>) -> Observation {
        Observation::Bgp(BgpObject::Community(key.name.clone(), model.map(Box::new)))
    }
}

/// `ServiceL2Status` objects. Nobody waits for them: addresses do not depend on what speakers say.
pub(super) enum Announcements {}

impl Kind for Announcements {
    type Object = ServiceL2Status;
    type Model = Announcement;
    const KIND: &'static str = "ServiceL2Status";
    const SPEC_OPTIONAL: bool = true;
    const WAITED_FOR: bool = false;

    fn convert(object: &ServiceL2Status) -> Result<Option<Self::Model>, Invalid> {
        Ok(convert::announcement(object))
    }

    fn observation(key: &ServiceKey, model: Option<Self::Model>) -> Observation {
        Observation::Announcement(key.name.clone(), model.map(Box::new))
    }
}

/// Nodes.
pub(super) enum Nodes {}

impl Kind for Nodes {
    type Object = Node;
    type Model = NodeView;
    const KIND: &'static str = "Node";

    fn convert(object: &Node) -> Result<Option<NodeView>, Invalid> {
        convert::node(object).map(Some)
    }

    fn observation(key: &ServiceKey, model: Option<NodeView>) -> Observation {
        Observation::Node(key.name.clone(), model.map(Box::new))
    }
}

/// EndpointSlices that belong to a Service.
pub(super) enum EndpointSlices {}

impl Kind for EndpointSlices {
    type Object = EndpointSlice;
    type Model = landfall_model::EndpointSlice;
    const KIND: &'static str = "EndpointSlice";

    fn convert(object: &EndpointSlice) -> Result<Option<Self::Model>, Invalid> {
        convert::endpoint_slice(object)
    }

    fn observation(key: &ServiceKey, model: Option<Self::Model>) -> Observation {
        Observation::EndpointSlice(key.clone(), model.map(Box::new))
    }
}

/// Namespaces.
pub(super) enum Namespaces {}

impl Kind for Namespaces {
    type Object = Namespace;
    type Model = Labels;
    const KIND: &'static str = "Namespace";

    fn convert(object: &Namespace) -> Result<Option<Labels>, Invalid> {
        Ok(Some(convert::namespace(object)))
    }

    fn observation(key: &ServiceKey, model: Option<Labels>) -> Observation {
        Observation::Namespace(key.name.clone(), model)
    }
}

/// Pods of speakers.
pub(super) enum Speakers {}

impl Kind for Speakers {
    type Object = Pod;
    type Model = SpeakerView;
    const KIND: &'static str = "Pod";

    fn convert(object: &Pod) -> Result<Option<SpeakerView>, Invalid> {
        Ok(convert::speaker(object))
    }

    fn observation(key: &ServiceKey, model: Option<SpeakerView>) -> Observation {
        Observation::Speaker(key.name.clone(), model)
    }
}
