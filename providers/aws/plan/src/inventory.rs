//! What is known of AWS, for all Services at once: one task lists, every plan reads. Lookups by ARN, by stack, by name
//! and by tag cost the logarithm of the inventory, so that planning one Service costs one Service's work.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::{
    AddressType, Alpn, Forward, HealthCheck, IpPermission, ListenerArn, ListenerProtocol, LoadBalancerArn,
    LoadBalancerState, Map, Scheme, SecurityGroupId, SubnetId, SubnetMapping, Target, TargetFamily,
    TargetGroupArn, TargetState, TargetType, tags,
};

mod details;
mod listing;

pub use listing::{Listing, ListingStart};

/// A load balancer, as `DescribeLoadBalancers` and `DescribeTags` show it. The `Option` fields need calls of their own and
/// stay `None` until a plan asks for them with a [`crate::Need`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancer {
    /// `LoadBalancerArn`.
    pub arn: LoadBalancerArn,
    /// `LoadBalancerName`.
    pub name: String,
    /// `DNSName`.
    pub dns_name: String,
    /// `Scheme`.
    pub scheme: Scheme,
    /// `IpAddressType`.
    pub address_type: AddressType,
    /// `State.Code`.
    pub state: LoadBalancerState,
    /// `State.Reason`, for people.
    pub state_reason: Option<String>,
    /// `AvailabilityZones`, with `LoadBalancerAddresses` where AWS shows them.
    pub subnets: Vec<SubnetMapping>,
    /// `SecurityGroups`; empty for one that was made without, for ever.
    pub security_groups: BTreeSet<SecurityGroupId>,
    /// `EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic`: `on` or `off`.
    pub private_link_rules: Option<String>,
    /// `EnablePrefixForIpv6SourceNat` is `on`; `None` where AWS does not tell.
    pub source_nat: Option<bool>,
    /// All its tags.
    pub tags: Map,
    /// `DescribeLoadBalancerAttributes`.
    pub attributes: Option<Map>,
    /// `DescribeListeners` with their certificates, attributes and tags, by port.
    pub listeners: Option<BTreeMap<u16, Listener>>,
    /// `MinimumLoadBalancerCapacity.CapacityUnits` of `DescribeCapacityReservation`; 0 is none. Asked for only where the
    /// Service names one.
    pub capacity_units: Option<i32>,
}

/// A listener, complete: `DescribeListeners`, `DescribeListenerCertificates`, `DescribeListenerAttributes`, `DescribeTags`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// `ListenerArn`.
    pub arn: ListenerArn,
    /// `Port`.
    pub port: u16,
    /// `Protocol`.
    pub protocol: ListenerProtocol,
    /// Its only action, a `forward`; `None` for any other set of actions.
    pub forward: Option<Forward>,
    /// `Certificates`: the default one.
    pub certificate: Option<String>,
    /// The others, from `DescribeListenerCertificates` without the one marked default.
    pub more_certificates: BTreeSet<String>,
    /// `SslPolicy`.
    pub ssl_policy: Option<String>,
    /// `AlpnPolicy`.
    pub alpn: Option<Alpn>,
    /// `DescribeListenerAttributes`; `None` where AWS does not tell or is not asked.
    pub attributes: Option<Map>,
    /// All its tags.
    pub tags: Map,
}

/// A target group, as `DescribeTargetGroups` and `DescribeTags` show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroup {
    /// `TargetGroupArn`.
    pub arn: TargetGroupArn,
    /// `TargetGroupName`.
    pub name: String,
    /// `Protocol`.
    pub protocol: ListenerProtocol,
    /// `Port`.
    pub port: u16,
    /// `TargetType`.
    pub target_type: TargetType,
    /// `IpAddressType`.
    pub family: TargetFamily,
    /// The health check.
    pub health_check: HealthCheck,
    /// `LoadBalancerArns`; at most one for a Network Load Balancer.
    pub load_balancers: BTreeSet<LoadBalancerArn>,
    /// All its tags.
    pub tags: Map,
    /// `DescribeTargetGroupAttributes`.
    pub attributes: Option<Map>,
    /// `DescribeTargetHealth`.
    pub targets: Option<BTreeMap<Target, TargetState>>,
}

/// A security group, as `DescribeSecurityGroups` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityGroup {
    /// `GroupId`.
    pub id: SecurityGroupId,
    /// `GroupName`.
    pub name: String,
    /// `Tags`.
    pub tags: Map,
    /// `IpPermissions`, one element per source.
    pub ingress: BTreeSet<IpPermission>,
}

