//! What a person who runs it types: `landfall status`, `kubectl landfall`, `landfall cleanup`.

use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use landfall_e2e::cluster::{ANSWERED, ASSIGNED};
use landfall_e2e::manifests::{NAMESPACE, backends, list, merged, service};
use landfall_e2e::requests::first_answer;
use landfall_e2e::wait::until;
use landfall_e2e::{Asker, Cluster};
use serde_json::{Value, json};

/// Runs `landfall status` and answers its exit code and JSON.
fn judged(cluster: &Cluster, arguments: &[&str]) -> Result<(Option<i32>, Value)> {
    let output = cluster.run_landfall(&[&["status", "-o", "json"], arguments].concat())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_str(&text).with_context(|| format!("not JSON: {text:?} {words:?}"))?;
    Ok((output.status.code(), report))
}

pub(crate) fn status(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(["create", "namespace", "judged"])?;
    let place = json!({"metadata": {"namespace": "judged"}});
    cluster.apply(&list([merged(backends("web", 1), place.clone()), service("served", "web", place)]))?;
    let (code, report) = until("a verdict with an owner", ASSIGNED, || {
        let (code, report) = judged(cluster, &["-n", "judged"])?;
        ensure!(report["services"][0]["owner"].is_string(), "{report:#}");
        Ok((code, report))
    })?;
    ensure!(code == Some(0), "all is well, but the exit code is {code:?}: {report:#}");
    ensure!(report["apiVersion"] == "landfall.dev/v1" && report["kind"] == "Status", "{report:#}");
    ensure!(report["verdict"] == "OK" && report["problems"] == json!([]), "{report:#}");
    let row = &report["services"][0];
    ensure!(row["namespace"] == "judged" && row["name"] == "served" && row["pool"] == "lan", "{row}");
    ensure!(row["served"] == true && row["reason"].is_null(), "{row}");
    let count = |kind: &str| {
        let components = report["components"].as_array().into_iter().flatten();
        components
            .filter(|c| c["component"] == kind && c["ready"] == true && c["version"].is_string())
            .count()
    };
    ensure!((count("controller"), count("speaker")) == (2, 3), "{report:#}");
    let lan = report["pools"].as_array().into_iter().flatten().find(|pool| pool["name"] == "lan");
    let lan = lan.context("the pool lan is shown")?;
    let figure = |name: &str| lan[name].as_i64().unwrap_or(-1);
    ensure!(
        figure("size") == 40 + 256
            && figure("used") >= 1
            && figure("used") + figure("free") == figure("size"),
        "{lan}"
    );

    // The owner is the one whose MAC answers.
    let address: IpAddr = row["addresses"][0].as_str().context("an address")?.parse()?;
    let asker = Asker::start(cluster.watcher())?;
    asker.ask_for(address);
    let owner = until("one owner", ANSWERED, || cluster.node_of(asker.owner(address)?))?;
    ensure!(row["owner"] == owner.as_str(), "{row} but {owner} answers");

    // Something is not served: exit code 1, with the reason.
    let wish = json!({"metadata": {"namespace": "judged", "annotations": {"metallb.io/loadBalancerIPs": "192.0.2.1"}}});
    cluster.apply(&service("stuck", "web", wish))?;
    until("a degraded verdict with a reason", ASSIGNED, || {
        let (code, report) = judged(cluster, &["-n", "judged"])?;
        let stuck = report["services"].as_array().into_iter().flatten().find(|row| row["name"] == "stuck");
        let stuck = stuck.context("the Service is not shown")?;
        ensure!(code == Some(1) && report["verdict"] == "DEGRADED", "{code:?} {report:#}");
        ensure!(
            stuck["served"] == false && stuck["message"].as_str().is_some_and(|m| m.contains("192.0.2.1")),
            "{stuck}"
        );
        ensure!(stuck["reason"] != "NotHandled", "{stuck}");
        Ok(())
    })?;
    let (_, everywhere) = judged(cluster, &["-A"])?;
    let names: Vec<&Value> =
        everywhere["services"].as_array().into_iter().flatten().map(|row| &row["name"]).collect();
    ensure!(
        names.iter().any(|name| **name == "web") && names.iter().any(|name| **name == "stuck"),
        "{names:?}"
    );

    // The table for people, as a plug-in of kubectl.
    let folder = tempfile::Builder::new().prefix("lf-e2e-").tempdir()?;
    std::os::unix::fs::symlink(cluster.landfall()?, folder.path().join("kubectl-landfall"))?;
    let table = as_plug_in(cluster, folder.path(), &["status", "-n", "judged"])?;
    let text = String::from_utf8_lossy(&table.stdout).into_owned();
    ensure!(table.status.code() == Some(1), "{table:?}");
    ensure!(text.starts_with("DEGRADED") && text.contains("judged/stuck") && text.contains(&owner), "{text}");

    // It could not tell: exit code 2.
    let nowhere = folder.path().join("kubeconfig");
    let real = std::fs::read_to_string(cluster.bed().kubeconfig())?;
    let port = cluster.bed().control_plane().loopback().port().to_string();
    std::fs::write(&nowhere, real.replace(&port, "1"))?;
    let lost = cluster.run_landfall(&["status", "--kubeconfig", &nowhere.display().to_string()])?;
    ensure!(lost.status.code() == Some(2) && !lost.stderr.is_empty() && lost.stdout.is_empty(), "{lost:?}");
    cluster.kubectl(["delete", "namespace", "judged", "--wait=false"]).map(drop)
}

