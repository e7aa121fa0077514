use std::time::Duration;

use landfall_model::Instant;
use proptest::prelude::*;

use super::network::{DETECTION, LATENCY, LIVE, LONGEST, MS, Network, SECOND, claim, name, service};
use crate::membership::{
    Event,
    MemberState::{Dead, Degraded, Held, Unknown},
    Membership, Timing,
    jury::Jury,
};

fn suspected(network: &Network, of: usize, by: usize) -> bool {
    network.nodes[by].machine.member(&name(of)).is_some_and(|member| member.suspected)
}

/// Nothing of the first reaches the second.
fn deafen(network: &mut Network, from: usize, to: usize) {
    network.cut.insert((from, to));
}

#[test]
fn one_other_juror_is_enough_and_nobody_waits_for_whom_there_is_not() {
    let table =
        [((0, 0), true), ((1, 0), false), ((1, 1), true), ((7, 0), false), ((7, 1), true), ((7, 7), true)];
    for ((jurors, agree), agrees) in table {
        assert_eq!(Jury { jurors, agree }.agrees(), agrees, "{agree} of {jurors}");
    }
}

#[test]
fn whom_one_alone_does_not_hear_is_suspected_by_it_and_dead_for_nobody() {
    for nodes in [3, 5, 8] {
        let mut network = Network::settled(nodes, 4);
        network.act(0, |machine, now| machine.set_claims(&[(service(1), claim(4))].into(), now));
        network.run(200 * MS);
        deafen(&mut network, 0, 1);
        let start = network.now;
        let noticed = network.run_until(SECOND, |network| suspected(network, 0, 1)).since(start);
        assert!(noticed <= DETECTION + LATENCY);
        let told = network.run_until(SECOND, |network| network.state(1, 0) == Degraded).since(start);
        assert!(told <= noticed + LATENCY, "whom we do not hear learns of it at once");
        network.run(60 * SECOND);
        for watcher in 1..nodes {
            assert_eq!(network.states_seen(0, watcher), [Unknown, LIVE], "by {watcher} of {nodes}");
            assert_eq!(suspected(&network, 0, watcher), watcher == 1);
        }
        assert_eq!(network.nodes[1].machine.member("n0").unwrap().claims.len(), 1, "its claims hold");
        network.cut.clear();
        network.run_until(SECOND, |network| !suspected(network, 0, 1));
        network.run_until(3 * SECOND, Network::agrees);
        let counters = network.nodes[1].machine.counters();
        assert_eq!((counters.suspicions, counters.taken_back), (1, 1));
        assert_eq!(network.states_seen(0, 1), [Unknown, LIVE], "it never was anything else");
    }
}

#[test]
fn whom_two_do_not_hear_is_dead_for_them_and_for_them_alone() {
    let mut network = Network::settled(5, 5);
    for watcher in [1, 2] {
        deafen(&mut network, 0, watcher);
    }
    let start = network.now;
    let both = |network: &Network| network.state(0, 1) == Dead && network.state(0, 2) == Dead;
    assert!(network.run_until(SECOND, both).since(start) <= DETECTION + LATENCY * 2);
    network.run(5 * SECOND);
    for watcher in [3, 4] {
        assert_eq!(network.states_seen(0, watcher), [Unknown, LIVE], "nobody believes that of whom it hears");
    }
}

#[test]
fn agreement_costs_one_way_of_one_packet() {
    for seed in 0..60 {
        let mut network = Network::settled(2 + (seed % 7) as usize, seed);
        network.run(Duration::from_micros(seed * 1_777));
        let last = network.nodes.len() - 1;
        let (death, sent) = (network.now, network.sent);
        network.kill(last);
        let mut alone = Vec::new();
        for watcher in 0..last {
            let dead = network.run_until(SECOND, |network| network.state(last, watcher) == Dead);
            alone.push(dead.since(death));
        }
        let took = alone.iter().max().unwrap();
        assert!(*took <= DETECTION + LATENCY * 2, "seed {seed}: {alone:?}");
        // Each watcher tells each member once, and they go on as ever.
        let beats = took.as_micros() as usize / (Timing::DEFAULT.interval * 9 / 10).as_micros() as usize + 1;
        let most = last * last + last * last * beats;
        assert!(network.sent - sent <= most as u64, "{} of {most}", network.sent - sent);
    }
}

