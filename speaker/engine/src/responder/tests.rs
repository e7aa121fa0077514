use std::time::Duration;

use super::*;
use crate::wire::{
    ALL_NODES, ArpOperation, ArpRepr, BROADCAST, EtherType, EthernetRepr, Ipv6Repr, NeighborRepr, WireError,
    multicast_mac,
    samples::{
        ADVERT, ANNOUNCER, ASKER, DUPLICATE_DETECTION, REPLY, REQUEST, SOLICIT, UNICAST_PROBE,
        UNSOLICITED_ADVERT,
    },
    solicited_node,
};

pub(super) const ETH0: IfIndex = IfIndex(2);
pub(super) const ETH1: IfIndex = IfIndex(3);
const OTHER_MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);

pub(super) fn v4() -> IpAddr {
    "192.0.2.50".parse().unwrap()
}

pub(super) fn v6() -> IpAddr {
    "2001:db8::50".parse().unwrap()
}

pub(super) fn group() -> Ipv6Addr {
    "ff02::1:ff00:50".parse().unwrap()
}

pub(super) fn link(index: IfIndex, mac: Mac) -> Link {
    Link {
        index,
        name: format!("eth{}", index.0 - 2).into(),
        mac: Some(mac),
        running: true,
        broadcast: true,
        arp: true,
        enslaved: false,
        loopback: false,
        addresses: Vec::new(),
        default_v4: false,
        default_v6: false,
        gateways: Vec::new(),
    }
}

pub(super) fn at(millis: u64) -> Instant {
    Instant::from_micros(1_000_000 + millis * 1000)
}

pub(super) fn commands(responder: &mut Responder) -> Vec<Command> {
    std::iter::from_fn(|| responder.next_command()).collect()
}

pub(super) fn frames(responder: &mut Responder) -> Vec<(IfIndex, Frame)> {
    let sent = commands(responder).into_iter().filter_map(|command| {
        let Command::SendFrame { interface, bytes } = command else { return None };
        Some((interface, Frame::parse(&bytes).unwrap()))
    });
    sent.collect()
}

fn send(interface: IfIndex, bytes: &[u8]) -> Command {
    Command::SendFrame { interface, bytes: bytes.to_vec() }
}

fn group_command(interface: IfIndex, group: Ipv6Addr, join: bool) -> Command {
    Command::Group { interface, group, join }
}

/// Lets the schedule run out, so that only what follows is seen.
pub(super) fn settle(responder: &mut Responder) {
    while let Some(next) = responder.poll_timeout() {
        responder.handle_timeout(next);
    }
    commands(responder);
}

/// `ANNOUNCER` on eth0 with both addresses, everything announced already.
pub(super) fn announcing() -> Responder {
    let mut responder = Responder::new();
    responder.handle_link(ETH0, Some(&link(ETH0, ANNOUNCER)), at(0));
    responder.announce(v4(), BTreeSet::from([ETH0]), at(0));
    responder.announce(v6(), BTreeSet::from([ETH0]), at(0));
    settle(&mut responder);
    responder
}

fn ask(bytes: &[u8]) -> (Vec<Command>, Vec<(Ignored, u64)>) {
    let mut responder = announcing();
    responder.handle_frame(ETH0, bytes, at(9000));
    let commands = commands(&mut responder);
    (commands, responder.ignored().collect())
}

pub(super) fn arp(destination: Mac, change: impl FnOnce(&mut ArpRepr)) -> Vec<u8> {
    let mut arp = ArpRepr {
        operation: ArpOperation::Request,
        sender_mac: ASKER,
        sender: [192, 0, 2, 9].into(),
        target_mac: Mac([0; 6]),
        target: [192, 0, 2, 50].into(),
    };
    change(&mut arp);
    let ethernet = EthernetRepr { destination, source: arp.sender_mac, ether_type: EtherType::Arp };
    Frame::Arp { ethernet, arp }.emit()
}

