use std::time::Duration;

use landfall_model::Instant;
use proptest::prelude::*;

use super::network::{
    DETECTION, LATENCY, LIVE, LONGEST, MS, Network, SECOND, claim, key, name, service, socket,
};
use crate::membership::{
    Cause, Event,
    MemberState::{self, Dead, Held, Leaving, Unknown},
    Membership, Timing,
    planes::{Planes, Verdict},
};

const HELD: MemberState = Held { settled: true };
const HOLD: Duration = Duration::from_secs(2);
/// For so long an answer of a kernel counts.
const FRESH: Duration = Duration::from_millis(100);
/// Between two questions.
const AGAIN: Duration = Duration::from_micros(12_500);

#[test]
fn both_planes_together_say_what_the_table_says() {
    let at = |millis| Instant::ZERO + Duration::from_millis(millis);
    let now = at(50);
    let (past, present, soon, later) = (at(49), at(50), at(60), at(90));
    // The heartbeat counts until, the kernel's answer does, the process may be away until: the verdict.
    let table = [
        (soon, None, past, Verdict::Speaks(soon)),
        (soon, Some(past), past, Verdict::Speaks(soon)),
        (soon, Some(later), past, Verdict::Speaks(soon)),
        (present, None, later, Verdict::Silent(Cause::NodeSilent)),
        (present, Some(past), later, Verdict::Silent(Cause::NodeSilent)),
        (present, Some(present), later, Verdict::Silent(Cause::NodeSilent)),
        (present, Some(soon), later, Verdict::Held(soon)),
        (present, Some(later), soon, Verdict::Held(soon)),
        (past, Some(later), later, Verdict::Held(later)),
        (past, Some(later), present, Verdict::Silent(Cause::ProcessSilent)),
        (past, Some(later), past, Verdict::Silent(Cause::ProcessSilent)),
        (past, None, past, Verdict::Silent(Cause::NodeSilent)),
    ];
    for (heartbeat, kernel, hold, verdict) in table {
        let planes = Planes { heartbeat, kernel, hold };
        assert_eq!(planes.verdict(now), verdict, "{planes:?}");
    }
}

/// A node's process dies, and its kernel lives.
fn process_dies(seed: u64) -> (Network, Instant) {
    let mut network = Network::settled(3, seed);
    network.run(Duration::from_micros(seed * 1_777));
    network.nodes[2].kernel = true;
    network.kill(2);
    let death = network.now;
    (network, death)
}

#[test]
fn a_process_whose_kernel_answers_is_held_for_two_seconds_and_no_longer() {
    for seed in 0..60 {
        let (mut network, death) = process_dies(seed);
        for watcher in [0, 1] {
            let held = network.run_until(SECOND, |network| network.state(2, watcher) == HELD).since(death);
            assert!(held + LONGEST >= DETECTION && held <= DETECTION + LATENCY, "seed {seed}: {held:?}");
        }
        for watcher in [0, 1] {
            let dead = network.run_until(3 * SECOND, |network| network.state(2, watcher) == Dead);
            let dead = dead.since(death);
            assert!(dead >= HOLD && dead <= HOLD + LONGEST + LATENCY * 2, "seed {seed}: {dead:?}");
            assert_eq!(network.states_seen(2, watcher), [Unknown, LIVE, HELD, Dead]);
            let counters = network.nodes[watcher].machine.counters();
            assert_eq!(counters.verdicts(Cause::ProcessSilent), 1);
            assert_eq!(counters.verdicts(Cause::NodeSilent), 0);
        }
        let asked = network.asks.len();
        network.run(5 * SECOND);
        assert_eq!(network.asks.len(), asked, "nobody asks a dead one");
    }
}

