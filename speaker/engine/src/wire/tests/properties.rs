//! Any frame, and any bytes.

use proptest::prelude::*;

use super::{rules::summed, *};

fn any_host() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(|mut octets| {
        octets[0] = octets[0] & 0xfe | 2;
        Mac(octets)
    })
}

fn any_unicast_v6() -> impl Strategy<Value = Ipv6Addr> {
    any::<[u8; 16]>().prop_map(|mut octets| {
        octets[0] &= 0x3f;
        octets[15] |= 1;
        octets.into()
    })
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let arp = (any::<bool>(), any_host(), any::<[u8; 4]>(), any::<[u8; 6]>(), any::<[u8; 4]>()).prop_map(
        |(request, sender_mac, mut sender, target_mac, target)| {
            sender[0] &= 0x7f;
            ArpRepr {
                operation: if request { ArpOperation::Request } else { ArpOperation::Reply },
                sender_mac,
                sender: sender.into(),
                target_mac: Mac(target_mac),
                target: target.into(),
            }
        },
    );
    let arp = (any::<[u8; 6]>(), any_host(), arp).prop_map(|(destination, source, arp)| Frame::Arp {
        ethernet: ethernet(Mac(destination), source, EtherType::Arp),
        arp,
    });
    let solicit = (any_unicast_v6(), proptest::option::of(any_host()))
        .prop_map(|(target, source_mac)| NeighborRepr::Solicit { target, source_mac });
    let advert = (any_unicast_v6(), any::<(bool, bool, bool)>(), proptest::option::of(any_host())).prop_map(
        |(target, (router, solicited, overrides), target_mac)| NeighborRepr::Advert {
            target,
            router,
            solicited,
            overrides,
            target_mac,
        },
    );
    let neighbor =
        (any::<[u8; 6]>(), any_host(), any_unicast_v6(), any_unicast_v6(), prop_oneof![solicit, advert])
            .prop_map(|(to, from, source, destination, neighbor)| Frame::Neighbor {
                ethernet: ethernet(Mac(to), from, EtherType::Ipv6),
                ipv6: Ipv6Repr { source, destination },
                neighbor,
            });
    prop_oneof![arp, neighbor]
}

proptest! {
    #[test]
    fn what_is_emitted_is_parsed_again(frame in any_frame()) {
        prop_assert_eq!(Frame::parse(&frame.emit()), Ok(frame));
    }

    #[test]
    fn any_bytes_are_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Frame::parse(&bytes);
        let _ = target(&bytes);
    }

    /// Whatever passes the checks after a mutation means the same when it is sent again.
    #[test]
    fn mutated_frames_are_harmless(
        frame in any_frame(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        end in any::<prop::sample::Index>(),
        cut in any::<bool>(),
        sum in any::<bool>(),
    ) {
        let mut bytes = frame.emit();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if sum && matches!(frame, Frame::Neighbor { .. }) {
            bytes = summed(bytes);
        }
        if cut {
            bytes.truncate(end.index(bytes.len()));
        }
        if let Ok(parsed) = Frame::parse(&bytes) {
            prop_assert!(target(&bytes).is_ok());
            prop_assert_eq!(Frame::parse(&parsed.emit()), Ok(parsed));
        }
    }
}
