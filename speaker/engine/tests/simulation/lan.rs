//! Several speakers on one simulated segment with a virtual clock. Everything random comes from one seed, so a run
//! can be repeated.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use landfall_engine::{
    Announced, Command, IfIndex, Input, Link, Mac,
    cluster::Settings as ClusterSettings,
    forwarding::ForwardingTable,
    links::NamePattern,
    membership::{BootId, Key, Timing},
    speaker::{Minority, Settings, Speaker},
    wire::{
        ALL_NODES, ArpOperation, ArpRepr, BROADCAST, EtherType, EthernetRepr, Frame, Ipv6Repr, NeighborRepr,
        multicast_mac,
    },
};
use landfall_model::{
    Assigned, Ingress, Instant, IpMode, NodeView, Observation, Reason, ServiceKey, ServiceView, SpeakerView,
};

use crate::objects::{advertisement, node, pool, see_advertisement, see_node, see_pool, see_service};

const PORT: u16 = 7946;
/// The hosts' default gateway.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
const GATEWAY_CARD: Mac = Mac([2, 0xfe, 0, 0, 0, 1]);
const CLIENT_CARD: Mac = Mac([2, 0xc1, 0, 0, 0, 1]);
pub(crate) const ETH0: IfIndex = IfIndex(2);

/// A random sequence (SplitMix64).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

#[derive(Debug)]
enum Delivery {
    Datagram { to: usize, from: SocketAddr, bytes: Vec<u8> },
    Frame { to: usize, bytes: Vec<u8> },
    Observed { to: usize, observation: Observation },
    Forwarded { to: usize, boot: u64 },
}

/// What a node told the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Status(ServiceKey, Option<BTreeSet<Box<str>>>),
    Event(ServiceKey, &'static str, String),
}

/// An ARP or neighbour advertisement frame that a node sent of its own accord.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announcement {
    pub(crate) at: Instant,
    pub(crate) node: usize,
    pub(crate) address: IpAddr,
}

/// Address, owner before, owner now, and why.
pub(crate) type Move = (IpAddr, Option<Box<str>>, Option<Box<str>>, Reason);

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: &'static str,
    pub(crate) speaker: Option<Speaker>,
    boots: u64,
    /// Hosts with the same number reach each other.
    side: u32,
    api: bool,
    missed: Vec<Observation>,
    paused: bool,
    backlog: VecDeque<Delivery>,
    pub(crate) forward_fails: bool,
    sent_table: Option<ForwardingTable>,
    pub(crate) table: Option<ForwardingTable>,
    pub(crate) tables_seen: usize,
    /// Statuses are here once, unless their interfaces changed.
    pub(crate) told: Vec<Told>,
    /// What its statuses say now, and how many were written.
    pub(crate) announced: BTreeMap<ServiceKey, Announced>,
    pub(crate) statuses: usize,
    pub(crate) moves: Vec<Move>,
    /// What it announced that others had owned, why, and how long after they were heard.
    pub(crate) took_over: Vec<(IpAddr, Reason, Duration)>,
    believes: BTreeMap<IpAddr, Option<Box<str>>>,
    pub(crate) finished: Option<Instant>,
    replies: Vec<IpAddr>,
    /// Standalone: the Services of its own files, and whether it decides about their addresses.
    pub(crate) files: BTreeMap<ServiceKey, ServiceView>,
    pub(crate) leads: bool,
    /// It says that it is cut off.
    pub(crate) cut_off: bool,
}

