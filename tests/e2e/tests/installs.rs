//! Two installs in one cluster, by the overlays in `deploy/overlays`: one in MetalLB's namespace for Services without a
//! class, one for the class `landfall.dev/second`. Whatever has a name has the same one in both: pool, advertisement,
//! Service, sharing key.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use landfall_e2e::cluster::{ANSWERED, ASSIGNED, ROLLOUT};
use landfall_e2e::manifests::{OVERLAYS, advertisement, backends, list, merged, namespace, pool, service};
use landfall_e2e::requests::{Traffic, settled};
use landfall_e2e::wait::until;
use landfall_e2e::{Cluster, Sections, history};
use landfall_testbed::guide;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

struct Install {
    namespace: &'static str,
    suffix: &'static str,
    class: Option<&'static str>,
    /// The namespace of its Service.
    shop: &'static str,
    addresses: &'static str,
    table: &'static str,
}

const FIRST: Install = Install {
    namespace: OVERLAYS[0],
    suffix: "",
    class: None,
    shop: "mall",
    addresses: "10.77.0.200-10.77.0.209",
    table: "inet landfall",
};

const SECOND: Install = Install {
    namespace: OVERLAYS[1],
    suffix: "-second",
    class: Some("landfall.dev/second"),
    shop: "arcade",
    addresses: "10.77.0.210-10.77.0.219",
    table: "inet landfall-second",
};

#[test]
#[ignore = "needs root and the control plane; make test runs it"]
fn two_installs_live_side_by_side() {
    let mut sections = Sections::on_new_cluster(prepare);
    sections.run("each install serves its own Service", each_serves_its_own);
    sections.run("landfall status shows one install", status_shows_one);
    sections.run("a static Pod serves an address of its own beside them", static_pods);
    sections.run("an install that is killed takes nothing from the other", killed);
    sections.run("nothing was forbidden to either", |cluster| {
        let forbidden = cluster.audit().forbidden()?;
        ensure!(forbidden.is_empty(), "{forbidden:?}");
        ensure!(!cluster.audit().writes()?.is_empty(), "the log is of these installs");
        Ok(())
    });
    sections.run("an install that is removed takes nothing from the other", removed);
    sections.finish();
}

/// MetalLB's namespace, kinds and pools are there first, as where Landfall takes MetalLB's place.
fn prepare(cluster: &Cluster) -> Result<()> {
    for line in guide::commands("docs/installs.md", "## In the place of MetalLB")? {
        cluster.shell(&line)?;
        if line.ends_with("deploy/crds") {
            cluster.kubectl(["wait", "--for=condition=Established", "--all", "crd", "--timeout=30s"])?;
            cluster.apply(&configuration(&FIRST))?;
        }
    }
    for line in guide::commands("docs/installs.md", "## Two installs side by side")? {
        // The status is not well before both controllers are there, and says so by its exit code.
        until(&line, ROLLOUT, || cluster.shell(&line).map(drop))?;
    }
    cluster.apply(&configuration(&SECOND))?;
    for install in [&FIRST, &SECOND] {
        for what in ["deployment/landfall-controller", "daemonset/landfall-speaker"] {
            let what = format!("{what}{}", install.suffix);
            let timeout = format!("--timeout={}s", ROLLOUT.as_secs());
            cluster.kubectl(["rollout", "status", &what, "-n", install.namespace, &timeout])?;
        }
        let place = json!({"metadata": {"namespace": install.shop}});
        let class = install.class.map_or(json!({}), |class| json!({"spec": {"loadBalancerClass": class}}));
        // Mode node-port, so that both have rules in the kernel.
        let annotations = json!({"metadata": {"annotations": {
            "landfall.dev/forwarding": "node-port", "metallb.io/allow-shared-ip": "key",
        }}});
        let service = merged(merged(service("web", "web", annotations), class), place.clone());
        cluster.apply(&list([namespace(install.shop), merged(backends("web", 2), place), service]))?;
    }
    Ok(())
}

fn configuration(install: &Install) -> Value {
    let placed = |object| merged(object, json!({"metadata": {"namespace": install.namespace}}));
    list([placed(pool("lan", &[install.addresses], json!({}))), placed(advertisement("lan", &["lan"]))])
}

