use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use ipnet::IpNet;
use landfall_model::{Assigned, IpMode, ServiceKey};
use proptest::{collection::vec, option, prelude::*};

use super::claims::{address, claim};
use crate::membership::{
    BootId, Cause, DropReason, Key, KeyError, MOST_ANSWERS, Phase, Profile, Question,
    field::{Reader, put_field},
    message::{
        ClaimsRange, Content, Digests, Echo, Heartbeat, MAX_UNHEARD, ProfilePart, ProfileRequest, Stamp,
        read, write,
    },
    packet::{HEADER_LEN, Packet, VERSION, seal},
    profile::MAX_PROFILE,
    tie::Tie,
    verdict::Verdict,
};
use crate::{Mac, links::LinkSummary};

fn key(secret: &str) -> Key {
    Key::derive(secret.as_bytes(), "6f1c").unwrap()
}

fn sample() -> Heartbeat<'static> {
    Heartbeat {
        sender: "n1",
        receiver: 7,
        stamp: Stamp { boot: BootId { seconds: 1, random: 2 }, sequence: 3 },
        phase: Phase::Serving,
        interval: Duration::from_millis(100),
        echo: Some(Echo { boot: BootId { seconds: 4, random: 5 }, now: true }),
        digests: Digests { view: 6, profile: 7, claims: 8, claims_len: 9 },
        unheard: None,
        tie: Tie::default(),
    }
}

fn sample_packet() -> Vec<u8> {
    seal(&key("secret"), |out| write(out, &sample(), &Content::default()))
}

/// What a receiver with these keys makes of the bytes.
fn receive<'a>(bytes: &'a [u8], keys: &[Key]) -> Result<(Heartbeat<'a>, Content<'a>), DropReason> {
    read(Packet::parse(bytes)?.open(keys)?).ok_or(DropReason::BadField)
}

/// A packet with any bytes as its header and fields, correctly signed.
fn signed(mut bytes: Vec<u8>) -> Vec<u8> {
    key("secret").sign(&mut bytes);
    bytes
}

#[test]
fn the_bytes_on_the_wire_stay_as_they_are() {
    // Made apart from this code, from RFC 5869, RFC 2104 and the layout in `packet`.
    let expected = concat!(
        "4c4601017faf4aa30100026e310200080000000000000007030018000000000000000100000000000000020000000000",
        "00000304000502000186a0050011000000000000000400000000000000050106001c0000000000000006000000000000",
        "0007000000000000000800000009355f4860c46a035ff7506d978f6e0bfd",
    );
    let hex: String = sample_packet().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, expected);
}

#[test]
fn who_is_not_heard_is_a_list_that_may_be_empty_and_not_too_long() {
    for many in [0, 1, MAX_UNHEARD] {
        let heartbeat = Heartbeat { unheard: Some((0..many as u64).collect()), ..sample() };
        let packet = seal(&key("secret"), |out| write(out, &heartbeat, &Content::default()));
        assert_eq!(receive(&packet, &[key("secret")]), Ok((heartbeat, Content::default())));
        let field = &packet[sample_packet().len() - 16..packet.len() - 16];
        assert_eq!(field[..3], [12, 0, u8::try_from(many * 8).unwrap()]);
    }
    for len in [7, 9, 8 * (MAX_UNHEARD + 1)] {
        let mut packet = sample_packet();
        packet.truncate(packet.len() - 16);
        put_field(&mut packet, 12, |out| out.resize(out.len() + len, 1));
        assert_eq!(receive(&signed(packet), &[key("secret")]).unwrap_err(), DropReason::BadField, "{len}");
    }
}

#[test]
fn keys_depend_on_secret_and_cluster_and_stay_hidden() {
    let one = key("secret");
    assert_eq!(one, key("secret"));
    assert_ne!(one, key("secreT"));
    assert_ne!(one, Key::derive(b"secret", "6f1d").unwrap());
    assert_ne!(one.id(), key("secreT").id());
    assert_eq!(Key::derive(b"", "6f1c"), Err(KeyError::Empty));
    assert_eq!(format!("{one:?}"), "Key(…)");
}

#[test]
fn any_of_the_keys_opens_and_no_other() {
    let packet = sample_packet();
    let (old, new) = (key("secret"), key("next"));
    assert!(receive(&packet, &[new.clone(), old.clone()]).is_ok());
    assert!(receive(&packet, &[old]).is_ok());
    assert_eq!(receive(&packet, &[new]).unwrap_err(), DropReason::UnknownKey);
    assert_eq!(receive(&packet, &[]).unwrap_err(), DropReason::NoKey);
}

#[test]
fn a_packet_that_is_cut_anywhere_is_not_accepted() {
    let packet = sample_packet();
    for len in 0..packet.len() {
        assert!(receive(&packet[..len], &[key("secret")]).is_err(), "{len} bytes");
    }
    let long = signed([sample_packet(), vec![0; 2_048]].concat());
    assert_eq!(receive(&long, &[key("secret")]).unwrap_err(), DropReason::Malformed);
}

