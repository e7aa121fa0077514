//! Security groups: the front end's, and what nodes and pods must let in.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Unresolved, ports::Context};
use crate::{
    AddressType, BackendAccess, FrontendGroups, Inventory, IpPermission, LoadBalancer, Problem, Request,
    Scheme, SecurityGroupId, Service, Settings, Source, SubnetMapping, WantedSecurityGroup,
    WantedTargetGroup, names, tags,
};

impl Default for FrontendGroups {
    fn default() -> Self {
        Self::Managed { backend: true }
    }
}

/// Which groups the load balancer carries. One that was made without any stays so: AWS cannot add them.
pub(super) fn frontend(
    request: &Request,
    settings: &Settings,
    inventory: &Inventory,
    live: Option<&LoadBalancer>,
) -> Result<FrontendGroups, Unresolved> {
    let refuse = |text: String| Unresolved::Problems(vec![Problem::SecurityGroups(text)]);
    let live_without = live.is_some_and(|lb| lb.security_groups.is_empty());
    if live_without {
        return match request.private_link_rules {
            None => Ok(FrontendGroups::None),
            Some(_) => Err(refuse(
                "annotation aws-load-balancer-inbound-sg-rules-on-private-link-traffic needs a load balancer with security \
                 groups, and this one was made without; remove the annotation or make the Service anew"
                    .to_owned(),
            )),
        };
    }
    if !settings.security_groups || request.without_security_groups {
        return if live.is_some() {
            Err(refuse(
                "conflicting security groups configuration: the load balancer has security groups and they cannot all be \
                 removed; remove annotation aws-load-balancer-disable-nlb-sg, switch feature gate NLBSecurityGroup on, or make the \
                 Service anew"
                    .to_owned(),
            ))
        } else {
            Ok(FrontendGroups::None)
        };
    }
    if request.security_groups.is_empty() {
        return Ok(FrontendGroups::Managed { backend: settings.backend_security_group });
    }
    let mut groups = BTreeSet::new();
    let mut missing = Vec::new();
    for name in &request.security_groups {
        let by_id = inventory.security_group(&name.as_str().into()).map(|group| &group.id);
        match by_id.or_else(|| inventory.security_groups_named(name).map(|group| &group.id).next()) {
            Some(id) => _ = groups.insert(id.clone()),
            None => missing.push(name.as_str()),
        }
    }
    if !missing.is_empty() {
        return Err(refuse(format!(
            "annotation aws-load-balancer-security-groups: couldn't find all security groups: VPC {} has no group with id or \
             tag Name {} (group names do not count)",
            settings.vpc,
            missing.join(", ")
        )));
    }
    let backend = request.manage_backend_rules.unwrap_or(settings.manage_backend_rules);
    if backend && !settings.backend_security_group {
        return Err(refuse(
            "backendSG feature is required to manage rules for given security groups; start the controller with \
             --enable-backend-security-group or remove annotation aws-load-balancer-manage-backend-security-group-rules"
                .to_owned(),
        ));
    }
    Ok(FrontendGroups::Given { groups, backend })
}

/// The group made for the Service: every port from every source.
pub(super) fn managed(
    groups: &FrontendGroups,
    service: &Service,
    request: &Request,
    settings: &Settings,
    address_type: AddressType,
) -> Option<WantedSecurityGroup> {
    match groups {
        FrontendGroups::None | FrontendGroups::Given { .. } => return None,
        FrontendGroups::Managed { .. } => {}
    }
    let blocks = sources(request, address_type);
    let lists = request.prefix_lists.iter().cloned().map(Source::PrefixList);
    let sources: Vec<Source> = blocks.iter().copied().map(Source::Block).chain(lists).collect();
    let mut ingress = BTreeSet::new();
    for source in &sources {
        for port in &service.ports {
            let number = i32::from(port.port);
            let protocol = port.protocol.as_str().to_ascii_lowercase();
            ingress.insert(permission(&protocol, (number, number), source.clone(), ""));
        }
    }
    if request.icmp_path_mtu {
        // Type and code: "fragmentation needed" (RFC 792), and "packet too big" (RFC 4443 §3.2).
        for block in blocks {
            let (protocol, kind) = if block.addr().is_ipv4() { ("icmp", (3, 4)) } else { ("icmpv6", (2, 0)) };
            ingress.insert(permission(protocol, kind, Source::Block(block), ""));
        }
    }
    Some(WantedSecurityGroup {
        name: names::security_group(&settings.cluster, service),
        description: "[k8s] Managed SecurityGroup for LoadBalancer".to_owned(),
        ingress,
        tags: tags::wanted(settings, service, &request.tags, "ManagedLBSecurityGroup"),
    })
}

