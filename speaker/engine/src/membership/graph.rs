//! Who watches whom, and how often. Up to [`MESH`] members everybody watches everybody. Beyond that a member is watched by the
//! [`WATCHERS`] that come after it on the ring, see `ring.rs`, and a heartbeat per interval goes both ways between the
//! two. All others tell each other seldom that they are there. So the cost of a node is that of a small cluster.
//!
//! ```text
//! near: watches us, or is watched by us     a heartbeat per interval, judged by the ordinary window
//! far:  everybody else                      a heartbeat per `quiet`, from one second on; judged by the word of its watchers,
//!                                           see `verdict.rs`, and by its own silence only after several of those
//! ```
//!
//! # Who is near
//! Of two members both must know it, and they may see different members, or different ones alive. So each says in its
//! heartbeats whether its own ring makes the other one near, and whoever is told so by the other is as quick. Who ceases to
//! be near goes on for some quick heartbeats that announce the slow ones. Those who are not heard are passed over on the
//! ring, and the next one takes their place; they stay near for those that they were near to, who thereby notice soon
//! when they come back.
//!
//! # What everybody must know at once
//! Changes of claims, a goodbye, a return and a verdict go to all members, also the far ones, in the same step, and twice
//! more within three intervals in case the first packet was lost. A process that starts says so to everybody. Whoever
//! hears a far one that says that it does not hear us, answers.
//!
//! # Who hears nobody
//! The near ones of one that is cut off are silent soon, the far ones only later. So what counts is that nobody at all was
//! heard for one detection time, or that half of the near ones are suspected at once. Then everybody is asked, and judged
//! two intervals later.

use std::{collections::BTreeSet, time::Duration};

use landfall_model::Instant;

use super::{
    machine::Membership,
    member::MemberState,
    peer::{Peer, PeerId},
    planes::rounded_up,
    ring::{Ring, WATCHERS},
    tie::Tie,
    timers::Timer,
    verdict::Told,
};

#[cfg(doc)]
use super::ring::MESH;

/// Between two heartbeats to one that is far, at least.
const QUIET: Duration = Duration::from_secs(1);
/// The same for each member that there is: all far ones together cost 200 packets per second.
const QUIET_PER_MEMBER: Duration = Duration::from_millis(5);
/// And at most, since no longer interval may be announced.
const LONGEST_QUIET: Duration = Duration::from_secs(60);
/// A heartbeat that everybody must get is repeated so often.
pub(super) const REPEATS: u32 = 2;

/// What is kept about the graph.
#[derive(Clone, Debug)]
pub(super) struct Graph {
    pub(super) ring: Ring,
    /// Those whom our ring makes near.
    near: BTreeSet<PeerId>,
    /// What changed since [`Membership::tend`].
    pub(super) stale: Stale,
    /// Between two heartbeats to one that is far.
    pub(super) quiet: Duration,
    /// To do before the present call ends.
    pub(super) pending: Pending,
    /// How often the last heartbeat to all is still to be repeated.
    pub(super) repeats: u32,
    /// When the last heartbeat to all was sent first.
    pub(super) told_all: Option<Instant>,
    /// Who is dead by our judgement and that of another watcher, the last one first.
    pub(super) told: std::collections::VecDeque<Told>,
    /// Somebody was heard, and counts as heard until then.
    company: Instant,
    /// Nobody was for so long.
    pub(super) alone: bool,
    /// Everybody is asked until then.
    pub(super) look_until: Instant,
}

/// What neighbours are found anew for. In a large cluster each start and each end of a member makes everybody look, so it may
/// cost all members only when there are others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stale {
    /// Nothing.
    #[default]
    No,
    /// Others are heard than before.
    Hearing,
    /// There are others, and with their number our interval to those who are far changes.
    Members,
}

/// Work of a call that is done once, at its end, whatever asked for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pending {
    /// A heartbeat to everybody.
    pub(super) all: bool,
    /// A heartbeat to those who are near.
    pub(super) near: bool,
    /// The juries of all suspects may have changed.
    pub(super) juries: bool,
}

impl Graph {
    pub(super) fn new(me: u64, interval: Duration) -> Self {
        Self {
            ring: Ring::new(me),
            near: BTreeSet::new(),
            stale: Stale::No,
            quiet: interval,
            pending: Pending::default(),
            repeats: 0,
            told_all: None,
            told: std::collections::VecDeque::new(),
            company: Instant::ZERO,
            alone: false,
            look_until: Instant::ZERO,
        }
    }

    /// Everybody watches everybody.
    pub(super) fn is_mesh(&self) -> bool {
        self.ring.is_mesh()
    }
}

