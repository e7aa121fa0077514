//! One whole speaker, to which everything happens: objects, links, frames, lying members, failing rules, late timers.

mod object;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use arbitrary::Arbitrary;
use landfall_engine::{
    Command, IfIndex, Input, Link, Mac,
    cluster::Settings as ClusterSettings,
    forwarding::{Ruleset, TableName},
    links::NamePattern,
    membership::{BootId, Key, Timing},
    speaker::{Minority, Settings, Speaker},
    wire::{ArpOperation, Frame, NeighborRepr},
};
use landfall_model::{Instant, Observation};

use self::object::{Object, peer_address};
use super::sealed::{Beat, CLUSTER, SECRET, put, seal};
use crate::lan::frames::arp_request;
use crate::objects::{advertisement, ip, node, pool, see_advertisement, see_node, see_pool};

const PORT: u16 = 7_946;
const ME: &str = "me";
const BOOT: BootId = BootId { seconds: 1_000, random: 7 };
const NODES: [&str; 3] = [ME, "n1", "n2"];
const ADDRESSES: [&str; 4] = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "203.0.113.1"];

#[derive(Arbitrary, Debug)]
enum Operation {
    Link {
        index: u8,
        name: u8,
        flags: u16,
    },
    LinkGone {
        index: u8,
    },
    /// An object of the API appears, changes or goes.
    Object(Object),
    Ask {
        index: u8,
        address: u8,
    },
    Frame {
        index: u8,
        bytes: Vec<u8>,
    },
    Datagram {
        from: u8,
        bytes: Vec<u8>,
    },
    Beat {
        peer: u8,
        phase: u8,
        hears: bool,
        claims: Vec<(u8, u8, bool)>,
        more: Option<(u8, Vec<u8>)>,
    },
    Keys {
        number: u8,
    },
    Rules {
        fail: bool,
    },
    /// Time passes, and every timer is served when it is due.
    Pass {
        millis: u16,
    },
    /// Time passes, and the process does not run.
    Stall {
        millis: u16,
    },
    Shutdown,
}

struct Bed {
    speaker: Speaker,
    now: Instant,
    sequence: u64,
    macs: BTreeMap<IfIndex, Mac>,
    /// The addresses of all speakers, by Pod.
    speakers: BTreeMap<Box<str>, Vec<IpAddr>>,
    /// The owners as they were told.
    told: BTreeMap<IpAddr, Option<Box<str>>>,
    joined: BTreeSet<(IfIndex, Ipv6Addr)>,
    rules_under_way: bool,
    finished: bool,
    leads: bool,
    cut_off: bool,
}

/// The speaker of the node `me`.
pub(crate) fn speaker(input: &[u8]) {
    let mut bed = Bed::new();
    for operation in super::operations(input, 100) {
        bed.apply(operation);
        bed.drain();
        bed.check();
    }
    bed.apply(Operation::Shutdown);
    bed.drain();
    bed.pass(Duration::from_millis(2_001));
    assert!(bed.finished, "a shutdown takes two seconds at most");
    assert_eq!(bed.speaker.poll_timeout(), None);
    assert!(bed.joined.is_empty(), "groups stay joined: {:?}", bed.joined);
}

impl Bed {
    fn new() -> Self {
        let settings = Settings {
            node: ME.into(),
            cluster: ClusterSettings::default(),
            boot: BOOT,
            seed: 1,
            timing: Timing::default(),
            port: PORT,
            exclude: NamePattern::defaults(),
            node_port: true,
            relays: true,
            version: "0".into(),
            standalone: true,
            minority: Minority::Serve,
            fail_back: None,
            refresh: Some(Duration::from_secs(20)),
        };
        let mut bed = Self {
            speaker: Speaker::new(settings),
            now: Instant::from_micros(1_000_000),
            sequence: 0,
            macs: BTreeMap::new(),
            speakers: BTreeMap::new(),
            told: BTreeMap::new(),
            joined: BTreeSet::new(),
            rules_under_way: false,
            finished: false,
            leads: false,
            cut_off: false,
        };
        bed.apply(Operation::Link { index: 0, name: 0, flags: 0 });
        bed.apply(Operation::Keys { number: 1 });
        bed.observe(see_pool(pool("lan", &["192.0.2.0/24", "2001:db8::/64"])));
        bed.observe(see_advertisement(advertisement("all")));
        for (number, name) in (0u8..).zip(NODES) {
            bed.observe(see_node(node(name)));
            bed.apply(Operation::Object(Object::Speaker { node: number, gone: false }));
        }
        bed.observe(Observation::Synced);
        bed.drain();
        bed
    }

