//! What is not Landfall's: Services of another class and statuses of another provider; and its rights.

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use landfall_e2e::Cluster;
use landfall_e2e::cluster::conditions;
use landfall_e2e::manifests::{SHOP, list, service};
use serde_json::{Value, json};

/// A host name that another provider wrote, and an address that lies in none of our pools.
const FOREIGN: [&str; 2] = ["lb.example.com", "198.51.100.7"];

/// The Services of others, as they were before Landfall came.
#[derive(Default)]
pub(crate) struct Others {
    /// One per kind of foreign ingress, by name, with its `status.loadBalancer`.
    foreign: Vec<(String, Value)>,
    /// The resource version of the Service of another class.
    class_version: String,
}

pub(crate) fn prepare(cluster: &Cluster) -> Result<Others> {
    cluster.deploy_backends("web", 3)?;
    cluster.deploy_backends("lone", 1)?;
    let class = json!({"spec": {"loadBalancerClass": "example.com/other"}});
    cluster.apply(&list([
        service("other-class", "web", class),
        service("foreign-name", "web", json!({})),
        service("foreign-address", "web", json!({})),
    ]))?;
    let mut foreign = Vec::new();
    for (name, key, value) in
        [("foreign-name", "hostname", FOREIGN[0]), ("foreign-address", "ip", FOREIGN[1])]
    {
        let patch = json!({"status": {"loadBalancer": {"ingress": [{key: value}]}}}).to_string();
        cluster.kubectl([
            "patch",
            "service",
            name,
            "-n",
            SHOP,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ])?;
        foreign.push((name.to_owned(), balancer(cluster, name)?));
    }
    let patch = json!({"status": {"loadBalancer": {"ingress": [{"ip": "10.77.0.200"}]}}}).to_string();
    cluster.kubectl([
        "patch",
        "service",
        "other-class",
        "-n",
        SHOP,
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ])?;
    let class_version = cluster.service("other-class")?.resource_version().context("no resource version")?;
    Ok(Others { foreign, class_version })
}

pub(crate) fn balancer(cluster: &Cluster, name: &str) -> Result<Value> {
    let status = cluster.service(name)?.status.context("no status")?;
    Ok(serde_json::to_value(status.load_balancer)?)
}

pub(crate) fn untouched(cluster: &Cluster, others: &Others) -> Result<()> {
    let version = cluster.service("other-class")?.resource_version();
    ensure!(version.as_ref() == Some(&others.class_version), "the Service of another class was written to");
    for (name, before) in &others.foreign {
        let now = balancer(cluster, name)?;
        ensure!(now == *before, "the status of {name} was {before} and is {now}");
        let object = cluster.service(name)?;
        let text = conditions(&object);
        ensure!(
            text.contains("landfall.dev/Allocated=False"),
            "a condition says that {name} was left alone: {text}"
        );
        ensure!(
            object.annotations().get("metallb.io/ip-allocated-from-pool").is_none(),
            "{:?}",
            object.annotations()
        );
    }
    let touched: Vec<String> = cluster.audit().writes()?.into_iter().map(|call| call.object).collect();
    ensure!(touched.iter().any(|object| object == "shop/web"), "the audit log shows what was written");
    ensure!(!touched.iter().any(|object| object == "shop/other-class"), "the audit log shows a write");
    Ok(())
}

pub(crate) fn rights(cluster: &Cluster) -> Result<()> {
    let calls = cluster.audit().calls()?;
    ensure!(calls.len() > 100, "the audit log holds {} calls", calls.len());
    cluster.ensure_rights()?;
    for (file, log) in cluster.landfall_logs()? {
        let broken = log.lines().find(|line| line.contains("\"level\":\"ERROR\""));
        ensure!(broken.is_none(), "{file}: {broken:?}");
    }
    Ok(())
}