#[test]
fn who_is_silent_is_failing_long_before_it_is_dead_and_who_is_held_is_not() {
    let said = |network: &Network, watcher: usize, since| {
        let log = network.nodes[watcher].log.iter().filter(|(at, _)| *at >= since);
        let about = |event: &Event| matches!(event, Event::Failing { node } if *node == name(2));
        log.filter(|(_, event)| about(event)).map(|(at, _)| *at).collect::<Vec<_>>()
    };
    for seed in 0..30 {
        let mut network = Network::settled(3, seed);
        network.run(Duration::from_micros(seed * 1_777));
        network.kill(2);
        let death = network.now;
        for watcher in [0, 1] {
            let dead = network.run_until(SECOND, |network| network.state(2, watcher) == Dead);
            let failing = said(&network, watcher, death);
            assert_eq!(failing.len(), 1, "seed {seed}: {failing:?}");
            assert!(failing[0] + 4 * AGAIN <= dead, "seed {seed}: {failing:?}, dead at {dead:?}");
        }
        let (mut network, death) = process_dies(seed);
        network.run(SECOND);
        for watcher in [0, 1] {
            assert_eq!(network.state(2, watcher), HELD);
            assert_eq!(said(&network, watcher, death), [], "seed {seed}: its kernel answers");
        }
    }
}

#[test]
fn a_process_that_stands_still_for_a_second_loses_nothing() {
    for seed in 0..20 {
        let mut network = Network::settled(3, seed);
        network.act(2, |machine, now| machine.set_claims(&[(service(1), claim(4))].into(), now));
        network.run(200 * MS);
        network.nodes[2].kernel = true;
        network.stall(2, SECOND);
        network.run(900 * MS);
        for watcher in [0, 1] {
            let machine = &network.nodes[watcher].machine;
            assert_eq!(machine.member("n2").map(|member| member.state), Some(HELD));
            assert_eq!(machine.member("n2").unwrap().claims.len(), 1, "its claims hold");
            assert!(machine.is_asking());
        }
        network.run(3 * SECOND);
        for watcher in [0, 1] {
            assert_eq!(network.states_seen(2, watcher), [Unknown, LIVE, HELD, LIVE], "seed {seed}");
            assert!(!network.nodes[watcher].machine.is_asking());
        }
    }
}

#[test]
fn a_process_that_is_started_again_meanwhile_was_never_dead() {
    for seed in 0..20 {
        let (mut network, death) = process_dies(seed);
        network.run(1_500 * MS);
        network.start(2, 1_001);
        network.run_until(SECOND, Network::agrees);
        assert!(network.now.since(death) < HOLD, "within a round trip or two");
        for watcher in [0, 1] {
            assert_eq!(network.states_seen(2, watcher), [Unknown, LIVE, HELD, LIVE], "seed {seed}");
        }
    }
}

#[test]
fn a_node_that_dies_while_it_is_held_is_dead_within_the_time_of_one_that_was_not() {
    for after in (0..1_900).step_by(50) {
        let (mut network, _) = process_dies(after);
        network.run(Duration::from_millis(after));
        let death = network.now;
        network.nodes[2].kernel = false;
        for watcher in [0, 1] {
            let dead = network.run_until(SECOND, |network| network.state(2, watcher) == Dead);
            let took = dead.since(death);
            let limit = if after >= 500 { FRESH } else { DETECTION };
            assert!(took <= limit + LATENCY, "after {after} ms: {took:?}");
            assert_eq!(network.nodes[watcher].machine.counters().verdicts(Cause::NodeSilent), 1);
        }
    }
}

#[test]
fn without_an_answer_the_verdict_comes_when_it_always_came() {
    for seed in 0..30 {
        let mut network = Network::settled(3, seed);
        network.nodes[2].kernel = true;
        network.run(Duration::from_micros(seed * 2_111));
        let death = network.now;
        network.isolate(2);
        for watcher in [0, 1] {
            let dead = network.run_until(SECOND, |network| network.state(2, watcher) == Dead);
            let took = dead.since(death);
            assert!(took + LONGEST >= DETECTION && took <= DETECTION + LATENCY, "seed {seed}: {took:?}");
        }
        assert!(network.known.iter().all(|(_, known)| !known), "nobody answered");
        let asks = network.asks.iter().filter(|(_, from, to)| *from < 2 && *to == 2).count();
        assert!((8..=40).contains(&asks), "{asks} by two watchers");
    }
}

