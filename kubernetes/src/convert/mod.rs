//! Objects of the API server into the words of `landfall-model`. Nothing here panics, whatever the input; a value
//! that cannot be used is an [`Invalid`] that names the field, the value, the rule and the way out.

mod advertisement;
mod announcement;
mod bfd_profile;
mod bgp_advertisement;
mod bgp_peer;
mod bgp_peer_v1beta1;
mod cluster;
mod community;
mod duration;
mod endpoints;
mod number;
mod pool;
mod selector;
mod service;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_bgp;

pub use advertisement::l2_advertisement;
pub use announcement::announcement;
pub use bfd_profile::bfd_profile;
pub use bgp_advertisement::bgp_advertisement;
pub use bgp_peer::bgp_peer;
pub use bgp_peer_v1beta1::{bgp_peer_from_v1beta1, bgp_peer_to_v1beta1};
pub use cluster::{namespace, node, speaker};
pub use community::community;
pub use duration::duration;
pub use endpoints::endpoint_slice;
pub use pool::pool;
pub use service::service;

use landfall_model::{Invalid, Reason};

/// Which rule the value of `field` breaks, what is wrong with it, and how to mend it.
fn invalid(reason: Reason, field: impl Into<String>, message: impl Into<String>) -> Invalid {
    Invalid { field: field.into().into(), reason, message: message.into().into() }
}

/// Fails at the first entry of `values` that stood before.
fn unique<T: Ord>(field: &str, values: &[T], show: impl Fn(&T) -> String) -> Result<(), Invalid> {
    let mut seen = std::collections::BTreeSet::new();
    for (index, value) in values.iter().enumerate() {
        if !seen.insert(value) {
            let message = format!("{} stands twice; remove one of them", show(value));
            return Err(invalid(Reason::Duplicate, format!("{field}[{index}]"), message));
        }
    }
    Ok(())
}

/// The name of an object; without one it cannot be spoken of.
fn object_name(name: Option<&String>) -> Result<Box<str>, Invalid> {
    match name {
        Some(name) if !name.is_empty() => Ok(name.as_str().into()),
        Some(_) | None => {
            Err(invalid(Reason::MissingField, "metadata.name", "the name is missing; give the object one"))
        }
    }
}
