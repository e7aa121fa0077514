//! The node that answers dies: another one answers, quickly, every time, with and without the API server, and the one that
//! comes back takes nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use landfall_e2e::cluster::ANSWERED;
use landfall_e2e::manifests::{NAMESPACE, SHOP, advertisement, list, pool, service};
use landfall_e2e::reports::{announcers, assignments};
use landfall_e2e::requests::{Traffic, first_answer, settled};
use landfall_e2e::wait::{throughout, until};
use landfall_e2e::{Asker, Cluster, Sections, amount};
use nix::sys::signal::Signal;
use serde_json::json;

/// From the death of all speakers to an answered request: they start again, wait for the API server, and meet.
const RECALLED: Duration = Duration::from_secs(20);

/// From the death of the owner to an answered request.
const TAKE_OVER: Duration = Duration::from_secs(5);

/// From an API server that is back to reports and events that are true.
const TOLD: Duration = Duration::from_secs(40);

/// Until Kubernetes has noticed what is new after outages of the API server: its own programs ask again after ever longer pauses, of up to
/// half a minute, and until then nobody makes slices of endpoints, and kube-proxy does not know them.
const NOTICED: Duration = Duration::from_secs(60);

/// Kills in a row.
const RUNS: u32 = 10;

/// How long the returned owner is watched for taking its address back.
const CALM: Duration = Duration::from_secs(3);

#[test]
#[ignore = "needs root and the control plane; make test runs it"]
fn addresses_survive_their_owners() {
    let mut sections = Sections::on_new_cluster(prepare);
    sections.run("a dead owner is replaced within 5 s, ten times of ten", ten_kills);
    sections.run("the API server is paused: still answering, and fail-over works", without_api_server);
    sections.run(
        "the API server is gone, and a node dies meanwhile: what is told is true afterwards",
        death_untold,
    );
    sections.run("an owner that was cut off silently gives way when it is back", cut_off_owner);
    sections.run("a killed speaker process moves nothing for good", killed_speaker);
    sections.run("all speakers start again without an API server and serve", all_speakers_start_alone);
    sections.run("the rights are enough", Cluster::ensure_rights);
    sections.finish();
}

fn prepare(cluster: &Cluster) -> Result<()> {
    cluster.deploy_backends("web", 6)?;
    cluster.install()?;
    let addresses = ["10.77.0.200-10.77.0.239", "fd77::c8:0/120"];
    cluster.apply(&list([pool("lan", &addresses, json!({})), advertisement("lan", &["lan"])]))?;
    cluster.apply(&service("web", "web", json!({"spec": {"ipFamilyPolicy": "RequireDualStack"}})))
}

/// The Service under test, the client that uses it and the machine that watches its owners.
struct Scene<'a> {
    cluster: &'a Cluster,
    /// IPv4, which the client uses, then IPv6.
    addresses: Vec<IpAddr>,
    asker: Asker,
    traffic: Traffic,
}

impl<'a> Scene<'a> {
    fn set(cluster: &'a Cluster) -> Result<Self> {
        let addresses = cluster.addresses("web", 2)?;
        let target = SocketAddr::new(addresses[0], 80);
        for address in &addresses {
            settled(cluster.client(), SocketAddr::new(*address, 80), ANSWERED)?;
        }
        let asker = Asker::start(cluster.watcher())?;
        addresses.iter().for_each(|address| asker.ask_for(*address));
        let traffic = Traffic::start(cluster.client(), target)?;
        Ok(Self { cluster, addresses, asker, traffic })
    }

    /// The one node that owns both addresses.
    fn owner(&self) -> Result<String> {
        until("one owner of both addresses", ANSWERED, || {
            let first = self.asker.owner(self.addresses[0])?;
            let second = self.asker.owner(self.addresses[1])?;
            ensure!(
                first == second,
                "{} is owned by {first}, {} by {second}",
                self.addresses[0],
                self.addresses[1]
            );
            self.cluster.node_of(first)
        })
    }

