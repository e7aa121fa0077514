use std::{net::IpAddr, time::Duration};

use landfall_model::Instant;

use crate::{
    Mac,
    wire::{ArpOperation, Frame, NeighborRepr},
};

/// So many hosts of a segment are remembered, each for one address that it asked for.
pub const ASKERS: usize = 64;
/// So many of them for one address.
pub const ASKERS_OF_ADDRESS: usize = 8;
/// A host that has not asked for so long does not remember the answer either, unless it is a router. Most hosts ask
/// again after a minute; the longest usual time is twenty.
pub const ASKED_WITHIN: Duration = Duration::from_secs(20 * 60);

/// A host on a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// Its address.
    pub address: IpAddr,
    /// Its Ethernet address.
    pub mac: Mac,
}

/// Who asked last for which address, on one interface. Whoever asks under many names drives the others out, and no more.
#[derive(Debug, Default)]
pub(super) struct Askers {
    /// The last one last.
    asked: Vec<Asked>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    target: IpAddr,
    by: Neighbor,
    at: Instant,
}

impl Askers {
    pub(super) fn note(&mut self, target: IpAddr, by: Neighbor, now: Instant) {
        let same = |asked: &Asked| asked.target == target && asked.by.address == by.address;
        self.asked.retain(|asked| !same(asked));
        let mut of_target = (0..self.asked.len()).filter(|at| self.asked[*at].target == target);
        let oldest = of_target.next().filter(|_| of_target.count() + 1 >= ASKERS_OF_ADDRESS);
        if let Some(oldest) = oldest.or_else(|| (self.asked.len() >= ASKERS).then_some(0)) {
            self.asked.remove(oldest);
        }
        self.asked.push(Asked { target, by, at: now });
    }

    /// Who asked for `target` within [`ASKED_WITHIN`].
    pub(super) fn of(&self, target: IpAddr, now: Instant) -> impl Iterator<Item = Neighbor> {
        let recent = move |asked: &&Asked| asked.target == target && now.since(asked.at) <= ASKED_WITHIN;
        self.asked.iter().filter(recent).map(|asked| asked.by)
    }
}

/// Who asks, unless it has no address yet. For a frame that was answered.
pub(super) fn asker(frame: &Frame) -> Option<Neighbor> {
    let neighbor = match frame {
        Frame::Arp { arp, .. } if arp.operation == ArpOperation::Request => {
            Neighbor { address: arp.sender.into(), mac: arp.sender_mac }
        }
        Frame::Neighbor { ethernet, ipv6, neighbor: NeighborRepr::Solicit { source_mac, .. } } => {
            Neighbor { address: ipv6.source.into(), mac: source_mac.unwrap_or(ethernet.source) }
        }
        Frame::Arp { .. } | Frame::Neighbor { .. } => return None,
    };
    (!neighbor.address.is_unspecified()).then_some(neighbor)
}

#[cfg(test)]
mod tests;
