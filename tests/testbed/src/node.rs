//! A node: a machine on the LAN with kube-proxy and the stand-in for the kubelet.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::Api;
use landfall_lan::{Host, Process};
use serde_json::json;
use tokio::sync::Mutex;

use crate::access::{self, Credentials::Certificate, Forwarder, write_kubeconfig};
use crate::ask;
use crate::certificates::Authority;
use crate::control_plane::{joined, open_log};
use crate::kubelet::{Kubelet, Settings};
use crate::programs::Programs;

const PROXY_HEALTH_PORT: u16 = 10256;

/// How kube-proxy programs a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ProxyMode {
    /// nftables, the way forward of Kubernetes.
    #[default]
    Nftables,
    /// iptables, the default of kube-proxy.
    Iptables,
}

/// What the nodes of a bed have in common.
#[derive(Clone, Debug)]
pub(crate) struct NodeSpec {
    pub(crate) proxy_mode: ProxyMode,
    pub(crate) pod_ranges: Vec<IpNet>,
    pub(crate) api: SocketAddr,
    /// The `kubernetes` Service.
    pub(crate) api_service: SocketAddr,
    pub(crate) programs: Programs,
    pub(crate) logs: PathBuf,
    pub(crate) heartbeat: Duration,
}

/// A node of the bed; alive or killed.
pub struct Node {
    host: Host,
    pod_ranges: Vec<IpNet>,
    spec: NodeSpec,
    directory: PathBuf,
    kubelet_identity: crate::certificates::Identity,
    running: Mutex<Option<Running>>,
}

struct Running {
    kubelet: Kubelet,
    proxy: Process,
    /// Closes when the node dies.
    _forwarder: Forwarder,
}

impl Node {
    /// Prepares a node on this host; [`Node::start`] brings it to life.
    pub(crate) fn new(
        host: Host,
        pod_ranges: Vec<IpNet>,
        spec: NodeSpec,
        directory: PathBuf,
        authority: &Authority,
    ) -> Result<Self> {
        std::fs::create_dir_all(&directory)?;
        let user = format!("system:node:{}", host.name());
        let kubelet_identity =
            authority.client(&format!("kubelet-{}", host.name()), &user, &["system:nodes"])?;
        let proxy = authority.client(&format!("kube-proxy-{}", host.name()), "system:kube-proxy", &[])?;
        write_kubeconfig(&directory.join("kube-proxy.kubeconfig"), spec.api, authority, Certificate(&proxy))?;
        Ok(Self { host, pod_ranges, spec, directory, kubelet_identity, running: Mutex::default() })
    }

    /// The machine.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The subnets of its Pods.
    #[must_use]
    pub fn pod_ranges(&self) -> &[IpNet] {
        &self.pod_ranges
    }

    /// Where a path of the node's disk, such as that of a `hostPath`, lies on this machine.
    #[must_use]
    pub fn disk(&self, path: &str) -> PathBuf {
        crate::kubelet::disk(&self.directory).join(path.trim_start_matches('/'))
    }

    /// Whether it is alive.
    pub async fn is_alive(&self) -> bool {
        self.running.lock().await.is_some()
    }

    /// The processes of a Pod on this node.
    pub(crate) async fn pod_processes(&self, namespace: &str, pod: &str) -> Vec<Process> {
        let running = self.running.lock().await;
        running.as_ref().map(|running| running.kubelet.processes(namespace, pod)).unwrap_or_default()
    }

    /// Registers the node and starts what runs on it. Nothing happens when it is alive.
    pub(crate) async fn start(&self, authority: &Authority) -> Result<()> {
        let mut running = self.running.lock().await;
        if running.is_some() {
            return Ok(());
        }
        let forwarder = Forwarder::start(self.host.clone(), self.spec.api).await?;
        let kubeconfig = write_kubeconfig(
            &self.directory.join("kubelet.kubeconfig"),
            forwarder.address(),
            authority,
            Certificate(&self.kubelet_identity),
        )?;
        let settings = Settings {
            host: self.host.clone(),
            labels: std::collections::BTreeMap::new(),
            pod_ranges: self.pod_ranges.clone(),
            api: self.spec.api_service,
            programs: self.spec.programs.clone(),
            directory: self.directory.clone(),
            logs: self.spec.logs.clone(),
            heartbeat: self.spec.heartbeat,
        };
        let kubelet = Kubelet::start(access::client(&kubeconfig).await?, settings).await?;
        let proxy = self.start_proxy()?;
        *running = Some(Running { kubelet, proxy, _forwarder: forwarder });
        Ok(())
    }

