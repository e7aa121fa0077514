//! Which subnets a load balancer is in: those of the annotation, else those that it has, else what discovery finds.

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr};

use super::Unresolved;
use crate::{
    AddressType, Inventory, LoadBalancer, Need, Problem, Request, Scheme, Settings, Subnet, SubnetMapping,
};

/// Fewer free addresses than this make a subnet useless to AWS.
const FREE_ADDRESSES: u32 = 8;
const CLUSTER_PREFIX: &str = "kubernetes.io/cluster/";

/// What is wanted of the subnets.
pub(super) struct Wish<'a> {
    pub(super) scheme: Scheme,
    pub(super) address_type: AddressType,
    /// The live load balancer of the same scheme: its subnets are kept.
    pub(super) live: Option<&'a LoadBalancer>,
}

pub(super) fn resolve(
    wish: &Wish<'_>,
    request: &Request,
    settings: &Settings,
    inventory: &Inventory,
) -> Result<Vec<SubnetMapping>, Unresolved> {
    let subnets = if !request.subnets.is_empty() {
        annotated(request, inventory)?
    } else if let Some(live) = wish.live {
        let kept = live.subnets.iter().filter_map(|mapping| inventory.subnet(&mapping.subnet));
        let mut kept: Vec<&Subnet> = kept.collect();
        if kept.len() < live.subnets.len() {
            // Subnets of a shared VPC may be hidden from us; they stay all the same.
            return Ok(live.subnets.clone());
        }
        // As they were found: what the annotations set for each is in this order, and AWS has one of its own.
        kept.sort_by(|a, b| a.id.cmp(&b.id));
        kept
    } else {
        discover(wish, settings, inventory)?
    };
    if wish.address_type == AddressType::Dualstack {
        let without: Vec<&str> =
            subnets.iter().filter(|subnet| !has_v6(subnet)).map(|subnet| subnet.id.as_str()).collect();
        if !without.is_empty() {
            return Err(refuse(format!(
                "subnets {} do not have an associated IPv6 CIDR block: associate one, choose others with annotation \
                 aws-load-balancer-subnets, or use aws-load-balancer-ip-address-type: ipv4",
                without.join(", ")
            )));
        }
    }
    addresses(wish, request, &subnets)
}

/// By id or by tag `Name`; all must be there, one for each zone, all of one locale.
fn annotated<'a>(request: &Request, inventory: &'a Inventory) -> Result<Vec<&'a Subnet>, Unresolved> {
    let mut found: Vec<&Subnet> = Vec::new();
    let mut missing = Vec::new();
    for name in &request.subnets {
        let by_id = inventory.subnet(&name.as_str().into());
        let mut by_name = inventory.subnets().filter(|subnet| subnet.tags.get("Name") == Some(name));
        match by_id.or_else(|| by_name.next()) {
            Some(subnet) => found.push(subnet),
            None => missing.push(name.as_str()),
        }
    }
    if !missing.is_empty() {
        return Err(refuse(format!(
            "annotation aws-load-balancer-subnets: couldn't find all subnets: the VPC has no subnet with id or tag Name {}",
            missing.join(", ")
        )));
    }
    let mut by_zone = BTreeMap::new();
    for subnet in &found {
        if let Some(other) = by_zone.insert(&subnet.zone, &subnet.id) {
            return Err(refuse(format!(
                "annotation aws-load-balancer-subnets: multiple subnets in same Availability Zone {}: {other} and {}; name one",
                subnet.zone, subnet.id
            )));
        }
    }
    one_locale(&found)?;
    Ok(found)
}

/// Subnets by role tag, or by route where no subnet has one; each filter says how many it took.
fn discover<'a>(
    wish: &Wish<'_>,
    settings: &Settings,
    inventory: &'a Inventory,
) -> Result<Vec<&'a Subnet>, Unresolved> {
    let role = match wish.scheme {
        Scheme::InternetFacing => "kubernetes.io/role/elb",
        Scheme::Internal => "kubernetes.io/role/internal-elb",
    };
    let tagged = |subnet: &&Subnet| matches!(subnet.tags.get(role).map(String::as_str), Some("" | "1"));
    let mut candidates: Vec<&Subnet> = inventory.subnets().filter(tagged).collect();
    if candidates.is_empty() && settings.subnets_by_reachability {
        for subnet in inventory.subnets() {
            match subnet.public {
                None => return Err(Unresolved::Need(Need::RouteTables)),
                Some(public) if public == (wish.scheme == Scheme::InternetFacing) => candidates.push(subnet),
                Some(_) => {}
            }
        }
    }
    let evaluated = candidates.len();
    let own = format!("{CLUSTER_PREFIX}{}", settings.cluster);
    let mut fell = String::new();
    let mut filter = |candidates: &mut Vec<&'a Subnet>, why: &str, keep: &dyn Fn(&Subnet) -> bool| {
        let before = candidates.len();
        candidates.retain(|subnet| keep(subnet));
        if candidates.len() < before {
            _ = write!(fell, ", {} {why}", before - candidates.len());
        }
    };
    if settings.subnets_cluster_tag_check {
        filter(&mut candidates, "tagged for other clusters", &|subnet| {
            subnet.tags.contains_key(&own) || !subnet.tags.keys().any(|key| key.starts_with(CLUSTER_PREFIX))
        });
    }
    filter(&mut candidates, "with fewer than 8 free addresses", &|subnet| {
        subnet.free_addresses >= FREE_ADDRESSES
    });
    if wish.address_type == AddressType::Dualstack {
        filter(&mut candidates, "without an IPv6 block", &has_v6);
    }
    if candidates.is_empty() {
        return Err(refuse(format!(
            "unable to resolve at least one subnet for scheme {}: evaluated {evaluated} subnets{fell}. Tag subnets of VPC {} \
             with {role}=1 or name them in annotation aws-load-balancer-subnets",
            wish.scheme.as_str(),
            settings.vpc
        )));
    }
    let mut by_zone: BTreeMap<&str, &Subnet> = BTreeMap::new();
    for subnet in candidates {
        let rank = |subnet: &Subnet| (!subnet.tags.contains_key(&own), subnet.id.clone());
        let chosen = by_zone.entry(&subnet.zone).or_insert(subnet);
        if rank(subnet) < rank(chosen) {
            *chosen = subnet;
        }
    }
    let mut chosen: Vec<&Subnet> = by_zone.into_values().collect();
    chosen.sort_by(|a, b| a.id.cmp(&b.id));
    one_locale(&chosen)?;
    Ok(chosen)
}

