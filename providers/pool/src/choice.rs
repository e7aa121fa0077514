//! Which addresses a Service gets when it names none.

use std::{collections::BTreeMap, net::IpAddr};

use landfall_model::{Family, Pool, Reason};

use crate::{
    Allocator, Claimant, Demand, Rejection, Request, configuration::Turn, permission::Use,
    pool_state::PoolState, sharing::Occupancy, withheld::Withheld,
};

impl Allocator {
    pub(crate) fn choose(&mut self, request: &Request<'_>) -> Result<Vec<IpAddr>, Rejection> {
        if let Some(reserved) = self.reserved_for(request) {
            return Ok(reserved);
        }
        if let Some(name) = request.pool {
            return self.choose_from(name, request);
        }
        let mut over_quota = None;
        // A pinned pool with one family comes before a general one with both.
        for pinned in [true, false] {
            for families in request.demand.passes() {
                if let Some(chosen) = self.choose_among(pinned, families, &request.claimant, &mut over_quota)
                {
                    return Ok(chosen);
                }
            }
        }
        if request.demand == Demand::Both
            && let Some(chosen) = self.choose_of_two(&request.claimant)
        {
            return Ok(chosen);
        }
        if let Some(pool) = over_quota {
            return Err(self.quota_exceeded(&pool, &request.claimant));
        }
        let reason = if self.order.is_empty() { Reason::NoPools } else { Reason::NoAvailableAddresses };
        Err(Rejection::new(reason, "no available IPs"))
    }

    /// One address of each family, each from the first pool that is not pinned and has one.
    fn choose_of_two(&mut self, claimant: &Claimant<'_>) -> Option<Vec<IpAddr>> {
        let mut chosen = Vec::new();
        for family in [&[Family::V4], &[Family::V6]] {
            chosen.extend(self.choose_among(false, family, claimant, &mut None)?);
        }
        Some(chosen)
    }

    /// What is reserved for the Service, if that is enough and nobody else has it: of all families that it can make use
    /// of, or of those that are reserved.
    fn reserved_for(&self, request: &Request<'_>) -> Option<Vec<IpAddr>> {
        let reserved = self.reservations.get(request.claimant.service)?;
        request.demand.passes().iter().find_map(|families| {
            let of_each = families.iter().map(|family| {
                reserved
                    .iter()
                    .copied()
                    .find(|address| Family::of(*address) == *family && self.gives(*address, request))
            });
            of_each.collect::<Option<Vec<IpAddr>>>()
        })
    }

    fn gives(&self, address: IpAddr, request: &Request<'_>) -> bool {
        let permitted = self.permit(&request.claimant, &[address], Use::Asks);
        permitted
            .is_ok_and(|pools| pools.iter().all(|pool| request.pool.is_none_or(|wanted| wanted == &**pool)))
    }

    pub(crate) fn quota_exceeded(&self, pool: &str, claimant: &Claimant<'_>) -> Rejection {
        let quota = self.pools.get(pool).and_then(|state| state.pool.rules.quota).unwrap_or_default();
        let namespace = &claimant.service.namespace;
        let cause =
            format!("no available IPs: namespace {namespace} may have {quota} of pool {pool}, and has them");
        Rejection::of_pool(pool, Reason::QuotaExceeded, cause)
    }

    /// From the first of the pinned pools, or of the general ones, that has a free address of each family.
    fn choose_among(
        &mut self,
        pinned: bool,
        families: &[Family],
        claimant: &Claimant<'_>,
        over_quota: &mut Option<Box<str>>,
    ) -> Option<Vec<IpAddr>> {
        let open = families.iter().map(|family| self.open.get(family));
        let open = open.min_by_key(|open| open.map_or(0, |open| open.len())).flatten()?;
        let first_general: Turn = (true, i64::MIN, Box::default());
        let open = if pinned { open.range(..first_general) } else { open.range(first_general..) };
        let mut full: Vec<Box<str>> = Vec::new();
        let mut chosen = None;
        for (.., name) in open {
            match automatic(&mut self.pools, &self.addresses, &self.withheld, name, families, claimant) {
                Ok(picked) => {
                    chosen = Some(picked);
                    break;
                }
                Err(Reason::PoolExhausted) => full.push(name.clone()),
                Err(Reason::QuotaExceeded) => *over_quota = Some(name.clone()),
                Err(_) => {}
            }
        }
        for name in full {
            self.list(&name);
        }
        chosen
    }

