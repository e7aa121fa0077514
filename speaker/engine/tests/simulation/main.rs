//! Whole speakers on a simulated segment: what a client there gets to see when nodes start, die, return, are cut off,
//! drained and stopped. The clock is virtual, so a minute costs a moment, and a failure repeats with its seed.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod disturbed;
mod failover;
mod flapping;
mod forwarding;
mod isolation;
mod lan;
mod moves;
#[path = "../objects/mod.rs"]
mod objects;
mod planned;
mod refresh;
mod rivals;
mod standalone;
mod start;
mod verification;
