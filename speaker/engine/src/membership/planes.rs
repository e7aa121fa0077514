//! The second plane: a peer whose heartbeats are missing may still have a kernel that forwards. So its kernel is asked
//! for the peer's own address, which it answers without any process, and only a node that is silent on both planes
//! is suspected, see `jury.rs`. Nothing is asked while heartbeats come.
//!
//! ```text
//! last heartbeat          1¼ intervals: ask, and again every ¼        missed × interval
//! ─────┼──────────────────────────┼───┼──────────────────────────────────────┼────▶
//!                                     └ no answer yet: failing               │
//!                                                   no answer lately: silent ┤
//!                                                   else: Held, and asked on ┘
//! Held ─ a heartbeat ─▶ as before      ─ no answer for 2 intervals ─▶ silent    ─ the hold is over ─▶ silent
//! ```
//!
//! A question or an answer that is forged or lost makes no one dead sooner than without this plane: it only ever
//! delays that, and by no more than [`super::Timing::hold`].

use std::{net::IpAddr, time::Duration};

use landfall_model::Instant;

use super::{
    counters::Cause,
    event::Event,
    machine::Membership,
    member::{MemberState, Signal},
    peer::{Peer, PeerId},
    settings::Timing,
    timers::Timer,
};

/// So many peers are asked at a time. If more are silent at once, it is rather we who are cut off; those beyond are
/// judged by their heartbeats alone.
const MAX_ASKED: usize = 64;

/// Until when each plane speaks for a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planes {
    /// Its last heartbeat counts until then.
    pub(super) heartbeat: Instant,
    /// Its kernel's last answer does, if it gave one.
    pub(super) kernel: Option<Instant>,
    /// Its process may be away until then.
    pub(super) hold: Instant,
}

/// What both planes together say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its process is alive. To be judged again then.
    Speaks(Instant),
    /// Only its kernel is. To be judged again then.
    Held(Instant),
    /// It is silent: dead, if others say so too.
    Silent(Cause),
}

impl Planes {
    /// The whole rule. The table in the tests is complete.
    pub(super) fn verdict(self, now: Instant) -> Verdict {
        let Self { heartbeat, kernel, hold } = self;
        if heartbeat > now {
            return Verdict::Speaks(heartbeat);
        }
        match kernel.filter(|until| *until > now) {
            None => Verdict::Silent(Cause::NodeSilent),
            Some(_) if hold <= now => Verdict::Silent(Cause::ProcessSilent),
            Some(until) => Verdict::Held(until.min(hold)),
        }
    }
}

impl Timing {
    fn longer(&self, interval: Duration) -> Duration {
        self.interval.max(interval)
    }

    /// After so long without a heartbeat one is missing: they come with 10 % jitter.
    pub(super) fn overdue(&self, interval: Duration) -> Duration {
        self.longer(interval) * 5 / 4
    }

    /// Between two questions to one kernel.
    fn ask_again(&self, interval: Duration) -> Duration {
        self.longer(interval) / 4
    }

    /// When a peer is looked at: when its heartbeat is missing, at one of few moments, so that a wake-up serves many peers.
    pub(super) fn look(&self, peer: &Peer) -> Instant {
        rounded_up(peer.heard_at + self.overdue(peer.pace()), peer.ours / 8).min(peer.deadline)
    }

    /// For so long an answer of a kernel counts: eight questions.
    fn kernel_window(&self, interval: Duration) -> Duration {
        self.longer(interval) * 2
    }
}

impl Membership {
    /// The kernel of the node with this address has answered what [`Event::Ask`] told to ask. An answer that was not
    /// asked for does nothing; says whether it was.
    pub fn handle_answer(&mut self, address: IpAddr, now: Instant) -> bool {
        let asked = self.asked.iter().copied();
        let mut asked = asked.filter(|id| self.peers.get(id).is_some_and(|peer| peer.has_address(address)));
        let Some(id) = asked.next() else { return false };
        let Some(peer) = self.peers.get_mut(&id) else { return false };
        peer.answered = Some(now);
        let suspected = peer.suspected.is_some();
        let until = now + self.timing.kernel_window(peer.pace());
        self.counters.answers += 1;
        self.keep_company(until);
        if suspected {
            self.judge(id, now);
        }
        self.tend(now);
        true
    }

    /// Whether any answer of a kernel is waited for.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Begins to ask a peer whose heartbeat is missing, or its kernel.
    pub(super) fn watch(&mut self, id: PeerId, now: Instant) {
        let overdue = self.peers.get(&id).is_some_and(|peer| self.is_overdue(peer, now));
        if overdue && self.asked.len() < MAX_ASKED && self.asked.insert(id) {
            self.timers.arm(Timer::Ask(id), now);
        }
    }

