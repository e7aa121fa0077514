//! Which node owns which group of addresses, decided by every node for itself from claims and from what the cluster
//! looks like. Nothing here asks the API server.
//!
//! * **Sticky**: the owner keeps a group while it may; whoever returns takes nothing back. It is taken from a living owner
//!   that may keep it for four reasons only: another node reaches the addresses by a better kind of link, or by endpoints
//!   that do not terminate; no peer hears the owner; a person asked for another node; or fail-back is on. The owner answers
//!   until then.
//! * **Epochs**: whoever takes a group over claims its addresses with an epoch above every one seen. The highest epoch
//!   wins; ties go by [`rank::digest`]. Claims are kept per address, so they follow when groups merge or split: the
//!   holder of a group is the holder of its first claimed address.
//! * **No hole**: the best candidate claims at once, each further one [`STEP`] later if nobody did.
//! * **No haste**: the claim of a process counts for [`RETURN`] after the next one has started, and one that is given up for
//!   [`LINGER`], as it was for somebody whom this node may not hear yet. Either ends with anybody's claim.
//! * **Make before break**: an owner that may not keep a group answers until its successor's claim, or for [`YIELD`].
//!
//! [`decide`] is the policy; [`Ownership`] keeps claims, waits and deadlines around it.

mod book;
mod claims;
mod decide;
mod event;
mod fail_back;
mod rank;
mod requests;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use landfall_model::{Instant, Reason, ServiceKey};

pub use decide::{Decision, Holder, LONGEST_WAIT, STEP, Situation, YIELD, decide};
pub use event::{Event, Role};
pub use fail_back::PACE;
pub use rank::{Rank, digest};

use self::{
    book::{Book, Standing, State},
    claims::Claims,
    event::Told,
    fail_back::FailBack,
    rank::{position_of, precedes, succeeds},
    requests::Requests,
};
use crate::{
    cluster::{Appraisal, GroupId, Preference, Verdict},
    membership::{Claim, ClaimChanges, Epoch},
};

/// What a process claimed holds for so long after the next one has started: that one must first hear the others, which takes a
/// second if one of them is silent, and wait for its turn.
const RETURN: Duration = Duration::from_secs(2);
/// A claim that is given up holds for so long where nobody else claims the address: for its reason to be heard as well.
const LINGER: Duration = Duration::from_millis(500);

/// Claims, waits and deadlines of all groups.
#[derive(Clone, Debug)]
pub struct Ownership {
    node: Box<str>,
    claims: Claims,
    book: Book,
    requests: Requests,
    fail_back: FailBack,
    told: Told,
}

impl Ownership {
    /// Owns nothing and has heard nobody. `fail_back`: after how long as the best candidate it takes a group back from a
    /// living holder, or never.
    #[must_use]
    pub fn new(node: &str, fail_back: Option<Duration>) -> Self {
        Self {
            node: node.into(),
            claims: Claims::default(),
            book: Book::default(),
            requests: Requests::default(),
            fail_back: FailBack::new(fail_back),
            told: Told::default(),
        }
    }

    /// What this node claims.
    #[must_use]
    pub const fn mine(&self) -> &BTreeMap<IpAddr, Claim> {
        self.claims.mine()
    }

    /// Changes of [`Self::mine`] since the last call.
    pub fn take_changes(&mut self) -> ClaimChanges {
        self.claims.take_changes()
    }

    /// The next event; `None` when there is none.
    pub fn next_event(&mut self) -> Option<Event> {
        self.told.next_event()
    }

    /// The owner of an address and the epoch of its claim, as this node sees it.
    #[must_use]
    pub fn holder(&self, address: IpAddr) -> Option<(&str, Epoch)> {
        self.claims.holder(address, &self.node)
    }

    /// Whether others who are heard claim the address too.
    #[must_use]
    pub fn is_contended(&self, address: IpAddr) -> bool {
        self.claims.rivals(address).next().is_some()
    }

    /// The best claim of another node that is heard: it had the address before, if this node has it now.
    #[must_use]
    pub fn predecessor(&self, address: IpAddr) -> Option<&str> {
        self.claims.best_rival(address)
    }

