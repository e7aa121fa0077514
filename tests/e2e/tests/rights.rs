//! What Landfall may do is what it does: each granted verb is used, none is missing, and so with capabilities.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use landfall_e2e::audit::Grant;
use landfall_e2e::cluster::ANSWERED;
use landfall_e2e::manifests::{NAMESPACE, SHOP, advertisement, list, pool, service};
use landfall_e2e::wait::until;
use landfall_e2e::{Cluster, Sections};
use serde_json::json;

/// From an address to the report that it is announced. A new DaemonSet may have to roll out in between.
const ANNOUNCED: Duration = Duration::from_secs(60);

/// A container that is started with less than it needs, until it says so.
const SAID: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs root and the control plane; make test runs it"]
fn rights_are_those_that_are_used() {
    let mut sections = Sections::on_new_cluster(prepare);
    sections.run("every verb that is granted is used, and none is missing", every_verb);
    sections.run("without NET_ADMIN nothing is forwarded, and it says so", without_net_admin);
    sections.run("without NET_RAW a speaker does not start, and it says so", without_net_raw);
    sections.finish();
}

fn prepare(cluster: &Cluster) -> Result<()> {
    cluster.deploy_backends("web", 3)?;
    cluster.install()?;
    let addresses = ["10.77.0.200-10.77.0.209"];
    cluster.apply(&list([pool("lan", &addresses, json!({})), advertisement("lan", &["lan"])]))
}

/// Goes through all that a controller and a speaker do, and compares.
fn every_verb(cluster: &Cluster) -> Result<()> {
    let of_type = |kind: &str| {
        let patch = json!({"spec": {"type": kind}}).to_string();
        cluster.kubectl(["patch", "service", "web", "-n", SHOP, "-p", &patch]).map(drop)
    };
    let reported = |whether: bool| {
        until("the speaker's report", ANNOUNCED, || {
            let announced = announced(cluster)?;
            ensure!(announced.contains("web") == whether, "announced: {announced:?}");
            Ok(())
        })
    };
    cluster.apply(&service("web", "web", json!({})))?;
    let address = cluster.address("web")?;
    reported(true)?;
    // Away and back: the same events are said again, so their counts rise.
    of_type("ClusterIP")?;
    reported(false)?;
    of_type("LoadBalancer")?;
    ensure!(cluster.address("web")? == address, "it has its address again");
    reported(true)?;
    // Another address, with the condition as it is: the time of its transition is read and kept.
    let wanted = "metallb.io/loadBalancerIPs=10.77.0.205";
    cluster.kubectl(["annotate", "service", "web", "-n", SHOP, wanted])?;
    webhooks(cluster)?;
    metrics(cluster)?;
    until("every granted verb to be used", ANSWERED, || {
        let roles =
            cluster.kubectl(["get", "clusterroles,roles", "-A", "-l", "app=landfall", "-o", "json"])?;
        let granted = Grant::of_roles(&serde_json::from_str(&roles)?)?;
        ensure!(granted.len() > 30, "two service accounts are granted only {} verbs", granted.len());
        let calls = cluster.audit().calls()?;
        let unused = |grant: &&Grant| !calls.iter().any(|call| grant.is_used_by(call));
        let unused: Vec<&Grant> = granted.iter().filter(unused).collect();
        ensure!(unused.is_empty(), "granted and not used: {unused:#?}");
        Ok(())
    })?;
    cluster.ensure_rights()
}

