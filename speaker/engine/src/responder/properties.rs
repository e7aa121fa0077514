//! Any order of operations, with the rules that hold after each of them.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::{
    tests::{ETH0, ETH1, link, v4, v6},
    *,
};
use crate::wire::{
    ArpOperation, NeighborRepr,
    samples::{ANNOUNCER, DUPLICATE_DETECTION, REQUEST, SOLICIT, UNICAST_PROBE},
};

#[derive(Clone, Debug)]
enum Operation {
    Announce(IpAddr, BTreeSet<IfIndex>),
    Probe(IpAddr, BTreeSet<IfIndex>),
    Hold(IpAddr, BTreeSet<IfIndex>),
    /// Whoever was heard to have addresses is no member.
    Contest,
    Reannounce(IpAddr),
    Withdraw(IpAddr),
    Link(IfIndex, Option<(bool, Mac)>),
    Frame(IfIndex, Vec<u8>),
    Advance(Duration),
    Drain,
}

/// What must be true, kept in the plainest way.
#[derive(Default)]
struct Model {
    announced: BTreeMap<IpAddr, BTreeSet<IfIndex>>,
    /// Those of them that nobody may hear of, since when, or until something else is said of them.
    silent: BTreeMap<IpAddr, Option<Instant>>,
    links: BTreeMap<IfIndex, Option<Mac>>,
    /// The groups that the kernel has joined.
    joined: BTreeSet<(IfIndex, Ipv6Addr)>,
}

impl Model {
    fn apply(&mut self, operation: &Operation, now: Instant) {
        match operation {
            Operation::Announce(address, interfaces) => {
                self.announced.insert(*address, interfaces.clone());
                self.silent.remove(address);
            }
            Operation::Probe(address, interfaces) => {
                let held = self.silent.get(address) == Some(&None);
                if self.announced.insert(*address, interfaces.clone()).is_none() || held {
                    self.silent.insert(*address, Some(now));
                }
            }
            Operation::Hold(address, interfaces) => {
                self.announced.insert(*address, interfaces.clone());
                self.silent.insert(*address, None);
            }
            Operation::Withdraw(address) => {
                self.announced.remove(address);
                self.silent.remove(address);
            }
            Operation::Link(interface, state) => match state {
                Some((running, mac)) => {
                    self.links.insert(*interface, running.then_some(*mac));
                }
                None => {
                    self.links.remove(interface);
                }
            },
            Operation::Reannounce(_)
            | Operation::Contest
            | Operation::Frame(..)
            | Operation::Advance(_)
            | Operation::Drain => {}
        }
    }

    fn take_cleared(&mut self, responder: &mut Responder, now: Instant) -> Result<(), TestCaseError> {
        for address in responder.take_cleared() {
            let since = self.silent.remove(&address).flatten();
            let long_enough = since.is_some_and(|since| now.since(since) >= ASK_EVERY * QUESTIONS.into());
            prop_assert!(long_enough, "{} is announced {:?} after {:?}", address, now, since);
        }
        Ok(())
    }

    fn can_send(&self, address: IpAddr, interface: IfIndex) -> Option<Mac> {
        self.announced.get(&address).filter(|interfaces| interfaces.contains(&interface))?;
        self.links.get(&interface).copied().flatten()
    }

    fn wanted_groups(&self) -> BTreeSet<(IfIndex, Ipv6Addr)> {
        let pairs =
            self.announced.iter().flat_map(|(address, interfaces)| interfaces.iter().map(|i| (*address, *i)));
        pairs
            .filter(|(address, interface)| self.can_send(*address, *interface).is_some())
            .filter_map(|(address, interface)| match address {
                IpAddr::V4(_) => None,
                IpAddr::V6(v6) => Some((interface, wire::solicited_node(v6))),
            })
            .collect()
    }

