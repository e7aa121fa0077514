//! Addresses come to interfaces and leave them, with their turns in the schedule and their multicast groups; what is due
//! is sent there.

use std::net::IpAddr;

use landfall_model::Instant;

use super::{Kind, Pending, Port, Responder, frames, schedule::Round};
use crate::{IfIndex, wire};

impl Responder {
    pub(super) fn attach(&mut self, address: IpAddr, interface: IfIndex, now: Instant) {
        let silent = self.is_silent(address);
        let port = self.ports.entry(interface).or_default();
        port.addresses.insert(address);
        if port.mac.is_some() {
            if !silent {
                port.schedule.start(address, now);
                self.busy.insert(interface);
            }
            self.join(address, interface);
        }
    }

    pub(super) fn detach(&mut self, address: IpAddr, interface: IfIndex) {
        let Some(port) = self.ports.get_mut(&interface) else { return };
        port.addresses.remove(&address);
        port.schedule.stop(address);
        if port.schedule.is_empty() {
            self.busy.remove(&interface);
        }
        self.leave(address, interface);
        self.forget_unused(interface);
    }

    pub(super) fn schedule_all(&mut self, interface: IfIndex, now: Instant) {
        let Some(port) = self.ports.get_mut(&interface) else { return };
        for address in &port.addresses {
            if self.probes.contains(*address) {
                self.probes.start(*address, now);
            } else if !self.held.contains(address) {
                port.schedule.start(*address, now);
            }
        }
        if !port.schedule.is_empty() {
            self.busy.insert(interface);
        }
    }

    /// Announces an address once more wherever it is announced, unless that is about to happen anyway.
    pub(super) fn refresh_one(&mut self, address: IpAddr, now: Instant) {
        if self.is_silent(address) {
            return;
        }
        for interface in self.addresses.get(&address).into_iter().flat_map(|announced| &announced.interfaces)
        {
            let port = self.ports.get_mut(interface).filter(|port| port.mac.is_some());
            if port.is_some_and(|port| port.schedule.once(address, now)) {
                self.refreshed.segments += 1;
                self.busy.insert(*interface);
            }
        }
    }

    /// Sends what is due on an interface.
    pub(super) fn send_due(&mut self, interface: IfIndex, now: Instant) {
        let Some(port) = self.ports.get_mut(&interface) else { return };
        let Some(mac) = port.mac else { return };
        while let Some((address, round)) = port.schedule.pop(now) {
            let mut send = |kind, frame| {
                self.pending.push_back(Pending::Frame { address, interface, mac, kind, frame });
            };
            frames::announcement(address, mac).for_each(|frame| send(Kind::Gratuitous, frame));
            if round == Round::First {
                self.begun.insert(address);
            }
            // The last one is for hosts that take no reply while what they know is younger than a second.
            if matches!(round, Round::First | Round::Last) {
                let gateways = self.gateways.iter().filter(|(on, _)| *on == interface);
                let gateways = gateways.map(|(_, gateway)| (Kind::Gateway, *gateway));
                let asked = port.askers.of(address, now).map(|asker| (Kind::Asker, asker));
                let told = gateways.chain(asked);
                told.filter_map(|(kind, host)| Some((kind, frames::tell(address, mac, host)?)))
                    .for_each(|(kind, frame)| send(kind, frame));
            }
        }
        if port.schedule.is_empty() {
            self.busy.remove(&interface);
        }
    }

    pub(super) fn join(&mut self, address: IpAddr, interface: IfIndex) {
        let IpAddr::V6(v6) = address else { return };
        let Some(port) = self.ports.get_mut(&interface) else { return };
        let group = wire::solicited_node(v6);
        let members = port.groups.entry(group).or_default();
        *members += 1;
        if *members == 1 {
            self.pending.push_back(Pending::Group { interface, group, join: true });
        }
    }

    pub(super) fn leave(&mut self, address: IpAddr, interface: IfIndex) {
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

    pub(super) fn forget_unused(&mut self, interface: IfIndex) {
        let unused = |port: &Port| port.mac.is_none() && port.addresses.is_empty();
        if self.ports.get(&interface).is_some_and(unused) {
            self.ports.remove(&interface);
        }
    }
}
