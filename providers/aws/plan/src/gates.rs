//! Readiness gates of new Pods: which target groups a Pod is to wait for before it counts as ready.

use std::collections::{BTreeMap, BTreeSet};

use landfall_model::ServiceKey;

use crate::{
    Claim, Map, READINESS_GATE, Request, Service, Settings, TargetType, resolve::target_group_names,
};

/// The Services whose Pods are targets, by namespace. The others cost nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gates {
    services: BTreeMap<Box<str>, BTreeMap<Box<str>, Awaited>>,
}

/// One Service.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Awaited {
    selector: Map,
    gates: BTreeSet<String>,
}

impl Gates {
    /// Takes a Service with its `spec.selector`, or that it is gone.
    pub fn observe(&mut self, key: &ServiceKey, service: Option<(&Service, &Map)>, settings: &Settings) {
        match service.and_then(|(service, selector)| awaited(service, selector, settings)) {
            Some(awaited) => {
                self.services.entry(key.namespace.clone()).or_default().insert(key.name.clone(), awaited);
            }
            None => {
                if let Some(services) = self.services.get_mut(&key.namespace) {
                    services.remove(&key.name);
                    if services.is_empty() {
                        self.services.remove(&key.namespace);
                    }
                }
            }
        }
    }

    /// The gates of a Pod with these labels. Costs what its namespace holds.
    #[must_use]
    pub fn of_pod(&self, namespace: &str, labels: &Map) -> BTreeSet<&str> {
        let services = self.services.get(namespace).into_iter().flat_map(BTreeMap::values);
        let selects = |service: &&Awaited| {
            service.selector.iter().all(|(key, value)| labels.get(key).is_some_and(|have| have == value))
        };
        services.filter(selects).flat_map(|service| &service.gates).map(String::as_str).collect()
    }

    /// How many Services are kept.
    #[must_use]
    pub fn count(&self) -> usize {
        self.services.values().map(BTreeMap::len).sum()
    }
}

/// Only what serves already is waited for: a Pod whose target group cannot be made would never be ready.
fn awaited(service: &Service, selector: &Map, settings: &Settings) -> Option<Awaited> {
    let serves = Claim::of(service, settings) == Claim::Ours
        && service.finalizers.iter().any(|name| &**name == crate::FINALIZER)
        && !service.hostnames.is_empty();
    if !serves || selector.is_empty() {
        return None;
    }
    let request = Request::parse(service, settings).ok()?.request;
    if request.target_type != TargetType::Ip {
        return None;
    }
    let names = target_group_names(service, &request, settings).ok()?;
    let gates = names.into_iter().map(|name| format!("{READINESS_GATE}{name}")).collect();
    Some(Awaited { selector: selector.clone(), gates })
}
