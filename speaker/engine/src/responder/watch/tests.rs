//! What the responder does about others who have its addresses.

use std::collections::BTreeSet;

use super::super::{
    DEFEND_INTERVAL, Ignored,
    tests::{ETH0, ETH1, announcing, arp, at, commands, frames, group, link, settle, v4, v6},
};
use super::*;
use crate::{
    Command,
    wire::{
        ArpOperation, BROADCAST, Ipv6Repr, NeighborRepr,
        samples::{ANNOUNCER, ASKER, DUPLICATE_DETECTION, REQUEST, UNSOLICITED_ADVERT},
    },
};

const RIVAL: Mac = Mac([2, 0, 0, 0, 0, 0x66]);

/// `ANNOUNCER` on eth0, asking for both addresses since `at(0)`.
fn probing() -> Responder {
    let mut responder = Responder::new();
    responder.handle_link(ETH0, Some(&link(ETH0, ANNOUNCER)), at(0));
    responder.probe(v4(), BTreeSet::from([ETH0]), at(0));
    responder.probe(v6(), BTreeSet::from([ETH0]), at(0));
    responder
}

fn pass(responder: &mut Responder, until: u64) {
    while let Some(next) = responder.poll_timeout().filter(|next| *next <= at(until)) {
        responder.handle_timeout(next);
    }
}

fn claimant(address: IpAddr, mac: Mac) -> Claimant {
    Claimant { address, interface: ETH0, mac }
}

/// What a rival says when it is asked, or by itself.
fn claim_v4(operation: ArpOperation, mac: Mac) -> Vec<u8> {
    arp(BROADCAST, |arp| {
        arp.operation = operation;
        arp.sender_mac = mac;
        arp.sender = arp.target;
    })
}

fn claim_v6(mac: Mac) -> Vec<u8> {
    let Ok(Frame::Neighbor { ethernet, ipv6, neighbor: NeighborRepr::Advert { target, .. } }) =
        Frame::parse(&UNSOLICITED_ADVERT)
    else {
        unreachable!()
    };
    let neighbor = NeighborRepr::Advert {
        target,
        router: false,
        solicited: false,
        overrides: true,
        target_mac: Some(mac),
    };
    let ipv6 = Ipv6Repr { source: "fe80::66".parse().unwrap(), ..ipv6 };
    Frame::Neighbor { ethernet: crate::wire::EthernetRepr { source: mac, ..ethernet }, ipv6, neighbor }.emit()
}

#[test]
fn questions_are_frames_of_the_rfcs_and_announcements_follow_when_nobody_answers() {
    let mut responder = probing();
    let sent = commands(&mut responder);
    assert_eq!(sent[1], Command::Group { interface: ETH0, group: group(), join: true }, "to hear others ask");
    let probe = arp(BROADCAST, |arp| {
        arp.sender_mac = ANNOUNCER;
        arp.sender = [0; 4].into();
    });
    let mut detection = DUPLICATE_DETECTION.to_vec();
    detection[6..12].copy_from_slice(&ANNOUNCER.0);
    let question = |bytes: &[u8]| Command::SendFrame { interface: ETH0, bytes: bytes.to_vec() };
    let mut questions: Vec<_> =
        sent.into_iter().filter(|command| !matches!(command, Command::Group { .. })).collect();
    for millis in [50, 100] {
        assert_eq!(responder.poll_timeout(), Some(at(millis)));
        responder.handle_timeout(at(millis));
        questions.extend(commands(&mut responder));
    }
    let both = [question(&probe), question(&detection)];
    assert_eq!(questions, [both.clone(), both.clone(), both].concat());
    assert!(!responder.is_listening(v4()) && responder.counters().next().is_none());
    assert!(responder.take_cleared().is_empty());
    responder.handle_timeout(at(150));
    assert_eq!(responder.take_cleared(), BTreeSet::from([v4(), v6()]));
    assert!(responder.is_listening(v4()) && responder.is_listening(v6()));
    assert_eq!(frames(&mut responder).len(), 3, "the first announcements");
    responder.handle_frame(ETH0, &REQUEST, at(151));
    assert_eq!(frames(&mut responder).len(), 1, "it answers");
    assert_eq!(responder.conflicts(), ConflictCounters { clear: 2, ..ConflictCounters::default() });
}

