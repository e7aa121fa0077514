//! How a call that succeeded changes the [`Inventory`], so that no describe is needed after it.

use std::collections::BTreeMap;

use crate::{
    Forward, Inventory, Listener, ListenerArn, LoadBalancer, LoadBalancerArn, LoadBalancerState, Map, Op,
    Resource, SecurityGroup, SecurityGroupId, TargetGroup, TargetGroupArn, TargetState, tags,
};

/// What a successful call answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing that matters.
    Done,
    /// Of [`Op::CreateLoadBalancer`].
    LoadBalancer {
        /// `LoadBalancerArn`.
        arn: LoadBalancerArn,
        /// `DNSName`.
        dns_name: String,
        /// `State.Code`.
        state: LoadBalancerState,
    },
    /// Of [`Op::CreateTargetGroup`].
    TargetGroup(TargetGroupArn),
    /// Of [`Op::CreateListener`].
    Listener(ListenerArn),
    /// Of [`Op::CreateSecurityGroup`].
    SecurityGroup(SecurityGroupId),
}

impl Inventory {
    /// Notes that `op` succeeded with `outcome`. An outcome that does not belong to the operation changes nothing, as does an
    /// operation on an object that is not known (the next listing tells).
    pub fn record(&mut self, op: &Op, outcome: &Outcome) {
        match op {
            Op::CreateSecurityGroup { name, tags, .. } => {
                if let Outcome::SecurityGroup(id) = outcome {
                    let (id, name, tags) = (id.clone(), name.clone(), tags.clone());
                    self.put_security_group(SecurityGroup { id, name, tags, ingress: [].into() });
                }
            }
            Op::AuthorizeIngress { group, permissions } => self.change_group(group, |group| {
                group.ingress.extend(permissions.iter().cloned());
            }),
            Op::RevokeIngress { group, permissions } => self.change_group(group, |group| {
                group.ingress.retain(|permission| !permissions.contains(permission));
            }),
            Op::DeleteSecurityGroup { group } => self.remove_security_group(group),
            Op::TagSecurityGroup { group, tags } => {
                self.change_group(group, |group| group.tags.extend(tags.clone()));
            }
            Op::UntagSecurityGroup { group, keys } => {
                self.change_group(group, |group| group.tags.retain(|key, _| !keys.contains(key)));
            }
            Op::CreateLoadBalancer(create) => {
                if let Outcome::LoadBalancer { arn, dns_name, state } = outcome {
                    self.put_load_balancer(LoadBalancer {
                        arn: arn.clone(),
                        name: create.name.clone(),
                        dns_name: dns_name.clone(),
                        scheme: create.scheme,
                        address_type: create.address_type,
                        state: *state,
                        state_reason: None,
                        subnets: create.subnets.clone(),
                        security_groups: create.security_groups.clone(),
                        private_link_rules: None,
                        source_nat: Some(create.source_nat),
                        tags: create.tags.clone(),
                        attributes: Some(Map::new()),
                        listeners: Some(BTreeMap::new()),
                        capacity_units: Some(0),
                    });
                }
            }
            Op::SetSubnets { arn, subnets, source_nat } => self.change_load_balancer(arn, |lb| {
                (lb.subnets, lb.source_nat) = (subnets.clone(), source_nat.or(lb.source_nat));
            }),
            Op::SetSecurityGroups { arn, groups, private_link_rules } => {
                self.change_load_balancer(arn, |lb| {
                    lb.security_groups = groups.clone();
                    lb.private_link_rules = private_link_rules.clone().or(lb.private_link_rules.take());
                });
            }
            Op::SetIpAddressType { arn, address_type } => {
                self.change_load_balancer(arn, |lb| lb.address_type = *address_type);
            }
            Op::ModifyLoadBalancerAttributes { arn, attributes } => {
                self.change_load_balancer(arn, |lb| extend(&mut lb.attributes, attributes));
            }
            Op::ModifyCapacityReservation { arn, units } => {
                self.change_load_balancer(arn, |lb| lb.capacity_units = Some(*units));
            }
            Op::DeleteLoadBalancer { arn } => {
                for group in self.forwarded(arn) {
                    self.change_target_group(&group, |group| leave(group, arn));
                }
                self.remove_load_balancer(arn);
            }
            Op::CreateTargetGroup(create) => {
                if let Outcome::TargetGroup(arn) = outcome {
                    self.put_target_group(TargetGroup {
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
                    });
                }
            }
            Op::ModifyTargetGroup { arn, health_check } => {
                self.change_target_group(arn, |group| group.health_check = health_check.clone());
            }
            Op::ModifyTargetGroupAttributes { arn, attributes } => {
                self.change_target_group(arn, |group| extend(&mut group.attributes, attributes));
            }
            Op::DeleteTargetGroup { arn } => self.remove_target_group(arn),
            Op::RegisterTargets { arn, targets } => {
                self.change_target_group(arn, |group| {
                    if let Some(known) = &mut group.targets {
                        for target in targets {
                            // One that drains may have been in another zone.
                            known.remove(target);
                            known.insert(target.clone(), TargetState::Initial);
                        }
                    }
                });
            }
            Op::DeregisterTargets { arn, targets } => self.change_target_group(arn, |group| {
                for target in targets {
                    if let Some(state) = group.targets.as_mut().and_then(|known| known.get_mut(target)) {
                        *state = TargetState::Draining;
                    }
                }
            }),
            Op::CreateListener { load_balancer, port, spec, tags } => {
                if let Outcome::Listener(arn) = outcome {
                    for (group, _) in spec.forward.weights() {
                        self.change_target_group(group, |group| {
                            group.load_balancers.insert(load_balancer.clone());
                        });
                    }
                    self.change_load_balancer(load_balancer, |lb| {
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
                        if let Some(listeners) = &mut lb.listeners {
                            listeners.insert(*port, listener);
                        }
                    });
                }
            }
            Op::ModifyListener { arn, spec, .. } => {
                let before = self.forwarded_from(arn);
                self.change_listener(arn, |listener| {
                    listener.protocol = spec.protocol;
                    listener.forward = Some(spec.forward.clone());
                    listener.certificate.clone_from(&spec.certificate);
                    listener.ssl_policy.clone_from(&spec.ssl_policy);
                    listener.alpn = spec.alpn;
                });
                self.relink(before);
            }
            Op::DeleteListener { arn } => {
                let before = self.forwarded_from(arn);
                if let Some(lb) = self.load_balancer_of(arn)
                    && let Some(listeners) = lb.listeners.as_mut()
                {
                    listeners.retain(|_, listener| listener.arn != *arn);
                }
                self.relink(before);
            }
            Op::AddListenerCertificates { arn, certificates } => self.change_listener(arn, |listener| {
                listener.more_certificates.extend(certificates.iter().cloned());
            }),
            Op::RemoveListenerCertificates { arn, certificates } => {
                self.change_listener(arn, |listener| {
                    listener.more_certificates.retain(|arn| !certificates.contains(arn));
                });
            }
            Op::ModifyListenerAttributes { arn, attributes } => {
                self.change_listener(arn, |listener| {
                    listener.attributes.get_or_insert_default().extend(attributes.clone());
                });
            }
            Op::AddTags { resource, tags } => {
                self.change_tags(resource, |known| known.extend(tags.clone()));
            }
            Op::RemoveTags { resource, keys } => {
                self.change_tags(resource, |known| known.retain(|key, _| !keys.contains(key)));
            }
        }
    }