/// Three settled nodes with these profiles, one after the other.
fn with_profiles(profiles: [Timing; 3], seed: u64) -> Network {
    let mut network = Network::new(3, seed);
    for (node, timing) in profiles.into_iter().enumerate() {
        network.timing = timing;
        network.start(node, 1_001);
    }
    network.run(6 * SECOND);
    assert!(network.agrees());
    network
}

#[test]
fn in_every_profile_there_is_room_for_several_questions() {
    for timing in [Timing::FAST, Timing::DEFAULT, Timing::CALM, Timing::SLOW] {
        for seed in 0..8_u32 {
            let mut network = with_profiles([timing; 3], seed.into());
            network.run(timing.interval * seed / 8);
            let death = network.now;
            network.kill(2);
            let dead = network.run_until(10 * SECOND, |network| network.state(2, 0) == Dead).since(death);
            let longest = timing.interval * 11 / 10;
            assert!(
                dead + longest >= timing.detection() && dead <= timing.detection() + LATENCY * 2,
                "{dead:?}"
            );
            let asks = network.asks.iter().filter(|(_, from, to)| (*from, *to) == (0, 2)).count();
            assert!((6..=16).contains(&asks), "{asks} in {timing:?}");
        }
    }
}

#[test]
fn between_two_profiles_the_longer_interval_counts() {
    let mut network = with_profiles([Timing::FAST, Timing::DEFAULT, Timing::SLOW], 3);
    network.run(20 * SECOND);
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        assert!(
            !network.states_seen(one, other).contains(&Dead)
                && !network.states_seen(other, one).contains(&Dead)
        );
    }
    // The slow one is the second juror, and takes its time.
    let death = network.now;
    network.kill(1);
    network.run(4 * Timing::DEFAULT.interval);
    assert!(network.nodes[0].machine.member("n1").is_some_and(|member| member.suspected));
    let dead = network.run_until(10 * SECOND, |network| network.state(1, 0) == Dead).since(death);
    assert!(dead >= 3 * SECOND && dead <= Timing::SLOW.detection() + LATENCY * 2, "{dead:?}");
}

#[test]
fn nothing_is_asked_while_heartbeats_come_or_when_one_says_goodbye() {
    let mut network = Network::settled(5, 1);
    network.run(60 * SECOND);
    assert_eq!(network.asks, []);
    network.nodes[2].kernel = true;
    network.act(2, Membership::leave);
    network.run(LATENCY);
    network.kill(2);
    let end = network.now;
    let dead = network.run_until(SECOND, |network| network.state(2, 0) == Dead);
    assert!(dead.since(end) <= DETECTION + LATENCY, "nobody waits for whom it knows to be gone");
    assert_eq!(network.states_seen(2, 0), [Unknown, LIVE, Leaving, Dead]);
    assert_eq!(network.asks, []);
}

#[test]
fn a_held_peer_is_asked_at_a_bounded_rate() {
    let (mut network, _) = process_dies(3);
    network.run(5 * SECOND);
    let mine: Vec<Instant> = network.asks.iter().filter(|(_, from, _)| *from == 0).map(|ask| ask.0).collect();
    assert!(mine.len() <= 165, "{}", mine.len());
    let known: Vec<bool> = network.known.iter().filter(|(from, _)| *from == 0).map(|ask| ask.1).collect();
    assert!(!known[0] && known[1..].iter().all(|known| *known), "only the first one goes to everybody");
    assert!(mine.windows(2).all(|pair| pair[1].since(pair[0]) >= AGAIN), "{mine:?}");
}

