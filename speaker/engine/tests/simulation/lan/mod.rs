//! Several speakers on one simulated segment with a virtual clock. Everything random comes from one seed, so a run
//! can be repeated.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use landfall_engine::{
    Announced, IfIndex, Input, Link, Mac,
    cluster::Settings as ClusterSettings,
    forwarding::ForwardingTable,
    links::NamePattern,
    membership::{BootId, Key, Timing},
    speaker::{Minority, Settings, Speaker},
};
use landfall_model::{
    Assigned, Ingress, Instant, IpMode, NodeView, Observation, Reason, ServiceKey, ServiceView, SpeakerView,
};

use crate::objects::{advertisement, node, pool, see_advertisement, see_node, see_pool, see_service};

mod client;
pub(crate) mod frames;
mod random;
mod traffic;

pub(crate) use frames::host_address;
use frames::{GATEWAY, link_local, mac_of, rival_frame};
pub(crate) use random::Random;

const PORT: u16 = 7946;
pub(crate) const ETH0: IfIndex = IfIndex(2);

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
    /// Microseconds until rules are in force.
    pub(crate) forward_takes: u64,
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
    pub(crate) lost: Vec<(Box<str>, Duration)>,
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
                forward_takes: 3_000,
                sent_table: None,
                table: None,
                tables_seen: 0,
                told: Vec::new(),
                announced: BTreeMap::new(),
                statuses: 0,
                moves: Vec::new(),
                took_over: Vec::new(),
                lost: Vec::new(),
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
            relays: true,
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

    pub(crate) fn run_ms(&mut self, millis: u64) {
        self.run(Duration::from_millis(millis));
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
}
