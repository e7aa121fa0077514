//! Which node owns which group of addresses, decided by every node for itself from claims and from what the cluster
//! looks like. Nothing here asks the API server.
//!
//! * **Sticky**: the owner keeps a group while it may; whoever returns takes nothing back. Only a node that reaches the
//!   addresses by a better kind of link takes them from one that perhaps cannot use them; it answers until then.
//! * **Epochs**: whoever takes a group over claims its addresses with an epoch above every one seen. The highest epoch
//!   wins; ties go by [`rank::digest`]. Claims are kept per address, so they follow when groups merge or split: the
//!   holder of a group is the holder of its first claimed address.
//! * **No hole**: the best candidate claims at once, each further one [`STEP`] later if nobody did.
//! * **Make before break**: an owner that may not keep a group answers until its successor's claim, or for [`YIELD`].
//!
//! [`decide`] is the policy; [`Ownership`] keeps claims, waits and deadlines around it.

mod claims;
mod decide;
mod event;
mod rank;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    time::Duration,
};

use landfall_model::{Instant, Reason};

pub use decide::{Decision, Holder, LONGEST_WAIT, STEP, Situation, YIELD, decide};
pub use event::{Event, Role};
pub use rank::{Rank, digest};

use self::claims::Claims;
use crate::{
    cluster::{Appraisal, GroupId, Verdict},
    membership::{Claim, ClaimChanges, Epoch},
};

/// A node whose process is a new one keeps what the one before claimed for so long: the new one must first hear the
/// others, which takes a second if one of them is silent, and wait for its turn.
const RETURN: Duration = Duration::from_secs(2);
/// Losing a group this soon after claiming it from a living holder means that two nodes see different things.
const CONTEST: Duration = Duration::from_secs(10);
/// The longest time that such a node then leaves the other alone.
const LONGEST_TRUCE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Default)]
struct State {
    holder: Option<Box<str>>,
    /// Since when there are candidates, and the holder is missing or may not keep the group.
    since: Option<Instant>,
    /// Since when this node still claims addresses of a group that another one holds.
    leftover: Option<Instant>,
    /// When this node last took the group from a living holder.
    taken: Option<Instant>,
    contests: u32,
    truce: Option<Instant>,
    rivals: BTreeSet<Box<str>>,
    deadline: Option<Instant>,
}

/// Claims, waits and deadlines of all groups.
#[derive(Clone, Debug)]
pub struct Ownership {
    node: Box<str>,
    claims: Claims,
    states: BTreeMap<GroupId, State>,
    held_by: BTreeMap<Option<Box<str>>, BTreeSet<GroupId>>,
    unsettled: BTreeSet<GroupId>,
    /// Groups whose holder reaches them by less than a connected subnet.
    lesser: BTreeSet<GroupId>,
    deadlines: BTreeSet<(Instant, GroupId)>,
    owners: BTreeMap<IpAddr, Box<str>>,
    events: VecDeque<Event>,
}

