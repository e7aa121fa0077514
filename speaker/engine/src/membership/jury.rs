//! One watcher is not enough. What this node alone does not hear may be its own fault, or that of one cable. So a member
//! whom it judges to be silent (see `planes.rs`) is only suspected, and dead when another juror says the same. A
//! suspected member stays in the state in which it was.
//!
//! ```text
//! silent on both planes ─▶ suspected, told to all at once ─┬─ another juror does not hear it either ─▶ Dead
//!                                ▲          │              └─ there is no other juror ───────────────▶ Dead
//!                                │          └─ heard again, or its kernel answers: taken back, told at once
//! ```
//!
//! # What is told
//! Every packet of a juror lists the members that it does not hear, or one part of them after the other. The list is the
//! present, and replaced by the next packet: one that was lost does no harm for longer than an interval, nothing has to be
//! taken back by name, and the word of a teller ends with it. So it need not name runs: who has not heard the newest run of
//! a member does not hear it.
//!
//! # Who is a juror
//! Who is heard and does not leave, whom we do not suspect ourselves, and whose last packet had a list. Who is not settled, or
//! stood still a moment ago, sends none: it cannot tell, and nobody waits for it. In a larger cluster only the watchers of the
//! member count, see `graph.rs`: the first four after it on the ring who are jurors. Its suspicion is told to those who
//! are near, and the verdict to all, see `verdict.rs`.
//!
//! # Why nothing is dead too early, and nothing waits for ever
//! Two nodes must have heard nothing of a member for a whole window each, or its kernel must have outlasted the hold,
//! unless one of them is alone. No list can be forged without the key, and each counts only for its sender. A juror that does
//! not list a silent member hears it or will list it, at the latest when its own window or the hold ends; one that dies
//! meanwhile is suspected in its turn.

use std::cmp::Reverse;

use landfall_model::Instant;

use super::{
    counters::Cause,
    machine::Membership,
    member::{MemberState, Signal},
    message::MAX_UNHEARD,
    peer::{Peer, PeerId},
    ring::{Place, WATCHERS},
    timers::Timer,
};

/// The other jurors of a suspected member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Jury {
    /// How many there are.
    pub(super) jurors: usize,
    /// How many of them do not hear it either.
    pub(super) agree: usize,
}

/// What follows when a jury agrees, beside the death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Agreement {
    /// Everybody is to be told.
    tell: bool,
    /// It is held against the member.
    blame: bool,
}

impl Jury {
    /// The whole rule.
    pub(super) const fn agrees(self) -> bool {
        match self {
            // Of two nodes, or alone on one side of a cut; `speaker/isolation.rs` then asks the gateway which side it is.
            Self { jurors: 0, .. } => true,
            Self { agree, .. } => agree > 0,
        }
    }

    fn count(&mut self, juror: &Peer, suspect: &Peer) {
        let agrees = juror.unheard.as_ref().is_some_and(|list| list.contains(&suspect.name_digest));
        self.jurors += 1;
        self.agree += usize::from(agrees);
    }
}

impl Peer {
    /// Its packets tell whom it hears.
    pub(super) fn is_juror(&self) -> bool {
        let heard = matches!(self.state, MemberState::Alive { .. } | MemberState::Degraded);
        heard && self.unheard.is_some() && self.suspected.is_none()
    }
}

impl Membership {
    /// A member is silent, as far as we can tell.
    pub(super) fn suspect(&mut self, id: PeerId, cause: Cause, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.state == MemberState::Leaving {
            // It said so itself.
            self.convict(id, cause, now);
            return;
        }
        let first = peer.suspected.replace(cause).is_none();
        self.suspects.insert(id);
        self.lose(id, now);
        self.reconsider(now);
        if first {
            self.counters.suspicions += 1;
            self.tell_near(now);
            self.suspect_more(now);
        }
    }

    /// It is heard again, or its kernel is.
    pub(super) fn absolve(&mut self, id: PeerId, now: Instant) {
        if self.drop_suspicion(id) {
            self.tell_near(now);
            self.reconsider(now);
        }
    }

    /// The same without a word: the next heartbeats will do.
    pub(super) fn drop_suspicion(&mut self, id: PeerId) -> bool {
        let Some(peer) = self.peers.get_mut(&id) else { return false };
        self.suspects.remove(&id);
        if peer.suspected.take().is_none() {
            return false;
        }
        self.timers.arm(Timer::Window(id), self.timing.look(peer));
        self.find(id);
        self.counters.taken_back += 1;
        true
    }

    /// Who is suspected by us may be dead now: a juror said something, or is one no more.
    pub(super) fn reconsider(&mut self, now: Instant) {
        if self.graph.is_mesh() {
            self.hold_juries(now);
        } else {
            self.graph.pending.juries = true;
        }
    }

