use std::collections::BTreeMap;

use landfall_model::{BgpAdvertisement, Family, Reason};

use crate::{
    fault::Faults,
    nodes,
    reach::Reach,
    set::{BGP_ADVERTISEMENT, POOL, Set},
};

/// Pools that the same advertisements reach and that hold the same families. They all clash or none does.
struct Group<'a> {
    advertisements: &'a [usize],
    ipv4: bool,
    ipv6: bool,
    first_pool: usize,
}

/// One route has one LOCAL_PREF and one AS path: two advertisements that make the same routes of a pool, for a common
/// peer, on a common node, must say the same. Each advertisement, in the order of names, is at fault for at most one other.
///
/// Advertisements are compared in pairs within each group of pools whose advertisements do not all say the same.
pub(crate) fn judge(set: &Set<'_>, reach: &Reach, faults: &mut Faults<'_>) {
    let groups = groups(set, reach);
    if groups.is_empty() {
        return;
    }
    let mut groups_of: Vec<Vec<usize>> = vec![Vec::new(); set.advertisements.len()];
    for (index, group) in groups.iter().enumerate() {
        for &advertisement in group.advertisements {
            groups_of[advertisement].push(index);
        }
    }
    let nodes: Vec<Vec<usize>> = set
        .advertisements
        .iter()
        .map(|advertisement| nodes::selected(set.nodes, |labels| advertisement.selects_node(labels)))
        .collect();
    let mut at_fault = vec![false; set.advertisements.len()];
    for (place, advertisement) in set.advertisements.iter().enumerate() {
        let clash = groups_of[place].iter().map(|&index| &groups[index]).find_map(|group| {
            let before = group.advertisements.iter().take_while(|other| **other < place);
            let mut in_force = before.filter(|other| !at_fault[**other]);
            let other = in_force.find(|other| {
                let other = **other;
                clash(advertisement, set.advertisements[other], group)
                    && nodes::overlap(&nodes[place], &nodes[other])
            });
            other.map(|other| (*other, group.first_pool))
        });
        let Some((other, pool)) = clash else {
            continue;
        };
        at_fault[place] = true;
        let (other, pool) = (set.advertisements[other], set.pools[pool]);
        for (field, value, theirs) in [
            ("spec.localPref", advertisement.local_pref, other.local_pref),
            ("spec.asPathPrepend", advertisement.as_path_prepend.into(), other.as_path_prepend.into()),
        ] {
            if value == theirs {
                continue;
            }
            let message = format!(
                "{value} for routes that {BGP_ADVERTISEMENT} {:?} gives {theirs}, both of {POOL} {:?} with the same \
                 length; use one value, or choose other peers, nodes or lengths",
                other.name, pool.name
            );
            faults.permanent((BGP_ADVERTISEMENT, &advertisement.name), field, Reason::Conflict, message);
        }
    }
}

/// The groups whose advertisements do not all say the same, by their first pool.
fn groups<'a>(set: &Set<'_>, reach: &'a Reach) -> Vec<Group<'a>> {
    let mut first: BTreeMap<(&[usize], bool, bool), usize> = BTreeMap::new();
    for (place, pool) in set.pools.iter().enumerate() {
        let advertisements = reach.advertisements[place].as_slice();
        let mut values = advertisements.iter().map(|&place| values(set.advertisements[place]));
        let value = values.next();
        if values.all(|other| Some(other) == value) {
            continue;
        }
        let holds = |family| pool.ranges.iter().any(|range| range.family() == family);
        first.entry((advertisements, holds(Family::V4), holds(Family::V6))).or_insert(place);
    }
    let mut groups: Vec<Group<'_>> = first
        .into_iter()
        .map(|((advertisements, ipv4, ipv6), first_pool)| Group { advertisements, ipv4, ipv6, first_pool })
        .collect();
    groups.sort_by_key(|group| group.first_pool);
    groups
}

/// Whether the two want different values for the same routes of the group's pools. An advertisement for chosen Services
/// is left to the moment when it is known which they are.
fn clash(one: &BgpAdvertisement, other: &BgpAdvertisement, group: &Group<'_>) -> bool {
    let same_routes = (group.ipv4 && one.aggregation_length == other.aggregation_length)
        || (group.ipv6 && one.aggregation_length_v6 == other.aggregation_length_v6);
    // An empty list means every peer.
    let common_peer = one.peers.is_empty() || other.peers.is_empty() || !one.peers.is_disjoint(&other.peers);
    values(one) != values(other)
        && one.service_selectors.is_empty()
        && other.service_selectors.is_empty()
        && same_routes
        && common_peer
}

/// What makes a route better or worse than others.
const fn values(advertisement: &BgpAdvertisement) -> (u32, u8) {
    (advertisement.local_pref, advertisement.as_path_prepend)
}
