use landfall_model::Reason;

use super::{
    super::tests::{START, alone, drain, proven, settle},
    *,
};
use crate::{
    Command, Input,
    cluster::Member,
    links::LinkSummary,
    membership::MemberState,
    objects::{ip, key, see_service, see_slice, service, slice},
    responder::DEFEND_INTERVAL,
    wire::{ArpOperation, ArpRepr, BROADCAST, EtherType, EthernetRepr, Frame},
};

const RIVAL: Mac = Mac([2, 0, 0, 0, 0, 0x66]);

/// Two nodes are known, and this one owns an address since [`START`].
fn owning() -> Speaker {
    alone(2, [see_slice(slice("web", &["a"])), see_service(service("web", &["10.1.0.1"]))])
}

fn claim(speaker: &mut Speaker, now: Instant) -> Vec<String> {
    let address = [10, 1, 0, 1].into();
    let arp = ArpRepr {
        operation: ArpOperation::Reply,
        sender_mac: RIVAL,
        sender: address,
        target_mac: RIVAL,
        target: address,
    };
    let ethernet = EthernetRepr { destination: BROADCAST, source: RIVAL, ether_type: EtherType::Arp };
    let bytes = Frame::Arp { ethernet, arp }.emit();
    speaker.handle(Input::Frame { interface: IfIndex(2), bytes }, now);
    let mut messages = Vec::new();
    for command in drain(speaker) {
        if let Command::Event { service, reason: ADDRESS_CONFLICT, message, warning, .. } = command {
            assert!(warning && service == key("web"));
            messages.push(message);
        }
    }
    messages
}

fn member(state: MemberState, cards: Option<&[Option<Mac>]>) -> Member {
    let link = |mac: &Option<Mac>| LinkSummary { name: "eth0".into(), mac: *mac, ..LinkSummary::default() };
    let links = cards.map(|cards| cards.iter().map(link).collect());
    Member { links, node_port: true, ..Member::unread(state) }
}

#[test]
fn a_stranger_is_who_is_no_member_and_cannot_be_one() {
    let alive = MemberState::Alive { settled: true };
    let other = Mac([2, 0, 0, 0, 0, 7]);
    // The other member, and whether the claim of the rival counts before the announcement, after it, and the second time.
    let rows: [(&str, Option<Member>, [bool; 3]); 9] = [
        ("there is none", None, [true, true, true]),
        ("it is the rival", Some(member(alive, Some(&[Some(other), Some(RIVAL)]))), [false; 3]),
        ("it was the rival", Some(member(MemberState::Dead, Some(&[Some(RIVAL)]))), [false; 3]),
        ("it has another card", Some(member(alive, Some(&[Some(other)]))), [true; 3]),
        ("it has no card", Some(member(alive, Some(&[]))), [true; 3]),
        ("it is too old to tell", Some(member(alive, Some(&[Some(other), None]))), [false; 3]),
        ("it has not told yet", Some(member(alive, None)), [false; 3]),
        ("it was never heard", Some(member(MemberState::Unknown, None)), [true, false, true]),
        (
            "it was too old to tell, and died",
            Some(member(MemberState::Dead, Some(&[None]))),
            [true, false, true],
        ),
    ];
    for (name, other, [before, after, again]) in rows {
        let prepare = || {
            let mut speaker = owning();
            drain(&mut speaker);
            speaker.cluster.set_member("n1", other.clone());
            speaker
        };
        let mut speaker = prepare();
        assert_eq!(claim(&mut speaker, START).len(), usize::from(before), "{name}");
        let reason = if before { Reason::AddressConflict } else { Reason::Owner };
        assert_eq!(speaker.reason(&key("web")), reason, "{name}");
        assert_eq!(speaker.responder().contested(), usize::from(before), "{name}");

        let mut speaker = prepare();
        let now = proven(START);
        settle(&mut speaker, now);
        assert!(speaker.responder().is_listening(ip("10.1.0.1")), "{name}");
        assert_eq!(claim(&mut speaker, now).len(), usize::from(after), "{name}");
        claim(&mut speaker, now + INTRODUCTION);
        let told = speaker.rivals.told.len();
        assert_eq!(told, usize::from(again), "{name}");
        assert!(speaker.responder().is_listening(ip("10.1.0.1")), "{name}");
    }
}

#[test]
fn each_rival_is_told_of_once_until_it_was_quiet_for_long() {
    let mut speaker = owning();
    let mut now = proven(START);
    settle(&mut speaker, now);
    let mut told = Vec::new();
    for minute in 0..5 {
        now += Duration::from_secs(60).max(DEFEND_INTERVAL);
        settle(&mut speaker, now);
        told.extend(claim(&mut speaker, now).into_iter().map(|_| minute));
    }
    now += QUIET;
    settle(&mut speaker, now);
    assert_eq!(claim(&mut speaker, now).len(), 1, "it is back");
    assert_eq!(told, [0]);
}
