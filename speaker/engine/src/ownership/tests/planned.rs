//! Moves that people ask for, and fail-back.

use landfall_model::{PreferredNode, TrafficPolicy};

use super::*;

impl Fleet {
    /// A person changes the annotation of the Service, and all nodes see it.
    pub(super) fn prefer(&mut self, node: Option<&str>, requested: &str) {
        let mut web = service("web", &[ADDRESS]);
        web.requests.preferred_node =
            node.map(|node| PreferredNode { node: node.into(), requested: requested.into() });
        self.cluster.observe(see_service(web));
        for (service, node) in self.cluster.take_touched().moves {
            for ownership in self.nodes.values_mut() {
                ownership.ask(service.clone(), node.clone());
            }
        }
    }

    /// Everybody evaluates and hears what comes of it, until nothing does any more.
    fn go_round(&mut self) {
        let told = |fleet: &mut Self, name: &str| {
            for other in NAMES.into_iter().filter(|other| *other != name) {
                sync(fleet, name, other);
            }
        };
        NAMES.into_iter().for_each(|name| told(self, name));
        loop {
            let before = NAMES.map(|name| self.epoch(name));
            for name in NAMES {
                self.evaluate(name);
                told(self, name);
            }
            if NAMES.map(|name| self.epoch(name)) == before {
                return;
            }
        }
    }