impl Ownership {
    /// Owns nothing and has heard nobody.
    #[must_use]
    pub fn new(node: &str) -> Self {
        Self {
            node: node.into(),
            claims: Claims::default(),
            states: BTreeMap::new(),
            held_by: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            lesser: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            owners: BTreeMap::new(),
            events: VecDeque::new(),
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
        self.events.pop_front()
    }

    /// The owner of an address and the epoch of its claim, as this node sees it.
    #[must_use]
    pub fn holder(&self, address: IpAddr) -> Option<(&str, Epoch)> {
        self.claims.holder(address, &self.node)
    }

    /// The owner of every address that has one, by address.
    pub fn owners(&self) -> impl Iterator<Item = (IpAddr, &str)> {
        self.owners.iter().map(|(address, node)| (*address, &**node))
    }

    /// Takes in what a peer claims. The groups of these addresses must be evaluated in the same step.
    pub fn set_claims(&mut self, node: &str, changes: &ClaimChanges) {
        for (address, claim) in changes {
            self.claims.set_theirs(node, *address, *claim);
        }
    }

    /// Whether the packets of a peer reach us, so that its claims count. Gives the addresses that this is about; their
    /// groups must be evaluated.
    pub fn set_heard(&mut self, node: &str, heard: bool) -> Vec<IpAddr> {
        if self.claims.set_heard(node, heard) { self.claims.of_node(node).collect() } else { Vec::new() }
    }

    /// The process of a node that is heard was started again. To be called before its claims are taken in, which it has
    /// none of; those of the process before hold for a moment, see [`Self::take_lapsed`].
    pub fn restarted(&mut self, node: &str, now: Instant) {
        self.claims.restarted(node, now + RETURN);
    }

    /// Addresses that new processes of other nodes have not claimed in time; their groups must be evaluated.
    pub fn take_lapsed(&mut self, now: Instant) -> Vec<IpAddr> {
        self.claims.take_lapsed(now)
    }

    /// Forgets a node that is no member any more. Gives its addresses, as [`Self::set_heard`] does.
    pub fn forget_node(&mut self, node: &str) -> Vec<IpAddr> {
        let addresses = self.claims.of_node(node).collect();
        self.claims.forget_node(node);
        addresses
    }

    /// The groups for which a change of `node` can matter: those that it holds, those that nobody holds, and those
    /// that wait for another owner. For this node also those whose holder it may be better placed for.
    #[must_use]
    pub fn concerned(&self, node: &str) -> BTreeSet<GroupId> {
        let held = [Some(node.into()), None].into_iter().filter_map(|holder| self.held_by.get(&holder));
        let lesser = self.lesser.iter().filter(|_| *node == *self.node);
        held.flatten().chain(&self.unsettled).chain(lesser).copied().collect()
    }

    /// The groups that this node holds.
    pub fn held(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.held_by.get(&Some(self.node.clone())).into_iter().flatten().copied()
    }

    /// Forgets a group that is no more. The claims stay with the addresses.
    pub fn forget_group(&mut self, id: GroupId) {
        let Some(state) = self.states.remove(&id) else { return };
        self.unsettled.remove(&id);
        self.lesser.remove(&id);
        if let Some(deadline) = state.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        unindex(&mut self.held_by, &state.holder, id);
    }

    /// Gives every claim up: others have taken over. All groups must be evaluated before this node decides again.
    pub fn relinquish(&mut self) {
        self.claims.release_all();
    }

    /// Gives an address up that no Service uses any more.
    pub fn abandon(&mut self, address: IpAddr) {
        self.claims.release(address);
        self.claims.forget_address(address);
        if let Some(from) = self.owners.remove(&address) {
            let reason = Reason::ServiceDeleted;
            self.events.push_back(Event::Owner { address, from: Some(from), to: None, reason });
        }
    }

    /// Forgets what was seen of an address that no Service uses, once nobody claims it.
    pub fn forget_address(&mut self, address: IpAddr) {
        self.claims.forget_address(address);
    }

    /// When [`Self::take_due`] or [`Self::take_lapsed`] has something to give.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.deadlines.first().map(|(at, _)| *at);
        due.into_iter().chain(self.claims.next_lapse()).min()
    }

