//! A stand-in for the kubelet: one node's agent, without a container runtime.
//!
//! ```text
//!   heartbeat task ── Lease, Node status ─▶ API server      (one per node)
//!   watch task ── Pods bound to this node ─▶ one worker task per Pod ── watch channel: newest Pod ─▶ Pod status
//!                                              └─ one task per container: start, probe, wait, start again
//! ```
//!
//! It uses the node's own certificate (`system:node:…`, group `system:nodes`), so the node authorizer and
//! NodeRestriction apply to it, and its connections go through the node's network, so they break when that does. A watch
//! channel holds the newest Pod only; nothing is lost by skipping older ones.

mod capabilities;
mod containers;
mod environment;
mod pod;
mod probe;
mod status;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use futures::{StreamExt, TryStreamExt};
use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use landfall_lan::{Host, Process};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ask::until;
use crate::programs::Programs;
use containers::Sandbox;

const LEASES: &str = "kube-node-lease";

/// How long a node tries to register.
const REGISTRATION: Duration = Duration::from_secs(30);

/// How long to leave the API server alone after it broke a watch.
const WATCH_RETRY: Duration = Duration::from_millis(300);

/// The machine's architecture, as Kubernetes spells it.
const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// The disk of the node whose files are in `directory`, but for what is the kernel's.
pub(crate) fn disk(directory: &Path) -> PathBuf {
    directory.join("files")
}

/// What the agent of one node needs to know.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) host: Host,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) pod_ranges: Vec<IpNet>,
    /// The `kubernetes` Service as Pods see it.
    pub(crate) api: SocketAddr,
    pub(crate) programs: Programs,
    pub(crate) directory: PathBuf,
    pub(crate) logs: PathBuf,
    pub(crate) heartbeat: Duration,
}

/// What all workers of a node share.
pub(crate) struct Context {
    pub(crate) client: kube::Client,
    pub(crate) settings: Settings,
    /// Cancelled when the node dies: nobody starts, restarts or reports anything after that.
    pub(crate) stopped: CancellationToken,
    /// The Pods that run, by UID.
    sandboxes: Mutex<BTreeMap<String, Arc<Sandbox>>>,
    /// Addresses of Pods, as numbers within each of the node's ranges.
    numbers: Mutex<BTreeSet<u32>>,
}

/// A running agent.
pub(crate) struct Kubelet {
    context: Arc<Context>,
    tasks: JoinSet<()>,
}

impl Kubelet {
    /// Registers the node and starts the agent.
    pub(crate) async fn start(client: kube::Client, settings: Settings) -> Result<Self> {
        let context = Arc::new(Context {
            client,
            settings,
            stopped: CancellationToken::new(),
            sandboxes: Mutex::default(),
            numbers: Mutex::default(),
        });
        // As a kubelet does, which may boot before its API server can be reached.
        let what = format!("the node {} is registered", context.name());
        until(&what, REGISTRATION, || context.register()).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&context).heartbeats());
        tasks.spawn(Arc::clone(&context).watch_pods());
        Ok(Self { context, tasks })
    }

    /// Makes the agent do nothing any more, at once, without a word to anybody.
    pub(crate) fn freeze(&self) {
        self.context.stopped.cancel();
    }

    /// The processes of a Pod's containers that may still run; none when the Pod is not on this node.
    pub(crate) fn processes(&self, namespace: &str, pod: &str) -> Vec<Process> {
        let sandboxes = self.context.sandboxes.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = |sandbox: &&Arc<Sandbox>| {
            let meta = &sandbox.pod.metadata;
            meta.namespace.as_deref() == Some(namespace) && meta.name.as_deref() == Some(pod)
        };
        sandboxes.values().filter(wanted).flat_map(|sandbox| sandbox.running()).collect()
    }

    /// Freezes the agent and waits until its tasks have ended. What it started goes on running.
    pub(crate) async fn stop(mut self) {
        self.freeze();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.freeze();
    }
}

impl Context {
    pub(crate) fn name(&self) -> &str {
        self.settings.host.name()
    }

    /// The lowest free number for a Pod's addresses; 0 and 1 stay unused, as the network's and the gateway's usually are.
    pub(crate) fn take_number(&self) -> u32 {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let free = (2..).find(|number| !numbers.contains(number)).expect("fewer than 2^32 Pods per node");
        numbers.insert(free);
        free
    }

