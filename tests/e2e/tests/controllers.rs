//! Two controllers: one dies, one sleeps too long, all start again, and no address is lost, doubled or moved.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Service;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use landfall_e2e::Sections;
use landfall_e2e::cluster::{ANSWERED, ASSIGNED, Cluster};
use landfall_e2e::manifests::{NAMESPACE, SHOP, advertisement, list, merged, pool, service};
use landfall_e2e::requests::{TIMEOUT, every_backend, first_answer, http};
use landfall_e2e::wait::{throughout, until};
use landfall_testbed::guide;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// Services that are created while something is killed.
const BATCH: usize = 1_000;
/// Addresses of the pool for two such batches, and some.
const BATCH_POOL: usize = 4_096;

/// How long it may take until another controller leads: the lease runs for 15 s.
const NEW_LEADER: Duration = Duration::from_secs(40);

#[test]
#[ignore = "needs root and the control plane; make test runs it"]
fn controllers_come_and_go() {
    let mut sections = Sections::on_new_cluster(prepare);
    sections.run("the leader is killed during 1,000 creations: none lost, none twice", killed_leader);
    sections.run("the API server is restarted during 1,000 creations: the same", restarted_api_server);
    sections.run("a leader that slept too long writes nothing when it wakes up", paused_leader);
    sections.run("a restart of everything moves no address", restart);
    sections.run("the rights are enough", Cluster::ensure_rights);
    sections.run("an install goes and leaves the definitions to others", removed_alone);
    sections.finish();
}

fn prepare(cluster: &Cluster) -> Result<()> {
    cluster.deploy_backends("web", 3)?;
    cluster.install()?;
    let addresses = ["10.77.0.200-10.77.0.219", "fd77::c8:0/120"];
    let batch = pool("batch", &["10.88.0.0/20"], json!({"autoAssign": false}));
    cluster.apply(&list([pool("lan", &addresses, json!({})), batch, advertisement("lan", &["lan"])]))?;
    cluster.apply(&service("web", "web", json!({"spec": {"ipFamilyPolicy": "RequireDualStack"}})))
}

/// The documented commands for clusters where others need the definitions.
fn removed_alone(cluster: &Cluster) -> Result<()> {
    let theirs =
        merged(pool("theirs", &["10.99.0.0/24"], json!({})), json!({"metadata": {"namespace": SHOP}}));
    // Others read them there, so ours do not refuse them.
    cluster.kubectl(["label", "namespace", SHOP, "landfall.dev/install="])?;
    cluster.apply(&theirs)?;
    let commands = guide::commands("docs/installs.md", "## Removing one")?;
    let alone = commands.iter().skip_while(|line| !line.starts_with("kubectl delete -k deploy/base"));
    let typed = alone.map(|line| cluster.shell(line)).collect::<Result<Vec<String>>>()?;
    ensure!(typed.len() == 2, "two commands: {commands:?}");
    let left = cluster.kubectl(["get", "pods,deployments,daemonsets,clusterroles", "-A", "-o", "name"])?;
    ensure!(!left.contains("landfall"), "{left}");
    let pools = cluster.kubectl(["get", "ipaddresspools", "-A", "-o", "name"])?;
    ensure!(pools.trim() == "ipaddresspool.metallb.io/theirs", "{pools}");
    Ok(())
}

/// A Service that nobody announces, without node ports.
fn quiet(name: &str) -> Value {
    let changes = json!({
        "metadata": {"labels": {"batch": "true"}, "annotations": {"metallb.io/address-pool": "batch"}},
        "spec": {"allocateLoadBalancerNodePorts": false},
    });
    service(name, "none", changes)
}

/// The addresses of all Services of the batch, as the watch has them.
fn batch(cluster: &Cluster, prefix: &str) -> BTreeMap<String, Vec<String>> {
    let key = format!("{SHOP}/{prefix}-");
    cluster.history().now().into_iter().filter(|(name, _)| name.starts_with(&key)).collect()
}

fn ensure_distinct(addresses: &BTreeMap<String, Vec<String>>, count: usize) -> Result<()> {
    ensure!(addresses.len() == count, "{} of {count} Services have an address", addresses.len());
    let all: Vec<&String> = addresses.values().flatten().collect();
    let distinct: BTreeSet<&&String> = all.iter().collect();
    ensure!(
        all.len() == count && distinct.len() == count,
        "{} addresses, {} different ones",
        all.len(),
        distinct.len()
    );
    Ok(())
}