    /// The groups that must be evaluated because of the time.
    pub fn take_due(&mut self, now: Instant) -> Vec<GroupId> {
        let mut due = Vec::new();
        while let Some((at, id)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, id));
            if let Some(state) = self.states.get_mut(&id) {
                state.deadline = None;
            }
            due.push(id);
        }
        due
    }

    /// Decides about one group. To be called when it, its claims or a node that matters to it changed, and never
    /// before this node knows enough to decide (see [`crate::membership::Membership::settled`]).
    ///
    /// Costs the group's Services when the holder may keep it and has a connected subnet, otherwise all members.
    pub fn evaluate(&mut self, id: GroupId, appraisal: &Appraisal<'_>, now: Instant) -> Role {
        let mut state = self.states.remove(&id).unwrap_or_default();
        let addresses = &appraisal.group().addresses;
        let holder = self.holder_of(addresses);
        self.note_loss(&mut state, holder.as_deref(), now);
        let verdict = holder.as_deref().map(|node| appraisal.verdict(node));
        let lesser = verdict.and_then(Verdict::merit).filter(|merit| !merit.is_connected());
        if lesser.is_some() {
            self.lesser.insert(id);
        } else {
            self.lesser.remove(&id);
        }
        // The holder itself goes on until the better one claims the group.
        let outclassed = self.side(holder.as_deref()) == Holder::Other
            && lesser.is_some_and(|merit| appraisal.candidates().any(|(_, other)| other.outclasses(merit)));
        let keeps = verdict.is_some_and(|verdict| !matches!(verdict, Verdict::No(_))) && !outclassed;
        let (position, candidates) = if keeps { (None, true) } else { self.position(appraisal) };
        // Nobody is late for a turn that has not come: without a candidate nothing is counted.
        state.since = if keeps || !candidates { None } else { state.since.or(Some(now)) };
        let situation = Situation {
            holder: self.side(holder.as_deref()),
            keeps,
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
                if situation.holder == Holder::Other {
                    state.taken = Some(now);
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
        self.keep(id, state, after, deadline, keeps || decision == Decision::Take);
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

    /// How many candidates are better than this node, and whether there is any candidate.
    fn position(&self, appraisal: &Appraisal<'_>) -> (Option<u32>, bool) {
        let address = appraisal.group().rank_address();
        let ranks: Vec<Rank<'_>> =
            appraisal.candidates().map(|(node, merit)| Rank::new(node, address, merit)).collect();
        let me = ranks.iter().find(|rank| *rank.node() == *self.node);
        let better = me.map(|me| ranks.iter().filter(|rank| *rank < me).count());
        (better.map(|count| u32::try_from(count).unwrap_or(u32::MAX)), !ranks.is_empty())
    }

    /// Two nodes that see different things could take a group from each other for ever. Whoever loses it soon after
    /// taking it from a living holder leaves that one alone for a while, longer each time.
    fn note_loss(&self, state: &mut State, holder: Option<&str>, now: Instant) {
        let had = state.holder.as_deref() == Some(&*self.node);
        if !had || self.side(holder) != Holder::Other {
            return;
        }
        let Some(taken) = state.taken.take() else { return };
        if now.since(taken) > CONTEST {
            state.contests = 0;
            return;
        }
        let truce = Duration::from_secs(1 << state.contests.min(6)).min(LONGEST_TRUCE);
        state.contests = state.contests.saturating_add(1);
        state.truce = Some(now + truce);
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
            self.events.extend(addresses.iter().copied().map(Event::Defend));
        }
    }

    fn rivals(&self, addresses: &[IpAddr]) -> BTreeSet<Box<str>> {
        addresses.iter().flat_map(|address| self.claims.rivals(*address)).map(Box::from).collect()
    }

    /// Tells who owns the addresses now. That nobody does is told when nobody will.
    fn tell_owners(&mut self, addresses: &[IpAddr], expected: bool, appraisal: &Appraisal<'_>) {
        for address in addresses {
            let before = self.owners.get(address);
            let after = self.claims.holder(*address, &self.node).map(|(node, _)| node);
            if before.map(|node| &**node) == after || (after.is_none() && expected) {
                continue;
            }
            let reason = match (before, after) {
                (_, None) => appraisal.obstacle().unwrap_or(Reason::NoCandidates),
                (None, Some(_)) => Reason::Owner,
                (Some(before), Some(_)) if *before != self.node && !self.claims.is_heard(before) => {
                    Reason::SpeakerNotAlive
                }
                (Some(before), Some(_)) => appraisal.verdict(before).reason().unwrap_or(Reason::NotOwner),
            };
            let to: Option<Box<str>> = after.map(Box::from);
            let from = match to.clone() {
                Some(node) => self.owners.insert(*address, node),
                None => self.owners.remove(address),
            };
            self.events.push_back(Event::Owner { address: *address, from, to, reason });
        }
    }

    fn keep(
        &mut self,
        id: GroupId,
        mut state: State,
        holder: Option<Box<str>>,
        deadline: Option<Instant>,
        settled: bool,
    ) {
        if let Some(before) = state.deadline.take() {
            self.deadlines.remove(&(before, id));
        }
        if let Some(at) = deadline {
            self.deadlines.insert((at, id));
        }
        state.deadline = deadline;
        if settled {
            self.unsettled.remove(&id);
        } else {
            self.unsettled.insert(id);
        }
        unindex(&mut self.held_by, &state.holder, id);
        self.held_by.entry(holder.clone()).or_default().insert(id);
        state.holder = holder;
        self.states.insert(id, state);
    }
}

fn unindex(
    index: &mut BTreeMap<Option<Box<str>>, BTreeSet<GroupId>>,
    holder: &Option<Box<str>>,
    id: GroupId,
) {
    if let Some(ids) = index.get_mut(holder) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(holder);
        }
    }
}
