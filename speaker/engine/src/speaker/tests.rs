use landfall_model::{EXCLUDE_LABEL, NodeView, Reason};

use super::*;
use crate::{
    Announced, IfIndex, Link, Mac,
    links::LinkChoice,
    objects::{
        advertisement, ip, key, node, pool, proxied, see_advertisement, see_node, see_pool, see_service,
        see_slice, service, slice,
    },
    responder::{ASK_EVERY, QUESTIONS},
    wire::Frame,
};

fn settings() -> Settings {
    Settings {
        node: "a".into(),
        cluster: cluster::Settings::default(),
        boot: BootId { seconds: 1, random: 1 },
        seed: 1,
        timing: Timing::default(),
        port: 7_946,
        exclude: NamePattern::defaults(),
        node_port: true,
        relays: true,
        version: "0".into(),
        standalone: false,
        minority: Minority::Serve,
        fail_back: None,
        refresh: None,
    }
}

fn link() -> Link {
    Link {
        index: IfIndex(2),
        name: "eth0".into(),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        running: true,
        broadcast: true,
        arp: true,
        enslaved: false,
        loopback: false,
        addresses: vec!["10.0.0.1/8".parse().unwrap()],
        default_v4: true,
        default_v6: false,
        gateways: Vec::new(),
    }
}

/// When a speaker without peers has settled.
pub(super) const START: Instant = Instant::from_micros(1_050_000);

/// The only speaker of a cluster of some nodes, which sees what `observations` give and then all there is, at [`START`].
pub(super) fn alone(nodes: usize, observations: impl IntoIterator<Item = Observation>) -> Speaker {
    alone_with(settings(), nodes, observations)
}

fn alone_with(
    settings: Settings,
    nodes: usize,
    observations: impl IntoIterator<Item = Observation>,
) -> Speaker {
    let mut speaker = Speaker::new(settings);
    let now = Instant::from_micros(1);
    speaker.handle(Input::Link(IfIndex(2), Some(link())), now);
    speaker.handle(Input::Observed(see_node(node("a"))), now);
    for number in 1..nodes {
        speaker.handle(Input::Observed(see_node(node(&format!("n{number}")))), now);
    }
    speaker.handle(Input::Observed(see_pool(pool("lan", &["10.0.0.0/8"]))), now);
    speaker.handle(Input::Observed(see_advertisement(advertisement("all"))), now);
    for observation in observations {
        speaker.handle(Input::Observed(observation), now);
    }
    speaker.handle(Input::Observed(Observation::Synced), now);
    assert!(!speaker.snapshot().ready);
    speaker.handle_timeout(START);
    speaker
}

fn many(services: usize) -> impl Iterator<Item = Observation> {
    (0..services).flat_map(|number| {
        let (name, address) = (format!("s{number}"), format!("10.1.{}.{}", number / 256, number % 256));
        [see_slice(slice(&name, &["a"])), see_service(service(&name, &[&address]))]
    })
}

pub(super) fn drain(speaker: &mut Speaker) -> Vec<Command> {
    std::iter::from_fn(|| speaker.next_command()).collect()
}

/// Serves every timer up to then, when it is due. Gives the commands.
pub(super) fn settle(speaker: &mut Speaker, now: Instant) -> Vec<Command> {
    let mut commands = drain(speaker);
    while let Some(due) = speaker.poll_timeout().filter(|due| *due <= now) {
        speaker.handle_timeout(due);
        commands.extend(drain(speaker));
    }
    commands
}

/// When what began at `start` is announced: nobody answered when it was asked for.
pub(super) fn proven(start: Instant) -> Instant {
    start + ASK_EVERY * QUESTIONS.into()
}

fn is_probe(command: &Command) -> bool {
    let Command::SendFrame { bytes, .. } = command else { return false };
    matches!(Frame::parse(bytes), Ok(Frame::Arp { arp, .. }) if arp.sender.is_unspecified())
}

