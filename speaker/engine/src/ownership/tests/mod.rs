mod planned;
mod properties;

use std::collections::BTreeMap;

use landfall_model::{EXCLUDE_LABEL, Observation};

use super::*;
use crate::{
    cluster::{Cluster, Member, Merit, Settings},
    links::LinkSummary,
    membership::MemberState,
    objects::{
        advertisement, ip, key, node, pool, see_advertisement, see_node, see_pool, see_service, see_slice,
        service, slice,
    },
};

fn order<'a>(nodes: &[&'a str], address: &str) -> Vec<&'a str> {
    let mut ranks: Vec<_> = nodes.iter().map(|node| Rank::new(node, ip(address), Merit::default())).collect();
    ranks.sort();
    ranks.iter().map(Rank::node).collect()
}

/// Computed with another implementation of SHA-256. The owners of .1 to .11 go 9:2:0, as MetalLB's do.
#[test]
fn the_order_is_metallbs() {
    for (address, expected) in [
        ("198.51.100.1", ["fir", "elm", "oak"]),
        ("198.51.100.2", ["fir", "oak", "elm"]),
        ("198.51.100.3", ["fir", "elm", "oak"]),
        ("198.51.100.4", ["fir", "oak", "elm"]),
        ("198.51.100.5", ["fir", "oak", "elm"]),
        ("198.51.100.6", ["fir", "oak", "elm"]),
        ("198.51.100.7", ["fir", "elm", "oak"]),
        ("198.51.100.8", ["elm", "fir", "oak"]),
        ("198.51.100.9", ["fir", "elm", "oak"]),
        ("198.51.100.10", ["elm", "fir", "oak"]),
        ("198.51.100.11", ["fir", "elm", "oak"]),
        ("2001:db8::1", ["fir", "elm", "oak"]),
        ("2001:DB8:0:1:0::", ["fir", "oak", "elm"]),
        ("fd00::a:0:0:b", ["elm", "oak", "fir"]),
        ("192.0.2.1", ["oak", "fir", "elm"]),
        ("::ffff:192.0.2.1", ["oak", "fir", "elm"]),
    ] {
        assert_eq!(order(&["oak", "elm", "fir"], address), expected, "{address}");
        assert_eq!(order(&["fir", "elm", "oak"], address), expected, "{address}");
    }
    let digest = digest("oak", ip("2001:db8::1"));
    assert_eq!(digest[..4], [0xd8, 0xa7, 0x1c, 0x08]);
}

#[test]
fn every_situation_has_its_decision() {
    let ms = Duration::from_millis;
    let zero = Duration::ZERO;
    let (none, best, third) = (None, Some(0), Some(2));
    use Decision::{Hold, Leave, Release, Take, Wait, Yield};
    use Holder::{Me, Nobody, Other};
    // Holder, keeps, position, candidates, since, damped.
    let rows = [
        ((Me, true, none, true, zero, zero), Hold),
        ((Me, true, none, true, ms(5_000), ms(5_000)), Hold),
        ((Me, false, none, true, zero, zero), Yield(ms(1_000))),
        ((Me, false, none, true, ms(999), zero), Yield(ms(1))),
        ((Me, false, none, true, ms(1_000), zero), Release),
        ((Me, false, none, false, zero, zero), Release),
        ((Other, true, none, true, zero, zero), Leave),
        ((Other, true, none, true, ms(9_000), zero), Leave),
        ((Other, true, best, true, ms(9_000), zero), Leave),
        ((Other, false, none, true, ms(9_000), zero), Leave),
        ((Other, false, none, false, zero, zero), Leave),
        ((Other, false, best, true, zero, zero), Take),
        ((Other, false, best, true, zero, ms(700)), Wait(ms(700))),
        ((Other, false, best, true, ms(9_000), ms(700)), Wait(ms(700))),
        ((Other, false, third, true, zero, zero), Wait(ms(200))),
        ((Other, false, third, true, zero, ms(700)), Wait(ms(700))),
        ((Other, false, third, true, ms(150), zero), Wait(ms(50))),
        ((Other, false, third, true, ms(200), zero), Take),
        ((Nobody, false, none, true, ms(9_000), zero), Leave),
        ((Nobody, false, none, false, zero, zero), Leave),
        ((Nobody, false, best, true, zero, zero), Take),
        ((Nobody, false, best, true, zero, ms(700)), Take),
        ((Nobody, false, third, true, ms(199), ms(700)), Wait(ms(1))),
        ((Nobody, false, third, true, ms(200), zero), Take),
        ((Nobody, false, Some(u32::MAX), true, ms(1_999), zero), Wait(ms(1))),
        ((Nobody, false, Some(u32::MAX), true, ms(2_000), zero), Take),
    ];
    for ((holder, keeps, position, candidates, since, damped), expected) in rows {
        let situation = Situation { holder, keeps, due: None, position, candidates, since, damped };
        assert_eq!(decide(situation), expected, "{situation:?}");
        // That it is due matters only where another node lives and may keep it.
        let due = Situation { due: Some(zero), ..situation };
        let expected = match (holder, keeps) {
            (Other, true) => Take,
            (Me | Nobody | Other, _) => expected,
        };
        assert_eq!(decide(due), expected, "{due:?}");
    }
    for (due, damped, expected) in [
        (zero, ms(700), Wait(ms(700))),
        (ms(300), zero, Wait(ms(300))),
        (ms(300), ms(700), Wait(ms(700))),
        (ms(900), ms(700), Wait(ms(900))),
    ] {
        let (holder, keeps, position, candidates, since) = (Other, true, none, true, zero);
        let situation = Situation { holder, keeps, due: Some(due), position, candidates, since, damped };
        assert_eq!(decide(situation), expected, "{situation:?}");
    }
}

