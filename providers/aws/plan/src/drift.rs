//! What somebody else changed in AWS: read from the calls that put it back.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::{
    HealthCheck, Inventory, IpPermission, Listener, ListenerArn, ListenerSpec, Map, Op, Resource,
    SecurityGroupId, Source, SubnetMapping, elb::words, tags,
};

words!(
    /// What was changed: a label for metrics.
    DriftKind {
        /// A load balancer, its attributes or tags.
        LoadBalancer = "load_balancer",
        /// A listener.
        Listener = "listener",
        /// A target group, its health check, attributes or tags, but not its targets: those come and go.
        TargetGroup = "target_group",
        /// A front-end security group or its rules.
        SecurityGroup = "security_group",
    }
);

/// What was changed that this call of a Service whose objects were all in place puts back, and in which way, for people.
pub(crate) fn drift(op: &Op, inventory: &Inventory) -> Option<(DriftKind, String)> {
    use DriftKind::{Listener as OfListener, LoadBalancer, SecurityGroup, TargetGroup};
    let lb = |arn| inventory.load_balancer(arn);
    Some(match op {
        Op::CreateLoadBalancer(create) => (LoadBalancer, format!("load balancer {} is gone", create.name)),
        Op::SetSubnets { arn, subnets, source_nat } => {
            let known = lb(arn)?;
            let ids = |of: &[SubnetMapping]| {
                let ids: BTreeSet<String> = of.iter().map(|mapping| mapping.subnet.to_string()).collect();
                Some(list(ids.into_iter()))
            };
            let nat = |on: Option<bool>| source_nat.and(on).map(|on| on.to_string());
            let all = [
                ("subnets", ids(&known.subnets), ids(subnets)),
                ("source NAT", nat(known.source_nat), nat(*source_nat)),
            ];
            (LoadBalancer, fields(arn, &all))
        }
        Op::SetSecurityGroups { arn, groups, private_link_rules } => {
            let known = lb(arn)?;
            let ids = |of: &BTreeSet<SecurityGroupId>| Some(list(of.iter().map(ToString::to_string)));
            let rules = private_link_rules.as_ref().and(known.private_link_rules.clone());
            let all = [
                ("security groups", ids(&known.security_groups), ids(groups)),
                ("rules on PrivateLink traffic", rules, private_link_rules.clone()),
            ];
            (LoadBalancer, fields(arn, &all))
        }
        Op::SetIpAddressType { arn, address_type } => {
            let have = lb(arn)?.address_type.as_str();
            (LoadBalancer, differs(arn, "address type", have, address_type.as_str()))
        }
        Op::ModifyLoadBalancerAttributes { arn, attributes } => {
            (LoadBalancer, entries(arn, lb(arn)?.attributes.as_ref(), attributes))
        }
        Op::ModifyCapacityReservation { arn, units } => {
            (LoadBalancer, differs(arn, "capacity units", lb(arn)?.capacity_units?, units))
        }
        Op::CreateTargetGroup(create) => (TargetGroup, format!("target group {} is gone", create.name)),
        Op::ModifyTargetGroup { arn, health_check } => {
            let have = &inventory.target_group(arn)?.health_check;
            (TargetGroup, health(arn, have, health_check))
        }
        Op::ModifyTargetGroupAttributes { arn, attributes } => {
            (TargetGroup, entries(arn, inventory.target_group(arn)?.attributes.as_ref(), attributes))
        }
        Op::CreateListener { load_balancer, port, .. } => {
            (OfListener, format!("{load_balancer}: the listener of port {port} is gone"))
        }
        Op::ModifyListener { arn, spec, .. } => {
            (OfListener, listener(arn, listener_of(arn, inventory)?, spec))
        }
        Op::DeleteListener { arn } => (OfListener, format!("{arn}: nobody asked for this listener")),
        Op::AddListenerCertificates { arn, certificates } => {
            (OfListener, format!("{arn}: certificates {} are gone", list(certificates.iter().cloned())))
        }
        Op::RemoveListenerCertificates { arn, certificates } => {
            let extra = list(certificates.iter().cloned());
            (OfListener, format!("{arn}: nobody asked for certificates {extra}"))
        }
        Op::ModifyListenerAttributes { arn, attributes } => (
            OfListener,
            entries(arn, listener_of(arn, inventory).and_then(|known| known.attributes.as_ref()), attributes),
        ),
        Op::AddTags { tags, .. } if tags.contains_key(tags::FINGERPRINT) => return None,
        Op::AddTags { resource, tags } => {
            let have = match resource {
                Resource::LoadBalancer(arn) => lb(arn).map(|known| &known.tags),
                Resource::TargetGroup(arn) => inventory.target_group(arn).map(|known| &known.tags),
                Resource::Listener(arn) => listener_of(arn, inventory).map(|known| &known.tags),
            };
            (kind_of(resource), entries(resource.arn(), have, tags))
        }
        Op::RemoveTags { resource, keys } => {
            let keys = list(keys.iter().cloned());
            (kind_of(resource), format!("{}: nobody asked for tags {keys}", resource.arn()))
        }
        Op::CreateSecurityGroup { name, .. } => (SecurityGroup, format!("security group {name} is gone")),
        Op::AuthorizeIngress { group, permissions } => {
            (SecurityGroup, format!("{group}: rules are gone: {}", rules(permissions)))
        }
        Op::RevokeIngress { group, permissions } => {
            (SecurityGroup, format!("{group}: nobody asked for rules: {}", rules(permissions)))
        }
        Op::TagSecurityGroup { group, tags } => {
            let have = inventory.security_group(group).map(|known| &known.tags);
            (SecurityGroup, entries(group, have, tags))
        }
        Op::UntagSecurityGroup { group, keys } => {
            (SecurityGroup, format!("{group}: nobody asked for tags {}", list(keys.iter().cloned())))
        }
        Op::RegisterTargets { .. }
        | Op::DeregisterTargets { .. }
        | Op::DeleteLoadBalancer { .. }
        | Op::DeleteTargetGroup { .. }
        | Op::DeleteSecurityGroup { .. } => return None,
    })
}

