//! A cluster with one Service, and the loop that the shell will run.

use std::collections::{BTreeMap, BTreeSet};

use landfall_aws_plan::{
    Backends, Forward, GateCondition, Instances, Inventory, Locale, Map, Node, Op, Own, PREFIX, Plan,
    PodEndpoint, Problem, REGISTERED, Readiness, Request, SecurityGroup, Service, ServicePort, ServiceType,
    Settings, Sources, Stack, Subnet, TargetGroupArn, TargetPort, TargetSet, Unresolved, Waiting,
    backend::{self, Openings},
    ledger, plan, readiness, release, targets,
};
use landfall_model::{Family, Instant, NodePort, Protocol, ServiceKey, TrafficPolicy};

use crate::aws::Aws;

pub(crate) struct World {
    pub(crate) aws: Aws,
    pub(crate) inventory: Inventory,
    pub(crate) settings: Settings,
    pub(crate) service: Service,
    pub(crate) nodes: BTreeMap<Box<str>, Node>,
    pub(crate) endpoints: Vec<PodEndpoint>,
    pub(crate) backends: Backends,
    pub(crate) openings: Openings,
    pub(crate) instances: Option<Instances>,
    pub(crate) now: Instant,
}

pub(crate) fn port(name: &str, protocol: Protocol, port: u16, node_port: u16) -> ServicePort {
    let target = TargetPort::Number(port + 8000);
    ServicePort { name: name.into(), protocol, port, target, node_port: Some(NodePort(node_port)) }
}

pub(crate) fn node(name: &str, instance: &str) -> (Box<str>, Node) {
    let provider_id = format!("aws:///eu-west-1a/{instance}").into();
    let node = Node {
        name: name.into(),
        labels: BTreeMap::new(),
        provider_id,
        taints: Vec::new(),
        ready: Readiness::Ready,
    };
    (name.into(), node)
}

pub(crate) fn subnet(id: &str, zone: &str) -> Subnet {
    let third = id.bytes().last().unwrap();
    Subnet {
        id: id.into(),
        zone: zone.to_owned(),
        locale: Locale::AvailabilityZone,
        free_addresses: 100,
        blocks: vec![
            format!("10.0.{third}.0/24").parse().unwrap(),
            format!("fd00:0:0:{third:x}::/64").parse().unwrap(),
        ],
        public: None,
        tags: map(&[("kubernetes.io/role/elb", "1"), ("kubernetes.io/role/internal-elb", "1")]),
    }
}

