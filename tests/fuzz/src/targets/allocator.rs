//! The allocator: requests, releases and changing pools in any order.

use std::{collections::BTreeMap, net::IpAddr};

use arbitrary::Arbitrary;
use landfall_model::{
    AddressRange, Family, FamilyPolicy, Labels, Pool, PortSpec, Protocol, ServiceAllocation, ServiceKey,
    ServiceView, TrafficPolicy,
};
use landfall_pool::{Allocator, Change, Claimant, Demand, Request};

use crate::cluster;

#[derive(Arbitrary, Debug)]
enum Operation {
    Allocate(Wish),
    Keep(Wish),
    Claim { wish: Wish, first: u8, second: Option<u8> },
    Complete { wish: Wish, v6: bool },
    Release { name: u8 },
    ReleaseAll,
    Set { name: u8, ranges: u8, kind: u8, priority: i8 },
    Remove { name: u8 },
}

/// What one Service is and asks for.
#[derive(Arbitrary, Debug)]
struct Wish {
    name: u8,
    families: u8,
    key: u8,
    port: u8,
    local: bool,
    ask: u8,
}

const RANGES: [&str; 8] = [
    "192.0.2.0/31",
    "192.0.2.1-192.0.2.3",
    "2001:db8::/127",
    "192.0.2.255/32",
    "2001:db8::2/128",
    "0.0.0.0/0",
    "::/0",
    "198.51.100.250-198.51.101.5",
];

