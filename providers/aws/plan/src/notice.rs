//! What a Service asks for and does not get, although it serves: AWS cannot change it on a live load balancer.

use thiserror::Error;

use crate::{FrontendGroups, Inventory, LoadBalancerArn, Request, Settings, Stack, SubnetId};

/// One such thing, with its consequence and the way out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum Notice {
    /// It was made without security groups.
    #[error(
        "load balancer {0} was made without security groups, and AWS cannot add any: source ranges are enforced on the nodes' \
         groups instead. Make the Service anew to change that"
    )]
    WithoutSecurityGroups(LoadBalancerArn),
    /// Its fixed addresses in a subnet are others.
    #[error(
        "load balancer {0} has other addresses in subnet {1} than the annotations ask for, and AWS cannot change them: make the \
         Service anew, or take the annotation back"
    )]
    OtherAddresses(LoadBalancerArn, SubnetId),
}

impl Notice {
    /// The reason word; a closed set.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::WithoutSecurityGroups(_) => "LegacyNoSecurityGroups",
            Self::OtherAddresses(..) => "OtherAddresses",
        }
    }
}

/// The notices of a Service whose load balancer is live. An adopted one is as its owner wants it.
#[must_use]
pub fn notices(stack: &Stack, request: &Request, settings: &Settings, inventory: &Inventory) -> Vec<Notice> {
    let wanted = &stack.load_balancer;
    let name = stack.key.to_string();
    let mut own = inventory.stack_load_balancers(&settings.cluster, &name);
    let Some(live) = own.find(|lb| lb.scheme == wanted.scheme && wanted.adopted.is_none()) else {
        return Vec::new();
    };
    let mut notices = Vec::new();
    let meant = request.without_security_groups || !settings.security_groups;
    if wanted.groups == FrontendGroups::None && !meant {
        notices.push(Notice::WithoutSecurityGroups(live.arn.clone()));
    }
    for mapping in &wanted.subnets {
        let Some(have) = live.subnets.iter().find(|have| have.subnet == mapping.subnet) else { continue };
        let other = (mapping.allocation.is_some() && mapping.allocation != have.allocation)
            || (mapping.private_ipv4.is_some() && mapping.private_ipv4 != have.private_ipv4)
            || (mapping.ipv6.is_some() && mapping.ipv6 != have.ipv6);
        if other {
            notices.push(Notice::OtherAddresses(live.arn.clone(), mapping.subnet.clone()));
        }
    }
    notices
}