    pub(crate) fn give_number_back(&self, number: u32) {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    /// The Pod addresses with this number.
    pub(crate) fn pod_addresses(&self, number: u32) -> Vec<IpAddr> {
        let of_range = |range: &IpNet| match range {
            IpNet::V4(range) => IpAddr::V4((u32::from(range.network()) + number).into()),
            IpNet::V6(range) => IpAddr::V6((u128::from(range.network()) + u128::from(number)).into()),
        };
        self.settings.pod_ranges.iter().map(of_range).collect()
    }

    /// The node's own addresses, first family first.
    pub(crate) fn host_addresses(&self) -> Vec<IpAddr> {
        self.settings.host.addresses().iter().map(IpNet::addr).collect()
    }

    /// Lists a Pod as running.
    pub(crate) fn enlist(&self, uid: &str, sandbox: &Arc<Sandbox>) {
        let mut sandboxes = self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner);
        sandboxes.insert(uid.to_owned(), Arc::clone(sandbox));
    }

    /// Takes a Pod off the list.
    pub(crate) fn strike(&self, uid: &str) {
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    async fn register(&self) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let ranges: Vec<String> = self.settings.pod_ranges.iter().map(ToString::to_string).collect();
        let mut labels = self.settings.labels.clone();
        labels.insert("kubernetes.io/hostname".to_owned(), self.name().to_owned());
        labels.insert("kubernetes.io/os".to_owned(), "linux".to_owned());
        labels.insert("kubernetes.io/arch".to_owned(), ARCHITECTURE.to_owned());
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": self.name(), "labels": labels},
            "spec": {"podCIDR": ranges.first(), "podCIDRs": ranges},
            "status": self.node_status(),
        }))?;
        match nodes.create(&PostParams::default(), &node).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => self.report_node().await,
            Err(error) => Err(error.into()),
        }
    }

    /// The status of a node that has just started.
    fn node_status(&self) -> Value {
        let mut addresses: Vec<Value> = self
            .host_addresses()
            .iter()
            .map(|address| json!({"type": "InternalIP", "address": address.to_string()}))
            .collect();
        addresses.push(json!({"type": "Hostname", "address": self.name()}));
        let resources = json!({"cpu": "64", "memory": "256Gi", "pods": "250", "ephemeral-storage": "100Gi"});
        json!({
            "addresses": addresses,
            "capacity": resources,
            "allocatable": resources,
            "conditions": conditions(true),
            "nodeInfo": {
                "kubeletVersion": "v1.34.0-testbed", "kubeProxyVersion": "", "operatingSystem": "linux",
                "architecture": ARCHITECTURE, "osImage": "landfall-testbed",
                "containerRuntimeVersion": "landfall-testbed://1", "kernelVersion": "",
                "machineID": self.name(), "systemUUID": self.name(), "bootID": self.name(),
            },
        })
    }

    /// Says that the node is ready; conditions of others stay (strategic merge).
    async fn report_node(&self) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let status = nodes.get(self.name()).await?.status;
        let known = status.and_then(|status| status.conditions).unwrap_or_default();
        let ready = known.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let patch = Patch::Strategic(json!({"status": {"conditions": conditions(!ready)}}));
        nodes.patch_status(self.name(), &PatchParams::default(), &patch).await?;
        Ok(())
    }

    async fn heartbeats(self: Arc<Self>) {
        let mut beat = tokio::time::interval(self.settings.heartbeat);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stopped.cancelled() => return,
                _ = beat.tick() => {}
            }
            let limit = self.settings.heartbeat.max(Duration::from_secs(2));
            let told = tokio::select! {
                () = self.stopped.cancelled() => return,
                told = tokio::time::timeout(limit, async { self.renew_lease().await?; self.report_node().await }) => told,
            };
            match told {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::debug!(
                        op = "heartbeat",
                        node = self.name(),
                        error = format!("{error:#}"),
                        "not told"
                    );
                }
                Err(_) => tracing::debug!(op = "heartbeat", node = self.name(), "no answer"),
            }
        }
    }

    async fn renew_lease(&self) -> Result<()> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), LEASES);
        let seconds = i32::try_from(self.settings.heartbeat.as_secs() * 4).unwrap_or(i32::MAX).max(1);
        let lease = Lease {
            metadata: ObjectMeta { name: Some(self.name().to_owned()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.name().to_owned()),
                lease_duration_seconds: Some(seconds),
                renew_time: Some(MicroTime(Timestamp::now())),
                ..LeaseSpec::default()
            }),
        };
        let renewed = leases.patch(self.name(), &PatchParams::default(), &Patch::Merge(&lease)).await;
        match renewed {
            Err(kube::Error::Api(status)) if status.code == 404 => {
                leases.create(&PostParams::default(), &lease).await?;
                Ok(())
            }
            other => Ok(other.map(drop)?),
        }
    }

    async fn watch_pods(self: Arc<Self>) {
        let pods: Api<Pod> = Api::all(self.client.clone());
        let selection = watcher::Config::default().fields(&format!("spec.nodeName={}", self.name()));
        let mut events = watcher(pods, selection).boxed();
        let mut workers = Workers::default();
        loop {
            let event = tokio::select! {
                () = self.stopped.cancelled() => break,
                event = events.try_next() => event,
            };
            match event {
                Ok(Some(watcher::Event::Init)) => workers.listed = Some(BTreeSet::new()),
                Ok(Some(watcher::Event::InitApply(pod) | watcher::Event::Apply(pod))) => {
                    workers.apply(&self, pod)
                }
                Ok(Some(watcher::Event::InitDone)) => workers.end_list(),
                Ok(Some(watcher::Event::Delete(pod))) => {
                    workers.remove(pod.metadata.uid.as_deref().unwrap_or_default())
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(op = "watch pods", node = self.name(), %error, "again");
                    // The stream recovers when it is asked again.
                    tokio::time::sleep(WATCH_RETRY).await;
                }
            }
            workers.collect();
        }
        // The workers see the same token and end by themselves.
        while workers.tasks.join_next().await.is_some() {}
    }
}

