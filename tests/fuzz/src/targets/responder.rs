//! The responder: announcements, links, frames and time in any order.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use arbitrary::Arbitrary;
use landfall_engine::{
    Command, IfIndex, Link, Mac,
    responder::Responder,
    wire::{
        ArpOperation, ArpRepr, BROADCAST, EtherType, EthernetRepr, Frame, Ipv6Repr, NeighborRepr,
        multicast_mac, solicited_node,
    },
};
use landfall_model::Instant;

/// The neighbour that asks.
const ASKER: Mac = Mac([2, 0, 0, 0, 0, 9]);
const INTERFACES: u32 = 3;

#[derive(Arbitrary, Debug)]
enum Operation {
    Announce {
        address: u8,
        interfaces: u8,
    },
    Reannounce {
        address: u8,
    },
    Withdraw {
        address: u8,
    },
    Link {
        interface: u8,
        state: State,
    },
    /// A proper question, in one of many forms.
    Ask {
        interface: u8,
        address: u8,
        form: u8,
    },
    /// Any bytes.
    Frame {
        interface: u8,
        bytes: Vec<u8>,
    },
    Wait {
        millis: u16,
    },
    Drain,
    Probe {
        address: u8,
        interfaces: u8,
    },
    /// Whoever was heard to have addresses is no member.
    Contest,
    Hold {
        address: u8,
        interfaces: u8,
    },
}

#[derive(Arbitrary, Debug)]
enum State {
    Gone,
    Down,
    Running { mac: u8 },
}

/// Some share a solicited-node group.
fn address(number: u8) -> IpAddr {
    match number % 6 {
        0 => Ipv4Addr::new(192, 0, 2, 50).into(),
        1 => Ipv4Addr::new(192, 0, 2, 51).into(),
        2 => v6(1, 0x50).into(),
        3 => v6(2, 0x50).into(),
        4 => v6(1, 0x51).into(),
        _ => Ipv4Addr::new(198, 51, 100, 1).into(),
    }
}

const fn v6(net: u16, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, host)
}

fn interface(number: u8) -> IfIndex {
    IfIndex(u32::from(number) % INTERFACES + 1)
}

#[derive(Default)]
struct Bed {
    responder: Responder,
    now: Instant,
    /// What must be true, kept in the plainest way.
    announced: BTreeMap<IpAddr, BTreeSet<IfIndex>>,
    /// Those of them that nobody may hear of.
    silent: BTreeSet<IpAddr>,
    links: BTreeMap<IfIndex, Mac>,
    joined: BTreeSet<(IfIndex, Ipv6Addr)>,
}

fn chosen(interfaces: u8) -> BTreeSet<IfIndex> {
    (1..=INTERFACES).filter(|index| interfaces & (1 << index) != 0).map(IfIndex).collect()
}

/// Announcements, links, questions, any bytes and time.
pub(crate) fn responder(input: &[u8]) {
    let responder = Responder::refreshing(Some(Duration::from_secs(20)), 1);
    let mut bed = Bed { responder, ..Bed::default() };
    for operation in super::operations(input, 200) {
        bed.apply(operation);
        bed.check();
    }
    bed.drain();
}

