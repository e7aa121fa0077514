//! Two installs in one cluster, by the overlays in `deploy/overlays`: one in MetalLB's namespace for Services without a
//! class, one for the class `landfall.dev/second`. Whatever has a name has the same one in both: pool, advertisement,
//! Service, sharing key.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::{Api, ResourceExt as _};
use landfall_e2e::cluster::{ANSWERED, ASSIGNED, ROLLOUT, repository};
use landfall_e2e::manifests::{OVERLAYS, advertisement, backends, list, merged, namespace, pool, service};
use landfall_e2e::requests::{Traffic, settled};
use landfall_e2e::wait::until;
use landfall_e2e::{Cluster, Sections, history};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

struct Install {
    /// Where it is, and the overlay's folder.
    namespace: &'static str,
    overlay: &'static str,
    suffix: &'static str,
    class: Option<&'static str>,
    /// The namespace of its Service.
    shop: &'static str,
    addresses: &'static str,
    table: &'static str,
}

const FIRST: Install = Install {
    namespace: OVERLAYS[0],
    overlay: "metallb-system",
    suffix: "",
    class: None,
    shop: "mall",
    addresses: "10.77.0.200-10.77.0.209",
    table: "inet landfall",
};

const SECOND: Install = Install {
    namespace: OVERLAYS[1],
    overlay: "second",
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
    let deploy = repository().join("deploy");
    cluster.kubectl(["apply", "-k", &deploy.join("crds").display().to_string()])?;
    cluster.kubectl(["wait", "--for=condition=Established", "--all", "crd", "--timeout=30s"])?;
    cluster.apply(&namespace(FIRST.namespace))?;
    cluster.apply(&configuration(&FIRST))?;
    for install in [&FIRST, &SECOND] {
        let overlay = deploy.join("overlays").join(install.overlay);
        cluster.kubectl(["apply", "-k", &overlay.display().to_string()])?;
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
        let overlay = repository().join("deploy/overlays").join(SECOND.overlay);
        cluster.kubectl(["delete", "-k", &overlay.display().to_string(), "--timeout=90s"])?;
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
