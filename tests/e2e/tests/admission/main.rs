//! What the API server refuses, because Landfall's webhooks say so, and what becomes of the webhooks themselves.

mod gates;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use landfall_e2e::cluster::ASSIGNED;
use landfall_e2e::manifests::{NAMESPACE, SHOP, advertisement, list, pool};
use landfall_e2e::wait::until;
use landfall_e2e::{Cluster, Sections};
use landfall_testbed::guide;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use serde_json::{Value, json};

pub(crate) const CONFIGURATION: &str = "landfall-webhook";
const METALLB: &str = "metallb-webhook-configuration";
const SECRET: &str = "landfall-webhook-cert";

/// How long the API server and the controllers take to see what the other did.
pub(crate) const TOLD: Duration = Duration::from_secs(30);

#[test]
#[ignore = "needs root and the control plane; make test runs it"]
fn the_api_server_asks_before_it_takes_an_object() {
    let mut sections = Sections::on_new_cluster(prepare);
    sections.run("one object of each kind is refused, and one is taken with a warning", verdicts);
    sections.run("a change is judged by what it does to others", changes);
    sections.run("peers in the old version", old_peers);
    sections.run("every replica answers, also while the leader is killed", replicas);
    sections.run("a certificate is renewed, and nobody notices", renewal);
    sections.run("what somebody changes is put right", repairs);
    sections.run("webhooks are turned off and on", turned_off);
    sections.run("new Pods wait for their target groups", gates::of_new_pods);
    sections.run("MetalLB's configuration and definition are kept in use", metallb);
    sections.finish();
}

fn prepare(cluster: &Cluster) -> Result<()> {
    cluster.install()?;
    configured(cluster)?;
    cluster
        .apply(&list([pool("lan", &["10.77.0.200-10.77.0.209"], json!({})), advertisement("lan", &["lan"])]))
}

/// Waits until the API server has been told of the webhooks.
fn configured(cluster: &Cluster) -> Result<()> {
    cluster.has_webhooks(true)
}

/// Without webhooks the API server must not be told to ask.
fn turned_off(cluster: &Cluster) -> Result<()> {
    let bad = pool("bad", &["10.77.0.250-10.77.0.1"], json!({}));
    cluster.serve_webhooks(false)?;
    taken(cluster, &bad, "")?;
    cluster.serve_webhooks(true)?;
    // What is wrong with it already is in nobody's way, and it can go.
    taken(cluster, &pool("good", &["192.0.2.0/24"], json!({})), "")?;
    refused(cluster, &pool("bad", &["10.77.0.251-10.77.0.1"], json!({})), "spec.addresses[0]: ")?;
    cluster.kubectl(["delete", "ipaddresspool", "bad", "good", "-n", NAMESPACE]).map(drop)
}

fn object(version: &str, kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": format!("metallb.io/{version}"), "kind": kind,
        "metadata": { "name": name, "namespace": NAMESPACE }, "spec": spec,
    })
}

fn peer(name: &str, spec: &Value) -> Value {
    object("v1beta2", "BGPPeer", name, spec)
}

/// What kubectl says of an object that is applied, warnings and errors too.
fn applied(cluster: &Cluster, object: &Value) -> Result<(bool, String)> {
    let file = cluster.bed().logs().join("object.json");
    fs::write(&file, object.to_string())?;
    let said = cluster.shell(&format!("kubectl apply -f {} 2>&1 || echo FAILED", file.display()))?;
    Ok((!said.contains("FAILED"), said))
}

/// The API server refuses it in these words of the webhook.
fn refused(cluster: &Cluster, object: &Value, words: &str) -> Result<()> {
    let (taken, said) = applied(cluster, object)?;
    ensure!(!taken && said.contains("denied the request: ") && said.contains(words), "{words:?}: {said}");
    Ok(())
}

fn taken(cluster: &Cluster, object: &Value, warning: &str) -> Result<()> {
    let (taken, said) = applied(cluster, object)?;
    ensure!(taken && said.contains(warning), "{warning:?}: {said}");
    ensure!(warning.is_empty() != said.contains("Warning:"), "{said}");
    Ok(())
}