#[test]
fn two_who_die_together_are_dead_together() {
    for seed in 0..20 {
        for (nodes, dying) in [(3, 1..3), (4, 1..4), (5, 2..5)] {
            let mut network = Network::settled(nodes, seed);
            let death = network.now;
            dying.clone().for_each(|node| network.kill(node));
            let all = |network: &Network| dying.clone().all(|node| network.state(node, 0) == Dead);
            let took = network.run_until(2 * SECOND, all).since(death);
            assert!(took <= DETECTION + LATENCY * 2, "{nodes} nodes, seed {seed}: {took:?}");
        }
    }
}

#[test]
fn a_juror_who_stands_still_or_starts_or_leaves_holds_nobody_up() {
    for seed in 0..20 {
        // The only other juror begins to stand still as the third one dies, for long; its kernel answers.
        let mut network = Network::settled(3, seed);
        network.nodes[1].kernel = true;
        let death = network.now;
        network.kill(2);
        network.stall(1, 10 * SECOND);
        let dead = network.run_until(SECOND, |network| network.state(2, 0) == Dead).since(death);
        assert!(dead <= DETECTION + LATENCY * 2, "seed {seed}: {dead:?}");
        assert_eq!(network.state(1, 0), Held { settled: true });

        // It is started again and never heard the third one.
        let mut network = Network::settled(3, seed);
        let death = network.now;
        network.kill(2);
        network.kill(1);
        network.start(1, 1_001);
        let dead = network.run_until(SECOND, |network| network.state(2, 0) == Dead).since(death);
        assert!(dead <= DETECTION + LATENCY * 2, "seed {seed}: {dead:?}");

        let mut network = Network::settled(3, seed);
        let death = network.now;
        network.kill(2);
        network.act(1, Membership::leave);
        let dead = network.run_until(SECOND, |network| network.state(2, 0) == Dead).since(death);
        assert!(dead <= DETECTION + LATENCY * 2, "seed {seed}: {dead:?}");
    }
}

#[test]
fn a_juror_who_keeps_standing_still_abstains() {
    let mut network = Network::settled(3, 6);
    network.nodes[1].kernel = true;
    let sick = |network: &mut Network| {
        network.stall(1, DETECTION * 4 / 5);
        network.run(DETECTION * 9 / 10);
    };
    (0..4).for_each(|_| sick(&mut network));
    let death = network.now;
    network.kill(2);
    while network.state(2, 0) != Dead {
        sick(&mut network);
        assert!(network.now.since(death) < DETECTION * 3, "it waits for a juror who cannot tell");
    }
    assert!(network.nodes[1].machine.counters().stalls >= 4);
}

#[test]
fn a_juror_who_was_started_again_and_never_heard_a_member_counts_once_it_is_settled() {
    let mut network = Network::settled(3, 7);
    deafen(&mut network, 2, 1);
    network.kill(1);
    network.start(1, 1_001);
    network.run(4 * SECOND);
    assert_eq!(network.state(2, 1), Unknown);
    let death = network.now;
    network.kill(2);
    let dead = network.run_until(SECOND, |network| network.state(2, 0) == Dead).since(death);
    assert!(dead <= DETECTION + LATENCY);
}

#[test]
fn what_is_taken_back_is_taken_back_at_once() {
    let mut network = Network::settled(4, 14);
    let lists = |network: &Network| -> Vec<usize> {
        let list = |by: usize| network.nodes[by].machine.peers.values().find(|peer| *peer.node == *name(0));
        [1, 2, 3].map(|by| list(by).and_then(|peer| peer.unheard.as_ref()).map_or(0, Vec::len)).into()
    };
    deafen(&mut network, 3, 0);
    network.run_until(SECOND, |network| suspected(network, 3, 0));
    network.run(LATENCY);
    assert_eq!(lists(&network), [1, 1, 1]);
    network.cut.clear();
    network.run_until(SECOND, |network| !suspected(network, 3, 0));
    network.run(LATENCY);
    assert_eq!(lists(&network), [0, 0, 0]);
}

