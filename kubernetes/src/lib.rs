//! The API server, seen from Landfall: custom resources, conversion into the words of `landfall-model`, watches
//! with a first-list barrier, server-side-apply writers, the leader's lease. Files can stand in for the server.
//! It decides nothing: what to write comes from the pure crates.

pub mod access;
pub mod api;
mod busy;
pub mod cleanup;
pub mod client;
pub mod clock;
pub mod convert;
#[cfg(test)]
mod golden;
pub mod lease;
pub mod moves;
pub mod names;
pub mod namespace;
mod overlay;
pub mod secret;
pub mod source;
pub mod state;
pub mod write;