#[test]
fn cost_follows_change() {
    let mut speaker = alone(50, many(500));
    let mut now = START;
    settle(&mut speaker, now);
    assert_eq!(speaker.snapshot().owners.len(), 500);
    let mut evaluated = |observation: Observation| {
        now += Duration::from_secs(1);
        let before = speaker.evaluations();
        speaker.handle(Input::Observed(observation), now);
        settle(&mut speaker, now);
        speaker.evaluations() - before
    };
    assert_eq!(evaluated(see_slice(slice("s7", &["a", "n1"]))), 1, "endpoints of one Service");
    let mut labelled = service("s7", &["10.1.0.7"]);
    labelled.labels.clear();
    assert_eq!(evaluated(see_service(labelled)), 1, "one Service");
    let bystander = NodeView { ready: false, ..node("n7") };
    assert_eq!(evaluated(see_node(bystander)), 0, "a node that owns nothing");
    assert_eq!(evaluated(see_pool(pool("other", &["192.0.2.0/24"]))), 0, "a pool without a Service");
    let mut elsewhere = advertisement("elsewhere");
    elsewhere.pools = BTreeSet::from(["other".into()]);
    assert_eq!(evaluated(see_advertisement(elsewhere)), 0, "an advertisement of that pool");
    assert_eq!(evaluated(see_slice(slice("unknown", &["a"]))), 0, "endpoints of no Service of ours");
}

#[test]
fn a_large_cluster_is_worked_through_in_steps() {
    let mut speaker = alone(1, many(200));
    // Many members that are candidates for everything make each decision dear.
    for number in 0..2_000 {
        let node = format!("m{number}");
        speaker.cluster.observe(see_node(self::node(&node)));
        let links = Some(speaker.links.summary().to_vec());
        let alive = Member::unread(MemberState::Alive { settled: true });
        let member = Member { links, node_port: true, ..alive };
        speaker.cluster.set_member(&node, Some(member));
    }
    let now = START + Duration::from_secs(1);
    settle(&mut speaker, now);
    speaker.cluster.observe(see_advertisement({
        let mut all = advertisement("all");
        all.interfaces = BTreeSet::from(["eth0".into()]);
        all
    }));
    let before = speaker.evaluations();
    speaker.handle_timeout(now);
    let first = speaker.evaluations() - before;
    assert!((1..200).contains(&first), "{first} groups in one step");
    assert_eq!(speaker.poll_timeout(), Some(now), "more at once");
    settle(&mut speaker, now);
    assert_eq!(speaker.evaluations() - before, 200);
}

#[test]
fn it_owns_answers_and_reports() {
    let mut speaker = alone(1, [see_slice(slice("web", &["a"])), see_service(service("web", &["10.1.0.1"]))]);
    let commands = drain(&mut speaker);
    assert_eq!(commands[0], Command::Listen(vec!["10.0.0.0/8".parse().unwrap()]));
    assert!(matches!(&commands[1], Command::Ownership { to: Some(to), .. } if **to == *"a"));
    assert!(is_probe(&commands[2]) && commands.len() == 3, "nothing is told yet: {commands:?}");
    let commands = settle(&mut speaker, proven(START));
    let place = |wanted: &dyn Fn(&Command) -> bool| commands.iter().position(wanted).unwrap();
    assert_eq!(commands.iter().filter(|command| is_probe(command)).count(), 2);
    place(&|command| matches!(command, Command::SendFrame { .. }) && !is_probe(command));
    let announced = Some(on_eth0(LinkChoice::Subnet));
    place(&|command| *command == Command::Status { service: key("web"), announced: announced.clone() });
    place(&|command| matches!(command, Command::Event { reason: "nodeAssigned", warning: false, .. }));
    assert!(
        !commands.iter().any(|command| matches!(command, Command::Forward(_))),
        "mode announce needs no rules"
    );
    assert_eq!(speaker.reason(&key("web")), Reason::Owner);
}

fn on_eth0(choice: LinkChoice) -> Announced {
    let interfaces = BTreeSet::from(["eth0".into()]);
    Announced { links: BTreeSet::from([Usable { interfaces, choice }]), ..Announced::default() }
}