fn killed_leader(cluster: &Cluster) -> Result<()> {
    let leader = until("a leader", NEW_LEADER, || cluster.leader())?;
    created_while(cluster, "batch", || {
        eprintln!("   {leader} is killed");
        cluster.signal_pod(&leader, Signal::SIGKILL)
    })?;
    cluster.rolled_out()
}

/// The API server dies without a word, in the middle of requests, and is back at once.
fn restarted_api_server(cluster: &Cluster) -> Result<()> {
    let plane = cluster.bed().control_plane();
    created_while(cluster, "again", || {
        cluster.wait_for(plane.stop_api())?;
        cluster.wait_for(plane.start_api())
    })?;
    cluster.rolled_out()
}

/// Creates Services, eight at a time. What the API server did not take is tried again.
async fn create_all(client: Client, services: Vec<Service>) -> Result<()> {
    let api: Api<Service> = Api::namespaced(client, SHOP);
    let create = |service: Service| {
        let api = api.clone();
        async move {
            landfall_testbed::until("a Service is created", NEW_LEADER, || async {
                match api.create(&PostParams::default(), &service).await {
                    // The answer to an earlier try was lost.
                    Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
                    other => Ok(other.map(drop)?),
                }
            })
            .await
        }
    };
    futures::stream::iter(services).map(create).buffer_unordered(8).try_for_each(|()| async { Ok(()) }).await
}

