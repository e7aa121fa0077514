//! Speakers on the test bed, as `kubectl apply -k deploy/` installs them: memory, and what a client waits for
//! when the owner of an address dies.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use landfall_e2e::{
    Asker, Cluster,
    manifests::{advertisement, pool, service},
    requests::{Traffic, first_answer},
    wait::until,
};
use serde_json::json;

use crate::{figures::Figures, process};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn measure(figures: &mut Figures, kills: usize) -> anyhow::Result<()> {
    let cluster = Cluster::start()?;
    let result = all(figures, &cluster, kills).with_context(|| cluster.diagnosis());
    let down = cluster.teardown();
    result?;
    down
}

fn all(figures: &mut Figures, cluster: &Cluster, kills: usize) -> anyhow::Result<()> {
    cluster.install()?;
    cluster.apply(&pool("lan", &["10.77.0.200-10.77.0.209"], json!({})))?;
    cluster.apply(&advertisement("lan", &["lan"]))?;
    cluster.deploy_backends("web", 3)?;
    // Policy Local: the new owner serves from its own pods. With Cluster, kube-proxy goes on choosing the dead node's
    // pods until Kubernetes calls the node unready, whoever owns the address.
    cluster.apply(&service("web", "web", json!({"spec": {"externalTrafficPolicy": "Local"}})))?;
    let address = cluster.address("web")?;
    let target = SocketAddr::new(address, 80);
    first_answer(cluster.client(), target, PATIENCE)?;

    let speakers = process::find(cluster.landfall()?, "speaker")?;
    ensure!(speakers.len() == 3, "{} speakers run on three nodes", speakers.len());
    let largest = |field| {
        let mut memory = speakers.iter().map(|pid| process::memory_mib(*pid, field));
        memory.try_fold(0.0_f64, |most, mib| Ok::<_, anyhow::Error>(most.max(mib?)))
    };
    figures.add("speaker memory, idle, largest of three", largest("VmRSS")?, "MiB", Some(15.0));
    figures.add("the same, without pages of the binary", largest("RssAnon")?, "MiB", None);

    let asker = Asker::start(cluster.watcher())?;
    asker.ask_for(address);
    let mut gaps = Vec::with_capacity(kills);
    for _ in 0..kills {
        let owner = until("one owner", PATIENCE, || cluster.node_of(asker.owner(address)?))?;
        let traffic = Traffic::start(cluster.client(), target)?;
        traffic.answered_after(Instant::now(), PATIENCE)?;
        let killed = Instant::now();
        cluster.wait_for(cluster.bed().kill_node(&owner))?;
        let answered = || -> anyhow::Result<()> {
            let successor = cluster.node_of(asker.owner(address)?)?;
            ensure!(successor != owner, "{owner} is dead and still owns {address}");
            Ok(())
        };
        until("another owner", PATIENCE, answered)?;
        traffic.answered_after(Instant::now(), PATIENCE)?;
        gaps.push(traffic.longest_gap_since(killed).as_secs_f64() * 1e3);
        drop(traffic);
        cluster.wait_for(cluster.bed().revive_node(&owner))?;
        cluster.rolled_out()?;
    }
    figures.add("failover gap, largest", gaps.iter().copied().fold(0.0, f64::max), "ms", Some(1_000.0));
    figures.add_samples("failover gap, the owner's node is killed", gaps, "ms", Some(1_000.0));
    Ok(())
}