    pub(super) fn hold_juries(&mut self, now: Instant) {
        while let Some((id, cause, agreement)) = self.suspects.iter().find_map(|id| self.agreed(*id)) {
            if agreement.tell {
                self.tell_verdict(id, cause, now);
            }
            if agreement.blame {
                self.blame(id, now);
            }
            self.convict(id, cause, now);
        }
    }

    /// A member died by the word of several, or by ours where there is nobody else: that is held against it.
    pub(super) fn blame(&mut self, id: PeerId, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.state != MemberState::Leaving) {
            peer.probation.died(now);
        }
    }

    /// A suspect that is dead, and what follows.
    fn agreed(&self, id: PeerId) -> Option<(PeerId, Cause, Agreement)> {
        let suspect = self.peers.get(&id)?;
        let (jury, ours) = if self.graph.is_mesh() {
            (self.all_jurors(id, suspect), false)
        } else {
            self.watchers(id, suspect)
        };
        let agreed = jury.agree > 0;
        // Who hears nobody of several cannot tell whether it is the others that come and go.
        let agreement = Agreement { tell: ours && agreed, blame: agreed || self.peers.len() == 1 };
        jury.agrees().then_some((id, suspect.suspected?, agreement))
    }

    /// The jurors among the first after a suspect on the ring that can be, and whether we are one.
    fn watchers(&self, id: PeerId, suspect: &Peer) -> (Jury, bool) {
        let ring = self.graph.ring.after(suspect.name_digest, Some(id));
        let able = |place: &Place| place.is_none_or(|id| self.peers.get(&id).is_some_and(Peer::is_juror));
        let (mut jury, mut ours) = (Jury::default(), false);
        for place in ring.filter(able).take(WATCHERS) {
            match place.and_then(|id| self.peers.get(&id)) {
                Some(juror) => jury.count(juror, suspect),
                None => ours = true,
            }
        }
        (jury, ours)
    }

    fn all_jurors(&self, id: PeerId, suspect: &Peer) -> Jury {
        let mut jury = Jury::default();
        let others = self.peers.iter().filter(|(other, peer)| **other != id && peer.is_juror());
        others.for_each(|(_, juror)| jury.count(juror, suspect));
        jury
    }

    pub(super) fn convict(&mut self, id: PeerId, cause: Cause, now: Instant) {
        self.suspects.remove(&id);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.suspected = None;
        peer.condemned = None;
        self.counters.count_verdict(cause);
        self.transition(id, Signal::Silent, now);
        self.try_settle(now);
    }

    /// For our packets: whom we do not hear; `None` while we are no juror. If more are silent than fit, the half of the list
    /// names the last ones, and the other half takes turns.
    pub(super) fn unheard(&mut self, now: Instant) -> Option<Vec<u64>> {
        const HALF: usize = MAX_UNHEARD / 2;
        if !self.settled || now < self.unfit_until {
            return None;
        }
        let (last, rest) = (self.lost.iter().take(HALF), self.lost.iter().skip(HALF));
        let turns = self.lost.len().saturating_sub(HALF).div_ceil(HALF).max(1);
        let beats =
            now.as_micros() / u64::try_from(self.timing.interval.as_micros()).unwrap_or(u64::MAX).max(1);
        let turn = usize::try_from(beats % turns as u64).unwrap_or(0);
        let list = last.chain(rest.skip(turn * HALF).take(HALF));
        Some(list.filter_map(|(_, id)| self.peers.get(id)).map(|peer| peer.name_digest).collect())
    }

    /// A peer is suspected, or is not heard. It keeps its place if it was so before.
    pub(super) fn lose(&mut self, id: PeerId, at: Instant) {
        if let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.lost.is_none()) {
            peer.lost = Some(at);
            self.lost.insert((Reverse(at), id));
        }
    }

    /// It is heard, or no peer any more.
    pub(super) fn find(&mut self, id: PeerId) {
        if let Some(at) = self.peers.get_mut(&id).and_then(|peer| peer.lost.take()) {
            self.lost.remove(&(Reverse(at), id));
        }
    }

    /// A peer told whom it does not hear. Says whether that is anything new.
    pub(super) fn hear_jury(&mut self, id: PeerId, unheard: Option<&Vec<u64>>, now: Instant) -> bool {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.unheard.as_ref() != unheard) else {
            return false;
        };
        let before = std::mem::replace(&mut peer.unheard, unheard.cloned()).unwrap_or_default();
        if self.lost.len() > MAX_UNHEARD {
            let new = unheard.into_iter().flatten().filter(|name| !before.contains(name));
            new.for_each(|name| self.second(*name, now));
        }
        true
    }

    /// Names one that another juror has just named among the last ones, if we do not hear it either.
    fn second(&mut self, name: u64, now: Instant) {
        let id = self.graph.ring.named(name);
        if let Some(id) = id.filter(|id| self.peers.get(id).is_some_and(|peer| peer.lost.is_some())) {
            self.find(id);
            self.lose(id, now);
        }
    }
}
