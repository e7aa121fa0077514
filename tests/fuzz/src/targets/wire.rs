//! Frames of ARP and neighbour discovery.

use std::net::{IpAddr, Ipv6Addr};

use landfall_engine::wire::{self, ArpRepr, EthernetRepr, Frame, Ipv6Repr, NeighborRepr, WireError};

/// A whole frame, also with its checksum put right, since chance hardly ever does.
pub(crate) fn frame(input: &[u8]) {
    if whole(input) == Err(WireError::Checksum) {
        let mut mended = input.to_vec();
        mend(&mut mended);
        assert_ne!(whole(&mended), Err(WireError::Checksum), "the checksum was computed anew");
    }
}

fn whole(bytes: &[u8]) -> Result<Frame, WireError> {
    let target = wire::target(bytes);
    let parsed = Frame::parse(bytes);
    let Ok(frame) = parsed else {
        if parsed == Err(WireError::Vlan) {
            assert_eq!(target, Err(WireError::Vlan));
        }
        return parsed;
    };
    let (subject, emitted) = (subject(&frame), frame.emit());
    assert_eq!(target, Ok(subject), "what is looked at first is what is parsed later");
    assert_eq!(Frame::parse(&emitted), Ok(frame), "it means the same when it is sent again");
    assert_eq!(wire::target(&emitted), Ok(subject));
    let mut padded = emitted.clone();
    padded.extend([0xa5; 18]);
    assert_eq!(Frame::parse(&padded), Ok(frame), "padding means nothing");
    for len in 0..emitted.len() {
        assert!(Frame::parse(&emitted[..len]).is_err(), "{len} of {} octets are no frame", emitted.len());
    }
    parsed
}

fn subject(frame: &Frame) -> IpAddr {
    match frame {
        Frame::Arp { arp, .. } => arp.target.into(),
        Frame::Neighbor { neighbor, .. } => neighbor.target().into(),
    }
}

/// An ARP packet without its Ethernet header.
pub(crate) fn arp(input: &[u8]) {
    let Ok(parsed) = ArpRepr::parse(input) else { return };
    assert_eq!(parsed.sender_mac.0[0] & 1, 0, "a group sends nothing");
    let mut emitted = Vec::new();
    parsed.emit(&mut emitted);
    assert_eq!(emitted.len(), ArpRepr::LEN);
    assert_eq!(emitted, input[..ArpRepr::LEN], "every octet of an ARP packet has a meaning");
}

/// An ICMPv6 message after the two addresses of its IPv6 header.
pub(crate) fn neighbor(input: &[u8]) {
    let Some((source, rest)) = input.split_first_chunk::<16>() else { return };
    let Some((destination, message)) = rest.split_first_chunk::<16>() else { return };
    let ipv6 = Ipv6Repr { source: Ipv6Addr::from(*source), destination: Ipv6Addr::from(*destination) };
    let mut message = message.to_vec();
    sum(&mut message, &ipv6);
    let parsed = NeighborRepr::parse(&message, &ipv6);
    assert_ne!(parsed, Err(WireError::Checksum), "the checksum was computed anew");
    let Ok(parsed) = parsed else { return };
    assert!(!parsed.target().is_multicast());
    let mut emitted = Vec::new();
    parsed.emit(&ipv6, &mut emitted);
    assert_eq!(emitted.len(), usize::from(parsed.len()));
    assert_eq!(NeighborRepr::parse(&emitted, &ipv6), Ok(parsed));
    for at in 0..emitted.len() {
        // One bit makes another checksum, whatever it means.
        emitted[at] ^= 1;
        assert!(NeighborRepr::parse(&emitted, &ipv6).is_err(), "octet {at} was changed");
        emitted[at] ^= 1;
    }
}

/// Puts the checksum of a neighbour discovery frame right.
fn mend(frame: &mut [u8]) {
    let (header, message) = frame.split_at_mut(EthernetRepr::LEN + Ipv6Repr::LEN);
    let address = |at: usize| -> Ipv6Addr {
        let octets = header[EthernetRepr::LEN + at..].first_chunk::<16>();
        Ipv6Addr::from(*octets.expect("the header was parsed before"))
    };
    let length = usize::from(header[EthernetRepr::LEN + 4]) << 8 | usize::from(header[EthernetRepr::LEN + 5]);
    let ipv6 = Ipv6Repr { source: address(8), destination: address(24) };
    sum(&mut message[..length], &ipv6);
}

/// Writes the checksum of an ICMPv6 message (RFC 8200 §8.1, RFC 1071).
fn sum(message: &mut [u8], ipv6: &Ipv6Repr) {
    const CHECKSUM: std::ops::Range<usize> = 2..4;
    const ICMPV6: u8 = 58;
    if message.len() < CHECKSUM.end {
        return;
    }
    message[CHECKSUM].fill(0);
    let mut covered = Vec::new();
    covered.extend(ipv6.source.octets());
    covered.extend(ipv6.destination.octets());
    covered.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    covered.extend([0, 0, 0, ICMPV6]);
    covered.extend_from_slice(message);
    if !covered.len().is_multiple_of(2) {
        covered.push(0);
    }
    let words = covered.chunks_exact(2).map(|word| u64::from(word[0]) << 8 | u64::from(word[1]));
    let mut total: u64 = words.sum();
    while total >> 16 != 0 {
        total = (total >> 16) + (total & 0xffff);
    }
    let sum = !u16::try_from(total).unwrap_or(u16::MAX);
    message[CHECKSUM].copy_from_slice(&sum.to_be_bytes());
}
