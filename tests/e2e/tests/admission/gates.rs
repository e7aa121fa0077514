//! New Pods of Services whose targets are Pods. AWS is away: no replica needs it to answer.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use landfall_e2e::Cluster;
use landfall_e2e::audit::Grant;
use landfall_e2e::manifests::{NAMESPACE, SHOP, service};
use landfall_e2e::wait::until;
use landfall_testbed::guide;
use serde_json::{Value, json};

use crate::{CONFIGURATION, TOLD};

const KIND: &str = "mutatingwebhookconfiguration";
const GATE: &str = "target-health.elbv2.k8s.aws/k8s-shop-gated-";

/// It is looked at every ten seconds whether an earlier replica has told the API server once more.
const TAKEN_BACK: Duration = Duration::from_secs(60);

pub(crate) fn of_new_pods(cluster: &Cluster) -> Result<()> {
    is_told(cluster, false)?;
    let rights = guide::repository().join("deploy/overlays/aws/rbac.yaml");
    cluster.kubectl(["apply", "-f", &rights.display().to_string()])?;
    with_flags(cluster, &["--provider=pool,aws", "--cluster-name=harbor"])?;
    is_told(cluster, true)?;
    for line in guide::commands("docs/aws.md", "## Pods that wait for their targets")? {
        cluster.shell(&line)?;
    }

    let annotation = "service.beta.kubernetes.io/aws-load-balancer-nlb-target-type";
    cluster.apply(&service(
        "gated",
        "gated",
        json!({
            "metadata": { "annotations": { annotation: "ip" } },
            "spec": { "loadBalancerClass": "service.k8s.aws/nlb" },
        }),
    ))?;
    ensure!(gates(cluster, SHOP, "gated")?.is_empty(), "its target group is not there yet");
    // What a controller that reaches AWS writes.
    patch(cluster, &json!({ "metadata": { "finalizers": ["service.k8s.aws/resources"] } }), &[])?;
    let shown =
        json!({ "status": { "loadBalancer": { "ingress": [{ "hostname": "x.elb.amazonaws.com" }] } } });
    patch(cluster, &shown, &["--subresource=status"])?;
    let gated = || {
        let gates = gates(cluster, SHOP, "gated")?;
        ensure!(gates.len() == 1 && gates[0].starts_with(GATE), "{gates:?}");
        Ok(())
    };
    // One replica leads, the other does not, and both are asked.
    let all = || (0..10).try_for_each(|_| gated());
    until("new Pods to get a gate", TOLD, all)?;
    ensure!(gates(cluster, SHOP, "other")?.is_empty(), "no Service selects it");
    ensure!(gates(cluster, "default", "gated")?.is_empty(), "its namespace has no label");

    let broken =
        json!([{ "op": "replace", "path": "/webhooks/0/clientConfig/service/name", "value": "nobody" }]);
    cluster.kubectl(["patch", KIND, CONFIGURATION, "--type=json", "-p", &broken.to_string()])?;
    until("the configuration to be put right", TOLD, all)?;
    cluster.kubectl(["delete", KIND, CONFIGURATION])?;
    until("the configuration to be made again", TOLD, all)?;
    rights_are_used(cluster)?;

    with_flags(cluster, &[])?;
    is_told(cluster, false)?;
    ensure!(gates(cluster, SHOP, "gated")?.is_empty(), "nobody makes target groups any more");
    patch(cluster, &json!({ "metadata": { "finalizers": null } }), &[])?;
    cluster.kubectl(["delete", "service", "gated", "-n", SHOP])?;
    cluster.kubectl(["label", "namespace", SHOP, "elbv2.k8s.aws/pod-readiness-gate-inject-"])?;
    cluster.kubectl(["delete", "-f", &rights.display().to_string()]).map(drop)
}

fn with_flags(cluster: &Cluster, flags: &[&str]) -> Result<()> {
    let arguments: Vec<&str> = std::iter::once("controller").chain(flags.iter().copied()).collect();
    let patch = json!([
        { "op": "replace", "path": "/spec/template/spec/containers/0/args", "value": arguments },
    ]);
    let target = ["patch", "deployment", "landfall-controller", "-n", NAMESPACE, "--type=json", "-p"];
    cluster.kubectl(target.into_iter().chain([patch.to_string().as_str()]))?;
    cluster.rolled_out()
}

fn is_told(cluster: &Cluster, whether: bool) -> Result<()> {
    until("what the API server is told of Pods", TAKEN_BACK, || {
        let names = cluster.kubectl(["get", KIND, "-o", "name"])?;
        ensure!(names.contains(CONFIGURATION) == whether, "{names}");
        Ok(())
    })
}

fn patch(cluster: &Cluster, patch: &Value, flags: &[&str]) -> Result<()> {
    let patch = patch.to_string();
    let target = ["patch", "service", "gated", "-n", SHOP, "--type=merge", "-p", &patch];
    cluster.kubectl(target.into_iter().chain(flags.iter().copied())).map(drop)
}

/// The gates that a new Pod would have.
fn gates(cluster: &Cluster, namespace: &str, app: &str) -> Result<Vec<String>> {
    let arguments = ["run", "new", "-n", namespace, "--image=landfall-testbed/backend", "--dry-run=server"];
    let labels = format!("--labels=app={app}");
    let pod = cluster.kubectl(arguments.into_iter().chain([labels.as_str(), "-o", "json"]))?;
    let pod: Value = serde_json::from_str(&pod)?;
    let gates = pod["spec"]["readinessGates"].as_array().into_iter().flatten();
    gates.map(|gate| gate["conditionType"].as_str().map(str::to_owned).context("a type")).collect()
}

/// The rights about Pods that the overlay adds; those about AWS are tested beside it.
fn rights_are_used(cluster: &Cluster) -> Result<()> {
    let role = cluster.kubectl(["get", "clusterrole", "landfall-controller-aws", "-o", "json"])?;
    let role: Value = serde_json::from_str(&role)?;
    let mut grants = Grant::of_roles(&json!({ "items": [role] }))?;
    grants.retain(|grant| grant.resource == "mutatingwebhookconfigurations");
    ensure!(grants.len() == 3, "{grants:?}");
    let calls = cluster.audit().calls()?;
    let unused: BTreeSet<_> =
        grants.iter().filter(|grant| !calls.iter().any(|call| grant.is_used_by(call))).collect();
    ensure!(unused.is_empty(), "not used: {unused:?}");
    Ok(())
}
