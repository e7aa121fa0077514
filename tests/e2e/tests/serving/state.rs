//! Whether the configuration is valid, as each daemon says it in its `ConfigurationState`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use landfall_e2e::Cluster;
use landfall_e2e::cluster::ASSIGNED;
use landfall_e2e::manifests::{NAMESPACE, pool};
use landfall_e2e::wait::{throughout, until};
use serde_json::{Value, json};

/// How long nothing is written where nothing changes.
const QUIET: Duration = Duration::from_secs(2);

/// All of them by name.
fn states(cluster: &Cluster) -> Result<BTreeMap<String, Value>> {
    let text = cluster.kubectl(["get", "configurationstates", "-n", NAMESPACE, "-o", "json"])?;
    let list: Value = serde_json::from_str(&text)?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items
        .into_iter()
        .map(|state| Ok((state["metadata"]["name"].as_str().context("a name")?.to_owned(), state)))
        .collect()
}

/// Waits until the controller names these objects and no other of ours, and the speakers those.
fn says(cluster: &Cluster, controller: &[&str], speakers: &[&str]) -> Result<BTreeMap<String, Value>> {
    const OURS: [&str; 3] = ["broken", "overlapping", "stray"];
    until("what the daemons say of the configuration", ASSIGNED, || {
        let states = states(cluster)?;
        ensure!(states.len() == 1 + cluster.bed().nodes().count(), "{:?}", states.keys());
        for (name, state) in &states {
            let named = if name == "controller" { controller } else { speakers };
            let status = &state["status"];
            let result = if named.is_empty() { "Valid" } else { "Invalid" };
            ensure!(status["result"] == result, "{name}: {status}");
            let summary = status["errorSummary"].as_str().context("a summary")?;
            let told = OURS.map(|object| summary.contains(object));
            ensure!(told == OURS.map(|object| named.contains(&object)), "{name}: {summary:?}");
            let condition = &status["conditions"][0];
            let holds = if named.is_empty() { "True" } else { "False" };
            ensure!(condition["status"] == holds && condition["message"] == summary, "{name}: {status}");
        }
        Ok(states)
    })
}

/// Since when the controller says what it says, and its version.
fn since(states: &BTreeMap<String, Value>) -> [Value; 2] {
    let state = &states["controller"];
    [&state["status"]["conditions"][0]["lastTransitionTime"], &state["metadata"]["resourceVersion"]]
        .map(Value::clone)
}

pub(crate) fn told(cluster: &Cluster) -> Result<()> {
    let valid = says(cluster, &[], &[])?;
    owned(cluster, &valid)?;

    // What the API server refuses must be stored before it asks.
    cluster.serve_webhooks(false)?;
    let valid = says(cluster, &[], &[])?;

    // The speakers read pools, and leave it to the controller which of two that overlap is in force.
    cluster.apply(&pool("broken", &["10.77.0.250-10.77.0.1"], json!({})))?;
    let broken = says(cluster, &["broken"], &["broken"])?;
    ensure!(since(&broken) != since(&valid));
    cluster.apply(&pool("overlapping", &["10.77.0.230-10.77.0.249"], json!({})))?;
    let both = says(cluster, &["broken", "overlapping"], &["broken"])?;
    ensure!(since(&both)[0] == since(&broken)[0], "it is no transition");
    cluster.kubectl(["delete", "ipaddresspool", "broken", "-n", NAMESPACE])?;
    says(cluster, &["overlapping"], &[])?;
    cluster.kubectl(["delete", "ipaddresspool", "overlapping", "-n", NAMESPACE])?;
    says(cluster, &[], &[])?;

    cluster.serve_webhooks(true)?;
    // What announces by BGP is read by the speakers only; this one waits for a profile.
    cluster.apply(&json!({
        "apiVersion": "metallb.io/v1beta2",
        "kind": "BGPPeer",
        "metadata": { "name": "stray", "namespace": NAMESPACE },
        "spec": { "myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.1", "bfdProfile": "calm" },
    }))?;
    says(cluster, &[], &["stray"])?;
    cluster.apply(&json!({
        "apiVersion": "metallb.io/v1beta1",
        "kind": "BFDProfile",
        "metadata": { "name": "calm", "namespace": NAMESPACE },
    }))?;
    let mended = says(cluster, &[], &[])?;

    // Without a change nothing is written.
    throughout("no report to change", QUIET, || {
        ensure!(states(cluster)? == mended);
        Ok(())
    })?;

    // What others do to them is undone.
    let node = cluster.bed().nodes().next().context("a node")?.host().name().to_owned();
    let names = ["controller".to_owned(), format!("speaker-{node}")];
    for name in &names {
        cluster.kubectl(["delete", "configurationstate", name, "-n", NAMESPACE])?;
    }
    let back = says(cluster, &[], &[])?;
    ensure!(back["controller"]["metadata"]["uid"] != mended["controller"]["metadata"]["uid"]);
    ensure!(since(&back)[0] == since(&mended)[0], "it is no transition");
    for name in &names {
        let patch = r#"{"status":{"result":"Unknown","errorSummary":"broken"}}"#;
        let target = ["patch", "configurationstate", name, "-n", NAMESPACE];
        let change = ["--subresource=status", "--type=merge", "-p", patch];
        cluster.kubectl(target.into_iter().chain(change))?;
    }
    owned(cluster, &says(cluster, &[], &[])?)
}

/// Each belongs to the Pod that writes it, and its labels say which that is.
fn owned(cluster: &Cluster, states: &BTreeMap<String, Value>) -> Result<()> {
    let leader = cluster.leader()?;
    let pods = cluster.pods(NAMESPACE, "app=landfall")?;
    for (name, state) in states {
        let owner = &state["metadata"]["ownerReferences"][0];
        let pod = pods.iter().find(|pod| pod.metadata.uid.as_deref() == owner["uid"].as_str());
        let pod = pod.with_context(|| format!("{name} belongs to no Pod: {owner}"))?;
        let labels = &state["metadata"]["labels"];
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).context("a node")?;
        if name == "controller" {
            ensure!(pod.metadata.name.as_deref() == Some(&leader), "{owner}, and {leader} leads");
            ensure!(*labels == json!({"metallb.io/component-type": "controller"}), "{labels}");
        } else {
            ensure!(*name == format!("speaker-{node}"), "{name} is about {node}");
            let wanted = json!({"metallb.io/component-type": "speaker", "metallb.io/node-name": node});
            ensure!(*labels == wanted, "{name}: {labels}");
        }
    }
    Ok(())
}
