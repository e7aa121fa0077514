//! A Service that shares its traffic with another one.

use anyhow::{Context as _, Result, ensure};
use landfall_e2e::wait::until;
use serde_json::json;

use crate::cloud::{Cloud, PATIENCE, SHOP, service, texts};

const BASE: &str = "stable";
const OTHER: &str = "canary";
const ELB: &str = "elasticloadbalancing";

/// The other Service comes later, gets more and more, and leaves.
pub(crate) fn services(cloud: &Cloud) -> Result<()> {
    share(cloud, 90, 10)?;
    cloud.becomes(BASE, "Conflict")?;
    let said = cloud.message(BASE)?;
    ensure!(said.contains("there is no Service shop/canary"), "{said}");
    cloud.apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": OTHER, "namespace": SHOP },
        "spec": { "type": "NodePort", "selector": { "app": OTHER }, "ports": [{ "name": "http", "port": 8080 }] },
    }))?;
    cloud.becomes(BASE, "Active")?;
    weights_are(cloud, &["10", "90"])?;
    let theirs = group_of(cloud, OTHER)?;
    let (ours, others) = (cloud.targets(&group_of(cloud, BASE)?)?, cloud.targets(&theirs)?);
    let ids = |targets: &std::collections::BTreeSet<(String, String)>| {
        targets.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>()
    };
    ensure!(!ours.is_empty() && ids(&ours) == ids(&others) && ours != others, "{ours:?} {others:?}");

    share(cloud, 0, 100)?;
    weights_are(cloud, &["0", "100"])?;
    cloud.apply(&service(BASE, &[("http", 80)], &[]))?;
    until("the group of the other Service to go", PATIENCE, || {
        ensure!(group_of(cloud, OTHER).is_err());
        Ok(())
    })?;
    weights_are(cloud, &["1"])?;
    cloud.becomes(BASE, "Active")?;
    for name in [BASE, OTHER] {
        cloud.kubectl(&["delete", "service", name, "-n", SHOP, "--timeout=60s"])?;
    }
    Ok(())
}

fn share(cloud: &Cloud, base: u16, other: u16) -> Result<()> {
    let groups = json!([{ "serviceName": OTHER, "servicePort": 8080, "weight": other }]);
    let config = json!({ "baseServiceWeight": base, "targetGroups": groups });
    let action = json!({ "type": "forward", "forwardConfig": config }).to_string();
    cloud.apply(&service(BASE, &[("http", 80)], &[("actions.TCP-80", &action)]))
}

/// The weights of the listener of the Service, in any order.
fn weights_are(cloud: &Cloud, wanted: &[&str]) -> Result<()> {
    until(format!("the weights {wanted:?}"), PATIENCE, || {
        let arns = cloud.texts(ELB, "DescribeLoadBalancers", "LoadBalancerArn")?;
        let arn =
            arns.into_iter().find(|arn| arn.contains(&format!("-{BASE}-"))).context("no load balancer")?;
        let listeners = cloud.ask(ELB, "DescribeListeners", &[("LoadBalancerArn", &arn)])?;
        let mut weights = texts(&listeners, "Weight");
        weights.sort();
        ensure!(weights == wanted, "{weights:?}");
        Ok(())
    })
}

fn group_of(cloud: &Cloud, name: &str) -> Result<String> {
    let arns = cloud.texts(ELB, "DescribeTargetGroups", "TargetGroupArn")?;
    arns.into_iter().find(|arn| arn.contains(&format!("-{name}-"))).context("it has no target group")
}
