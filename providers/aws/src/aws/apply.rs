//! One call for each operation of a plan.

use std::collections::BTreeSet;

use aws_sdk_ec2::types as ec2;
use aws_sdk_elasticloadbalancingv2::types as elb;
use landfall_aws_plan::{
    Failure, FailureKind, Forward, HealthCheck, HealthProtocol, IpPermission, ListenerSpec, Map, Op, Outcome,
    Settings, Source, SubnetMapping, Target, TargetGroupArn, TargetId,
};

use super::{Aws, describe::call, failure};

/// A call whose outcome says nothing, and which counts as done when AWS says one of these codes: what is to be gone is
/// gone, or what is to be there is there.
macro_rules! done {
    ($aws:expr, $bucket:ident, $op:expr, $request:expr $(, $code:literal)*) => {{
        let request = $request;
        let sent = async {
            match request.send().await {
                Ok(_) => Ok(Outcome::Done),
                Err(error) => match failure::code(&error) {
                    $(Some($code) => Ok(Outcome::Done),)*
                    Some(_) | None => Err(failure::of(&error)),
                },
            }
        };
        $aws.throttle.send($crate::aws::throttle::Bucket::$bucket, $op.kind().as_str(), sent).await
    }};
}

impl Aws {
    pub(super) async fn apply(&self, op: &Op, settings: &Settings) -> Result<Outcome, Failure> {
        let (elb, ec2) = (&self.clients.elb, &self.clients.ec2);
        match op {
            Op::CreateSecurityGroup { name, description, vpc, tags } => {
                let specification = ec2::TagSpecification::builder()
                    .resource_type(ec2::ResourceType::SecurityGroup)
                    .set_tags(Some(ec2_tags(tags)));
                let request =
                    ec2.create_security_group().group_name(name).description(description).vpc_id(vpc);
                let request = request.tag_specifications(specification.build());
                let answer = call!(self, Ec2Modify, op.kind().as_str(), request)?;
                let id = answer.group_id().ok_or_else(|| failure::unreadable("a group id"))?;
                Ok(Outcome::SecurityGroup(id.into()))
            }
            Op::AuthorizeIngress { group, permissions } => {
                let request = ec2.authorize_security_group_ingress().group_id(group.as_str());
                let request = request.set_ip_permissions(Some(ip_permissions(permissions)));
                match (done!(self, Ec2Modify, op, request), permissions.len()) {
                    // AWS refuses all of them when it has one already: only of one is it clear that nothing is missing.
                    (Err(failure), 1) if failure.code == "InvalidPermission.Duplicate" => Ok(Outcome::Done),
                    (result, _) => result.map_err(duplicate),
                }
            }
            Op::RevokeIngress { group, permissions } => {
                let request = ec2.revoke_security_group_ingress().group_id(group.as_str());
                let request = request.set_ip_permissions(Some(ip_permissions(permissions)));
                match (done!(self, Ec2Modify, op, request), permissions.len()) {
                    (Err(failure), 1) if failure.code == "InvalidPermission.NotFound" => Ok(Outcome::Done),
                    (result, _) => result,
                }
            }
            Op::DeleteSecurityGroup { group } => {
                let request = ec2.delete_security_group().group_id(group.as_str());
                done!(self, Ec2Modify, op, request, "InvalidGroup.NotFound")
            }
            Op::TagSecurityGroup { group, tags } => {
                let request = ec2.create_tags().resources(group.as_str()).set_tags(Some(ec2_tags(tags)));
                done!(self, Ec2Modify, op, request)
            }
            Op::UntagSecurityGroup { group, keys } => {
                let keys = keys.iter().map(|key| ec2::Tag::builder().key(key).build()).collect();
                let request = ec2.delete_tags().resources(group.as_str()).set_tags(Some(keys));
                done!(self, Ec2Modify, op, request)
            }
            Op::CreateLoadBalancer(create) => self.create_load_balancer(op, create, settings).await,
            Op::SetSubnets { arn, subnets, source_nat } => {
                use elb::EnablePrefixForIpv6SourceNatEnum as Enabled;
                let mut request = elb.set_subnets().load_balancer_arn(arn.as_str());
                request = request.set_subnet_mappings(Some(subnets.iter().map(mapping).collect()));
                request = request.set_enable_prefix_for_ipv6_source_nat(
                    source_nat.map(|on| if on { Enabled::On } else { Enabled::Off }),
                );
                done!(self, Modify, op, request)
            }
            Op::SetSecurityGroups { arn, groups, private_link_rules } => {
                let groups = groups.iter().map(|id| id.as_str().to_owned()).collect();
                let request = elb.set_security_groups().load_balancer_arn(arn.as_str());
                let request = request.set_security_groups(Some(groups));
                let rules = private_link_rules.as_deref().map(Into::into);
                let request = request.set_enforce_security_group_inbound_rules_on_private_link_traffic(rules);
                done!(self, Modify, op, request)
            }
            Op::SetIpAddressType { arn, address_type } => {
                let request = elb.set_ip_address_type().load_balancer_arn(arn.as_str());
                done!(self, Modify, op, request.ip_address_type(address_type.as_str().into()))
            }
            Op::ModifyLoadBalancerAttributes { arn, attributes } => {
                let pair = |(key, value): (&String, &String)| {
                    elb::LoadBalancerAttribute::builder().key(key).value(value).build()
                };
                let request = elb.modify_load_balancer_attributes().load_balancer_arn(arn.as_str());
                let request = request.set_attributes(Some(attributes.iter().map(pair).collect()));
                done!(self, Modify, op, request)
            }
            Op::ModifyCapacityReservation { arn, units } => {
                let request = elb.modify_capacity_reservation().load_balancer_arn(arn.as_str());
                let request = if *units == 0 {
                    request.reset_capacity_reservation(true)
                } else {
                    let wanted = elb::MinimumLoadBalancerCapacity::builder().capacity_units(*units);
                    request.minimum_load_balancer_capacity(wanted.build())
                };
                done!(self, Modify, op, request)
            }
            Op::DeleteLoadBalancer { arn } => {
                let request = elb.delete_load_balancer().load_balancer_arn(arn.as_str());
                done!(self, Modify, op, request, "LoadBalancerNotFound")
            }
            Op::CreateTargetGroup(create) => self.create_target_group(op, create).await,
            Op::ModifyTargetGroup { arn, health_check } => {
                let HealthCheck { protocol, port, path, matcher, interval, timeout, .. } = health_check;
                let request = elb
                    .modify_target_group()
                    .target_group_arn(arn.as_str())
                    .health_check_enabled(true)
                    .health_check_protocol(protocol.as_str().into())
                    .health_check_port(traffic_port(*port))
                    .set_health_check_path(path.clone().filter(|_| *protocol != HealthProtocol::Tcp))
                    .health_check_interval_seconds(*interval)
                    .set_health_check_timeout_seconds(*timeout)
                    .healthy_threshold_count(health_check.healthy_threshold)
                    .unhealthy_threshold_count(health_check.unhealthy_threshold)
                    .set_matcher(matches(matcher.as_ref()));
                done!(self, Modify, op, request)
            }
            Op::ModifyTargetGroupAttributes { arn, attributes } => {
                let pair = |(key, value): (&String, &String)| {
                    elb::TargetGroupAttribute::builder().key(key).value(value).build()
                };
                let request = elb.modify_target_group_attributes().target_group_arn(arn.as_str());
                let request = request.set_attributes(Some(attributes.iter().map(pair).collect()));
                done!(self, Modify, op, request)
            }
            Op::DeleteTargetGroup { arn } => {
                let request = elb.delete_target_group().target_group_arn(arn.as_str());
                done!(self, Modify, op, request, "TargetGroupNotFound")
            }
            Op::RegisterTargets { arn, targets } => self.register(op, arn, targets).await,
            Op::DeregisterTargets { arn, targets } => {
                let targets = targets.iter().map(target).collect();
                let request = elb.deregister_targets().target_group_arn(arn.as_str());
                done!(self, Register, op, request.set_targets(Some(targets)), "InvalidTarget")
            }
            Op::CreateListener { load_balancer, port, spec, tags } => {
                let ListenerSpec { protocol, forward: to, certificate, ssl_policy, alpn } = spec;
                let request = elb
                    .create_listener()
                    .load_balancer_arn(load_balancer.as_str())
                    .port(i32::from(*port))
                    .protocol(protocol.as_str().into())
                    .default_actions(forward(to))
                    .set_certificates(certificate.as_ref().map(|arn| vec![certified(arn)]))
                    .set_ssl_policy(ssl_policy.clone())
                    .set_alpn_policy(alpn.map(|policy| vec![policy.as_str().to_owned()]))
                    .set_tags(elb_tags(tags));
                let answer = call!(self, Create, op.kind().as_str(), request)?;
                let arn = answer.listeners().first().and_then(|listener| listener.listener_arn());
                Ok(Outcome::Listener(arn.ok_or_else(|| failure::unreadable("a listener's ARN"))?.into()))
            }
            Op::ModifyListener { arn, spec, protocol_changes } => {
                let ListenerSpec { protocol, forward: to, certificate, ssl_policy, alpn } = spec;
                let request = elb
                    .modify_listener()
                    .listener_arn(arn.as_str())
                    .set_protocol(protocol_changes.then(|| protocol.as_str().into()))
                    .default_actions(forward(to))
                    .set_certificates(certificate.as_ref().map(|arn| vec![certified(arn)]))
                    .set_ssl_policy(ssl_policy.clone())
                    .set_alpn_policy(alpn.map(|policy| vec![policy.as_str().to_owned()]));
                done!(self, Modify, op, request)
            }
            Op::DeleteListener { arn } => {
                let request = elb.delete_listener().listener_arn(arn.as_str());
                done!(self, Modify, op, request, "ListenerNotFound")
            }
            Op::AddListenerCertificates { arn, certificates } => {
                let certificates = certificates.iter().map(|arn| certified(arn)).collect();
                let request = elb.add_listener_certificates().listener_arn(arn.as_str());
                done!(self, Modify, op, request.set_certificates(Some(certificates)))
            }
            Op::RemoveListenerCertificates { arn, certificates } => {
                let certificates = certificates.iter().map(|arn| certified(arn)).collect();
                let request = elb.remove_listener_certificates().listener_arn(arn.as_str());
                done!(self, Modify, op, request.set_certificates(Some(certificates)))
            }
            Op::ModifyListenerAttributes { arn, attributes } => {
                let pair = |(key, value): (&String, &String)| {
                    elb::ListenerAttribute::builder().key(key).value(value).build()
                };
                let request = elb.modify_listener_attributes().listener_arn(arn.as_str());
                let request = request.set_attributes(Some(attributes.iter().map(pair).collect()));
                done!(self, Modify, op, request)
            }
            Op::AddTags { resource, tags } => {
                let request = elb.add_tags().resource_arns(resource.arn());
                done!(self, Modify, op, request.set_tags(elb_tags(tags)))
            }
            Op::RemoveTags { resource, keys } => {
                let request = elb.remove_tags().resource_arns(resource.arn());
                done!(self, Modify, op, request.set_tag_keys(Some(keys.clone())))
            }
        }
    }
}

