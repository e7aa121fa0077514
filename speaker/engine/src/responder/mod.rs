//! Answers ARP requests and neighbour solicitations for the addresses that this node announces, and tells the segment
//! when it takes one over.
//!
//! Rules: RFC 826 and RFC 5227 for ARP, RFC 4861 §7.2 for neighbour discovery. Silence is immediate: after
//! [`Responder::withdraw`] no frame of that address leaves, not even one that was waiting.

mod counters;
mod frames;
mod pacing;
mod schedule;

pub use counters::{AddressCounters, Ignored};
pub use schedule::ANNOUNCE_AT;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    hash::{BuildHasherDefault, DefaultHasher},
    net::{IpAddr, Ipv6Addr},
};

use landfall_model::Instant;

use self::schedule::Schedule;
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
}

impl Pending {
    fn interface(&self) -> IfIndex {
        match self {
            Self::Frame { interface, .. } | Self::Group { interface, .. } => *interface,
        }
    }
}

impl Responder {
    /// Announces nothing yet and knows no interface.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on answers for `address` on exactly these interfaces, and announces it on those that it was not
    /// announced on before. Call it with the whole set at a takeover and whenever the set may have changed; the same
    /// set again does nothing. An interface that [`Self::handle_link`] has not reported yet counts from then on.
    pub fn announce(&mut self, address: IpAddr, interfaces: BTreeSet<IfIndex>, now: Instant) {
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
        self.handle_timeout(now);
    }

    /// Runs the announcements of an address once more, for example after a peer claimed it and lost. Does nothing for
    /// an address that is not announced.
    pub fn reannounce(&mut self, address: IpAddr, now: Instant) {
        let Some(announced) = self.addresses.get(&address) else { return };
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
        if let Err(reason) = self.answer(interface, bytes) {
            *self.ignored.entry(reason).or_default() += 1;
        }
    }

    /// Sends the announcements that are due. Harmless when called early or twice; late calls delay announcements and
    /// lose none.
    pub fn handle_timeout(&mut self, now: Instant) {
        for interface in self.busy.clone() {
            let Some(port) = self.ports.get_mut(&interface) else { continue };
            let Some(mac) = port.mac else { continue };
            while let Some(address) = port.schedule.pop(now) {
                let pending =
                    |frame| Pending::Frame { address, interface, mac, kind: Kind::Gratuitous, frame };
                self.pending.extend(frames::announcement(address, mac).map(pending));
            }
            if port.schedule.is_empty() {
                self.busy.remove(&interface);
            }
        }
    }

    /// When [`Self::handle_timeout`] has something to do; ask again after every call with `&mut self`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.busy.iter().filter_map(|interface| self.ports.get(interface)?.schedule.next()).min()
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
                    if !port.is_some_and(may_send) {
                        continue;
                    }
                    let Some(announced) = self.addresses.get_mut(&address) else { continue };
                    match kind {
                        Kind::Response => announced.counters.responses_sent += 1,
                        Kind::Gratuitous => announced.counters.gratuitous_sent += 1,
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
        self.listening.contains(&address)
    }

    /// Where the address is announced; `None` if it is not.
    #[must_use]
    pub fn interfaces(&self, address: IpAddr) -> Option<&BTreeSet<IfIndex>> {
        self.addresses.get(&address).map(|announced| &announced.interfaces)
    }

    /// Every announced address with what was counted since it was announced, in order.
    pub fn counters(&self) -> impl Iterator<Item = (IpAddr, AddressCounters)> {
        self.addresses.iter().map(|(address, announced)| (*address, announced.counters))
    }

    /// How many frames were not answered, by reason, since the start.
    pub fn ignored(&self) -> impl Iterator<Item = (Ignored, u64)> {
        self.ignored.iter().map(|(reason, count)| (*reason, *count))
    }

    fn answer(&mut self, interface: IfIndex, bytes: &[u8]) -> Result<(), Ignored> {
        let address = wire::target(bytes)?;
        if !self.listening.contains(&address) {
            return Err(Ignored::NotAnnounced);
        }
        let port = self.ports.get(&interface).filter(|port| port.addresses.contains(&address));
        let mac = port.and_then(|port| port.mac).ok_or(Ignored::OtherInterface)?;
        let is_ours = |source| self.ports.values().any(|port| port.mac == Some(source));
        let frame = frames::answer(&Frame::parse(bytes)?, mac, is_ours)?;
        let announced = self.addresses.get_mut(&address).ok_or(Ignored::NotAnnounced)?;
        announced.counters.requests_received += 1;
        self.pending.push_back(Pending::Frame { address, interface, mac, kind: Kind::Response, frame });
        Ok(())
    }

    fn attach(&mut self, address: IpAddr, interface: IfIndex, now: Instant) {
        let port = self.ports.entry(interface).or_default();
        port.addresses.insert(address);
        if port.mac.is_some() {
            port.schedule.start(address, now);
            self.busy.insert(interface);
            self.join(address, interface);
        }
    }

    fn detach(&mut self, address: IpAddr, interface: IfIndex) {
        let Some(port) = self.ports.get_mut(&interface) else { return };
        port.addresses.remove(&address);
        port.schedule.stop(address);
        if port.schedule.is_empty() {
            self.busy.remove(&interface);
        }
        self.leave(address, interface);
        self.forget_unused(interface);
    }

    fn schedule_all(&mut self, interface: IfIndex, now: Instant) {
        let Some(port) = self.ports.get_mut(&interface) else { return };
        for address in &port.addresses {
            port.schedule.start(*address, now);
        }
        if !port.schedule.is_empty() {
            self.busy.insert(interface);
        }
    }

    fn join(&mut self, address: IpAddr, interface: IfIndex) {
        let IpAddr::V6(v6) = address else { return };
        let Some(port) = self.ports.get_mut(&interface) else { return };
        let group = wire::solicited_node(v6);
        let members = port.groups.entry(group).or_default();
        *members += 1;
        if *members == 1 {
            self.pending.push_back(Pending::Group { interface, group, join: true });
        }
    }

    fn leave(&mut self, address: IpAddr, interface: IfIndex) {
        let IpAddr::V6(v6) = address else { return };
        let Some(port) = self.ports.get_mut(&interface) else { return };
        let group = wire::solicited_node(v6);
        let Some(members) = port.groups.get_mut(&group) else { return };
        *members -= 1;
        if *members == 0 {
            port.groups.remove(&group);
            self.pending.push_back(Pending::Group { interface, group, join: false });
        }
    }

    fn forget_unused(&mut self, interface: IfIndex) {
        let unused = |port: &Port| port.mac.is_none() && port.addresses.is_empty();
        if self.ports.get(&interface).is_some_and(unused) {
            self.ports.remove(&interface);
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
