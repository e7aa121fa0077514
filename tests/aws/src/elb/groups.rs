//! Target groups: their settings and health checks.

use std::collections::{BTreeMap, BTreeSet};

use super::{Asked, Elb, attributes, check_name, group_not_found, page, targets::Targets};
use crate::{
    query::Parameters,
    refusal::{Refusal, refuse},
    xml::Element,
};

/// A target group of network load balancers.
#[derive(Debug)]
pub(super) struct Group {
    sequence: u64,
    name: String,
    pub(super) settings: Settings,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) targets: Targets,
}

/// What makes a repeated creation the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) protocol: String,
    pub(super) port: u16,
    pub(super) vpc: String,
    pub(super) target_type: String,
    pub(super) address_type: String,
    pub(super) check: Check,
}

/// A health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    enabled: String,
    protocol: String,
    pub(super) port: String,
    path: Option<String>,
    interval: u32,
    timeout: u32,
    healthy: u32,
    unhealthy: u32,
    matcher: Option<String>,
}

impl Check {
    /// API reference, `CreateTargetGroup`, for the protocols of network load balancers: a TCP check on the traffic port each
    /// 30 s, 10 s long (6 s for HTTP), 5 successes, 2 failures.
    fn of(parameters: &Parameters) -> Result<Self, Refusal> {
        let protocol = parameters.get("HealthCheckProtocol").unwrap_or("TCP").to_owned();
        let mut check = Self {
            enabled: "true".to_owned(),
            port: "traffic-port".to_owned(),
            path: None,
            interval: 30,
            timeout: if protocol == "HTTP" { 6 } else { 10 },
            healthy: 5,
            unhealthy: 2,
            matcher: None,
            protocol,
        };
        check.change(parameters)?;
        Ok(check)
    }

    /// Applies what a call says. Matcher and path belong to HTTP and HTTPS checks, with `200-399` and `/` as defaults; moto
    /// says `200`, forgets changes of the matcher, and has none after a change from TCP to HTTP (clouds.md §3.1).
    fn change(&mut self, parameters: &Parameters) -> Result<(), Refusal> {
        let text =
            |key: &str, old: &String| parameters.get(key).map_or_else(|| old.clone(), ToOwned::to_owned);
        self.enabled = text("HealthCheckEnabled", &self.enabled);
        self.protocol = text("HealthCheckProtocol", &self.protocol);
        self.port = text("HealthCheckPort", &self.port);
        self.interval = parameters.number("HealthCheckIntervalSeconds")?.unwrap_or(self.interval);
        self.timeout = parameters.number("HealthCheckTimeoutSeconds")?.unwrap_or(self.timeout);
        self.healthy = parameters.number("HealthyThresholdCount")?.unwrap_or(self.healthy);
        self.unhealthy = parameters.number("UnhealthyThresholdCount")?.unwrap_or(self.unhealthy);
        match self.protocol.as_str() {
            "HTTP" | "HTTPS" => {
                let path = self.path.take().unwrap_or_else(|| "/".to_owned());
                self.path = Some(text("HealthCheckPath", &path));
                let matcher = self.matcher.take().unwrap_or_else(|| "200-399".to_owned());
                self.matcher = Some(text("Matcher.HttpCode", &matcher));
            }
            "TCP" => (self.path, self.matcher) = (None, None),
            other => {
                return refuse(
                    "ValidationError",
                    format!("Health check protocol '{other}' must be one of 'HTTP, HTTPS, TCP'"),
                );
            }
        }
        let range = |name: &str, value: u32, from: u32, to: u32| {
            if (from..=to).contains(&value) {
                return Ok(());
            }
            refuse("ValidationError", format!("{name} '{value}' must be a value between {from} and {to}"))
        };
        range("Healthy threshold count", self.healthy, 2, 10)?;
        range("Unhealthy threshold count", self.unhealthy, 2, 10)?;
        range("Health check interval", self.interval, 5, 300)?;
        range("Health check timeout", self.timeout, 2, 120.min(self.interval))
    }
}

impl Settings {
    fn of(parameters: &Parameters) -> Result<Self, Refusal> {
        let protocol = parameters.need("Protocol")?;
        if !matches!(protocol, "TCP" | "TLS" | "UDP" | "TCP_UDP") {
            return refuse(
                "ValidationError",
                format!("this double of AWS has no target groups of {protocol}"),
            );
        }
        let Some(port) = parameters.number("Port")? else {
            return refuse("ValidationError", "A port must be specified");
        };
        Ok(Self {
            protocol: protocol.to_owned(),
            port,
            vpc: parameters.need("VpcId")?.to_owned(),
            target_type: parameters.get("TargetType").unwrap_or("instance").to_owned(),
            address_type: parameters.get("IpAddressType").unwrap_or("ipv4").to_owned(),
            check: Check::of(parameters)?,
        })
    }
}