impl Bed {
    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Announce { address, interfaces } => {
                let (address, chosen) = (self::address(address), chosen(interfaces));
                self.silent.remove(&address);
                self.announced.insert(address, chosen.clone());
                self.responder.announce(address, chosen, self.now);
            }
            Operation::Reannounce { address } => self.responder.reannounce(self::address(address), self.now),
            Operation::Withdraw { address } => {
                self.announced.remove(&self::address(address));
                self.silent.remove(&self::address(address));
                self.responder.withdraw(self::address(address));
            }
            Operation::Link { interface, state } => self.link(self::interface(interface), state),
            Operation::Ask { interface, address, form } => {
                let interface = self::interface(interface);
                let bytes = question(self::address(address), form, self.links.get(&interface)).emit();
                self.frame(interface, &bytes);
            }
            Operation::Frame { interface, bytes } => self.frame(self::interface(interface), &bytes),
            Operation::Wait { millis } => {
                self.now += Duration::from_millis(millis.into());
                self.responder.handle_timeout(self.now);
                let next = self.responder.poll_timeout();
                assert!(next.is_none_or(|next| next > self.now), "{next:?} is not after {:?}", self.now);
            }
            Operation::Drain => self.drain(),
            Operation::Probe { address, interfaces } => {
                let (address, chosen) = (self::address(address), chosen(interfaces));
                if self.announced.insert(address, chosen.clone()).is_none() {
                    self.silent.insert(address);
                }
                self.responder.probe(address, chosen, self.now);
            }
            Operation::Hold { address, interfaces } => {
                let (address, chosen) = (self::address(address), chosen(interfaces));
                self.announced.insert(address, chosen.clone());
                self.silent.insert(address);
                self.responder.hold(address, chosen, self.now);
            }
            Operation::Contest => {
                for claimant in self.responder.take_claims().into_values() {
                    self.responder.contest(claimant, self.now);
                }
            }
        }
        for address in self.responder.take_cleared() {
            assert!(self.silent.remove(&address), "{address} was not being asked for");
        }
    }

    fn link(&mut self, interface: IfIndex, state: State) {
        // What was asked for before is carried out before.
        self.drain();
        let mac = |mac: u8| Mac([2, 0, 0, 0, 0, mac % 3 + 1]);
        let link = |running, mac| Link {
            index: interface,
            name: "eth".into(),
            mac: Some(mac),
            running,
            broadcast: true,
            arp: true,
            enslaved: false,
            loopback: false,
            addresses: Vec::new(),
            default_v4: false,
            default_v6: false,
            gateways: Vec::new(),
        };
        let link = match state {
            State::Gone => {
                self.joined.retain(|(joined, _)| *joined != interface);
                None
            }
            State::Down => Some(link(false, mac(0))),
            State::Running { mac: number } => Some(link(true, mac(number))),
        };
        match link.as_ref().filter(|link| link.running).and_then(|link| link.mac) {
            Some(mac) => self.links.insert(interface, mac),
            None => self.links.remove(&interface),
        };
        self.responder.handle_link(interface, link.as_ref(), self.now);
        self.drain();
    }

    /// Every frame is answered or counted as ignored, never both.
    fn frame(&mut self, interface: IfIndex, bytes: &[u8]) {
        let before = (self.ignored(), self.answered());
        self.responder.handle_frame(interface, bytes, self.now);
        let (ignored, answered) = (self.ignored() - before.0, self.answered() - before.1);
        assert_eq!(ignored + answered, 1, "{ignored} ignored, {answered} answered");
        if answered == 1 {
            let frame = Frame::parse(bytes).expect("only what is valid is answered");
            let target = match frame {
                Frame::Arp { arp, .. } => arp.target.into(),
                Frame::Neighbor { neighbor, .. } => IpAddr::from(neighbor.target()),
            };
            assert!(self.speaker(target, interface).is_some(), "{target} was answered on {interface:?}");
        }
    }

    fn ignored(&self) -> u64 {
        self.responder.ignored().map(|(_, count)| count).sum()
    }

    fn answered(&self) -> u64 {
        self.responder.counters().map(|(_, counters)| counters.requests_received).sum()
    }

    /// The Ethernet address that speaks for an address on an interface.
    fn speaker(&self, address: IpAddr, interface: IfIndex) -> Option<Mac> {
        self.announced.get(&address).filter(|interfaces| interfaces.contains(&interface))?;
        self.links.get(&interface).copied()
    }

    fn drain(&mut self) {
        while let Some(command) = self.responder.next_command() {
            if let Command::SendFrame { interface, bytes } = command {
                self.sent(interface, &bytes);
            } else if let Command::Group { interface, group, join } = command {
                let entry = (interface, group);
                let changed = if join { self.joined.insert(entry) } else { self.joined.remove(&entry) };
                assert!(changed, "joined or left twice: {group} on {interface:?}");
            } else {
                panic!("{command:?} is no command of a responder");
            }
        }
        let wanted: BTreeSet<_> = self
            .announced
            .iter()
            .flat_map(|(address, interfaces)| interfaces.iter().map(move |interface| (*address, *interface)))
            .filter(|(address, interface)| self.speaker(*address, *interface).is_some())
            .filter_map(|(address, interface)| match address {
                IpAddr::V4(_) => None,
                IpAddr::V6(v6) => Some((interface, solicited_node(v6))),
            })
            .collect();
        assert_eq!(self.joined, wanted, "groups");
    }

    fn sent(&self, interface: IfIndex, bytes: &[u8]) {
        let (source, subject, claimed) = match Frame::parse(bytes).expect("what is sent is valid") {
            // A question that says nothing of who asks.
            Frame::Arp { ethernet, arp }
                if arp.sender.is_unspecified() && arp.operation == ArpOperation::Request =>
            {
                assert_eq!(self.speaker(arp.target.into(), interface), Some(ethernet.source));
                return;
            }
            Frame::Neighbor {
                ethernet,
                ipv6,
                neighbor: NeighborRepr::Solicit { target, source_mac: None },
            } => {
                assert!(ipv6.source.is_unspecified(), "{bytes:02x?}");
                assert_eq!(self.speaker(target.into(), interface), Some(ethernet.source));
                return;
            }
            Frame::Arp { ethernet, arp } => (ethernet.source, IpAddr::V4(arp.sender), Some(arp.sender_mac)),
            Frame::Neighbor {
                ethernet, neighbor: NeighborRepr::Advert { target, target_mac, .. }, ..
            } => (ethernet.source, IpAddr::V6(target), target_mac),
            Frame::Neighbor { neighbor: NeighborRepr::Solicit { .. }, .. } => {
                panic!("a responder asks for nobody but itself")
            }
        };
        assert_eq!(claimed, Some(source));
        assert_eq!(self.speaker(subject, interface), Some(source), "{subject} on {interface:?}");
        assert!(!self.silent.contains(&subject), "{subject} is spoken for");
    }

    fn check(&self) {
        for number in 0..6 {
            let address = address(number);
            assert_eq!(self.responder.interfaces(address), self.announced.get(&address));
            let announced = self.announced.contains_key(&address) && !self.silent.contains(&address);
            assert_eq!(self.responder.is_listening(address), announced);
        }
        assert_eq!(self.responder.counters().count(), self.announced.len() - self.silent.len());
    }
}

