//! Speakers in processes of their own, which can be stopped and killed while their nodes live.

use std::{
    env,
    net::Ipv4Addr,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use landfall_engine::membership::Timing;
use landfall_lan::{Host, Lan, Process};
use nix::sys::signal::Signal;
use tokio_util::sync::CancellationToken;

use super::{
    forwarding::{V4, ask, serve_on_all},
    lan,
    speakers::{Manifests, answered_within, get, owner, show_logs, speak, sum},
};

/// They make this program a speaker.
const NODE: &str = "LANDFALL_TEST_NODE";
const ADDRESS: &str = "LANDFALL_TEST_ADDRESS";
const MANIFESTS: &str = "LANDFALL_TEST_MANIFESTS";

/// A process may be away for so long.
const HOLD: Duration = Duration::from_secs(2);
/// Silence of a node is noticed within this time; the rest is for a busy machine.
const DETECTION: Duration = Timing::DEFAULT.detection();
const SLACK: Duration = Duration::from_millis(400);

#[test]
#[ignore = "is a speaker, which the other tests here start"]
fn a_speaker_in_a_process_of_its_own() {
    let Ok(node) = env::var(NODE) else { return };
    show_logs();
    let address: Ipv4Addr = env::var(ADDRESS).unwrap().parse().unwrap();
    let manifests = env::var(MANIFESTS).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(speak(&node, address, Path::new(&manifests), CancellationToken::new())).unwrap();
}

fn start(node: &Host, manifests: &Manifests) -> Process {
    let mut command = node.command(env::current_exe().unwrap());
    command.args(["--exact", "processes::a_speaker_in_a_process_of_its_own", "--ignored", "--nocapture"]);
    command.env(NODE, node.name()).env(ADDRESS, node.ipv4().unwrap().to_string());
    command.env(MANIFESTS, manifests.path());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    node.spawn(command).unwrap()
}

/// Three nodes with a speaker each, and a client that one of them answers.
struct Segment {
    // Its hosts end with it, and their processes with them.
    _lan: Lan,
    nodes: [Host; 3],
    client: Host,
    manifests: Manifests,
    speakers: Vec<Process>,
}

impl Segment {
    fn new() -> Self {
        show_logs();
        let (lan, [n1, n2, n3, client]) = lan(["n1", "n2", "n3", "c1"]);
        let nodes = [n1, n2, n3];
        serve_on_all(&nodes);
        let manifests = Manifests::of(&nodes);
        let speakers = nodes.iter().map(|node| start(node, &manifests)).collect();
        let segment = Self { _lan: lan, nodes, client, manifests, speakers };
        answered_within(&segment.client, V4, Duration::from_secs(15));
        segment.wait(|segment| segment.all_hear_all(), "the speakers hear each other");
        segment
    }

    /// The place of the node that the client knows to have the address.
    fn owner(&self) -> usize {
        let owner = owner(&self.client, &self.nodes, V4).expect("the client knows who answers");
        self.nodes.iter().position(|node| node.name() == owner.name()).unwrap()
    }

    fn all_hear_all(&self) -> bool {
        self.nodes.iter().all(|node| has(node, "landfall_speaker_members{state=\"alive\"} 2"))
    }

    fn others(&self, place: usize) -> impl Iterator<Item = &Host> {
        self.nodes.iter().enumerate().filter(move |(other, _)| *other != place).map(|(_, node)| node)
    }

    /// How many changes of owners the others have seen.
    fn changes(&self, place: usize) -> f64 {
        self.others(place).map(|node| sum(node, "landfall_speaker_owner_changes_total")).sum()
    }

    /// How long until a condition holds.
    fn wait(&self, holds: impl Fn(&Self) -> bool, what: &str) -> Duration {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < Duration::from_secs(10), "not so: {what}");
        }
        start.elapsed()
    }
}

fn has(node: &Host, line: &str) -> bool {
    get(node, 9120, "/metrics").contains(line)
}

