use landfall_model::Instant;

use super::{
    event::Event,
    graph::REPEATS,
    machine::Membership,
    message::{Content, Digests, Echo, Heartbeat, Stamp, change_len, room, write},
    packet::seal,
    peer::PeerId,
    timers::Timer,
};

impl Membership {
    /// A heartbeat to everyone, now.
    pub(super) fn beat_all(&mut self, now: Instant) {
        for id in self.audience(now) {
            self.beat(id, now);
        }
    }

    /// A heartbeat to those who judge with us, now or at the end of this call.
    pub(super) fn tell_near(&mut self, now: Instant) {
        if self.graph.is_mesh() {
            self.beat_all(now);
        } else {
            self.graph.pending.near = true;
        }
    }

    pub(super) fn beat_near(&mut self, now: Instant) {
        let near = self.peers.iter().filter(|(_, peer)| peer.is_near() && peer.state.is_heard());
        for id in near.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.beat(id, now);
        }
    }

    /// Those to whom something is told that everybody must know, and that will be repeated: in a mesh those who are
    /// heard, since the others are told soon again; else all.
    pub(super) fn audience(&mut self, now: Instant) -> Vec<PeerId> {
        let mesh = self.graph.is_mesh();
        if !mesh {
            self.graph.told_all = Some(now);
            self.graph.repeats = REPEATS;
            self.timers.arm(Timer::Repeat, now + self.timing.interval);
        }
        let audience = self.peers.iter().filter(|(_, peer)| !mesh || peer.state.is_heard());
        audience.map(|(id, _)| *id).collect()
    }

    /// A heartbeat to one peer, with the changes of the last moments.
    pub(super) fn beat(&mut self, id: PeerId, now: Instant) {
        let changes = self.recent_changes(now);
        let used: usize = 3 + changes.iter().map(|(address, _)| change_len(*address)).sum::<usize>();
        let verdicts = self.verdicts(room(&self.node).saturating_sub(used), now);
        self.send(id, &Content { changes, verdicts, ..Content::default() }, now);
    }

    pub(super) fn send(&mut self, id: PeerId, content: &Content<'_>, now: Instant) {
        let phase = self.phase();
        let unheard = self.unheard(now);
        let Some(tie) = self.peers.get(&id).map(|peer| self.tie(id, peer, now)) else { return };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(to) = peer.next_path() else { return };
        let theirs = || self.keys.iter().find(|key| Some(key.id()) == peer.key);
        let Some(key) = theirs().or(self.keys.first()) else {
            self.counters.unsigned += 1;
            return;
        };
        self.sequence += 1;
        let echo = peer.stamp.zip(peer.heard_until);
        let heartbeat = Heartbeat {
            sender: &self.node,
            receiver: peer.name_digest,
            stamp: Stamp { boot: self.boot, sequence: self.sequence },
            phase,
            interval: peer.ours,
            echo: echo.map(|(stamp, until)| Echo { boot: stamp.boot, now: until > now }),
            digests: Digests {
                view: self.view,
                profile: self.profile_digest,
                claims: self.claims.digest(),
                claims_len: self.claims.len(),
            },
            unheard,
            tie,
        };
        let bytes = seal(key, |out| write(out, &heartbeat, content));
        self.counters.sent += 1;
        self.events.push_back(Event::Send { to, bytes });
    }
}