/// A question about `address` from [`ASKER`], in a form that a neighbour may use, or nearly.
fn question(address: IpAddr, form: u8, mac: Option<&Mac>) -> Frame {
    let direct = mac.copied().unwrap_or(BROADCAST);
    let ethernet = |destination, ether_type| EthernetRepr { destination, source: ASKER, ether_type };
    match address {
        IpAddr::V4(target) => {
            let sender = match form % 4 {
                0 => Ipv4Addr::UNSPECIFIED,
                1 => target,
                _ => Ipv4Addr::new(192, 0, 2, 9),
            };
            let operation = if form & 64 == 0 { ArpOperation::Request } else { ArpOperation::Reply };
            let arp = ArpRepr { operation, sender_mac: ASKER, sender, target_mac: Mac([0; 6]), target };
            let destination = if form & 128 == 0 { BROADCAST } else { direct };
            Frame::Arp { ethernet: ethernet(destination, EtherType::Arp), arp }
        }
        IpAddr::V6(target) => {
            let source = match form % 4 {
                0 => Ipv6Addr::UNSPECIFIED,
                1 => target,
                _ => v6(1, 9),
            };
            let group = solicited_node(target);
            let (destination, to) =
                if form & 128 == 0 { (group, multicast_mac(group)) } else { (target, direct) };
            let source_mac = (form & 32 != 0).then_some(ASKER);
            Frame::Neighbor {
                ethernet: ethernet(to, EtherType::Ipv6),
                ipv6: Ipv6Repr { source, destination },
                neighbor: NeighborRepr::Solicit { target, source_mac },
            }
        }
    }
}
