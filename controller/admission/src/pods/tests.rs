use kube::core::admission::AdmissionReview;
use landfall_aws_plan::{Claim, FINALIZER, Map, Service, ServicePort, ServiceType, Settings, TargetPort};
use landfall_model::{Family, Protocol, ServiceKey, TrafficPolicy};

use super::*;

fn labels(app: &str) -> Map {
    Map::from([("app".to_owned(), app.to_owned())])
}

fn gates(services: &[&str]) -> Gates {
    let settings = Settings::new("harbor", "");
    let mut gates = Gates::default();
    for name in services {
        let service = Service {
            key: ServiceKey::new("shop", name),
            uid: (*name).into(),
            deleting: false,
            kind: ServiceType::LoadBalancer,
            class: Some(landfall_aws_plan::CLASS.into()),
            annotations: Map::from([(
                format!("{}aws-load-balancer-nlb-target-type", landfall_aws_plan::PREFIX),
                "ip".to_owned(),
            )]),
            finalizers: vec![FINALIZER.into()],
            families: vec![Family::V4],
            traffic_policy: TrafficPolicy::Cluster,
            source_ranges: Vec::new(),
            ports: vec![ServicePort {
                name: "http".into(),
                protocol: Protocol::Tcp,
                port: 80,
                target: TargetPort::Number(8080),
                node_port: None,
            }],
            health_check_node_port: None,
            hostnames: vec!["x.elb.eu-west-1.amazonaws.com".to_owned()],
        };
        assert_eq!(Claim::of(&service, &settings), Claim::Ours);
        gates.observe(&service.key, Some((&service, &labels("web"))), &settings);
    }
    gates
}

fn request(operation: &str, namespace: &str, app: &str, spec: &Value) -> AdmissionRequest<DynamicObject> {
    let pod = json!({ "apiVersion": "v1", "kind": "Pod",
        "metadata": { "generateName": "web-", "labels": labels(app) }, "spec": spec });
    let review: AdmissionReview<DynamicObject> = serde_json::from_value(json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "one", "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "name": "", "namespace": namespace, "operation": operation, "userInfo": {}, "object": pod, "dryRun": true,
        },
    }))
    .unwrap();
    review.try_into().unwrap()
}

/// The patch that is sent, if one is.
fn sent(request: &AdmissionRequest<DynamicObject>, gates: &Gates) -> Option<Value> {
    let (response, changed) = gated(request, gates);
    assert!(response.allowed);
    assert_eq!(response.patch.is_some(), changed);
    response.patch.map(|patch| serde_json::from_slice(&patch).unwrap())
}

#[test]
fn a_pod_gets_the_gates_that_it_has_not_and_nothing_else() {
    let (one, two) = (gates(&["one"]), gates(&["one", "two"]));
    let all: Vec<String> = two.of_pod("shop", &labels("web")).into_iter().map(str::to_owned).collect();
    let gate = |name: &str| json!({ "conditionType": name });
    let first = one.of_pod("shop", &labels("web")).pop_first().unwrap().to_owned();
    let second = all.iter().find(|gate| **gate != first).unwrap();
    let none = json!({ "containers": [] });
    let other = json!({ "readinessGates": [gate("example.com/other")] });
    let has_one = json!({ "readinessGates": [gate(&first)] });
    let has_both = json!({ "readinessGates": [gate(second), gate(&first)] });
    let whole = json!([{ "op": "add", "path": "/spec/readinessGates", "value": [gate(&first)] }]);
    let both: Vec<Value> = all.iter().map(|name| gate(name)).collect();
    let more = |name: &str| json!([{ "op": "add", "path": "/spec/readinessGates/-", "value": gate(name) }]);
    for (row, request, gates, expected) in [
        ("no gate yet", request("CREATE", "shop", "web", &none), &one, Some(whole)),
        (
            "two Services select it",
            request("CREATE", "shop", "web", &none),
            &two,
            Some(json!([{ "op": "add", "path": "/spec/readinessGates", "value": both }])),
        ),
        ("another's gate stays", request("CREATE", "shop", "web", &other), &one, Some(more(&first))),
        ("one is missing", request("CREATE", "shop", "web", &has_one), &two, Some(more(second))),
        ("asked again", request("CREATE", "shop", "web", &has_both), &two, None),
        ("nothing selects it", request("CREATE", "shop", "db", &none), &two, None),
        ("another namespace", request("CREATE", "elsewhere", "web", &none), &two, None),
        ("a Pod that is there already", request("UPDATE", "shop", "web", &none), &two, None),
        ("no Service of ours", request("CREATE", "shop", "web", &none), &Gates::default(), None),
    ] {
        assert_eq!(sent(&request, gates), expected, "{row}");
    }
}
