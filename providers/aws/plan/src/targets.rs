//! Who serves: instances or pods, and who is left out and why. One bad node is left out alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Backend, Backends, InstanceId, Instances, Inventory, Node, Own, PodEndpoint, Readiness, Request, Service,
    Settings, Stack, Target, TargetId, TargetType, WantedTargetGroup,
};

/// Labels that take a node out of load balancing, whatever their value.
const EXCLUDING_LABELS: [&str; 3] = [
    "node-role.kubernetes.io/master",
    landfall_model::EXCLUDE_LABEL,
    "alpha.service-controller.kubernetes.io/exclude-balancer",
];

/// The targets of one target group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetSet {
    /// Shall be registered.
    pub wanted: BTreeSet<Target>,
    /// Terminating but serving: not registered any more, but left where they are until a replacement is healthy.
    pub lingering: BTreeSet<Target>,
    /// Those of the wanted ones of which it is not known yet whether they run: not registered before that.
    pub unknown: BTreeSet<Target>,
    /// Nodes and pods that would be targets.
    pub left_out: Vec<LeftOut>,
    /// Other clusters may have targets in the group: of those that are there only these are ours. `None`: all are.
    pub own: Option<Own>,
}

/// A node or a pod that is no target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// Its name.
    pub name: Box<str>,
    /// Why.
    pub reason: LeftOutReason,
}

/// Why a node or a pod is no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOutReason {
    /// A label takes it out of load balancing.
    ExcludedByLabel,
    /// It does not match `aws-load-balancer-target-node-labels`.
    NotSelected,
    /// A Fargate node is no EC2 instance.
    Fargate,
    /// A taint says that it is about to go.
    Leaving,
    /// The node is not Ready.
    NotReady,
    /// `spec.providerID` names no EC2 instance.
    InvalidProviderId,
    /// The instance does not exist in the VPC or does not run, so AWS would refuse to register it and all others of the same call.
    NoInstance,
    /// `--max-targets-per-target-group` is reached.
    TooMany,
    /// The pod does not serve.
    NotServing,
}

impl LeftOutReason {
    /// Whether somebody has to act: nothing of this is meant, and nothing of it ends on its own.
    #[must_use]
    pub const fn is_mistake(self) -> bool {
        match self {
            Self::InvalidProviderId | Self::NoInstance | Self::TooMany => true,
            Self::ExcludedByLabel
            | Self::NotSelected
            | Self::Fargate
            | Self::Leaving
            | Self::NotReady
            | Self::NotServing => false,
        }
    }

    /// The reason word for conditions, events and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExcludedByLabel => "ExcludedByLabel",
            Self::NotSelected => "NotSelected",
            Self::Fargate => "Fargate",
            Self::Leaving => "Leaving",
            Self::NotReady => "NotReady",
            Self::InvalidProviderId => "InvalidProviderId",
            Self::NoInstance => "NoInstance",
            Self::TooMany => "TooMany",
            Self::NotServing => "NotServing",
        }
    }
}

/// What the targets of a Service are made of.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// All nodes, for instance targets and for the readiness of pods' nodes.
    pub nodes: &'a BTreeMap<Box<str>, Node>,
    /// The Service's endpoints.
    pub endpoints: &'a [PodEndpoint],
    /// The Services that its weighted actions name.
    pub backends: &'a Backends,
    /// What is known of the nodes' instances; `None` if AWS does not tell, and all count as running.
    pub instances: Option<&'a Instances>,
}

impl<'a> Sources<'a> {
    /// Those of the Service, and of the Services that its actions name.
    pub(crate) fn all_endpoints(self) -> impl Iterator<Item = &'a PodEndpoint> {
        self.endpoints.iter().chain(self.backends.values().flat_map(|backend| &backend.endpoints))
    }
}

/// The targets of every target group of a stack, by the group's resource.
#[must_use]
pub fn targets(
    stack: &Stack,
    service: &Service,
    request: &Request,
    settings: &Settings,
    sources: Sources<'_>,
    inventory: &Inventory,
) -> BTreeMap<String, TargetSet> {
    let (instances, left_out) = match request.target_type {
        TargetType::Instance => instances(request, settings, sources),
        TargetType::Ip => (BTreeSet::new(), Vec::new()),
    };
    let mut sets = BTreeMap::new();
    for (resource, group) in &stack.target_groups {
        let mut set = match request.target_type {
            TargetType::Instance => {
                let target = |id: &InstanceId| Target {
                    id: TargetId::Instance(id.clone()),
                    port: group.create.port,
                    zone_all: false,
                };
                let known = |id: &InstanceId| sources.instances.is_none_or(|known| known.contains_key(id));
                TargetSet {
                    wanted: instances.iter().map(target).collect(),
                    unknown: instances.iter().filter(|id| !known(id)).map(target).collect(),
                    lingering: BTreeSet::new(),
                    left_out: left_out.clone(),
                    own: None,
                }
            }
            TargetType::Ip => pods(service, group, sources, inventory),
        };
        limit(&mut set, settings.max_targets);
        set.own = request.shared_target_groups.then(|| Own::of(service, sources));
        sets.insert(resource.clone(), set);
    }
    sets
}

