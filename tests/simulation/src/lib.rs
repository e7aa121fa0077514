//! Speakers of a whole cluster on one simulated segment and one virtual clock.
//!
//! A [`World`] runs the real [`landfall_engine::speaker::Speaker`] on each node, with a kernel below it that answers ARP
//! for the node's own address also while the process stands still. A [`Script`] says what befalls them, and a [`Judge`]
//! watches all along that the rules are kept. The rules state outcomes only: who answers, when, and who must be silent.
//! The same script gives the same run.
//!
//! * `scripts/*.txt`: a script and what it led to; `LANDFALL_BLESS=1` rewrites the second part.
//! * `regressions/*.txt`: scripts that broke a rule once. They are played again in each run.
//! * `large.rs`: a node that dies among eighty, and in `make soak` among four hundred.
//! * `tests/random.rs` makes up scripts for some seconds, and prints a short one when a rule is broken.

mod chance;
mod clock;
mod events;
mod host;
mod judge;
#[cfg(test)]
mod large;
#[path = "../../../speaker/engine/tests/objects/mod.rs"]
#[expect(clippy::unwrap_used, dead_code, reason = "a part of the tests of landfall-engine")]
mod objects;
mod script;
mod shrink;
mod wires;
mod world;

pub use chance::{Random, make_up};
pub use judge::{Judge, Rule, Violation};
pub use script::{Action, Script, Step};
pub use shrink::shrink;
pub use world::World;
