use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use landfall_model::{AddressRange, Family, Pool, Reason, ServiceKey};

use crate::{allocator::Allocator, pool_state::PoolState};

/// Where a range in force ends and whose it is. Its start is the key it is stored under.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) last: IpAddr,
    pub(crate) pool: Box<str>,
    /// The range's index in the pool's list.
    pub(crate) span: usize,
}

/// What a change of the pools brings about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolUpdate {
    /// Services that hold an address inside a pool that appeared, changed or went; look at each again.
    pub holders: BTreeSet<ServiceKey>,
    /// Pools whose version in force appeared, changed or went.
    pub pools: BTreeSet<Box<str>>,
}

/// A version of a pool that is not in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The version that was offered.
    pub pool: Pool,
    /// Always [`Reason::Overlap`].
    pub reason: Reason,
    /// Which pools and ranges clash, and the way out.
    pub message: String,
}

/// Pools in force never share an address. Of two that would, the one in force stays and the newcomer is refused, so
/// that a mistake moves nobody; a caller that starts with several offers them in the order in which they shall win,
/// by name where nothing else speaks. A refused version comes into force by itself as soon as nothing is in its
/// way, the first by name first; until then the pool's last good version, if any, stays.
impl Allocator {
    /// Adds or replaces a pool. A change of labels alone touches nobody.
    pub fn set_pool(&mut self, pool: Pool) -> PoolUpdate {
        let mut update = PoolUpdate::default();
        self.refused.remove(&pool.name);
        if let Some(state) = self.pools.get_mut(&pool.name) {
            state.pool.labels.clone_from(&pool.labels);
            if state.pool == pool {
                return update;
            }
        }
        match self.conflict(&pool) {
            Some(message) => {
                self.refused.insert(pool.name.clone(), Refused { pool, reason: Reason::Overlap, message });
            }
            None => {
                let name = pool.name.clone();
                self.put_in_force(&name, Some(pool), &mut update);
            }
        }
        self.retry_refused(&mut update);
        update
    }

    /// Removes a pool, in force or refused. Its holders keep their addresses until they are looked at.
    pub fn remove_pool(&mut self, name: &str) -> PoolUpdate {
        let mut update = PoolUpdate::default();
        self.refused.remove(name);
        if self.pools.contains_key(name) {
            self.put_in_force(name, None, &mut update);
        }
        self.retry_refused(&mut update);
        update
    }

    /// The versions that are not in force, by pool name.
    pub fn refused(&self) -> impl Iterator<Item = (&str, &Refused)> {
        self.refused.iter().map(|(name, refused)| (&**name, refused))
    }

    /// Whether the pool's newest version is not in force.
    #[must_use]
    pub fn is_refused(&self, name: &str) -> bool {
        self.refused.contains_key(name)
    }

    fn retry_refused(&mut self, update: &mut PoolUpdate) {
        if update.pools.is_empty() {
            return;
        }
        for (name, refused) in std::mem::take(&mut self.refused) {
            match self.conflict(&refused.pool) {
                Some(message) => {
                    self.refused.insert(name, Refused { message, ..refused });
                }
                None => self.put_in_force(&name, Some(refused.pool), update),
            }
        }
    }

    /// What stands in the way of `pool`: O(log r) for each of its ranges.
    fn conflict(&self, pool: &Pool) -> Option<String> {
        let mut sorted = pool.ranges.clone();
        sorted.sort_unstable();
        for pair in sorted.windows(2) {
            if pair[0].overlaps(&pair[1]) {
                return Some(format!(
                    "pool {:?} lists {} and {}, which overlap; remove one of them",
                    pool.name, pair[0], pair[1]
                ));
            }
        }
        for range in &pool.ranges {
            let foreign = self.overlapping(*range).find(|(_, slot)| slot.pool != pool.name);
            if let Some((first, slot)) = foreign {
                return Some(format!(
                    "range {range} of pool {:?} overlaps {first}-{} of pool {:?}, which stays in force; \
                     take the common addresses out of one of the two",
                    pool.name, slot.last, slot.pool
                ));
            }
        }
        None
    }

    fn overlapping(&self, range: AddressRange) -> impl Iterator<Item = (IpAddr, &Slot)> {
        self.ranges
            .range(..=range.last())
            .rev()
            .take_while(move |(_, slot)| slot.last >= range.first())
            .map(|(first, slot)| (*first, slot))
    }

    fn put_in_force(&mut self, name: &str, pool: Option<Pool>, update: &mut PoolUpdate) {
        let mut touched = Vec::new();
        if let Some(old) = self.pools.remove(name) {
            for range in &old.pool.ranges {
                self.ranges.remove(&range.first());
            }
            let turn = turn(&old.pool);
            self.order.remove(&turn);
            for open in self.open.values_mut() {
                open.remove(&turn);
            }
            for (address, service) in &old.pool.rules.reserved {
                if let Some(reserved) = self.reservations.get_mut(service) {
                    reserved.remove(address);
                    if reserved.is_empty() {
                        self.reservations.remove(service);
                    }
                }
            }
            touched.extend(old.pool.ranges);
        }
        if let Some(pool) = pool {
            for (span, range) in pool.ranges.iter().enumerate() {
                self.ranges.insert(range.first(), Slot { last: range.last(), pool: name.into(), span });
            }
            self.order.insert(turn(&pool));
            touched.extend(pool.ranges.iter().copied());
            for (address, service) in &pool.rules.reserved {
                self.reservations.entry(service.clone()).or_default().insert(*address);
            }
            self.pools.insert(name.into(), PoolState::new(pool));
        }
        let mut in_use = BTreeMap::new();
        for range in touched {
            for (address, occupancy) in self.addresses.range(range.first()..=range.last()) {
                in_use.insert(*address, occupancy);
            }
        }
        for (address, occupancy) in in_use {
            update.holders.extend(occupancy.users.iter().cloned());
            let slot = self.ranges.range(..=address).next_back().filter(|(_, slot)| slot.last >= address);
            let Some(slot) = slot.map(|(_, slot)| slot).filter(|slot| *slot.pool == *name) else { continue };
            if let Some(state) = self.pools.get_mut(name)
                && let Some(position) = state.position(slot.span, address)
            {
                state.take(position, Family::of(address));
                state.join_group(position, Family::of(address), occupancy);
                let namespaces: BTreeSet<&str> =
                    occupancy.users.iter().map(|user| &*user.namespace).collect();
                namespaces.into_iter().for_each(|namespace| state.join_namespace(namespace));
            }
        }
        self.list(name);
        update.pools.insert(name.into());
    }

    /// Keeps the place of a pool in `open` in step with what it has.
    pub(crate) fn list(&mut self, name: &str) {
        let Some(state) = self.pools.get_mut(name) else { return };
        for family in [Family::V4, Family::V6] {
            if let Some(listed) = state.relist(family) {
                let open = self.open.entry(family).or_default();
                if listed {
                    open.insert(turn(&state.pool));
                } else {
                    open.remove(&turn(&state.pool));
                }
            }
        }
    }
}

/// When a pool has its turn: pools with a `serviceAllocation` before those without, by priority, then by name.
pub(crate) type Turn = (bool, i64, Box<str>);

/// Of priorities, lower ones come first, and 0 after all others. MetalLB leaves the place of negative priorities to
/// chance; here they come first, as their value says.
fn turn(pool: &Pool) -> Turn {
    let priority = match pool.allocation.as_ref().map_or(0, |allocation| allocation.priority) {
        0 => i64::MAX,
        priority => i64::from(priority),
    };
    (pool.allocation.is_none(), priority, pool.name.clone())
}