/// Some nodes that share one view of the cluster, and pass claims by hand.
struct Fleet {
    cluster: Cluster,
    nodes: BTreeMap<&'static str, Ownership>,
    now: Instant,
}

/// From, to, why.
type Change = (Option<Box<str>>, Option<Box<str>>, Reason);

const ADDRESS: &str = "198.51.100.1";

impl Fleet {
    /// `fir`, `elm` and `oak`, which is their rank for [`ADDRESS`], and a Service with that address.
    fn new() -> Self {
        Self::with_fail_back(|_| None)
    }

    fn with_fail_back(delay: impl Fn(&str) -> Option<Duration>) -> Self {
        let mut cluster = Cluster::new(Settings::default());
        let mut nodes = BTreeMap::new();
        for name in ["fir", "elm", "oak"] {
            cluster.observe(see_node(node(name)));
            nodes.insert(name, Ownership::new(name, delay(name)));
        }
        cluster.observe(see_pool(pool("lan", &["198.51.100.0/24"])));
        cluster.observe(see_advertisement(advertisement("all")));
        cluster.observe(see_slice(slice("web", &["oak"])));
        cluster.observe(see_service(service("web", &[ADDRESS])));
        cluster.observe(Observation::Synced);
        let mut fleet = Self { cluster, nodes, now: Instant::from_micros(1) };
        for name in ["fir", "elm", "oak"] {
            fleet.set_state(name, MemberState::Alive { settled: true });
        }
        fleet
    }

    fn set_state(&mut self, name: &'static str, state: MemberState) {
        self.set_link(name, state, "198.51.100.0/24");
    }

    fn set_link(&mut self, name: &'static str, state: MemberState, prefix: &str) {
        let link = LinkSummary {
            name: "eth0".into(),
            prefixes: vec![prefix.parse().unwrap()],
            default_v4: true,
            default_v6: false,
            arp: true,
            ndp: true,
            mac: None,
        };
        self.cluster.set_member(
            name,
            Some(Member { links: Some(vec![link]), node_port: true, ..Member::unread(state) }),
        );
        for (other, ownership) in &mut self.nodes {
            if *other != name {
                ownership.set_heard(name, state.is_heard());
            }
        }
    }

    fn evaluate(&mut self, name: &str) -> Role {
        let id = self.cluster.groups().of(ip(ADDRESS)).unwrap();
        let appraisal = self.cluster.appraise(id).unwrap();
        self.nodes.get_mut(name).unwrap().evaluate(id, &appraisal, self.now)
    }

    /// Tells `to` what changed in the claims of `from` since the last time that anybody was told.
    fn tell(&mut self, from: &str, to: &[&str]) {
        let changes = self.nodes.get_mut(from).unwrap().take_changes();
        for name in to {
            self.nodes.get_mut(*name).unwrap().set_claims(from, &changes, true, self.now);
        }
    }

