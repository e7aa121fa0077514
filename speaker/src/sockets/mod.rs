//! The sockets of the speaker. They move bytes between the kernel and [`landfall_engine::Input`] and decide nothing.
//!
//! | Socket | What it carries | Capability |
//! |---|---|---|
//! | [`FrameSocket`] for ARP | of all interfaces: ARP requests and announcements that name an address of a pool, replies to this node; whole frames both ways | NET_RAW |
//! | [`FrameSocket`] for neighbour discovery | the same of neighbour solicitations and advertisements | NET_RAW |
//! | [`Groups`] | nothing: it only holds memberships of multicast groups | NET_RAW |
//! | [`PeerSocket`] | heartbeats of other speakers | none |

pub(crate) mod filter;
mod frame;
mod group;
mod link_address;
mod peer;
mod wanted;

use std::io;

pub use frame::{FrameKind, FrameSocket};
pub use group::{GroupError, Groups};
pub use peer::PeerSocket;

/// Why a socket could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the socket for {purpose}: {hint}")]
pub struct OpenError {
    /// What it is for.
    pub purpose: &'static str,
    /// What to do about it.
    pub hint: &'static str,
    /// What the kernel says.
    #[source]
    pub source: io::Error,
}

impl OpenError {
    fn new(purpose: &'static str, source: io::Error) -> Self {
        let hint = if source.kind() == io::ErrorKind::PermissionDenied {
            "the capability NET_RAW is missing; run as root or grant it to the pod"
        } else if source.kind() == io::ErrorKind::AddrInUse {
            "the port is taken, perhaps by another speaker on this node; choose another one"
        } else if source.kind() == io::ErrorKind::AddrNotAvailable {
            "the address is not one of this node; check --ml-bindaddr"
        } else {
            "the kernel refuses"
        };
        Self { purpose, hint, source }
    }
}
