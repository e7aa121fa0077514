//! The load balancer itself.

use std::collections::BTreeSet;

use super::{Pass, differing};
use crate::{
    CreateLoadBalancer, LoadBalancer, Need, Op, Resource, SecurityGroupId, SubnetId, SubnetMapping, Waiting,
    names,
};

impl Pass<'_> {
    /// Makes the load balancer or mends it. An adopted one is left as it is.
    pub(super) fn load_balancer(&mut self, front: Option<&SecurityGroupId>) {
        if self.stack.load_balancer.adopted.is_some() {
            if self.live.is_none() {
                self.waiting.insert(Waiting::Inventory);
            }
            return;
        }
        let groups = self.frontend_groups(front);
        match self.live {
            None => self.create_load_balancer(groups),
            Some(live) => self.mend_load_balancer(live, groups),
        }
    }

    fn create_load_balancer(&mut self, groups: Option<BTreeSet<SecurityGroupId>>) {
        let wanted = &self.stack.load_balancer;
        let own = |name: &str| self.others.iter().any(|lb| lb.name == name);
        let name = if own(&wanted.name) { names::successor(&wanted.name) } else { wanted.name.clone() };
        if self.inventory.load_balancer_named(&name).is_some() {
            self.waiting.insert(Waiting::NameTaken(name));
            return;
        }
        let Some(security_groups) = groups else { return };
        self.ready.push(Op::CreateLoadBalancer(Box::new(CreateLoadBalancer {
            name,
            scheme: wanted.scheme,
            address_type: wanted.address_type,
            subnets: wanted.subnets.clone(),
            security_groups,
            source_nat: wanted.source_nat,
            tags: wanted.tags.clone(),
        })));
        self.waiting.insert(Waiting::Earlier);
    }

    fn mend_load_balancer(&mut self, live: &'_ LoadBalancer, groups: Option<BTreeSet<SecurityGroupId>>) {
        let wanted = &self.stack.load_balancer;
        let arn = || live.arn.clone();
        self.retag(&Resource::LoadBalancer(arn()), &live.tags, &wanted.tags);
        if let Some(groups) = groups {
            let rules = wanted.private_link_rules.as_ref().filter(|rules| match &live.private_link_rules {
                Some(have) => have != *rules,
                None => !self.trusted,
            });
            if live.security_groups != groups || rules.is_some() {
                self.ready.push(Op::SetSecurityGroups {
                    arn: arn(),
                    groups,
                    private_link_rules: rules.cloned(),
                });
            }
        }
        if live.address_type != wanted.address_type {
            self.ready.push(Op::SetIpAddressType { arn: arn(), address_type: wanted.address_type });
        }
        let source_nat = live.source_nat.unwrap_or(self.trusted && wanted.source_nat);
        let source_nat = (source_nat != wanted.source_nat).then_some(wanted.source_nat);
        if self.subnets_differ(live) || source_nat.is_some() {
            let subnets = wanted.subnets.iter().map(|mapping| kept(mapping, live)).collect();
            self.ready.push(Op::SetSubnets { arn: arn(), subnets, source_nat });
        }
        if !wanted.attributes.is_empty() {
            let known = self.inventory.load_balancer(&live.arn).and_then(|lb| lb.attributes.as_ref());
            if let Some(attributes) = self.known(known, Need::LoadBalancer(arn())) {
                let attributes = differing(attributes, &wanted.attributes);
                if !attributes.is_empty() {
                    self.ready.push(Op::ModifyLoadBalancerAttributes { arn: arn(), attributes });
                }
            }
        }
        self.capacity(live);
    }

    /// Whether it is in other subnets, or has another prefix in one of them than is asked for. Fixed addresses are not compared:
    /// those of a live load balancer cannot be changed.
    fn subnets_differ(&self, live: &LoadBalancer) -> bool {
        let wanted = &self.stack.load_balancer.subnets;
        let ids = |subnets: &[SubnetMapping]| -> BTreeSet<SubnetId> {
            subnets.iter().map(|mapping| mapping.subnet.clone()).collect()
        };
        let other_prefix = |mapping: &SubnetMapping| {
            let have = live.subnets.iter().find(|have| have.subnet == mapping.subnet);
            match (&mapping.source_nat_prefix, have.and_then(|have| have.source_nat_prefix.as_deref())) {
                (None, _) => false,
                // What is not told may be as asked for, or not be set at all.
                (Some(_), None) => !self.trusted,
                (Some(wanted), Some(have)) => !same_prefix(wanted, have),
            }
        };
        ids(&live.subnets) != ids(wanted) || wanted.iter().any(other_prefix)
    }

    /// AWS takes a reservation for active load balancers only.
    fn capacity(&mut self, live: &LoadBalancer) {
        let Some(units) = self.stack.load_balancer.capacity_units else { return };
        if !live.state.serves() {
            self.waiting.insert(Waiting::Earlier);
            return;
        }
        let known = self.inventory.load_balancer(&live.arn).and_then(|lb| lb.capacity_units.as_ref());
        if let Some(have) = self.known(known, Need::Capacity(live.arn.clone()))
            && *have != units
        {
            self.ready.push(Op::ModifyCapacityReservation { arn: live.arn.clone(), units });
        }
    }
}

/// A subnet for `SetSubnets`. API reference: subnets that a Network Load Balancer has are named with what is set for them.
fn kept(wanted: &SubnetMapping, live: &LoadBalancer) -> SubnetMapping {
    let mut mapping = wanted.clone();
    if let Some(have) = live.subnets.iter().find(|have| have.subnet == wanted.subnet) {
        mapping.allocation = have.allocation.clone().or(mapping.allocation);
        mapping.private_ipv4 = have.private_ipv4.or(mapping.private_ipv4);
        mapping.ipv6 = have.ipv6.or(mapping.ipv6);
        let fits = |have: &&String| {
            mapping.source_nat_prefix.as_ref().is_none_or(|wanted| same_prefix(wanted, have))
        };
        if let Some(have) = have.source_nat_prefix.as_ref().filter(fits) {
            mapping.source_nat_prefix = Some(have.clone());
        }
    }
    mapping
}

/// Whether a prefix is the one that is wanted; any is if AWS chooses.
fn same_prefix(wanted: &str, have: &str) -> bool {
    let prefix = |text: &str| text.parse::<ipnet::Ipv6Net>().map(|prefix| prefix.trunc()).ok();
    wanted == "auto_assigned"
        || wanted == have
        || (prefix(wanted).is_some() && prefix(wanted) == prefix(have))
}
