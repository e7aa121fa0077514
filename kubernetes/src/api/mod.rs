//! The custom resources, as Rust types with their schemas. The doc comments of fields are the descriptions that
//! `kubectl explain` shows.

#![expect(clippy::duplicated_attributes, reason = "several printer columns have the same type")]

mod ip_address_pool;
mod l2_advertisement;
mod label_selector;
mod schema;
mod service_l2_status;
#[cfg(test)]
mod tests;

pub use ip_address_pool::{IPAddressPool, IPAddressPoolSpec, IPAddressPoolStatus, ServiceAllocation};
pub use l2_advertisement::{L2Advertisement, L2AdvertisementSpec, L2AdvertisementStatus, PreferredNodes};
pub use label_selector::{LabelSelector, LabelSelectorRequirement};
pub use schema::{crd_files, crds, crds_yaml};
pub use service_l2_status::{InterfaceName, ServiceL2Status, ServiceL2StatusSpec, ServiceL2StatusStatus};