    /// Waits until this node, and no other, reports that it announces the Service.
    fn is_reported(&self, node: &str) -> Result<()> {
        until(format!("a report of {node} alone"), TOLD, || {
            let named = announcers(self.cluster, "web")?;
            ensure!(named == [node], "{named:?}");
            Ok(())
        })
    }

    fn ensure_single_owner(&self, change: Instant) -> Result<()> {
        let now = Instant::now();
        self.addresses.iter().try_for_each(|address| self.asker.ensure_single_owner(*address, change, now))
    }

    /// Listens for a while, so that a second owner can be heard.
    fn calm(&self, since: Instant) -> Result<()> {
        throughout("somebody is heard", CALM.saturating_sub(since.elapsed()), || {
            let heard = self.asker.heard_since(self.addresses[0], since);
            ensure!(!heard.is_empty() || since.elapsed() < TAKE_OVER, "nobody is");
            Ok(())
        })
    }

    /// Kills the owner and waits for its successor; both by name.
    fn kill_owner(&self) -> Result<(String, String)> {
        let before = self.owner()?;
        let killed = Instant::now();
        self.cluster.wait_for(self.cluster.bed().kill_node(&before))?;
        let dead = Instant::now();
        // Only a request that was sent after the death was complete proves anything; the time counts from its beginning.
        let answered = self.traffic.answered_after(dead, TAKE_OVER)? + dead.duration_since(killed);
        ensure!(answered < TAKE_OVER, "the client was answered {answered:?} after the kill");
        let after = until("another owner", TAKE_OVER, || {
            let after = self.owner()?;
            ensure!(after != before, "{after} is dead and answers");
            Ok(after)
        })?;
        // IPv6 as well, by a client whose neighbour table knows the dead owner.
        first_answer(self.cluster.client(), SocketAddr::new(self.addresses[1], 80), TAKE_OVER)?;
        let gap = self.traffic.longest_gap_since(killed);
        let claims = self.asker.heard_since(self.addresses[0], killed);
        let successor = self.cluster.bed().node(&after)?.host().mac();
        let first = claims.iter().find(|heard| Some(heard.mac) == successor).context("it was heard")?;
        let claimed = first.at.duration_since(killed);
        let lost = self.traffic.lost_since(killed);
        eprintln!(
            "   {before} -> {after}: claimed after {claimed:.0?}, longest gap {gap:.0?}, {lost} requests lost"
        );
        self.calm(killed)?;
        self.ensure_single_owner(killed)?;
        Ok((before, after))
    }

    /// Brings a node back and checks that the owner stays the owner.
    fn revive(&self, node: &str, owner: &str) -> Result<()> {
        let revived = Instant::now();
        self.cluster.wait_for(self.cluster.bed().revive_node(node))?;
        self.cluster.rolled_out()?;
        self.endpoints_are_back()?;
        throughout("the owner stays the owner", CALM, || {
            let now = self.owner()?;
            ensure!(now == owner, "{node} came back, and {now} answers instead of {owner}");
            Ok(())
        })?;
        self.ensure_single_owner(revived)
    }

    fn endpoints_are_back(&self) -> Result<()> {
        until("all backends to be ready", NOTICED, || {
            let ready = self.cluster.backends("web")?.len();
            ensure!(ready == 6, "{ready} of 6 are ready");
            Ok(())
        })?;
        // Their addresses are new ones, which every kube-proxy has to learn.
        settled(self.cluster.client(), SocketAddr::new(self.addresses[0], 80), NOTICED)
    }
}

fn ten_kills(cluster: &Cluster) -> Result<()> {
    let scene = Scene::set(cluster)?;
    for run in 1..=RUNS {
        let (dead, owner) = scene.kill_owner().with_context(|| format!("run {run} of {RUNS}"))?;
        scene.revive(&dead, &owner).with_context(|| format!("run {run} of {RUNS}"))?;
    }
    Ok(())
}

