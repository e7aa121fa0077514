use std::{collections::BTreeMap, net::IpAddr};

use landfall_model::{AddressRange, Reason};

use crate::{
    fault::Faults,
    set::{POOL, Set},
};

/// Each pool, in the order of names, must be clear of those before it. One that is not is at fault for each entry that
/// overlaps, and is not in the way of those after it.
pub(crate) fn judge(set: &Set<'_>, faults: &mut Faults<'_>) {
    let mut taken = Taken::default();
    for (place, pool) in set.pools.iter().enumerate() {
        let mut clear = true;
        for (index, range) in pool.ranges.iter().enumerate() {
            let Some((other, theirs)) = taken.by(range) else {
                continue;
            };
            clear = false;
            let message = format!(
                "{range} overlaps {theirs} of {POOL} {:?}; write each address into one pool only",
                set.pools[other].name
            );
            let object = (POOL, &*pool.name);
            faults.permanent(object, format!("spec.addresses[{index}]"), Reason::Overlap, message);
        }
        if clear {
            for range in &pool.ranges {
                taken.add(place, *range);
            }
        }
    }
}

/// Ranges that do not overlap, each with its pool, by their first address. IPv4 addresses sort before those of IPv6.
#[derive(Default)]
struct Taken {
    ranges: BTreeMap<IpAddr, (usize, AddressRange)>,
}

impl Taken {
    /// A range that shares an address with `range`. Since those taken do not overlap, the last of those that begin before
    /// its end is the only one to look at.
    fn by(&self, range: &AddressRange) -> Option<(usize, AddressRange)> {
        let (_, entry) = self.ranges.range(..=range.last()).next_back()?;
        entry.1.overlaps(range).then_some(*entry)
    }

    fn add(&mut self, pool: usize, range: AddressRange) {
        self.ranges.insert(range.first(), (pool, range));
    }
}