#[derive(Debug)]
pub(crate) struct Lan {
    pub(crate) now: Instant,
    pub(crate) hosts: Vec<Host>,
    random: Random,
    /// Packets lost, in percent.
    pub(crate) loss: u64,
    /// Frames lost, in percent.
    pub(crate) frame_loss: u64,
    /// Hosts of which the segment hears nothing but their own addresses.
    pub(crate) unheard: BTreeSet<usize>,
    /// Questions that speakers asked by ARP or neighbour solicitation, those of probes apart.
    pub(crate) questions: Vec<Announcement>,
    queue: BTreeMap<(Instant, u64), Delivery>,
    sequence: u64,
    /// Everything that the API server holds, to list it for a speaker that starts.
    objects: Vec<Observation>,
    pub(crate) announcements: Vec<Announcement>,
    /// The same to the gateway alone, and to the client that asks.
    pub(crate) told_gateway: Vec<Announcement>,
    pub(crate) told_client: Vec<Announcement>,
    /// What the next step sends is answers to a client.
    asking: bool,
    standalone: bool,
    minority: Minority,
    /// What the hosts are told that start from now on.
    pub(crate) fail_back: Option<Duration>,
    /// How often they announce again, those that start from now on.
    pub(crate) refresh: Duration,
    /// The side that the default gateway is on, if there is one that answers.
    pub(crate) gateway: Option<u32>,
    /// Hosts without a speaker, by the address that they have, on the first side.
    rivals: BTreeMap<IpAddr, Mac>,
    /// Conflicts may be told of.
    had_rivals: bool,
    /// Questions of speakers, before they announce: when, by whom, and for what.
    pub(crate) probes: Vec<Announcement>,
}

