//! Who may own an address: what advertisements and labels say, and what is reported of it.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use anyhow::{Result, ensure};
use landfall_e2e::cluster::{ANSWERED, ASSIGNED};
use landfall_e2e::manifests::{NAMESPACE, SHOP, advertisement, list, merged, pool, service};
use landfall_e2e::reports::announcers;
use landfall_e2e::requests::{Traffic, first_answer};
use landfall_e2e::wait::{throughout, until};
use landfall_e2e::{Asker, Cluster};
use serde_json::{Value, json};

use crate::lifecycle::falls_silent;

const ADDRESS: &str = "10.77.0.248";
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// A Service whose advertisement is edited while it is in use.
pub(crate) fn chosen_owner(cluster: &Cluster) -> Result<()> {
    let address: IpAddr = ADDRESS.parse()?;
    let wish = json!({"metadata": {"annotations": {"metallb.io/address-pool": "placed"}}});
    cluster.apply(&list([
        pool("placed", &["10.77.0.248/32"], json!({"autoAssign": false})),
        merged(advertisement("placed", &["placed"]), json!({"spec": only(&["n2"])})),
        service("placed", "web", wish),
    ]))?;
    ensure!(cluster.address("placed")? == address);
    let asker = Asker::start(cluster.watcher())?;
    asker.ask_for(address);
    owned_by(cluster, &asker, "n2")?;
    reported(cluster, &["n2"])?;

    let edited = edit(cluster, &only(&["n3"]))?;
    owned_by(cluster, &asker, "n3")?;
    reported(cluster, &["n3"])?;
    verified(cluster, "n3")?;
    asker.ensure_single_owner(address, edited, Instant::now())?;

    // No node has such an interface.
    edit(cluster, &json!({"interfaces": ["eth9"]}))?;
    falls_silent(&asker, address)?;
    reported(cluster, &[])?;
    edit(cluster, &merged(only(&["n1", "n3"]), json!({"interfaces": ["eth0"]})))?;
    let owner = until("an owner", ANSWERED, || cluster.node_of(asker.owner(address)?))?;
    ensure!(["n1", "n3"].contains(&owner.as_str()), "{owner} is not among the selected nodes");

    let other = if owner == "n1" { "n3" } else { "n1" };
    let traffic = Traffic::start(cluster.client(), SocketAddr::new(address, 80))?;
    traffic.answered_after(Instant::now(), ANSWERED)?;
    let labelled = Instant::now();
    cluster.kubectl(["label", "node", &owner, &format!("{EXCLUDED}=")])?;
    owned_by(cluster, &asker, other)?;
    traffic.answered_after(Instant::now(), ANSWERED)?;
    asker.ensure_one_at_a_time(address, labelled)?;
    ensure!(traffic.lost_since(labelled) == 0, "{}", traffic.told_since(labelled));
    cluster.kubectl(["label", "node", &owner, &format!("{EXCLUDED}-")])?;
    throughout("the owner stays the owner", landfall_e2e::asker::SETTLED * 2, || {
        let now = cluster.node_of(asker.owner(address)?)?;
        ensure!(now == other, "{now} owns the address");
        Ok(())
    })?;
    asker.ensure_single_owner(address, labelled, Instant::now())?;

    cluster.delete_services(&["placed"])?;
    cluster.kubectl(["delete", "ipaddresspool/placed", "l2advertisement/placed", "-n", NAMESPACE])?;
    falls_silent(&asker, address)?;
    reported(cluster, &[])
}

/// Part of an advertisement's `spec`: these nodes only.
fn only(nodes: &[&str]) -> Value {
    let expression = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": nodes});
    json!({"nodeSelectors": [{"matchExpressions": [expression]}]})
}

/// The Service says that another node asked for its address on the wire, and got the answer of this one.
fn verified(cluster: &Cluster, node: &str) -> Result<()> {
    let condition = ".status.conditions[?(@.type==\"landfall.dev/Announced\")]";
    let path = format!("jsonpath={{{condition}.reason}}: {{{condition}.message}}");
    until("a peer to find the owner on the wire", ANSWERED, || {
        let said = cluster.kubectl(["get", "service", "placed", "-n", SHOP, "-o", &path])?;
        let expected = format!("Verified: node \"{node}\" announces it; verified on the wire by node ");
        ensure!(said.starts_with(&expected) && said.contains("since "), "{said}");
        Ok(())
    })
}

fn edit(cluster: &Cluster, spec: &Value) -> Result<Instant> {
    let patch = json!({ "spec": spec }).to_string();
    let edited = Instant::now();
    cluster.kubectl(["patch", "l2advertisement", "placed", "-n", NAMESPACE, "--type=merge", "-p", &patch])?;
    Ok(edited)
}

fn owned_by(cluster: &Cluster, asker: &Asker, node: &str) -> Result<()> {
    let address: IpAddr = ADDRESS.parse()?;
    until(format!("{node} to own {address}"), ANSWERED, || {
        let owner = cluster.node_of(asker.owner(address)?)?;
        ensure!(owner == node, "{owner} owns it");
        Ok(())
    })?;
    first_answer(cluster.client(), SocketAddr::new(address, 80), ANSWERED).map(drop)
}

/// Waits until exactly these nodes report in a `ServiceL2Status` that they announce the Service.
fn reported(cluster: &Cluster, nodes: &[&str]) -> Result<()> {
    until(format!("reports of {nodes:?}"), ASSIGNED, || {
        let named = announcers(cluster, "placed")?;
        ensure!(named == nodes, "{named:?}");
        Ok(())
    })
}
