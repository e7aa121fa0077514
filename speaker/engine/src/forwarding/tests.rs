use landfall_model::{Endpoint, EndpointPort, FamilyPolicy, Labels, Requests, ServiceKey};

use super::*;

fn node(name: &str, addresses: &[&str]) -> NodeView {
    NodeView {
        name: name.into(),
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        ready: true,
        ..NodeView::default()
    }
}

fn three() -> Vec<NodeView> {
    (1..=3).map(|i| node(&format!("n{i}"), &[&format!("10.0.0.{i}"), &format!("2001:db8::{i}")])).collect()
}

fn healthy() -> HealthyNodes {
    HealthyNodes::new(&three(), false, |_| true)
}

fn service(policy: TrafficPolicy) -> ServiceView {
    ServiceView {
        key: ServiceKey::new("shop", "web"),
        uid: "u".into(),
        resource_version: "1".into(),
        generation: 0,
        created: 0,
        deleting: false,
        load_balancer: true,
        class: None,
        labels: Labels::default(),
        requests: Requests::default(),
        cluster_families: vec![Family::V4],
        family_policy: FamilyPolicy::SingleStack,
        traffic_policy: policy,
        client_affinity: false,
        selector: BTreeMap::new(),
        ports: vec![named_port("http", Some(30_080))],
        health_check_node_port: None,
        ingress: Vec::new(),
        conditions: Vec::new(),
    }
}

fn named_port(name: &str, node_port: Option<u16>) -> PortSpec {
    PortSpec { name: name.into(), protocol: Protocol::Tcp, port: 80, node_port: node_port.map(NodePort) }
}

/// A slice of `node=address` with port `http` at 8080; `~` before the node means terminating but serving, `!`
/// not answering.
fn slice(endpoints: &[&str]) -> EndpointSlice {
    let endpoint = |text: &&str| {
        let (node, address) = text.split_once('=').unwrap();
        let (ready, serving) = match node.as_bytes()[0] {
            b'~' => (false, true),
            b'!' => (false, false),
            _ => (true, true),
        };
        let node = node.trim_start_matches(['~', '!']);
        Endpoint { address: address.parse().unwrap(), node: Some(node.into()), ready, serving }
    };
    EndpointSlice {
        service: ServiceKey::new("shop", "web"),
        endpoints: endpoints.iter().map(endpoint).collect(),
        ports: vec![EndpointPort { name: "http".into(), protocol: Protocol::Tcp, port: 8080 }],
    }
}

fn vip() -> IpAddr {
    "192.0.2.1".parse().unwrap()
}

fn frontend() -> Frontend {
    Frontend { address: vip(), protocol: Protocol::Tcp, port: 80 }
}

fn backends(own: &str, policy: TrafficPolicy, slice: &EndpointSlice) -> Result<String, Reason> {
    let mut table = ForwardingTable::new(own);
    table.add(vip(), &service(policy), [slice], &healthy())?;
    let name = |backend: &Backend| match backend {
        Backend::NodePort { address, port } => format!("{address}:{}", port.0),
        Backend::Endpoint(endpoint) => format!("pod {endpoint}"),
    };
    Ok(table.backends(&frontend()).iter().map(name).collect::<Vec<_>>().join(" "))
}

#[test]
fn the_local_share_goes_to_endpoints_and_the_rest_to_node_ports() {
    use TrafficPolicy::{Cluster, Local};
    let others = "10.0.0.2:30080 10.0.0.3:30080";
    let both = slice(&["n1=10.1.1.1", "n2=10.1.2.1"]);
    let elsewhere = slice(&["n2=10.1.2.1", "n3=10.1.3.1"]);
    for (case, policy, slice, expected) in [
        ("an endpoint here", Cluster, &both, format!("{others} pod 10.1.1.1:8080")),
        ("none here", Cluster, &elsewhere, format!("{others} pod 10.1.2.1:8080 pod 10.1.3.1:8080")),
        ("Local, here and there", Local, &both, "10.0.0.2:30080 pod 10.1.1.1:8080".to_owned()),
        ("Local, none here", Local, &elsewhere, others.to_owned()),
        (
            "ready ones first",
            Cluster,
            &slice(&["n1=10.1.1.1", "~n1=10.1.1.2"]),
            format!("{others} pod 10.1.1.1:8080"),
        ),
        ("terminating ones last", Cluster, &slice(&["~n1=10.1.1.2"]), format!("{others} pod 10.1.1.2:8080")),
        (
            "no port of that name: a plain listener",
            Cluster,
            &EndpointSlice { ports: Vec::new(), ..both.clone() },
            format!("10.0.0.1:30080 {others}"),
        ),
    ] {
        assert_eq!(backends("n1", policy, slice), Ok(expected), "{case}");
    }
}

