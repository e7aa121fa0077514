use std::net::Ipv4Addr;

use pnet::packet::{
    arp::{ArpHardwareTypes, ArpOperations, ArpPacket, MutableArpPacket},
    ethernet::EtherTypes,
};

use super::{
    WireError,
    address::{from_pnet, is_host, to_pnet, v4_from_pnet, v4_to_pnet},
};
use crate::Mac;

const MAC_LEN: u8 = 6;
const IP_LEN: u8 = 4;

/// What an ARP packet asks or says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpOperation {
    /// Who has the target address?
    Request,
    /// The sender has the sender's address.
    Reply,
}

/// An ARP packet of IPv4 over Ethernet (RFC 826).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpRepr {
    /// Request or reply.
    pub operation: ArpOperation,
    /// The sender's Ethernet address; never a group.
    pub sender_mac: Mac,
    /// The sender's IPv4 address; `0.0.0.0` in a probe (RFC 5227 §2.1.1).
    pub sender: Ipv4Addr,
    /// The target's Ethernet address; of no meaning in a request.
    pub target_mac: Mac,
    /// The target's IPv4 address.
    pub target: Ipv4Addr,
}

impl ArpRepr {
    /// Octets of the packet.
    pub const LEN: usize = ArpPacket::minimum_packet_size();

    /// Reads and checks a packet; what follows it is padding.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`], [`WireError::ArpFormat`], [`WireError::ArpOperation`] or [`WireError::Sender`].
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let packet = ArpPacket::new(bytes).ok_or(WireError::Truncated)?;
        if packet.get_hardware_type() != ArpHardwareTypes::Ethernet
            || packet.get_protocol_type() != EtherTypes::Ipv4
            || packet.get_hw_addr_len() != MAC_LEN
            || packet.get_proto_addr_len() != IP_LEN
        {
            return Err(WireError::ArpFormat);
        }
        let operation = match packet.get_operation() {
            ArpOperations::Request => ArpOperation::Request,
            ArpOperations::Reply => ArpOperation::Reply,
            _ => return Err(WireError::ArpOperation),
        };
        let sender_mac = from_pnet(packet.get_sender_hw_addr());
        let sender = v4_from_pnet(packet.get_sender_proto_addr());
        if !is_host(sender_mac) || sender.is_multicast() || sender.is_broadcast() {
            return Err(WireError::Sender);
        }
        Ok(Self {
            operation,
            sender_mac,
            sender,
            target_mac: from_pnet(packet.get_target_hw_addr()),
            target: v4_from_pnet(packet.get_target_proto_addr()),
        })
    }

    /// Appends the packet.
    pub fn emit(&self, frame: &mut Vec<u8>) {
        let start = frame.len();
        frame.resize(start + Self::LEN, 0);
        let mut packet = MutableArpPacket::new(&mut frame[start..])
            .expect("invariant: the buffer was made as long as the packet");
        packet.set_hardware_type(ArpHardwareTypes::Ethernet);
        packet.set_protocol_type(EtherTypes::Ipv4);
        packet.set_hw_addr_len(MAC_LEN);
        packet.set_proto_addr_len(IP_LEN);
        packet.set_operation(match self.operation {
            ArpOperation::Request => ArpOperations::Request,
            ArpOperation::Reply => ArpOperations::Reply,
        });
        packet.set_sender_hw_addr(to_pnet(self.sender_mac));
        packet.set_sender_proto_addr(v4_to_pnet(self.sender));
        packet.set_target_hw_addr(to_pnet(self.target_mac));
        packet.set_target_proto_addr(v4_to_pnet(self.target));
    }
}
