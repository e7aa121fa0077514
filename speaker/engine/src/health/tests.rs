use landfall_model::{Endpoint, EndpointPort};

use super::*;
use crate::objects::{key, service};

const SECOND: Duration = Duration::from_secs(1);

fn slice(addresses: &[&str]) -> Box<EndpointSlice> {
    let endpoint =
        |text: &&str| Endpoint { address: text.parse().unwrap(), node: None, ready: true, serving: true };
    let port = |name: &str, protocol, port| EndpointPort { name: name.into(), protocol, port };
    Box::new(EndpointSlice {
        service: key("web"),
        endpoints: addresses.iter().map(endpoint).collect(),
        ports: vec![port("http", Protocol::Tcp, 8080), port("dns", Protocol::Udp, 53)],
    })
}

/// The machine with a network in which the addresses in `dead` do not answer.
struct Bench {
    health: Health,
    now: Instant,
    dead: BTreeSet<&'static str>,
    asked: Vec<String>,
    told: Vec<Observation>,
    changes: Vec<(String, bool)>,
    unreadable: Vec<Box<str>>,
}

impl Bench {
    fn new() -> Self {
        Self {
            health: Health::new(Timing::default()),
            now: Instant::ZERO,
            dead: BTreeSet::new(),
            asked: Vec::new(),
            told: Vec::new(),
            changes: Vec::new(),
            unreadable: Vec::new(),
        }
    }

    fn see(&mut self, observation: Observation) {
        self.health.observe(observation, self.now);
        self.drain();
    }

    fn see_slice(&mut self, name: &str, slice: Option<Box<EndpointSlice>>) {
        self.see(Observation::EndpointSlice(key(name), slice));
    }

    fn annotate(&mut self, check: Result<HealthCheck, Box<str>>) {
        let mut view = service("web", &[]);
        view.requests.health_check = Some(check);
        self.see(Observation::Service(key("web"), Some(Box::new(view))));
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(due) = self.health.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.health.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(command) = self.health.next_command() {
            match command {
                Command::Tell(observation) => self.told.push(observation),
                Command::Ask(target) => {
                    let address = target.address.ip().to_string();
                    self.asked.push(target.address.to_string());
                    let good = !self.dead.contains(&*address);
                    self.health.handle_answer(&target, good, self.now);
                }
                Command::Changed { target, up } => self.changes.push((target.address.to_string(), up)),
                Command::Unreadable { value, .. } => self.unreadable.push(value),
            }
        }
    }

    /// The endpoints of the slice that was told last that answer.
    fn answering(&self) -> Vec<String> {
        let last = self.told.iter().rev().find_map(|told| match told {
            Observation::EndpointSlice(_, slice) => slice.as_ref(),
            Observation::Service(..)
            | Observation::Pool(..)
            | Observation::L2Advertisement(..)
            | Observation::Bgp(_)
            | Observation::Node(..)
            | Observation::Namespace(..)
            | Observation::Speaker(..)
            | Observation::Announcement(..)
            | Observation::Invalid(..)
            | Observation::Synced => None,
        });
        let endpoints = last.into_iter().flat_map(|slice| &slice.endpoints);
        endpoints.filter(|endpoint| endpoint.answers()).map(|endpoint| endpoint.address.to_string()).collect()
    }
}

#[test]
fn a_target_goes_after_two_failures_and_comes_back_after_two_answers() {
    let mut bench = Bench::new();
    bench.see_slice("web-1", Some(slice(&["10.0.0.1", "10.0.0.2"])));
    assert_eq!(bench.answering(), ["10.0.0.1", "10.0.0.2"], "nothing is known against them");
    bench.run(SECOND);
    assert_eq!(bench.asked, ["10.0.0.1:8080", "10.0.0.2:8080"], "TCP ports only, at once");
    bench.dead.insert("10.0.0.2");
    bench.run(2 * SECOND);
    assert_eq!(bench.answering().len(), 2, "one failure is no failure");
    bench.run(2 * SECOND);
    assert_eq!(bench.answering(), ["10.0.0.1"]);
    bench.dead.clear();
    bench.run(2 * SECOND);
    assert_eq!(bench.answering(), ["10.0.0.1"], "one answer is no answer");
    bench.run(2 * SECOND);
    assert_eq!(bench.answering().len(), 2);
    assert_eq!(bench.changes, [("10.0.0.2:8080".into(), false), ("10.0.0.2:8080".into(), true)]);
}

