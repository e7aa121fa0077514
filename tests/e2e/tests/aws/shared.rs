//! A target group in which another cluster has a target.

use anyhow::{Context as _, Result, ensure};
use landfall_e2e::wait::until;

use crate::cloud::{Cloud, PATIENCE, SHOP, service};

const NAME: &str = "both";
const ELB: &str = "elasticloadbalancing";

/// One of our nodes goes, and then the Service: the other cluster's target stays, and so does the group.
pub(crate) fn group(cloud: &Cloud) -> Result<()> {
    let annotations = [("aws-load-balancer-multi-cluster-target-group", "true")];
    cloud.apply(&service(NAME, &[("http", 80)], &annotations))?;
    cloud.becomes(NAME, "Active")?;
    let group = group_of(cloud)?;
    let ours = cloud.targets(&group)?;
    let remembered = || {
        let path = "jsonpath={.metadata.annotations.landfall\\.dev/aws-registered-targets}";
        cloud.kubectl(&["get", "service", NAME, "-n", SHOP, "-o", path])
    };
    let written: Vec<String> = ours.iter().map(|(id, port)| format!("{id}:{port}")).collect();
    ensure!(remembered()? == written.join(","), "{} instead of {written:?}", remembered()?);

    let (theirs, _) = cloud.aws.instance(&cloud.place, "ap-northeast-2a")?;
    let target =
        [("TargetGroupArn", &*group), ("Targets.member.1.Id", &*theirs), ("Targets.member.1.Port", "30999")];
    cloud.ask(ELB, "RegisterTargets", &target)?;
    let (node, _) = cloud.node("n4", "ap-northeast-2b")?;
    let become_ = |count: usize, node_is_there: bool| {
        until(format!("{count} targets"), PATIENCE, || {
            let targets = cloud.targets(&group)?;
            let there = targets.iter().any(|(id, _)| *id == node);
            ensure!(targets.len() == count && there == node_is_there, "{targets:?}");
            ensure!(targets.iter().any(|(id, _)| *id == theirs), "theirs is gone: {targets:?}");
            Ok(())
        })
    };
    become_(ours.len() + 2, true)?;
    cloud.kubectl(&["delete", "node", "n4"])?;
    become_(ours.len() + 1, false)?;
    until("the node to be forgotten", PATIENCE, || {
        let text = remembered()?;
        ensure!(!text.contains(&node), "{text}");
        Ok(())
    })?;

    cloud.kubectl(&["delete", "service", NAME, "-n", SHOP, "--timeout=60s"])?;
    ensure!(group_of(cloud)? == group, "another group");
    become_(1, false)?;
    // The other cluster leaves, too.
    cloud.ask(ELB, "DeregisterTargets", &target)?;
    cloud.ask(ELB, "DeleteTargetGroup", &[("TargetGroupArn", &group)]).map(drop)
}

fn group_of(cloud: &Cloud) -> Result<String> {
    let arns = cloud.texts(ELB, "DescribeTargetGroups", "TargetGroupArn")?;
    arns.into_iter().find(|arn| arn.contains(&format!("-{NAME}-"))).context("it has no target group")
}