const fn kind_of(resource: &Resource) -> DriftKind {
    match resource {
        Resource::LoadBalancer(_) => DriftKind::LoadBalancer,
        Resource::TargetGroup(_) => DriftKind::TargetGroup,
        Resource::Listener(_) => DriftKind::Listener,
    }
}

fn listener_of<'a>(arn: &ListenerArn, inventory: &'a Inventory) -> Option<&'a Listener> {
    let known = inventory.load_balancers().filter_map(|lb| lb.listeners.as_ref());
    known.flat_map(|listeners| listeners.values()).find(|listener| listener.arn == *arn)
}

fn differs(object: impl Display, field: &str, have: impl Display, want: impl Display) -> String {
    format!("{object}: {field} is {have}, not {want}")
}

fn list(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

/// Attributes or tags.
fn entries(object: impl Display, have: Option<&Map>, want: &Map) -> String {
    let one = |(key, want): (&String, &String)| {
        let have = have.and_then(|have| have.get(key)).map_or("not set", String::as_str);
        format!("{key} is {have}, not {want}")
    };
    format!("{object}: {}", list(want.iter().map(one)))
}

/// Those of some fields that differ.
fn fields(object: impl Display, all: &[(&str, Option<String>, Option<String>)]) -> String {
    let unset = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
    let other = all.iter().filter(|(_, have, want)| have != want);
    let said = other.map(|(field, have, want)| format!("{field} is {}, not {}", unset(have), unset(want)));
    format!("{object}: {}", list(said))
}

fn health(object: impl Display, have: &HealthCheck, want: &HealthCheck) -> String {
    let some = |value: &dyn Display| Some(value.to_string());
    let number = |seconds: i32| seconds.to_string();
    fields(
        object,
        &[
            ("health check protocol", some(&have.protocol.as_str()), some(&want.protocol.as_str())),
            (
                "health check port",
                have.port.map(|port| port.to_string()),
                want.port.map(|port| port.to_string()),
            ),
            ("health check path", want.path.as_ref().and(have.path.clone()), want.path.clone()),
            ("health check codes", want.matcher.as_ref().and(have.matcher.clone()), want.matcher.clone()),
            ("health check interval", some(&have.interval), some(&want.interval)),
            ("health check timeout", want.timeout.and(have.timeout).map(number), want.timeout.map(number)),
            ("healthy threshold", some(&have.healthy_threshold), some(&want.healthy_threshold)),
            ("unhealthy threshold", some(&have.unhealthy_threshold), some(&want.unhealthy_threshold)),
        ],
    )
}

fn listener(object: impl Display, have: &Listener, want: &ListenerSpec) -> String {
    let groups = |forward: Option<&crate::Forward>| {
        let weights = forward.into_iter().flat_map(crate::Forward::weights);
        Some(list(weights.map(|(arn, weight)| format!("{arn} ({weight})"))))
    };
    let word = |protocol: crate::ListenerProtocol| Some(protocol.as_str().to_owned());
    let alpn = |policy: crate::Alpn| policy.as_str().to_owned();
    fields(
        object,
        &[
            ("protocol", word(have.protocol), word(want.protocol)),
            ("target group", groups(have.forward.as_ref()), groups(Some(&want.forward))),
            ("certificate", have.certificate.clone(), want.certificate.clone()),
            ("ALPN policy", have.alpn.map(alpn), want.alpn.map(alpn)),
            ("TLS policy", have.ssl_policy.clone(), want.ssl_policy.clone()),
        ],
    )
}

fn rules(permissions: &BTreeSet<IpPermission>) -> String {
    let one = |rule: &IpPermission| {
        let source = match &rule.source {
            Source::Block(block) => block.to_string(),
            Source::PrefixList(id) => id.clone(),
            Source::Group(id) => id.to_string(),
        };
        format!("{} {}-{} from {source}", rule.protocol, rule.from, rule.to)
    };
    list(permissions.iter().map(one))
}
