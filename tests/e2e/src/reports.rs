//! What speakers tell the API server about the Services that they announce.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::Cluster;
use crate::manifests::{NAMESPACE, SHOP};

/// The nodes that report in a `ServiceL2Status` that they announce this Service of [`SHOP`], one for each report.
///
/// # Errors
/// When the reports cannot be read.
pub fn announcers(cluster: &Cluster, service: &str) -> Result<Vec<String>> {
    let selector = format!("metallb.io/service-name={service},metallb.io/service-namespace={SHOP}");
    let text =
        cluster.kubectl(["get", "servicel2statuses", "-n", NAMESPACE, "-l", &selector, "-o", "json"])?;
    let reports: Value = serde_json::from_str(&text)?;
    let items = reports["items"].as_array().context("a list")?;
    let node = |item: &Value| item["status"]["node"].as_str().unwrap_or_default().to_owned();
    Ok(items.iter().map(node).collect())
}

/// When each node last said by the event `nodeAssigned` that it began to announce this Service of [`SHOP`], as the event has
/// it. Times and not counts: a process that started anew counts anew.
///
/// # Errors
/// When the events cannot be read, or one names no node.
pub fn assignments(cluster: &Cluster, service: &str) -> Result<BTreeMap<String, String>> {
    let text = cluster.kubectl(["get", "events.events.k8s.io", "-n", SHOP, "-o", "json"])?;
    let events: Value = serde_json::from_str(&text)?;
    let events = events["items"].as_array().context("a list")?;
    let about = |event: &&Value| event["reason"] == "nodeAssigned" && event["regarding"]["name"] == service;
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    for event in events.iter().filter(about) {
        let note = event["note"].as_str().context("it has a text")?;
        let node = note.split('"').nth(1).with_context(|| format!("{note:?} names no node"))?;
        let at = event["series"]["lastObservedTime"].as_str().or_else(|| event["eventTime"].as_str());
        let at = at.with_context(|| format!("{note:?} has no time"))?;
        let known = last.entry(node.to_owned()).or_default();
        *known = at.max(known).to_owned();
    }
    Ok(last)
}
