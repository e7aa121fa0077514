//! What a Service asks for and does not get, although it serves: AWS does not know it, or cannot change it on a live load balancer.

use thiserror::Error;

use crate::{FrontendGroups, Inventory, LoadBalancerArn, Request, Settings, Stack, SubnetId, names};

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
    /// Its name is another one.
    #[error(
        "load balancer {0} is not named {1}, and AWS cannot change a name: make the Service anew, or take annotation \
         aws-load-balancer-name back"
    )]
    OtherName(LoadBalancerArn, String),
    /// Listeners of this protocol have no attributes.
    #[error(
        "annotation aws-load-balancer-listener-attributes.{0}-{1} is not used: only TCP and TCP_UDP listeners have attributes; take \
         it back"
    )]
    ListenerAttributes(&'static str, u16),
}

impl Notice {
    /// The reason word; a closed set.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::WithoutSecurityGroups(_) => "LegacyNoSecurityGroups",
            Self::OtherAddresses(..) => "OtherAddresses",
            Self::OtherName(..) => "OtherName",
            Self::ListenerAttributes(..) => "ListenerAttributes",
        }
    }
}

/// The notices of a Service. A load balancer that is adopted is as its owner wants it.
#[must_use]
pub fn notices(stack: &Stack, request: &Request, settings: &Settings, inventory: &Inventory) -> Vec<Notice> {
    let listeners = stack.listeners.iter().filter(|(_, listener)| !listener.protocol.has_attributes());
    let keys = listeners.map(|(port, listener)| (listener.protocol.as_str(), *port));
    let unused = keys.filter(|(protocol, port)| {
        request.listener_attributes.contains_key(&((*protocol).to_owned(), *port))
    });
    let mut notices: Vec<Notice> =
        unused.map(|(protocol, port)| Notice::ListenerAttributes(protocol, port)).collect();
    let wanted = &stack.load_balancer;
    let name = stack.key.to_string();
    let mut own = inventory.stack_load_balancers(&settings.cluster, &name);
    let Some(live) = own.find(|lb| lb.scheme == wanted.scheme && wanted.adopted.is_none()) else {
        return notices;
    };
    let meant = request.without_security_groups || !settings.security_groups;
    if wanted.groups == FrontendGroups::None && !meant {
        notices.push(Notice::WithoutSecurityGroups(live.arn.clone()));
    }
    let named = |name: &String| live.name == *name || live.name == names::successor(name);
    if let Some(name) = request.name.as_ref().filter(|name| !named(name)) {
        notices.push(Notice::OtherName(live.arn.clone(), name.clone()));
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
