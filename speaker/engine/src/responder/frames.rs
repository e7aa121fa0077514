use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Ignored, Neighbor};
use crate::{
    Mac,
    wire::{
        ALL_NODES, ArpOperation, ArpRepr, BROADCAST, EtherType, EthernetRepr, Frame, Ipv6Repr, NeighborRepr,
        multicast_mac, solicited_node,
    },
};

/// The frames that tell a segment that `mac` has `address` now, in order.
///
/// IPv4: both forms that are in use, request first. In the reply the target is the sender, because Linux takes a reply
/// with a broadcast target for an ordinary one and ignores it while its entry is young.
pub(super) fn announcement(address: IpAddr, mac: Mac) -> impl Iterator<Item = Frame> {
    let frames = match address {
        IpAddr::V4(v4) => [
            Some(arp_announcement(ArpOperation::Request, v4, mac)),
            Some(arp_announcement(ArpOperation::Reply, v4, mac)),
        ],
        // RFC 4861 §7.2.6
        IpAddr::V6(v6) => [Some(advert(v6, mac, ALL_NODES, multicast_mac(ALL_NODES), false)), None],
    };
    frames.into_iter().flatten()
}

/// Tells one host that `mac` has `address`: as the answer to its question would for IPv4, since not every host believes
/// what it did not ask for. `None`: it speaks the other family.
pub(super) fn tell(address: IpAddr, mac: Mac, host: Neighbor) -> Option<Frame> {
    match (address, host.address) {
        (IpAddr::V4(v4), IpAddr::V4(asker)) => Some(arp_reply(v4, mac, asker, host.mac)),
        (IpAddr::V6(v6), IpAddr::V6(asker)) => Some(advert(v6, mac, asker, host.mac, false)),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

/// Asks everybody who has `address`, without saying that anybody has it: RFC 5227 §2.1.1, RFC 4862 §5.4.2.
pub(super) fn probe(address: IpAddr, mac: Mac) -> Frame {
    match address {
        IpAddr::V4(target) => {
            let (operation, sender) = (ArpOperation::Request, Ipv4Addr::UNSPECIFIED);
            let arp = ArpRepr { operation, sender_mac: mac, sender, target_mac: Mac([0; 6]), target };
            Frame::Arp { ethernet: ethernet(BROADCAST, mac, EtherType::Arp), arp }
        }
        IpAddr::V6(target) => {
            let group = solicited_node(target);
            Frame::Neighbor {
                ethernet: ethernet(multicast_mac(group), mac, EtherType::Ipv6),
                ipv6: Ipv6Repr { source: Ipv6Addr::UNSPECIFIED, destination: group },
                neighbor: NeighborRepr::Solicit { target, source_mac: None },
            }
        }
    }
}

/// The answer to a frame about an address that is announced where the frame came in; `mac` is that interface's.
/// `is_ours` tells the Ethernet addresses of this node.
pub(super) fn answer(frame: &Frame, mac: Mac, is_ours: impl Fn(Mac) -> bool) -> Result<Frame, Ignored> {
    match frame {
        Frame::Arp { ethernet, arp } => {
            if arp.operation != ArpOperation::Request {
                return Err(Ignored::NotRequest);
            }
            if ethernet.destination != BROADCAST && ethernet.destination != mac {
                return Err(Ignored::OtherDestination);
            }
            // RFC 5227 §1.1: a request about the sender's own address is an announcement
            let claims = arp.sender == arp.target;
            check_sender(ethernet.source, mac, claims, is_ours)?;
            Ok(arp_reply(arp.target, mac, arp.sender, arp.sender_mac))
        }
        Frame::Neighbor { ethernet, ipv6, neighbor } => {
            let NeighborRepr::Solicit { target, source_mac } = neighbor else {
                return Err(Ignored::NotRequest);
            };
            // RFC 6085: a group packet may come in a frame to one host, which some switches and access points make
            let to_group =
                ipv6.destination.is_multicast() && ethernet.destination == multicast_mac(ipv6.destination);
            if !to_group && ethernet.destination != mac {
                return Err(Ignored::OtherDestination);
            }
            check_sender(ethernet.source, mac, ipv6.source == *target, is_ours)?;
            // RFC 4861 §7.2.4
            if ipv6.source.is_unspecified() {
                return Ok(advert(*target, mac, ALL_NODES, multicast_mac(ALL_NODES), false));
            }
            let asker = source_mac.unwrap_or(ethernet.source);
            Ok(advert(*target, mac, ipv6.source, asker, true))
        }
    }
}

fn check_sender(source: Mac, mac: Mac, claims: bool, is_ours: impl Fn(Mac) -> bool) -> Result<(), Ignored> {
    if source == mac || (claims && is_ours(source)) {
        return Err(Ignored::OwnFrame);
    }
    if claims { Err(Ignored::Conflict) } else { Ok(()) }
}

fn arp_announcement(operation: ArpOperation, address: Ipv4Addr, mac: Mac) -> Frame {
    let target_mac = match operation {
        ArpOperation::Request => Mac([0; 6]),
        ArpOperation::Reply => mac,
    };
    let arp = ArpRepr { operation, sender_mac: mac, sender: address, target_mac, target: address };
    Frame::Arp { ethernet: ethernet(BROADCAST, mac, EtherType::Arp), arp }
}

fn arp_reply(sender: Ipv4Addr, mac: Mac, target: Ipv4Addr, target_mac: Mac) -> Frame {
    let arp = ArpRepr { operation: ArpOperation::Reply, sender_mac: mac, sender, target_mac, target };
    Frame::Arp { ethernet: ethernet(target_mac, mac, EtherType::Arp), arp }
}

/// The source is the announced address itself: it stays the same when the link-local address of the interface changes.
fn advert(target: Ipv6Addr, mac: Mac, destination: Ipv6Addr, to: Mac, solicited: bool) -> Frame {
    let neighbor =
        NeighborRepr::Advert { target, router: false, solicited, overrides: true, target_mac: Some(mac) };
    Frame::Neighbor {
        ethernet: ethernet(to, mac, EtherType::Ipv6),
        ipv6: Ipv6Repr { source: target, destination },
        neighbor,
    }
}

fn ethernet(destination: Mac, source: Mac, ether_type: EtherType) -> EthernetRepr {
    EthernetRepr { destination, source, ether_type }
}
