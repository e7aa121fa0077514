use std::collections::BTreeMap;

use landfall_model::{AddressRange, Family};

use crate::set::Set;

/// Which BGP advertisements reach which pools, both by their places in the [`Set`].
pub(crate) struct Reach {
    /// The pools of each advertisement, in order.
    pub(crate) pools: Vec<Vec<usize>>,
    /// The advertisements of each pool, in order.
    pub(crate) advertisements: Vec<Vec<usize>>,
}

impl Reach {
    /// Names are looked up; only advertisements with selectors, or with neither, look at every pool.
    pub(crate) fn new(set: &Set<'_>) -> Self {
        let by_name: BTreeMap<&str, usize> =
            set.pools.iter().enumerate().map(|(place, pool)| (&*pool.name, place)).collect();
        let mut advertisements = vec![Vec::new(); set.pools.len()];
        let mut pools = Vec::with_capacity(set.advertisements.len());
        for (place, advertisement) in set.advertisements.iter().enumerate() {
            let names_only = advertisement.pool_selectors.is_empty() && !advertisement.pools.is_empty();
            let reached: Vec<usize> = if names_only {
                advertisement.pools.iter().filter_map(|name| by_name.get(&**name).copied()).collect()
            } else {
                let every = set.pools.iter().enumerate();
                every.filter(|(_, pool)| advertisement.selects_pool(pool)).map(|(place, _)| place).collect()
            };
            for &pool in &reached {
                advertisements[pool].push(place);
            }
            pools.push(reached);
        }
        Self { pools, advertisements }
    }

    /// The first pool with an IPv6 entry that the advertisement reaches, and the entry.
    pub(crate) fn ipv6<'a>(&self, set: &Set<'a>, advertisement: usize) -> Option<(&'a str, AddressRange)> {
        self.pools[advertisement].iter().find_map(|&place| {
            let pool = set.pools[place];
            let range = pool.ranges.iter().find(|range| range.family() == Family::V6)?;
            Some((&*pool.name, *range))
        })
    }
}
