//! From the SDK's types to the plan's. What AWS leaves out, or spells in a way that is not known, is left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use aws_sdk_ec2::types as ec2;
use aws_sdk_elasticloadbalancingv2::types as elb;
use ipnet::IpNet;
use landfall_aws_plan::{
    AddressType, Alpn, Forward, HealthCheck, HealthProtocol, Interface, IpPermission, Listener,
    ListenerProtocol, LoadBalancer, LoadBalancerState, Locale, Map, RouteTables, Scheme, SecurityGroup,
    Source, Subnet, SubnetMapping, Target, TargetFamily, TargetGroup, TargetGroupArn, TargetId, TargetState,
    TargetType,
};

/// Whether a load balancer is of type `network`.
pub(super) fn is_network(read: &elb::LoadBalancer) -> bool {
    read.r#type == Some(elb::LoadBalancerTypeEnum::Network)
}

/// Whether a Network Load Balancer can forward to a target group.
pub(super) fn is_for_network(read: &elb::TargetGroup) -> bool {
    read.protocol().is_some_and(|protocol| ListenerProtocol::parse(protocol.as_str()).is_some())
}

/// A Network Load Balancer.
pub(super) fn load_balancer(read: &elb::LoadBalancer, tags: Map) -> Option<LoadBalancer> {
    let (state, state_reason) = state(read);
    Some(LoadBalancer {
        arn: read.load_balancer_arn()?.into(),
        name: read.load_balancer_name()?.to_owned(),
        dns_name: read.dns_name().unwrap_or_default().to_owned(),
        scheme: read
            .scheme()
            .and_then(|scheme| Scheme::parse(scheme.as_str()))
            .unwrap_or(Scheme::InternetFacing),
        address_type: read
            .ip_address_type()
            .and_then(|kind| AddressType::parse(kind.as_str()))
            .unwrap_or(AddressType::Ipv4),
        state,
        state_reason,
        subnets: read.availability_zones().iter().filter_map(mapping).collect(),
        security_groups: read.security_groups().iter().map(|id| id.as_str().into()).collect(),
        private_link_rules: read
            .enforce_security_group_inbound_rules_on_private_link_traffic()
            .map(str::to_owned),
        source_nat: read
            .enable_prefix_for_ipv6_source_nat()
            .map(|enabled| *enabled == elb::EnablePrefixForIpv6SourceNatEnum::On),
        tags,
        attributes: None,
        listeners: None,
        capacity_units: None,
    })
}

/// State and reason of a load balancer.
pub(super) fn state(read: &elb::LoadBalancer) -> (LoadBalancerState, Option<String>) {
    let code = read.state().and_then(|state| state.code());
    let known = code.and_then(|code| LoadBalancerState::parse(code.as_str()));
    let reason = read.state().and_then(|state| state.reason()).map(str::to_owned);
    (known.unwrap_or(LoadBalancerState::Provisioning), reason)
}

fn mapping(zone: &elb::AvailabilityZone) -> Option<SubnetMapping> {
    let mut mapping = SubnetMapping::plain(zone.subnet_id()?.into());
    for address in zone.load_balancer_addresses() {
        mapping.allocation = mapping.allocation.or(address.allocation_id().map(str::to_owned));
        mapping.private_ipv4 = mapping.private_ipv4.or(parsed(address.private_ipv4_address()));
        mapping.ipv6 = mapping.ipv6.or(parsed(address.ipv6_address()));
    }
    mapping.source_nat_prefix = zone.source_nat_ipv6_prefixes().first().cloned();
    Some(mapping)
}

/// A target group that a Network Load Balancer may use; `None` for others.
pub(super) fn target_group(read: &elb::TargetGroup, tags: Map) -> Option<TargetGroup> {
    let family = read.ip_address_type().and_then(|kind| TargetFamily::parse(kind.as_str()));
    Some(TargetGroup {
        arn: read.target_group_arn()?.into(),
        name: read.target_group_name()?.to_owned(),
        protocol: ListenerProtocol::parse(read.protocol()?.as_str())?,
        port: u16::try_from(read.port()?).ok()?,
        target_type: TargetType::parse(read.target_type()?.as_str())?,
        family: family.unwrap_or(TargetFamily::Ipv4),
        health_check: health_check(read),
        load_balancers: read.load_balancer_arns().iter().map(|arn| arn.as_str().into()).collect(),
        tags,
        attributes: None,
        targets: None,
    })
}

fn health_check(read: &elb::TargetGroup) -> HealthCheck {
    let protocol = read.health_check_protocol().and_then(|protocol| HealthProtocol::parse(protocol.as_str()));
    let protocol = protocol.unwrap_or(HealthProtocol::Tcp);
    let http = protocol != HealthProtocol::Tcp;
    HealthCheck {
        protocol,
        // `traffic-port` is no number.
        port: parsed(read.health_check_port()),
        path: read.health_check_path().filter(|_| http).map(str::to_owned),
        matcher: read.matcher().and_then(|matcher| matcher.http_code()).filter(|_| http).map(str::to_owned),
        interval: read.health_check_interval_seconds().unwrap_or_default(),
        timeout: read.health_check_timeout_seconds(),
        healthy_threshold: read.healthy_threshold_count().unwrap_or_default(),
        unhealthy_threshold: read.unhealthy_threshold_count().unwrap_or_default(),
    }
}

