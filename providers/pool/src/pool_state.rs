use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use landfall_model::{AddressRange, Family, Pool, Reason, ServiceKey};

use crate::{
    sharing::{Group, Occupancy, Position, Sharing},
    span::Span,
    withheld::Withheld,
};

/// How many addresses of a pool are in use and free, as `IPAddressPool.status` shows them. Values above
/// [`i64::MAX`] are shown as that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counts {
    /// Distinct IPv4 addresses in use.
    pub assigned_v4: i64,
    /// Distinct IPv6 addresses in use.
    pub assigned_v6: i64,
    /// IPv4 addresses that can still be handed out.
    pub available_v4: i64,
    /// IPv6 addresses that can still be handed out.
    pub available_v6: i64,
}

/// A pool in force, and what is in use of it.
#[derive(Clone, Debug)]
pub(crate) struct PoolState {
    pub(crate) pool: Pool,
    spans: Vec<Span>,
    v4: FamilyState,
    v6: FamilyState,
    /// How many addresses the Services of a namespace hold, where there is a quota.
    by_namespace: BTreeMap<Box<str>, u32>,
}

#[derive(Clone, Debug, Default)]
struct FamilyState {
    capacity: u128,
    assigned: u128,
    /// How many of those that are assigned are not part of the capacity any more.
    beyond: u128,
    /// Ranges that may have a free address.
    open: BTreeSet<usize>,
    groups: BTreeMap<Box<str>, Group>,
    /// Whether it is listed as one to try; see [`PoolState::relist`].
    listed: bool,
}

impl PoolState {
    pub(crate) fn new(pool: Pool) -> Self {
        let spans: Vec<Span> = pool.ranges.iter().copied().map(Span::new).collect();
        let mut state = Self {
            pool,
            spans,
            v4: FamilyState::default(),
            v6: FamilyState::default(),
            by_namespace: BTreeMap::new(),
        };
        for (index, range) in state.pool.ranges.clone().into_iter().enumerate() {
            let unused = if state.pool.avoid_buggy_ips { buggy_in(range) } else { 0 };
            let family = state.family_mut(range.family());
            family.capacity = family.capacity.saturating_add(range.len().saturating_sub(unused));
            family.open.insert(index);
            for excluded in state.pool.rules.exclude.clone() {
                state.exclude(index, range, excluded);
            }
        }
        state
    }

    /// Takes what two ranges have in common out of the first, which is that of a span.
    fn exclude(&mut self, span: usize, range: AddressRange, excluded: AddressRange) {
        let (first, last) = (range.first().max(excluded.first()), range.last().min(excluded.last()));
        let (Some(from), Some(to)) = (range.offset(first), range.offset(last)) else { return };
        let Ok(common) = AddressRange::new(first, last) else { return };
        self.spans[span].take_all(from, to);
        let unused = if self.pool.avoid_buggy_ips { buggy_in(common) } else { 0 };
        let family = self.family_mut(range.family());
        family.capacity = family.capacity.saturating_sub(common.len().saturating_sub(unused));
    }

    pub(crate) fn has_family(&self, family: Family) -> bool {
        self.family(family).capacity > 0
    }

    /// The pool never hands out this address, and no Service may keep it.
    pub(crate) fn avoids(&self, address: IpAddr) -> bool {
        self.pool.avoid_buggy_ips && is_buggy(address)
    }

    /// Why the pool does not give this address to `service`, which does not have it.
    pub(crate) fn against(&self, address: IpAddr, service: &ServiceKey) -> Option<Reason> {
        if self.excludes(address) {
            return Some(Reason::AddressExcluded);
        }
        let owner = self.pool.rules.reserved.get(&address);
        owner.is_some_and(|owner| owner != service).then_some(Reason::AddressReserved)
    }

    fn excludes(&self, address: IpAddr) -> bool {
        self.pool.rules.exclude.iter().any(|range| range.contains(address))
    }

    /// Whether the pool itself does not hand it out to whoever comes.
    pub(crate) fn keeps_back(&self, address: IpAddr) -> bool {
        self.avoids(address) || self.pool.rules.reserved.contains_key(&address) || self.excludes(address)
    }

    /// Whether a namespace may have `more` addresses.
    pub(crate) fn has_quota(&self, namespace: &str, more: usize) -> bool {
        let used = self.by_namespace.get(namespace).copied().unwrap_or_default();
        let wanted = used.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        self.pool.rules.quota.is_none_or(|quota| wanted <= quota)
    }

    /// A Service of a namespace that had no address there before has one more.
    pub(crate) fn join_namespace(&mut self, namespace: &str) {
        if self.pool.rules.quota.is_some() {
            *self.by_namespace.entry(namespace.into()).or_default() += 1;
        }
    }

    /// The last Service of a namespace left an address; true if that matters to others of it.
    pub(crate) fn leave_namespace(&mut self, namespace: &str) -> bool {
        let Some(count) = self.by_namespace.get_mut(namespace) else { return false };
        *count -= 1;
        if *count == 0 {
            self.by_namespace.remove(namespace);
        }
        true
    }

    /// The reserved addresses.
    pub(crate) fn reserved(&self) -> impl Iterator<Item = IpAddr> {
        self.pool.rules.reserved.keys().copied().filter(|address| !self.excludes(*address))
    }

    /// An address that was held back may be handed out again.
    pub(crate) fn give_back(&mut self, position: Position, family: Family) {
        self.spans[position.0].release(position.1);
        self.family_mut(family).open.insert(position.0);
    }

    pub(crate) fn position(&self, span: usize, address: IpAddr) -> Option<Position> {
        self.spans.get(span).and_then(|s| s.range.offset(address)).map(|offset| (span, offset))
    }

