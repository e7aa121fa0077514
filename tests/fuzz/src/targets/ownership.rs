//! Ownership on one node: Services, peers, claims and time in any order.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use arbitrary::Arbitrary;
use landfall_engine::{
    cluster::{Cluster, Member, Settings},
    links::LinkSummary,
    membership::{Claim, Epoch, MemberState},
    ownership::{Event, Ownership, Role, YIELD},
};
use landfall_model::{
    EXCLUDE_LABEL, Instant, NodeView, Observation, PreferredNode, ServiceView, TrafficPolicy,
};

use crate::objects::{
    advertisement, ip, key, node, pool, see_advertisement, see_node, see_pool, see_service, see_slice,
    service, slice,
};

const NODES: [&str; 4] = ["a", "b", "c", "d"];
const ADDRESSES: [&str; 5] = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2"];

#[derive(Arbitrary, Debug)]
enum Operation {
    /// A peer says what it claims.
    Claim {
        peer: u8,
        address: u8,
        epoch: Option<u8>,
        highest: bool,
    },
    State {
        peer: u8,
        state: u8,
        wrong_link: bool,
    },
    /// A peer is no member any more.
    Forget {
        peer: u8,
    },
    Node {
        node: u8,
        flags: u8,
    },
    Service {
        name: u8,
        addresses: u8,
        local: bool,
        gone: bool,
    },
    Endpoints {
        name: u8,
        nodes: u8,
    },
    Pool {
        gone: bool,
    },
    Wait {
        millis: u16,
    },
    /// Evaluate once more without a reason.
    Again,
    /// A person asks for an owner, perhaps for one that does not exist, or for none any more.
    Prefer {
        name: u8,
        node: u8,
    },
}

struct Bed {
    cluster: Cluster,
    ownership: Ownership,
    now: Instant,
    /// The Services as they were seen last.
    services: BTreeMap<String, ServiceView>,
    requests: u64,
    /// What each peer claims, heard or not.
    claims: BTreeMap<(IpAddr, &'static str), Epoch>,
    /// The owners as they were told.
    told: BTreeMap<IpAddr, Option<Box<str>>>,
    /// Since when this node answers for a group that it should not own.
    yielding: BTreeMap<IpAddr, Instant>,
}

fn peer(number: u8) -> &'static str {
    NODES[1 + usize::from(number) % 3]
}

/// The node `a` of four.
pub(crate) fn ownership(input: &[u8]) {
    let mut bed = Bed {
        cluster: Cluster::new(Settings::default()),
        ownership: Ownership::new("a", Some(Duration::from_millis(700))),
        now: Instant::from_micros(1),
        services: BTreeMap::new(),
        requests: 0,
        claims: BTreeMap::new(),
        told: BTreeMap::new(),
        yielding: BTreeMap::new(),
    };
    bed.start();
    for operation in super::operations(input, 100) {
        let urgent = bed.apply(operation);
        bed.evaluate(urgent);
        bed.check();
    }
}

fn member(state: MemberState, wrong_link: bool) -> Member {
    let prefix = if wrong_link { "198.51.100.0/24" } else { "192.0.2.0/24" };
    let link = LinkSummary {
        name: "eth0".into(),
        prefixes: vec![
            prefix.parse().expect("it is a prefix"),
            "2001:db8::/64".parse().expect("it is a prefix"),
        ],
        default_v4: true,
        default_v6: true,
        arp: true,
        ndp: true,
        mac: None,
    };
    Member { links: Some(vec![link]), node_port: true, ..Member::unread(state) }
}

impl Bed {
    fn start(&mut self) {
        self.cluster.observe(see_pool(pool("lan", &["192.0.2.0/24", "2001:db8::/64"])));
        self.cluster.observe(see_advertisement(advertisement("all")));
        for name in NODES {
            self.cluster.observe(see_node(node(name)));
        }
        self.cluster.set_member("a", Some(member(MemberState::Alive { settled: true }, false)));
        self.cluster.observe(Observation::Synced);
        self.evaluate(BTreeSet::new());
    }

