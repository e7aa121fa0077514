//! Watches of Services, Nodes, EndpointSlices and Pods.

use std::{collections::BTreeSet, sync::Arc};

use futures::StreamExt as _;
use k8s_openapi::api::{
    core::v1::{Node, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, Resource, ResourceExt, core::NamespaceResourceScope, runtime::watcher::Event};
use landfall_aws_plan::Observation;
use landfall_kubernetes::{names::label, source};
use landfall_model::ServiceKey;
use serde::de::DeserializeOwned;
use tokio::{
    sync::{Barrier, Notify, mpsc},
    task::JoinSet,
};

use super::convert;

/// How many observations wait at most; then the watches wait.
const CAPACITY: usize = 1024;
/// Kinds that are watched.
const KINDS: usize = 4;

/// The watches of one term of leadership. They end with it.
///
/// ```text
/// Services ─ first list ─▶ EndpointSlices ◀─ relist
///    └──────────┬───────────────┘   Nodes, Pods
///               ▼                       ▼
///          one bounded channel ─▶ World, which forgets slices that nobody needs
/// ```
pub(crate) struct Watches {
    observations: mpsc::Receiver<Observation>,
    relist: Arc<Notify>,
    _tasks: JoinSet<()>,
}

impl Watches {
    /// Starts them, of everything but Nodes in this namespace only. [`Observation::Synced`] comes once, after the first list of
    /// every kind.
    pub(crate) fn start(client: &Client, namespace: Option<&str>) -> Self {
        let (sender, observations) = mpsc::channel(CAPACITY);
        let listed = Arc::new(Barrier::new(KINDS));
        let kind = |kind| Kind { kind, labels: None, relist: None, then: None };
        let outlet = Outlet { sender, listed };
        let mut tasks = JoinSet::new();
        let services_listed = Arc::new(Notify::new());
        let services = Kind { then: Some(Then::Notify(Arc::clone(&services_listed))), ..kind("Service") };
        tasks.spawn(follow(
            scoped(client, namespace),
            services,
            outlet.clone(),
            |key, object: Option<&Service>| {
                let service = object.map(|object| Box::new(convert::service(&key, object)));
                Some(Observation::Service(key, service))
            },
        ));
        tasks.spawn(follow(
            Api::all(client.clone()),
            kind("Node"),
            outlet.clone(),
            |key, object: Option<&Node>| Some(Observation::Node(key.name, object.map(convert::node))),
        ));
        let relist = Arc::new(Notify::new());
        let slices = Kind {
            labels: Some(label::SERVICE_NAME),
            relist: Some(Arc::clone(&relist)),
            then: Some(Then::Tell(Observation::SlicesListed)),
            ..kind("EndpointSlice")
        };
        let slices = follow(
            scoped(client, namespace),
            slices,
            outlet.clone(),
            |key, object: Option<&EndpointSlice>| {
                Some(Observation::Slice(key, object.and_then(convert::slice)))
            },
        );
        tasks.spawn(async move {
            // Those of Services that have no use for them are then forgotten as they come.
            services_listed.notified().await;
            slices.await;
        });
        tasks.spawn(follow(scoped(client, namespace), kind("Pod"), outlet, |key, object: Option<&Pod>| {
            let gated = object.map(convert::gated);
            // Most Pods wait for nobody: they are neither told nor remembered.
            (gated != Some(None)).then(|| Observation::Pod(key, gated.flatten()))
        }));
        Self { observations, relist, _tasks: tasks }
    }

    /// Tells all slices anew, and [`Observation::SlicesListed`] after them.
    pub(crate) fn relist_slices(&self) {
        self.relist.notify_one();
    }

    pub(crate) async fn next(&mut self) -> Option<Observation> {
        self.observations.recv().await
    }

    pub(crate) fn try_next(&mut self) -> Option<Observation> {
        self.observations.try_recv().ok()
    }
}

/// Objects of one namespace, or of all.
pub(crate) fn scoped<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// What is watched, and how.
struct Kind {
    kind: &'static str,
    labels: Option<&'static str>,
    /// Begins with a list anew.
    relist: Option<Arc<Notify>>,
    /// After each list.
    then: Option<Then>,
}

enum Then {
    Notify(Arc<Notify>),
    Tell(Observation),
}

#[derive(Clone)]
struct Outlet {
    sender: mpsc::Sender<Observation>,
    listed: Arc<Barrier>,
}

/// Tells of the objects of one kind; what a later list lacks is told as gone.
async fn follow<K>(
    api: Api<K>,
    of: Kind,
    outlet: Outlet,
    tell: impl Fn(ServiceKey, Option<&K>) -> Option<Observation>,
) where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let mut known: BTreeSet<ServiceKey> = BTreeSet::new();
    let mut unseen: BTreeSet<ServiceKey> = BTreeSet::new();
    let mut first = true;
    let Kind { kind, labels, relist, then } = of;
    let mut events = source::events(api.clone(), kind, labels);
    loop {
        let event = tokio::select! {
            biased;
            () = asked(relist.as_deref()) => {
                events = source::events(api.clone(), kind, labels);
                continue;
            }
            event = events.next() => event,
        };
        let Some(event) = event else { return };
        let mut told = Vec::new();
        let mut listed = false;
        match event {
            Event::Init => unseen.clone_from(&known),
            Event::InitApply(object) | Event::Apply(object) => {
                let key = key(&object);
                unseen.remove(&key);
                match tell(key.clone(), Some(&object)) {
                    Some(observation) => {
                        known.insert(key);
                        told.push(observation);
                    }
                    None if known.remove(&key) => told.extend(tell(key, None)),
                    None => {}
                }
            }
            Event::Delete(object) => {
                let key = key(&object);
                if known.remove(&key) {
                    told.extend(tell(key, None));
                }
            }
            Event::InitDone => {
                for key in std::mem::take(&mut unseen) {
                    known.remove(&key);
                    told.extend(tell(key, None));
                }
                match &then {
                    Some(Then::Notify(listed)) => listed.notify_one(),
                    Some(Then::Tell(observation)) => told.push(observation.clone()),
                    None => {}
                }
                listed = true;
            }
        }
        for observation in told {
            if outlet.sender.send(observation).await.is_err() {
                return;
            }
        }
        if listed && std::mem::take(&mut first) && outlet.listed.wait().await.is_leader() {
            drop(outlet.sender.send(Observation::Synced).await);
        }
    }
}

/// Waits until somebody asks for a new list, if anybody may.
async fn asked(relist: Option<&Notify>) {
    match relist {
        Some(relist) => relist.notified().await,
        None => std::future::pending().await,
    }
}

fn key<K: Resource>(object: &K) -> ServiceKey {
    ServiceKey::new(&object.namespace().unwrap_or_default(), &object.name_any())
}
