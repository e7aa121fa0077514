use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use landfall_e2e::wait::until;
use serde_json::json;

use crate::{
    cloud::{Cloud, PATIENCE, SHOP, service},
    shared, weighted,
};

const HTTP: &[(&str, u16)] = &[("http", 80), ("https", 443)];

/// From `kubectl apply` to `kubectl delete`.
pub(crate) fn of_a_service(cloud: &mut Cloud) -> Result<()> {
    cloud.aws.provisioning_reads(3);
    // Region and VPC are told by the nodes.
    cloud.run(&["--aws-list-seconds", "10"])?;
    cloud.apply(&service("ingress-nginx", HTTP, &[("aws-load-balancer-scheme", "internet-facing")]))?;
    until("a load balancer that is being set up", PATIENCE, || {
        let condition = cloud.condition("ingress-nginx")?;
        ensure!(condition == ("False".to_owned(), "Provisioning".to_owned()), "{condition:?}");
        Ok(())
    })?;
    ensure!(cloud.hostname("ingress-nginx").is_err(), "no name before it answers");
    let name = until("a host name", PATIENCE, || cloud.hostname("ingress-nginx"))?;
    ensure!(name.ends_with(".elb.ap-northeast-2.amazonaws.com"), "{name}");
    ensure!(cloud.condition("ingress-nginx")?.1 == "Active");
    let shown = cloud.kubectl(&["get", "service", "ingress-nginx", "-n", SHOP])?;
    ensure!(shown.contains(&name) && shown.contains("80:") && shown.contains("443:"), "{shown}");
    let status = cloud.status()?;
    let row = status.lines().find(|line| line.contains("shop/ingress-nginx")).unwrap_or_default();
    ensure!(row.contains(&name) && row.trim_end().ends_with("served"), "{status}");
    let events = cloud.events("ingress-nginx")?;
    for reason in ["EnsuringLoadBalancer", "EnsuredLoadBalancer", "SuccessfullyReconciled"] {
        ensure!(events.contains(reason), "{reason} is not among {events:?}");
    }
    let calls = cloud.aws.calls().len();
    println!("two ports: {calls} calls until the name, {} of them changes", cloud.changes().len());

    let groups = cloud.texts("elasticloadbalancing", "DescribeTargetGroups", "TargetGroupArn")?;
    ensure!(groups.len() == 2, "{groups:?}");
    let follow = |count: usize| {
        until(format!("{count} targets in each group"), PATIENCE, || {
            for group in &groups {
                let targets = cloud.targets(group)?;
                ensure!(targets.len() == count, "{targets:?}");
                ensure!(targets.iter().all(|(_, port)| port.parse::<u16>().is_ok_and(|port| port >= 30000)));
            }
            Ok(())
        })
    };
    follow(2)?;
    cloud.node("n3", "ap-northeast-2a")?;
    follow(3)?;
    cloud.kubectl(&["label", "node", "n1", "node.kubernetes.io/exclude-from-external-load-balancers="])?;
    follow(2)?;

    pods(cloud)?;
    shared::group(cloud)?;
    weighted::services(cloud)?;

    cloud.kubectl(&["delete", "service", "ingress-nginx", "-n", SHOP, "--timeout=60s"])?;
    until("nothing to be left", PATIENCE, || cloud.is_empty())?;
    cloud.rights_are_used()
}

/// A Service whose targets are pods, in the place of the first.
fn pods(cloud: &Cloud) -> Result<()> {
    cloud.apply(&service("pods", &[("http", 80)], &[("aws-load-balancer-nlb-target-type", "ip")]))?;
    let slice = |addresses: &[(&str, bool)]| {
        let endpoint = |(address, ready): &(&str, bool)| {
            let pod = format!("pod-{}", address.replace('.', "-"));
            json!({ "addresses": [address], "conditions": { "ready": ready, "serving": ready, "terminating": false },
                "nodeName": "n2", "targetRef": { "kind": "Pod", "name": pod, "namespace": SHOP } })
        };
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": { "name": "pods-x", "namespace": SHOP, "labels": {
                "kubernetes.io/service-name": "pods", "endpointslice.kubernetes.io/managed-by": "a-test" } },
            "addressType": "IPv4",
            "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
            "endpoints": addresses.iter().map(endpoint).collect::<Vec<_>>(),
        })
    };
    cloud.apply(&slice(&[("10.0.101.77", true), ("10.0.101.78", false)]))?;
    until("a host name", PATIENCE, || cloud.hostname("pods"))?;
    let (name, group) = until("its target group", PATIENCE, || {
        let names = cloud.texts("elasticloadbalancing", "DescribeTargetGroups", "TargetGroupName")?;
        let arns = cloud.texts("elasticloadbalancing", "DescribeTargetGroups", "TargetGroupArn")?;
        let mut both = names.into_iter().zip(arns);
        both.find(|(name, _)| name.contains("-pods-")).context("there is none")
    })?;
    let become_ = |addresses: &[&str]| {
        let wanted: BTreeSet<(String, String)> =
            addresses.iter().map(|address| ((*address).to_owned(), "8080".to_owned())).collect();
        until(format!("{addresses:?} as targets"), PATIENCE, || {
            let targets = cloud.targets(&group)?;
            ensure!(targets == wanted, "{targets:?}");
            Ok(())
        })
    };
    become_(&["10.0.101.77"])?;
    cloud.apply(&slice(&[("10.0.101.77", true), ("10.0.101.78", true), ("10.0.101.79", true)]))?;
    become_(&["10.0.101.77", "10.0.101.78", "10.0.101.79"])?;
    let gate = format!("target-health.elbv2.k8s.aws/{name}");
    cloud.apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "pod-10-0-101-79", "namespace": SHOP },
        "spec": { "nodeName": "n2", "readinessGates": [{ "conditionType": gate }],
            "containers": [{ "name": "web", "image": "web" }] },
    }))?;
    until("the Pod's gate to open", PATIENCE, || {
        let path = format!("jsonpath={{.status.conditions[?(@.type==\"{gate}\")].status}}");
        let status = cloud.kubectl(&["get", "pod", "pod-10-0-101-79", "-n", SHOP, "-o", &path])?;
        ensure!(status == "True", "{status:?}");
        Ok(())
    })?;
    cloud.apply(&slice(&[("10.0.101.79", true)]))?;
    become_(&["10.0.101.79"])?;
    // Another type is a release: the address goes, and so does everything in AWS.
    let other =
        r#"{"spec":{"type":"ClusterIP","loadBalancerClass":null,"allocateLoadBalancerNodePorts":null}}"#;
    cloud.kubectl(&["patch", "service", "pods", "-n", SHOP, "-p", other])?;
    until("the Service to be let go", PATIENCE, || {
        let service = cloud.service("pods")?;
        let finalizers = service.metadata.finalizers.unwrap_or_default();
        ensure!(finalizers.is_empty(), "{finalizers:?}");
        Ok(())
    })?;
    let left = cloud.texts("elasticloadbalancing", "DescribeTargetGroups", "TargetGroupName")?;
    ensure!(left.len() == 2, "those of the other Service: {left:?}");
    cloud.kubectl(&["delete", "service", "pods", "-n", SHOP])?;
    Ok(())
}
