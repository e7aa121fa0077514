//! How the kernel of a silent peer is asked: by one frame for each of its addresses that is on a segment with us, and
//! what counts as its answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use landfall_model::Instant;

use super::Speaker;
use crate::{
    Command, IfIndex, Mac,
    links::Way,
    responder::Neighbor,
    wire::{
        ArpOperation, ArpRepr, BROADCAST, EtherType, EthernetRepr, Frame, Ipv6Repr, NeighborRepr,
        multicast_mac, solicited_node,
    },
};

/// A node is asked for at most this many of its addresses: one of each family, and one more of each while its Pod is
/// replaced.
const MAX_ADDRESSES: usize = 4;

impl Speaker {
    /// Asks the kernel of a peer's node: the card that answered the question before if it did (`known`), and else
    /// everybody on the segment, as a kernel itself would: it may have another card by now. Where no address of the node
    /// is on a segment with us nothing is asked, and its heartbeats alone decide.
    pub(super) fn ask(&mut self, addresses: &[IpAddr], known: bool) {
        for address in addresses.iter().take(MAX_ADDRESSES) {
            let Some(way) = self.links.way_to(*address) else { continue };
            let card = self.cards.get(address).copied().filter(|_| known);
            let Some(frame) = question(*address, way, card) else { continue };
            self.commands.push_back(Command::SendFrame { interface: way.interface, bytes: frame.emit() });
        }
    }

    /// Asks the gateways, when it is time to.
    pub(super) fn ask_gateways(&mut self, now: Instant) {
        for (address, card) in self.isolation.questions(now) {
            let ways = self.links.gateways().filter(|(gateway, _)| *gateway == address);
            let frames = ways.filter_map(|(_, way)| Some((way.interface, question(address, way, card)?)));
            let send = |(interface, frame): (_, Frame)| Command::SendFrame { interface, bytes: frame.emit() };
            self.commands.extend(frames.map(send));
        }
    }

    /// Tells the responder which gateways are known to be where.
    pub(super) fn show_gateways(&mut self) {
        let known = self.links.gateways().filter_map(|(address, way)| {
            Some((way.interface, Neighbor { address, mac: self.isolation.card(address)? }))
        });
        self.responder.set_gateways(known.collect());
    }

    /// Says whether the frame answers such a question; then it is nothing for the responder.
    pub(super) fn take_answer(&mut self, interface: IfIndex, bytes: &[u8], now: Instant) -> bool {
        if !self.membership.is_asking() {
            self.cards.clear();
            if !self.isolation.is_asking() && !self.looks.is_asking() {
                return false;
            }
        }
        let Some((frame, address)) = Frame::parse(bytes).ok().and_then(|frame| Some((frame, told(&frame)?)))
        else {
            return false;
        };
        let seen = self.take_sight(interface, &frame, now);
        let gateway = |(gateway, way): &(IpAddr, Way)| *gateway == address && way.interface == interface;
        let gateway = self.links.gateways().find(gateway);
        let answered = gateway.is_some_and(|(_, way)| is_answer(&frame, way));
        if answered && self.isolation.answer(address, sender(&frame), now) {
            self.show_gateways();
        }
        let way = gateway.map(|(_, way)| way).or_else(|| self.links.way_to(address));
        let answers = way.is_some_and(|way| way.interface == interface && is_answer(&frame, way));
        if answers && self.membership.handle_answer(address, now) {
            self.cards.insert(address, sender(&frame));
        }
        answers || seen
    }
}

