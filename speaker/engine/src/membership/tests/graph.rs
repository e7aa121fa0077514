//! Clusters in which not everybody watches everybody.

use std::{collections::BTreeSet, time::Duration};

use super::network::{DETECTION, LATENCY, LIVE, MS, Network, SECOND, key, name};
use crate::membership::{
    MemberState::{Dead, Unknown},
    Timing,
    ring::{Ring, WATCHERS},
};

const INTERVAL: Duration = Timing::DEFAULT.interval;

/// Those who watch a node, the nearest first.
fn watchers(nodes: usize, of: usize) -> Vec<usize> {
    let digest = |node: usize| super::super::claims::digest64(name(node).as_bytes());
    let mut others: Vec<usize> = (0..nodes).filter(|node| *node != of).collect();
    others.sort_by_key(|node| digest(*node).wrapping_sub(digest(of)));
    others.truncate(WATCHERS);
    others
}

/// A settled network, at another point between two heartbeats for each seed.
fn settled(nodes: usize, seed: u64) -> Network {
    let mut network = Network::settled(nodes, seed);
    network.run(Duration::from_micros(seed * 3_777));
    network
}

#[test]
fn a_death_is_known_to_all_half_an_interval_after_its_watchers() {
    for seed in 0..4 {
        for nodes in [9, 20, 40] {
            let mut network = settled(nodes, seed);
            let death = network.now;
            network.kill(0);
            let all = |network: &Network| (1..nodes).all(|by| network.state(0, by) == Dead);
            let took = network.run_until(SECOND, all).since(death);
            assert!(took <= DETECTION + INTERVAL / 2 + LATENCY * 3, "{nodes} nodes, seed {seed}: {took:?}");
            network.run(3 * SECOND);
            assert_nobody_else_died(&network, &BTreeSet::from([0]));
        }
    }
}

fn assert_nobody_else_died(network: &Network, dead: &BTreeSet<usize>) {
    let nodes = network.nodes.len();
    for by in (0..nodes).filter(|node| !dead.contains(node)) {
        for of in (0..nodes).filter(|of| *of != by && !dead.contains(of)) {
            assert!(
                !network.states_seen(of, by).contains(&Dead),
                "{of} by {by}: {:?}",
                network.states_seen(of, by)
            );
        }
    }
}

#[test]
fn a_node_that_dies_with_all_its_watchers_is_found_by_the_next_ones() {
    for seed in 0..4 {
        for nodes in [12, 20, 40] {
            let mut network = settled(nodes, seed);
            let mut dead: BTreeSet<usize> = watchers(nodes, 0).into_iter().collect();
            dead.insert(0);
            let death = network.now;
            dead.iter().for_each(|node| network.kill(*node));
            let known =
                |by: usize, network: &Network| dead.iter().all(|node| network.state(*node, by) == Dead);
            let all =
                |network: &Network| (0..nodes).filter(|by| !dead.contains(by)).all(|by| known(by, network));
            let took = network.run_until(2 * SECOND, all).since(death);
            assert!(took <= DETECTION * 2 + INTERVAL, "{nodes} nodes, seed {seed}: {took:?}");
            network.run(3 * SECOND);
            assert_nobody_else_died(&network, &dead);
        }
    }
}

/// Machines learn of a change one after the other, as from an API server that is slow to some.
#[test]
fn nobody_is_dead_because_others_know_other_members() {
    for pause in [3 * MS, 40 * MS, 170 * MS] {
        let mut network = Network::settled(20, 1);
        for size in [8, 20, 9, 8, 10, 20, 3, 20] {
            let members: BTreeSet<_> = (0..size).map(name).collect();
            for node in 0..20 {
                let mut peers = network.addresses();
                peers.retain(|node, _| members.contains(node));
                network.act(node, |machine, now| machine.set_peers(peers, now));
                network.run(pause);
            }
            network.run(2 * SECOND);
            // Those who were left out hear nobody, and nobody hears of them.
            for (by, of) in (0..size).flat_map(|by| (0..size).map(move |of| (by, of))) {
                let seen = network.states_seen(of, by);
                assert!(!seen.contains(&Dead), "{of} by {by}, {size} members, {pause:?}: {seen:?}");
                assert!(
                    of == by || network.state(of, by).is_alive(),
                    "{of} by {by}, {size} members, {pause:?}"
                );
            }
            network.nodes.iter_mut().for_each(|node| node.log.clear());
        }
    }
}

