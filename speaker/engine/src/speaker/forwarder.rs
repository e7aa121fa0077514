use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use landfall_model::{EndpointSlice, Instant, Reason, ServiceKey};

use super::relays::Relays;
use crate::{
    Command,
    cluster::Cluster,
    forwarding::{ForwardingTable, HealthyNodes, RELAYED},
    membership::MemberState,
};

/// Rules of an address outlive its ownership by this time, for clients that did not notice the move yet.
const LINGER: Duration = Duration::from_secs(5);
/// After a failure the rules are tried again this much later.
const RETRY: Duration = Duration::from_secs(5);
/// How often the rules are looked at, since others can remove them: the start of a firewall flushes everything.
const REVIEW: Duration = Duration::from_secs(30);

/// Keeps the forwarding rules of this node at what its addresses need: one change is under way at a time, and the next
/// one carries everything that happened meanwhile.
///
/// Rules that an earlier run left behind stay until this one knows what it owns.
#[derive(Debug)]
pub(super) struct Forwarder {
    node: Box<str>,
    /// The settings say that this node can.
    wanted: bool,
    /// Whether its kernel can relay.
    relays_too: bool,
    failed: bool,
    /// Addresses in mode `node-port` that we own, with the Services to forward for.
    needed: BTreeMap<IpAddr, BTreeSet<ServiceKey>>,
    /// The same of addresses that we owned a moment ago, or may own in a moment.
    lingering: BTreeMap<IpAddr, (Instant, BTreeSet<ServiceKey>)>,
    relays: Relays,
    /// Until then what began here may still be open.
    open: Option<Instant>,
    /// Why nothing is forwarded for a Service.
    refused: BTreeMap<(IpAddr, ServiceKey), Reason>,
    dirty: bool,
    /// Before this, an empty table would only take away what an earlier run left.
    first: Option<Instant>,
    retry: Option<Instant>,
    /// When the rules in force are asked for again.
    review: Option<Instant>,
    under_way: Option<ForwardingTable>,
    in_force: Option<ForwardingTable>,
    programmed: BTreeSet<IpAddr>,
}

impl Forwarder {
    pub(super) fn new(node: &str, able: bool, relays_too: bool) -> Self {
        Self {
            node: node.into(),
            wanted: able,
            relays_too,
            failed: false,
            needed: BTreeMap::new(),
            lingering: BTreeMap::new(),
            relays: Relays::default(),
            open: None,
            refused: BTreeMap::new(),
            dirty: false,
            first: None,
            retry: None,
            review: None,
            under_way: None,
            in_force: None,
            programmed: BTreeSet::new(),
        }
    }

    /// Whether this node can forward, as far as it knows.
    pub(super) const fn is_able(&self) -> bool {
        self.wanted && !self.failed
    }

    /// This node may decide now. Rules of an earlier run for addresses that it does not get back linger too.
    pub(super) fn start(&mut self, now: Instant) {
        self.first = Some(now + LINGER);
        self.open = Some(now + RELAYED);
    }

    /// Says what an owned address needs; `None` when it is not owned any more. An empty set means mode `announce`.
    pub(super) fn set(&mut self, address: IpAddr, services: Option<BTreeSet<ServiceKey>>, now: Instant) {
        if services.is_none() {
            self.dirty |= self.relays.end(address);
        }
        match services.filter(|services| !services.is_empty()) {
            Some(services) => {
                self.lingering.remove(&address);
                self.needed.insert(address, services);
                // Also when the Services are the same: their endpoints or ports may have changed.
                self.dirty = true;
            }
            None => {
                if let Some(services) = self.needed.remove(&address) {
                    self.open = Some(now + RELAYED);
                    self.lingering.insert(address, (now + LINGER, services));
                }
            }
        }
    }

    /// This node may soon own an address that needs this: as if it had owned it until now. Its rules are then in force before
    /// it answers, and nobody waits for them. Where it owns nothing they change nothing, since no packets arrive.
    pub(super) fn expect(&mut self, address: IpAddr, services: BTreeSet<ServiceKey>, now: Instant) {
        if !services.is_empty() && !self.needed.contains_key(&address) {
            self.lingering.insert(address, (now + LINGER, services));
            self.dirty = true;
        }
    }

    /// An address that was owned by a node until now, and by us from now on. The node lives, and is on a segment with us by the
    /// address `to`: it goes on with what it began.
    pub(super) fn relay(&mut self, address: IpAddr, node: &str, to: IpAddr, now: Instant) {
        if self.is_able() && self.relays_too {
            self.relays.begin(address, node, to, now);
            self.dirty = true;
        }
    }

    /// How a node stands now, and stood before.
    pub(super) fn follow(&mut self, node: &str, before: MemberState, state: MemberState, now: Instant) {
        self.dirty |= self.relays.follow(node, before, state, now);
    }

    /// The nodes changed, or who of them is alive.
    pub(super) fn touch(&mut self) {
        self.dirty |= !self.needed.is_empty();
    }