fn verdicts(cluster: &Cluster) -> Result<()> {
    let bgp = |name: &str, spec: Value| object("v1beta1", "BGPAdvertisement", name, &spec);
    let spec = json!({ "myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.1" });
    let with = |field: &str, value: Value| {
        let mut changed = spec.clone();
        changed[field] = value;
        peer("tor", &changed)
    };
    refused(cluster, &pool("bad", &["10.77.0.250-10.77.0.1"], json!({})), "spec.addresses[0]: ")?;
    refused(
        cluster,
        &pool("bad", &["10.77.0.209/32"], json!({})),
        "IPAddressPool landfall-system/lan: spec.addresses[0]: 10.77.0.200-10.77.0.209 overlaps",
    )?;
    refused(
        cluster,
        &object("v1beta1", "L2Advertisement", "bad", &json!({ "ipAddressPools": ["lan", "lan"] })),
        "spec.ipAddressPools[1]: ",
    )?;
    refused(cluster, &bgp("bad", json!({ "communities": ["64500:x"] })), "spec.communities[0]: ")?;
    refused(cluster, &with("myASN", 0.into()), "spec.myASN: ")?;
    refused(
        cluster,
        &object("v1beta1", "Community", "bad", &json!({ "communities": [{ "name": "a", "value": "x" }] })),
        "spec.communities[0].value: ",
    )?;
    taken(cluster, &with("bfdProfile", "calm".into()), "spec.bfdProfile: there is no BFDProfile \"calm\"")?;
    taken(cluster, &with("disableMP", true.into()), "spec.disableMP is deprecated")?;
    taken(cluster, &bgp("marked", json!({ "communities": ["blue"] })), "blue")?;
    taken(
        cluster,
        &object(
            "v1beta1",
            "Community",
            "names",
            &json!({ "communities": [{ "name": "blue", "value": "64500:7" }] }),
        ),
        "",
    )?;
    taken(cluster, &object("v1beta1", "BFDProfile", "calm", &json!({})), "")?;
    taken(cluster, &with("bfdProfile", "calm".into()), "")?;
    let mut elsewhere = pool("far", &["192.0.2.0/24"], json!({}));
    elsewhere["metadata"]["namespace"] = SHOP.into();
    refused(cluster, &elsewhere, "is read only in namespace \"landfall-system\"")?;
    let deleted = cluster.kubectl(["delete", "bfdprofile", "calm", "-n", NAMESPACE]);
    let error = format!("{:#}", deleted.err().context("it is in use, and deleted")?);
    ensure!(error.contains("BGPPeer \"tor\" names it in spec.bfdProfile"), "{error}");
    cluster.kubectl(["delete", "bgppeer", "tor", "-n", NAMESPACE])?;
    cluster.kubectl(["delete", "bfdprofile", "calm", "-n", NAMESPACE])?;
    cluster.kubectl(["delete", "bgpadvertisement", "marked", "-n", NAMESPACE])?;
    cluster.kubectl(["delete", "community", "names", "-n", NAMESPACE]).map(drop)
}

fn changes(cluster: &Cluster) -> Result<()> {
    taken(cluster, &pool("one", &["192.0.2.0/26"], json!({})), "")?;
    taken(
        cluster,
        &object(
            "v1beta1",
            "BGPAdvertisement",
            "wide",
            &json!({ "aggregationLength": 26, "ipAddressPools": ["one"] }),
        ),
        "",
    )?;
    // MetalLB takes this one, and its speakers then stay with what they had.
    refused(
        cluster,
        &pool("one", &["192.0.2.0/28"], json!({})),
        "BGPAdvertisement landfall-system/wide: spec.aggregationLength: ",
    )?;
    taken(cluster, &pool("one", &["192.0.2.0/25"], json!({})), "")?;
    cluster.kubectl(["delete", "bgpadvertisement", "wide", "-n", NAMESPACE])?;
    cluster.kubectl(["delete", "ipaddresspool", "one", "-n", NAMESPACE]).map(drop)
}