    fn change_group(&mut self, id: &SecurityGroupId, change: impl FnOnce(&mut SecurityGroup)) {
        if let Some(mut group) = self.security_group(id).cloned() {
            change(&mut group);
            self.put_security_group(group);
        }
    }

    fn change_load_balancer(&mut self, arn: &LoadBalancerArn, change: impl FnOnce(&mut LoadBalancer)) {
        if let Some(load_balancer) = self.load_balancer_mut(arn) {
            change(load_balancer);
        }
    }

    fn change_target_group(&mut self, arn: &TargetGroupArn, change: impl FnOnce(&mut TargetGroup)) {
        if let Some(group) = self.target_group_mut(arn) {
            change(group);
        }
    }

    fn change_listener(&mut self, arn: &ListenerArn, change: impl FnOnce(&mut Listener)) {
        let listeners = self.load_balancer_of(arn).and_then(|lb| lb.listeners.as_mut());
        let found = listeners.and_then(|known| known.values_mut().find(|listener| listener.arn == *arn));
        if let Some(listener) = found {
            change(listener);
        }
    }

    /// Target groups that the load balancer's known listeners, or its stack's listing, say it forwards to.
    fn forwarded(&self, arn: &LoadBalancerArn) -> Vec<TargetGroupArn> {
        let Some(lb) = self.load_balancer(arn) else { return Vec::new() };
        let mut groups = forwards(lb);
        if let Some(stack) = lb.tags.get(tags::STACK) {
            groups.extend(
                self.target_groups_tagged(stack)
                    .filter(|group| group.load_balancers.contains(arn))
                    .map(|group| group.arn.clone()),
            );
        }
        groups
    }

