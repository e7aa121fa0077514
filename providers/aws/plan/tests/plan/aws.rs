//! AWS in memory: applies one call at a time, and refuses what AWS refuses.

use std::collections::{BTreeMap, BTreeSet};

use landfall_aws_plan::{
    Answer, Forward, Inventory, Listener, ListenerArn, Listing, LoadBalancer, LoadBalancerArn,
    LoadBalancerState, Map, Need, Op, Outcome, Resource, RouteTables, SecurityGroup, SecurityGroupId, Subnet,
    TargetGroup, TargetGroupArn, TargetState,
};

#[derive(Default)]
pub(crate) struct Aws {
    pub(crate) load_balancers: BTreeMap<LoadBalancerArn, LoadBalancer>,
    pub(crate) target_groups: BTreeMap<TargetGroupArn, TargetGroup>,
    pub(crate) security_groups: BTreeMap<SecurityGroupId, SecurityGroup>,
    pub(crate) subnets: Vec<Subnet>,
    pub(crate) route_tables: BTreeMap<String, bool>,
    pub(crate) vpc_blocks: Vec<ipnet::IpNet>,
    pub(crate) calls: Vec<Op>,
    /// How its ARNs begin, where it is not in Ireland.
    pub(crate) arns: Option<&'static str>,
    /// A load balancer that somebody keeps from being deleted.
    pub(crate) locked: Option<LoadBalancerArn>,
    made: u32,
}

