use landfall_model::{
    Condition, Family, FamilyPolicy, Forwarding, Ingress, Invalid, IpMode, NodePort, Protocol, Reason,
    TrafficPolicy,
};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn object<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn pool(spec: Value) -> Result<landfall_model::Pool, Invalid> {
    super::pool(&object(json!({ "metadata": { "name": "gold", "labels": { "tier": "1" } }, "spec": spec })))
}

fn advertisement(spec: Value) -> Result<landfall_model::L2Advertisement, Invalid> {
    super::l2_advertisement(&object(json!({ "metadata": { "name": "lan" }, "spec": spec })))
}

fn service(spec: Value, annotations: Value) -> landfall_model::ServiceView {
    let metadata = json!({ "namespace": "shop", "name": "web", "annotations": annotations });
    super::service(&object(json!({ "metadata": metadata, "spec": spec }))).unwrap()
}

#[test]
fn pools_take_what_metallb_takes() {
    for spec in [
        json!({ "addresses": ["192.168.7.77/24"] }),
        json!({ "addresses": ["192.0.2.1 - 192.0.2.9", "2001:db8::/120"] }),
        json!({ "addresses": ["192.0.2.0/25", "192.0.2.128/25"] }),
        json!({ "addresses": ["0.0.0.0/0"] }),
        json!({ "addresses": ["192.0.2.0/24"], "serviceAllocation": {} }),
        json!({ "addresses": ["192.0.2.0/24"], "serviceAllocation": { "priority": -5 } }),
    ] {
        assert!(pool(spec.clone()).is_ok(), "{spec}");
    }
    let gold = pool(json!({ "addresses": ["192.0.2.0/24"] })).unwrap();
    assert!(gold.auto_assign && !gold.avoid_buggy_ips && gold.allocation.is_none());
    assert_eq!((&*gold.name, gold.labels["tier"].as_str()), ("gold", "1"));
    let pinned =
        json!({ "addresses": ["192.0.2.0/24"], "serviceAllocation": { "priority": 7, "namespaces": ["a"] } });
    let allocation = pool(pinned).unwrap().allocation.unwrap();
    assert_eq!((allocation.priority, allocation.namespaces.len()), (7, 1));
}

#[test]
fn annotations_of_pools_are_read_or_refused() {
    let annotated = |key: &str, value: &str| {
        let mut object: crate::api::IPAddressPool = serde_json::from_value(json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": { "name": "a" },
            "spec": { "addresses": ["192.0.2.0/28", "2001:db8::/124"] },
        }))
        .unwrap();
        object.metadata.annotations = Some([(format!("landfall.dev/{key}"), value.to_owned())].into());
        super::pool(&object)
    };
    let rules = |key: &str, value: &str| annotated(key, value).unwrap().rules;
    let ranges: Vec<String> = rules("exclude", " 192.0.2.0/30,192.0.2.9, 2001:db8::1-2001:db8::2 ,")
        .exclude
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(ranges, ["192.0.2.0-192.0.2.3", "192.0.2.9-192.0.2.9", "2001:db8::1-2001:db8::2"]);
    let reserved: Vec<String> = rules("reserve", "shop/web=192.0.2.5, shop/web = 2001:db8::5")
        .reserved
        .iter()
        .map(|(address, service)| format!("{service} {address}"))
        .collect();
    assert_eq!(reserved, ["shop/web 192.0.2.5", "shop/web 2001:db8::5"]);
    assert_eq!(rules("quota-per-namespace", "3").quota, Some(3));
    assert_eq!(rules("quarantine", "1m30s").quarantine, Some(std::time::Duration::from_secs(90)));
    assert_eq!(rules("exclude", ""), landfall_model::PoolRules::default());
    for (key, value, reason) in [
        ("exclude", "192.0.2.0/33", Reason::InvalidAddress),
        ("exclude", "192.0.2.0/30,192.0.2.3", Reason::Overlap),
        ("reserve", "web=192.0.2.5", Reason::InvalidValue),
        ("reserve", "shop/web", Reason::InvalidValue),
        ("reserve", "shop/web/x=192.0.2.5", Reason::InvalidValue),
        ("reserve", "shop/web=192.0.2.x", Reason::InvalidValue),
        ("reserve", "shop/web=198.51.100.1", Reason::AddressNotInPools),
        ("reserve", "shop/web=192.0.2.5,shop/api=192.0.2.5", Reason::Duplicate),
        ("quota-per-namespace", "-1", Reason::InvalidValue),
        ("quarantine", "soon", Reason::InvalidValue),
    ] {
        let invalid = annotated(key, value).unwrap_err();
        assert_eq!(
            (&*invalid.field, invalid.reason),
            (&*format!("metadata.annotations[landfall.dev/{key}]"), reason),
            "{value}"
        );
        assert!(!invalid.message.is_empty());
    }
}

