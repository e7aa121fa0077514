//! Answers ARP requests and neighbour solicitations for the addresses that this node announces, and tells the segment
//! when it takes one over, and once more now and then. Default gateways, and hosts that asked lately, are told by a frame
//! of their own too. An address that is new on the segment is asked for first, and is kept from whoever claims it
//! later.
//!
//! Rules: RFC 826 and RFC 5227 for ARP, RFC 4861 §7.2 and RFC 4862 §5.4 for neighbour discovery. Silence is immediate: after
//! [`Responder::withdraw`] no frame of that address leaves, not even one that was waiting.

mod askers;
mod conflict;
mod counters;
mod frames;
mod pacing;
mod ports;
mod probe;
mod refresh;
mod schedule;
mod watch;

pub use askers::{ASKED_WITHIN, ASKERS, ASKERS_OF_ADDRESS, Neighbor};
pub use conflict::{Claimant, Contest, DEFEND_INTERVAL};
pub use counters::{AddressCounters, ConflictCounters, Ignored, RefreshCounters};
pub(crate) use pacing::Pace;
pub use probe::{ASK_EVERY, FIRST_RETRY, LAST_RETRY, QUESTIONS};
pub use refresh::REFRESH_PACE;
pub use schedule::ANNOUNCE_AT;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    hash::{BuildHasherDefault, DefaultHasher},
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use landfall_model::Instant;

use self::{
    askers::Askers,
    conflict::Defences,
    probe::{Probes, Step},
    refresh::Refresh,
    schedule::Schedule,
};
use crate::{
    Command, IfIndex, Link, Mac,
    wire::{self, Frame},
};

/// Answers for addresses, and announces them.
///
/// After every call with `&mut self`, drain [`Self::next_command`]; it gives [`Command::SendFrame`] and
/// [`Command::Group`] only.
#[derive(Debug, Default)]
pub struct Responder {
    addresses: BTreeMap<IpAddr, Announced>,
    /// The keys of `addresses`, asked for every frame on the segment. Its hash has no random key: only our own
    /// configuration puts addresses in, so nobody can choose colliding ones.
    listening: HashSet<IpAddr, BuildHasherDefault<DefaultHasher>>,
    ports: BTreeMap<IfIndex, Port>,
    /// The ports with something in their schedule.
    busy: BTreeSet<IfIndex>,
    pending: VecDeque<Pending>,
    ignored: BTreeMap<Ignored, u64>,
    /// Those of `addresses` that nobody may hear of yet: they are asked for, or held back.
    probes: Probes,
    held: BTreeSet<IpAddr>,
    defences: Defences,
    /// Claims that [`Self::take_claims`] has not given yet.
    claims: BTreeMap<IpAddr, Claimant>,
    /// Addresses that [`Self::take_cleared`] has not given yet.
    cleared: BTreeSet<IpAddr>,
    /// Addresses that [`Self::take_begun`] has not given yet.
    begun: BTreeSet<IpAddr>,
    conflicts: ConflictCounters,
    refresh: Refresh,
    refreshed: RefreshCounters,
    /// The default gateways whose Ethernet addresses are known.
    gateways: Vec<(IfIndex, Neighbor)>,
}

#[derive(Debug, Default)]
struct Announced {
    interfaces: BTreeSet<IfIndex>,
    counters: AddressCounters,
}

/// One interface, from the first time that an address or a link names it until neither does.
#[derive(Debug, Default)]
struct Port {
    /// `None` while the interface cannot send.
    mac: Option<Mac>,
    addresses: BTreeSet<IpAddr>,
    /// How many addresses need each solicited-node group. Empty while the interface cannot send.
    groups: BTreeMap<Ipv6Addr, u32>,
    schedule: Schedule,
    askers: Askers,
}

#[derive(Debug)]
enum Pending {
    /// `mac` is the interface's when the frame was made; if it has another one by the time the frame would leave, the
    /// frame is dropped.
    Frame {
        address: IpAddr,
        interface: IfIndex,
        mac: Mac,
        kind: Kind,
        frame: Frame,
    },
    Group {
        interface: IfIndex,
        group: Ipv6Addr,
        join: bool,
    },
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Response,
    Gratuitous,
    Gateway,
    Asker,
    Probe,
}

impl Pending {
    fn interface(&self) -> IfIndex {
        match self {
            Self::Frame { interface, .. } | Self::Group { interface, .. } => *interface,
        }
    }
}

impl Responder {
    /// Announces nothing yet and knows no interface. What it will announce is not refreshed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, and what it will announce is announced once more about every `every`, or every [`REFRESH_PACE`] for each
    /// address when there are many; `None`: never. `seed` is random, for jitter.
    #[must_use]
    pub fn refreshing(every: Option<Duration>, seed: u64) -> Self {
        Self { refresh: Refresh::new(every, seed), ..Self::default() }
    }

    /// Makes these the default gateways: they are told of each address, when it is announced for the first time, once
    /// more two seconds later, and with each refresh.
    pub fn set_gateways(&mut self, gateways: Vec<(IfIndex, Neighbor)>) {
        self.gateways = gateways;
    }

