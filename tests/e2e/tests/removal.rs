//! Landfall is removed by the commands of the documentation, and nothing of it is left: no address, condition, annotation
//! or finalizer on a Service, no definition, role or namespace, no rule and no file on a node.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use landfall_e2e::cluster::{ANSWERED, repository};
use landfall_e2e::manifests::{SHOP, advertisement, list, pool, service};
use landfall_e2e::requests::first_answer;
use landfall_e2e::wait::until;
use landfall_e2e::{Cluster, Sections, guide};
use serde_json::{Value, json};

/// Where a node keeps what it remembers.
const STATE: &str = "/var/lib/landfall";

#[test]
#[ignore = "needs root and the control plane; make test runs it"]
fn nothing_is_left_after_a_removal() {
    let mut sections = Sections::on_new_cluster(prepare);
    sections.run("while a controller runs, nothing is taken back", refused);
    sections.run("the documented commands remove everything", removed);
    sections.finish();
}

fn prepare(cluster: &Cluster) -> Result<()> {
    cluster.deploy_backends("web", 3)?;
    cluster.install()?;
    let addresses = ["10.77.0.200-10.77.0.201"];
    cluster.apply(&list([pool("lan", &addresses, json!({})), advertisement("lan", &["lan"])]))?;
    cluster.apply(&service("web", "web", json!({})))?;
    let annotated = json!({"metadata": {"annotations": {"landfall.dev/forwarding": "node-port"}}});
    cluster.apply(&service("proxied", "web", annotated))?;
    for name in ["web", "proxied"] {
        first_answer(cluster.client(), SocketAddr::new(cluster.address(name)?, 80), ANSWERED)?;
    }
    // There is no third address: this one has a condition only.
    cluster.apply(&service("waiting", "web", json!({})))?;
    cluster.refused("waiting").map(drop)
}

fn services(cluster: &Cluster) -> Result<Vec<Value>> {
    let text = cluster.kubectl(["get", "services", "-n", SHOP, "-o", "json", "--show-managed-fields"])?;
    let list: Value = serde_json::from_str(&text)?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

fn refused(cluster: &Cluster) -> Result<()> {
    let before = services(cluster)?;
    let output = cluster.run_landfall(&["cleanup", "cluster"])?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2), "{output:?}");
    ensure!(error.contains("a controller still runs") && error.contains("Deployment"), "{error}");
    ensure!(services(cluster)? == before, "something was taken back");
    Ok(())
}

fn removed(cluster: &Cluster) -> Result<()> {
    until("every node to remember something", ANSWERED, || {
        for node in cluster.bed().nodes() {
            let file = node.disk(STATE).join("facts.jsonl");
            ensure!(file.exists(), "{} is not there", file.display());
        }
        Ok(())
    })?;
    let document = fs::read_to_string(repository().join("docs/installs.md"))?;
    for line in guide::commands(&document, "## Removing one")? {
        // The second block is for clusters where others need the definitions: they are gone here.
        if line.starts_with("kubectl delete -k deploy/base") {
            break;
        }
        let words = cluster.shell(&line)?;
        eprintln!("   $ {line}");
        if line.starts_with("landfall cleanup cluster") {
            ensure!(words.matches("took back").count() == 3, "three Services: {words}");
            ensure!(
                words.contains("removed Lease") && words.contains("removed Secret memberlist"),
                "{words}"
            );
            let again = cluster.shell(&line)?;
            ensure!(again == "nothing is left of it\n", "{again}");
        }
    }
    services_are_clean(cluster)?;
    let everything = [
        ("crds", "metallb.io"),
        ("clusterroles", "landfall"),
        ("clusterrolebindings", "landfall"),
        ("namespaces", "landfall"),
        ("pods,leases,secrets,daemonsets,deployments,poddisruptionbudgets", "landfall"),
    ];
    for (kinds, word) in everything {
        let names = cluster.kubectl(["get", kinds, "-A", "-o", "name"])?;
        ensure!(!names.contains(word), "{kinds} are left: {names}");
    }
    for node in cluster.bed().nodes() {
        let tables = node.host().command("nft").args(["list", "tables"]).output()?;
        let tables = String::from_utf8_lossy(&tables.stdout).into_owned();
        ensure!(!tables.contains("landfall"), "{} has {tables}", node.host().name());
        ensure!(tables.contains("kube-proxy"), "others' tables stay: {tables}");
        let left: Vec<_> = fs::read_dir(node.disk(STATE)).into_iter().flatten().flatten().collect();
        ensure!(left.is_empty(), "{} has {left:?}", node.host().name());
    }
    cluster.ensure_rights()
}

fn services_are_clean(cluster: &Cluster) -> Result<()> {
    let services = services(cluster)?;
    ensure!(services.len() >= 3, "the Services stay: {services:?}");
    for service in services {
        let name = service["metadata"]["name"].as_str().context("a name")?;
        let text = service.to_string();
        ensure!(service["status"]["loadBalancer"] == json!({}), "{name} has an address: {text}");
        ensure!(service["status"].get("conditions").is_none(), "{name} has conditions: {text}");
        ensure!(service["metadata"].get("finalizers").is_none(), "{name} has finalizers: {text}");
        // The annotation that its owner wrote stays, in all places where the API server keeps it.
        let ours = text.replace("landfall.dev/forwarding", "");
        ensure!(!ours.contains("landfall") && !ours.contains("ip-allocated-from-pool"), "{name}: {ours}");
    }
    Ok(())
}