fn solicit(destination: Mac, source: &str, to: Ipv6Addr, source_mac: Option<Mac>) -> Vec<u8> {
    let IpAddr::V6(target) = v6() else { unreachable!() };
    Frame::Neighbor {
        ethernet: EthernetRepr { destination, source: ASKER, ether_type: EtherType::Ipv6 },
        ipv6: Ipv6Repr { source: source.parse().unwrap(), destination: to },
        neighbor: NeighborRepr::Solicit { target, source_mac },
    }
    .emit()
}

#[test]
fn requests_are_answered_byte_for_byte() {
    let probe = arp(BROADCAST, |arp| arp.sender = [0; 4].into());
    let mut probe_reply = REPLY;
    probe_reply[38..42].fill(0);
    let to_link_local = {
        let Ok(Frame::Neighbor { ethernet, ipv6, neighbor }) = Frame::parse(&ADVERT) else { unreachable!() };
        let ipv6 = Ipv6Repr { destination: "fe80::9".parse().unwrap(), ..ipv6 };
        Frame::Neighbor { ethernet, ipv6, neighbor }.emit()
    };
    let IpAddr::V6(own) = v6() else { unreachable!() };
    let cases: [(&str, Vec<u8>, &[u8]); 9] = [
        ("broadcast request", REQUEST.to_vec(), &REPLY),
        ("request to our Ethernet address", arp(ANNOUNCER, |_| {}), &REPLY),
        ("probe, RFC 5227 §2.1.1", probe, &probe_reply),
        ("solicitation", SOLICIT.to_vec(), &ADVERT),
        ("unicast probe without link-layer option", UNICAST_PROBE.to_vec(), &to_link_local),
        (
            "unicast solicitation with the option",
            solicit(ANNOUNCER, "2001:db8::9", own, Some(ASKER)),
            &ADVERT,
        ),
        (
            "group solicitation without the option",
            solicit(multicast_mac(group()), "2001:db8::9", group(), None),
            &ADVERT,
        ),
        (
            "group solicitation in a unicast frame, RFC 6085",
            solicit(ANNOUNCER, "2001:db8::9", group(), Some(ASKER)),
            &ADVERT,
        ),
        ("duplicate address detection", DUPLICATE_DETECTION.to_vec(), &UNSOLICITED_ADVERT),
    ];
    for (name, request, answer) in cases {
        let (commands, ignored) = ask(&request);
        assert_eq!(commands, [send(ETH0, answer)], "{name}");
        assert!(ignored.is_empty(), "{name}: {ignored:?}");
    }
}

#[test]
fn the_link_layer_option_wins_over_the_ethernet_source() {
    let (commands, _) = ask(&solicit(multicast_mac(group()), "2001:db8::9", group(), Some(OTHER_MAC)));
    let [Command::SendFrame { bytes, .. }] = &commands[..] else { panic!("{commands:?}") };
    assert_eq!(bytes[..6], OTHER_MAC.0);
}

#[test]
fn what_is_not_for_us_is_ignored_and_counted() {
    let IpAddr::V6(own) = v6() else { unreachable!() };
    let mut tagged = REQUEST.to_vec();
    tagged.splice(12..12, [0x81, 0x00, 0x00, 0x0a]);
    let mut bad_sum = SOLICIT;
    bad_sum[56] ^= 1;
    let own_request = arp(BROADCAST, |arp| arp.sender_mac = ANNOUNCER);
    let cases: [(&str, Vec<u8>, Ignored); 14] = [
        ("another address", arp(BROADCAST, |arp| arp.target = [192, 0, 2, 51].into()), Ignored::NotAnnounced),
        ("reply", arp(ANNOUNCER, |arp| arp.operation = ArpOperation::Reply), Ignored::NotRequest),
        ("advertisement", UNSOLICITED_ADVERT.to_vec(), Ignored::NotRequest),
        ("request to another host", arp(OTHER_MAC, |_| {}), Ignored::OtherDestination),
        ("request to a group", arp(multicast_mac(ALL_NODES), |_| {}), Ignored::OtherDestination),
        (
            "solicitation to another host",
            solicit(OTHER_MAC, "2001:db8::9", own, None),
            Ignored::OtherDestination,
        ),
        (
            "group of another frame",
            solicit(multicast_mac(ALL_NODES), "2001:db8::9", group(), None),
            Ignored::OtherDestination,
        ),
        ("our own request", own_request, Ignored::OwnFrame),
        ("announcement of another", arp(BROADCAST, |arp| arp.sender = arp.target), Ignored::Conflict),
        ("solicitation from our address", solicit(ANNOUNCER, "2001:db8::50", own, None), Ignored::Conflict),
        ("VLAN tag", tagged, Ignored::Invalid(WireError::Vlan)),
        ("checksum", bad_sum.to_vec(), Ignored::Invalid(WireError::Checksum)),
        ("nothing", Vec::new(), Ignored::Invalid(WireError::Truncated)),
        ("garbage", vec![0xff; 90], Ignored::Invalid(WireError::OtherProtocol)),
    ];
    for (name, bytes, reason) in cases {
        let (commands, ignored) = ask(&bytes);
        assert!(commands.is_empty(), "{name}: {commands:?}");
        assert_eq!(ignored, [(reason, 1)], "{name}");
    }
}

