//! §4.1 who answers for an address.

use serde_json::{Value, json};

use crate::{
    check, owners, row,
    service::{Service, of, pool, service},
};

/// MetalLB's order of these nodes for 192.0.2.0 is n2, n3, n1: by SHA-256 of `NODE#ADDRESS`.
const NODES: [&str; 3] = ["n1", "n2", "n3"];

fn node(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } },
        "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
    })
}

fn slice(name: &str, endpoints: &Value) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": format!("{name}-1"), "namespace": "shop", "labels": { "kubernetes.io/service-name": name },
        },
        "ports": [{ "port": 80 }], "endpoints": endpoints,
    })
}

fn endpoint(node: &str, conditions: Value) -> Value {
    json!({ "addresses": ["10.0.0.1"], "nodeName": node, "conditions": conditions })
}

fn l2(name: &str, spec: Value) -> Value {
    of("L2Advertisement", name, &spec)
}

/// What all rows have but for one thing.
struct Bed {
    nodes: Vec<Value>,
    advertisements: Vec<Value>,
    endpoints: Value,
    service: Service,
}

impl Bed {
    fn new() -> Self {
        Self {
            nodes: NODES.map(node).to_vec(),
            advertisements: vec![l2("all", json!({}))],
            endpoints: json!([
                endpoint("n1", json!({})),
                endpoint("n2", json!({})),
                endpoint("n3", json!({}))
            ]),
            service: service("s"),
        }
    }

    fn objects(self) -> Vec<Value> {
        let mut objects =
            vec![pool("a", &["192.0.2.0/28"]), slice("s", &self.endpoints), self.service.made()];
        objects.extend(self.nodes);
        objects.extend(self.advertisements);
        objects
    }

    /// With the second node changed.
    fn n2(mut self, pointer: &str, value: Value) -> Vec<Value> {
        let (parent, field) = pointer.rsplit_once('/').expect("a path");
        self.nodes[1].pointer_mut(parent).expect("it is there")[field] = value;
        self.objects()
    }
}

#[test]
fn candidates() {
    const ALL: [&str; 1] = ["s 192.0.2.0 n2 n1:NotOwner,n3:NotOwner"];
    let unavailable = json!([
        { "type": "Ready", "status": "True" },
        { "type": "NetworkUnavailable", "status": "True" },
    ]);
    let on = |node: &str| json!({ "nodeSelectors": [{ "matchLabels": { "kubernetes.io/hostname": node } }] });
    let with = |advertisements: Vec<Value>| Bed { advertisements, ..Bed::new() }.objects();
    let mut excluded = Bed::new();
    excluded.nodes[1]["metadata"]["labels"]["node.kubernetes.io/exclude-from-external-load-balancers"] =
        "".into();
    let excluded = excluded.objects();
    check(
        vec![
            row("§4.1 every node", Bed::new().objects(), ALL),
            row(
                "§4.1 (1) live speakers only",
                Bed::new().objects(),
                ["s 192.0.2.0 n3 n1:NotOwner,n2:SpeakerNotAlive"],
            )
            .with(&["--speakers", "n1,n3"]),
            row(
                "§4.1 (2) NetworkUnavailable",
                Bed::new().n2("/status/conditions", unavailable),
                ["s 192.0.2.0 n3 n1:NotOwner,n2:NetworkUnavailable"],
            ),
            row(
                "§4.1 (3) the exclude label, with any value",
                excluded.clone(),
                ["s 192.0.2.0 n3 n1:NotOwner,n2:NodeExcluded"],
            ),
            row("§4.1 (3) --ignore-exclude-lb", excluded, ALL).with(&["--ignore-exclude-lb"]),
            row(
                "§4.1 (4) no advertisement",
                with(vec![]),
                [
                    "s 192.0.2.0 - n1:NoMatchingAdvertisement,n2:NoMatchingAdvertisement,n3:NoMatchingAdvertisement",
                ],
            ),
            row(
                "§4.1 (4) the nodes of one advertisement",
                with(vec![l2("one", on("n3"))]),
                ["s 192.0.2.0 n3 n1:NodeNotSelected,n2:NodeNotSelected"],
            ),
            row(
                "§4.1 (4) the nodes of all advertisements",
                with(vec![l2("one", on("n3")), l2("two", on("n2"))]),
                ["s 192.0.2.0 n2 n1:NodeNotSelected,n3:NotOwner"],
            ),
            row(
                "§4.1 (4) an advertisement of another pool",
                with(vec![l2("one", json!({ "ipAddressPools": ["b"] }))]),
                [
                    "s 192.0.2.0 - n1:NoMatchingAdvertisement,n2:NoMatchingAdvertisement,n3:NoMatchingAdvertisement",
                ],
            ),
        ],
        owners,
    );
}