    fn forwarded_from(&mut self, listener: &ListenerArn) -> Option<(LoadBalancerArn, Vec<TargetGroupArn>)> {
        let arn = self.load_balancer_of(listener)?.arn.clone();
        let groups = self.forwarded(&arn);
        Some((arn, groups))
    }

    /// Sets anew which target groups a load balancer forwards to, after one of its listeners changed.
    fn relink(&mut self, before: Option<(LoadBalancerArn, Vec<TargetGroupArn>)>) {
        let Some((arn, before)) = before else { return };
        let now = self.load_balancer(&arn).map(forwards).unwrap_or_default();
        for group in before.iter().filter(|group| !now.contains(group)) {
            self.change_target_group(group, |group| leave(group, &arn));
        }
        for group in &now {
            self.change_target_group(group, |group| _ = group.load_balancers.insert(arn.clone()));
        }
    }

    /// Tags are what objects are found by, so the object is taken out and put back.
    fn change_tags(&mut self, resource: &Resource, change: impl FnOnce(&mut Map)) {
        match resource {
            Resource::LoadBalancer(arn) => {
                if let Some(mut load_balancer) = self.load_balancer(arn).cloned() {
                    change(&mut load_balancer.tags);
                    self.put_load_balancer(load_balancer);
                }
            }
            Resource::TargetGroup(arn) => {
                if let Some(mut group) = self.target_group(arn).cloned() {
                    change(&mut group.tags);
                    self.put_target_group(group);
                }
            }
            Resource::Listener(arn) => self.change_listener(arn, |listener| change(&mut listener.tags)),
        }
    }
}

/// A load balancer no longer forwards to a group. If other clusters may have targets in it, what they have by now decides whether it
/// goes too.
fn leave(group: &mut TargetGroup, load_balancer: &LoadBalancerArn) {
    group.load_balancers.remove(load_balancer);
    if tags::is_shared(&group.tags) {
        group.targets = None;
    }
}

/// Target groups of the listeners that are known.
fn forwards(lb: &LoadBalancer) -> Vec<TargetGroupArn> {
    let listeners = lb.listeners.iter().flat_map(BTreeMap::values);
    let forwards = listeners.filter_map(|listener| listener.forward.as_ref());
    forwards.flat_map(Forward::weights).map(|(group, _)| group.clone()).collect()
}

fn extend(known: &mut Option<Map>, with: &Map) {
    if let Some(known) = known {
        known.extend(with.clone());
    }
}