#[test]
fn the_word_of_one_that_has_just_started_counts_nothing() {
    for seed in 0..20 {
        // The first one does not hear the last one, and the third one does.
        let mut network = Network::settled(4, seed);
        deafen(&mut network, 3, 0);
        network.run_until(SECOND, |network| suspected(network, 3, 0));
        network.kill(1);
        network.run(20 * MS);
        network.start(1, 1_001);
        network.run(5 * SECOND);
        assert_eq!(network.states_seen(3, 0), [Unknown, LIVE], "seed {seed}");
        assert!(suspected(&network, 3, 0));
    }
}

#[test]
fn the_word_of_a_process_ends_with_it() {
    for seed in 0..20 {
        let mut network = Network::settled(4, seed);
        deafen(&mut network, 3, 1);
        network.run_until(SECOND, |network| suspected(network, 3, 1));
        network.run(100 * MS);
        // Now the first one does not hear it instead, and the second one, which is started again, cannot say so to it.
        deafen(&mut network, 3, 0);
        network.run(60 * MS);
        network.kill(1);
        network.cut = [(3, 0), (0, 1)].into();
        network.start(1, 1_001);
        network.run(SECOND);
        assert_eq!(network.states_seen(3, 0), [Unknown, LIVE], "seed {seed}");
    }
}

#[test]
fn a_kernel_that_answers_late_takes_a_suspicion_back() {
    let mut network = Network::settled(3, 8);
    // To the first one neither the process nor the kernel gets through.
    deafen(&mut network, 2, 0);
    network.run_until(SECOND, |network| suspected(network, 2, 0));
    network.nodes[2].kernel = true;
    network.kill(2);
    network.cut.clear();
    network.run(100 * MS);
    assert!(!suspected(&network, 2, 0));
    assert_eq!(network.state(2, 0), Held { settled: true });
}

#[test]
fn whom_others_hear_is_not_asked_for_ever() {
    let mut network = Network::settled(3, 9);
    deafen(&mut network, 2, 0);
    network.run(4 * SECOND);
    let asked = network.asks.len();
    let most = Duration::from_secs(2).as_millis() / (Timing::DEFAULT.interval / 4).as_millis() + 10;
    assert!(asked > 10 && asked as u128 <= most, "{asked} of {most}");
    network.run(60 * SECOND);
    assert_eq!(network.asks.len(), asked);
}

#[test]
fn who_stood_still_takes_back_what_it_thought() {
    let mut network = Network::settled(3, 10);
    deafen(&mut network, 2, 0);
    network.run_until(SECOND, |network| suspected(network, 2, 0));
    network.stall(0, DETECTION);
    network.cut.clear();
    network.cut.insert((2, 0));
    network.run(DETECTION + MS);
    assert!(!suspected(&network, 2, 0), "its windows start again");
    network.run(DETECTION);
    assert!(suspected(&network, 2, 0));
}

#[test]
fn sides_of_a_cut_are_dead_to_each_other_within_the_detection_time() {
    for nodes in [3, 5, 7] {
        for away in 1..nodes {
            let mut network = Network::settled(nodes, 11);
            let start = network.now;
            for (one, other) in (0..away).flat_map(|one| (away..nodes).map(move |other| (one, other))) {
                network.cut.extend([(one, other), (other, one)]);
            }
            let apart = |network: &Network| {
                let dead =
                    |one, other| network.state(one, other) == Dead && network.state(other, one) == Dead;
                (0..away).all(|one| (away..nodes).all(|other| dead(one, other)))
            };
            let took = network.run_until(SECOND, apart).since(start);
            assert!(took <= DETECTION + LATENCY * 2, "{away} of {nodes}: {took:?}");
        }
    }
}

