//! What the user sees: the hostname, one condition, events, the finalizer, and readiness of pods.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::{
    Claim, Inventory, LeftOut, LoadBalancer, LoadBalancerState, Op, Plan, PodEndpoint, Problem, Service,
    ServicePort, Settings, Stack, Target, TargetGroup, TargetId, TargetSet, TargetState, Waiting,
    ledger::registered, tags,
};

/// The condition of a Service: whether its load balancer serves as asked, else what is waited for or wrong.
pub const CONDITION: &str = "landfall.dev/Provisioned";
/// Prefix of readiness gates; the rest is the name of a target group.
pub const READINESS_GATE: &str = "target-health.elbv2.k8s.aws/";

/// What to do about [`crate::FINALIZER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finalizer {
    /// Write it before the first call to AWS.
    Add,
    /// Take it away: nothing is left in AWS.
    Remove,
    /// Leave the Service as it is.
    Keep,
}

/// What to do about the finalizer of a Service that has it or not; `released` is the plan of [`crate::release`], once there is one.
#[must_use]
pub fn finalizer(claim: &Claim, has_it: bool, released: Option<&Plan<Op>>) -> Finalizer {
    match claim {
        Claim::Ours if !has_it => Finalizer::Add,
        Claim::Release if released.is_some_and(Plan::is_done) => Finalizer::Remove,
        Claim::Ours | Claim::Release | Claim::Refused(_) | Claim::NotOurs => Finalizer::Keep,
    }
}

/// The name for `status.loadBalancer.ingress[0].hostname`: only when it answers. While a successor is not ready, the name of the
/// load balancer before it.
#[must_use]
pub fn hostname(
    stack: &Stack,
    plan: &Plan<Op>,
    settings: &Settings,
    inventory: &Inventory,
) -> Option<String> {
    let wanted = &stack.load_balancer;
    let name = stack.key.to_string();
    let own: Vec<&LoadBalancer> = inventory.stack_load_balancers(&settings.cluster, &name).collect();
    let before = plan.waiting.iter().find_map(|waiting| match waiting {
        Waiting::Successor(arn) => inventory.load_balancer(arn),
        Waiting::Inventory
        | Waiting::Need(_)
        | Waiting::Ledger
        | Waiting::Earlier
        | Waiting::BackendGroup
        | Waiting::Provisioning(_)
        | Waiting::Replacement(_)
        | Waiting::GroupInUse(_)
        | Waiting::NameTaken(_)
        | Waiting::Instances
        | Waiting::PortTaken(..) => None,
    });
    let live = match &wanted.adopted {
        Some(arn) => inventory.load_balancer(arn),
        None => own.iter().copied().find(|lb| lb.scheme == wanted.scheme),
    };
    let shown = before.or(live).filter(|lb| lb.state.serves())?;
    Some(shown.dns_name.to_ascii_lowercase())
}

/// So many nodes that are left out are named in a message.
const NAMED: usize = 3;