    /// Waits until the API server calls the node ready and kube-proxy has programmed it.
    pub(crate) async fn wait_until_ready(&self, client: &kube::Client, patience: Duration) -> Result<()> {
        let nodes: Api<NodeObject> = Api::all(client.clone());
        ask::until(&format!("node {} is ready", self.host.name()), patience, || async {
            let node = nodes.get(self.host.name()).await?;
            let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
            ensure!(
                taints.is_empty(),
                "taints {:?}",
                taints.iter().map(|taint| &taint.key).collect::<Vec<_>>()
            );
            let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
            let ready =
                conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
            ensure!(ready, "condition Ready is not True");
            let health = SocketAddr::from((self.host.ipv4().context("no IPv4")?, PROXY_HEALTH_PORT));
            ask::get(&self.host, health, "/healthz").await.context("kube-proxy is not ready").map(drop)
        })
        .await
    }

    /// The power goes: no carrier, every process killed, nothing left in memory. What was written to its disk
    /// (`hostPath` volumes) stays.
    pub(crate) async fn kill(&self) -> Result<()> {
        let mut running = self.running.lock().await;
        let host = self.host.clone();
        host.link_down()?;
        let alive = running.take();
        if let Some(alive) = &alive {
            alive.kubelet.freeze();
            alive.proxy.signal(nix::sys::signal::Signal::SIGKILL)?;
        }
        let node = host.clone();
        tokio::task::spawn_blocking(move || {
            for machine in node.pods()?.iter().chain([&node]) {
                machine.kill_all()?;
            }
            anyhow::Ok(())
        })
        .await??;
        if let Some(alive) = alive {
            alive.kubelet.stop().await;
        }
        let pods = self.directory.join("pods");
        tokio::task::spawn_blocking(move || {
            host.kill_all()?;
            for pod in host.pods()? {
                pod.remove()?;
            }
            // With the neighbours go the packets that wait for their answers: the kernel would send them when the cable is
            // plugged in again, in the name of processes that are dead.
            for line in ["nft flush ruleset", "ip -4 neigh flush all", "ip -6 neigh flush all"] {
                let mut words = line.split(' ');
                let program = words.next().context("no program")?;
                let flushed =
                    host.command(program).args(words).output().with_context(|| format!("run {line}"))?;
                let said = String::from_utf8_lossy(&flushed.stderr);
                ensure!(flushed.status.success(), "{line} on {}: {said}", host.name());
            }
            match std::fs::remove_dir_all(&pods) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
                Ok(()) | Err(_) => Ok(()),
            }
        })
        .await?
    }

    /// The power comes back.
    pub(crate) async fn revive(&self, authority: &Authority) -> Result<()> {
        self.host.heal()?;
        self.start(authority).await
    }

    /// Stops the stand-in in good order, so that nothing is started any more.
    pub(crate) async fn stop(&self) {
        if let Some(alive) = self.running.lock().await.take() {
            alive.kubelet.stop().await;
        }
    }

    fn start_proxy(&self) -> Result<Process> {
        let name = format!("kube-proxy-{}", self.host.name());
        let mode = match self.spec.proxy_mode {
            ProxyMode::Nftables => "nftables",
            ProxyMode::Iptables => "iptables",
        };
        // Namespaces other than the machine's may not change the size of the connection table: leave all that.
        let config = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": mode,
            "hostnameOverride": self.host.name(),
            "clientConnection": {"kubeconfig": self.directory.join("kube-proxy.kubeconfig"), "qps": 100, "burst": 200},
            "clusterCIDR": joined(&self.spec.pod_ranges),
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "nftables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
            "iptables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
            "healthzBindAddress": format!("0.0.0.0:{PROXY_HEALTH_PORT}"),
            "metricsBindAddress": "127.0.0.1:10249",
        });
        let file = self.directory.join("kube-proxy.json");
        std::fs::write(&file, serde_json::to_vec_pretty(&config)?)?;
        let mut command = self.host.command(self.spec.programs.control_plane("kube-proxy"));
        let log = open_log(&self.spec.logs, &name)?;
        command.arg(format!("--config={}", file.display()));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(self.host.spawn(command)?)
    }
}