    /// Why each pool does not serve a request that names none, in the order of the attempt. Costs a look at every
    /// pool: for people who ask.
    pub fn why_not(&mut self, request: &Request<'_>) -> Vec<(Box<str>, Reason)> {
        let turns: Vec<Turn> = self.order.iter().cloned().collect();
        turns
            .into_iter()
            .filter_map(|(.., name)| Some((name.clone(), self.against(&name, request)?)))
            .collect()
    }

    /// The pinned pools that a request that names none waits for: they would serve it if they had a free address.
    pub fn full_pinned(&mut self, request: &Request<'_>) -> Vec<Box<str>> {
        let pinned: Vec<Box<str>> = self
            .order
            .iter()
            .take_while(|(general, ..)| !general)
            .filter(|(.., name)| {
                self.pools.get(name).is_some_and(|state| refusal(&state.pool, &request.claimant).is_none())
            })
            .map(|(.., name)| name.clone())
            .collect();
        pinned.into_iter().filter(|name| self.against(name, request) == Some(Reason::PoolExhausted)).collect()
    }

    /// What the passes over one pool say, told by the most telling of them.
    fn against(&mut self, name: &str, request: &Request<'_>) -> Option<Reason> {
        let mut told = None;
        for families in request.demand.passes() {
            let Self { pools, addresses, withheld, .. } = self;
            let reason = automatic(pools, addresses, withheld, name, families, &request.claimant).err()?;
            if told.is_none() || reason == Reason::PoolExhausted {
                told = Some(reason);
            }
        }
        told
    }

    fn choose_from(&mut self, name: &str, request: &Request<'_>) -> Result<Vec<IpAddr>, Rejection> {
        let passes = request.demand.passes();
        let Some(state) = self.pools.get(name) else {
            return Err(Rejection::of_pool(name, Reason::UnknownPool, format!("unknown pool \"{name}\"")));
        };
        if let Some(reason) = refusal(&state.pool, &request.claimant) {
            return Err(Rejection::incompatible(name, reason));
        }
        let mut last = Reason::PoolExhausted;
        for families in passes {
            match pick(&mut self.pools, &self.addresses, &self.withheld, name, families, &request.claimant) {
                Ok(picked) => return Ok(picked),
                Err(Reason::QuotaExceeded) => return Err(self.quota_exceeded(name, &request.claimant)),
                Err(reason) => last = telling(last, reason, passes),
            }
        }
        Err(none_in_pool(name, last, request.demand.families()))
    }
}

pub(crate) fn refusal(pool: &Pool, claimant: &Claimant<'_>) -> Option<Reason> {
    pool.refusal(&claimant.service.namespace, claimant.namespace_labels, claimant.labels)
}

fn automatic(
    pools: &mut BTreeMap<Box<str>, PoolState>,
    addresses: &BTreeMap<IpAddr, Occupancy>,
    withheld: &Withheld,
    name: &str,
    families: &[Family],
    claimant: &Claimant<'_>,
) -> Result<Vec<IpAddr>, Reason> {
    let Some(state) = pools.get(name) else { return Err(Reason::UnknownPool) };
    if let Some(reason) = refusal(&state.pool, claimant) {
        return Err(reason);
    }
    if !state.pool.auto_assign {
        return Err(Reason::NotAutoAssigned);
    }
    pick(pools, addresses, withheld, name, families, claimant)
}