#[test]
fn it_tells_where_it_announces_and_why_there_whenever_that_changes() {
    let web = [see_slice(slice("web", &["a"])), see_service(service("web", &["10.1.0.1"]))];
    let mut speaker = alone(1, web);
    let mut now = proven(START);
    settle(&mut speaker, now);
    let mut told = |input: Input| -> Vec<Option<Announced>> {
        now += Duration::from_millis(2);
        speaker.handle(input, now);
        let statuses = drain(&mut speaker).into_iter().filter_map(|command| {
            let Command::Status { announced, .. } = command else { return None };
            Some(announced)
        });
        statuses.collect()
    };
    let elsewhere = Link { addresses: vec!["192.0.2.1/24".parse().unwrap()], ..link() };
    let eth0 = |link: &Link| Input::Link(IfIndex(2), Some(link.clone()));
    assert_eq!(told(eth0(&elsewhere)), [Some(on_eth0(LinkChoice::DefaultRoute))]);
    assert_eq!(told(eth0(&elsewhere)), [], "the same again");
    let anew = Link { mac: Some(Mac([2, 0, 0, 0, 0, 9])), ..elsewhere.clone() };
    assert_eq!(told(eth0(&anew)), [], "nothing of it was told");
    let lonely = Link { default_v4: false, ..elsewhere };
    assert_eq!(told(eth0(&lonely)), [Some(on_eth0(LinkChoice::Only))]);
    let mut named = advertisement("all");
    named.interfaces = BTreeSet::from(["eth0".into()]);
    let limited = Announced { interfaces: named.interfaces.clone(), ..on_eth0(LinkChoice::Named) };
    assert_eq!(told(Input::Observed(see_advertisement(named))), [Some(limited.clone())]);
    let both = see_service(service("web", &["10.1.0.1", "10.1.0.2"]));
    assert_eq!(told(Input::Observed(both)), [], "another address on the same interface");

    let eth1 = Link { index: IfIndex(3), name: "eth1".into(), ..link() };
    assert_eq!(told(Input::Link(IfIndex(3), Some(eth1))), [], "not permitted");
    assert_eq!(
        told(Input::Observed(see_advertisement(advertisement("all")))),
        [Some(Announced {
            links: BTreeSet::from([Usable {
                interfaces: BTreeSet::from(["eth1".into()]),
                choice: LinkChoice::Subnet
            }]),
            ..Announced::default()
        })]
    );
    assert_eq!(told(Input::Link(IfIndex(3), None)), [Some(on_eth0(LinkChoice::Only))]);
    assert_eq!(told(Input::Link(IfIndex(2), None)), [None]);
}

#[test]
fn it_claims_then_programs_then_answers() {
    let web = proxied(service("web", &["10.1.0.1"]));
    let mut speaker =
        alone(1, [see_node(with_address(node("a"))), see_slice(slice("web", &["a"])), see_service(web)]);
    let now = START + Duration::from_millis(2);
    let commands = drain(&mut speaker);
    assert!(commands.iter().any(|command| matches!(command, Command::Forward(_))));
    assert!(
        !commands.iter().any(|command| matches!(command, Command::SendFrame { .. } | Command::Status { .. }))
    );
    assert_eq!(speaker.reason(&key("web")), Reason::ForwardingUnavailable);
    speaker.handle(Input::Forwarding(Ok(())), now);
    let commands = drain(&mut speaker);
    assert!(commands.iter().any(is_probe));
    assert!(!commands.iter().any(|command| matches!(command, Command::Status { .. })));
    let commands = settle(&mut speaker, proven(now));
    assert!(
        commands.iter().any(|command| matches!(command, Command::SendFrame { .. }) && !is_probe(command))
    );
    assert!(commands.iter().any(|command| matches!(command, Command::Status { .. })));
    assert_eq!(speaker.reason(&key("web")), Reason::Owner);

    speaker.handle(Input::Forwarding(Err("late, and nobody asked".into())), now);
    assert_eq!(speaker.reason(&key("web")), Reason::Owner);
}

fn with_address(mut node: NodeView) -> NodeView {
    node.addresses = vec![ip("10.0.0.1")];
    node
}

fn tables(commands: &[Command]) -> usize {
    commands.iter().filter(|command| matches!(command, Command::Forward(_))).count()
}

#[test]
fn rules_that_somebody_else_removed_come_back() {
    let web = proxied(service("web", &["10.1.0.1"]));
    let seen = [see_node(with_address(node("a"))), see_slice(slice("web", &["a"])), see_service(web)];
    let mut speaker = alone(1, seen);
    assert_eq!(tables(&drain(&mut speaker)), 1);
    let mut now = START + Duration::from_millis(2);
    for _ in 0..3 {
        speaker.handle(Input::Forwarding(Ok(())), now);
        settle(&mut speaker, now + Duration::from_secs(5));
        now += Duration::from_secs(30);
        assert_eq!(speaker.poll_timeout(), Some(now), "when the rules are asked for again");
        speaker.handle_timeout(now);
        assert_eq!(tables(&drain(&mut speaker)), 1);
        assert_eq!(speaker.poll_timeout(), None, "the answer comes first");
        assert_eq!(speaker.reason(&key("web")), Reason::Owner, "it goes on meanwhile");
    }
}

