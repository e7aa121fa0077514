use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use landfall_model::{Family, Instant, Pool, Reason, ServiceKey};

use crate::{
    Claimant, Counts, Demand, Refused, Rejection, Request, Sharing,
    choice::{none_in_pool, pick},
    configuration::{Slot, Turn},
    permission::{Use, of_pool},
    pool_state::PoolState,
    sharing::{Occupancy, Position},
    withheld::Withheld,
};

/// The pools in force and who holds which address.
///
/// An address is held by one Service, or by several that agree to share it. Nothing is taken back on its own: after
/// a change of the pools the holders that [`Allocator::set_pool`] names are to be checked by [`Allocator::keep`].
#[derive(Clone, Debug, Default)]
pub struct Allocator {
    pub(crate) pools: BTreeMap<Box<str>, PoolState>,
    pub(crate) refused: BTreeMap<Box<str>, Refused>,
    /// The ranges in force by first address; they are disjoint.
    pub(crate) ranges: BTreeMap<IpAddr, Slot>,
    /// All pools in force, in the order in which they are tried.
    pub(crate) order: BTreeSet<Turn>,
    /// Those of them that may have an address of a family for a Service that names no pool.
    pub(crate) open: BTreeMap<Family, BTreeSet<Turn>>,
    pub(crate) addresses: BTreeMap<IpAddr, Occupancy>,
    holdings: BTreeMap<ServiceKey, Holding>,
    /// What the pools in force reserve, by the Service that it is for.
    pub(crate) reservations: BTreeMap<ServiceKey, BTreeSet<IpAddr>>,
    pub(crate) withheld: Withheld,
    now: Instant,
    changes: Vec<Change>,
}

/// What one Service holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// One address, or one of each family, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// How it shares them.
    pub sharing: Sharing,
}

/// Something that may help a Service that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The last user of `address` left it.
    Freed {
        /// The pool it lies in, if any still does.
        pool: Option<Box<str>>,
        /// The address.
        address: IpAddr,
    },
    /// The Services of a namespace have one address less of a pool with a quota.
    Left {
        /// The namespace.
        namespace: Box<str>,
    },
    /// The users of `address` are not those they were.
    Users {
        /// The address.
        address: IpAddr,
        /// Its sharing key, if there may be room for others with that key now that was not there before.
        key: Option<Box<str>>,
    },
}

/// What a Service that keeps its addresses should still do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// An address of a family that it no longer has; it has been given back.
    pub dropped: Option<IpAddr>,
    /// A family that it wants and does not hold: try [`Allocator::complete`].
    pub missing: Option<Family>,
}

impl Allocator {
    /// Takes addresses that the Service already has in its status, without choosing: all or none. Nothing that the
    /// Service asks for is looked at, only what the configuration and the other holders allow.
    ///
    /// # Errors
    /// When the addresses are not one, or one of each family, of pools that may serve the Service, or when
    /// somebody else holds one and does not share it. What the Service held before is given back in any case.
    pub fn claim(&mut self, claimant: &Claimant<'_>, addresses: &[IpAddr]) -> Result<(), Rejection> {
        self.release(claimant.service);
        let mut addresses = addresses.to_vec();
        addresses.sort_unstable();
        let fits = match addresses.as_slice() {
            [_] => true,
            [first, second] => Family::of(*first) != Family::of(*second),
            [] | [_, _, _, ..] => false,
        };
        if !fits {
            return Err(Rejection::not_in_config(&addresses, Reason::NotAllowedByConfig));
        }
        self.permit(claimant, &addresses, Use::Has)?;
        self.hold(claimant, addresses);
        Ok(())
    }

    /// Chooses addresses for a Service and takes them. What it held before is given back first.
    ///
    /// # Errors
    /// The typed reason with every pool that was tried; nothing is held then.
    pub fn allocate(&mut self, request: &Request<'_>) -> Result<Vec<IpAddr>, Rejection> {
        self.release(request.claimant.service);
        let addresses =
            if request.addresses.is_empty() { self.choose(request)? } else { self.take_requested(request)? };
        self.hold(&request.claimant, addresses.clone());
        Ok(addresses)
    }

