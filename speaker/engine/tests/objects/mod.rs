//! Objects of a small cluster, for unit tests and for the simulation.

use std::{collections::BTreeMap, net::IpAddr};

use landfall_model::{
    Endpoint, EndpointPort, EndpointSlice, Family, FamilyPolicy, Ingress, IpMode, L2Advertisement, Labels,
    NodePort, NodeView, Observation, Pool, PortSpec, Protocol, Requests, Selector, ServiceKey, ServiceView,
    TrafficPolicy,
};

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn key(name: &str) -> ServiceKey {
    ServiceKey::new("shop", name)
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn selector(pairs: &[(&str, &str)]) -> Selector {
    Selector::parse(pairs.iter().copied(), []).unwrap()
}

/// A Ready node with the label `name`.
pub(crate) fn node(name: &str) -> NodeView {
    NodeView { name: name.into(), labels: labels(&[("name", name)]), ready: true, ..NodeView::default() }
}

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

/// For every pool, node and Service, on every interface.
pub(crate) fn advertisement(name: &str) -> L2Advertisement {
    L2Advertisement { name: name.into(), ..L2Advertisement::default() }
}

/// A Service of type LoadBalancer with policy Cluster and these addresses.
pub(crate) fn service(name: &str, addresses: &[&str]) -> ServiceView {
    let ingress = addresses.iter().map(|text| Ingress::Address { address: ip(text), mode: IpMode::Vip });
    ServiceView {
        key: key(name),
        uid: format!("uid-{name}").into(),
        resource_version: "1".into(),
        generation: 1,
        created: 1_000,
        deleting: false,
        load_balancer: true,
        class: None,
        labels: labels(&[("app", name)]),
        requests: Requests::default(),
        cluster_families: vec![Family::V4],
        family_policy: FamilyPolicy::SingleStack,
        traffic_policy: TrafficPolicy::Cluster,
        client_affinity: false,
        selector: BTreeMap::new(),
        ports: vec![PortSpec {
            name: "".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: Some(NodePort(30_080)),
        }],
        health_check_node_port: None,
        ingress: ingress.collect(),
        conditions: Vec::new(),
    }
}

/// The same Service, forwarded in mode `node-port`.
pub(crate) fn proxied(mut service: ServiceView) -> ServiceView {
    for ingress in &mut service.ingress {
        if let Ingress::Address { mode, .. } = ingress {
            *mode = IpMode::Proxy;
        }
    }
    service
}

/// A slice with a ready endpoint on each of these nodes.
pub(crate) fn slice(service: &str, nodes: &[&str]) -> EndpointSlice {
    let endpoints = nodes.iter().enumerate().map(|(number, node)| Endpoint {
        address: ip(&format!("10.244.0.{}", number + 1)),
        node: Some((*node).into()),
        ready: true,
        serving: true,
    });
    EndpointSlice {
        service: key(service),
        ports: vec![EndpointPort { name: "".into(), protocol: Protocol::Tcp, port: 8_080 }],
        endpoints: endpoints.collect(),
    }
}

pub(crate) fn see_node(node: NodeView) -> Observation {
    Observation::Node(node.name.clone(), Some(Box::new(node)))
}

pub(crate) fn see_pool(pool: Pool) -> Observation {
    Observation::Pool(pool.name.clone(), Some(Box::new(pool)))
}

pub(crate) fn see_advertisement(advertisement: L2Advertisement) -> Observation {
    Observation::L2Advertisement(advertisement.name.clone(), Some(Box::new(advertisement)))
}

pub(crate) fn see_service(service: ServiceView) -> Observation {
    Observation::Service(service.key.clone(), Some(Box::new(service)))
}

/// The one slice of its Service.
pub(crate) fn see_slice(slice: EndpointSlice) -> Observation {
    let name = ServiceKey::new(&slice.service.namespace, &format!("{}-slice", slice.service.name));
    Observation::EndpointSlice(name, Some(Box::new(slice)))
}