/// A subnet: `DescribeSubnets`, `DescribeAvailabilityZones` and, for [`Subnet::public`], `DescribeRouteTables`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// `SubnetId`.
    pub id: SubnetId,
    /// `AvailabilityZone`.
    pub zone: String,
    /// What kind of place it is in.
    pub locale: Locale,
    /// `AvailableIpAddressCount`.
    pub free_addresses: u32,
    /// `CidrBlock` and associated IPv6 blocks.
    pub blocks: Vec<IpNet>,
    /// Its route table (explicit association, else the main one) has a route to an internet gateway. `None` if not asked
    /// yet; a plan that depends on it asks with [`crate::Need::RouteTables`].
    pub public: Option<bool>,
    /// `Tags`.
    pub tags: Map,
}

/// `ZoneType` of a subnet's zone, or `outpost` where it has an `OutpostArn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Locale {
    /// `availability-zone`.
    AvailabilityZone,
    /// `local-zone`.
    LocalZone,
    /// `wavelength-zone`.
    WavelengthZone,
    /// Has an `OutpostArn`.
    Outpost,
}

/// Everything that is known of AWS in the region and VPC.
///
/// The shell fills it: [`Inventory::begin_listing`] and [`Inventory::replace_listing`] around every complete listing, `put_*` after a describe of one
/// object, [`Inventory::record`] after every call that changed something. Nothing is planned before
/// [`Inventory::listed`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    listed: bool,
    load_balancers: BTreeMap<LoadBalancerArn, LoadBalancer>,
    target_groups: BTreeMap<TargetGroupArn, TargetGroup>,
    security_groups: BTreeMap<SecurityGroupId, SecurityGroup>,
    subnets: BTreeMap<SubnetId, Subnet>,
    vpc_blocks: Vec<IpNet>,
    load_balancers_by_stack: BTreeMap<String, BTreeSet<LoadBalancerArn>>,
    load_balancers_by_name: BTreeMap<String, LoadBalancerArn>,
    target_groups_by_stack: BTreeMap<String, BTreeSet<TargetGroupArn>>,
    target_groups_by_name: BTreeMap<String, TargetGroupArn>,
    security_groups_by_stack: BTreeMap<String, BTreeSet<SecurityGroupId>>,
    security_groups_by_name: BTreeMap<String, BTreeSet<SecurityGroupId>>,
    backend_groups: BTreeSet<SecurityGroupId>,
    /// Counts changes.
    clock: u64,
    /// When the last listing began.
    began: u64,
    /// When each object last changed, by ARN or id; those of before the last listing but one began are forgotten.
    touched: BTreeMap<String, u64>,
}

impl Inventory {
    /// Whether one complete listing has been taken.
    #[must_use]
    pub const fn listed(&self) -> bool {
        self.listed
    }

    /// Adds or replaces a load balancer.
    pub fn put_load_balancer(&mut self, load_balancer: LoadBalancer) {
        self.touch(load_balancer.arn.as_str());
        self.insert_load_balancer(load_balancer);
    }

    pub(crate) fn insert_load_balancer(&mut self, load_balancer: LoadBalancer) {
        self.take_load_balancer(&load_balancer.arn);
        index(&mut self.load_balancers_by_stack, &load_balancer.tags, &load_balancer.arn);
        self.load_balancers_by_name.insert(load_balancer.name.clone(), load_balancer.arn.clone());
        self.load_balancers.insert(load_balancer.arn.clone(), load_balancer);
    }

    /// Forgets a load balancer, if it is known.
    pub fn remove_load_balancer(&mut self, arn: &LoadBalancerArn) {
        self.touch(arn.as_str());
        self.take_load_balancer(arn);
    }

    fn take_load_balancer(&mut self, arn: &LoadBalancerArn) {
        if let Some(old) = self.load_balancers.remove(arn) {
            unindex(&mut self.load_balancers_by_stack, &old.tags, arn);
            self.load_balancers_by_name.remove(&old.name);
        }
    }

    /// Adds or replaces a target group.
    pub fn put_target_group(&mut self, group: TargetGroup) {
        self.touch(group.arn.as_str());
        self.insert_target_group(group);
    }

    pub(crate) fn insert_target_group(&mut self, group: TargetGroup) {
        self.take_target_group(&group.arn);
        index(&mut self.target_groups_by_stack, &group.tags, &group.arn);
        self.target_groups_by_name.insert(group.name.clone(), group.arn.clone());
        self.target_groups.insert(group.arn.clone(), group);
    }