    /// The owner of every address that has one, by address.
    pub fn owners(&self) -> impl Iterator<Item = (IpAddr, &str)> {
        self.told.owners()
    }

    /// Takes in what a peer claims. The groups of these addresses must be evaluated in the same step. `hears`: the peer hears us,
    /// so what it gives up it may have given to somebody else, and not for being cut off.
    pub fn set_claims(&mut self, node: &str, changes: &ClaimChanges, hears: bool, now: Instant) {
        let until = hears.then_some(now + LINGER);
        for (address, claim) in changes {
            self.claims.set_theirs(node, *address, *claim, until);
        }
    }

    /// Whether the packets of a peer reach us, so that its claims count. Gives the addresses that this is about; their
    /// groups must be evaluated.
    pub fn set_heard(&mut self, node: &str, heard: bool) -> Vec<IpAddr> {
        let addresses = self.claims.of_node(node).collect();
        if !self.claims.set_heard(node, heard) {
            return Vec::new();
        }
        if heard {
            self.fail_back.heard(node);
        }
        addresses
    }

    /// The process of a node that is heard was started again. To be called before its claims are taken in, which it has
    /// none of; those of the process before hold for a moment, see [`Self::take_lapsed`].
    pub fn restarted(&mut self, node: &str, now: Instant) {
        self.claims.restarted(node, &self.node, now + RETURN);
    }

    /// Addresses whose claims have held for long enough after they were given up; their groups must be evaluated.
    pub fn take_lapsed(&mut self, now: Instant) -> Vec<IpAddr> {
        self.claims.take_lapsed(now)
    }

    /// Forgets a node that is no member any more. Gives its addresses, as [`Self::set_heard`] does.
    pub fn forget_node(&mut self, node: &str) -> Vec<IpAddr> {
        let addresses = self.claims.of_node(node).collect();
        self.claims.forget_node(node);
        self.fail_back.forget_node(node);
        addresses
    }

    /// A Service asks for another owner than before, or for none any more. Its group must be evaluated. What the Services
    /// asked for when this process began is no move.
    pub fn ask(&mut self, service: ServiceKey, node: Option<Box<str>>) {
        self.requests.set(service, node);
    }

