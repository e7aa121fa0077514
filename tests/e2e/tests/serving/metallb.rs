//! Landfall in the place of MetalLB's programs: its environment, its labels, its flags, nothing of ours.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use landfall_e2e::Cluster;
use landfall_e2e::cluster::ANSWERED;
use landfall_e2e::manifests::{advertisement, list, merged, namespace, pool, service};
use landfall_e2e::requests::{TIMEOUT, every_backend, http, settled};
use landfall_testbed::guide::repository;
use serde_json::{Value, json};

const NAMESPACE: &str = "metallb-system";

/// Both daemons start from MetalLB's environment alone and do their work.
pub(crate) fn environment(cluster: &Cluster) -> Result<()> {
    let folder = repository().join("deploy").display().to_string();
    cluster.kubectl(["delete", "-k", &folder, "--ignore-not-found", "--timeout=60s"])?;
    cluster.kubectl(["apply", "-k", &format!("{folder}/crds")])?;
    for kind in ["ipaddresspools", "l2advertisements", "servicel2statuses"] {
        let crd = format!("crd/{kind}.metallb.io");
        cluster.kubectl(["wait", "--for=condition=Established", &crd, "--timeout=30s"])?;
    }
    cluster.apply(&list([namespace(NAMESPACE), account(), rights(), controller(), speaker()]))?;
    let placed = |object: Value| merged(object, json!({"metadata": {"namespace": NAMESPACE}}));
    let metal = pool("metal", &["10.77.0.250/32"], json!({"autoAssign": false}));
    cluster.apply(&list([placed(metal), placed(advertisement("metal", &["metal"]))]))?;
    for what in ["deployment/controller", "daemonset/speaker"] {
        cluster.kubectl(["rollout", "status", what, "-n", NAMESPACE, "--timeout=60s"])?;
    }

    let legacy = json!({"metadata": {"annotations": {"metallb.universe.tf/address-pool": "metal"}}});
    cluster.apply(&service("metal", "web", legacy))?;
    let address = cluster.address("metal")?;
    ensure!(address.to_string() == "10.77.0.250", "{address}");
    let target = SocketAddr::new(address, 80);
    settled(cluster.client(), target, ANSWERED)?;
    every_backend(&cluster.backends("web")?, 100, || http(cluster.client(), target, TIMEOUT))?;

    let pods = cluster.pods(NAMESPACE, "app=metallb")?;
    ensure!(pods.len() == 4, "one controller and three speakers, there are {}", pods.len());
    for pod in pods {
        let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
        let restarts = statuses.and_then(|all| all.first()).map(|status| status.restart_count);
        ensure!(restarts.context("a container")? == 0, "{} has started again", pod.name_any());
    }
    Ok(())
}

fn account() -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "metallb", "namespace": NAMESPACE}})
}

/// What they may do is not the question here.
fn rights() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "metallb"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "metallb", "namespace": NAMESPACE}],
    })
}

fn field(name: &str, path: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}})
}

fn controller() -> Value {
    let labels = json!({"app": "metallb", "component": "controller"});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "controller", "namespace": NAMESPACE},
        "spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"serviceAccountName": "metallb", "terminationGracePeriodSeconds": 0, "containers": [{
                "name": "controller", "image": "landfall",
                "args": ["--port=7472", "--log-level=info", "--webhook-mode=enabled", "--tls-min-version=VersionTLS12"],
                "env": [
                    {"name": "METALLB_ML_SECRET_NAME", "value": "memberlist"},
                    {"name": "METALLB_DEPLOYMENT", "value": "controller"},
                    field("METALLB_NAMESPACE", "metadata.namespace"),
                    field("METALLB_POD_NAME", "metadata.name"),
                ],
            }]},
        }},
    })
}

fn speaker() -> Value {
    let labels = json!({"app": "metallb", "component": "speaker"});
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "speaker", "namespace": NAMESPACE},
        "spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"serviceAccountName": "metallb", "hostNetwork": true, "terminationGracePeriodSeconds": 2, "containers": [{
                "name": "speaker", "image": "landfall",
                "args": ["--port=7472", "--log-level=info", "--ml-wan-config", "--frrk8s-namespace=frr"],
                "env": [
                    field("METALLB_NODE_NAME", "spec.nodeName"),
                    field("METALLB_POD_NAME", "metadata.name"),
                    field("METALLB_HOST", "status.hostIP"),
                    field("METALLB_ML_BIND_ADDR", "status.podIP"),
                    field("METALLB_NAMESPACE", "metadata.namespace"),
                    {"name": "METALLB_ML_LABELS", "value": "app=metallb,component=speaker"},
                    {"name": "METALLB_ML_BIND_PORT", "value": "7946"},
                    {"name": "METALLB_ML_SECRET_KEY_PATH", "value": "/etc/ml_secret_key"},
                ],
                "securityContext": {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]}},
                "volumeMounts": [{"name": "memberlist", "mountPath": "/etc/ml_secret_key", "readOnly": true}],
            }],
            "volumes": [{"name": "memberlist", "secret": {"secretName": "memberlist", "optional": true}}]},
        }},
    })
}