    fn handle(&mut self, input: Input) {
        self.speaker.handle(input, self.now);
    }

    fn observe(&mut self, observation: Observation) {
        if let Observation::Speaker(pod, view) = &observation {
            self.speakers.remove(pod);
            self.speakers.extend(view.iter().map(|view| (pod.clone(), view.addresses.clone())));
        }
        self.handle(Input::Observed(observation));
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Link { index, name, flags } => self.link(index, name, flags),
            Operation::LinkGone { index } => {
                let index = IfIndex(u32::from(index) % 3 + 1);
                // What is still to be sent there is sent before.
                self.drain();
                self.macs.remove(&index);
                self.joined.retain(|(joined, _)| *joined != index);
                self.handle(Input::Link(index, None));
            }
            Operation::Ask { index, address } => {
                let bytes = match ip(ADDRESSES[usize::from(address) % 2]) {
                    IpAddr::V4(target) => arp_request(target),
                    IpAddr::V6(_) => Vec::new(),
                };
                self.handle(Input::Frame { interface: IfIndex(u32::from(index) % 3 + 1), bytes });
            }
            Operation::Frame { index, bytes } => {
                self.handle(Input::Frame { interface: IfIndex(u32::from(index) % 3 + 1), bytes });
            }
            Operation::Datagram { from, bytes } => {
                self.handle(Input::Datagram { from: SocketAddr::new(peer_address(from), PORT), bytes });
            }
            Operation::Beat { peer, phase, hears, claims, more } => {
                let peer = 1 + peer % 2;
                let bytes = self.beat(peer, phase, hears, &claims, more);
                self.handle(Input::Datagram { from: SocketAddr::new(peer_address(peer), PORT), bytes });
            }
            Operation::Keys { number } => {
                let key = Key::derive(SECRET, CLUSTER).expect("the secret is not empty");
                self.handle(Input::Keys(vec![key; usize::from(number) % 3]));
            }
            Operation::Rules { fail } => {
                // An answer that nobody waits for is harmless.
                self.rules_under_way = false;
                self.handle(Input::Forwarding(if fail { Err("refused".into()) } else { Ok(()) }));
            }
            Operation::Pass { millis } => self.pass(Duration::from_millis(u64::from(millis) % 4_000)),
            Operation::Stall { millis } => self.now += Duration::from_millis(millis.into()),
            Operation::Shutdown => self.handle(Input::Shutdown),
            Operation::Object(object) => {
                let observation = object.observation();
                self.observe(observation);
            }
        }
    }

    fn link(&mut self, index: u8, name: u8, flags: u16) {
        let index = IfIndex(u32::from(index) % 3 + 1);
        self.drain();
        let mac = Mac([2, 0, 0, 0, 0, u8::try_from(index.0).expect("it is small") + 16 * (name % 3)]);
        let net = if flags & 16 == 0 { "192.0.2.200/24" } else { "198.51.100.1/24" };
        let link = Link {
            index,
            name: ["eth0", "eth1", "veth7"][usize::from(name) % 3].into(),
            mac: (flags & 1 == 0).then_some(mac),
            running: flags & 6 != 6,
            broadcast: flags & 24 != 24,
            arp: flags & 96 != 96,
            enslaved: flags & 384 == 384,
            loopback: flags & 1536 == 1536,
            addresses: vec![
                net.parse().expect("it is a prefix"),
                "fe80::1/64".parse().expect("it is a prefix"),
            ],
            default_v4: flags & 2048 == 0,
            default_v6: flags & 4096 == 0,
            gateways: Vec::new(),
        };
        match link.mac.filter(|_| link.running) {
            Some(mac) => self.macs.insert(index, mac),
            None => self.macs.remove(&index),
        };
        self.handle(Input::Link(index, Some(link)));
    }

    fn beat(
        &mut self,
        peer: u8,
        phase: u8,
        hears: bool,
        claims: &[(u8, u8, bool)],
        more: Option<(u8, Vec<u8>)>,
    ) -> Vec<u8> {
        const CHANGES: u8 = 11;
        self.sequence += 1;
        let mut fields = Beat {
            sender: NODES[usize::from(peer)],
            receiver: ME,
            stamp: (1, 1, self.sequence),
            phase: 1 + phase % 3,
            interval_micros: 100_000,
            echo: Some((BOOT.seconds, BOOT.random, u8::from(hears))),
            digests: (0, 0, self.sequence, 1),
        }
        .fields();
        let mut changes = Vec::new();
        for (address, epoch, present) in claims.iter().take(8) {
            match ip(ADDRESSES[usize::from(*address) % 4]) {
                IpAddr::V4(v4) => changes.extend([&[4][..], &v4.octets()].concat()),
                IpAddr::V6(v6) => changes.extend([&[6][..], &v6.octets()].concat()),
            }
            changes.push(u8::from(*present));
            changes.extend(u64::from(*epoch).to_be_bytes());
        }
        put(&mut fields, CHANGES, &changes);
        if let Some((kind, value)) = more {
            put(&mut fields, kind, &value);
        }
        seal(&fields)
    }

    /// Serves every timer when it is due.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut steps = 0;
        while let Some(next) = self.speaker.poll_timeout().filter(|next| *next <= end) {
            if next > self.now {
                steps = 0;
                self.now = next;
            }
            steps += 1;
            assert!(steps < 100, "it is busy without an end");
            self.speaker.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(command) = self.speaker.next_command() {
            assert!(!self.finished, "{command:?} after the end");
            match command {
                Command::SendFrame { interface, bytes } => self.frame(interface, &bytes),
                Command::SendDatagram { to, bytes } => {
                    let member = self.speakers.values().flatten().any(|address| *address == to.ip());
                    assert!(member && to.port() == PORT, "a datagram to {to}, who is no member");
                    assert!(bytes.len() <= 1_200, "{} bytes", bytes.len());
                }
                Command::Group { interface, group, join } => {
                    let entry = (interface, group);
                    let changed = if join { self.joined.insert(entry) } else { self.joined.remove(&entry) };
                    assert!(changed, "joined or left twice");
                }
                Command::Listen(_) => {}
                Command::Forward(table) => {
                    assert!(!self.rules_under_way, "one change at a time");
                    self.rules_under_way = true;
                    let text = Ruleset::of(&table).text(&TableName::default());
                    assert_eq!(text.matches('{').count(), text.matches('}').count(), "{text}");
                }
                Command::Ownership { address, from, to, .. } => {
                    assert_ne!(from, to);
                    let known = self.told.insert(address, to).flatten();
                    assert_eq!(known, from, "a change from what was not told");
                }
                Command::TookOver { address, .. } => {
                    let owner = self.told.get(&address).and_then(Option::as_deref);
                    assert_eq!(owner, Some(ME), "it took {address} over");
                }
                Command::Lost { node, .. } => assert_ne!(&*node, ME, "nobody misses himself"),
                Command::Lead(leads) => {
                    assert_ne!(self.leads, leads, "only changes are told");
                    self.leads = leads;
                }
                Command::CutOff(cut_off) => {
                    assert_ne!(self.cut_off, cut_off, "only changes are told");
                    self.cut_off = cut_off;
                }
                Command::Adopt(assigned) => {
                    assert!(!self.leads, "it decides although it is behind: {assigned:?}");
                }
                Command::Status { .. } | Command::Event { .. } => {}
                Command::Finished => self.finished = true,
            }
        }
    }

    /// A frame speaks for an address that this node told to be its own, with the Ethernet address of the interface.
    fn frame(&self, interface: IfIndex, bytes: &[u8]) {
        let (subject, source) = match Frame::parse(bytes).expect("what is sent is valid") {
            // It asks the kernel of a silent peer, and speaks for nobody.
            Frame::Arp { ethernet, arp }
                if arp.operation == ArpOperation::Request && arp.sender != arp.target =>
            {
                assert_eq!(self.macs.get(&interface), Some(&ethernet.source), "a question on {interface:?}");
                return;
            }
            Frame::Neighbor { ethernet, neighbor: NeighborRepr::Solicit { .. }, .. } => {
                assert_eq!(self.macs.get(&interface), Some(&ethernet.source), "a question on {interface:?}");
                return;
            }
            Frame::Arp { ethernet, arp } => (IpAddr::V4(arp.sender), ethernet.source),
            Frame::Neighbor { ethernet, neighbor: NeighborRepr::Advert { target, .. }, .. } => {
                (IpAddr::V6(target), ethernet.source)
            }
        };
        assert_eq!(self.macs.get(&interface), Some(&source), "{subject} on {interface:?}");
        let owner = self.told.get(&subject).and_then(Option::as_deref);
        assert_eq!(owner, Some(ME), "it speaks for {subject}");
    }

    fn check(&self) {
        if self.finished {
            return;
        }
        let snapshot = self.speaker.snapshot();
        for (address, owner) in &snapshot.owners {
            assert!(!owner.answering || *owner.node == *ME || !snapshot.ready, "{address}: {owner:?}");
        }
        assert!(snapshot.members.len() <= 2 && snapshot.services.len() <= 4);
    }
}