fn address(number: u8) -> IpAddr {
    let text = match number % 8 {
        0 => "192.0.2.0",
        1 => "192.0.2.1",
        2 => "192.0.2.2",
        3 => "192.0.2.255",
        4 => "2001:db8::",
        5 => "2001:db8::1",
        6 => "255.255.255.255",
        _ => "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    };
    text.parse().expect("it is an address")
}

fn view(wish: &Wish) -> ServiceView {
    let mut view = cluster::service(&format!("s{}", wish.name % 10));
    let (policy, families) = match wish.families % 6 {
        0 => (FamilyPolicy::SingleStack, vec![Family::V6]),
        1 => (FamilyPolicy::RequireDualStack, vec![Family::V4, Family::V6]),
        2 => (FamilyPolicy::PreferDualStack, vec![Family::V4, Family::V6]),
        3 => (FamilyPolicy::PreferDualStack, vec![Family::V6, Family::V4]),
        _ => (FamilyPolicy::SingleStack, vec![Family::V4]),
    };
    (view.family_policy, view.cluster_families) = (policy, families);
    let protocol = if wish.port & 1 == 0 { Protocol::Tcp } else { Protocol::Udp };
    let port = 80 + u16::from(wish.port >> 1) % 2;
    view.ports = vec![PortSpec { name: "".into(), protocol, port, node_port: None }];
    view.requests.sharing_key = Some(wish.key % 3).filter(|key| *key > 0).map(|key| format!("k{key}").into());
    if wish.local {
        view.traffic_policy = TrafficPolicy::Local;
        view.selector.insert("app".to_owned(), (wish.name % 2).to_string());
    }
    match wish.ask % 8 {
        0 => view.requests.pool = Some(format!("p{}", wish.ask / 8 % 4).into()),
        1 => view.requests.addresses = Some(address(wish.ask / 8).to_string().into()),
        2 => view.requests.load_balancer_ip = Some(address(wish.ask / 8).to_string().into()),
        3 => {
            let pair = [address(wish.ask / 8), address(wish.ask / 8 + 4)];
            view.requests.addresses = Some(format!("{},{}", pair[0], pair[1]).into());
        }
        _ => {}
    }
    view
}

fn pool(name: u8, ranges: u8, kind: u8, priority: i8) -> Pool {
    let chosen = RANGES.iter().enumerate().filter(|(bit, _)| ranges & (1 << bit) != 0);
    let chosen: Vec<&str> = chosen.map(|(_, range)| *range).collect();
    let namespace = if kind & 4 == 0 { "shop" } else { "other" };
    let allocation = ServiceAllocation {
        priority: priority.into(),
        namespaces: [namespace.into()].into(),
        ..ServiceAllocation::default()
    };
    Pool {
        avoid_buggy_ips: kind & 1 != 0,
        auto_assign: kind & 24 != 24,
        allocation: (kind & 2 != 0).then_some(allocation),
        ..cluster::pool(&format!("p{}", name % 4), &chosen)
    }
}

#[derive(Default)]
struct Bed {
    allocator: Allocator,
    /// The traits under which each Service last came through.
    known: BTreeMap<ServiceKey, ServiceView>,
    /// Who held what when changes were last looked at.
    seen: BTreeMap<IpAddr, Vec<ServiceKey>>,
}

/// One allocator.
pub(crate) fn allocator(input: &[u8]) {
    let mut bed = Bed::default();
    bed.allocator.set_pool(pool(0, 1 | 4, 0, 0));
    for operation in super::operations(input, 100) {
        bed.apply(operation);
        bed.check();
    }
    bed.allocator.release_all();
    assert!(bed.known.keys().all(|key| bed.allocator.holding(key).is_none()));
}

impl Bed {
    fn apply(&mut self, operation: Operation) {
        let none = Labels::new();
        match operation {
            Operation::Allocate(wish) => self.allocate(view(&wish)),
            Operation::Keep(wish) => {
                let view = view(&wish);
                let Ok(request) = Request::of(&view, &none) else { return };
                let before = self.held(&view.key);
                if let Ok(kept) = self.allocator.keep(&request) {
                    let mut expected = before;
                    expected.retain(|address| Some(*address) != kept.dropped);
                    assert_eq!(self.held(&view.key), expected, "kept is kept");
                    self.known.insert(view.key.clone(), view);
                } else {
                    assert_eq!(self.held(&view.key), before, "what must go is still held");
                }
            }
            Operation::Claim { wish, first, second } => {
                let view = view(&wish);
                let addresses: Vec<IpAddr> =
                    [Some(first), second].into_iter().flatten().map(address).collect();
                if self.allocator.claim(&Claimant::of(&view, &none), &addresses).is_ok() {
                    let held = self.held(&view.key);
                    assert!(addresses.iter().all(|address| held.contains(address)));
                    self.known.insert(view.key.clone(), view);
                } else {
                    assert!(self.held(&view.key).is_empty(), "all or none");
                }
            }
            Operation::Complete { wish, v6 } => {
                // Under the traits that it holds its address with.
                let Some(view) = self.known.get(&view(&wish).key).cloned() else { return };
                let (held, Ok(request)) = (self.held(&view.key), Request::of(&view, &none)) else { return };
                let family = if v6 { Family::V6 } else { Family::V4 };
                if held.is_empty() || held.iter().any(|address| Family::of(*address) == family) {
                    return;
                }
                match self.allocator.complete(&request, family) {
                    Ok(address) => {
                        assert_eq!(Family::of(address), family);
                        assert!(held.iter().all(|before| self.held(&view.key).contains(before)));
                    }
                    Err(_) => assert_eq!(self.held(&view.key), held),
                }
            }
            Operation::Release { name } => {
                let key = cluster::key(&format!("s{}", name % 10));
                assert_eq!(self.held(&key), self.allocator.release(&key));
            }
            Operation::ReleaseAll => {
                self.allocator.release_all();
                self.seen.clear();
            }
            Operation::Set { name, ranges, kind, priority } => {
                self.allocator.set_pool(pool(name, ranges, kind, priority));
            }
            Operation::Remove { name } => {
                self.allocator.remove_pool(&format!("p{}", name % 4));
            }
        }
    }

    fn allocate(&mut self, view: ServiceView) {
        let none = Labels::new();
        let Ok(request) = Request::of(&view, &none) else { return };
        self.allocator.release(&view.key);
        let plain = request.pool.is_none() && request.addresses.is_empty();
        let expected = match request.demand {
            Demand::One(family) if plain => Some(self.first_fit(&request, family)),
            Demand::One(_) | Demand::Both | Demand::Prefer { .. } => None,
        };
        let got = self.allocator.allocate(&request);
        match &got {
            Ok(addresses) => {
                assert!(!addresses.is_empty() && *addresses == self.held(&view.key));
                let families: Vec<Family> = addresses.iter().map(|address| Family::of(*address)).collect();
                assert!(
                    families.is_sorted() && families.iter().all(|f| request.demand.families().contains(f))
                );
                assert!(request.addresses.is_empty() || request.addresses == *addresses);
                assert!(request.demand != Demand::Both || addresses.len() == 2);
                self.known.insert(view.key.clone(), view);
            }
            Err(_) => assert!(self.held(&view.key).is_empty(), "all or none"),
        }
        if let Some(expected) = expected {
            assert_eq!(got.ok().map(|addresses| addresses[0]), expected, "the first that fits");
        }
    }

    fn held(&self, key: &ServiceKey) -> Vec<IpAddr> {
        self.allocator.holding(key).map(|holding| holding.addresses.clone()).unwrap_or_default()
    }

    /// What a search through all addresses finds first: pools in their order, ranges as listed, the lowest first.
    fn first_fit(&self, request: &Request<'_>, family: Family) -> Option<IpAddr> {
        let mut pools: Vec<&Pool> = self.allocator.pools().filter(|pool| pool.auto_assign).collect();
        pools.retain(|pool| pool.admits("shop", &Labels::new(), &Labels::new()));
        pools.sort_by_key(|pool| {
            let priority = pool.allocation.as_ref().map(|allocation| i64::from(allocation.priority));
            (priority.is_none(), priority.map(|priority| if priority == 0 { i64::MAX } else { priority }))
        });
        let ranges = pools.iter().flat_map(|pool| pool.ranges.iter().map(|range| (*pool, *range)));
        let of_family = ranges.filter(|(_, range)| range.family() == family);
        of_family.into_iter().find_map(|(pool, range)| self.first_in(request, pool, range))
    }

    fn first_in(&self, request: &Request<'_>, pool: &Pool, range: AddressRange) -> Option<IpAddr> {
        // There are ten Services, and of any 256 addresses two are avoided.
        let all = (0..range.len().min(40)).filter_map(|offset| range.nth(offset));
        all.into_iter()
            .find(|address| !(pool.avoid_buggy_ips && is_buggy(*address)) && self.fits(request, *address))
    }

    fn fits(&self, request: &Request<'_>, address: IpAddr) -> bool {
        let wanted = &request.claimant.sharing;
        self.allocator.users(address).all(|user| {
            let its = &self.allocator.holding(user).expect("a user holds").sharing;
            its.key.is_some()
                && (&its.key, &its.backend) == (&wanted.key, &wanted.backend)
                && its.ports.is_disjoint(&wanted.ports)
        })
    }

    fn check(&mut self) {
        let mut users: BTreeMap<IpAddr, Vec<ServiceKey>> = BTreeMap::new();
        for key in self.known.keys() {
            for address in self.held(key) {
                users.entry(address).or_default().push(key.clone());
            }
        }
        for (address, keys) in &users {
            assert!(
                self.allocator.users(*address).eq(keys),
                "{address}: who uses it and who holds it differ"
            );
            for (index, one) in keys.iter().enumerate() {
                for other in &keys[index + 1..] {
                    let sharing = |key| &self.allocator.holding(key).expect("a user holds").sharing;
                    let (one, other) = (sharing(one), sharing(other));
                    assert!(one.key.is_some() && one.key == other.key, "{address} is held twice");
                    assert_eq!(one.backend, other.backend, "{address}");
                    assert!(one.ports.is_disjoint(&other.ports), "{address}");
                }
            }
        }
        self.check_pools(&users);
        self.check_changes(users);
    }

    fn check_pools(&self, users: &BTreeMap<IpAddr, Vec<ServiceKey>>) {
        let pools: Vec<&Pool> = self.allocator.pools().collect();
        for (index, one) in pools.iter().enumerate() {
            for other in &pools[index + 1..] {
                assert!(one.ranges.iter().all(|a| other.ranges.iter().all(|b| !a.overlaps(b))), "overlap");
            }
            let inside = |family| {
                let mine = |address: &&IpAddr| self.allocator.pool_of(**address) == Some(&*one.name);
                let count = users.keys().filter(|a| Family::of(**a) == family).filter(mine).count();
                i64::try_from(count).expect("inputs are short")
            };
            let counts = self.allocator.counts(&one.name).expect("the pool is in force");
            assert_eq!((counts.assigned_v4, counts.assigned_v6), (inside(Family::V4), inside(Family::V6)));
            assert!(counts.available_v4 >= 0 && counts.available_v6 >= 0);
        }
    }

    /// Whoever waits hears of every address that became free.
    fn check_changes(&mut self, users: BTreeMap<IpAddr, Vec<ServiceKey>>) {
        let changes = self.allocator.take_changes();
        for address in self.seen.keys().filter(|address| !users.contains_key(address)) {
            let told = changes.iter().any(|change| match change {
                Change::Freed { address: freed, .. } => freed == address,
                Change::Users { .. } | Change::Left { .. } => false,
            });
            assert!(told, "{address} is free and nobody was told");
        }
        self.seen = users;
    }
}

fn is_buggy(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => matches!(v4.octets()[3], 0 | 255),
        IpAddr::V6(_) => false,
    }
}
