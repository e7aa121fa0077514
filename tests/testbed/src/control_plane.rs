//! etcd, the API server, the controllers and the scheduler, in a host of their own.
//!
//! `10.77.0.2` and `fd77::2` is that host, as one more machine on the LAN. It runs no kube-proxy and is no node.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use landfall_lan::{Host, Process};
use nix::sys::signal::Signal;
use tokio::sync::Mutex;

use crate::access::{self, Credentials::Certificate, Forwarder, write_kubeconfig};
use crate::certificates::{Authority, Identity};
use crate::programs::Programs;

const API_PORT: u16 = 6443;

/// How long the API server may take until it is ready. It takes 3 seconds on an idle machine.
const READY_DEADLINE: Duration = Duration::from_secs(90);

/// What can be chosen about the control plane.
#[derive(Clone, Debug)]
pub struct ControlPlaneSpec {
    /// The ranges of ClusterIPs, first family first.
    pub service_ranges: Vec<IpNet>,
    /// The ranges that the nodes' Pod subnets lie in.
    pub pod_ranges: Vec<IpNet>,
    /// How long a node may be silent before the controllers call it unready.
    pub node_grace: Duration,
    /// More flags for the API server.
    pub api_flags: Vec<String>,
}

/// A running control plane.
pub struct ControlPlane {
    host: Host,
    programs: Programs,
    logs: PathBuf,
    directory: PathBuf,
    authority: Authority,
    tokens: Identity,
    serving: Identity,
    api: SocketAddr,
    forwarder: Forwarder,
    kubeconfig: PathBuf,
    client: kube::Client,
    spec: ControlPlaneSpec,
    processes: Mutex<Processes>,
}

#[derive(Default)]
struct Processes {
    etcd: Option<Process>,
    api: Option<Process>,
    others: Vec<Process>,
}

impl ControlPlane {
    /// Starts all of it and returns when the API server is ready; the controllers and the scheduler find it by themselves.
    ///
    /// # Errors
    /// When a program cannot be started, or ends at once: then with the end of its log.
    pub async fn start(
        host: Host,
        programs: &Programs,
        spec: ControlPlaneSpec,
        directory: &Path,
        logs: &Path,
    ) -> Result<Self> {
        let authority = Authority::create(&directory.join("pki"))?;
        let address = host.ipv4().context("the LAN needs IPv4 for the control plane")?;
        let mut names = vec!["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        names.push("kubernetes.default.svc.cluster.local");
        let mut addresses = vec![[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()];
        addresses.extend(host.addresses().iter().map(IpNet::addr));
        addresses.extend(spec.service_ranges.iter().filter_map(|range| range.hosts().next()));
        let serving = authority.server("kube-apiserver", &names, &addresses)?;
        let tokens = authority.token_key()?;
        let admin = authority.client("admin", "admin", &["system:masters"])?;
        let api = SocketAddr::from((address, API_PORT));
        let forwarder = Forwarder::start(host.clone(), api).await?;
        let kubeconfig = write_kubeconfig(
            &directory.join("kubeconfig"),
            forwarder.address(),
            &authority,
            Certificate(&admin),
        )?;
        let client = access::client(&kubeconfig).await?;
        let plane = Self {
            host,
            programs: programs.clone(),
            logs: logs.to_owned(),
            directory: directory.to_owned(),
            authority,
            tokens,
            serving,
            api,
            forwarder,
            kubeconfig,
            client,
            spec,
            processes: Mutex::default(),
        };
        plane.start_etcd().await?;
        plane.start_api().await?;
        plane.start_controllers().await?;
        Ok(plane)
    }

    /// A client with all rights, which reaches the API server from wherever this process is.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// The kubeconfig with all rights, usable on the machine outside the LAN.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The API server's address on the LAN.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.api
    }

    /// The API server's address on the machine's loopback.
    #[must_use]
    pub fn loopback(&self) -> SocketAddr {
        self.forwarder.address()
    }

    /// The cluster's certificate authority.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The machine of the control plane.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Stops the API server's process from running (SIGSTOP): connections stay open and nobody answers.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn pause_api(&self) -> Result<()> {
        let processes = self.processes.lock().await;
        processes.api.as_ref().context("the API server is not running")?.pause()?;
        Ok(())
    }

    /// Ends a pause.
    ///
    /// # Errors
    /// When it is not running, or does not become ready again.
    pub async fn resume_api(&self) -> Result<()> {
        let processes = self.processes.lock().await;
        processes.api.as_ref().context("the API server is not running")?.signal(Signal::SIGCONT)?;
        drop(processes);
        self.wait_until_ready().await
    }

