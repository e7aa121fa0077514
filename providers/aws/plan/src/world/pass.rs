//! One Service: from what is known to the next call, and to what its user sees.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use landfall_model::{Instant, ServiceKey};

use super::{
    Effects, Hostname, Job, Line, Status, World, Write, Written, entry::Entry, held::is_extra, job::Slot,
};
use crate::{
    Backend, Backends, Claim, Event, Finalizer, GateCondition, InstanceId, Need, Op, Own, Plan, PodEndpoint,
    Request, SecurityGroupId, Sources, Stack, TargetId, TargetSet, TargetType, Unresolved, Verdict, Waiting,
    backend::interface_group, finalizer, hostname, ledger, notices, plan, readiness, release, targets,
};

/// How soon to look again at targets that somebody waits for.
const TARGETS_AGAIN: Duration = Duration::from_secs(10);

impl World {
    /// Plans one Service.
    pub(super) fn pass(&mut self, key: &ServiceKey, now: Instant, out: &mut Effects) {
        // Taken out, so that the rest of the world can be read beside it.
        let Some(mut entry) = self.services.remove(key) else { return };
        let claim = Claim::of(&entry.service, &self.settings);
        match &claim {
            Claim::Ours => self.ensure(&mut entry, &claim, now, out),
            Claim::Release => self.let_go(&mut entry, &claim, now, out),
            Claim::Refused(problem) => {
                self.unset.remove(key);
                entry.refuse(std::slice::from_ref(problem), out);
            }
            Claim::NotOurs => {}
        }
        entry.flush(out);
        self.services.insert(key.clone(), entry);
        self.forget_endpoints(key);
    }

    fn ensure(&mut self, entry: &mut Entry, claim: &Claim, now: Instant, out: &mut Effects) {
        // Before the first call: what is made must be taken away again.
        if !self.held(entry, claim, None, out) {
            return;
        }
        let parsed = match Request::parse(&entry.service, &self.settings) {
            Ok(parsed) => parsed,
            Err(problems) => return entry.refuse(&problems, out),
        };
        let request = parsed.request;
        for warning in parsed.warnings {
            entry.say(Event::UnknownAnnotation, warning.to_string());
        }
        let pods = request.target_type == TargetType::Ip;
        entry.pods = Some(pods);
        let backends = self.backends(entry, &request);
        let key = &entry.service.key;
        if pods && !self.has_endpoints(key, &backends.keys().chain([key]).collect(), out) {
            return;
        }
        let (settings, inventory) = (&self.settings, &self.inventory);
        let stack = match Stack::resolve(&entry.service, &request, settings, inventory, &backends) {
            Ok(stack) => stack,
            Err(Unresolved::Problems(problems)) => return entry.refuse(&problems, out),
            Err(Unresolved::Need(need)) => {
                self.ask(need.clone(), &entry.service.key, now, out);
                if let Some(verdict) = self.unanswered(&[Waiting::Need(need)]) {
                    entry.say(Event::FailedDeploy, verdict.message.clone());
                    entry.tell(Status { hostname: Hostname::Leave, verdict: Some(verdict) }, out);
                }
                return;
            }
        };
        entry.said.remove(&Event::FailedBuild);
        let endpoints = self.endpoints(&entry.service.key);
        // Whoever cannot ask goes on without an answer, and so does one who is told of no instance at all: they are then
        // not where it asks, and AWS decides about each call.
        let told = self.instances.is_empty() || self.instances.values().any(Option::is_some);
        let instances = (told && !self.troubles.contains_key(&Slot::Instances)).then_some(&self.instances);
        let sources = Sources { nodes: &self.nodes, endpoints: &endpoints, backends: &backends, instances };
        let targets = targets(&stack, &entry.service, &request, &self.settings, sources, &self.inventory);
        let places = self.instances_of(sources.all_endpoints());
        self.open(&stack, &targets, &places);
        let own = ledger(&entry.service, &request, &targets, &self.settings, &self.inventory);
        entry.remember(own.text(), out);
        let plan = plan(&stack, &targets, &self.settings, &self.inventory, now);

        if !plan.ready.is_empty() && entry.begun.is_none() {
            self.changes += 1;
            entry.begun = Some(self.changes);
            entry.events.push((Event::Ensuring, "the load balancer is being made or changed".to_owned()));
        }
        self.advance(entry, &plan, now, out);
        let gated = self.gates(entry, &stack, &endpoints, &backends, out);
        self.look_again(&entry.service.key, &plan, gated, now);
        self.show(entry, &stack, &plan, &targets, &request, out);
    }