#[test]
fn our_own_announcements_seen_on_another_interface_are_no_conflict() {
    let mut responder = announcing();
    responder.handle_link(ETH1, Some(&link(ETH1, OTHER_MAC)), at(9000));
    let seen = arp(BROADCAST, |arp| {
        arp.sender_mac = OTHER_MAC;
        arp.sender = arp.target;
    });
    responder.handle_frame(ETH0, &seen, at(9000));
    assert_eq!(responder.ignored().collect::<Vec<_>>(), [(Ignored::OwnFrame, 1)]);
}

#[test]
fn only_the_allowed_interfaces_answer() {
    let mut responder = announcing();
    responder.handle_link(ETH1, Some(&link(ETH1, OTHER_MAC)), at(9000));
    responder.handle_frame(ETH1, &REQUEST, at(9000));
    responder.handle_frame(IfIndex(99), &REQUEST, at(9000));
    assert!(commands(&mut responder).is_empty());
    assert_eq!(responder.ignored().collect::<Vec<_>>(), [(Ignored::OtherInterface, 2)]);

    responder.announce(v4(), BTreeSet::from([ETH1]), at(9000));
    settle(&mut responder);
    responder.handle_frame(ETH1, &REQUEST, at(9999));
    let answers = frames(&mut responder);
    let [(ETH1, Frame::Arp { arp, .. })] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(arp.sender_mac, OTHER_MAC, "the receiving interface's address");
    responder.handle_frame(ETH0, &REQUEST, at(9999));
    assert!(commands(&mut responder).is_empty());
}

#[test]
fn a_takeover_announces_both_forms_of_arp_on_schedule() {
    let mut responder = Responder::new();
    responder.handle_link(ETH0, Some(&link(ETH0, ANNOUNCER)), at(0));
    responder.announce(v4(), BTreeSet::from([ETH0]), at(0));
    let request = arp(BROADCAST, |arp| {
        arp.sender_mac = ANNOUNCER;
        arp.sender = arp.target;
    });
    let reply = arp(BROADCAST, |arp| {
        arp.operation = ArpOperation::Reply;
        arp.sender_mac = ANNOUNCER;
        arp.sender = arp.target;
        arp.target_mac = ANNOUNCER;
    });
    for (round, millis) in [0, 50, 150, 500, 1000, 2000].into_iter().enumerate() {
        if round > 0 {
            assert_eq!(responder.poll_timeout(), Some(at(millis)));
            responder.handle_timeout(at(millis) - Duration::from_micros(1));
            assert!(commands(&mut responder).is_empty(), "early at {millis}");
            responder.handle_timeout(at(millis));
            responder.handle_timeout(at(millis));
        }
        assert_eq!(commands(&mut responder), [send(ETH0, &request), send(ETH0, &reply)], "at {millis}");
    }
    assert_eq!(responder.poll_timeout(), None);
    let counters = responder.counters().next().unwrap();
    assert_eq!(counters, (v4(), AddressCounters { gratuitous_sent: 12, ..AddressCounters::default() }));
}

