//! `landfall plan` as programs call it: exit codes, what is read, and the shape of the answer.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const POOL: &str = "
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: { name: amber, namespace: metallb-system }
spec: { addresses: [192.0.2.8/32] }
";

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { type: LoadBalancer, ports: [{ port: 80 }] }
";

const BROKEN: &str = "
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: { name: a, namespace: metallb-system }
spec: { addresses: [nonsense] }
";

fn plan(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
    command
        .arg("plan")
        .args(arguments)
        .env_remove("LANDFALL_NAMESPACE")
        .env_remove("LANDFALL_LB_CLASS")
        .env_remove("LANDFALL_HANDLE_UNCLASSED");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    // It may end before it has read everything.
    drop(child.stdin.take().expect("a pipe").write_all(input.as_bytes()));
    child.wait_with_output().expect("it ends")
}

fn answer(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn the_answer_has_its_shape() {
    let node = "kind: Node\napiVersion: v1\nmetadata: { name: n1 }";
    let advertisement = "kind: L2Advertisement\napiVersion: metallb.io/v1beta1\nmetadata: { name: all }";
    let slice = "kind: EndpointSlice\napiVersion: discovery.k8s.io/v1\naddressType: IPv4\nports: [{ port: 80 }]\n\
        metadata: { name: web-1, namespace: shop, labels: { kubernetes.io/service-name: web } }\n\
        endpoints: [{ addresses: [10.0.0.1], nodeName: n1 }]";
    let bgp = "kind: BGPAdvertisement\napiVersion: metallb.io/v1beta1\nmetadata: { name: all }\n\
        spec: { communities: ['64500:7'] }";
    let peer = "kind: BGPPeer\napiVersion: metallb.io/v1beta2\nmetadata: { name: tor }\n\
        spec: { myASN: 64500, peerASN: 64501, peerAddress: 192.0.2.1 }";
    let text = [POOL, SERVICE, node, advertisement, slice, bgp, peer].join("\n---\n");
    let output = plan(&["-f", "-", "-o", "json"], &text);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let mut answer = answer(&output);
    let message = answer["services"][0]["message"].take();
    assert_eq!(message, r#"Assigned IP ["192.0.2.8"]"#);
    let expected = json!({
        "config": {"valid": true, "errors": []},
        "services": [{
            "namespace": "shop", "name": "web", "addresses": ["192.0.2.8"], "pool": "amber", "changed": true,
            "reason": "Allocated", "message": null, "events": ["N:IPAllocated"], "rejected": [],
        }],
        "layer2": [{
            "namespace": "shop", "name": "web", "address": "192.0.2.8", "owner": "n1", "interfaces": [],
            "candidates": [{"node": "n1", "eligible": true, "reason": "Owner"}],
        }],
        "bgp": {
            "services": [{"namespace": "shop", "name": "web", "nodes": ["n1"], "rejected": []}],
            "updates": [{
                "node": "n1", "peer": "tor", "prefix": "192.0.2.8/32", "localPref": 0, "asPathPrepend": 0,
                "communities": ["64500:7"], "services": ["shop/web"],
            }],
        },
    });
    assert_eq!(answer, expected);
}

#[test]
fn exit_codes_tell_valid_from_invalid_from_unreadable() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (name, text) in
        [("good.yaml", POOL), ("service.yaml", SERVICE), ("notes.txt", "a: ["), (".draft.yaml", "a: [")]
    {
        fs::write(path(name), text).expect("a file");
    }
    let whole = folder.path().display().to_string();
    assert_eq!(plan(&["-f", &whole], "").status.code(), Some(0), "other files and drafts are not read");
    for arguments in [
        vec!["-f", &path("good.yaml"), "-f", &path("service.yaml"), "-o", "json"],
        vec!["-f", &path("good.yaml"), &path("service.yaml"), "-o", "json"],
    ] {
        let both = plan(&arguments, "");
        assert_eq!(answer(&both)["services"][0]["addresses"], json!(["192.0.2.8"]), "{both:?}");
    }

    let refused = plan(&["-f", "-", "-o", "json"], BROKEN);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let error = &answer(&refused)["config"]["errors"][0];
    assert_eq!(
        (&error["kind"], &error["name"], &error["field"], &error["reason"], &error["transient"]),
        (
            &json!("IPAddressPool"),
            &json!("a"),
            &json!("spec.addresses[0]"),
            &json!("InvalidAddress"),
            &json!(false)
        )
    );

    for (arguments, input, word) in [
        (vec!["-f", "/nowhere.yaml"], "", "/nowhere.yaml"),
        (vec!["-f", "-"], "a: [", "standard input"),
        (vec!["-f", "-", "--mode", "quagga"], "", "frr-k8s"),
        (vec![], "", "--files"),
    ] {
        let output = plan(&arguments, input);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && words.contains(word), "{output:?}");
    }
}

#[test]
fn an_address_that_would_go_is_a_failure_where_none_may() {
    let status = "status: { loadBalancer: { ingress: [{ ip: 203.0.113.9 }] } }\n";
    let held = SERVICE.replace(
        "namespace: shop }",
        "namespace: shop, annotations: { metallb.io/ip-allocated-from-pool: old } }",
    );
    let text = format!("{POOL}---{held}{status}");
    assert_eq!(plan(&["-f", "-"], &text).status.code(), Some(0));
    assert_eq!(plan(&["-f", "-", "--no-moves"], &text).status.code(), Some(1));
}

#[test]
fn who_stops_reading_ends_it_in_peace() {
    let services: Vec<String> =
        (0..2_000).map(|number| SERVICE.replace("web", &format!("web-{number}"))).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("many.yaml");
    fs::write(&file, services.join("---")).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
    command.args(["plan", "-o", "json", "-f"]).arg(&file).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.stderr.is_empty() && output.status.code() == Some(0), "{output:?}");
}
