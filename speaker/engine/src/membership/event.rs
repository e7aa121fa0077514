use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use landfall_model::Instant;

use super::{
    claims::{Claim, ClaimChanges},
    member::MemberState,
    message::{BootId, Phase},
    profile::Profile,
    question::Question,
};

/// What a [`super::Membership`] has to say. For one packet, [`Event::State`] comes before what the packet carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Send a datagram from the membership port.
    Send {
        /// To whom.
        to: SocketAddr,
        /// Its payload.
        bytes: Vec<u8>,
    },
    /// Ask the kernel of a member's node for these addresses of it, by ARP or neighbour solicitation, where they are on
    /// a segment with us. What it answers goes into [`super::Membership::handle_answer`].
    Ask {
        /// The member.
        node: Box<str>,
        /// Its addresses.
        addresses: Vec<IpAddr>,
        /// The question before was answered, so this one may go to the card that answered alone.
        known: bool,
    },
    /// A member's heartbeat is missing, and its node's kernel left a question unanswered, or its watchers have lost it: it is
    /// dead soon, or heard again. Comes once for each silence, and decides nothing.
    Failing {
        /// The member.
        node: Box<str>,
    },
    /// A member's state changed. A new member starts with [`MemberState::Unknown`]; after [`MemberState::Gone`]
    /// its profile and claims are forgotten without further events.
    State {
        /// The member.
        node: Box<str>,
        /// Its state now.
        state: MemberState,
    },
    /// A member's process was started again while it was a member. What it claims now follows.
    Restarted {
        /// The member.
        node: Box<str>,
    },
    /// A member's profile changed.
    Profile {
        /// The member.
        node: Box<str>,
        /// Its profile now.
        profile: Profile,
    },
    /// A member's claims changed. All of them are in [`super::Membership::member`].
    Claims {
        /// The member.
        node: Box<str>,
        /// What changed, at the cost of the change.
        changes: ClaimChanges,
    },
    /// [`super::Membership::is_doubted`] changed to this.
    Doubted(bool),
    /// A member asks this node to look for addresses, or tells what it saw.
    Questions {
        /// The member.
        node: Box<str>,
        /// What it asks or tells.
        questions: Vec<Question>,
    },
    /// [`super::Membership::settled`] became true. Comes once.
    Settled,
    /// This process did not run for a while; what it believes of others may be old, and they may have taken over
    /// what it owns. All windows start again.
    Stalled {
        /// How much too late [`super::Membership::handle_timeout`] was called.
        late: Duration,
    },
}

/// A member as this node sees it.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Its node's name.
    pub node: &'a str,
    /// How it stands.
    pub state: MemberState,
    /// What it last said of itself.
    pub phase: Phase,
    /// Its run, once heard.
    pub boot: Option<BootId>,
    /// Our copies of its profile and claims were complete at its last packet.
    pub in_sync: bool,
    /// We hear neither its process nor its kernel, and no other juror has said the same yet.
    pub suspected: bool,
    /// It is on probation because it was lost again soon after it had come back.
    pub flapping: bool,
    /// When its process was last heard, or, if this node does not watch it and it is dead, when others heard it last.
    pub heard: Option<Instant>,
    /// It sees the same members alive as we do.
    pub same_view: bool,
    /// Its profile, once known.
    pub profile: Option<&'a Profile>,
    /// Its claims. Those of a dead member are kept for its return and are void until then.
    pub claims: &'a BTreeMap<IpAddr, Claim>,
}
