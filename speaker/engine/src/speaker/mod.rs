//! The whole machine of one node: observations, links, frames, datagrams and time go in; frames, datagrams, forwarding
//! rules and reports come out. The IO sibling is the driver loop of `landfall-speaker`.
//!
//! ```text
//! Observed ─▶ Cluster ──┐                      ┌─▶ Responder ─▶ frames
//! Link ────▶ Links ─────┼─▶ Ownership ─ roles ─┼─▶ Forwarder ─▶ rules
//! Datagram ▶ Membership ┘       │              └─▶ Reports ───▶ status, events
//!                ▲──── claims ──┘
//! ```
//!
//! The order inside one step is the safety of it: who lost an address is silent before anything else is sent; who takes
//! one over claims it first, programs forwarding next, and answers last.

mod agreement;
mod flood;
mod forwarder;
mod isolation;
mod kernel;
mod relays;
mod report;
mod rivals;
mod snapshot;
mod step;
mod takeover;
#[cfg(test)]
mod tests;
mod verify;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use landfall_model::{Instant, Observation, SpeakerView};

pub use isolation::Minority;
pub use report::{ADDRESS_CONFLICT, MOVE_WAITS, NOT_CONFIRMED};
pub use snapshot::{MemberView, OwnerView, Snapshot};

use self::{
    agreement::Agreement, flood::Flood, forwarder::Forwarder, isolation::Isolation, report::Reports,
    rivals::Rivals, takeover::Takeovers,
};
use crate::{
    Command, Input, Mac,
    cluster::{self, Cluster, GroupId, Member},
    links::{Links, NamePattern, Usable},
    membership::{self, BootId, MemberState, Membership, Profile, Timing},
    ownership::Ownership,
    responder::Responder,
    verification::{Checks, Looks},
};

/// A shutdown takes at most this long.
const SHUTDOWN: Duration = Duration::from_secs(2);

/// What a [`Speaker`] must know from the start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of our node.
    pub node: Box<str>,
    /// Which Services and nodes count.
    pub cluster: cluster::Settings,
    /// This run of the process.
    pub boot: BootId,
    /// Random bits for jitter.
    pub seed: u64,
    /// Intervals and windows of membership.
    pub timing: Timing,
    /// The UDP port of membership, the same on all nodes.
    pub port: u16,
    /// Interfaces that never announce.
    pub exclude: Vec<NamePattern>,
    /// This node can forward in mode `node-port`.
    pub node_port: bool,
    /// And it can relay connections to the owner before.
    pub relays: bool,
    /// Our version, for people.
    pub version: Box<str>,
    /// There is no API server: the machines agree on addresses among themselves.
    pub standalone: bool,
    /// What becomes of addresses on a side without a majority.
    pub minority: Minority,
    /// After how long as the best candidate this node takes addresses back from a living owner; `None`: never.
    pub fail_back: Option<Duration>,
    /// How often an address that this node owns is announced again; `None`: never. See [`Responder::refreshing`].
    pub refresh: Option<Duration>,
}

/// The machine.
///
/// After [`Self::handle`] or [`Self::handle_timeout`], drain [`Self::next_command`] and carry the commands out in
/// order, then read [`Self::poll_timeout`] again. Calling [`Self::handle_timeout`] early or twice does nothing; late
/// calls delay heartbeats, and peers take over from a node that is silent for long. Read waiting datagrams before
/// calling it.
#[derive(Debug)]
pub struct Speaker {
    node: Box<str>,
    port: u16,
    version: Box<str>,
    interval: Duration,
    /// A timer that is this late means that this process stood still.
    stall: Duration,
    cluster: Cluster,
    links: Links,
    membership: Membership,
    ownership: Ownership,
    responder: Responder,
    forwarder: Forwarder,
    reports: Reports,
    rivals: Rivals,
    takeovers: Takeovers,
    /// What peers saw of what we announce.
    checks: Checks,
    /// What we look for, because peers ask us to.
    looks: Looks,
    flood: Flood,
    /// What is listened to follows from the pools as they are.
    listens: bool,
    /// The cards that answered questions to kernels, while any are asked.
    cards: BTreeMap<IpAddr, Mac>,
    isolation: Isolation,
    /// Standalone only.
    agreement: Option<Agreement>,
    /// By the name of their Pod.
    speakers: BTreeMap<Box<str>, SpeakerView>,
    speakers_changed: bool,
    /// What the addresses that we own need, by address: interfaces.
    wanted: BTreeMap<IpAddr, Usable>,
    /// Addresses whose place in the responder must be looked at.
    unapplied: BTreeSet<IpAddr>,
    /// Groups whose claims changed. All of them are evaluated in the same step.
    urgent: BTreeSet<GroupId>,
    /// Groups to evaluate, a bounded number in each step.
    dirty: BTreeSet<GroupId>,
    /// It knows enough to decide.
    ready: bool,
    /// After a stall: answer nothing until the others had time to say what they took over.
    mute_until: Option<Instant>,
    /// When shutdown ends at the latest.
    leaving: Option<Instant>,
    finished: bool,
    /// How many groups were evaluated so far.
    evaluations: u64,
    last: Instant,
    commands: VecDeque<Command>,
}

