//! One Pod on this node, from the moment it is bound to the moment it is deleted.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{HostIP, Pod, PodIP, PodStatus};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use landfall_lan::{Host, PodSpec};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::containers::{Sandbox, end};
use super::status::{Place, State, Transitions, status};
use super::{Context, volumes};

/// How long to wait before trying again what did not work.
const RETRY: Duration = Duration::from_millis(300);

/// How often volumes follow their Secrets and ConfigMaps. (The kubelet: up to a minute.)
const REFRESH: Duration = Duration::from_secs(3);

/// Follows one Pod.
pub(crate) struct Worker {
    context: Arc<Context>,
    newest: watch::Receiver<Arc<Pod>>,
    gone: CancellationToken,
}

/// Why a Pod's life ended.
enum End {
    /// The node died: nothing more is done, and nobody is told.
    Frozen,
    /// Somebody deleted the object without waiting for us.
    Gone,
    /// Deletion was asked for.
    Deleting,
}

impl Worker {
    pub(crate) fn new(
        context: Arc<Context>,
        newest: watch::Receiver<Arc<Pod>>,
        gone: CancellationToken,
    ) -> Self {
        Self { context, newest, gone }
    }

    /// Runs the Pod until its end.
    pub(crate) async fn run(mut self) {
        let pod = Arc::clone(&self.newest.borrow());
        if pod.metadata.deletion_timestamp.is_some() {
            return self.confirm_deletion(&pod).await;
        }
        let number = self.context.take_number();
        // Not cancelled half-way: a namespace that nobody knows of would stay until the bed goes.
        let sandbox = loop {
            match self.sandbox(&pod, number).await {
                Ok(sandbox) => break Arc::new(sandbox),
                Err(error) => {
                    tracing::warn!(
                        op = "make a pod",
                        node = self.context.name(),
                        error = format!("{error:#}"),
                        "again"
                    );
                }
            }
            tokio::time::sleep(RETRY).await;
            if self.context.stopped.is_cancelled() || self.gone.is_cancelled() {
                return self.context.give_number_back(number);
            }
        };
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        self.context.enlist(uid, &sandbox);
        let mut newest = self.newest.clone();
        let ended = tokio::select! {
            biased;
            () = self.context.stopped.cancelled() => End::Frozen,
            () = self.gone.cancelled() => End::Gone,
            _ = newest.wait_for(|pod| pod.metadata.deletion_timestamp.is_some()) => End::Deleting,
            () = live(&sandbox, self.newest.clone()) => End::Gone,
        };
        let newest = Arc::clone(&self.newest.borrow_and_update());
        match ended {
            End::Frozen => return,
            End::Gone => end_all(&sandbox, Duration::ZERO).await,
            End::Deleting => {
                let seconds = newest.metadata.deletion_grace_period_seconds.unwrap_or(30);
                end_all(&sandbox, Duration::from_secs(seconds.unsigned_abs())).await;
            }
        }
        self.context.strike(uid);
        self.remove(&sandbox).await;
        self.context.give_number_back(number);
        if matches!(ended, End::Deleting) {
            self.confirm_deletion(&newest).await;
        }
    }