    /// Gives the addresses whose claims changed.
    fn apply(&mut self, operation: Operation) -> BTreeSet<IpAddr> {
        match operation {
            Operation::Claim { peer, address, epoch, highest } => {
                let (peer, address) =
                    (self::peer(peer), ip(ADDRESSES[usize::from(address) % ADDRESSES.len()]));
                let epoch = epoch.map(|epoch| Epoch(if highest { u64::MAX } else { epoch.into() }));
                match epoch {
                    Some(epoch) => self.claims.insert((address, peer), epoch),
                    None => self.claims.remove(&(address, peer)),
                };
                let changes = BTreeMap::from([(address, epoch.map(|epoch| Claim { epoch }))]);
                self.ownership.set_claims(peer, &changes, true, self.now);
                return BTreeSet::from([address]);
            }
            Operation::State { peer, state, wrong_link } => {
                let state = match state % 6 {
                    0 => MemberState::Unknown,
                    1 => MemberState::Alive { settled: false },
                    2 => MemberState::Degraded,
                    3 => MemberState::Dead,
                    4 => MemberState::Leaving,
                    _ => MemberState::Alive { settled: true },
                };
                let peer = self::peer(peer);
                self.cluster.set_member(peer, Some(member(state, wrong_link)));
                return self.ownership.set_heard(peer, state.is_heard()).into_iter().collect();
            }
            Operation::Forget { peer } => {
                let peer = self::peer(peer);
                self.cluster.set_member(peer, None);
                self.claims.retain(|(_, node), _| *node != peer);
                return self.ownership.forget_node(peer).into_iter().collect();
            }
            Operation::Node { node: number, flags } => {
                let mut view = NodeView {
                    ready: flags & 1 == 0,
                    network_unavailable: flags & 6 == 6,
                    leaving: flags & 8 != 0,
                    ..node(NODES[usize::from(number) % 4])
                };
                if flags & 16 != 0 {
                    view.labels.insert(EXCLUDE_LABEL.to_owned(), String::new());
                }
                self.cluster.observe(see_node(view));
            }
            Operation::Service { name, addresses, local, gone } => {
                let name = format!("s{}", name % 4);
                let chosen = ADDRESSES.iter().enumerate().filter(|(bit, _)| addresses & (1 << bit) != 0);
                let chosen: Vec<&str> = chosen.map(|(_, address)| *address).collect();
                let mut view = service(&name, &chosen);
                if local {
                    view.traffic_policy = TrafficPolicy::Local;
                }
                let before = self.services.remove(&name);
                if gone {
                    self.cluster.observe(Observation::Service(key(&name), None));
                } else {
                    view.requests.preferred_node = before.and_then(|before| before.requests.preferred_node);
                    self.cluster.observe(see_service(view.clone()));
                    self.services.insert(name, view);
                }
            }
            Operation::Endpoints { name, nodes } => {
                let chosen = NODES.iter().enumerate().filter(|(bit, _)| nodes & (1 << bit) != 0);
                let chosen: Vec<&str> = chosen.map(|(_, node)| *node).collect();
                self.cluster.observe(see_slice(slice(&format!("s{}", name % 4), &chosen)));
            }
            Operation::Pool { gone: true } => self.cluster.observe(Observation::Pool("lan".into(), None)),
            Operation::Pool { gone: false } => {
                self.cluster.observe(see_pool(pool("lan", &["192.0.2.0/24", "2001:db8::/64"])));
            }
            Operation::Wait { millis } => self.now += Duration::from_millis(millis.into()),
            Operation::Again => {
                return self.cluster.groups().iter().flat_map(|(_, group)| group.addresses.clone()).collect();
            }
            Operation::Prefer { name, node } => {
                self.requests += 1;
                if let Some(view) = self.services.get_mut(&format!("s{}", name % 4)) {
                    let nodes = NODES.into_iter().chain(["nobody"]).map(Some).chain([None]);
                    let node = nodes.cycle().nth(node.into()).flatten();
                    let requested: Box<str> = self.requests.to_string().into();
                    view.requests.preferred_node =
                        node.map(|node| PreferredNode { node: node.into(), requested });
                    self.cluster.observe(see_service(view.clone()));
                }
            }
        }
        BTreeSet::new()
    }

