use landfall_probes::tls::Version;
use landfall_verdict::Mode;
use serde_json::from_value;

use super::*;
use crate::Certificate;

fn settings() -> Settings {
    Settings {
        namespace: "lb".to_owned(),
        bgp: Mode::FrrK8s,
        address: ([127, 0, 0, 1], 0).into(),
        oldest: Version::Tls12,
        service: "landfall-webhook".to_owned(),
        configuration: "landfall-webhook".to_owned(),
        failure_policy: FailurePolicy::Fail,
        certificate: Certificate::Secret("landfall-webhook-cert".to_owned()),
    }
}

#[test]
fn each_kind_is_asked_about_in_its_own_namespace() {
    let wanted = configuration(&settings(), "authorities", "7d3f");
    let webhooks = wanted.webhooks.clone().unwrap_or_default();
    let lines: Vec<String> = webhooks
        .iter()
        .map(|webhook| {
            let rules = webhook.rules.iter().flatten().map(|rule| {
                let joined = |list: &Option<Vec<String>>| list.clone().unwrap_or_default().join(",");
                format!(
                    "{}/{} {}",
                    joined(&rule.api_versions),
                    joined(&rule.resources),
                    joined(&rule.operations)
                )
            });
            let path = webhook.client_config.service.as_ref().and_then(|service| service.path.clone());
            let policy = webhook.failure_policy.clone().unwrap_or_default();
            format!("{policy} {} {}", path.unwrap_or_default(), rules.collect::<Vec<_>>().join("; "))
        })
        .collect();
    assert_eq!(
        lines,
        [
            "Fail /validate-metallb-io-v1beta1-ipaddresspool v1beta1/ipaddresspools CREATE,UPDATE",
            "Fail /validate-metallb-io-v1beta1-l2advertisement v1beta1/l2advertisements CREATE,UPDATE",
            "Fail /validate-metallb-io-v1beta1-bgpadvertisement v1beta1/bgpadvertisements CREATE,UPDATE",
            "Fail /validate-metallb-io-v1beta2-bgppeer v1beta2/bgppeers CREATE,UPDATE",
            "Fail /validate-metallb-io-v1beta1-bfdprofile v1beta1/bfdprofiles CREATE,UPDATE",
            "Fail /validate-metallb-io-v1beta1-community v1beta1/communities CREATE,UPDATE",
            "Ignore /validate-metallb-io-v1beta1-bfdprofile v1beta1/bfdprofiles DELETE",
            "Ignore /validate-namespace v1beta1/ipaddresspools,l2advertisements,bgpadvertisements,bfdprofiles,communities \
             CREATE; v1beta2/bgppeers CREATE",
        ]
    );
    let parts = |one: &ValidatingWebhookConfiguration| (one.metadata.clone(), one.webhooks.clone());
    let is_so = |shown: &ValidatingWebhookConfiguration| {
        let ((metadata, webhooks), (own, listed)) = (parts(&wanted), parts(shown));
        is_as_wanted((&own, &listed), (&metadata, &webhooks))
    };
    assert!(is_so(&wanted));
    let other = configuration(&settings(), "others", "7d3f");
    assert!(!is_so(&other), "whom to trust has changed");
    assert_eq!(names(&settings()), ["landfall-webhook.lb.svc", "metallb-webhook-service.lb.svc"]);
}

#[test]
fn only_new_pods_of_labelled_namespaces_are_asked_about_and_none_waits_long() {
    let wanted = serde_json::to_value(for_pods(&settings(), "abc", "7d3f")).unwrap();
    let webhook = &wanted["webhooks"][0];
    assert_eq!(wanted["webhooks"].as_array().map(Vec::len), Some(1));
    assert_eq!((&webhook["failurePolicy"], &webhook["timeoutSeconds"]), (&json!("Ignore"), &json!(3)));
    assert_eq!(
        webhook["namespaceSelector"],
        json!({ "matchLabels": { "elbv2.k8s.aws/pod-readiness-gate-inject": "enabled" } })
    );
    assert_eq!(webhook["objectSelector"], json!({}));
    assert_eq!(
        webhook["rules"],
        json!([{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"],
            "scope": "Namespaced" }])
    );
    assert_eq!(webhook["clientConfig"]["service"]["path"], "/mutate-v1-pod");
    assert_eq!(webhook["clientConfig"]["caBundle"], "YWJj");
    assert_eq!(wanted["metadata"]["ownerReferences"][0]["uid"], "7d3f");
}

#[test]
fn metallbs_configuration_is_kept_in_use_where_it_leads_here() {
    let metallb = |namespace: &str, bundle: Value| -> ValidatingWebhookConfiguration {
        let webhook = |name: &str, namespace: &str| {
            json!({
                "name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "clientConfig": { "caBundle": bundle, "service": { "name": "x", "namespace": namespace } },
            })
        };
        let webhooks = [webhook("pools.metallb.io", namespace), webhook("other.example.com", "elsewhere")];
        from_value(json!({ "webhooks": webhooks })).unwrap()
    };
    let here = metallb("lb", Value::Null);
    assert_eq!(leads_here(&here, "lb"), Some("x"));
    assert_eq!(leads_here(&metallb("metallb-system", Value::Null), "lb"), None);
    let patch = injection(&here, "lb", "abc").unwrap();
    assert_eq!(
        patch,
        json!({ "webhooks": [{ "name": "pools.metallb.io", "clientConfig": { "caBundle": "YWJj" } }] })
    );
    assert_eq!(injection(&metallb("lb", json!("YWJj")), "lb", "abc"), None, "it has it");
}

#[test]
fn conversion_leads_to_the_install_that_the_definition_names() {
    let definition = |service: Value, bundle: Value| -> CustomResourceDefinition {
        from_value(json!({ "spec": {
            "group": "metallb.io", "scope": "Namespaced", "names": { "plural": "bgppeers", "kind": "BGPPeer" }, "versions": [],
            "conversion": { "strategy": "Webhook", "webhook": {
                "conversionReviewVersions": ["v1"], "clientConfig": { "service": service, "caBundle": bundle },
            } },
        } }))
        .unwrap()
    };
    let ours = json!({ "name": "x", "namespace": "lb", "path": "/convert" });
    let patch = json!({ "spec": { "conversion": { "webhook": { "clientConfig": {
        "caBundle": "YWJj", "service": { "path": "/convert" },
    } } } } });
    let no_path = json!({ "name": "x", "namespace": "lb" });
    let other = json!({ "name": "x", "namespace": "other", "path": "/convert" });
    for (row, definition, expected) in [
        ("whom to trust is missing", definition(ours.clone(), Value::Null), Some(&patch)),
        ("it is another one", definition(ours.clone(), json!("eHl6")), Some(&patch)),
        ("the path is missing", definition(no_path, json!("YWJj")), Some(&patch)),
        ("nothing is missing", definition(ours, json!("YWJj")), None),
        ("it leads to another install", definition(other, Value::Null), None),
    ] {
        assert_eq!(conversion(&definition, "lb", "abc").as_ref(), expected, "{row}");
    }
}