    /// Status and events of a planned Service.
    fn show(
        &self,
        entry: &mut Entry,
        stack: &Stack,
        plan: &Plan<Op>,
        targets: &BTreeMap<String, TargetSet>,
        request: &Request,
        out: &mut Effects,
    ) {
        let verdict = Verdict::of_plan(stack, plan, targets, &self.settings, &self.inventory);
        if verdict.reason == "NoTargets" {
            entry.say(Event::Unavailable, verdict.message.clone());
        } else {
            entry.said.remove(&Event::Unavailable);
        }
        for notice in notices(stack, request, &self.settings, &self.inventory) {
            entry.say(Event::Notice, notice.to_string());
        }
        let in_place = plan.ready.is_empty() && !plan.waiting.iter().any(Waiting::blocks);
        if in_place {
            entry.failure = None;
        }
        if in_place && !plan.waiting.iter().any(|waiting| matches!(waiting, Waiting::Provisioning(_))) {
            if entry.begun.take().is_some() {
                entry.events.push((Event::Ensured, "the load balancer is in place".to_owned()));
            }
            if std::mem::take(&mut entry.called) {
                entry.events.push((Event::Reconciled, "everything is in place".to_owned()));
            }
        }
        let name = hostname(stack, plan, &self.settings, &self.inventory);
        let works = plan.ready.iter().all(is_extra) && !plan.waiting.iter().any(Waiting::blocks);
        entry.settled |= works || name.as_ref().is_some_and(|name| entry.service.hostnames.contains(name));
        let unfinished = (!entry.settled).then(Verdict::applying).filter(|_| verdict.ready);
        let hostname = match name.filter(|_| entry.settled) {
            Some(name) => Hostname::Publish(name),
            None => Hostname::Clear,
        };
        let outside = self.trouble_outside(&entry.service.key, &plan.waiting);
        match &outside {
            Some(verdict) => entry.say(Event::FailedDeploy, verdict.message.clone()),
            None => _ = entry.said.remove(&Event::FailedDeploy),
        }
        let failure = entry.trouble(plan).or(outside);
        let verdict = failure.or(unfinished).unwrap_or(verdict);
        entry.tell(Status { hostname, verdict: Some(verdict) }, out);
    }

    fn let_go(&mut self, entry: &mut Entry, claim: &Claim, now: Instant, out: &mut Effects) {
        let key = entry.service.key.clone();
        self.openings.remove(&key);
        self.unset.remove(&key);
        self.backend_dirty = true;
        let request = Request::parse(&entry.service, &self.settings).ok().map(|parsed| parsed.request);
        let endpoints = self.endpoints(&key);
        let backends = Backends::new();
        let sources =
            Sources { nodes: &self.nodes, endpoints: &endpoints, backends: &backends, instances: None };
        let own = Own::of(&entry.service, sources);
        let plan = match release(&key, request.as_ref(), &own, &self.settings, &self.inventory) {
            Ok(plan) => plan,
            Err(problem) => {
                let verdict = Verdict::of_problems(std::slice::from_ref(&problem));
                entry.say(Event::FailedDelete, verdict.message.clone());
                return entry.tell(Status { hostname: Hostname::Leave, verdict: Some(verdict) }, out);
            }
        };
        if !plan.ready.is_empty() {
            entry.say(Event::Deleting, "the load balancer is being deleted".to_owned());
        }
        self.advance(entry, &plan, now, out);
        if plan.is_done() {
            entry.tell(Status { hostname: Hostname::Clear, verdict: None }, out);
            entry.say(Event::Deleted, "nothing of the load balancer is left".to_owned());
            if !entry.service.deleting {
                entry.remember(None, out);
            }
        } else if let Some(verdict) = entry.trouble(&plan).or_else(|| self.unanswered(&plan.waiting)) {
            entry.tell(Status { hostname: Hostname::Leave, verdict: Some(verdict) }, out);
        }
        self.held(entry, claim, Some(&plan), out);
    }

