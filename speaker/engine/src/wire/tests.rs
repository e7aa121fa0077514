use std::net::{Ipv4Addr, Ipv6Addr};

use super::{
    address::{to_pnet, v4_to_pnet, v6_to_pnet},
    samples::{
        ADVERT, ANNOUNCER, ASKER, DUPLICATE_DETECTION, REPLY, REQUEST, SOLICIT, UNICAST_PROBE,
        UNSOLICITED_ADVERT,
    },
    *,
};
use crate::Mac;
use pnet::packet::{
    Packet,
    arp::{ArpHardwareTypes, ArpOperations, ArpPacket, MutableArpPacket},
    ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket},
    icmpv6::{
        Icmpv6Types,
        ndp::{
            MutableNeighborAdvertPacket, MutableNeighborSolicitPacket, NeighborAdvertFlags,
            NeighborAdvertPacket, NeighborSolicitPacket,
        },
    },
    ip::IpNextHeaderProtocols,
    ipv6::{Ipv6Packet, MutableIpv6Packet},
};

const V4_ASKER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
const V6_ASKER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x50);
const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0x50);
const GROUP_MAC: Mac = Mac([0x33, 0x33, 0xff, 0, 0, 0x50]);

const ARP: usize = 14;
const IPV6: usize = 14;
const ICMP: usize = 54;
const OPTION: usize = 78;

fn ethernet(destination: Mac, source: Mac, ether_type: EtherType) -> EthernetRepr {
    EthernetRepr { destination, source, ether_type }
}

fn request() -> ArpRepr {
    ArpRepr {
        operation: ArpOperation::Request,
        sender_mac: ASKER,
        sender: V4_ASKER,
        target_mac: Mac([0; 6]),
        target: V4,
    }
}

fn reply() -> ArpRepr {
    ArpRepr {
        operation: ArpOperation::Reply,
        sender_mac: ANNOUNCER,
        sender: V4,
        target_mac: ASKER,
        target: V4_ASKER,
    }
}

fn solicit(source_mac: Option<Mac>) -> NeighborRepr {
    NeighborRepr::Solicit { target: V6, source_mac }
}

fn advert(solicited: bool) -> NeighborRepr {
    NeighborRepr::Advert {
        target: V6,
        router: false,
        solicited,
        overrides: true,
        target_mac: Some(ANNOUNCER),
    }
}

fn samples() -> Vec<(&'static str, Vec<u8>, Frame)> {
    let neighbor = |destination, source, ipv6, neighbor| Frame::Neighbor {
        ethernet: ethernet(destination, source, EtherType::Ipv6),
        ipv6,
        neighbor,
    };
    let link_local = "fe80::9".parse().unwrap();
    vec![
        (
            "request",
            REQUEST[..42].to_vec(),
            Frame::Arp { ethernet: ethernet(BROADCAST, ASKER, EtherType::Arp), arp: request() },
        ),
        (
            "reply",
            REPLY.to_vec(),
            Frame::Arp { ethernet: ethernet(ASKER, ANNOUNCER, EtherType::Arp), arp: reply() },
        ),
        (
            "solicitation",
            SOLICIT.to_vec(),
            neighbor(
                GROUP_MAC,
                ASKER,
                Ipv6Repr { source: V6_ASKER, destination: GROUP },
                solicit(Some(ASKER)),
            ),
        ),
        (
            "duplicate address detection",
            DUPLICATE_DETECTION.to_vec(),
            neighbor(
                GROUP_MAC,
                ASKER,
                Ipv6Repr { source: Ipv6Addr::UNSPECIFIED, destination: GROUP },
                solicit(None),
            ),
        ),
        (
            "unicast probe",
            UNICAST_PROBE.to_vec(),
            neighbor(ANNOUNCER, ASKER, Ipv6Repr { source: link_local, destination: V6 }, solicit(None)),
        ),
        (
            "advertisement",
            ADVERT.to_vec(),
            neighbor(ASKER, ANNOUNCER, Ipv6Repr { source: V6, destination: V6_ASKER }, advert(true)),
        ),
        (
            "unsolicited advertisement",
            UNSOLICITED_ADVERT.to_vec(),
            neighbor(
                multicast_mac(ALL_NODES),
                ANNOUNCER,
                Ipv6Repr { source: V6, destination: ALL_NODES },
                advert(false),
            ),
        ),
    ]
}

#[test]
fn parse() {
    for (name, bytes, frame) in samples() {
        assert_eq!(Frame::parse(&bytes), Ok(frame), "{name}");
    }
}

#[test]
fn emit() {
    for (name, bytes, frame) in samples() {
        assert_eq!(frame.emit(), bytes, "{name}");
    }
}

#[test]
fn target_agrees_with_parse() {
    for (name, bytes, frame) in samples() {
        let expected = match frame {
            Frame::Arp { arp, .. } => arp.target.into(),
            Frame::Neighbor { neighbor, .. } => IpAddr::from(neighbor.target()),
        };
        assert_eq!(target(&bytes), Ok(expected), "{name}");
    }
}

#[test]
fn padding_is_ignored() {
    for (name, mut bytes, frame) in samples() {
        bytes.extend([0xaa; 18]);
        assert_eq!(Frame::parse(&bytes), Ok(frame), "{name}");
    }
    assert!(Frame::parse(&REQUEST).is_ok());
}

#[test]
fn deconstruct_ethernet() {
    let packet = EthernetPacket::new(&SOLICIT).unwrap();
    assert_eq!(packet.get_destination(), to_pnet(GROUP_MAC));
    assert_eq!(packet.get_source(), to_pnet(ASKER));
    assert_eq!(packet.get_ethertype(), EtherTypes::Ipv6);
    assert_eq!(packet.payload(), &SOLICIT[14..]);
}

