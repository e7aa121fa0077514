//! Subnets of a load balancer and the addresses in them, as they are asked for and as they are answered.

use std::collections::{BTreeMap, BTreeSet};

use super::Asked;
use crate::{
    ec2::{self, Subnet},
    moto::Moto,
    refusal::{Refusal, refuse},
    xml::Element,
};

/// A zone that a load balancer is in, through one subnet, with the addresses that were chosen there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Zone {
    pub(super) name: String,
    pub(super) subnet: String,
    /// An allocation, and the public address that it stands for.
    elastic: Option<(String, String)>,
    private: Option<String>,
    ipv6: Option<String>,
    nat_prefix: Option<String>,
}

/// Reads `Subnets` or `SubnetMappings` and gives the zones with the VPC.
///
/// API reference, `CreateLoadBalancer`: either list, not both; one subnet for each zone, else
/// `InvalidConfigurationRequest`; Elastic IP addresses only on internet-facing ones, private addresses only on internal.
pub(super) fn zones(
    moto: &Moto,
    asked: &Asked<'_>,
    scheme: &str,
    address_type: &str,
) -> Result<(Vec<Zone>, String), Refusal> {
    let mappings = asked.parameters.members("SubnetMappings");
    let plain = asked.parameters.texts("Subnets");
    if mappings.is_empty() == plain.is_empty() {
        return refuse("ValidationError", "You must specify either subnets or subnet mappings");
    }
    let mut ids = plain.clone();
    for mapping in &mappings {
        ids.push(mapping.need("SubnetId")?);
    }
    let subnets = ec2::subnets(moto, asked.region, &ids)?;
    check_ipv6(&subnets, address_type)?;
    let vpcs: BTreeSet<&str> = subnets.values().map(|s| s.vpc.as_str()).collect();
    if vpcs.len() > 1 {
        return refuse("InvalidConfigurationRequest", "All subnets must be in the same VPC");
    }
    let vpc = vpcs.into_iter().next().unwrap_or_default().to_owned();
    let mut zones: Vec<Zone> = Vec::new();
    for (n, id) in ids.iter().enumerate() {
        let Some(subnet) = subnets.get(*id) else {
            return refuse("SubnetNotFound", format!("The subnet ID '{id}' does not exist"));
        };
        if zones.iter().any(|z| z.name == subnet.zone) {
            return refuse(
                "InvalidConfigurationRequest",
                "A load balancer cannot be attached to multiple subnets in the same Availability Zone",
            );
        }
        let field = |key: &str| mappings.get(n).and_then(|m| m.get(key)).map(ToOwned::to_owned);
        let elastic = match field("AllocationId") {
            Some(_) if scheme == "internal" => {
                return refuse(
                    "InvalidConfigurationRequest",
                    "Elastic IP addresses cannot be specified for an internal load balancer",
                );
            }
            Some(id) => {
                let address = ec2::public_address(moto, asked.region, &id)?;
                Some((id, address))
            }
            None => None,
        };
        let private = field("PrivateIPv4Address");
        if private.is_some() && scheme != "internal" {
            return refuse(
                "InvalidConfigurationRequest",
                "Private IPv4 addresses can only be specified for an internal load balancer",
            );
        }
        zones.push(Zone {
            name: subnet.zone.clone(),
            subnet: (*id).to_owned(),
            elastic,
            private,
            ipv6: field("IPv6Address"),
            nat_prefix: field("SourceNatIpv6Prefix"),
        });
    }
    Ok((zones, vpc))
}

/// API reference, `CreateLoadBalancer` and `SetIpAddressType`: `dualstack` needs an IPv6 range in each subnet.
pub(super) fn check_ipv6(subnets: &BTreeMap<String, Subnet>, address_type: &str) -> Result<(), Refusal> {
    match address_type {
        "ipv4" => Ok(()),
        "dualstack" => match subnets.iter().find(|(_, s)| !s.ipv6) {
            Some((id, _)) => refuse(
                "InvalidConfigurationRequest",
                format!("You must specify subnets with an associated IPv6 CIDR block; '{id}' has none"),
            ),
            None => Ok(()),
        },
        other => {
            refuse("ValidationError", format!("IP address type '{other}' is not one of ipv4, dualstack"))
        }
    }
}

/// The members of `AvailabilityZones`. moto drops all that `SubnetMappings` said (clouds.md §3.1).
pub(super) fn zone_members(zones: &[Zone]) -> Vec<Element> {
    zones.iter().map(member).collect()
}

fn member(zone: &Zone) -> Element {
    let address = Element::new("member")
        .leaf_if("IpAddress", zone.elastic.as_ref().map(|(_, address)| address))
        .leaf_if("AllocationId", zone.elastic.as_ref().map(|(allocation, _)| allocation))
        .leaf_if("PrivateIPv4Address", zone.private.as_ref())
        .leaf_if("IPv6Address", zone.ipv6.as_ref());
    let addresses = (!address.children.is_empty()).then_some(address);
    Element::new("member")
        .leaf("ZoneName", &zone.name)
        .leaf("SubnetId", &zone.subnet)
        .list("LoadBalancerAddresses", addresses)
        .texts("SourceNatIpv6Prefixes", &zone.nat_prefix)
}