fn as_plug_in(cluster: &Cluster, folder: &std::path::Path, arguments: &[&str]) -> Result<Output> {
    let kubectl = cluster.bed().programs().control_plane("kubectl");
    let mut path = folder.as_os_str().to_owned();
    path.push(":/usr/bin:/bin");
    let mut command = Command::new(kubectl);
    command.arg("landfall").args(arguments).env_clear().env("PATH", path);
    command.env("KUBECONFIG", cluster.bed().kubeconfig()).env("KUBECACHEDIR", folder.join("cache"));
    command.output().context("run kubectl landfall")
}

/// The nftables tables of a node that are Landfall's.
fn tables(cluster: &Cluster, node: &str) -> Result<Vec<String>> {
    let output = cluster.bed().node(node)?.host().command("nft").args(["list", "tables"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().filter(|line| line.contains("landfall")).map(str::to_owned).collect())
}

pub(crate) fn cleanup(cluster: &Cluster) -> Result<()> {
    let changes = json!({"metadata": {"annotations": {"landfall.dev/forwarding": "node-port"}}});
    cluster.apply(&service("lasting", "web", changes))?;
    let target = SocketAddr::new(cluster.address("lasting")?, 80);
    first_answer(cluster.client(), target, ANSWERED)?;
    cluster.kubectl(["delete", "daemonset/landfall-speaker", "-n", NAMESPACE, "--timeout=60s"])?;
    until("the speakers' Pods to be gone", ASSIGNED * 3, || {
        let pods = cluster.pods(NAMESPACE, "component=speaker")?;
        ensure!(pods.is_empty(), "{} are left", pods.len());
        Ok(())
    })?;
    let nodes: Vec<String> = cluster.bed().nodes().map(|node| node.host().name().to_owned()).collect();
    let with_rules: Vec<&String> =
        nodes.iter().filter(|node| tables(cluster, node).is_ok_and(|tables| !tables.is_empty())).collect();
    ensure!(!with_rules.is_empty(), "no node has kept its rules");
    for node in &nodes {
        let mut command = cluster.bed().node(node)?.host().command(cluster.landfall()?);
        let output = command.arg("cleanup").output()?;
        ensure!(output.status.success(), "landfall cleanup on {node}: {output:?}");
        let left = tables(cluster, node)?;
        ensure!(left.is_empty(), "{node} has still {left:?}");
        let rest = cluster.bed().node(node)?.host().command("nft").args(["list", "tables"]).output()?;
        ensure!(
            String::from_utf8_lossy(&rest.stdout).contains("kube-proxy"),
            "others' tables stay: {rest:?}"
        );
        let again = cluster.bed().node(node)?.host().command(cluster.landfall()?).arg("cleanup").output()?;
        ensure!(again.status.success(), "a second landfall cleanup on {node}: {again:?}");
    }
    cluster.delete_services(&["lasting"])
}
