use std::net::IpAddr;

use sha2::{Digest as _, Sha256};

use crate::cluster::Merit;

/// The place of a node among the candidates for an address; the least one is the best.
///
/// Among equal merits the order is that of `sha256(node + "#" + address)` as bytes, with the address in its canonical
/// text: MetalLB's order, which is rendezvous hashing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank<'a> {
    merit: Merit,
    digest: [u8; 32],
    node: &'a str,
}

impl<'a> Rank<'a> {
    /// The rank of `node` for `address`.
    #[must_use]
    pub fn new(node: &'a str, address: IpAddr, merit: Merit) -> Self {
        Self { merit, digest: digest(node, address), node }
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &'a str {
        self.node
    }
}

/// What orders nodes of equal merit, and decides between two claims of the same epoch: it depends on nothing but the
/// two names, so that nodes that see different things still agree.
#[must_use]
pub fn digest(node: &str, address: IpAddr) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(node.as_bytes());
    hash.update(b"#");
    hash.update(address.to_canonical().to_string().as_bytes());
    hash.finalize().into()
}
