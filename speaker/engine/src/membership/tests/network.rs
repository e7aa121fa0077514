//! A LAN of [`Membership`] machines on a virtual clock. The same seed gives the same run.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use landfall_model::Instant;

use crate::{
    membership::{
        BootId, Claim, Epoch, Event, Key, MemberState, Membership, Settings, Timing, packet::MAX_LEN,
    },
    random::Random,
};

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);
/// No datagram is longer on its way.
pub(super) const LATENCY: Duration = Duration::from_micros(300);
pub(super) const DETECTION: Duration = Timing::DEFAULT.detection();
/// The longest gap between two heartbeats.
pub(super) const LONGEST: Duration = Duration::from_millis(55);
pub(super) const LIVE: MemberState = MemberState::Alive { settled: true };
pub(super) const BACK: MemberState = MemberState::Alive { settled: false };

pub(super) fn key(secret: &str) -> Key {
    Key::derive(secret.as_bytes(), "cluster").unwrap()
}

pub(super) fn name(node: usize) -> Box<str> {
    format!("n{node}").into()
}

pub(super) fn socket(node: usize) -> SocketAddr {
    let [high, low] = u16::try_from(node).unwrap().to_be_bytes();
    SocketAddr::new(Ipv4Addr::new(10, 0, high, low).into(), 7946)
}

pub(super) fn service(number: u32) -> IpAddr {
    Ipv4Addr::from(0xc612_0000 + number).into()
}

pub(super) fn claim(epoch: u64) -> Claim {
    Claim { epoch: Epoch(epoch) }
}

/// A datagram on its way, or recorded.
#[derive(Clone, Debug)]
pub(super) struct Datagram {
    pub(super) from: SocketAddr,
    pub(super) to: usize,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct Node {
    pub(super) machine: Membership,
    /// Everything it said apart from datagrams.
    pub(super) log: Vec<(Instant, Event)>,
    pub(super) up: bool,
    /// Its kernel answers for its address.
    pub(super) kernel: bool,
    /// Does not run until then; its datagrams wait.
    stalled_until: Option<Instant>,
    inbox: Vec<Datagram>,
}

pub(super) struct Network {
    pub(super) now: Instant,
    pub(super) nodes: Vec<Node>,
    /// Pairs (from, to) that nothing passes.
    pub(super) cut: BTreeSet<(usize, usize)>,
    /// Share of datagrams that are lost, per thousand.
    pub(super) loss: u64,
    /// Longer datagrams vanish on their way.
    pub(super) longest: usize,
    /// What arrives for a stalled process is lost instead of waiting: its socket buffer is full.
    pub(super) full_buffers: bool,
    /// Of machines that are made from now on.
    pub(super) timing: Timing,
    pub(super) sent: u64,
    /// Questions to kernels: when, from whom, to whom.
    pub(super) asks: Vec<(Instant, usize, usize)>,
    /// By whom, and whether to the card alone that answered before.
    pub(super) known: Vec<(usize, bool)>,
    /// Every datagram that was delivered, if recording.
    pub(super) record: Option<Vec<Datagram>>,
    flying: BTreeMap<(Instant, u64), Datagram>,
    /// When each node wants to be woken.
    timers: BTreeSet<(Instant, usize)>,
    armed: Vec<Option<Instant>>,
    random: Random,
    count: u64,
}

impl Network {
    /// Nodes that know each other and share a key, all started at the clock's origin.
    pub(super) fn new(nodes: usize, seed: u64) -> Self {
        let mut network = Self {
            now: Instant::ZERO,
            nodes: Vec::new(),
            cut: BTreeSet::new(),
            loss: 0,
            longest: MAX_LEN,
            full_buffers: false,
            timing: Timing::default(),
            sent: 0,
            asks: Vec::new(),
            known: Vec::new(),
            record: None,
            flying: BTreeMap::new(),
            timers: BTreeSet::new(),
            armed: vec![None; nodes],
            random: Random::new(seed),
            count: 0,
        };
        for node in 0..nodes {
            let machine = network.machine(node, 1_000);
            network.nodes.push(Node {
                machine,
                log: Vec::new(),
                up: true,
                kernel: false,
                stalled_until: None,
                inbox: Vec::new(),
            });
        }
        for node in 0..nodes {
            network.introduce(node);
        }
        network
    }

