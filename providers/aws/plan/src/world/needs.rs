//! What a planned Service needs beside its own calls: rules on the groups of its targets, conditions of Pods that wait, and
//! another look.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use landfall_model::{Instant, ServiceKey};

use super::{
    Effects, Line, World, Written,
    backends::Pods,
    entry::{Entry, Wanted},
    job::Slot,
};
use crate::{
    Backend, GateCondition, InstanceId, Op, Plan, PodEndpoint, SecurityGroupId, Stack, TargetId, TargetSet,
    Waiting, backend::interface_group, readiness,
};

/// How soon to look again at targets that somebody waits for.
const TARGETS_AGAIN: Duration = Duration::from_secs(10);

impl World {
    /// Notes what the Service needs of the groups of its targets, and asks for instances that are not known.
    pub(super) fn open(
        &mut self,
        stack: &Stack,
        targets: &BTreeMap<String, TargetSet>,
        places: &BTreeMap<IpAddr, InstanceId>,
    ) {
        let mut groups = BTreeSet::new();
        let mut missing = BTreeSet::new();
        let mut guessed = BTreeMap::new();
        for target in targets.values().flat_map(|set| set.wanted.iter().chain(&set.lingering)) {
            let instance = match &target.id {
                TargetId::Instance(id) => Some(id),
                TargetId::Ip(address) => places.get(address),
            };
            let Some(instance) = instance else { continue };
            match self.instances.get(instance) {
                None => _ = missing.insert(instance.clone()),
                Some(None) => {}
                Some(Some(interfaces)) => {
                    let interface = match &target.id {
                        TargetId::Ip(address) => interfaces.iter().find(|interface| interface.has(*address)),
                        TargetId::Instance(_) => None,
                    };
                    let Some(interface) = interface.or(interfaces.first()) else { continue };
                    // Most instances have the same groups: judge each list once.
                    let chosen: &Option<SecurityGroupId> =
                        guessed.entry(&interface.groups).or_insert_with(|| {
                            interface_group(&interface.groups, &self.settings, &self.inventory)
                                .map(|(group, _)| group)
                        });
                    groups.extend(chosen.clone());
                }
            }
        }
        let front = self.front_group(stack);
        self.backend_dirty |= self.openings.set(stack, targets, &groups, front.as_ref());
        if missing.is_empty() {
            self.backend_dirty |= self.unset.remove(&stack.key);
        } else {
            self.unset.insert(stack.key.clone());
            self.wanted_instances.extend(missing);
            self.waiters.entry(Slot::Instances).or_default().insert(stack.key.clone());
        }
    }

    /// The group of the Service's own load balancer, as long as that is wanted or there: a rule that names it keeps it from going.
    fn front_group(&self, stack: &Stack) -> Option<SecurityGroupId> {
        let (cluster, name) = (&self.settings.cluster, stack.key.to_string());
        let front = self.inventory.stack_security_groups(cluster, &name).next()?.id.clone();
        let mut balancers = self.inventory.stack_load_balancers(cluster, &name);
        let used = stack.security_group.is_some() || balancers.any(|lb| lb.security_groups.contains(&front));
        used.then_some(front)
    }

    /// The instances that Pods run on, by the Pods' addresses.
    pub(super) fn instances_of<'a>(
        &self,
        endpoints: impl Iterator<Item = &'a PodEndpoint>,
    ) -> BTreeMap<IpAddr, InstanceId> {
        let place = |endpoint: &PodEndpoint| {
            let node = self.nodes.get(endpoint.node.as_ref()?)?;
            Some((endpoint.address, node.instance()?))
        };
        endpoints.filter_map(place).collect()
    }

    /// Writes conditions of Pods that changed. Whether one waits for its target.
    pub(super) fn gates(&self, entry: &mut Entry, wanted: &Wanted, pods: &Pods, out: &mut Effects) -> bool {
        let of = |service, endpoints| {
            readiness(&wanted.stack, service, endpoints, &self.settings, &self.inventory)
        };
        let mut conditions = of(&*wanted.service, &*pods.endpoints);
        for Backend { service, endpoints } in pods.backends.values() {
            conditions.extend(of(service, endpoints));
        }
        let waits = conditions.iter().any(|gate| !gate.healthy);
        let key = |gate: &GateCondition| (gate.pod.clone(), gate.gate.clone());
        let current: BTreeSet<_> = conditions.iter().map(key).collect();
        entry.gates.retain(|known, _| current.contains(known));
        for gate in conditions {
            let said = (gate.healthy, gate.reason);
            if entry.gates.insert(key(&gate), said) != Some(said) {
                entry.write(Written::Gate(gate), out);
            }
        }
        waits
    }

    /// Targets that somebody waits for are asked for again.
    pub(super) fn look_again(&mut self, key: &ServiceKey, plan: &Plan<Op>, gated: bool, now: Instant) {
        let mut groups = BTreeSet::new();
        for waiting in &plan.waiting {
            match waiting {
                Waiting::Replacement(arn) => _ = groups.insert(arn.clone()),
                Waiting::Successor(_) => groups.extend(self.groups_of(key)),
                Waiting::GroupInUse(_) => {
                    self.alarms.insert((now + TARGETS_AGAIN, Slot::Line(Line::Service(key.clone()))));
                }
                Waiting::Inventory
                | Waiting::Need(_)
                | Waiting::Instances
                | Waiting::Ledger
                | Waiting::Earlier
                | Waiting::BackendGroup
                | Waiting::Provisioning(_)
                | Waiting::NameTaken(_)
                | Waiting::PortTaken(..) => {}
            }
        }
        if gated {
            groups.extend(self.groups_of(key));
        }
        self.watched.extend(groups);
        if !self.watched.is_empty() {
            self.watch_at = Some(self.watch_at.unwrap_or(now + TARGETS_AGAIN));
        }
    }

    fn groups_of(&self, key: &ServiceKey) -> Vec<crate::TargetGroupArn> {
        let name = key.to_string();
        let groups = self.inventory.stack_target_groups(&self.settings.cluster, &name);
        groups.map(|group| group.arn.clone()).collect()
    }
}
