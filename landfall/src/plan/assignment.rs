//! Which addresses the Services get: the controller's own planner, with every write taken as done.

use std::collections::BTreeMap;

use landfall_model::{Classes, Instant, Labels, Observation, Reason, ServiceKey, ServiceView};
use landfall_plan::{Effect, Outcome, Settings, World, condition};
use landfall_pool::{Allocator, Request};
use landfall_verdict::Objects;

use super::report::{RejectedPool, Service};

/// After how many rounds of planning and writing everything must stand still. One is enough for what is known; the rest
/// is for a mistake of ours, which then shows as a plan that would go on changing.
const ROUNDS: usize = 8;

/// The end of it.
pub(super) struct Assigned {
    pub(super) services: Vec<Service>,
    /// The Services of ours as they would be.
    pub(super) views: Vec<ServiceView>,
    /// The pools in force, and which addresses are whose.
    pub(super) allocator: Allocator,
    /// A Service would lose an address that it has.
    pub(super) lost: bool,
}

pub(super) fn assign(
    services: &[ServiceView],
    namespaces: BTreeMap<Box<str>, Labels>,
    configuration: &Objects,
    classes: &Classes,
) -> Assigned {
    let mut world = World::new(Settings { classes: classes.clone(), leaves_aws: false });
    for (name, labels) in &namespaces {
        world.observe(Observation::Namespace(name.clone(), Some(labels.clone())));
    }
    for node in &configuration.nodes {
        world.observe(Observation::Node(node.name.clone(), Some(Box::new(node.clone()))));
    }
    for pool in &configuration.pools {
        world.observe(Observation::Pool(pool.name.clone(), Some(Box::new(pool.clone()))));
    }
    for view in services {
        world.observe(Observation::Service(view.key.clone(), Some(Box::new(view.clone()))));
    }
    world.observe(Observation::Synced);
    let events = settle(&mut world);

    // To ask what would not be possible is to try it.
    let mut allocator = world.allocator().clone();
    let none = Labels::new();
    let mut assigned = Assigned {
        services: Vec::new(),
        views: Vec::new(),
        allocator: world.allocator().clone(),
        lost: false,
    };
    for before in services {
        let Some(view) = world.service(&before.key) else { continue };
        let ours = view.load_balancer && classes.handles(view.class.as_deref());
        let labels = namespaces.get(&before.key.namespace).unwrap_or(&none);
        let addresses: Vec<_> = view.addresses().collect();
        assigned.lost |= before.addresses().any(|address| !addresses.contains(&address));
        let pool = addresses.first().and_then(|address| world.allocator().pool_of(*address));
        let (reason, message) = outcome(view, ours);
        assigned.services.push(Service {
            namespace: before.key.namespace.to_string(),
            name: before.key.name.to_string(),
            changed: before.addresses().ne(addresses.iter().copied()),
            pool: world.allocator().pools_of(&addresses).filter(|_| ours),
            rejected: if ours { rejected(&mut allocator, view, labels, pool) } else { Vec::new() },
            addresses,
            reason: reason.to_string(),
            message,
            events: events.get(&before.key).cloned().unwrap_or_default(),
        });
        if ours {
            assigned.views.push(view.clone());
        }
    }
    assigned
}

/// Plans and writes until there is nothing more to do. Gives the events of each Service.
fn settle(world: &mut World) -> BTreeMap<ServiceKey, Vec<String>> {
    let mut events: BTreeMap<ServiceKey, Vec<String>> = BTreeMap::new();
    for round in 0..ROUNDS {
        let effects = world.plan(Instant::ZERO).effects;
        if effects.is_empty() {
            break;
        }
        for effect in effects {
            match effect {
                Effect::Service(write) => {
                    let version = format!("plan-{round}").into();
                    world.written(
                        &write,
                        Outcome::Applied { resource_version: Some(version) },
                        Instant::ZERO,
                    );
                }
                Effect::Event { service, warning, reason, .. } => {
                    let severity = if warning { 'W' } else { 'N' };
                    events.entry(service).or_default().push(format!("{severity}:{reason}"));
                }
                Effect::PoolStatus { pool, .. } => {
                    world.pool_written(&pool, &Outcome::Applied { resource_version: None }, Instant::ZERO);
                }
            }
        }
    }
    events
}

/// What the Service's condition says, or why it has none.
fn outcome(view: &ServiceView, ours: bool) -> (Reason, String) {
    let condition = view.conditions.iter().find(|condition| *condition.kind == *condition::ALLOCATED);
    match condition.filter(|_| ours) {
        Some(condition) => (condition.reason, condition.message.to_string()),
        None if !view.load_balancer => {
            (Reason::NotLoadBalancer, "the Service is not of type LoadBalancer".to_owned())
        }
        None => {
            let class = view.class.as_deref().unwrap_or_default();
            (
                Reason::ForeignClass,
                format!("the Service's load balancer class {class:?} is not one that is handled here"),
            )
        }
    }
}

/// The pools that would not serve the Service, and why: those before the one that does, and the others too.
fn rejected(
    allocator: &mut Allocator,
    view: &ServiceView,
    namespace_labels: &Labels,
    chosen: Option<&str>,
) -> Vec<RejectedPool> {
    let rejected = match Request::of(view, namespace_labels) {
        Err(rejection) => rejection.rejected,
        Ok(request) if request.pool.is_none() && request.addresses.is_empty() => allocator.why_not(&request),
        Ok(_) if chosen.is_some() => Vec::new(),
        Ok(request) => {
            allocator.allocate(&request).err().map(|rejection| rejection.rejected).unwrap_or_default()
        }
    };
    let others = rejected.into_iter().filter(|(pool, _)| Some(&**pool) != chosen);
    others.map(|(pool, reason)| RejectedPool { pool: pool.into(), reason: reason.to_string() }).collect()
}
