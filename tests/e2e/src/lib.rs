//! End-to-end tests: what a user sees, on a real API server, a real kube-proxy and the real kernel.
//!
//! ```text
//!   Cluster      the bed, with Landfall installed by `kubectl apply -k deploy/` and what a test asks of both
//!   Sections     one bed, many scenarios: each runs, each is reported, also after one has failed
//!   Machines     machines without a cluster, with Landfall or keepalived on them
//!   Rival        a host that is no machine and wants what is not its own
//!   Stream       a client that asks a thousand times a second
//!   requests     a client on the LAN: HTTP and UDP, once or without pause, and the gaps that it saw
//!   Asker        another machine on the LAN that asks by ARP and neighbour solicitation, and writes every answer down
//!   History      every address that any Service ever had, from a watch
//!   reports      which nodes say that they announce a Service, and how often each said that it began to
//!   Audit        who wrote what, and what was forbidden, from the API server's audit log
//! ```
//!
//! For work on one scenario: `LANDFALL_E2E_ONLY=word` runs only the sections with that word in their title, and with
//! `LANDFALL_TESTBED_LOGS=folder` the logs of every component and container stay after the bed.

pub mod asker;
pub mod audit;
pub mod cluster;
pub mod frames;
pub mod history;
pub mod layouts;
pub mod machines;
pub mod manifests;
pub mod processes;
pub mod reports;
pub mod requests;
pub mod rival;
pub mod sections;
pub mod stream;
pub mod wait;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use asker::Asker;
pub use cluster::Cluster;
pub use machines::{Contender, Machines};
pub use rival::Rival;
pub use sections::Sections;
pub use stream::Stream;

/// How often, or how long: in `make test`, and in `make soak`.
#[must_use]
pub fn amount(short: u32, long: u32) -> u32 {
    if std::env::var_os("LANDFALL_SOAK").is_some() { long } else { short }
}

/// What a thread that panicked has left is looked at all the same: its panic fails the test anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
