use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use landfall_model::Instant;

use crate::{
    IfIndex, Mac,
    wire::{ArpOperation, Frame, NeighborRepr},
};

/// An address is defended at most once in this time (RFC 5227 §1.1, `DEFEND_INTERVAL`).
pub const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// Somebody that said on the wire to have an address, or to be about to take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// The address.
    pub address: IpAddr,
    /// Where that was heard.
    pub interface: IfIndex,
    /// The Ethernet address that it says the address is at.
    pub mac: Mac,
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contest {
    /// This node was not yet announcing the address and stays silent about it. `true`: by another claimant than before.
    Yielded(bool),
    /// This node announced the address once more, and keeps it.
    Defended,
    /// It keeps it and says nothing: it has defended it within [`DEFEND_INTERVAL`].
    Kept,
    /// It has nothing to do with the address.
    Nothing,
}

/// What a frame says of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// It has the address.
    Has(IpAddr, Mac),
    /// It will take the address unless somebody has it.
    Wants(IpAddr, Mac),
}

/// What a frame says of its sender, if anything.
pub(super) fn says(frame: &Frame) -> Option<Says> {
    match frame {
        // RFC 5227 §2.1.1: a request without a sender is a probe; §2.4: any packet with one is a claim
        Frame::Arp { arp, .. } if arp.sender.is_unspecified() => {
            let probe = arp.operation == ArpOperation::Request && !arp.target.is_unspecified();
            probe.then_some(Says::Wants(arp.target.into(), arp.sender_mac))
        }
        Frame::Arp { arp, .. } => Some(Says::Has(arp.sender.into(), arp.sender_mac)),
        // RFC 4862 §5.4.3
        Frame::Neighbor { ethernet, ipv6, neighbor: NeighborRepr::Solicit { target, .. } }
            if ipv6.source.is_unspecified() =>
        {
            Some(Says::Wants((*target).into(), ethernet.source))
        }
        Frame::Neighbor { ethernet, ipv6, neighbor: NeighborRepr::Solicit { source_mac, .. } } => {
            Some(Says::Has(ipv6.source.into(), source_mac.unwrap_or(ethernet.source)))
        }
        // RFC 4862 §5.4.4
        Frame::Neighbor { ethernet, neighbor: NeighborRepr::Advert { target, target_mac, .. }, .. } => {
            Some(Says::Has((*target).into(), target_mac.unwrap_or(ethernet.source)))
        }
    }
}

/// When each address was last defended, as long as that counts.
#[derive(Debug, Default)]
pub(super) struct Defences {
    last: BTreeMap<IpAddr, Instant>,
}

impl Defences {
    /// Whether the address may be defended now; if so, it counts as done.
    pub(super) fn permit(&mut self, address: IpAddr, now: Instant) -> bool {
        if self.last.get(&address).is_some_and(|last| now.since(*last) < DEFEND_INTERVAL) {
            return false;
        }
        self.last.retain(|_, last| now.since(*last) < DEFEND_INTERVAL);
        self.last.insert(address, now);
        true
    }
}

#[cfg(test)]
mod tests;
