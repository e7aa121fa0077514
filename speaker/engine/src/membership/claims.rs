use std::{
    collections::BTreeMap,
    net::IpAddr,
    ops::Bound::{Excluded, Included, Unbounded},
};

use sha2::{Digest as _, Sha256};

/// Rises each time that an address changes its owner; the higher one wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// A node's word that it owns an address. Nodes assert only their own claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// Since which change of owner.
    pub epoch: Epoch,
}

/// Changes of claims; `None` gives an address up.
pub type ClaimChanges = BTreeMap<IpAddr, Option<Claim>>;

/// One change of a claim.
pub(super) type Change = (IpAddr, Option<Claim>);

/// The claims of one node with a digest that is kept up at the cost of the change.
///
/// The digest is the sum of the entries' hashes. It finds accidents, not attackers: those stop at the packet's tag.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    claims: BTreeMap<IpAddr, Claim>,
    digest: u64,
}

impl Ledger {
    pub(super) fn claims(&self) -> &BTreeMap<IpAddr, Claim> {
        &self.claims
    }

    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.claims.len()).unwrap_or(u32::MAX)
    }

    /// Makes the change and says whether it was one.
    pub(super) fn set(&mut self, address: IpAddr, claim: Option<Claim>) -> bool {
        let before = match claim {
            Some(claim) => self.claims.insert(address, claim),
            None => self.claims.remove(&address),
        };
        if before == claim {
            return false;
        }
        if let Some(before) = before {
            self.digest = self.digest.wrapping_sub(entry_digest(address, before));
        }
        if let Some(claim) = claim {
            self.digest = self.digest.wrapping_add(entry_digest(address, claim));
        }
        true
    }

    /// What must change so that the claims are exactly `target`. One pass over both.
    pub(super) fn difference(&self, target: &BTreeMap<IpAddr, Claim>) -> ClaimChanges {
        let given_up = self.claims.keys().filter(|address| !target.contains_key(address)).map(|a| (*a, None));
        let changed = target
            .iter()
            .filter(|(address, claim)| self.claims.get(address) != Some(claim))
            .map(|(address, claim)| (*address, Some(*claim)));
        given_up.chain(changed).collect()
    }

    /// The claims after `after`, in order.
    pub(super) fn after(&self, after: Option<IpAddr>) -> impl Iterator<Item = (IpAddr, Claim)> {
        let start = after.map_or(Unbounded, Excluded);
        self.claims.range((start, Unbounded)).map(|(address, claim)| (*address, *claim))
    }

    /// What must change so that the claims after `after` and up to `upto` (`None`: to the end) are exactly
    /// `entries`.
    pub(super) fn range_changes(
        &self,
        after: Option<IpAddr>,
        upto: Option<IpAddr>,
        entries: &[(IpAddr, Claim)],
    ) -> ClaimChanges {
        let mut changes = ClaimChanges::new();
        let empty = matches!((after, upto), (Some(after), Some(upto)) if after >= upto);
        if !empty {
            let bounds = (after.map_or(Unbounded, Excluded), upto.map_or(Unbounded, Included));
            changes.extend(self.claims.range(bounds).map(|(address, _)| (*address, None)));
        }
        for (address, claim) in entries {
            if self.claims.get(address) == Some(claim) {
                changes.remove(address);
            } else {
                changes.insert(*address, Some(*claim));
            }
        }
        changes
    }
}

fn entry_digest(address: IpAddr, claim: Claim) -> u64 {
    let mut hash = Sha256::new();
    match address {
        IpAddr::V4(address) => hash.update(address.octets()),
        IpAddr::V6(address) => hash.update(address.octets()),
    }
    hash.update(claim.epoch.0.to_be_bytes());
    first_u64(&hash.finalize())
}

/// The first 64 bits of SHA-256 of `bytes`.
pub(super) fn digest64(bytes: &[u8]) -> u64 {
    first_u64(&Sha256::digest(bytes))
}

fn first_u64(hash: &[u8]) -> u64 {
    hash.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}