fn old_peers(cluster: &Cluster) -> Result<()> {
    let spec = json!({
        "myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.1", "holdTime": "90s",
        "nodeSelectors": [{ "matchLabels": { "rack": "1" } }],
    });
    let (is_taken, said) = applied(cluster, &object("v1beta1", "BGPPeer", "old", &spec))?;
    ensure!(is_taken && said.contains("metallb.io/v1beta1 BGPPeer is deprecated"), "{said}");
    let read = |version: &str| -> Result<Value> {
        let kind = format!("bgppeers.{version}.metallb.io");
        Ok(serde_json::from_str(&cluster.kubectl(["get", &kind, "old", "-n", NAMESPACE, "-o", "json"])?)?)
    };
    let new = read("v1beta2")?;
    for (field, value) in spec.as_object().into_iter().flatten() {
        ensure!(new["spec"][field] == *value, "{field}: {new}");
    }
    ensure!(new["spec"]["peerPort"] == 179, "{new}");
    let wide = json!({ "spec": { "vrf": "red" } }).to_string();
    cluster.kubectl(["patch", "bgppeer", "old", "-n", NAMESPACE, "--type=merge", "-p", &wide])?;
    let old = read("v1beta1")?;
    ensure!(old["spec"].get("vrf").is_none() && old["spec"]["holdTime"] == "90s", "{old}");
    // What is wrong with it is found in the old version too.
    refused(
        cluster,
        &object(
            "v1beta1",
            "BGPPeer",
            "bad",
            &json!({ "myASN": 0, "peerASN": 1, "peerAddress": "192.0.2.1" }),
        ),
        "spec.myASN: ",
    )?;
    cluster.kubectl(["delete", "bgppeer", "old", "-n", NAMESPACE]).map(drop)
}

fn replicas(cluster: &Cluster) -> Result<()> {
    let good = pool("busy", &["192.0.2.0/24"], json!({}));
    let bad = pool("busy", &["192.0.2.0/33"], json!({}));
    let leader = cluster.leader()?;
    cluster.kubectl(["delete", "pod", &leader, "-n", NAMESPACE, "--wait=false"])?;
    // The Pod that goes answers until its endpoint is gone.
    for _ in 0..10 {
        taken(cluster, &good, "")?;
        refused(cluster, &bad, "spec.addresses[0]: ")?;
    }
    cluster.rolled_out()?;
    cluster.kubectl(["delete", "ipaddresspool", "busy", "-n", NAMESPACE]).map(drop)
}

fn secret(cluster: &Cluster) -> Result<Secret> {
    let api: Api<Secret> = Api::namespaced(cluster.bed().client(), NAMESPACE);
    cluster.wait_for(api.get(SECRET)).context("read the Secret with the certificate")
}

fn entry(secret: &Secret, key: &str) -> Result<String> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(key)).context("an entry")?;
    Ok(String::from_utf8(bytes.0.clone())?)
}

fn renewal(cluster: &Cluster) -> Result<()> {
    // One of the same authority, which ends in a month.
    let stored = secret(cluster)?;
    let authority =
        Issuer::from_ca_cert_pem(&entry(&stored, "ca.crt")?, KeyPair::from_pem(&entry(&stored, "ca.key")?)?)?;
    let mut params = CertificateParams::new(
        ["landfall-webhook", "metallb-webhook-service"]
            .map(|name| format!("{name}.{NAMESPACE}.svc"))
            .to_vec(),
    )?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(30);
    let key = KeyPair::generate()?;
    let ending = params.signed_by(&key, &authority)?.pem();

    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("metallb.io", "v1beta1", "IPAddressPool"));
    let pools: Api<DynamicObject> = Api::namespaced_with(cluster.bed().client(), NAMESPACE, &kind);
    let load = cluster.spawn({
        let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
        async move {
            let mut avoid = false;
            while !stop.load(Ordering::Relaxed) {
                avoid = !avoid;
                let patch = Patch::Merge(json!({ "spec": { "avoidBuggyIPs": avoid } }));
                pools.patch("lan", &PatchParams::default(), &patch).await?;
                asked.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, kube::Error>(())
        }
    });
    let secrets: Api<Secret> = Api::namespaced(cluster.bed().client(), NAMESPACE);
    let data = json!({ "data": {
        "tls.crt": ByteString(ending.clone().into_bytes()), "tls.key": ByteString(key.serialize_pem().into_bytes()),
    } });
    cluster.wait_for(secrets.patch(SECRET, &PatchParams::default(), &Patch::Merge(data)))?;
    until("a new certificate", TOLD, || {
        let now = secret(cluster)?;
        ensure!(entry(&now, "tls.crt")? != ending, "it is the one that ends");
        ensure!(entry(&now, "ca.crt")? == entry(&stored, "ca.crt")?, "another authority");
        Ok(())
    })?;
    let before = asked.load(Ordering::Relaxed);
    until("more questions", TOLD, || {
        ensure!(asked.load(Ordering::Relaxed) > before + 100);
        Ok(())
    })?;
    stop.store(true, Ordering::Relaxed);
    cluster.wait_for(load)?.context("a question was not answered")
}