pub(crate) fn map(pairs: &[(&str, &str)]) -> Map {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn security_group(id: &str, tags: &[(&str, &str)]) -> SecurityGroup {
    SecurityGroup { id: id.into(), name: id.to_owned(), tags: map(tags), ingress: BTreeSet::new() }
}

impl World {
    pub(crate) fn new() -> Self {
        let mut aws = Aws::default();
        aws.subnets = vec![subnet("subnet-a", "eu-west-1a"), subnet("subnet-b", "eu-west-1b")];
        aws.vpc_blocks = vec!["10.0.0.0/16".parse().unwrap(), "fd00::/56".parse().unwrap()];
        for group in [
            security_group("sg-nodes", &[("kubernetes.io/cluster/harbor", "owned")]),
            security_group("sg-mine", &[("Name", "mine")]),
        ] {
            aws.security_groups.insert(group.id.clone(), group);
        }
        let mut world = Self {
            aws,
            inventory: Inventory::default(),
            settings: Settings::new("harbor", "vpc-1"),
            service: Service {
                key: ServiceKey::new("shop", "web"),
                uid: "7ab4be33-11c2-4a7b-b655-7add8affab36".into(),
                deleting: false,
                kind: ServiceType::LoadBalancer,
                class: Some(landfall_aws_plan::CLASS.into()),
                annotations: BTreeMap::new(),
                finalizers: vec![landfall_aws_plan::FINALIZER.into()],
                families: vec![Family::V4],
                traffic_policy: TrafficPolicy::Cluster,
                source_ranges: Vec::new(),
                ports: vec![port("http", Protocol::Tcp, 80, 30080), port("https", Protocol::Tcp, 443, 30443)],
                health_check_node_port: None,
                hostnames: Vec::new(),
            },
            nodes: [node("n1", "i-01"), node("n2", "i-02")].into(),
            endpoints: Vec::new(),
            backends: Backends::new(),
            openings: Openings::default(),
            instances: None,
            now: Instant::ZERO,
        };
        world.list();
        world
    }

    pub(crate) fn annotate(&mut self, name: &str, value: &str) -> &mut Self {
        self.service.annotations.insert(format!("{PREFIX}{name}"), value.to_owned());
        self
    }

    /// A complete listing, as after a restart: nothing deeper is known.
    pub(crate) fn restart(&mut self) {
        self.inventory = Inventory::default();
        self.openings = Openings::default();
        self.list();
    }

    pub(crate) fn list(&mut self) {
        let start = self.inventory.begin_listing();
        self.inventory.replace_listing(start, self.aws.listing());
    }

    pub(crate) fn request(&self) -> Result<Request, Vec<Problem>> {
        Request::parse(&self.service, &self.settings).map(|parsed| parsed.request)
    }

    pub(crate) fn stack(&mut self) -> Result<Stack, Vec<Problem>> {
        let request = self.request()?;
        loop {
            let (settings, inventory) = (&self.settings, &self.inventory);
            match Stack::resolve(&self.service, &request, settings, inventory, &self.backends) {
                Ok(stack) => return Ok(stack),
                Err(Unresolved::Problems(problems)) => return Err(problems),
                Err(Unresolved::Need(need)) => self.aws.answer(&need, &mut self.inventory),
            }
        }
    }

    /// The only problem, as text.
    pub(crate) fn readiness(&mut self) -> Vec<GateCondition> {
        let stack = self.stack().unwrap();
        readiness(&stack, &self.service, &self.endpoints, &self.settings, &self.inventory)
    }

    pub(crate) fn problem(&mut self) -> String {
        let problems = self.stack().expect_err("a problem");
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn targets(&mut self, stack: &Stack) -> BTreeMap<String, TargetSet> {
        let request = self.request().unwrap();
        targets(stack, &self.service, &request, &self.settings, self.sources(), &self.inventory)
    }

    fn sources(&self) -> Sources<'_> {
        let (nodes, backends) = (&self.nodes, &self.backends);
        Sources { nodes, endpoints: &self.endpoints, backends, instances: self.instances.as_ref() }
    }

    /// Both plans of one pass: what is ready, what is waited for.
    pub(crate) fn plan(&mut self) -> Plan<Op> {
        let on = BTreeSet::from(["sg-nodes".into()]);
        let mut both = if self.service.deleting {
            self.openings.remove(&self.service.key);
            let (key, request) = (&self.service.key, self.request().ok());
            let own = Own::of(&self.service, self.sources());
            release(key, request.as_ref(), &own, &self.settings, &self.inventory).unwrap()
        } else {
            let stack = self.stack().unwrap();
            let targets = self.targets(&stack);
            let mut own = self.inventory.stack_security_groups("harbor", "shop/web");
            let front = own.next().map(|group| group.id.clone());
            drop(own);
            self.openings.set(&stack, &targets, &on, front.as_ref());
            plan(&stack, &targets, &self.settings, &self.inventory, self.now)
        };
        let rules = backend::plan(&self.openings, &self.settings, &self.inventory, true);
        // Rules that name a group go before the group.
        let (mut ready, waiting) = (rules.ready, rules.waiting);
        ready.append(&mut both.ready);
        both.ready = ready;
        both.waiting.extend(waiting);
        both
    }

    /// Applies calls until none is left, at most `calls` of them. Whether the end was reached.
    pub(crate) fn run(&mut self, mut calls: usize) -> bool {
        for _ in 0..30 {
            self.remember();
            let plan = self.plan();
            let mut answered = false;
            for waiting in &plan.waiting {
                if let Waiting::Need(need) = waiting {
                    self.aws.answer(need, &mut self.inventory);
                    answered = true;
                }
            }
            for op in &plan.ready {
                if calls == 0 {
                    return false;
                }
                calls -= 1;
                match self.aws.apply(op) {
                    Ok(outcome) => self.inventory.record(op, &outcome),
                    // AWS frees what a deleted object used a little later: the pass ends and the next one tries again.
                    Err(error) if error.starts_with("DependencyViolation") => break,
                    Err(error) => panic!("{error}\n{op:#?}\nof {:#?}", plan.ready),
                }
                self.aws.assert_known(&self.inventory);
            }
            if plan.ready.is_empty() && !answered {
                if plan.waiting.is_empty() {
                    return true;
                }
                self.aws.settle();
                let (aws, inventory) = (&self.aws, &mut self.inventory);
                for arn in aws.load_balancers.keys() {
                    aws.answer(&landfall_aws_plan::Need::LoadBalancer(arn.clone()), inventory);
                }
                for arn in aws.target_groups.keys() {
                    aws.answer(&landfall_aws_plan::Need::Targets(arn.clone()), inventory);
                }
            }
        }
        panic!("no end: {:#?}", self.plan());
    }

    /// Writes which targets are the Service's own, as the shell does.
    pub(crate) fn remember(&mut self) {
        let Ok(stack) = self.stack() else { return };
        let (targets, request) = (self.targets(&stack), self.request().unwrap());
        let own = ledger(&self.service, &request, &targets, &self.settings, &self.inventory);
        self.service.annotations.remove(REGISTERED);
        self.service.annotations.extend(own.text().map(|text| (REGISTERED.to_owned(), text)));
    }

    pub(crate) fn converge(&mut self) -> &mut Self {
        assert!(self.run(usize::MAX));
        self
    }

    /// What is there, without generated ids: equal for equal ends.
    pub(crate) fn picture(&self) -> String {
        let mut lines = Vec::new();
        for lb in self.aws.load_balancers.values() {
            lines.push(format!(
                "{} {:?} {:?} {} {:?} {:?}",
                lb.name,
                lb.scheme,
                lb.address_type,
                lb.security_groups.len(),
                lb.subnets,
                lb.attributes
            ));
            for listener in lb.listeners.as_ref().unwrap().values() {
                let name = |arn: &TargetGroupArn| self.aws.target_groups.get(arn).map(|group| &group.name);
                let forward = listener.forward.iter().flat_map(Forward::weights);
                let group: Vec<_> = forward.map(|(arn, weight)| (name(arn), weight)).collect();
                lines.push(format!(
                    "{} {:?} {group:?} {:?} {:?} {:?}",
                    listener.port,
                    listener.protocol,
                    listener.certificate,
                    listener.more_certificates,
                    listener.tags
                ));
            }
            lines.push(format!("{:?}", lb.tags));
        }
        for group in self.aws.target_groups.values() {
            let live = group.targets.as_ref().unwrap().iter();
            let live: Vec<_> = live
                .filter(|(_, state)| **state != landfall_aws_plan::TargetState::Draining)
                .map(|(target, _)| target)
                .collect();
            lines.push(format!(
                "{} {:?} {:?} {:?} {:?}",
                group.name, group.health_check, group.attributes, group.tags, live
            ));
        }
        for group in self.aws.security_groups.values() {
            let rules: Vec<_> =
                group.ingress.iter().map(|rule| (&rule.protocol, rule.from, rule.to)).collect();
            lines.push(format!("{} {:?} {rules:?}", group.name, group.tags));
        }
        lines.sort();
        lines.join("\n")
    }
}
