use std::collections::{BTreeMap, BTreeSet};

use landfall_model::Instant;

use super::peer::PeerId;

/// What a deadline is for. At most one of each is armed per [`PeerId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Our own cold start is over.
    OwnSettle,
    /// What everybody must know is told once more.
    Repeat,
    /// Nobody may have been heard for long.
    Company,
    /// The next heartbeat to a peer is due.
    Send(PeerId),
    /// A peer's heartbeat may be missing, or its silence window may have ended. It looks at the peer when it fires, about
    /// once per interval, so that a packet costs no timer operation.
    Window(PeerId),
    /// A peer has been heard long enough to count again.
    Settle(PeerId),
    /// Ask a peer for what differs.
    Sync(PeerId),
    /// Ask the kernel of a peer whose heartbeats are missing.
    Ask(PeerId),
}

/// Deadlines in order. Arming, disarming and taking the first cost O(log n).
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    order: BTreeSet<(Instant, Timer)>,
    armed: BTreeMap<Timer, Instant>,
}

impl Timers {
    pub(super) fn first(&self) -> Option<(Instant, Timer)> {
        self.order.first().copied()
    }

    /// Arms `timer` for `at`, in place of its earlier deadline.
    pub(super) fn arm(&mut self, timer: Timer, at: Instant) {
        self.disarm(timer);
        self.order.insert((at, timer));
        self.armed.insert(timer, at);
    }

    /// Arms `timer` unless it is armed already.
    pub(super) fn arm_once(&mut self, timer: Timer, at: Instant) {
        if !self.armed.contains_key(&timer) {
            self.arm(timer, at);
        }
    }

    pub(super) fn disarm(&mut self, timer: Timer) {
        if let Some(at) = self.armed.remove(&timer) {
            self.order.remove(&(at, timer));
        }
    }

    pub(super) fn disarm_peer(&mut self, peer: PeerId) {
        let timers = [
            Timer::Send(peer),
            Timer::Window(peer),
            Timer::Settle(peer),
            Timer::Sync(peer),
            Timer::Ask(peer),
        ];
        for timer in timers {
            self.disarm(timer);
        }
    }
}