#[test]
fn a_list_that_is_too_long_names_who_was_lost_last() {
    let mut network = Network::new(24, 12);
    network.run(3 * SECOND);
    (4..23).for_each(|node| network.kill(node));
    network.run(2 * SECOND);
    assert!((4..23).all(|node| network.state(node, 0) == Dead));
    let death = network.now;
    network.kill(23);
    let dead = network.run_until(SECOND, |network| network.state(23, 0) == Dead).since(death);
    assert!(dead <= DETECTION + LATENCY * 2, "{dead:?}");
}

#[test]
fn a_rack_that_loses_power_is_lost_within_two_windows() {
    let mut network = Network::settled(40, 13);
    let (death, sent) = (network.now, network.sent);
    (28..40).for_each(|node| network.kill(node));
    let all = |network: &Network| (0..28).all(|by| (28..40).all(|node| network.state(node, by) == Dead));
    let took = network.run_until(SECOND, all).since(death);
    assert!(took <= DETECTION * 2, "{took:?}");
    // Each tells each other of each that died, and asks the dead and its neighbours a few times.
    let told = 28 * 39 * 12;
    assert!(network.sent - sent <= told, "{}", network.sent - sent);
    network.run(5 * SECOND);
    for seen_by in 0..28 {
        assert!((0..28).all(|of| of == seen_by || network.states_seen(of, seen_by) == [Unknown, LIVE]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// One node's ears are worth nothing, whatever they miss and when.
    #[test]
    fn nobody_is_dead_because_one_node_hears_badly(
        seed in any::<u64>(),
        nodes in 3..7_usize,
        spells in proptest::collection::vec((0..1_200_u64, any::<u8>()), 1..12),
    ) {
        let mut network = Network::settled(nodes, seed);
        for (millis, mask) in spells {
            network.cut.clear();
            // It hears at least one, or it could not tell itself from the last of all.
            let others = (1..nodes - 1).filter(|other| mask & (1 << other) != 0);
            network.cut.extend(others.map(|other| (other, 0)));
            network.run(Duration::from_millis(millis));
        }
        network.cut.clear();
        network.run(3 * SECOND);
        for seen_by in 0..nodes {
            for of in (0..nodes).filter(|of| *of != seen_by) {
                prop_assert!(!network.states_seen(of, seen_by).contains(&Dead), "{of} by {seen_by}");
            }
        }
        prop_assert!(network.agrees());
    }

    /// However many die, and whoever stands still meanwhile: those who are left know it in the end.
    #[test]
    fn the_dead_are_known_to_all_who_live(
        seed in any::<u64>(),
        nodes in 2..8_usize,
        troubles in proptest::collection::vec((0..8_usize, 0..300_u64, 0..400_u64), 1..6),
    ) {
        let mut network = Network::settled(nodes, seed);
        let mut dead = vec![false; nodes];
        for (node, stall, after) in troubles {
            let node = node % nodes;
            if dead.iter().filter(|dead| !**dead).count() > 1 {
                dead[node] = true;
                network.kill(node);
            }
            network.stall((node + 1) % nodes, Duration::from_millis(stall));
            network.run(Duration::from_millis(after));
        }
        let end = network.now;
        network.run(DETECTION * 3 + SECOND);
        let alive: Vec<usize> = (0..nodes).filter(|node| !dead[*node]).collect();
        for seen_by in &alive {
            for of in (0..nodes).filter(|of| dead[*of]) {
                prop_assert_eq!(network.state(of, *seen_by), Dead);
                let log = &network.nodes[*seen_by].log;
                let known = log.iter().rev().find(|(_, event)| *event == Event::State { node: name(of), state: Dead });
                let known = known.map_or(Instant::ZERO, |(at, _)| *at);
                prop_assert!(known <= end + Duration::from_millis(300) + DETECTION * 2 + LONGEST, "{:?}", known.since(end));
            }
        }
    }
}
