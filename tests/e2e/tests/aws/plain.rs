//! Nothing is installed, and AWS is moto as it is, which differs from AWS in many ways: it forgets fields, goes on naming what is
//! gone, and refuses protocols in changes.

use anyhow::{Context as _, Result, ensure};
use landfall_e2e::wait::until;
use serde_json::json;

use crate::cloud::{Cloud, PATIENCE, SHOP, service, texts};

const WEB: &[(&str, u16)] = &[("http", 80), ("https", 443)];

pub(crate) fn all(cloud: &mut Cloud) -> Result<()> {
    cloud.apply(&json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n9" },
        "spec": { "providerID": "aws:///ap-northeast-2a/i-0123456789abcdef0" },
    }))?;
    let ready =
        r#"{"status":{"conditions":[{"type":"Ready","status":"True","reason":"Test","message":""}]}}"#;
    cloud.kubectl(&["patch", "node", "n9", "--subresource=status", "-p", ready])?;
    cloud.run(&["--aws-list-seconds", "10"])?;

    let mut web = service("web", WEB, &[]);
    web["spec"]["externalTrafficPolicy"] = json!("Local");
    cloud.apply(&web)?;
    let mut dns = service("dns", &[("dns", 53)], &[]);
    dns["spec"]["ports"][0]["protocol"] = json!("UDP");
    cloud.apply(&dns)?;
    let everything = [
        ("aws-load-balancer-attributes", "load_balancing.cross_zone.enabled=true"),
        ("aws-load-balancer-target-group-attributes", "deregistration_delay.timeout_seconds=30"),
        ("aws-load-balancer-listener-attributes.TCP-80", "tcp.idle_timeout.seconds=60"),
        ("aws-load-balancer-inbound-sg-rules-on-private-link-traffic", "off"),
        ("aws-load-balancer-healthcheck-protocol", "http"),
        ("aws-load-balancer-additional-resource-tags", "team=shop"),
        ("load-balancer-source-ranges", "10.1.0.0/16"),
    ];
    cloud.apply(&service("asks", WEB, &everything))?;
    for name in ["web", "dns", "asks"] {
        let shown = until("a host name", PATIENCE, || cloud.hostname(name))?;
        ensure!(shown.ends_with(".amazonaws.com"), "{shown}");
        cloud.becomes(name, "Active")?;
    }
    println!("three Services: {} calls", cloud.aws.calls().len());
    // One bad node is left out alone.
    let said = cloud.message("web")?;
    ensure!(said.contains("n9 is left out"), "{said}");
    for group in cloud.texts("elasticloadbalancing", "DescribeTargetGroups", "TargetGroupArn")? {
        let targets = cloud.targets(&group)?;
        ensure!(targets.len() == 2, "{targets:?}");
    }
    steady(cloud)?;

    // Another type of targets: a listener whose protocol moto would refuse to set moves to another group.
    let change =
        |key: &str, value: &str| format!("service.beta.kubernetes.io/aws-load-balancer-{key}={value}");
    cloud.kubectl(&["annotate", "service", "dns", "-n", SHOP, &change("nlb-target-type", "ip")])?;
    until("the group of another type", PATIENCE, || {
        let groups = cloud.ask("elasticloadbalancing", "DescribeTargetGroups", &[])?;
        let types = texts(&groups, "TargetType");
        let of_ip = types.iter().filter(|kind| *kind == "ip").count();
        ensure!((types.len(), of_ip) == (5, 1), "{types:?}");
        Ok(())
    })?;
    // Another scheme: the load balancer goes and its groups stay, although moto says that it still uses them.
    let before = cloud.hostname("web")?;
    let groups = cloud.texts("elasticloadbalancing", "DescribeTargetGroups", "TargetGroupArn")?;
    cloud.kubectl(&["annotate", "service", "web", "-n", SHOP, &change("scheme", "internet-facing")])?;
    until("another name", PATIENCE, || {
        let name = cloud.hostname("web")?;
        ensure!(name != before, "{name}");
        Ok(())
    })?;
    cloud.becomes("web", "Active")?;
    ensure!(cloud.texts("elasticloadbalancing", "DescribeTargetGroups", "TargetGroupArn")? == groups);
    // From TCP to HTTP and back.
    cloud.kubectl(&["annotate", "service", "web", "-n", SHOP, &change("healthcheck-protocol", "tcp")])?;
    checks_by_http(cloud, 2)?;
    cloud.kubectl(&[
        "annotate",
        "--overwrite",
        "service",
        "web",
        "-n",
        SHOP,
        &change("healthcheck-protocol", "HTTP"),
    ])?;
    checks_by_http(cloud, 4)?;
    steady(cloud)?;

    // A Service that moves from one account of itself to the next: deleted and made anew.
    cloud.kubectl(&["delete", "service", "dns", "-n", SHOP, "--timeout=60s"])?;
    cloud.apply(&dns)?;
    until("a host name", PATIENCE, || cloud.hostname("dns"))?;
    cloud.kubectl(&["delete", "services", "--all", "-n", SHOP, "--timeout=60s"]).context("the last ones")?;
    until("nothing to be left", PATIENCE, || cloud.is_empty())
}

/// Waits until so many target groups are checked by HTTP.
fn checks_by_http(cloud: &Cloud, wanted: usize) -> Result<()> {
    until("the check", PATIENCE, || {
        let groups = cloud.ask("elasticloadbalancing", "DescribeTargetGroups", &[])?;
        let protocols = texts(&groups, "HealthCheckProtocol");
        ensure!(protocols.iter().filter(|one| *one == "HTTP").count() == wanted, "{protocols:?}");
        Ok(())
    })
}

/// After a listing that ends what was under way, two more, and no call that changes anything.
fn steady(cloud: &Cloud) -> Result<()> {
    for (listings, what) in [(2, "a whole listing"), (3, "two more")] {
        cloud.aws.forget_calls();
        until(what, PATIENCE, || {
            let seen = cloud.aws.count("DescribeVpcs");
            ensure!(seen >= listings, "{seen}");
            Ok(())
        })?;
    }
    ensure!(cloud.changes().is_empty(), "{:?}", cloud.changes());
    Ok(())
}