    /// From now on answers for `address` on exactly these interfaces, and announces it on those that it was not
    /// announced on before. Call it with the whole set at a takeover and whenever the set may have changed; the same
    /// set again does nothing. An interface that [`Self::handle_link`] has not reported yet counts from then on.
    pub fn announce(&mut self, address: IpAddr, interfaces: BTreeSet<IfIndex>, now: Instant) {
        let was_silent = self.probes.stop(address) | self.held.remove(&address);
        self.place(address, interfaces, now);
        if was_silent {
            self.reannounce(address, now);
        }
        self.handle_timeout(now);
    }

    /// As [`Self::announce`], once nobody else has the address: it is asked for first, and until then this node is
    /// silent about it. What comes of it is told by [`Self::take_cleared`] and [`Self::take_claims`]. One that is
    /// announced already stays so.
    pub fn probe(&mut self, address: IpAddr, interfaces: BTreeSet<IfIndex>, now: Instant) {
        let held = self.held.remove(&address);
        let known = self.addresses.get(&address);
        let same = known.is_some_and(|known| known.interfaces == interfaces);
        if held || known.is_none() || (!same && self.probes.contains(address)) {
            self.probes.start(address, now);
        }
        self.place(address, interfaces, now);
        self.handle_timeout(now);
    }

    /// Is silent about an address and remembers who asks for it: they are told with the first announcement, by
    /// [`Self::announce`] or when nobody was found by [`Self::probe`].
    pub fn hold(&mut self, address: IpAddr, interfaces: BTreeSet<IfIndex>, now: Instant) {
        if !self.held.contains(&address) {
            self.withdraw(address);
            self.held.insert(address);
        }
        self.place(address, interfaces, now);
    }

    fn place(&mut self, address: IpAddr, interfaces: BTreeSet<IfIndex>, now: Instant) {
        if self.addresses.is_empty() {
            self.refresh.begin(now);
        }
        self.listening.insert(address);
        let announced = self.addresses.entry(address).or_default();
        let before = std::mem::replace(&mut announced.interfaces, interfaces);
        let added: Vec<_> = announced.interfaces.difference(&before).copied().collect();
        let removed: Vec<_> = before.difference(&announced.interfaces).copied().collect();
        for interface in removed {
            self.detach(address, interface);
        }
        for interface in added {
            self.attach(address, interface, now);
        }
    }

    /// Runs the announcements of an address once more, for example after a peer claimed it and lost. Does nothing for
    /// an address that is not announced.
    pub fn reannounce(&mut self, address: IpAddr, now: Instant) {
        let Some(announced) = self.addresses.get(&address) else { return };
        if self.is_silent(address) {
            return;
        }
        for interface in &announced.interfaces {
            if let Some(port) = self.ports.get_mut(interface).filter(|port| port.mac.is_some()) {
                port.schedule.start(address, now);
                self.busy.insert(*interface);
            }
        }
        self.handle_timeout(now);
    }

    /// Goes silent about an address at once: what was not yet pulled by [`Self::next_command`] is dropped too. Its
    /// counters go with it.
    pub fn withdraw(&mut self, address: IpAddr) {
        let Some(announced) = self.addresses.remove(&address) else { return };
        self.listening.remove(&address);
        self.probes.stop(address);
        self.held.remove(&address);
        self.claims.remove(&address);
        self.cleared.remove(&address);
        self.begun.remove(&address);
        for interface in announced.interfaces {
            self.detach(address, interface);
        }
    }

    /// Takes over an interface as netlink has it now; `None` means gone. One that appears, starts to run or changes
    /// its Ethernet address joins its groups again and announces its addresses again.
    pub fn handle_link(&mut self, interface: IfIndex, link: Option<&Link>, now: Instant) {
        let mac = link.filter(|link| link.running).and_then(|link| link.mac);
        let port = self.ports.entry(interface).or_default();
        let before = std::mem::replace(&mut port.mac, mac);
        if mac == before {
            self.forget_unused(interface);
            return;
        }
        if mac.is_some() {
            if before.is_none() {
                for address in port.addresses.clone() {
                    self.join(address, interface);
                }
            }
            self.schedule_all(interface, now);
        } else {
            port.schedule.clear();
            self.busy.remove(&interface);
            let groups = std::mem::take(&mut port.groups);
            if link.is_none() {
                port.askers = Askers::default();
                // the kernel forgets the groups of an interface together with it
                self.pending.retain(|pending| pending.interface() != interface);
            } else {
                let leave = |group| Pending::Group { interface, group, join: false };
                self.pending.extend(groups.into_keys().map(leave));
            }
        }
        self.forget_unused(interface);
        self.handle_timeout(now);
    }

    /// Answers a frame, or counts why not. Announcements that are due go first, so that a flood of requests cannot
    /// hold them up.
    pub fn handle_frame(&mut self, interface: IfIndex, bytes: &[u8], now: Instant) {
        self.handle_timeout(now);
        if let Err(reason) = self.take(interface, bytes, now) {
            *self.ignored.entry(reason).or_default() += 1;
        }
    }