/// Creates a batch of Services, and disturbs once a quarter of them has an address: none is lost, none is there twice.
fn created_while(cluster: &Cluster, prefix: &str, disturb: impl FnOnce() -> Result<()>) -> Result<()> {
    let services = (0..BATCH).map(|n| serde_json::from_value(quiet(&format!("{prefix}-{n}"))));
    let services = services.collect::<Result<Vec<Service>, _>>()?;
    let begun = Instant::now();
    let creating = cluster.spawn(create_all(cluster.bed().client(), services));

    until("a quarter of the addresses", ASSIGNED * 6, || {
        let assigned = batch(cluster, prefix).len();
        ensure!(assigned >= BATCH / 4, "{assigned}");
        Ok(())
    })?;
    disturb()?;
    let then = batch(cluster, prefix).len();
    ensure!(then < BATCH, "the creations were over before the disturbance");

    cluster.wait_for(creating)??;
    until("all addresses", NEW_LEADER, || ensure_distinct(&batch(cluster, prefix), BATCH))?;
    eprintln!("   disturbed after {then}, all {BATCH} after {:.1} s", begun.elapsed().as_secs_f64());
    // No Service had one address and then another.
    for n in 0..BATCH {
        let entries = cluster.history().of(&format!("{SHOP}/{prefix}-{n}"));
        let held: BTreeSet<_> =
            entries.iter().map(|entry| &entry.addresses).filter(|held| !held.is_empty()).collect();
        ensure!(held.len() == 1, "{prefix}-{n} has had several addresses: {entries:?}");
    }
    // Every Service is what the API server holds, not only what the watch has seen.
    let shown = cluster.kubectl(["get", "services", "-n", SHOP, "-l", "batch=true", "-o", "json"])?;
    let shown: Value = serde_json::from_str(&shown)?;
    let ips: BTreeSet<&str> = shown["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item["status"]["loadBalancer"]["ingress"][0]["ip"].as_str())
        .collect();
    let services = shown["items"].as_array().map_or(0, Vec::len);
    ensure!(ips.len() == services && services >= BATCH, "{} addresses of {services} Services", ips.len());
    until("the pool's status to follow", ASSIGNED, || {
        let path = "jsonpath={.status.assignedIPv4}/{.status.availableIPv4}";
        let counts = cluster.kubectl(["get", "ipaddresspool", "batch", "-n", NAMESPACE, "-o", path])?;
        ensure!(counts == format!("{services}/{}", BATCH_POOL - services), "{counts}");
        Ok(())
    })
}

fn paused_leader(cluster: &Cluster) -> Result<()> {
    let sleeper = until("a leader", NEW_LEADER, || cluster.leader())?;
    // What it sees last is work: it stops in the middle of it.
    let many = list((0..20).map(|n| quiet(&format!("nap-{n}"))));
    cluster.signal_pod(&sleeper, Signal::SIGSTOP)?;
    let slept = (|| {
        cluster.apply(&many)?;
        // Changes that its own plan knows nothing of: freed addresses, which others get.
        until("another leader", NEW_LEADER, || {
            let leader = cluster.leader()?;
            ensure!(leader != sleeper, "{leader} has still the lease");
            Ok(())
        })?;
        until("the new leader's addresses", NEW_LEADER, || ensure_distinct(&batch(cluster, "nap"), 20))?;
        cluster.delete_services(&["nap-0", "nap-1", "nap-2"])?;
        let heirs = list((20..23).map(|n| quiet(&format!("nap-{n}"))));
        cluster.apply(&heirs)?;
        until("the heirs' addresses", ASSIGNED, || ensure_distinct(&batch(cluster, "nap"), 20))
    })();
    let before = batch(cluster, "nap");
    let wrote =
        cluster.audit().writes()?.into_iter().any(|call| call.pod != sleeper && call.object == "shop/nap-22");
    ensure!(wrote || slept.is_err(), "the audit log tells which Pod has written");
    let writes_before = cluster.audit().writes()?.len();
    let woken = Instant::now();
    cluster.signal_pod(&sleeper, Signal::SIGCONT)?;
    slept?;
    let versions = |cluster: &Cluster| {
        cluster.kubectl([
            "get",
            "services",
            "-n",
            SHOP,
            "-o",
            "jsonpath={range .items[*]}{.metadata.name}={.metadata.resourceVersion} {end}",
        ])
    };
    let version = versions(cluster)?;
    throughout("nothing is written by the old leader", Duration::from_secs(6), || {
        let writes = cluster.audit().writes()?;
        let ours = writes[writes_before..].iter().filter(|call| call.pod == sleeper);
        // Its own lease it may try to get back, and it may say so.
        let ours: Vec<_> =
            ours.filter(|call| call.resource != "leases" && call.resource != "events").collect();
        ensure!(ours.is_empty(), "{ours:?}");
        Ok(())
    })?;
    ensure!(versions(cluster)? == version, "a Service was written to after the old leader woke up");
    ensure!(batch(cluster, "nap") == before, "addresses have changed");
    for key in before.keys() {
        cluster.history().ensure_unchanged_since(key, woken)?;
    }
    ensure!(cluster.leader()? != sleeper, "it took the lease back from a living leader");
    // And both work on: the new one leads.
    cluster.apply(&quiet("nap-after"))?;
    cluster.address("nap-after")?;
    cluster.rolled_out()
}

fn restart(cluster: &Cluster) -> Result<()> {
    let web = cluster.addresses("web", 2)?;
    let target = SocketAddr::new(web[0], 80);
    first_answer(cluster.client(), target, ANSWERED)?;
    let before = cluster.history().now();
    ensure!(before.len() >= BATCH, "{} Services have addresses", before.len());
    let since = Instant::now();

    let plane = cluster.bed().control_plane();
    cluster.wait_for(plane.stop_api())?;
    for component in ["controller", "speaker"] {
        // The names are not to be had from an API server that is down: by the logs.
        let logs = cluster.landfall_logs()?;
        let prefix = format!("{NAMESPACE}_");
        let pods = logs.keys().filter(|file| file.contains(&format!("-{component}-")));
        for pod in pods.filter_map(|file| file.strip_prefix(&prefix)?.split('_').next()) {
            // A Pod of an earlier generation has no process.
            drop(cluster.signal_pod(pod, Signal::SIGKILL));
        }
    }
    cluster.wait_for(plane.start_api())?;
    cluster.kubectl(["delete", "pods", "-n", NAMESPACE, "--all", "--timeout=60s"])?;
    cluster.rolled_out()?;

    // The first new Service shows that the controller decides again.
    cluster.apply(&merged(quiet("after-restart"), json!({"metadata": {"labels": {"batch": "after"}}})))?;
    until("an address for a new Service", NEW_LEADER, || cluster.address("after-restart"))?;
    for (key, addresses) in &before {
        let name = key.split_once('/').map_or(key.as_str(), |(_, name)| name);
        cluster.history().ensure_unchanged_since(key, since)?;
        if name == "web" {
            let now = landfall_e2e::history::addresses(&cluster.service(name)?);
            ensure!(now == *addresses, "{key} had {addresses:?} and has {now:?}");
        }
    }
    let now = cluster.history().now();
    let moved = before.iter().filter(|(key, addresses)| now.get(*key) != Some(addresses));
    ensure!(moved.count() == 0, "addresses have moved");
    first_answer(cluster.client(), target, ANSWERED)?;
    every_backend(&cluster.backends("web")?, 100, || http(cluster.client(), target, TIMEOUT))?;
    let names: Vec<String> =
        cluster.pods(NAMESPACE, "app=landfall")?.iter().map(ResourceExt::name_any).collect();
    ensure!(names.len() == 5, "two controllers and three speakers: {names:?}");
    Ok(())
}
