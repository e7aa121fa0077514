use std::{collections::BTreeMap, time::Duration};

use super::network::{Datagram, LIVE, Network, SECOND, key, name, socket};
use crate::membership::{
    BootId, DropReason, Event, Key,
    MemberState::{Dead, Gone, Unknown},
    Membership, Settings, Timing,
};

#[test]
fn two_speakers_under_one_name_do_not_outbid_each_other() {
    let mut network = Network::settled(2, 9);
    let boot = network.nodes[0].machine.member("n1").unwrap().boot.unwrap();
    let later = BootId { seconds: boot.seconds + 5, ..boot };
    let (timing, now) = (Timing::default(), network.now);
    let mut twin = Membership::new(Settings { node: name(1), boot: later, timing, seed: 1 });
    twin.set_keys(vec![key("secret")], now);
    twin.set_peers(network.addresses(), now);
    twin.handle_timeout(now);
    let bytes = std::iter::from_fn(|| twin.next_event())
        .find_map(|event| if let Event::Send { bytes, .. } = event { Some(bytes) } else { None })
        .expect("the twin says something");
    network.inject(&Datagram { from: socket(1), to: 0, bytes });
    network.run(SECOND);
    assert_eq!(network.nodes[1].machine.counters().boot_raised, 0);
    assert_eq!(network.nodes[0].machine.member("n1").unwrap().boot, Some(later));
}

#[test]
fn keys_rotate_without_a_gap() {
    let mut network = Network::settled(3, 10);
    let (old, new) = (key("secret"), key("next"));
    for keys in [vec![old.clone(), new.clone()], vec![new.clone(), old], vec![new]] {
        for node in 0..3 {
            network.act(node, |machine, now| machine.set_keys(keys.clone(), now));
            network.run(2 * SECOND);
        }
    }
    for me in 0..3 {
        for other in (0..3).filter(|other| *other != me) {
            assert_eq!(network.states_seen(other, me), [Unknown, LIVE]);
        }
        assert_eq!(network.nodes[me].machine.counters().dropped(DropReason::UnknownKey), 0);
    }
}

#[test]
fn who_has_one_of_two_keys_is_heard_and_hears() {
    const PAIRS: [(usize, usize); 6] = [(0, 1), (1, 0), (1, 2), (2, 1), (0, 2), (2, 0)];
    let (old, new) = (key("secret"), key("next"));
    let both = |first: &Key, second: &Key| vec![first.clone(), second.clone()];
    // What the others have, and what the one has that is late, or whose process starts just then.
    for (others, one) in [
        (both(&old, &new), &new),
        (both(&old, &new), &old),
        (both(&new, &old), &new),
        (both(&new, &old), &old),
    ] {
        for starts in [true, false] {
            let mut network = Network::settled(3, 14);
            for node in [0, 2] {
                network.act(node, |machine, now| machine.set_keys(others.clone(), now));
            }
            if starts {
                network.start(1, 1_001);
            }
            network.act(1, |machine, now| machine.set_keys(vec![one.clone()], now));
            network.run(SECOND);
            network.nodes.iter_mut().for_each(|node| node.log.clear());
            let lives = |network: &Network| {
                PAIRS.iter().all(|(of, by)| {
                    network.state(*of, *by).is_alive()
                        && network.states_seen(*of, *by).iter().all(|state| state.is_alive())
                })
            };
            network.run(3 * SECOND);
            assert!(lives(&network), "starts: {starts}");
            // And all of them go on to the new one.
            for keys in [both(&new, &old), vec![new.clone()]] {
                for node in 0..3 {
                    network.act(node, |machine, now| machine.set_keys(keys.clone(), now));
                }
                network.run(SECOND);
                assert!(lives(&network), "starts: {starts}");
            }
        }
    }
}

