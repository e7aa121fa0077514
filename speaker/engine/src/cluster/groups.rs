use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use landfall_model::ServiceKey;

/// Names a group: its lowest address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub IpAddr);

/// Addresses that one node owns together, because Services use them together (dual stack, sharing).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its Services, the oldest first (ties: by key). Never empty.
    pub services: Vec<ServiceKey>,
    /// Its addresses: first the one that nodes are ranked for, which is the first address of the oldest Service,
    /// then the others in order. Never empty.
    pub addresses: Vec<IpAddr>,
}

impl Group {
    /// The address that nodes are ranked for.
    #[must_use]
    pub fn rank_address(&self) -> IpAddr {
        *self.addresses.first().expect("invariant: a group has an address")
    }
}

/// All groups. They partition the addresses that Services use.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    groups: BTreeMap<GroupId, Group>,
    group_of: BTreeMap<IpAddr, GroupId>,
    users: BTreeMap<IpAddr, BTreeSet<ServiceKey>>,
}

/// What a change did to the groups.
#[derive(Debug, Default)]
pub(super) struct Regrouped {
    pub(super) made: BTreeSet<GroupId>,
    /// Among them may be ids of `made`: the lowest address stayed the same.
    pub(super) dissolved: BTreeSet<GroupId>,
    pub(super) orphans: BTreeSet<IpAddr>,
}

impl Groups {
    /// The group of this id.
    #[must_use]
    pub fn get(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(&id)
    }

    /// The group that an address belongs to.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Option<GroupId> {
        self.group_of.get(&address).copied()
    }

    /// All groups, in order of their lowest address.
    pub fn iter(&self) -> impl Iterator<Item = (GroupId, &Group)> {
        self.groups.iter().map(|(id, group)| (*id, group))
    }

    /// Replaces the addresses that `service` uses, and forms the groups anew that this touches.
    ///
    /// `age` and `addresses_of` answer for every Service, this one with its new addresses included.
    pub(super) fn change<A>(
        &mut self,
        service: &ServiceKey,
        before: &[IpAddr],
        after: &[IpAddr],
        age: impl Fn(&ServiceKey) -> i64,
        addresses_of: impl Fn(&ServiceKey) -> A,
    ) -> Regrouped
    where
        A: Iterator<Item = IpAddr>,
    {
        for address in before {
            if let Some(users) = self.users.get_mut(address) {
                users.remove(service);
                if users.is_empty() {
                    self.users.remove(address);
                }
            }
        }
        for address in after {
            self.users.entry(*address).or_default().insert(service.clone());
        }
        let seeds: BTreeSet<IpAddr> = before.iter().chain(after).copied().collect();
        let mut regrouped = Regrouped::default();
        let mut loose = BTreeSet::new();
        for id in seeds.iter().filter_map(|seed| self.of(*seed)).collect::<BTreeSet<_>>() {
            let group = self.groups.remove(&id).expect("invariant: an address points to a group that exists");
            for address in &group.addresses {
                self.group_of.remove(address);
            }
            loose.extend(group.addresses);
            regrouped.dissolved.insert(id);
        }
        loose.extend(seeds);
        for address in loose {
            if self.group_of.contains_key(&address) {
                continue;
            }
            match self.component(address, &age, &addresses_of) {
                Some(group) => regrouped.made.insert(self.insert(group)),
                None => regrouped.orphans.insert(address),
            };
        }
        regrouped
    }

    /// The group around `start`, or `None` when no Service uses it.
    fn component<A: Iterator<Item = IpAddr>>(
        &self,
        start: IpAddr,
        age: &impl Fn(&ServiceKey) -> i64,
        addresses_of: &impl Fn(&ServiceKey) -> A,
    ) -> Option<Group> {
        let mut addresses = BTreeSet::from([start]);
        let mut services = BTreeSet::new();
        let mut open = vec![start];
        while let Some(address) = open.pop() {
            for service in self.users.get(&address).into_iter().flatten() {
                if services.insert((age(service), service.clone())) {
                    open.extend(addresses_of(service).filter(|address| addresses.insert(*address)));
                }
            }
        }
        let services: Vec<_> = services.into_iter().map(|(_, service)| service).collect();
        let first = addresses_of(services.first()?).next()?;
        let rest = addresses.into_iter().filter(|address| *address != first);
        let addresses = std::iter::once(first).chain(rest).collect();
        Some(Group { services, addresses })
    }

    fn insert(&mut self, group: Group) -> GroupId {
        let lowest = group.addresses.iter().copied().min().expect("invariant: a group has an address");
        let id = GroupId(lowest);
        for address in &group.addresses {
            self.group_of.insert(*address, id);
        }
        self.groups.insert(id, group);
        id
    }
}
