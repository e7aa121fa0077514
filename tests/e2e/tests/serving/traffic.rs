//! Addresses, families, protocols and policies, as a client sees them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use landfall_e2e::cluster::{ANSWERED, ASSIGNED, both_families};
use landfall_e2e::manifests::{HTTP, SHOP, UDP, list, service};
use landfall_e2e::requests::{TIMEOUT, curl, every_backend, http, settled, udp};
use landfall_e2e::wait::until;
use landfall_e2e::{Asker, Cluster};
use serde_json::{Value, json};

use crate::others::balancer;

pub(crate) fn assigned_on_a_watch(cluster: &Cluster) -> Result<()> {
    cluster.apply(&service("web", "web", json!({})))?;
    let path = "jsonpath={.status.loadBalancer.ingress[0].ip}";
    // kubectl wait lists and then watches.
    cluster.kubectl(["wait", "--for", path, "service/web", "-n", SHOP, "--timeout=10s"])?;
    let shown = cluster.kubectl(["get", "service", "web", "-n", SHOP, "-o", path])?;
    // 10.77.0.200 is the status of a Service of another class, which is none of our business.
    ensure!(shown == "10.77.0.200", "the lowest address is 10.77.0.200, assigned was {shown:?}");

    let seen = until("the watch to say so", ASSIGNED, || {
        let seen = cluster.history().of("shop/web");
        ensure!(seen.last().is_some_and(|last| !last.addresses.is_empty()), "{seen:?}");
        Ok(seen)
    })?;
    ensure!(seen.len() == 2 && seen[0].addresses.is_empty(), "pending first, then one address: {seen:?}");
    eprintln!("   assigned {:?} after it was created", seen[1].at.duration_since(seen[0].at));

    let object = cluster.service("web")?;
    let from = object.annotations().get("metallb.io/ip-allocated-from-pool");
    ensure!(from.is_some_and(|pool| pool == "lan"), "the pool is annotated: {from:?}");
    until("an event", ASSIGNED, || {
        let fields = "involvedObject.name=web,reason=IPAllocated";
        let events =
            cluster.kubectl(["get", "events", "-n", SHOP, "--field-selector", fields, "-o", "name"])?;
        ensure!(events.lines().count() == 1, "{events:?}");
        Ok(())
    })
}

pub(crate) fn curl_reaches_every_backend(cluster: &Cluster) -> Result<()> {
    let target = SocketAddr::new(cluster.address("web")?, 80);
    settled(cluster.client(), target, ANSWERED)?;
    let backends = cluster.backends("web")?;
    ensure!(backends.len() == 3, "three backends are ready: {backends:?}");
    let answers = every_backend(&backends, 100, || curl(cluster.client(), target))?;
    eprintln!("   all three have answered after {} requests", answers.len());
    Ok(())
}

pub(crate) fn families(cluster: &Cluster) -> Result<()> {
    let families =
        |policy: &str, order: &[&str]| json!({"spec": {"ipFamilyPolicy": policy, "ipFamilies": order}});
    cluster.apply(&list([
        service("v4", "web", families("SingleStack", &["IPv4"])),
        service("v6", "web", families("SingleStack", &["IPv6"])),
        service("prefer", "web", families("PreferDualStack", &["IPv6", "IPv4"])),
        service("require", "web", families("RequireDualStack", &["IPv4", "IPv6"])),
    ]))?;
    let v4 = cluster.address("v4")?;
    let v6 = cluster.address("v6")?;
    ensure!(v4.is_ipv4() && v6.is_ipv6(), "{v4} and {v6}");
    let mut all = vec![v4, v6];
    for name in ["prefer", "require"] {
        let (v4, v6) = both_families(&cluster.addresses(name, 2)?).with_context(|| name.to_owned())?;
        all.extend([v4, v6]);
    }
    let distinct: BTreeSet<&IpAddr> = all.iter().collect();
    ensure!(distinct.len() == all.len(), "every address is assigned once: {all:?}");

    let asker = Asker::start(cluster.watcher())?;
    let backends = cluster.backends("web")?;
    for address in &all {
        asker.ask_for(*address);
        let target = SocketAddr::new(*address, 80);
        settled(cluster.client(), target, ANSWERED)?;
        every_backend(&backends, 100, || http(cluster.client(), target, TIMEOUT))
            .with_context(|| format!("by {address}"))?;
        until(format!("one owner of {address}"), ANSWERED, || cluster.node_of(asker.owner(*address)?))?;
    }
    // Both addresses of a Service are owned by one node.
    for pair in [&all[2..4], &all[4..6]] {
        ensure!(asker.owner(pair[0])? == asker.owner(pair[1])?, "{pair:?} are owned by one node");
    }
    cluster.delete_services(&["v4", "v6", "prefer", "require"])
}