#[test]
#[ignore = "needs root and nft"]
fn a_process_that_stands_still_for_a_second_keeps_its_address() {
    let segment = Segment::new();
    let place = segment.owner();
    let before = segment.changes(place);
    let stopped = Instant::now();
    segment.speakers[place].pause().unwrap();
    let mut answers = 0;
    let mut held = false;
    while stopped.elapsed() < Duration::from_secs(1) {
        // The client knows the way, and needs no process for it.
        assert!(ask(&segment.client, V4).is_some(), "a request was lost after {:?}", stopped.elapsed());
        answers += 1;
        held |= segment.others(place).all(|node| has(node, "landfall_speaker_members{state=\"held\"} 1"));
    }
    assert!(held, "the others see that only the process is away");
    segment.speakers[place].signal(Signal::SIGCONT).unwrap();
    segment.wait(Segment::all_hear_all, "the speakers hear each other again");
    assert!((segment.changes(place) - before).abs() < f64::EPSILON, "another node took over");
    assert_eq!(segment.owner(), place);
    println!("{answers} requests were answered while the owner's process stood still");
}

/// Kills the owner's process and starts it again as soon as the others have missed it; they take nothing.
fn restart(segment: &mut Segment, place: usize) {
    let before = segment.changes(place);
    let killed = Instant::now();
    segment.speakers[place].kill().unwrap();
    let held = |segment: &Segment| {
        segment.others(place).all(|node| has(node, "landfall_speaker_members{state=\"held\"} 1"))
    };
    segment.wait(held, "the others see that only the process is away");
    assert!(ask(&segment.client, V4).is_some(), "the rules outlive the process");
    segment.speakers[place] = start(&segment.nodes[place], &segment.manifests);
    let heard = |segment: &Segment| segment.others(place).all(|node| has(node, "members{state=\"alive\"} 2"));
    segment.wait(heard, "the others hear the new process");
    let away = killed.elapsed();
    assert!(away < HOLD, "the machine is too busy for this test: {away:?}");
    let announced = format!("metallb_speaker_announced{{ip=\"{V4}\"");
    segment.wait(|segment| has(&segment.nodes[place], &announced), "the new process answers");
    assert!((segment.changes(place) - before).abs() < f64::EPSILON, "another node took over");
    assert_eq!(segment.owner(), place);
    println!("the process was away for {away:?}");
}

#[test]
#[ignore = "needs root and nft"]
fn a_process_that_is_killed_and_started_again_keeps_its_address() {
    let mut segment = Segment::new();
    let first = segment.owner();
    restart(&mut segment, first);

    // Its heir is not the best placed one, and keeps what it has all the same.
    let before = segment.changes(first);
    segment.nodes[first].cut().unwrap();
    segment.wait(|segment| segment.changes(first) > before, "another node took over");
    segment.nodes[first].heal().unwrap();
    segment.wait(Segment::all_hear_all, "the speakers hear each other again");
    answered_within(&segment.client, V4, Duration::from_secs(5));
    let heir = segment.owner();
    assert_ne!(heir, first);
    restart(&mut segment, heir);
}

#[test]
#[ignore = "needs root and nft"]
fn a_node_that_is_cut_off_is_succeeded_at_once_and_a_process_that_stays_away_after_two_seconds() {
    let segment = Segment::new();
    let first = segment.owner();
    let before = segment.changes(first);
    segment.nodes[first].cut().unwrap();
    let took = segment.wait(|segment| segment.changes(first) > before, "another node took over");
    println!("the node was cut off: another one took over after {took:?}");
    assert!(took < DETECTION + SLACK, "{took:?}");
    segment.nodes[first].heal().unwrap();
    segment.wait(Segment::all_hear_all, "the speakers hear each other again");
    answered_within(&segment.client, V4, Duration::from_secs(5));

    let second = segment.owner();
    assert_ne!(second, first);
    let before = segment.changes(second);
    segment.speakers[second].kill().unwrap();
    let took = segment.wait(|segment| segment.changes(second) > before, "another node took over");
    println!("the process was killed: another node took over after {took:?}");
    assert!(took + SLACK > HOLD && took < HOLD + DETECTION + SLACK, "{took:?}");
    answered_within(&segment.client, V4, Duration::from_secs(5));
}
