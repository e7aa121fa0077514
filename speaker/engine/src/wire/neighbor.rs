use std::net::Ipv6Addr;

use pnet::packet::icmpv6::{
    self, Icmpv6Packet, Icmpv6Types,
    ndp::{
        MutableNeighborAdvertPacket, MutableNeighborSolicitPacket, NdpOptionTypes, NeighborAdvertFlags,
        NeighborAdvertPacket, NeighborSolicitPacket,
    },
};

use super::{
    Ipv6Repr, WireError,
    address::{is_host, v6_from_pnet, v6_to_pnet},
    is_solicited_node,
};
use crate::Mac;

pub(super) const SOLICIT: u8 = Icmpv6Types::NeighborSolicit.0;
pub(super) const ADVERT: u8 = Icmpv6Types::NeighborAdvert.0;

/// Octets of a message without options.
const HEADER_LEN: usize = NeighborSolicitPacket::minimum_packet_size();
/// Octets of a link-layer address option of Ethernet (RFC 2464 §6); lengths are in units of eight.
const OPTION_LEN: usize = 8;
const CHECKSUM: std::ops::Range<usize> = 2..4;

/// A neighbour solicitation or advertisement (RFC 4861 §4.3, §4.4). Options other than the link-layer address are
/// skipped, as §4.6 asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighborRepr {
    /// Who has the target?
    Solicit {
        /// The address in question; never a group.
        target: Ipv6Addr,
        /// The source link-layer address option. Missing in duplicate address detection, and in the unicast probes
        /// of neighbours that know us already.
        source_mac: Option<Mac>,
    },
    /// The target has this Ethernet address.
    Advert {
        /// The address in question; never a group.
        target: Ipv6Addr,
        /// The sender is a router.
        router: bool,
        /// It answers a solicitation.
        solicited: bool,
        /// It overrides what the receiver has in its cache.
        overrides: bool,
        /// The target link-layer address option.
        target_mac: Option<Mac>,
    },
}

impl NeighborRepr {
    /// Octets of the longest message that Landfall sends.
    pub const MAX_LEN: usize = HEADER_LEN + OPTION_LEN;

    /// Reads and checks the ICMPv6 message of a packet with this IPv6 header.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`], [`WireError::OtherProtocol`], [`WireError::Code`], [`WireError::Checksum`],
    /// [`WireError::Target`], [`WireError::OptionLength`], [`WireError::Sender`], [`WireError::DuplicateDetection`] or
    /// [`WireError::SolicitedMulticast`].
    pub fn parse(message: &[u8], ipv6: &Ipv6Repr) -> Result<Self, WireError> {
        let icmp = Icmpv6Packet::new(message).ok_or(WireError::Truncated)?;
        let kind = icmp.get_icmpv6_type().0;
        if kind != SOLICIT && kind != ADVERT {
            return Err(WireError::OtherProtocol);
        }
        let options = message.get(HEADER_LEN..).ok_or(WireError::Truncated)?;
        if icmp.get_icmpv6_code().0 != 0 {
            return Err(WireError::Code);
        }
        if icmp.get_checksum() != checksum(&icmp, ipv6) {
            return Err(WireError::Checksum);
        }
        let repr = if kind == SOLICIT {
            parse_solicit(message, options, ipv6)?
        } else {
            parse_advert(message, options, ipv6)?
        };
        if repr.target().is_multicast() {
            return Err(WireError::Target);
        }
        Ok(repr)
    }

    /// The address that the message is about.
    #[must_use]
    pub fn target(&self) -> Ipv6Addr {
        match self {
            Self::Solicit { target, .. } | Self::Advert { target, .. } => *target,
        }
    }

    /// Octets of the message.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a message is never empty")]
    pub fn len(&self) -> u16 {
        let (Self::Solicit { source_mac: mac, .. } | Self::Advert { target_mac: mac, .. }) = self;
        let len = if mac.is_some() { Self::MAX_LEN } else { HEADER_LEN };
        u16::try_from(len).expect("invariant: a message has at most 32 octets")
    }

