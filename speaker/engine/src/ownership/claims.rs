use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, btree_map},
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
    /// The holders that claim an address no more, and until when their claim holds: the process is a new one, or they gave it up
    /// for nobody. It ends with anybody's claim.
    lingering: BTreeMap<IpAddr, (Box<str>, Instant)>,
    /// The same by the end of it.
    lapses: BTreeSet<(Instant, IpAddr)>,
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
        let changed = if heard { self.heard.insert(node.into()) } else { self.heard.remove(node) };
        if changed {
            // A claim that counts again ends what lingers of others, and what lingers of a node ends with it.
            let addresses: Vec<IpAddr> =
                self.of_node(node).filter(|it| self.lingering.contains_key(it)).collect();
            self.end_lingering(&addresses);
        }
        changed
    }

    /// A node that is heard has a new process, which claims nothing yet. What the one before held, holds until then, unless
    /// the new one claims it. What others had claimed over it is void: it would hold up the next candidate, once they are dead.
    /// A process that is started over and over and never claims an address gets no more time for it. `me` is our own name.
    pub(super) fn restarted(&mut self, node: &str, me: &str, until: Instant) {
        let holds = |address: &IpAddr| self.holder(*address, me).is_some_and(|(holder, _)| holder == node);
        let addresses: Vec<IpAddr> = self.of_node(node).filter(holds).collect();
        for address in addresses {
            self.linger(node, address, until);
        }
    }

    /// When [`Self::take_lapsed`] has something to give.
    pub(super) fn next_lapse(&self) -> Option<Instant> {
        self.lapses.first().map(|(at, _)| *at)
    }

    /// Addresses that nobody claimed in time.
    pub(super) fn take_lapsed(&mut self, now: Instant) -> Vec<IpAddr> {
        let due = self.lapses.iter().take_while(|(at, _)| *at <= now);
        let lapsed: Vec<IpAddr> = due.map(|(_, address)| *address).collect();
        self.end_lingering(&lapsed);
        lapsed
    }

    fn linger(&mut self, node: &str, address: IpAddr, until: Instant) {
        if let btree_map::Entry::Vacant(entry) = self.lingering.entry(address) {
            entry.insert((node.into(), until));
            self.lapses.insert((until, address));
        }
    }

    fn lingers(&self, node: &str, address: IpAddr) -> bool {
        self.lingering.get(&address).is_some_and(|(holder, _)| **holder == *node)
    }

    /// Somebody claims these addresses, or it is known why they were given up. Says whether a claim of one still held.
    pub(super) fn end_lingering(&mut self, addresses: &[IpAddr]) -> bool {
        let mut ended = false;
        for address in addresses {
            if let Some((node, _)) = self.lingering.get(address) {
                let node = node.clone();
                self.drop_theirs(&node, *address);
                ended = true;
            }
        }
        ended
    }

    pub(super) fn is_heard(&self, node: &str) -> bool {
        self.heard.contains(node)
    }

    pub(super) fn of_node(&self, node: &str) -> impl Iterator<Item = IpAddr> + '_ {
        self.by_node.get(node).into_iter().flatten().copied()
    }

    /// What a node claims of an address. If it claims it no more and nobody else does, its claim holds until then, if at all: it
    /// may have given way to somebody whom we do not hear yet, as when a partition ends.
    pub(super) fn set_theirs(
        &mut self,
        node: &str,
        address: IpAddr,
        claim: Option<Claim>,
        until: Option<Instant>,
    ) {
        match claim {
            Some(Claim { epoch }) => {
                self.end_lingering(&[address]);
                self.theirs.entry(address).or_default().insert(node.into(), epoch);
                self.by_node.entry(node.into()).or_default().insert(address);
                self.saw(address, epoch);
            }
            None if self.lingers(node, address) => {}
            None => match until.filter(|_| self.is_only_claimant(node, address)) {
                Some(until) => self.linger(node, address, until),
                None => self.drop_theirs(node, address),
            },
        }
    }

    /// The only one of those who are heard that claims the address.
    fn is_only_claimant(&self, node: &str, address: IpAddr) -> bool {
        let mut rivals = self.rivals(address);
        !self.mine.contains_key(&address) && rivals.next() == Some(node) && rivals.next().is_none()
    }

    fn drop_theirs(&mut self, node: &str, address: IpAddr) {
        if self.lingers(node, address)
            && let Some((_, until)) = self.lingering.remove(&address)
        {
            self.lapses.remove(&(until, address));
        }
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
        let addresses: Vec<IpAddr> = self.of_node(node).collect();
        for address in addresses {
            self.drop_theirs(node, address);
        }
    }

    /// Claims an address above everything that was seen.
    pub(super) fn claim(&mut self, address: IpAddr) {
        self.end_lingering(&[address]);
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
        self.end_lingering(&[address]);
        if !self.theirs.contains_key(&address) && !self.mine.contains_key(&address) {
            self.seen.remove(&address);
        }
    }

    /// The node whose claim counts: the highest epoch, then the least digest. `me` is our own name.
    pub(super) fn holder<'a>(&'a self, address: IpAddr, me: &'a str) -> Option<(&'a str, Epoch)> {
        let mine = self.mine.get(&address).map(|claim| (me, claim.epoch));
        best(address, self.heard_claims(address).chain(mine))
    }

    /// The same without us.
    pub(super) fn best_rival(&self, address: IpAddr) -> Option<&str> {
        best(address, self.heard_claims(address)).map(|(node, _)| node)
    }

    /// The others who are heard and claim the address, with or without success.
    pub(super) fn rivals(&self, address: IpAddr) -> impl Iterator<Item = &str> {
        self.heard_claims(address).map(|(node, _)| node)
    }

    fn heard_claims(&self, address: IpAddr) -> impl Iterator<Item = (&str, Epoch)> {
        let theirs = self.theirs.get(&address).into_iter().flatten();
        theirs.map(|(node, epoch)| (&**node, *epoch)).filter(|(node, _)| self.is_heard(node))
    }

    fn saw(&mut self, address: IpAddr, epoch: Epoch) {
        let highest = self.seen.entry(address).or_default();
        *highest = (*highest).max(epoch);
    }
}

