use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use landfall_model::Instant;

use super::{
    claims::{Ledger, digest64},
    counters::Cause,
    graph::REPEATS,
    key::KeyId,
    member::MemberState,
    message::{Digests, Phase, Stamp},
    probation::Probation,
    profile::Profile,
};

/// A number for a member while it is one. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PeerId(pub(super) u32);

/// Everything that we know of another member.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) node: Box<str>,
    pub(super) name_digest: u64,
    pub(super) addresses: Vec<SocketAddr>,
    /// Which of the addresses we send to. It moves on while the peer does not confirm that it hears us.
    path: usize,
    pub(super) state: MemberState,
    /// The newest packet that was accepted.
    pub(super) stamp: Option<Stamp>,
    /// What it signed with when it did not hear us: it may have no other key, as one that is late, or that has started, while they
    /// change. Until ours change again it hears us by this one.
    pub(super) key: Option<KeyId>,
    pub(super) phase: Phase,
    /// The interval that the peer announces.
    pub(super) interval: Duration,
    /// The interval that we keep to it.
    pub(super) ours: Duration,
    /// Our ring makes it near, see `graph.rs`.
    pub(super) near: bool,
    /// Its own ring makes us near.
    pub(super) asks: bool,
    /// So many heartbeats to it are quick although it is far.
    pub(super) quick: u32,
    /// Until when we tell the peer that we hear it.
    pub(super) heard_until: Option<Instant>,
    /// When its silence window ends, unless it proves before that it hears us, or says that it does not.
    pub(super) deadline: Instant,
    /// When it last did that, or when we began to judge it.
    pub(super) heard_at: Instant,
    /// When it last did that.
    pub(super) spoke_at: Instant,
    /// When its node's kernel was last asked.
    pub(super) asked: Option<Instant>,
    /// When its node's kernel last answered a question.
    pub(super) answered: Option<Instant>,
    /// When it was last said that it may be dead soon.
    pub(super) failing: Option<Instant>,
    /// Why it would be dead, if another juror said the same.
    pub(super) suspected: Option<Cause>,
    /// Its watchers say that it is dead, and why; it is being asked.
    pub(super) condemned: Option<Cause>,
    /// Since when it is suspected or not heard.
    pub(super) lost: Option<Instant>,
    /// Its deaths, and what follows from them.
    pub(super) probation: Probation,
    /// Whom it does not hear itself, by the digest of the name; `None` while it takes no part in juries.
    pub(super) unheard: Option<Vec<u64>>,
    /// Since when it answers to a later run of this node than the present one.
    pub(super) denied_since: Option<Instant>,
    /// What it last said that it has.
    pub(super) theirs: Option<Digests>,
    pub(super) profile: Option<Profile>,
    pub(super) profile_digest: u64,
    pub(super) assembly: Assembly,
    pub(super) claims: Ledger,
    /// Up to where this pull has read the claims.
    pub(super) cursor: Option<IpAddr>,
    /// Pulls in a row without an answer.
    pub(super) unanswered: u32,
}

/// A profile that arrives in parts.
#[derive(Clone, Debug, Default)]
pub(super) struct Assembly {
    pub(super) digest: u64,
    pub(super) bytes: Vec<u8>,
}

impl Peer {
    pub(super) fn new(node: Box<str>, addresses: Vec<SocketAddr>, ours: Duration) -> Self {
        Self {
            name_digest: digest64(node.as_bytes()),
            node,
            addresses,
            path: 0,
            state: MemberState::Unknown,
            stamp: None,
            key: None,
            phase: Phase::Joining,
            interval: Duration::ZERO,
            ours,
            near: false,
            asks: false,
            quick: REPEATS,
            heard_until: None,
            heard_at: Instant::ZERO,
            spoke_at: Instant::ZERO,
            asked: None,
            answered: None,
            failing: None,
            deadline: Instant::ZERO,
            suspected: None,
            condemned: None,
            lost: None,
            probation: Probation::default(),
            unheard: None,
            denied_since: None,
            theirs: None,
            profile: None,
            profile_digest: 0,
            assembly: Assembly::default(),
            claims: Ledger::default(),
            cursor: None,
            unanswered: 0,
        }
    }

    pub(super) fn has_address(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|address| address.ip().to_canonical() == ip)
    }

    /// Where the next packet goes; `None` while the peer has no address.
    pub(super) fn next_path(&mut self) -> Option<SocketAddr> {
        let confirmed = matches!(self.state, MemberState::Alive { .. }) && self.suspected.is_none();
        if !confirmed {
            self.path = self.path.wrapping_add(1);
        }
        let len = self.addresses.len();
        (len > 0).then(|| self.addresses[self.path % len])
    }

    /// A run that has not told its profile yet leaves what the run before it told.
    pub(super) fn profile_in_sync(&self) -> bool {
        self.theirs.is_none_or(|theirs| theirs.profile == 0 || theirs.profile == self.profile_digest)
    }

    pub(super) fn claims_in_sync(&self) -> bool {
        self.theirs.is_none_or(|theirs| {
            theirs.claims == self.claims.digest() && theirs.claims_len == self.claims.len()
        })
    }

    pub(super) fn in_sync(&self) -> bool {
        self.profile_in_sync() && self.claims_in_sync()
    }
}