/// Of several rules AWS says only that one is a duplicate: what is there has to be listed.
fn duplicate(failure: Failure) -> Failure {
    let kind = if failure.code == "InvalidPermission.Duplicate" { FailureKind::Stale } else { failure.kind };
    Failure { kind, ..failure }
}

pub(super) fn traffic_port(port: Option<u16>) -> String {
    port.map_or_else(|| "traffic-port".to_owned(), |port| port.to_string())
}

pub(super) fn matches(codes: Option<&String>) -> Option<elb::Matcher> {
    codes.map(|codes| elb::Matcher::builder().http_code(codes).build())
}

fn certified(arn: &str) -> elb::Certificate {
    elb::Certificate::builder().certificate_arn(arn).build()
}

/// Weights are sent only where there are several groups, and stickiness where it is asked for: not every listener has them.
fn forward(to: &Forward) -> elb::Action {
    let action = elb::Action::builder().r#type(elb::ActionTypeEnum::Forward);
    if let Some(group) = to.only() {
        return action.target_group_arn(group.as_str()).build();
    }
    let group = |(arn, weight): (&TargetGroupArn, u16)| {
        elb::TargetGroupTuple::builder().target_group_arn(arn.as_str()).weight(weight.into()).build()
    };
    let sticky = elb::TargetGroupStickinessConfig::builder().enabled(true).build();
    let config = elb::ForwardActionConfig::builder()
        .set_target_groups(Some(to.weights().map(group).collect()))
        .set_target_group_stickiness_config(to.sticky().then_some(sticky));
    action.forward_config(config.build()).build()
}

