//! Complete listings, and what changed while they were under way.

use ipnet::IpNet;

use super::{Inventory, LoadBalancer, SecurityGroup, Subnet, TargetGroup};
use crate::LoadBalancerArn;

/// One complete listing, for [`Inventory::replace_listing`].
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Network Load Balancers of the region, ours and others', with tags.
    pub load_balancers: Vec<LoadBalancer>,
    /// Target groups of the region, with tags.
    pub target_groups: Vec<TargetGroup>,
    /// Security groups of the VPC.
    pub security_groups: Vec<SecurityGroup>,
    /// Subnets of the VPC.
    pub subnets: Vec<Subnet>,
    /// CIDR blocks of the VPC, both families.
    pub vpc_blocks: Vec<IpNet>,
}

/// When a listing began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListingStart(u64);

impl ListingStart {
    pub(super) const fn is_before(self, clock: u64) -> bool {
        self.0 < clock
    }
}

impl Inventory {
    /// Call it before the first call of a complete listing.
    #[must_use]
    pub const fn begin_listing(&self) -> ListingStart {
        ListingStart(self.clock)
    }

    /// Takes a complete listing. Objects that it does not name are gone. What was recorded or described since `start` is newer
    /// than the listing and stays, gone or there. What deeper describes said of an object is kept where the listing does
    /// not say it.
    pub fn replace_listing(&mut self, start: ListingStart, listing: Listing) {
        let mut old = std::mem::take(self);
        old.touched.retain(|_, at| *at > old.began);
        self.listed = true;
        (self.clock, self.began) = (old.clock, start.0);
        self.vpc_blocks = listing.vpc_blocks;
        let touched = old.touched;
        let newer = |id: &str| touched.get(id).is_some_and(|at| start.is_before(*at));
        for mut load_balancer in listing.load_balancers {
            if newer(load_balancer.arn.as_str()) {
                continue;
            }
            if let Some(known) = old.load_balancers.get(&load_balancer.arn) {
                load_balancer.attributes = load_balancer.attributes.or_else(|| known.attributes.clone());
                load_balancer.listeners = load_balancer.listeners.or_else(|| known.listeners.clone());
                load_balancer.capacity_units = load_balancer.capacity_units.or(known.capacity_units);
            }
            self.insert_load_balancer(load_balancer);
        }
        for mut group in listing.target_groups {
            if newer(group.arn.as_str()) {
                continue;
            }
            // Some answers go on naming load balancers that are gone.
            let lives = |arn: &LoadBalancerArn| {
                self.load_balancers.contains_key(arn)
                    || (newer(arn.as_str()) && old.load_balancers.contains_key(arn))
            };
            group.load_balancers.retain(lives);
            if let Some(known) = old.target_groups.get(&group.arn) {
                group.attributes = group.attributes.or_else(|| known.attributes.clone());
                group.targets = group.targets.or_else(|| known.targets.clone());
            }
            self.insert_target_group(group);
        }
        for group in listing.security_groups {
            if !newer(group.id.as_str()) {
                self.insert_security_group(group);
            }
        }
        for id in touched.keys().filter(|id| newer(id)) {
            if let Some(load_balancer) = old.load_balancers.remove(&id.as_str().into()) {
                self.insert_load_balancer(load_balancer);
            } else if let Some(group) = old.target_groups.remove(&id.as_str().into()) {
                self.insert_target_group(group);
            } else if let Some(group) = old.security_groups.remove(&id.as_str().into()) {
                self.insert_security_group(group);
            }
        }
        for mut subnet in listing.subnets {
            subnet.public = subnet.public.or(old.subnets.get(&subnet.id).and_then(|known| known.public));
            self.put_subnet(subnet);
        }
        self.touched = touched;
    }
}
