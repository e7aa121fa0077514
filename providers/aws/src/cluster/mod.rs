//! The cluster: what the plan wants to know of it, and what is written to it.

mod convert;
mod watch;
mod write;

pub(crate) use convert::{node, service};
pub(crate) use watch::{Watches, scoped};
pub(crate) use write::{Scribe, Written};