impl Lan {
    /// Speakers on hosts of these names, started at the same time, with a pool `192.0.2.0/24` that is advertised
    /// everywhere. The addresses of the hosts are in it too, from .201 on.
    pub(crate) fn new(names: &[&'static str], seed: u64) -> Self {
        Self::build(names, seed, false, Minority::Serve)
    }

    /// The same, and a side without a majority is silent.
    pub(crate) fn strict(names: &[&'static str], seed: u64) -> Self {
        Self::build(names, seed, false, Minority::Silent)
    }

    /// The same without an API server: every host has its own files with Services.
    pub(crate) fn standalone(names: &[&'static str], seed: u64) -> Self {
        Self::build(names, seed, true, Minority::Serve)
    }

    fn build(names: &[&'static str], seed: u64, standalone: bool, minority: Minority) -> Self {
        let mut lan = Self {
            now: Instant::from_micros(1_000_000),
            hosts: Vec::new(),
            random: Random::new(seed),
            loss: 0,
            frame_loss: 0,
            unheard: BTreeSet::new(),
            questions: Vec::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            objects: Vec::new(),
            announcements: Vec::new(),
            told_gateway: Vec::new(),
            told_client: Vec::new(),
            asking: false,
            standalone,
            minority,
            fail_back: None,
            refresh: Duration::from_secs(5 * 60),
            gateway: None,
            rivals: BTreeMap::new(),
            had_rivals: false,
            probes: Vec::new(),
        };
        for name in names {
            lan.hosts.push(Host {
                name,
                speaker: None,
                boots: 0,
                side: 0,
                api: true,
                missed: Vec::new(),
                paused: false,
                backlog: VecDeque::new(),
                forward_fails: false,
                sent_table: None,
                table: None,
                tables_seen: 0,
                told: Vec::new(),
                announced: BTreeMap::new(),
                statuses: 0,
                moves: Vec::new(),
                took_over: Vec::new(),
                believes: BTreeMap::new(),
                finished: None,
                replies: Vec::new(),
                files: BTreeMap::new(),
                leads: false,
                cut_off: false,
            });
        }
        lan.see(see_pool(pool("lan", &["192.0.2.0/24", "2001:db8::/64"])));
        lan.see(see_advertisement(advertisement("all")));
        for (host, name) in names.iter().enumerate() {
            let view = lan.node_view(host);
            lan.see(see_node(view));
            let speaker = SpeakerView { node: (*name).into(), addresses: vec![host_address(host)] };
            lan.see(Observation::Speaker(format!("speaker-{name}").into(), Some(speaker)));
        }
        for host in 0..names.len() {
            lan.start(host);
        }
        lan
    }

    pub(crate) fn node_view(&self, host: usize) -> NodeView {
        NodeView { addresses: vec![host_address(host)], ..node(self.hosts[host].name) }
    }

    pub(crate) fn index(&self, name: &str) -> usize {
        self.hosts.iter().position(|host| host.name == name).unwrap()
    }

    /// Starts the speaker of a host, which lists everything first.
    pub(crate) fn start(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        host.boots += 1;
        host.finished = None;
        host.believes.clear();
        host.announced.clear();
        host.missed.clear();
        host.leads = false;
        host.cut_off = false;
        let boot = BootId { seconds: self.now.as_micros() / 1_000_000, random: host.boots };
        host.speaker = Some(Speaker::new(Settings {
            node: host.name.into(),
            cluster: ClusterSettings::default(),
            boot,
            seed: index as u64 * 1_000 + host.boots,
            timing: Timing::default(),
            port: PORT,
            exclude: NamePattern::defaults(),
            node_port: true,
            version: "0".into(),
            standalone: self.standalone,
            minority: self.minority,
            fail_back: self.fail_back,
            refresh: Some(self.refresh),
        }));
        let link = Link {
            index: ETH0,
            name: "eth0".into(),
            mac: Some(mac_of(index)),
            running: true,
            broadcast: true,
            arp: true,
            enslaved: false,
            loopback: false,
            addresses: vec![
                format!("{}/24", host_address(index)).parse().unwrap(),
                format!("{}/64", link_local(index)).parse().unwrap(),
            ],
            default_v4: true,
            default_v6: true,
            gateways: vec![IpAddr::V4(GATEWAY)],
        };
        self.input(index, Input::Link(ETH0, Some(link)));
        let key = Key::derive(b"a secret of this cluster", "cluster-uid").unwrap();
        self.input(index, Input::Keys(vec![key]));
        let own = self.hosts[index].files.values().cloned().map(see_service);
        for observation in self.objects.iter().cloned().chain(own).collect::<Vec<_>>() {
            self.input(index, Input::Observed(observation));
        }
        self.input(index, Input::Observed(Observation::Synced));
    }

    /// The process is gone, without a word.
    pub(crate) fn kill(&mut self, index: usize) {
        self.hosts[index].speaker = None;
        self.hosts[index].backlog.clear();
        self.hosts[index].sent_table = None;
    }

    /// The process stands still; packets wait in its sockets.
    pub(crate) fn pause(&mut self, index: usize) {
        self.hosts[index].paused = true;
    }

    pub(crate) fn resume(&mut self, index: usize) {
        self.hosts[index].paused = false;
        for delivery in std::mem::take(&mut self.hosts[index].backlog) {
            self.deliver(delivery);
        }
    }

    /// The whole machine stood still: what was sent to it meanwhile is lost.
    pub(crate) fn wake(&mut self, index: usize) {
        let (facts, lost): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.hosts[index].backlog)
            .into_iter()
            .partition(|delivery| matches!(delivery, Delivery::Observed { .. } | Delivery::Forwarded { .. }));
        drop(lost);
        self.hosts[index].backlog = facts;
        self.resume(index);
    }

    /// Puts these hosts on the other side of a cut.
    pub(crate) fn cut(&mut self, away: &[usize]) {
        for (index, host) in self.hosts.iter_mut().enumerate() {
            host.side = u32::from(away.contains(&index));
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cut(&[]);
    }

    pub(crate) fn set_api(&mut self, reachable: bool) {
        for index in 0..self.hosts.len() {
            self.hosts[index].api = reachable;
            if reachable {
                for observation in std::mem::take(&mut self.hosts[index].missed) {
                    self.schedule(0, Delivery::Observed { to: index, observation });
                }
            }
        }
    }

    /// The API server holds this from now on; speakers see it some milliseconds later.
    pub(crate) fn see(&mut self, observation: Observation) {
        self.objects.retain(|other| other.object() != observation.object());
        self.objects.push(observation.clone());
        for to in 0..self.hosts.len() {
            if self.hosts[to].speaker.is_none() {
                continue;
            }
            if self.hosts[to].api {
                // One after the other, as a watch gives them.
                let delivery = Delivery::Observed { to, observation: observation.clone() };
                self.schedule(2_000 + to as u64 * 1_700, delivery);
            } else {
                self.hosts[to].missed.push(observation.clone());
            }
        }
    }

    /// A host that is no node has this address from now on, and says so to everybody.
    pub(crate) fn claim(&mut self, address: &str, mac: Mac) {
        let address: IpAddr = address.parse().unwrap();
        self.rivals.insert(address, mac);
        self.had_rivals = true;
        for to in (0..self.hosts.len()).filter(|to| self.hosts[*to].side == 0).collect::<Vec<_>>() {
            self.schedule(20, Delivery::Frame { to, bytes: rival_frame(address, mac, None) });
        }
    }

    /// Members may be taken for strangers.
    pub(crate) fn expect_conflicts(&mut self) {
        self.had_rivals = true;
    }

    /// That host is gone, without a word.
    pub(crate) fn give_up(&mut self, address: &str) {
        self.rivals.remove(&address.parse().unwrap()).unwrap();
    }

    pub(crate) fn shut_down(&mut self, index: usize) {
        self.input(index, Input::Shutdown);
    }

    /// Lets the time pass.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut steps = 0;
        loop {
            let due = self.queue.keys().next().map(|(at, _)| *at);
            let timer = self
                .hosts
                .iter()
                .enumerate()
                .filter(|(_, host)| !host.paused)
                .filter_map(|(index, host)| Some((host.speaker.as_ref()?.poll_timeout()?, index)))
                .min();
            let next = due.into_iter().chain(timer.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            if next > self.now {
                steps = 0;
                self.now = next;
            }
            steps += 1;
            assert!(steps < 10_000, "the speakers are busy without an end at {:?}", self.now);
            if due.is_some_and(|due| due <= self.now) {
                let (_, delivery) = self.queue.pop_first().unwrap();
                self.deliver(delivery);
            } else if let Some((_, index)) = timer {
                self.timeout(index);
            }
        }
        self.now = end;
    }

    pub(crate) fn run_ms(&mut self, millis: u64) {
        self.run(Duration::from_millis(millis));
    }

    /// Who answers a client on this side that asks for the address by ARP.
    pub(crate) fn who_has_on(&mut self, side: u32, address: &str) -> Vec<&'static str> {
        let address: Ipv4Addr = address.parse().unwrap();
        let frame = arp_request(address);
        let mut answers = Vec::new();
        for index in 0..self.hosts.len() {
            if self.hosts[index].side != side
                || self.hosts[index].paused
                || self.hosts[index].speaker.is_none()
            {
                continue;
            }
            self.asking = true;
            self.input(index, Input::Frame { interface: ETH0, bytes: frame.clone() });
            self.asking = false;
            let replies = std::mem::take(&mut self.hosts[index].replies);
            if replies.contains(&IpAddr::V4(address)) {
                answers.push(self.hosts[index].name);
            }
        }
        answers
    }

    pub(crate) fn who_has(&mut self, address: &str) -> Vec<&'static str> {
        self.who_has_on(0, address)
    }

    /// Lets the time pass and asks every few milliseconds: the answers that differ from the one before.
    pub(crate) fn watch(&mut self, address: &str, duration: Duration) -> Vec<(Duration, Vec<&'static str>)> {
        let start = self.now;
        let mut seen: Vec<(Duration, Vec<&'static str>)> = Vec::new();
        while self.now.since(start) < duration {
            let answers = self.who_has(address);
            if seen.last().is_none_or(|(_, last)| *last != answers) {
                seen.push((self.now.since(start), answers));
            }
            self.run_ms(2);
        }
        seen
    }

    fn schedule(&mut self, micros: u64, delivery: Delivery) {
        self.sequence += 1;
        let at = self.now + Duration::from_micros(micros);
        self.queue.insert((at, self.sequence), delivery);
    }

    fn deliver(&mut self, delivery: Delivery) {
        let to = match &delivery {
            Delivery::Datagram { to, .. }
            | Delivery::Frame { to, .. }
            | Delivery::Observed { to, .. }
            | Delivery::Forwarded { to, .. } => *to,
        };
        if self.hosts[to].speaker.is_none() {
            return;
        }
        if self.hosts[to].paused {
            self.hosts[to].backlog.push_back(delivery);
            return;
        }
        match delivery {
            Delivery::Datagram { from, bytes, .. } => self.input(to, Input::Datagram { from, bytes }),
            Delivery::Frame { bytes, .. } => self.input(to, Input::Frame { interface: ETH0, bytes }),
            Delivery::Observed { observation, .. } => self.input(to, Input::Observed(observation)),
            Delivery::Forwarded { boot, .. } if boot == self.hosts[to].boots => {
                let host = &mut self.hosts[to];
                let table = host.sent_table.take();
                let result = if host.forward_fails {
                    Err("the kernel refused the rules".into())
                } else {
                    host.table = table;
                    Ok(())
                };
                self.input(to, Input::Forwarding(result));
            }
            Delivery::Forwarded { .. } => {}
        }
    }

    fn input(&mut self, index: usize, input: Input) {
        let now = self.now;
        if let Some(speaker) = &mut self.hosts[index].speaker {
            speaker.handle(input, now);
            self.drain(index);
        }
    }

    fn timeout(&mut self, index: usize) {
        let now = self.now;
        if let Some(speaker) = &mut self.hosts[index].speaker {
            speaker.handle_timeout(now);
            self.drain(index);
        }
    }

    fn drain(&mut self, index: usize) {
        while let Some(command) = self.hosts[index].speaker.as_mut().and_then(Speaker::next_command) {
            assert!(self.hosts[index].finished.is_none(), "{command:?} after the end");
            match command {
                Command::SendDatagram { to, bytes } => self.send(index, to, bytes),
                Command::SendFrame { interface, bytes } => {
                    assert_eq!(interface, ETH0);
                    self.frame(index, bytes);
                }
                Command::Listen(_) => {}
                Command::Forward(table) => {
                    let host = &mut self.hosts[index];
                    assert!(host.sent_table.is_none(), "one change at a time");
                    host.sent_table = Some(table);
                    host.tables_seen += 1;
                    let boot = host.boots;
                    self.schedule(3_000, Delivery::Forwarded { to: index, boot });
                }
                Command::Status { service, announced } => {
                    let host = &mut self.hosts[index];
                    let interfaces = announced.as_ref().map(|announced| announced.interfaces.clone());
                    let before = match announced {
                        Some(announced) => host.announced.insert(service.clone(), announced),
                        None => host.announced.remove(&service),
                    };
                    host.statuses += 1;
                    if before.map(|before| before.interfaces) != interfaces {
                        host.told.push(Told::Status(service, interfaces));
                    }
                }
                Command::Event { service, reason, message, .. } => {
                    let conflict = reason == "addressConflict";
                    assert!(self.had_rivals || !conflict, "nobody but members is here: {message}");
                    self.hosts[index].told.push(Told::Event(service, reason, message));
                }
                Command::Ownership { address, from, to, reason } => {
                    assert_ne!(from, to);
                    let host = &mut self.hosts[index];
                    let known = host.believes.insert(address, to.clone()).flatten();
                    assert_eq!(known, from, "{} tells a change from what it did not tell", host.name);
                    host.moves.push((address, from, to, reason));
                }
                Command::TookOver { address, reason, after } => {
                    let host = &mut self.hosts[index];
                    let owner = host.believes.get(&address).cloned().flatten();
                    assert_eq!(owner.as_deref(), Some(host.name));
                    let said = self.announcements.iter().rfind(|said| said.address == address);
                    assert_eq!(said.map(|said| (said.at, said.node)), Some((self.now, index)), "{address}");
                    host.took_over.push((address, reason, after));
                }
                Command::CutOff(cut_off) => {
                    assert_ne!(self.hosts[index].cut_off, cut_off, "only changes are told");
                    self.hosts[index].cut_off = cut_off;
                }
                Command::Group { .. } => {}
                Command::Adopt(assigned) => self.adopt(index, &assigned),
                Command::Lead(leads) => {
                    assert_ne!(self.hosts[index].leads, leads, "only changes are told");
                    self.hosts[index].leads = leads;
                }
                Command::Finished => self.hosts[index].finished = Some(self.now),
            }
        }
    }

    /// The files of a host change, which its speaker sees some milliseconds later.
    pub(crate) fn write(&mut self, index: usize, view: ServiceView) {
        self.hosts[index].files.insert(view.key.clone(), view.clone());
        self.schedule(5_000, Delivery::Observed { to: index, observation: see_service(view) });
    }

    /// What a file store does: an older decision is refused.
    fn adopt(&mut self, index: usize, assigned: &Assigned) {
        assert!(self.standalone);
        let Some(view) = self.hosts[index].files.get(&assigned.service) else {
            panic!("{assigned:?} has no manifest")
        };
        if view.resource_version.parse::<u64>().unwrap() > assigned.version {
            return;
        }
        let entry = |(address, mode): &(IpAddr, IpMode)| Ingress::Address { address: *address, mode: *mode };
        let mut view = view.clone();
        view.ingress = assigned.ingress.iter().map(entry).collect();
        view.requests.allocated_from.clone_from(&assigned.pool);
        view.resource_version = assigned.version.to_string().into();
        self.write(index, view);
    }

    fn send(&mut self, from: usize, to: SocketAddr, bytes: Vec<u8>) {
        let source = SocketAddr::new(host_address(from), PORT);
        let target = (0..self.hosts.len()).find(|index| SocketAddr::new(host_address(*index), PORT) == to);
        let target = target.expect("a speaker sends to speakers only");
        if self.hosts[target].side != self.hosts[from].side || self.random.below(100) < self.loss {
            return;
        }
        let delay = 50 + self.random.below(450);
        self.schedule(delay, Delivery::Datagram { to: target, from: source, bytes });
    }

    /// Only who believes to own an address may speak for it.
    fn frame(&mut self, from: usize, bytes: Vec<u8>) {
        // Its hosts die as a whole, with their kernels: nobody answers for them, except for a router and for rivals.
        if let Some((asker, address)) = question(&bytes) {
            let asked = Announcement { at: self.now, node: from, address };
            if asker.is_none() {
                self.probes.push(asked);
            } else {
                self.questions.push(asked);
                self.ask_kernels(asked, asker);
            }
            let rival = self.rivals.get(&address).filter(|_| self.hosts[from].side == 0);
            if let Some(answer) = rival.map(|mac| rival_frame(address, *mac, Some((mac_of(from), asker)))) {
                self.schedule(100, Delivery::Frame { to: from, bytes: answer });
            }
            self.broadcast(from, &bytes);
            if let Some(bytes) =
                gateway_answer(&bytes).filter(|_| self.gateway == Some(self.hosts[from].side))
            {
                self.schedule(100, Delivery::Frame { to: from, bytes });
            }
            return;
        }
        let Some(address) = claimed_address(&bytes) else { panic!("an unexpected frame: {bytes:02x?}") };
        let host = &self.hosts[from];
        let believes = host.believes.get(&address).cloned().flatten();
        assert_eq!(believes.as_deref(), Some(host.name), "{} speaks for {address}", host.name);
        if self.asking {
            self.hosts[from].replies.push(address);
            return;
        }
        let heard = !self.unheard.contains(&from);
        // What answers a host goes to that one alone.
        if bytes[0] & 1 == 0 {
            if !heard {
                return;
            }
            let to = (0..self.hosts.len()).find(|to| mac_of(*to).0 == bytes[..6]);
            if let Some(to) = to.filter(|to| self.hosts[*to].side == self.hosts[from].side) {
                self.carry(20, to, bytes);
            } else if bytes[..6] == GATEWAY_CARD.0 {
                self.told_gateway.push(Announcement { at: self.now, node: from, address });
            } else if bytes[..6] == CLIENT_CARD.0 {
                self.told_client.push(Announcement { at: self.now, node: from, address });
            }
            return;
        }
        self.announcements.push(Announcement { at: self.now, node: from, address });
        if heard {
            self.broadcast(from, &bytes);
        }
    }

    fn broadcast(&mut self, from: usize, bytes: &[u8]) {
        for to in 0..self.hosts.len() {
            if to != from && self.hosts[to].side == self.hosts[from].side {
                self.carry(20, to, bytes.to_vec());
            }
        }
    }

    /// A frame is on its way, and perhaps lost.
    fn carry(&mut self, micros: u64, to: usize, bytes: Vec<u8>) {
        if self.frame_loss == 0 || self.random.below(100) >= self.frame_loss {
            self.schedule(micros, Delivery::Frame { to, bytes });
        }
    }

    /// The kernel of a host answers for the host's own addresses as long as the host runs.
    fn ask_kernels(&mut self, asked: Announcement, asker: Option<IpAddr>) {
        let own = |host: usize| [host_address(host), link_local(host)].contains(&asked.address);
        let side = self.hosts[asked.node].side;
        let runs = |host: &Host| host.side == side && host.speaker.is_some() && !host.paused;
        let host = (0..self.hosts.len()).find(|host| *host != asked.node && own(*host));
        if let Some(host) = host.filter(|host| runs(&self.hosts[*host])) {
            let bytes = rival_frame(asked.address, mac_of(host), Some((mac_of(asked.node), asker)));
            self.carry(100, asked.node, bytes);
        }
    }
}

fn link_local(host: usize) -> IpAddr {
    format!("fe80::{}", host + 1).parse().unwrap()
}

fn mac_of(host: usize) -> Mac {
    Mac([2, 0, 0, 0, 0, u8::try_from(host).unwrap() + 1])
}

/// What a kernel with that address says: to who asked, by Ethernet address and IP address if it has one, or to all.
fn rival_frame(address: IpAddr, mac: Mac, to: Option<(Mac, Option<IpAddr>)>) -> Vec<u8> {
    let asker = to.and_then(|(_, asker)| asker);
    match address {
        IpAddr::V4(sender) => {
            let target = match (to, asker) {
                (None, _) => sender,
                (Some(_), Some(IpAddr::V4(asker))) => asker,
                (Some(_), _) => Ipv4Addr::UNSPECIFIED,
            };
            let destination = to.map_or(BROADCAST, |(mac, _)| mac);
            Frame::Arp {
                ethernet: EthernetRepr { destination, source: mac, ether_type: EtherType::Arp },
                arp: ArpRepr {
                    operation: ArpOperation::Reply,
                    sender_mac: mac,
                    sender,
                    target_mac: destination,
                    target,
                },
            }
        }
        IpAddr::V6(target) => {
            // RFC 4861 §7.2.4: who has no address yet is told with everybody.
            let one = to.zip(asker);
            let (destination, destination_mac) = match one {
                Some(((mac, _), IpAddr::V6(asker))) => (asker, mac),
                _ => (ALL_NODES, multicast_mac(ALL_NODES)),
            };
            Frame::Neighbor {
                ethernet: EthernetRepr {
                    destination: destination_mac,
                    source: mac,
                    ether_type: EtherType::Ipv6,
                },
                ipv6: Ipv6Repr { source: target, destination },
                neighbor: NeighborRepr::Advert {
                    target,
                    router: false,
                    solicited: one.is_some(),
                    overrides: true,
                    target_mac: Some(mac),
                },
            }
        }
    }
    .emit()
}

/// What the gateway's kernel says when it is asked for its address.
fn gateway_answer(question: &[u8]) -> Option<Vec<u8>> {
    let (asker, address) = (question.get(22..28)?, question.get(28..32)?);
    (question.get(38..42)? == GATEWAY.octets()).then_some(())?;
    let Mac(mac) = GATEWAY_CARD;
    let head = [8, 6, 0, 1, 8, 0, 6, 4, 0, 2];
    Some([asker, &mac, &head, &mac, &GATEWAY.octets(), asker, address].concat())
}

pub(crate) fn host_address(index: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 201 + u8::try_from(index).unwrap()))
}

fn arp_request(target: Ipv4Addr) -> Vec<u8> {
    let Mac(client) = CLIENT_CARD;
    let mut frame = vec![0xff; 6];
    frame.extend(client);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(client);
    frame.extend([192, 0, 2, 250]);
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

/// The address that a frame of ours says is its sender's.
fn claimed_address(frame: &[u8]) -> Option<IpAddr> {
    match frame.get(12..14)? {
        [8, 6] => {
            let octets: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
            Some(IpAddr::from(octets))
        }
        // A neighbour advertisement after an IPv6 header (RFC 4861 §4.4).
        [0x86, 0xdd] => {
            let octets: [u8; 16] = frame.get(62..78)?.try_into().ok()?;
            (frame.get(54) == Some(&136)).then(|| IpAddr::from(octets))
        }
        _ => None,
    }
}

/// Who asks, if he says so, for which address: an ARP request of somebody for another one's address, or a neighbour
/// solicitation.
fn question(frame: &[u8]) -> Option<(Option<IpAddr>, IpAddr)> {
    let named = |asker: IpAddr| (!asker.is_unspecified()).then_some(asker);
    match Frame::parse(frame).ok()? {
        Frame::Arp { arp, .. } if arp.operation == ArpOperation::Request && arp.sender != arp.target => {
            Some((named(arp.sender.into()), arp.target.into()))
        }
        Frame::Neighbor { ipv6, neighbor: NeighborRepr::Solicit { target, .. }, .. } => {
            Some((named(ipv6.source.into()), target.into()))
        }
        Frame::Arp { .. } | Frame::Neighbor { .. } => None,
    }
}
