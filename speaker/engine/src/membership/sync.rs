//! How copies of profiles and claims are kept: changes are pushed, and whoever sees a digest that differs pulls.
//!
//! ```text
//! owner   --- heartbeat, changes ------------------->  applied, digests equal: done
//!         --- heartbeat (the changes were lost) ---->  digests differ for a moment
//!         <-- after address A ----------------------
//!         --- after A, up to B: exactly these ------>  applied, again from B until the end
//! ```
//!
//! One question is open per peer at a time. Packets of a peer are accepted only in the order in which they were
//! sent, so what came last is always the newest truth about the addresses that it covers.

use std::net::IpAddr;

use landfall_model::Instant;

use super::{
    claims::{Change, ClaimChanges, digest64},
    event::Event,
    machine::Membership,
    message::{
        ClaimsRange, Content, PART_LEN, ProfilePart, ProfileRequest, RANGE_LEN, change_len, entry_len, room,
    },
    peer::PeerId,
    profile::{MAX_PROFILE, Profile},
    timers::Timer,
};

/// A push has at most this many packets per peer. Larger changes are cheaper to pull.
const PUSH_PACKETS: usize = 4;
/// For how many intervals heartbeats repeat a change.
const REPEAT_INTERVALS: u32 = 3;
/// How many changes a heartbeat repeats.
pub(super) const MAX_REPEATED: usize = 24;

impl Membership {
    /// Sends what changed, before anything else and as one packet where it fits.
    pub(super) fn push_changes(&mut self, changed: &[Change], now: Instant) {
        if changed.is_empty() {
            return;
        }
        self.recent.extend(changed.iter().rev().take(MAX_REPEATED).map(|(address, _)| (now, *address)));
        self.recent.drain(..self.recent.len().saturating_sub(MAX_REPEATED));
        let packets = self.packets_of(changed);
        for id in self.audience(now) {
            for changes in &packets {
                let content = Content { changes: changes.clone(), ..Content::default() };
                self.send(id, &content, now);
            }
        }
    }

    fn packets_of(&self, changed: &[Change]) -> Vec<Vec<Change>> {
        let room = room(&self.node).saturating_sub(3);
        let (mut packets, mut packet, mut len) = (Vec::new(), Vec::new(), 0);
        for change in changed {
            len += change_len(change.0);
            if len > room {
                packets.push(std::mem::take(&mut packet));
                len = change_len(change.0);
                if packets.len() == PUSH_PACKETS {
                    return packets;
                }
            }
            packet.push(*change);
        }
        packets.push(packet);
        packets
    }

    /// The changes that heartbeats still repeat, as they are now.
    pub(super) fn recent_changes(&mut self, now: Instant) -> Vec<Change> {
        let keep = self.timing.interval * REPEAT_INTERVALS;
        while self.recent.front().is_some_and(|(at, _)| now.since(*at) > keep) {
            self.recent.pop_front();
        }
        let claims = self.claims.claims();
        self.recent.iter().rev().map(|(_, address)| (*address, claims.get(address).copied())).collect()
    }

    /// Takes in what a packet that is proven to be new carries.
    pub(super) fn take(&mut self, id: PeerId, content: &Content<'_>, now: Instant) {
        let Some(peer) = self.peers.get(&id) else { return };
        let changes = if peer.theirs.is_some_and(|theirs| theirs.claims_len == 0) {
            peer.claims.claims().keys().map(|address| (*address, None)).collect()
        } else {
            content.changes.iter().copied().collect()
        };
        self.apply(id, changes);
        if let Some(range) = &content.claims_range {
            self.take_range(id, range, now);
        }
        if let Some(part) = content.profile_part {
            self.take_part(id, part, now);
        }
        self.check(id, now);
    }

    /// Gives a peer what it asks for.
    pub(super) fn answer(&mut self, id: PeerId, content: &Content<'_>, now: Instant) {
        if let Some(after) = content.claims_request {
            let range = Some(self.range_after(after));
            self.send(id, &Content { claims_range: range, ..Content::default() }, now);
        }
        if let Some(request) = content.profile_request {
            self.send_part(id, request, now);
        }
    }

    /// Asks a peer for whatever differs, and again after a while if no answer comes.
    pub(super) fn pull(&mut self, id: PeerId, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.in_sync() || !peer.state.is_heard() {
            return;
        }
        let profile = !peer.profile_in_sync();
        let claims = !peer.claims_in_sync();
        peer.unanswered = peer.unanswered.saturating_add(1);
        self.ask(id, profile, claims, now);
    }