/// The conditions of a node that is well. Without `changed`, the times of the last change stay as they are.
fn conditions(changed: bool) -> Value {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = |kind: &str, status: &str, reason: &str| {
        let mut value = json!({"type": kind, "status": status, "reason": reason,
            "message": "reported by the test bed", "lastHeartbeatTime": now});
        if changed {
            value["lastTransitionTime"] = json!(now);
        }
        value
    };
    json!([
        condition("Ready", "True", "KubeletReady"),
        condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
        condition("PIDPressure", "False", "KubeletHasSufficientPID"),
    ])
}

/// The workers of a node, by the UID of their Pod.
#[derive(Default)]
struct Workers {
    running: BTreeMap<String, (watch::Sender<Arc<Pod>>, CancellationToken)>,
    listed: Option<BTreeSet<String>>,
    tasks: JoinSet<String>,
}

impl Workers {
    fn apply(&mut self, context: &Arc<Context>, pod: Pod) {
        let Some(uid) = pod.metadata.uid.clone() else { return };
        if let Some(listed) = &mut self.listed {
            listed.insert(uid.clone());
        }
        let pod = Arc::new(pod);
        if let Some((newest, _)) = self.running.get(&uid) {
            newest.send_replace(pod);
            return;
        }
        let finished = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(finished, Some("Succeeded" | "Failed")) && pod.metadata.deletion_timestamp.is_none() {
            return;
        }
        let gone = CancellationToken::new();
        let (sender, receiver) = watch::channel(pod);
        let worker = pod::Worker::new(Arc::clone(context), receiver, gone.clone());
        self.running.insert(uid.clone(), (sender, gone));
        self.tasks.spawn(async move {
            worker.run().await;
            uid
        });
    }

    fn remove(&mut self, uid: &str) {
        if let Some((_, gone)) = self.running.get(uid) {
            gone.cancel();
        }
    }

    fn end_list(&mut self) {
        let Some(listed) = self.listed.take() else { return };
        let vanished: Vec<String> =
            self.running.keys().filter(|uid| !listed.contains(*uid)).cloned().collect();
        vanished.iter().for_each(|uid| self.remove(uid));
    }

    fn collect(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            match ended {
                Ok(uid) => drop(self.running.remove(&uid)),
                Err(error) => tracing::error!(op = "run a pod", %error, "a worker ended badly"),
            }
        }
    }
}
