//! How an address is given back, and what happens to it when its pool changes.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use landfall_e2e::cluster::{ANSWERED, ASSIGNED};
use landfall_e2e::manifests::{NAMESPACE, SHOP, pool, service};
use landfall_e2e::requests::first_answer;
use landfall_e2e::wait::{throughout, until};
use landfall_e2e::{Asker, Cluster, history};
use serde_json::{Value, json};

/// The only address of the pool `one`.
const ONLY: &str = "10.77.0.240";

fn claim_the_only(name: &str) -> Value {
    service(name, "web", json!({"metadata": {"annotations": {"metallb.io/address-pool": "one"}}}))
}

pub(crate) fn released_on_deletion(cluster: &Cluster) -> Result<()> {
    cluster.apply(&pool("one", &["10.77.0.240/32"], json!({"autoAssign": false})))?;
    let only: IpAddr = ONLY.parse()?;
    cluster.apply(&claim_the_only("first"))?;
    ensure!(cluster.address("first")? == only);
    cluster.apply(&claim_the_only("second"))?;
    let reason = cluster.refused("second")?;
    eprintln!("   the second one waits: {reason}");

    let asker = Asker::start(cluster.watcher())?;
    asker.ask_for(only);
    until("an owner", ANSWERED, || asker.owner(only))?;
    // With nobody else waiting, the address must fall silent.
    cluster.delete_services(&["second"])?;
    cluster.delete_services(&["first"])?;
    falls_silent(&asker, only)?;

    // With somebody waiting, that one gets it.
    cluster.apply(&claim_the_only("first"))?;
    ensure!(cluster.address("first")? == only);
    cluster.apply(&claim_the_only("second"))?;
    cluster.refused("second")?;
    cluster.delete_services(&["first"])?;
    ensure!(cluster.address("second")? == only, "the waiting Service gets what was released");
    first_answer(cluster.client(), SocketAddr::new(only, 80), ANSWERED)?;
    cluster.delete_services(&["second"])
}

/// Waits until nobody claims the address, and checks that it stays so.
pub(crate) fn falls_silent(asker: &Asker, address: IpAddr) -> Result<()> {
    until(format!("silence about {address}"), ANSWERED, || {
        let second_ago =
            Instant::now().checked_sub(Duration::from_secs(1)).context("the machine has just started")?;
        asker.ensure_silent_since(address, second_ago)
    })?;
    let since = Instant::now();
    throughout(format!("silence about {address}"), Duration::from_secs(1), || {
        asker.ensure_silent_since(address, since)
    })
}

pub(crate) fn released_on_type_change(cluster: &Cluster) -> Result<()> {
    let only: IpAddr = ONLY.parse()?;
    cluster.apply(&claim_the_only("changing"))?;
    ensure!(cluster.address("changing")? == only);
    let asker = Asker::start(cluster.watcher())?;
    asker.ask_for(only);
    until("an owner", ANSWERED, || asker.owner(only))?;
    cluster.kubectl([
        "patch",
        "service",
        "changing",
        "-n",
        SHOP,
        "-p",
        r#"{"spec":{"type":"ClusterIP"}}"#,
    ])?;
    until("an empty status without our marks", ASSIGNED, || {
        let object = cluster.service("changing")?;
        ensure!(history::addresses(&object).is_empty(), "{:?}", object.status);
        ensure!(
            object.annotations().get("metallb.io/ip-allocated-from-pool").is_none(),
            "{:?}",
            object.annotations()
        );
        Ok(())
    })?;
    falls_silent(&asker, only)?;
    cluster.apply(&claim_the_only("heir"))?;
    ensure!(cluster.address("heir")? == only, "the address is free again");
    cluster.delete_services(&["changing", "heir"])?;
    cluster.kubectl(["delete", "ipaddresspool", "one", "-n", NAMESPACE]).map(drop)
}

pub(crate) fn pool_changes(cluster: &Cluster) -> Result<()> {
    let wish = json!({"metadata": {"annotations": {"metallb.io/address-pool": "later"}}});
    cluster.apply(&service("patient", "web", wish))?;
    let reason = cluster.refused("patient")?;
    eprintln!("   before the pool is there: {reason}");
    let client = cluster.client();

    cluster.apply(&pool("later", &["10.77.0.242/31"], json!({})))?;
    let first = cluster.address("patient")?;
    ensure!(first.to_string() == "10.77.0.242", "{first}");
    first_answer(client, SocketAddr::new(first, 80), ANSWERED)?;

    let since = Instant::now();
    cluster.apply(&pool("later", &["10.77.0.242-10.77.0.245"], json!({})))?;
    until("the pool's status to follow", ASSIGNED, || {
        let path = "jsonpath={.status.assignedIPv4}/{.status.availableIPv4}";
        let counts = cluster.kubectl(["get", "ipaddresspool", "later", "-n", NAMESPACE, "-o", path])?;
        ensure!(counts == "1/3", "{counts}");
        Ok(())
    })?;
    cluster.history().ensure_unchanged_since("shop/patient", since)?;

    let asker = Asker::start(cluster.watcher())?;
    asker.ask_for(first);
    cluster.apply(&pool("later", &["10.77.0.246/31"], json!({})))?;
    let second = until("an address of the edited pool", ASSIGNED, || {
        let address = cluster.address("patient")?;
        ensure!(address != first, "still {address}");
        Ok(address)
    })?;
    ensure!(second.to_string() == "10.77.0.246", "{second}");
    first_answer(client, SocketAddr::new(second, 80), ANSWERED)?;
    falls_silent(&asker, first)?;

    asker.ask_for(second);
    cluster.kubectl(["delete", "ipaddresspool", "later", "-n", NAMESPACE])?;
    let reason = cluster.refused("patient")?;
    eprintln!("   after the pool is gone: {reason}");
    falls_silent(&asker, second)?;
    cluster.delete_services(&["patient"])
}
