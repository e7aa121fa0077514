//! How long ago the owner before was heard, when this node announces an address that it took over.

use std::{collections::BTreeMap, net::IpAddr};

use landfall_model::{Instant, Reason};

use super::Speaker;
use crate::Command;

/// What this node took over and has not announced yet: when the owner before was last heard, and why it is none.
#[derive(Debug, Default)]
pub(super) struct Takeovers {
    waiting: BTreeMap<IpAddr, (Instant, Reason)>,
    /// When the owners before that died were last heard, as long as this node has their addresses.
    pub(super) lost: BTreeMap<IpAddr, Instant>,
}

impl Takeovers {
    /// Nobody needs the address any more.
    pub(super) fn forget(&mut self, address: IpAddr) {
        self.waiting.remove(&address);
        self.lost.remove(&address);
    }
}

impl Speaker {
    /// The owner of an address changed.
    pub(super) fn note_owner(
        &mut self,
        address: IpAddr,
        from: Option<&str>,
        to: Option<&str>,
        reason: Reason,
    ) {
        self.takeovers.forget(address);
        let before = from.filter(|_| to == Some(&*self.node)).and_then(|from| self.membership.member(from));
        if let Some((before, heard)) = before.and_then(|before| Some((before, before.heard?))) {
            self.takeovers.waiting.insert(address, (heard, reason));
            if !before.state.is_heard() {
                self.takeovers.lost.insert(address, heard);
            }
        }
        self.look_at(address);
    }

    /// Tells how long each takeover took that is announced by now.
    pub(super) fn tell_takeovers(&mut self, now: Instant) {
        for address in self.responder.take_begun() {
            if let Some((heard, reason)) = self.takeovers.waiting.remove(&address) {
                let after = now.since(heard);
                self.commands.push_back(Command::TookOver { address, reason, after });
            }
        }
    }
}
