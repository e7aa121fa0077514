//! Weighted actions: a listener's traffic is shared among the Service, other Services of its namespace, and target groups that
//! somebody else has made.

use std::collections::BTreeMap;

use super::{
    health,
    ports::{Context, Merged, Source, family, group},
};
use crate::{
    ListenerProtocol, PREFIX, Problem, Service, ServicePort, TargetPort, WantedForward, WantedGroup,
    WantedTargetGroup, WeightedTo,
};
use landfall_model::ServiceKey;

/// Actions of listeners that the Service does not have. Their traffic would silently go to one group.
pub(super) fn unused(context: &Context<'_>, merged: &[Merged<'_>]) -> Vec<Problem> {
    let has = |protocol: &str, port: u16| {
        merged.iter().any(|one| one.protocol.as_str() == protocol && one.port.port == port)
    };
    let actions = context.request.actions.keys().filter(|_| context.backends.is_some());
    let unused = actions.filter(|(protocol, port)| !has(protocol, *port));
    let problem = |(protocol, port): &(String, u16)| {
        let all: Vec<String> =
            merged.iter().map(|one| format!("{}-{}", one.protocol.as_str(), one.port.port)).collect();
        Problem::Conflict(format!(
            "annotation {PREFIX}actions.{protocol}-{port}: the Service has no such listener; its listeners are {}",
            all.join(", ")
        ))
    };
    unused.map(problem).collect()
}

/// Where a listener sends what it accepts; `own` is the group of its port. Groups of other Services are added. With problems, what
/// it would be without an action.
pub(super) fn forward(
    context: &Context<'_>,
    port: &ServicePort,
    protocol: ListenerProtocol,
    own: String,
    groups: &mut BTreeMap<String, WantedTargetGroup>,
) -> Result<WantedForward, (WantedForward, Vec<Problem>)> {
    let key = (protocol.as_str().to_owned(), port.port);
    let action = context.request.actions.get(&key).filter(|_| context.backends.is_some());
    let Some(action) = action else { return Ok(WantedForward::to(own)) };
    let mut shares = vec![(WantedGroup::Own(own.clone()), action.base)];
    let mut problems = Vec::new();
    for other in &action.others {
        let share = match &other.to {
            WeightedTo::Group(arn) => Ok(WantedGroup::Given(arn.clone())),
            WeightedTo::Service { name, port, decrypt } => {
                let decrypted = *decrypt && protocol == ListenerProtocol::Tls;
                let protocol = if decrypted { ListenerProtocol::Tcp } else { protocol };
                backend(context, name, port, protocol, groups).map(WantedGroup::Own)
            }
        };
        match share {
            Ok(group) => shares.push((group, other.weight)),
            Err(why) => problems
                .push(Problem::Conflict(format!("annotation {PREFIX}actions.{}-{}: {why}", key.0, key.1))),
        }
    }
    if problems.is_empty() {
        Ok(WantedForward { groups: shares, sticky: action.sticky })
    } else {
        Err((WantedForward::to(own), problems))
    }
}

/// The target group of another Service, which two listeners may share; its resource, or why there is none.
fn backend(
    context: &Context<'_>,
    name: &str,
    port: &TargetPort,
    protocol: ListenerProtocol,
    groups: &mut BTreeMap<String, WantedTargetGroup>,
) -> Result<String, String> {
    let key = ServiceKey::new(&context.service.key.namespace, name);
    let known = context.backends.and_then(|backends| backends.get(&key));
    let service = known.map(|backend| &backend.service);
    let service =
        service.ok_or_else(|| format!("there is no Service {key}; make it, or take it out of the action"))?;
    let port = find(service, port)
        .ok_or_else(|| format!("Service {key} has no port {}; name one by number or name", text(port)))?;
    let health_check =
        health::resolve(service, context.request, context.settings).map_err(|problem| problem.to_string())?;
    let family = family(service, context).map_err(|problem| format!("Service {key}: {problem}"))?;
    let of = Source { service, port, protocol, family, health_check: &health_check };
    let resource = of.resource();
    let made = group(context, &of).map_err(|problem| format!("Service {key}: {problem}"))?;
    add(groups, &resource, made).map(|()| resource)
}

/// Adds a group, which may be there already for another listener.
pub(super) fn add(
    groups: &mut BTreeMap<String, WantedTargetGroup>,
    resource: &str,
    made: WantedTargetGroup,
) -> Result<(), String> {
    match groups.insert(resource.to_owned(), made) {
        Some(other) if groups.get(resource) != Some(&other) => Err(format!(
            "{resource} gets traffic of listeners whose protocols differ; use another port of that Service"
        )),
        Some(_) | None => Ok(()),
    }
}

fn find<'a>(service: &'a Service, wanted: &TargetPort) -> Option<&'a ServicePort> {
    service.ports.iter().find(|port| match wanted {
        TargetPort::Number(number) => port.port == *number,
        TargetPort::Name(name) => port.name == *name,
    })
}

fn text(port: &TargetPort) -> String {
    match port {
        TargetPort::Number(number) => number.to_string(),
        TargetPort::Name(name) => name.to_string(),
    }
}
