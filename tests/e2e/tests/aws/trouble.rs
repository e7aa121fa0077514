use std::time::Duration;

use anyhow::{Result, ensure};
use landfall_aws_double::{Fault, Limits};
use landfall_e2e::wait::{throughout, until};

use crate::cloud::{Cloud, PATIENCE, SHOP, service};

const WEB: &[(&str, u16)] = &[("http", 80), ("https", 443)];

/// The controller is killed after each call that changes something, once while making and once while deleting.
pub(crate) fn kills(cloud: &mut Cloud) -> Result<()> {
    cloud.aws.provisioning_reads(0);
    let mut kills = 0;
    cloud.apply(&service("web", WEB, &[]))?;
    kills += killed_at_each_change(cloud, |cloud| cloud.becomes("web", "Active"))?;
    let groups = cloud.texts("elasticloadbalancing", "DescribeTargetGroups", "TargetGroupName")?;
    let balancers = cloud.texts("elasticloadbalancing", "DescribeLoadBalancers", "LoadBalancerName")?;
    ensure!((groups.len(), balancers.len()) == (2, 1), "{groups:?} {balancers:?}");

    cloud.kubectl(&["delete", "service", "web", "-n", SHOP, "--wait=false"])?;
    kills += killed_at_each_change(cloud, |cloud| {
        until("nothing to be left", PATIENCE, || cloud.is_empty())?;
        until("the Service to be gone", PATIENCE, || {
            let left = cloud.kubectl(&["get", "services", "-n", SHOP, "-o", "name"])?;
            ensure!(left.trim().is_empty(), "{left}");
            Ok(())
        })
    })?;
    println!("{kills} kills");
    ensure!(kills >= 12, "only {kills} kills");
    Ok(())
}

/// Starts the controller and kills it when AWS has applied one change of it, again and again, until a run needs no change.
/// Answers how many were killed.
fn killed_at_each_change(cloud: &mut Cloud, end: impl Fn(&Cloud) -> Result<()>) -> Result<u32> {
    for kills in 0..60 {
        cloud.aws.forget_calls();
        cloud.aws.cut_after_change();
        cloud.run(&[])?;
        until("a listing", PATIENCE, || {
            ensure!(
                cloud.aws.is_cut() || cloud.aws.count("DescribeVpcs") > 0,
                "{:?}",
                cloud.aws.calls().last()
            );
            Ok(())
        })?;
        let idle = throughout("no change", Duration::from_secs(3), || {
            ensure!(!cloud.aws.is_cut());
            Ok(())
        });
        if idle.is_ok() {
            cloud.aws.restore();
            end(cloud)?;
            cloud.kill()?;
            return Ok(kills);
        }
        cloud.kill()?;
        cloud.aws.restore();
    }
    anyhow::bail!("60 kills were not enough")
}

/// What the user did wrong, what AWS refuses, and too many calls.
pub(crate) fn refusals(cloud: &mut Cloud) -> Result<()> {
    cloud.aws.provisioning_reads(0);
    cloud.aws.fail("CreateLoadBalancer", Fault::refused("TooManyLoadBalancers"));
    cloud.run(&["--aws-list-seconds", "10", "--watch-namespace", SHOP])?;
    cloud.apply(&service("web", WEB, &[]))?;
    cloud.becomes("web", "Refused")?;
    until("the event", PATIENCE, || {
        let events = cloud.events("web")?;
        ensure!(events.contains("FailedDeployModel"), "{events:?}");
        Ok(())
    })?;
    cloud.becomes("web", "Active")?;

    // A mistake is told, and what is there stays.
    cloud.aws.forget_calls();
    cloud.apply(&service("web", WEB, &[("aws-load-balancer-scheme", "public")]))?;
    cloud.becomes("web", "InvalidAnnotation")?;
    let name = cloud.hostname("web")?;
    let message = cloud.kubectl(&["get", "service", "web", "-n", SHOP, "-o", "yaml"])?;
    ensure!(message.contains("aws-load-balancer-scheme") && message.contains("internet-facing"), "{message}");
    throughout("nothing to change", Duration::from_secs(2), || {
        ensure!(cloud.changes().is_empty(), "{:?}", cloud.changes());
        Ok(())
    })?;
    cloud.apply(&service("web", WEB, &[]))?;
    cloud.becomes("web", "Active")?;
    ensure!(cloud.hostname("web")? == name);

    // Twenty more under the limits of AWS: they all come, and few calls are one too many.
    cloud.aws.forget_calls();
    cloud.aws.throttle(Some(Limits::default()));
    let names: Vec<String> = (0..20).map(|number| format!("many-{number}")).collect();
    for name in &names {
        cloud.apply(&service(name, &[("http", 80)], &[]))?;
    }
    for name in &names {
        cloud.becomes(name, "Active")?;
    }
    // What a load balancer is like is written on it at last, when it serves already.
    until("a fingerprint on each", PATIENCE, || {
        let calls = cloud.aws.calls();
        let written = calls.iter().filter(|call| call.action == "AddTags" && call.status == 200).count();
        ensure!(written >= names.len(), "{written}");
        Ok(())
    })?;
    let calls = cloud.aws.calls();
    let throttled = calls.iter().filter(|call| matches!(call.status, 400 | 503)).count();
    println!("20 Services: {} calls, {throttled} refused", calls.len());
    ensure!(throttled * 10 <= calls.len(), "{throttled} of {} calls were refused", calls.len());
    cloud.aws.throttle(None);

    // In a steady state, three listings and no call that changes anything.
    cloud.aws.forget_calls();
    until("three listings", PATIENCE, || {
        let listings = cloud.aws.count("DescribeAvailabilityZones");
        ensure!(listings >= 3, "{listings}");
        Ok(())
    })?;
    ensure!(cloud.changes().is_empty(), "{:?}", cloud.changes());
    let per_listing = cloud.aws.calls().len() / 3;
    println!("21 Services in a steady state: {per_listing} calls for a listing");
    ensure!(per_listing <= 40, "{per_listing} calls");

    let all = ["delete", "services", "--all", "-n", SHOP, "--timeout=120s"];
    cloud.kubectl(&all)?;
    until("nothing to be left", PATIENCE, || cloud.is_empty())
}