    /// So much time passes, and who has to do something then does it.
    pub(super) fn live(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.go_round();
            let next = self.nodes.values().filter_map(Ownership::poll_timeout).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            for name in NAMES {
                let now = self.now;
                let node = self.nodes.get_mut(name).unwrap();
                drop((node.take_lapsed(now), node.take_due(now)));
            }
        }
        self.now = end;
    }

    /// The node that `fir` knows to be asked for, and why that one does not take over from it.
    fn waits_for(&self) -> (String, Option<Reason>) {
        let id = self.cluster.groups().of(ip(ADDRESS)).unwrap();
        let appraisal = self.cluster.appraise(id).unwrap();
        let waits = self.nodes["fir"].requested(&appraisal).unwrap();
        (waits.node.to_owned(), appraisal.refusal(waits, "fir"))
    }

    /// The one owner that all agree on.
    pub(super) fn owner(&self) -> &'static str {
        let mine: Vec<_> = NAMES.into_iter().filter(|name| self.epoch(name).is_some()).collect();
        assert_eq!(mine.len(), 1, "owners: {mine:?}");
        for name in NAMES {
            assert_eq!(self.nodes[name].holder(ip(ADDRESS)).map(|(node, _)| node), Some(mine[0]));
        }
        mine[0]
    }

    /// Why each change of the owner was told by a node.
    fn reasons(&mut self, name: &str) -> Vec<Reason> {
        std::iter::from_fn(|| self.owner_event(name)).map(|(_, _, reason)| reason).collect()
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn settled() -> Fleet {
    settled_with(|_| None)
}

fn settled_with(delay: impl Fn(&str) -> Option<Duration>) -> Fleet {
    let mut fleet = Fleet::with_fail_back(delay);
    fleet.live(SECOND);
    assert_eq!(fleet.owner(), "fir");
    fleet
}

#[test]
fn who_is_asked_for_takes_it_and_the_owner_answers_until_then() {
    let mut fleet = settled();
    fleet.prefer(Some("oak"), "");
    assert_eq!(fleet.evaluate("fir"), Role::Owner);
    assert_eq!(fleet.evaluate("elm"), Role::Bystander);
    assert_eq!(fleet.nodes["elm"].poll_timeout(), None, "it is not meant");
    assert_eq!(fleet.evaluate("oak"), Role::Owner);
    assert_eq!(fleet.epoch("oak"), Some(2));
    fleet.tell("oak", &["fir", "elm"]);
    assert_eq!(fleet.evaluate("fir"), Role::Bystander, "silent in the step in which it hears of the claim");
    assert_eq!(fleet.epoch("fir"), None);
    assert_eq!(fleet.evaluate("elm"), Role::Bystander);
    for name in NAMES {
        assert_eq!(fleet.reasons(name), [Reason::Owner, Reason::MoveRequested], "{name}");
    }
    fleet.live(SECOND * 60);
    assert_eq!((fleet.owner(), fleet.epoch("oak")), ("oak", Some(2)));
}

#[test]
fn a_request_is_made_once() {
    let mut fleet = settled();
    fleet.prefer(Some("oak"), "1");
    fleet.live(SECOND * 11);
    assert_eq!(fleet.owner(), "oak");
    // Its node dies and returns: the best of the others keeps it, although oak is preferred still.
    fleet.set_state("oak", MemberState::Dead);
    for _ in 0..2 {
        for name in ["fir", "elm"] {
            fleet.evaluate(name);
        }
        sync(&mut fleet, "fir", "elm");
    }
    fleet.set_state("oak", MemberState::Alive { settled: true });
    fleet.live(SECOND * 60);
    assert_eq!(fleet.owner(), "fir");
    // Asked for again, with the same name.
    fleet.prefer(Some("oak"), "2");
    fleet.live(SECOND);
    assert_eq!(fleet.owner(), "oak");
    fleet.prefer(None, "");
    fleet.live(SECOND * 60);
    assert_eq!(fleet.owner(), "oak", "to take it back moves nothing");
}

#[test]
fn what_is_asked_for_when_a_process_begins_is_no_request() {
    let mut fleet = settled();
    let mut cluster = Cluster::new(Settings::default());
    let mut web = service("web", &[ADDRESS]);
    web.requests.preferred_node = Some(PreferredNode { node: "oak".into(), requested: "now".into() });
    cluster.observe(see_service(web.clone()));
    cluster.observe(Observation::Synced);
    assert!(cluster.take_touched().moves.is_empty(), "it was listed");
    cluster.observe(see_service(web));
    assert!(cluster.take_touched().moves.is_empty(), "nothing changed");
    // And a preference alone moves nothing.
    fleet.prefer(Some("oak"), "");
    for name in NAMES {
        fleet.nodes.get_mut(name).unwrap().ask(key("web"), None);
    }
    fleet.live(SECOND * 60);
    assert_eq!(fleet.owner(), "fir");
}

#[test]
fn who_cannot_take_it_is_waited_for_until_another_is_asked_for() {
    let mut fleet = settled();
    fleet.exclude("oak");
    fleet.prefer(Some("oak"), "");
    fleet.live(SECOND * 60);
    assert_eq!(fleet.owner(), "fir");
    let id = fleet.cluster.groups().of(ip(ADDRESS)).unwrap();
    assert_eq!(fleet.waits_for(), ("oak".to_owned(), Some(Reason::NodeExcluded)));
    fleet.cluster.observe(see_node(node("oak")));
    assert_eq!(fleet.nodes["oak"].concerned("oak"), BTreeSet::from([id]));
    fleet.live(SECOND);
    assert_eq!(fleet.owner(), "oak");

    let mut fleet = settled();
    fleet.prefer(Some("nobody"), "");
    assert_eq!(fleet.waits_for(), ("nobody".to_owned(), Some(Reason::UnknownNode)));
    fleet.live(SECOND);
    fleet.prefer(Some("elm"), "");
    fleet.live(SECOND);
    assert_eq!(fleet.owner(), "elm");
}

#[test]
fn an_owner_that_sees_things_late_delays_a_move_and_one_that_never_does_is_left_alone() {
    let mut fleet = settled();
    fleet.prefer(Some("oak"), "");
    // fir still thinks that oak is excluded.
    let contest = |fleet: &mut Fleet| {
        fleet.evaluate("oak");
        sync(fleet, "oak", "fir");
        fleet.exclude("oak");
        fleet.evaluate("fir");
        sync(fleet, "fir", "oak");
        fleet.cluster.observe(see_node(node("oak")));
        fleet.evaluate("oak")
    };
    assert_eq!(contest(&mut fleet), Role::Bystander);
    assert_eq!(fleet.nodes["oak"].poll_timeout(), Some(fleet.now + SECOND));
    let mut late = Fleet { cluster: fleet.cluster.clone(), nodes: fleet.nodes.clone(), now: fleet.now };
    late.live(SECOND * 2);
    assert_eq!(late.owner(), "oak");
    let mut tries = 1;
    while fleet.nodes["oak"].poll_timeout().is_some() {
        fleet.pass(60_000);
        assert_eq!(contest(&mut fleet), Role::Bystander);
        tries += 1;
        assert!(tries < 10, "without an end");
    }
    assert_eq!(tries, 7);
    fleet.live(SECOND * 600);
    assert_eq!(fleet.owner(), "fir", "a person has to ask again");
}

#[test]
fn nothing_moves_to_a_node_that_serves_worse() {
    let mut fleet = settled();
    let mut sick = node("oak");
    sick.ready = false;
    fleet.cluster.observe(see_node(sick));
    fleet.prefer(Some("oak"), "");
    fleet.live(SECOND * 60);
    assert_eq!(fleet.owner(), "fir");
    assert_eq!(fleet.waits_for(), ("oak".to_owned(), Some(Reason::WorseThanOwner)));
    fleet.cluster.observe(see_node(node("oak")));
    fleet.live(SECOND);
    assert_eq!(fleet.owner(), "oak");
}

#[test]
fn a_preferred_node_is_first_in_the_line_of_successors() {
    let mut fleet = Fleet::new();
    fleet.prefer(Some("oak"), "");
    assert_eq!(fleet.evaluate("fir"), Role::Bystander, "it waits for its turn");
    assert_eq!(fleet.nodes["fir"].poll_timeout(), Some(fleet.now + STEP));
    assert_eq!(fleet.evaluate("oak"), Role::Owner);
}

/// Endpoints of a Service with policy Local: where they are, and whether each is ready or terminates.
fn local_endpoints(fleet: &mut Fleet, endpoints: &[(&str, bool)]) {
    let nodes: Vec<&str> = endpoints.iter().map(|(node, _)| *node).collect();
    let mut slice = slice("web", &nodes);
    for (endpoint, (_, ready)) in slice.endpoints.iter_mut().zip(endpoints) {
        endpoint.ready = *ready;
    }
    fleet.cluster.observe(see_slice(slice));
}

#[test]
fn an_owner_whose_endpoints_terminate_answers_until_one_with_a_ready_endpoint_does() {
    let mut fleet = settled();
    let mut web = service("web", &[ADDRESS]);
    web.traffic_policy = TrafficPolicy::Local;
    fleet.cluster.observe(see_service(web));
    local_endpoints(&mut fleet, &[("fir", true), ("fir", true)]);
    fleet.live(SECOND);
    for (endpoints, owner) in [
        (&[("fir", true), ("fir", false), ("oak", true)][..], "fir"),
        // The last one terminates, and nobody else has any.
        (&[("fir", false)], "fir"),
        (&[("fir", false), ("elm", false)], "fir"),
        (&[("fir", false), ("elm", false), ("oak", true)], "oak"),
        (&[("fir", true), ("oak", true)], "oak"),
    ] {
        local_endpoints(&mut fleet, endpoints);
        if owner == "oak" {
            assert_ne!(fleet.evaluate("fir"), Role::Yielding, "it has no reason to be in a hurry");
            assert_eq!(fleet.epoch("fir").is_some(), endpoints.len() == 3, "it answers until oak does");
        }
        fleet.live(SECOND * 5);
        assert_eq!(fleet.owner(), owner, "{endpoints:?}");
    }
    assert!(fleet.reasons("elm").ends_with(&[Reason::BetterNode]));
}

#[test]
fn without_fail_back_whoever_returns_takes_nothing() {
    let mut fleet = settled();
    fleet.exclude("fir");
    fleet.live(SECOND);
    assert_eq!(fleet.owner(), "elm");
    fleet.cluster.observe(see_node(node("fir")));
    fleet.live(SECOND * 3_600);
    assert_eq!(fleet.owner(), "elm");
}

#[test]
fn with_fail_back_the_best_takes_it_back_when_it_was_there_for_long_enough() {
    let mut fleet = settled_with(|_| Some(SECOND * 10));
    fleet.exclude("fir");
    fleet.live(SECOND);
    assert_eq!(fleet.owner(), "elm");
    let id = fleet.cluster.groups().of(ip(ADDRESS)).unwrap();
    assert!(fleet.nodes["fir"].concerned("fir").contains(&id));
    fleet.cluster.observe(see_node(node("fir")));
    fleet.live(SECOND * 9);
    assert_eq!(fleet.owner(), "elm");
    // Away for a moment: it begins anew.
    fleet.exclude("fir");
    fleet.live(SECOND / 10);
    fleet.cluster.observe(see_node(node("fir")));
    fleet.live(SECOND * 9);
    assert_eq!(fleet.owner(), "elm");
    fleet.live(SECOND);
    assert_eq!(fleet.owner(), "fir");
    assert_eq!(fleet.reasons("oak").last(), Some(&Reason::BetterNode));
    fleet.live(SECOND * 3_600);
    assert_eq!((fleet.owner(), fleet.epoch("fir")), ("fir", Some(3)));
}

#[test]
fn its_own_setting_counts_for_the_node_that_would_take_it_back() {
    // The best has fail-back off, and the second best has it on and is not the best.
    let mut fleet = settled_with(|name| (name == "elm").then_some(SECOND));
    for away in ["fir", "elm"] {
        fleet.exclude(away);
        fleet.live(SECOND);
    }
    assert_eq!(fleet.owner(), "oak");
    for back in ["fir", "elm"] {
        fleet.cluster.observe(see_node(node(back)));
    }
    fleet.live(SECOND * 60);
    assert_eq!(fleet.owner(), "oak");
    fleet.exclude("fir");
    fleet.live(SECOND * 2);
    assert_eq!(fleet.owner(), "elm", "now it is the best");
}

#[test]
fn two_views_of_who_is_best_do_not_fight_for_ever() {
    for (fir, elm) in [(1, 1), (1, 30), (30, 1), (0, 0), (600, 7)] {
        let delays = move |name: &str| Some(SECOND * if name == "fir" { fir } else { elm });
        let mut fleet = settled_with(delays);
        let start = fleet.now;
        let mut moves = Vec::new();
        let mut last = "fir";
        // Each believes that it is the one that is preferred, as where the manifests of two machines differ.
        while fleet.now.since(start) < SECOND * 1_500 {
            for name in ["elm", "fir"] {
                fleet.prefer(Some(name), "");
                for ownership in fleet.nodes.values_mut() {
                    ownership.ask(key("web"), None);
                }
                fleet.evaluate(name);
                let others: Vec<_> = NAMES.into_iter().filter(|other| *other != name).collect();
                others.iter().for_each(|other| sync(&mut fleet, name, other));
                if fleet.epoch(name).is_some() && last != name {
                    last = name;
                    moves.push(fleet.now.since(start).as_secs());
                }
            }
            fleet.pass(2_500);
        }
        assert!(!moves.is_empty() && moves.len() <= 3, "{fir} s and {elm} s: moved after {moves:?} s");
    }
}
