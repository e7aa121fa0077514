//! Targets of a group and their health.
//!
//! moto knows one port for each id and only `healthy` (clouds.md §3.1), so all of this is kept here. A target is `initial` for
//! some reads and then what the test ordered, or `healthy`; a deregistered one is `draining` for some reads and then gone.

use std::{collections::BTreeMap, net::IpAddr};

use super::{Asked, Elb, group_not_found};
use crate::{
    ec2,
    query::Parameters,
    refusal::{Refusal, refuse},
    xml::Element,
};

/// Quota for Network Load Balancers: targets of a group (clouds.md §4.1).
const TARGETS: usize = 1000;

/// Id and port, which together are a target.
type Key = (String, u16);

/// The targets of a group.
pub(super) type Targets = BTreeMap<Key, Target>;

/// One registration.
#[derive(Clone, Debug)]
pub(super) struct Target {
    zone: Option<String>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Reads left in which it is `initial`.
    Initial(u32),
    Checked,
    /// Reads left in which it is `draining`.
    Draining(u32),
}

/// What health checks find, as a test orders it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Registration or the first checks are not over.
    Initial,
    /// It gets traffic.
    Healthy,
    /// It fails its checks.
    Unhealthy,
    /// It fails its checks, and connections end.
    UnhealthyDraining,
    /// Health is not known.
    Unavailable,
}

impl Health {
    /// State, reason and description. API reference, `TargetHealth`.
    fn words(self) -> [&'static str; 3] {
        match self {
            Self::Initial => ["initial", "Elb.RegistrationInProgress", "Target registration is in progress"],
            Self::Healthy => ["healthy", "", ""],
            Self::Unhealthy => ["unhealthy", "Target.FailedHealthChecks", "Health checks failed"],
            Self::UnhealthyDraining => {
                ["unhealthy.draining", "Target.FailedHealthChecks", "Health checks failed"]
            }
            Self::Unavailable => ["unavailable", "Elb.InternalError", "Target health is unavailable"],
        }
    }
}

const DRAINING: [&str; 3] =
    ["draining", "Target.DeregistrationInProgress", "Target deregistration is in progress"];
const NOT_REGISTERED: [&str; 3] =
    ["unused", "Target.NotRegistered", "Target is not registered to the target group"];
const NOT_IN_USE: [&str; 3] =
    ["unused", "Target.NotInUse", "Target group is not configured to receive traffic from the load balancer"];

impl Elb {
    /// API reference, `RegisterTargets`: instances must exist in the VPC and run, addresses must be addresses of the group's family.
    pub(super) fn register(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let arn = asked.need("TargetGroupArn")?;
        let Some(group) = self.groups.get(arn) else { return group_not_found() };
        let mut asked_for = Vec::new();
        for target in asked.parameters.members("Targets") {
            let zone = target.get("AvailabilityZone").map(ToOwned::to_owned);
            asked_for.push((key(&target, group.settings.port)?, zone));
        }
        let ids: Vec<&str> = asked_for.iter().map(|((id, _), _)| id.as_str()).collect();
        match group.settings.target_type.as_str() {
            "instance" => ec2::targets(&self.moto, asked.region, &group.settings.vpc, &ids)?,
            _ => ids.iter().try_for_each(|id| check_address(id, &group.settings.address_type))?,
        }
        let initial = self.reads.initial;
        let Some(group) = self.groups.get_mut(arn) else { return group_not_found() };
        let mut targets = group.targets.clone();
        for (key, zone) in asked_for {
            // Registering again what is registered changes nothing; what drains begins anew.
            let stage = match targets.get(&key).map(|t| t.stage) {
                Some(stage @ (Stage::Initial(_) | Stage::Checked)) => stage,
                Some(Stage::Draining(_)) | None => Stage::Initial(initial),
            };
            targets.insert(key, Target { zone, stage });
        }
        if targets.len() > TARGETS {
            return refuse("TooManyTargets", "The quota of targets of the target group has been reached");
        }
        group.targets = targets;
        Ok(Element::new("Result"))
    }