impl Peer {
    /// A heartbeat per interval is exchanged with it.
    pub(super) const fn is_near(&self) -> bool {
        self.near || self.asks
    }

    /// The longer one of the intervals of both sides.
    pub(super) fn pace(&self) -> Duration {
        self.ours.max(self.interval)
    }

    /// It may watch others.
    pub(super) const fn is_living(&self) -> bool {
        match self.state {
            MemberState::Alive { .. } | MemberState::Degraded | MemberState::Leaving => true,
            MemberState::Unknown | MemberState::Held { .. } | MemberState::Dead | MemberState::Gone => false,
        }
    }
}

impl Membership {
    /// Does what became necessary during a call, at its end.
    pub(super) fn tend(&mut self, now: Instant) {
        self.find_neighbours(now);
        if self.graph.is_mesh() {
            return;
        }
        if std::mem::take(&mut self.graph.pending.juries) {
            self.hold_juries(now);
        }
        // Whom a jury found dead is passed over from now on.
        self.find_neighbours(now);
        let Pending { all, near, juries: _ } = std::mem::take(&mut self.graph.pending);
        if all {
            self.beat_all(now);
        } else if near {
            self.beat_near(now);
        }
    }

    fn find_neighbours(&mut self, now: Instant) {
        let stale = std::mem::take(&mut self.graph.stale);
        if stale == Stale::No {
            return;
        }
        let members = u32::try_from(self.graph.ring.len()).unwrap_or(u32::MAX);
        let quiet = QUIET.max(QUIET_PER_MEMBER.saturating_mul(members)).min(LONGEST_QUIET);
        self.graph.quiet = quiet.max(self.timing.interval);
        let near = self.neighbours();
        let before = std::mem::replace(&mut self.graph.near, near.clone());
        let changed: Vec<PeerId> = match stale {
            Stale::Members => self.peers.keys().copied().collect(),
            Stale::Hearing | Stale::No => near.symmetric_difference(&before).copied().collect(),
        };
        for id in changed {
            self.set_near(id, near.contains(&id), now);
        }
    }

    /// Those who watch us and those whom we watch: by the ring of all members, and by the ring of those who are heard.
    fn neighbours(&self) -> BTreeSet<PeerId> {
        let Self { graph, peers, name_digest, .. } = self;
        if graph.is_mesh() {
            return peers.keys().copied().collect();
        }
        let (after, before) = (graph.ring.after(*name_digest, None), graph.ring.before(*name_digest, None));
        let mut near: BTreeSet<PeerId> = graph
            .ring
            .after(*name_digest, None)
            .take(WATCHERS)
            .chain(graph.ring.before(*name_digest, None).take(WATCHERS))
            .flatten()
            .collect();
        let living = |id: &PeerId| peers.get(id).is_some_and(Peer::is_living);
        near.extend(after.flatten().filter(living).take(WATCHERS));
        // Between us and those whom we watch may be some whose processes are away: we watch them as well.
        let mut watched = 0;
        for id in before.flatten() {
            if peers.get(&id).is_some_and(|peer| peer.state.is_heard()) {
                near.insert(id);
            }
            watched += usize::from(living(&id));
            if watched == WATCHERS {
                break;
            }
        }
        near
    }

    fn set_near(&mut self, id: PeerId, near: bool, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let before = peer.is_near();
        let new = near && !peer.near;
        peer.near = near;
        self.keep_pace(id, before, now);
        if new && self.peers.get(&id).is_some_and(|peer| peer.state.is_heard()) {
            self.watch_closely(id, now);
        }
    }