impl Aws {
    /// Applies a call, or says why AWS would not.
    pub(crate) fn apply(&mut self, op: &Op) -> Result<Outcome, String> {
        self.calls.push(op.clone());
        self.made += 1;
        let serial = self.made;
        let arns = self.arns.unwrap_or("arn:aws:elasticloadbalancing:eu-west-1:1");
        match op {
            Op::CreateSecurityGroup { name, tags, .. } => {
                if self.security_groups.values().any(|group| group.name == *name) {
                    return Err(format!("InvalidGroup.Duplicate {name}"));
                }
                let id = SecurityGroupId::from(format!("sg-{serial:04}"));
                let (name, tags) = (name.clone(), tags.clone());
                self.security_groups
                    .insert(id.clone(), SecurityGroup { id: id.clone(), name, tags, ingress: [].into() });
                return Ok(Outcome::SecurityGroup(id));
            }
            Op::AuthorizeIngress { group, permissions } => {
                assert!(!permissions.is_empty());
                self.group(group)?.ingress.extend(permissions.iter().cloned());
            }
            Op::RevokeIngress { group, permissions } => {
                let group = self.group(group)?;
                assert!(permissions.is_subset(&group.ingress), "revokes rules that are not there");
                group.ingress.retain(|rule| !permissions.contains(rule));
            }
            Op::DeleteSecurityGroup { group } => {
                self.group(group)?;
                let used = self.load_balancers.values().any(|lb| lb.security_groups.contains(group));
                let mut rules = self.security_groups.values().flat_map(|group| &group.ingress);
                if used || rules.any(|rule| rule.source == landfall_aws_plan::Source::Group(group.clone())) {
                    return Err(format!("DependencyViolation {group}"));
                }
                self.security_groups.remove(group);
            }
            Op::TagSecurityGroup { group, tags } => self.group(group)?.tags.extend(tags.clone()),
            Op::UntagSecurityGroup { group, keys } => {
                self.group(group)?.tags.retain(|key, _| !keys.contains(key))
            }
            Op::CreateLoadBalancer(create) => {
                if self.load_balancers.values().any(|lb| lb.name == create.name) {
                    return Err(format!("DuplicateLoadBalancerName {}", create.name));
                }
                assert!(create.name.len() <= 32 && !create.subnets.is_empty());
                for group in &create.security_groups {
                    self.group(group)?;
                }
                let arn = format!("{arns}:loadbalancer/net/{}/{serial:016x}", create.name);
                let arn = LoadBalancerArn::from(arn);
                let dns_name = format!("{}-{serial:016x}.elb.eu-west-1.amazonaws.com", create.name);
                let state = LoadBalancerState::Provisioning;
                let lb = LoadBalancer {
                    arn: arn.clone(),
                    name: create.name.clone(),
                    dns_name: dns_name.clone(),
                    scheme: create.scheme,
                    address_type: create.address_type,
                    state,
                    state_reason: None,
                    subnets: create.subnets.clone(),
                    security_groups: create.security_groups.clone(),
                    private_link_rules: None,
                    source_nat: Some(create.source_nat),
                    tags: create.tags.clone(),
                    attributes: Some(Map::new()),
                    listeners: Some(BTreeMap::new()),
                    capacity_units: Some(0),
                };
                self.load_balancers.insert(arn.clone(), lb);
                return Ok(Outcome::LoadBalancer { arn, dns_name, state });
            }
            Op::SetSubnets { arn, subnets, source_nat } => {
                let lb = self.balancer(arn)?;
                (lb.subnets, lb.source_nat) = (subnets.clone(), source_nat.or(lb.source_nat));
            }
            Op::SetSecurityGroups { arn, groups, private_link_rules } => {
                let lb = self.balancer(arn)?;
                if lb.security_groups.is_empty() || groups.is_empty() {
                    return Err(
                        "InvalidConfigurationRequest: groups cannot be added or all removed".to_owned()
                    );
                }
                lb.security_groups = groups.clone();
                lb.private_link_rules = private_link_rules.clone().or(lb.private_link_rules.take());
            }
            Op::SetIpAddressType { arn, address_type } => self.balancer(arn)?.address_type = *address_type,
            Op::ModifyLoadBalancerAttributes { arn, attributes } => {
                assert!(!attributes.is_empty());
                self.balancer(arn)?.attributes.as_mut().unwrap().extend(attributes.clone());
            }
            Op::ModifyCapacityReservation { arn, units } => self.balancer(arn)?.capacity_units = Some(*units),
            Op::DeleteLoadBalancer { arn } if self.locked.as_ref() == Some(arn) => {
                return Err("OperationNotPermitted".to_owned());
            }
            Op::DeleteLoadBalancer { arn } => {
                let attributes = self.balancer(arn)?.attributes.as_ref().unwrap();
                if attributes.get("deletion_protection.enabled").is_some_and(|value| value == "true") {
                    return Err("OperationNotPermitted".to_owned());
                }
                self.load_balancers.remove(arn);
            }
            Op::CreateTargetGroup(create) => {
                if self.target_groups.values().any(|group| group.name == create.name) {
                    return Err(format!("DuplicateTargetGroupName {}", create.name));
                }
                assert!(create.name.len() <= 32);
                let arn = TargetGroupArn::from(format!("{arns}:targetgroup/{}/{serial:016x}", create.name));
                let group = TargetGroup {
                    arn: arn.clone(),
                    name: create.name.clone(),
                    protocol: create.protocol,
                    port: create.port,
                    target_type: create.target_type,
                    family: create.family,
                    health_check: create.health_check.clone(),
                    load_balancers: [].into(),
                    tags: create.tags.clone(),
                    attributes: Some(Map::new()),
                    targets: Some(BTreeMap::new()),
                };
                self.target_groups.insert(arn.clone(), group);
                return Ok(Outcome::TargetGroup(arn));
            }
            Op::ModifyTargetGroup { arn, health_check } => {
                self.target_group(arn)?.health_check = health_check.clone()
            }
            Op::ModifyTargetGroupAttributes { arn, attributes } => {
                assert!(!attributes.is_empty());
                self.target_group(arn)?.attributes.as_mut().unwrap().extend(attributes.clone());
            }
            Op::DeleteTargetGroup { arn } => {
                self.target_group(arn)?;
                if !self.forwarding_to(arn).is_empty() {
                    return Err("ResourceInUse".to_owned());
                }
                self.target_groups.remove(arn);
            }
            Op::RegisterTargets { arn, targets } => {
                assert!(!targets.is_empty() && targets.len() <= 200);
                let known = self.target_group(arn)?.targets.as_mut().unwrap();
                known.extend(targets.iter().map(|target| (target.clone(), TargetState::Initial)));
            }
            Op::DeregisterTargets { arn, targets } => {
                assert!(!targets.is_empty() && targets.len() <= 200);
                let known = self.target_group(arn)?.targets.as_mut().unwrap();
                for target in targets {
                    *known.get_mut(target).ok_or("InvalidTarget")? = TargetState::Draining;
                }
            }
            Op::CreateListener { load_balancer, port, spec, tags } => {
                self.free_for(&spec.forward, load_balancer)?;
                let lb = self.balancer(load_balancer)?;
                let arn = load_balancer.as_str().replace(":loadbalancer/", ":listener/");
                let arn = ListenerArn::from(format!("{arn}/{serial:016x}"));
                let listener = Listener {
                    arn: arn.clone(),
                    port: *port,
                    protocol: spec.protocol,
                    forward: Some(spec.forward.clone()),
                    certificate: spec.certificate.clone(),
                    more_certificates: [].into(),
                    ssl_policy: spec.ssl_policy.clone(),
                    alpn: spec.alpn,
                    attributes: Some(Map::new()),
                    tags: tags.clone(),
                };
                if lb.listeners.as_mut().unwrap().insert(*port, listener).is_some() {
                    return Err("DuplicateListener".to_owned());
                }
                return Ok(Outcome::Listener(arn));
            }
            Op::ModifyListener { arn, spec, .. } => {
                let (lb, _) = self.listener_at(arn)?;
                self.free_for(&spec.forward, &lb)?;
                let listener = self.listener(arn)?;
                listener.protocol = spec.protocol;
                listener.forward = Some(spec.forward.clone());
                listener.certificate = spec.certificate.clone();
                listener.ssl_policy = spec.ssl_policy.clone();
                listener.alpn = spec.alpn;
            }
            Op::DeleteListener { arn } => {
                let (lb, port) = self.listener_at(arn)?;
                self.balancer(&lb)?.listeners.as_mut().unwrap().remove(&port);
            }
            Op::AddListenerCertificates { arn, certificates } => {
                self.listener(arn)?.more_certificates.extend(certificates.iter().cloned());
            }
            Op::RemoveListenerCertificates { arn, certificates } => {
                self.listener(arn)?.more_certificates.retain(|arn| !certificates.contains(arn));
            }
            Op::ModifyListenerAttributes { arn, attributes } => {
                let listener = self.listener(arn)?;
                if !listener.protocol.has_attributes() {
                    return Err("InvalidConfigurationRequest".to_owned());
                }
                listener.attributes.get_or_insert_default().extend(attributes.clone());
            }
            Op::AddTags { resource, tags } => self.tags(resource)?.extend(tags.clone()),
            Op::RemoveTags { resource, keys } => self.tags(resource)?.retain(|key, _| !keys.contains(key)),
        }
        Ok(Outcome::Done)
    }