fn without_api_server(cluster: &Cluster) -> Result<()> {
    let scene = Scene::set(cluster)?;
    let owner = scene.owner()?;
    let plane = cluster.bed().control_plane();
    cluster.wait_for(plane.pause_api())?;
    let paused = Instant::now();
    let played = (|| {
        throughout("the owner answers", Duration::from_secs(5), || {
            let gap = scene.traffic.longest_gap_since(paused);
            let told = || scene.traffic.told_since(paused);
            ensure!(gap < Duration::from_secs(1), "the client saw nothing for {gap:?}: {}", told());
            ensure!(scene.owner()? == owner, "the address has moved");
            Ok(())
        })?;
        scene.ensure_single_owner(paused)?;
        scene.kill_owner()
    })();
    cluster.wait_for(plane.resume_api())?;
    let (dead, owner) = played?;
    scene.revive(&dead, &owner)
}

/// A node dies while there is no API server. Once it is back it is told who announces the Service, and once that this began.
fn death_untold(cluster: &Cluster) -> Result<()> {
    let scene = Scene::set(cluster)?;
    let before = scene.owner()?;
    scene.is_reported(&before)?;
    let told = assignments(cluster, "web")?;
    let plane = cluster.bed().control_plane();
    let span = Duration::from_secs(amount(15, 120).into());
    let stopped = Instant::now();
    cluster.wait_for(plane.stop_api())?;
    let played = (|| {
        throughout("the owner answers", span / 3, || {
            let gap = scene.traffic.longest_gap_since(stopped);
            let told = || scene.traffic.told_since(stopped);
            ensure!(gap < Duration::from_secs(1), "the client saw nothing for {gap:?}: {}", told());
            ensure!(scene.owner()? == before, "the address has moved");
            Ok(())
        })?;
        let (dead, owner) = scene.kill_owner()?;
        let killed = Instant::now();
        // Nobody has told the others that the dead node's backends are gone, so a part of the requests is lost.
        throughout("its successor answers", span.saturating_sub(stopped.elapsed()), || {
            let gap = scene.traffic.longest_gap_since(killed);
            ensure!(
                gap < TAKE_OVER,
                "the client saw nothing for {gap:?}: {}",
                scene.traffic.told_since(killed)
            );
            ensure!(scene.owner()? == owner, "the address has moved again");
            Ok(())
        })?;
        scene.ensure_single_owner(killed)?;
        Ok::<_, anyhow::Error>((dead, owner))
    })();
    cluster.wait_for(plane.start_api())?;
    let (dead, owner) = played?;
    scene.is_reported(&owner)?;
    let said = || anyhow::Ok(assignments(cluster, "web")?.remove(&owner));
    let before = told.get(&owner).cloned();
    until("the event of the new owner", TOLD, || {
        let said = said()?;
        ensure!(said > before, "it said so last at {said:?}, as before");
        Ok(())
    })?;
    let after = said()?;
    scene.revive(&dead, &owner)?;
    let said = said()?;
    ensure!(said == after, "it has said so again: at {said:?}, after {after:?}");
    scene.is_reported(&owner)
}

/// Nobody tells the owner that its switch port has failed: it goes on to think that it is the owner, as its successor does.
fn cut_off_owner(cluster: &Cluster) -> Result<()> {
    let scene = Scene::set(cluster)?;
    let before = scene.owner()?;
    let host = cluster.bed().node(&before)?.host();
    let cut = Instant::now();
    host.cut()?;
    let played = (|| -> Result<String> {
        let answered = scene.traffic.answered_after(cut, TAKE_OVER)?;
        let after = until("another owner", TAKE_OVER, || {
            let after = scene.owner()?;
            ensure!(after != before, "{after} is cut off and answers");
            Ok(after)
        })?;
        eprintln!("   {before} -> {after}: answered after {answered:.0?}");
        scene.calm(cut)?;
        scene.ensure_single_owner(cut)?;
        Ok(after)
    })();
    let healed = Instant::now();
    host.heal()?;
    let after = played?;
    scene.calm(healed)?;
    scene.ensure_single_owner(healed)?;
    let now = scene.owner()?;
    ensure!(now == after, "{before} is back, and {now} answers instead of {after}");
    scene.endpoints_are_back()
}