    fn check(&mut self, command: Command) -> Result<(), TestCaseError> {
        let (interface, bytes) = match command {
            Command::SendFrame { interface, bytes } => (interface, bytes),
            Command::Group { interface, group, join } => {
                let changed = if join {
                    self.joined.insert((interface, group))
                } else {
                    self.joined.remove(&(interface, group))
                };
                prop_assert!(changed, "joined or left twice: {group} on {interface:?}");
                return Ok(());
            }
            Command::SendDatagram { .. }
            | Command::Listen(_)
            | Command::Forward(_)
            | Command::Status { .. }
            | Command::Event { .. }
            | Command::Ownership { .. }
            | Command::Adopt(_)
            | Command::CutOff(_)
            | Command::TookOver { .. }
            | Command::Lost { .. }
            | Command::Lead(_)
            | Command::Finished => return Err(TestCaseError::fail("not a command of the responder")),
        };
        let frame = Frame::parse(&bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let (source, subject, claimed) = match frame {
            // A question that says nothing of who asks.
            Frame::Arp { ethernet, arp }
                if arp.sender.is_unspecified() && arp.operation == ArpOperation::Request =>
            {
                let target = IpAddr::V4(arp.target);
                prop_assert_eq!(self.can_send(target, interface), Some(ethernet.source));
                return Ok(());
            }
            Frame::Neighbor {
                ethernet,
                ipv6,
                neighbor: NeighborRepr::Solicit { target, source_mac: None },
            } => {
                prop_assert!(ipv6.source.is_unspecified());
                prop_assert_eq!(self.can_send(IpAddr::V6(target), interface), Some(ethernet.source));
                return Ok(());
            }
            Frame::Arp { ethernet, arp } => (ethernet.source, IpAddr::V4(arp.sender), Some(arp.sender_mac)),
            Frame::Neighbor {
                ethernet, neighbor: NeighborRepr::Advert { target, target_mac, .. }, ..
            } => (ethernet.source, IpAddr::V6(target), target_mac),
            Frame::Neighbor { neighbor: NeighborRepr::Solicit { .. }, .. } => {
                return Err(TestCaseError::fail("the responder asks for nobody but itself"));
            }
        };
        prop_assert_eq!(claimed, Some(source));
        prop_assert!(self.can_send(subject, interface).is_some(), "{} on {:?}", subject, interface);
        prop_assert!(!self.silent.contains_key(&subject), "{} is spoken for", subject);
        Ok(())
    }
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    let sharing_a_group = "2001:db8:1::50".parse::<IpAddr>().unwrap();
    prop_oneof![Just(v4()), Just(v6()), Just(sharing_a_group), Just("192.0.2.51".parse().unwrap())]
}

fn any_interface() -> impl Strategy<Value = IfIndex> {
    prop_oneof![Just(ETH0), Just(ETH1)]
}

fn any_request() -> impl Strategy<Value = Vec<u8>> {
    let sample = prop_oneof![
        Just(REQUEST.to_vec()),
        Just(SOLICIT.to_vec()),
        Just(UNICAST_PROBE.to_vec()),
        Just(DUPLICATE_DETECTION.to_vec()),
    ];
    let mutated =
        (sample.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut bytes, at, value)| {
            let at = at.index(bytes.len());
            bytes[at] = value;
            bytes
        });
    prop_oneof![4 => sample, 2 => mutated, 1 => proptest::collection::vec(any::<u8>(), 0..100)]
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let mac = prop_oneof![Just(ANNOUNCER), Just(Mac([2, 0, 0, 0, 0, 7]))];
    let interfaces = || proptest::collection::btree_set(any_interface(), 0..3);
    let advance = (0..3000u64).prop_map(|millis| Operation::Advance(Duration::from_millis(millis)));
    prop_oneof![
        3 => (any_address(), interfaces()).prop_map(|(address, set)| Operation::Announce(address, set)),
        3 => (any_address(), interfaces()).prop_map(|(address, set)| Operation::Probe(address, set)),
        2 => (any_address(), interfaces()).prop_map(|(address, set)| Operation::Hold(address, set)),
        1 => Just(Operation::Contest),
        1 => any_address().prop_map(Operation::Reannounce),
        2 => any_address().prop_map(Operation::Withdraw),
        3 => (any_interface(), proptest::option::weighted(0.8, (any::<bool>(), mac)))
            .prop_map(|(interface, state)| Operation::Link(interface, state)),
        4 => (any_interface(), any_request()).prop_map(|(interface, bytes)| Operation::Frame(interface, bytes)),
        3 => advance,
        4 => Just(Operation::Drain),
    ]
}

