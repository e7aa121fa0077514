use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::rank::digest;
use crate::membership::{Claim, ClaimChanges, Epoch};

/// Everybody's claims, ours included, by address.
///
/// Claims of nodes that are not heard are kept for their return and count for nothing until then.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    mine: BTreeMap<IpAddr, Claim>,
    /// Changes of `mine` that were not told yet.
    changes: ClaimChanges,
    theirs: BTreeMap<IpAddr, BTreeMap<Box<str>, Epoch>>,
    by_node: BTreeMap<Box<str>, BTreeSet<IpAddr>>,
    heard: BTreeSet<Box<str>>,
    /// The highest epoch that was ever seen of an address in use.
    seen: BTreeMap<IpAddr, Epoch>,
}

impl Claims {
    pub(super) const fn mine(&self) -> &BTreeMap<IpAddr, Claim> {
        &self.mine
    }

    pub(super) fn take_changes(&mut self) -> ClaimChanges {
        std::mem::take(&mut self.changes)
    }

    /// Says whether something changed.
    pub(super) fn set_heard(&mut self, node: &str, heard: bool) -> bool {
        if heard { self.heard.insert(node.into()) } else { self.heard.remove(node) }
    }

    pub(super) fn is_heard(&self, node: &str) -> bool {
        self.heard.contains(node)
    }

    pub(super) fn of_node(&self, node: &str) -> impl Iterator<Item = IpAddr> + '_ {
        self.by_node.get(node).into_iter().flatten().copied()
    }

    pub(super) fn set_theirs(&mut self, node: &str, address: IpAddr, claim: Option<Claim>) {
        match claim {
            Some(Claim { epoch }) => {
                self.theirs.entry(address).or_default().insert(node.into(), epoch);
                self.by_node.entry(node.into()).or_default().insert(address);
                self.saw(address, epoch);
            }
            None => {
                remove_from(&mut self.theirs, &address, |claims| {
                    claims.remove(node);
                    claims.is_empty()
                });
                remove_from(&mut self.by_node, node, |addresses| {
                    addresses.remove(&address);
                    addresses.is_empty()
                });
            }
        }
    }

    pub(super) fn forget_node(&mut self, node: &str) {
        self.heard.remove(node);
        for address in self.by_node.remove(node).unwrap_or_default() {
            remove_from(&mut self.theirs, &address, |claims| {
                claims.remove(node);
                claims.is_empty()
            });
        }
    }

    /// Claims an address above everything that was seen.
    pub(super) fn claim(&mut self, address: IpAddr) {
        let above = self.seen.get(&address).map_or(0, |epoch| epoch.0).saturating_add(1);
        let claim = Claim { epoch: Epoch(above) };
        self.saw(address, claim.epoch);
        self.mine.insert(address, claim);
        self.changes.insert(address, Some(claim));
    }

    /// Says whether there was a claim.
    pub(super) fn release(&mut self, address: IpAddr) -> bool {
        let had = self.mine.remove(&address).is_some();
        if had {
            self.changes.insert(address, None);
        }
        had
    }

    /// Forgets the highest epoch of an address that nobody uses or claims any more.
    pub(super) fn forget_address(&mut self, address: IpAddr) {
        if !self.theirs.contains_key(&address) && !self.mine.contains_key(&address) {
            self.seen.remove(&address);
        }
    }

    /// The node whose claim counts: the highest epoch, then the least digest. `me` is our own name.
    pub(super) fn holder<'a>(&'a self, address: IpAddr, me: &'a str) -> Option<(&'a str, Epoch)> {
        let theirs = self.theirs.get(&address).into_iter().flatten();
        let theirs = theirs.filter(|(node, _)| self.is_heard(node)).map(|(node, epoch)| (&**node, *epoch));
        let mine = self.mine.get(&address).map(|claim| (me, claim.epoch));
        let mut best: Option<(&str, Epoch)> = None;
        for (node, epoch) in theirs.chain(mine) {
            let wins = best.is_none_or(|(other, highest)| {
                epoch > highest || (epoch == highest && order(node, address) < order(other, address))
            });
            if wins {
                best = Some((node, epoch));
            }
        }
        best
    }

    /// The others who are heard and claim the address, with or without success.
    pub(super) fn rivals(&self, address: IpAddr) -> impl Iterator<Item = &str> {
        let theirs = self.theirs.get(&address).into_iter().flatten().map(|(node, _)| &**node);
        theirs.filter(|node| self.is_heard(node))
    }

    fn saw(&mut self, address: IpAddr, epoch: Epoch) {
        let highest = self.seen.entry(address).or_default();
        *highest = (*highest).max(epoch);
    }
}

/// Two nodes never have the same name, but a total order costs nothing.
fn order(node: &str, address: IpAddr) -> ([u8; 32], Reverse<&str>) {
    (digest(node, address), Reverse(node))
}

fn remove_from<K: Ord + ?Sized, O: Ord + std::borrow::Borrow<K>, V>(
    map: &mut BTreeMap<O, V>,
    key: &K,
    change: impl FnOnce(&mut V) -> bool,
) {
    if map.get_mut(key).is_some_and(change) {
        map.remove(key);
    }
}