    /// What a complete listing shows; details need calls of their own.
    pub(crate) fn listing(&self) -> Listing {
        let mut load_balancers: Vec<_> = self.load_balancers.values().cloned().collect();
        for lb in &mut load_balancers {
            (lb.attributes, lb.listeners, lb.capacity_units) = (None, None, None);
        }
        let mut target_groups: Vec<_> = self.target_groups.values().cloned().collect();
        for group in &mut target_groups {
            group.load_balancers = self.forwarding_to(&group.arn);
            (group.attributes, group.targets) = (None, None);
        }
        Listing {
            load_balancers,
            target_groups,
            security_groups: self.security_groups.values().cloned().collect(),
            subnets: self.subnets.clone(),
            vpc_blocks: self.vpc_blocks.clone(),
        }
    }

    /// Answers what a plan asked for.
    pub(crate) fn answer(&self, need: &Need, inventory: &mut Inventory) {
        match need {
            Need::LoadBalancer(arn) | Need::Capacity(arn) => {
                inventory.put_load_balancer(self.load_balancers[arn].clone());
            }
            Need::TargetGroup(arn) | Need::Targets(arn) => {
                let mut group = self.target_groups[arn].clone();
                group.load_balancers = self.forwarding_to(arn);
                inventory.put_target_group(group);
            }
            Need::RouteTables => {
                for mut subnet in self.subnets.clone() {
                    subnet.public = Some(self.route_tables.get(subnet.id.as_str()).copied().unwrap_or(false));
                    inventory.put_subnet(subnet);
                }
            }
        }
    }

    /// Answers what a plan asked for, as the shell does.
    pub(crate) fn details(&self, need: &Need) -> Option<Answer> {
        Some(match need {
            Need::LoadBalancer(arn) => {
                let lb = self.load_balancers.get(arn)?;
                Answer::LoadBalancer {
                    attributes: lb.attributes.clone().unwrap(),
                    listeners: lb.listeners.clone().unwrap(),
                }
            }
            Need::Capacity(arn) => {
                Answer::Capacity(self.load_balancers.get(arn)?.capacity_units.unwrap_or(0))
            }
            Need::TargetGroup(arn) => {
                Answer::TargetGroup(self.target_groups.get(arn)?.attributes.clone().unwrap())
            }
            Need::Targets(arn) => Answer::Targets(self.target_groups.get(arn)?.targets.clone().unwrap()),
            Need::RouteTables => {
                let explicit = &self.route_tables;
                let explicit = explicit.iter().map(|(id, public)| (id.as_str().into(), *public)).collect();
                Answer::RouteTables(RouteTables { explicit, main: false })
            }
        })
    }

