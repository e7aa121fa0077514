use std::net::IpAddr;

use landfall_model::Reason;

use crate::{Allocator, Claimant, Rejection, Request, choice::refusal};

/// What an address is looked at for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// A Service has it, and would keep it.
    Has,
    /// A Service would get it.
    Asks,
}

impl Allocator {
    /// Checks that the addresses lie in pools that may serve the claimant, and that their users agree; returns the pools'
    /// names. What is asked for must lie in one pool, and be free for this Service.
    pub(crate) fn permit(
        &self,
        claimant: &Claimant<'_>,
        addresses: &[IpAddr],
        to: Use,
    ) -> Result<Vec<Box<str>>, Rejection> {
        let mut pools: Vec<Box<str>> = Vec::new();
        for address in addresses {
            let found = self.locate(*address).and_then(|(name, _)| Some((name, self.pools.get(name)?)));
            let Some((name, state)) = found else {
                return Err(Rejection::not_in_config(addresses, Reason::AddressNotInPools));
            };
            if to == Use::Asks && pools.iter().any(|pool| **pool != *name) {
                return Err(Rejection::not_in_config(addresses, Reason::AddressesInDifferentPools));
            }
            if pools.iter().all(|pool| **pool != *name) {
                pools.push(name.into());
            }
            if let Some(reason) = refusal(&state.pool, claimant) {
                return Err(Rejection::incompatible(name, reason));
            }
            if state.avoids(*address) {
                return Err(Rejection::not_in_config(addresses, Reason::BuggyAddress));
            }
            let occupancy = self.addresses.get(address);
            if let Some(occupancy) = occupancy {
                occupancy.admits(*address, claimant.service, &claimant.sharing)?;
            }
            if to == Use::Asks {
                let against = state.against(*address, claimant.service);
                if let Some(reason) = against.or_else(|| self.withheld.against(*address, claimant.service)) {
                    return Err(self.held_back(*address, name, reason));
                }
                let namespace = &claimant.service.namespace;
                let counted = occupancy.is_some_and(|occupancy| occupancy.has_namespace(namespace));
                if !counted && !state.has_quota(namespace, addresses.len()) {
                    return Err(self.quota_exceeded(name, claimant));
                }
            }
        }
        Ok(pools)
    }

    fn held_back(&self, address: IpAddr, pool: &str, reason: Reason) -> Rejection {
        let owner = self.pools.get(pool).and_then(|state| state.pool.rules.reserved.get(&address));
        let why = match (reason, owner) {
            (Reason::AddressExcluded, _) => format!("pool {pool} excludes it"),
            (Reason::AddressReserved, Some(owner)) => format!("pool {pool} reserves it for {owner}"),
            (Reason::NodeAddress, _) => "a node has it".to_owned(),
            (..) => format!("another Service gave it back, and it is in quarantine, as pool {pool} says"),
        };
        Rejection::of_pool(pool, reason, format!("[\"{address}\"] is not handed out: {why}"))
    }
}

/// Whether addresses of these pools are what a request for a pool means.
pub(crate) fn of_pool(
    request: &Request<'_>,
    pools: &[Box<str>],
    addresses: &[IpAddr],
) -> Result<(), Rejection> {
    let Some(wanted) = request.pool else { return Ok(()) };
    match pools.iter().find(|pool| ***pool != *wanted) {
        Some(pool) => Err(Rejection::of_pool(
            pool,
            Reason::PoolMismatch,
            format!("{} is of pool {pool}, requested is pool {wanted}", crate::quoted(addresses)),
        )),
        None => Ok(()),
    }
}