/// The first address of each family, or why there is none.
pub(crate) fn pick(
    pools: &mut BTreeMap<Box<str>, PoolState>,
    addresses: &BTreeMap<IpAddr, Occupancy>,
    withheld: &Withheld,
    name: &str,
    families: &[Family],
    claimant: &Claimant<'_>,
) -> Result<Vec<IpAddr>, Reason> {
    let Some(state) = pools.get_mut(name) else { return Err(Reason::UnknownPool) };
    if families.iter().any(|family| !state.has_family(*family)) {
        return Err(Reason::FamilyMissing);
    }
    if !state.has_quota(&claimant.service.namespace, families.len()) {
        return Err(Reason::QuotaExceeded);
    }
    let admits = |address: IpAddr| {
        if withheld.against(address, claimant.service).is_some() {
            return false;
        }
        let occupancy = addresses.get(&address);
        occupancy.is_none_or(|o| o.admits(address, claimant.service, &claimant.sharing).is_ok())
    };
    let mut picked = Vec::with_capacity(families.len());
    for family in families {
        picked.push(state.pick(*family, &claimant.sharing, withheld, admits).ok_or(Reason::PoolExhausted)?);
    }
    Ok(picked)
}

/// Of the reasons of several passes, the one that says most: a full pool may become free.
fn telling(known: Reason, new: Reason, passes: &[&[Family]]) -> Reason {
    if passes.len() == 1 || new == Reason::PoolExhausted { new } else { known }
}

pub(crate) fn none_in_pool(pool: &str, reason: Reason, families: &[Family]) -> Rejection {
    let cause = if reason == Reason::FamilyMissing {
        let names: Vec<&str> = families.iter().map(|family| family.as_str()).collect();
        format!("no available IPs in pool {pool}: it has no {} addresses", names.join(" and "))
    } else {
        format!("no available IPs in pool {pool}")
    };
    Rejection::of_pool(pool, reason, cause)
}

#[cfg(test)]
mod tests {
    use landfall_model::{Labels, ServiceKey};

    use super::*;
    use crate::{Demand, Sharing};

    fn allocate(allocator: &mut Allocator, name: &str, key: Option<&str>) -> Option<String> {
        let (labels, service) = (Labels::new(), ServiceKey::new("shop", name));
        let sharing = Sharing { key: key.map(Into::into), ..Sharing::default() };
        let claimant = Claimant { service: &service, labels: &labels, namespace_labels: &labels, sharing };
        let demand = Demand::One(Family::V4);
        let request = Request { claimant, demand, pool: None, addresses: Vec::new() };
        allocator.allocate(&request).ok().map(|got| got[0].to_string())
    }

    #[test]
    fn full_pools_are_tried_once() {
        let mut allocator = Allocator::default();
        for index in 0..1000 {
            allocator.set_pool(Pool {
                name: format!("p{index:03}").into(),
                labels: Labels::new(),
                ranges: vec![format!("10.{}.{}.1/32", index / 250, index % 250).parse().unwrap()],
                auto_assign: true,
                avoid_buggy_ips: false,
                allocation: None,
                rules: landfall_model::PoolRules::default(),
            });
        }
        for index in 0..1000 {
            let got = allocate(&mut allocator, &format!("s{index}"), None);
            assert_eq!(got, Some(format!("10.{}.{}.1", index / 250, index % 250)));
            assert!(allocator.open[&Family::V4].len() <= 1001 - index, "{index}");
        }
        assert_eq!(allocate(&mut allocator, "late", None), None);
        assert!(allocator.open[&Family::V4].is_empty());
        allocator.release(&ServiceKey::new("shop", "s500"));
        assert_eq!(allocator.open[&Family::V4].len(), 1);
        assert_eq!(allocate(&mut allocator, "late", Some("k")), Some("10.2.0.1".to_owned()));
        assert_eq!(allocate(&mut allocator, "sharer", Some("k")), Some("10.2.0.1".to_owned()));
        assert_eq!(allocate(&mut allocator, "other", None), None);
        assert_eq!(allocator.open[&Family::V4].len(), 1, "others with the key may come");
    }
}