fn sources(request: &Request, address_type: AddressType) -> Vec<IpNet> {
    if !request.source_ranges.is_empty() {
        return request.source_ranges.iter().map(IpNet::trunc).collect();
    }
    if !request.prefix_lists.is_empty() {
        return Vec::new();
    }
    everybody(address_type)
}

fn everybody(address_type: AddressType) -> Vec<IpNet> {
    let mut blocks = vec![IpNet::V4(Ipv4Net::default())];
    if address_type == AddressType::Dualstack {
        blocks.push(IpNet::V6(Ipv6Net::default()));
    }
    blocks
}

pub(crate) fn permission(
    protocol: &str,
    ports: (i32, i32),
    source: Source,
    description: &str,
) -> IpPermission {
    IpPermission {
        protocol: protocol.to_owned(),
        from: ports.0,
        to: ports.1,
        source,
        description: description.to_owned(),
    }
}

/// Whence nodes and pods must let traffic in; the ports follow from the targets.
pub(super) fn backend(
    groups: &FrontendGroups,
    subnets: &[SubnetMapping],
    target_groups: &BTreeMap<String, WantedTargetGroup>,
    context: &Context<'_>,
    inventory: &Inventory,
) -> BackendAccess {
    let legacy = matches!(groups, FrontendGroups::None);
    let managed = match groups {
        FrontendGroups::None => context.request.manage_backend_rules.unwrap_or(true),
        FrontendGroups::Managed { .. } => true,
        FrontendGroups::Given { backend, .. } => *backend,
    };
    let blocks =
        if legacy { legacy_blocks(subnets, target_groups, context, inventory) } else { BTreeSet::new() };
    BackendAccess { managed, from_backend_group: groups.backend(), blocks }
}

/// Where clients keep their addresses they must be let in themselves; health checks always come from the subnets.
fn legacy_blocks(
    subnets: &[SubnetMapping],
    target_groups: &BTreeMap<String, WantedTargetGroup>,
    context: &Context<'_>,
    inventory: &Inventory,
) -> BTreeSet<IpNet> {
    let preserved = target_groups.values().any(|group| {
        let set = group.attributes.get("preserve_client_ip.enabled").map(String::as_str);
        let default = group.create.target_type == crate::TargetType::Instance;
        group.create.protocol.carries_datagrams()
            || set.map_or(default, |value| value.eq_ignore_ascii_case("true"))
    });
    let own = subnets.iter().filter_map(|mapping| inventory.subnet(&mapping.subnet));
    let mut blocks: BTreeSet<IpNet> = own.flat_map(|subnet| subnet.blocks.iter().copied()).collect();
    if preserved {
        match (context.request.source_ranges.is_empty(), context.scheme) {
            (false, _) => blocks.extend(context.request.source_ranges.iter().map(IpNet::trunc)),
            (true, Scheme::InternetFacing) => blocks.extend(everybody(context.address_type)),
            (true, Scheme::Internal) => blocks.extend(inventory.vpc_blocks()),
        }
    }
    let all = blocks.clone();
    blocks.retain(|block| !all.iter().any(|other| other != block && other.contains(block)));
    if context.address_type == AddressType::Ipv4 {
        blocks.retain(|block| block.addr().is_ipv4());
    }
    blocks
}

/// The shared back-end group, if it is there: the configured one, or the one tagged for the cluster.
pub(crate) fn backend_group(settings: &Settings, inventory: &Inventory) -> Option<SecurityGroupId> {
    let made = || inventory.backend_group(&settings.cluster).map(|group| group.id.clone());
    settings.backend_security_group_id.clone().or_else(made)
}
