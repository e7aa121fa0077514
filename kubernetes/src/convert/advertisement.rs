use landfall_model::{Invalid, L2Advertisement, NodePreference, Reason};

use super::{
    invalid, object_name,
    selector::{selector, selectors},
    unique,
};
use crate::api::{self, PreferredNodes};

/// An `L2Advertisement`.
///
/// # Errors
/// When a pool, an interface or a selector stands twice, a selector is not valid, or a weight is not 1 to 100.
pub fn l2_advertisement(object: &api::L2Advertisement) -> Result<L2Advertisement, Invalid> {
    let spec = &object.spec;
    let pools = spec.ip_address_pools.as_deref().unwrap_or_default();
    unique("spec.ipAddressPools", pools, |name| format!("the pool {name:?}"))?;
    let interfaces = spec.interfaces.as_deref().unwrap_or_default();
    let preferences = spec.preferred_node_selectors.iter().flatten().enumerate();
    Ok(L2Advertisement {
        name: object_name(object.metadata.name.as_ref())?,
        pools: pools.iter().map(|name| name.as_str().into()).collect(),
        pool_selectors: selectors("spec.ipAddressPoolSelectors", spec.ip_address_pool_selectors.as_ref())?,
        node_selectors: selectors("spec.nodeSelectors", spec.node_selectors.as_ref())?,
        service_selectors: selectors("spec.serviceSelectors", spec.service_selectors.as_ref())?,
        interfaces: interfaces.iter().map(|name| name.as_str().into()).collect(),
        preferences: preferences.map(|(index, one)| preference(index, one)).collect::<Result<_, _>>()?,
    })
}

fn preference(index: usize, written: &PreferredNodes) -> Result<NodePreference, Invalid> {
    let field = format!("spec.preferredNodeSelectors[{index}]");
    let weight = u32::try_from(written.weight).ok().filter(|weight| (1..=100).contains(weight));
    let Some(weight) = weight else {
        let message = format!("{} is out of range; use a weight from 1 to 100", written.weight);
        return Err(invalid(Reason::InvalidValue, format!("{field}.weight"), message));
    };
    Ok(NodePreference { weight, nodes: selector(&format!("{field}.preference"), &written.preference)? })
}