#[test]
fn pools_refuse_what_metallb_refuses_and_say_where() {
    let selector = json!({ "matchLabels": { "a": "b" } });
    for (spec, field, says, reason) in [
        (json!({ "addresses": [] }), "spec.addresses", "empty", Reason::MissingField),
        (json!({ "addresses": ["192.0.2.1"] }), "spec.addresses[0]", "/32", Reason::InvalidAddress),
        (
            json!({ "addresses": ["192.0.2.0/24", "192.0.2.9-192.0.2.3"] }),
            "spec.addresses[1]",
            "starts after",
            Reason::InvalidAddress,
        ),
        (
            json!({ "addresses": ["192.0.2.0/24", "192.0.2.0/24"] }),
            "spec.addresses[1]",
            "overlaps",
            Reason::Duplicate,
        ),
        (
            json!({ "addresses": ["192.0.2.0/30", "2001:db8::/64", "192.0.2.3-192.0.2.9"] }),
            "spec.addresses[2]",
            "spec.addresses[0]",
            Reason::Overlap,
        ),
        (
            json!({ "addresses": ["192.0.2.0/24"], "serviceAllocation": { "namespaces": ["a", "b", "a"] } }),
            "spec.serviceAllocation.namespaces[2]",
            "stands twice",
            Reason::Duplicate,
        ),
        (
            json!({ "addresses": ["192.0.2.0/24"], "serviceAllocation": { "serviceSelectors": [selector, selector] } }),
            "spec.serviceAllocation.serviceSelectors[1]",
            "stands twice",
            Reason::Duplicate,
        ),
        (
            json!({ "addresses": ["192.0.2.0/24"], "serviceAllocation": { "namespaceSelectors": [
                { "matchExpressions": [{ "key": "a", "operator": "Near" }] },
            ] } }),
            "spec.serviceAllocation.namespaceSelectors[0]",
            "Near",
            Reason::InvalidSelector,
        ),
        (
            json!({ "addresses": ["192.0.2.0/24"], "serviceAllocation": { "priority": 3_000_000_000_i64 } }),
            "spec.serviceAllocation.priority",
            "3000000000",
            Reason::InvalidValue,
        ),
    ] {
        let error = pool(spec.clone()).expect_err(field);
        assert_eq!((&*error.field, error.reason), (field, reason), "{spec}");
        assert!(error.message.contains(says), "{}", error.message);
    }
    let nameless = super::pool(&object(json!({ "metadata": {}, "spec": { "addresses": ["192.0.2.0/24"] } })));
    assert_eq!(&*nameless.unwrap_err().field, "metadata.name");
}