    fn epoch(&self, name: &str) -> Option<u64> {
        self.nodes[name].mine().get(&ip(ADDRESS)).map(|claim| claim.epoch.0)
    }

    fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    fn exclude(&mut self, name: &str) {
        let mut excluded = node(name);
        excluded.labels.insert(EXCLUDE_LABEL.to_owned(), String::new());
        self.cluster.observe(see_node(excluded));
    }

    fn owner_event(&mut self, name: &str) -> Option<Change> {
        match self.nodes.get_mut(name).unwrap().next_event()? {
            Event::Owner { from, to, reason, .. } => Some((from, to, reason)),
            Event::Defend(_) => None,
        }
    }
}

#[test]
fn the_best_takes_at_once_and_the_next_waits_for_its_turn() {
    let mut fleet = Fleet::new();
    assert_eq!(fleet.evaluate("elm"), Role::Bystander);
    assert_eq!(fleet.nodes["elm"].poll_timeout(), Some(fleet.now + STEP));
    assert_eq!(fleet.evaluate("oak"), Role::Bystander);
    assert_eq!(fleet.nodes["oak"].poll_timeout(), Some(fleet.now + STEP * 2));
    assert_eq!(fleet.evaluate("fir"), Role::Owner);
    assert_eq!(fleet.epoch("fir"), Some(1));
    assert_eq!(fleet.owner_event("fir"), Some((None, Some("fir".into()), Reason::Owner)));

    fleet.tell("fir", &["elm"]);
    assert_eq!(fleet.evaluate("elm"), Role::Bystander);
    assert_eq!(fleet.nodes["elm"].poll_timeout(), None, "the claim was seen");
    // The other one does not hear of it, for whatever reason.
    fleet.pass(200);
    assert_eq!(fleet.nodes.get_mut("oak").unwrap().take_due(fleet.now).len(), 1);
    assert_eq!(fleet.evaluate("oak"), Role::Owner);
    // Both claimed with epoch 1: the rank decides, and everybody sees the same.
    fleet.nodes.get_mut("oak").unwrap().set_claims("fir", &BTreeMap::from([claim(1)]), true, fleet.now);
    fleet.tell("oak", &["fir", "elm"]);
    assert_eq!(fleet.evaluate("oak"), Role::Bystander);
    assert_eq!(fleet.epoch("oak"), None);
    assert_eq!(fleet.evaluate("fir"), Role::Owner);
    assert_eq!(fleet.epoch("fir"), Some(1), "the winner need not claim again");
    assert_eq!(fleet.nodes.get_mut("fir").unwrap().next_event(), Some(Event::Defend(ip(ADDRESS))));
}

#[test]
fn the_turns_are_counted_from_the_first_candidate_on() {
    let mut fleet = Fleet::new();
    fleet.cluster.observe(see_slice(slice("web", &[])));
    assert_eq!(fleet.evaluate("elm"), Role::Bystander);
    // As long as it takes until an endpoint is ready.
    fleet.pass(5_000);
    fleet.cluster.observe(see_slice(slice("web", &["oak"])));
    assert_eq!(fleet.evaluate("elm"), Role::Bystander, "it is not its turn");
    assert_eq!(fleet.nodes["elm"].poll_timeout(), Some(fleet.now + STEP));
    assert_eq!(fleet.evaluate("fir"), Role::Owner);
}

fn claim(epoch: u64) -> (IpAddr, Option<Claim>) {
    (ip(ADDRESS), Some(Claim { epoch: Epoch(epoch) }))
}

#[test]
fn a_returning_node_takes_nothing_back() {
    let mut fleet = Fleet::new();
    fleet.evaluate("fir");
    fleet.tell("fir", &["elm", "oak"]);
    fleet.evaluate("elm");
    fleet.set_state("fir", MemberState::Dead);
    assert_eq!(fleet.evaluate("elm"), Role::Owner);
    assert_eq!(fleet.epoch("elm"), Some(2));
    fleet.owner_event("elm");
    assert_eq!(
        fleet.owner_event("elm"),
        Some((Some("fir".into()), Some("elm".into()), Reason::SpeakerNotAlive))
    );

    fleet.set_state("fir", MemberState::Alive { settled: false });
    fleet.tell("elm", &["fir", "oak"]);
    assert_eq!(fleet.evaluate("fir"), Role::Bystander, "its old claim loses in the same step");
    assert_eq!(fleet.epoch("fir"), None);
    fleet.set_state("fir", MemberState::Alive { settled: true });
    assert_eq!(fleet.evaluate("fir"), Role::Bystander);
    assert_eq!(fleet.evaluate("elm"), Role::Owner);
}

