//! Several honest machines over a network that does with packets what it likes. Left in peace, they agree.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use arbitrary::Arbitrary;
use landfall_engine::{
    Mac,
    links::LinkSummary,
    membership::{
        BootId, Claim, DropReason, Epoch, Event, Key, MemberState, Membership, Phase, Profile, Settings,
        Timing,
    },
};
use landfall_model::Instant;

use super::sealed::{CLUSTER, SECRET};

const NODES: usize = 3;
/// No packet is longer, so that none is ever cut on its way.
const MAX_LEN: usize = 1_200;
/// On the way from one machine to another at most; what comes on top is dropped.
const IN_FLIGHT: usize = 200;

#[derive(Arbitrary, Debug)]
enum Operation {
    /// The network hands out one of the packets that are on their way.
    Deliver {
        which: u8,
    },
    Duplicate {
        which: u8,
    },
    Lose {
        which: u8,
    },
    /// It hands out everything in order.
    DeliverAll,
    /// Everybody runs, and what they send arrives, for this long.
    Run {
        millis: u8,
    },
    /// Nobody hears anything for this long.
    Silence {
        millis: u16,
    },
    /// One machine does not run for this long; what was sent to it waits.
    Stall {
        node: u8,
        millis: u16,
    },
    Restart {
        node: u8,
        seconds: u8,
    },
    Claims {
        node: u8,
        first: u8,
        many: u8,
        epoch: u8,
        keep: bool,
    },
    Profile {
        node: u8,
        links: u8,
        prefixes: u8,
        version: String,
    },
    Members {
        node: u8,
        mask: u8,
    },
    Keys {
        node: u8,
        order: u8,
    },
    Leave {
        node: u8,
    },
}

struct Packet {
    from: usize,
    to: usize,
    bytes: Vec<u8>,
}

struct Bed {
    nodes: Vec<Membership>,
    profiles: Vec<Profile>,
    boots: [u64; NODES],
    flying: VecDeque<Packet>,
    now: Instant,
}

fn name(node: usize) -> Box<str> {
    format!("n{node}").into()
}

fn socket(node: usize) -> SocketAddr {
    let last = u8::try_from(node).expect("there are few nodes");
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), 7946)
}

fn keys(order: u8) -> Vec<Key> {
    let old = Key::derive(SECRET, CLUSTER).expect("the secret is not empty");
    let new = Key::derive(b"the next secret", CLUSTER).expect("the secret is not empty");
    match order % 4 {
        0 => vec![old],
        1 => vec![old, new],
        2 => vec![new, old],
        _ => vec![],
    }
}

/// Machines, packets and time.
pub(crate) fn membership(input: &[u8]) {
    let mut bed = Bed {
        nodes: Vec::new(),
        profiles: vec![Profile::default(); NODES],
        boots: [1; NODES],
        flying: VecDeque::new(),
        now: Instant::ZERO,
    };
    for node in 0..NODES {
        let machine = bed.machine(node, 1_000);
        bed.nodes.push(machine);
    }
    for operation in super::operations(input, 60) {
        bed.apply(operation);
    }
    bed.calm();
    bed.check();
}

impl Bed {
    fn machine(&self, node: usize, seconds: u64) -> Membership {
        let mut machine = Membership::new(Settings {
            node: name(node),
            boot: BootId { seconds, random: self.boots[node] },
            timing: Timing::default(),
            seed: self.boots[node],
        });
        machine.set_profile(&self.profiles[node], self.now);
        machine.set_keys(keys(0), self.now);
        machine.set_peers(members(7), self.now);
        machine
    }

    fn apply(&mut self, operation: Operation) {
        let node = |number: u8| usize::from(number) % NODES;
        match operation {
            Operation::Deliver { which } => {
                if let Some(packet) = self.take(which) {
                    self.deliver(packet);
                }
            }
            Operation::Duplicate { which } => {
                if let Some(packet) = self.take(which) {
                    let Packet { from, to, bytes } = &packet;
                    self.flying.push_back(Packet { from: *from, to: *to, bytes: bytes.clone() });
                    self.deliver(packet);
                }
            }
            Operation::Lose { which } => drop(self.take(which)),
            Operation::DeliverAll => self.deliver_all(None),
            Operation::Run { millis } => self.run(Duration::from_millis(millis.into()), None),
            Operation::Silence { millis } => {
                self.flying.clear();
                self.now += Duration::from_millis(millis.into());
                self.wake(None);
                self.flying.clear();
            }
            Operation::Stall { node: number, millis } => {
                self.run(Duration::from_millis(u64::from(millis) % 3_000), Some(node(number)));
            }
            Operation::Restart { node: number, seconds } => {
                let node = node(number);
                self.boots[node] += 1;
                // The wall clock may have gone back.
                self.nodes[node] = self.machine(node, 900 + u64::from(seconds));
            }
            Operation::Claims { node: number, first, many, epoch, keep } => {
                let node = node(number);
                let mut claims = if keep { self.nodes[node].own_claims().clone() } else { BTreeMap::new() };
                for offset in 0..u32::from(many) {
                    let address = if first & 1 == 0 {
                        IpAddr::V4(Ipv4Addr::from(0xc612_0000 + u32::from(first) + offset))
                    } else {
                        IpAddr::V6((0x2001_0db8_u128 << 96 | u128::from(u32::from(first) + offset)).into())
                    };
                    claims.insert(address, Claim { epoch: Epoch(epoch.into()) });
                }
                self.nodes[node].set_claims(&claims, self.now);
            }
            Operation::Profile { node: number, links, prefixes, version } => {
                let node = node(number);
                self.profiles[node] = profile(links, prefixes, &version);
                self.nodes[node].set_profile(&self.profiles[node], self.now);
            }
            Operation::Members { node: number, mask } => {
                self.nodes[node(number)].set_peers(members(mask), self.now);
            }
            Operation::Keys { node: number, order } => {
                self.nodes[node(number)].set_keys(keys(order), self.now)
            }
            Operation::Leave { node: number } => self.nodes[node(number)].leave(self.now),
        }
        self.collect();
    }