#[test]
fn construct_ethernet() {
    let mut bytes = [0xa5; 14];
    let mut packet = MutableEthernetPacket::new(&mut bytes).unwrap();
    packet.set_destination(to_pnet(GROUP_MAC));
    packet.set_source(to_pnet(ASKER));
    packet.set_ethertype(EtherTypes::Ipv6);
    assert_eq!(bytes, SOLICIT[..14]);
}

#[test]
fn deconstruct_arp() {
    let packet = ArpPacket::new(&REQUEST[ARP..]).unwrap();
    assert_eq!(packet.get_hardware_type(), ArpHardwareTypes::Ethernet);
    assert_eq!(packet.get_protocol_type(), EtherTypes::Ipv4);
    assert_eq!(packet.get_hw_addr_len(), 6);
    assert_eq!(packet.get_proto_addr_len(), 4);
    assert_eq!(packet.get_operation(), ArpOperations::Request);
    assert_eq!(packet.get_sender_hw_addr(), to_pnet(ASKER));
    assert_eq!(packet.get_sender_proto_addr(), v4_to_pnet(V4_ASKER));
    assert_eq!(packet.get_target_hw_addr(), to_pnet(Mac([0; 6])));
    assert_eq!(packet.get_target_proto_addr(), v4_to_pnet(V4));
}

#[test]
fn construct_arp() {
    let mut bytes = [0xa5; 28];
    let mut packet = MutableArpPacket::new(&mut bytes).unwrap();
    packet.set_hardware_type(ArpHardwareTypes::Ethernet);
    packet.set_protocol_type(EtherTypes::Ipv4);
    packet.set_hw_addr_len(6);
    packet.set_proto_addr_len(4);
    packet.set_operation(ArpOperations::Reply);
    packet.set_sender_hw_addr(to_pnet(ANNOUNCER));
    packet.set_sender_proto_addr(v4_to_pnet(V4));
    packet.set_target_hw_addr(to_pnet(ASKER));
    packet.set_target_proto_addr(v4_to_pnet(V4_ASKER));
    assert_eq!(bytes, REPLY[ARP..]);
}

#[test]
fn deconstruct_ipv6() {
    let packet = Ipv6Packet::new(&SOLICIT[IPV6..]).unwrap();
    assert_eq!(packet.get_version(), 6);
    assert_eq!(packet.get_payload_length(), 32);
    assert_eq!(packet.get_next_header(), IpNextHeaderProtocols::Icmpv6);
    assert_eq!(packet.get_hop_limit(), 255);
    assert_eq!(packet.get_source(), v6_to_pnet(V6_ASKER));
    assert_eq!(packet.get_destination(), v6_to_pnet(GROUP));
}

#[test]
fn construct_ipv6() {
    let mut bytes = [0; 40];
    let mut packet = MutableIpv6Packet::new(&mut bytes).unwrap();
    packet.set_version(6);
    packet.set_payload_length(32);
    packet.set_next_header(IpNextHeaderProtocols::Icmpv6);
    packet.set_hop_limit(255);
    packet.set_source(v6_to_pnet(V6_ASKER));
    packet.set_destination(v6_to_pnet(GROUP));
    assert_eq!(bytes, SOLICIT[IPV6..ICMP]);
}

#[test]
fn deconstruct_neighbor() {
    let packet = NeighborSolicitPacket::new(&SOLICIT[ICMP..]).unwrap();
    assert_eq!(packet.get_icmpv6_type(), Icmpv6Types::NeighborSolicit);
    assert_eq!(packet.get_icmpv6_code().0, 0);
    assert_eq!(packet.get_checksum(), 0x1b7b);
    assert_eq!(packet.get_target_addr(), v6_to_pnet(V6));
    let packet = NeighborAdvertPacket::new(&ADVERT[ICMP..]).unwrap();
    assert_eq!(packet.get_icmpv6_type(), Icmpv6Types::NeighborAdvert);
    assert_eq!(packet.get_flags(), NeighborAdvertFlags::Solicited | NeighborAdvertFlags::Override);
    assert_eq!(packet.get_target_addr(), v6_to_pnet(V6));
}

#[test]
fn construct_neighbor() {
    let mut bytes = [0; 24];
    let mut packet = MutableNeighborSolicitPacket::new(&mut bytes).unwrap();
    packet.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
    packet.set_checksum(0x1b7b);
    packet.set_target_addr(v6_to_pnet(V6));
    assert_eq!(bytes, SOLICIT[ICMP..OPTION]);

    let mut bytes = [0; 24];
    let mut packet = MutableNeighborAdvertPacket::new(&mut bytes).unwrap();
    packet.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
    packet.set_checksum(u16::from_be_bytes([UNSOLICITED_ADVERT[ICMP + 2], UNSOLICITED_ADVERT[ICMP + 3]]));
    packet.set_flags(NeighborAdvertFlags::Override);
    packet.set_target_addr(v6_to_pnet(V6));
    assert_eq!(bytes, UNSOLICITED_ADVERT[ICMP..OPTION]);
}

#[test]
fn well_known_addresses() {
    assert_eq!(solicited_node(V6), GROUP);
    assert_eq!(
        solicited_node("2001:db8::ab:cdef:1234".parse().unwrap()),
        "ff02::1:ffef:1234".parse::<Ipv6Addr>().unwrap()
    );
    assert!(is_solicited_node(GROUP));
    assert!(!is_solicited_node(ALL_NODES));
    assert!(!is_solicited_node(V6));
    assert_eq!(multicast_mac(GROUP), GROUP_MAC);
    assert_eq!(multicast_mac(ALL_NODES), Mac([0x33, 0x33, 0, 0, 0, 1]));
}

mod properties;
mod rules;