pub(super) fn mapping(wanted: &SubnetMapping) -> elb::SubnetMapping {
    elb::SubnetMapping::builder()
        .subnet_id(wanted.subnet.as_str())
        .set_allocation_id(wanted.allocation.clone())
        .set_private_ipv4_address(wanted.private_ipv4.map(|address| address.to_string()))
        .set_ipv6_address(wanted.ipv6.map(|address| address.to_string()))
        .set_source_nat_ipv6_prefix(wanted.source_nat_prefix.clone())
        .build()
}

pub(super) fn target(wanted: &Target) -> elb::TargetDescription {
    let id = match &wanted.id {
        TargetId::Instance(id) => id.as_str().to_owned(),
        TargetId::Ip(address) => address.to_string(),
    };
    elb::TargetDescription::builder()
        .id(id)
        .port(i32::from(wanted.port))
        .set_availability_zone(wanted.zone_all.then(|| "all".to_owned()))
        .build()
}

/// Tags of Elastic Load Balancing, which takes no empty list.
pub(super) fn elb_tags(tags: &Map) -> Option<Vec<elb::Tag>> {
    let pair = |(key, value): (&String, &String)| elb::Tag::builder().key(key).value(value).build();
    Some(tags.iter().map(pair).collect::<Vec<_>>()).filter(|tags| !tags.is_empty())
}

