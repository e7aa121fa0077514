//! Endpoints: kept for Services that have pods as targets, or share somebody's traffic, and forgotten of all others, which are
//! most of a cluster. A slice of a Service that is not known yet is kept: the two are watched apart.
//!
//! Who needs what was forgotten asks for a new list of all slices, and nothing of it is decided before that.

use std::collections::BTreeSet;

use landfall_model::ServiceKey;

use super::{Effects, World};
use crate::PodEndpoint;

/// A slice: its Service, and its endpoints unless they were forgotten.
pub(super) type Slice = (ServiceKey, Option<Vec<PodEndpoint>>);

impl World {
    pub(super) fn observe_slice(
        &mut self,
        slice: &ServiceKey,
        content: Option<(Box<str>, Vec<PodEndpoint>)>,
    ) {
        let content = content.map(|(service, endpoints)| {
            let service = ServiceKey { namespace: slice.namespace.clone(), name: service };
            let kept = self.needs_endpoints(&service);
            (service, kept.then_some(endpoints))
        });
        if self.slices.get(slice) == content.as_ref() {
            return;
        }
        let before = match content.clone() {
            Some(content) => self.slices.insert(slice.clone(), content),
            None => self.slices.remove(slice),
        };
        if let Some((service, _)) = before {
            if let Some(slices) = self.slices_of.get_mut(&service) {
                slices.remove(slice);
                if slices.is_empty() {
                    self.slices_of.remove(&service);
                }
            }
            self.touch(&service);
        }
        if let Some((service, _)) = content {
            self.slices_of.entry(service.clone()).or_default().insert(slice.clone());
            self.touch(&service);
        }
    }

    /// All slices have been told anew.
    pub(super) fn slices_listed(&mut self) {
        self.relisting = false;
        for service in std::mem::take(&mut self.wait_for_slices) {
            self.touch(&service);
        }
    }

    fn needs_endpoints(&self, service: &ServiceKey) -> bool {
        self.users.contains_key(service)
            || match self.services.get(service) {
                Some(entry) => entry.pods != Some(false),
                None => !self.others.contains_key(service),
            }
    }

    /// Forgets the endpoints of a Service that nobody asks for.
    pub(super) fn forget_endpoints(&mut self, service: &ServiceKey) {
        if self.needs_endpoints(service) {
            return;
        }
        for slice in self.slices_of.get(service).into_iter().flatten() {
            if let Some((_, endpoints)) = self.slices.get_mut(slice) {
                *endpoints = None;
            }
        }
    }

    /// Whether nothing of these Services was forgotten; else `service` is planned again when all slices have been told anew.
    pub(super) fn has_endpoints(
        &mut self,
        service: &ServiceKey,
        of: &BTreeSet<&ServiceKey>,
        out: &mut Effects,
    ) -> bool {
        let slices = of.iter().filter_map(|key| self.slices_of.get(*key)).flatten();
        let mut known = slices.filter_map(|slice| self.slices.get(slice));
        if known.all(|(_, endpoints)| endpoints.is_some()) {
            return true;
        }
        self.wait_for_slices.insert(service.clone());
        out.relist |= !std::mem::replace(&mut self.relisting, true);
        false
    }

    /// The Service's endpoints, joined with what is known of their Pods.
    pub(super) fn endpoints(&self, key: &ServiceKey) -> Vec<PodEndpoint> {
        let slices = self.slices_of.get(key).into_iter().flatten();
        let slices = slices.filter_map(|slice| self.slices.get(slice));
        let mut joined: Vec<PodEndpoint> =
            slices.filter_map(|(_, endpoints)| endpoints.as_ref()).flatten().cloned().collect();
        for endpoint in &mut joined {
            let pod = ServiceKey { namespace: key.namespace.clone(), name: endpoint.pod.clone() };
            if let Some(gated) = self.pods.get(&pod) {
                endpoint.containers_ready = gated.containers_ready;
                endpoint.readiness_gates.clone_from(&gated.gates);
            }
        }
        joined
    }

    pub(super) fn services_of_pod(&self, pod: &ServiceKey) -> Vec<ServiceKey> {
        let first = ServiceKey { namespace: pod.namespace.clone(), name: Box::default() };
        let near = self.slices.range(first..).take_while(|(slice, _)| slice.namespace == pod.namespace);
        let of_pod = |(_, (_, endpoints)): &(&ServiceKey, &Slice)| {
            endpoints.iter().flatten().any(|endpoint| endpoint.pod == pod.name)
        };
        near.filter(of_pod).map(|(_, (service, _))| service.clone()).collect()
    }
}
