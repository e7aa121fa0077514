use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
};

use landfall_model::Instant;

use super::{
    claims::{Claim, ClaimChanges, Ledger, digest64},
    counters::Counters,
    event::{Event, Member},
    graph::{Graph, REPEATS, Stale},
    key::Key,
    member::{MemberState, Signal, next_state},
    message::{BootId, Phase, Stamp},
    peer::{Peer, PeerId},
    profile::Profile,
    settings::{Settings, Timing},
    timers::{Timer, Timers},
};
use crate::random::Random;

/// How many removed members are remembered, so that old packets of theirs stay old when they come back.
const MAX_DEPARTED: usize = 4_096;

/// The machine. After each call that takes `now`, drain [`Membership::next_event`] and read
/// [`Membership::poll_timeout`] again.
///
/// Cost: one packet per peer and interval; a received packet costs a few map lookups and one HMAC, no timer operation.
#[derive(Clone, Debug)]
pub struct Membership {
    pub(super) node: Box<str>,
    pub(super) name_digest: u64,
    pub(super) boot: BootId,
    /// A peer has echoed this run, so it is no older than what peers know.
    pub(super) confirmed: bool,
    pub(super) sequence: u64,
    pub(super) timing: Timing,
    pub(super) random: Random,
    pub(super) keys: Vec<Key>,
    leaving: bool,
    pub(super) settled: bool,
    /// The set of members has been given once.
    pub(super) have_peers: bool,
    pub(super) settling_since: Option<Instant>,
    pub(super) peers: BTreeMap<PeerId, Peer>,
    pub(super) names: BTreeMap<Box<str>, PeerId>,
    pub(super) sources: BTreeSet<IpAddr>,
    /// Peers whose kernels are being asked.
    pub(super) asked: BTreeSet<PeerId>,
    /// Peers that are silent, as far as we can tell, and that no other juror has called so.
    pub(super) suspects: BTreeSet<PeerId>,
    pub(super) graph: Graph,
    /// Peers that are suspected or not heard, the last ones first.
    pub(super) lost: BTreeSet<(Reverse<Instant>, PeerId)>,
    /// We stood still: until then we cannot tell who is silent.
    pub(super) unfit_until: Instant,
    departed: BTreeMap<Box<str>, Stamp>,
    next_id: u32,
    /// How many members are heard.
    pub(super) heard: usize,
    /// Peers that say that this node was lost, and must be heard for longer before it counts again.
    pub(super) doubters: BTreeSet<PeerId>,
    /// One of them is heard.
    pub(super) doubted: bool,
    /// Digest of the members that are alive, ourselves included.
    pub(super) view: u64,
    pub(super) profile: Vec<u8>,
    pub(super) profile_digest: u64,
    pub(super) claims: Ledger,
    /// Claims that changed a moment ago; heartbeats repeat them in case the first packet was lost.
    pub(super) recent: VecDeque<(Instant, IpAddr)>,
    pub(super) timers: Timers,
    pub(super) events: VecDeque<Event>,
    pub(super) counters: Counters,
}

