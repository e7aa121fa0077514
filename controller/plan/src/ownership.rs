use std::collections::BTreeSet;

use landfall_model::{Ingress, Reason, ServiceView};
use landfall_pool::Allocator;

use crate::condition;

/// Whose `status.loadBalancer` it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ownership {
    /// It carries our mark.
    Marked,
    /// No mark, and all its addresses lie in our pools, such as one that was taken over from a backup.
    Recognised,
    /// It is empty.
    Empty,
    /// Somebody else's.
    Foreign,
}

impl Ownership {
    pub(crate) fn of(view: &ServiceView, allocator: &Allocator) -> Self {
        let has = |is: fn(&Ingress) -> bool| view.ingress.iter().any(is);
        if view.ingress.is_empty() {
            Self::Empty
        } else if has(|one| matches!(one, Ingress::Other(_))) {
            Self::Foreign
        } else if marked(view) {
            Self::Marked
        } else if has(|one| matches!(one, Ingress::Unreadable(_)))
            || view.addresses().any(|address| allocator.pool_of(address).is_none())
        {
            Self::Foreign
        } else {
            Self::Recognised
        }
    }
}

/// Whether the annotation or the condition says that the addresses are ours.
pub(crate) fn marked(view: &ServiceView) -> bool {
    let annotated = view.requests.allocated_from.as_deref().is_some_and(|pool| !pool.is_empty());
    annotated || view.conditions.iter().any(|c| &*c.kind == condition::ALLOCATED && c.status)
}

/// Whether the status says that we left somebody else's alone.
pub(crate) fn marked_foreign(view: &ServiceView) -> bool {
    view.conditions.iter().any(|c| c.reason == Reason::ForeignStatus)
}

/// Whether the pool that the Service's addresses come from exists, and no version of it could be brought into force
/// since this process started.
pub(crate) fn suspended(view: &ServiceView, unreadable: &BTreeSet<Box<str>>, allocator: &Allocator) -> bool {
    view.requests.pools_held().any(|pool| {
        allocator.pool(pool).is_none() && (unreadable.contains(pool) || allocator.is_refused(pool))
    })
}
