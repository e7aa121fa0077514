use std::net::IpAddr;

use landfall_model::{Condition, Family, Forwarding, Ingress, IpMode, Labels, Reason, ServiceView};
use landfall_pool::{Allocator, Claimant, Demand, Kept, Rejection, Request, quoted};

use crate::{
    condition, event,
    ownership::{Ownership, marked, marked_foreign},
    queue::Queue,
};

/// All that a decision about one Service depends on, beside the allocator.
pub(crate) struct Case<'a> {
    pub(crate) view: &'a ServiceView,
    pub(crate) namespace_labels: &'a Labels,
    /// Its class is ours.
    pub(crate) our_class: bool,
    /// Since this process plans, it had addresses of ours.
    pub(crate) was_ours: bool,
    /// The pool that its addresses come from exists and is not in force: it cannot be read, or overlaps another.
    pub(crate) pool_suspended: bool,
    /// The addresses in its status are not those that the last decision saw or wrote.
    pub(crate) edited: bool,
}

/// What a Service shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) target: Target,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) events: Vec<Event>,
    /// What would make another decision possible.
    pub(crate) queues: Vec<Queue>,
    /// Why it has not all that it should have.
    pub(crate) waiting: Option<(Reason, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Leave,
    Release,
    Set { ingress: Vec<(IpAddr, IpMode)>, pool: Option<Box<str>> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) warning: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// Decides about one Service and books what it takes and gives back in the allocator.
pub(crate) fn decide(allocator: &mut Allocator, case: &Case<'_>) -> Decision {
    let view = case.view;
    if !view.load_balancer {
        return not_load_balancer(allocator, case);
    }
    if !case.our_class {
        return other_class(allocator, case);
    }
    let ownership = Ownership::of(view, allocator);
    if view.deleting {
        return deleted(allocator, case, ownership);
    }
    let request = Request::of(view, case.namespace_labels);
    let moved = match ownership {
        Ownership::Foreign => return foreign(allocator, view),
        Ownership::Marked if suspended(allocator, case, &request) => return suspend(allocator, view),
        Ownership::Empty => None,
        Ownership::Marked | Ownership::Recognised => take_over(allocator, case),
    };
    match request {
        Ok(request) => serve(allocator, case, &request, moved),
        Err(rejection) => unreadable(allocator, case, rejection, moved),
    }
}

fn not_load_balancer(allocator: &mut Allocator, case: &Case<'_>) -> Decision {
    allocator.release(&case.view.key);
    let release = case.was_ours || (marked(case.view) && !marked_foreign(case.view));
    Decision::bare(if release { Target::Release } else { Target::Leave }, Vec::new())
}

/// Never touched, unless this process gave it what it has.
fn other_class(allocator: &mut Allocator, case: &Case<'_>) -> Decision {
    let view = case.view;
    allocator.release(&view.key);
    let unchanged = !case.edited && view.addresses().count() == view.ingress.len();
    if case.was_ours && (view.ingress.is_empty() || unchanged) {
        Decision::bare(Target::Release, Vec::new())
    } else {
        Decision::bare(Target::Leave, view.conditions.clone())
    }
}

fn deleted(allocator: &mut Allocator, case: &Case<'_>, ownership: Ownership) -> Decision {
    allocator.release(&case.view.key);
    match ownership {
        Ownership::Marked | Ownership::Recognised => {
            let condition =
                allocated(case.view, false, Reason::ServiceDeleted, "the Service is being deleted");
            Decision::bare(Target::Release, vec![condition])
        }
        Ownership::Empty | Ownership::Foreign => Decision::bare(Target::Leave, case.view.conditions.clone()),
    }
}

fn foreign(allocator: &mut Allocator, view: &ServiceView) -> Decision {
    allocator.release(&view.key);
    let message = "status.loadBalancer was written by somebody else and is left alone; empty it, or give the Service \
                   the loadBalancerClass of its writer";
    Decision {
        waiting: Some((Reason::ForeignStatus, message.to_owned())),
        ..Decision::bare(Target::Leave, vec![allocated(view, false, Reason::ForeignStatus, message)])
    }
}

/// A pool that became invalid, or overlaps another, while no controller looked must not take the addresses away that
/// come from it: nobody else can get them as long as they lie in no other pool.
fn suspended(allocator: &Allocator, case: &Case<'_>, request: &Result<Request<'_>, Rejection>) -> bool {
    let view = case.view;
    let wanted = match request {
        Ok(request) => {
            let mut observed: Vec<IpAddr> = view.addresses().collect();
            observed.sort_unstable();
            let fits = observed.iter().all(|a| request.demand.families().contains(&Family::of(*a)));
            let of_pool = request.pool.is_none() || request.pool == view.requests.allocated_from.as_deref();
            fits && of_pool && (request.addresses.is_empty() || request.addresses == observed)
        }
        Err(rejection) => rejection.reason == Reason::InvalidRequest,
    };
    case.pool_suspended && wanted && view.addresses().all(|address| allocator.pool_of(address).is_none())
}

fn suspend(allocator: &mut Allocator, view: &ServiceView) -> Decision {
    allocator.release(&view.key);
    let pool = view.requests.allocated_from.clone();
    let message = format!(
        "pool {} is not in force, since it cannot be read or overlaps another pool; its addresses stay as they are \
         until the pool is mended or deleted",
        pool.as_deref().unwrap_or_default()
    );
    let (mode, _) = forwarding(view);
    let ingress = view.addresses().map(|address| (address, mode)).collect();
    Decision {
        waiting: Some((Reason::PoolNotInForce, message.clone())),
        ..Decision::bare(
            Target::Set { ingress, pool },
            vec![allocated(view, false, Reason::PoolNotInForce, &message)],
        )
    }
}

/// Takes over what stands in the status, if nothing is held yet or somebody edited it. An edit that cannot be is
/// undone; an address that cannot be kept is given up, with the reason.
fn take_over(allocator: &mut Allocator, case: &Case<'_>) -> Option<Rejection> {
    let mut observed: Vec<IpAddr> = case.view.addresses().collect();
    observed.sort_unstable();
    let held = allocator.holding(&case.view.key).map(|holding| holding.addresses.clone());
    if held.as_ref().is_some_and(|held| !case.edited || *held == observed) {
        return None;
    }
    let claimant = Claimant::of(case.view, case.namespace_labels);
    if observed.len() < case.view.ingress.len() {
        // What cannot be read makes the whole status one that nobody may have.
        observed.clear();
    }
    let rejection = allocator.claim(&claimant, &observed).err()?;
    match held {
        Some(held) if allocator.claim(&claimant, &held).is_ok() => None,
        Some(_) | None => Some(rejection),
    }
}

fn serve(
    allocator: &mut Allocator,
    case: &Case<'_>,
    request: &Request<'_>,
    mut moved: Option<Rejection>,
) -> Decision {
    let service = &case.view.key;
    if allocator.holding(service).is_some() {
        match allocator.keep(request) {
            Ok(kept) => {
                if let Ok(completion) = complete(allocator, request, kept) {
                    return assigned(allocator, case, completion, None);
                }
            }
            Err(rejection) => moved = moved.or_else(|| refused_by_config(rejection)),
        }
    }
    match allocator.allocate(request) {
        Ok(_) => {
            // Only a Service that prefers two families and got one has anything left to complete.
            let kept = allocator.keep(request).unwrap_or_default();
            let completion = complete(allocator, request, kept).unwrap_or(Completion::Whole);
            assigned(allocator, case, completion, moved)
        }
        Err(rejection) => {
            let mut queues = queues_for(allocator, request);
            if rejection.reason == Reason::QuotaExceeded {
                queues.push(Queue::Namespace(case.view.key.namespace.clone()));
            }
            pending(case, rejection, moved, queues)
        }
    }
}

/// What a Service loses because it asks for something else is not taken from it.
fn refused_by_config(rejection: Rejection) -> Option<Rejection> {
    let wish = matches!(
        rejection.reason,
        Reason::FamilyMismatch | Reason::PoolMismatch | Reason::NotAllowedByConfig
    );
    (!wish).then_some(rejection)
}

/// How the families of a Service stand.
enum Completion {
    /// It has all that it can make use of.
    Whole,
    /// This one was added.
    Added(IpAddr),
    /// It can do without the one that is not to be had.
    Partial(Rejection, Vec<Queue>),
}

fn complete(allocator: &mut Allocator, request: &Request<'_>, kept: Kept) -> Result<Completion, Rejection> {
    let Some(family) = kept.missing else { return Ok(Completion::Whole) };
    let rejection = match allocator.complete(request, family) {
        Ok(address) => return Ok(Completion::Added(address)),
        Err(rejection) => rejection,
    };
    match request.demand {
        Demand::One(_) | Demand::Both => Err(rejection),
        Demand::Prefer { .. } => {
            let held = allocator.holding(request.claimant.service);
            let pool = held.and_then(|held| allocator.pool_of(*held.addresses.first()?));
            let mut queues: Vec<Queue> =
                pool.map(|pool| Queue::Pool(pool.into(), family)).into_iter().collect();
            queues.extend(request.claimant.sharing.key.clone().map(Queue::Key));
            Ok(Completion::Partial(rejection, queues))
        }
    }
}

/// The request cannot be read, or not be met whatever is free.
fn unreadable(
    allocator: &mut Allocator,
    case: &Case<'_>,
    rejection: Rejection,
    mut moved: Option<Rejection>,
) -> Decision {
    let view = case.view;
    if rejection.reason == Reason::InvalidRequest
        && allocator.holding(&view.key).is_some()
        && let Ok(demand) = Demand::of(view)
    {
        let claimant = Claimant::of(view, case.namespace_labels);
        let without = Request { claimant, demand, pool: None, addresses: Vec::new() };
        match allocator.keep(&without) {
            Ok(_) => return kept_despite(allocator, case, &rejection),
            Err(other) => moved = moved.or_else(|| refused_by_config(other)),
        }
    }
    allocator.release(&view.key);
    pending(case, rejection, moved, Vec::new())
}

fn kept_despite(allocator: &Allocator, case: &Case<'_>, rejection: &Rejection) -> Decision {
    let mut decision = assigned(allocator, case, Completion::Whole, None);
    let message = format!("invalid requested loadbalancer IPs: {rejection}");
    if let Some(condition) = decision.conditions.first_mut() {
        *condition = allocated(case.view, false, rejection.reason, &message);
    }
    decision.waiting = Some((rejection.reason, message.clone()));
    decision.events.push(warning(event::LOAD_BALANCER_FAILED, message));
    decision
}

fn assigned(
    allocator: &Allocator,
    case: &Case<'_>,
    completion: Completion,
    moved: Option<Rejection>,
) -> Decision {
    let view = case.view;
    let addresses = allocator.holding(&view.key).map(|holding| holding.addresses.clone()).unwrap_or_default();
    let mut events: Vec<Event> = moved.map(|cause| cleared(case, &cause)).into_iter().flatten().collect();
    let mut message = format!("Assigned IP {}", quoted(&addresses));
    if addresses.iter().any(|address| view.addresses().all(|observed| observed != *address)) {
        let text = match &completion {
            Completion::Added(address) => format!("Assigned additional IP \"{address}\""),
            Completion::Whole | Completion::Partial(..) => message.clone(),
        };
        events.push(Event { warning: false, reason: event::IP_ALLOCATED, message: text });
        events.extend(deprecated(view));
    }
    let mut queues = Vec::new();
    if let Completion::Partial(rejection, waits) = completion {
        queues = waits;
        let text = format!("cannot assign additional IP in PreferDualStack: {rejection}");
        message = format!("{message}; {text}");
        events.push(Event { warning: false, reason: event::ADDITIONAL_ASSIGN_FAILED, message: text });
    }
    let (mode, problem) = forwarding(view);
    let mut conditions = vec![allocated(view, true, Reason::Allocated, &message)];
    if let Some((reason, message)) = problem {
        events.push(warning(reason.as_str(), message.clone()));
        conditions.push(our_condition(view, condition::FORWARDING, false, reason, &message));
    }
    let pool = allocator.pools_of(&addresses).map(Into::into);
    let ingress = addresses.into_iter().map(|address| (address, mode)).collect();
    Decision { target: Target::Set { ingress, pool }, conditions, events, queues, waiting: None }
}

fn pending(case: &Case<'_>, rejection: Rejection, moved: Option<Rejection>, queues: Vec<Queue>) -> Decision {
    let view = case.view;
    let mut events: Vec<Event> = moved.map(|cause| cleared(case, &cause)).into_iter().flatten().collect();
    if rejection.reason == Reason::NotEnoughClusterIps {
        events.push(warning(event::NOT_ENOUGH_CLUSTER_IPS, rejection.cause.clone()));
    } else if rejection.reason != Reason::NoClusterIp {
        let message = format!("Failed to allocate IP for \"{}\": {rejection}", view.key);
        events.push(warning(event::ALLOCATION_FAILED, message));
    }
    if !view.ingress.is_empty() {
        events.extend(deprecated(view));
    }
    let condition = allocated(view, false, rejection.reason, &rejection.cause);
    let waiting = Some((rejection.reason, rejection.cause));
    Decision { target: Target::Release, conditions: vec![condition], events, queues, waiting }
}

fn queues_for(allocator: &mut Allocator, request: &Request<'_>) -> Vec<Queue> {
    let families = request.demand.families();
    let mut queues: Vec<Queue> = request.claimant.sharing.key.clone().map(Queue::Key).into_iter().collect();
    if !request.addresses.is_empty() {
        queues.extend(request.addresses.iter().copied().map(Queue::Address));
    } else if let Some(pool) = request.pool {
        queues.extend(full(allocator, pool, families));
    } else {
        // Who must have both families and shares no address has no use for one that is free alone.
        if request.demand == Demand::Both && queues.is_empty() {
            queues.push(Queue::GeneralBoth);
        } else {
            queues.extend(families.iter().copied().map(Queue::General));
        }
        for pool in allocator.full_pinned(request) {
            queues.extend(full(allocator, &pool, families));
        }
    }
    queues
}

/// The families of which the pool has nothing free.
fn full(allocator: &mut Allocator, pool: &str, families: &[Family]) -> Vec<Queue> {
    let full = families.iter().filter(|family| !allocator.has_free(pool, **family));
    full.map(|family| Queue::Pool(pool.into(), *family)).collect()
}

/// The mode for kube-proxy, and what is wrong with the one asked for.
fn forwarding(view: &ServiceView) -> (IpMode, Option<(Reason, String)>) {
    let announce = Forwarding::Announce.ip_mode();
    match &view.requests.forwarding {
        None => (announce, None),
        Some(Ok(mode)) => (mode.ip_mode(), None),
        Some(Err(text)) => {
            let message = format!(
                "landfall.dev/forwarding is {text:?}; use \"announce\" or \"node-port\"; until then mode announce is used"
            );
            (announce, Some((Reason::UnknownForwarding, message)))
        }
    }
}

fn cleared(case: &Case<'_>, cause: &Rejection) -> Option<Event> {
    let view = case.view;
    if view.ingress.is_empty() {
        return None;
    }
    if cause.reason == Reason::NotAllowedByConfig {
        let shown: Vec<String> = view.ingress.iter().map(shown).collect();
        let message = format!(
            "Failed to retrieve LBIPs IPFamily for [{}]: a status has one address, or one of each family",
            shown.join(" ")
        );
        return Some(warning(event::NO_LB_IPS_FAMILY, message));
    }
    let message = format!(
        "current IP for \"{}\" not allowed by config, will attempt for new IP assignment: {cause}",
        view.key
    );
    Some(Event { warning: false, reason: event::CLEAR_ASSIGNMENT, message })
}

fn shown(ingress: &Ingress) -> String {
    match ingress {
        Ingress::Address { address, .. } => format!("\"{address}\""),
        Ingress::Other(text) | Ingress::Unreadable(text) => format!("{text:?}"),
    }
}

fn deprecated(view: &ServiceView) -> Option<Event> {
    view.requests.deprecated_annotation.then(|| {
        let message =
            "annotations with the prefix metallb.universe.tf/ are deprecated; use metallb.io/ instead";
        warning(event::DEPRECATED_ANNOTATION, message.to_owned())
    })
}

fn warning(reason: &'static str, message: String) -> Event {
    Event { warning: true, reason, message }
}

fn allocated(view: &ServiceView, status: bool, reason: Reason, message: &str) -> Condition {
    our_condition(view, condition::ALLOCATED, status, reason, message)
}

fn our_condition(view: &ServiceView, kind: &str, status: bool, reason: Reason, message: &str) -> Condition {
    Condition { kind: kind.into(), status, reason, message: message.into(), generation: view.generation }
}

impl Decision {
    fn bare(target: Target, conditions: Vec<Condition>) -> Self {
        Self { target, conditions, events: Vec::new(), queues: Vec::new(), waiting: None }
    }
}
