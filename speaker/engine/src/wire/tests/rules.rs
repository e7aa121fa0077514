//! What a receiver must refuse, rule by rule.

use super::*;

#[test]
fn ethernet_rules() {
    let mut vlan = REQUEST.to_vec();
    vlan.splice(12..12, [0x81, 0x00, 0x00, 0x0a]);
    let cases: [(&str, Vec<u8>, WireError); 8] = [
        ("empty", vec![], WireError::Truncated),
        ("half a header", REQUEST[..13].to_vec(), WireError::Truncated),
        ("VLAN tag", vlan, WireError::Vlan),
        ("service VLAN tag", with(&REQUEST, 12, &[0x88, 0xa8]), WireError::Vlan),
        ("IPv4", with(&REQUEST, 12, &[0x08, 0x00]), WireError::OtherProtocol),
        ("IEEE 802.3 length", with(&REQUEST, 12, &[0x00, 0x2e]), WireError::OtherProtocol),
        ("from a group", with(&REQUEST, 6, &[0x03]), WireError::Sender),
        ("from nobody", with(&REQUEST, 6, &[0; 6]), WireError::Sender),
    ];
    for (name, bytes, error) in cases {
        assert_eq!(Frame::parse(&bytes), Err(error), "{name}");
    }
}

#[test]
fn arp_rules() {
    let cases: [(&str, Vec<u8>, WireError); 12] = [
        ("cut short", REQUEST[..41].to_vec(), WireError::Truncated),
        ("hardware type", with(&REQUEST, ARP, &[0, 6]), WireError::ArpFormat),
        ("protocol type", with(&REQUEST, ARP + 2, &[0x86, 0xdd]), WireError::ArpFormat),
        ("hardware length", with(&REQUEST, ARP + 4, &[8]), WireError::ArpFormat),
        ("protocol length", with(&REQUEST, ARP + 5, &[16]), WireError::ArpFormat),
        ("operation 0", with(&REQUEST, ARP + 6, &[0, 0]), WireError::ArpOperation),
        ("operation 3, reverse ARP", with(&REQUEST, ARP + 6, &[0, 3]), WireError::ArpOperation),
        ("sender is a group", with(&REQUEST, ARP + 8, &[1]), WireError::Sender),
        ("sender is broadcast", with(&REQUEST, ARP + 8, &[0xff; 6]), WireError::Sender),
        ("sender has no Ethernet address", with(&REQUEST, ARP + 8, &[0; 6]), WireError::Sender),
        ("sender is an IP group", with(&REQUEST, ARP + 14, &[224]), WireError::Sender),
        ("sender is IP broadcast", with(&REQUEST, ARP + 14, &[255; 4]), WireError::Sender),
    ];
    for (name, bytes, error) in cases {
        assert_eq!(Frame::parse(&bytes), Err(error), "{name}");
    }
    let probe = Frame::parse(&with(&REQUEST, ARP + 14, &[0; 4])).unwrap();
    assert!(matches!(probe, Frame::Arp { arp, .. } if arp.sender.is_unspecified()), "{probe:?}");
}