    /// Writes the finalizer where it is missing or no longer needed. Whether the Service is held by it.
    fn held(&self, entry: &mut Entry, claim: &Claim, released: Option<&Plan<Op>>, out: &mut Effects) -> bool {
        let has_it = entry.service.finalizers.iter().any(|name| &**name == crate::FINALIZER);
        let add = match finalizer(claim, has_it, released) {
            Finalizer::Keep => {
                entry.finalizing = false;
                return has_it;
            }
            Finalizer::Add => true,
            Finalizer::Remove => false,
        };
        if !std::mem::replace(&mut entry.finalizing, true) {
            entry.write(Written::Finalizer(add), out);
        }
        false
    }

    /// Takes what became of a write. After a failure the Service is planned again a little later.
    pub fn written(&mut self, write: &Write, result: Result<(), String>, now: Instant) {
        let Some(entry) = self.services.get_mut(&write.service) else { return };
        let Err(message) = result else { return };
        let event = match &write.what {
            Written::Finalizer(add) => {
                entry.finalizing = false;
                if *add { Event::FailedAddFinalizer } else { Event::FailedRemoveFinalizer }
            }
            Written::Status(status) => {
                entry.told = None;
                if status.verdict.is_some() { Event::FailedUpdateStatus } else { Event::FailedCleanupStatus }
            }
            Written::Gate(gate) => {
                entry.gates.remove(&(gate.pod.clone(), gate.gate.clone()));
                return;
            }
            Written::Ledger(_) => {
                entry.ledger = None;
                Event::FailedRemember
            }
            Written::Event(..) => return,
        };
        entry.say(event, message);
        self.alarms.insert((now + Duration::from_secs(5), Slot::Line(Line::Service(write.service.clone()))));
    }

    /// Sends the next call of a plan, and asks what it needs to know.
    fn advance(&mut self, entry: &mut Entry, plan: &Plan<Op>, now: Instant, out: &mut Effects) {
        let key = &entry.service.key;
        if let Some(op) = entry.held.next(&plan.ready, now) {
            self.start(Job::Call(Line::Service(key.clone()), op.clone()), now, out);
        }
        for waiting in &plan.waiting {
            if let Waiting::Need(need) = waiting {
                self.ask(need.clone(), key, now, out);
            }
        }
    }

    fn ask(&mut self, need: Need, key: &ServiceKey, now: Instant, out: &mut Effects) {
        let slot = Slot::Need(need.clone());
        self.waiters.entry(slot).or_default().insert(key.clone());
        let start = self.inventory.begin_listing();
        self.start(Job::Describe(need, start), now, out);
    }

    /// Notes what the Service needs of the groups of its targets, and asks for instances that are not known.
    fn open(
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
        let name = stack.key.to_string();
        let mut own = self.inventory.stack_security_groups(&self.settings.cluster, &name);
        let front = own.next().map(|group| group.id.clone());
        drop(own);
        self.backend_dirty |= self.openings.set(stack, targets, &groups, front.as_ref());
        if missing.is_empty() {
            self.backend_dirty |= self.unset.remove(&stack.key);
        } else {
            self.unset.insert(stack.key.clone());
            self.wanted_instances.extend(missing);
            self.waiters.entry(Slot::Instances).or_default().insert(stack.key.clone());
        }
    }

    /// The instances that Pods run on, by the Pods' addresses.
    fn instances_of<'a>(
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
    fn gates(
        &self,
        entry: &mut Entry,
        stack: &Stack,
        endpoints: &[PodEndpoint],
        backends: &Backends,
        out: &mut Effects,
    ) -> bool {
        let of = |service, endpoints| readiness(stack, service, endpoints, &self.settings, &self.inventory);
        let mut conditions = of(&entry.service, endpoints);
        for Backend { service, endpoints } in backends.values() {
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
    fn look_again(&mut self, key: &ServiceKey, plan: &Plan<Op>, gated: bool, now: Instant) {
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