    /// Sends the announcements that are due. Harmless when called early or twice; late calls delay announcements and
    /// lose none.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(step) = self.probes.pop(now) {
            match step {
                Step::Ask(address) => self.ask(address),
                Step::Clear(address) => {
                    self.conflicts.clear += 1;
                    self.cleared.insert(address);
                    self.reannounce(address, now);
                }
            }
        }
        if let Some(address) = self.refresh.pop(&self.addresses, now) {
            self.refresh_one(address, now);
        }
        for interface in self.busy.clone() {
            self.send_due(interface, now);
        }
    }

    /// The addresses whose announcements began, or began anew, since the last call.
    pub fn take_begun(&mut self) -> BTreeSet<IpAddr> {
        std::mem::take(&mut self.begun)
    }

    /// When [`Self::handle_timeout`] has something to do; ask again after every call with `&mut self`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.busy.iter().filter_map(|interface| self.ports.get(interface)?.schedule.next());
        due.chain(self.probes.next()).chain(self.refresh.next(self.addresses.len())).min()
    }

    /// The next thing to do; call it until it gives `None`.
    pub fn next_command(&mut self) -> Option<Command> {
        while let Some(pending) = self.pending.pop_front() {
            match pending {
                Pending::Group { interface, group, join } => {
                    return Some(Command::Group { interface, group, join });
                }
                Pending::Frame { address, interface, mac, kind, frame } => {
                    let port = self.ports.get(&interface);
                    let may_send = |port: &Port| port.mac == Some(mac) && port.addresses.contains(&address);
                    let silent = self.is_silent(address) && !matches!(kind, Kind::Probe);
                    if silent || !port.is_some_and(may_send) {
                        continue;
                    }
                    let Some(announced) = self.addresses.get_mut(&address) else { continue };
                    match kind {
                        Kind::Response => announced.counters.responses_sent += 1,
                        Kind::Gratuitous => announced.counters.gratuitous_sent += 1,
                        Kind::Gateway => self.refreshed.gateways += 1,
                        Kind::Asker => self.refreshed.askers += 1,
                        Kind::Probe => {}
                    }
                    return Some(Command::SendFrame { interface, bytes: frame.emit() });
                }
            }
        }
        None
    }

    /// Whether the address is announced; takes the same time however many are.
    #[must_use]
    pub fn is_listening(&self, address: IpAddr) -> bool {
        self.listening.contains(&address) && !self.is_silent(address)
    }

    fn is_silent(&self, address: IpAddr) -> bool {
        self.probes.contains(address) || self.held.contains(&address)
    }

    /// Where the address is announced or asked for; `None` if it is not.
    #[must_use]
    pub fn interfaces(&self, address: IpAddr) -> Option<&BTreeSet<IfIndex>> {
        self.addresses.get(&address).map(|announced| &announced.interfaces)
    }

    /// Every announced address with what was counted since it was announced, in order.
    pub fn counters(&self) -> impl Iterator<Item = (IpAddr, AddressCounters)> {
        let announced = self.addresses.iter().filter(|(address, _)| !self.is_silent(**address));
        announced.map(|(address, announced)| (*address, announced.counters))
    }

    /// How many frames were not answered, by reason, since the start.
    pub fn ignored(&self) -> impl Iterator<Item = (Ignored, u64)> {
        self.ignored.iter().map(|(reason, count)| (*reason, *count))
    }

    /// What was sent to refresh what others know, since the start.
    #[must_use]
    pub const fn refreshed(&self) -> RefreshCounters {
        self.refreshed
    }

    fn take(&mut self, interface: IfIndex, bytes: &[u8], now: Instant) -> Result<(), Ignored> {
        let target = wire::target(bytes)?;
        let asked = self.listening.contains(&target);
        if !asked && !wire::sender(bytes).is_some_and(|sender| self.listening.contains(&sender)) {
            return Err(Ignored::NotAnnounced);
        }
        let frame = Frame::parse(bytes)?;
        let claimed = self.note_claim(interface, &frame);
        if asked {
            self.answer(interface, target, &frame, now)
        } else if claimed {
            Err(Ignored::Conflict)
        } else {
            Err(Ignored::NotAnnounced)
        }
    }

    fn answer(
        &mut self,
        interface: IfIndex,
        address: IpAddr,
        question: &Frame,
        now: Instant,
    ) -> Result<(), Ignored> {
        let port = self.ports.get(&interface).filter(|port| port.addresses.contains(&address));
        let mac = port.and_then(|port| port.mac).ok_or(Ignored::OtherInterface)?;
        if self.probes.contains(address) {
            return Err(Ignored::Silent);
        }
        let frame = frames::answer(question, mac, |source| self.is_ours(source))?;
        let held = self.held.contains(&address);
        if let (Some(asker), Some(port)) = (askers::asker(question), self.ports.get_mut(&interface)) {
            port.askers.note(address, asker, now);
        }
        if held {
            return Err(Ignored::Silent);
        }
        let announced = self.addresses.get_mut(&address).ok_or(Ignored::NotAnnounced)?;
        announced.counters.requests_received += 1;
        self.pending.push_back(Pending::Frame { address, interface, mac, kind: Kind::Response, frame });
        Ok(())
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
