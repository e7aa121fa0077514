//! What other hosts say on the wire, and what a frame of ours says.

use std::net::{IpAddr, Ipv4Addr};

use landfall_engine::{
    Mac,
    wire::{
        ALL_NODES, ArpOperation, ArpRepr, BROADCAST, EtherType, EthernetRepr, Frame, Ipv6Repr, NeighborRepr,
        multicast_mac,
    },
};

/// The hosts' default gateway.
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
pub(super) const GATEWAY_CARD: Mac = Mac([2, 0xfe, 0, 0, 0, 1]);
pub(super) const CLIENT_CARD: Mac = Mac([2, 0xc1, 0, 0, 0, 1]);

pub(super) fn link_local(host: usize) -> IpAddr {
    format!("fe80::{}", host + 1).parse().unwrap()
}

pub(super) fn mac_of(host: usize) -> Mac {
    Mac([2, 0, 0, 0, 0, u8::try_from(host).unwrap() + 1])
}

/// What a kernel with that address says: to who asked, by Ethernet address and IP address if it has one, or to all.
pub(super) fn rival_frame(address: IpAddr, mac: Mac, to: Option<(Mac, Option<IpAddr>)>) -> Vec<u8> {
    let asker = to.and_then(|(_, asker)| asker);
    match address {
        IpAddr::V4(sender) => {
            let target = match (to, asker) {
                (None, _) => sender,
                (Some(_), Some(IpAddr::V4(asker))) => asker,
                (Some(_), _) => Ipv4Addr::UNSPECIFIED,
            };
            let destination = to.map_or(BROADCAST, |(mac, _)| mac);
            Frame::Arp {
                ethernet: EthernetRepr { destination, source: mac, ether_type: EtherType::Arp },
                arp: ArpRepr {
                    operation: ArpOperation::Reply,
                    sender_mac: mac,
                    sender,
                    target_mac: destination,
                    target,
                },
            }
        }
        IpAddr::V6(target) => {
            // RFC 4861 §7.2.4: who has no address yet is told with everybody.
            let one = to.zip(asker);
            let (destination, destination_mac) = match one {
                Some(((mac, _), IpAddr::V6(asker))) => (asker, mac),
                _ => (ALL_NODES, multicast_mac(ALL_NODES)),
            };
            Frame::Neighbor {
                ethernet: EthernetRepr {
                    destination: destination_mac,
                    source: mac,
                    ether_type: EtherType::Ipv6,
                },
                ipv6: Ipv6Repr { source: target, destination },
                neighbor: NeighborRepr::Advert {
                    target,
                    router: false,
                    solicited: one.is_some(),
                    overrides: true,
                    target_mac: Some(mac),
                },
            }
        }
    }
    .emit()
}

/// What the gateway's kernel says when it is asked for its address.
pub(super) fn gateway_answer(question: &[u8]) -> Option<Vec<u8>> {
    let (asker, address) = (question.get(22..28)?, question.get(28..32)?);
    (question.get(38..42)? == GATEWAY.octets()).then_some(())?;
    let Mac(mac) = GATEWAY_CARD;
    let head = [8, 6, 0, 1, 8, 0, 6, 4, 0, 2];
    Some([asker, &mac, &head, &mac, &GATEWAY.octets(), asker, address].concat())
}

pub(crate) fn host_address(index: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 201 + u8::try_from(index).unwrap()))
}

/// What a client that is no host of the segment asks.
pub(crate) fn arp_request(target: Ipv4Addr) -> Vec<u8> {
    let Mac(client) = CLIENT_CARD;
    let mut frame = vec![0xff; 6];
    frame.extend(client);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(client);
    frame.extend([192, 0, 2, 250]);
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

/// The address that a frame of ours says is its sender's.
pub(super) fn claimed_address(frame: &[u8]) -> Option<IpAddr> {
    match frame.get(12..14)? {
        [8, 6] => {
            let octets: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
            Some(IpAddr::from(octets))
        }
        // A neighbour advertisement after an IPv6 header (RFC 4861 §4.4).
        [0x86, 0xdd] => {
            let octets: [u8; 16] = frame.get(62..78)?.try_into().ok()?;
            (frame.get(54) == Some(&136)).then(|| IpAddr::from(octets))
        }
        _ => None,
    }
}

/// Who asks, if he says so, for which address: an ARP request of somebody for another one's address, or a neighbour
/// solicitation.
pub(super) fn question(frame: &[u8]) -> Option<(Option<IpAddr>, IpAddr)> {
    let named = |asker: IpAddr| (!asker.is_unspecified()).then_some(asker);
    match Frame::parse(frame).ok()? {
        Frame::Arp { arp, .. } if arp.operation == ArpOperation::Request && arp.sender != arp.target => {
            Some((named(arp.sender.into()), arp.target.into()))
        }
        Frame::Neighbor { ipv6, neighbor: NeighborRepr::Solicit { target, .. }, .. } => {
            Some((named(ipv6.source.into()), target.into()))
        }
        Frame::Arp { .. } | Frame::Neighbor { .. } => None,
    }
}
