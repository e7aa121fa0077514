//! Where a listener sends what it accepts, and which target groups it may send it to.

use super::{Asked, Elb};
use crate::{
    refusal::{Refusal, refuse},
    xml::Element,
};

/// A forward action: target groups with their weights, in the order of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Forward {
    groups: Vec<(String, u32)>,
    sticky: bool,
    order: Option<u32>,
}

impl Forward {
    /// Reads `DefaultActions`. API reference, `CreateListener`: a listener of a network load balancer has one action, of type
    /// forward, with `TargetGroupArn` or `ForwardConfig`.
    pub(super) fn of(asked: &Asked<'_>) -> Result<Self, Refusal> {
        let actions = asked.parameters.members("DefaultActions");
        let [action] = actions.as_slice() else {
            return refuse("ValidationError", "A listener of a network load balancer has one default action");
        };
        if action.need("Type")? != "forward" {
            return refuse("InvalidLoadBalancerAction", "A network load balancer only forwards");
        }
        let order = action.number("Order")?;
        let mut groups = Vec::new();
        for group in action.members("ForwardConfig.TargetGroups") {
            groups.push((group.need("TargetGroupArn")?.to_owned(), group.number("Weight")?.unwrap_or(1)));
        }
        match action.get("TargetGroupArn") {
            Some(arn) if groups.is_empty() => groups.push((arn.to_owned(), 1)),
            Some(arn) if groups.iter().all(|(group, _)| group == arn) => {}
            None if !groups.is_empty() => {}
            _ => {
                return refuse(
                    "ValidationError",
                    "TargetGroupArn and ForwardConfig must name one target group",
                );
            }
        }
        if let Some((_, weight)) = groups.iter().find(|(_, weight)| *weight > 999) {
            return refuse("ValidationError", format!("Weight '{weight}' must be between 0 and 999"));
        }
        let sticky = action.get("ForwardConfig.TargetGroupStickinessConfig.Enabled") == Some("true");
        Ok(Self { groups, sticky, order })
    }

    pub(super) fn arns(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(|(arn, _)| arn.as_str())
    }

    /// API reference, `DescribeListeners`: an action with one target group comes back with `TargetGroupArn` and
    /// `ForwardConfig`, whichever was sent. moto gives back what was sent (clouds.md §3.1).
    pub(super) fn element(&self) -> Element {
        let single = match self.groups.as_slice() {
            [(arn, _)] => Some(arn),
            _ => None,
        };
        let groups = self
            .groups
            .iter()
            .map(|(arn, weight)| Element::new("member").leaf("TargetGroupArn", arn).leaf("Weight", weight))
            .collect::<Vec<_>>();
        let config = Element::new("ForwardConfig")
            .list("TargetGroups", groups)
            .inside(Element::new("TargetGroupStickinessConfig").leaf("Enabled", self.sticky));
        Element::new("member")
            .leaf("Type", "forward")
            .leaf_if("Order", self.order)
            .leaf_if("TargetGroupArn", single)
            .inside(config)
    }
}

/// Whether a listener may forward to a group, by their protocols. Developer guide, "Target groups for your Network Load
/// Balancers": what a listener decrypts or passes on as TCP goes to TCP and TLS groups, datagrams to UDP groups, both together
/// to `TCP_UDP` groups.
fn compatible(listener: &str, group: &str) -> bool {
    match listener {
        "TCP" | "TLS" => matches!(group, "TCP" | "TLS"),
        other => other == group,
    }
}

impl Elb {
    /// API reference, `CreateListener` and `ModifyListener`: `TargetGroupNotFound`, `IncompatibleProtocols`, and
    /// `TargetGroupAssociationLimit`, because a group belongs to one network load balancer. moto accepts all but the first.
    pub(super) fn check_forward(
        &self,
        forward: &Forward,
        protocol: &str,
        balancer: &str,
    ) -> Result<(), Refusal> {
        for arn in forward.arns() {
            let Some(group) = self.groups.get(arn) else { return super::group_not_found() };
            let theirs = &group.settings.protocol;
            if !compatible(protocol, theirs) {
                return refuse(
                    "IncompatibleProtocols",
                    format!(
                        "The listener protocol '{protocol}' and the protocol '{theirs}' of '{arn}' do not fit"
                    ),
                );
            }
            if self.balancers_of(arn).iter().any(|other| *other != balancer) {
                return refuse(
                    "TargetGroupAssociationLimit",
                    format!("The target group '{arn}' is already associated with another load balancer"),
                );
            }
        }
        Ok(())
    }
}