fn one_locale(subnets: &[&Subnet]) -> Result<(), Unresolved> {
    let mut others = subnets.iter().filter(|subnet| subnet.locale != subnets[0].locale);
    match others.next() {
        None => Ok(()),
        Some(other) => Err(refuse(format!(
            "subnets in multiple locales: {} is in {:?}, {} in {:?}; name subnets of one kind in annotation \
             aws-load-balancer-subnets",
            subnets[0].id, subnets[0].locale, other.id, other.locale
        ))),
    }
}

fn has_v6(subnet: &Subnet) -> bool {
    subnet.blocks.iter().any(|block| block.addr().is_ipv6())
}

/// Fixed addresses of each subnet.
fn addresses(
    wish: &Wish<'_>,
    request: &Request,
    subnets: &[&Subnet],
) -> Result<Vec<SubnetMapping>, Unresolved> {
    let mut problems = Vec::new();
    let mut conflict = |text: String| problems.push(Problem::Conflict(text));
    let count = |what: &str, given: usize| {
        (given != 0 && given != subnets.len())
            .then(|| format!("count of {what} ({given}) and subnets ({}) must match", subnets.len()))
    };
    for (what, given) in [
        ("EIP allocations", request.eip_allocations.len()),
        ("private IPv4 addresses", request.private_ipv4.len()),
        ("IPv6 addresses", request.ipv6.len()),
        ("source NAT prefixes", request.source_nat_prefixes.len()),
    ] {
        if let Some(text) = count(what, given) {
            conflict(text);
        }
    }
    if !request.eip_allocations.is_empty() && wish.scheme == Scheme::Internal {
        conflict("annotation aws-load-balancer-eip-allocations can only be set for internet facing load balancers; set \
                  aws-load-balancer-scheme: internet-facing".to_owned());
    }
    if !request.private_ipv4.is_empty() && wish.scheme == Scheme::InternetFacing {
        conflict(
            "annotation aws-load-balancer-private-ipv4-addresses can only be set for internal load balancers"
                .to_owned(),
        );
    }
    let v6 = !request.ipv6.is_empty() || request.source_nat;
    if v6 && wish.address_type == AddressType::Ipv4 {
        conflict("IPv6 addresses and IPv6 source NAT need aws-load-balancer-ip-address-type: dualstack: lb not dual-stack".to_owned());
    }
    if !request.source_nat_prefixes.is_empty() && !request.source_nat {
        conflict(
            "annotation aws-load-balancer-source-nat-ipv6-prefixes needs \
                  aws-load-balancer-enable-prefix-for-ipv6-source-nat: \"on\""
                .to_owned(),
        );
    }
    let mut mappings = Vec::new();
    for (position, subnet) in subnets.iter().enumerate() {
        let mut mapping = SubnetMapping::plain(subnet.id.clone());
        mapping.allocation = request.eip_allocations.get(position).cloned();
        match within(subnet, &request.private_ipv4, "private IPv4 address") {
            Ok(address) => mapping.private_ipv4 = address,
            Err(text) => conflict(text),
        }
        match within(subnet, &request.ipv6, "IPv6 address") {
            Ok(address) => mapping.ipv6 = address,
            Err(text) => conflict(text),
        }
        mapping.source_nat_prefix = request.source_nat_prefixes.get(position).cloned();
        if let Some(prefix) = mapping.source_nat_prefix.as_ref().filter(|prefix| !prefix_fits(prefix, subnet))
        {
            conflict(format!(
                "annotation aws-load-balancer-source-nat-ipv6-prefixes: {prefix} is neither auto_assigned nor a /80 inside \
                 subnet {}",
                subnet.id
            ));
        }
        mappings.push(mapping);
    }
    if problems.is_empty() { Ok(mappings) } else { Err(Unresolved::Problems(problems)) }
}

/// The only address of the list that lies in the subnet; none for an empty list.
fn within<A: Copy + Into<IpAddr>>(subnet: &Subnet, addresses: &[A], what: &str) -> Result<Option<A>, String> {
    let inside = |address: &&A| subnet.blocks.iter().any(|block| block.contains(&(**address).into()));
    let found: Vec<&A> = addresses.iter().filter(inside).collect();
    match (found.as_slice(), addresses.is_empty()) {
        (_, true) => Ok(None),
        ([one], false) => Ok(Some(**one)),
        (_, false) => Err(format!("expect one {what} in subnet {}, found {}", subnet.id, found.len())),
    }
}

fn prefix_fits(prefix: &str, subnet: &Subnet) -> bool {
    prefix == "auto_assigned"
        || prefix.parse::<ipnet::Ipv6Net>().is_ok_and(|prefix| {
            prefix.prefix_len() == 80
                && subnet.blocks.iter().any(|block| block.contains(&ipnet::IpNet::V6(prefix)))
        })
}

fn refuse(text: String) -> Unresolved {
    Unresolved::Problems(vec![Problem::Subnets(text)])
}
