use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use landfall_model::{
    AddressRange, Invalid, Pool, PoolRules, RangeError, Reason, ServiceAllocation, ServiceKey,
};

use super::{duration::duration, invalid, object_name, selector::selectors, unique};
use crate::{
    api::{self, IPAddressPool},
    names::annotation,
};

/// An `IPAddressPool`. Overlaps with other pools are not seen here.
///
/// # Errors
/// When a value is refused by the rules for pools: see [`AddressRange`] for the form of addresses; no two ranges
/// overlap; no namespace and no selector stands twice; selectors are valid.
pub fn pool(object: &IPAddressPool) -> Result<Pool, Invalid> {
    let spec = &object.spec;
    let allocation = spec.service_allocation.as_ref().map(allocation).transpose()?;
    let ranges = ranges(&spec.addresses)?;
    Ok(Pool {
        name: object_name(object.metadata.name.as_ref())?,
        labels: object.metadata.labels.clone().unwrap_or_default(),
        auto_assign: spec.auto_assign.unwrap_or(true),
        avoid_buggy_ips: spec.avoid_buggy_ips.unwrap_or(false),
        allocation,
        rules: rules(object.metadata.annotations.as_ref(), &ranges)?,
        ranges,
    })
}

/// What the annotations say. A mistake in one of them makes the whole pool invalid, so that what it was to protect is not
/// handed out in the meantime.
fn rules(
    annotations: Option<&BTreeMap<String, String>>,
    ranges: &[AddressRange],
) -> Result<PoolRules, Invalid> {
    let get = |key: &str| annotations.and_then(|all| all.get(key)).map(|text| text.trim());
    let entries = |key: &str| {
        get(key).into_iter().flat_map(|text| text.split(',')).map(str::trim).filter(|one| !one.is_empty())
    };
    let refused =
        |key: &str, reason, message: String| invalid(reason, format!("metadata.annotations[{key}]"), message);
    let mut exclude: Vec<AddressRange> = Vec::new();
    for text in entries(annotation::EXCLUDE) {
        let range = match text.parse::<IpAddr>() {
            Ok(address) => AddressRange::from(address),
            Err(_) => text.parse().map_err(|error: RangeError| {
                refused(annotation::EXCLUDE, Reason::InvalidAddress, error.to_string())
            })?,
        };
        if let Some(other) = exclude.iter().find(|other| other.overlaps(&range)) {
            let message = format!("{text:?} overlaps {other}; write each address once");
            return Err(refused(annotation::EXCLUDE, Reason::Overlap, message));
        }
        exclude.push(range);
    }
    let mut reserved: BTreeMap<IpAddr, ServiceKey> = BTreeMap::new();
    for text in entries(annotation::RESERVE) {
        let form = || {
            let message = format!(
                "{text:?} is no reservation; write NAMESPACE/NAME=ADDRESS, such as shop/web=192.0.2.5"
            );
            refused(annotation::RESERVE, Reason::InvalidValue, message)
        };
        let (service, address) = text.split_once('=').ok_or_else(form)?;
        let (namespace, name) = service.trim().split_once('/').ok_or_else(form)?;
        let address: IpAddr = address.trim().parse().map_err(|_| form())?;
        if namespace.is_empty() || name.is_empty() || name.contains('/') {
            return Err(form());
        }
        if !ranges.iter().any(|range| range.contains(address)) {
            let message = format!("{address} is not in this pool; reserve it in the pool that has it");
            return Err(refused(annotation::RESERVE, Reason::AddressNotInPools, message));
        }
        if let Some(other) = reserved.insert(address, ServiceKey::new(namespace, name)) {
            let message = format!("{address} is reserved for {other} and for {namespace}/{name}; choose one");
            return Err(refused(annotation::RESERVE, Reason::Duplicate, message));
        }
    }
    let quota = get(annotation::QUOTA).map(|text| {
        text.parse::<u32>().map_err(|_| {
            let message = format!("{text:?} is no number of addresses; write one from 0 to {}", u32::MAX);
            refused(annotation::QUOTA, Reason::InvalidValue, message)
        })
    });
    let quarantine = get(annotation::QUARANTINE)
        .map(|text| duration(&format!("metadata.annotations[{}]", annotation::QUARANTINE), text));
    Ok(PoolRules { exclude, reserved, quota: quota.transpose()?, quarantine: quarantine.transpose()? })
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