#[test]
fn a_node_with_another_key_is_never_heard() {
    let mut network = Network::new(2, 11);
    network.act(1, |machine, now| machine.set_keys(vec![key("other")], now));
    network.run(3 * SECOND);
    assert_eq!(network.states_seen(1, 0), [Unknown]);
    assert!(network.nodes[0].machine.counters().dropped(DropReason::UnknownKey) > 20);
    assert!(network.nodes[0].machine.settled(), "it does not wait for ever");
}

#[test]
fn what_was_recorded_does_not_wake_the_dead() {
    let mut network = Network::settled(2, 13);
    network.record = Some(Vec::new());
    network.run(SECOND);
    let tape: Vec<_> =
        network.record.take().unwrap().into_iter().filter(|datagram| datagram.to == 0).collect();
    assert!(tape.len() >= 9);
    network.kill(1);
    network.run(SECOND);
    for datagram in &tape {
        network.inject(datagram);
    }
    assert_eq!(network.state(1, 0), Dead);
    let replayed = u64::try_from(tape.len()).unwrap();
    assert_eq!(network.nodes[0].machine.counters().dropped(DropReason::Replayed), replayed);

    // Taken out of the members and put back, it is still the same run with the same numbers.
    let peers = network.addresses();
    network.act(0, |machine, now| machine.set_peers(BTreeMap::new(), now));
    assert_eq!(network.state(1, 0), Gone);
    network.act(0, |machine, now| machine.set_peers(peers, now));
    network.inject(&tape[0]);
    assert_eq!(network.state(1, 0), Unknown);

    // Neither does it after a restart, when the stamps are forgotten: it answers another run.
    network.start(0, 1_020);
    for datagram in &tape {
        network.inject(datagram);
    }
    network.run(SECOND);
    assert_eq!(network.state(1, 0), Unknown);
    assert_eq!(network.nodes[0].machine.counters().accepted, replayed);
}

#[test]
fn each_kind_of_stray_packet_is_counted_under_its_reason() {
    let mut network = Network::settled(3, 14);
    network.record = Some(Vec::new());
    network.run(Duration::from_millis(110));
    let tape = network.record.take().unwrap();
    let good = tape.iter().find(|datagram| datagram.to == 0 && datagram.from == socket(1)).unwrap().clone();
    let broken = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut datagram = good.clone();
        change(&mut datagram.bytes);
        datagram
    };
    let stranger = Datagram { from: socket(9), ..good.clone() };
    let table = [
        (stranger, DropReason::UnknownSource),
        (broken(&Vec::clear), DropReason::Malformed),
        (broken(&|bytes| bytes[3] = 9), DropReason::Version),
        (broken(&|bytes| bytes[4] ^= 1), DropReason::UnknownKey),
        (broken(&|bytes| bytes[20] ^= 1), DropReason::Forged),
        (Datagram { to: 2, ..good.clone() }, DropReason::NotForUs),
        (Datagram { from: socket(2), ..good.clone() }, DropReason::WrongSource),
        (good.clone(), DropReason::Replayed),
    ];
    for (datagram, reason) in table {
        let before = network.nodes[datagram.to].machine.counters().clone();
        network.inject(&datagram);
        let after = network.nodes[datagram.to].machine.counters();
        for other in DropReason::ALL {
            let expected = before.dropped(other) + u64::from(other == reason);
            assert_eq!(after.dropped(other), expected, "{} for {}", other.as_str(), reason.as_str());
        }
        assert_eq!(after.accepted, before.accepted);
    }
    // Its sender is no member any more, though another one has its address now.
    let peers = [(name(2), vec![socket(1), socket(2)])].into();
    network.act(0, |machine, now| machine.set_peers(peers, now));
    network.inject(&good);
    assert_eq!(network.nodes[0].machine.counters().dropped(DropReason::UnknownSender), 1);
    network.act(0, |machine, now| machine.set_keys(Vec::new(), now));
    network.inject(&good);
    assert_eq!(network.nodes[0].machine.counters().dropped(DropReason::NoKey), 1);
}