impl Elb {
    /// API reference, `CreateTargetGroup`: a repeat with the same settings answers the existing group, other settings give
    /// `DuplicateTargetGroupName`; tags are not compared. moto refuses each repeat (clouds.md §3.1).
    pub(super) fn create_group(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let name = asked.need("Name")?;
        check_name("Target group", name)?;
        let settings = Settings::of(asked.parameters)?;
        let tags = super::tags::parsed(asked)?;
        match self.groups.iter().find(|(arn, g)| asked.here(arn) && g.name == name) {
            Some((arn, group)) if group.settings == settings => {
                return Ok(Element::new("Result").list("TargetGroups", [self.group_element(arn, group)]));
            }
            Some(_) => {
                return refuse(
                    "DuplicateTargetGroupName",
                    format!("A target group with the same name '{name}' exists, but with different settings"),
                );
            }
            None => {}
        }
        let told = self.tell(asked, |_| {})?;
        let arn = told.anywhere("TargetGroupArn").map(|e| e.text.clone()).unwrap_or_default();
        let attributes = attributes::of_group(&settings.protocol, &settings.target_type);
        let sequence = self.next();
        let group =
            Group { sequence, name: name.to_owned(), settings, attributes, targets: Targets::default() };
        let element = self.group_element(&arn, &group);
        self.groups.insert(arn.clone(), group);
        self.tags.insert(arn, tags);
        Ok(Element::new("Result").list("TargetGroups", [element]))
    }

    /// API reference, `DescribeTargetGroups`: by load balancer, or ARNs, or names, or all, in pages.
    pub(super) fn describe_groups(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let balancer = asked.get("LoadBalancerArn");
        let arns = asked.parameters.texts("TargetGroupArns");
        let names = asked.parameters.texts("Names");
        let ways = [balancer.is_some(), !arns.is_empty(), !names.is_empty()];
        if ways.iter().filter(|way| **way).count() > 1 {
            return refuse(
                "ValidationError",
                "Target group names, target group ARNs, and a load balancer ARN cannot be specified at the same time",
            );
        }
        if balancer.is_some_and(|arn| !self.balancers.contains_key(arn)) {
            return super::balancer_not_found();
        }
        let mut found = Vec::new();
        for (arn, group) in self.groups.iter().filter(|(arn, _)| asked.here(arn)) {
            let wanted = match balancer {
                Some(balancer) => self.balancers_of(arn).contains(balancer),
                None if arns.is_empty() && names.is_empty() => true,
                None => arns.contains(&arn.as_str()) || names.contains(&group.name.as_str()),
            };
            if wanted {
                found.push((group.sequence, self.group_element(arn, group)));
            }
        }
        if arns.iter().chain(&names).collect::<BTreeSet<_>>().len() > found.len() {
            return group_not_found();
        }
        page(asked, "TargetGroups", found)
    }

    /// API reference, `ModifyTargetGroup`: only the health check can change.
    pub(super) fn modify_group(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let arn = asked.need("TargetGroupArn")?;
        let Some(group) = self.groups.get(arn) else { return group_not_found() };
        let mut check = group.settings.check.clone();
        check.change(asked.parameters)?;
        self.tell(asked, |_| {})?;
        let Some(group) = self.groups.get_mut(arn) else { return group_not_found() };
        group.settings.check = check;
        let Some(group) = self.groups.get(arn) else { return group_not_found() };
        Ok(Element::new("Result").list("TargetGroups", [self.group_element(arn, group)]))
    }

    /// API reference, `DeleteTargetGroup`: `ResourceInUse` while a listener refers to it, which moto knows. It lists no other
    /// error, so deleting what is not there succeeds.
    pub(super) fn delete_group(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let arn = asked.need("TargetGroupArn")?;
        if self.groups.contains_key(arn) {
            self.tell(asked, |_| {})?;
            self.groups.remove(arn);
            self.tags.remove(arn);
        }
        Ok(Element::new("Result"))
    }

    /// The load balancers whose listeners forward to a group, by what there is now. moto adds and never removes
    /// (clouds.md §3.1).
    pub(super) fn balancers_of(&self, group: &str) -> BTreeSet<&str> {
        let forwards = self.listeners.values().filter(|l| l.forward.arns().any(|arn| arn == group));
        forwards.map(|l| l.balancer.as_str()).collect()
    }

    fn group_element(&self, arn: &str, group: &Group) -> Element {
        let Settings { protocol, port, vpc, target_type, address_type, check } = &group.settings;
        let element = Element::new("member")
            .leaf("TargetGroupArn", arn)
            .leaf("TargetGroupName", &group.name)
            .leaf("Protocol", protocol)
            .leaf("Port", port)
            .leaf("VpcId", vpc)
            .leaf("TargetType", target_type)
            .leaf("IpAddressType", address_type)
            .leaf("HealthCheckEnabled", &check.enabled)
            .leaf("HealthCheckProtocol", &check.protocol)
            .leaf("HealthCheckPort", &check.port)
            .leaf_if("HealthCheckPath", check.path.as_ref())
            .leaf("HealthCheckIntervalSeconds", check.interval)
            .leaf("HealthCheckTimeoutSeconds", check.timeout)
            .leaf("HealthyThresholdCount", check.healthy)
            .leaf("UnhealthyThresholdCount", check.unhealthy)
            .texts("LoadBalancerArns", self.balancers_of(arn));
        match &check.matcher {
            Some(codes) => element.inside(Element::new("Matcher").leaf("HttpCode", codes)),
            None => element,
        }
    }
}
