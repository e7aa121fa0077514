use std::net::Ipv6Addr;

use pnet::packet::{
    ip::IpNextHeaderProtocols,
    ipv6::{Ipv6Packet, MutableIpv6Packet},
};

use super::{
    WireError,
    address::{v6_from_pnet, v6_to_pnet},
};

pub(super) const ICMPV6: u8 = IpNextHeaderProtocols::Icmpv6.0;

/// Packets of neighbour discovery leave with this hop limit and are dropped with any other (RFC 4861 §7.1).
const HOP_LIMIT: u8 = 255;

/// The header of an IPv6 packet of neighbour discovery: ICMPv6 directly after it, hop limit 255. Extension headers
/// are not supported: no known stack puts one before neighbour discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Repr {
    /// Who sent it; `::` in duplicate address detection, never a group.
    pub source: Ipv6Addr,
    /// Where it goes.
    pub destination: Ipv6Addr,
}

impl Ipv6Repr {
    /// Octets of the header.
    pub const LEN: usize = Ipv6Packet::minimum_packet_size();

    /// Reads and checks the header; also gives the ICMPv6 message, without padding.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`], [`WireError::Version`], [`WireError::OtherProtocol`], [`WireError::HopLimit`] or
    /// [`WireError::Sender`].
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let packet = Ipv6Packet::new(bytes).ok_or(WireError::Truncated)?;
        if packet.get_version() != 6 {
            return Err(WireError::Version);
        }
        if packet.get_next_header() != IpNextHeaderProtocols::Icmpv6 {
            return Err(WireError::OtherProtocol);
        }
        if packet.get_hop_limit() != HOP_LIMIT {
            return Err(WireError::HopLimit);
        }
        let source = v6_from_pnet(packet.get_source());
        if source.is_multicast() {
            return Err(WireError::Sender);
        }
        let end = Self::LEN + usize::from(packet.get_payload_length());
        let payload = bytes.get(Self::LEN..end).ok_or(WireError::Truncated)?;
        Ok((Self { source, destination: v6_from_pnet(packet.get_destination()) }, payload))
    }

    /// Appends the header of a packet with `payload` octets.
    pub fn emit(&self, payload: u16, frame: &mut Vec<u8>) {
        let start = frame.len();
        frame.resize(start + Self::LEN, 0);
        let mut packet = MutableIpv6Packet::new(&mut frame[start..])
            .expect("invariant: the buffer was made as long as the header");
        packet.set_version(6);
        packet.set_payload_length(payload);
        packet.set_next_header(IpNextHeaderProtocols::Icmpv6);
        packet.set_hop_limit(HOP_LIMIT);
        packet.set_source(v6_to_pnet(self.source));
        packet.set_destination(v6_to_pnet(self.destination));
    }
}