    /// Whether packets for an owned address will arrive where they belong: it needs no rules, or has them. What can only be
    /// relayed is no reason to wait where the rules cannot be had.
    pub(super) fn is_ready(&self, address: IpAddr) -> bool {
        let forwards = !self.needed.contains_key(&address) || self.programmed.contains(&address);
        let relays = || {
            let in_force = self.in_force.as_ref().is_some_and(|table| table.relays().contains_key(&address));
            in_force || self.failed || !self.relays.contains(address)
        };
        forwards && relays()
    }

    /// Why a Service of an owned address is not forwarded.
    pub(super) fn refusal(&self, address: IpAddr, service: &ServiceKey) -> Option<Reason> {
        let refusal = || self.refused.get(&(address, service.clone())).copied();
        let waiting = || (!self.is_ready(address)).then_some(Reason::ForwardingUnavailable);
        refusal().or_else(waiting)
    }

    /// Takes in how the last change went. Says whether [`Self::is_able`] changed.
    pub(super) fn handle_result(&mut self, result: Result<(), Box<str>>, now: Instant) -> bool {
        let Some(table) = self.under_way.take() else { return false };
        let before = self.failed;
        self.failed = result.is_err();
        if self.failed {
            self.dirty = true;
            self.retry = Some(now + RETRY);
        } else {
            self.retry = None;
            self.review = (!table.is_empty()).then_some(now + REVIEW);
            self.programmed = table.iter().map(|(frontend, _)| frontend.address).collect();
            self.in_force = Some(table);
        }
        before != self.failed
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if !self.wanted || self.under_way.is_some() {
            return None;
        }
        if self.retry.is_some() {
            return self.retry;
        }
        let ends = self.lingering.values().map(|(end, _)| *end);
        let first = self.first.filter(|_| self.in_force.is_none());
        let others = [self.relays.next(), self.open, self.review, first];
        ends.chain(others.into_iter().flatten()).min()
    }

    /// The next change, if one is due.
    pub(super) fn step(&mut self, cluster: &Cluster, now: Instant) -> Option<Command> {
        let first = self.first?;
        if !self.wanted || self.under_way.is_some() {
            return None;
        }
        let before = self.lingering.len();
        self.lingering.retain(|_, (end, _)| *end > now);
        self.dirty |= self.lingering.len() != before;
        self.dirty |= self.relays.expire(now) | self.open.take_if(|at| *at <= now).is_some();
        let overdue = self.in_force.is_none() && now >= first;
        let review = self.review.is_some_and(|at| at <= now);
        if !(self.dirty || overdue || review) || self.retry.is_some_and(|at| now < at) {
            return None;
        }
        self.retry = None;
        self.review = self.review.filter(|_| !review);
        self.dirty = false;
        let table = self.build(cluster);
        if self.in_force.is_none() && !overdue && table.is_empty() {
            return None;
        }
        if self.in_force.as_ref() == Some(&table) && !self.failed && !review {
            return None;
        }
        self.under_way = Some(table.clone());
        Some(Command::Forward(table))
    }

    fn build(&mut self, cluster: &Cluster) -> ForwardingTable {
        let state = |node: &str| cluster.member(node).map(|member| member.state);
        let heard = |node: &str| state(node).is_some_and(MemberState::is_heard);
        let healthy = HealthyNodes::new(cluster.nodes(), cluster.settings().ignore_exclude_lb, heard);
        let dead = |node: &str| state(node) == Some(MemberState::Dead);
        let mut table = ForwardingTable::new(&self.node);
        self.refused.clear();
        let lingering = self.lingering.iter().map(|(address, (_, services))| (address, services));
        for (address, services) in self.needed.iter().chain(lingering) {
            for key in services {
                let Some(service) = cluster.service(key) else { continue };
                let slices: Vec<_> = cluster.slices(key).map(|slice| without(slice, &dead)).collect();
                let added = match table.add(*address, service, slices.iter().map(AsRef::as_ref), &healthy) {
                    // It may be only the speaker that is dead, so the last endpoints of all are tried.
                    Err(Reason::NoEndpoints) => table.add(*address, service, cluster.slices(key), &healthy),
                    added => added,
                };
                if let Err(reason) = added {
                    self.refused.insert((*address, key.clone()), reason);
                }
            }
        }
        for (address, node) in self.relays.iter() {
            table.relay(address, node);
        }
        if self.open.is_some() && table.iter().next().is_none() {
            table.keep_translations();
        }
        table
    }
}

/// The slice without the endpoints of dead nodes: peers know sooner than the API server that they do not answer.
fn without<'a>(
    slice: &'a EndpointSlice,
    dead: &impl Fn(&str) -> bool,
) -> std::borrow::Cow<'a, EndpointSlice> {
    let is_dead = |node: &Option<Box<str>>| node.as_deref().is_some_and(dead);
    if !slice.endpoints.iter().any(|endpoint| is_dead(&endpoint.node)) {
        return std::borrow::Cow::Borrowed(slice);
    }
    let mut slice = slice.clone();
    slice.endpoints.retain(|endpoint| !is_dead(&endpoint.node));
    std::borrow::Cow::Owned(slice)
}
