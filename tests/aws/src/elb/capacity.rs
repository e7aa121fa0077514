//! Reserved capacity of load balancers, which moto answers with a constant (clouds.md §3.1).

use super::{Asked, Elb, balancer_not_found, balancers::Balancer};
use crate::{
    refusal::{Refusal, refuse},
    xml::Element,
};

impl Elb {
    /// API reference, `DescribeCapacityReservation`: what is reserved, and how far each zone is.
    pub(super) fn describe_capacity(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        match self.balancers.get(asked.need("LoadBalancerArn")?) {
            Some(balancer) => Ok(result(balancer, "provisioned")),
            None => balancer_not_found(),
        }
    }

    /// API reference, `ModifyCapacityReservation`: sets or resets it. The answer says `pending`, the next read `provisioned`.
    pub(super) fn modify_capacity(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let reset = asked.get("ResetCapacityReservation") == Some("true");
        let units = asked.parameters.number("MinimumLoadBalancerCapacity.CapacityUnits")?;
        if reset == units.is_some() {
            return refuse("ValidationError", "Specify either a minimum capacity or its reset");
        }
        let Some(balancer) = self.balancers.get_mut(asked.need("LoadBalancerArn")?) else {
            return balancer_not_found();
        };
        balancer.capacity = units;
        Ok(result(balancer, "pending"))
    }
}

fn result(balancer: &Balancer, state: &str) -> Element {
    let Some(units) = balancer.capacity else {
        return Element::new("Result").leaf("DecreaseRequestsRemaining", 2);
    };
    let zone = |zone| {
        Element::new("member")
            .leaf("AvailabilityZone", zone)
            .leaf("EffectiveCapacityUnits", units)
            .inside(Element::new("State").leaf("Code", state))
    };
    Element::new("Result")
        .leaf("DecreaseRequestsRemaining", 2)
        .inside(Element::new("MinimumLoadBalancerCapacity").leaf("CapacityUnits", units))
        .list("CapacityReservationState", balancer.zone_names().map(zone))
}