/// A condition of a Service: whether its load balancer serves as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Everything is in place and its name answers.
    pub ready: bool,
    /// A word of a closed set.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Verdict {
    /// Of a Service that has problems.
    #[must_use]
    pub fn of_problems(problems: &[Problem]) -> Self {
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let reason = problems.first().map_or("InvalidAnnotation", Problem::reason);
        Self { ready: false, reason, message: texts.join("; ") }
    }

    /// Of a Service of which something is still to be made.
    #[must_use]
    pub fn applying() -> Self {
        let waiting = Waiting::Earlier;
        Self { ready: false, reason: waiting.reason(), message: message(&waiting) }
    }

    /// Of a plan and what is known of its targets. The worst is told.
    #[must_use]
    pub fn of_plan(
        stack: &Stack,
        plan: &Plan<Op>,
        targets: &BTreeMap<String, TargetSet>,
        settings: &Settings,
        inventory: &Inventory,
    ) -> Self {
        let not = |reason, message: String| Self { ready: false, reason, message };
        let name = stack.key.to_string();
        let mut own = inventory.stack_load_balancers(&settings.cluster, &name);
        if let Some(failed) = own.find(|lb| lb.state == LoadBalancerState::Failed) {
            let why = failed.state_reason.as_deref().unwrap_or("AWS gives no reason");
            return not("Failed", format!("load balancer {} could not be set up: {why}", failed.name));
        }
        // Waits for somebody are told before waits for time.
        let told = plan
            .waiting
            .iter()
            .max_by_key(|waiting| (waiting.blocks(), !matches!(waiting, Waiting::Earlier)));
        if let Some(waiting) =
            told.filter(|waiting| waiting.blocks() || matches!(waiting, Waiting::Provisioning(_)))
        {
            return not(waiting.reason(), message(waiting));
        }
        // Other clusters may serve, and a group of weight 0 need not.
        let is_empty = |resource: &String, set: &TargetSet| {
            let mut groups = inventory.stack_target_groups(&settings.cluster, &name);
            let theirs = |group: &TargetGroup| {
                let known = group.tags.get(tags::RESOURCE) == Some(resource);
                known
                    && registered(group).any(|target| set.own.as_ref().is_some_and(|own| !own.holds(target)))
            };
            let used = stack.listeners.values().any(|listener| listener.forward.serves(resource));
            set.wanted.is_empty() && used && !groups.any(theirs)
        };
        if let Some(resource) =
            targets.iter().find(|(resource, set)| is_empty(resource, set)).map(|(resource, _)| resource)
        {
            return not("NoTargets", format!("no node or pod can serve {resource}"));
        }
        for group in inventory.stack_target_groups(&settings.cluster, &name) {
            let mut states = group.targets.iter().flatten().map(|(_, state)| *state).peekable();
            if states.peek().is_some() && states.all(|state| state == TargetState::Unhealthy) {
                let resource = group.tags.get(tags::RESOURCE).map_or("", String::as_str);
                return not(
                    "AllTargetsUnhealthy",
                    format!("all targets of {resource} fail their health check"),
                );
            }
        }
        let mut message = "the load balancer is active".to_owned();
        let left_out: BTreeSet<&LeftOut> = targets.values().flat_map(|set| &set.left_out).collect();
        let mistaken: Vec<_> = left_out.into_iter().filter(|one| one.reason.is_mistake()).collect();
        for LeftOut { name, reason } in mistaken.iter().take(NAMED) {
            // Writing to a text does not fail.
            let _ = write!(message, "; {name} is left out: {}", reason.as_str());
        }
        if mistaken.len() > NAMED {
            let _ = write!(message, "; and {} more", mistaken.len() - NAMED);
        }
        Self { ready: true, reason: "Active", message }
    }
}

fn message(waiting: &Waiting) -> String {
    match waiting {
        Waiting::Inventory => "AWS has not been listed yet".to_owned(),
        Waiting::Need(_) | Waiting::Instances => "AWS is being asked for details".to_owned(),
        Waiting::Ledger => "the Service is being told which targets are its own".to_owned(),
        Waiting::Earlier => "AWS objects are being made or changed".to_owned(),
        Waiting::BackendGroup => "the shared back-end security group does not exist yet".to_owned(),
        Waiting::Provisioning(arn) => format!("AWS is setting up load balancer {arn}; this takes minutes"),
        Waiting::Replacement(arn) => {
            format!("a terminating target of {arn} stays until a new one is healthy")
        }
        Waiting::Successor(arn) => format!("load balancer {arn} stays until its successor serves"),
        Waiting::GroupInUse(id) => format!("security group {id} is still used by a load balancer"),
        Waiting::NameTaken(name) => format!(
            "the name {name} is taken by a load balancer or target group that is not this Service's; delete that one or set \
             annotation aws-load-balancer-name"
        ),
        Waiting::PortTaken(arn, port) => format!(
            "port {port} of adopted load balancer {arn} has a listener of somebody else; delete it or use another port"
        ),
    }
}

/// An event on a Service. The reasons are those of the AWS Load Balancer Controller and of the generic Service controller, which
/// tools and dashboards match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A load balancer is being made, or more than its targets is being changed.
    Ensuring,
    /// That is in place.
    Ensured,
    /// Its targets follow nodes and pods again, and nothing else had to be changed.
    Updated,
    /// Every pass that ends with everything in place.
    Reconciled,
    /// The Service cannot have what it asks for, or a call to AWS failed: once, until that changes.
    FailedSync,
    /// Targets could not follow nodes and pods: once, until they do.
    FailedUpdate,
    /// The Service asks for something that cannot be.
    FailedBuild,
    /// A call to AWS failed.
    FailedDeploy,
    /// Something in AWS was changed by somebody else and is put back. Ours.
    Drift,
    /// No node or pod serves.
    Unavailable,
    /// Something that is asked for has no effect, although the Service serves.
    Notice,
    /// An annotation that nobody reads. Ours.
    UnknownAnnotation,
    /// The release began.
    Deleting,
    /// Nothing is left.
    Deleted,
    /// A call of the release failed.
    FailedDelete,
    /// The finalizer could not be written.
    FailedAddFinalizer,
    /// The finalizer could not be taken away.
    FailedRemoveFinalizer,
    /// The status could not be written.
    FailedUpdateStatus,
    /// The status could not be cleared.
    FailedCleanupStatus,
    /// The targets that are the Service's own could not be written. Ours.
    FailedRemember,
}

