//! Manifests in, report out: each row of MetalLB's behaviour that a plan shows.

mod announcing;
mod configuration;
mod services;

use std::collections::BTreeMap;

use landfall_kubernetes::source::Snapshot;
use serde_json::{Value, json};

use super::{
    planner::{self, Options},
    report::{Report, Service},
};

/// Puts the fields of `changes` over those of `base`, objects into objects.
fn merged(mut base: Value, changes: Value) -> Value {
    match (&mut base, changes) {
        (Value::Object(base), Value::Object(changes)) => {
            for (field, change) in changes {
                let before = base.remove(&field).unwrap_or_default();
                base.insert(field, merged(before, change));
            }
        }
        (base, changes) => *base = changes,
    }
    base
}

fn metallb(kind: &str, version: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": format!("metallb.io/{version}"), "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn pool(name: &str, addresses: &[&str], changes: Value) -> Value {
    merged(metallb("IPAddressPool", "v1beta1", name, json!({"addresses": addresses})), changes)
}

fn l2(name: &str, spec: Value) -> Value {
    metallb("L2Advertisement", "v1beta1", name, spec)
}

fn bgp(name: &str, spec: Value) -> Value {
    metallb("BGPAdvertisement", "v1beta1", name, spec)
}

fn peer(name: &str, changes: Value) -> Value {
    let spec = json!({"myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.1"});
    metallb("BGPPeer", "v1beta2", name, merged(spec, changes))
}

fn node(name: &str, changes: Value) -> Value {
    let base =
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"name": name}}});
    merged(base, changes)
}

/// A Service of type LoadBalancer in the namespace `shop`, with one port.
fn service(name: &str, changes: Value) -> Value {
    let base = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
    });
    merged(base, changes)
}

fn annotated(key: &str, value: &str) -> Value {
    json!({"metadata": {"annotations": {key: value}}})
}

fn holding(addresses: &[&str]) -> Value {
    let ingress: Vec<Value> = addresses.iter().map(|address| json!({"ip": address})).collect();
    json!({"status": {"loadBalancer": {"ingress": ingress}}})
}

/// A slice with a ready endpoint on each of these nodes.
fn slice(service: &str, nodes: &[&str]) -> Value {
    let endpoints: Vec<Value> = nodes
        .iter()
        .enumerate()
        .map(|(number, node)| json!({"addresses": [format!("10.244.0.{}", number + 1)], "nodeName": node}))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": format!("{service}-1"), "namespace": "shop",
            "labels": {"kubernetes.io/service-name": service},
        },
        "ports": [{"port": 8080}], "endpoints": endpoints,
    })
}

fn snapshot(objects: &[Value]) -> Snapshot {
    let text: Vec<String> = objects.iter().map(Value::to_string).collect();
    Snapshot::read([("test", text.join("\n---\n").as_str())], None).unwrap()
}

fn planned(objects: &[Value]) -> Report {
    planned_with(objects, &Options::default())
}

fn planned_with(objects: &[Value], options: &Options) -> Report {
    let (report, _) = planner::plan(snapshot(objects), options);
    again_changes_nothing(objects, &report, options);
    report
}

/// What is printed, fed back as status, is a plan that changes nothing.
fn again_changes_nothing(objects: &[Value], report: &Report, options: &Options) {
    let planned: BTreeMap<(&str, &str), &Service> =
        report.services.iter().map(|one| ((one.namespace.as_str(), one.name.as_str()), one)).collect();
    let fed: Vec<Value> = objects
        .iter()
        .map(|object| {
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or("metallb-system");
            let Some(service) = planned.get(&(text("namespace"), text("name"))) else {
                return object.clone();
            };
            // A status of somebody else's is no list of addresses.
            if object["kind"] != "Service" || service.reason == "ForeignStatus" {
                return object.clone();
            }
            let ingress: Vec<Value> = service.addresses.iter().map(|ip| json!({"ip": ip})).collect();
            let mut fed = object.clone();
            fed["status"] = json!({"loadBalancer": {"ingress": ingress}});
            fed
        })
        .collect();
    let (again, lost) = planner::plan(snapshot(&fed), options);
    assert!(!lost, "an address is lost the second time");
    for (first, second) in report.services.iter().zip(&again.services) {
        assert_eq!(first.addresses, second.addresses, "{}", first.name);
        assert!(!second.changed, "{} changes the second time", first.name);
    }
    assert_eq!(report.layer2, again.layer2);
    assert_eq!(report.bgp, again.bgp);
}

fn addresses(service: &Service) -> Vec<String> {
    service.addresses.iter().map(ToString::to_string).collect()
}

fn found<'a>(report: &'a Report, name: &str) -> &'a Service {
    report.services.iter().find(|service| service.name == name).unwrap_or_else(|| panic!("no Service {name}"))
}
