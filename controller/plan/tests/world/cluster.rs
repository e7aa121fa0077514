//! A cluster for tests: objects, and a server that carries out what the world plans.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use landfall_model::{
    Assignment, Condition, Family, FamilyPolicy, Ingress, Instant, IpMode, Labels, NodePort, Observation,
    Pool, PortSpec, Protocol, Reason, Requests, Selector, ServiceAllocation, ServiceKey, ServiceStatusWrite,
    ServiceView, TrafficPolicy,
};
use landfall_plan::{Effect, Outcome, Plan, Settings, World};

pub(crate) fn pool(name: &str, ranges: &[&str]) -> Pool {
    Pool {
        name: name.into(),
        labels: Labels::new(),
        ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
        auto_assign: true,
        avoid_buggy_ips: false,
        allocation: None,
        rules: landfall_model::PoolRules::default(),
    }
}

pub(crate) fn pinned(name: &str, ranges: &[&str], namespaces: &[&str]) -> Pool {
    let namespaces = namespaces.iter().map(|name| Box::from(*name)).collect();
    let allocation = ServiceAllocation { namespaces, ..ServiceAllocation::default() };
    Pool { allocation: Some(allocation), ..pool(name, ranges) }
}

pub(crate) fn for_team(name: &str, ranges: &[&str], team: &str) -> Pool {
    let selector = Selector::parse([("team", team)], []).unwrap();
    let allocation =
        ServiceAllocation { namespace_selectors: vec![selector], ..ServiceAllocation::default() };
    Pool { allocation: Some(allocation), ..pool(name, ranges) }
}

pub(crate) fn key(name: &str) -> ServiceKey {
    ServiceKey::new("shop", name)
}

/// A Service `shop/<name>` with one IPv4 cluster address and port TCP/80.
pub(crate) fn service(name: &str) -> ServiceView {
    ServiceView {
        key: key(name),
        uid: format!("uid-{name}").into(),
        resource_version: "0".into(),
        generation: 1,
        created: 0,
        deleting: false,
        load_balancer: true,
        class: None,
        labels: Labels::new(),
        requests: Requests::default(),
        cluster_families: vec![Family::V4],
        family_policy: FamilyPolicy::SingleStack,
        traffic_policy: TrafficPolicy::Cluster,
        client_affinity: false,
        selector: BTreeMap::new(),
        ports: vec![port(Protocol::Tcp, 80)],
        health_check_node_port: None,
        ingress: Vec::new(),
        conditions: Vec::new(),
    }
}

pub(crate) fn port(protocol: Protocol, port: u16) -> PortSpec {
    PortSpec { name: "".into(), protocol, port, node_port: Some(NodePort(30_000 + port % 1000)) }
}

/// Builder steps on a Service.
pub(crate) trait With: Sized {
    fn with(self, change: impl FnOnce(&mut ServiceView)) -> Self;
    fn v6(self) -> Self {
        self.with(|s| s.cluster_families = vec![Family::V6])
    }
    fn require_dual(self) -> Self {
        self.with(|s| s.family_policy = FamilyPolicy::RequireDualStack).both()
    }
    fn prefer_dual(self) -> Self {
        self.with(|s| s.family_policy = FamilyPolicy::PreferDualStack).both()
    }
    fn both(self) -> Self {
        self.with(|s| s.cluster_families = vec![Family::V4, Family::V6])
    }
    fn asks(self, addresses: &str) -> Self {
        self.with(|s| s.requests.addresses = Some(addresses.into()))
    }
    fn of_pool(self, pool: &str) -> Self {
        self.with(|s| s.requests.pool = Some(pool.into()))
    }
    fn key(self, key: &str) -> Self {
        self.with(|s| s.requests.sharing_key = Some(key.into()))
    }
    fn udp(self, number: u16) -> Self {
        self.with(|s| s.ports = vec![port(Protocol::Udp, number)])
    }
    fn created(self, at: i64) -> Self {
        self.with(|s| s.created = at)
    }
    /// Its status, as somebody wrote it.
    fn status(self, addresses: &[&str]) -> Self {
        self.with(|s| {
            let entry = |text: &&str| match text.parse() {
                Ok(address) => Ingress::Address { address, mode: IpMode::Vip },
                Err(_) => Ingress::Other((*text).into()),
            };
            s.ingress = addresses.iter().map(entry).collect();
        })
    }
    /// The annotation `ip-allocated-from-pool`.
    fn marked(self, pool: &str) -> Self {
        self.with(|s| s.requests.allocated_from = Some(pool.into()))
    }
}

