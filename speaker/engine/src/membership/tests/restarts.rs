//! New processes of a node, whatever its clock says.

use std::collections::BTreeMap;

use super::network::{BACK, DETECTION, LATENCY, LIVE, LONGEST, MS, Network, SECOND, claim, name, service};
use crate::membership::{
    Event,
    MemberState::{Dead, Unknown},
};

#[test]
fn a_restarted_node_that_does_not_hear_us_is_dead_in_time() {
    let mut network = Network::settled(2, 20);
    let start = network.now;
    network.kill(1);
    network.cut.insert((0, 1));
    network.start(1, 1_001);
    let dead = network.run_until(SECOND, |network| network.state(1, 0) == Dead);
    assert!(dead.since(start) <= DETECTION, "packets that prove nothing keep nobody alive");
    network.run(2 * SECOND);
    assert_eq!(network.state(1, 0), Dead);
}

#[test]
fn a_quick_restart_moves_no_state_and_is_told() {
    let mut network = Network::settled(3, 7);
    network.act(2, |machine, now| machine.set_claims(&[(service(1), claim(1))].into(), now));
    network.run(100 * MS);
    network.kill(2);
    network.run(60 * MS);
    network.start(2, 1_001);
    network.run(200 * MS);
    for watcher in [0, 1] {
        assert_eq!(network.states_seen(2, watcher), [Unknown, LIVE]);
        let restarted = Event::Restarted { node: name(2) };
        assert_eq!(network.nodes[watcher].log.iter().filter(|(_, event)| *event == restarted).count(), 1);
        assert!(
            network.nodes[watcher].machine.member("n2").unwrap().claims.is_empty(),
            "a new run claims nothing"
        );
    }
    assert!(network.nodes[2].machine.settled());
}

#[test]
fn a_node_whose_clock_went_back_is_heard_all_the_same() {
    let mut network = Network::settled(3, 8);
    network.kill(2);
    network.run(2 * SECOND);
    network.start(2, 10);
    let start = network.now;
    let heard =
        network.run_until(SECOND, |network| network.state(2, 0) == BACK && network.state(2, 1) == BACK);
    assert!(heard.since(start) <= LONGEST * 2 + LATENCY * 4, "{:?}", heard.since(start));
    assert_eq!(network.nodes[2].machine.counters().boot_raised, 1);
    network.run_until(2 * SECOND, Network::agrees);
}

#[test]
fn a_peer_that_alone_remembers_a_later_run_hears_an_established_one_all_the_same() {
    let mut network = Network::settled(3, 9);
    network.kill(1);
    network.kill(2);
    network.cut = [(0, 2), (2, 0)].into();
    // The first one knew the second one's run; the one that starts with it knows nothing.
    network.start(1, 2_000);
    network.start(2, 10);
    network.run(3 * SECOND);
    assert_eq!(network.state(2, 1), LIVE);
    network.cut.clear();
    network.run_until(4 * SECOND, Network::agrees);
    assert_eq!(network.nodes[2].machine.counters().boot_raised, 1);
}

#[test]
fn a_node_that_is_a_member_again_is_heard_although_its_clock_went_back() {
    let mut network = Network::settled(2, 9);
    network.kill(1);
    let peers = network.addresses();
    network.act(0, |machine, now| {
        machine.set_peers(BTreeMap::new(), now);
        machine.set_peers(peers, now);
    });
    network.start(1, 10);
    network.run_until(2 * SECOND, Network::agrees);
}

#[test]
fn two_restarts_within_one_second_of_the_clock_are_heard() {
    for seed in 0..20 {
        let mut network = Network::settled(3, seed);
        for _ in 0..2 {
            network.kill(2);
            network.start(2, 1_000);
            network.run(250 * MS);
            assert_eq!(network.states_seen(2, 0), [Unknown, LIVE], "seed {seed}");
        }
        assert!(network.agrees());
    }
}