/// The Service's port, once it has its address.
fn target(cluster: &Cluster, install: &Install) -> Result<SocketAddr> {
    let api: Api<Service> = Api::namespaced(cluster.bed().client(), install.shop);
    until(format!("an address of the Service in {}", install.shop), ASSIGNED, || {
        let service = cluster.wait_for(api.get("web"))?;
        let addresses = history::addresses(&service);
        let address = addresses.first().with_context(|| landfall_e2e::cluster::conditions(&service))?;
        Ok(SocketAddr::new(address.parse()?, 80))
    })
}

/// The nodes that have the install's rules.
fn nodes_with_rules(cluster: &Cluster, install: &Install) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for node in cluster.bed().nodes() {
        let output = node.host().command("nft").args(["list", "tables"]).output()?;
        if String::from_utf8_lossy(&output.stdout)
            .lines()
            .any(|line| line == format!("table {}", install.table))
        {
            found.push(node.host().name().to_owned());
        }
    }
    Ok(found)
}

fn each_serves_its_own(cluster: &Cluster) -> Result<()> {
    for install in [&FIRST, &SECOND] {
        let target = target(cluster, install)?;
        let (first, last) = install.addresses.split_once('-').context("a range")?;
        let range: RangeInclusive<IpAddr> = first.parse()?..=last.parse()?;
        ensure!(range.contains(&target.ip()), "{target} is not of {range:?}");
        settled(cluster.client(), target, ANSWERED)?;
        let nodes = nodes_with_rules(cluster, install)?;
        ensure!(!nodes.is_empty(), "no node has the table {}", install.table);
    }
    Ok(())
}

fn status_shows_one(cluster: &Cluster) -> Result<()> {
    for install in [&FIRST, &SECOND] {
        until(format!("all well in {}", install.namespace), ASSIGNED, || {
            let arguments = ["status", "-A", "-o", "json", "--install-namespace", install.namespace];
            let output = cluster.run_landfall(&arguments)?;
            let report: Value =
                serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
            ensure!(output.status.code() == Some(0) && report["verdict"] == "OK", "{report:#}");
            let services = report["services"].as_array().context("Services")?;
            ensure!(services.len() == 1 && services[0]["namespace"] == install.shop, "{services:?}");
            ensure!(services[0]["owner"].is_string(), "{services:?}");
            ensure!(report["components"].as_array().map(Vec::len) == Some(5), "{report:#}");
            Ok(())
        })?;
    }
    Ok(())
}

/// Runs `change` while a client asks `install` without pause; no request may be lost.
fn undisturbed(cluster: &Cluster, install: &Install, change: impl FnOnce() -> Result<()>) -> Result<()> {
    let target = target(cluster, install)?;
    settled(cluster.client(), target, ANSWERED)?;
    let traffic = Traffic::start(cluster.client(), target)?;
    let since = Instant::now();
    change()?;
    // One more answer, to a request that was sent after all of it.
    traffic.answered_after(Instant::now(), Duration::from_secs(2))?;
    ensure!(traffic.lost_since(since) == 0, "{}", traffic.told_since(since));
    Ok(())
}

