//! The custom resources, as Rust types with their schemas. The doc comments of fields are the descriptions that
//! `kubectl explain` shows.

#![expect(clippy::duplicated_attributes, reason = "several printer columns have the same type")]

mod bfd_profile;
mod bgp_advertisement;
mod bgp_peer;
mod bgp_peer_v1beta1;
mod community;
mod configuration_state;
mod ip_address_pool;
mod l2_advertisement;
mod label_selector;
mod schema;
mod service_bgp_status;
mod service_l2_status;
#[cfg(test)]
mod tests;

pub use bfd_profile::{BFDProfile, BFDProfileSpec, BFDProfileStatus};
pub use bgp_advertisement::{BGPAdvertisement, BGPAdvertisementSpec, BGPAdvertisementStatus};
pub use bgp_peer::{BGPPeer, BGPPeerSpec, BGPPeerStatus, DynamicAsn, SecretReference};
pub use bgp_peer_v1beta1::{
    BGPPeerV1Beta1, BGPPeerV1Beta1Spec, NodeSelectorRequirementV1Beta1, NodeSelectorV1Beta1,
};
pub use community::{Community, CommunityAlias, CommunitySpec, CommunityStatus};
pub use configuration_state::{
    ConditionStatus, ConfigurationResult, ConfigurationState, ConfigurationStateSpec,
    ConfigurationStateStatus, StateCondition,
};
pub use ip_address_pool::{IPAddressPool, IPAddressPoolSpec, IPAddressPoolStatus, ServiceAllocation};
pub use l2_advertisement::{L2Advertisement, L2AdvertisementSpec, L2AdvertisementStatus, PreferredNodes};
pub use label_selector::{LabelSelector, LabelSelectorRequirement};
pub use schema::{crd_files, crds, crds_yaml};
pub use service_bgp_status::{ServiceBGPStatus, ServiceBGPStatusSpec, ServiceBGPStatusStatus};
pub use service_l2_status::{InterfaceName, ServiceL2Status, ServiceL2StatusSpec, ServiceL2StatusStatus};
