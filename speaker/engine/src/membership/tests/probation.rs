//! Members that come and go.

use std::time::Duration;

use super::network::{BACK, LATENCY, LIVE, MS, Network, SECOND};
use crate::membership::{FORGIVEN_AFTER, MemberState::Dead};

/// Node 2 is cut off and comes back: how long the others wait for it then.
fn flap(network: &mut Network) -> Duration {
    network.isolate(2);
    network.run_until(SECOND, |network| (0..2).all(|node| network.state(2, node) == Dead));
    network.run(SECOND);
    network.cut.clear();
    let back = network.run_until(SECOND, |network| (0..2).all(|node| network.state(2, node) == BACK));
    network.run(100 * MS);
    let doubted = [0, 1, 2].map(|node| network.nodes[node].machine.is_doubted());
    assert_eq!(doubted, [false, false, true], "the others tell it, and it blames nobody");
    let limit = 70 * SECOND;
    network.run_until(limit, |network| (0..2).all(|node| network.state(2, node) == LIVE)).since(back)
}

#[test]
fn one_that_comes_and_goes_is_waited_for_twice_as_long_each_time_and_knows_it() {
    let mut network = Network::settled(3, 1);
    for seconds in [1, 2, 4, 8] {
        let waited = flap(&mut network);
        let wanted = Duration::from_secs(seconds);
        assert!(
            waited + LATENCY * 8 >= wanted && waited <= wanted + LATENCY * 8,
            "{waited:?} for {seconds} s"
        );
        network.run(100 * MS);
        assert!(!network.nodes[2].machine.is_doubted(), "they say so no more");
        let flapping = network.nodes[0].machine.members().filter(|member| member.flapping).count();
        assert_eq!(flapping, 0);
    }
    network.run(FORGIVEN_AFTER);
    assert!(flap(&mut network) <= SECOND + LATENCY * 8, "it has been there for long");
}

#[test]
fn who_does_not_know_the_past_of_a_member_does_not_make_it_forget() {
    let mut network = Network::settled(3, 2);
    for _ in 0..3 {
        flap(&mut network);
    }
    network.isolate(2);
    network.run(SECOND);
    network.kill(1);
    network.cut.clear();
    network.run(SECOND);
    network.start(1, 2_000);
    network.run(SECOND);
    assert_eq!(
        (network.state(2, 0), network.state(2, 1)),
        (BACK, LIVE),
        "one that started anew sees no harm"
    );
    assert!(network.nodes[2].machine.is_doubted(), "it is enough that one remembers");
    assert!(network.nodes[0].machine.member("n2").unwrap().flapping);
    network.run(8 * SECOND);
    assert_eq!((network.state(2, 0), network.state(2, 1)), (LIVE, LIVE));
    assert!(!network.nodes[2].machine.is_doubted());
}

#[test]
fn the_word_of_a_doubter_ends_with_it() {
    let mut network = Network::settled(3, 3);
    for _ in 0..4 {
        flap(&mut network);
    }
    network.isolate(2);
    network.run(SECOND);
    network.cut.clear();
    network.run(SECOND);
    assert!(network.nodes[2].machine.is_doubted());
    network.kill(0);
    network.kill(1);
    network.run(SECOND);
    assert!(!network.nodes[2].machine.is_doubted(), "nobody is left to say so");
}

#[test]
fn of_two_nobody_knows_which_one_comes_and_goes() {
    let mut network = Network::settled(2, 4);
    for seconds in [1, 2, 4] {
        network.isolate(1);
        network.run(SECOND);
        network.cut.clear();
        network.run(500 * MS);
        for node in [0, 1] {
            assert_eq!(network.state(1 - node, node), BACK);
            assert!(network.nodes[node].machine.is_doubted(), "so each is as good as the other");
        }
        network.run(Duration::from_secs(seconds));
        assert_eq!((network.state(1, 0), network.state(0, 1)), (LIVE, LIVE), "after {seconds} s");
    }
}
