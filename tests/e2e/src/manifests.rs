//! The objects that the tests give to kubectl. Pure.

use serde_json::{Map, Value, json};

/// Landfall's own namespace.
pub const NAMESPACE: &str = "landfall-system";

/// The namespaces of the overlays in `deploy/overlays`.
pub const OVERLAYS: [&str; 2] = ["metallb-system", "landfall-second"];

/// Where the tests' workloads and Services are.
pub const SHOP: &str = "shop";

/// The TCP ports of every backend.
pub const HTTP: [u16; 2] = [8080, 8081];

/// The UDP port of every backend.
pub const UDP: u16 = 5353;

/// Changes a document as a JSON merge patch does (RFC 7396).
#[must_use]
pub fn merged(mut base: Value, patch: Value) -> Value {
    let Value::Object(changes) = patch else { return patch };
    if !base.is_object() {
        base = Value::Object(Map::new());
    }
    for (key, change) in changes {
        if change.is_null() {
            base.as_object_mut().map(|fields| fields.remove(&key));
        } else {
            let field = base[&key].take();
            base[&key] = merged(field, change);
        }
    }
    base
}

/// Several objects as one, in this order.
#[must_use]
pub fn list(items: impl IntoIterator<Item = Value>) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": items.into_iter().collect::<Vec<_>>()})
}

/// A Namespace.
#[must_use]
pub fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// An IPAddressPool, with changes to its `spec`.
#[must_use]
pub fn pool(name: &str, addresses: &[&str], spec: Value) -> Value {
    let base = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"addresses": addresses},
    });
    merged(base, json!({ "spec": spec }))
}

/// An L2Advertisement of these pools, or of all.
#[must_use]
pub fn advertisement(name: &str, pools: &[&str]) -> Value {
    json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"ipAddressPools": pools},
    })
}

/// An `L2Advertisement` for all pools on all nodes, as the README has it: without a `spec`.
#[must_use]
pub fn plain_advertisement(name: &str) -> Value {
    json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement",
        "metadata": {"name": name, "namespace": NAMESPACE},
    })
}

/// A Deployment of backends, spread over the nodes, with the label `app`.
#[must_use]
pub fn backends(app: &str, replicas: u32) -> Value {
    let mut arguments: Vec<String> = HTTP.iter().map(|port| format!("--http={port}")).collect();
    arguments.push(format!("--udp={UDP}"));
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": app, "namespace": SHOP},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": app}},
            "template": {
                "metadata": {"labels": {"app": app}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "topologySpreadConstraints": [{
                        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"app": app}},
                    }],
                    "containers": [{
                        "name": "backend", "image": "landfall-testbed/backend", "args": arguments,
                        "readinessProbe": {"httpGet": {"path": "/healthz", "port": HTTP[0]}, "periodSeconds": 1},
                    }],
                },
            },
        },
    })
}

/// A Service of type LoadBalancer in front of the backends of `app`: port 80. `changes` is merged into the whole object.
#[must_use]
pub fn service(name: &str, app: &str, changes: Value) -> Value {
    let base = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": SHOP},
        "spec": {
            "type": "LoadBalancer",
            "selector": {"app": app},
            "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": HTTP[0]}],
        },
    });
    merged(base, changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_adds_replaces_and_removes() {
        let base = json!({"a": {"b": 1, "c": 2}, "d": [1, 2]});
        let patch = json!({"a": {"b": null, "e": {"f": 3}}, "d": [4]});
        assert_eq!(merged(base, patch), json!({"a": {"c": 2, "e": {"f": 3}}, "d": [4]}));
    }

    #[test]
    fn a_service_can_be_changed_anywhere() {
        let changed = service(
            "web",
            "web",
            json!({"metadata": {"annotations": {"x": "y"}}, "spec": {"type": "ClusterIP"}}),
        );
        assert_eq!(changed["metadata"]["annotations"]["x"], "y");
        assert_eq!(changed["metadata"]["namespace"], SHOP);
        assert_eq!(changed["spec"]["type"], "ClusterIP");
        assert_eq!(changed["spec"]["ports"][0]["port"], 80);
    }
}