fn ec2_tags(tags: &Map) -> Vec<ec2::Tag> {
    tags.iter().map(|(key, value)| ec2::Tag::builder().key(key).value(value).build()).collect()
}

fn ip_permissions(wanted: &BTreeSet<IpPermission>) -> Vec<ec2::IpPermission> {
    wanted.iter().map(ip_permission).collect()
}

fn ip_permission(wanted: &IpPermission) -> ec2::IpPermission {
    let text = Some(wanted.description.clone()).filter(|text| !text.is_empty());
    let permission =
        ec2::IpPermission::builder().ip_protocol(&wanted.protocol).from_port(wanted.from).to_port(wanted.to);
    match &wanted.source {
        Source::Block(block @ ipnet::IpNet::V4(_)) => permission
            .ip_ranges(ec2::IpRange::builder().cidr_ip(block.to_string()).set_description(text).build()),
        Source::Block(block @ ipnet::IpNet::V6(_)) => permission.ipv6_ranges(
            ec2::Ipv6Range::builder().cidr_ipv6(block.to_string()).set_description(text).build(),
        ),
        Source::PrefixList(id) => permission
            .prefix_list_ids(ec2::PrefixListId::builder().prefix_list_id(id).set_description(text).build()),
        Source::Group(id) => permission.user_id_group_pairs(
            ec2::UserIdGroupPair::builder().group_id(id.as_str()).set_description(text).build(),
        ),
    }
    .build()
}