#[test]
fn an_ipv6_takeover_joins_its_group_and_tells_all_nodes() {
    let mut responder = Responder::new();
    responder.handle_link(ETH0, Some(&link(ETH0, ANNOUNCER)), at(0));
    responder.announce(v6(), BTreeSet::from([ETH0]), at(0));
    let expected = [group_command(ETH0, group(), true), send(ETH0, &UNSOLICITED_ADVERT)];
    assert_eq!(commands(&mut responder), expected);
    responder.handle_timeout(at(50));
    assert_eq!(commands(&mut responder), [send(ETH0, &UNSOLICITED_ADVERT)]);
    responder.withdraw(v6());
    assert_eq!(commands(&mut responder), [group_command(ETH0, group(), false)]);
    assert_eq!(responder.poll_timeout(), None);
}

#[test]
fn the_same_announcement_again_is_silent() {
    let mut responder = announcing();
    for _ in 0..3 {
        responder.announce(v4(), BTreeSet::from([ETH0]), at(9000));
        responder.announce(v6(), BTreeSet::from([ETH0]), at(9000));
        responder.handle_link(ETH0, Some(&link(ETH0, ANNOUNCER)), at(9000));
    }
    assert!(commands(&mut responder).is_empty());
    assert_eq!(responder.poll_timeout(), None);
}

#[test]
fn announcing_again_is_possible_on_demand() {
    let mut responder = announcing();
    responder.reannounce(v4(), at(9000));
    responder.reannounce("192.0.2.99".parse().unwrap(), at(9000));
    assert_eq!(frames(&mut responder).len(), 2);
    assert_eq!(responder.poll_timeout(), Some(at(9050)));
}

#[test]
fn a_new_interface_announces_and_the_others_do_not() {
    let mut responder = announcing();
    responder.announce(v6(), BTreeSet::from([ETH0, ETH1]), at(9000));
    assert!(commands(&mut responder).is_empty(), "not reported by netlink yet");
    responder.handle_link(ETH1, Some(&link(ETH1, OTHER_MAC)), at(9100));
    let commands = commands(&mut responder);
    let [first, Command::SendFrame { interface: ETH1, bytes }] = &commands[..] else {
        panic!("{commands:?}")
    };
    assert_eq!(*first, group_command(ETH1, group(), true));
    assert_eq!(bytes[6..12], OTHER_MAC.0);
    assert_eq!(responder.interfaces(v6()), Some(&BTreeSet::from([ETH0, ETH1])));
}

#[test]
fn a_changed_mac_is_announced_and_used_in_answers() {
    let mut responder = announcing();
    responder.handle_link(ETH0, Some(&link(ETH0, OTHER_MAC)), at(9000));
    let announced = frames(&mut responder);
    assert_eq!(announced.len(), 3, "two of ARP, one advertisement, no group");
    assert_eq!(responder.poll_timeout(), Some(at(9050)));
    settle(&mut responder);
    responder.handle_frame(ETH0, &REQUEST, at(19_000));
    let answers = frames(&mut responder);
    assert!(
        matches!(&answers[..], [(ETH0, Frame::Arp { arp, .. })] if arp.sender_mac == OTHER_MAC),
        "{answers:?}"
    );
}

#[test]
fn an_interface_that_stops_is_silent_and_starts_over() {
    let mut responder = announcing();
    let stopped = Link { running: false, ..link(ETH0, ANNOUNCER) };
    responder.reannounce(v4(), at(9000));
    commands(&mut responder);
    responder.handle_link(ETH0, Some(&stopped), at(9010));
    assert_eq!(commands(&mut responder), [group_command(ETH0, group(), false)]);
    assert_eq!(responder.poll_timeout(), None);
    responder.handle_frame(ETH0, &REQUEST, at(9020));
    assert!(commands(&mut responder).is_empty());

    responder.handle_link(ETH0, Some(&link(ETH0, ANNOUNCER)), at(9100));
    let commands = commands(&mut responder);
    assert_eq!(commands[0], group_command(ETH0, group(), true));
    assert_eq!(commands.len(), 4);
}