    /// Adds an address of `family` to what the Service holds, from the pool that it has.
    ///
    /// # Errors
    /// When that pool has none free; what the Service holds is untouched.
    pub fn complete(&mut self, request: &Request<'_>, family: Family) -> Result<IpAddr, Rejection> {
        let service = request.claimant.service;
        let held = self.holdings.get(service).map(|holding| holding.addresses.clone()).unwrap_or_default();
        let Some(pool) = held.first().and_then(|address| self.pool_of(*address)).map(Box::<str>::from) else {
            return Err(Rejection::new(Reason::NoAddress, "the Service holds no address of a pool"));
        };
        let picked =
            pick(&mut self.pools, &self.addresses, &self.withheld, &pool, &[family], &request.claimant)
                .map_err(|reason| {
                    let over_quota = reason == Reason::QuotaExceeded;
                    if over_quota {
                        self.quota_exceeded(&pool, &request.claimant)
                    } else {
                        none_in_pool(&pool, reason, &[family])
                    }
                })?;
        self.release_silently(service);
        let mut addresses = held;
        addresses.extend(picked.iter().copied());
        addresses.sort_unstable();
        self.hold(&request.claimant, addresses);
        picked.first().copied().ok_or_else(|| none_in_pool(&pool, Reason::PoolExhausted, &[family]))
    }

    /// Checks whether a Service may keep what it holds, and takes over changes of its ports and sharing key.
    ///
    /// An address that still fits the configuration, the request and the neighbours is kept, whatever else would be
    /// chosen today. Of two addresses the one whose family is no longer wanted is given back and the other stays
    /// (MetalLB would take both).
    ///
    /// # Errors
    /// Why the addresses must go; they are still held then. `request` is what was asked for, or, while that cannot
    /// be read, nothing but [`Request::claimant`] and [`Request::demand`].
    pub fn keep(&mut self, request: &Request<'_>) -> Result<Kept, Rejection> {
        let service = request.claimant.service;
        let Some(holding) = self.holdings.get(service) else {
            return Err(Rejection::new(Reason::NoAddress, "the Service holds no address"));
        };
        let held = holding.addresses.clone();
        let (kept, dropped): (Vec<IpAddr>, Vec<IpAddr>) =
            held.iter().partition(|address| request.demand.families().contains(&Family::of(**address)));
        if kept.is_empty() {
            return Err(Rejection::new(
                Reason::FamilyMismatch,
                format!("{} is not of the families of the Service's cluster IPs", crate::quoted(&held)),
            ));
        }
        let pools = self.permit(&request.claimant, &kept, Use::Has)?;
        of_pool(request, &pools, &kept)?;
        if !request.addresses.is_empty() && request.addresses != kept {
            return Err(Rejection::new(
                Reason::NotAllowedByConfig,
                format!("requested is {}, not {}", crate::quoted(&request.addresses), crate::quoted(&kept)),
            ));
        }
        if holding.sharing != request.claimant.sharing || !dropped.is_empty() {
            self.release_silently(service);
            self.hold(&request.claimant, kept.clone());
            for address in held {
                self.announce_change(address);
            }
        }
        let missing = match request.demand {
            Demand::One(_) => None,
            Demand::Both | Demand::Prefer { .. } => {
                let families = [Family::V4, Family::V6];
                families.into_iter().find(|family| kept.iter().all(|address| Family::of(*address) != *family))
            }
        };
        Ok(Kept { dropped: dropped.first().copied(), missing })
    }

    /// Gives back everything that the Service holds, and returns it.
    pub fn release(&mut self, service: &ServiceKey) -> Vec<IpAddr> {
        let addresses = self.release_silently(service);
        for address in &addresses {
            self.announce_change(*address);
        }
        addresses
    }

