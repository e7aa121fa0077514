use std::collections::BTreeSet;

use landfall_model::{AddressRange, BgpAdvertisement, CommunityName, Family, Reason};

use crate::{
    blocks::shortest_prefix,
    fault::Faults,
    reach::Reach,
    set::{BGP_ADVERTISEMENT, POOL, Set},
};

/// Each advertisement against the pools that it reaches and the names that it uses.
pub(crate) fn judge(set: &Set<'_>, reach: &Reach, faults: &mut Faults<'_>) {
    let strictest: Vec<[Option<Entry>; 2]> = set
        .pools
        .iter()
        .map(|pool| [Family::V4, Family::V6].map(|family| entry(&pool.ranges, family)))
        .collect();
    let aliases: BTreeSet<&str> =
        set.communities.iter().flat_map(|object| &object.aliases).map(|(alias, _)| &**alias).collect();
    for (place, advertisement) in set.advertisements.iter().enumerate() {
        lengths(set, &reach.pools[place], &strictest, advertisement, faults);
        for community in &advertisement.communities {
            let CommunityName::Alias(alias) = community else {
                continue;
            };
            if !aliases.contains(&**alias) {
                let message = format!(
                    "no Community object gives the name {alias:?}; create one that does, or write a community such as \
                     64500:7 or large:64500:1:7"
                );
                faults.transient((BGP_ADVERTISEMENT, &advertisement.name), "spec.communities", message);
            }
        }
    }
}

/// An entry of a pool, and the length of its largest block: routes must not be wider than that.
#[derive(Clone, Copy)]
struct Entry {
    length: u8,
    range: AddressRange,
}

/// The entry of a family that asks for the longest prefixes.
fn entry(ranges: &[AddressRange], family: Family) -> Option<Entry> {
    let entries = ranges.iter().filter(|range| range.family() == family);
    entries.fold(None, |strictest: Option<Entry>, range| {
        let length = shortest_prefix(range);
        match strictest {
            Some(before) if before.length >= length => Some(before),
            Some(_) | None => Some(Entry { length, range: *range }),
        }
    })
}

/// One fault for each length, that of the entry which asks for the most: with it all others are mended too.
fn lengths(
    set: &Set<'_>,
    pools: &[usize],
    strictest: &[[Option<Entry>; 2]],
    advertisement: &BgpAdvertisement,
    faults: &mut Faults<'_>,
) {
    for (family, field, length) in [
        (0, "spec.aggregationLength", advertisement.aggregation_length),
        (1, "spec.aggregationLengthV6", advertisement.aggregation_length_v6),
    ] {
        let entries = pools.iter().filter_map(|&pool| Some((pool, strictest[pool][family]?)));
        let too_wide = entries.filter(|(_, entry)| length < entry.length);
        // The first of several that ask for the same.
        let Some((pool, entry)) = too_wide.min_by_key(|(pool, entry)| (u8::MAX - entry.length, *pool)) else {
            continue;
        };
        let Entry { length: needed, range } = entry;
        let message = format!(
            "{length} makes a route that is wider than {range} of {POOL} {:?}; use {needed} or more, or leave the pool \
             out",
            set.pools[pool].name
        );
        faults.permanent((BGP_ADVERTISEMENT, &advertisement.name), field, Reason::Conflict, message);
    }
}