    fn take(&mut self, which: u8) -> Option<Packet> {
        let len = self.flying.len();
        (len > 0).then(|| self.flying.remove(usize::from(which) % len)).flatten()
    }

    fn deliver(&mut self, packet: Packet) {
        self.nodes[packet.to].handle_datagram(socket(packet.from), &packet.bytes, self.now);
        self.collect();
    }

    /// Hands out what is on its way, except to the node that is asleep.
    fn deliver_all(&mut self, asleep: Option<usize>) {
        let mut steps = 0;
        while let Some(at) = self.flying.iter().position(|packet| Some(packet.to) != asleep) {
            let packet = self.flying.remove(at).expect("it was found there");
            self.deliver(packet);
            steps += 1;
            assert!(steps < 20_000, "packets answer packets without an end");
        }
    }

    fn wake(&mut self, asleep: Option<usize>) {
        for node in (0..NODES).filter(|node| Some(*node) != asleep) {
            self.nodes[node].handle_timeout(self.now);
            let next = self.nodes[node].poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "{next:?} is not after {:?}", self.now);
        }
        self.collect();
    }

    fn run(&mut self, time: Duration, asleep: Option<usize>) {
        let end = self.now + time;
        loop {
            self.deliver_all(asleep);
            let awake = self.nodes.iter().enumerate().filter(|(node, _)| Some(*node) != asleep);
            let next = awake.filter_map(|(_, machine)| machine.poll_timeout()).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.wake(asleep);
        }
        self.now = end;
        self.deliver_all(asleep);
    }

    /// Puts on its way what the machines send.
    fn collect(&mut self) {
        for (from, machine) in self.nodes.iter_mut().enumerate() {
            while let Some(event) = machine.next_event() {
                let Event::Send { to, bytes } = event else { continue };
                assert!(bytes.len() <= MAX_LEN, "a packet of {} bytes", bytes.len());
                let to = (0..NODES).find(|node| socket(*node) == to).expect("members only");
                assert_ne!(to, from, "nobody sends to himself");
                if self.flying.iter().filter(|packet| (packet.from, packet.to) == (from, to)).count()
                    < IN_FLIGHT
                {
                    self.flying.push_back(Packet { from, to, bytes });
                }
            }
        }
    }

    /// Everybody has the members and the key, and the network works.
    fn calm(&mut self) {
        for node in 0..NODES {
            self.nodes[node].set_keys(keys(0), self.now);
            self.nodes[node].set_peers(members(7), self.now);
        }
        self.collect();
        self.run(Duration::from_secs(6), None);
    }

    fn check(&self) {
        for (node, machine) in self.nodes.iter().enumerate() {
            assert!(machine.settled(), "{node}");
            for (other, its) in self.nodes.iter().enumerate().filter(|(other, _)| *other != node) {
                let member = machine.member(&name(other)).expect("it is a member");
                // One that died several times must be heard for longer than this took, before it is settled.
                let expected = match its.phase() {
                    Phase::Leaving => member.state == MemberState::Leaving,
                    Phase::Joining | Phase::Serving => member.state.is_alive(),
                };
                assert!(expected, "{node} on {other}: {:?}", member.state);
                assert!(member.in_sync, "{node} on {other}");
                assert_eq!(member.claims, its.own_claims(), "{node} on {other}");
                assert_eq!(member.profile, Some(&self.profiles[other]), "{node} on {other}");
            }
            for reason in [
                DropReason::UnknownSource,
                DropReason::Malformed,
                DropReason::Version,
                DropReason::Forged,
                DropReason::BadField,
                DropReason::NotForUs,
                DropReason::OwnName,
                DropReason::WrongSource,
            ] {
                // Who is no member for a while is a stranger.
                let strange = matches!(reason, DropReason::UnknownSource);
                assert!(strange || machine.counters().dropped(reason) == 0, "{node}: {reason:?}");
            }
            assert_eq!(machine.counters().unreadable_profiles, 0, "{node}");
        }
    }
}

fn members(mask: u8) -> BTreeMap<Box<str>, Vec<SocketAddr>> {
    (0..NODES).filter(|node| mask & (1 << node) != 0).map(|node| (name(node), vec![socket(node)])).collect()
}

fn profile(links: u8, prefixes: u8, version: &str) -> Profile {
    let link = |number: u8| LinkSummary {
        name: format!("eth{number}").into(),
        prefixes: (0..prefixes % 16)
            .map(|net| format!("10.{number}.{net}.0/24").parse().expect("it is a prefix"))
            .collect(),
        default_v4: number & 1 == 0,
        default_v6: number & 2 == 0,
        arp: true,
        ndp: number & 4 == 0,
        mac: (number & 8 == 0).then_some(Mac([2, 0, 0, 0, 0, number])),
    };
    // What is longer is cut.
    let version = &version[..version.floor_char_boundary(255)];
    Profile {
        links: (0..links % 64).map(link).collect(),
        node_port: links & 128 == 0,
        version: version.into(),
        ..Profile::default()
    }
}
