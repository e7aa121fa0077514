//! Finalizers, statuses, events and Pod conditions. Writes about one Service go one after the other, in their order.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use k8s_openapi::{
    api::core::v1::{Pod, Service},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use landfall_aws_plan::{
    CONDITION, FINALIZER, GateCondition, Hostname, REGISTERED, Status, Verdict, Write, Written as What,
};
use landfall_kubernetes::write::{EventWrite, Severity, Store, WriteError, Writer, WriterIdentity, answered};
use landfall_model::ServiceKey;
use serde_json::{Value, json};
use tokio::sync::SetOnce;

/// Owner of the fields that are written here.
const MANAGER: &str = "landfall-aws";
/// Reporting component of events.
const COMPONENT: &str = "landfall-controller";
/// Writes at the same time.
const AT_ONCE: usize = 16;
/// How often a finalizer is tried at once, when others write to the Service at the same time.
const TRIES: u32 = 4;

/// What became of a write.
pub(crate) struct Written {
    pub(crate) write: Write,
    pub(crate) result: Result<(), WriteError>,
}

/// Writes what it is given.
pub(crate) struct Scribe {
    client: Client,
    store: Store,
    /// Those that wait for an earlier one about the same Service. The first of each queue is under way.
    queues: BTreeMap<ServiceKey, VecDeque<Write>>,
    ready: VecDeque<ServiceKey>,
    under_way: FuturesUnordered<BoxFuture<'static, Written>>,
}

impl Scribe {
    pub(crate) fn new(client: Client, namespace: &str, pod: &str) -> Self {
        let identity = WriterIdentity {
            namespace: namespace.to_owned(),
            manager: MANAGER,
            component: COMPONENT,
            instance: pod.to_owned(),
            owner: Arc::new(SetOnce::new()),
        };
        let store = Store::Api(Writer::new(client.clone(), identity));
        let (queues, ready) = (BTreeMap::new(), VecDeque::new());
        Self { client, store, queues, ready, under_way: FuturesUnordered::new() }
    }

    /// Takes a write. Nothing is sent before [`Scribe::start`].
    pub(crate) fn add(&mut self, write: Write) {
        let queue = self.queues.entry(write.service.clone()).or_default();
        if queue.is_empty() {
            self.ready.push_back(write.service.clone());
        }
        queue.push_back(write);
    }

    /// Sends what may be sent.
    pub(crate) fn start(&mut self) {
        while self.under_way.len() < AT_ONCE
            && let Some(service) = self.ready.pop_front()
        {
            let Some(write) = self.queues.get(&service).and_then(VecDeque::front).cloned() else { continue };
            let (client, store) = (self.client.clone(), self.store.clone());
            self.under_way.push(
                async move {
                    let result = send(&client, &store, &write).await;
                    Written { write, result }
                }
                .boxed(),
            );
        }
    }

    /// The next write that ended; `None` when none is under way.
    pub(crate) async fn next(&mut self) -> Option<Written> {
        let done = self.under_way.next().await?;
        let service = &done.write.service;
        if let Some(queue) = self.queues.get_mut(service) {
            queue.pop_front();
            if queue.is_empty() {
                self.queues.remove(service);
            } else {
                self.ready.push_back(service.clone());
            }
        }
        Some(done)
    }

    /// Whether [`Scribe::next`] has something to wait for.
    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }
}

async fn send(client: &Client, store: &Store, write: &Write) -> Result<(), WriteError> {
    let services: Api<Service> = Api::namespaced(client.clone(), &write.service.namespace);
    match &write.what {
        What::Finalizer(add) => finalizer(&services, write, *add).await,
        What::Status(status) => self::status(&services, write, status).await,
        What::Event(event, message) => {
            let severity = if event.warns() { Severity::Warning } else { Severity::Normal };
            store
                .event(&EventWrite {
                    service: write.service.clone(),
                    uid: write.uid.clone(),
                    severity,
                    reason: event.reason(),
                    action: "Reconcile",
                    message: message.clone(),
                })
                .await
        }
        What::Gate(gate) => self::gate(client, &write.service.namespace, gate).await,
        What::Ledger(text) => remember(&services, write, text.as_deref()).await,
    }
}