    /// Asks, unless a heartbeat came meanwhile: its kernel, and beyond a mesh itself as well, which may not know that we wait.
    /// The kernels of those who are dead by the word of their watchers are left alone: in a large cluster the
    /// questions of all would flood the segment.
    pub(super) fn inquire(&mut self, id: PeerId, now: Instant) {
        let overdue = self.peers.get(&id).is_some_and(|peer| self.is_overdue(peer, now));
        let Some(peer) = self.peers.get_mut(&id).filter(|_| overdue) else {
            self.asked.remove(&id);
            return;
        };
        let condemned = peer.condemned.is_some();
        let unanswered = peer.asked.is_some_and(|asked| asked > peer.heard_at && peer.answered < Some(asked));
        if (condemned || unanswered) && peer.failing < Some(peer.heard_at) {
            peer.failing = Some(now);
            self.events.push_back(Event::Failing { node: peer.node.clone() });
        }
        let pace = if condemned { self.timing.interval } else { peer.pace() };
        self.timers.arm(Timer::Ask(id), now + self.timing.ask_again(pace));
        if !condemned {
            let known = peer.asked.replace(now).is_some_and(|asked| peer.answered >= Some(asked));
            let addresses = peer.addresses.iter().map(|address| address.ip().to_canonical()).collect();
            self.counters.questions += 1;
            self.events.push_back(Event::Ask { node: peer.node.clone(), addresses, known });
        }
        if !self.graph.is_mesh() {
            self.beat(id, now);
        }
    }

    pub(super) fn stop_asking(&mut self, id: PeerId) {
        if self.asked.remove(&id) {
            self.timers.disarm(Timer::Ask(id));
        }
    }

    /// A heartbeat of a peer may be missing, its silence window may have ended, or what its kernel said is no longer
    /// fresh.
    pub(super) fn judge(&mut self, id: PeerId, now: Instant) {
        let Some(peer) = self.peers.get(&id) else { return };
        match self.planes(peer).verdict(now) {
            Verdict::Speaks(until) => {
                let look = self.timing.look(peer);
                self.timers.arm(Timer::Window(id), if look > now { look } else { until });
                if look <= now {
                    self.watch(id, now);
                }
            }
            Verdict::Held(until) => {
                self.transition(id, Signal::Held, now);
                self.absolve(id, now);
                self.timers.arm(Timer::Window(id), until);
                self.reconsider(now);
            }
            Verdict::Silent(cause) => match peer.condemned {
                // By its watchers, and now by us.
                Some(told) => {
                    self.blame(id, now);
                    self.convict(id, told, now);
                }
                None => self.suspect(id, cause, now),
            },
        }
    }

    fn planes(&self, peer: &Peer) -> Planes {
        let window = self.timing.kernel_window(peer.pace());
        // The process said goodbye, or its watchers waited long enough: nobody waits for it any more.
        let leaving = peer.state == MemberState::Leaving;
        Planes {
            heartbeat: peer.deadline,
            kernel: peer.answered.filter(|_| !leaving && peer.condemned.is_none()).map(|at| at + window),
            hold: self.hold(peer),
        }
    }

    /// Its process may be away until then.
    fn hold(&self, peer: &Peer) -> Instant {
        peer.heard_at + peer.interval * 11 / 10 + self.timing.hold
    }

    /// Its kernel is to be asked. One that others hear is not asked for ever.
    fn is_overdue(&self, peer: &Peer, now: Instant) -> bool {
        let leaving = peer.state == MemberState::Leaving;
        let over = peer.suspected.is_some() && now >= self.hold(peer);
        let overdue = now.since(peer.heard_at) >= self.timing.overdue(peer.pace());
        peer.state.is_heard() && (peer.condemned.is_some() || (!leaving && !over && overdue))
    }

    /// Nobody is dead because we slept: as if everyone who was heard when we should have woken had just been heard.
    pub(super) fn restart_windows(&mut self, due: Instant, now: Instant) {
        for (id, peer) in &mut self.peers {
            let until = now + self.timing.window(peer.pace());
            if peer.state.is_heard() {
                peer.deadline = peer.deadline.max(until);
                peer.heard_at = now;
                if peer.is_near() {
                    self.unfit_until = self.unfit_until.max(peer.deadline);
                }
            }
            peer.heard_until = peer.heard_until.map(|at| if at > due { at.max(until) } else { at });
            if peer.state == (MemberState::Alive { settled: false }) {
                let until = peer.probation.interrupted(self.timing.settle, now);
                self.timers.arm(Timer::Settle(*id), until);
            }
        }
        for id in self.suspects.clone() {
            self.drop_suspicion(id);
        }
        self.restart_settling(now);
        self.keep_company(now + self.timing.detection());
    }
}

/// The first multiple of `step` that is not before `at`.
pub(super) fn rounded_up(at: Instant, step: Duration) -> Instant {
    let step = u64::try_from(step.as_micros()).unwrap_or(u64::MAX).max(1);
    Instant::from_micros(at.as_micros().div_ceil(step).saturating_mul(step))
}
