use std::collections::BTreeSet;

use landfall_model::{AddressRange, Invalid, Pool, Reason, ServiceAllocation};

use super::{invalid, object_name, selector::selectors, unique};
use crate::api::{self, IPAddressPool};

/// An `IPAddressPool`. Overlaps with other pools are not seen here.
///
/// # Errors
/// When a value is refused by the rules for pools: see [`AddressRange`] for the form of addresses; no two ranges
/// overlap; no namespace and no selector stands twice; selectors are valid.
pub fn pool(object: &IPAddressPool) -> Result<Pool, Invalid> {
    let spec = &object.spec;
    let allocation = spec.service_allocation.as_ref().map(allocation).transpose()?;
    Ok(Pool {
        name: object_name(object.metadata.name.as_ref())?,
        labels: object.metadata.labels.clone().unwrap_or_default(),
        ranges: ranges(&spec.addresses)?,
        auto_assign: spec.auto_assign.unwrap_or(true),
        avoid_buggy_ips: spec.avoid_buggy_ips.unwrap_or(false),
        allocation,
    })
}

fn ranges(addresses: &[String]) -> Result<Vec<AddressRange>, Invalid> {
    if addresses.is_empty() {
        let message = "the list is empty; add a range such as 192.0.2.0/24 or 192.0.2.10-192.0.2.20";
        return Err(invalid(Reason::MissingField, "spec.addresses", message));
    }
    let field = |index: usize| format!("spec.addresses[{index}]");
    let ranges = addresses
        .iter()
        .enumerate()
        .map(|(index, text)| {
            text.parse::<AddressRange>()
                .map_err(|error| invalid(Reason::InvalidAddress, field(index), error.to_string()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut order: Vec<usize> = (0..ranges.len()).collect();
    order.sort_by_key(|&index| (ranges[index], index));
    for pair in order.windows(2) {
        let (before, after) = (pair[0].min(pair[1]), pair[0].max(pair[1]));
        if ranges[before].overlaps(&ranges[after]) {
            let message = format!(
                "{:?} overlaps {:?} of {}; write each address once",
                addresses[after],
                addresses[before],
                field(before)
            );
            let same = ranges[before] == ranges[after];
            let reason = if same { Reason::Duplicate } else { Reason::Overlap };
            return Err(invalid(reason, field(after), message));
        }
    }
    Ok(ranges)
}

fn allocation(written: &api::ServiceAllocation) -> Result<ServiceAllocation, Invalid> {
    const FIELD: &str = "spec.serviceAllocation";
    let priority = written.priority.unwrap_or(0);
    let priority = i32::try_from(priority).map_err(|_| {
        let message =
            format!("{priority} is out of range; use a number between {} and {}", i32::MIN, i32::MAX);
        invalid(Reason::InvalidValue, format!("{FIELD}.priority"), message)
    })?;
    let namespaces = written.namespaces.as_deref().unwrap_or_default();
    unique(&format!("{FIELD}.namespaces"), namespaces, |name| format!("the namespace {name:?}"))?;
    Ok(ServiceAllocation {
        priority,
        namespaces: namespaces.iter().map(|name| name.as_str().into()).collect::<BTreeSet<_>>(),
        namespace_selectors: selectors(
            &format!("{FIELD}.namespaceSelectors"),
            written.namespace_selectors.as_ref(),
        )?,
        service_selectors: selectors(
            &format!("{FIELD}.serviceSelectors"),
            written.service_selectors.as_ref(),
        )?,
    })
}