fn repairs(cluster: &Cluster) -> Result<()> {
    let kind = "validatingwebhookconfiguration";
    let break_it =
        json!([{ "op": "replace", "path": "/webhooks/0/clientConfig/service/name", "value": "nobody" }]);
    cluster.kubectl(["patch", kind, CONFIGURATION, "--type=json", "-p", &break_it.to_string()])?;
    let works = || {
        let text = cluster.kubectl(["get", kind, CONFIGURATION, "-o", "json"])?;
        ensure!(!text.contains("nobody"), "{text}");
        refused(cluster, &pool("bad", &["10.77.0.250-10.77.0.1"], json!({})), "spec.addresses[0]: ")
    };
    until("the configuration to be put right", TOLD, works)?;
    for line in guide::commands("docs/admission.md", "## When no webhook answers")? {
        cluster.shell(&line)?;
    }
    until("the configuration to be made again", TOLD, works)?;
    // Without its Secret everything is made anew, and trusted.
    cluster.kubectl(["delete", "secret", SECRET, "-n", NAMESPACE])?;
    until("a Secret", ASSIGNED, || secret(cluster).map(drop))?;
    until("the new certificate to be trusted", TOLD, works)
}

/// MetalLB's manifests with only another image: its configuration and its definition of BGPPeer lead to our namespace.
fn metallb(cluster: &Cluster) -> Result<()> {
    let service = |path: &str| json!({ "name": "landfall-webhook", "namespace": NAMESPACE, "path": path });
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": METALLB },
        "webhooks": [{
            "name": "communityvalidationwebhook.metallb.io", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": { "service": service("/validate-metallb-io-v1beta1-community") },
            "rules": [{
                "apiGroups": ["metallb.io"], "apiVersions": ["v1beta1"], "operations": ["CREATE"], "resources": ["communities"],
            }],
        }],
    });
    cluster.apply(&configuration)?;
    let bundle = "jsonpath={.webhooks[0].clientConfig.caBundle}";
    until("MetalLB's configuration to be trusted", TOLD, || {
        let text = cluster.kubectl(["get", "validatingwebhookconfiguration", METALLB, "-o", bundle])?;
        ensure!(!text.is_empty(), "no authorities");
        let bad = json!({ "communities": [{ "name": "a", "value": "x" }] });
        refused(cluster, &object("v1beta1", "Community", "bad", &bad), "spec.communities[0].value: ")
    })?;
    cluster.kubectl(["delete", "validatingwebhookconfiguration", METALLB])?;

    let conversion = json!({ "spec": { "conversion": { "strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"], "clientConfig": { "service": service("/convert") },
    } } } });
    let definition = ["patch", "crd", "bgppeers.metallb.io", "--type=merge", "-p"];
    cluster.kubectl(definition.into_iter().chain([conversion.to_string().as_str()]))?;
    let spec = json!({ "myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.1", "peerPort": 0 });
    until("the webhook to convert", TOLD, || cluster.apply(&object("v1beta1", "BGPPeer", "old", &spec)))?;
    let port =
        cluster.kubectl(["get", "bgppeer", "old", "-n", NAMESPACE, "-o", "jsonpath={.spec.peerPort}"])?;
    ensure!(port == "179", "{port:?}");
    cluster.kubectl(["delete", "bgppeer", "old", "-n", NAMESPACE])?;
    let none = json!({ "spec": { "conversion": { "strategy": "None", "webhook": null } } }).to_string();
    cluster.kubectl(definition.into_iter().chain([none.as_str()]))?;
    cluster.ensure_rights()
}
