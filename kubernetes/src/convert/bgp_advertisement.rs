use std::collections::BTreeSet;

use landfall_model::{BgpAdvertisement, CommunityError, CommunityName, Invalid, Reason};

use super::{invalid, number::number, object_name, selector::selectors, unique};
use crate::api;

/// A `BGPAdvertisement`. Whether its lengths fit its pools, and whether its communities have their names, is not seen
/// here.
///
/// # Errors
/// When a pool, a peer, a community or a selector stands twice; a selector is not valid; a number is out of its
/// range; a community has the parts of one and numbers that do not fit; or there are `serviceSelectors` and routes
/// that join several addresses.
pub fn bgp_advertisement(object: &api::BGPAdvertisement) -> Result<BgpAdvertisement, Invalid> {
    let spec = &object.spec;
    let length = i64::from(spec.aggregation_length.unwrap_or(32));
    let length_v6 = i64::from(spec.aggregation_length_v6.unwrap_or(128));
    let prepend = spec.as_path_prepend.map(|times| number("spec.asPathPrepend", i64::from(times), 1..=10));
    let read = BgpAdvertisement {
        name: object_name(object.metadata.name.as_ref())?,
        pools: names("spec.ipAddressPools", "the pool", spec.ip_address_pools.as_ref())?,
        pool_selectors: selectors("spec.ipAddressPoolSelectors", spec.ip_address_pool_selectors.as_ref())?,
        node_selectors: selectors("spec.nodeSelectors", spec.node_selectors.as_ref())?,
        service_selectors: selectors("spec.serviceSelectors", spec.service_selectors.as_ref())?,
        peers: names("spec.peers", "the peer", spec.peers.as_ref())?,
        aggregation_length: number("spec.aggregationLength", length, 1..=32)?,
        aggregation_length_v6: number("spec.aggregationLengthV6", length_v6, 0..=128)?,
        local_pref: number("spec.localPref", spec.local_pref.unwrap_or(0), 0..=u32::MAX.into())?,
        as_path_prepend: prepend.transpose()?.unwrap_or(0),
        communities: communities(spec.communities.as_deref().unwrap_or_default())?,
    };
    if !read.service_selectors.is_empty() {
        for (field, length, single) in [
            ("spec.aggregationLength", read.aggregation_length, 32),
            ("spec.aggregationLengthV6", read.aggregation_length_v6, 128),
        ] {
            if length != single {
                let message = format!(
                    "{length} joins addresses of several Services, and spec.serviceSelectors chooses some of them; \
                     use {single}, or leave spec.serviceSelectors out"
                );
                return Err(invalid(Reason::Contradiction, field, message));
            }
        }
    }
    Ok(read)
}

fn names(field: &str, what: &str, written: Option<&Vec<String>>) -> Result<BTreeSet<Box<str>>, Invalid> {
    let written = written.map(Vec::as_slice).unwrap_or_default();
    unique(field, written, |name| format!("{what} {name:?}"))?;
    Ok(written.iter().map(|name| name.as_str().into()).collect())
}

/// What does not have the parts of a community is taken for the name of one.
fn communities(written: &[String]) -> Result<BTreeSet<CommunityName>, Invalid> {
    const FIELD: &str = "spec.communities";
    unique(FIELD, written, |text| format!("the community {text:?}"))?;
    let read = written.iter().enumerate().map(|(index, text)| match text.parse() {
        Ok(community) => Ok(CommunityName::Value(community)),
        Err(CommunityError::Shape { .. }) => Ok(CommunityName::Alias(text.as_str().into())),
        Err(error @ (CommunityError::Mark { .. } | CommunityError::Number { .. })) => {
            Err(invalid(Reason::InvalidValue, format!("{FIELD}[{index}]"), error.to_string()))
        }
    });
    read.collect()
}
