//! Frames of ARP and of IPv6 neighbour discovery, as bytes and as values.
//!
//! The raw views are those of `pnet`: they read and write any field and check only the length. The `…Repr` types
//! are what Landfall supports: parsing one checks everything that its RFC asks of a receiver, so whoever holds one
//! need not check it again. Whatever does not pass is a [`WireError`]; nothing panics on bytes from the wire.

mod address;
mod arp;
mod ethernet;
mod ipv6;
mod neighbor;
#[cfg(test)]
pub(crate) mod samples;

pub use address::{ALL_NODES, BROADCAST, is_solicited_node, multicast_mac, solicited_node};
pub use arp::{ArpOperation, ArpRepr};
pub use ethernet::{EtherType, EthernetRepr};
pub use ipv6::Ipv6Repr;
pub use neighbor::NeighborRepr;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why a frame is not one that Landfall supports. Sending it again does not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum WireError {
    /// A header or option is cut short, or an announced length reaches past the end.
    #[error("the frame ends before its headers do")]
    Truncated,
    /// The frame carries a VLAN tag (IEEE 802.1Q or 802.1ad). Tagged traffic belongs to the VLAN's own interface.
    #[error("the frame carries a VLAN tag")]
    Vlan,
    /// Neither ARP nor an ICMPv6 neighbour solicitation or advertisement.
    #[error("the frame is neither ARP nor neighbour discovery")]
    OtherProtocol,
    /// Hardware or protocol type or an address length is not that of IPv4 over Ethernet (RFC 826).
    #[error("the ARP packet is not for IPv4 over Ethernet")]
    ArpFormat,
    /// An ARP operation other than request and reply.
    #[error("the ARP operation is neither request nor reply")]
    ArpOperation,
    /// A sender's address that no single host can have: a multicast, broadcast or zero Ethernet address, or a
    /// multicast or broadcast IP address.
    #[error("the sender's address is not that of one host")]
    Sender,
    /// The IP version is not 6.
    #[error("the IP version is not 6")]
    Version,
    /// The hop limit is not 255, so a router forwarded the packet (RFC 4861 §7.1.1).
    #[error("the hop limit is not 255")]
    HopLimit,
    /// The ICMPv6 checksum is wrong.
    #[error("the ICMPv6 checksum is wrong")]
    Checksum,
    /// The ICMPv6 code is not 0.
    #[error("the ICMPv6 code is not 0")]
    Code,
    /// The target is a multicast address (RFC 4861 §7.1).
    #[error("the target is a multicast address")]
    Target,
    /// An option has length 0, or a link-layer address option is not that of Ethernet (RFC 4861 §4.6).
    #[error("an option has an impossible length")]
    OptionLength,
    /// A solicitation from `::` that is not sent to a solicited-node group, or that carries a source link-layer
    /// address (RFC 4861 §7.1.1).
    #[error("the solicitation from :: breaks the rules of duplicate address detection")]
    DuplicateDetection,
    /// An advertisement to a multicast group with the solicited flag (RFC 4861 §7.1.2).
    #[error("an advertisement to a multicast group claims to be solicited")]
    SolicitedMulticast,
}

impl WireError {
    /// The CamelCase name, for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Truncated => "Truncated",
            Self::Vlan => "Vlan",
            Self::OtherProtocol => "OtherProtocol",
            Self::ArpFormat => "ArpFormat",
            Self::ArpOperation => "ArpOperation",
            Self::Sender => "Sender",
            Self::Version => "Version",
            Self::HopLimit => "HopLimit",
            Self::Checksum => "Checksum",
            Self::Code => "Code",
            Self::Target => "Target",
            Self::OptionLength => "OptionLength",
            Self::DuplicateDetection => "DuplicateDetection",
            Self::SolicitedMulticast => "SolicitedMulticast",
        }
    }
}