/// Metrics by HTTPS are shown to who has a token that may get them.
fn metrics(cluster: &Cluster) -> Result<()> {
    let reader = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "metrics-reader"},
        "rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}],
    });
    let bound = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "metrics-reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "metrics-reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "prometheus", "namespace": SHOP}],
    });
    let account = |name: &str| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": SHOP}});
    cluster.apply(&list([reader, bound, account("prometheus"), account("nobody")]))?;
    let token = |name: &str| cluster.kubectl(["create", "token", name, "-n", SHOP]);
    let (good, poor) = (token("prometheus")?, token("nobody")?);
    let from = cluster.bed().nodes().next().context("a node")?.host();
    for component in ["component=controller", "component=speaker"] {
        let pods = cluster.pods(NAMESPACE, component)?;
        let address =
            pods.iter().find_map(|pod| pod.status.as_ref()?.pod_ip.clone()).context("an address")?;
        for (token, expected) in [(good.trim(), "200"), (poor.trim(), "403"), ("nonsense", "401")] {
            let bearer = format!("authorization: Bearer {token}");
            let url = format!("https://{address}:9120/metrics");
            until("an answer about the token", ANSWERED, || {
                let asked = ["-sk", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", "-H", &bearer, &url];
                let output = from.command("curl").args(asked).output()?;
                let code = String::from_utf8_lossy(&output.stdout).into_owned();
                ensure!(code == expected, "{component} answers {code}, not {expected}");
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// What the webhooks of a controller need, for MetalLB's configuration and its definition of BGPPeer too.
fn webhooks(cluster: &Cluster) -> Result<()> {
    let service = json!({"name": "landfall-webhook", "namespace": NAMESPACE, "path": "/convert"});
    let metallb = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "metallb-webhook-configuration"},
        "webhooks": [{
            "name": "pools.metallb.io", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"service": service}, "rules": [],
        }],
    });
    cluster.apply(&metallb)?;
    let ours = ["delete", "validatingwebhookconfiguration", "metallb-webhook-configuration"];
    let conversion = json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"], "clientConfig": {"service": service},
    }}}});
    let patch = ["patch", "crd", "bgppeers.metallb.io", "--type=merge", "-p"];
    cluster.kubectl(patch.into_iter().chain([conversion.to_string().as_str()]))?;
    // A certificate that cannot be used is replaced.
    let secret = ["patch", "secret", "landfall-webhook-cert", "-n", NAMESPACE, "--type=merge", "-p"];
    cluster.kubectl(secret.into_iter().chain([r#"{"data":{"tls.crt":""}}"#]))?;
    let peer = json!({
        "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer", "metadata": {"name": "tor", "namespace": NAMESPACE},
        "spec": {"myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.1"},
    });
    until("a peer to be let in", ANSWERED, || cluster.apply(&peer))?;
    cluster.kubectl(ours)?;
    // Only where there are such objects are the nodes looked at.
    cluster.apply(&pool("other", &["10.77.0.220/32"], json!({})))?;
    // Without webhooks what the API server was told of them is taken back, and of Pods too where a controller with AWS was before.
    let for_pods = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "landfall-webhook"},
    });
    cluster.apply(&for_pods)?;
    cluster.serve_webhooks(false)?;
    until("the webhook for Pods to be gone", ANSWERED, || {
        let names = cluster.kubectl(["get", "mutatingwebhookconfigurations", "-o", "name"])?;
        ensure!(!names.contains("landfall-webhook"), "{names}");
        Ok(())
    })?;
    cluster.serve_webhooks(true)
}

/// The names of the Services that the speakers say they announce.
fn announced(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let column = "jsonpath={.items[*].status.serviceName}";
    let names = cluster.kubectl(["get", "servicel2statuses", "-n", NAMESPACE, "-o", column])?;
    Ok(names.split_whitespace().map(str::to_owned).collect())
}

fn without_net_admin(cluster: &Cluster) -> Result<()> {
    with_capabilities(cluster, "NET_RAW")?;
    said(cluster, "NET_RAW", "this node cannot forward in mode node-port")?;
    let annotated = json!({"metadata": {"annotations": {"landfall.dev/forwarding": "node-port"}}});
    cluster.apply(&service("proxied", "web", annotated))?;
    cluster.address("proxied")?;
    // One that came after it is announced, as NET_RAW is enough for.
    cluster.apply(&service("later", "web", json!({})))?;
    cluster.address("later")?;
    until("the later Service to be announced", ANNOUNCED, || {
        let announced = announced(cluster)?;
        ensure!(announced.contains("later"), "announced: {announced:?}");
        ensure!(!announced.contains("proxied"), "it is announced and cannot be forwarded");
        Ok(())
    })
}

fn without_net_raw(cluster: &Cluster) -> Result<()> {
    with_capabilities(cluster, "NET_ADMIN")?;
    said(cluster, "NET_ADMIN", "the capability NET_RAW is missing")
}

/// Gives the speakers this capability only, all of them at once.
fn with_capabilities(cluster: &Cluster, capability: &str) -> Result<()> {
    let patch = json!({"spec": {
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
        "template": {"spec": {"containers": [{
            "name": "speaker",
            "securityContext": {"capabilities": {"drop": ["ALL"], "add": [capability]}},
        }]}},
    }});
    cluster
        .kubectl(["patch", "daemonset", "landfall-speaker", "-n", NAMESPACE, "-p", &patch.to_string()])
        .map(drop)
}

/// Waits until all speakers have this capability, and the log of each has `text` in it.
fn said(cluster: &Cluster, capability: &str, text: &str) -> Result<()> {
    until("the speakers to say what they lack", SAID, || {
        let pods = cluster.pods(NAMESPACE, "component=speaker")?;
        let live: Vec<_> = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect();
        ensure!(live.len() == cluster.bed().nodes().count(), "{} speakers", live.len());
        for pod in live {
            let name = pod.metadata.name.as_deref().context("a name")?;
            let container =
                pod.spec.as_ref().and_then(|spec| spec.containers.first()).context("a container")?;
            let security =
                container.security_context.as_ref().and_then(|context| context.capabilities.as_ref());
            let added = security.and_then(|capabilities| capabilities.add.as_deref()).unwrap_or_default();
            ensure!(added == [capability], "{name} has {added:?}");
            let log = cluster.log(NAMESPACE, name, "speaker")?;
            ensure!(log.contains(text), "the log of {name} does not say {text:?}");
        }
        Ok(())
    })
}