/// Adds the finalizer, or takes it away whoever added it. Both fit the object that was read and no other.
async fn finalizer(services: &Api<Service>, write: &Write, add: bool) -> Result<(), WriteError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let found = answered(services.get_metadata_opt(&write.service.name)).await?;
        let Some(metadata) = found.map(|object| object.metadata) else { return Ok(()) };
        if metadata.uid.as_deref() != Some(&*write.uid) {
            return Ok(());
        }
        let finalizers = metadata.finalizers.unwrap_or_default();
        let position = finalizers.iter().position(|name| name == FINALIZER);
        let change = match (add, position) {
            (true, Some(_)) | (false, None) => return Ok(()),
            (true, None) if finalizers.is_empty() => {
                json!({ "op": "add", "path": "/metadata/finalizers", "value": [FINALIZER] })
            }
            (true, None) => json!({ "op": "add", "path": "/metadata/finalizers/-", "value": FINALIZER }),
            (false, Some(at)) => json!({ "op": "remove", "path": format!("/metadata/finalizers/{at}") }),
        };
        let version =
            json!({ "op": "test", "path": "/metadata/resourceVersion", "value": metadata.resource_version });
        let patch = serde_json::from_value(json!([version, change]))
            .map_err(|error| WriteError::Unavailable { message: error.to_string() })?;
        let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        match answered(services.patch_metadata(&write.service.name, &parameters, &Patch::Json::<()>(patch)))
            .await
        {
            // A test that fails is refused as invalid, and somebody else's write as a conflict: read again.
            Err(WriteError::Conflict { .. } | WriteError::Rejected { code: 422, .. }) if tries < TRIES => {}
            result => return result.map(drop),
        }
    }
}

/// Writes the annotation, or takes it away. A successor of the Service does not get it: with another UID the patch is invalid.
async fn remember(services: &Api<Service>, write: &Write, text: Option<&str>) -> Result<(), WriteError> {
    let name = &write.service.name;
    let found = answered(services.get_metadata_opt(name)).await?;
    if found.is_none_or(|found| found.metadata.uid.as_deref() != Some(&*write.uid)) {
        return Ok(());
    }
    let patch = json!({ "metadata": { "uid": write.uid, "annotations": { REGISTERED: text } } });
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    match answered(services.patch_metadata(name, &parameters, &Patch::Merge(patch))).await {
        Err(WriteError::Gone { .. }) => Ok(()),
        result => result.map(drop),
    }
}

async fn status(services: &Api<Service>, write: &Write, status: &Status) -> Result<(), WriteError> {
    let found = match answered(services.get_status(&write.service.name)).await {
        Err(WriteError::Gone { .. }) => return Ok(()),
        found => found?,
    };
    if found.metadata.uid.as_deref() != Some(&*write.uid) {
        return Ok(());
    }
    let Some(document) = document(write, status, &found, Timestamp::now()) else { return Ok(()) };
    let parameters = PatchParams::apply(MANAGER).force();
    match answered(services.patch_status(&write.service.name, &parameters, &Patch::Apply(document))).await {
        Err(WriteError::Gone { .. }) => Ok(()),
        result => result.map(drop),
    }
}

