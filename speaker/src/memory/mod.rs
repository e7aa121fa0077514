//! What a speaker remembers of its cluster, on the disk of its node, so that one which starts while the API server is away
//! serves again: every fact that it observed last, which cluster that was, and when it started.
//!
//! ```text
//! Source ─▶ ┌───────────────────────┐ ─(channel)─▶ Source
//!           │ one task, see `watch` │
//!           └───────────────────────┘ ─▶ changes, once a second ─▶ Memory
//! ```
//!
//! It is a help, never a condition: what cannot be read is forgotten, what cannot be written is tried again, and both are
//! said in the log.

mod store;
mod watch;

use std::{net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

pub(crate) use store::clock;
pub use store::{Memory, MemoryError};
pub use watch::remembered;

/// How long an API server may take before what is remembered is used in its place.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Where a speaker found itself when it last asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The UID of the namespace `kube-system`.
    pub cluster_id: String,
    /// The address of its Pod.
    pub address: Option<IpAddr>,
}

#[cfg(test)]
mod tests;
