use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use proptest::prelude::*;

use super::*;
use crate::{
    IfIndex, Link, Mac,
    responder::{
        Neighbor, RefreshCounters, Responder,
        tests::{ETH0, ETH1, arp, commands, frames, link, v4, v6},
    },
    wire::{
        BROADCAST, Frame, Ipv6Repr, NeighborRepr,
        samples::{ANNOUNCER, ASKER, REPLY, REQUEST, SOLICIT},
    },
};

const EVERY: Duration = Duration::from_secs(300);
const START: Instant = Instant::from_micros(1_000_000);

fn addresses(count: u32) -> BTreeMap<IpAddr, ()> {
    (0..count).map(|number| (Ipv4Addr::from(0x0a00_0000 + number).into(), ())).collect()
}

/// So many turns, as a driver takes them: when each was, since `START`.
fn turns(refresh: &mut Refresh, addresses: &BTreeMap<IpAddr, ()>, count: usize) -> Vec<(Duration, IpAddr)> {
    let mut taken = Vec::new();
    for _ in 0..count {
        let now = refresh.next(addresses.len()).unwrap();
        taken.push((now.since(START), refresh.pop(addresses, now).unwrap()));
        assert_eq!(refresh.pop(addresses, now), None, "one at a time");
    }
    taken
}

fn started(every: Duration, seed: u64) -> Refresh {
    let mut refresh = Refresh::new(Some(every), seed);
    refresh.begin(START);
    refresh
}

#[test]
fn without_a_time_or_an_address_nothing_is_due() {
    assert_eq!(Refresh::new(None, 1).next(5), None);
    assert_eq!(started(EVERY, 1).next(0), None);
    assert_eq!(started(EVERY, 1).pop(&addresses(0), START + EVERY * 9), None);
    assert_eq!(started(Duration::MAX, 1).pop(&addresses(1), START + EVERY * 9), None);
}

#[test]
fn who_is_late_does_one_and_goes_on_from_there() {
    let mut refresh = started(EVERY, 1);
    let late = START + EVERY * 50;
    assert!(refresh.pop(&addresses(3), late).is_some());
    assert_eq!(refresh.pop(&addresses(3), late), None);
    assert!(refresh.next(3).unwrap() >= late + EVERY / 3 * 9 / 10);
}

#[test]
fn addresses_that_come_and_go_hold_up_no_other() {
    let mut refresh = started(EVERY, 1);
    let mut all = addresses(4);
    let turn = |refresh: &mut Refresh, all: &BTreeMap<IpAddr, ()>| turns(refresh, all, 1)[0].1;
    let first = turn(&mut refresh, &all);
    all.remove(&first);
    assert_eq!(turn(&mut refresh, &all), *all.keys().next().unwrap());
    // Many more make the next step shorter at once.
    let before = refresh.next(all.len()).unwrap();
    let more = addresses(1_000);
    assert!(refresh.next(more.len()).unwrap() < before);
    assert_eq!(turn(&mut refresh, &more), *more.keys().nth(2).unwrap());
}

proptest! {
    /// Every address has one turn in each round, a round takes what it should, and the rate stays below its bound.
    #[test]
    fn rounds_are_fair_and_even(count in 1..400u32, seconds in 1..600u64, seed in any::<u64>()) {
        let every = Duration::from_secs(seconds);
        let all = addresses(count);
        let taken = turns(&mut started(every, seed), &all, 2 * all.len());
        let step = (every / count).max(REFRESH_PACE);
        let mut before = Duration::ZERO;
        for (at, _) in &taken {
            let gap = *at - before;
            prop_assert!(gap * 10 + Duration::from_micros(20) >= step * 9 && gap * 10 <= step * 11, "{gap:?} of {step:?}");
            before = *at;
        }
        for round in taken.chunks(all.len()) {
            let seen: BTreeSet<_> = round.iter().map(|(_, address)| address).collect();
            prop_assert_eq!(seen.len(), all.len());
        }
    }
}

const GATEWAY: Mac = Mac([2, 0xfe, 0, 0, 0, 1]);
const ELSEWHERE: Mac = Mac([2, 0xfe, 0, 0, 0, 2]);

fn gateway(interface: IfIndex, address: &str, mac: Mac) -> (IfIndex, Neighbor) {
    (interface, Neighbor { address: address.parse().unwrap(), mac })
}

/// `ANNOUNCER` on eth0, which is about to announce both addresses. A gateway of each family is there, and one elsewhere.
fn refreshing() -> Responder {
    let mut responder = Responder::refreshing(Some(EVERY), 1);
    responder.set_gateways(vec![
        gateway(ETH0, "192.0.2.1", GATEWAY),
        gateway(ETH0, "fe80::1", GATEWAY),
        gateway(ETH1, "192.0.2.1", ELSEWHERE),
    ]);
    responder.handle_link(ETH0, Some(&link(ETH0, ANNOUNCER)), START);
    responder
}

/// The Ethernet destinations of what was sent, and how often, in steps of time until `until`.
fn sent(responder: &mut Responder, until: Duration) -> Vec<(Duration, BTreeMap<Mac, usize>)> {
    let mut steps = Vec::new();
    let mut now = START;
    loop {
        let mut to = BTreeMap::new();
        for (_, frame) in frames(responder) {
            let (Frame::Arp { ethernet, .. } | Frame::Neighbor { ethernet, .. }) = frame;
            *to.entry(ethernet.destination).or_default() += 1;
        }
        if !to.is_empty() {
            steps.push((now.since(START), to));
        }
        match responder.poll_timeout().filter(|next| next.since(START) <= until) {
            Some(next) => now = next,
            None => return steps,
        }
        responder.handle_timeout(now);
    }
}