pub(super) fn question(address: IpAddr, way: Way, card: Option<Mac>) -> Option<Frame> {
    let Way { mac, source, interface: _ } = way;
    match (address, source) {
        (IpAddr::V4(target), IpAddr::V4(sender)) => Some(ask_v4(target, sender, mac, card)),
        (IpAddr::V6(target), IpAddr::V6(source)) => Some(ask_v6(target, source, mac, card)),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

/// RFC 826; to one card as in RFC 1122 §2.3.2.1, "unicast poll"
fn ask_v4(target: Ipv4Addr, sender: Ipv4Addr, mac: Mac, card: Option<Mac>) -> Frame {
    let destination = card.unwrap_or(BROADCAST);
    let ethernet = EthernetRepr { destination, source: mac, ether_type: EtherType::Arp };
    let operation = ArpOperation::Request;
    let arp = ArpRepr { operation, sender_mac: mac, sender, target_mac: Mac([0; 6]), target };
    Frame::Arp { ethernet, arp }
}

/// RFC 4861 §7.2.2; to one card as in §7.3.3
fn ask_v6(target: Ipv6Addr, source: Ipv6Addr, mac: Mac, card: Option<Mac>) -> Frame {
    let group = solicited_node(target);
    let (destination, to) = card.map_or((group, multicast_mac(group)), |card| (target, card));
    let ethernet = EthernetRepr { destination: to, source: mac, ether_type: EtherType::Ipv6 };
    let neighbor = NeighborRepr::Solicit { target, source_mac: Some(mac) };
    Frame::Neighbor { ethernet, ipv6: Ipv6Repr { source, destination }, neighbor }
}

const fn sender(frame: &Frame) -> Mac {
    match frame {
        Frame::Arp { ethernet, .. } | Frame::Neighbor { ethernet, .. } => ethernet.source,
    }
}

/// The Ethernet address that an answer says the address is at. It is what an asker believes, whoever sent it.
pub(super) fn sender_of(frame: &Frame) -> Mac {
    match frame {
        Frame::Arp { arp, .. } => arp.sender_mac,
        Frame::Neighbor { ethernet, neighbor: NeighborRepr::Advert { target_mac, .. }, .. } => {
            target_mac.unwrap_or(ethernet.source)
        }
        Frame::Neighbor { ethernet, neighbor: NeighborRepr::Solicit { .. }, .. } => ethernet.source,
    }
}

/// The address that an ARP reply or an advertisement says is its sender's.
pub(super) const fn told(frame: &Frame) -> Option<IpAddr> {
    match frame {
        Frame::Arp { arp: ArpRepr { operation: ArpOperation::Reply, sender, .. }, .. } => {
            Some(IpAddr::V4(*sender))
        }
        Frame::Neighbor { neighbor: NeighborRepr::Advert { target, .. }, .. } => Some(IpAddr::V6(*target)),
        Frame::Arp { arp: ArpRepr { operation: ArpOperation::Request, .. }, .. }
        | Frame::Neighbor { neighbor: NeighborRepr::Solicit { .. }, .. } => None,
    }
}

/// It is for us, as the answer to our own question would be, and from another card than ours.
pub(super) fn is_answer(frame: &Frame, way: Way) -> bool {
    let Way { mac, source, interface: _ } = way;
    match frame {
        Frame::Arp { ethernet, arp } => {
            ethernet.destination == mac && IpAddr::V4(arp.target) == source && arp.sender_mac != mac
        }
        Frame::Neighbor { ethernet, ipv6, neighbor } => {
            let solicited = matches!(neighbor, NeighborRepr::Advert { solicited: true, .. });
            solicited
                && ethernet.destination == mac
                && IpAddr::V6(ipv6.destination) == source
                && ethernet.source != mac
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const THEIRS: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn way(source: &str) -> Way {
        Way { interface: IfIndex(2), mac: OURS, source: source.parse().unwrap() }
    }

    /// What a kernel with `mac` says to the question.
    fn answer(question: &Frame, mac: Mac) -> Frame {
        match question {
            Frame::Arp { ethernet, arp } => Frame::Arp {
                ethernet: EthernetRepr { destination: ethernet.source, source: mac, ..*ethernet },
                arp: ArpRepr {
                    operation: ArpOperation::Reply,
                    sender_mac: mac,
                    sender: arp.target,
                    target_mac: arp.sender_mac,
                    target: arp.sender,
                },
            },
            Frame::Neighbor { ethernet, ipv6, neighbor } => Frame::Neighbor {
                ethernet: EthernetRepr { destination: ethernet.source, source: mac, ..*ethernet },
                ipv6: Ipv6Repr { source: neighbor.target(), destination: ipv6.source },
                neighbor: NeighborRepr::Advert {
                    target: neighbor.target(),
                    router: false,
                    solicited: true,
                    overrides: true,
                    target_mac: Some(mac),
                },
            },
        }
    }

    #[test]
    fn questions_are_frames_that_any_kernel_answers() {
        for (address, source) in [("10.0.0.2", "10.0.0.1"), ("fd00::2", "fd00::1")] {
            let way = way(source);
            let address: IpAddr = address.parse().unwrap();
            let asked = question(address, way, None).unwrap();
            assert_eq!(Frame::parse(&asked.emit()), Ok(asked), "{address}");
            let answer = answer(&asked, THEIRS);
            assert_eq!(told(&answer), Some(address));
            assert!(is_answer(&answer, way));
            assert_eq!(told(&asked), None, "a question is no answer");
            let to_one = question(address, way, Some(THEIRS)).unwrap();
            assert_eq!(Frame::parse(&to_one.emit()), Ok(to_one), "{address}");
            assert_eq!(to_one.emit().first_chunk(), Some(&THEIRS.0));
        }
        assert_eq!(question("10.0.0.2".parse().unwrap(), way("fd00::1"), None), None);
    }

    #[test]
    fn what_is_not_for_us_or_from_ourselves_is_no_answer() {
        for (address, source, other) in
            [("10.0.0.2", "10.0.0.1", "10.0.0.9"), ("fd00::2", "fd00::1", "fd00::9")]
        {
            let address = address.parse().unwrap();
            let asked = question(address, way(source), None).unwrap();
            assert!(!is_answer(&answer(&asked, OURS), way(source)), "our own card");
            assert!(!is_answer(&answer(&asked, THEIRS), way(other)), "another asker's address");
            let elsewhere = Way { mac: THEIRS, ..way(source) };
            assert!(!is_answer(&answer(&asked, Mac([2, 0, 0, 0, 0, 3])), elsewhere), "another asker's card");
        }
        let asked = question("fd00::2".parse().unwrap(), way("fd00::1"), None).unwrap();
        let Frame::Neighbor { ethernet, ipv6, neighbor: NeighborRepr::Advert { target, .. } } =
            answer(&asked, THEIRS)
        else {
            panic!("an advertisement")
        };
        let unasked = NeighborRepr::Advert {
            target,
            router: false,
            solicited: false,
            overrides: true,
            target_mac: Some(THEIRS),
        };
        assert!(!is_answer(&Frame::Neighbor { ethernet, ipv6, neighbor: unasked }, way("fd00::1")));
    }
}
