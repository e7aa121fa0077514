//! Which configurations are refused, as `landfall plan` says it. The rules have their own tests; here are the ways by which
//! they reach the report.

use super::*;

fn errors(objects: &[Value]) -> Vec<String> {
    let report = planned(objects);
    assert_eq!(report.config.valid, report.config.errors.iter().all(|error| error.transient));
    report
        .config
        .errors
        .iter()
        .map(|error| {
            format!("{} {}/{} {} {}", error.kind, error.namespace, error.name, error.field, error.reason)
        })
        .collect()
}

#[test]
fn each_fault_names_object_field_and_rule() {
    let in_namespace =
        |object: Value, namespace: &str| merged(object, json!({"metadata": {"namespace": namespace}}));
    let rows: Vec<(Vec<Value>, &[&str])> = vec![
        (
            vec![pool("a", &["192.0.2.0/33"], json!({}))],
            &["IPAddressPool metallb-system/a spec.addresses[0] InvalidAddress"],
        ),
        (
            vec![in_namespace(pool("a", &["192.0.2.7"], json!({})), "lb")],
            &["IPAddressPool lb/a spec.addresses[0] InvalidAddress"],
        ),
        (
            vec![pool("a", &["192.0.2.0/24"], json!({})), pool("b", &["192.0.2.128/25"], json!({}))],
            &["IPAddressPool metallb-system/b spec.addresses[0] Overlap"],
        ),
        (
            vec![pool("a", &["192.0.2.0/25"], json!({})), pool("a", &["192.0.2.128/25"], json!({}))],
            &["IPAddressPool metallb-system/a metadata.name Duplicate"],
        ),
        (
            vec![
                in_namespace(pool("a", &["192.0.2.0/25"], json!({})), "one"),
                in_namespace(l2("b", json!({})), "two"),
            ],
            &["L2Advertisement two/b metadata.namespace WrongNamespace"],
        ),
        (
            vec![pool("", &["192.0.2.0/25"], json!({}))],
            &["IPAddressPool metallb-system/ metadata.name MissingField"],
        ),
        (
            vec![merged(pool("a", &["192.0.2.0/25"], json!({})), json!({"spec": {"autoAssign": "often"}}))],
            &["IPAddressPool metallb-system/a spec.autoAssign InvalidValue"],
        ),
        (
            vec![peer("tor", json!({"bfdProfile": "fast"}))],
            &["BGPPeer metallb-system/tor spec.bfdProfile UnknownReference"],
        ),
    ];
    for (objects, expected) in rows {
        assert_eq!(errors(&objects), expected, "{objects:?}");
    }
}

#[test]
fn a_fault_hurts_only_what_depends_on_it() {
    let objects = [
        pool("bad", &["nonsense"], json!({})),
        pool("good", &["192.0.2.10/32"], json!({})),
        service("web", json!({})),
    ];
    let report = planned(&objects);
    assert!(!report.config.valid);
    assert_eq!(addresses(found(&report, "web")), ["192.0.2.10"]);
}

#[test]
fn what_is_no_manifest_is_an_error_of_its_file() {
    for (text, word) in [
        ("a: [", "YAML"),
        ("metadata: {name: a}", "no kind"),
        ("kind: Service\nmetadata: text", "metadata"),
        ("kind: List", "items"),
    ] {
        let error = Snapshot::read([("some.yaml", text)], None).unwrap_err();
        assert!(error.starts_with("some.yaml: ") && error.contains(word), "{error}");
    }
    let other = "apiVersion: example.com/v1\nkind: Service\nmetadata: {name: a}\n---\nkind: Secret\nmetadata: {name: b}";
    let read = Snapshot::read([("some.yaml", other)], None).unwrap();
    assert!(read.services.is_empty() && read.invalid.is_empty(), "{read:?}");
}