    /// What is known after the recorded calls is what is there.
    pub(crate) fn assert_known(&self, inventory: &Inventory) {
        for (arn, real) in &self.load_balancers {
            let known = inventory.load_balancer(arn).unwrap_or_else(|| panic!("{arn} is not known"));
            let mut real = real.clone();
            real.attributes = known.attributes.as_ref().and(real.attributes);
            real.listeners = known.listeners.as_ref().and(real.listeners);
            real.capacity_units = known.capacity_units.and(real.capacity_units);
            assert_eq!(*known, real);
        }
        for (arn, real) in &self.target_groups {
            let known = inventory.target_group(arn).unwrap_or_else(|| panic!("{arn} is not known"));
            let mut real = real.clone();
            real.load_balancers = self.forwarding_to(arn);
            real.attributes = known.attributes.as_ref().and(real.attributes);
            real.targets = known.targets.as_ref().and(real.targets);
            assert_eq!(*known, real);
        }
        let known: BTreeMap<_, _> =
            inventory.security_groups().map(|group| (group.id.clone(), group.clone())).collect();
        assert_eq!(known, self.security_groups);
        assert_eq!(inventory.load_balancers().count(), self.load_balancers.len());
    }

    /// Time passes: load balancers are set up, targets pass their checks, drained ones are gone.
    pub(crate) fn settle(&mut self) {
        for lb in self.load_balancers.values_mut() {
            lb.state = LoadBalancerState::Active;
        }
        for group in self.target_groups.values_mut() {
            let targets = group.targets.as_mut().unwrap();
            targets.retain(|_, state| *state != TargetState::Draining);
            targets.values_mut().for_each(|state| *state = TargetState::Healthy);
        }
    }

    fn forwarding_to(&self, group: &TargetGroupArn) -> BTreeSet<LoadBalancerArn> {
        let forwards = |lb: &&LoadBalancer| {
            lb.listeners
                .as_ref()
                .unwrap()
                .values()
                .any(|listener| listener.forward.as_ref().is_some_and(|to| to.includes(group)))
        };
        self.load_balancers.values().filter(forwards).map(|lb| lb.arn.clone()).collect()
    }

    fn free_for(&self, forward: &Forward, lb: &LoadBalancerArn) -> Result<(), String> {
        for (group, weight) in forward.weights() {
            assert!(self.target_groups.contains_key(group), "{group} does not exist");
            assert!(weight <= 999);
            if self.forwarding_to(group).into_iter().any(|arn| arn != *lb) {
                return Err("TargetGroupAssociationLimit".to_owned());
            }
        }
        Ok(())
    }

    fn group(&mut self, id: &SecurityGroupId) -> Result<&mut SecurityGroup, String> {
        self.security_groups.get_mut(id).ok_or_else(|| format!("InvalidGroup.NotFound {id}"))
    }

    fn balancer(&mut self, arn: &LoadBalancerArn) -> Result<&mut LoadBalancer, String> {
        self.load_balancers.get_mut(arn).ok_or_else(|| format!("LoadBalancerNotFound {arn}"))
    }

    fn target_group(&mut self, arn: &TargetGroupArn) -> Result<&mut TargetGroup, String> {
        self.target_groups.get_mut(arn).ok_or_else(|| format!("TargetGroupNotFound {arn}"))
    }

    fn listener_at(&self, arn: &ListenerArn) -> Result<(LoadBalancerArn, u16), String> {
        for lb in self.load_balancers.values() {
            if let Some(listener) =
                lb.listeners.as_ref().unwrap().values().find(|listener| listener.arn == *arn)
            {
                return Ok((lb.arn.clone(), listener.port));
            }
        }
        Err(format!("ListenerNotFound {arn}"))
    }

    fn listener(&mut self, arn: &ListenerArn) -> Result<&mut Listener, String> {
        let (lb, port) = self.listener_at(arn)?;
        Ok(self.balancer(&lb)?.listeners.as_mut().unwrap().get_mut(&port).unwrap())
    }

    fn tags(&mut self, resource: &Resource) -> Result<&mut Map, String> {
        Ok(match resource {
            Resource::LoadBalancer(arn) => &mut self.balancer(arn)?.tags,
            Resource::TargetGroup(arn) => &mut self.target_group(arn)?.tags,
            Resource::Listener(arn) => &mut self.listener(arn)?.tags,
        })
    }
}
