use kube::core::admission::AdmissionReview;
use serde_json::json;

use super::*;

fn request(
    operation: &str,
    kind: &str,
    namespace: &str,
    object: &Value,
    old: &Value,
) -> AdmissionRequest<DynamicObject> {
    let name =
        [object, old].map(|one| one["metadata"]["name"].clone()).into_iter().find(|name| !name.is_null());
    let group = json!({ "group": "metallb.io", "version": "v1beta1", "kind": kind });
    let review: AdmissionReview<DynamicObject> = serde_json::from_value(json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "one", "kind": group, "resource": { "group": "metallb.io", "version": "v1beta1", "resource": "x" },
            "name": name, "namespace": namespace, "operation": operation, "userInfo": {}, "object": object,
            "oldObject": old, "dryRun": false,
        },
    }))
    .unwrap();
    review.try_into().unwrap()
}

fn pool(name: &str, range: &str) -> Value {
    json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": { "name": name, "namespace": "lb" }, "spec": { "addresses": [range] },
    })
}

fn peer(spec: &Value) -> Value {
    json!({
        "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer",
        "metadata": { "name": "tor", "namespace": "lb" }, "spec": spec,
    })
}

fn observed(objects: &[Value]) -> Objects {
    let mut all = Objects { namespace: "lb".into(), ..Objects::default() };
    for object in objects {
        let kind = object["kind"].as_str().unwrap();
        all.observe(&read_configuration(kind, object.clone()).unwrap().unwrap());
    }
    all
}

/// Whether it is allowed, with the message or the warnings.
fn answered(request: &AdmissionRequest<DynamicObject>, kind: &str, others: &Objects) -> (bool, String) {
    let response = match question(request, kind, "lb") {
        Question::Answered(response) => *response,
        Question::Depends(asked) => answer(request, asked.as_deref(), others, Mode::FrrK8s),
    };
    let said = response.warnings.unwrap_or_default().join("; ");
    (response.allowed, if response.allowed { said } else { response.result.message })
}

#[test]
fn each_question_has_its_answer() {
    const POOL: &str = "IPAddressPool";
    let nothing = Value::Null;
    let good = pool("a", "192.0.2.0/24");
    let bad = pool("a", "192.0.2.0/33");
    let wide = observed(&[pool("wide", "192.0.0.0/16")]);
    let none = observed(&[]);
    let calm = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "BFDProfile", "metadata": { "name": "calm", "namespace": "lb" },
    });
    let plain = json!({ "myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.1", "bfdProfile": "calm" });
    let mut old_way = plain.clone();
    old_way["disableMP"] = true.into();
    let mut wrong = old_way.clone();
    wrong["myASN"] = 0.into();
    let used = observed(&[peer(&plain), calm.clone()]);
    for (row, asked, kind, others, allowed, words) in [
        ("a good one", request("CREATE", POOL, "lb", &good, &nothing), POOL, &none, true, ""),
        (
            "one that cannot be read",
            request("CREATE", POOL, "lb", &bad, &nothing),
            POOL,
            &none,
            false,
            "spec.addresses[0]: ",
        ),
        (
            "one that puts another at fault",
            request("CREATE", POOL, "lb", &good, &nothing),
            POOL,
            &wide,
            false,
            "IPAddressPool lb/wide: spec.addresses[0]: ",
        ),
        (
            "in another namespace",
            request("CREATE", POOL, "shop", &good, &nothing),
            POOL,
            &none,
            false,
            "metadata.namespace: a IPAddressPool is read only in namespace \"lb\"",
        ),
        ("a faulty one is labelled", request("UPDATE", POOL, "lb", &bad, &bad), POOL, &none, true, ""),
        ("a faulty one is deleted", request("DELETE", POOL, "lb", &nothing, &bad), POOL, &none, true, ""),
        (
            "a good one becomes faulty",
            request("UPDATE", POOL, "lb", &bad, &good),
            POOL,
            &none,
            false,
            "spec.",
        ),
        (
            "the path of another kind",
            request("CREATE", POOL, "lb", &good, &nothing),
            "Community",
            &none,
            false,
            "this webhook is about Community, and the request about IPAddressPool",
        ),
        (
            "what is missing is a warning",
            request("CREATE", "BGPPeer", "lb", &peer(&plain), &nothing),
            "BGPPeer",
            &none,
            true,
            "spec.bfdProfile: there is no BFDProfile \"calm\"",
        ),
        (
            "what is deprecated is a warning",
            request("CREATE", "BGPPeer", "lb", &peer(&old_way), &nothing),
            "BGPPeer",
            &observed(std::slice::from_ref(&calm)),
            true,
            "spec.disableMP is deprecated",
        ),
        (
            "what is deprecated does not hide what is wrong (§10 D7)",
            request("CREATE", "BGPPeer", "lb", &peer(&wrong), &nothing),
            "BGPPeer",
            &none,
            false,
            "spec.myASN: ",
        ),
        (
            "a profile in use is deleted",
            request("DELETE", "BFDProfile", "lb", &nothing, &calm),
            "BFDProfile",
            &used,
            false,
            "BFDProfile lb/calm: BGPPeer \"tor\" names it",
        ),
        (
            "a profile that nobody uses is deleted",
            request("DELETE", "BFDProfile", "lb", &nothing, &calm),
            "BFDProfile",
            &none,
            true,
            "",
        ),
    ] {
        let (is_allowed, said) = answered(&asked, kind, others);
        assert!(is_allowed == allowed && said.starts_with(words), "{row}: {is_allowed} {said:?}");
        assert!(!words.is_empty() || said.is_empty(), "{row}: {said:?}");
    }
}
