//! The load balancer itself.

use std::collections::BTreeSet;

use super::{Pass, differing};
use crate::{
    CreateLoadBalancer, LoadBalancer, Need, Op, Resource, SecurityGroupId, SubnetId, Waiting, names,
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
        let ids = |subnets: &[crate::SubnetMapping]| -> BTreeSet<SubnetId> {
            subnets.iter().map(|mapping| mapping.subnet.clone()).collect()
        };
        if live.address_type != wanted.address_type {
            self.ready.push(Op::SetIpAddressType { arn: arn(), address_type: wanted.address_type });
        }
        let source_nat = live.source_nat.unwrap_or(self.trusted && wanted.source_nat);
        let source_nat = (source_nat != wanted.source_nat).then_some(wanted.source_nat);
        if ids(&live.subnets) != ids(&wanted.subnets) || source_nat.is_some() {
            self.ready.push(Op::SetSubnets { arn: arn(), subnets: wanted.subnets.clone(), source_nat });
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