#[test]
fn the_first_answer_counts_at_once() {
    let mut bench = Bench::new();
    bench.dead.insert("10.0.0.2");
    bench.see_slice("web-1", Some(slice(&["10.0.0.1", "10.0.0.2"])));
    bench.run(SECOND);
    assert_eq!(bench.answering(), ["10.0.0.1"]);
}

#[test]
fn a_new_version_of_a_slice_does_not_forget_who_is_dead() {
    let mut bench = Bench::new();
    bench.dead.insert("10.0.0.2");
    bench.see_slice("web-1", Some(slice(&["10.0.0.1", "10.0.0.2"])));
    bench.run(SECOND);
    bench.see_slice("web-1", Some(slice(&["10.0.0.2", "10.0.0.3"])));
    assert_eq!(bench.answering(), ["10.0.0.3"]);
    bench.run(SECOND);
    assert!(bench.health.targets().all(|(target, _)| target.address.ip().to_string() != "10.0.0.1"));
    bench.see_slice("web-1", None);
    assert_eq!((bench.health.targets().count(), bench.health.poll_timeout()), (0, None));
}

#[test]
fn two_slices_share_a_target() {
    let mut bench = Bench::new();
    bench.see_slice("web-1", Some(slice(&["10.0.0.1"])));
    bench.see_slice("web-2", Some(slice(&["10.0.0.1"])));
    bench.run(SECOND);
    assert_eq!(bench.asked, ["10.0.0.1:8080"]);
    bench.see_slice("web-1", None);
    bench.dead.insert("10.0.0.1");
    bench.run(4 * SECOND);
    assert_eq!(bench.answering(), [""; 0]);
}

#[test]
fn the_annotation_says_how_to_ask() {
    let mut bench = Bench::new();
    bench.dead.insert("10.0.0.1");
    bench.see_slice("web-1", Some(slice(&["10.0.0.1"])));
    bench.run(SECOND);
    assert_eq!(bench.answering(), [""; 0]);
    bench.annotate(Ok(HealthCheck::None));
    assert_eq!(bench.answering(), ["10.0.0.1"], "nobody asks");
    let before = bench.asked.len();
    bench.run(10 * SECOND);
    assert_eq!(bench.asked.len(), before);
    bench.annotate(Ok(HealthCheck::Http("/ready".into())));
    let asks: Vec<HealthCheck> = bench.health.targets().map(|(target, _)| target.check.clone()).collect();
    assert_eq!(asks, [HealthCheck::Http("/ready".into())]);
    bench.annotate(Err("ping".into()));
    assert_eq!(bench.unreadable, ["ping".into()]);
    assert!(bench.health.targets().all(|(target, _)| target.check == HealthCheck::Tcp));
}

#[test]
fn a_question_is_open_once_and_late_answers_do_no_harm() {
    let mut health = Health::new(Timing::default());
    health.observe(Observation::EndpointSlice(key("web-1"), Some(slice(&["10.0.0.1"]))), Instant::ZERO);
    health.handle_timeout(Instant::ZERO);
    health.handle_timeout(Instant::ZERO + 60 * SECOND);
    let asked: Vec<Target> = std::iter::from_fn(|| health.next_command())
        .filter_map(|command| match command {
            Command::Ask(target) => Some(target),
            Command::Tell(_) | Command::Changed { .. } | Command::Unreadable { .. } => None,
        })
        .collect();
    assert_eq!(asked.len(), 1, "no second question before the first is answered");
    health.handle_answer(&asked[0], false, Instant::ZERO + 60 * SECOND);
    health.handle_answer(&asked[0], true, Instant::ZERO + 60 * SECOND);
    assert_eq!(health.targets().next().map(|(_, up)| up), Some(Some(false)), "an answer to nothing");
}
