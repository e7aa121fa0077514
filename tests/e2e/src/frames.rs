//! Ethernet frames that ask who has an address, and those that answer. Pure; written apart from Landfall's own code, so
//! that the two check each other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use landfall_lan::MacAddress;

const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// Its MAC.
    pub mac: MacAddress,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
}

/// A frame in which a machine says that it has an address: an ARP reply or announcement, or a neighbour advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimOf {
    /// The address.
    pub address: IpAddr,
    /// The MAC that the claim names.
    pub mac: MacAddress,
    /// The MAC that the frame came from.
    pub source: MacAddress,
    /// It was sent to everybody, and not as an answer to one who asked.
    pub announced: bool,
}

/// A broadcast ARP request (RFC 826) or a multicast neighbour solicitation (RFC 4861 §4.3) for `address`.
#[must_use]
pub fn question(from: Sender, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp_request(from, address),
        IpAddr::V6(address) => solicitation(from, address),
    }
}

/// A frame to everybody by which the sender says that it has `address`: an ARP reply (RFC 5227 §3) or an unsolicited
/// neighbour advertisement that overrides (RFC 4861 §7.2.6).
#[must_use]
pub fn announcement(from: Sender, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp_reply(from, address),
        IpAddr::V6(address) => advertisement(from, address),
    }
}

/// What a frame claims, if anything. Probes (RFC 5227 §2.1.1) name no sender and claim nothing.
#[must_use]
pub fn claim(frame: &[u8]) -> Option<ClaimOf> {
    let source = mac(frame, 6)?;
    // The group bit, IEEE 802 §8.2.
    let announced = frame.first()? & 1 == 1;
    match frame.get(12..14)? {
        kind if *kind == ARP => {
            let sender: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
            let address = Ipv4Addr::from(sender);
            (!address.is_unspecified()).then_some(ClaimOf {
                address: address.into(),
                mac: mac(frame, 22)?,
                source,
                announced,
            })
        }
        kind if *kind == IPV6 => {
            if *frame.get(20)? != ICMPV6 || *frame.get(54)? != ADVERTISEMENT {
                return None;
            }
            let target: [u8; 16] = frame.get(62..78)?.try_into().ok()?;
            // RFC 4861 §4.4: a target link-layer address option (type 2) comes first where it is present.
            let named = if frame.get(78) == Some(&2) { mac(frame, 80)? } else { source };
            Some(ClaimOf { address: Ipv6Addr::from(target).into(), mac: named, source, announced })
        }
        _ => None,
    }
}

fn arp_request(from: Sender, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = arp(from.mac, 1);
    frame.extend(from.v4.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

fn arp_reply(from: Sender, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = arp(from.mac, 2);
    frame.extend(address.octets());
    frame.extend(from.mac.0);
    frame.extend(address.octets());
    frame
}

/// A broadcast ARP frame as far as the sender's MAC.
fn arp(from: MacAddress, operation: u8) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(from.0);
    frame.extend(ARP);
    frame.extend([0, 1, 8, 0, 6, 4, 0, operation]);
    frame.extend(from.0);
    frame
}

fn solicitation(from: Sender, address: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = address.octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    neighbor(from, group, address, [SOLICITATION, 0], 1)
}

fn advertisement(from: Sender, address: Ipv6Addr) -> Vec<u8> {
    // The flag says that older knowledge is to be overridden.
    neighbor(from, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), address, [ADVERTISEMENT, 0x20], 2)
}

/// A message about `address` to a group: its type and flags, and the sender's MAC as an option of this type.
fn neighbor(from: Sender, group: Ipv6Addr, address: Ipv6Addr, [kind, flags]: [u8; 2], option: u8) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    message.extend(address.octets());
    message.extend([option, 1]);
    message.extend(from.mac.0);
    let sum = checksum(from.v6, group, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());

    let [.., a, b, c, d] = group.octets();
    let mut frame = vec![0x33, 0x33, a, b, c, d];
    frame.extend(from.mac.0);
    frame.extend(IPV6);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend((message.len() as u16).to_be_bytes());
    frame.extend([ICMPV6, 255]);
    frame.extend(from.v6.octets());
    frame.extend(group.octets());
    frame.extend(message);
    frame
}

