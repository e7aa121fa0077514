//! Whether what this node announces is heard on the wire. A node cannot tell by itself: its frames may be lost behind its
//! own card. So an owner asks a peer to look. The peer asks for the address by ARP or neighbour solicitation, like any
//! client, and tells which Ethernet addresses answered. The IO sibling is the driver loop of `landfall-speaker`.
//!
//! ```text
//! owner                              peer on the same segment
//! announces 192.0.2.9
//!   50 ms later ── look for 192.0.2.9 and for my own address ──▶ asks, up to three times
//!               ◀───────── seen at 02:00:00:00:00:01 ─────────── tells 20 ms after an answer
//! ```
//!
//! * [`Checks`] is the owner: when to ask, and what the answers mean.
//! * [`Looks`] is the peer: it asks and tells, and judges nothing.
//!
//! **The witness.** Silence proves something only where the peer hears this node at all. So it looks for an address of the
//! node itself as well, which the kernel answers for. A peer that does not hear that one either (another segment, a
//! network that filters ARP between nodes) is no witness, and nothing follows from what it did not hear.

mod checks;
mod looks;
#[cfg(test)]
mod tests;

use landfall_model::Instant;

pub use checks::{Checks, Counters, FIRST, PATIENCE, RETRIES, SLOW, Step};
pub use looks::{Looks, MOST_OPEN, QUESTIONS};

use crate::Mac;

/// What is known on the wire of an address that this node announces. From good to bad.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verified {
    /// A peer asked for it, and this node alone answered.
    Confirmed {
        /// When that was first found.
        at: Instant,
        /// The peer.
        by: Box<str>,
    },
    /// It was not found out yet.
    #[default]
    Pending,
    /// Nobody can find out: no other speaker that looks for addresses is on the segment, or none hears this node on it.
    Unable,
    /// A peer that hears this node got another answer, or none, each time.
    Wrong {
        /// When that was first found.
        at: Instant,
        /// The peer.
        by: Box<str>,
        /// Another host answered, by its Ethernet address.
        answer: Option<Mac>,
        /// This node answered as well.
        shared: bool,
    },
}
