//! One Service: from what is known to the next call, and to what its user sees.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use landfall_model::{Instant, ServiceKey};

use super::{
    Effects, Hostname, Job, Line, Status, World, Write, Written,
    backends::{Pods, named},
    entry::{Entry, Wanted},
    held::{is_extra, is_of_targets},
    job::Slot,
};
use crate::{
    Backends, Claim, Event, Finalizer, Need, Op, Own, Plan, REGISTERED, Request, Service, Sources, Stack,
    TargetSet, TargetType, Unresolved, Verdict, Waiting, drift::drift, finalizer, hostname, ledger, notices,
    plan, release, targets,
};

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
        let asked = Request::parse(&entry.service, &self.settings).map(|parsed| {
            for warning in parsed.warnings {
                entry.say(Event::UnknownAnnotation, warning.to_string());
            }
            parsed.request
        });
        // Until it is clear that what is asked for can be, what was asked for before may count.
        let last = entry.wanted.as_ref().map(|wanted| &wanted.request);
        let requests: Vec<&Request> = asked.iter().chain(last).collect();
        let key = entry.service.key.clone();
        if !requests.is_empty() {
            entry.pods = Some(requests.iter().any(|request| request.target_type == TargetType::Ip));
            self.uses(&key, requests.iter().flat_map(|request| named(&key, request)).collect());
        }
        let backends = self.backends(&entry.service);
        if entry.pods == Some(true)
            && !self.has_endpoints(&key, &backends.keys().chain([&key]).collect(), out)
        {
            return;
        }
        let pods = Pods { endpoints: self.endpoints(&key), backends };
        let resolved = asked.map_err(Unresolved::Problems).and_then(|request| {
            let (settings, inventory) = (&self.settings, &self.inventory);
            let stack = Stack::resolve(&entry.service, &request, settings, inventory, &pods.backends)?;
            Ok(Wanted { service: Arc::clone(&entry.service), request, stack })
        });
        match resolved {
            Ok(wanted) => {
                if entry.said.remove(&Event::FailedBuild).is_some() {
                    entry.said.remove(&Event::FailedSync);
                }
                entry.pods = Some(wanted.request.target_type == TargetType::Ip);
                self.uses(&key, named(&key, &wanted.request));
                self.audit.outdated |=
                    wanted.audited() != entry.wanted.as_ref().map_or((None, false), Wanted::audited);
                self.change(entry, &wanted, &pods, now, out);
                entry.wanted = Some(wanted);
                return;
            }
            Err(Unresolved::Problems(problems)) => entry.refuse(&problems, out),
            Err(Unresolved::Need(need)) => {
                self.ask(need.clone(), &key, now, out);
                if let Some(verdict) = self.unanswered(&[Waiting::Need(need)]) {
                    entry.complain(Event::FailedDeploy, verdict.message.clone());
                    entry.tell(Status { hostname: Hostname::Leave, verdict: Some(verdict) }, out);
                }
            }
        }
        if let Some(wanted) = entry.wanted.take() {
            self.follow(entry, &wanted, &pods, now, out);
            entry.wanted = Some(wanted);
        }
    }

    /// Does the next thing that a Service needs, and tells how far it is.
    fn change(&mut self, entry: &mut Entry, wanted: &Wanted, pods: &Pods, now: Instant, out: &mut Effects) {
        let targets = self.targets(entry, wanted, pods, out);
        let Wanted { request, stack, .. } = wanted;
        let plan = plan(stack, &targets, &self.settings, &self.inventory, now);
        let same = || entry.wanted.as_ref().is_some_and(|last| last.stack == *stack);
        if entry.done && !plan.ready.is_empty() && same() {
            for (kind, text) in plan.ready.iter().filter_map(|op| drift(op, &self.inventory)) {
                out.drifts.push(kind);
                entry.events.push((Event::Drift, format!("changed by somebody else and put back: {text}")));
            }
        }
        entry.done = plan.is_done();
        if !plan.ready.is_empty() && entry.begun.is_none() {
            self.changes += 1;
            entry.begun = Some(self.changes);
        }
        if !entry.ensuring && !plan.ready.iter().all(is_of_targets) {
            entry.ensuring = true;
            entry.events.push((Event::Ensuring, "the load balancer is being made or changed".to_owned()));
        }
        self.advance(entry, &plan, now, out);
        let gated = self.gates(entry, wanted, pods, out);
        self.look_again(&entry.service.key, &plan, gated, now);
        self.show(entry, stack, &plan, &targets, request, out);
    }

    /// Nodes and pods come and go, also while a Service asks for something that cannot be: nothing but the targets of what was
    /// there before is changed then.
    fn follow(&mut self, entry: &mut Entry, last: &Wanted, pods: &Pods, now: Instant, out: &mut Effects) {
        let mut service = Service::clone(&last.service);
        service.annotations.remove(REGISTERED);
        let own = entry.service.annotations.get(REGISTERED);
        service.annotations.extend(own.map(|own| (REGISTERED.to_owned(), own.clone())));
        let last = Wanted { service: Arc::new(service), ..last.clone() };

        let targets = self.targets(entry, &last, pods, out);
        let mut plan = plan(&last.stack, &targets, &self.settings, &self.inventory, now);
        plan.ready.retain(is_of_targets);
        let of_targets =
            |waiting: &Waiting| matches!(waiting, Waiting::Need(Need::Targets(_)) | Waiting::Replacement(_));
        plan.waiting.retain(of_targets);
        self.advance(entry, &plan, now, out);
        let gated = self.gates(entry, &last, pods, out);
        self.look_again(&entry.service.key, &plan, gated, now);
    }

    /// Who shall be in the Service's target groups. Opens the groups of nodes and pods for them, and has the Service remember
    /// them where it must.
    fn targets(
        &mut self,
        entry: &mut Entry,
        wanted: &Wanted,
        pods: &Pods,
        out: &mut Effects,
    ) -> BTreeMap<String, TargetSet> {
        let Wanted { service, request, stack } = wanted;
        let Pods { endpoints, backends } = pods;
        // Whoever cannot ask goes on without an answer, and so does one who is told of no instance at all: they are then
        // not where it asks, and AWS decides about each call.
        let told = self.instances.is_empty() || self.instances.values().any(Option::is_some);
        let instances = (told && !self.troubles.contains_key(&Slot::Instances)).then_some(&self.instances);
        let sources = Sources { nodes: &self.nodes, endpoints, backends, instances };
        let mut targets = targets(stack, service, request, &self.settings, sources, &self.inventory);
        // Of a Service or a port that is no longer there nobody knows the pods.
        let known = |(of, port): &(ServiceKey, u16)| {
            let mut ports = backends.get(of).into_iter().flat_map(|backend| &backend.service.ports);
            *of == service.key || ports.any(|one| one.port == *port)
        };
        targets.retain(|resource, _| stack.target_groups.get(resource).is_some_and(|group| known(&group.of)));
        let places = self.instances_of(sources.all_endpoints());
        self.open(stack, &targets, &places);
        let own = ledger(service, request, &targets, &self.settings, &self.inventory);
        entry.remember(own.text(), out);
        targets
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
        let outside = self.trouble_outside(&entry.service.key, &plan.waiting);
        let in_place = plan.ready.is_empty() && !plan.waiting.iter().any(Waiting::blocks);
        if in_place {
            entry.failure = None;
            entry.said.remove(&Event::FailedUpdate);
        }
        if in_place && outside.is_none() {
            entry.said.remove(&Event::FailedSync);
        }
        if in_place && !plan.waiting.iter().any(|waiting| matches!(waiting, Waiting::Provisioning(_))) {
            if entry.begun.take().is_some() {
                let (event, text) = if std::mem::take(&mut entry.ensuring) {
                    (Event::Ensured, "the load balancer is in place")
                } else {
                    (Event::Updated, "the targets follow nodes and pods")
                };
                entry.events.push((event, text.to_owned()));
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
        match &outside {
            Some(verdict) => entry.complain(Event::FailedDeploy, verdict.message.clone()),
            None => _ = entry.said.remove(&Event::FailedDeploy),
        }
        let failure = entry.trouble(plan).or(outside);
        let verdict = failure.or(unfinished).unwrap_or(verdict);
        entry.tell(Status { hostname, verdict: Some(verdict) }, out);
    }

    fn let_go(&mut self, entry: &mut Entry, claim: &Claim, now: Instant, out: &mut Effects) {
        let key = entry.service.key.clone();
        entry.wanted = None;
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
}