    /// Forgets a target group, if it is known.
    pub fn remove_target_group(&mut self, arn: &TargetGroupArn) {
        self.touch(arn.as_str());
        self.take_target_group(arn);
    }

    fn take_target_group(&mut self, arn: &TargetGroupArn) {
        if let Some(old) = self.target_groups.remove(arn) {
            unindex(&mut self.target_groups_by_stack, &old.tags, arn);
            self.target_groups_by_name.remove(&old.name);
        }
    }

    /// Adds or replaces a security group.
    pub fn put_security_group(&mut self, group: SecurityGroup) {
        self.touch(group.id.as_str());
        self.insert_security_group(group);
    }

    pub(crate) fn insert_security_group(&mut self, group: SecurityGroup) {
        self.take_security_group(&group.id);
        index(&mut self.security_groups_by_stack, &group.tags, &group.id);
        if let Some(name) = group.tags.get("Name") {
            self.security_groups_by_name.entry(name.clone()).or_default().insert(group.id.clone());
        }
        if group.tags.get(tags::SHARED_RESOURCE).is_some_and(|value| value == tags::BACKEND) {
            self.backend_groups.insert(group.id.clone());
        }
        self.security_groups.insert(group.id.clone(), group);
    }

    /// Forgets a security group, if it is known.
    pub fn remove_security_group(&mut self, id: &SecurityGroupId) {
        self.touch(id.as_str());
        self.take_security_group(id);
    }

    fn take_security_group(&mut self, id: &SecurityGroupId) {
        if let Some(old) = self.security_groups.remove(id) {
            unindex(&mut self.security_groups_by_stack, &old.tags, id);
            self.backend_groups.remove(id);
            if let Some(ids) = old.tags.get("Name").and_then(|n| self.security_groups_by_name.get_mut(n)) {
                ids.remove(id);
            }
        }
    }

    /// Adds or replaces a subnet.
    pub fn put_subnet(&mut self, subnet: Subnet) {
        self.subnets.insert(subnet.id.clone(), subnet);
    }

    /// Every load balancer of the region, by ARN.
    pub fn load_balancers(&self) -> impl Iterator<Item = &LoadBalancer> {
        self.load_balancers.values()
    }

    /// A load balancer by ARN.
    #[must_use]
    pub fn load_balancer(&self, arn: &LoadBalancerArn) -> Option<&LoadBalancer> {
        self.load_balancers.get(arn)
    }

    /// A load balancer by name; names are unique in a region.
    #[must_use]
    pub fn load_balancer_named(&self, name: &str) -> Option<&LoadBalancer> {
        self.load_balancers_by_name.get(name).and_then(|arn| self.load_balancers.get(arn))
    }

    /// A target group by ARN.
    #[must_use]
    pub fn target_group(&self, arn: &TargetGroupArn) -> Option<&TargetGroup> {
        self.target_groups.get(arn)
    }

    /// A target group by name; names are unique in a region.
    #[must_use]
    pub fn target_group_named(&self, name: &str) -> Option<&TargetGroup> {
        self.target_groups_by_name.get(name).and_then(|arn| self.target_groups.get(arn))
    }

    /// Whether a load balancer forwards to a target group, as far as is known: its listeners, where they are, know better than
    /// what the group says of itself.
    #[must_use]
    pub fn in_use(&self, group: &TargetGroup) -> bool {
        let forwards = |arn: &LoadBalancerArn| {
            let listeners = self.load_balancer(arn).and_then(|lb| lb.listeners.as_ref());
            // One with other actions may be any one's.
            let its = |one: &Listener| one.forward.as_ref().is_none_or(|to| to.includes(&group.arn));
            listeners.is_none_or(|all| all.values().any(its))
        };
        group.load_balancers.iter().any(forwards)
    }

    /// A security group by id.
    #[must_use]
    pub fn security_group(&self, id: &SecurityGroupId) -> Option<&SecurityGroup> {
        self.security_groups.get(id)
    }

    /// Security groups whose tag `Name` is `name`.
    pub fn security_groups_named(&self, name: &str) -> impl Iterator<Item = &SecurityGroup> {
        let ids = self.security_groups_by_name.get(name).into_iter().flatten();
        ids.filter_map(|id| self.security_groups.get(id))
    }

    /// The shared back-end group of a cluster, by its tags.
    #[must_use]
    pub fn backend_group(&self, cluster: &str) -> Option<&SecurityGroup> {
        let mut groups = self.backend_groups.iter().filter_map(|id| self.security_groups.get(id));
        groups.find(|group| tags::of_cluster(&group.tags, cluster))
    }