#[test]
fn advertisements_follow_the_rules_of_metallb() {
    let selector = json!({ "matchLabels": { "a": "b" } });
    let lan = advertisement(json!({
        "ipAddressPools": ["gold", "none"],
        "interfaces": ["eth0"],
        "nodeSelectors": [selector],
        "preferredNodeSelectors": [{ "weight": 100, "preference": selector }, { "weight": 1, "preference": selector }],
    }))
    .unwrap();
    assert_eq!((lan.pools.len(), lan.interfaces.len(), lan.preferences.len()), (2, 1, 2));
    assert!(advertisement(json!({})).is_ok());
    let preferred =
        |weight: i32| json!({ "preferredNodeSelectors": [{ "weight": weight, "preference": {} }] });
    for (spec, field) in [
        (json!({ "ipAddressPools": ["gold", "gold"] }), "spec.ipAddressPools[1]"),
        (json!({ "ipAddressPoolSelectors": [selector, selector] }), "spec.ipAddressPoolSelectors[1]"),
        (json!({ "nodeSelectors": [selector, selector] }), "spec.nodeSelectors[1]"),
        (json!({ "serviceSelectors": [selector, selector] }), "spec.serviceSelectors[1]"),
        (preferred(0), "spec.preferredNodeSelectors[0].weight"),
        (preferred(101), "spec.preferredNodeSelectors[0].weight"),
        (
            json!({ "preferredNodeSelectors": [
                { "weight": 1, "preference": { "matchExpressions": [{ "key": "a", "operator": "In" }] } },
            ] }),
            "spec.preferredNodeSelectors[0].preference",
        ),
    ] {
        assert_eq!(&*advertisement(spec.clone()).expect_err(field).field, field, "{spec}");
    }
    // A duplicate interface is accepted, as MetalLB accepts it.
    assert_eq!(advertisement(json!({ "interfaces": ["eth0", "eth0"] })).unwrap().interfaces.len(), 1);
}

#[test]
fn a_service_is_read_in_full() {
    let view = super::service(&object(json!({
        "metadata": {
            "namespace": "shop", "name": "web", "uid": "u", "resourceVersion": "7", "generation": 3,
            "creationTimestamp": "1970-01-01T00:01:00Z", "deletionTimestamp": "1970-01-01T00:02:00Z",
            "labels": { "app": "web" },
            "annotations": {
                "metallb.io/ip-allocated-from-pool": "gold", "landfall.dev/forwarding": "node-port",
                "metallb.io/allow-shared-ip": "key",
            },
        },
        "spec": {
            "type": "LoadBalancer", "loadBalancerClass": "example.com/lb", "loadBalancerIP": "192.0.2.9",
            "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::1"], "ipFamilyPolicy": "PreferDualStack",
            "externalTrafficPolicy": "Local", "sessionAffinity": "ClientIP", "healthCheckNodePort": 30001,
            "selector": { "app": "web" },
            "ports": [{ "port": 80, "nodePort": 30080 }, { "name": "dns", "port": 53, "protocol": "UDP" }],
        },
        "status": {
            "loadBalancer": { "ingress": [
                { "ip": "192.0.2.9" }, { "ip": "2001:db8::9", "ipMode": "Proxy" },
                { "hostname": "lb.example.com" }, { "ip": "nonsense" },
            ] },
            "conditions": [
                { "type": "landfall.dev/Allocated", "status": "True", "reason": "Allocated", "message": "m",
                  "observedGeneration": 2, "lastTransitionTime": "1970-01-01T00:00:00Z" },
                { "type": "other.example.com/Fine", "status": "True", "reason": "Allocated", "message": "",
                  "lastTransitionTime": "1970-01-01T00:00:00Z" },
                { "type": "landfall.dev/Later", "status": "True", "reason": "FromTheFuture", "message": "",
                  "lastTransitionTime": "1970-01-01T00:00:00Z" },
            ],
        },
    })))
    .unwrap();
    assert_eq!(view.key.to_string(), "shop/web");
    assert_eq!((&*view.uid, &*view.resource_version, view.generation), ("u", "7", 3));
    assert_eq!((view.created, view.deleting, view.load_balancer), (60, true, true));
    assert_eq!(view.class.as_deref(), Some("example.com/lb"));
    assert_eq!(view.cluster_families, [Family::V4, Family::V6]);
    assert_eq!(
        (view.family_policy, view.traffic_policy),
        (FamilyPolicy::PreferDualStack, TrafficPolicy::Local)
    );
    assert!(view.client_affinity);
    assert_eq!(view.health_check_node_port, Some(NodePort(30001)));
    assert_eq!(view.ports.len(), 2);
    assert_eq!((view.ports[0].protocol, view.ports[0].node_port), (Protocol::Tcp, Some(NodePort(30080))));
    assert_eq!((view.ports[1].protocol, view.ports[1].node_port), (Protocol::Udp, None));
    let address = |text: &str, mode| Ingress::Address { address: text.parse().unwrap(), mode };
    assert_eq!(
        view.ingress,
        [
            address("192.0.2.9", IpMode::Vip),
            address("2001:db8::9", IpMode::Proxy),
            Ingress::Other("lb.example.com".into()),
            Ingress::Unreadable("nonsense".into()),
        ]
    );
    let allocated = Condition {
        kind: "landfall.dev/Allocated".into(),
        status: true,
        reason: Reason::Allocated,
        message: "m".into(),
        generation: 2,
    };
    assert_eq!(view.conditions, [allocated]);
    assert_eq!(view.requests.load_balancer_ip.as_deref(), Some("192.0.2.9"));
    assert_eq!(view.requests.allocated_from.as_deref(), Some("gold"));
    assert_eq!(view.requests.sharing_key.as_deref(), Some("key"));
    assert_eq!(view.requests.forwarding, Some(Ok(Forwarding::NodePort)));
    assert!(!view.requests.deprecated_annotation);
}

