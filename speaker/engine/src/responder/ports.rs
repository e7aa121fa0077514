//! Addresses come to interfaces and leave them, with their turns in the schedule and their multicast groups.

use std::net::IpAddr;

use landfall_model::Instant;

use super::{Pending, Port, Responder};
use crate::{IfIndex, wire};

impl Responder {
    pub(super) fn attach(&mut self, address: IpAddr, interface: IfIndex, now: Instant) {
        let port = self.ports.entry(interface).or_default();
        port.addresses.insert(address);
        if port.mac.is_some() {
            if !self.probes.contains(address) {
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
            } else {
                port.schedule.start(*address, now);
            }
        }
        if !port.schedule.is_empty() {
            self.busy.insert(interface);
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