    /// The same, a second after they all met.
    pub(super) fn settled(nodes: usize, seed: u64) -> Self {
        let mut network = Self::new(nodes, seed);
        network.run_until(SECOND, Self::agrees);
        network.run(SECOND);
        network
    }

    pub(super) fn machine(&mut self, node: usize, seconds: u64) -> Membership {
        let boot = BootId { seconds, random: self.random.next() };
        let seed = self.random.next();
        Membership::new(Settings { node: name(node), boot, timing: self.timing, seed })
    }

    pub(super) fn addresses(&self) -> BTreeMap<Box<str>, Vec<SocketAddr>> {
        (0..self.nodes.len()).map(|node| (name(node), vec![socket(node)])).collect()
    }

    fn introduce(&mut self, node: usize) {
        let peers = self.addresses();
        self.act(node, |machine, now| {
            machine.set_keys(vec![key("secret")], now);
            machine.set_peers(peers, now);
        });
    }

    /// The process is gone from now on.
    pub(super) fn kill(&mut self, node: usize) {
        self.nodes[node].up = false;
        self.arm(node);
    }

    /// A new process whose wall clock says `seconds`.
    pub(super) fn start(&mut self, node: usize, seconds: u64) {
        self.nodes[node].machine = self.machine(node, seconds);
        self.nodes[node].up = true;
        self.nodes[node].inbox.clear();
        self.introduce(node);
    }

    /// The process does not run for a while; what arrives waits for it.
    pub(super) fn stall(&mut self, node: usize, time: Duration) {
        self.nodes[node].stalled_until = Some(self.now + time);
        self.arm(node);
    }

    pub(super) fn isolate(&mut self, node: usize) {
        for other in 0..self.nodes.len() {
            self.cut.insert((node, other));
            self.cut.insert((other, node));
        }
    }

    pub(super) fn act(&mut self, node: usize, act: impl FnOnce(&mut Membership, Instant)) {
        act(&mut self.nodes[node].machine, self.now);
        self.drain(node);
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until `done`, and says when that was.
    pub(super) fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Instant {
        let end = self.now + limit;
        while !done(self) {
            assert!(self.step(end), "not within {limit:?}");
        }
        self.now
    }

    pub(super) fn state(&self, of: usize, seen_by: usize) -> MemberState {
        let machine = &self.nodes[seen_by].machine;
        machine.member(&name(of)).map_or(MemberState::Gone, |member| member.state)
    }

    pub(super) fn states_seen(&self, of: usize, seen_by: usize) -> Vec<MemberState> {
        let node = name(of);
        let log = &self.nodes[seen_by].log;
        let state = |event: &Event| match event {
            Event::State { node: about, state } if *about == node => Some(*state),
            Event::State { .. }
            | Event::Send { .. }
            | Event::Ask { .. }
            | Event::Failing { .. }
            | Event::Restarted { .. }
            | Event::Profile { .. }
            | Event::Claims { .. }
            | Event::Questions { .. }
            | Event::Settled
            | Event::Doubted(_)
            | Event::Stalled { .. } => None,
        };
        log.iter().filter_map(|(_, event)| state(event)).collect()
    }

    /// Everyone who is up sees everyone who is up alive, with the same claims.
    pub(super) fn agrees(&self) -> bool {
        let up: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].up).collect();
        up.iter().all(|a| up.iter().all(|b| a == b || self.knows(*a, *b)))
    }

    fn knows(&self, who: usize, whom: usize) -> bool {
        let member = self.nodes[who].machine.member(&name(whom)).unwrap();
        member.state == LIVE && member.claims == self.nodes[whom].machine.own_claims()
    }

    /// Hands a datagram over at once, as an attacker may.
    pub(super) fn inject(&mut self, datagram: &Datagram) {
        let bytes = &datagram.bytes;
        self.act(datagram.to, |machine, now| machine.handle_datagram(datagram.from, bytes, now));
    }