#[test]
fn the_exclude_label_can_be_ignored_for_forwarding_too() {
    let mut excluded = with_address(node("a"));
    excluded.labels.insert(EXCLUDE_LABEL.to_owned(), String::new());
    let web = proxied(service("web", &["10.1.0.1"]));
    let settings = Settings {
        cluster: cluster::Settings { ignore_exclude_lb: true, ..Default::default() },
        ..settings()
    };
    let seen = [see_node(excluded), see_slice(slice("web", &["a"])), see_service(web)];
    let mut speaker = alone_with(settings, 1, seen);
    assert_eq!(tables(&drain(&mut speaker)), 1);
    speaker.handle(Input::Forwarding(Ok(())), START + Duration::from_millis(2));
    assert_eq!(speaker.reason(&key("web")), Reason::Owner);
}

#[test]
fn the_only_endpoint_counts_although_the_speaker_of_its_node_is_dead() {
    let web = proxied(service("web", &["10.1.0.1"]));
    let seen = [see_node(with_address(node("a"))), see_slice(slice("web", &["n1"])), see_service(web)];
    let mut speaker = alone(2, seen);
    drain(&mut speaker);
    let now = START + Duration::from_millis(2);
    speaker.handle(Input::Forwarding(Ok(())), now);
    assert_eq!(speaker.reason(&key("web")), Reason::Owner);
    let dead = Member { node_port: true, ..Member::unread(MemberState::Dead) };
    speaker.cluster.set_member("n1", Some(dead));
    speaker.handle_timeout(now);
    settle(&mut speaker, proven(now));
    speaker.handle(Input::Forwarding(Ok(())), proven(now));
    assert_eq!(speaker.reason(&key("web")), Reason::Owner);
    assert!(speaker.responder().is_listening(ip("10.1.0.1")));
}

#[test]
fn a_moment_of_silence_is_not_reported() {
    let mut speaker = alone(1, [see_slice(slice("web", &["a"])), see_service(service("web", &["10.1.0.1"]))]);
    settle(&mut speaker, proven(START));
    let now = START + Duration::from_secs(3);
    let until = now + Duration::from_millis(200);
    speaker.mute_until = Some(until);
    speaker.handle(Input::Observed(see_slice(slice("web", &["a", "b"]))), now);
    assert!(!speaker.responder().is_listening(ip("10.1.0.1")));
    assert_eq!(drain(&mut speaker), []);
    speaker.handle_timeout(until);
    assert!(speaker.responder().is_listening(ip("10.1.0.1")));
    let commands = drain(&mut speaker);
    let frames = |command: &Command| matches!(command, Command::SendFrame { .. });
    assert!(!commands.is_empty() && commands.iter().all(frames), "{commands:?}");
}

#[test]
fn a_speaker_that_ends_takes_its_statuses_back_also_while_it_is_silent() {
    let mut speaker = alone(1, [see_slice(slice("web", &["a"])), see_service(service("web", &["10.1.0.1"]))]);
    settle(&mut speaker, proven(START));
    let now = START + Duration::from_secs(5);
    speaker.mute_until = Some(now + Duration::from_millis(200));
    speaker.handle(Input::Shutdown, now);
    let commands = drain(&mut speaker);
    let status = Command::Status { service: key("web"), announced: None };
    assert!(commands.contains(&status), "{commands:?}");
    assert_eq!(commands.last(), Some(&Command::Finished));
}

#[test]
fn nothing_is_kept_of_an_address_that_nobody_uses_or_claims() {
    let mut speaker = alone(2, []);
    let address = ip("10.1.0.1");
    let mut hear = |claim: Option<u64>| {
        let claim = claim.map(|epoch| membership::Claim { epoch: membership::Epoch(epoch) });
        speaker.ownership.set_claims("n1", &BTreeMap::from([(address, claim)]), true, Instant::ZERO);
        speaker.hurry([&address]);
    };
    hear(Some(7));
    hear(None);
    let now = START + Duration::from_secs(5);
    speaker.handle(Input::Observed(see_slice(slice("web", &["a"]))), now);
    speaker.handle(Input::Observed(see_service(service("web", &["10.1.0.1"]))), now);
    assert_eq!(speaker.snapshot().owners[&address].epoch, membership::Epoch(1), "it starts anew");
}