#[test]
fn a_packet_with_any_bit_changed_is_not_accepted() {
    let packet = sample_packet();
    for bit in 0..packet.len() * 8 {
        let mut changed = packet.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(receive(&changed, &[key("secret")]).is_err(), "bit {bit}");
    }
}

#[test]
fn versions_overlap_or_are_refused() {
    let table = [
        (VERSION, VERSION, true),
        // A newer speaker that an old one can follow, and one that it cannot.
        (VERSION + 1, VERSION, true),
        (255, 1, true),
        (VERSION + 1, VERSION + 1, false),
        (255, 255, false),
        // Older than everything that we understand.
        (0, 0, false),
    ];
    for (version, minimum, accepted) in table {
        let mut bytes = sample_packet();
        bytes.truncate(bytes.len() - 16);
        (bytes[2], bytes[3]) = (version, minimum);
        let bytes = signed(bytes);
        let result = receive(&bytes, &[key("secret")]);
        let expected = if accepted { Ok((sample(), Content::default())) } else { Err(DropReason::Version) };
        assert_eq!(result, expected, "version {version}, minimum {minimum}");
    }
}

#[test]
fn unknown_fields_are_skipped_and_known_ones_come_once_and_whole() {
    let body = sample_packet();
    let body = &body[..body.len() - 16];
    let with = |kind: u8, value: &[u8]| {
        let mut bytes = body.to_vec();
        put_field(&mut bytes, kind, |out| out.extend_from_slice(value));
        signed(bytes)
    };
    for kind in 16..=255 {
        let packet = with(kind, b"from the future");
        assert_eq!(receive(&packet, &[key("secret")]), Ok((sample(), Content::default())), "type {kind}");
    }
    for kind in 1..=6 {
        let mut fields = Reader(&body[HEADER_LEN..]);
        let mut without = body[..HEADER_LEN].to_vec();
        let mut short = without.clone();
        while let Some((other, value)) = fields.field() {
            if other == kind {
                let twice = with(kind, value);
                assert_eq!(
                    receive(&twice, &[key("secret")]).unwrap_err(),
                    DropReason::BadField,
                    "type {kind}"
                );
                put_field(&mut short, other, |out| out.extend_from_slice(&value[1..]));
            } else {
                put_field(&mut without, other, |out| out.extend_from_slice(value));
                put_field(&mut short, other, |out| out.extend_from_slice(value));
            }
        }
        // Only the echo is optional: whoever never heard us has none. A name may lose its first letter.
        assert_eq!(receive(&signed(without), &[key("secret")]).is_ok(), kind == 5, "type {kind}");
        assert_eq!(receive(&signed(short), &[key("secret")]).is_ok(), kind == 1, "type {kind}");
    }
}

fn boot() -> impl Strategy<Value = BootId> {
    any::<(u64, u64)>().prop_map(|(seconds, random)| BootId { seconds, random })
}

fn echo() -> impl Strategy<Value = Echo> {
    (boot(), any::<bool>()).prop_map(|(boot, now)| Echo { boot, now })
}

fn digests() -> impl Strategy<Value = Digests> {
    any::<(u64, u64, u64, u32)>().prop_map(|(view, profile, claims, claims_len)| Digests {
        view,
        profile,
        claims,
        claims_len,
    })
}

prop_compose! {
    fn range()(
        claims in proptest::collection::btree_map(address(), claim(), 0..20),
        open in any::<bool>(),
    ) -> ClaimsRange {
        let upto = claims.keys().last().copied().filter(|_| !open);
        ClaimsRange { after: None, upto, entries: claims.into_iter().collect() }
    }
}

fn phase() -> impl Strategy<Value = Phase> {
    prop_oneof![Just(Phase::Joining), Just(Phase::Serving), Just(Phase::Leaving)]
}

fn tie() -> impl Strategy<Value = Tie> {
    any::<[bool; 4]>().prop_map(|[near, back, answer, doubted]| Tie { near, back, answer, doubted })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    (any::<u64>(), boot(), any::<u32>(), any::<bool>()).prop_map(|(node, boot, millis, process)| Verdict {
        node,
        boot,
        silent: Duration::from_millis(millis.into()),
        cause: if process { Cause::ProcessSilent } else { Cause::NodeSilent },
    })
}

fn network() -> impl Strategy<Value = IpNet> {
    (address(), 0_u8..=32).prop_map(|(address, len)| IpNet::new(address, len).unwrap())
}

fn link() -> impl Strategy<Value = LinkSummary> {
    ("[a-z0-9]{0,15}", vec(network(), 0..4), any::<[bool; 4]>(), any::<Option<[u8; 6]>>()).prop_map(
        |(name, prefixes, [default_v4, default_v6, arp, ndp], mac)| LinkSummary {
            name: name.into(),
            prefixes,
            default_v4,
            default_v6,
            arp,
            ndp,
            mac: mac.map(Mac),
        },
    )
}

