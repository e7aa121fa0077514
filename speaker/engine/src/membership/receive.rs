use std::net::SocketAddr;

use landfall_model::Instant;

use super::{
    counters::DropReason,
    event::Event,
    machine::Membership,
    member::Signal,
    message::{Content, Echo, Heartbeat, Phase, read},
    packet::Packet,
    peer::PeerId,
};

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
            Ok((id, heartbeat, content)) => self.accept(id, &heartbeat, &content, now),
            Err(reason) => self.counters.drop(reason),
        }
    }

    /// All checks, the cheap ones first.
    fn admit<'a>(
        &self,
        from: SocketAddr,
        bytes: &'a [u8],
    ) -> Result<(PeerId, Heartbeat<'a>, Content<'a>), DropReason> {
        let source = from.ip().to_canonical();
        if !self.sources.contains(&source) {
            return Err(DropReason::UnknownSource);
        }
        let fields = Packet::parse(bytes)?.open(&self.keys)?;
        let (heartbeat, content) = read(fields).ok_or(DropReason::BadField)?;
        if heartbeat.receiver != self.name_digest {
            return Err(DropReason::NotForUs);
        }
        if heartbeat.sender == &*self.node {
            return Err(DropReason::OwnName);
        }
        let id = self.names.get(heartbeat.sender).ok_or(DropReason::UnknownSender)?;
        let peer = self.peers.get(id).ok_or(DropReason::UnknownSender)?;
        if !peer.has_address(source) {
            return Err(DropReason::WrongSource);
        }
        if peer.stamp.is_some_and(|stamp| heartbeat.stamp <= stamp) {
            return Err(DropReason::Replayed);
        }
        Ok((*id, heartbeat, content))
    }

    fn accept(&mut self, id: PeerId, heartbeat: &Heartbeat<'_>, content: &Content<'_>, now: Instant) {
        self.counters.accepted += 1;
        let proof = self.proof(heartbeat.echo);
        let until = now + self.timing.window(heartbeat.interval);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let before = peer.stamp.map(|stamp| stamp.boot);
        let new_run = before != Some(heartbeat.stamp.boot);
        peer.stamp = Some(heartbeat.stamp);
        peer.phase = heartbeat.phase;
        peer.interval = heartbeat.interval;
        peer.heard_until = Some(until);
        if new_run {
            peer.cursor = None;
            peer.unanswered = 0;
        }
        if new_run && before.is_some() {
            self.events.push_back(Event::Restarted { node: peer.node.clone() });
        }
        if proof != Proof::Nothing {
            peer.deadline = until;
            peer.theirs = Some(heartbeat.digests);
        }
        self.transition(id, signal(proof, heartbeat.phase), now);
        if proof != Proof::Nothing {
            self.take(id, content, now);
        }
        if new_run {
            // It then knows at once that we hear it: two runs meet in one round trip, not in two intervals.
            self.beat(id, now);
        }
        self.answer(id, content, now);
    }

    fn proof(&mut self, echo: Option<Echo>) -> Proof {
        let Some(echo) = echo else { return Proof::Nothing };
        if echo.boot == self.boot {
            self.confirmed = true;
            return if echo.now { Proof::Hears } else { Proof::Deaf };
        }
        // Peers remember a later run of this node, so they would take us for a replay: the wall clock went back.
        // A run that is established does not follow, or two speakers under one name would outbid each other.
        if echo.boot > self.boot && !(self.settled && self.confirmed) {
            self.boot.seconds = echo.boot.seconds.saturating_add(1);
            self.confirmed = false;
            self.counters.boot_raised += 1;
        }
        Proof::Nothing
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