impl Event {
    /// `reason`.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Ensuring => "EnsuringLoadBalancer",
            Self::Ensured => "EnsuredLoadBalancer",
            Self::Updated => "UpdatedLoadBalancer",
            Self::Reconciled => "SuccessfullyReconciled",
            Self::FailedSync => "SyncLoadBalancerFailed",
            Self::FailedUpdate => "UpdateLoadBalancerFailed",
            Self::FailedBuild => "FailedBuildModel",
            Self::FailedDeploy => "FailedDeployModel",
            Self::Drift => "DriftFound",
            Self::Unavailable => "UnAvailableLoadBalancer",
            Self::Notice => "NotInForce",
            Self::UnknownAnnotation => "UnknownAnnotation",
            Self::Deleting => "DeletingLoadBalancer",
            Self::Deleted => "DeletedLoadBalancer",
            Self::FailedDelete => "DeleteLoadBalancerFailed",
            Self::FailedAddFinalizer => "FailedAddFinalizer",
            Self::FailedRemoveFinalizer => "FailedRemoveFinalizer",
            Self::FailedUpdateStatus => "FailedUpdateStatus",
            Self::FailedCleanupStatus => "FailedCleanupStatus",
            Self::FailedRemember => "FailedRememberTargets",
        }
    }

    /// `type` is `Warning`, else `Normal`.
    #[must_use]
    pub const fn warns(self) -> bool {
        match self {
            Self::Ensuring
            | Self::Ensured
            | Self::Updated
            | Self::Reconciled
            | Self::Deleting
            | Self::Deleted => false,
            Self::FailedSync
            | Self::FailedUpdate
            | Self::FailedBuild
            | Self::FailedDeploy
            | Self::Drift
            | Self::Unavailable
            | Self::Notice
            | Self::UnknownAnnotation
            | Self::FailedDelete
            | Self::FailedAddFinalizer
            | Self::FailedRemoveFinalizer
            | Self::FailedUpdateStatus
            | Self::FailedCleanupStatus
            | Self::FailedRemember => true,
        }
    }
}

/// A Pod condition to write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GateCondition {
    /// The Pod, in the Service's namespace.
    pub pod: Box<str>,
    /// Its type, one of the Pod's readiness gates.
    pub gate: Box<str>,
    /// The target is healthy.
    pub healthy: bool,
    /// What AWS says, as a reason.
    pub reason: &'static str,
}

/// The conditions of Pods of `service` that wait for one of the stack's target groups. A gate that names another target group is another
/// Service's; a target group that has not been asked for its targets yields nothing.
///
/// A group that was made under other settings has kept its name, while the Pods of today wait for the name of today: either
/// will do.
#[must_use]
pub fn readiness(
    stack: &Stack,
    service: &Service,
    endpoints: &[PodEndpoint],
    settings: &Settings,
    inventory: &Inventory,
) -> Vec<GateCondition> {
    let name = stack.key.to_string();
    let live: Vec<&TargetGroup> = inventory.stack_target_groups(&settings.cluster, &name).collect();
    let gate = |name: &str| format!("{READINESS_GATE}{name}");
    let mut gates = BTreeMap::new();
    for (resource, wanted) in &stack.target_groups {
        let of_port = live.iter().filter(|group| group.tags.get(tags::RESOURCE) == Some(resource));
        if let Some(group) = of_port.min_by_key(|group| (group.load_balancers.is_empty(), &group.arn)) {
            gates.insert(gate(&wanted.create.name), *group);
        }
    }
    gates.extend(live.iter().map(|group| (gate(&group.name), *group)));
    let mut conditions = Vec::new();
    for (gate, group) in &gates {
        let Some(targets) = &group.targets else { continue };
        let Some(port) = resource_port(service, group) else { continue };
        // A Pod has an endpoint for each port and family, and one of them is this group's target.
        let waits = |pod: &&PodEndpoint| {
            pod.port_name == port.name
                && group.family.holds(pod.address)
                && pod.readiness_gates.iter().any(|known| **known == **gate)
        };
        for pod in endpoints.iter().filter(waits) {
            let target = Target { id: TargetId::Ip(pod.address), port: pod.port, zone_all: false };
            let state = targets.get(&target).copied();
            conditions.push(GateCondition {
                pod: pod.pod.clone(),
                gate: gate.as_str().into(),
                healthy: state == Some(TargetState::Healthy),
                reason: state.map_or("NotRegistered", TargetState::as_str),
            });
        }
    }
    conditions.sort();
    conditions.dedup();
    conditions
}

/// The port of the Service that a target group is for.
fn resource_port<'a>(service: &'a Service, group: &TargetGroup) -> Option<&'a ServicePort> {
    let (of, number) = group.tags.get(tags::RESOURCE)?.rsplit_once(':')?;
    let number: u16 = number.parse().ok().filter(|_| of == service.key.to_string())?;
    service.ports.iter().find(|port| port.port == number)
}
