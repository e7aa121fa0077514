use std::{collections::BTreeMap, time::Duration};

use landfall_model::{Assigned, Ingress, Instant, ServiceKey, ServiceView};

/// Between two times that the others are told of decisions, at least; and more for each Service.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSE_PER_SERVICE: Duration = Duration::from_micros(50);

/// How standalone machines come to the same addresses without an API server. One of them decides, the first by name of
/// those that hear each other; all keep what was decided in files of their own and tell it in their profiles. What
/// another machine decided later is taken over, before this one may decide itself.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    /// What our files say, of every Service with a manifest.
    own: BTreeMap<ServiceKey, Assigned>,
    /// What the profiles of the others say.
    others: BTreeMap<Box<str>, Vec<Assigned>>,
    /// Something changed since the last call of [`Agreement::take_news`].
    changed: bool,
    /// Others decided what we did not take over yet.
    behind: bool,
    /// The last answer to "do we decide?".
    leads: bool,
    /// When the others were last told what we have.
    told_at: Instant,
    /// When they are to be told next, since it changed.
    tell_at: Option<Instant>,
}

impl Agreement {
    /// A Service's manifest or status changed.
    pub(super) fn observe(&mut self, key: &ServiceKey, view: Option<&ServiceView>) {
        let now = view.map(assigned);
        self.changed |= self.own.get(key) != now.as_ref();
        match now {
            Some(now) => self.own.insert(key.clone(), now),
            None => self.own.remove(key),
        };
    }

    /// Another machine said what it has.
    pub(super) fn hear(&mut self, node: &str, assigned: Vec<Assigned>) {
        self.changed |= self.others.get(node) != Some(&assigned);
        self.others.insert(node.into(), assigned);
    }

    /// Another machine is no member any more.
    pub(super) fn forget(&mut self, node: &str) {
        self.changed |= self.others.remove(node).is_some();
    }

    /// For our profile: everything that was decided, which is what was written at least once.
    pub(super) fn told(&self) -> Vec<Assigned> {
        self.own.values().filter(|one| one.version > 0).cloned().collect()
    }

    /// What we have changed. It is told at once, or after a pause that grows with what there is to tell: all of it, each time.
    pub(super) fn tell(&mut self, now: Instant) {
        let pause =
            PAUSE + PAUSE_PER_SERVICE.saturating_mul(u32::try_from(self.own.len()).unwrap_or(u32::MAX));
        self.tell_at.get_or_insert((self.told_at + pause).max(now));
    }

    /// When [`Agreement::take_due`] may be true next.
    pub(super) const fn tell_at(&self) -> Option<Instant> {
        self.tell_at
    }

    /// Whether it is time to tell the others.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        let due = self.tell_at.take_if(|at| *at <= now).is_some();
        if due {
            self.told_at = now;
        }
        due
    }

    /// If something changed: what is to be taken over from the others, at most one decision for a Service.
    pub(super) fn take_news(&mut self) -> Option<Vec<Assigned>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let newer: Vec<Assigned> = self.newer().into_values().cloned().collect();
        self.behind = !newer.is_empty();
        Some(newer)
    }

    /// Whether this machine may decide: it knows everything that was decided. `first` says whether no other machine that
    /// is alive goes before it. `Some` when the answer is another one than before.
    pub(super) fn take_lead(&mut self, first: bool) -> Option<bool> {
        let leads = first && !self.behind;
        (std::mem::replace(&mut self.leads, leads) != leads).then_some(leads)
    }

    /// The newest decisions of others that ours do not match. Services without a manifest here are left out: they are
    /// looked at when it comes.
    fn newer(&self) -> BTreeMap<&ServiceKey, &Assigned> {
        let mut newest: BTreeMap<&ServiceKey, &Assigned> = BTreeMap::new();
        for theirs in self.others.values().flatten() {
            let Some(ours) = self.own.get(&theirs.service) else { continue };
            let known = newest.get(&theirs.service).copied().unwrap_or(ours);
            if theirs.supersedes(known) {
                newest.insert(&theirs.service, theirs);
            }
        }
        newest
    }
}

/// What a Service's status says. The version counts the writes of the file; see `landfall_kubernetes::write::FileWriter`.
fn assigned(view: &ServiceView) -> Assigned {
    let address = |ingress: &Ingress| match ingress {
        Ingress::Address { address, mode } => Some((*address, *mode)),
        Ingress::Other(_) | Ingress::Unreadable(_) => None,
    };
    Assigned {
        service: view.key.clone(),
        version: view.resource_version.parse().unwrap_or(0),
        ingress: view.ingress.iter().filter_map(address).collect(),
        pool: view.requests.allocated_from.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_decisions_in_a_row_are_told_together() {
        let mut agreement = Agreement::default();
        let start = Instant::ZERO + Duration::from_secs(5);
        let mut told = 0;
        for number in 0..10_000_u32 {
            let service = ServiceKey::new("shop", &format!("s{number}"));
            let one = Assigned { service: service.clone(), version: 1, ingress: Vec::new(), pool: None };
            agreement.own.insert(service, one);
            let now = start + Duration::from_micros(100) * number;
            agreement.tell(now);
            told += u32::from(agreement.take_due(now));
            assert!(number > 0 || told == 1, "the first one is told at once");
        }
        assert!((2..12).contains(&told), "{told} times within a second");
        let last = agreement.tell_at().expect("what came last is still to be told");
        assert!(last.since(start) <= Duration::from_millis(1_600), "{last:?}");
        assert!(agreement.take_due(last) && agreement.tell_at().is_none());
    }
}
