use std::{collections::BTreeMap, time::Duration};

use landfall_model::Instant;
use proptest::{collection::vec, prelude::*};

use super::network::{
    BACK, DETECTION, LATENCY, LIVE, LONGEST, MS, Network, SECOND, claim, key, name, service, socket,
};
use crate::membership::{
    BootId, Event,
    MemberState::{Dead, Degraded, Gone, Leaving, Unknown},
    Membership, Phase, Settings, Timing,
};

fn lone() -> Membership {
    let boot = BootId { seconds: 1, random: 2 };
    Membership::new(Settings { node: "n0".into(), boot, timing: Timing::default(), seed: 3 })
}

#[test]
fn two_nodes_meet_within_two_round_trips_and_are_settled() {
    let mut network = Network::new(2, 1);
    let met = network.run_until(SECOND, |network| network.nodes.iter().all(|node| node.machine.settled()));
    assert!(met <= Instant::ZERO + LATENCY * 4, "met at {met:?}");
    for (me, other) in [(0, 1), (1, 0)] {
        assert_eq!(network.states_seen(other, me), [Unknown, LIVE]);
        let machine = &network.nodes[me].machine;
        assert!(machine.hears_anyone());
        assert_eq!(machine.phase(), Phase::Serving);
    }
    network.run(SECOND);
    for me in [0, 1] {
        assert!(network.nodes[me].machine.members().all(|member| member.same_view && member.in_sync));
        assert_eq!(network.nodes[me].log.iter().filter(|(_, event)| *event == Event::Settled).count(), 1);
    }
}

#[test]
fn a_lone_node_settles_after_a_second_and_no_sooner() {
    let mut machine = lone();
    machine.handle_timeout(Instant::ZERO + 5 * SECOND);
    assert!(!machine.settled() && machine.poll_timeout().is_none(), "its members are not known yet");
    let start = Instant::ZERO + 5 * SECOND;
    machine.set_peers(BTreeMap::new(), start);
    assert_eq!(machine.poll_timeout(), Some(start + SECOND));
    machine.handle_timeout(start + SECOND - MS);
    assert!(!machine.settled());
    machine.handle_timeout(start + SECOND);
    assert!(machine.settled() && !machine.hears_anyone());
    assert_eq!(machine.next_event(), Some(Event::Settled));
    assert_eq!(machine.next_event(), None);
}

#[test]
fn a_node_with_members_but_no_key_does_not_settle() {
    let mut machine = lone();
    machine.set_peers(BTreeMap::new(), Instant::ZERO);
    machine.set_peers([(name(1), vec![socket(1)])].into(), Instant::ZERO);
    let mut now = Instant::ZERO;
    while now < Instant::ZERO + 5 * SECOND {
        now = machine.poll_timeout().unwrap();
        machine.handle_timeout(now);
    }
    assert!(!machine.settled());
    assert!(machine.counters().unsigned > 40 && machine.counters().sent == 0);
    machine.set_keys(vec![key("secret")], now);
    let start = now;
    while !machine.settled() {
        now = machine.poll_timeout().unwrap();
        machine.handle_timeout(now);
    }
    assert_eq!(now, start + SECOND);
}

#[test]
fn a_silent_node_is_dead_after_the_detection_time() {
    for seed in 0..60 {
        let mut network = Network::settled(3, seed);
        network.run(Duration::from_micros(seed * 1_777));
        let death = network.now;
        network.kill(2);
        for watcher in [0, 1] {
            let mut at = network.run_until(SECOND, |network| network.state(2, watcher) == Dead);
            at = at.max(death);
            let took = at.since(death);
            let late = DETECTION + LATENCY * 2;
            assert!(took + LONGEST >= DETECTION && took <= late, "seed {seed}: {took:?}");
        }
        assert_eq!(network.state(1, 0), LIVE);
        assert!(network.nodes[0].machine.hears_anyone());
    }
}