    /// A member says whether its ring makes us near. Says whether that makes us quicker, and the member waits for a sign.
    pub(super) fn set_asks(&mut self, id: PeerId, asks: bool, now: Instant) -> bool {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.asks != asks) else { return false };
        let before = peer.is_near();
        peer.asks = asks;
        self.keep_pace(id, before, now);
        asks && !before
    }

    /// Brings our interval to a member in line with whether it is near.
    fn keep_pace(&mut self, id: PeerId, before: bool, now: Instant) {
        let Self { graph, timing, peers, .. } = self;
        let Some(peer) = peers.get_mut(&id) else { return };
        let near = peer.is_near();
        peer.ours = if near { timing.interval } else { graph.quiet };
        if before && !near {
            // It goes on judging us by quick heartbeats until it has heard that slow ones come.
            peer.quick = timing.missed;
            peer.deadline = peer.deadline.max(now + timing.window(peer.pace()));
        }
    }

    /// Begins to judge one by the ordinary window. It learns so by the heartbeat that goes out, and answers at once; whether it
    /// lives is asked meanwhile, and known after an interval.
    fn watch_closely(&mut self, id: PeerId, now: Instant) {
        let Self { timing, peers, .. } = self;
        let Some(peer) = peers.get_mut(&id).filter(|peer| peer.ours < peer.interval) else { return };
        peer.interval = peer.ours;
        // Not longer ago than makes it overdue: its process is granted the whole hold.
        peer.heard_at = peer.heard_at.max(now - timing.overdue(peer.ours));
        peer.deadline = (peer.heard_at + timing.window(peer.ours)).max(now + peer.ours);
        if peer.suspected.is_none() {
            self.timers.arm(Timer::Window(id), timing.look(peer).max(now));
        }
        self.watch(id, now);
        self.beat(id, now);
        self.arm_beat(id, now);
    }

    /// Arms the next heartbeat to a member. Those to far ones are due at one of few moments, so that a wake-up serves
    /// several.
    pub(super) fn arm_beat(&mut self, id: PeerId, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let (interval, ours) = (self.timing.interval, peer.ours);
        let at = if ours <= interval || peer.quick > 0 {
            peer.quick = peer.quick.saturating_sub(1);
            now + self.random.jittered(interval)
        } else {
            rounded_up(now + self.random.jittered(ours), interval / 2)
        };
        self.timers.arm(Timer::Send(id), at);
    }

    /// What we say to a member of how it stands with us.
    pub(super) fn tie(&self, id: PeerId, peer: &Peer, now: Instant) -> Tie {
        let unsettled = peer.state == (MemberState::Alive { settled: false });
        let doubted = unsettled && peer.probation.is_doubted();
        if self.graph.is_mesh() {
            // A larger cluster, in the eyes of the other one, may be what we were a moment ago.
            return Tie { near: true, doubted, ..Tie::default() };
        }
        let back = unsettled && peer.probation.is_back_since(self.timing.settle, now);
        let answer = self.asked.contains(&id) || (now < self.graph.look_until && !peer.is_near());
        Tie { near: peer.near, back, answer, doubted }
    }

    /// Somebody was heard, or a kernel was.
    pub(super) fn keep_company(&mut self, until: Instant) {
        self.graph.company = self.graph.company.max(until);
        if self.graph.is_mesh() {
            self.graph.alone = false;
            return;
        }
        self.timers.arm_once(Timer::Company, self.graph.company);
        if std::mem::take(&mut self.graph.alone) {
            // Others may have taken us for dead, and have told us nothing since.
            self.graph.pending.all = true;
        }
    }

    /// Nobody may have been heard for the detection time.
    pub(super) fn look_for_company(&mut self, now: Instant) {
        if self.graph.is_mesh() || self.heard == 0 {
            return;
        }
        if self.graph.company > now {
            self.timers.arm(Timer::Company, self.graph.company);
            return;
        }
        self.graph.alone = true;
        self.look_round(now);
    }

    /// Half of those who are near may be silent, and far ones as well: a part of the cluster died, or we were cut off from it.
    pub(super) fn suspect_more(&mut self, now: Instant) {
        let near = self.suspects.iter().filter_map(|id| self.peers.get(id)).filter(|peer| peer.is_near());
        if !self.graph.is_mesh() && near.count() >= WATCHERS && now >= self.graph.look_until {
            self.look_round(now);
        }
    }

    /// Asks everybody, twice, and judges them all soon.
    fn look_round(&mut self, now: Instant) {
        self.graph.pending.all = true;
        let until = now + self.timing.interval * 2;
        self.graph.look_until = until;
        for (id, peer) in &mut self.peers {
            if peer.state.is_heard() && peer.suspected.is_none() && peer.deadline > until {
                peer.deadline = until;
                self.timers.arm(Timer::Window(*id), until);
            }
        }
    }

    /// Repeats what everybody must know to those who do not hear from us soon anyway.
    pub(super) fn tell_again(&mut self, now: Instant) {
        let far = self.peers.iter().filter(|(_, peer)| !peer.is_near()).map(|(id, _)| *id);
        for id in far.collect::<Vec<_>>() {
            self.beat(id, now);
        }
        self.graph.repeats = self.graph.repeats.saturating_sub(1);
        if self.graph.repeats > 0 {
            self.timers.arm(Timer::Repeat, now + self.timing.interval * 2);
        }
    }

    /// Whether everybody was told something in the last moments.
    pub(super) fn told_lately(&self, within: Duration, now: Instant) -> bool {
        self.graph.told_all.is_some_and(|at| now.since(at) < within)
    }
}