#[test]
fn whoever_asks_meanwhile_gets_no_answer() {
    let mut responder = probing();
    commands(&mut responder);
    for frame in [&REQUEST[..], &DUPLICATE_DETECTION] {
        responder.handle_frame(ETH0, frame, at(10));
    }
    assert!(commands(&mut responder).is_empty());
    assert_eq!(responder.ignored().collect::<Vec<_>>(), [(Ignored::Silent, 2)]);
}

#[test]
fn what_was_said_before_a_withdrawal_does_not_leave_in_the_silence_after_it() {
    let mut responder = announcing();
    responder.handle_frame(ETH0, &REQUEST, at(9_000));
    responder.withdraw(v4());
    responder.probe(v4(), BTreeSet::from([ETH0]), at(9_000));
    let sent = frames(&mut responder);
    let [(ETH0, Frame::Arp { arp, .. })] = &sent[..] else { panic!("{sent:?}") };
    assert!(arp.sender.is_unspecified());
}

#[test]
fn each_form_of_a_claim_is_noticed_and_only_by_others() {
    let probe = |mac| {
        arp(BROADCAST, |arp| {
            arp.sender = [0; 4].into();
            arp.sender_mac = mac;
        })
    };
    let asks_another = arp(BROADCAST, |arp| {
        arp.sender_mac = RIVAL;
        (arp.sender, arp.target) = (arp.target, [192, 0, 2, 1].into());
    });
    // Frame, whether it counts before the announcement, and after it.
    let rows = [
        ("request of its own", claim_v4(ArpOperation::Request, RIVAL), v4(), true, true),
        ("reply of its own", claim_v4(ArpOperation::Reply, RIVAL), v4(), true, true),
        ("request for another address", asks_another, v4(), true, true),
        ("probe", probe(RIVAL), v4(), true, false),
        ("our own probe", probe(ANNOUNCER), v4(), false, false),
        ("our own announcement", claim_v4(ArpOperation::Request, ANNOUNCER), v4(), false, false),
        ("ordinary request", REQUEST.to_vec(), v4(), false, false),
        ("advertisement", claim_v6(RIVAL), v6(), true, true),
        ("our own advertisement", claim_v6(ANNOUNCER), v6(), false, false),
        ("duplicate address detection", DUPLICATE_DETECTION.to_vec(), v6(), true, false),
    ];
    for (name, frame, address, before, after) in rows {
        let mac = if name == "duplicate address detection" { ASKER } else { RIVAL };
        for (mut responder, expected) in [(probing(), before), (announcing(), after)] {
            responder.handle_frame(ETH0, &frame, at(10));
            let claims: Vec<Claimant> = responder.take_claims().into_values().collect();
            let expected: Vec<Claimant> = expected.then(|| claimant(address, mac)).into_iter().collect();
            assert_eq!(claims, expected, "{name}");
            assert!(responder.take_claims().is_empty());
            responder.handle_frame(ETH1, &frame, at(10));
            assert!(responder.take_claims().is_empty(), "{name}: on an interface where it is not announced");
        }
    }
}