    fn ask(&mut self, id: PeerId, profile: bool, claims: bool, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(theirs) = peer.theirs else { return };
        if profile && peer.assembly.digest != theirs.profile {
            peer.assembly.digest = theirs.profile;
            peer.assembly.bytes.clear();
        }
        let offset = u32::try_from(peer.assembly.bytes.len()).unwrap_or(u32::MAX);
        let content = Content {
            profile_request: profile.then_some(ProfileRequest { digest: theirs.profile, offset }),
            claims_request: claims.then_some(peer.cursor),
            ..Content::default()
        };
        // Soon at first: an answer that is overtaken by a later packet is thrown away, which two in a row may be.
        let wait = (self.timing.interval / 8).saturating_mul(1 << peer.unanswered.saturating_sub(1).min(5));
        self.timers.arm(Timer::Sync(id), now + wait);
        self.counters.pulls += 1;
        self.send(id, &content, now);
    }

    /// Starts to pull when something differs for a moment, stops when nothing does.
    fn check(&mut self, id: PeerId, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.in_sync() {
            peer.cursor = None;
            peer.unanswered = 0;
            self.timers.disarm(Timer::Sync(id));
            self.try_settle(now);
        } else {
            self.timers.arm_once(Timer::Sync(id), now + self.timing.interval / 8);
        }
    }

    fn apply(&mut self, id: PeerId, mut changes: ClaimChanges) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        changes.retain(|address, claim| peer.claims.set(*address, *claim));
        if !changes.is_empty() {
            self.events.push_back(Event::Claims { node: peer.node.clone(), changes });
        }
    }

    fn take_range(&mut self, id: PeerId, range: &ClaimsRange, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let changes = peer.claims.range_changes(range.after, range.upto, &range.entries);
        let progress = peer.cursor == range.after;
        if progress {
            peer.cursor = range.upto;
            peer.unanswered = 0;
        }
        self.apply(id, changes);
        let differs = self.peers.get(&id).is_some_and(|peer| !peer.claims_in_sync());
        // After a whole pass that did not help, the timer asks again: the claims changed meanwhile.
        if progress && differs && range.upto.is_some() {
            self.ask(id, false, true, now);
        }
    }

    fn take_part(&mut self, id: PeerId, part: ProfilePart<'_>, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let wanted = peer.theirs.is_some_and(|theirs| theirs.profile == part.digest);
        let assembly = &mut peer.assembly;
        let offset = usize::try_from(part.offset).unwrap_or(usize::MAX);
        let total = usize::try_from(part.total).unwrap_or(usize::MAX);
        if !wanted
            || assembly.digest != part.digest
            || assembly.bytes.len() != offset
            || peer.profile_in_sync()
        {
            return;
        }
        let assembly = &mut peer.assembly;
        assembly.bytes.extend_from_slice(part.bytes);
        let len = assembly.bytes.len();
        if total <= MAX_PROFILE && len < total {
            if !part.bytes.is_empty() {
                peer.unanswered = 0;
                self.ask(id, true, false, now);
            }
            return;
        }
        let bytes = std::mem::take(&mut assembly.bytes);
        let whole = len == total && digest64(&bytes) == part.digest;
        // An unreadable profile is not asked for again until its digest changes.
        peer.profile_digest = part.digest;
        match Profile::decode(&bytes).filter(|_| whole) {
            Some(profile) => {
                peer.profile = Some(profile.clone());
                self.events.push_back(Event::Profile { node: peer.node.clone(), profile });
            }
            None => self.counters.unreadable_profiles += 1,
        }
    }

    fn range_after(&self, after: Option<IpAddr>) -> ClaimsRange {
        let room = room(&self.node).saturating_sub(RANGE_LEN);
        let mut range = ClaimsRange { after, upto: None, entries: Vec::new() };
        let mut len = 0;
        for (address, claim) in self.claims.after(after) {
            len += entry_len(address);
            if len > room {
                range.upto = range.entries.last().map(|(address, _)| *address);
                break;
            }
            range.entries.push((address, claim));
        }
        range
    }

    fn send_part(&mut self, id: PeerId, request: ProfileRequest, now: Instant) {
        let offset = usize::try_from(request.offset).unwrap_or(usize::MAX);
        // Another digest: the peer learns the present one from any packet and asks for that.
        if request.digest != self.profile_digest || offset > self.profile.len() {
            return;
        }
        let room = room(&self.node).saturating_sub(PART_LEN);
        let end = self.profile.len().min(offset.saturating_add(room));
        let bytes = self.profile[offset..end].to_vec();
        let total = u32::try_from(self.profile.len()).unwrap_or(u32::MAX);
        let part = ProfilePart { digest: request.digest, total, offset: request.offset, bytes: &bytes };
        self.send(id, &Content { profile_part: Some(part), ..Content::default() }, now);
    }
}