    /// As the speaker does it.
    fn evaluate(&mut self, mut urgent: BTreeSet<IpAddr>) {
        urgent.extend(self.ownership.take_lapsed(self.now));
        let touched = self.cluster.take_touched();
        for id in &touched.gone {
            self.ownership.forget_group(*id);
        }
        for (service, node) in touched.moves {
            self.ownership.ask(service, node);
        }
        for address in touched.orphans {
            self.ownership.abandon(address);
            self.yielding.remove(&address);
        }
        let mut groups = touched.groups;
        groups.extend(touched.nodes.iter().flat_map(|node| self.ownership.concerned(node)));
        for address in urgent {
            match self.cluster.groups().of(address) {
                Some(id) => drop(groups.insert(id)),
                None => self.ownership.forget_address(address),
            }
        }
        groups.extend(self.ownership.take_due(self.now));
        for id in groups {
            let Some(appraisal) = self.cluster.appraise(id) else { continue };
            let before = self.ownership.mine().clone();
            let role = self.ownership.evaluate(id, &appraisal, self.now);
            let addresses = appraisal.group().addresses.clone();
            self.check_role(role, &addresses, &before);
        }
        let next = self.ownership.poll_timeout();
        assert!(next.is_none_or(|next| next > self.now), "{next:?} is not after {:?}", self.now);
        while let Some(event) = self.ownership.next_event() {
            match event {
                Event::Owner { address, from, to, .. } => {
                    assert_ne!(from, to);
                    let known = self.told.insert(address, to).flatten();
                    assert_eq!(known, from, "a change from what was not told");
                }
                Event::Defend(address) => assert!(self.ownership.mine().contains_key(&address)),
            }
        }
    }

    fn check_role(&mut self, role: Role, addresses: &[IpAddr], before: &BTreeMap<IpAddr, Claim>) {
        for address in addresses {
            let mine = self.ownership.mine().get(address);
            let holder = self.ownership.holder(*address);
            match role {
                Role::Owner => {
                    let mine = mine.expect("an owner claims");
                    let lost = mine.epoch == Epoch(u64::MAX);
                    assert!(
                        lost || holder.is_some_and(|(node, _)| node == "a"),
                        "{address} is held by {holder:?}"
                    );
                    if before.get(address) != Some(mine) {
                        let peers = self.claims.range((*address, "")..=(*address, "~"));
                        let highest = peers.map(|(_, epoch)| *epoch).max();
                        assert!(lost || highest.is_none_or(|highest| mine.epoch > highest), "epoch");
                    }
                    self.yielding.remove(address);
                }
                Role::Yielding => {
                    if mine.is_some() {
                        self.yielding.entry(*address).or_insert(self.now);
                    }
                }
                Role::Bystander => {
                    assert_eq!(mine, None, "who has nothing to do with {address} does not claim it");
                    self.yielding.remove(address);
                }
            }
        }
    }

    fn check(&self) {
        let used: BTreeSet<IpAddr> =
            self.cluster.groups().iter().flat_map(|(_, group)| group.addresses.clone()).collect();
        for address in self.ownership.mine().keys() {
            assert!(used.contains(address), "{address} is claimed and no Service has it");
        }
        for (address, owner) in self.ownership.owners() {
            assert!(used.contains(&address), "{address} has an owner and no Service has it");
            assert_eq!(self.told.get(&address).and_then(Option::as_deref), Some(owner));
        }
        for held in self.ownership.held() {
            assert!(self.cluster.groups().get(held).is_some(), "{held:?} is held and is no group");
        }
        // Whoever must go answers for a second at most, twice that when the group changed meanwhile.
        for (address, since) in &self.yielding {
            let due = self.ownership.poll_timeout();
            let over = self.now.since(*since) > YIELD * 2;
            assert!(!over || due.is_some(), "{address} is yielded for ever");
        }
    }
}