    /// The move that was asked for and not made yet.
    #[must_use]
    pub fn requested<'a>(&self, appraisal: &Appraisal<'a>) -> Option<Preference<'a>> {
        self.requests.of(appraisal)
    }

    /// The groups for which a change of `node` can matter: those that it holds, those that nobody holds, and those
    /// that wait for another owner. For this node also those that it would take from a living holder, once it could.
    #[must_use]
    pub fn concerned(&self, node: &str) -> BTreeSet<GroupId> {
        let held = self.book.held_by(Some(node)).chain(self.book.held_by(None));
        let me = *node == *self.node;
        let coveted = self.book.coveted().filter(|_| me && !self.fail_back.is_on());
        let all = self.book.all().filter(|_| me && self.fail_back.is_on());
        held.chain(self.book.unsettled()).chain(coveted).chain(all).collect()
    }

    /// The groups that this node holds.
    pub fn held(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.held_by(&self.node)
    }

    /// The groups that a node holds.
    pub fn held_by(&self, node: &str) -> impl Iterator<Item = GroupId> + '_ {
        self.book.held_by(Some(node))
    }

    /// Whether this node would take a group first if its holder died now. Costs all members.
    #[must_use]
    pub fn is_heir(&self, holder: &str, appraisal: &Appraisal<'_>) -> bool {
        *self.node != *holder && succeeds(&self.node, holder, appraisal)
    }

    /// Forgets a group that is no more. The claims stay with the addresses.
    pub fn forget_group(&mut self, id: GroupId) {
        self.book.forget(id);
        self.fail_back.forget_group(id);
    }

    /// Gives every claim up: others have taken over. All groups must be evaluated before this node decides again.
    pub fn relinquish(&mut self) {
        self.fail_back.excuse();
        self.claims.release_all();
    }

    /// This process stood still: others may have taken over meanwhile, and were right to.
    pub fn stalled(&mut self) {
        self.fail_back.excuse();
    }

    /// Gives an address up that no Service uses any more.
    pub fn abandon(&mut self, address: IpAddr) {
        self.claims.release(address);
        self.claims.forget_address(address);
        self.told.owner(address, None, Reason::ServiceDeleted);
    }

    /// Forgets what was seen of an address that no Service uses, once nobody claims it.
    pub fn forget_address(&mut self, address: IpAddr) {
        self.claims.forget_address(address);
    }

    /// When [`Self::take_due`] or [`Self::take_lapsed`] has something to give.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.book.next_deadline().into_iter().chain(self.claims.next_lapse()).min()
    }

    /// The groups that must be evaluated because of the time.
    pub fn take_due(&mut self, now: Instant) -> Vec<GroupId> {
        self.book.take_due(now)
    }

    /// Decides about one group. To be called when it, its claims or a node that matters to it changed, and never
    /// before this node knows enough to decide (see [`crate::membership::Membership::settled`]).
    ///
    /// Costs the group's Services when the holder may keep it and has a connected subnet, otherwise all members.
    pub fn evaluate(&mut self, id: GroupId, appraisal: &Appraisal<'_>, now: Instant) -> Role {
        let mut state = self.book.take(id);
        let addresses = &appraisal.group().addresses;
        let judge = |holder: Option<&str>| holder.map(|node| appraisal.verdict(node));
        let mut holder = self.holder_of(addresses);
        let mut verdict = judge(holder.as_deref());
        // What it gave up it gave up for that.
        if matches!(verdict, Some(Verdict::No(_))) && self.claims.end_lingering(addresses) {
            holder = self.holder_of(addresses);
            verdict = judge(holder.as_deref());
        }
        let side = self.side(holder.as_deref());
        self.note_loss(id, &mut state, holder.as_deref(), appraisal, now);
        let lesser = verdict.and_then(Verdict::merit).filter(|merit| !merit.is_lasting());
        // The holder itself goes on until the better one claims the group.
        let outclassed = side == Holder::Other
            && lesser.is_some_and(|merit| appraisal.candidates().any(|(_, other)| other.outclasses(merit)));
        let keeps = verdict.is_some_and(|verdict| !matches!(verdict, Verdict::No(_))) && !outclassed;
        let (position, candidates) = if keeps { (None, true) } else { position_of(&self.node, appraisal) };
        // Nobody is late for a turn that has not come: without a candidate nothing is counted.
        state.since = if keeps || !candidates { None } else { state.since.or(Some(now)) };
        let living = holder.as_deref().filter(|_| side == Holder::Other && keeps);
        let request = self.requested(appraisal);
        let called = living.is_some_and(|holder| self.is_called(request, holder, appraisal));
        let better = living.is_some_and(|holder| self.outranks(holder, appraisal));
        let best = better && position_of(&self.node, appraisal).0 == Some(0);
        let returns = self.fail_back.due(id, best, now);
        let situation = Situation {
            holder: side,
            keeps,
            due: if called { Some(Duration::ZERO) } else { returns },
            position,
            candidates,
            since: state.since.map_or(Duration::ZERO, |since| now.since(since)),
            damped: state.truce.map_or(Duration::ZERO, |truce| truce.since(now)),
        };
        let decision = decide(situation);
        let mut deadline = None;
        let role = match decision {
            Decision::Hold => {
                self.claim_missing(addresses);
                self.defend(&mut state, addresses);
                Role::Owner
            }
            Decision::Take => {
                if side == Holder::Other {
                    state.taken = Some(now);
                }
                if keeps && !called {
                    self.fail_back.took(id);
                }
                state.since = None;
                addresses.iter().for_each(|address| self.claims.claim(*address));
                state.rivals = self.rivals(addresses);
                Role::Owner
            }
            Decision::Yield(wait) => {
                deadline = Some(now + wait);
                Role::Yielding
            }
            Decision::Release => {
                self.release_all(addresses);
                Role::Bystander
            }
            Decision::Wait(wait) => {
                deadline = Some(now + wait);
                self.let_go(addresses, &mut state, &mut deadline, now)
            }
            Decision::Leave => self.let_go(addresses, &mut state, &mut deadline, now),
        };
        let after = self.holder_of(addresses);
        self.tell_owners(addresses, after.is_some() || candidates, appraisal);
        let other = after.as_deref().filter(|node| **node != *self.node);
        let request = request.filter(|request| !self.requests.fulfil(*request, other));
        let waits = request.is_some_and(|request| *request.node == *self.node);
        let unsettled = (!keeps || better) && decision != Decision::Take;
        let coveted = lesser.is_some() || waits;
        self.book.keep(id, state, after, Standing { deadline, unsettled, coveted });
        role
    }

    /// The node that claims the first address of the group that anybody claims.
    fn holder_of(&self, addresses: &[IpAddr]) -> Option<Box<str>> {
        addresses
            .iter()
            .find_map(|address| self.claims.holder(*address, &self.node))
            .map(|(node, _)| node.into())
    }

    fn side(&self, holder: Option<&str>) -> Holder {
        match holder {
            None => Holder::Nobody,
            Some(node) if *node == *self.node => Holder::Me,
            Some(_) => Holder::Other,
        }
    }

    /// Whether this node was asked to take the group from its living holder, and clients would lose nothing.
    fn is_called(&self, request: Option<Preference<'_>>, holder: &str, appraisal: &Appraisal<'_>) -> bool {
        let request = request.filter(|request| *request.node == *self.node);
        request.is_some_and(|request| appraisal.refusal(request, holder).is_none())
    }

    /// Whether groups are taken back, and this node goes before the living holder of this one.
    fn outranks(&self, holder: &str, appraisal: &Appraisal<'_>) -> bool {
        self.fail_back.is_on() && precedes(&self.node, holder, appraisal)
    }

    /// What this node held until now may be another one's. A move that it was asked for is made once nobody contests it; who
    /// sees different things, and will not let it have the group, is not troubled for ever.
    fn note_loss(
        &mut self,
        id: GroupId,
        state: &mut State,
        holder: Option<&str>,
        appraisal: &Appraisal<'_>,
        now: Instant,
    ) {
        if state.holder.as_deref() != Some(&*self.node) {
            return;
        }
        let mut ended = state.is_settled(now);
        if let Some(to) = holder.filter(|to| **to != *self.node) {
            self.fail_back.lost(id, to);
            ended |= state.lose(now);
        }
        if ended && let Some(request) = self.requested(appraisal) {
            self.requests.fulfil(request, Some(&self.node));
        }
    }

    /// Claims those addresses of our group that we do not hold.
    fn claim_missing(&mut self, addresses: &[IpAddr]) {
        for address in addresses {
            if self.claims.holder(*address, &self.node).is_none_or(|(node, _)| *node != *self.node) {
                self.claims.claim(*address);
            }
        }
    }

    /// Another one holds the group, or nobody: gives up what was claimed over us at once, and the rest when the
    /// holder claimed it too or [`YIELD`] is over.
    fn let_go(
        &mut self,
        addresses: &[IpAddr],
        state: &mut State,
        deadline: &mut Option<Instant>,
        now: Instant,
    ) -> Role {
        let mut left = false;
        for address in addresses {
            let topped =
                self.claims.holder(*address, &self.node).is_some_and(|(node, _)| *node != *self.node);
            if topped {
                self.claims.release(*address);
            } else {
                left |= self.claims.mine().contains_key(address);
            }
        }
        if !left {
            state.leftover = None;
            return Role::Bystander;
        }
        let since = *state.leftover.get_or_insert(now);
        if now.since(since) >= YIELD {
            self.release_all(addresses);
            return Role::Bystander;
        }
        let end = since + YIELD;
        *deadline = Some(deadline.map_or(end, |earlier| earlier.min(end)));
        Role::Yielding
    }

    fn release_all(&mut self, addresses: &[IpAddr]) {
        for address in addresses {
            self.claims.release(*address);
        }
    }

    /// Asks for a new announcement when somebody began or ceased to claim what is ours.
    fn defend(&mut self, state: &mut State, addresses: &[IpAddr]) {
        let rivals = self.rivals(addresses);
        if rivals != state.rivals {
            state.rivals = rivals;
            self.told.defend(addresses);
        }
    }

    fn rivals(&self, addresses: &[IpAddr]) -> BTreeSet<Box<str>> {
        addresses.iter().flat_map(|address| self.claims.rivals(*address)).map(Box::from).collect()
    }
}
