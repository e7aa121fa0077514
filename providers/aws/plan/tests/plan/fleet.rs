//! Many Services at once: what is asked of AWS, what the users see, and what is done after failures.

mod audit;
mod cases;
mod drift;
mod events;
mod failures;
mod instances;
mod mistakes;
mod partitions;
mod shared;
mod slices;
mod weighted;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use landfall_aws_plan::{
    Answer, FINALIZER, Failure, FailureKind, Hostname, InstanceId, Interface, Job, ListenerArn, Need,
    Observation, Op, PREFIX, PodEndpoint, REGISTERED, Rhythm, Service, Settings, Target, TargetGroup,
    TargetId, TargetState, World, Write, Written,
};
use landfall_model::{Instant, ServiceKey};

use crate::{aws::Aws, world};

/// A cluster, its AWS and the shell between them.
struct Fleet {
    aws: Aws,
    world: World,
    services: BTreeMap<ServiceKey, Service>,
    /// By name, in the namespace of the Services.
    slices: BTreeMap<&'static str, (&'static str, Vec<PodEndpoint>)>,
    /// New lists of slices.
    relists: usize,
    now: Instant,
    jobs: Vec<Job>,
    writes: Vec<Write>,
    drifts: Vec<&'static str>,
    /// Fails the next call of this kind in this way.
    fail: Option<(&'static str, FailureKind)>,
    /// What AWS refuses each time, in words of [`word`].
    refused: BTreeSet<&'static str>,
    /// Instances that do not run.
    gone: BTreeSet<InstanceId>,
    /// Instances that AWS does not take as targets, although they run.
    refused_targets: BTreeSet<InstanceId>,
    /// A listener that was deleted by hand.
    unknown: Option<ListenerArn>,
}

impl Fleet {
    fn new(services: usize, rhythm: Rhythm) -> Self {
        let one = world::World::new();
        let mut fleet = Self {
            aws: one.aws,
            world: World::new(Settings::new("harbor", "vpc-1"), rhythm),
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            relists: 0,
            now: Instant::from_micros(1),
            jobs: Vec::new(),
            writes: Vec::new(),
            drifts: Vec::new(),
            fail: None,
            refused: BTreeSet::new(),
            gone: BTreeSet::new(),
            refused_targets: BTreeSet::new(),
            unknown: None,
        };
        for number in 0..services {
            let mut service = one.service.clone();
            service.key = ServiceKey::new("shop", &format!("web-{number}"));
            service.uid = format!("uid-{number}").into();
            service.finalizers.clear();
            fleet.set(service);
        }
        for (name, node) in one.nodes {
            fleet.world.observe(Observation::Node(name, Some(node)));
        }
        fleet.world.observe(Observation::Synced);
        fleet
    }

    fn set(&mut self, service: Service) {
        let key = service.key.clone();
        self.services.insert(key.clone(), service.clone());
        self.world.observe(Observation::Service(key, Some(Box::new(service))));
    }

    fn slice(&mut self, name: &'static str, service: &'static str, endpoints: Vec<PodEndpoint>) {
        self.slices.insert(name, (service, endpoints));
        self.tell(name);
    }

