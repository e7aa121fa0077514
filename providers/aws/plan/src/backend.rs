//! Rules on the groups of nodes and pods, for all Services together: one range for each group, protocol and source, so that
//! the limit of 60 rules is never near. The shared back-end group is made and deleted here, and nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use landfall_model::ServiceKey;

use crate::{
    Inventory, IpPermission, ListenerProtocol, Map, Op, Plan, SecurityGroupId, Settings, Source, Stack,
    TargetSet, Waiting, names, resolve::backend_group, tags,
};

/// The description of rules that are ours; the same as the AWS Load Balancer Controller's.
pub const DESCRIPTION: &str = "elbv2.k8s.aws/targetGroupBinding=shared";

/// One opening that one Service needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Opening {
    group: SecurityGroupId,
    protocol: &'static str,
    source: From,
}

/// Where traffic comes from; the shared group's id is filled in when it exists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum From {
    Shared,
    Group(SecurityGroupId),
    Block(IpNet),
}

/// What all Services need of the groups of nodes and pods. Setting one Service costs that Service's openings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Openings {
    by_service: BTreeMap<ServiceKey, BTreeSet<(Opening, u16)>>,
    /// How many Services need each port of each opening.
    ports: BTreeMap<Opening, BTreeMap<u16, usize>>,
    shared_users: BTreeSet<ServiceKey>,
}

impl Openings {
    /// Sets what a Service needs: the ports of its targets and health checks, on the groups of the interfaces that its
    /// targets use (see [`interface_group`]), from its sources.
    ///
    /// `front` is its front-end group, the source where there is no shared group. Whether anything is different from before.
    pub fn set(
        &mut self,
        stack: &Stack,
        targets: &BTreeMap<String, TargetSet>,
        on: &BTreeSet<SecurityGroupId>,
        front: Option<&SecurityGroupId>,
    ) -> bool {
        let needed = needed(stack, targets, on, front);
        let shared = stack.backend.from_backend_group;
        if self.by_service.get(&stack.key) == Some(&needed)
            && self.shared_users.contains(&stack.key) == shared
        {
            return false;
        }
        self.remove(&stack.key);
        if shared {
            self.shared_users.insert(stack.key.clone());
        }
        for (opening, port) in &needed {
            *self.ports.entry(opening.clone()).or_default().entry(*port).or_default() += 1;
        }
        self.by_service.insert(stack.key.clone(), needed);
        true
    }

    /// Forgets a Service.
    pub fn remove(&mut self, key: &ServiceKey) {
        self.shared_users.remove(key);
        for (opening, port) in self.by_service.remove(key).unwrap_or_default() {
            let Some(ports) = self.ports.get_mut(&opening) else { continue };
            if let Some(users) = ports.get_mut(&port) {
                *users -= 1;
                if *users == 0 {
                    ports.remove(&port);
                }
            }
            if ports.is_empty() {
                self.ports.remove(&opening);
            }
        }
    }

    /// Whether a Service needs a rule on a group.
    pub(crate) fn need(&self, key: &ServiceKey, group: &SecurityGroupId) -> bool {
        self.by_service.get(key).into_iter().flatten().any(|(opening, _)| opening.group == *group)
    }

    /// The wanted rules by group, or `None` while the shared group has no id.
    fn rules(
        &self,
        shared: Option<&SecurityGroupId>,
        settings: &Settings,
    ) -> Option<BTreeMap<&SecurityGroupId, BTreeSet<IpPermission>>> {
        let mut rules: BTreeMap<&SecurityGroupId, BTreeSet<IpPermission>> = BTreeMap::new();
        for (opening, ports) in &self.ports {
            let range = match (ports.first_key_value(), ports.last_key_value()) {
                _ if settings.unrestricted_backend_rules => (0, 65535),
                (Some((first, _)), Some((last, _))) => (i32::from(*first), i32::from(*last)),
                _ => continue,
            };
            let source = match &opening.source {
                From::Shared => Source::Group(shared?.clone()),
                From::Group(id) => Source::Group(id.clone()),
                From::Block(block) => Source::Block(*block),
            };
            let protocol = opening.protocol.to_owned();
            let description = DESCRIPTION.to_owned();
            rules.entry(&opening.group).or_default().insert(IpPermission {
                protocol,
                from: range.0,
                to: range.1,
                source,
                description,
            });
        }
        Some(rules)
    }
}

/// What a Service needs of the groups of its targets.
fn needed(
    stack: &Stack,
    targets: &BTreeMap<String, TargetSet>,
    on: &BTreeSet<SecurityGroupId>,
    front: Option<&SecurityGroupId>,
) -> BTreeSet<(Opening, u16)> {
    let mut needed = BTreeSet::new();
    if !stack.backend.managed {
        return needed;
    }
    let mut sources: Vec<From> = stack.backend.blocks.iter().copied().map(From::Block).collect();
    if stack.backend.from_backend_group {
        sources.push(From::Shared);
    } else if let Some(front) = front {
        sources.push(From::Group(front.clone()));
    }
    let ports = ports(stack, targets);
    for group in on {
        for source in &sources {
            for (protocol, port) in &ports {
                let (group, source) = (group.clone(), source.clone());
                needed.insert((Opening { group, protocol, source }, *port));
            }
        }
    }
    needed
}

