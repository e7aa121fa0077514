use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use landfall_model::Instant;

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
    /// Nodes whose process is a new one: until when which claims of the one before still hold.
    returning: BTreeMap<Box<str>, BTreeMap<IpAddr, Instant>>,
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
        if heard {
            return self.heard.insert(node.into());
        }
        self.end_return(node);
        self.heard.remove(node)
    }

    /// A node that is heard has a new process, which claims nothing yet. What the one before held, holds until then, unless
    /// the new one claims it. What others had claimed over it is void: it would hold up the next candidate, once they are dead.
    /// A process that is started over and over and never claims an address gets no more time for it. `me` is our own name.
    pub(super) fn restarted(&mut self, node: &str, me: &str, until: Instant) {
        let holds = |address: &IpAddr| self.holder(*address, me).is_some_and(|(holder, _)| holder == node);
        let addresses: Vec<IpAddr> = self.of_node(node).filter(holds).collect();
        if self.is_heard(node) && !addresses.is_empty() {
            let returning = self.returning.entry(node.into()).or_default();
            for address in addresses {
                returning.entry(address).or_insert(until);
            }
        }
    }

    /// When [`Self::take_lapsed`] has something to give.
    pub(super) fn next_lapse(&self) -> Option<Instant> {
        self.returning.values().flat_map(BTreeMap::values).copied().min()
    }

    /// Addresses that new processes did not claim in time.
    pub(super) fn take_lapsed(&mut self, now: Instant) -> Vec<IpAddr> {
        let mut lapsed = Vec::new();
        self.returning.retain(|node, addresses| {
            lapsed.extend(
                addresses
                    .extract_if(.., |_, until| *until <= now)
                    .map(|(address, _)| (node.clone(), address)),
            );
            !addresses.is_empty()
        });
        for (node, address) in &lapsed {
            self.drop_theirs(node, *address);
        }
        lapsed.into_iter().map(|(_, address)| address).collect()
    }

    fn end_return(&mut self, node: &str) {
        for address in self.returning.remove(node).into_iter().flat_map(BTreeMap::into_keys) {
            self.drop_theirs(node, address);
        }
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
                remove_from(&mut self.returning, node, |addresses| {
                    addresses.remove(&address);
                    addresses.is_empty()
                });
                self.theirs.entry(address).or_default().insert(node.into(), epoch);
                self.by_node.entry(node.into()).or_default().insert(address);
                self.saw(address, epoch);
            }
            None if self.returning.get(node).is_some_and(|addresses| addresses.contains_key(&address)) => {}
            None => self.drop_theirs(node, address),
        }
    }

    fn drop_theirs(&mut self, node: &str, address: IpAddr) {
        remove_from(&mut self.theirs, &address, |claims| {
            claims.remove(node);
            claims.is_empty()
        });
        remove_from(&mut self.by_node, node, |addresses| {
            addresses.remove(&address);
            addresses.is_empty()
        });
    }

    pub(super) fn forget_node(&mut self, node: &str) {
        self.heard.remove(node);
        self.returning.remove(node);
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

    pub(super) fn release_all(&mut self) {
        self.changes.extend(std::mem::take(&mut self.mine).into_keys().map(|address| (address, None)));
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(number: u8) -> IpAddr {
        [10, 0, 0, number].into()
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    /// A node that is heard and claims two addresses with epoch 4, whose process is a new one from now on.
    fn restarted() -> Claims {
        let mut claims = Claims::default();
        claims.set_heard("a", true);
        for number in [1, 2] {
            claims.set_theirs("a", address(number), Some(Claim { epoch: Epoch(4) }));
        }
        claims.restarted("a", "me", at(2));
        for number in [1, 2] {
            claims.set_theirs("a", address(number), None);
        }
        claims
    }

    #[test]
    fn claims_outlive_a_process_until_the_next_one_had_time_to_claim() {
        let mut claims = restarted();
        assert_eq!(claims.holder(address(1), "me"), Some(("a", Epoch(4))));
        assert_eq!(claims.next_lapse(), Some(at(2)));
        claims.set_theirs("a", address(1), Some(Claim { epoch: Epoch(1) }));
        assert_eq!(claims.holder(address(1), "me"), Some(("a", Epoch(1))), "what it says itself counts");
        claims.set_theirs("a", address(1), None);
        assert_eq!(claims.holder(address(1), "me"), None, "it has given that up");
        claims.restarted("a", "me", at(3));
        assert_eq!(claims.next_lapse(), Some(at(2)), "a third process gets no more time");
        assert!(claims.take_lapsed(at(1)).is_empty());
        assert_eq!(claims.take_lapsed(at(2)), [address(2)]);
        assert_eq!((claims.holder(address(2), "me"), claims.next_lapse()), (None, None));
    }

    #[test]
    fn a_process_that_claimed_leaves_as_much_time_as_the_first_one() {
        let mut claims = restarted();
        claims.set_theirs("a", address(1), Some(Claim { epoch: Epoch(1) }));
        claims.restarted("a", "me", at(3));
        for number in [1, 2] {
            claims.set_theirs("a", address(number), None);
        }
        assert_eq!(claims.take_lapsed(at(2)), [address(2)], "it has not claimed this one since");
        assert_eq!(
            (claims.holder(address(1), "me"), claims.next_lapse()),
            (Some(("a", Epoch(1))), Some(at(3)))
        );
        assert_eq!(claims.take_lapsed(at(3)), [address(1)]);
    }

    #[test]
    fn what_others_claimed_over_a_process_does_not_outlive_it() {
        let mut claims = Claims::default();
        for node in ["a", "b"] {
            claims.set_heard(node, true);
        }
        for number in [1, 2, 3] {
            claims.set_theirs("a", address(number), Some(Claim { epoch: Epoch(4) }));
        }
        claims.set_theirs("b", address(1), Some(Claim { epoch: Epoch(5) }));
        claims.claim(address(2));
        claims.restarted("a", "me", at(2));
        for number in [1, 2, 3] {
            claims.set_theirs("a", address(number), None);
        }
        claims.set_heard("b", false);
        claims.release(address(2));
        assert_eq!(claims.holder(address(1), "me"), None, "another one had it");
        assert_eq!(claims.holder(address(2), "me"), None, "we had it");
        assert_eq!(claims.holder(address(3), "me"), Some(("a", Epoch(4))));
    }

    #[test]
    fn nothing_outlives_the_node_or_a_claim_of_somebody_else() {
        let mut claims = restarted();
        claims.claim(address(1));
        assert_eq!(claims.holder(address(1), "me"), Some(("me", Epoch(5))));
        claims.set_heard("a", false);
        claims.set_heard("a", true);
        assert_eq!(claims.holder(address(2), "me"), None);
        let mut claims = restarted();
        claims.forget_node("a");
        assert_eq!((claims.holder(address(2), "me"), claims.next_lapse()), (None, None));
        let mut claims = Claims::default();
        claims.set_theirs("b", address(1), Some(Claim { epoch: Epoch(4) }));
        claims.restarted("b", "me", at(2));
        assert_eq!(claims.next_lapse(), None, "it was dead before");
    }
}