    async fn sandbox(&self, pod: &Pod, number: u32) -> Result<Sandbox> {
        let meta = &pod.metadata;
        let uid = meta.uid.clone().context("a Pod without UID")?;
        let settings = &self.context.settings;
        let directory = settings.directory.join("pods").join(&uid);
        std::fs::create_dir_all(&directory)?;
        let on_host = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false);
        let (host, addresses) = if on_host {
            (settings.host.clone(), self.context.host_addresses())
        } else {
            let addresses = self.context.pod_addresses(number);
            let spec = PodSpec::new(namespace_name(pod, &uid), addresses.clone());
            let node = settings.host.clone();
            (tokio::task::spawn_blocking(move || node.add_pod(spec)).await??, addresses)
        };
        let mut placed = pod.clone();
        let filled = placed.status.get_or_insert_with(PodStatus::default);
        fill(filled, &self.context.host_addresses(), &addresses);
        Ok(Sandbox::new(Arc::clone(&self.context), placed, host, addresses, directory))
    }

    async fn remove(&self, sandbox: &Sandbox) {
        let own = sandbox.host.name() != self.context.name();
        let (host, directory): (Host, PathBuf) = (sandbox.host.clone(), sandbox.directory.clone());
        let removed = tokio::task::spawn_blocking(move || {
            if own {
                host.remove()?;
            }
            std::fs::remove_dir_all(directory)?;
            anyhow::Ok(())
        });
        if let Err(error) = removed.await.map_err(anyhow::Error::from).flatten() {
            tracing::warn!(
                op = "remove a pod",
                node = self.context.name(),
                error = format!("{error:#}"),
                "left"
            );
        }
    }

    /// Tells the API server that the Pod has ended, which removes the object.
    async fn confirm_deletion(&self, pod: &Pod) {
        let meta = &pod.metadata;
        let (Some(name), Some(namespace)) = (&meta.name, &meta.namespace) else { return };
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), namespace);
        let parameters = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: meta.uid.clone(), resource_version: None }),
            ..DeleteParams::default()
        };
        loop {
            let told = tokio::select! {
                () = self.context.stopped.cancelled() => return,
                () = self.gone.cancelled() => return,
                told = api.delete(name, &parameters) => told,
            };
            match told {
                Ok(_) => return,
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
                Err(error) => {
                    tracing::debug!(op = "delete a pod", node = self.context.name(), %error, "again")
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Runs the containers and reports what they do. Never returns by itself.
async fn live(sandbox: &Arc<Sandbox>, newest: watch::Receiver<Arc<Pod>>) {
    tokio::select! {
        () = report(sandbox, newest) => {}
        () = work(sandbox) => {}
    }
}

async fn work(sandbox: &Arc<Sandbox>) {
    while let Err(error) = renew_volumes(sandbox).await {
        let message = format!("{error:#}");
        tracing::debug!(op = "make volumes", node = sandbox.context.name(), error = message, "again");
        sandbox.board.send_if_modified(|runs| {
            let waiting = State::Waiting { reason: "ContainerCreating", message: message.clone() };
            let news = runs.iter().any(|run| run.state != waiting);
            runs.iter_mut().for_each(|run| run.state = waiting.clone());
            news
        });
        tokio::time::sleep(RETRY).await;
    }
    let spec = sandbox.pod.spec.clone().unwrap_or_default();
    for container in spec.init_containers.iter().flatten() {
        while sandbox.run_once(container).await != Some(0) {
            if spec.restart_policy.as_deref() == Some("Never") {
                return std::future::pending().await;
            }
            tokio::time::sleep(RETRY).await;
        }
    }
    let mut containers = JoinSet::new();
    for container in spec.containers {
        containers.spawn(Arc::clone(sandbox).keep_running(container));
    }
    let follows =
        spec.volumes.iter().flatten().any(|volume| volume.empty_dir.is_none() && volume.host_path.is_none());
    loop {
        tokio::time::sleep(REFRESH).await;
        if follows && let Err(error) = renew_volumes(sandbox).await {
            tracing::debug!(
                op = "renew volumes",
                node = sandbox.context.name(),
                error = format!("{error:#}"),
                "again"
            );
        }
    }
}

async fn renew_volumes(sandbox: &Sandbox) -> Result<()> {
    let directory = sandbox.directory.join("volumes");
    let paths = volumes::materialise(&sandbox.context, &sandbox.pod, &directory).await?;
    *sandbox.volumes.lock().unwrap_or_else(PoisonError::into_inner) = paths;
    Ok(())
}

/// Writes the status whenever it differs from what was written last.
async fn report(sandbox: &Sandbox, mut newest: watch::Receiver<Arc<Pod>>) {
    let context = &sandbox.context;
    let meta = &sandbox.pod.metadata;
    let api: Api<Pod> =
        Api::namespaced(context.client.clone(), meta.namespace.as_deref().unwrap_or("default"));
    let name = meta.name.as_deref().unwrap_or_default();
    let place = Place {
        host_addresses: context.host_addresses(),
        pod_addresses: sandbox.addresses.clone(),
        start: Timestamp::now(),
    };
    let mut board = sandbox.board.subscribe();
    let mut transitions = Transitions::default();
    let mut written = None;
    loop {
        let runs = board.borrow_and_update().clone();
        let pod = Arc::clone(&newest.borrow_and_update());
        let value = status(&pod, &place, &runs, &mut transitions, Timestamp::now());
        if written.as_ref() != Some(&value) || overruled(&pod, &value) {
            let patch = Patch::Strategic(json!({"metadata": {"uid": meta.uid}, "status": value}));
            match api.patch_status(name, &PatchParams::default(), &patch).await {
                Ok(_) => written = Some(value),
                Err(error) => {
                    tracing::debug!(op = "report a pod", node = context.name(), %error, "again");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            }
        }
        tokio::select! {
            changed = board.changed() => if changed.is_err() { return },
            changed = newest.changed() => if changed.is_err() { return },
        }
    }
}

/// Whether the API server's object has another condition than ours: the node lifecycle controller writes `Ready` to be false
/// when it has not heard of the node, and the kubelet sets that right when it is heard again. (An object that is older than
/// what we wrote looks the same; then the same is written once more.)
fn overruled(pod: &Pod, ours: &serde_json::Value) -> bool {
    let theirs = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ours = ours["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    ours.iter().any(|own| {
        theirs
            .iter()
            .any(|other| own["type"] == other.type_.as_str() && own["status"] != other.status.as_str())
    })
}

/// Ends every process of a Pod. A grace period of zero is SIGKILL at once.
async fn end_all(sandbox: &Sandbox, grace: Duration) {
    let pause = sandbox.pod.spec.iter().flat_map(|spec| &spec.containers).filter_map(pre_stop_pause).max();
    if let Some(pause) = pause {
        tokio::time::sleep(pause.min(grace)).await;
    }
    let processes = sandbox.running();
    let all = processes.iter().map(|process| async move {
        if grace.is_zero() {
            process.signal(Signal::SIGKILL)?;
        }
        end(process, grace).await
    });
    for ended in join_all(all).await {
        if let Err(error) = ended {
            tracing::warn!(op = "end a container", error = format!("{error:#}"), "not ended");
        }
    }
}

/// `lifecycle.preStop.sleep`; other kinds of hook are not known here.
fn pre_stop_pause(container: &k8s_openapi::api::core::v1::Container) -> Option<Duration> {
    let hook = container.lifecycle.as_ref()?.pre_stop.as_ref()?;
    hook.sleep.as_ref().map(|sleep| Duration::from_secs(sleep.seconds.unsigned_abs()))
}

/// The addresses as the downward API shows them.
fn fill(status: &mut PodStatus, host: &[IpAddr], pod: &[IpAddr]) {
    status.host_ip = host.first().map(ToString::to_string);
    status.host_ips = Some(host.iter().map(|ip| HostIP { ip: ip.to_string() }).collect());
    status.pod_ip = pod.first().map(ToString::to_string);
    status.pod_ips = Some(pod.iter().map(|ip| PodIP { ip: ip.to_string() }).collect());
}

/// A name for the Pod's network namespace that a person recognises: its namespace, its name, the start of its UID.
fn namespace_name(pod: &Pod, uid: &str) -> String {
    let part = |text: Option<&str>| text.unwrap_or_default().replace('.', "-");
    let meta = &pod.metadata;
    let mut name = format!("{}-{}", part(meta.namespace.as_deref()), part(meta.name.as_deref()));
    name.truncate(100);
    format!("{name}-{}", &uid[..uid.len().min(8)])
}