#[test]
fn a_lost_node_must_be_stable_for_a_second_before_it_counts() {
    let mut network = Network::settled(2, 3);
    network.isolate(1);
    network.run_until(SECOND, |network| network.state(1, 0) == Dead && network.state(0, 1) == Dead);
    assert!(!network.nodes[0].machine.hears_anyone());
    network.cut.clear();
    let back = network.run_until(SECOND, |network| network.state(1, 0) == BACK);
    let whole = network.run_until(3 * SECOND, |network| network.state(1, 0) == LIVE);
    assert_eq!(whole.since(back), SECOND);
    let seen = network.states_seen(1, 0);
    let expected = [Unknown, LIVE, Dead, Degraded, BACK, LIVE];
    assert!(seen == expected || seen == [Unknown, LIVE, Dead, BACK, LIVE], "{seen:?}");
}

#[test]
fn the_sides_of_a_cut_meet_in_a_round_trip_once_one_hears_the_other() {
    for seed in 0..20 {
        let mut network = Network::settled(2, seed);
        network.isolate(1);
        network.run_until(SECOND, |network| network.state(1, 0) == Dead && network.state(0, 1) == Dead);
        network.cut.clear();
        let heard = |network: &Network| network.state(1, 0).is_heard() || network.state(0, 1).is_heard();
        let first = network.run_until(SECOND, heard);
        let both =
            network.run_until(SECOND, |network| network.state(1, 0) == BACK && network.state(0, 1) == BACK);
        assert!(both.since(first) <= LATENCY * 2, "seed {seed}: {:?}", both.since(first));
    }
}

#[test]
fn nobody_is_dead_because_we_slept() {
    for millis in [260, 1_000, 5_000, 60_000] {
        let mut network = Network::settled(3, millis);
        network.stall(0, Duration::from_millis(millis));
        network.run(Duration::from_millis(millis) + 3 * SECOND);
        let stalled = network.nodes[0].log.iter().any(|(_, event)| matches!(event, Event::Stalled { .. }));
        assert!(stalled, "{millis} ms");
        assert_eq!(network.nodes[0].machine.counters().stalls, 1);
        for other in [1, 2] {
            let seen = network.states_seen(other, 0);
            assert!(!seen.contains(&Dead), "{millis} ms: {seen:?}");
            assert!(network.states_seen(0, other).contains(&Dead), "others cannot know");
        }
        assert!(network.agrees(), "{millis} ms");
    }
}

#[test]
fn nobody_is_dead_because_our_socket_buffer_was_full() {
    let mut network = Network::settled(3, 18);
    network.full_buffers = true;
    network.stall(0, 5 * SECOND);
    network.run(9 * SECOND);
    for other in [1, 2] {
        let seen = network.states_seen(other, 0);
        assert!(!seen.contains(&Dead), "{seen:?}");
    }
    assert!(network.agrees());
}

#[test]
fn time_that_we_slept_does_not_count_as_stable() {
    let mut network = Network::settled(2, 19);
    network.isolate(1);
    network.run_until(SECOND, |network| network.state(1, 0) == Dead && network.state(0, 1) == Dead);
    network.cut.clear();
    network.run_until(SECOND, |network| network.state(1, 0) == BACK);
    network.run(205 * MS);
    // Long enough for us, too short for the other to miss us.
    network.stall(0, 93 * MS);
    network.run(93 * MS);
    let whole = network.run_until(3 * SECOND, |network| network.state(1, 0) == LIVE);
    let log = &network.nodes[0].log;
    let woke = log.iter().find(|(_, event)| matches!(event, Event::Stalled { .. })).map(|(at, _)| *at);
    assert_eq!(woke.map(|woke| whole.since(woke)), Some(SECOND));
}

#[test]
fn a_cold_start_that_slept_starts_again() {
    let mut machine = lone();
    machine.set_peers(BTreeMap::new(), Instant::ZERO);
    let woke = Instant::ZERO + SECOND * 2;
    machine.handle_timeout(woke);
    assert!(!machine.settled());
    machine.handle_timeout(woke + SECOND);
    assert!(machine.settled());
}