fn best<'a>(address: IpAddr, claims: impl Iterator<Item = (&'a str, Epoch)>) -> Option<(&'a str, Epoch)> {
    claims.max_by(|(node, epoch), (other, theirs)| {
        epoch.cmp(theirs).then_with(|| order(other, address).cmp(&order(node, address)))
    })
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

    fn claimed(claims: &mut Claims, node: &str, number: u8, epoch: u64) {
        claims.set_theirs(node, address(number), Some(Claim { epoch: Epoch(epoch) }), None);
    }

    fn given_up(claims: &mut Claims, node: &str, number: u8, until: u64) {
        claims.set_theirs(node, address(number), None, Some(at(until)));
    }

    fn holder(claims: &Claims, number: u8) -> Option<(&str, u64)> {
        claims.holder(address(number), "me").map(|(node, epoch)| (node, epoch.0))
    }

    /// Some nodes that are heard. The first one claims so many addresses with epoch 4.
    fn heard(nodes: &[&str], addresses: u8) -> Claims {
        let mut claims = Claims::default();
        for node in nodes {
            claims.set_heard(node, true);
        }
        for number in 1..=addresses {
            claimed(&mut claims, nodes[0], number, 4);
        }
        claims
    }

    fn restart(claims: &mut Claims, node: &str, until: u64) {
        claims.restarted(node, "me", at(until));
        for number in [1, 2, 3] {
            given_up(claims, node, number, until);
        }
    }

    #[test]
    fn claims_outlive_a_process_until_the_next_one_had_time_to_claim() {
        let mut claims = heard(&["a"], 2);
        restart(&mut claims, "a", 2);
        assert_eq!((holder(&claims, 1), claims.next_lapse()), (Some(("a", 4)), Some(at(2))));
        claimed(&mut claims, "a", 1, 1);
        assert_eq!(holder(&claims, 1), Some(("a", 1)), "what it says itself counts");
        restart(&mut claims, "a", 3);
        assert!(claims.take_lapsed(at(1)).is_empty());
        assert_eq!(claims.take_lapsed(at(2)), [address(2)], "a third process gets no more time for this one");
        assert_eq!((holder(&claims, 1), holder(&claims, 2)), (Some(("a", 1)), None));
        assert_eq!(
            claims.take_lapsed(at(3)),
            [address(1)],
            "and as much as the first one for what it claimed"
        );
        assert_eq!((holder(&claims, 1), claims.next_lapse()), (None, None));
    }

    #[test]
    fn what_others_claimed_over_a_process_does_not_outlive_it() {
        let mut claims = heard(&["a", "b"], 3);
        claimed(&mut claims, "b", 1, 5);
        claims.claim(address(2));
        restart(&mut claims, "a", 2);
        claims.set_heard("b", false);
        claims.release(address(2));
        assert_eq!((holder(&claims, 1), holder(&claims, 2)), (None, None), "others had them");
        assert_eq!(holder(&claims, 3), Some(("a", 4)));
    }

    #[test]
    fn what_is_given_up_for_nobody_holds_for_a_moment() {
        let mut claims = heard(&["a", "b"], 3);
        claimed(&mut claims, "b", 2, 5);
        claims.claim(address(3));
        for number in [1, 2, 3] {
            given_up(&mut claims, "a", number, 2);
        }
        assert_eq!(holder(&claims, 1), Some(("a", 4)), "whoever it gave way to is not heard yet");
        for (number, other) in [(2, "b"), (3, "me")] {
            assert_eq!(holder(&claims, number), Some((other, 5)));
            assert!(!claims.rivals(address(number)).any(|node| node == "a"), "it gave way to {other}");
        }
        given_up(&mut claims, "a", 1, 3);
        assert_eq!(claims.take_lapsed(at(2)), [address(1)], "saying it again gives no more time");
        assert_eq!(holder(&claims, 1), None);
        claimed(&mut claims, "a", 1, 6);
        claims.set_theirs("a", address(1), None, None);
        assert_eq!(holder(&claims, 1), None, "it was not given to anybody");
        claimed(&mut claims, "a", 1, 7);
        claims.restarted("a", "me", at(5));
        claims.set_theirs("a", address(1), None, None);
        assert_eq!(holder(&claims, 1), Some(("a", 7)), "a new process is no less entitled to it");
        claims.forget_address(address(1));
        assert_eq!((holder(&claims, 1), claims.next_lapse()), (None, None), "nobody uses it");
    }

    #[test]
    fn nothing_outlives_the_node_or_a_claim_of_somebody_else() {
        for lingers in [restart, |claims: &mut Claims, node: &str, until| given_up(claims, node, 1, until)] {
            let lingering = || {
                let mut claims = heard(&["a", "b"], 1);
                lingers(&mut claims, "a", 2);
                claims
            };
            let mut claims = lingering();
            claims.claim(address(1));
            claims.release(address(1));
            assert_eq!(holder(&claims, 1), None);
            let mut claims = lingering();
            claimed(&mut claims, "b", 1, 5);
            claims.set_heard("b", false);
            assert_eq!(holder(&claims, 1), None);
            assert!(claims.take_lapsed(at(9)).is_empty() && claims.next_lapse().is_none());
            let mut claims = lingering();
            claims.set_heard("a", false);
            claims.set_heard("a", true);
            assert_eq!(holder(&claims, 1), None);
            let mut claims = lingering();
            claims.forget_node("a");
            claims.set_heard("a", true);
            assert_eq!(holder(&claims, 1), None);
        }
        let mut claims = Claims::default();
        claimed(&mut claims, "b", 1, 4);
        claims.restarted("b", "me", at(2));
        assert_eq!(claims.next_lapse(), None, "it was dead before");
    }
}
