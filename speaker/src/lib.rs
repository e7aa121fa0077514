//! The speaker: one per node. It carries out what the pure `landfall-engine` decides.

pub mod netlink;
pub mod nftables;
pub mod sockets;
