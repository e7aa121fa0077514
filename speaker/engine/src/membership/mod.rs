//! Who is alive: authenticated heartbeats between the speakers, and what they tell each other in them.
//! The IO sibling is the driver loop of `landfall-speaker`.
//!
//! Every node sends a small signed datagram to the nodes that watch it, and to those that it watches, once per interval, and
//! to all others seldom, see `graph.rs`. It says "I am here, I hear you (or not), and these are the digests of my profile
//! and my claims". A receiver whose copy differs pulls the difference; changes of claims are pushed to all at once, so that a
//! takeover is known after one packet.
//!
//! # What a packet must pass
//! Source address of a member, version, key, tag, receiver, sender, and a stamp (run of the sender, sequence) above
//! all before it. See [`DropReason`]. A packet keeps its sender alive only if it echoes the run that this process is in:
//! what was recorded before we started proves nothing.
//!
//! # Whose word counts
//! Members come from the API server, never from packets, and stay in force while it is away. A node asserts only its
//! own claims, and whom it does not hear. A silent peer's kernel is asked before it is suspected, see `planes.rs`, and a
//! suspected one is dead when a second node says the same, see `jury.rs`. Those who do not watch it are told, see `verdict.rs`.

mod assigned;
mod beat;
mod claims;
mod counters;
mod event;
mod field;
mod graph;
mod jury;
mod key;
mod machine;
mod member;
mod message;
mod packet;
mod peer;
mod planes;
mod probation;
mod profile;
mod question;
mod receive;
mod ring;
mod settings;
mod settling;
mod sync;
#[cfg(test)]
mod tests;
mod tie;
mod timers;
mod verdict;

pub use claims::{Claim, ClaimChanges, Epoch};
pub use counters::{Cause, Counters, DropReason};
pub use event::{Event, Member};
pub use key::{Key, KeyError};
pub use machine::Membership;
pub use member::MemberState;
pub use message::{BootId, Phase};
pub use probation::{FORGIVEN_AFTER, LONGEST_PROBATION};
pub use profile::Profile;
pub use question::{MOST_ANSWERS, Question};
pub use settings::{Settings, Timing};