    /// Kills the API server: connections break and new ones are refused. etcd keeps everything.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn stop_api(&self) -> Result<()> {
        if let Some(process) = self.processes.lock().await.api.take() {
            tokio::task::spawn_blocking(move || process.kill()).await??;
        }
        Ok(())
    }

    /// Starts the API server and returns when it is ready. Nothing happens when it runs.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start_api(&self) -> Result<()> {
        let mut processes = self.processes.lock().await;
        if processes.api.is_none() {
            processes.api = Some(self.spawn("kube-apiserver", &self.api_flags())?);
        }
        drop(processes);
        self.wait_until_ready().await
    }

    async fn start_etcd(&self) -> Result<()> {
        let data = self.directory.join("etcd");
        let flags = [
            format!("--data-dir={}", data.display()),
            "--listen-client-urls=http://127.0.0.1:2379".to_owned(),
            "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
            "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
            // The data is thrown away with the bed; waiting for the disk would only make every write slower.
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
            "--quota-backend-bytes=4294967296".to_owned(),
        ];
        self.processes.lock().await.etcd = Some(self.spawn("etcd", &flags)?);
        Ok(())
    }

    async fn start_controllers(&self) -> Result<()> {
        let manager = self.component("kube-controller-manager", "system:kube-controller-manager")?;
        let scheduler = self.component("kube-scheduler", "system:kube-scheduler")?;
        let manager_flags = [
            format!("--kubeconfig={}", manager.display()),
            format!("--service-account-private-key-file={}", self.tokens.key.display()),
            format!("--root-ca-file={}", self.authority.certificate().display()),
            "--use-service-account-credentials=true".to_owned(),
            "--leader-elect=false".to_owned(),
            "--allocate-node-cidrs=false".to_owned(),
            format!("--cluster-cidr={}", joined(&self.spec.pod_ranges)),
            format!("--node-monitor-grace-period={}ms", self.spec.node_grace.as_millis()),
            "--node-monitor-period=1s".to_owned(),
            "--kube-api-qps=500".to_owned(),
            "--kube-api-burst=1000".to_owned(),
            "--authentication-skip-lookup=true".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
        ];
        let scheduler_flags = [
            format!("--kubeconfig={}", scheduler.display()),
            "--leader-elect=false".to_owned(),
            "--kube-api-qps=500".to_owned(),
            "--kube-api-burst=1000".to_owned(),
            "--authentication-skip-lookup=true".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
        ];
        let mut processes = self.processes.lock().await;
        processes.others.push(self.spawn("kube-controller-manager", &manager_flags)?);
        processes.others.push(self.spawn("kube-scheduler", &scheduler_flags)?);
        Ok(())
    }

    fn api_flags(&self) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        let mut flags = vec![
            "--etcd-servers=http://127.0.0.1:2379".to_owned(),
            "--bind-address=::".to_owned(),
            format!("--secure-port={API_PORT}"),
            format!("--advertise-address={}", self.api.ip()),
            format!("--service-cluster-ip-range={}", joined(&self.spec.service_ranges)),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--allow-privileged=true".to_owned(),
            format!("--client-ca-file={}", path(&self.authority.certificate())),
            format!("--tls-cert-file={}", path(&self.serving.certificate)),
            format!("--tls-private-key-file={}", path(&self.serving.key)),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", path(&self.tokens.certificate)),
            format!("--service-account-signing-key-file={}", path(&self.tokens.key)),
            // Its host has no kube-proxy, so webhooks are called at their endpoints.
            "--enable-aggregator-routing=true".to_owned(),
        ];
        flags.extend(self.spec.api_flags.iter().cloned());
        flags
    }

    /// A kubeconfig for a component that runs on this host.
    fn component(&self, name: &str, user: &str) -> Result<PathBuf> {
        let identity = self.authority.client(name, user, &[])?;
        let path = self.directory.join(format!("{name}.kubeconfig"));
        write_kubeconfig(&path, self.api, &self.authority, Certificate(&identity))
    }

    fn spawn(&self, name: &str, flags: &[String]) -> Result<Process> {
        let mut command = self.host.command(self.programs.control_plane(name));
        let log = open_log(&self.logs, name)?;
        command.args(flags).stdin(std::process::Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(self.host.spawn(command)?)
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + READY_DEADLINE;
        loop {
            let asked = self.client.request_text(http::Request::get("/readyz").body(Vec::new())?);
            let answer = tokio::time::timeout(Duration::from_secs(2), asked).await;
            if matches!(answer, Ok(Ok(_))) {
                return Ok(());
            }
            let processes = self.processes.lock().await;
            for (name, process) in [("etcd", &processes.etcd), ("kube-apiserver", &processes.api)] {
                if let Some(process) = process
                    && let Some(status) = process.try_wait()?
                {
                    bail!("{name} ended ({status}):\n{}", self.tail(name));
                }
            }
            drop(processes);
            if Instant::now() > deadline {
                bail!(
                    "the API server is not ready after {READY_DEADLINE:?}: {answer:?}\n{}",
                    self.tail("kube-apiserver")
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn tail(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.logs.join(format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

/// Opens (or continues) a log file.
///
/// # Errors
/// When it cannot be opened.
pub(crate) fn open_log(directory: &Path, name: &str) -> Result<File> {
    let path = directory.join(format!("{name}.log"));
    File::options().create(true).append(true).open(&path).with_context(|| format!("open {}", path.display()))
}

/// Ranges as Kubernetes' flags want them.
pub(crate) fn joined(ranges: &[IpNet]) -> String {
    ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