#[test]
fn services_that_are_not_announced_have_a_reason() {
    let mut speaker = alone(
        2,
        [
            see_service(service("no-address", &[])),
            see_service(service("elsewhere", &["192.0.2.1"])),
            see_service(service("no-endpoints", &["10.1.0.1"])),
        ],
    );
    drain(&mut speaker);
    let reason = |name: &str| speaker.reason(&key(name));
    assert_eq!(reason("no-address"), Reason::NoAddress);
    assert_eq!(reason("elsewhere"), Reason::AddressNotInPools);
    assert_eq!(reason("no-endpoints"), Reason::NoEndpoints);
    let snapshot = speaker.snapshot();
    assert!(snapshot.ready);
    assert_eq!(snapshot.services.len(), 3);
    assert!(snapshot.owners.is_empty());

    let now = START + Duration::from_millis(2);
    speaker.handle(Input::Observed(see_slice(slice("no-endpoints", &["a"]))), now);
    let mut excluded = node("a");
    excluded.labels.insert(EXCLUDE_LABEL.to_owned(), String::new());
    speaker.handle(Input::Observed(see_node(excluded)), now);
    assert_eq!(speaker.reason(&key("no-endpoints")), Reason::NodeExcluded);
    let reasons = speaker.reasons(&key("no-endpoints"));
    assert_eq!(reasons["a"], Some(Reason::NodeExcluded));
    assert_eq!(reasons["n1"], Some(Reason::SpeakerNotAlive));
}

#[test]
fn links_that_change_move_the_answers() {
    let mut speaker = alone(1, [see_slice(slice("web", &["a"])), see_service(service("web", &["10.1.0.1"]))]);
    let now = START + Duration::from_millis(2);
    drain(&mut speaker);
    let on = |speaker: &Speaker| speaker.responder().interfaces(ip("10.1.0.1")).cloned();
    assert_eq!(on(&speaker), Some(BTreeSet::from([IfIndex(2)])));
    // The interface is made anew under the same name.
    speaker.handle(Input::Link(IfIndex(9), Some(Link { index: IfIndex(9), ..link() })), now);
    speaker.handle(Input::Link(IfIndex(2), None), now);
    assert_eq!(on(&speaker), Some(BTreeSet::from([IfIndex(9)])));
    speaker.handle(Input::Link(IfIndex(9), None), now);
    assert_eq!(on(&speaker), None, "no link, no candidate, no answer");
    assert_eq!(speaker.reason(&key("web")), Reason::NoUsableLink);
    speaker.handle(Input::Link(IfIndex(2), Some(link())), now);
    assert_eq!(on(&speaker), Some(BTreeSet::from([IfIndex(2)])));
}

#[test]
fn nothing_happens_before_everything_was_listed() {
    let mut speaker = Speaker::new(settings());
    let now = Instant::from_micros(1);
    speaker.handle(Input::Link(IfIndex(2), Some(link())), now);
    speaker.handle(Input::Observed(see_node(node("a"))), now);
    speaker.handle(Input::Observed(see_pool(pool("lan", &["10.0.0.0/8"]))), now);
    speaker.handle(Input::Observed(see_advertisement(advertisement("all"))), now);
    speaker.handle(Input::Observed(see_slice(slice("web", &["a"]))), now);
    speaker.handle(Input::Observed(see_service(service("web", &["10.1.0.1"]))), now);
    speaker.handle_timeout(now + Duration::from_secs(60));
    assert_eq!(drain(&mut speaker), []);
    assert!(!speaker.snapshot().ready);
    speaker.handle(Input::Shutdown, now + Duration::from_secs(61));
    assert_eq!(drain(&mut speaker), [Command::Finished]);
    assert_eq!(speaker.poll_timeout(), None);
    speaker.handle(Input::Observed(Observation::Synced), now + Duration::from_secs(62));
    assert_eq!(drain(&mut speaker), [], "it is over");
}