    fn step(&mut self, end: Instant) -> bool {
        let arrival = self.flying.first_key_value().map(|((at, _), _)| *at);
        let timer = self.timers.first().copied();
        let next = arrival.into_iter().chain(timer.map(|(at, _)| at)).min();
        let Some(at) = next.filter(|at| *at <= end) else { return false };
        self.now = self.now.max(at);
        if arrival == Some(at) {
            self.deliver();
        } else if let Some((_, node)) = timer {
            self.wake(node);
        }
        true
    }

    fn arm(&mut self, node: usize) {
        let wanted = self.wakes(node);
        if let Some(at) = std::mem::replace(&mut self.armed[node], wanted) {
            self.timers.remove(&(at, node));
        }
        self.timers.extend(wanted.map(|at| (at, node)));
    }

    fn wakes(&self, node: usize) -> Option<Instant> {
        let node = &self.nodes[node];
        let due = node.machine.poll_timeout().filter(|_| node.up);
        match node.stalled_until {
            Some(until) => due.map(|due| due.max(until)).or(Some(until)),
            None => due,
        }
    }

    /// As the driver does: first everything that waits in the socket, then the timers.
    fn wake(&mut self, node: usize) {
        self.nodes[node].stalled_until = None;
        for datagram in std::mem::take(&mut self.nodes[node].inbox) {
            self.inject(&datagram);
        }
        if self.nodes[node].up {
            self.act(node, Membership::handle_timeout);
        }
        self.arm(node);
    }

    fn deliver(&mut self) {
        let Some((_, datagram)) = self.flying.pop_first() else { return };
        let to = &mut self.nodes[datagram.to];
        if !to.up {
            return;
        }
        if to.stalled_until.is_some() {
            if !self.full_buffers {
                to.inbox.push(datagram);
            }
            return;
        }
        if let Some(record) = &mut self.record {
            record.push(datagram.clone());
        }
        self.inject(&datagram);
    }

    fn drain(&mut self, node: usize) {
        while let Some(event) = self.nodes[node].machine.next_event() {
            match event {
                Event::Send { to, bytes } => self.send(node, to, bytes),
                Event::Ask { addresses, known, .. } => {
                    self.known.push((node, known));
                    addresses.iter().for_each(|ip| self.ask(node, *ip));
                }
                other @ (Event::State { .. }
                | Event::Failing { .. }
                | Event::Restarted { .. }
                | Event::Profile { .. }
                | Event::Claims { .. }
                | Event::Questions { .. }
                | Event::Settled
                | Event::Doubted(_)
                | Event::Stalled { .. }) => self.nodes[node].log.push((self.now, other)),
            }
        }
        self.arm(node);
    }

    /// The node with this address, see [`socket`].
    fn at(&self, address: IpAddr) -> Option<usize> {
        let IpAddr::V4(address) = address else { return None };
        let [_, _, high, low] = address.octets();
        let node = usize::from(u16::from_be_bytes([high, low]));
        (node < self.nodes.len() && socket(node).ip() == IpAddr::V4(address)).then_some(node)
    }

    fn ask(&mut self, from: usize, address: IpAddr) {
        let Some(to) = self.at(address) else { return };
        self.asks.push((self.now, from, to));
        let joined = !self.cut.contains(&(from, to)) && !self.cut.contains(&(to, from));
        if self.nodes[to].kernel && joined {
            self.nodes[from].machine.handle_answer(address, self.now);
        }
    }

    fn send(&mut self, from: usize, to: SocketAddr, bytes: Vec<u8>) {
        assert!(bytes.len() <= MAX_LEN, "{} bytes would be fragmented", bytes.len());
        self.sent += 1;
        let Some(to) = self.at(to.ip()) else { return };
        let lost = self.random.next() % 1_000 < self.loss || bytes.len() > self.longest;
        if lost || self.cut.contains(&(from, to)) {
            return;
        }
        // Reordering happens: later ones may be faster.
        let latency = Duration::from_micros(200 + self.random.next() % 100);
        self.count += 1;
        let datagram = Datagram { from: socket(from), to, bytes };
        self.flying.insert((self.now + latency, self.count), datagram);
    }
}