pub(crate) fn protocols_and_ports(cluster: &Cluster) -> Result<()> {
    let ports = json!([
        {"name": "http", "protocol": "TCP", "port": 80, "targetPort": HTTP[0]},
        {"name": "admin", "protocol": "TCP", "port": 8443, "targetPort": HTTP[1]},
        {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": UDP},
        {"name": "echo", "protocol": "UDP", "port": 80, "targetPort": UDP},
    ]);
    let changes = json!({"spec": {"ports": ports, "ipFamilyPolicy": "RequireDualStack"}});
    cluster.apply(&service("many", "web", changes))?;
    let client = cluster.client();
    let backends = cluster.backends("web")?;
    for address in cluster.addresses("many", 2)? {
        settled(client, SocketAddr::new(address, 80), ANSWERED)?;
        for port in [80, 8443] {
            every_backend(&backends, 100, || http(client, SocketAddr::new(address, port), TIMEOUT))
                .with_context(|| format!("TCP {address} port {port}"))?;
        }
        for port in [53, 80] {
            let target = SocketAddr::new(address, port);
            let answers = every_backend(&backends, 100, || udp(client, target, TIMEOUT))
                .with_context(|| format!("UDP {address} port {port}"))?;
            ensure!(answers.iter().all(|answer| answer.echo == "hello"), "{answers:?}");
        }
        let closed = http(client, SocketAddr::new(address, 81), TIMEOUT);
        ensure!(closed.is_err(), "port 81 is not the Service's, but something answers there: {closed:?}");
    }
    cluster.delete_services(&["many"])
}

pub(crate) fn policy_local(cluster: &Cluster) -> Result<()> {
    let policy = json!({"spec": {"externalTrafficPolicy": "Local", "ipFamilyPolicy": "RequireDualStack"}});
    cluster.apply(&service("local", "lone", policy))?;
    let pods = cluster.pods(SHOP, "app=lone")?;
    let node =
        pods[0].spec.as_ref().and_then(|spec| spec.node_name.clone()).context("the Pod has no node")?;
    let asker = Asker::start(cluster.watcher())?;
    let client = cluster.client();
    let own: [IpAddr; 2] = [client.ipv4().context("IPv4")?.into(), client.ipv6().context("IPv6")?.into()];
    for (address, own) in cluster.addresses("local", 2)?.into_iter().zip(own) {
        asker.ask_for(address);
        let target = SocketAddr::new(address, 80);
        settled(client, target, ANSWERED)?;
        for _ in 0..20 {
            let answer = http(client, target, TIMEOUT)?;
            ensure!(answer.client == own, "the Pod saw {} instead of {own}", answer.client);
        }
        let owner = until("one owner", ANSWERED, || cluster.node_of(asker.owner(address)?))?;
        ensure!(owner == node, "{address} is owned by {owner}, but the only Pod is on {node}");
    }
    // Without the policy the Pod sees a node, where that is not its own. This tells that the bed can tell.
    let plain = SocketAddr::new(cluster.address("web")?, 80);
    let answers = every_backend(&cluster.backends("web")?, 100, || http(client, plain, TIMEOUT))?;
    ensure!(answers.iter().any(|answer| answer.client != own[0]), "with policy Cluster some Pods see a node");
    cluster.delete_services(&["local"])
}

pub(crate) fn node_port(cluster: &Cluster) -> Result<()> {
    let ports = json!([
        {"name": "http", "protocol": "TCP", "port": 80, "targetPort": HTTP[0]},
        {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": UDP},
    ]);
    let changes = json!({
        "metadata": {"annotations": {"landfall.dev/forwarding": "node-port"}},
        "spec": {"ports": ports, "ipFamilyPolicy": "RequireDualStack"},
    });
    cluster.apply(&service("ported", "web", changes))?;
    let client = cluster.client();
    let backends = cluster.backends("web")?;
    for address in cluster.addresses("ported", 2)? {
        let target = SocketAddr::new(address, 80);
        settled(client, target, ANSWERED)?;
        every_backend(&backends, 100, || http(client, target, TIMEOUT))
            .with_context(|| format!("TCP {target}"))?;
        let target = SocketAddr::new(address, 53);
        every_backend(&backends, 100, || udp(client, target, TIMEOUT))
            .with_context(|| format!("UDP {target}"))?;
    }
    let status = balancer(cluster, "ported")?;
    let modes: Vec<&Value> =
        status["ingress"].as_array().into_iter().flatten().map(|entry| &entry["ipMode"]).collect();
    ensure!(modes == ["Proxy", "Proxy"], "kube-proxy leaves it alone: {status}");
    // The mode may be changed while the Service is in use, and the addresses stay.
    let before = cluster.addresses("ported", 2)?;
    let since = Instant::now();
    cluster.kubectl([
        "annotate",
        "service",
        "ported",
        "-n",
        SHOP,
        "landfall.dev/forwarding=announce",
        "--overwrite",
    ])?;
    until("ipMode VIP", ASSIGNED, || {
        let status = balancer(cluster, "ported")?;
        ensure!(
            status["ingress"].as_array().is_some_and(|all| all.iter().all(|e| e["ipMode"] == "VIP")),
            "{status}"
        );
        Ok(())
    })?;
    settled(client, SocketAddr::new(before[0], 80), ANSWERED)?;
    every_backend(&backends, 100, || http(client, SocketAddr::new(before[0], 80), TIMEOUT))?;
    cluster.history().ensure_unchanged_since("shop/ported", since)?;
    cluster.delete_services(&["ported"])
}