fn assigned() -> impl Strategy<Value = Assigned> {
    let mode = any::<bool>().prop_map(|proxy| if proxy { IpMode::Proxy } else { IpMode::Vip });
    let names = ("[a-z0-9-]{1,63}", "[a-z0-9-]{1,63}", option::of("[a-z0-9.-]{1,253}"));
    (names, any::<u64>(), vec((address(), mode), 0..3)).prop_map(
        |((namespace, name, pool), version, ingress)| Assigned {
            service: ServiceKey::new(&namespace, &name),
            version,
            ingress,
            pool: pool.map(Into::into),
        },
    )
}

fn question() -> impl Strategy<Value = Question> {
    let look = (address(), network());
    let seen = (address(), vec(any::<[u8; 6]>().prop_map(Mac), 0..=MOST_ANSWERS));
    prop_oneof![
        look.prop_map(|(address, segment)| Question::Look { address, segment: segment.trunc() }),
        seen.prop_map(|(address, answers)| Question::Seen { address, answers }),
    ]
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        (sender, receiver, boot, sequence) in ("[a-z0-9.-]{1,253}", any::<u64>(), boot(), any::<u64>()),
        (phase, millis) in (phase(), 0_u64..=60_000),
        (echo, digests, unheard) in (option::of(echo()), digests(), option::of(vec(any::<u64>(), 0..=MAX_UNHEARD))),
        (request, after) in (option::of(any::<(u64, u32)>()), option::of(option::of(address()))),
        (part, bytes) in (option::of(any::<(u64, u32, u32)>()), vec(any::<u8>(), 0..200)),
        (claims_range, changes) in (option::of(range()), vec((address(), option::of(claim())), 0..20)),
        (tie, verdicts, questions) in (tie(), vec(verdict(), 0..20), vec(question(), 0..20)),
    ) {
        let heartbeat = Heartbeat {
            sender: &sender, receiver, stamp: Stamp { boot, sequence }, phase,
            interval: Duration::from_millis(millis), echo, digests, unheard, tie,
        };
        let content = Content {
            profile_request: request.map(|(digest, offset)| ProfileRequest { digest, offset }),
            profile_part: part
                .map(|(digest, total, offset)| ProfilePart { digest, total, offset, bytes: &bytes }),
            claims_request: after,
            claims_range,
            changes,
            verdicts,
            questions,
        };
        let key = key("secret");
        let packet = seal(&key, |out| write(out, &heartbeat, &content));
        // Longer ones are refused; the machine never builds them.
        prop_assume!(packet.len() <= 2_048);
        prop_assert_eq!(receive(&packet, &[key]), Ok((heartbeat, content)));
    }

    #[test]
    fn no_bytes_panic_and_none_are_believed_without_the_key(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(receive(&bytes, &[key("secret")]).is_err());
        let mut headed = b"LF\x01\x01".to_vec();
        headed.extend_from_slice(&bytes);
        prop_assert!(receive(&headed, &[key("secret")]).is_err());
    }

    #[test]
    fn no_authentic_nonsense_panics(
        bytes in vec(any::<u8>(), 0..300),
        fields in vec((0_u8..17, vec(any::<u8>(), 0..40)), 0..12),
    ) {
        let _ = read(Reader(&bytes));
        let _ = Profile::decode(&bytes);
        let mut built = Vec::new();
        for (kind, value) in fields {
            put_field(&mut built, kind, |out| out.extend_from_slice(&value));
        }
        let _ = read(Reader(&built));
        let _ = Profile::decode(&built);
    }

    #[test]
    fn profiles_come_back_as_they_were(
        links in vec(link(), 0..12), node_port in any::<bool>(), looks in any::<bool>(), version in "[ -~]{0,40}",
        assigned in vec(assigned(), 0..12), given_up in vec(any::<IpAddr>(), 0..12), future in 6_u8..,
    ) {
        let given_up: BTreeSet<_> = given_up.into_iter().collect();
        let profile = Profile { links, node_port, looks, given_up, version: version.into(), assigned };
        let (mut bytes, left_out) = profile.encode();
        prop_assert_eq!(left_out, 0);
        prop_assert_eq!(Profile::decode(&bytes), Some(profile.clone()));
        put_field(&mut bytes, future, |out| out.extend_from_slice(b"from the future"));
        prop_assert_eq!(Profile::decode(&bytes), Some(profile));
    }
}

#[test]
fn a_profile_over_the_limit_loses_links_and_counts_them() {
    let link = LinkSummary {
        name: "eth0".into(),
        prefixes: vec!["192.0.2.1/24".parse().unwrap(); 50],
        ..LinkSummary::default()
    };
    let version = "é".repeat(200).into_boxed_str();
    let profile = Profile { links: vec![link; 200], node_port: true, version, ..Profile::default() };
    let (bytes, left_out) = profile.encode();
    assert!(bytes.len() <= MAX_PROFILE);
    let read = Profile::decode(&bytes).unwrap();
    assert!(left_out > 0 && !read.links.is_empty());
    assert_eq!(read.links.len() + usize::try_from(left_out).unwrap(), 200);
    assert_eq!(&*read.version, "é".repeat(127), "cut between letters");
}