impl With for ServiceView {
    fn with(mut self, change: impl FnOnce(&mut ServiceView)) -> Self {
        change(&mut self);
        self
    }
}

/// Services as a server keeps them, a world, and a clock.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) world: World,
    pub(crate) now: Instant,
    pub(crate) stored: BTreeMap<ServiceKey, ServiceView>,
    pub(crate) pools: BTreeMap<Box<str>, Pool>,
    pub(crate) counts: BTreeMap<Box<str>, landfall_pool::Counts>,
    version: u64,
    /// Since the last look: `reason: message`.
    pub(crate) events: Vec<String>,
    pub(crate) writes: Vec<ServiceStatusWrite>,
    pub(crate) pool_writes: usize,
}

impl Cluster {
    /// A cluster with these pools, synced and empty.
    pub(crate) fn new(pools: &[Pool]) -> Self {
        Self::with_services(pools, &[])
    }

    /// A cluster in which these Services are already there when the controller starts.
    pub(crate) fn with_services(pools: &[Pool], services: &[ServiceView]) -> Self {
        let mut cluster = Self {
            world: World::new(Settings::default()),
            now: Instant::ZERO,
            stored: BTreeMap::new(),
            pools: BTreeMap::new(),
            counts: BTreeMap::new(),
            version: 0,
            events: Vec::new(),
            writes: Vec::new(),
            pool_writes: 0,
        };
        for pool in pools {
            cluster.set_pool(pool.clone());
        }
        for service in services {
            cluster.apply(service.clone());
        }
        cluster.world.observe(Observation::Synced);
        cluster.settle();
        cluster
    }

    /// The same cluster with a controller that has just started.
    pub(crate) fn restarted(&self) -> Self {
        let mut cluster = Self { world: World::new(Settings::default()), events: Vec::new(), ..self.clone() };
        cluster.writes.clear();
        cluster.pool_writes = 0;
        for (name, pool) in &self.pools {
            cluster.world.observe(Observation::Pool(name.clone(), Some(Box::new(pool.clone()))));
            cluster.world.observe_pool_status(name, self.counts.get(name).copied());
        }
        for (key, view) in &self.stored {
            cluster.world.observe(Observation::Service(key.clone(), Some(Box::new(view.clone()))));
        }
        cluster.world.observe(Observation::Synced);
        cluster.settle();
        cluster
    }

    /// Creates a Service, or changes its spec and metadata; its status stays.
    pub(crate) fn set(&mut self, mut service: ServiceView) {
        if let Some(stored) = self.stored.get(&service.key) {
            service.ingress.clone_from(&stored.ingress);
            service.conditions.clone_from(&stored.conditions);
            service.requests.allocated_from.clone_from(&stored.requests.allocated_from);
        }
        self.apply(service);
        self.settle();
    }

    /// Stores a Service with its status, and lets the world see it.
    pub(crate) fn apply(&mut self, mut service: ServiceView) {
        self.version += 1;
        service.resource_version = self.version.to_string().into();
        self.stored.insert(service.key.clone(), service.clone());
        self.world.observe(Observation::Service(service.key.clone(), Some(Box::new(service))));
    }

    pub(crate) fn delete(&mut self, name: &str) {
        self.stored.remove(&key(name));
        self.world.observe(Observation::Service(key(name), None));
        self.settle();
    }