#[test]
fn endpoints() {
    let with = |endpoints: Value| Bed { endpoints, ..Bed::new() }.objects();
    let local = |endpoints: Value| Bed { endpoints, service: service("s").local(), ..Bed::new() }.objects();
    let ready = || json!({});
    check(
        vec![
            row(
                "§4.1 (5) none",
                with(json!([])),
                ["s 192.0.2.0 - n1:NoEndpoints,n2:NoEndpoints,n3:NoEndpoints"],
            ),
            row(
                "§4.1 (5) none that serves",
                with(json!([endpoint("n1", json!({ "ready": false }))])),
                ["s 192.0.2.0 - n1:NoEndpoints,n2:NoEndpoints,n3:NoEndpoints"],
            ),
            row(
                "§4.1 (5) one, anywhere",
                with(json!([endpoint("n1", ready())])),
                ["s 192.0.2.0 n2 n1:NotOwner,n3:NotOwner"],
            ),
            row(
                "§4.1 (5) one that terminates and still serves",
                with(json!([endpoint(
                    "n1",
                    json!({ "ready": false, "serving": true, "terminating": true })
                )])),
                ["s 192.0.2.0 n2 n1:NotOwner,n3:NotOwner"],
            ),
            row(
                "§4.1 (6) Local: nodes with one",
                local(json!([endpoint("n1", ready()), endpoint("n3", ready())])),
                ["s 192.0.2.0 n3 n1:NotOwner,n2:NoLocalEndpoints"],
            ),
            row(
                "§4.1 (6) Local: one that is not ready",
                local(json!([endpoint("n1", ready()), endpoint("n3", json!({ "ready": false }))])),
                ["s 192.0.2.0 n1 n2:NoLocalEndpoints,n3:NoLocalEndpoints"],
            ),
            row(
                "§4.1 (6) Local: one without a node does not count",
                local(json!([endpoint("n1", ready()), { "addresses": ["10.0.0.9"] }])),
                ["s 192.0.2.0 n1 n2:NoLocalEndpoints,n3:NoLocalEndpoints"],
            ),
        ],
        owners,
    );
}

#[test]
fn order() {
    let prefers = |weights: &[(&str, u32)]| {
        let preferences: Vec<Value> = weights
            .iter()
            .map(|(node, weight)| {
                json!({ "weight": weight, "preference": { "matchLabels": { "kubernetes.io/hostname": node } } })
            })
            .collect();
        json!({ "preferredNodeSelectors": preferences })
    };
    let with = |spec: Value| Bed { advertisements: vec![l2("one", spec)], ..Bed::new() }.objects();
    let asks = |address: &str| Bed { service: service("s").asks(address), ..Bed::new() }.objects();
    let not_ready = json!([{ "type": "Ready", "status": "False" }]);
    let mut cordoned = Bed::new();
    cordoned.nodes[1]["spec"] = json!({ "unschedulable": true });
    check(
        vec![
            row(
                "§4.1 SHA-256 of node and address",
                asks("192.0.2.5"),
                ["s 192.0.2.5 n2 n1:NotOwner,n3:NotOwner"],
            ),
            row(
                "§4.1 the heaviest preference first",
                with(prefers(&[("n1", 10), ("n3", 20)])),
                ["s 192.0.2.0 n3 n1:NotOwner,n2:NotOwner"],
            ),
            row(
                "§4.1 cordoning does not matter",
                cordoned.objects(),
                ["s 192.0.2.0 n2 n1:NotOwner,n3:NotOwner"],
            ),
            row(
                "§4.1 a node that is not Ready comes last, unlike MetalLB (§11)",
                Bed::new().n2("/status/conditions", not_ready),
                ["s 192.0.2.0 n3 n1:NotOwner,n2:NotOwner"],
            ),
            row(
                "§2.6 a key to share, even an empty one, and an advertisement with serviceSelectors",
                Bed {
                    service: service("s").label("app", "web").says("allow-shared-ip", ""),
                    advertisements: vec![l2(
                        "one",
                        json!({ "serviceSelectors": [{ "matchLabels": { "app": "web" } }] }),
                    )],
                    ..Bed::new()
                }
                .objects(),
                [
                    "s 192.0.2.0 - n1:SharedAddressWithServiceSelector,n2:SharedAddressWithServiceSelector,n3:SharedAddressWithServiceSelector",
                ],
            ),
        ],
        owners,
    );
}