#[test]
fn neighbor_rules() {
    let solicit_options = |options: &[u8]| {
        let mut bytes = SOLICIT[..OPTION].to_vec();
        bytes.extend(options);
        let len = u16::try_from(bytes.len() - ICMP).unwrap();
        bytes[IPV6 + 4..IPV6 + 6].copy_from_slice(&len.to_be_bytes());
        summed(bytes)
    };
    let source_option = [1, 1, 2, 0, 0, 0, 0, 9];
    let mut dad_with_option = with(&SOLICIT, IPV6 + 8, &[0; 16]);
    dad_with_option = summed(dad_with_option);
    let mut hop_by_hop = with(&SOLICIT, IPV6 + 6, &[0]);
    hop_by_hop.splice(ICMP..ICMP, [58, 0, 5, 2, 0, 0, 1, 0]);

    let cases: Vec<(&str, Vec<u8>, WireError)> = vec![
        ("no IPv6 header", SOLICIT[..53].to_vec(), WireError::Truncated),
        ("half a target", SOLICIT[..70].to_vec(), WireError::Truncated),
        ("cut in the option", SOLICIT[..85].to_vec(), WireError::Truncated),
        ("length past the end", with(&SOLICIT, IPV6 + 4, &[0xff, 0xff]), WireError::Truncated),
        ("length without target", with(&SOLICIT, IPV6 + 4, &[0, 23]), WireError::Truncated),
        ("length zero", with(&SOLICIT, IPV6 + 4, &[0, 0]), WireError::Truncated),
        ("version 4", with(&SOLICIT, IPV6, &[0x40]), WireError::Version),
        ("UDP", with(&SOLICIT, IPV6 + 6, &[17]), WireError::OtherProtocol),
        ("extension header", hop_by_hop, WireError::OtherProtocol),
        ("echo request", summed(with(&SOLICIT, ICMP, &[128])), WireError::OtherProtocol),
        ("router advertisement", summed(with(&SOLICIT, ICMP, &[134])), WireError::OtherProtocol),
        ("through a router", with(&SOLICIT, IPV6 + 7, &[254]), WireError::HopLimit),
        ("from a group", summed(with(&SOLICIT, IPV6 + 8, &[0xff, 2])), WireError::Sender),
        ("code 1", summed(with(&SOLICIT, ICMP + 1, &[1])), WireError::Code),
        ("checksum", with(&SOLICIT, ICMP + 2, &[0, 0]), WireError::Checksum),
        ("checksum over the addresses", with(&SOLICIT, IPV6 + 8, &[0x20, 2]), WireError::Checksum),
        ("target is a group", summed(with(&SOLICIT, ICMP + 8, &[0xff, 2])), WireError::Target),
        ("advertised group", summed(with(&ADVERT, ICMP + 8, &[0xff, 2])), WireError::Target),
        ("option of length 0", summed(with(&SOLICIT, OPTION + 1, &[0])), WireError::OptionLength),
        ("option past the end", summed(with(&SOLICIT, OPTION + 1, &[2])), WireError::Truncated),
        ("option of 255 units", summed(with(&SOLICIT, OPTION + 1, &[255])), WireError::Truncated),
        ("option of one octet", solicit_options(&[1]), WireError::Truncated),
        (
            "long link-layer address",
            solicit_options(&[[1, 2, 2, 0, 0, 0, 0, 9], [0; 8]].concat()),
            WireError::OptionLength,
        ),
        (
            "bad option after a good one",
            solicit_options(&[source_option, [14, 0, 0, 0, 0, 0, 0, 0]].concat()),
            WireError::OptionLength,
        ),
        ("link-layer address of a group", summed(with(&SOLICIT, OPTION + 2, &[0x33])), WireError::Sender),
        ("detection with link-layer address", dad_with_option, WireError::DuplicateDetection),
        (
            "detection to one host",
            summed(with(&DUPLICATE_DETECTION, IPV6 + 24, &V6.octets())),
            WireError::DuplicateDetection,
        ),
        (
            "detection to all nodes",
            summed(with(&DUPLICATE_DETECTION, IPV6 + 24, &ALL_NODES.octets())),
            WireError::DuplicateDetection,
        ),
        (
            "solicited to all nodes",
            summed(with(&UNSOLICITED_ADVERT, ICMP + 4, &[0x60])),
            WireError::SolicitedMulticast,
        ),
    ];
    for (name, bytes, error) in cases {
        assert_eq!(Frame::parse(&bytes), Err(error), "{name}");
    }

    let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
    let with_nonce = Frame::parse(&solicit_options(&[nonce, source_option].concat()));
    assert_eq!(with_nonce, Frame::parse(&SOLICIT), "unknown options are skipped");
}

/// The cheap look at the target tells foreign protocols apart as well.
#[test]
fn target_rules() {
    let cases: [(&str, Vec<u8>, WireError); 7] = [
        ("empty", vec![], WireError::Truncated),
        ("VLAN tag", with(&REQUEST, 12, &[0x81, 0x00]), WireError::Vlan),
        ("IPv4", with(&REQUEST, 12, &[0x08, 0x00]), WireError::OtherProtocol),
        ("half an ARP target", REQUEST[..41].to_vec(), WireError::Truncated),
        ("UDP", with(&SOLICIT, IPV6 + 6, &[17]), WireError::OtherProtocol),
        ("echo request", with(&SOLICIT, ICMP, &[128]), WireError::OtherProtocol),
        ("half a target", SOLICIT[..70].to_vec(), WireError::Truncated),
    ];
    for (name, bytes, error) in cases {
        assert_eq!(target(&bytes), Err(error), "{name}");
    }
}

#[test]
fn names_are_distinct() {
    let errors = [
        WireError::Truncated,
        WireError::Vlan,
        WireError::OtherProtocol,
        WireError::ArpFormat,
        WireError::ArpOperation,
        WireError::Sender,
        WireError::Version,
        WireError::HopLimit,
        WireError::Checksum,
        WireError::Code,
        WireError::Target,
        WireError::OptionLength,
        WireError::DuplicateDetection,
        WireError::SolicitedMulticast,
    ];
    let names: std::collections::BTreeSet<_> = errors.iter().map(|error| error.as_str()).collect();
    assert_eq!(names.len(), errors.len());
    assert!(errors.iter().all(|error| format!("{error:?}") == error.as_str()));
}

fn with(bytes: &[u8], at: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + value.len()].copy_from_slice(value);
    bytes
}

/// The same frame with the right ICMPv6 checksum, computed here from RFC 1071 so that it does not lean on the code
/// under test.
pub(super) fn summed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[ICMP + 2..ICMP + 4].fill(0);
    let len = u32::try_from(bytes.len() - ICMP).unwrap();
    let mut covered = bytes[IPV6 + 8..].to_vec();
    covered.extend(len.to_be_bytes());
    covered.extend([0, 0, 0, 58]);
    let odd = (bytes.len() - ICMP) % 2;
    if odd == 1 {
        covered.insert(bytes.len() - IPV6 - 8, 0);
    }
    let mut sum: u32 = covered.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = !u16::try_from(sum).unwrap();
    bytes[ICMP + 2..ICMP + 4].copy_from_slice(&sum.to_be_bytes());
    bytes
}