#[test]
fn the_preferred_prefix_wins_even_when_empty() {
    for (preferred, legacy, pool, deprecated) in [
        (None, None, None, false),
        (Some("gold"), None, Some("gold"), false),
        (None, Some("old"), Some("old"), true),
        (Some("gold"), Some("old"), Some("gold"), true),
        (Some(""), Some("old"), None, true),
    ] {
        let mut annotations = json!({});
        if let Some(value) = preferred {
            annotations["metallb.io/address-pool"] = json!(value);
        }
        if let Some(value) = legacy {
            annotations["metallb.universe.tf/address-pool"] = json!(value);
        }
        let requests = service(json!({}), annotations).requests;
        assert_eq!(requests.pool.as_deref(), pool, "{preferred:?} {legacy:?}");
        assert_eq!(requests.deprecated_annotation, deprecated, "{preferred:?} {legacy:?}");
    }
    let unknown = service(json!({}), json!({ "landfall.dev/forwarding": "magic" })).requests.forwarding;
    assert_eq!(unknown, Some(Err("magic".into())));
}

#[test]
fn the_preferred_node_is_read_as_written() {
    let preferred = |annotations: Value| {
        let preferred = service(json!({}), annotations).requests.preferred_node;
        preferred.map(|preferred| (preferred.node.to_string(), preferred.requested.to_string()))
    };
    let both = |node: &str, requested: &str| Some((node.to_owned(), requested.to_owned()));
    assert_eq!(preferred(json!({})), None);
    assert_eq!(preferred(json!({ "landfall.dev/preferred-node": "" })), None);
    assert_eq!(preferred(json!({ "landfall.dev/move-requested": "now" })), None);
    assert_eq!(preferred(json!({ "landfall.dev/preferred-node": "n2" })), both("n2", ""));
    let asked = json!({ "landfall.dev/preferred-node": "n2", "landfall.dev/move-requested": "now" });
    assert_eq!(preferred(asked), both("n2", "now"));
}

#[test]
fn annotations_of_aws_claim_a_service() {
    let [kind, target] = ["type", "nlb-target-type"]
        .map(|name| format!("{}aws-load-balancer-{name}", landfall_aws_plan::PREFIX));
    for (annotations, claimed) in [
        (json!({}), false),
        (json!({ &kind: "nlb-ip" }), true),
        (json!({ &kind: "external" }), false),
        (json!({ &kind: "external", &target: "instance" }), true),
        (json!({ &kind: "external", &target: "host" }), false),
        (json!({ &kind: "nlb", &target: "ip" }), false),
    ] {
        assert_eq!(service(json!({}), annotations.clone()).requests.aws, claimed, "{annotations}");
    }
}

#[test]
fn families_follow_the_cluster_addresses() {
    for (spec, families) in [
        (json!({}), vec![]),
        (json!({ "clusterIP": "" }), vec![]),
        (json!({ "clusterIP": "None", "clusterIPs": ["None"] }), vec![]),
        (json!({ "clusterIP": "10.0.0.1" }), vec![Family::V4]),
        (json!({ "clusterIPs": ["fd00::1", "10.0.0.1"] }), vec![Family::V6, Family::V4]),
    ] {
        assert_eq!(service(spec.clone(), json!({})).cluster_families, families, "{spec}");
    }
}

