//! A LAN of network namespaces on this machine: one switch, any number of hosts, and what can go wrong with cables.
//!
//! IO crate: it runs `ip` and `nft` and needs root. The switch is a bridge in a namespace of its own, so the interfaces,
//! routes and rules of the machine itself are never touched.
//!
//! ```text
//!   lf-NAME.switch   br0 ──┬── n1 ──veth── eth0   lf-NAME.n1 ── pod1 ──veth── eth0   lf-NAME.shop-web-0
//!                          ├── n2 ──veth── eth0   lf-NAME.n2
//!                          └── c1 ──veth── eth0   lf-NAME.c1
//! ```
//!
//! Nothing outlives the process that made it. [`Lan::teardown`] and `Drop` (so a panic too) remove everything; when the
//! process dies without either (Ctrl-C, SIGKILL), a small guard process notices and does the same; and should that be
//! killed as well, [`Lan::sweep`] or the next [`Lan::create`] with the same name cleans up.

mod claim;
mod error;
mod faults;
mod host;
mod lan;
mod namespace;
mod pod;
mod process;
mod subnets;
mod tool;

pub use error::Error;
pub use host::{Host, HostSpec, MacAddress};
pub use lan::Lan;
pub use pod::PodSpec;
pub use process::Process;
pub use subnets::Subnets;

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;
