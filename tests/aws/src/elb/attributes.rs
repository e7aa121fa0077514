//! Attributes of load balancers, listeners and target groups, with the defaults that AWS documents for network ones. moto
//! lacks most of them (clouds.md §3.1).

use std::collections::BTreeMap;

use super::{Asked, Elb, balancer_not_found, group_not_found, listener_not_found};
use crate::{
    refusal::{Refusal, refuse},
    xml::Element,
};

type Attributes = BTreeMap<String, String>;

fn owned<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Attributes {
    pairs.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// API reference, `LoadBalancerAttribute`, those of network load balancers.
pub(super) fn of_balancer(scheme: &str) -> Attributes {
    let internal = if scheme == "internal" { "true" } else { "false" };
    owned([
        ("access_logs.s3.bucket", ""),
        ("access_logs.s3.enabled", "false"),
        ("access_logs.s3.prefix", ""),
        ("deletion_protection.enabled", "false"),
        ("dns_record.client_routing_policy", "any_availability_zone"),
        ("ipv6.deny_all_igw_traffic", internal),
        ("load_balancing.cross_zone.enabled", "false"),
        ("secondary_ips.auto_assigned.per_subnet", "0"),
        ("zonal_shift.config.enabled", "false"),
    ])
}

/// API reference, `ListenerAttribute`: only TCP listeners have an idle timeout that can be set, 350 s unless told.
pub(super) fn of_listener(protocol: &str) -> Attributes {
    owned((protocol == "TCP").then_some(("tcp.idle_timeout.seconds", "350")))
}

/// API reference, `TargetGroupAttribute`, those of groups of network load balancers. Client addresses are kept, except for
/// `ip` targets over TCP and TLS; the end of connections after the delay is on for datagrams only.
pub(super) fn of_group(protocol: &str, target_type: &str) -> Attributes {
    let stream = matches!(protocol, "TCP" | "TLS");
    let on = |condition| if condition { "true" } else { "false" };
    let mut attributes = owned([
        ("deregistration_delay.connection_termination.enabled", on(!stream)),
        ("deregistration_delay.timeout_seconds", "300"),
        ("load_balancing.cross_zone.enabled", "use_load_balancer_configuration"),
        ("preserve_client_ip.enabled", on(!(stream && target_type == "ip"))),
        ("proxy_protocol_v2.enabled", "false"),
        ("stickiness.enabled", "false"),
        ("stickiness.type", "source_ip"),
        ("target_group_health.dns_failover.minimum_healthy_targets.count", "1"),
        ("target_group_health.dns_failover.minimum_healthy_targets.percentage", "off"),
        ("target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", "1"),
        ("target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage", "off"),
    ]);
    if stream {
        attributes.extend(owned([
            ("target_health_state.unhealthy.connection_termination.enabled", "true"),
            ("target_health_state.unhealthy.draining_interval_seconds", "0"),
        ]));
    }
    attributes
}

/// Applies the `Attributes` of a call, if it has any. A key that such a resource does not have is refused.
fn changed(old: &Attributes, asked: &Asked<'_>, code: &str) -> Result<Attributes, Refusal> {
    let mut attributes = old.clone();
    for pair in asked.parameters.members("Attributes") {
        let key = pair.need("Key")?;
        let value = pair.get("Value").unwrap_or_default();
        let Some(held) = attributes.get_mut(key) else {
            return refuse(code, format!("The attribute key '{key}' is not recognized here"));
        };
        if key.ends_with(".enabled") && !key.contains("cross_zone") && !matches!(value, "true" | "false") {
            return refuse("ValidationError", format!("'{key}' must be true or false, and is '{value}'"));
        }
        value.clone_into(held);
    }
    Ok(attributes)
}

fn result(attributes: &Attributes) -> Element {
    let pairs = attributes.iter().map(|(k, v)| Element::new("member").leaf("Key", k).leaf("Value", v));
    Element::new("Result").list("Attributes", pairs)
}

fn in_range(attributes: &Attributes, key: &str, from: u32, to: u32) -> Result<(), Refusal> {
    match attributes.get(key) {
        Some(text) if !text.parse().is_ok_and(|n: u32| (from..=to).contains(&n)) => refuse(
            "ValidationError",
            format!("'{key}' value '{text}' must be between '{from}-{to}' inclusive"),
        ),
        Some(_) | None => Ok(()),
    }
}

impl Elb {
    /// API reference, `DescribeLoadBalancerAttributes` and `ModifyLoadBalancerAttributes`.
    pub(super) fn balancer_attributes(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let arn = asked.need("LoadBalancerArn")?;
        let Some(balancer) = self.balancers.get_mut(arn) else { return balancer_not_found() };
        balancer.attributes = changed(&balancer.attributes, asked, "InvalidConfigurationRequest")?;
        Ok(result(&balancer.attributes))
    }

    /// API reference, `DescribeListenerAttributes` and `ModifyListenerAttributes`: 60 s to 6000 s.
    pub(super) fn listener_attributes(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let arn = asked.need("ListenerArn")?;
        let Some(listener) = self.listeners.get_mut(arn) else { return listener_not_found() };
        let attributes = changed(&listener.attributes, asked, "InvalidConfigurationRequest")?;
        in_range(&attributes, "tcp.idle_timeout.seconds", 60, 6000)?;
        listener.attributes = attributes;
        Ok(result(&listener.attributes))
    }

    /// API reference, `DescribeTargetGroupAttributes` and `ModifyTargetGroupAttributes`: a delay of 0 s to 3600 s, and client
    /// addresses of datagrams are always kept.
    pub(super) fn group_attributes(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let arn = asked.need("TargetGroupArn")?;
        let Some(group) = self.groups.get_mut(arn) else { return group_not_found() };
        let attributes = changed(&group.attributes, asked, "ValidationError")?;
        in_range(&attributes, "deregistration_delay.timeout_seconds", 0, 3600)?;
        let datagrams = matches!(group.settings.protocol.as_str(), "UDP" | "TCP_UDP");
        if datagrams && attributes.get("preserve_client_ip.enabled").is_some_and(|v| v == "false") {
            return refuse(
                "InvalidConfigurationRequest",
                "Client IP preservation cannot be disabled for UDP and TCP_UDP target groups",
            );
        }
        group.attributes = attributes;
        Ok(result(&group.attributes))
    }
}