/// The document for server-side apply; `None` where the status is as wanted. Fields that it leaves out would be given
/// up, so what stays is repeated.
fn document(write: &Write, status: &Status, found: &Service, now: Timestamp) -> Option<Value> {
    let before = found.status.as_ref();
    let shown = before
        .and_then(|status| status.load_balancer.as_ref())
        .and_then(|balancer| balancer.ingress.as_ref());
    let shown = json!(shown.cloned().unwrap_or_default());
    let ports = found.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    let ingress = match &status.hostname {
        Hostname::Leave => shown.clone(),
        Hostname::Clear => json!([]),
        Hostname::Publish(name) => {
            let port = |port: &k8s_openapi::api::core::v1::ServicePort| json!({ "port": port.port, "protocol": port.protocol.as_deref().unwrap_or("TCP") });
            let ports: Vec<Value> = ports.into_iter().flatten().map(port).collect();
            json!([{ "hostname": name, "ports": ports }])
        }
    };
    let conditions = before.and_then(|status| status.conditions.as_ref());
    let known = conditions.into_iter().flatten().find(|condition| condition.type_ == CONDITION);
    let generation = found.metadata.generation.unwrap_or(0);
    let conditions = match &status.verdict {
        None => json!([]),
        Some(Verdict { ready, reason, message }) => {
            let word = if *ready { "True" } else { "False" };
            let same = known.filter(|known| known.status == word);
            if ingress == shown && same.is_some_and(|same| same.reason == *reason && same.message == *message)
            {
                return None;
            }
            let since = same.map_or(Time(now), |same| same.last_transition_time.clone());
            json!([{ "type": CONDITION, "status": word, "reason": reason, "message": message,
                "observedGeneration": generation, "lastTransitionTime": since }])
        }
    };
    if status.verdict.is_none() && known.is_none() && ingress == shown {
        return None;
    }
    Some(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": write.service.name, "namespace": write.service.namespace, "uid": write.uid },
        "status": { "loadBalancer": { "ingress": ingress }, "conditions": conditions },
    }))
}

async fn gate(client: &Client, namespace: &str, gate: &GateCondition) -> Result<(), WriteError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let status = if gate.healthy { "True" } else { "False" };
    let condition = json!({ "type": gate.gate, "status": status, "reason": gate.reason,
        "lastTransitionTime": Time(Timestamp::now()) });
    let patch = json!({ "status": { "conditions": [condition] } });
    match answered(pods.patch_status(&gate.pod, &PatchParams::default(), &Patch::Strategic(patch))).await {
        Err(WriteError::Gone { .. }) => Ok(()),
        result => result.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(status: Value) -> Service {
        serde_json::from_value(json!({
            "metadata": { "uid": "u", "generation": 3 },
            "spec": { "ports": [{ "port": 80 }, { "port": 53, "protocol": "UDP" }] },
            "status": status,
        }))
        .unwrap()
    }

    fn decided(hostname: Hostname, ready: bool, status: Value) -> Option<Value> {
        let verdict = Some(Verdict { ready, reason: "Active", message: "m".to_owned() });
        let status_wanted = Status { hostname, verdict };
        let write = Write {
            service: ServiceKey::new("shop", "web"),
            uid: "u".into(),
            what: What::Status(status_wanted.clone()),
        };
        document(&write, &status_wanted, &service(status), Timestamp::UNIX_EPOCH)
            .map(|mut all| all["status"].take())
    }

    #[test]
    fn a_name_has_the_ports_and_stays_where_it_is_left() {
        let name = Hostname::Publish("x.example.com".to_owned());
        let ports = json!([{ "port": 80, "protocol": "TCP" }, { "port": 53, "protocol": "UDP" }]);
        let ingress = json!([{ "hostname": "x.example.com", "ports": ports }]);
        let written = decided(name.clone(), true, json!({})).unwrap();
        assert_eq!(written["loadBalancer"]["ingress"], ingress);
        assert_eq!(decided(name, true, written.clone()), None, "nothing to change");
        let left = decided(Hostname::Leave, false, written.clone()).unwrap();
        assert_eq!(left["loadBalancer"], written["loadBalancer"]);
        let cleared = decided(Hostname::Clear, true, written).unwrap();
        assert_eq!(cleared["loadBalancer"]["ingress"], json!([]));
    }

    #[test]
    fn a_condition_that_stays_keeps_its_time() {
        let at = "2026-01-01T00:00:00Z";
        let condition = |status: &str, message: &str| {
            json!({ "conditions": [{ "type": CONDITION, "status": status, "reason": "Active", "message": message,
                "lastTransitionTime": at }] })
        };
        let time = |ready, before| {
            decided(Hostname::Leave, ready, before).unwrap()["conditions"][0]["lastTransitionTime"].clone()
        };
        assert_eq!(time(true, condition("True", "other")), json!(at));
        assert_eq!(time(false, condition("True", "m")), json!("1970-01-01T00:00:00Z"));
    }
}
