//! Load balancers: creation, reading, deletion, and what is set on them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Asked, Elb, attributes, balancer_not_found, check_name, page,
    shapes::{Zone, zone_members, zones},
};
use crate::{
    ec2,
    refusal::{Refusal, refuse},
    xml::Element,
};

/// A network load balancer.
#[derive(Debug)]
pub(super) struct Balancer {
    pub(super) sequence: u64,
    name: String,
    dns_name: String,
    created: String,
    hosted_zone: String,
    vpc: String,
    scheme: String,
    address_type: String,
    zones: Vec<Zone>,
    security_groups: Vec<String>,
    private_link: Option<String>,
    source_nat: String,
    /// The state that a test ordered.
    pub(super) state: Option<String>,
    /// Reads that still answer `provisioning`.
    provisioning: u32,
    pub(super) attributes: BTreeMap<String, String>,
    /// Capacity units that are reserved.
    pub(super) capacity: Option<u32>,
}

impl Balancer {
    pub(super) fn has_group(&self, group: &str) -> bool {
        self.security_groups.iter().any(|g| g == group)
    }

    pub(super) fn zone_names(&self) -> impl Iterator<Item = &str> {
        self.zones.iter().map(|z| z.name.as_str())
    }

    fn state(&self) -> &str {
        match &self.state {
            Some(ordered) => ordered,
            None if self.provisioning > 0 => "provisioning",
            None => "active",
        }
    }

    fn element(&self, arn: &str) -> Element {
        Element::new("member")
            .leaf("LoadBalancerArn", arn)
            .leaf("LoadBalancerName", &self.name)
            .leaf("DNSName", &self.dns_name)
            .leaf("CanonicalHostedZoneId", &self.hosted_zone)
            .leaf("CreatedTime", &self.created)
            .leaf("VpcId", &self.vpc)
            .leaf("Type", "network")
            .leaf("Scheme", &self.scheme)
            .leaf("IpAddressType", &self.address_type)
            .inside(Element::new("State").leaf("Code", self.state()))
            .list("AvailabilityZones", zone_members(&self.zones))
            .texts("SecurityGroups", &self.security_groups)
            .leaf_if("EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic", self.private_link.as_ref())
            .leaf("EnablePrefixForIpv6SourceNat", &self.source_nat)
    }
}