#[test]
fn nodes_speakers_and_slices_are_read() {
    let node = super::node(&object(json!({
        "metadata": { "name": "n1", "labels": { "zone": "a" } },
        "spec": { "taints": [{ "key": "node.kubernetes.io/out-of-service", "effect": "NoExecute" }] },
        "status": {
            "addresses": [
                { "type": "Hostname", "address": "n1" }, { "type": "InternalIP", "address": "192.0.2.1" },
                { "type": "ExternalIP", "address": "198.51.100.1" }, { "type": "InternalIP", "address": "2001:db8::1" },
            ],
            "conditions": [
                { "type": "Ready", "status": "True" }, { "type": "NetworkUnavailable", "status": "False" },
            ],
        },
    })))
    .unwrap();
    assert!(node.ready && !node.network_unavailable && node.leaving);
    assert_eq!(node.addresses.len(), 2);

    let pod = |status: Value| {
        super::speaker(&object(json!({ "spec": { "nodeName": "n1", "containers": [] }, "status": status })))
    };
    let view =
        pod(json!({ "phase": "Running", "podIP": "192.0.2.1", "podIPs": [{ "ip": "192.0.2.1" }] })).unwrap();
    assert_eq!((&*view.node, view.addresses.len()), ("n1", 1));
    assert_eq!(pod(json!({ "phase": "Pending" })), None);
    assert_eq!(pod(json!({ "phase": "Failed", "podIP": "192.0.2.1" })), None);

    let slice = |labels: Value, endpoint: Value| {
        super::endpoint_slice(&object(json!({
            "metadata": { "namespace": "shop", "name": "web-x", "labels": labels },
            "addressType": "IPv4",
            "endpoints": [endpoint],
            "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }, { "name": "none" }],
        })))
    };
    let of_web = json!({ "kubernetes.io/service-name": "web" });
    assert_eq!(slice(json!({}), json!({ "addresses": ["10.0.0.1"] })), Ok(None));
    for (conditions, ready, serving) in [
        (json!({}), true, true),
        (json!({ "ready": false }), false, false),
        (json!({ "ready": false, "serving": true, "terminating": true }), false, true),
    ] {
        let endpoint = json!({ "addresses": ["10.0.0.1"], "nodeName": "n1", "conditions": conditions });
        let view = slice(of_web.clone(), endpoint).unwrap().unwrap();
        assert_eq!((view.endpoints[0].ready, view.endpoints[0].serving), (ready, serving), "{conditions}");
        assert_eq!((view.ports.len(), view.service.to_string().as_str()), (1, "shop/web"));
    }
    let error = slice(of_web, json!({ "addresses": ["web.example.com"] })).unwrap_err();
    assert_eq!(&*error.field, "endpoints[0].addresses[0]");
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,12}",
        Just("192.0.2.0/24".to_owned()),
        Just("192.0.2.0-2001:db8::1".to_owned()),
        "[0-9a-f:.]{0,20}[-/][0-9a-f:.]{0,20}",
    ]
}

proptest! {
    #[test]
    fn no_pool_panics(addresses in prop::collection::vec(text(), 0..4), key in text(), operator in text(), priority: i64) {
        let selector = json!({ "matchExpressions": [{ "key": key, "operator": operator, "values": ["a"] }] });
        drop(pool(json!({
            "addresses": addresses,
            "serviceAllocation": { "priority": priority, "serviceSelectors": [selector] },
        })));
    }

    #[test]
    fn no_service_panics(
        port: i32, node_port: i32, protocol in text(), ip in text(), class in text(), annotation in text(),
    ) {
        let annotations = json!({ "metallb.io/loadBalancerIPs": annotation, "landfall.dev/forwarding": annotation });
        drop(super::service(&object(json!({
            "metadata": { "name": "web", "annotations": annotations },
            "spec": {
                "type": class, "clusterIPs": [ip],
                "ports": [{ "port": port, "nodePort": node_port, "protocol": protocol }],
            },
            "status": { "loadBalancer": { "ingress": [{ "ip": ip }, {}] } },
        }))));
    }
}