#[test]
fn a_removed_interface_is_not_asked_to_leave_its_groups() {
    let mut responder = announcing();
    responder.handle_link(ETH0, None, at(9000));
    assert!(commands(&mut responder).is_empty(), "the kernel forgot them with the interface");
    responder.withdraw(v6());
    assert!(commands(&mut responder).is_empty());
    responder.announce(v6(), BTreeSet::from([ETH0]), at(9000));
    responder.handle_link(ETH0, Some(&link(ETH0, ANNOUNCER)), at(9000));
    assert_eq!(commands(&mut responder)[0], group_command(ETH0, group(), true));
}

#[test]
fn addresses_share_a_group() {
    let sharer: IpAddr = "2001:db8:1::50".parse().unwrap();
    let mut responder = announcing();
    responder.announce(sharer, BTreeSet::from([ETH0]), at(9000));
    let joins = |commands: Vec<Command>| {
        let group = |command: &Command| matches!(command, Command::Group { .. });
        commands.into_iter().filter(group).collect::<Vec<_>>()
    };
    assert!(joins(commands(&mut responder)).is_empty(), "joined already");
    responder.withdraw(v6());
    assert!(joins(commands(&mut responder)).is_empty(), "still needed");
    responder.withdraw(sharer);
    assert_eq!(commands(&mut responder), [group_command(ETH0, group(), false)]);
    assert_eq!(solicited_node("2001:db8:1::50".parse().unwrap()), group());
}

#[test]
fn a_withdrawn_address_is_silent_at_once() {
    let mut responder = Responder::new();
    responder.handle_link(ETH0, Some(&link(ETH0, ANNOUNCER)), at(0));
    responder.announce(v4(), BTreeSet::from([ETH0]), at(0));
    responder.handle_frame(ETH0, &REQUEST, at(0));
    responder.withdraw(v4());
    assert!(commands(&mut responder).is_empty(), "neither the announcement nor the answer");
    assert!(!responder.is_listening(v4()));
    assert_eq!(responder.interfaces(v4()), None);
    responder.handle_timeout(at(5000));
    responder.handle_frame(ETH0, &REQUEST, at(5000));
    responder.withdraw(v4());
    assert!(commands(&mut responder).is_empty());
}

#[test]
fn counters_follow_the_address() {
    let mut responder = announcing();
    responder.handle_frame(ETH0, &REQUEST, at(9000));
    responder.handle_frame(ETH0, &REQUEST, at(9000));
    assert_eq!(responder.counters().next().unwrap().1.responses_sent, 0, "nothing is pulled yet");
    commands(&mut responder);
    let expected = AddressCounters { requests_received: 2, responses_sent: 2, gratuitous_sent: 12 };
    let idle = AddressCounters { gratuitous_sent: 6, ..AddressCounters::default() };
    assert_eq!(responder.counters().collect::<Vec<_>>(), [(v4(), expected), (v6(), idle)]);
}

#[test]
fn a_flood_of_requests_does_not_hold_up_announcements() {
    let mut responder = Responder::new();
    responder.handle_link(ETH0, Some(&link(ETH0, ANNOUNCER)), at(0));
    responder.announce(v4(), BTreeSet::from([ETH0]), at(0));
    commands(&mut responder);
    responder.handle_frame(ETH0, &REQUEST, at(50));
    assert_eq!(frames(&mut responder).len(), 3);
}

#[test]
fn who_asks_for_a_held_address_is_told_with_the_first_announcement() {
    let mut responder = announcing();
    responder.hold(v4(), BTreeSet::from([ETH0]), at(9_000));
    responder.handle_frame(ETH0, &REQUEST, at(9_010));
    responder.handle_timeout(at(60_000));
    assert_eq!(commands(&mut responder), []);
    assert_eq!(responder.ignored().collect::<Vec<_>>(), [(Ignored::Silent, 1)]);
    assert!(!responder.is_listening(v4()) && responder.is_listening(v6()));
    responder.announce(v4(), BTreeSet::from([ETH0]), at(60_000));
    let told = commands(&mut responder);
    let [Command::SendFrame { .. }, Command::SendFrame { .. }, Command::SendFrame { bytes, .. }] = &told[..]
    else {
        panic!("two announcements and one word to who has asked: {told:?}")
    };
    let Ok(Frame::Arp { ethernet, .. }) = Frame::parse(bytes) else { panic!("{bytes:?}") };
    assert_eq!(ethernet.destination, ASKER);
}