#[test]
fn a_node_on_the_segment_takes_it_from_one_that_has_only_a_route() {
    let alive = MemberState::Alive { settled: true };
    let mut fleet = Fleet::new();
    fleet.set_link("fir", alive, "192.0.2.0/24");
    fleet.set_state("elm", MemberState::Dead);
    fleet.set_link("oak", alive, "192.0.2.0/24");
    assert_eq!(fleet.evaluate("fir"), Role::Owner, "nobody is better placed");
    fleet.tell("fir", &["elm", "oak"]);
    for name in ["elm", "oak"] {
        assert_eq!(fleet.evaluate(name), Role::Bystander);
    }
    // The one whose subnet holds the address returns.
    fleet.set_state("elm", alive);
    assert_eq!(fleet.nodes["elm"].concerned("elm").len(), 1);
    assert_eq!(fleet.evaluate("fir"), Role::Owner, "it answers until the other one does");
    assert_eq!(fleet.evaluate("oak"), Role::Bystander);
    assert_eq!(fleet.evaluate("elm"), Role::Owner);
    fleet.tell("elm", &["fir", "oak"]);
    for name in ["fir", "oak"] {
        assert_eq!(fleet.evaluate(name), Role::Bystander);
        assert!(fleet.nodes[name].concerned(name).is_empty(), "and that is the end of it");
    }
}

#[test]
fn an_owner_that_may_not_keep_it_answers_until_the_successor_does() {
    let mut fleet = Fleet::new();
    fleet.evaluate("fir");
    fleet.tell("fir", &["elm", "oak"]);
    fleet.exclude("fir");
    assert_eq!(fleet.evaluate("fir"), Role::Yielding);
    assert_eq!(fleet.epoch("fir"), Some(1));
    assert_eq!(fleet.evaluate("oak"), Role::Bystander, "it is the second in the line of successors");
    assert_eq!(fleet.nodes["oak"].poll_timeout(), Some(fleet.now + STEP));
    assert_eq!(fleet.evaluate("elm"), Role::Owner);
    fleet.tell("elm", &["fir", "oak"]);
    assert_eq!(fleet.evaluate("fir"), Role::Bystander);
    assert_eq!(fleet.epoch("fir"), None);

    // No successor claims: it stops after a second.
    let mut fleet = Fleet::new();
    fleet.evaluate("fir");
    fleet.exclude("fir");
    fleet.evaluate("fir");
    fleet.pass(1_000);
    assert_eq!(fleet.nodes.get_mut("fir").unwrap().take_due(fleet.now).len(), 1);
    assert_eq!(fleet.evaluate("fir"), Role::Bystander);
    assert_eq!(fleet.epoch("fir"), None);
}

#[test]
fn without_any_candidate_the_owner_stops_at_once() {
    let mut fleet = Fleet::new();
    fleet.evaluate("fir");
    fleet.owner_event("fir");
    fleet.cluster.observe(see_slice(slice("web", &[])));
    assert_eq!(fleet.evaluate("fir"), Role::Bystander);
    assert_eq!(fleet.owner_event("fir"), Some((Some("fir".into()), None, Reason::NoEndpoints)));
    fleet.cluster.observe(see_slice(slice("web", &["oak"])));
    assert_eq!(fleet.evaluate("fir"), Role::Owner);
    assert_eq!(fleet.epoch("fir"), Some(2), "epochs go on rising");
}

#[test]
fn a_member_that_is_not_settled_keeps_and_does_not_take() {
    let mut fleet = Fleet::new();
    fleet.set_state("fir", MemberState::Alive { settled: false });
    assert_eq!(fleet.evaluate("elm"), Role::Owner, "fir is the last one to ask");
    let mut fleet = Fleet::new();
    for node in ["elm", "oak"] {
        fleet.set_state(node, MemberState::Dead);
    }
    fleet.set_state("fir", MemberState::Alive { settled: false });
    assert_eq!(fleet.evaluate("fir"), Role::Owner, "and serves when there is no other");
    let mut fleet = Fleet::new();
    fleet.evaluate("fir");
    fleet.tell("fir", &["elm", "oak"]);
    for state in [MemberState::Alive { settled: false }, MemberState::Degraded] {
        fleet.set_state("fir", state);
        assert_eq!(fleet.evaluate("elm"), Role::Bystander);
        assert_eq!(fleet.nodes["elm"].poll_timeout(), None);
    }
}

