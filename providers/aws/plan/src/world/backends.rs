//! Services that have no load balancer here and get a share of another one's traffic.

use std::collections::BTreeSet;

use landfall_model::ServiceKey;

use super::World;
use crate::{Backend, Backends, PodEndpoint, Request, Service, WeightedTo};

/// What may be asked of a Service that is not ours. Its annotations are nobody's business, and there may be many such Services.
fn slim(service: Service) -> Service {
    Service {
        annotations: [].into(),
        finalizers: Vec::new(),
        source_ranges: Vec::new(),
        hostnames: Vec::new(),
        ..service
    }
}

/// The Pods behind a load balancer.
pub(super) struct Pods {
    pub(super) endpoints: Vec<PodEndpoint>,
    pub(super) backends: Backends,
}

/// The Services that the actions of a Service name.
pub(super) fn named(base: &ServiceKey, request: &Request) -> BTreeSet<ServiceKey> {
    let others = request.actions.values().flat_map(|action| &action.others);
    others
        .filter_map(|other| match &other.to {
            WeightedTo::Service { name, .. } => Some(ServiceKey::new(&base.namespace, name)),
            WeightedTo::Group(_) => None,
        })
        .collect()
}

impl World {
    /// Takes a Service that is not ours, or that there is none.
    pub(super) fn observe_other(&mut self, key: &ServiceKey, service: Option<Service>) {
        let before = match service.map(slim) {
            Some(service) => {
                let before = self.others.insert(key.clone(), service);
                if before.as_ref() == self.others.get(key) {
                    return;
                }
                before.is_some()
            }
            None => self.others.remove(key).is_some(),
        };
        if before || self.others.contains_key(key) {
            self.touch_users(key);
        }
        self.forget_endpoints(key);
    }

    /// Plans the Services whose actions name this one.
    pub(super) fn touch_users(&mut self, key: &ServiceKey) {
        self.dirty.extend(self.users.get(key).into_iter().flatten().cloned());
    }

    /// The Services that a Service [uses](Self::uses), as far as they are there.
    pub(super) fn backends(&self, base: &Service) -> Backends {
        let mut backends = Backends::new();
        for key in self.used.get(&base.key).into_iter().flatten() {
            let known = self.services.get(key).map(|entry| &*entry.service).or_else(|| self.others.get(key));
            let known = known.or_else(|| (*key == base.key).then_some(base));
            if let Some(service) = known.cloned() {
                backends.insert(key.clone(), Backend { service, endpoints: self.endpoints(key) });
            }
        }
        backends
    }

    /// Notes which Services a Service names. It is planned when they change.
    pub(super) fn uses(&mut self, base: &ServiceKey, named: BTreeSet<ServiceKey>) {
        let before = self.used.remove(base).unwrap_or_default();
        for key in before.difference(&named) {
            if let Some(users) = self.users.get_mut(key) {
                users.remove(base);
                if users.is_empty() {
                    self.users.remove(key);
                    self.forget_endpoints(key);
                }
            }
        }
        for key in named.difference(&before) {
            self.users.entry(key.clone()).or_default().insert(base.clone());
        }
        if !named.is_empty() {
            self.used.insert(base.clone(), named);
        }
    }
}
