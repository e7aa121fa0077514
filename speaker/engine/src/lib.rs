//! The speaker's machines: what a node answers, whom it hears, what it owns, and how it forwards. Pure: no
//! sockets, clock or entropy; the IO sibling is `landfall-speaker`.
//!
//! Every machine has the same shape. Inputs go in together with `now`; afterwards the caller drains
//! `next_command` until it gives `None`, and calls `handle_timeout` at `poll_timeout`. Calling
//! `handle_timeout` early or twice does nothing. Bad input is counted, never an error.

pub mod cluster;
pub mod forwarding;
pub mod health;
mod interface;
pub mod links;
pub mod membership;
#[cfg(test)]
#[path = "../tests/objects/mod.rs"]
mod objects;
pub mod ownership;
mod random;
pub mod responder;
pub mod routes;
pub mod speaker;
pub mod verification;
pub mod wire;

pub use interface::{Announced, Command, IfIndex, Input, Link, Mac};