    pub(crate) fn address(&self, position: Position) -> Option<IpAddr> {
        self.spans.get(position.0).and_then(|span| span.range.nth(position.1))
    }

    /// The first free place in allocation order. Amortised O(log n): places that are never handed out, and
    /// ranges that are full, are marked when met and not met again.
    pub(crate) fn first_free(&mut self, family: Family, withheld: &Withheld) -> Option<Position> {
        loop {
            let index = *self.family(family).open.first()?;
            let Some(offset) = self.spans[index].first_free() else {
                self.family_mut(family).open.remove(&index);
                continue;
            };
            match self.address((index, offset)) {
                Some(address) if !(self.keeps_back(address) || withheld.holds_back(address)) => {
                    return Some((index, offset));
                }
                Some(_) | None => self.spans[index].take(offset),
            }
        }
    }

    /// The first address in allocation order that is free or that `sharing` may join.
    pub(crate) fn pick(
        &mut self,
        family: Family,
        sharing: &Sharing,
        withheld: &Withheld,
        admits: impl Fn(IpAddr) -> bool,
    ) -> Option<IpAddr> {
        let free = self.first_free(family, withheld);
        let (spans, avoid) = (&self.spans, self.pool.avoid_buggy_ips);
        let state = match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        };
        let group = sharing.key.as_ref().and_then(|key| state.groups.get_mut(key));
        let shared = group.and_then(|group| {
            group.first(sharing, free, |(span, offset)| {
                let address = spans.get(span).and_then(|span| span.range.nth(offset));
                address.is_some_and(|address| !(avoid && is_buggy(address)) && admits(address))
            })
        });
        shared.or(free).and_then(|position| self.address(position))
    }

    /// Whether the pool is to be tried for Services that name none and need this family, if that is not what the
    /// last call said. A pool is tried in vain once before it is known to be full.
    pub(crate) fn relist(&mut self, family: Family) -> Option<bool> {
        let automatic = self.pool.auto_assign;
        let state = self.family_mut(family);
        let listed = automatic && !(state.open.is_empty() && state.groups.is_empty());
        (std::mem::replace(&mut state.listed, listed) != listed).then_some(listed)
    }

    pub(crate) fn take(&mut self, position: Position, family: Family) {
        self.spans[position.0].take(position.1);
        let beyond = self.is_beyond(position);
        let state = self.family_mut(family);
        state.assigned += 1;
        state.beyond += beyond;
    }

    /// One for an address that is not part of the capacity.
    fn is_beyond(&self, position: Position) -> u128 {
        u128::from(
            self.address(position).is_some_and(|address| self.avoids(address) || self.excludes(address)),
        )
    }

    pub(crate) fn release(&mut self, position: Position, family: Family) {
        self.spans[position.0].release(position.1);
        let beyond = self.is_beyond(position);
        let state = self.family_mut(family);
        state.assigned = state.assigned.saturating_sub(1);
        state.beyond = state.beyond.saturating_sub(beyond);
        state.open.insert(position.0);
    }

    pub(crate) fn join_group(&mut self, position: Position, family: Family, occupancy: &Occupancy) {
        if let Some(key) = &occupancy.key {
            self.family_mut(family).groups.entry(key.clone()).or_default().insert(position);
        }
    }

    pub(crate) fn leave_group(&mut self, position: Position, family: Family, key: Option<&str>) {
        let Some(key) = key else { return };
        let groups = &mut self.family_mut(family).groups;
        if let Some(group) = groups.get_mut(key) {
            group.remove(position);
            if group.is_empty() {
                groups.remove(key);
            }
        }
    }

    /// How much is used and free, when so many free addresses of each family are held back.
    pub(crate) fn counts(&self, held_back_v4: u128, held_back_v6: u128) -> Counts {
        let shown = |value: u128| i64::try_from(value).unwrap_or(i64::MAX);
        let available = |state: &FamilyState, held_back: u128| {
            let assigned = state.assigned.saturating_sub(state.beyond);
            shown(state.capacity.saturating_sub(assigned).saturating_sub(held_back))
        };
        Counts {
            assigned_v4: shown(self.v4.assigned),
            assigned_v6: shown(self.v6.assigned),
            available_v4: available(&self.v4, held_back_v4),
            available_v6: available(&self.v6, held_back_v6),
        }
    }

    fn family(&self, family: Family) -> &FamilyState {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    fn family_mut(&mut self, family: Family) -> &mut FamilyState {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

/// Some clients drop packets from IPv4 addresses that end in 0 or 255, as if they were of a /24's broadcast.
fn is_buggy(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => matches!(v4.octets()[3], 0 | 255),
        IpAddr::V6(_) => false,
    }
}

fn buggy_in(range: AddressRange) -> u128 {
    let (IpAddr::V4(first), IpAddr::V4(last)) = (range.first(), range.last()) else { return 0 };
    // Below n there are n/256 whole blocks with two such addresses each, and the 0 of a block begun.
    let below = |n: u128| 2 * (n / 256) + u128::from(!n.is_multiple_of(256));
    below(u128::from(last.to_bits()) + 1) - below(u128::from(first.to_bits()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_end_in_0_or_255_are_counted() {
        for (range, count) in [
            ("192.0.2.0/24", 2),
            ("192.0.2.0/32", 1),
            ("192.0.2.255/32", 1),
            ("192.0.2.1-192.0.2.254", 0),
            ("192.0.2.255-192.0.3.0", 2),
            ("10.0.0.0/16", 512),
            ("0.0.0.0/0", 1 << 25),
            ("2001:db8::/120", 0),
        ] {
            assert_eq!(buggy_in(range.parse().unwrap()), count, "{range}");
        }
    }
}