/// A listener without what other calls tell.
pub(super) fn listener(read: &elb::Listener) -> Option<Listener> {
    let protocol = ListenerProtocol::parse(read.protocol()?.as_str())?;
    let tls = protocol == ListenerProtocol::Tls;
    let forward = match read.default_actions() {
        [action] if action.r#type == Some(elb::ActionTypeEnum::Forward) => forward(action),
        _ => None,
    };
    Some(Listener {
        arn: read.listener_arn()?.into(),
        port: u16::try_from(read.port()?).ok()?,
        protocol,
        forward,
        certificate: read.certificates().first().and_then(|first| first.certificate_arn()).map(str::to_owned),
        more_certificates: BTreeSet::new(),
        // Some answers have one for listeners that do not use it.
        ssl_policy: read.ssl_policy().filter(|_| tls).map(str::to_owned),
        alpn: read.alpn_policy().first().filter(|_| tls).and_then(|policy| Alpn::parse(policy)),
        attributes: None,
        tags: Map::new(),
    })
}

/// Where an action of type `forward` sends traffic: what it says in detail, or its only group. API reference, `TargetGroupTuple`: the
/// weight is 1 where none is told.
fn forward(action: &elb::Action) -> Option<Forward> {
    let config = action.forward_config();
    let groups = config.map(|config| config.target_groups()).unwrap_or_default();
    if groups.is_empty() {
        return action.target_group_arn().map(|arn| Forward::to(arn.into()));
    }
    let weight = |group: &elb::TargetGroupTuple| group.weight().and_then(|weight| u16::try_from(weight).ok());
    let groups = groups.iter().filter_map(|group| {
        Some((TargetGroupArn::from(group.target_group_arn()?), weight(group).unwrap_or(1)))
    });
    let stickiness = config.and_then(|config| config.target_group_stickiness_config());
    Forward::among(groups, stickiness.and_then(|config| config.enabled()).unwrap_or(false))
}

/// A target and its state.
pub(super) fn target(read: &elb::TargetHealthDescription) -> Option<(Target, TargetState)> {
    let described = read.target()?;
    let id = described.id()?;
    let id = match id.parse::<IpAddr>() {
        Ok(address) => TargetId::Ip(address),
        Err(_) => TargetId::Instance(id.into()),
    };
    let zone_all = described.availability_zone() == Some("all");
    let target = Target { id, port: u16::try_from(described.port()?).ok()?, zone_all };
    let state = read.target_health()?.state()?.as_str();
    // `unhealthy.draining` is unhealthy for those who wait, and draining for those who compare.
    let state = if state == "unhealthy.draining" { "draining" } else { state };
    Some((target, TargetState::parse(state).unwrap_or(TargetState::Unavailable)))
}

/// Tags of Elastic Load Balancing.
pub(super) fn tags(read: &[elb::Tag]) -> Map {
    let pair = |tag: &elb::Tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned()));
    read.iter().filter_map(pair).collect()
}

/// Tags of EC2.
pub(super) fn ec2_tags(read: &[ec2::Tag]) -> Map {
    let pair = |tag: &ec2::Tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned()));
    read.iter().filter_map(pair).collect()
}

/// A security group.
pub(super) fn security_group(read: &ec2::SecurityGroup) -> Option<SecurityGroup> {
    Some(SecurityGroup {
        id: read.group_id()?.into(),
        name: read.group_name().unwrap_or_default().to_owned(),
        tags: ec2_tags(read.tags()),
        ingress: read.ip_permissions().iter().flat_map(permissions).collect(),
    })
}

/// One element for each source.
fn permissions(read: &ec2::IpPermission) -> Vec<IpPermission> {
    let blocks = read.ip_ranges().iter().map(|range| (range.cidr_ip(), range.description()));
    let blocks =
        blocks.chain(read.ipv6_ranges().iter().map(|range| (range.cidr_ipv6(), range.description())));
    let blocks = blocks.filter_map(|(block, text)| Some((Source::Block(parsed::<IpNet>(block)?), text)));
    let lists = read.prefix_list_ids().iter();
    let lists = lists
        .filter_map(|list| Some((Source::PrefixList(list.prefix_list_id()?.to_owned()), list.description())));
    let groups = read.user_id_group_pairs().iter();
    let groups = groups.filter_map(|pair| Some((Source::Group(pair.group_id()?.into()), pair.description())));
    let permission = |(source, description): (Source, Option<&str>)| IpPermission {
        protocol: read.ip_protocol().unwrap_or("-1").to_owned(),
        from: read.from_port().unwrap_or(-1),
        to: read.to_port().unwrap_or(-1),
        source,
        description: description.unwrap_or_default().to_owned(),
    };
    blocks.chain(lists).chain(groups).map(permission).collect()
}

