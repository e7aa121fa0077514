//! How a far member's death is known. Who judges it, by `planes.rs` and `jury.rs`, are those that are near to it; each of
//! its watchers that comes to a verdict, with another one, tells everybody, in the same step. Whoever does not judge that
//! member itself then asks it, and believes them when it hears nothing for half an interval.
//!
//! A verdict that is wrong is told to the condemned as well, who says to everybody that it lives.

use std::time::Duration;

use landfall_model::Instant;

use super::{
    counters::Cause,
    field::Reader,
    machine::Membership,
    member::MemberState,
    message::{BootId, put_boot, read_boot},
    peer::{Peer, PeerId},
    timers::Timer,
};

/// So many of our verdicts are remembered.
const MAX_TOLD: usize = 64;

/// "This member is dead", says one of its watchers, "and another of them does not hear it either."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Digest of its name.
    pub(super) node: u64,
    /// Its last run that was heard.
    pub(super) boot: BootId,
    /// For how long it has not been heard, in milliseconds on the wire.
    pub(super) silent: Duration,
    pub(super) cause: Cause,
}

/// Bytes of one.
const VERDICT_LEN: usize = 8 + 16 + 4 + 1;

/// A verdict of ours, as long as it is told.
#[derive(Clone, Debug)]
pub(super) struct Told {
    id: PeerId,
    boot: BootId,
    cause: Cause,
    at: Instant,
}

impl Verdict {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.node.to_be_bytes());
        put_boot(out, self.boot);
        let millis = u32::try_from(self.silent.as_millis()).unwrap_or(u32::MAX);
        out.extend_from_slice(&millis.to_be_bytes());
        out.push(match self.cause {
            Cause::NodeSilent => 1,
            Cause::ProcessSilent => 2,
        });
    }

    pub(super) fn read_all(value: &mut Reader<'_>) -> Option<Vec<Self>> {
        let mut verdicts = Vec::new();
        while !value.is_empty() {
            let (node, boot) = (value.u64()?, read_boot(value)?);
            let silent = Duration::from_millis(value.u32()?.into());
            let cause = match value.u8()? {
                1 => Cause::NodeSilent,
                2 => Cause::ProcessSilent,
                _ => return None,
            };
            verdicts.push(Self { node, boot, silent, cause });
        }
        Some(verdicts)
    }
}

impl Membership {
    /// Tells everybody that a member which we watch is dead: another watcher agrees.
    pub(super) fn tell_verdict(&mut self, id: PeerId, cause: Cause, now: Instant) {
        let Some(stamp) = self.peers.get(&id).and_then(|peer| peer.stamp) else { return };
        let graph = &mut self.graph;
        graph.told.retain(|told| told.id != id);
        graph.told.truncate(MAX_TOLD - 1);
        graph.told.push_front(Told { id, boot: stamp.boot, cause, at: now });
        graph.pending.all = true;
    }

    /// For a packet with room for so many bytes: our verdicts, the last one first. Whoever missed the first packets reads them
    /// in the next of our slow heartbeats.
    pub(super) fn verdicts(&mut self, room: usize, now: Instant) -> Vec<Verdict> {
        let keep = self.graph.quiet * 2;
        let Self { graph, peers, .. } = self;
        let dead = |id: PeerId| peers.get(&id).filter(|peer| peer.state == MemberState::Dead);
        graph.told.retain(|told| now.since(told.at) <= keep && dead(told.id).is_some());
        let told = graph
            .told
            .iter()
            .take(room.saturating_sub(3) / VERDICT_LEN)
            .filter_map(|told| Some((told, dead(told.id)?)));
        let verdict = |(told, peer): (&Told, &Peer)| Verdict {
            node: peer.name_digest,
            boot: told.boot,
            silent: now.since(peer.spoke_at),
            cause: told.cause,
        };
        told.map(verdict).collect()
    }

    /// A member tells its verdicts.
    pub(super) fn hear_verdicts(&mut self, teller: PeerId, verdicts: &[Verdict], now: Instant) {
        for verdict in verdicts {
            if verdict.node == self.name_digest {
                self.protest(verdict, now);
            } else if let Some(id) = self.graph.ring.named(verdict.node).filter(|id| *id != teller) {
                self.doubt(id, verdict, now);
            }
        }
    }

    /// Somebody counts us as dead, and tells everybody. So do we that we are not.
    fn protest(&mut self, verdict: &Verdict, now: Instant) {
        if verdict.boot == self.boot && !self.told_lately(self.timing.detection(), now) {
            self.graph.pending.all = true;
        }
    }

    /// Its own silence tells us soon enough.
    fn judges(&self, peer: &Peer) -> bool {
        let quiet = self.graph.quiet;
        self.graph.is_mesh() || (peer.is_near() && (peer.interval < quiet || quiet == self.timing.interval))
    }

    /// A watcher says that a member which we do not judge is dead. We ask that member ourselves, several times within half an
    /// interval: what a watcher knows may be old, or true for it alone, since another API server told it the members.
    fn doubt(&mut self, id: PeerId, verdict: &Verdict, now: Instant) {
        let Some(peer) = self.peers.get(&id) else { return };
        let later_run = peer.stamp.is_some_and(|stamp| stamp.boot > verdict.boot);
        // Both heard it at other moments, up to one interval apart.
        let heard_later = peer.spoke_at + verdict.silent > now + self.timing.overdue(self.timing.interval);
        if !peer.state.is_heard() || self.judges(peer) || later_run || heard_later {
            return;
        }
        let until = now + self.timing.interval / 2;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.condemned = Some(verdict.cause);
        peer.spoke_at = peer.spoke_at.max(now - verdict.silent);
        if peer.deadline > until {
            peer.deadline = until;
            self.timers.arm(Timer::Window(id), until);
        }
        self.watch(id, now);
    }
}