    /// A subnet by id.
    #[must_use]
    pub fn subnet(&self, id: &SubnetId) -> Option<&Subnet> {
        self.subnets.get(id)
    }

    /// Every subnet of the VPC, by id.
    pub fn subnets(&self) -> impl Iterator<Item = &Subnet> {
        self.subnets.values()
    }

    /// CIDR blocks of the VPC.
    #[must_use]
    pub fn vpc_blocks(&self) -> &[IpNet] {
        &self.vpc_blocks
    }

    /// Load balancers that carry the cluster's tag and this stack tag, by ARN.
    pub fn stack_load_balancers<'a>(
        &'a self,
        cluster: &'a str,
        stack: &str,
    ) -> impl Iterator<Item = &'a LoadBalancer> {
        let arns = self.load_balancers_by_stack.get(stack).into_iter().flatten();
        arns.filter_map(|arn| self.load_balancers.get(arn))
            .filter(move |lb| tags::of_cluster(&lb.tags, cluster))
    }

    /// Target groups that carry the cluster's tag and this stack tag, by ARN.
    pub fn stack_target_groups<'a>(
        &'a self,
        cluster: &'a str,
        stack: &str,
    ) -> impl Iterator<Item = &'a TargetGroup> {
        let arns = self.target_groups_by_stack.get(stack).into_iter().flatten();
        arns.filter_map(|arn| self.target_groups.get(arn))
            .filter(move |tg| tags::of_cluster(&tg.tags, cluster))
    }

    /// Security groups that carry the cluster's tag and this stack tag, by id.
    pub fn stack_security_groups<'a>(
        &'a self,
        cluster: &'a str,
        stack: &str,
    ) -> impl Iterator<Item = &'a SecurityGroup> {
        let ids = self.security_groups_by_stack.get(stack).into_iter().flatten();
        ids.filter_map(|id| self.security_groups.get(id))
            .filter(move |sg| tags::of_cluster(&sg.tags, cluster))
    }

    /// Every stack tag that some object carries, for garbage collection.
    pub fn stacks(&self) -> BTreeSet<&str> {
        let load_balancers = self.load_balancers_by_stack.keys();
        let groups = self.target_groups_by_stack.keys().chain(self.security_groups_by_stack.keys());
        load_balancers.chain(groups).map(String::as_str).collect()
    }

    /// Every security group of the VPC, by id.
    pub fn security_groups(&self) -> impl Iterator<Item = &SecurityGroup> {
        self.security_groups.values()
    }

    fn touch(&mut self, id: &str) {
        self.clock += 1;
        self.touched.insert(id.to_owned(), self.clock);
    }

    pub(crate) fn target_groups_tagged(&self, stack: &str) -> impl Iterator<Item = &TargetGroup> {
        let arns = self.target_groups_by_stack.get(stack).into_iter().flatten();
        arns.filter_map(|arn| self.target_groups.get(arn))
    }

    pub(crate) fn load_balancer_mut(&mut self, arn: &LoadBalancerArn) -> Option<&mut LoadBalancer> {
        self.touch(arn.as_str());
        self.load_balancers.get_mut(arn)
    }

    pub(crate) fn target_group_mut(&mut self, arn: &TargetGroupArn) -> Option<&mut TargetGroup> {
        self.touch(arn.as_str());
        self.target_groups.get_mut(arn)
    }

    pub(crate) fn load_balancer_of(&mut self, listener: &ListenerArn) -> Option<&mut LoadBalancer> {
        // An NLB's listener ARN is its own ARN with another resource word and one more segment.
        let arn = listener.as_str().replacen(":listener/", ":loadbalancer/", 1);
        let arn = arn.rsplit_once('/')?.0;
        self.load_balancer_mut(&LoadBalancerArn::from(arn))
    }
}

fn index<I: Clone + Ord>(map: &mut BTreeMap<String, BTreeSet<I>>, of: &Map, id: &I) {
    if let Some(stack) = of.get(tags::STACK) {
        map.entry(stack.clone()).or_default().insert(id.clone());
    }
}

fn unindex<I: Ord>(map: &mut BTreeMap<String, BTreeSet<I>>, of: &Map, id: &I) {
    if let Some(stack) = of.get(tags::STACK)
        && let Some(ids) = map.get_mut(stack)
    {
        ids.remove(id);
        if ids.is_empty() {
            map.remove(stack);
        }
    }
}