/// A subnet; `locales` has the type of each zone.
pub(super) fn subnet(read: &ec2::Subnet, locales: &BTreeMap<String, Locale>) -> Option<Subnet> {
    let zone = read.availability_zone()?.to_owned();
    let outpost = read.outpost_arn().is_some_and(|arn| !arn.is_empty());
    let known = locales.get(&zone).copied().unwrap_or(Locale::AvailabilityZone);
    let associated = |block: &&ec2::SubnetIpv6CidrBlockAssociation| {
        let state = block.ipv6_cidr_block_state().and_then(|state| state.state());
        state.is_none_or(|state| {
            !matches!(state.as_str(), "disassociated" | "disassociating" | "failed" | "failing")
        })
    };
    let v6 = read.ipv6_cidr_block_association_set().iter().filter(associated);
    let blocks = std::iter::once(read.cidr_block()).chain(v6.map(|block| block.ipv6_cidr_block()));
    Some(Subnet {
        id: read.subnet_id()?.into(),
        locale: if outpost { Locale::Outpost } else { known },
        zone,
        free_addresses: u32::try_from(read.available_ip_address_count().unwrap_or_default())
            .unwrap_or_default(),
        blocks: blocks.filter_map(parsed).collect(),
        public: None,
        tags: ec2_tags(read.tags()),
    })
}

/// The types of zones by name.
pub(super) fn locales(read: &[ec2::AvailabilityZone]) -> BTreeMap<String, Locale> {
    let locale = |zone: &ec2::AvailabilityZone| {
        let locale = match zone.zone_type() {
            Some("local-zone") => Locale::LocalZone,
            Some("wavelength-zone") => Locale::WavelengthZone,
            Some(_) | None => Locale::AvailabilityZone,
        };
        Some((zone.zone_name()?.to_owned(), locale))
    };
    read.iter().filter_map(locale).collect()
}

/// All blocks of a VPC.
pub(super) fn vpc_blocks(read: &ec2::Vpc) -> Vec<IpNet> {
    let v4 = read.cidr_block_association_set().iter().map(|block| block.cidr_block());
    let v6 = read.ipv6_cidr_block_association_set().iter().map(|block| block.ipv6_cidr_block());
    let blocks: BTreeSet<IpNet> =
        std::iter::once(read.cidr_block()).chain(v4).chain(v6).filter_map(parsed).collect();
    blocks.into_iter().collect()
}

/// Whether an instance runs, or is about to: only such a one can be registered.
pub(super) fn runs(read: &ec2::Instance) -> bool {
    let state = read.state().and_then(|state| state.name());
    state.is_none_or(|state| {
        matches!(state, ec2::InstanceStateName::Pending | ec2::InstanceStateName::Running)
    })
}

/// The interfaces of an instance, the primary one first.
pub(super) fn interfaces(read: &ec2::Instance) -> Vec<Interface> {
    let mut interfaces: Vec<&ec2::InstanceNetworkInterface> = read.network_interfaces().iter().collect();
    let index = |interface: &&ec2::InstanceNetworkInterface| {
        interface.attachment().and_then(|attachment| attachment.device_index()).unwrap_or(i32::MAX)
    };
    interfaces.sort_by_key(index);
    interfaces.into_iter().map(interface).collect()
}

fn interface(read: &ec2::InstanceNetworkInterface) -> Interface {
    let v4 = read.private_ip_addresses().iter().map(|address| address.private_ip_address());
    let v6 = read.ipv6_addresses().iter().map(|address| address.ipv6_address());
    let prefixes = read.ipv4_prefixes().iter().map(|prefix| prefix.ipv4_prefix());
    let prefixes = prefixes.chain(read.ipv6_prefixes().iter().map(|prefix| prefix.ipv6_prefix()));
    Interface {
        groups: read.groups().iter().filter_map(|group| group.group_id()).map(Into::into).collect(),
        addresses: std::iter::once(read.private_ip_address())
            .chain(v4)
            .chain(v6)
            .filter_map(parsed)
            .collect(),
        prefixes: prefixes.filter_map(parsed).collect(),
    }
}

/// Which subnets have a route to an internet gateway that is in use.
pub(super) fn route_tables(read: &[ec2::RouteTable]) -> RouteTables {
    let mut tables = RouteTables::default();
    for table in read {
        let public = table.routes().iter().any(|route| {
            route.gateway_id().is_some_and(|id| id.starts_with("igw-"))
                && route.state() != Some(&ec2::RouteState::Blackhole)
        });
        for association in table.associations() {
            match association.subnet_id() {
                Some(subnet) => _ = tables.explicit.insert(subnet.into(), public),
                None if association.main() == Some(true) => tables.main = public,
                None => {}
            }
        }
    }
    tables
}

fn parsed<T: std::str::FromStr>(text: Option<&str>) -> Option<T> {
    text?.parse().ok()
}
