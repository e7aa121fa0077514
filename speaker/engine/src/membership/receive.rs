use std::net::SocketAddr;

use landfall_model::Instant;

use super::{
    counters::DropReason,
    event::Event,
    key::KeyId,
    machine::Membership,
    member::Signal,
    message::{Content, Echo, Heartbeat, Phase, read},
    packet::Packet,
    peer::PeerId,
    tie::Tie,
};

/// How many silence windows a peer may take us for an old run, before an established run does something about it. After
/// one, all peers that went over to another speaker of our name count as dead.
const DENIED_WINDOWS: u32 = 3;

/// What a packet says about whether its sender hears this run of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    Hears,
    Deaf,
    Nothing,
}

impl Membership {
    /// A datagram arrived on the membership port. Whatever is wrong with it is counted, see [`DropReason`].
    pub fn handle_datagram(&mut self, from: SocketAddr, bytes: &[u8], now: Instant) {
        match self.admit(from, bytes) {
            Ok((id, key, heartbeat, content)) => {
                self.accept(id, key, &heartbeat, &content, now);
                self.tend(now);
            }
            Err(reason) => self.counters.drop(reason),
        }
    }

    /// All checks, the cheap ones first.
    fn admit<'a>(
        &mut self,
        from: SocketAddr,
        bytes: &'a [u8],
    ) -> Result<(PeerId, KeyId, Heartbeat<'a>, Content<'a>), DropReason> {
        let source = from.ip().to_canonical();
        if !self.sources.contains(&source) {
            return Err(DropReason::UnknownSource);
        }
        let packet = Packet::parse(bytes)?;
        let fields = packet.open(&self.keys)?;
        let (heartbeat, content) = read(fields).ok_or(DropReason::BadField)?;
        if heartbeat.receiver != self.name_digest {
            return Err(DropReason::NotForUs);
        }
        if heartbeat.sender == &*self.node {
            return Err(DropReason::OwnName);
        }
        let id = *self.names.get(heartbeat.sender).ok_or(DropReason::UnknownSender)?;
        let peer = self.peers.get_mut(&id).ok_or(DropReason::UnknownSender)?;
        if !peer.has_address(source) {
            return Err(DropReason::WrongSource);
        }
        if peer.stamp.is_some_and(|stamp| heartbeat.stamp <= stamp) {
            // A member that is back after it was none: it must learn which run of it we know, or it could never go above it.
            peer.heard_until.get_or_insert(Instant::ZERO);
            return Err(DropReason::Replayed);
        }
        Ok((id, packet.key, heartbeat, content))
    }

    fn accept(
        &mut self,
        id: PeerId,
        key: KeyId,
        heartbeat: &Heartbeat<'_>,
        content: &Content<'_>,
        now: Instant,
    ) {
        self.counters.accepted += 1;
        let proof = self.proof(id, heartbeat.echo, now);
        let waits = proof != Proof::Nothing && self.set_asks(id, heartbeat.tie.near, now);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let before = peer.stamp.map(|stamp| stamp.boot);
        let new_run = before != Some(heartbeat.stamp.boot);
        peer.stamp = Some(heartbeat.stamp);
        if proof != Proof::Hears {
            peer.key = Some(key);
        }
        peer.phase = heartbeat.phase;
        peer.interval = heartbeat.interval;
        let until = now + self.timing.window(peer.pace());
        peer.heard_until = Some(until);
        if new_run {
            peer.unheard = None;
            peer.cursor = None;
            peer.unanswered = 0;
        }
        if new_run && before.is_some() {
            self.events.push_back(Event::Restarted { node: peer.node.clone() });
        }
        if proof != Proof::Nothing {
            peer.deadline = until;
            peer.condemned = None;
            peer.heard_at = now;
            peer.spoke_at = now;
            peer.theirs = Some(heartbeat.digests);
            let company = if peer.is_near() { until } else { now + self.timing.detection() };
            self.keep_company(company);
        }
        if proof != Proof::Nothing {
            self.hear_doubt(id, heartbeat.tie.doubted);
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let (was, was_heard) = (peer.state, peer.state.is_heard());
        self.transition(id, signal(proof, heartbeat.phase), now);
        if proof != Proof::Nothing {
            self.absolve(id, now);
        }
        let moved = self.peers.get(&id).is_some_and(|peer| peer.state != was) || new_run;
        let told = proof != Proof::Nothing && self.hear_jury(id, heartbeat.unheard.as_ref(), now);
        if moved || told {
            self.reconsider(now);
        }
        let came_back = !was_heard && self.peers.get(&id).is_some_and(|peer| peer.state.is_heard());
        if proof != Proof::Nothing {
            self.hear_verdicts(id, &content.verdicts, now);
            self.hear_questions(id, &content.questions);
            self.take(id, content, now);
        }
        if waits {
            self.arm_beat(id, now);
        }
        if waits || new_run || came_back || self.wants_answer(id, proof, heartbeat.tie) {
            // It then knows at once that we hear it, and what we claim: two runs, or the two sides of a cut, meet in
            // one round trip, not in two intervals.
            self.beat(id, now);
        }
        if heartbeat.tie.back && !self.graph.is_mesh() && !self.told_lately(self.timing.settle / 2, now) {
            // It took us for dead, and so may others who told us nothing since.
            self.graph.pending.all = true;
        }
        self.answer(id, content, now);
    }

    fn hear_doubt(&mut self, id: PeerId, doubted: bool) {
        let changed = if doubted { self.doubters.insert(id) } else { self.doubters.remove(&id) };
        if changed {
            self.weigh_doubts();
        }
    }

    /// One that asks, or that is far and would hear of us only later.
    fn wants_answer(&self, id: PeerId, proof: Proof, tie: Tie) -> bool {
        let far = self.peers.get(&id).is_some_and(|peer| !peer.is_near());
        tie.answer || (far && proof != Proof::Hears)
    }

    fn proof(&mut self, id: PeerId, echo: Option<Echo>, now: Instant) -> Proof {
        let Some(echo) = echo else { return Proof::Nothing };
        if echo.boot == self.boot {
            self.confirmed = true;
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.denied_since = None;
            }
            return if echo.now { Proof::Hears } else { Proof::Deaf };
        }
        // Peers remember a later run of this node, so they would take us for a replay: the wall clock went back.
        if echo.boot > self.boot && self.follows(id, now) {
            self.boot.seconds = echo.boot.seconds.saturating_add(1);
            self.confirmed = false;
            self.peers.values_mut().for_each(|peer| peer.denied_since = None);
            self.counters.boot_raised += 1;
        }
        Proof::Nothing
    }

    /// Whether this run goes above a later one that a peer knows. One that is established does so only when others
    /// still hear it after a while: if they do not, another speaker runs under our name, and two would outbid each
    /// other.
    fn follows(&mut self, id: PeerId, now: Instant) -> bool {
        if !(self.settled && self.confirmed) {
            return true;
        }
        let Some(peer) = self.peers.get_mut(&id) else { return false };
        let since = *peer.denied_since.get_or_insert(now);
        let patience = self.timing.window(peer.pace()).saturating_mul(DENIED_WINDOWS);
        self.hears_anyone() && now.since(since) >= patience
    }
}

fn signal(proof: Proof, phase: Phase) -> Signal {
    match (proof, phase) {
        (Proof::Nothing, _) => Signal::Unproven,
        (Proof::Hears | Proof::Deaf, Phase::Leaving) => Signal::HeardLeaving,
        (Proof::Deaf, Phase::Joining | Phase::Serving) => Signal::Deaf,
        (Proof::Hears, Phase::Joining | Phase::Serving) => Signal::Heard,
    }
}
