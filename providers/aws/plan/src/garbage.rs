//! Objects whose Service is gone: found by tags, deleted only after they were seen twice.

use std::collections::{BTreeMap, BTreeSet};

use landfall_model::{Instant, ServiceKey};

use crate::{Inventory, Op, Own, Plan, Settings, release};

/// How long an object must have been without a Service before it is deleted.
const GRACE: std::time::Duration = std::time::Duration::from_mins(5);

/// What is left of Services that are gone, and since when that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Garbage {
    /// When each was first seen without its Service, and in how many listings.
    seen: BTreeMap<ServiceKey, (Instant, u32)>,
}

impl Garbage {
    /// Call it once after every complete listing, with the Services that are live or still being released. Answers what is
    /// left of others, for the report.
    pub fn observe<'a>(
        &'a mut self,
        inventory: &Inventory,
        services: &BTreeSet<ServiceKey>,
        settings: &Settings,
        now: Instant,
    ) -> impl Iterator<Item = &'a ServiceKey> {
        let mut orphans = BTreeSet::new();
        for stack in inventory.stacks() {
            let Some((namespace, name)) = stack.split_once('/') else { continue };
            let key = ServiceKey::new(namespace, name);
            if settings.watches(namespace)
                && !services.contains(&key)
                && has_objects(inventory, settings, stack)
            {
                orphans.insert(key);
            }
        }
        self.seen.retain(|key, _| orphans.contains(key));
        for key in orphans {
            self.seen.entry(key).or_insert((now, 0)).1 += 1;
        }
        self.seen.keys()
    }

    /// What is left of Services that are gone, as of the last listing.
    pub fn seen(&self) -> impl Iterator<Item = &ServiceKey> {
        self.seen.keys()
    }

    /// In delete mode: what to do about each of those that were seen in two listings and for longer than the grace period.
    #[must_use]
    pub fn plan(
        &self,
        inventory: &Inventory,
        settings: &Settings,
        now: Instant,
    ) -> BTreeMap<ServiceKey, Plan<Op>> {
        let due = |(since, listings): (Instant, u32)| listings >= 2 && now.since(since) >= GRACE;
        let due = self.seen.iter().filter(|(_, seen)| due(**seen));
        let plan = |key: &ServiceKey| release(key, None, &Own::default(), settings, inventory).ok();
        due.filter_map(|(key, _)| Some((key.clone(), plan(key)?))).collect()
    }
}

fn has_objects(inventory: &Inventory, settings: &Settings, stack: &str) -> bool {
    let cluster = &settings.cluster;
    inventory.stack_load_balancers(cluster, stack).next().is_some()
        || inventory.stack_target_groups(cluster, stack).next().is_some()
        || inventory.stack_security_groups(cluster, stack).next().is_some()
}