#[test]
fn gateways_and_askers_are_told_first_last_and_with_each_refresh() {
    let mut responder = refreshing();
    responder.announce(v4(), BTreeSet::from([ETH0]), START);
    responder.handle_frame(ETH0, &REQUEST, START);
    let answers = frames(&mut responder);
    assert!(
        matches!(answers.last(), Some((_, Frame::Arp { ethernet, .. })) if ethernet.destination == ASKER)
    );
    let steps = sent(&mut responder, EVERY * 3);
    let both = |mac: &BTreeMap<Mac, usize>| (mac.get(&GATEWAY).copied(), mac.get(&ASKER).copied());
    for (at, to) in &steps {
        let told = if at.as_millis() >= 2_000 { (Some(1), Some(1)) } else { (None, None) };
        assert_eq!((to[&BROADCAST], both(to)), (2, told), "at {at:?}");
        assert!(!to.contains_key(&ELSEWHERE));
    }
    let refreshes = steps.len() - 5;
    assert!((2..=3).contains(&refreshes), "{steps:?}");
    let (segments, count) = (refreshes as u64, refreshes as u64 + 1);
    let counted = RefreshCounters { segments, gateways: count + 1, askers: count };
    assert_eq!(responder.refreshed(), counted, "the gateway was told with the first announcement, too");
    let gratuitous = responder.counters().next().unwrap().1.gratuitous_sent;
    assert_eq!(gratuitous, 2 * (6 + segments));
}

#[test]
fn one_host_is_told_by_the_answer_to_its_question() {
    let mut responder = refreshing();
    responder.announce(v4(), BTreeSet::from([ETH0]), START);
    responder.announce(v6(), BTreeSet::from([ETH0]), START);
    responder.handle_frame(ETH0, &REQUEST, START);
    responder.handle_frame(ETH0, &SOLICIT, START);
    frames(&mut responder);
    for millis in [50, 150, 500, 1_000] {
        responder.handle_timeout(START + Duration::from_millis(millis));
    }
    frames(&mut responder);
    responder.handle_timeout(START + Duration::from_millis(2_000));
    let told = frames(&mut responder).into_iter().map(|(_, frame)| frame);
    let to_asker = |frame: &Frame| {
        let (Frame::Arp { ethernet, .. } | Frame::Neighbor { ethernet, .. }) = frame;
        ethernet.destination == ASKER
    };
    let told: Vec<_> = told.filter(to_asker).collect();
    assert_eq!(told[0].emit(), REPLY);
    let Frame::Neighbor { ipv6: Ipv6Repr { destination, .. }, neighbor, .. } = told[1] else {
        panic!("{told:?}")
    };
    // RFC 4861 §4.4: what nobody asked for is not solicited
    let NeighborRepr::Advert {
        solicited: false, overrides: true, target_mac: Some(ANNOUNCER), target, ..
    } = neighbor
    else {
        panic!("{neighbor:?}")
    };
    assert_eq!((IpAddr::from(target), destination.to_string().as_str()), (v6(), "2001:db8::9"));
    assert_eq!(told.len(), 2);
}

#[test]
fn who_asks_without_an_address_is_nobody_to_tell() {
    let mut responder = refreshing();
    responder.announce(v4(), BTreeSet::from([ETH0]), START);
    responder.handle_frame(ETH0, &arp(BROADCAST, |arp| arp.sender = [0; 4].into()), START);
    commands(&mut responder);
    let steps = sent(&mut responder, EVERY * 2);
    assert!(steps.iter().all(|(_, to)| !to.contains_key(&ASKER)), "{steps:?}");
}

#[test]
fn a_refresh_is_silent_where_an_announcement_would_be() {
    let mut responder = refreshing();
    responder.probe(v4(), BTreeSet::from([ETH0]), START);
    responder.handle_timeout(START + EVERY * 2);
    assert_eq!(responder.refreshed().segments, 0, "it is still being asked for");

    let mut responder = refreshing();
    responder.announce(v4(), BTreeSet::from([ETH0, ETH1]), START);
    sent(&mut responder, EVERY / 2);
    let down = Link { running: false, ..link(ETH0, ANNOUNCER) };
    responder.handle_link(ETH0, Some(&down), START + EVERY / 2);
    responder.handle_timeout(START + EVERY * 2);
    assert_eq!(commands(&mut responder), []);
    responder.withdraw(v4());
    assert_eq!(responder.poll_timeout(), None);
}

#[test]
fn an_interface_that_is_gone_takes_its_askers_along() {
    let told_again = |link_lost: Option<&Link>| {
        let mut responder = refreshing();
        responder.announce(v4(), BTreeSet::from([ETH0]), START);
        responder.handle_frame(ETH0, &REQUEST, START);
        commands(&mut responder);
        responder.handle_link(ETH0, link_lost, START);
        responder.handle_link(ETH0, Some(&link(ETH0, ANNOUNCER)), START);
        sent(&mut responder, Duration::ZERO).iter().any(|(_, to)| to.contains_key(&ASKER))
    };
    let down = Link { running: false, ..link(ETH0, ANNOUNCER) };
    assert!(told_again(Some(&down)), "the segment behind it is likely to be the same");
    assert!(!told_again(None));
}
