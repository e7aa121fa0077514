//! What changed in the cluster, and whom it concerns.

use std::collections::BTreeSet;
use std::sync::Arc;

use landfall_model::ServiceKey;

use super::{Line, World, entry::Entry, held::Held, job::Slot};
use crate::{Claim, Node, PodEndpoint, REGISTERED, Service};

/// Something that changed in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// A Service, or that it is gone.
    Service(ServiceKey, Option<Box<Service>>),
    /// A Node, or that it is gone.
    Node(Box<str>, Option<Node>),
    /// An EndpointSlice by namespace and name: the Service it belongs to and its endpoints; or that it is gone.
    Slice(ServiceKey, Option<(Box<str>, Vec<PodEndpoint>)>),
    /// A Pod with readiness gates of ours, by namespace and name; or that there is none.
    Pod(ServiceKey, Option<GatedPod>),
    /// All slices have been told, for the first time or anew.
    SlicesListed,
    /// Everything that was there at the start has been told.
    Synced,
}

/// What is kept of a Pod that waits for a target group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatedPod {
    /// Its condition `ContainersReady` is `True`.
    pub containers_ready: bool,
    /// Those of its `spec.readinessGates` that are ours.
    pub gates: Vec<Box<str>>,
}

impl World {
    /// Takes what changed. Costs what the change touches; planning is [`World::plan`].
    pub fn observe(&mut self, observation: Observation) {
        match observation {
            Observation::Service(key, service) => self.observe_service(key, service),
            Observation::Node(name, node) => {
                let before = match node.clone() {
                    Some(node) => self.nodes.insert(name, node),
                    None => self.nodes.remove(&name),
                };
                if before != node {
                    before.iter().chain(&node).for_each(|node| self.doubt_hidden(node));
                    self.dirty.extend(self.services.keys().cloned());
                }
            }
            Observation::Slice(slice, content) => self.observe_slice(&slice, content),
            Observation::Pod(pod, gated) => {
                let before = match gated.clone() {
                    Some(gated) => self.pods.insert(pod.clone(), gated),
                    None => self.pods.remove(&pod),
                };
                if before != gated {
                    let affected = self.services_of_pod(&pod);
                    affected.iter().for_each(|service| self.touch(service));
                }
            }
            Observation::SlicesListed => self.slices_listed(),
            Observation::Synced => {
                self.synced = true;
                self.backend_dirty = true;
            }
        }
    }

    fn observe_service(&mut self, key: ServiceKey, service: Option<Box<Service>>) {
        let ours = |service: &Service| Claim::of(service, &self.settings) != Claim::NotOurs;
        let (service, other) = match service {
            Some(service) if ours(&service) => (Some(service), None),
            other => (None, other.map(|other| *other)),
        };
        self.observe_other(&key, other);
        let Some(service) = service else {
            if self.services.remove(&key).is_some() {
                self.forget(&key);
            }
            return;
        };
        match self.services.get_mut(&key) {
            Some(entry) if entry.service.uid == service.uid => {
                if *entry.service == *service {
                    return;
                }
                if entry.service.annotations.get(REGISTERED) != service.annotations.get(REGISTERED) {
                    entry.ledger = None;
                }
                entry.service = Arc::from(service);
                entry.held = Held::default();
            }
            Some(_) | None => {
                self.unset.insert(key.clone());
                self.services.insert(key.clone(), Entry::new(*service));
            }
        }
        self.troubles.remove(&Slot::Line(Line::Service(key.clone())));
        self.touch_users(&key);
        self.dirty.insert(key);
    }

    fn forget(&mut self, key: &ServiceKey) {
        self.openings.remove(key);
        self.unset.remove(key);
        self.dirty.remove(key);
        self.uses(key, BTreeSet::new());
        self.touch_users(key);
        self.forget_endpoints(key);
        self.troubles.remove(&Slot::Line(Line::Service(key.clone())));
        self.backend_dirty = true;
    }

    pub(super) fn touch(&mut self, service: &ServiceKey) {
        if self.services.contains_key(service) {
            self.dirty.insert(service.clone());
        }
        self.touch_users(service);
    }
}