    /// API reference, `DeregisterTargets`: what is not registered is passed over. moto refuses it (clouds.md §3.1).
    pub(super) fn deregister(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let arn = asked.need("TargetGroupArn")?;
        let draining = self.reads.draining;
        let Some(group) = self.groups.get_mut(arn) else { return group_not_found() };
        for target in asked.parameters.members("Targets") {
            let key = key(&target, group.settings.port)?;
            match group.targets.get_mut(&key) {
                Some(_) if draining == 0 => drop(group.targets.remove(&key)),
                Some(target) if !matches!(target.stage, Stage::Draining(_)) => {
                    target.stage = Stage::Draining(draining);
                }
                Some(_) | None => {}
            }
        }
        Ok(Element::new("Result"))
    }

    /// API reference, `DescribeTargetHealth`: all targets, those that drain included, or those asked for. A target of a group
    /// that no listener forwards to is `unused`, and one that was never registered too.
    pub(super) fn describe_health(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let arn = asked.need("TargetGroupArn")?;
        let used = !self.balancers_of(arn).is_empty();
        let Some(group) = self.groups.get_mut(arn) else { return group_not_found() };
        let mut keys = Vec::new();
        for target in asked.parameters.members("Targets") {
            keys.push(key(&target, group.settings.port)?);
        }
        if keys.is_empty() {
            keys = group.targets.keys().cloned().collect();
        }
        let mut members = Vec::new();
        for key in keys {
            let words = match group.targets.get_mut(&key) {
                None => NOT_REGISTERED,
                Some(target) => read(target, used, self.health.get(&key.0).copied()),
            };
            let zone = group.targets.get(&key).and_then(|t| t.zone.as_ref());
            members.push(member(&key, zone, words, &group.settings.check.port));
            if group.targets.get(&key).is_some_and(|t| matches!(t.stage, Stage::Draining(0))) {
                group.targets.remove(&key);
            }
        }
        Ok(Element::new("Result").list("TargetHealthDescriptions", members))
    }
}

/// The health that a read finds; the read counts.
fn read(target: &mut Target, used: bool, ordered: Option<Health>) -> [&'static str; 3] {
    match target.stage {
        Stage::Draining(left) => {
            target.stage = Stage::Draining(left.saturating_sub(1));
            DRAINING
        }
        Stage::Initial(_) | Stage::Checked if !used => NOT_IN_USE,
        Stage::Initial(left) if left > 0 => {
            target.stage = Stage::Initial(left - 1);
            Health::Initial.words()
        }
        Stage::Initial(_) | Stage::Checked => {
            target.stage = Stage::Checked;
            ordered.unwrap_or(Health::Healthy).words()
        }
    }
}

fn member(key: &Key, zone: Option<&String>, words: [&str; 3], check: &str) -> Element {
    let (id, port) = key;
    let [state, reason, description] = words;
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let health = Element::new("TargetHealth")
        .leaf("State", state)
        .leaf_if("Reason", said(reason))
        .leaf_if("Description", said(description));
    let target = Element::new("Target").leaf("Id", id).leaf("Port", port).leaf_if("AvailabilityZone", zone);
    let checked = if check == "traffic-port" { port.to_string() } else { check.to_owned() };
    Element::new("member").inside(target).leaf("HealthCheckPort", checked).inside(health)
}

/// API reference, `TargetDescription`: without a port it is the group's.
fn key(target: &Parameters, default: u16) -> Result<Key, Refusal> {
    Ok((target.need("Id")?.to_owned(), target.number("Port")?.unwrap_or(default)))
}

fn check_address(id: &str, family: &str) -> Result<(), Refusal> {
    match (id.parse(), family) {
        (Ok(IpAddr::V4(_)), "ipv4") | (Ok(IpAddr::V6(_)), "ipv6") => Ok(()),
        _ => refuse("ValidationError", format!("The IP address '{id}' is not a valid {family} address")),
    }
}