/// No speaker has ever heard an API server, and none is there: they serve what they remember, and when it is back, what it
/// says.
fn all_speakers_start_alone(cluster: &Cluster) -> Result<()> {
    let scene = Scene::set(cluster)?;
    let speakers = speakers(cluster)?;
    let plane = cluster.bed().control_plane();
    cluster.wait_for(plane.pause_api())?;
    let killed = Instant::now();
    let played = (|| {
        for pod in speakers.keys() {
            cluster.signal_pod(pod, Signal::SIGKILL)?;
        }
        // Clients forget a neighbour only after a while, so ask for it again, as a client would that comes new.
        until("an owner that nobody told anything", RECALLED, || {
            for address in &scene.addresses {
                let heard = scene.asker.heard_since(*address, killed);
                let alone =
                    heard.iter().any(|heard| heard.at.duration_since(killed) > Duration::from_secs(3));
                ensure!(alone, "nobody answers for {address} {:.0?} after the kill", killed.elapsed());
            }
            Ok(())
        })?;
        scene.traffic.answered_after(Instant::now(), TAKE_OVER)?;
        let owner = scene.owner()?;
        eprintln!("   {owner} serves from memory {:.0?} after all speakers were killed", killed.elapsed());
        // They hear each other too: one of them dies, another takes over.
        let change = Instant::now();
        scene.calm(change)?;
        scene.ensure_single_owner(change)
    })();
    cluster.wait_for(plane.resume_api())?;
    played?;
    let owner = scene.owner()?;
    cluster.rolled_out()?;
    cluster.apply(&service("late", "web", json!({})))?;
    let late = cluster.address("late")?;
    settled(cluster.client(), SocketAddr::new(late, 80), NOTICED)?;
    let now = scene.owner()?;
    ensure!(now == owner, "the API server is back, and {now} answers instead of {owner}");
    let logs = cluster.landfall_logs()?;
    let recalled = logs.values().filter(|log| log.contains("serves what it remembers")).count();
    ensure!(recalled == speakers.len(), "{recalled} of {} speakers served from memory", speakers.len());
    cluster.delete_services(&["late"])
}

/// The speakers' Pods with their nodes.
fn speakers(cluster: &Cluster) -> Result<BTreeMap<String, String>> {
    let pods = cluster.pods(NAMESPACE, "component=speaker")?;
    let named = |pod: Pod| Some((pod.metadata.name?, pod.spec?.node_name?));
    Ok(pods.into_iter().filter_map(named).collect())
}

/// The node lives on, so its address may stay or move, but the client is answered and no two nodes quarrel.
fn killed_speaker(cluster: &Cluster) -> Result<()> {
    let scene = Scene::set(cluster)?;
    let owner = scene.owner()?;
    let speakers = speakers(cluster)?;
    let (name, _) = speakers.iter().find(|(_, node)| **node == owner).context("the owner has a speaker")?;
    let killed = Instant::now();
    cluster.signal_pod(name, Signal::SIGKILL)?;
    let answered = scene.traffic.answered_after(Instant::now(), TAKE_OVER)?;
    until("the speaker to run again", Duration::from_secs(30), || {
        let out = cluster.kubectl([
            "get",
            "pod",
            name,
            "-n",
            NAMESPACE,
            "-o",
            "jsonpath={.status.containerStatuses[0].restartCount}/{.status.containerStatuses[0].ready}",
        ])?;
        ensure!(out.ends_with("/true") && !out.starts_with("0/"), "{out}");
        Ok(())
    })?;
    let after = scene.owner()?;
    eprintln!(
        "   {owner} -> {after}: answered after {answered:?}, longest gap {:?}",
        scene.traffic.longest_gap_since(killed)
    );
    scene.calm(Instant::now())?;
    scene.ensure_single_owner(killed)?;
    cluster.kubectl(["get", "service", "web", "-n", SHOP]).map(drop)
}