#[test]
fn a_rival_silences_its_address_alone_until_it_is_gone() {
    let mut responder = probing();
    responder.handle_frame(ETH0, &claim_v4(ArpOperation::Reply, RIVAL), at(60));
    let claim = responder.take_claims()[&v4()];
    assert_eq!(responder.contest(claim, at(60)), Contest::Yielded(true));
    assert_eq!(responder.rival(v4()), Some(claimant(v4(), RIVAL)));
    settle_until(&mut responder, 9_000);
    assert!(responder.is_listening(v6()) && !responder.is_listening(v4()));
    assert_eq!(responder.contested(), 1);
    // It is still there at the next try, and gone at the one after.
    pass(&mut responder, 10_060);
    assert_eq!(frames(&mut responder).len(), 1, "the first question");
    assert_eq!(responder.contest(claim, at(10_061)), Contest::Yielded(false), "no news");
    assert_eq!(responder.conflicts().yielded, 2);
    pass(&mut responder, 10_061 + 2 * 10_000 - 1);
    assert!(frames(&mut responder).is_empty());
    pass(&mut responder, 10_061 + 2 * 10_000 + 150);
    assert_eq!(responder.take_cleared(), BTreeSet::from([v4(), v6()]));
    assert!(responder.is_listening(v4()) && responder.rival(v4()).is_none());
}

fn settle_until(responder: &mut Responder, until: u64) {
    pass(responder, until);
    commands(responder);
}

#[test]
fn an_announced_address_is_defended_by_one_announcement_in_ten_seconds() {
    let mut responder = announcing();
    let sent_before = responder.counters().map(|(_, counters)| counters.gratuitous_sent).collect::<Vec<_>>();
    let mut defended = Vec::new();
    let frame = claim_v4(ArpOperation::Reply, RIVAL);
    let interval = u64::try_from(DEFEND_INTERVAL.as_millis()).unwrap();
    let start = 9_000;
    for millis in (start..start + 2 * interval).step_by(100) {
        responder.handle_frame(ETH0, &frame, at(millis));
        let claim = responder.take_claims()[&v4()];
        match responder.contest(claim, at(millis)) {
            Contest::Defended => defended.push(millis),
            Contest::Kept => {}
            other @ (Contest::Yielded(_) | Contest::Nothing) => panic!("{other:?}"),
        }
        pass(&mut responder, millis);
        assert_eq!(frames(&mut responder).len(), if defended.last() == Some(&millis) { 2 } else { 0 });
        assert!(responder.is_listening(v4()));
    }
    assert_eq!(defended, [start, start + interval]);
    let sent = responder.counters().map(|(_, counters)| counters.gratuitous_sent);
    assert_eq!(sent.collect::<Vec<_>>(), [sent_before[0] + 4, sent_before[1]]);
    let counted = ConflictCounters { claims: 200, defences: 2, ..ConflictCounters::default() };
    assert_eq!(responder.conflicts(), counted);
    responder.withdraw(v4());
    assert_eq!(responder.contest(claimant(v4(), RIVAL), at(90_000)), Contest::Nothing);
}

#[test]
fn without_a_running_interface_nothing_is_asked_and_nothing_announced() {
    let mut responder = Responder::new();
    responder.probe(v4(), BTreeSet::from([ETH0]), at(0));
    settle(&mut responder);
    assert!(!responder.is_listening(v4()) && responder.take_cleared().is_empty());
    responder.handle_link(ETH0, Some(&link(ETH0, ANNOUNCER)), at(5_000));
    assert_eq!(frames(&mut responder).len(), 1, "the first question");
    // A new card begins from the start.
    pass(&mut responder, 5_100);
    responder.handle_link(ETH0, Some(&link(ETH0, ASKER)), at(5_140));
    pass(&mut responder, 5_280);
    assert!(!responder.is_listening(v4()));
    pass(&mut responder, 5_290);
    assert!(responder.is_listening(v4()));
}

#[test]
fn to_announce_an_address_that_is_being_asked_for_ends_the_silence() {
    let mut responder = probing();
    commands(&mut responder);
    responder.announce(v4(), BTreeSet::from([ETH0]), at(10));
    assert!(responder.is_listening(v4()));
    assert_eq!(frames(&mut responder).len(), 2);
    responder.probe(v4(), BTreeSet::from([ETH0]), at(20));
    assert!(responder.is_listening(v4()), "what is announced stays so");
}
