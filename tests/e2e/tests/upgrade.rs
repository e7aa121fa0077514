//! A rolling update from the version of the commit before, by the real DaemonSet and Deployment controllers, and back: both
//! versions work side by side, addresses stay, clients are answered.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use landfall_e2e::cluster::ANSWERED;
use landfall_e2e::manifests::{NAMESPACE, advertisement, list, pool, service};
use landfall_e2e::requests::{Traffic, settled};
use landfall_e2e::wait::{throughout, until};
use landfall_e2e::{Asker, Cluster, Sections};
use landfall_testbed::guide::repository;
use serde_json::json;

/// A client never waits longer than this for an answer while speakers are replaced one by one.
const LONGEST_GAP: Duration = Duration::from_secs(2);
/// How long two versions are watched side by side.
const CALM: Duration = Duration::from_secs(5);
/// For a DaemonSet of three and a Deployment of two.
const ROLLOUT: &str = "--timeout=180s";

#[test]
#[ignore = "needs root and the control plane; make test runs it"]
fn a_rolling_update_and_the_way_back_lose_nothing() {
    let mut sections = Sections::on_new_cluster(prepare);
    sections.run("two versions of the speaker agree on every owner", side_by_side);
    sections
        .run("a rolling update from the version before", |cluster| rolled(cluster, &repository(), "0.1.0"));
    sections.run("and back to it", |cluster| rolled(cluster, &previous()?, "previous"));
    sections.run("the rights are enough", Cluster::ensure_rights);
    sections.finish();
}

/// The folder with the version before: its manifests in `deploy`.
fn previous() -> Result<PathBuf> {
    let folder = std::env::var_os("LANDFALL_PREVIOUS");
    folder
        .map(PathBuf::from)
        .context("LANDFALL_PREVIOUS is not set: run `tests/previous` and set it to what that prints")
}

fn prepare(cluster: &Cluster) -> Result<()> {
    cluster.deploy_backends("web", 3)?;
    apply(cluster, &previous()?, "previous")?;
    let addresses = ["10.77.0.200-10.77.0.209"];
    cluster.apply(&list([pool("lan", &addresses, json!({})), advertisement("lan", &["lan"])]))?;
    cluster.apply(&service("web", "web", json!({})))?;
    let annotated = json!({"metadata": {"annotations": {"landfall.dev/forwarding": "node-port"}}});
    cluster.apply(&service("proxied", "web", annotated))?;
    for name in ["web", "proxied"] {
        settled(cluster.client(), SocketAddr::new(cluster.address(name)?, 80), ANSWERED)?;
    }
    Ok(())
}

/// Applies the manifests of a version, with images of this tag, and waits until all Pods are of it.
fn apply(cluster: &Cluster, version: &std::path::Path, tag: &str) -> Result<()> {
    let manifests = cluster.kubectl(["kustomize", &version.join("deploy").display().to_string()])?;
    let image = "image: ghcr.io/landfall/landfall:";
    ensure!(manifests.matches(image).count() == 2, "two images in {manifests}");
    let manifests = manifests.replace(&format!("{image}0.1.0"), &format!("{image}{tag}"));
    cluster.wait_for(cluster.bed().apply(&manifests))?;
    for what in ["deployment/landfall-controller", "daemonset/landfall-speaker"] {
        cluster.kubectl(["rollout", "status", what, "-n", NAMESPACE, ROLLOUT])?;
    }
    Ok(())
}

/// Both Services, a client of each, and a machine that watches their owners.
struct Scene<'a> {
    cluster: &'a Cluster,
    addresses: [IpAddr; 2],
    traffic: [Traffic; 2],
    asker: Asker,
    since: Instant,
}

impl<'a> Scene<'a> {
    fn set(cluster: &'a Cluster) -> Result<Self> {
        let addresses = [cluster.address("web")?, cluster.address("proxied")?];
        let start = |address| Traffic::start(cluster.client(), SocketAddr::new(address, 80));
        let traffic = [start(addresses[0])?, start(addresses[1])?];
        let asker = Asker::start(cluster.watcher())?;
        addresses.iter().for_each(|address| asker.ask_for(*address));
        let scene = Self { cluster, addresses, traffic, asker, since: Instant::now() };
        scene.calm()?;
        Ok(scene)
    }

    /// Both addresses have one owner each, for a while.
    fn calm(&self) -> Result<()> {
        until("one owner of each address", ANSWERED, || self.single_owners())?;
        throughout("each address has one owner", CALM, || self.single_owners())
    }

    fn single_owners(&self) -> Result<()> {
        self.addresses.iter().try_for_each(|address| self.asker.owner(*address).map(drop))
    }

    /// The addresses are those of before, one speaker had each at a time, and every request was answered all along, also those
    /// that were under way when their address moved.
    fn ensure_served(&self) -> Result<()> {
        for (name, address) in ["web", "proxied"].into_iter().zip(self.addresses) {
            ensure!(self.cluster.address(name)? == address, "{name} has another address");
            self.asker.ensure_one_at_a_time(address, self.since)?;
        }
        for (traffic, address) in self.traffic.iter().zip(self.addresses) {
            let gap = traffic.longest_gap_since(self.since);
            let told = format!("{address}: longest gap {gap:.0?}, {}", traffic.told_since(self.since));
            eprintln!("   {told}");
            ensure!(gap < LONGEST_GAP, "{told}");
            ensure!(traffic.lost_since(self.since) == 0, "{told}");
        }
        Ok(())
    }
}

/// One node gets the new version and the others keep the old one.
fn side_by_side(cluster: &Cluster) -> Result<()> {
    let scene = Scene::set(cluster)?;
    let by_hand =
        json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}}).to_string();
    cluster.kubectl([
        "patch",
        "daemonset/landfall-speaker",
        "-n",
        NAMESPACE,
        "--type=merge",
        "-p",
        &by_hand,
    ])?;
    let image = "speaker=ghcr.io/landfall/landfall:0.1.0";
    cluster.kubectl(["set", "image", "daemonset/landfall-speaker", "-n", NAMESPACE, image])?;
    // The owner of the first address, so that it changes hands between the versions.
    let owner = cluster.node_of(scene.asker.owner(scene.addresses[0])?)?;
    let of_owner = format!("spec.nodeName={owner}");
    let select = ["-n", NAMESPACE, "-l", "component=speaker", "--field-selector", &of_owner];
    cluster.kubectl(["delete", "pod"].into_iter().chain(select))?;
    until("the new speaker to be ready", Duration::from_secs(60), || {
        let form = [
            "-o",
            "jsonpath={.items[*].status.containerStatuses[0].ready} {.items[*].spec.containers[0].image}",
        ];
        let seen = cluster.kubectl(["get", "pod"].into_iter().chain(select).chain(form))?;
        ensure!(seen.trim() == "true ghcr.io/landfall/landfall:0.1.0", "{seen}");
        Ok(())
    })?;
    scene.calm()?;
    scene.ensure_served()
}

fn rolled(cluster: &Cluster, version: &std::path::Path, tag: &str) -> Result<()> {
    let scene = Scene::set(cluster)?;
    apply(cluster, version, tag)?;
    scene.calm()?;
    scene.ensure_served()?;
    // Whoever leads now assigns, and from memory of nothing but the API server.
    let name = format!("after-{}", tag.replace('.', "-"));
    cluster.apply(&service(&name, "web", json!({})))?;
    settled(cluster.client(), SocketAddr::new(cluster.address(&name)?, 80), ANSWERED)
}
