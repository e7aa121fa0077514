//! The text of the forwarding rules, against a committed one. `LANDFALL_BLESS=1` writes it anew.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::{collections::BTreeMap, fs, path::Path};

use landfall_engine::forwarding::{ForwardingTable, HealthyNodes, Ruleset, TableName};
use landfall_model::{
    Endpoint, EndpointPort, EndpointSlice, FamilyPolicy, Labels, NodePort, NodeView, PortSpec, Protocol,
    Requests, ServiceKey, ServiceView, TrafficPolicy,
};

/// A NodePort of 0 stands for none.
fn service(name: &str, policy: TrafficPolicy, ports: &[(&str, Protocol, u16, u16)]) -> ServiceView {
    let port = |&(name, protocol, port, node_port): &(&str, _, _, u16)| PortSpec {
        name: name.into(),
        protocol,
        port,
        node_port: Some(NodePort(node_port)).filter(|port| port.0 != 0),
    };
    ServiceView {
        key: ServiceKey::new("shop", name),
        uid: name.into(),
        resource_version: "1".into(),
        generation: 0,
        created: 0,
        deleting: false,
        load_balancer: true,
        class: None,
        labels: Labels::default(),
        requests: Requests::default(),
        cluster_families: Vec::new(),
        family_policy: FamilyPolicy::SingleStack,
        traffic_policy: policy,
        client_affinity: policy == TrafficPolicy::Local,
        selector: BTreeMap::new(),
        ports: ports.iter().map(port).collect(),
        health_check_node_port: None,
        ingress: Vec::new(),
        conditions: Vec::new(),
    }
}

fn slice(endpoints: &[(&str, &str)], ports: &[(&str, Protocol, u16)]) -> EndpointSlice {
    let endpoint = |(node, address): &(&str, &str)| Endpoint {
        address: address.parse().unwrap(),
        node: Some((*node).into()),
        ready: true,
        serving: true,
    };
    let port = |&(name, protocol, port): &(&str, _, _)| EndpointPort { name: name.into(), protocol, port };
    EndpointSlice {
        service: ServiceKey::new("shop", "any"),
        endpoints: endpoints.iter().map(endpoint).collect(),
        ports: ports.iter().map(port).collect(),
    }
}

fn example() -> ForwardingTable {
    let nodes = [1, 2, 3].map(|i| NodeView {
        name: format!("n{i}").into(),
        addresses: vec![format!("10.0.0.{i}").parse().unwrap(), format!("2001:db8::{i}").parse().unwrap()],
        ready: true,
        ..NodeView::default()
    });
    let healthy = HealthyNodes::new(&nodes, false, |_| true);
    let web = [("http", Protocol::Tcp, 80, 30_080), ("https", Protocol::Tcp, 443, 30_443)];
    let pods = [("http", Protocol::Tcp, 8080), ("https", Protocol::Tcp, 8443)];
    let mut table = ForwardingTable::new("n1");
    let mut add = |address: &str, service: &ServiceView, slice: &EndpointSlice| {
        table.add(address.parse().unwrap(), service, [slice], &healthy).unwrap();
    };
    let cluster = service("web", TrafficPolicy::Cluster, &web);
    add("192.0.2.1", &cluster, &slice(&[("n1", "10.1.1.1"), ("n1", "10.1.1.2"), ("n2", "10.1.2.1")], &pods));
    add("2001:db8:f::1", &cluster, &slice(&[("n2", "2001:db8:2::1")], &pods));
    let local = service("dns", TrafficPolicy::Local, &[("dns", Protocol::Udp, 53, 30_053)]);
    add(
        "192.0.2.2",
        &local,
        &slice(&[("n1", "10.1.1.3"), ("n3", "10.1.3.1")], &[("dns", Protocol::Udp, 53)]),
    );
    let plain = service("plain", TrafficPolicy::Cluster, &[("", Protocol::Sctp, 9, 30_009)]);
    add("192.0.2.3", &plain, &slice(&[("n1", "10.0.0.1")], &[]));
    let straight = service("straight", TrafficPolicy::Cluster, &[("http", Protocol::Tcp, 8000, 0)]);
    add("192.0.2.4", &straight, &slice(&[("n1", "10.1.1.1"), ("n2", "10.1.2.1")], &pods));
    table.relay("192.0.2.1".parse().unwrap(), "10.0.0.3".parse().unwrap());
    table.relay("2001:db8:f::1".parse().unwrap(), "2001:db8::3".parse().unwrap());
    table
}

/// Slots by the thousand would hide the rest, so each list is cut after a few.
fn shortened(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let short = match line.split_once("mod 1021").and_then(|_| line.match_indices(", ").nth(8)) {
            Some((at, _)) => {
                let rest = line[at..].find('}').map_or("", |end| &line[at + end..]);
                format!("{}, … {rest}", &line[..at])
            }
            None => line.to_owned(),
        };
        lines.push(short);
    }
    lines.join("\n") + "\n"
}

#[test]
fn the_rules_are_those_that_were_reviewed() {
    let text = shortened(&Ruleset::of(&example()).text(&TableName::default()));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/ruleset.nft");
    if std::env::var_os("LANDFALL_BLESS").is_some() {
        fs::write(&file, &text).unwrap();
    }
    let golden = fs::read_to_string(&file).unwrap();
    for (number, (found, expected)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(found, expected, "line {}", number + 1);
    }
    assert_eq!(text.lines().count(), golden.lines().count());
}

#[test]
fn no_rules_at_all_are_the_removal_of_the_tables() {
    let none = Ruleset::of(&ForwardingTable::new("n1"));
    let table: TableName = "landfall-second".parse().unwrap();
    let removal = ["inet", "ip", "ip6"]
        .map(|family| format!("table {family} landfall-second\ndelete table {family} landfall-second\n"));
    assert_eq!(none.text(&table), removal.concat());
}

#[test]
fn where_nothing_is_forwarded_nothing_is_but_relayed() {
    let mut table = ForwardingTable::new("n1");
    table.relay("192.0.2.1".parse().unwrap(), "10.0.0.3".parse().unwrap());
    let text = Ruleset::of(&table).text(&TableName::default());
    assert!(text.contains("192.0.2.1 : 10.0.0.3"), "{text}");
    assert_eq!(text.matches("hook").count(), 1, "{text}");
    assert!(!text.contains("table ip6 landfall {"), "{text}");
}