    fn tell(&mut self, slice: &str) {
        let (service, endpoints) = self.slices[slice].clone();
        let content = Some((service.into(), endpoints));
        self.world.observe(Observation::Slice(ServiceKey::new("shop", slice), content));
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Service)) {
        let mut service = self.services[&ServiceKey::new("shop", name)].clone();
        change(&mut service);
        self.set(service);
    }

    fn annotate(&mut self, name: &str, annotation: &str, value: &str) {
        let annotation = format!("{PREFIX}{annotation}");
        self.change(name, |service| _ = service.annotations.insert(annotation, value.to_owned()));
    }

    fn node(&mut self, name: &str, instance: Option<&str>) {
        let node = instance.map(|instance| world::node(name, instance).1);
        self.world.observe(Observation::Node(name.into(), node));
    }

    /// The instances in each target group.
    fn registered(&self) -> Vec<Vec<String>> {
        let id = |target: &Target| match &target.id {
            TargetId::Instance(id) => id.as_str().to_owned(),
            TargetId::Ip(address) => address.to_string(),
        };
        let of_group = |group: &TargetGroup| {
            let serving =
                group.targets.iter().flatten().filter(|(_, state)| **state != TargetState::Draining);
            serving.map(|(target, _)| id(target)).collect()
        };
        self.aws.target_groups.values().map(of_group).collect()
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.jobs.iter().filter(|job| matches!(job, Job::Call(..))).map(word).collect()
    }

    /// The controller is killed: another one knows only what the API server and AWS have.
    fn restart(&mut self, rhythm: Rhythm) {
        self.restart_with(Settings::new("harbor", "vpc-1"), rhythm);
    }

    fn restart_with(&mut self, settings: Settings, rhythm: Rhythm) {
        self.world = World::new(settings, rhythm);
        for service in self.services.clone().into_values() {
            self.set(service);
        }
        for (name, node) in world::World::new().nodes {
            self.world.observe(Observation::Node(name, Some(node)));
        }
        self.list_slices();
        self.world.observe(Observation::Synced);
    }

    fn list_slices(&mut self) {
        for slice in self.slices.keys().copied().collect::<Vec<_>>() {
            self.tell(slice);
        }
        self.world.observe(Observation::SlicesListed);
    }

    /// One planning, and what comes of it, at most `calls` calls. How many jobs and writes there were.
    fn step(&mut self, calls: &mut usize) -> usize {
        let effects = self.world.plan(self.now);
        let count = effects.jobs.len() + effects.writes.len() + usize::from(effects.relist);
        self.drifts.extend(effects.drifts.iter().map(|kind| kind.as_str()));
        if effects.relist {
            self.relists += 1;
            self.list_slices();
        }
        for write in effects.writes {
            self.writes.push(write.clone());
            match &write.what {
                Written::Finalizer(add) => {
                    let mut service = self.services[&write.service].clone();
                    service.finalizers.retain(|name| &**name != FINALIZER);
                    if *add {
                        service.finalizers.push(FINALIZER.into());
                    }
                    if service.deleting && !add {
                        self.services.remove(&write.service);
                        self.world.observe(Observation::Service(write.service.clone(), None));
                    } else {
                        self.set(service);
                    }
                }
                Written::Ledger(_) if self.fail.take_if(|(name, _)| *name == "Ledger").is_some() => {
                    self.world.written(&write, Err("as the test wants".to_owned()), self.now);
                    continue;
                }
                Written::Ledger(text) => {
                    let mut service = self.services[&write.service].clone();
                    service.annotations.remove(REGISTERED);
                    service.annotations.extend(text.iter().map(|text| (REGISTERED.to_owned(), text.clone())));
                    self.set(service);
                }
                Written::Status(_) | Written::Event(..) | Written::Gate(_) => {}
            }
            self.world.written(&write, Ok(()), self.now);
        }
        for job in effects.jobs {
            self.jobs.push(job.clone());
            if let Job::Call(..) = job {
                if *calls == 0 {
                    return 0;
                }
                *calls -= 1;
            }
            let result = self.send(&job);
            self.world.answered(job, result, self.now);
        }
        count
    }

    fn send(&mut self, job: &Job) -> Result<Answer, Failure> {
        let failure = |kind, code: &str| Failure {
            kind,
            code: code.to_owned(),
            message: "as the test wants".to_owned(),
        };
        let word = word(job);
        if self.refused.contains(word) {
            return Err(failure(FailureKind::Refused, "AccessDenied"));
        }
        if let Some((name, kind)) = self.fail.take_if(|(name, _)| *name == word) {
            return Err(failure(kind, name));
        }
        Ok(match job {
            Job::List(_) => Answer::Listing(Box::new(self.aws.listing())),
            Job::States(asked) => {
                let state = |arn| self.aws.load_balancers.get(arn).map(|lb| (lb.state, None));
                Answer::States(asked.iter().filter_map(|arn| Some((arn.clone(), state(arn)?))).collect())
            }
            Job::Describe(need, _) => {
                let gone = || Failure {
                    kind: FailureKind::Stale,
                    code: "NotFound".to_owned(),
                    message: format!("{need:?}"),
                };
                self.aws.details(need).ok_or_else(gone)?
            }
            Job::Instances(asked) => {
                let interface = Interface { groups: vec!["sg-nodes".into()], ..Interface::default() };
                let running = asked.iter().filter(|id| !self.gone.contains(*id));
                Answer::Instances(running.map(|id| (id.clone(), vec![interface.clone()])).collect())
            }
            Job::Call(_, op) => {
                if let Op::ModifyListener { arn, .. } = op
                    && self.unknown.as_ref() == Some(arn)
                {
                    return Err(failure(FailureKind::Stale, "ListenerNotFound"));
                }
                if let Op::RegisterTargets { arn, targets } = op {
                    let refused = |target: &Target| matches!(&target.id, TargetId::Instance(id) if self.refused_targets.contains(id));
                    let taken: Vec<Target> = targets.iter().filter(|one| !refused(one)).cloned().collect();
                    if taken.len() < targets.len() {
                        // As the shell does: the others are registered.
                        if !taken.is_empty() {
                            let op = Op::RegisterTargets { arn: arn.clone(), targets: taken };
                            self.aws.apply(&op).unwrap();
                        }
                        return Err(failure(FailureKind::Stale, "InvalidTarget"));
                    }
                }
                let applied = self.aws.apply(op);
                let kind = |code: &str| match code {
                    "OperationNotPermitted" => FailureKind::Refused,
                    _ => FailureKind::Busy,
                };
                Answer::Called(applied.map_err(|code| failure(kind(&code), &code))?)
            }
        })
    }

    /// Runs until nothing is left to do now; time stands still.
    fn settle(&mut self) {
        for _ in 0..2000 {
            if self.step(&mut usize::MAX.clone()) == 0 {
                return;
            }
        }
        panic!("no end: {:#?}", self.world.plan(self.now));
    }

    /// Lets time pass, in steps of which each may have work.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        while let Some(at) = self.world.plan(self.now).recheck.filter(|at| *at <= end) {
            self.now = at;
            self.settle();
        }
        self.now = end;
    }

    /// Until everything serves.
    fn converge(&mut self) {
        self.settle();
        self.aws.settle();
        self.pass(Duration::from_secs(30));
    }

    fn events(&self, name: &str) -> Vec<&'static str> {
        let of = |write: &&Write| &*write.service.name == name;
        self.writes
            .iter()
            .filter(of)
            .filter_map(|write| match &write.what {
                Written::Event(event, _) => Some(event.reason()),
                Written::Finalizer(_) | Written::Status(_) | Written::Gate(_) | Written::Ledger(_) => None,
            })
            .collect()
    }

    /// What the condition says.
    fn message(&self, name: &str) -> String {
        let mut statuses = self.writes.iter().rev().filter(|write| &*write.service.name == name);
        let verdict = statuses.find_map(|write| match &write.what {
            Written::Status(status) => Some(status.verdict.as_ref().map(|verdict| verdict.message.clone())),
            Written::Finalizer(_) | Written::Event(..) | Written::Gate(_) | Written::Ledger(_) => None,
        });
        verdict.flatten().unwrap_or_default()
    }

    /// Host name and reason of the last status.
    fn status(&self, name: &str) -> (Hostname, &'static str) {
        let of = |write: &&Write| &*write.service.name == name;
        let mut statuses = self.writes.iter().rev().filter(of).filter_map(|write| match &write.what {
            Written::Status(status) => Some(status),
            Written::Finalizer(_) | Written::Event(..) | Written::Gate(_) | Written::Ledger(_) => None,
        });
        let status = statuses.next().expect("a status");
        (status.hostname.clone(), status.verdict.as_ref().map_or("", |verdict| verdict.reason))
    }

    fn calls(&self) -> usize {
        self.jobs.iter().filter(|job| matches!(job, Job::Call(..))).count()
    }

    fn asked(&self) -> usize {
        self.jobs.len() - self.calls()
    }
}

/// What a job is called in [`Fleet::fail`] and [`Fleet::refused`].
fn word(job: &Job) -> &'static str {
    match job {
        Job::List(_) => "List",
        Job::States(_) => "States",
        Job::Describe(Need::LoadBalancer(_), _) => "DescribeLoadBalancer",
        Job::Describe(Need::Capacity(_), _) => "DescribeCapacity",
        Job::Describe(Need::TargetGroup(_), _) => "DescribeTargetGroup",
        Job::Describe(Need::Targets(_), _) => "DescribeTargets",
        Job::Describe(Need::RouteTables, _) => "DescribeRouteTables",
        Job::Instances(_) => "DescribeInstances",
        Job::Call(_, op) => op.kind().as_str(),
    }
}