#[test]
fn nothing_is_added_without_a_reason() {
    use TrafficPolicy::{Cluster, Local};
    let none = slice(&["!n1=10.1.1.1"]);
    let other_family = slice(&["n1=2001:db8:1::1"]);
    let unknown_node = slice(&["n9=10.1.9.1"]);
    assert_eq!(backends("n1", Cluster, &none), Err(Reason::NoEndpoints));
    assert_eq!(backends("n1", Cluster, &other_family), Err(Reason::NoEndpoints));
    assert_eq!(backends("n1", Local, &unknown_node), Err(Reason::NoLocalEndpoints));
    let mut table = ForwardingTable::new("n1");
    let good = slice(&["n1=10.1.1.1"]);
    assert_eq!(
        table.add(vip(), &service(Cluster), [&good], &HealthyNodes::default()),
        Err(Reason::NoCandidates)
    );
    let portless = ServiceView { ports: vec![named_port("other", None)], ..service(Cluster) };
    assert_eq!(table.add(vip(), &portless, [&good], &healthy()), Err(Reason::NoEndpoints));
    assert!(table.is_empty());
}

#[test]
fn a_port_without_node_port_goes_straight_to_endpoints() {
    use TrafficPolicy::{Cluster, Local};
    let both = slice(&["n1=10.1.1.1", "n2=10.1.2.1", "~n1=10.1.1.2"]);
    let elsewhere = slice(&["n2=10.1.2.1"]);
    for (case, policy, slice, expected) in [
        ("all that are ready", Cluster, &both, Ok("10.1.1.1:8080 10.1.2.1:8080")),
        ("Local: those of this node", Local, &both, Ok("10.1.1.1:8080")),
        ("Local, none here", Local, &elsewhere, Err(Reason::NoLocalEndpoints)),
        ("none at all", Cluster, &slice(&["!n1=10.1.1.1"]), Err(Reason::NoEndpoints)),
    ] {
        let service = ServiceView { ports: vec![named_port("http", None)], ..service(policy) };
        let mut table = ForwardingTable::new("n1");
        // Nodes do not matter: none of them has a port.
        let added = table.add(vip(), &service, [slice], &HealthyNodes::default());
        let found = added.map(|()| table.backends(&frontend()));
        let expected = expected.map(|text| {
            let endpoints = text.split(' ').map(|endpoint| Backend::Endpoint(endpoint.parse().unwrap()));
            endpoints.collect::<Vec<_>>()
        });
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn a_port_that_goes_nowhere_takes_no_other_with_it() {
    let ports = vec![named_port("other", None), PortSpec { port: 81, ..named_port("http", None) }];
    let service = ServiceView { ports, ..service(TrafficPolicy::Cluster) };
    let mut table = ForwardingTable::new("n1");
    table.add(vip(), &service, [&slice(&["n1=10.1.1.1"])], &healthy()).unwrap();
    let fronts: Vec<u16> = table.iter().map(|(frontend, _)| frontend.port).collect();
    assert_eq!(fronts, [81]);
}

#[test]
fn only_healthy_nodes_take_traffic() {
    let mut nodes = three();
    nodes.push(NodeView { ready: false, ..node("not-ready", &["10.0.0.9"]) });
    nodes.push(NodeView { leaving: true, ..node("leaving", &["10.0.0.9"]) });
    nodes.push(NodeView { network_unavailable: true, ..node("no-network", &["10.0.0.9"]) });
    let labels = [(landfall_model::EXCLUDE_LABEL, "")].map(|(k, v)| (k.into(), v.into()));
    nodes.push(NodeView { labels: labels.into_iter().collect(), ..node("excluded", &["10.0.0.9"]) });
    nodes.push(node("silent", &["10.0.0.9"]));
    nodes.push(node("v6-only", &["2001:db8::9"]));
    let healthy = HealthyNodes::new(&nodes, false, |name| name != "silent");
    let names = |family| healthy.of(family).keys().map(|name| &**name).collect::<Vec<_>>();
    assert_eq!(names(Family::V4), ["n1", "n2", "n3"]);
    assert_eq!(names(Family::V6), ["n1", "n2", "n3", "v6-only"]);
}

#[test]
fn services_with_the_same_nodes_share_one_hash_table() {
    let mut table = ForwardingTable::new("n1");
    let healthy = healthy();
    for i in 0..200_u8 {
        let address = IpAddr::from([192, 0, 2, i]);
        let policy = if i % 2 == 0 { TrafficPolicy::Cluster } else { TrafficPolicy::Local };
        let slice = slice(&["n2=10.1.2.1", "n3=10.1.3.1"]);
        table.add(address, &service(policy), [&slice], &healthy).unwrap();
    }
    let ruleset = Ruleset::of(&table);
    let text = ruleset.text(&TableName::default());
    let chains = |prefix: &str| text.matches(&format!("chain {prefix}")).count();
    // One chain of own endpoints for each number of them, and the one that dispatches.
    assert_eq!((chains("nodes4_"), chains("own4_flow")), (2, 2));
}

#[test]
fn equal_tables_have_equal_stamps_and_others_differ() {
    let stamp = |own: &str, port: u16| {
        let mut table = ForwardingTable::new(own);
        let service =
            ServiceView { ports: vec![named_port("http", Some(port))], ..service(TrafficPolicy::Cluster) };
        table.add(vip(), &service, [&slice(&["n1=10.1.1.1"])], &healthy()).unwrap();
        Ruleset::of(&table).stamp().unwrap().to_owned()
    };
    assert_eq!(stamp("n1", 30_080), stamp("n1", 30_080));
    assert_ne!(stamp("n1", 30_080), stamp("n1", 30_081));
    assert_ne!(stamp("n1", 30_080), stamp("n2", 30_080));
    assert_eq!(Ruleset::of(&ForwardingTable::new("n1")).stamp(), None);
}