impl Elb {
    /// API reference, `CreateLoadBalancer`. The scheme is internet-facing unless told. A repeat with the same settings
    /// answers the existing one, other settings give `DuplicateLoadBalancerName`; tags are not compared.
    pub(super) fn create_balancer(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let name = asked.need("Name")?;
        check_name("Load balancer", name)?;
        if asked.get("Type") != Some("network") {
            return refuse("ValidationError", "this double of AWS knows only load balancers of type network");
        }
        let scheme = asked.get("Scheme").unwrap_or("internet-facing");
        if !matches!(scheme, "internet-facing" | "internal") {
            return refuse("InvalidScheme", format!("Scheme '{scheme}' is not valid"));
        }
        let address_type = asked.get("IpAddressType").unwrap_or("ipv4");
        let source_nat = asked.get("EnablePrefixForIpv6SourceNat").unwrap_or("off");
        let (zones, vpc) = zones(&self.moto, asked, scheme, address_type)?;
        let security_groups = asked.parameters.texts("SecurityGroups");
        ec2::security_groups(&self.moto, asked.region, &security_groups)?;
        let tags = super::tags::parsed(asked)?;

        let same = |b: &Balancer| {
            let set = |zones: &[Zone]| zones.iter().cloned().collect::<BTreeSet<_>>();
            let groups: BTreeSet<&str> = b.security_groups.iter().map(String::as_str).collect();
            b.scheme == scheme
                && b.address_type == address_type
                && b.source_nat == source_nat
                && set(&b.zones) == set(&zones)
                && groups == security_groups.iter().copied().collect()
        };
        match self.balancers.iter().find(|(arn, b)| asked.here(arn) && b.name == name) {
            Some((arn, existing)) if same(existing) => {
                return Ok(Element::new("Result").list("LoadBalancers", [existing.element(arn)]));
            }
            Some(_) => {
                return refuse(
                    "DuplicateLoadBalancerName",
                    format!(
                        "A load balancer with the same name '{name}' exists, but with different settings"
                    ),
                );
            }
            None => {}
        }
        // moto counts tags to ten and refuses none at creation; they are kept here.
        let told = self.tell(asked, |p| p.set("Scheme", scheme))?;
        let text = |key: &str| told.anywhere(key).map(|e| e.text.clone()).unwrap_or_default();
        let arn = super::of_aws(&text("LoadBalancerArn"));
        let unique = arn.rsplit('/').next().unwrap_or_default();
        let mut balancer = Balancer {
            sequence: self.next(),
            name: name.to_owned(),
            // The name of an NLB has its unique part before `elb`, that of an ALB behind the region (clouds.md §3.1).
            dns_name: format!("{name}-{unique}.elb.{}.amazonaws.com", asked.region),
            created: text("CreatedTime"),
            hosted_zone: text("CanonicalHostedZoneId"),
            vpc,
            scheme: scheme.to_owned(),
            address_type: address_type.to_owned(),
            zones,
            // `SetSecurityGroups`: inbound rules count for PrivateLink too, unless switched off; only with groups.
            private_link: (!security_groups.is_empty()).then(|| "on".to_owned()),
            security_groups: security_groups.into_iter().map(ToOwned::to_owned).collect(),
            source_nat: source_nat.to_owned(),
            state: None,
            provisioning: self.reads.provisioning.max(1),
            attributes: attributes::of_balancer(scheme),
            capacity: None,
        };
        // AWS answers a creation with `provisioning`, even if no read says so.
        let answer = balancer.element(&arn);
        balancer.provisioning = self.reads.provisioning;
        self.balancers.insert(arn.clone(), balancer);
        self.tags.insert(arn, tags);
        Ok(Element::new("Result").list("LoadBalancers", [answer]))
    }

    /// API reference, `DescribeLoadBalancers`: by at most 20 ARNs, or names, or all, in pages.
    pub(super) fn describe_balancers(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let arns = asked.parameters.texts("LoadBalancerArns");
        let names = asked.parameters.texts("Names");
        if arns.len() > 20 || names.len() > 20 {
            return refuse("ValidationError", "At most 20 load balancers can be described in one call");
        }
        if !arns.is_empty() && !names.is_empty() {
            return refuse(
                "ValidationError",
                "Load balancer names and ARNs cannot be specified at the same time",
            );
        }
        let mut found = Vec::new();
        for (arn, balancer) in self.balancers.iter().filter(|(arn, _)| asked.here(arn)) {
            let wanted = arns.contains(&arn.as_str()) || names.contains(&balancer.name.as_str());
            if wanted || (arns.is_empty() && names.is_empty()) {
                found.push((balancer.sequence, balancer.element(arn)));
            }
        }
        let distinct = arns.iter().chain(&names).collect::<BTreeSet<_>>().len();
        if distinct > found.len() {
            return balancer_not_found();
        }
        let page = page(asked, "LoadBalancers", found)?;
        for member in page.items("LoadBalancers") {
            let read = member.at("LoadBalancerArn").and_then(|arn| self.balancers.get_mut(arn));
            if let Some(balancer) = read {
                balancer.provisioning = balancer.provisioning.saturating_sub(1);
            }
        }
        Ok(page)
    }

