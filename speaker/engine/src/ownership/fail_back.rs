use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use landfall_model::Instant;

use crate::cluster::GroupId;

/// Time between two groups that one node takes back: each costs some frames, and the connections through it.
pub const PACE: Duration = Duration::from_millis(50);

/// Which groups this node takes back from living holders that are worse candidates, and when.
///
/// Two nodes that see different things would take a group from each other for ever, however slowly. So who loses a group
/// that it took back, to a node that it heard all the while, takes it back no more until its own view of the group changes.
#[derive(Clone, Debug, Default)]
pub(super) struct FailBack {
    delay: Option<Duration>,
    /// When the groups are taken that this node is the best candidate for, one for each [`PACE`].
    slots: BTreeMap<GroupId, Instant>,
    last: Option<Instant>,
    /// Groups that were taken back, by how many returns of nodes were seen before.
    taken: BTreeMap<GroupId, u64>,
    given_up: BTreeSet<GroupId>,
    returns: u64,
    /// The last return of each node that is heard.
    returned: BTreeMap<Box<str>, u64>,
}

impl FailBack {
    /// Takes groups back after this time as the best candidate; `None`: never.
    pub(super) fn new(delay: Option<Duration>) -> Self {
        Self { delay, ..Self::default() }
    }

    pub(super) const fn is_on(&self) -> bool {
        self.delay.is_some()
    }

    /// For how long this node must still leave the holder alone; `None`: for ever. `best`: the holder may keep the group, and
    /// this node is the best candidate.
    pub(super) fn due(&mut self, id: GroupId, best: bool, now: Instant) -> Option<Duration> {
        if !best {
            self.given_up.remove(&id);
        }
        let delay = self.delay.filter(|_| best && !self.given_up.contains(&id));
        let Some(delay) = delay else {
            self.slots.remove(&id);
            if self.slots.is_empty() {
                self.last = None;
            }
            return None;
        };
        let slot = *self.slots.entry(id).or_insert_with(|| {
            let slot = self.last.map_or(now + delay, |last| (last + PACE).max(now + delay));
            self.last = Some(slot);
            slot
        });
        Some(slot.since(now))
    }

    /// The group is taken now because it was due.
    pub(super) fn took(&mut self, id: GroupId) {
        self.slots.remove(&id);
        self.taken.insert(id, self.returns);
    }

    /// Another node has taken over a group that this one held.
    pub(super) fn lost(&mut self, id: GroupId, to: &str) {
        let taken = self.taken.remove(&id);
        let returned = self.returned.get(to).copied();
        if taken.is_some_and(|taken| returned.is_some_and(|returned| returned <= taken)) {
            self.given_up.insert(id);
        }
    }

    pub(super) fn heard(&mut self, node: &str) {
        if self.is_on() {
            self.returns += 1;
            self.returned.insert(node.into(), self.returns);
        }
    }

    pub(super) fn forget_node(&mut self, node: &str) {
        self.returned.remove(node);
    }

    pub(super) fn forget_group(&mut self, id: GroupId) {
        _ = self.due(id, false, Instant::ZERO);
        self.taken.remove(&id);
    }

    /// This node was away for a moment, so what it loses now was not taken because somebody sees different things.
    pub(super) fn excuse(&mut self) {
        self.taken.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_secs(10);

    fn id(number: u8) -> GroupId {
        GroupId([10, 0, 0, number].into())
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn on() -> FailBack {
        let mut fail_back = FailBack::new(Some(DELAY));
        fail_back.heard("other");
        fail_back
    }

    #[test]
    fn nothing_is_taken_back_unless_that_is_asked_for() {
        assert_eq!(FailBack::new(None).due(id(1), true, at(1)), None);
    }

    #[test]
    fn groups_are_due_one_after_the_other() {
        let mut all = on();
        for number in 0..4 {
            assert_eq!(all.due(id(number), true, at(1)), Some(DELAY + PACE * u32::from(number)));
        }
        assert_eq!(all.due(id(1), true, at(6)), Some(DELAY - Duration::from_secs(5) + PACE));
        assert_eq!(all.due(id(1), true, at(60)), Some(Duration::ZERO));
        assert_eq!(all.due(id(9), true, at(60)), Some(DELAY), "those before it have had their turn");
    }

    #[test]
    fn whoever_was_no_candidate_for_a_moment_waits_from_the_beginning() {
        let mut all = on();
        for (best, seconds) in [(true, 1), (false, 9)] {
            for number in 0..200 {
                all.due(id(number), best, at(seconds));
            }
        }
        assert_eq!(
            all.due(id(7), true, at(10)),
            Some(DELAY),
            "and does not wait for those that wait no more"
        );
    }

    #[test]
    fn a_group_that_is_taken_from_it_again_is_left_alone() {
        let mut all = on();
        all.took(id(1));
        all.lost(id(1), "other");
        assert_eq!(all.due(id(1), true, at(100)), None);
        assert_eq!(all.due(id(2), true, at(100)), Some(DELAY), "others are not");
        assert_eq!(all.due(id(1), false, at(101)), None);
        assert_eq!(all.due(id(1), true, at(102)), Some(DELAY), "what it sees has changed meanwhile");
    }

    #[test]
    fn a_loss_that_another_reason_explains_changes_nothing() {
        // It never took it back; the other one was away meanwhile, or is not heard; this one was away.
        let mut all = on();
        all.lost(id(1), "other");
        all.took(id(2));
        all.lost(id(2), "stranger");
        all.took(id(3));
        all.heard("other");
        all.lost(id(3), "other");
        all.took(id(4));
        all.excuse();
        all.lost(id(4), "other");
        for number in 1..5 {
            assert!(all.due(id(number), true, at(1)).is_some(), "{number}");
        }
    }
}
