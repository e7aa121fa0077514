//! What is asked about single objects, between complete listings.

use super::{Inventory, ListingStart};
use crate::{Answer, LoadBalancerArn, LoadBalancerState, Need};

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