/// RFC 4443 §2.3, with the pseudo-header of RFC 8200 §8.1.
fn checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let length = (message.len() as u32).to_be_bytes();
    let pseudo = [&from.octets()[..], &to.octets(), &length, &[0, 0, 0, ICMPV6], message].concat();
    let words =
        pseudo.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn mac(frame: &[u8], at: usize) -> Option<MacAddress> {
    Some(MacAddress(frame.get(at..at + 6)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKER: Sender = Sender {
        mac: MacAddress([2, 0, 0, 0, 0, 1]),
        v4: Ipv4Addr::new(10, 77, 0, 101),
        v6: Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x65),
    };

    #[test]
    fn a_reply_names_address_and_mac() {
        let mut reply = question(ASKER, "10.77.0.200".parse().expect("an address"));
        assert_eq!(reply.len(), 42);
        reply[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        reply[21] = 2;
        reply[22..28].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        reply[28..32].copy_from_slice(&[10, 77, 0, 200]);
        let owner = MacAddress([2, 0, 0, 0, 0, 9]);
        let address = "10.77.0.200".parse().expect("an address");
        let announced = ClaimOf { address, mac: owner, source: owner, announced: true };
        assert_eq!(claim(&reply), Some(announced));
        reply[..6].copy_from_slice(&ASKER.mac.0);
        assert_eq!(claim(&reply), Some(ClaimOf { announced: false, ..announced }));
    }

    #[test]
    fn probes_questions_for_ipv6_and_scraps_claim_nothing() {
        let probe = question(Sender { v4: Ipv4Addr::UNSPECIFIED, ..ASKER }, [10, 77, 0, 200].into());
        assert_eq!(claim(&probe), None);
        let solicitation = question(ASKER, "fd77::c8".parse().expect("an address"));
        assert_eq!((solicitation.len(), claim(&solicitation)), (86, None));
        for length in 0..42 {
            assert_eq!(claim(&probe[..length]), None, "{length}");
        }
    }

    #[test]
    fn an_advertisement_names_the_target_and_its_option() {
        let mut frame = question(ASKER, "fd77::c8".parse().expect("an address"));
        frame[54] = ADVERTISEMENT;
        frame[78] = 2;
        frame[80..86].copy_from_slice(&[2, 0, 0, 0, 0, 7]);
        let seen = claim(&frame).expect("a claim");
        assert_eq!((seen.mac, seen.source), (MacAddress([2, 0, 0, 0, 0, 7]), ASKER.mac));
        assert_eq!(seen.address, "fd77::c8".parse::<IpAddr>().expect("an address"));
        let without_option = claim(&frame[..78]).expect("a claim");
        assert_eq!(without_option.mac, ASKER.mac);
    }

    #[test]
    fn an_announcement_claims_the_address_for_its_sender() {
        for address in ["10.77.0.200", "fd77::c8"] {
            let address = address.parse().expect("an address");
            let frame = announcement(ASKER, address);
            let own = ClaimOf { address, mac: ASKER.mac, source: ASKER.mac, announced: true };
            assert_eq!(claim(&frame), Some(own));
        }
        let advert = announcement(ASKER, "fd77::c8".parse().expect("an address"));
        assert_eq!(advert[..6], [0x33, 0x33, 0, 0, 0, 1]);
        let everybody = "ff02::1".parse().expect("an address");
        assert_eq!(checksum(ASKER.v6, everybody, &advert[54..]), 0);
    }

    #[test]
    fn the_checksum_of_a_solicitation_makes_the_sum_zero() {
        let frame = question(ASKER, "fd77::1:c8".parse().expect("an address"));
        let group: [u8; 16] = frame[38..54].try_into().expect("16 bytes");
        assert_eq!(checksum(ASKER.v6, group.into(), &frame[54..]), 0);
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 1, 0, 0xc8]);
    }
}