    /// Gives back everything, of all Services. The pools stay.
    pub fn release_all(&mut self) {
        let services: Vec<ServiceKey> = self.holdings.keys().cloned().collect();
        for service in &services {
            self.release_silently(service);
        }
        self.withheld.wake_all();
        self.changes.clear();
    }

    /// What happened to addresses since the last call, in order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// What the Service holds.
    #[must_use]
    pub fn holding(&self, service: &ServiceKey) -> Option<&Holding> {
        self.holdings.get(service)
    }

    /// Who uses the address, in order of name.
    pub fn users(&self, address: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.addresses.get(&address).into_iter().flat_map(|occupancy| &occupancy.users)
    }

    /// The pool in force that the address lies in.
    #[must_use]
    pub fn pool_of(&self, address: IpAddr) -> Option<&str> {
        self.locate(address).map(|(pool, _)| pool)
    }

    /// The version of a pool that is in force.
    #[must_use]
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.get(name).map(|state| &state.pool)
    }

    /// All pools in force, by name.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.pools.values().map(|state| &state.pool)
    }

    /// How much of a pool is used and free.
    #[must_use]
    pub fn counts(&self, pool: &str) -> Option<Counts> {
        let state = self.pools.get(pool)?;
        let free = |address: &IpAddr| !self.addresses.contains_key(address);
        let mut held_back = [0, 0];
        let withheld = state.pool.ranges.iter().flat_map(|range| {
            self.withheld.between(range.first(), range.last()).filter(|address| !state.keeps_back(*address))
        });
        for address in state.reserved().chain(withheld).filter(free) {
            held_back[usize::from(Family::of(address) == Family::V6)] += 1;
        }
        Some(state.counts(held_back[0], held_back[1]))
    }

    /// Whether the pool has an address of this family that nobody holds.
    pub fn has_free(&mut self, pool: &str, family: Family) -> bool {
        let withheld = &self.withheld;
        self.pools.get_mut(pool).is_some_and(|state| state.first_free(family, withheld).is_some())
    }

    /// Whether some pool that is not pinned has a free address of this family for a Service that names none.
    pub fn has_general(&mut self, family: Family) -> bool {
        let Self { pools, open, withheld, .. } = self;
        let general = open.get(&family).into_iter().flatten().filter(|(general, ..)| *general);
        let mut states = general
            .map(|(.., name)| pools.get_mut(name).and_then(|state| state.first_free(family, withheld)));
        states.any(|free| free.is_some())
    }

    /// The pools that the addresses lie in, each once, with commas between: what a Service is marked with.
    #[must_use]
    pub fn pools_of(&self, addresses: &[IpAddr]) -> Option<String> {
        let mut pools: Vec<&str> = addresses.iter().filter_map(|address| self.pool_of(*address)).collect();
        pools.dedup();
        (!pools.is_empty()).then(|| pools.join(","))
    }

    /// Takes over the addresses of a node; without any it is gone. None of them is handed out as long as a node has it. Who
    /// has one already keeps it.
    ///
    /// Returns the pools whose counts change.
    pub fn set_node(&mut self, node: &str, addresses: Vec<IpAddr>) -> BTreeSet<Box<str>> {
        let touched = self.withheld.set_node(node, addresses);
        for address in &touched {
            self.offer(*address);
        }
        touched.iter().filter_map(|address| self.pool_of(*address)).map(Into::into).collect()
    }

    /// Ends every quarantine that is over at `now`. Times of later changes are counted from it.
    pub fn at(&mut self, now: Instant) {
        self.now = now;
        while let Some(address) = self.withheld.rested(now) {
            self.offer(address);
        }
    }

    /// When the next quarantine ends.
    #[must_use]
    pub fn next_end_of_quarantine(&self) -> Option<Instant> {
        self.withheld.next_end()
    }

    /// An address that may be held back no more is there for others, or to be shared with who has it.
    fn offer(&mut self, address: IpAddr) {
        if self.withheld.holds_back(address) {
            return;
        }
        let Some((pool, position)) = self.place(address) else { return };
        if let Some(state) = self.pools.get_mut(&pool) {
            match self.addresses.get(&address) {
                Some(occupancy) => state.join_group(position, Family::of(address), occupancy),
                None => state.give_back(position, Family::of(address)),
            }
        }
        self.list(&pool);
        self.announce_change(address);
    }

    fn take_requested(&self, request: &Request<'_>) -> Result<Vec<IpAddr>, Rejection> {
        let pools = self.permit(&request.claimant, &request.addresses, Use::Asks)?;
        of_pool(request, &pools, &request.addresses)?;
        Ok(request.addresses.clone())
    }

    fn hold(&mut self, claimant: &Claimant<'_>, addresses: Vec<IpAddr>) {
        for address in &addresses {
            let place = self.place(*address);
            let family = Family::of(*address);
            self.withheld.wake(*address);
            let first = !self.addresses.contains_key(address);
            let occupancy = self.addresses.entry(*address).or_default();
            let counted = occupancy.has_namespace(&claimant.service.namespace);
            occupancy.join(claimant.service, &claimant.sharing);
            // One more on an address that is shared already leaves less room to others, not more.
            let key = if first { occupancy.key.clone() } else { None };
            if let Some((pool, position)) = place
                && let Some(state) = self.pools.get_mut(&pool)
            {
                if first {
                    state.take(position, family);
                }
                if !counted {
                    state.join_namespace(&claimant.service.namespace);
                }
                state.join_group(position, family, occupancy);
                self.list(&pool);
            }
            self.changes.push(Change::Users { address: *address, key });
        }
        let holding = Holding { addresses, sharing: claimant.sharing.clone() };
        self.holdings.insert(claimant.service.clone(), holding);
    }

    fn release_silently(&mut self, service: &ServiceKey) -> Vec<IpAddr> {
        let Some(holding) = self.holdings.remove(service) else { return Vec::new() };
        for address in &holding.addresses {
            let place = self.place(*address);
            let family = Family::of(*address);
            let Some(occupancy) = self.addresses.get_mut(address) else { continue };
            occupancy.leave(service);
            let empty = occupancy.users.is_empty();
            let left = !occupancy.has_namespace(&service.namespace);
            if let Some((pool, position)) = place
                && let Some(state) = self.pools.get_mut(&pool)
            {
                if left && state.leave_namespace(&service.namespace) {
                    self.changes.push(Change::Left { namespace: service.namespace.clone() });
                }
                if empty && let Some(quarantine) = state.pool.rules.quarantine {
                    self.withheld.rest(*address, service.clone(), self.now + quarantine);
                }
                if empty {
                    state.leave_group(position, family, occupancy.key.as_deref());
                    state.release(position, family);
                } else {
                    state.join_group(position, family, occupancy);
                }
                self.list(&pool);
            }
            if empty {
                self.addresses.remove(address);
            }
        }
        holding.addresses
    }

    fn announce_change(&mut self, address: IpAddr) {
        let change = match self.addresses.get(&address) {
            Some(occupancy) => Change::Users { address, key: occupancy.key.clone() },
            // Those that wait for it are told when its rest is over.
            None if self.withheld.holds_back(address) => return,
            None => Change::Freed { pool: self.pool_of(address).map(Into::into), address },
        };
        self.changes.push(change);
    }

    pub(crate) fn locate(&self, address: IpAddr) -> Option<(&str, usize)> {
        let (_, slot) = self.ranges.range(..=address).next_back()?;
        (slot.last >= address).then_some((&*slot.pool, slot.span))
    }

    fn place(&self, address: IpAddr) -> Option<(Box<str>, Position)> {
        let (pool, span) = self.locate(address)?;
        let position = self.pools.get(pool)?.position(span, address)?;
        Some((pool.into(), position))
    }
}
