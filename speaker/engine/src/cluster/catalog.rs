use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use landfall_model::{AddressRange, L2Advertisement, Pool};

/// Pools, advertisements, and which of the latter are for which of the former.
#[derive(Clone, Debug, Default)]
pub(super) struct Catalog {
    pools: BTreeMap<Box<str>, Box<Pool>>,
    ranges: BTreeMap<AddressRange, BTreeSet<Box<str>>>,
    advertisements: BTreeMap<Box<str>, Box<L2Advertisement>>,
    by_pool: BTreeMap<Box<str>, BTreeSet<Box<str>>>,
}

impl Catalog {
    /// Replaces a pool; `None` removes it. Gives the ranges whose addresses may now be treated differently.
    pub(super) fn set_pool(&mut self, name: Box<str>, pool: Option<Box<Pool>>) -> BTreeSet<AddressRange> {
        let mut touched = BTreeSet::new();
        if self.pools.get(&name) == pool.as_ref() {
            return touched;
        }
        if let Some(before) = self.pools.remove(&name) {
            for range in before.ranges {
                touched.insert(range);
                if let Some(names) = self.ranges.get_mut(&range) {
                    names.remove(&name);
                    if names.is_empty() {
                        self.ranges.remove(&range);
                    }
                }
            }
        }
        self.by_pool.remove(&name);
        if let Some(pool) = pool {
            for range in &pool.ranges {
                touched.insert(*range);
                self.ranges.entry(*range).or_default().insert(name.clone());
            }
            let for_it =
                self.advertisements.values().filter(|advertisement| advertisement.selects_pool(&pool));
            let for_it = for_it.map(|advertisement| advertisement.name.clone()).collect();
            self.by_pool.insert(name.clone(), for_it);
            self.pools.insert(name, pool);
        }
        touched
    }

    /// Replaces an advertisement; `None` removes it. Gives the ranges of the pools that it was or is for.
    pub(super) fn set_advertisement(
        &mut self,
        name: Box<str>,
        advertisement: Option<Box<L2Advertisement>>,
    ) -> BTreeSet<AddressRange> {
        let mut touched = BTreeSet::new();
        if self.advertisements.get(&name) == advertisement.as_ref() {
            return touched;
        }
        for pool in self.pools.values() {
            let for_it = self.by_pool.entry(pool.name.clone()).or_default();
            let was = for_it.remove(&name);
            let is = advertisement.as_ref().is_some_and(|advertisement| advertisement.selects_pool(pool));
            if is {
                for_it.insert(name.clone());
            }
            if was || is {
                touched.extend(&pool.ranges);
            }
        }
        match advertisement {
            Some(advertisement) => self.advertisements.insert(name, advertisement),
            None => self.advertisements.remove(&name),
        };
        touched
    }

    /// The pool that has the address: `hint`, if it does, otherwise the first by range and name.
    pub(super) fn pool_of(&self, address: IpAddr, hint: Option<&str>) -> Option<&str> {
        let hinted = hint.and_then(|name| self.pools.get(name));
        if let Some(pool) = hinted.filter(|pool| pool.ranges.iter().any(|range| range.contains(address))) {
            return Some(&pool.name);
        }
        let end = match address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::BROADCAST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
        };
        let upper = AddressRange::new(address, end).ok()?;
        let (_, names) = self.ranges.range(..=upper).rev().find(|(range, _)| range.contains(address))?;
        names.first().map(|name| &**name)
    }

    /// The ranges of all pools, in order.
    pub(super) fn ranges(&self) -> impl Iterator<Item = AddressRange> {
        self.ranges.keys().copied()
    }

    /// The advertisements of a pool, by name.
    pub(super) fn advertisements(&self, pool: &str) -> impl Iterator<Item = &L2Advertisement> {
        let names = self.by_pool.get(pool).into_iter().flatten();
        names.filter_map(|name| self.advertisements.get(name)).map(|advertisement| &**advertisement)
    }
}
