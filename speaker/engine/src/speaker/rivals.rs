//! Hosts that are no members of the cluster and have addresses that this node should announce, or want them later.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use landfall_model::Instant;

use super::{
    Speaker,
    report::{ADDRESS_CONFLICT, warning},
};
use crate::{
    IfIndex, Mac,
    membership::Epoch,
    responder::{Claimant, Contest},
};

/// A rival that was quiet for so long is told of again.
const QUIET: Duration = Duration::from_secs(10 * 60);
/// A member that was never heard, and is now, has told its Ethernet addresses after this time.
const INTRODUCTION: Duration = Duration::from_secs(1);
/// A claim that was not repeated within this time is forgotten.
const SUSPICION: Duration = Duration::from_secs(60);

/// Which addresses must be asked for before they are announced, and which rivals were told of.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    /// Addresses that no member announced before, as far as this node knows, and that were not asked for yet.
    unproven: BTreeSet<IpAddr>,
    /// The last one told of, and when it was last heard.
    told: BTreeMap<IpAddr, (Claimant, Instant)>,
    /// Who may be a rival or a member that was never heard, and when it was first heard.
    suspects: BTreeMap<IpAddr, (Claimant, Instant)>,
}

/// What an Ethernet address tells of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// It is a member, or may be one that is heard and has not told its addresses: an older version, during an update.
    Member,
    /// It may be a member that was never heard.
    Unclear,
    /// It is no member.
    Stranger,
}

impl Rivals {
    /// The address is to be announced by this node from now on. Whether another one did before is seen from our claim:
    /// its epoch is above every one seen.
    pub(super) fn begin(&mut self, address: IpAddr, epoch: Option<Epoch>) {
        if epoch == Some(Epoch(1)) {
            self.unproven.insert(address);
        }
    }

    /// Whether the address is to be asked for first.
    pub(super) fn is_unproven(&self, address: IpAddr) -> bool {
        self.unproven.contains(&address)
    }

    /// Nobody else has the address, or another member announces it now.
    pub(super) fn settle(&mut self, address: IpAddr) {
        self.unproven.remove(&address);
        self.told.remove(&address);
    }

    /// Whether whoever may be a stranger has been one for long enough.
    fn is_stranger(&mut self, claimant: Claimant, now: Instant) -> bool {
        self.suspects.retain(|_, (_, since)| now.since(*since) < SUSPICION);
        let entry = self.suspects.entry(claimant.address).or_insert((claimant, now));
        if entry.0 != claimant {
            *entry = (claimant, now);
        }
        now.since(entry.1) >= INTRODUCTION
    }

    /// Whether this is news to people.
    fn note(&mut self, claimant: Claimant, now: Instant) -> bool {
        self.told.retain(|_, (_, heard)| now.since(*heard) < QUIET);
        let before = self.told.insert(claimant.address, (claimant, now));
        before.is_none_or(|(before, _)| before != claimant)
    }
}

impl Speaker {
    /// Brings an address of ours to these interfaces.
    pub(super) fn place(&mut self, address: IpAddr, interfaces: BTreeSet<IfIndex>, now: Instant) {
        if self.rivals.is_unproven(address) {
            self.responder.probe(address, interfaces, now);
        } else {
            self.responder.announce(address, interfaces, now);
        }
    }

    /// Takes in what the responder heard of others. Says whether there is something to report.
    pub(super) fn meet_rivals(&mut self, now: Instant) -> bool {
        let cleared = self.responder.take_cleared();
        for address in &cleared {
            self.rivals.settle(*address);
            self.watch_announcement(*address, now);
            self.look_at(*address);
        }
        for claimant in self.responder.take_claims().into_values() {
            let counts = match self.origin(claimant.mac) {
                Origin::Member => false,
                // Silence does no harm if it was a member. To speak may.
                Origin::Unclear => {
                    !self.responder.is_listening(claimant.address) || self.rivals.is_stranger(claimant, now)
                }
                Origin::Stranger => true,
            };
            if counts {
                match self.responder.contest(claimant, now) {
                    Contest::Yielded(true) => self.tell_of(claimant, false, now),
                    Contest::Defended => self.tell_of(claimant, true, now),
                    Contest::Yielded(false) | Contest::Kept | Contest::Nothing => {}
                }
            }
        }
        !cleared.is_empty()
    }

    /// Costs all members, and is asked about claims to addresses of ours only.
    fn origin(&self, mac: Mac) -> Origin {
        let mut origin = Origin::Stranger;
        for (_, member) in self.cluster.members() {
            let links = member.links.as_deref();
            if links.is_some_and(|links| links.iter().any(|link| link.mac == Some(mac))) {
                return Origin::Member;
            }
            let told = links.is_some_and(|links| links.iter().all(|link| link.mac.is_some()));
            origin = match (told, member.state.is_heard()) {
                (false, true) => return Origin::Member,
                (false, false) => Origin::Unclear,
                (true, _) => origin,
            };
        }
        origin
    }

    /// Says so on each Service with the address, once for each rival.
    fn tell_of(&mut self, claimant: Claimant, announced: bool, now: Instant) {
        if !self.rivals.note(claimant, now) {
            return;
        }
        let Claimant { address, interface, mac } = claimant;
        let (node, interface) = (&self.node, self.links.name(interface).unwrap_or("an interface"));
        let stands = if announced {
            format!("node \"{node}\" announces {address} and keeps it, but")
        } else {
            format!("node \"{node}\" does not announce {address}:")
        };
        let message = format!(
            "{stands} a host that is no node of the cluster has it too, with the Ethernet address {mac} on {interface}; give \
             that host another address, or take this one out of the pool"
        );
        let id = self.cluster.groups().of(address);
        let Some(appraisal) = id.and_then(|id| self.cluster.appraise(id)) else { return };
        for key in &appraisal.group().services {
            let Some(view) = self.cluster.service(key) else { continue };
            if self.cluster.addresses(key).any(|its| its == address) {
                self.commands.push_back(warning(view, ADDRESS_CONFLICT, message.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests;
