//! Short ways to write Services and pools in tests.

use std::{collections::BTreeMap, net::IpAddr};

use landfall_model::{
    Family, FamilyPolicy, Labels, Pool, PortSpec, Protocol, Reason, Requests, Selector, ServiceAllocation,
    ServiceKey, ServiceView, TrafficPolicy,
};
use landfall_pool::{Allocator, Claimant, Rejection, Request};

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

pub(crate) fn pinned(name: &str, ranges: &[&str], priority: i32, namespaces: &[&str]) -> Pool {
    let namespaces = namespaces.iter().map(|name| Box::from(*name)).collect();
    let allocation = ServiceAllocation { priority, namespaces, ..ServiceAllocation::default() };
    Pool { allocation: Some(allocation), ..pool(name, ranges) }
}

pub(crate) fn selector(key: &str, value: &str) -> Selector {
    Selector::parse([(key, value)], []).unwrap()
}

/// A Service of namespace `shop` with one IPv4 cluster address and port TCP/80.
pub(crate) fn service(name: &str) -> ServiceView {
    ServiceView {
        key: ServiceKey::new("shop", name),
        uid: name.into(),
        resource_version: "1".into(),
        generation: 0,
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
    PortSpec { name: "".into(), protocol, port, node_port: None }
}

/// Builder steps on a Service.
pub(crate) trait With: Sized {
    fn with(self, change: impl FnOnce(&mut ServiceView)) -> Self;
    fn families(self, policy: FamilyPolicy, families: &[Family]) -> Self {
        self.with(|s| (s.family_policy, s.cluster_families) = (policy, families.to_vec()))
    }
    fn v6(self) -> Self {
        self.families(FamilyPolicy::SingleStack, &[Family::V6])
    }
    fn require_dual(self) -> Self {
        self.families(FamilyPolicy::RequireDualStack, &[Family::V4, Family::V6])
    }
    fn prefer_dual(self) -> Self {
        self.families(FamilyPolicy::PreferDualStack, &[Family::V4, Family::V6])
    }
    fn asks(self, addresses: &str) -> Self {
        self.with(|s| s.requests.addresses = Some(addresses.into()))
    }
    fn field(self, address: &str) -> Self {
        self.with(|s| s.requests.load_balancer_ip = Some(address.into()))
    }
    fn of_pool(self, pool: &str) -> Self {
        self.with(|s| s.requests.pool = Some(pool.into()))
    }
    fn key(self, key: &str) -> Self {
        self.with(|s| s.requests.sharing_key = Some(key.into()))
    }
    fn port(self, protocol: Protocol, number: u16) -> Self {
        self.with(|s| s.ports = vec![port(protocol, number)])
    }
    fn local(self, selector: &[(&str, &str)]) -> Self {
        self.with(|s| {
            s.traffic_policy = TrafficPolicy::Local;
            s.selector = selector.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        })
    }
    fn label(self, key: &str, value: &str) -> Self {
        self.with(|s| drop(s.labels.insert(key.to_owned(), value.to_owned())))
    }
    fn in_namespace(self, namespace: &str) -> Self {
        self.with(|s| s.key.namespace = namespace.into())
    }
}

impl With for ServiceView {
    fn with(mut self, change: impl FnOnce(&mut ServiceView)) -> Self {
        change(&mut self);
        self
    }
}

pub(crate) fn allocator(pools: &[Pool]) -> Allocator {
    let mut allocator = Allocator::default();
    for pool in pools {
        allocator.set_pool(pool.clone());
    }
    allocator
}

pub(crate) fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

pub(crate) fn allocate(allocator: &mut Allocator, service: &ServiceView) -> Result<Vec<String>, Rejection> {
    let namespace = Labels::new();
    let request = Request::of(service, &namespace)?;
    let picked = allocator.allocate(&request)?;
    Ok(picked.iter().map(ToString::to_string).collect())
}

pub(crate) fn claim(
    allocator: &mut Allocator,
    service: &ServiceView,
    texts: &[&str],
) -> Result<(), Rejection> {
    let namespace = Labels::new();
    allocator.claim(&Claimant::of(service, &namespace), &addresses(texts))
}

/// Whether the Service keeps what it holds: `Ok` with the family it lacks, or the reason why not.
pub(crate) fn keep(allocator: &mut Allocator, service: &ServiceView) -> Result<Option<Family>, Reason> {
    let namespace = Labels::new();
    let request = Request::of(service, &namespace).map_err(|rejection| rejection.reason)?;
    allocator.keep(&request).map(|kept| kept.missing).map_err(|rejection| rejection.reason)
}