#[test]
fn losses_and_short_stalls_kill_nobody() {
    for seed in 0..2 {
        let mut network = Network::settled(30, seed);
        network.nodes.iter_mut().for_each(|node| node.kernel = true);
        network.loss = 50;
        for round in 0..40 {
            network.stall(round * 7 % 30, Duration::from_millis(20 + 13 * round as u64 % 180));
            network.run(500 * MS);
        }
        assert_nobody_else_died(&network, &BTreeSet::new());
    }
}

#[test]
fn halves_of_a_cut_are_dead_to_each_other_and_meet_again() {
    for seed in 0..2 {
        for away in [1, 2, 5, 10] {
            let nodes = 20;
            let mut network = Network::settled(nodes, seed);
            let start = network.now;
            for (one, other) in (0..away).flat_map(|one| (away..nodes).map(move |other| (one, other))) {
                network.cut.extend([(one, other), (other, one)]);
            }
            let apart = |network: &Network| {
                (0..away).all(|one| {
                    (away..nodes)
                        .all(|other| network.state(one, other) == Dead && network.state(other, one) == Dead)
                })
            };
            let took = network.run_until(4 * SECOND, apart).since(start);
            assert!(took <= DETECTION * 3, "{away} of {nodes}, seed {seed}: {took:?}");
            network.cut.clear();
            network.run_until(6 * SECOND, Network::agrees);
        }
    }
}

#[test]
fn a_node_among_many_sends_as_much_as_one_among_twenty() {
    let per_second = |nodes: usize| {
        let mut network = Network::settled(nodes, 5);
        network.run(5 * SECOND);
        let before = network.sent;
        network.run(5 * SECOND);
        (network.sent - before) as f64 / 5.0 / nodes as f64
    };
    let (small, large) = (per_second(20), per_second(100));
    // Eight neighbours, twenty heartbeats a second.
    assert!((160.0..240.0).contains(&small), "{small}");
    assert!(large < small + 140.0, "{large} among 100, {small} among 20");
}

#[test]
fn whom_the_watchers_alone_do_not_hear_is_dead_for_them_alone() {
    let nodes = 20;
    let mut network = Network::settled(nodes, 3);
    let watching = watchers(nodes, 0);
    for watcher in &watching {
        network.cut.extend([(0, *watcher), (*watcher, 0)]);
    }
    network.run(5 * SECOND);
    for by in (1..nodes).filter(|by| !watching.contains(by)) {
        assert_eq!(network.states_seen(0, by), [Unknown, LIVE], "by {by}");
    }
    assert!(watching.iter().all(|by| network.state(0, *by) == Dead));
}

#[test]
fn the_ring_goes_round_from_every_member() {
    let mut ring = Ring::new(50);
    for (number, digest) in [10, 20, 30, 60, 90].into_iter().enumerate() {
        ring.insert(digest, super::super::peer::PeerId(number as u32));
    }
    let after: Vec<_> = ring.after(50, None).collect();
    let mut before: Vec<_> = ring.before(50, None).collect();
    before.reverse();
    assert_eq!(after, before);
    assert_eq!(after.len(), 5);
    assert_eq!(after.first().copied().flatten(), ring.named(60));
}

#[test]
fn keys_that_come_late_lose_nobody() {
    let mut network = Network::new(12, 6);
    network.act(0, |machine, now| machine.set_keys(Vec::new(), now));
    network.run(3 * SECOND);
    network.act(0, |machine, now| machine.set_keys(vec![key("secret")], now));
    network.run_until(5 * SECOND, Network::agrees);
}