    /// Appends the message with its checksum, which covers the addresses of `ipv6`.
    pub fn emit(&self, ipv6: &Ipv6Repr, frame: &mut Vec<u8>) {
        let start = frame.len();
        frame.resize(start + HEADER_LEN, 0);
        match self {
            Self::Solicit { target, source_mac } => {
                let mut packet = MutableNeighborSolicitPacket::new(&mut frame[start..])
                    .expect("invariant: the buffer was made as long as the message");
                packet.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
                packet.set_target_addr(v6_to_pnet(*target));
                emit_option(NdpOptionTypes::SourceLLAddr.0, *source_mac, frame);
            }
            Self::Advert { target, router, solicited, overrides, target_mac } => {
                let mut packet = MutableNeighborAdvertPacket::new(&mut frame[start..])
                    .expect("invariant: the buffer was made as long as the message");
                packet.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
                packet.set_flags(
                    flag(*router, NeighborAdvertFlags::Router)
                        | flag(*solicited, NeighborAdvertFlags::Solicited)
                        | flag(*overrides, NeighborAdvertFlags::Override),
                );
                packet.set_target_addr(v6_to_pnet(*target));
                emit_option(NdpOptionTypes::TargetLLAddr.0, *target_mac, frame);
            }
        }
        let message = &mut frame[start..];
        let icmp = Icmpv6Packet::new(message).expect("invariant: the message has its header");
        let sum = checksum(&icmp, ipv6);
        message[CHECKSUM].copy_from_slice(&sum.to_be_bytes());
    }
}

fn parse_solicit(message: &[u8], options: &[u8], ipv6: &Ipv6Repr) -> Result<NeighborRepr, WireError> {
    let packet = NeighborSolicitPacket::new(message).ok_or(WireError::Truncated)?;
    let source_mac = link_layer_address(options, NdpOptionTypes::SourceLLAddr.0)?;
    if ipv6.source.is_unspecified() && (source_mac.is_some() || !is_solicited_node(ipv6.destination)) {
        return Err(WireError::DuplicateDetection);
    }
    Ok(NeighborRepr::Solicit { target: v6_from_pnet(packet.get_target_addr()), source_mac })
}

fn parse_advert(message: &[u8], options: &[u8], ipv6: &Ipv6Repr) -> Result<NeighborRepr, WireError> {
    let packet = NeighborAdvertPacket::new(message).ok_or(WireError::Truncated)?;
    let flags = packet.get_flags();
    let solicited = flags & NeighborAdvertFlags::Solicited != 0;
    if solicited && ipv6.destination.is_multicast() {
        return Err(WireError::SolicitedMulticast);
    }
    Ok(NeighborRepr::Advert {
        target: v6_from_pnet(packet.get_target_addr()),
        router: flags & NeighborAdvertFlags::Router != 0,
        solicited,
        overrides: flags & NeighborAdvertFlags::Override != 0,
        target_mac: link_layer_address(options, NdpOptionTypes::TargetLLAddr.0)?,
    })
}

/// The first option of this kind. Every option is walked over, since one bad length spoils the message. `pnet`'s own
/// walk is not used: it overflows on an option of 32 units or more.
fn link_layer_address(mut options: &[u8], kind: u8) -> Result<Option<Mac>, WireError> {
    let mut found = None;
    while let [option, units, ..] = *options {
        let len = usize::from(units) * OPTION_LEN;
        if len == 0 {
            return Err(WireError::OptionLength);
        }
        let (body, rest) = options.split_at_checked(len).ok_or(WireError::Truncated)?;
        if option == kind {
            let [_, _, mac @ ..] = body else { return Err(WireError::Truncated) };
            let mac = <[u8; 6]>::try_from(mac).map_err(|_| WireError::OptionLength)?;
            if !is_host(Mac(mac)) {
                return Err(WireError::Sender);
            }
            found = found.or(Some(Mac(mac)));
        }
        options = rest;
    }
    if options.is_empty() { Ok(found) } else { Err(WireError::Truncated) }
}

/// RFC 8200 §8.1: it covers the addresses too.
fn checksum(message: &Icmpv6Packet<'_>, ipv6: &Ipv6Repr) -> u16 {
    icmpv6::checksum(message, &v6_to_pnet(ipv6.source), &v6_to_pnet(ipv6.destination))
}

fn emit_option(kind: u8, mac: Option<Mac>, frame: &mut Vec<u8>) {
    if let Some(mac) = mac {
        frame.extend([kind, 1]);
        frame.extend(mac.0);
    }
}

fn flag(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}
