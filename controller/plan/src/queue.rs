use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    ops::Bound,
};

use landfall_model::{Family, Reason, ServiceKey};

/// The order in which Services are served: seconds since 1970 of their creation, then name.
pub(crate) type Age = (i64, ServiceKey);

/// What a Service waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Queue {
    /// A free address of this family in any pool that is not pinned.
    General(Family),
    /// Free addresses of both families in pools that are not pinned.
    GeneralBoth,
    /// A free address of this family in this pool.
    Pool(Box<str>, Family),
    /// A place on an address with this sharing key.
    Key(Box<str>),
    /// This address.
    Address(IpAddr),
    /// That a Service of this namespace gives an address back, so that its quota lets others have one.
    Namespace(Box<str>),
}

/// Who waits for what, the oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queues {
    waiting: BTreeMap<Queue, BTreeSet<Age>>,
}

impl Queues {
    pub(crate) fn join(&mut self, queue: Queue, age: Age) {
        self.waiting.entry(queue).or_default().insert(age);
    }

    pub(crate) fn leave(&mut self, queue: &Queue, age: &Age) {
        if let Some(waiting) = self.waiting.get_mut(queue) {
            waiting.remove(age);
            if waiting.is_empty() {
                self.waiting.remove(queue);
            }
        }
    }

    pub(crate) fn all(&self, queue: &Queue) -> impl Iterator<Item = &Age> {
        self.waiting.get(queue).into_iter().flatten()
    }

    /// The oldest in `queue` that is younger than `after`.
    pub(crate) fn next(&self, queue: &Queue, after: Option<&Age>) -> Option<&Age> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.waiting.get(queue)?.range((start, Bound::Unbounded)).next()
    }
}

/// Moves one Service from the count of one reason to that of another.
pub(crate) fn count(
    counts: &mut BTreeMap<Reason, usize>,
    before: Option<&(Reason, String)>,
    after: Option<&(Reason, String)>,
) {
    if let Some((reason, _)) = after {
        *counts.entry(*reason).or_default() += 1;
    }
    if let Some((reason, _)) = before
        && let Some(number) = counts.get_mut(reason)
    {
        *number -= 1;
        if *number == 0 {
            counts.remove(reason);
        }
    }
}