#[test]
fn nodes_with_other_intervals_stand_side_by_side() {
    let mut network = Network::settled(2, 21);
    network.kill(1);
    network.timing = Timing { interval: SECOND, ..Timing::default() };
    network.start(1, 1_001);
    network.run(30 * SECOND);
    assert_eq!(network.states_seen(1, 0), [Unknown, LIVE]);
    assert_eq!(network.states_seen(0, 1), [Unknown, LIVE, Unknown, LIVE], "of two runs");
    let start = network.now;
    network.kill(1);
    let dead = network.run_until(10 * SECOND, |network| network.state(1, 0) == Dead);
    assert!(dead.since(start) <= 5 * SECOND + LATENCY);
}

#[test]
fn a_short_stall_is_noticed_by_nobody() {
    let mut network = Network::settled(3, 6);
    for _ in 0..10 {
        network.stall(0, Duration::from_millis(70));
        network.run(SECOND);
    }
    for me in 0..3 {
        for other in (0..3).filter(|other| *other != me) {
            assert_eq!(network.states_seen(other, me), [Unknown, LIVE]);
        }
    }
}

#[test]
fn leaving_is_known_at_once_and_coming_back_takes_a_second() {
    let mut network = Network::settled(3, 12);
    network.act(2, Membership::leave);
    network.run(LATENCY);
    assert_eq!((network.state(2, 0), network.state(2, 1)), (Leaving, Leaving));
    assert_eq!(network.nodes[2].machine.phase(), Phase::Leaving);
    network.run(SECOND);
    assert_eq!(network.state(2, 0), Leaving, "it still serves");
    network.kill(2);
    network.run(100 * MS);
    network.start(2, 1_010);
    network.run_until(SECOND, |network| network.state(2, 0) == BACK);
    network.run(SECOND);
    assert_eq!(network.state(2, 0), LIVE);
}

#[test]
fn a_member_keeps_its_state_when_its_address_changes() {
    let mut network = Network::settled(2, 15);
    let mut peers = network.addresses();
    // The first one leads nowhere, so half of the packets would be lost if both were used for ever.
    peers.insert(name(1), vec![socket(77), socket(1)]);
    network.act(0, |machine, now| machine.set_peers(peers.clone(), now));
    network.run(5 * SECOND);
    assert_eq!(network.state(1, 0), LIVE, "it found the address that works");
    assert!(!network.states_seen(1, 0).contains(&Gone));
    peers.insert(name(1), Vec::new());
    network.act(0, |machine, now| machine.set_peers(peers, now));
    network.run(SECOND);
    assert_eq!(network.state(1, 0), Dead, "what comes from elsewhere is not from it");
}

#[test]
fn ten_percent_loss_kills_hardly_anyone() {
    let mut network = Network::settled(6, 16);
    network.loss = 100;
    network.run(60 * SECOND);
    let deaths: usize = (0..6)
        .flat_map(|me| (0..6).map(move |other| (me, other)))
        .map(|(me, other)| network.states_seen(other, me).iter().filter(|state| **state == Dead).count())
        .sum();
    // 30 directions, 600 heartbeats each, four lost in a row with 1e-4: about two. One in a row would be 1,800.
    assert!(deaths <= 8, "{deaths}");
}

#[test]
fn a_thousand_peers_cost_three_packets_each_at_first_and_few_wakeups_then() {
    let mut machine = lone();
    machine.set_keys(vec![key("secret")], Instant::ZERO);
    machine.set_peers((1..=1_000).map(|node| (name(node), vec![socket(node)])).collect(), Instant::ZERO);
    let run = |machine: &mut Membership, end: Instant| {
        let (mut wakeups, before) = (0, machine.counters().sent);
        while let Some(now) = machine.poll_timeout().filter(|now| *now <= end) {
            machine.handle_timeout(now);
            assert!(machine.poll_timeout().is_none_or(|next| next > now), "it does not spin");
            wakeups += 1;
            while machine.next_event().is_some() {}
        }
        (wakeups, machine.counters().sent - before)
    };
    let (_, sent) = run(&mut machine, Instant::ZERO + 2 * SECOND);
    assert!((3_000..=3_500).contains(&sent), "{sent} packets to say that it is there");
    let (wakeups, sent) = run(&mut machine, Instant::ZERO + 12 * SECOND);
    // 8 quick ones, and 992 every five seconds.
    let each = 10 * (8 * 20 + 992 / 5);
    assert!((each * 9 / 10..=each * 11 / 10).contains(&sent), "{sent}, not {each}");
    assert!(wakeups <= 10 * 250, "{wakeups}");
}