/// `deploy/standalone/static-pod.yaml` on two nodes. Its kubelets would read it from a folder; here it has a node's name.
fn static_pods(cluster: &Cluster) -> Result<()> {
    const ADDRESS: &str = "10.77.0.230";
    let manifest = fs::read_to_string(guide::repository().join("deploy/standalone/static-pod.yaml"))?;
    let manifest = manifest.replace("192.0.2.", "10.77.0.");
    let api: Api<Pod> = Api::namespaced(cluster.bed().client(), FIRST.shop);
    let backends = cluster.wait_for(api.list(&ListParams::default().labels("app=web")))?.items;
    let targets: Vec<Value> = backends
        .iter()
        .filter_map(|pod| pod.status.as_ref()?.pod_ip.as_ref())
        .map(|address| json!({"addresses": [address]}))
        .collect();
    ensure!(!targets.is_empty(), "no backend");
    let files = [
        ("pool.yaml", pool("alone", &[&format!("{ADDRESS}/32")], json!({}))),
        ("advertisement.yaml", advertisement("alone", &["alone"])),
        (
            "service.yaml",
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": "floating"},
                "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
            }),
        ),
        (
            "slice.yaml",
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {"name": "floating-1", "labels": {"kubernetes.io/service-name": "floating"}},
                "addressType": "IPv4", "ports": [{"port": 8080}], "endpoints": targets,
            }),
        ),
    ];
    for name in ["n1", "n2"] {
        let node = cluster.bed().node(name)?;
        let folder = node.disk("/etc/landfall");
        fs::create_dir_all(folder.join("manifests"))?;
        fs::write(folder.join("key"), "a key for this test only, of no use elsewhere")?;
        for (file, object) in &files {
            fs::write(folder.join("manifests").join(file), object.to_string())?;
        }
        let own = manifest
            .replace("name: landfall-standalone\n", &format!("name: landfall-standalone-{name}\n"))
            .replace("spec:\n  hostNetwork", &format!("spec:\n  nodeName: {name}\n  hostNetwork"));
        cluster.wait_for(cluster.bed().apply(&own))?;
    }
    let target = SocketAddr::new(ADDRESS.parse()?, 80);
    settled(cluster.client(), target, ROLLOUT)?;
    // Owner and rules are the Pod's: the speakers and their tables are as they were.
    for install in [&FIRST, &SECOND] {
        ensure!(!nodes_with_rules(cluster, install)?.is_empty(), "{} lost its table", install.namespace);
        settled(cluster.client(), self::target(cluster, install)?, ANSWERED)?;
    }
    let selector = ["delete", "pods", "-n", "kube-system", "-l", "component=standalone", "--timeout=60s"];
    cluster.kubectl(selector).map(drop)
}

fn killed(cluster: &Cluster) -> Result<()> {
    for (victim, other) in [(&FIRST, &SECOND), (&SECOND, &FIRST)] {
        undisturbed(cluster, other, || {
            for pod in cluster.pods(victim.namespace, "app=landfall")? {
                cluster.signal_pod(&pod.name_any(), Signal::SIGKILL)?;
            }
            // It comes back by itself, which shows that all of it was gone and that nothing is in its way.
            until(format!("{} to be ready again", victim.namespace), ROLLOUT, || {
                let pods = cluster.pods(victim.namespace, "app=landfall")?;
                for pod in &pods {
                    let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
                    let container = status.and_then(|all| all.first()).context("a container")?;
                    ensure!(container.restart_count > 0 && container.ready, "{} is not back", pod.name_any());
                }
                ensure!(pods.len() == 5, "{} Pods", pods.len());
                Ok(())
            })
        })
        .with_context(|| format!("{} while {} was killed", other.namespace, victim.namespace))?;
        settled(cluster.client(), target(cluster, victim)?, ANSWERED)?;
    }
    Ok(())
}

fn removed(cluster: &Cluster) -> Result<()> {
    undisturbed(cluster, &FIRST, || {
        cluster.shell("kubectl delete -k deploy/overlays/second --timeout=90s")?;
        let left = nodes_with_rules(cluster, &SECOND)?;
        ensure!(!left.is_empty(), "no node has kept the rules");
        for node in cluster.bed().nodes() {
            let mut command = node.host().command(cluster.landfall()?);
            let state = cluster.bed().logs().join("no-state").display().to_string();
            let arguments = ["cleanup", "--nft-table", "landfall-second", "--state-dir", &state];
            let output = command.args(arguments).output()?;
            ensure!(output.status.success(), "{output:?}");
        }
        let left = nodes_with_rules(cluster, &SECOND)?;
        ensure!(left.is_empty(), "{left:?} have still rules of the second install");
        Ok(())
    })?;
    ensure!(!nodes_with_rules(cluster, &FIRST)?.is_empty(), "the rules of the first install stay");
    let pools = cluster.kubectl(["get", "ipaddresspools", "-n", FIRST.namespace, "-o", "name"])?;
    ensure!(pools.contains("/lan"), "the first install's pool stays: {pools}");
    // The first install still has its rights, and goes on giving addresses.
    let more = merged(service("more", "web", json!({})), json!({"metadata": {"namespace": FIRST.shop}}));
    cluster.apply(&more)?;
    let api: Api<Service> = Api::namespaced(cluster.bed().client(), FIRST.shop);
    until("an address of a new Service", ASSIGNED, || {
        let service = cluster.wait_for(api.get("more"))?;
        ensure!(!history::addresses(&service).is_empty(), "{}", landfall_e2e::cluster::conditions(&service));
        Ok(())
    })
}