/// Ready nodes, or with none of them (and fail-open) those of which nothing is known.
fn instances(
    request: &Request,
    settings: &Settings,
    sources: Sources<'_>,
) -> (BTreeSet<InstanceId>, Vec<LeftOut>) {
    let mut by_readiness: BTreeMap<bool, Vec<(&Node, InstanceId)>> = BTreeMap::new();
    let mut left_out = Vec::new();
    let mut leave = |node: &Node, reason| left_out.push(LeftOut { name: node.name.clone(), reason });
    let gone =
        |id: &InstanceId| sources.instances.and_then(|known| known.get(id)).is_some_and(Option::is_none);
    for node in sources.nodes.values() {
        match (exclusion(node, request), node.instance(), node.ready) {
            (Some(reason), _, _) => leave(node, reason),
            (None, None, _) => leave(node, LeftOutReason::InvalidProviderId),
            (None, Some(_), Readiness::NotReady) => leave(node, LeftOutReason::NotReady),
            (None, Some(id), _) if gone(&id) => leave(node, LeftOutReason::NoInstance),
            (None, Some(id), ready) => {
                by_readiness.entry(ready == Readiness::Ready).or_default().push((node, id));
            }
        }
    }
    let unknown = by_readiness.remove(&false).unwrap_or_default();
    let ready = by_readiness.remove(&true).unwrap_or_default();
    let chosen = if ready.is_empty() && settings.endpoints_fail_open {
        unknown
    } else {
        unknown.iter().for_each(|(node, _)| leave(node, LeftOutReason::NotReady));
        ready
    };
    (chosen.into_iter().map(|(_, id)| id).collect(), left_out)
}

fn exclusion(node: &Node, request: &Request) -> Option<LeftOutReason> {
    let label = |key: &str| node.labels.get(key);
    let leaving = node.taints.iter().any(|taint| {
        &*taint.key == "ToBeDeletedByClusterAutoscaler"
            || (&*taint.key == "karpenter.sh/disrupted" && &*taint.effect == "NoSchedule")
    });
    if EXCLUDING_LABELS.iter().any(|key| label(key).is_some()) {
        Some(LeftOutReason::ExcludedByLabel)
    } else if label("eks.amazonaws.com/compute-type").is_some_and(|kind| *kind == *"fargate") {
        Some(LeftOutReason::Fargate)
    } else if !request.node_labels.iter().all(|(key, value)| label(key).is_some_and(|have| **have == **value))
    {
        Some(LeftOutReason::NotSelected)
    } else {
        leaving.then_some(LeftOutReason::Leaving)
    }
}

/// Ready pods; those whose containers are ready and wait for their gate; and those that go but still serve.
fn pods(
    service: &Service,
    group: &WantedTargetGroup,
    sources: Sources<'_>,
    inventory: &Inventory,
) -> TargetSet {
    let (key, port) = &group.of;
    let backend = sources.backends.get(key).filter(|_| *key != service.key);
    let (service, endpoints) = match backend {
        Some(Backend { service, endpoints }) => (service, endpoints.as_slice()),
        None => (service, sources.endpoints),
    };
    let name = service.ports.iter().find(|candidate| candidate.port == *port).map(|port| &port.name);
    let of_group =
        |pod: &&PodEndpoint| Some(&pod.port_name) == name && group.create.family.holds(pod.address);
    let mut set = TargetSet::default();
    for pod in endpoints.iter().filter(of_group) {
        let zone_all = !inventory.vpc_blocks().iter().any(|block| block.contains(&pod.address));
        let target = Target { id: TargetId::Ip(pod.address), port: pod.port, zone_all };
        let node_ready = || {
            let node = pod.node.as_ref().and_then(|name| sources.nodes.get(name));
            node.is_some_and(|node| node.ready == Readiness::Ready)
        };
        if pod.ready && !pod.terminating {
            set.wanted.insert(target);
        } else if pod.terminating && pod.serving {
            set.lingering.insert(target);
        } else if pod.containers_ready && !pod.terminating && node_ready() {
            set.wanted.insert(target);
        } else {
            set.left_out.push(LeftOut { name: pod.pod.clone(), reason: LeftOutReason::NotServing });
        }
    }
    set.lingering.retain(|target| !set.wanted.contains(target));
    set
}

fn limit(set: &mut TargetSet, most: usize) {
    if most == 0 {
        return;
    }
    while set.wanted.len() > most {
        if let Some(target) = set.wanted.pop_last() {
            let name = match target.id {
                TargetId::Instance(id) => id.as_str().into(),
                TargetId::Ip(address) => address.to_string().into(),
            };
            set.left_out.push(LeftOut { name, reason: LeftOutReason::TooMany });
        }
    }
}