fn apply(responder: &mut Responder, operation: Operation, now: &mut Instant) {
    match operation {
        Operation::Announce(address, interfaces) => responder.announce(address, interfaces, *now),
        Operation::Probe(address, interfaces) => responder.probe(address, interfaces, *now),
        Operation::Hold(address, interfaces) => responder.hold(address, interfaces, *now),
        Operation::Contest => {
            for claimant in responder.take_claims().into_values() {
                responder.contest(claimant, *now);
            }
        }
        Operation::Reannounce(address) => responder.reannounce(address, *now),
        Operation::Withdraw(address) => responder.withdraw(address),
        Operation::Link(interface, state) => {
            let link = state.map(|(running, mac)| Link { running, ..link(interface, mac) });
            responder.handle_link(interface, link.as_ref(), *now);
        }
        Operation::Frame(interface, bytes) => responder.handle_frame(interface, &bytes, *now),
        Operation::Advance(time) => {
            *now += time;
            responder.handle_timeout(*now);
        }
        Operation::Drain => {}
    }
}

fn gateway((address, interface): (&str, IfIndex)) -> (IfIndex, Neighbor) {
    (interface, Neighbor { address: address.parse().unwrap(), mac: Mac([2, 0xfe, 0, 0, 0, 1]) })
}

proptest! {
    /// Nothing leaves about an address that is not announced where it would leave; groups are joined exactly where
    /// they are needed; what is due is never in the past after time was handled.
    #[test]
    fn any_order_keeps_the_rules(operations in proptest::collection::vec(any_operation(), 1..60)) {
        let mut responder = Responder::refreshing(Some(Duration::from_secs(1)), 1);
        responder.set_gateways([("192.0.2.1", ETH0), ("fe80::1", ETH1)].map(gateway).to_vec());
        let mut model = Model::default();
        let mut now = Instant::from_micros(1_000_000);
        for operation in operations {
            model.apply(&operation, now);
            let drain = matches!(operation, Operation::Drain | Operation::Link(..));
            if let Operation::Link(interface, None) = operation {
                model.joined.retain(|(joined, _)| *joined != interface);
            }
            apply(&mut responder, operation, &mut now);
            model.take_cleared(&mut responder, now)?;
            if drain {
                while let Some(command) = responder.next_command() {
                    model.check(command)?;
                }
                prop_assert_eq!(&model.joined, &model.wanted_groups());
            }
            responder.handle_timeout(now);
            model.take_cleared(&mut responder, now)?;
            prop_assert!(responder.poll_timeout().is_none_or(|next| next > now));
            for address in [v4(), v6()] {
                let announced = model.announced.contains_key(&address) && !model.silent.contains_key(&address);
                prop_assert_eq!(responder.is_listening(address), announced);
                prop_assert_eq!(responder.interfaces(address), model.announced.get(&address));
            }
        }
    }

    #[test]
    fn any_bytes_are_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut responder = Responder::new();
        responder.handle_link(ETH0, Some(&link(ETH0, ANNOUNCER)), Instant::ZERO);
        responder.announce(v4(), BTreeSet::from([ETH0]), Instant::ZERO);
        responder.handle_frame(ETH0, &bytes, Instant::ZERO);
    }
}