impl Membership {
    /// A machine that knows nobody. It sends once it has keys and peers.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let Settings { node, boot, timing, seed } = settings;
        let name_digest = digest64(node.as_bytes());
        let timing = timing.within_limits();
        Self {
            node,
            name_digest,
            boot,
            confirmed: false,
            sequence: 0,
            timing,
            random: Random::new(seed),
            keys: Vec::new(),
            leaving: false,
            settled: false,
            have_peers: false,
            settling_since: None,
            peers: BTreeMap::new(),
            names: BTreeMap::new(),
            sources: BTreeSet::new(),
            asked: BTreeSet::new(),
            suspects: BTreeSet::new(),
            graph: Graph::new(name_digest, timing.interval),
            lost: BTreeSet::new(),
            unfit_until: Instant::ZERO,
            departed: BTreeMap::new(),
            next_id: 0,
            heard: 0,
            doubters: BTreeSet::new(),
            doubted: false,
            view: name_digest,
            profile: Vec::new(),
            profile_digest: 0,
            claims: Ledger::default(),
            recent: VecDeque::new(),
            timers: Timers::default(),
            events: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Makes these the keys: the first one signs, all of them are accepted. To rotate without a gap, first add the
    /// new key at the end everywhere, then move it to the front, then drop the old one. Meanwhile a member that has one of them
    /// only is answered by that one. Without keys nothing is sent or accepted.
    pub fn set_keys(&mut self, keys: Vec<Key>, now: Instant) {
        let first = self.keys.is_empty() && !keys.is_empty();
        self.keys = keys;
        self.peers.values_mut().for_each(|peer| peer.key = None);
        if first {
            for id in self.peers.keys() {
                self.timers.arm(Timer::Send(*id), now);
            }
            self.peers.values_mut().for_each(|peer| peer.quick = REPEATS);
        }
        self.start_settling(now);
    }

    /// Makes these the other members, with the addresses of their membership ports; our own name is left out. Call it
    /// when the set is known for the first time, also if it is empty, and when it changes. While the API server is
    /// away, do not call it: the last set stays. Members that stay keep their state, also when addresses change.
    pub fn set_peers(&mut self, mut peers: BTreeMap<Box<str>, Vec<SocketAddr>>, now: Instant) {
        peers.remove(&self.node);
        let gone: Vec<PeerId> =
            self.names.iter().filter(|(node, _)| !peers.contains_key(*node)).map(|(_, id)| *id).collect();
        for id in gone {
            self.remove(id, now);
        }
        self.sources = peers.values().flatten().map(|address| address.ip().to_canonical()).collect();
        for (node, addresses) in peers {
            match self.names.get(&node).and_then(|id| self.peers.get_mut(id)) {
                Some(peer) => peer.addresses = addresses,
                None => self.add(node, addresses, now),
            }
        }
        self.have_peers = true;
        self.reconsider(now);
        self.tend(now);
        self.start_settling(now);
        self.try_settle(now);
    }

    /// Makes this what we tell others about ourselves. They are told at once that it changed. Call it before the first
    /// [`Membership::set_peers`], so that nobody hears of this node without it.
    pub fn set_profile(&mut self, profile: &Profile, now: Instant) {
        let (bytes, left_out) = profile.encode();
        if bytes == self.profile {
            return;
        }
        self.counters.links_left_out += left_out;
        self.profile_digest = digest64(&bytes);
        self.profile = bytes;
        self.beat_all(now);
    }

    /// Makes these our claims, at the cost of a comparison. See [`Membership::change_claims`].
    pub fn set_claims(&mut self, claims: &BTreeMap<IpAddr, Claim>, now: Instant) {
        let changes = self.claims.difference(claims);
        self.change_claims(&changes, now);
    }

    /// Changes our claims and pushes what changed to everyone who hears us, in packets that go out with this call.
    pub fn change_claims(&mut self, changes: &ClaimChanges, now: Instant) {
        let changed: Vec<_> = changes
            .iter()
            .filter(|(address, claim)| self.claims.set(**address, **claim))
            .map(|(address, claim)| (*address, *claim))
            .collect();
        self.push_changes(&changed, now);
    }

    /// Says goodbye: from now on we tell everyone that we are leaving, at once and with each heartbeat.
    pub fn leave(&mut self, now: Instant) {
        if !self.leaving {
            self.leaving = true;
            self.beat_all(now);
        }
    }

    /// To be called at [`Membership::poll_timeout`]. Earlier or twice does nothing. Read all waiting datagrams first:
    /// a call that is late by more than half of [`Timing::detection`] is our own stall, and a shorter one counts
    /// against the peers whose packets were not read yet.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some((due, _)) = self.timers.first().filter(|(due, _)| *due <= now) else { return };
        let late = now.since(due);
        if late > self.timing.detection() / 2 {
            self.restart_windows(due, now);
            self.counters.stalls += 1;
            self.events.push_back(Event::Stalled { late });
        }
        // Heartbeats that are almost due go along: one wake-up then serves many of 1,000 peers.
        let soon = now + self.timing.interval / 20;
        while let Some((at, timer)) = self.timers.first() {
            let early = matches!(timer, Timer::Send(_)) && at <= soon;
            if at > now && !early {
                break;
            }
            self.timers.disarm(timer);
            self.fire(timer, now);
        }
        self.tend(now);
    }

