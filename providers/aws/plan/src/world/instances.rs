//! What EC2 tells of the instances of nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use landfall_model::Instant;

use super::{Effects, Interface, Job, World, job::Slot};
use crate::{InstanceId, Node, Op, TargetId};

/// Instances in one `DescribeInstances` by id.
const PER_CALL: usize = 200;
/// Between questions for an instance that does not run, or that EC2 does not show yet.
const AGAIN: Duration = Duration::from_secs(10);
/// So often, and after that with each listing.
const SOON: u8 = 6;

impl World {
    /// Asks for instances that Services turned out to have.
    pub(super) fn ask_instances(&mut self, now: Instant, out: &mut Effects) {
        let wanted: BTreeSet<InstanceId> = self.wanted_instances.iter().take(PER_CALL).cloned().collect();
        if !wanted.is_empty() {
            self.start(Job::Instances(wanted), now, out);
        }
    }

    pub(super) fn told_instances(
        &mut self,
        asked: BTreeSet<InstanceId>,
        mut found: BTreeMap<InstanceId, Vec<Interface>>,
        now: Instant,
    ) {
        for id in asked {
            self.wanted_instances.remove(&id);
            let interfaces = found.remove(&id);
            if interfaces.is_none() {
                let times = self.hidden.entry(id.clone()).or_default();
                *times = times.saturating_add(1);
                if *times <= SOON {
                    self.alarms.insert((now + AGAIN, Slot::Instances));
                }
            } else if self.hidden.remove(&id).is_some() {
                self.dirty.extend(self.services.keys().cloned());
            }
            self.instances.insert(id, interfaces);
        }
    }

    /// Asks again for instances that EC2 did not show a moment ago.
    pub(super) fn ask_for_hidden(&mut self) {
        let soon = self.hidden.iter().filter(|(_, times)| **times <= SOON).map(|(id, _)| id.clone());
        self.wanted_instances.extend(soon);
    }

    /// With each listing: nodes may be gone, and an instance that did not run may.
    pub(super) fn review_instances(&mut self) {
        let of_nodes: BTreeSet<InstanceId> = self.nodes.values().filter_map(Node::instance).collect();
        self.instances.retain(|id, _| of_nodes.contains(id));
        self.hidden.retain(|id, _| of_nodes.contains(id));
        self.wanted_instances.extend(self.hidden.keys().cloned());
    }

    /// A node tells something new: its instance may run again.
    pub(super) fn doubt_hidden(&mut self, node: &Node) {
        if let Some(id) = node.instance()
            && self.hidden.remove(&id).is_some()
        {
            self.instances.remove(&id);
        }
    }

    /// One of the instances may not run any more.
    pub(super) fn doubt_instances(&mut self, op: &Op) {
        if let Op::RegisterTargets { targets, .. } = op {
            for target in targets {
                if let TargetId::Instance(id) = &target.id {
                    self.instances.remove(id);
                }
            }
        }
    }
}