/// Protocols and ports on nodes or pods.
fn ports(stack: &Stack, targets: &BTreeMap<String, TargetSet>) -> BTreeSet<(&'static str, u16)> {
    let mut ports = BTreeSet::new();
    for (resource, group) in &stack.target_groups {
        let set = targets.get(resource);
        let targets = set.into_iter().flat_map(|set| set.wanted.iter().chain(&set.lingering));
        let traffic: BTreeSet<u16> = targets.map(|target| target.port).collect();
        let protocols: &[&str] = match group.create.protocol {
            ListenerProtocol::Tcp | ListenerProtocol::Tls => &["tcp"],
            ListenerProtocol::Udp | ListenerProtocol::Quic => &["udp"],
            ListenerProtocol::TcpUdp | ListenerProtocol::TcpQuic => &["tcp", "udp"],
        };
        for port in &traffic {
            ports.extend(protocols.iter().map(|protocol| (*protocol, *port)));
        }
        // Health checks are TCP, also of UDP groups.
        match group.create.health_check.port {
            Some(port) if !traffic.is_empty() => _ = ports.insert(("tcp", port)),
            Some(_) => {}
            None => ports.extend(traffic.iter().map(|port| ("tcp", *port))),
        }
    }
    ports
}

/// The group of an interface that rules are put on, and whether the choice was a guess that deserves a warning: the only one;
/// else the only one with the cluster's tag and those of `--service-target-eni-security-group-tags`; else the first.
#[must_use]
pub fn interface_group(
    of: &[SecurityGroupId],
    settings: &Settings,
    inventory: &Inventory,
) -> Option<(SecurityGroupId, bool)> {
    if let [only] = of {
        return Some((only.clone(), false));
    }
    let own = format!("kubernetes.io/cluster/{}", settings.cluster);
    let tagged = |id: &&SecurityGroupId| {
        inventory.security_group(id).is_some_and(|group| {
            let extra = &settings.target_interface_tags;
            group.tags.contains_key(&own)
                && extra.iter().all(|(key, value)| group.tags.get(key) == Some(value))
        })
    };
    match of.iter().filter(tagged).collect::<Vec<_>>().as_slice() {
        [one] => Some(((*one).clone(), false)),
        [one, ..] => Some(((*one).clone(), true)),
        [] => of.first().map(|first| (first.clone(), true)),
    }
}

/// What to do so that nodes and pods let in what all Services need, and nothing else of ours.
///
/// Call it after [`Openings`] or a security group changed. `complete` says that every Service has been
/// [set](Openings::set): before that, rules are opened but none is closed.
#[must_use]
pub fn plan(openings: &Openings, settings: &Settings, inventory: &Inventory, complete: bool) -> Plan<Op> {
    let mut plan = Plan::nothing();
    if !inventory.listed() {
        plan.waiting.push(Waiting::Inventory);
        return plan;
    }
    let shared = backend_group(settings, inventory);
    if shared.is_none() && !openings.shared_users.is_empty() {
        let name = names::backend_group(&settings.cluster);
        plan.ready.push(Op::CreateSecurityGroup {
            name,
            description: "[k8s] Shared Backend SecurityGroup for LoadBalancer".to_owned(),
            vpc: settings.vpc.clone(),
            tags: shared_tags(settings),
        });
        plan.waiting.push(Waiting::Earlier);
        return plan;
    }
    let Some(wanted) = openings.rules(shared.as_ref(), settings) else {
        plan.waiting.push(Waiting::BackendGroup);
        return plan;
    };
    let none = BTreeSet::new();
    let mut closings = Vec::new();
    for group in inventory.security_groups() {
        let wanted = wanted.get(&group.id).unwrap_or(&none);
        let missing: BTreeSet<IpPermission> = wanted.difference(&group.ingress).cloned().collect();
        if !missing.is_empty() {
            plan.ready.push(Op::AuthorizeIngress { group: group.id.clone(), permissions: missing });
        }
        let cluster = format!("kubernetes.io/cluster/{}", settings.cluster);
        let whole = group.tags.contains_key(&cluster) || !wanted.is_empty();
        let ours = |rule: &&IpPermission| {
            let from_shared = matches!(&rule.source, Source::Group(id) if Some(id) == shared.as_ref());
            rule.description == DESCRIPTION && (from_shared || whole)
        };
        let extra: BTreeSet<IpPermission> =
            group.ingress.iter().filter(ours).filter(|rule| !wanted.contains(rule)).cloned().collect();
        if complete && !extra.is_empty() {
            closings.push(Op::RevokeIngress { group: group.id.clone(), permissions: extra });
        }
    }
    plan.ready.extend(closings);
    if complete && openings.shared_users.is_empty() {
        delete_shared(settings, inventory, &mut plan);
    }
    plan
}

fn delete_shared(settings: &Settings, inventory: &Inventory, plan: &mut Plan<Op>) {
    let Some(group) =
        inventory.backend_group(&settings.cluster).filter(|_| settings.backend_security_group_id.is_none())
    else {
        return;
    };
    // The Ingress half of the other controller may use it too.
    if inventory.load_balancers().any(|lb| lb.security_groups.contains(&group.id)) {
        plan.waiting.push(Waiting::GroupInUse(group.id.clone()));
    } else {
        plan.ready.push(Op::DeleteSecurityGroup { group: group.id.clone() });
    }
}

fn shared_tags(settings: &Settings) -> Map {
    let mut tags = settings.default_tags.clone();
    tags.insert(tags::CLUSTER.to_owned(), settings.cluster.clone());
    tags.insert(tags::SHARED_RESOURCE.to_owned(), tags::BACKEND.to_owned());
    tags
}
