//! What goes: stale load balancers of a live stack, and the whole of a released one.

use landfall_model::ServiceKey;

use super::{
    Pass,
    target_groups::{self, detach},
};
use crate::{
    Inventory, LoadBalancer, LoadBalancerArn, Map, Need, Op, Own, Plan, Problem, Request, Settings, Waiting,
    tags,
};

const PROTECTION: &str = "deletion_protection.enabled";

impl Pass<'_> {
    pub(super) fn delete_others(&mut self) {
        for lb in std::mem::take(&mut self.others) {
            delete_load_balancer(lb, &mut self.ready, &mut |waiting| _ = self.waiting.insert(waiting));
            self.waiting.insert(Waiting::Earlier);
        }
    }
}

/// Protection that was set outside is lifted first.
fn delete_load_balancer(lb: &LoadBalancer, ready: &mut Vec<Op>, wait: &mut dyn FnMut(Waiting)) {
    let Some(attributes) = &lb.attributes else {
        wait(Waiting::Need(Need::LoadBalancer(lb.arn.clone())));
        return;
    };
    if attributes.get(PROTECTION).is_some_and(|value| value == "true") {
        let attributes = Map::from([(PROTECTION.to_owned(), "false".to_owned())]);
        ready.push(Op::ModifyLoadBalancerAttributes { arn: lb.arn.clone(), attributes });
    }
    ready.push(Op::DeleteLoadBalancer { arn: lb.arn.clone() });
}

/// What to do so that nothing of a Service is left: load balancers (their listeners go with them), then target groups, then
/// groups. The finalizer may be removed when the plan [is done](Plan::is_done). An adopted load balancer loses our listeners
/// only, and a target group in which other clusters have targets only those that are ours by `own`.
///
/// # Errors
///
/// [`Problem::DeletionProtection`] where the Service itself asks for protection; `request` is what it last asked for, if that
/// can be read.
pub fn release(
    key: &ServiceKey,
    request: Option<&Request>,
    own: &Own,
    settings: &Settings,
    inventory: &Inventory,
) -> Result<Plan<Op>, Problem> {
    let mut plan = Plan::nothing();
    if !inventory.listed() {
        plan.waiting.push(Waiting::Inventory);
        return Ok(plan);
    }
    let name = key.to_string();
    let balancers: Vec<&LoadBalancer> = inventory.stack_load_balancers(&settings.cluster, &name).collect();
    let protected = request
        .is_some_and(|request| request.attributes.get(PROTECTION).is_some_and(|value| value == "true"));
    if let Some(lb) = balancers.first().filter(|_| protected) {
        return Err(Problem::DeletionProtection { name: lb.name.clone() });
    }
    for lb in &balancers {
        delete_load_balancer(lb, &mut plan.ready, &mut |waiting| plan.waiting.push(waiting));
    }
    let going: Vec<&LoadBalancerArn> = balancers.iter().map(|lb| &lb.arn).collect();
    for group in inventory.stack_target_groups(&settings.cluster, &name) {
        if !inventory.in_use(group) {
            target_groups::delete(group, Some(own), &mut plan.ready, &mut |waiting| {
                plan.waiting.push(waiting);
            });
        } else {
            plan.waiting.push(Waiting::Earlier);
        }
        let foreign = |lb: &LoadBalancer| !going.contains(&&lb.arn);
        detach(group, inventory, foreign, &mut plan.ready, &mut |waiting| plan.waiting.push(waiting));
    }
    for group in inventory.stack_security_groups(&settings.cluster, &name) {
        let managed =
            group.tags.get(tags::RESOURCE).is_some_and(|resource| resource == super::group::RESOURCE);
        if !managed {
            continue;
        }
        if balancers.iter().any(|lb| lb.security_groups.contains(&group.id)) {
            plan.waiting.push(Waiting::GroupInUse(group.id.clone()));
        } else {
            plan.ready.push(Op::DeleteSecurityGroup { group: group.id.clone() });
        }
    }
    plan.waiting.sort();
    plan.waiting.dedup();
    Ok(plan)
}
