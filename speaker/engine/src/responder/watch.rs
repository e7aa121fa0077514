//! Who else has an address of ours: before it is announced, and afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use landfall_model::Instant;

use super::{
    Claimant, ConflictCounters, Contest, Kind, Pending, Responder,
    conflict::{Says, says},
    frames,
};
use crate::{IfIndex, Mac, wire::Frame};

impl Responder {
    /// Who claimed addresses of ours since the last call, one for each address. Whoever knows that it is no member of
    /// the cluster hands it to [`Self::contest`].
    pub fn take_claims(&mut self) -> BTreeMap<IpAddr, Claimant> {
        std::mem::take(&mut self.claims)
    }

    /// The addresses that nobody else has, and that are announced since the last call.
    pub fn take_cleared(&mut self) -> BTreeSet<IpAddr> {
        std::mem::take(&mut self.cleared)
    }

    /// A host that is no member has an address of ours, or wants it. One that is not announced yet stays silent for a
    /// while; one that is announced is kept and defended, RFC 5227 §2.4(c).
    pub fn contest(&mut self, claimant: Claimant, now: Instant) -> Contest {
        let Claimant { address, interface, .. } = claimant;
        if self.probes.contains(address) {
            self.conflicts.yielded += u64::from(self.probes.is_asking(address));
            return Contest::Yielded(self.probes.contest(claimant, now));
        }
        let port = self.ports.get_mut(&interface).filter(|_| !self.held.contains(&address));
        let Some(port) = port.filter(|port| port.mac.is_some() && port.addresses.contains(&address)) else {
            return Contest::Nothing;
        };
        self.conflicts.claims += 1;
        if !self.defences.permit(address, now) {
            return Contest::Kept;
        }
        self.conflicts.defences += 1;
        port.schedule.once(address, now);
        self.busy.insert(interface);
        self.handle_timeout(now);
        Contest::Defended
    }

    /// The host that keeps this node from announcing the address.
    #[must_use]
    pub fn rival(&self, address: IpAddr) -> Option<Claimant> {
        self.probes.rival(address)
    }

    /// How many addresses this node is silent about because another host has them.
    #[must_use]
    pub fn contested(&self) -> usize {
        self.probes.rivals().count()
    }

    /// What was counted about other hosts since the start.
    #[must_use]
    pub const fn conflicts(&self) -> ConflictCounters {
        self.conflicts
    }

    /// Asks for an address on all of its interfaces.
    pub(super) fn ask(&mut self, address: IpAddr) {
        let interfaces = self.addresses.get(&address).map(|announced| &announced.interfaces);
        let mut asked = false;
        for interface in interfaces.into_iter().flatten().copied() {
            let Some(mac) = self.ports.get(&interface).and_then(|port| port.mac) else { continue };
            let (kind, frame) = (Kind::Probe, frames::probe(address, mac));
            self.pending.push_back(Pending::Frame { address, interface, mac, kind, frame });
            asked = true;
        }
        if !asked {
            self.probes.park(address);
        }
    }

    /// Notes who has an address of ours, or wants one that is being asked for, unless it is this node itself.
    pub(super) fn note_claim(&mut self, interface: IfIndex, frame: &Frame) -> bool {
        let (address, mac) = match says(frame) {
            Some(Says::Has(address, mac)) => (address, mac),
            Some(Says::Wants(address, mac)) if self.probes.contains(address) => (address, mac),
            Some(Says::Wants(..)) | None => return false,
        };
        let here = self.ports.get(&interface).is_some_and(|port| port.addresses.contains(&address));
        if !here || self.is_ours(mac) {
            return false;
        }
        self.claims.insert(address, Claimant { address, interface, mac });
        true
    }

    pub(super) fn is_ours(&self, mac: Mac) -> bool {
        self.ports.values().any(|port| port.mac == Some(mac))
    }
}

#[cfg(test)]
mod tests;