    /// API reference, `DeleteLoadBalancer`: deleting what is not there succeeds; deletion protection gives
    /// `OperationNotPermitted`; listeners go with it.
    pub(super) fn delete_balancer(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let arn = asked.need("LoadBalancerArn")?;
        let protected =
            |b: &Balancer| b.attributes.get("deletion_protection.enabled").is_some_and(|v| v == "true");
        if self.balancers.get(arn).is_some_and(protected) {
            return refuse(
                "OperationNotPermitted",
                format!("Load balancer '{arn}' cannot be deleted because deletion protection is enabled"),
            );
        }
        self.tell(asked, |_| {})?;
        if self.balancers.remove(arn).is_some() {
            self.tags.remove(arn);
            let tags = &mut self.tags;
            self.listeners.retain(|listener, l| {
                let stays = l.balancer != arn;
                if !stays {
                    tags.remove(listener);
                }
                stays
            });
        }
        Ok(Element::new("Result"))
    }

    /// API reference, `SetSubnets`: for network load balancers one zone is enough, and mappings carry addresses. moto wants
    /// two zones, so it is not told.
    pub(super) fn set_subnets(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let arn = asked.need("LoadBalancerArn")?;
        let Some(balancer) = self.balancers.get(arn) else { return balancer_not_found() };
        let address_type = asked.get("IpAddressType").unwrap_or(&balancer.address_type).to_owned();
        let (zones, vpc) = zones(&self.moto, asked, &balancer.scheme, &address_type)?;
        if vpc != balancer.vpc {
            return refuse(
                "InvalidConfigurationRequest",
                "The subnets are in another VPC than the load balancer",
            );
        }
        let Some(balancer) = self.balancers.get_mut(arn) else { return balancer_not_found() };
        balancer.zones = zones;
        balancer.address_type = address_type;
        if let Some(source_nat) = asked.get("EnablePrefixForIpv6SourceNat") {
            source_nat.clone_into(&mut balancer.source_nat);
        }
        Ok(Element::new("Result")
            .list("AvailabilityZones", zone_members(&balancer.zones))
            .leaf("IpAddressType", &balancer.address_type)
            .leaf("EnablePrefixForIpv6SourceNat", &balancer.source_nat))
    }

    /// API reference, `SetSecurityGroups`: refused on a network load balancer that was created without groups; the switch
    /// for `PrivateLink` is remembered.
    pub(super) fn set_security_groups(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let arn = asked.need("LoadBalancerArn")?;
        let Some(balancer) = self.balancers.get(arn) else { return balancer_not_found() };
        if balancer.security_groups.is_empty() {
            return refuse(
                "InvalidConfigurationRequest",
                "You cannot set security groups on a Network Load Balancer that was created without any",
            );
        }
        let groups = asked.parameters.texts("SecurityGroups");
        if groups.is_empty() {
            return refuse(
                "InvalidConfigurationRequest",
                "A load balancer with security groups needs at least one",
            );
        }
        self.tell(asked, |_| {})?;
        let groups = groups.into_iter().map(ToOwned::to_owned).collect();
        let Some(balancer) = self.balancers.get_mut(arn) else { return balancer_not_found() };
        balancer.security_groups = groups;
        if let Some(switch) = asked.get("EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic") {
            balancer.private_link = Some(switch.to_owned());
        }
        Ok(Element::new("Result")
            .texts("SecurityGroupIds", &balancer.security_groups)
            .leaf_if("EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic", balancer.private_link.as_ref()))
    }

    /// API reference, `SetIpAddressType`: dual stack needs IPv6 ranges in all subnets.
    pub(super) fn set_address_type(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let arn = asked.need("LoadBalancerArn")?;
        let address_type = asked.need("IpAddressType")?;
        let Some(balancer) = self.balancers.get(arn) else { return balancer_not_found() };
        let ids: Vec<&str> = balancer.zones.iter().map(|z| z.subnet.as_str()).collect();
        super::shapes::check_ipv6(&ec2::subnets(&self.moto, asked.region, &ids)?, address_type)?;
        self.tell(asked, |_| {})?;
        let Some(balancer) = self.balancers.get_mut(arn) else { return balancer_not_found() };
        address_type.clone_into(&mut balancer.address_type);
        Ok(Element::new("Result").leaf("IpAddressType", address_type))
    }
}
