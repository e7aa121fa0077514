//! As a new user would, by the documentation alone: Landfall is installed, gives a first Service its address, and is removed.
//! Nothing of it is left then: no address, condition, annotation or finalizer on a Service, no definition, role or namespace,
//! no rule and no file on a node.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use landfall_e2e::cluster::ANSWERED;
use landfall_e2e::manifests::{NAMESPACE, service};
use landfall_e2e::requests::first_answer;
use landfall_e2e::wait::until;
use landfall_e2e::{Cluster, Sections};
use landfall_testbed::guide;
use serde_json::{Value, json};

/// Where a node keeps what it remembers.
const STATE: &str = "/var/lib/landfall";

/// The garbage collector learns of a new kind within half a minute.
const COLLECTED: Duration = Duration::from_secs(90);

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
    first_service(cluster)?;
    cluster.apply(&service("web", "web", json!({})))?;
    let annotated = json!({"metadata": {"annotations": {"landfall.dev/forwarding": "node-port"}}});
    cluster.apply(&service("proxied", "web", annotated))?;
    for name in ["web", "proxied"] {
        first_answer(cluster.client(), SocketAddr::new(cluster.address(name)?, 80), ANSWERED)?;
    }
    // There is no address left: this one has a condition only.
    cluster.apply(&service("waiting", "web", json!({})))?;
    let file = cluster.bed().logs().join("cluster.json").display().to_string();
    for line in guide::commands("docs/plan.md", "## Against a cluster")? {
        let printed = cluster.shell(&line.replace("cluster.json", &file))?;
        ensure!(printed.is_empty() || printed.starts_with("VALID"), "{printed}");
        ensure!(!printed.contains(" yes "), "a plan of what is changes nothing: {printed}");
    }
    cluster.refused("waiting").map(drop)
}

/// The README's first Service, with the addresses of the bed's LAN; three instead of forty.
fn first_service(cluster: &Cluster) -> Result<()> {
    const SECTION: &str = "## The first Service";
    cluster.shell("kubectl create deployment web --image landfall-testbed/backend")?;
    let [manifest] = &guide::blocks("README.md", SECTION, "yaml")?[..] else { bail!("one manifest") };
    let file = cluster.bed().logs().join("lan.yaml");
    let range = "192.0.2.200-192.0.2.239";
    ensure!(manifest.contains(range), "{manifest}");
    fs::write(&file, manifest.replace(range, "10.77.0.200-10.77.0.202"))?;
    let file = file.display().to_string();
    for line in guide::commands("README.md", SECTION)? {
        let line = line.replace("target/release/landfall", "landfall").replace("lan.yaml", &file);
        if !line.starts_with("landfall status") {
            cluster.shell(&line)?;
            continue;
        }
        let status = until("a status that is well", ANSWERED, || {
            let status = cluster.shell(&line)?;
            ensure!(status.contains("served"), "{status}");
            Ok(status)
        })?;
        let shown = guide::blocks("README.md", SECTION, "text")?.concat();
        let heads = |text: &str| -> Vec<Vec<String>> {
            let heads = text.lines().filter(|line| line.chars().next().is_some_and(char::is_uppercase));
            heads.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
        };
        ensure!(heads(&shown) == heads(&status), "the README shows\n{shown}\nand it is\n{status}");
    }
    first_answer(cluster.client(), SocketAddr::from(([10, 77, 0, 200], 80)), ANSWERED).map(drop)?;
    // The page's whole configuration is understood by the API server, every field of it.
    let [example] = &guide::blocks("README.md", "## The whole configuration, by example", "yaml")?[..] else {
        bail!("one example")
    };
    let file = cluster.bed().logs().join("example.yaml");
    fs::write(&file, example)?;
    let dry = format!("kubectl apply --dry-run=server --validate=strict -f {}", file.display());
    cluster.shell(&dry).map(drop)
}

/// Every Service of `type: LoadBalancer`, or that was one.
fn services(cluster: &Cluster) -> Result<Vec<Value>> {
    let text = cluster.kubectl(["get", "services", "-A", "-o", "json", "--show-managed-fields"])?;
    let list: Value = serde_json::from_str(&text)?;
    let services = list["items"].as_array().cloned().unwrap_or_default();
    Ok(services.into_iter().filter(|service| service["spec"]["type"] == "LoadBalancer").collect())
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
    // A report whose Pod the API server never knew, as it is written by a speaker outside of one.
    let lost = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "ConfigurationState",
        "metadata": {
            "name": "speaker-lost", "namespace": NAMESPACE,
            "labels": {"metallb.io/component-type": "speaker", "metallb.io/node-name": "lost"},
        },
    });
    let file = cluster.bed().logs().join("lost.json");
    fs::write(&file, lost.to_string())?;
    let file = file.display().to_string();
    cluster.kubectl(["apply", "--server-side", "--field-manager=configReconciler", "-f", &file])?;
    for line in guide::commands("docs/installs.md", "## Removing one")? {
        // The second block is for clusters where others need the definitions; another test types it.
        if line.starts_with("kubectl delete -k deploy/base") {
            break;
        }
        if line.starts_with("landfall cleanup cluster") {
            until("the reports to go with their Pods", COLLECTED, || {
                let states = cluster.kubectl(["get", "configurationstates", "-A", "-o", "name"])?;
                ensure!(states.lines().count() == 1, "{states}");
                Ok(())
            })?;
        }
        let words = cluster.shell(&line)?;
        if line.starts_with("landfall cleanup cluster") {
            ensure!(words.matches("took back").count() == 4, "four Services: {words}");
            ensure!(words.contains("removed ConfigurationState speaker-lost"), "{words}");
            let states = cluster.kubectl(["get", "configurationstates", "-A", "-o", "name"])?;
            ensure!(states.is_empty(), "reports are left: {states}");
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
    ensure!(services.len() == 4, "the Services stay: {services:?}");
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