impl Speaker {
    /// A machine that has seen nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let Settings {
            node,
            cluster,
            boot,
            seed,
            timing,
            port,
            exclude,
            node_port,
            relays,
            version,
            standalone,
            minority,
            fail_back,
            refresh,
        } = settings;
        let membership = membership::Settings { node: node.clone(), boot, timing, seed };
        Self {
            port,
            version,
            interval: timing.interval,
            stall: timing.detection() / 2,
            cluster: Cluster::new(cluster),
            links: Links::new(exclude),
            membership: Membership::new(membership),
            ownership: Ownership::new(&node, fail_back),
            responder: Responder::refreshing(refresh, seed),
            forwarder: Forwarder::new(&node, node_port, relays),
            reports: Reports::new(&node),
            rivals: Rivals::default(),
            takeovers: Takeovers::default(),
            checks: Checks::default(),
            looks: Looks::default(),
            flood: Flood::default(),
            listens: true,
            cards: BTreeMap::new(),
            isolation: Isolation::new(minority, timing),
            agreement: standalone.then(Agreement::default),
            speakers: BTreeMap::new(),
            speakers_changed: false,
            wanted: BTreeMap::new(),
            unapplied: BTreeSet::new(),
            urgent: BTreeSet::new(),
            dirty: BTreeSet::new(),
            ready: false,
            mute_until: None,
            leaving: None,
            finished: false,
            evaluations: 0,
            last: Instant::ZERO,
            commands: VecDeque::new(),
            node,
        }
    }

    /// Takes an input in. Never blocks, never fails; bad input is counted by the part that it is for.
    pub fn handle(&mut self, input: Input, now: Instant) {
        if self.finished {
            return;
        }
        self.last = now;
        if self.overslept(now) {
            // What is heard now may be what others did meanwhile.
            self.ownership.stalled();
        }
        match input {
            Input::Observed(observation) => self.observe(observation),
            Input::Link(index, link) => {
                self.responder.handle_link(index, link.as_ref(), now);
                let links = [self.links.get(index), link.as_ref()];
                let gateways = links.into_iter().flatten().any(|link| !link.gateways.is_empty());
                // Most links are those of pods, and tell nothing about what we announce.
                if self.links.handle(index, link) {
                    self.unapplied.extend(self.wanted.keys());
                    self.checks.restart(now);
                    self.present(now);
                }
                if gateways {
                    self.isolation.set_gateways(self.links.gateways().map(|(gateway, _)| gateway), now);
                    self.show_gateways();
                }
            }
            Input::Frame { interface, bytes } => {
                self.flood.note(now);
                if self.overslept(now) {
                    self.handle_timeout(now);
                }
                let answer = self.take_answer(interface, &bytes, now);
                if !answer {
                    self.responder.handle_frame(interface, &bytes, now);
                }
                // A gateway's answer may be what a decision waits for; other frames change nothing here.
                if !answer || self.isolation.decides() {
                    self.drain_responder(now);
                    return;
                }
            }
            Input::Datagram { from, bytes } => self.membership.handle_datagram(from, &bytes, now),
            Input::Keys(keys) => self.membership.set_keys(keys, now),
            Input::Forwarding(result) => {
                if self.forwarder.handle_result(result, now) {
                    self.present(now);
                }
                self.unapplied.extend(self.wanted.keys());
            }
            Input::Shutdown => self.shut_down(now),
        }
        self.step(now);
    }

    /// To be called at [`Self::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.finished {
            return;
        }
        self.last = now;
        self.membership.handle_timeout(now);
        self.step(now);
        self.responder.handle_timeout(now);
        self.drain_responder(now);
    }

    /// When [`Self::handle_timeout`] is to be called; a time that has passed means at once.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.finished {
            return None;
        }
        let decides = self.ready && self.isolation.decides();
        let more = (decides && !self.dirty.is_empty()).then_some(self.last);
        [
            self.membership.poll_timeout(),
            self.isolation.poll_timeout(),
            self.ownership.poll_timeout().filter(|_| decides),
            self.responder.poll_timeout(),
            self.forwarder.poll_timeout(),
            self.checks.next(),
            self.looks.next(),
            self.agreement.as_ref().and_then(Agreement::tell_at),
            self.takeovers.next(),
            self.mute_until,
            self.leaving,
            more,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The next thing to do; drain to `None`.
    pub fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// How many times a group of addresses was decided about. It rises with what changes, not with what there is.
    #[must_use]
    pub const fn evaluations(&self) -> u64 {
        self.evaluations
    }

    /// Its membership, to read.
    #[must_use]
    pub const fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Its responder, to read.
    #[must_use]
    pub const fn responder(&self) -> &Responder {
        &self.responder
    }

    /// What peers saw of what it announces, to read.
    #[must_use]
    pub const fn checks(&self) -> &Checks {
        &self.checks
    }

    /// Its links, to read.
    #[must_use]
    pub const fn links(&self) -> &Links {
        &self.links
    }

    /// This process stood still, and does not know it yet. Others may own what it would answer for.
    fn overslept(&self, now: Instant) -> bool {
        self.membership.poll_timeout().is_some_and(|due| now.since(due) > self.stall)
    }

    fn observe(&mut self, observation: Observation) {
        match observation {
            Observation::Speaker(pod, view) => {
                self.speakers_changed = true;
                match view {
                    Some(view) => self.speakers.insert(pod, view),
                    None => self.speakers.remove(&pod),
                };
            }
            Observation::Synced => {
                self.speakers_changed = true;
                self.cluster.observe(Observation::Synced);
            }
            Observation::Service(key, view) => {
                if let Some(agreement) = &mut self.agreement {
                    agreement.observe(&key, view.as_deref());
                }
                self.cluster.observe(Observation::Service(key, view));
            }
            other @ (Observation::Pool(_, _)
            | Observation::L2Advertisement(_, _)
            | Observation::Bgp(_)
            | Observation::Node(_, _)
            | Observation::EndpointSlice(_, _)
            | Observation::Namespace(_, _)
            | Observation::Announcement(_, _)
            | Observation::Invalid(_, _)) => self.cluster.observe(other),
        }
    }

    fn shut_down(&mut self, now: Instant) {
        if self.leaving.is_some() {
            return;
        }
        self.leaving = Some(now + SHUTDOWN);
        self.membership.leave(now);
        self.present(now);
    }

    /// Tells the cluster index and the peers what this node is and can.
    fn present(&mut self, now: Instant) {
        let settled = !self.membership.is_doubted();
        let state =
            if self.leaving.is_some() { MemberState::Leaving } else { MemberState::Alive { settled } };
        let links = self.links.summary().to_vec();
        let node_port = self.forwarder.is_able();
        let given_up = self.checks.given_up().clone();
        let member =
            Member { state, links: Some(links.clone()), node_port, looks: true, given_up: given_up.clone() };
        self.cluster.set_member(&self.node, Some(member));
        let assigned = self.agreement.as_ref().map(Agreement::told).unwrap_or_default();
        let version = self.version.clone();
        let profile = Profile { links, node_port, looks: true, given_up, version, assigned };
        self.membership.set_profile(&profile, now);
    }

    /// The other speakers by node. During an update a node has two for a moment, usually with the same address.
    fn peers(&self) -> BTreeMap<Box<str>, Vec<SocketAddr>> {
        let mut peers: BTreeMap<Box<str>, Vec<SocketAddr>> = BTreeMap::new();
        for view in self.speakers.values() {
            let known = peers.entry(view.node.clone()).or_default();
            for address in &view.addresses {
                let address = SocketAddr::new(*address, self.port);
                if !known.contains(&address) {
                    known.push(address);
                }
            }
        }
        peers
    }
}
