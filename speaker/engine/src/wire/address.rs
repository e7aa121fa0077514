use std::net::{Ipv4Addr, Ipv6Addr};

use pnet::util::{MacAddr, core_net};

use crate::Mac;

/// The Ethernet broadcast address.
pub const BROADCAST: Mac = Mac([0xff; 6]);

/// The link-local group of all IPv6 nodes, `ff02::1` (RFC 4291 §2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The solicited-node group of an address (RFC 4291 §2.7.1). Addresses with equal last three octets share one.
#[must_use]
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}

/// Whether `group` is the solicited-node group of some address.
#[must_use]
pub fn is_solicited_node(group: Ipv6Addr) -> bool {
    solicited_node(group) == group
}

/// The Ethernet address of an IPv6 group (RFC 2464 §7).
#[must_use]
pub fn multicast_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

/// Whether one host can have this Ethernet address: neither a group (IEEE 802, I/G bit) nor all zeroes.
pub(super) fn is_host(mac: Mac) -> bool {
    mac.0[0] & 1 == 0 && mac.0 != [0; 6]
}

pub(super) fn from_pnet(mac: MacAddr) -> Mac {
    Mac(mac.octets())
}

pub(super) fn to_pnet(mac: Mac) -> MacAddr {
    MacAddr::from(mac.0)
}

// Without its `std` feature, which would bring sockets along, `pnet` has IP address types of its own.

pub(super) fn v4_from_pnet(address: core_net::Ipv4Addr) -> Ipv4Addr {
    address.octets().into()
}

pub(super) fn v4_to_pnet(address: Ipv4Addr) -> core_net::Ipv4Addr {
    address.octets().into()
}

pub(super) fn v6_from_pnet(address: core_net::Ipv6Addr) -> Ipv6Addr {
    address.octets().into()
}

pub(super) fn v6_to_pnet(address: Ipv6Addr) -> core_net::Ipv6Addr {
    address.octets().into()
}
