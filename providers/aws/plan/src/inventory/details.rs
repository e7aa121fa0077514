//! What is asked about single objects, between complete listings.

use super::{Inventory, ListingStart};
use crate::{Answer, LoadBalancer, LoadBalancerArn, LoadBalancerState, Need, Op};

impl Inventory {
    /// Whether an object, by ARN or id, was recorded, described or removed since `start`. Remembered for two listings.
    pub(crate) fn changed_since(&self, id: &str, start: ListingStart) -> bool {
        self.touched.get(id).is_some_and(|at| start.is_before(*at))
    }

    /// Whether there is a load balancer or target group with this ARN.
    pub(crate) fn knows(&self, arn: &str) -> bool {
        self.load_balancer(&arn.into()).is_some() || self.target_group(&arn.into()).is_some()
    }

    /// Takes what deeper describes said. One of an object that is gone says nothing.
    pub(crate) fn put_details(&mut self, need: &Need, answer: Answer) {
        match (need, answer) {
            (Need::LoadBalancer(arn), Answer::LoadBalancer { attributes, listeners }) => {
                if let Some(lb) = self.load_balancer_mut(arn) {
                    (lb.attributes, lb.listeners) = (Some(attributes), Some(listeners));
                }
            }
            (Need::Capacity(arn), Answer::Capacity(units)) => {
                if let Some(lb) = self.load_balancer_mut(arn) {
                    lb.capacity_units = Some(units);
                }
            }
            (Need::TargetGroup(arn), Answer::TargetGroup(attributes)) => {
                if let Some(group) = self.target_group_mut(arn) {
                    group.attributes = Some(attributes);
                }
            }
            (Need::Targets(arn), Answer::Targets(targets)) => {
                if let Some(group) = self.target_group_mut(arn) {
                    group.targets = Some(targets);
                }
            }
            (Need::RouteTables, Answer::RouteTables(tables)) => {
                for (id, subnet) in &mut self.subnets {
                    subnet.public = Some(tables.explicit.get(id).copied().unwrap_or(tables.main));
                }
            }
            // The shell answers what it was asked.
            (
                Need::LoadBalancer(_)
                | Need::Capacity(_)
                | Need::TargetGroup(_)
                | Need::Targets(_)
                | Need::RouteTables,
                _,
            ) => {}
        }
    }

    /// Forgets what deeper describes said of the object of a call that AWS did not understand: something else changed it.
    pub(crate) fn doubt(&mut self, op: &Op) {
        match op {
            Op::RegisterTargets { arn, .. } | Op::DeregisterTargets { arn, .. } => {
                if let Some(group) = self.target_group_mut(arn) {
                    group.targets = None;
                }
            }
            Op::CreateListener { load_balancer: arn, .. }
            | Op::SetSubnets { arn, .. }
            | Op::SetSecurityGroups { arn, .. }
            | Op::SetIpAddressType { arn, .. }
            | Op::ModifyLoadBalancerAttributes { arn, .. }
            | Op::ModifyCapacityReservation { arn, .. }
            | Op::DeleteLoadBalancer { arn } => doubt_load_balancer(self.load_balancer_mut(arn)),
            Op::ModifyListener { arn, .. }
            | Op::DeleteListener { arn }
            | Op::AddListenerCertificates { arn, .. }
            | Op::RemoveListenerCertificates { arn, .. }
            | Op::ModifyListenerAttributes { arn, .. } => doubt_load_balancer(self.load_balancer_of(arn)),
            Op::ModifyTargetGroup { arn, .. } | Op::ModifyTargetGroupAttributes { arn, .. } => {
                if let Some(group) = self.target_group_mut(arn) {
                    group.attributes = None;
                }
            }
            // What these name is listed.
            Op::CreateSecurityGroup { .. }
            | Op::AuthorizeIngress { .. }
            | Op::RevokeIngress { .. }
            | Op::DeleteSecurityGroup { .. }
            | Op::TagSecurityGroup { .. }
            | Op::UntagSecurityGroup { .. }
            | Op::CreateLoadBalancer(_)
            | Op::CreateTargetGroup(_)
            | Op::DeleteTargetGroup { .. }
            | Op::AddTags { .. }
            | Op::RemoveTags { .. } => {}
        }
    }

    pub(crate) fn put_state(
        &mut self,
        arn: &LoadBalancerArn,
        state: LoadBalancerState,
        reason: Option<&str>,
    ) {
        if let Some(lb) = self.load_balancer_mut(arn) {
            (lb.state, lb.state_reason) = (state, reason.map(str::to_owned));
        }
    }
}

fn doubt_load_balancer(lb: Option<&mut LoadBalancer>) {
    if let Some(lb) = lb {
        (lb.attributes, lb.listeners, lb.capacity_units) = (None, None, None);
    }
}
