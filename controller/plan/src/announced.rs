use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use landfall_model::{Announcement, Condition, Instant, Reason, ServiceKey, ServiceView, Verification};

use crate::{condition, report::Due as _};

/// A condition follows what speakers say so much later: of the steps of a takeover only the last one is written, and of one
/// that goes to and fro one in this time.
const SETTLE: Duration = Duration::from_secs(1);

/// What speakers say of Services.
#[derive(Clone, Debug, Default)]
pub(crate) struct Announcements {
    /// By Service and name of the object.
    of: BTreeMap<ServiceKey, BTreeMap<Box<str>, Announcement>>,
    services: BTreeMap<Box<str>, ServiceKey>,
    changed: BTreeSet<ServiceKey>,
    /// When conditions are looked at again, each once.
    due: BTreeSet<(Instant, ServiceKey)>,
    waiting: BTreeSet<ServiceKey>,
    /// Some object was seen, so that one that is missing does not exist.
    known: bool,
}

impl Announcements {
    pub(crate) fn observe(&mut self, name: Box<str>, announcement: Option<Announcement>) {
        self.known = true;
        if let Some(before) = self.services.remove(&name) {
            if let Some(others) = self.of.get_mut(&before) {
                others.remove(&name);
                if others.is_empty() {
                    self.of.remove(&before);
                }
            }
            self.changed.insert(before);
        }
        if let Some(announcement) = announcement {
            let service = announcement.service.clone();
            self.services.insert(name.clone(), service.clone());
            self.of.entry(service.clone()).or_default().insert(name, announcement);
            self.changed.insert(service);
        }
    }

    /// All Services are looked at now.
    pub(crate) fn begin(&mut self) {
        self.changed.clear();
    }

    /// The Services whose condition must be looked at.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<ServiceKey> {
        for service in std::mem::take(&mut self.changed) {
            if self.waiting.insert(service.clone()) {
                self.due.insert((now + SETTLE, service));
            }
        }
        let due: Vec<_> = std::iter::from_fn(|| self.due.pop_first_if_due(now)).map(|(_, key)| key).collect();
        for service in &due {
            self.waiting.remove(service);
        }
        due
    }

    /// When [`Self::take_due`] has something to give.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The condition of a Service with an address. While nothing was ever said of any Service, it stays as it is.
    pub(crate) fn condition(&self, view: &ServiceView) -> Option<Condition> {
        let before = view.conditions.iter().find(|condition| &*condition.kind == condition::ANNOUNCED);
        // While an address moves there are two: the one that was verified last counts.
        let order = |one: &&Announcement| {
            let since = one.verification.as_ref().and_then(|verification| verification.since.clone());
            (one.is_verified(), since)
        };
        let Some(announcement) = self.of.get(&view.key).and_then(|all| all.values().max_by_key(order)) else {
            let before = before?;
            if !self.known {
                return Some(before.clone());
            }
            let message = "no speaker announces it; `landfall status` and the Service's events tell more";
            return Some(announced(view, false, Reason::NotAnnounced, message));
        };
        let fault = announcement.verification.as_ref().and_then(Verification::fault);
        let fine = if announcement.is_verified() { Reason::Verified } else { Reason::Unverified };
        let message = announcement.to_string();
        Some(announced(view, fault.is_none(), fault.unwrap_or(fine), &message))
    }
}

fn announced(view: &ServiceView, status: bool, reason: Reason, message: &str) -> Condition {
    let kind = condition::ANNOUNCED.into();
    Condition { kind, status, reason, message: message.into(), generation: view.generation }
}