/// One supported frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// ARP.
    Arp {
        /// The Ethernet header.
        ethernet: EthernetRepr,
        /// The ARP packet.
        arp: ArpRepr,
    },
    /// IPv6 neighbour discovery.
    Neighbor {
        /// The Ethernet header.
        ethernet: EthernetRepr,
        /// The IPv6 header.
        ipv6: Ipv6Repr,
        /// The ICMPv6 message.
        neighbor: NeighborRepr,
    },
}

impl Frame {
    /// Reads and checks a whole frame. What lies behind the packet (Ethernet padding) is ignored.
    ///
    /// # Errors
    ///
    /// The first rule that the frame breaks.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let (ethernet, payload) = EthernetRepr::parse(bytes)?;
        match ethernet.ether_type {
            EtherType::Arp => Ok(Self::Arp { ethernet, arp: ArpRepr::parse(payload)? }),
            EtherType::Ipv6 => {
                let (ipv6, message) = Ipv6Repr::parse(payload)?;
                let neighbor = NeighborRepr::parse(message, &ipv6)?;
                Ok(Self::Neighbor { ethernet, ipv6, neighbor })
            }
        }
    }

    /// The frame as bytes, without padding and without check sequence: those are the driver's.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(EthernetRepr::LEN + Ipv6Repr::LEN + NeighborRepr::MAX_LEN);
        match self {
            Self::Arp { ethernet, arp } => {
                ethernet.emit(&mut bytes);
                arp.emit(&mut bytes);
            }
            Self::Neighbor { ethernet, ipv6, neighbor } => {
                ethernet.emit(&mut bytes);
                ipv6.emit(neighbor.len(), &mut bytes);
                neighbor.emit(ipv6, &mut bytes);
            }
        }
        bytes
    }
}

/// The address that an ARP or neighbour discovery frame is about, without checking anything else, so that a frame
/// about a foreign address costs no more than reading it.
///
/// # Errors
///
/// [`WireError::Truncated`], [`WireError::Vlan`] or [`WireError::OtherProtocol`].
pub fn target(bytes: &[u8]) -> Result<IpAddr, WireError> {
    const ARP_TARGET: usize = EthernetRepr::LEN + 24;
    const NEXT_HEADER: usize = EthernetRepr::LEN + 6;
    const ICMP_TYPE: usize = EthernetRepr::LEN + Ipv6Repr::LEN;
    const ICMP_TARGET: usize = ICMP_TYPE + 8;

    match EthernetRepr::ether_type(bytes)? {
        EtherType::Arp => {
            let octets: [u8; 4] = field(bytes, ARP_TARGET)?;
            Ok(Ipv4Addr::from(octets).into())
        }
        EtherType::Ipv6 => {
            let [next_header] = field(bytes, NEXT_HEADER)?;
            if next_header != ipv6::ICMPV6 {
                return Err(WireError::OtherProtocol);
            }
            let [kind] = field(bytes, ICMP_TYPE)?;
            if kind != neighbor::SOLICIT && kind != neighbor::ADVERT {
                return Err(WireError::OtherProtocol);
            }
            let octets: [u8; 16] = field(bytes, ICMP_TARGET)?;
            Ok(Ipv6Addr::from(octets).into())
        }
    }
}

/// The address that the sender of an ARP or neighbour discovery frame says is its own; `None` when it says none, as in
/// a probe (RFC 5227 §2.1.1, RFC 4862 §5.4.2). As little is checked as by [`target`], which must have accepted the frame.
#[must_use]
pub fn sender(bytes: &[u8]) -> Option<IpAddr> {
    const ARP_SENDER: usize = EthernetRepr::LEN + 14;
    const SOURCE: usize = EthernetRepr::LEN + 8;

    let address = match EthernetRepr::ether_type(bytes).ok()? {
        EtherType::Arp => IpAddr::from(field::<4>(bytes, ARP_SENDER).ok()?),
        EtherType::Ipv6 => IpAddr::from(field::<16>(bytes, SOURCE).ok()?),
    };
    (!address.is_unspecified()).then_some(address)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], WireError> {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().ok_or(WireError::Truncated)
}

#[cfg(test)]
mod tests;
