//! What a takeover takes: the rules that it needs are brought into force before it, and how long ago the owner before was heard
//! is told after it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    time::Duration,
};

use landfall_model::{Instant, Reason};

use super::{Speaker, step::node_port_services};
use crate::Command;

/// So many members may be looked at when a node fails; the rules of its other addresses come when they are taken over.
const BUDGET: usize = 2_000;

/// An owner that lives and is succeeded says that it is silent. It is waited for so long: it may die in that moment, and its
/// word may be lost, which the next heartbeat repeats.
const LAST_WORD: Duration = Duration::from_millis(100);

/// What this node took over and has not announced yet: when the owner before was last heard, and why it is none.
#[derive(Debug, Default)]
pub(super) struct Takeovers {
    waiting: BTreeMap<IpAddr, (Instant, Reason)>,
    /// When the owners before that died were last heard, as long as this node has their addresses.
    pub(super) lost: BTreeMap<IpAddr, Instant>,
    /// Addresses whose owners before live, and have not said that they are silent.
    contended: BTreeSet<IpAddr>,
    /// Until when, in order; some of them are not waited for any more.
    ends: VecDeque<(Instant, IpAddr)>,
}

impl Takeovers {
    /// Nobody needs the address any more.
    pub(super) fn forget(&mut self, address: IpAddr) {
        self.waiting.remove(&address);
        self.lost.remove(&address);
    }

    /// The owner before lives: nobody shall hear two of us. It has the last word first.
    pub(super) fn wait_for_last_word(&mut self, address: IpAddr, now: Instant) {
        self.contended.insert(address);
        self.ends.push_back((now + LAST_WORD, address));
    }

    pub(super) fn waits_for_last_word(&self, address: IpAddr) -> bool {
        self.contended.contains(&address)
    }

    /// It was said, or the address is not ours any more.
    pub(super) fn stop_waiting(&mut self, address: IpAddr) {
        self.contended.remove(&address);
    }

    /// When [`Self::take_due`] has something to give.
    pub(super) fn next(&self) -> Option<Instant> {
        self.ends.front().map(|(at, _)| *at)
    }

    /// Addresses that were waited for in vain.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<IpAddr> {
        let due = std::iter::from_fn(|| self.ends.pop_front_if(|(at, _)| *at <= now));
        due.filter(|(_, address)| self.contended.remove(address)).map(|(_, address)| address).collect()
    }
}

impl Speaker {
    /// A node may be dead soon. What costs most time in a takeover is to bring the rules into force: those of the addresses
    /// that this node would take over are, by the time that it does, or on the way. It takes nothing over by that.
    pub(super) fn prepare(&mut self, node: &str, now: Instant) {
        if !self.ready || !self.isolation.decides() {
            return;
        }
        let share = (BUDGET / self.cluster.member_count().max(1)).max(1);
        for id in self.ownership.held_by(node).take(share) {
            let Some(appraisal) = self.cluster.appraise(id) else { continue };
            if self.ownership.is_heir(node, &appraisal) {
                for address in &appraisal.group().addresses {
                    let services = node_port_services(&self.cluster, &appraisal, *address);
                    self.forwarder.expect(*address, services, now);
                }
            }
        }
    }

    /// This node is to announce an address. The owner before may live: then it has the last word, and keeps the connections that
    /// are open.
    pub(super) fn succeed(&mut self, address: IpAddr, now: Instant) {
        let Some(before) = self.ownership.predecessor(address) else { return };
        self.takeovers.wait_for_last_word(address, now);
        let theirs = self.speakers.values().filter(|speaker| *speaker.node == *before);
        let mut theirs = theirs.flat_map(|speaker| &speaker.addresses);
        let reached = |it: &&IpAddr| it.is_ipv4() == address.is_ipv4() && self.links.way_to(**it).is_some();
        if let Some(to) = theirs.find(reached) {
            self.forwarder.relay(address, before, *to, now);
        }
    }

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
