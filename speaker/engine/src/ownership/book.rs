use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use landfall_model::Instant;

use crate::cluster::GroupId;

/// Losing a group this soon after claiming it from a living holder means that two nodes see different things.
const CONTEST: Duration = Duration::from_secs(10);
/// The longest time that such a node then leaves the other alone.
const LONGEST_TRUCE: Duration = Duration::from_secs(60);

/// What is kept of one group from one decision to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) holder: Option<Box<str>>,
    /// Since when there are candidates, and the holder is missing or may not keep the group.
    pub(super) since: Option<Instant>,
    /// Since when this node still claims addresses of a group that another one holds.
    pub(super) leftover: Option<Instant>,
    /// When this node last took the group from a living holder.
    pub(super) taken: Option<Instant>,
    pub(super) contests: u32,
    pub(super) truce: Option<Instant>,
    pub(super) rivals: BTreeSet<Box<str>>,
    deadline: Option<Instant>,
}

impl State {
    /// This node has the group, and whoever would have taken it back from it for seeing different things has had the time to.
    pub(super) fn is_settled(&self, now: Instant) -> bool {
        self.taken.is_none_or(|taken| now.since(taken) > CONTEST)
    }

    /// Two nodes that see different things could take a group from each other for ever. Whoever loses it soon after
    /// taking it from a living holder leaves that one alone for a while, longer each time. Says whether the truce is as
    /// long as it gets.
    pub(super) fn lose(&mut self, now: Instant) -> bool {
        let Some(taken) = self.taken.take() else { return false };
        if now.since(taken) > CONTEST {
            self.contests = 0;
            return false;
        }
        let truce = Duration::from_secs(1 << self.contests.min(6)).min(LONGEST_TRUCE);
        self.contests = self.contests.saturating_add(1);
        self.truce = Some(now + truce);
        truce == LONGEST_TRUCE
    }
}

/// How a group stands after a decision, for the next time that something changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// When it is to be decided about again, whatever happens.
    pub(super) deadline: Option<Instant>,
    /// It waits for another owner, so every node matters to it.
    pub(super) unsettled: bool,
    /// Its holder may keep it, and this node would take it if it were better placed.
    pub(super) coveted: bool,
}

/// The states of all groups, and which of them are to be decided about when.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    states: BTreeMap<GroupId, State>,
    held_by: BTreeMap<Option<Box<str>>, BTreeSet<GroupId>>,
    unsettled: BTreeSet<GroupId>,
    coveted: BTreeSet<GroupId>,
    deadlines: BTreeSet<(Instant, GroupId)>,
}

impl Book {
    /// Takes the state of a group out, to be given back to [`Self::keep`].
    pub(super) fn take(&mut self, id: GroupId) -> State {
        let Some(mut state) = self.states.remove(&id) else { return State::default() };
        self.unindex(id, &mut state);
        state
    }

    /// Keeps the state of a group, now held by `holder`.
    pub(super) fn keep(&mut self, id: GroupId, state: State, holder: Option<Box<str>>, standing: Standing) {
        let Standing { deadline, unsettled, coveted } = standing;
        self.deadlines.extend(deadline.map(|at| (at, id)));
        if unsettled {
            self.unsettled.insert(id);
        }
        if coveted {
            self.coveted.insert(id);
        }
        self.held_by.entry(holder.clone()).or_default().insert(id);
        self.states.insert(id, State { holder, deadline, ..state });
    }

    /// Forgets a group that is no more.
    pub(super) fn forget(&mut self, id: GroupId) {
        drop(self.take(id));
    }

    fn unindex(&mut self, id: GroupId, state: &mut State) {
        if let Some(at) = state.deadline.take() {
            self.deadlines.remove(&(at, id));
        }
        self.unsettled.remove(&id);
        self.coveted.remove(&id);
        if let Some(ids) = self.held_by.get_mut(&state.holder) {
            ids.remove(&id);
            if ids.is_empty() {
                self.held_by.remove(&state.holder);
            }
        }
    }

    /// The groups that a node holds, or nobody.
    pub(super) fn held_by(&self, holder: Option<&str>) -> impl Iterator<Item = GroupId> + '_ {
        self.held_by.get(&holder.map(Box::from)).into_iter().flatten().copied()
    }

    pub(super) fn unsettled(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.unsettled.iter().copied()
    }

    pub(super) fn coveted(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.coveted.iter().copied()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.states.keys().copied()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The groups whose deadline has passed; each is given once.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<GroupId> {
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
}
