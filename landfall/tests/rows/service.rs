//! Objects in few words.

use serde_json::{Value, json};

/// A Service of type LoadBalancer in the namespace `shop` with one port and one cluster address.
pub(crate) struct Service(Value);

pub(crate) fn service(name: &str) -> Service {
    Service(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "namespace": "shop", "annotations": {} },
        "spec": {
            "type": "LoadBalancer", "ports": [{ "port": 80, "protocol": "TCP" }],
            "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"], "clusterIPs": ["10.96.0.7"], "clusterIP": "10.96.0.7",
        },
    }))
}

impl Service {
    /// Sets a field of the spec.
    pub(crate) fn spec(mut self, field: &str, value: Value) -> Self {
        self.0["spec"][field] = value;
        self
    }

    /// Sets an annotation; `metallb.io/` goes before a name without a prefix.
    pub(crate) fn says(mut self, annotation: &str, value: &str) -> Self {
        let key =
            if annotation.contains('/') { annotation.to_owned() } else { format!("metallb.io/{annotation}") };
        self.0["metadata"]["annotations"][key] = value.into();
        self
    }

    /// `metallb.io/loadBalancerIPs`.
    pub(crate) fn asks(self, addresses: &str) -> Self {
        self.says("loadBalancerIPs", addresses)
    }

    /// Has these addresses, which a pool of this name gave.
    pub(crate) fn has(self, addresses: &[&str], pool: &str) -> Self {
        self.says("ip-allocated-from-pool", pool).shows(addresses)
    }

    /// Its status says so, whoever wrote it.
    pub(crate) fn shows(mut self, addresses: &[&str]) -> Self {
        let ingress: Vec<Value> = addresses.iter().map(|ip| json!({ "ip": ip })).collect();
        self.0["status"] = json!({ "loadBalancer": { "ingress": ingress } });
        self
    }

    /// Its status, word by word.
    pub(crate) fn ingress(mut self, ingress: Value) -> Self {
        self.0["status"] = json!({ "loadBalancer": { "ingress": ingress } });
        self
    }

    /// One family, which is `6` or `4`.
    pub(crate) fn single(self, family: u8) -> Self {
        let (name, address) = if family == 6 { ("IPv6", "fd00::7") } else { ("IPv4", "10.96.0.7") };
        self.families("SingleStack", &[name], &[address])
    }

    /// Two families, and two cluster addresses.
    pub(crate) fn dual(self, policy: &str) -> Self {
        self.families(policy, &["IPv4", "IPv6"], &["10.96.0.7", "fd00::7"])
    }

    pub(crate) fn families(self, policy: &str, families: &[&str], cluster: &[&str]) -> Self {
        self.spec("ipFamilyPolicy", policy.into())
            .spec("ipFamilies", json!(families))
            .spec("clusterIPs", json!(cluster))
            .spec("clusterIP", json!(cluster[0]))
    }

    pub(crate) fn port(self, protocol: &str, port: u16) -> Self {
        self.spec("ports", json!([{ "port": port, "protocol": protocol }]))
    }

    pub(crate) fn local(self) -> Self {
        self.spec("externalTrafficPolicy", "Local".into())
    }

    pub(crate) fn label(mut self, key: &str, value: &str) -> Self {
        self.0["metadata"]["labels"][key] = value.into();
        self
    }

    pub(crate) fn made(self) -> Value {
        self.0
    }
}

pub(crate) fn pool(name: &str, addresses: &[&str]) -> Value {
    pool_with(name, addresses, &json!({}))
}

/// With more fields of the spec.
pub(crate) fn pool_with(name: &str, addresses: &[&str], more: &Value) -> Value {
    let mut pool = of("IPAddressPool", name, &json!({ "addresses": addresses }));
    for (field, value) in more.as_object().into_iter().flatten() {
        pool["spec"][field] = value.clone();
    }
    pool
}

/// An object of `metallb.io/v1beta1`.
pub(crate) fn of(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "metallb.io/v1beta1", "kind": kind, "spec": spec,
        "metadata": { "name": name, "namespace": "metallb-system" },
    })
}

pub(crate) fn namespace(name: &str, labels: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } })
}