    pub(crate) fn set_pool(&mut self, pool: Pool) {
        self.pools.insert(pool.name.clone(), pool.clone());
        self.world.observe(Observation::Pool(pool.name.clone(), Some(Box::new(pool))));
    }

    pub(crate) fn remove_pool(&mut self, name: &str) {
        self.pools.remove(name);
        self.counts.remove(name);
        self.world.observe(Observation::Pool(name.into(), None));
    }

    /// Plans and carries out until there is nothing left to do now.
    pub(crate) fn settle(&mut self) {
        for _ in 0..50 {
            let Plan { effects, .. } = self.world.plan(self.now);
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                self.carry_out(effect);
            }
        }
        panic!("the world does not come to rest");
    }

    pub(crate) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Service(write) => {
                let outcome = self.write(&write);
                self.world.written(&write, outcome, self.now);
                if let Some(view) = self.stored.get(&write.key) {
                    let view = Box::new(view.clone());
                    self.world.observe(Observation::Service(write.key.clone(), Some(view)));
                }
                self.writes.push(*write);
            }
            Effect::Event { reason, message, .. } => self.events.push(format!("{reason}: {message}")),
            Effect::PoolStatus { pool, counts } => {
                self.pool_writes += 1;
                self.counts.insert(pool.clone(), counts);
                let applied = Outcome::Applied { resource_version: None };
                self.world.pool_written(&pool, &applied, self.now);
            }
        }
    }

    /// Carries out a write as an API server does.
    pub(crate) fn write(&mut self, write: &ServiceStatusWrite) -> Outcome {
        let Some(view) = self.stored.get_mut(&write.key).filter(|view| view.uid == write.uid) else {
            return Outcome::Gone;
        };
        if view.resource_version != write.resource_version {
            return Outcome::Conflict;
        }
        match &write.assignment {
            Assignment::Leave => {}
            Assignment::Release => {
                view.ingress.clear();
                view.requests.allocated_from = None;
            }
            Assignment::Set { ingress, pool } => {
                view.ingress =
                    ingress.iter().map(|&(address, mode)| Ingress::Address { address, mode }).collect();
                view.requests.allocated_from.clone_from(pool);
            }
        }
        view.conditions.clone_from(&write.conditions);
        self.version += 1;
        view.resource_version = self.version.to_string().into();
        Outcome::Applied { resource_version: Some(view.resource_version.clone()) }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.settle();
    }

    /// The addresses in the status of a Service.
    pub(crate) fn status(&self, name: &str) -> Vec<String> {
        self.stored
            .get(&key(name))
            .into_iter()
            .flat_map(ServiceView::addresses)
            .map(|a| a.to_string())
            .collect()
    }

    pub(crate) fn condition(&self, name: &str, kind: &str) -> Option<&Condition> {
        self.stored.get(&key(name))?.conditions.iter().find(|condition| &*condition.kind == kind)
    }

    /// Status and reason of `landfall.dev/Allocated`.
    pub(crate) fn allocated(&self, name: &str) -> Option<(bool, Reason)> {
        self.condition(name, landfall_plan::condition::ALLOCATED).map(|c| (c.status, c.reason))
    }

    pub(crate) fn take_events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn take_writes(&mut self) -> Vec<ServiceStatusWrite> {
        std::mem::take(&mut self.writes)
    }

    /// How many Services the world looks at while `change` is made and settled.
    pub(crate) fn examined(&mut self, change: impl FnOnce(&mut Self)) -> u64 {
        let before = self.world.examined();
        change(self);
        self.settle();
        self.world.examined() - before
    }

    /// Every address with the Services whose status shows it.
    pub(crate) fn users(&self) -> BTreeMap<IpAddr, Vec<&ServiceView>> {
        let mut users: BTreeMap<IpAddr, Vec<&ServiceView>> = BTreeMap::new();
        for service in self.stored.values() {
            for address in service.addresses() {
                users.entry(address).or_default().push(service);
            }
        }
        users
    }
}
