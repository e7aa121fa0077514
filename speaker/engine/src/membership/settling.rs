//! Our own cold start: when we know enough to decide.

use landfall_model::Instant;

use super::{event::Event, machine::Membership, member::MemberState, timers::Timer};

impl Membership {
    /// A cold start that slept starts again.
    pub(super) fn restart_settling(&mut self, now: Instant) {
        if self.settling_since.is_some() && !self.settled {
            self.settling_since = Some(now);
            self.timers.arm(Timer::OwnSettle, now + self.timing.settle);
        }
    }

    /// Starts the clock of our own cold start, once we could hear others.
    pub(super) fn start_settling(&mut self, now: Instant) {
        let able = self.have_peers && (self.peers.is_empty() || !self.keys.is_empty());
        if able && self.settling_since.is_none() {
            self.settling_since = Some(now);
            self.timers.arm(Timer::OwnSettle, now + self.timing.settle);
        }
    }

    /// See [`Membership::settled`]. O(members) until it is true, and called only when a member's state or copy changed.
    pub(super) fn try_settle(&mut self, now: Instant) {
        let Some(since) = self.settling_since.filter(|_| !self.settled) else { return };
        if !self.peers.is_empty() && self.keys.is_empty() {
            // The keys went away, or members came before the first key: wait for them.
            self.settling_since = None;
            self.timers.disarm(Timer::OwnSettle);
            return;
        }
        let early = since + self.timing.settle;
        let late = since + self.timing.settle * 3;
        let heard_all = !self.peers.is_empty()
            && self.peers.values().all(|peer| peer.state != MemberState::Unknown && peer.in_sync());
        if heard_all || now >= late || (now >= early && self.has_read_everyone()) {
            self.settled = true;
            self.timers.disarm(Timer::OwnSettle);
            self.events.push_back(Event::Settled);
        } else {
            self.timers.arm(Timer::OwnSettle, if now < early { early } else { late });
        }
    }
}