    /// When [`Membership::handle_timeout`] is to be called; `None` while there is nothing to wait for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| at)
    }

    /// The next event. Drain to `None` after each call of another method that takes `now`.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether we know enough to decide: all members were heard and their profiles and claims read, or
    /// [`Timing::settle`] passed since the members (and, unless we are alone, a key) are known. Members that are heard
    /// but not yet read delay it up to three times that. Announce nothing before. Never false again.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.settled
    }

    /// Whether any other member is heard. `false` with members present means that we are cut off, or all alone.
    #[must_use]
    pub fn hears_anyone(&self) -> bool {
        self.heard > 0 && !self.graph.alone
    }

    /// How many other members are heard, and how many there are. None is heard as soon as there was no packet of any of them
    /// for one detection time, although most have not been judged yet.
    #[must_use]
    pub fn reach(&self) -> (usize, usize) {
        let heard = if self.graph.alone { 0 } else { self.heard };
        (heard, self.peers.len())
    }

    /// Whether another member says that this node was lost, and must be heard for longer before it counts again.
    #[must_use]
    pub const fn is_doubted(&self) -> bool {
        self.doubted
    }

    /// Somebody who is heard says something else of us, or stands differently. Costs those who doubt.
    pub(super) fn weigh_doubts(&mut self) {
        let mut doubters = self.doubters.iter().filter_map(|id| self.peers.get(id));
        let doubted = doubters.any(Peer::is_living);
        if doubted != self.doubted {
            self.doubted = doubted;
            self.events.push_back(Event::Doubted(doubted));
        }
    }

    /// Whether the profiles and claims of all members that are heard are known. Costs the members.
    #[must_use]
    pub fn has_read_everyone(&self) -> bool {
        self.peers.values().all(|peer| !peer.state.is_heard() || peer.in_sync())
    }

    /// A member by its node's name.
    #[must_use]
    pub fn member(&self, node: &str) -> Option<Member<'_>> {
        let peer = self.peers.get(self.names.get(node)?)?;
        Some(self.view_of(peer))
    }

    /// All other members, by name.
    pub fn members(&self) -> impl Iterator<Item = Member<'_>> {
        self.names.values().filter_map(|id| self.peers.get(id)).map(|peer| self.view_of(peer))
    }

    /// What we claim.
    #[must_use]
    pub fn own_claims(&self) -> &BTreeMap<IpAddr, Claim> {
        self.claims.claims()
    }

    /// What we say of ourselves.
    #[must_use]
    pub fn phase(&self) -> Phase {
        if self.leaving {
            Phase::Leaving
        } else if self.settled {
            Phase::Serving
        } else {
            Phase::Joining
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn view_of<'a>(&self, peer: &'a Peer) -> Member<'a> {
        Member {
            node: &peer.node,
            state: peer.state,
            phase: peer.phase,
            boot: peer.stamp.map(|stamp| stamp.boot),
            in_sync: peer.in_sync(),
            suspected: peer.suspected.is_some(),
            flapping: peer.state == (MemberState::Alive { settled: false }) && peer.probation.is_repeated(),
            heard: Some(peer.spoke_at).filter(|at| *at > Instant::ZERO),
            same_view: peer.theirs.is_some_and(|theirs| theirs.view == self.view),
            profile: peer.profile.as_ref(),
            claims: peer.claims.claims(),
        }
    }

    fn add(&mut self, node: Box<str>, addresses: Vec<SocketAddr>, now: Instant) {
        let id = PeerId(self.next_id);
        self.next_id += 1;
        let mut peer = Peer::new(node.clone(), addresses, self.timing.interval);
        peer.stamp = self.departed.remove(&node);
        self.graph.ring.insert(peer.name_digest, id);
        self.graph.stale = Stale::Members;
        self.peers.insert(id, peer);
        self.lose(id, Instant::ZERO);
        self.names.insert(node.clone(), id);
        self.timers.arm(Timer::Send(id), now);
        self.events.push_back(Event::State { node, state: MemberState::Unknown });
    }

    fn remove(&mut self, id: PeerId, now: Instant) {
        self.transition(id, Signal::Removed, now);
        self.timers.disarm_peer(id);
        self.suspects.remove(&id);
        self.doubters.remove(&id);
        self.find(id);
        let Some(peer) = self.peers.remove(&id) else { return };
        self.graph.ring.remove(peer.name_digest, id);
        self.graph.stale = Stale::Members;
        if let Some(stamp) = peer.stamp {
            if self.departed.len() >= MAX_DEPARTED {
                self.departed.pop_first();
            }
            self.departed.insert(peer.node.clone(), stamp);
        }
        self.names.remove(&peer.node);
    }

    /// Brings a member into its next state, with the timers, sums and events that follow from it.
    pub(super) fn transition(&mut self, id: PeerId, signal: Signal, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let before = peer.state;
        let state = next_state(before, signal);
        if state == before {
            return;
        }
        let lived = peer.is_living();
        peer.state = state;
        if lived != peer.is_living() || before.is_heard() != state.is_heard() {
            self.graph.stale = self.graph.stale.max(Stale::Hearing);
        }
        match (before.is_heard(), state.is_heard()) {
            (false, true) => {
                self.heard += 1;
                self.timers.arm(Timer::Window(id), self.timing.look(peer));
            }
            (true, false) => {
                self.heard -= 1;
                peer.asks = false;
                self.timers.disarm(Timer::Window(id));
                self.timers.disarm(Timer::Sync(id));
            }
            (true, true) | (false, false) => {}
        }
        if before.is_alive() != state.is_alive() {
            self.view ^= peer.name_digest;
        }
        if state == (MemberState::Alive { settled: false }) {
            let until = peer.probation.returned(self.timing.settle, now);
            self.timers.arm(Timer::Settle(id), until);
        } else {
            self.timers.disarm(Timer::Settle(id));
        }
        self.events.push_back(Event::State { node: peer.node.clone(), state });
        self.weigh_doubts();
        if state.is_heard() {
            // One that is suspected stays so until it is absolved.
            if !before.is_heard() {
                self.find(id);
            }
        } else {
            self.lose(id, now);
            self.stop_asking(id);
        }
    }

    fn fire(&mut self, timer: Timer, now: Instant) {
        match timer {
            Timer::OwnSettle => self.try_settle(now),
            Timer::Repeat => self.tell_again(now),
            Timer::Company => self.look_for_company(now),
            Timer::Send(id) => {
                self.beat(id, now);
                self.arm_beat(id, now);
            }
            Timer::Window(id) => self.judge(id, now),
            Timer::Ask(id) => self.inquire(id, now),
            Timer::Settle(id) => self.transition(id, Signal::Stable, now),
            Timer::Sync(id) => self.pull(id, now),
        }
    }
}
