use std::net::IpAddr;

use sha2::{Digest as _, Sha256};

use crate::cluster::{Appraisal, Merit};

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

/// How many candidates are better than `node`, if it is one, and whether there is any. Costs all members.
pub(super) fn position_of(node: &str, appraisal: &Appraisal<'_>) -> (Option<u32>, bool) {
    let address = appraisal.group().rank_address();
    let ranks: Vec<Rank<'_>> =
        appraisal.candidates().map(|(node, merit)| Rank::new(node, address, merit)).collect();
    let own = ranks.iter().find(|rank| *rank.node() == *node);
    let better = own.map(|own| ranks.iter().filter(|rank| *rank < own).count());
    (better.map(|count| u32::try_from(count).unwrap_or(u32::MAX)), !ranks.is_empty())
}

/// Whether `node` is the best candidate beside the holder. Costs all members.
pub(super) fn succeeds(node: &str, holder: &str, appraisal: &Appraisal<'_>) -> bool {
    let address = appraisal.group().rank_address();
    let others = appraisal.candidates().filter(|(other, _)| *other != holder);
    others
        .map(|(node, merit)| Rank::new(node, address, merit))
        .min()
        .is_some_and(|best| *best.node() == *node)
}

/// Whether both are candidates, and `one` is better than the holder. A holder that came back just now is none the worse.
pub(super) fn precedes(one: &str, holder: &str, appraisal: &Appraisal<'_>) -> bool {
    let address = appraisal.group().rank_address();
    let one = appraisal.verdict(one).merit().map(|merit| Rank::new(one, address, merit));
    let held = appraisal.verdict(holder).merit().map(|merit| Merit { unsettled: false, ..merit });
    let holder = held.map(|merit| Rank::new(holder, address, merit));
    one.zip(holder).is_some_and(|(one, holder)| one < holder)
}