#[test]
fn two_views_that_contradict_each_other_do_not_fight_for_ever() {
    let mut fleet = Fleet::new();
    fleet.evaluate("fir");
    fleet.tell("fir", &["elm", "oak"]);
    // elm believes that fir is excluded; fir does not know of it and believes the same of elm.
    let mut moves = 0;
    let start = fleet.now;
    while fleet.now.since(start) < Duration::from_secs(60) {
        for (node, enemy) in [("elm", "fir"), ("fir", "elm")] {
            fleet.cluster.observe(see_node(self::node(node)));
            fleet.exclude(enemy);
            let before = fleet.epoch(node);
            fleet.evaluate(node);
            if fleet.epoch(node) != before && fleet.epoch(node).is_some() {
                moves += 1;
            }
            fleet.tell(
                node,
                &["fir", "elm", "oak"].into_iter().filter(|name| *name != node).collect::<Vec<_>>(),
            );
        }
        fleet.pass(50);
    }
    assert!(moves > 2, "they do contradict each other");
    assert!(moves < 16, "moved {moves} times in a minute");
}

#[test]
fn claims_follow_addresses_when_groups_merge_and_split() {
    let mut fleet = Fleet::new();
    let second = ip("198.51.100.8");
    fleet.cluster.observe(see_slice(slice("other", &["oak"])));
    fleet.cluster.observe(see_service(service("other", &["198.51.100.8"])));
    assert_eq!(fleet.evaluate("fir"), Role::Owner);
    let other = fleet.cluster.groups().of(second).unwrap();
    let appraisal = fleet.cluster.appraise(other).unwrap();
    assert_eq!(fleet.nodes.get_mut("elm").unwrap().evaluate(other, &appraisal, fleet.now), Role::Owner);
    fleet.tell("fir", &["elm", "oak"]);
    fleet.tell("elm", &["fir", "oak"]);

    // The first Service, which is the older by its key, now uses both.
    let mut both = service("web", &[ADDRESS, "198.51.100.8"]);
    both.created = 1;
    fleet.cluster.observe(see_service(both));
    assert_eq!(fleet.evaluate("elm"), Role::Yielding, "it answers until fir claims the second address");
    assert!(fleet.nodes["elm"].mine().contains_key(&second));
    assert_eq!(fleet.evaluate("fir"), Role::Owner);
    assert_eq!(fleet.nodes["fir"].mine()[&second].epoch, Epoch(2));
    fleet.tell("fir", &["elm", "oak"]);
    assert_eq!(fleet.evaluate("elm"), Role::Bystander);
    assert!(fleet.nodes["elm"].mine().is_empty());

    fleet.cluster.observe(Observation::Service(key("web"), None));
    let touched = fleet.cluster.take_touched();
    assert!(touched.orphans.contains(&ip(ADDRESS)));
    let fir = fleet.nodes.get_mut("fir").unwrap();
    touched.gone.iter().for_each(|id| fir.forget_group(*id));
    fir.abandon(ip(ADDRESS));
    let other = fleet.cluster.groups().of(second).unwrap();
    let appraisal = fleet.cluster.appraise(other).unwrap();
    assert_eq!(fir.evaluate(other, &appraisal, fleet.now), Role::Owner, "the claim stayed with its address");
    assert_eq!(fir.mine().keys().copied().collect::<Vec<_>>(), [second]);
}

const NAMES: [&str; 3] = ["fir", "elm", "oak"];

/// All claims of one node reach another.
fn sync(fleet: &mut Fleet, from: &str, to: &str) {
    let mut claims: ClaimChanges = BTreeMap::from([(ip(ADDRESS), None)]);
    claims.extend(fleet.nodes[from].mine().iter().map(|(address, claim)| (*address, Some(*claim))));
    let now = fleet.now;
    fleet.nodes.get_mut(to).unwrap().set_claims(from, &claims, true, now);
}
