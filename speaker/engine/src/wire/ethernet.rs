use pnet::packet::ethernet::{EthernetPacket, MutableEthernetPacket};

use super::{
    WireError,
    address::{from_pnet, is_host, to_pnet},
};
use crate::Mac;

const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;

/// What an Ethernet frame carries, as far as Landfall supports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EtherType {
    /// ARP (RFC 826).
    Arp,
    /// IPv6 (RFC 2464).
    Ipv6,
}

/// An Ethernet II header without VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EthernetRepr {
    /// Where the frame goes.
    pub destination: Mac,
    /// Who sent it; never a group.
    pub source: Mac,
    /// What it carries.
    pub ether_type: EtherType,
}

impl EthernetRepr {
    /// Octets of the header.
    pub const LEN: usize = EthernetPacket::minimum_packet_size();

    /// Reads the header; also gives what follows it.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`], [`WireError::Vlan`], [`WireError::OtherProtocol`], or [`WireError::Sender`] when
    /// the source is a group.
    pub fn parse(frame: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let ether_type = Self::ether_type(frame)?;
        let packet = EthernetPacket::new(frame).ok_or(WireError::Truncated)?;
        let source = from_pnet(packet.get_source());
        if !is_host(source) {
            return Err(WireError::Sender);
        }
        let repr = Self { destination: from_pnet(packet.get_destination()), source, ether_type };
        Ok((repr, frame.get(Self::LEN..).ok_or(WireError::Truncated)?))
    }

    pub(super) fn ether_type(frame: &[u8]) -> Result<EtherType, WireError> {
        let packet = EthernetPacket::new(frame).ok_or(WireError::Truncated)?;
        match packet.get_ethertype().0 {
            ARP => Ok(EtherType::Arp),
            IPV6 => Ok(EtherType::Ipv6),
            VLAN | SERVICE_VLAN => Err(WireError::Vlan),
            _ => Err(WireError::OtherProtocol),
        }
    }

    /// Appends the header.
    pub fn emit(&self, frame: &mut Vec<u8>) {
        let start = frame.len();
        frame.resize(start + Self::LEN, 0);
        let mut packet = MutableEthernetPacket::new(&mut frame[start..])
            .expect("invariant: the buffer was made as long as the header");
        packet.set_destination(to_pnet(self.destination));
        packet.set_source(to_pnet(self.source));
        packet.set_ethertype(pnet::packet::ethernet::EtherType(match self.ether_type {
            EtherType::Arp => ARP,
            EtherType::Ipv6 => IPV6,
        }));
    }
}
