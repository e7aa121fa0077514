//! Where packets for an owned address go.

/// The whole of a node's forwarding rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardingTable {}
