//! Which targets this cluster registered, in target groups in which other clusters register theirs too. AWS does not tell them
//! apart, so the Service remembers: its own are written down before they are registered, and stay until they are deregistered.
//!
//! A node's instance and a pod's address belong to one cluster, so what is there now needs no memory. It is for what went
//! while nobody looked.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, SocketAddr},
};

use crate::{
    InstanceId, Inventory, Node, Request, Service, Settings, Sources, Target, TargetGroup, TargetId,
    TargetSet, TargetState, tags,
};

/// The annotation of a Service with the targets that this cluster registered. Ours.
pub const REGISTERED: &str = "landfall.dev/aws-registered-targets";

/// Targets that this cluster registered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger(BTreeSet<(TargetId, u16)>);

impl Ledger {
    /// What a Service remembers. An entry that cannot be read is none.
    #[must_use]
    pub fn of(service: &Service) -> Self {
        let text = service.annotations.get(REGISTERED).map_or("", String::as_str);
        Self(text.split(',').filter_map(entry).collect())
    }

    /// Whether it names a target.
    #[must_use]
    pub fn holds(&self, target: &Target) -> bool {
        self.0.contains(&(target.id.clone(), target.port))
    }

    fn add(&mut self, target: &Target) {
        self.0.insert((target.id.clone(), target.port));
    }

    /// The value of the annotation; none where there is nothing to remember.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.to_string())
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (id, port)) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            match id {
                TargetId::Instance(id) => write!(f, "{comma}{id}:{port}")?,
                TargetId::Ip(address) => write!(f, "{comma}{}", SocketAddr::new(*address, *port))?,
            }
        }
        Ok(())
    }
}

fn entry(text: &str) -> Option<(TargetId, u16)> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some((TargetId::Ip(address.ip()), address.port()));
    }
    let (id, port) = text.split_once(':')?;
    id.starts_with("i-").then_some((TargetId::Instance(id.into()), port.parse().ok()?))
}

/// Which targets of a group are ours, where other clusters may have theirs in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// What the Service remembers.
    pub ledger: Ledger,
    /// Instances of this cluster's nodes.
    instances: BTreeSet<InstanceId>,
    /// Addresses of the pods of the Service, and of those that its actions name.
    addresses: BTreeSet<IpAddr>,
}

impl Own {
    /// What is this cluster's by its own objects, and what the Service remembers.
    #[must_use]
    pub fn of(service: &Service, sources: Sources<'_>) -> Self {
        Self {
            ledger: Ledger::of(service),
            instances: sources.nodes.values().filter_map(Node::instance).collect(),
            addresses: sources.all_endpoints().map(|pod| pod.address).collect(),
        }
    }

    /// Whether a target is ours, so that it may be deregistered. Where a target of ours is, no other cluster has any, whatever
    /// the port.
    #[must_use]
    pub fn holds(&self, target: &Target) -> bool {
        self.ledger.holds(target)
            || match &target.id {
                TargetId::Instance(id) => self.instances.contains(id),
                TargetId::Ip(address) => self.addresses.contains(address),
            }
    }
}

/// What the Service has to remember: what shall be registered or leaves slowly, what is in a group that was its own so far,
/// and what it remembered before as long as it may be in a group. Nothing where its groups are its own.
#[must_use]
pub fn ledger(
    service: &Service,
    request: &Request,
    targets: &BTreeMap<String, TargetSet>,
    settings: &Settings,
    inventory: &Inventory,
) -> Ledger {
    let mut ledger = Ledger::default();
    if !request.shared_target_groups {
        return ledger;
    }
    for target in targets.values().flat_map(|set| set.wanted.iter().chain(&set.lingering)) {
        ledger.add(target);
    }
    let before = Ledger::of(service);
    let stack = service.key.to_string();
    let groups: Vec<&TargetGroup> = inventory.stack_target_groups(&settings.cluster, &stack).collect();
    if groups.iter().any(|group| group.targets.is_none()) {
        ledger.0.extend(before.0);
    } else {
        let there = groups.iter().flat_map(|group| registered(group).map(move |target| (group, target)));
        there
            .filter(|(group, target)| !tags::is_shared(&group.tags) || before.holds(target))
            .for_each(|(_, target)| ledger.add(target));
    }
    ledger
}

/// Targets of a group that are known and do not leave it.
pub(crate) fn registered(group: &TargetGroup) -> impl Iterator<Item = &Target> {
    let targets = group.targets.iter().flatten();
    targets.filter(|(_, state)| **state != TargetState::Draining).map(|(target, _)| target)
}