#[test]
fn early_and_double_calls_do_nothing() {
    let mut network = Network::settled(2, 17);
    network.run(37 * MS);
    let (before, sent) = (network.nodes[0].log.len(), network.sent);
    let due = network.nodes[0].machine.poll_timeout().unwrap();
    assert!(due > network.now);
    for _ in 0..3 {
        network.act(0, Membership::handle_timeout);
        network.act(0, Membership::leave);
    }
    assert_eq!(network.nodes[0].machine.poll_timeout(), Some(due));
    assert_eq!(network.nodes[0].log.len(), before);
    assert_eq!(network.sent, sent + 1, "only the first goodbye");
}

#[derive(Clone, Copy, Debug)]
enum Trouble {
    Cut(usize, usize),
    Isolate(usize),
    Heal,
    Loss(u64),
    Stall(usize, u64),
    Restart(usize),
    Claim(usize, u32, bool),
    Forget(usize),
    Wait(u64),
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let node = 0..4_usize;
    prop_oneof![
        (node.clone(), node.clone()).prop_map(|(a, b)| Trouble::Cut(a, b)),
        node.clone().prop_map(Trouble::Isolate),
        Just(Trouble::Heal),
        (0..300_u64).prop_map(Trouble::Loss),
        (node.clone(), 0..2_000_u64).prop_map(|(node, millis)| Trouble::Stall(node, millis)),
        node.clone().prop_map(Trouble::Restart),
        (node.clone(), 0..300_u32, any::<bool>()).prop_map(|(node, n, keep)| Trouble::Claim(node, n, keep)),
        node.prop_map(Trouble::Forget),
        (0..1_500_u64).prop_map(Trouble::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_all_agree_when_it_is_over(troubles in vec(trouble(), 1..24), seed in any::<u64>()) {
        let mut network = Network::new(4, seed);
        let mut seconds = 2_000;
        for trouble in troubles {
            match trouble {
                Trouble::Cut(a, b) => { network.cut.insert((a, b)); }
                Trouble::Isolate(node) => network.isolate(node),
                Trouble::Heal => network.cut.clear(),
                Trouble::Loss(loss) => network.loss = loss,
                Trouble::Stall(node, millis) => network.stall(node, Duration::from_millis(millis)),
                Trouble::Restart(node) => {
                    network.kill(node);
                    seconds += 1;
                    network.start(node, seconds);
                }
                Trouble::Claim(node, n, keep) => network.act(node, |machine, now| {
                    let epoch = u64::from(n);
                    let changes = (0..n).map(|n| (service(n), keep.then_some(claim(epoch)))).collect();
                    machine.change_claims(&changes, now);
                }),
                Trouble::Forget(node) => {
                    let peers = network.addresses();
                    network.act(node, |machine, now| {
                        machine.set_peers(BTreeMap::new(), now);
                        machine.set_peers(peers, now);
                    });
                }
                Trouble::Wait(millis) => network.run(Duration::from_millis(millis)),
            }
            for node in &network.nodes {
                let heard = node.machine.members().any(|member| member.state.is_heard());
                prop_assert_eq!(node.machine.hears_anyone(), heard);
            }
        }
        network.cut.clear();
        network.loss = 0;
        network.run(6 * SECOND);
        prop_assert!(network.agrees());
        for node in &network.nodes {
            prop_assert!(node.machine.settled());
            prop_assert!(node.machine.members().all(|member| member.same_view));
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut network = Network::settled(4, seed);
        network.loss = 200;
        network.stall(1, SECOND);
        network.run(5 * SECOND);
        let logs: Vec<_> = network.nodes.into_iter().map(|node| node.log).collect();
        (logs, network.sent)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