#[test]
fn whoever_is_itself_cut_off_asks_no_more_than_some() {
    let mut network = Network::new(80, 4);
    network.run(400 * MS);
    network.isolate(0);
    network.run(600 * MS);
    assert!((1..80).all(|other| network.state(other, 0) == Dead));
    let mine: Vec<Instant> = network.asks.iter().filter(|(_, from, _)| *from == 0).map(|ask| ask.0).collect();
    let busiest =
        mine.iter().map(|start| mine.iter().filter(|at| at.since(*start) < AGAIN && *at >= start).count());
    let busiest = busiest.max().unwrap_or_default();
    assert!((1..=64).contains(&busiest), "{busiest} questions in {AGAIN:?}");
    assert!(mine.len() <= 64 * 16, "{} questions", mine.len());
}

#[test]
fn without_a_hold_only_the_heartbeats_count() {
    let mut network = Network::new(2, 5);
    network.timing = Timing { hold: Duration::ZERO, ..Timing::default() };
    for node in [0, 1] {
        network.nodes[node].kernel = true;
        network.start(node, 1_001);
    }
    network.run(SECOND);
    network.kill(1);
    let death = network.now;
    let dead = network.run_until(SECOND, |network| network.state(1, 0) == Dead);
    assert!(dead.since(death) <= DETECTION + LATENCY);
}

#[test]
fn an_answer_that_nobody_waits_for_does_nothing() {
    let mut network = Network::settled(2, 5);
    let address = socket(1).ip();
    network.act(0, |machine, now| assert!(!machine.handle_answer(address, now)));
    assert_eq!(network.nodes[0].machine.counters().answers, 0);
    network.kill(1);
    network.run(DETECTION - MS * 50);
    assert!(network.nodes[0].machine.is_asking());
    network.act(0, |machine, now| assert!(!machine.handle_answer(socket(7).ip(), now)));
    assert_eq!(network.nodes[0].machine.counters().answers, 0, "another address");
    network.run_until(SECOND, |network| network.state(1, 0) == Dead);
    network.act(0, |machine, now| assert!(!machine.handle_answer(address, now)));
    assert_eq!((network.state(1, 0), network.nodes[0].machine.counters().answers), (Dead, 0));
}

#[test]
fn a_member_that_is_removed_while_it_is_asked_is_forgotten() {
    let (mut network, _) = process_dies(6);
    network.run(SECOND);
    network.act(0, |machine, now| {
        machine.set_peers([(name(1), vec![socket(1)])].into(), now);
        assert!(!machine.is_asking());
        machine.set_keys(vec![key("secret")], now);
    });
    network.asks.clear();
    network.run(5 * SECOND);
    assert!(network.asks.iter().all(|(_, from, _)| *from != 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever happens to process and kernel: nobody is dead before the detection time, a node whose kernel answers
    /// not before the hold is over, and nobody who is silent on both planes lives longer than with one plane.
    #[test]
    fn no_peer_dies_too_early_or_too_late(
        seed in any::<u64>(),
        process in 0..3_000_u64,
        kernel in 0..4_000_u64,
        back in proptest::option::of(0..4_000_u64),
    ) {
        let mut network = Network::settled(2, seed);
        let start = network.now;
        network.nodes[1].kernel = true;
        let at = |millis: u64| start + Duration::from_millis(millis);
        let back = back.filter(|back| *back > process);
        let mut dead = None;
        for millis in 0..8_000 {
            if millis == process { network.kill(1); }
            if millis == kernel { network.nodes[1].kernel = false; }
            if back == Some(millis) { network.start(1, 2_000); }
            network.run(MS);
            if dead.is_none() && network.state(1, 0) == Dead { dead = Some(network.now); }
        }
        let ended = back.map_or(at(8_000), at);
        let held = at(process) + HOLD;
        if let Some(dead) = dead {
            prop_assert!(dead + LONGEST >= at(process) + DETECTION, "dead at {dead:?}, too early");
            prop_assert!(dead >= held || dead + MS >= at(kernel), "dead at {dead:?}, and its kernel answered");
        }
        let limit = (at(process) + DETECTION).max(at(kernel) + FRESH).min(held + LONGEST) + LATENCY + MS;
        let late = dead.map_or(limit < ended, |dead| dead > limit && limit < ended);
        prop_assert!(!late, "dead at {dead:?}, not by {limit:?}");
    }
}
