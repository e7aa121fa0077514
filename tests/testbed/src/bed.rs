//! The bed as a whole: what can be done to it, taking it down.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use landfall_lan::{Host, Lan, Process};
use tokio::io::AsyncWriteExt;

use crate::control_plane::ControlPlane;
use crate::guide;
use crate::node::Node;
use crate::programs::Programs;

mod builder;

pub use builder::Builder;

/// How long nodes may take until they are ready.
const NODE_DEADLINE: Duration = Duration::from_secs(60);

/// What kubectl must be told so that it uses this kubeconfig and leaves the user's home alone.
pub(crate) fn kubectl_environment(kubeconfig: &Path) -> [(&'static str, std::ffi::OsString); 3] {
    let cache = kubeconfig.with_file_name("kubectl-cache");
    [("KUBECONFIG", kubeconfig.into()), ("KUBECACHEDIR", cache.into()), ("KUBERC", "off".into())]
}

/// A bed that is up. Dropping it takes it down; [`TestBed::teardown`] does so in good order and says what went wrong.
pub struct TestBed {
    // Dropped in this order: first what starts processes, the LAN last.
    nodes: BTreeMap<String, Node>,
    plane: ControlPlane,
    clients: Vec<Host>,
    programs: Programs,
    logs: PathBuf,
    lan: Lan,
}

impl TestBed {
    /// Starts to describe a bed.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A Kubernetes client with all rights.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        self.plane.client()
    }

    /// A kubeconfig with all rights, usable everywhere on the machine.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        self.plane.kubeconfig()
    }

    /// The LAN, for faults and hosts of your own.
    #[must_use]
    pub fn lan(&self) -> &Lan {
        &self.lan
    }

    /// The control plane: pause, resume, stop and start the API server.
    #[must_use]
    pub fn control_plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// The nodes, in order of their names.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// The node of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn node(&self, name: &str) -> Result<&Node> {
        let known = || self.nodes.keys().cloned().collect::<Vec<_>>().join(", ");
        self.nodes.get(name).with_context(|| format!("there is no node {name:?}; the nodes are {}", known()))
    }

    /// The clients: `c1` first.
    #[must_use]
    pub fn clients(&self) -> &[Host] {
        &self.clients
    }

    /// The host or Pod of this name on the LAN.
    ///
    /// # Errors
    /// When there is none.
    pub fn host(&self, name: &str) -> Result<Host> {
        let known =
            || self.lan.hosts().iter().map(|host| host.name().to_owned()).collect::<Vec<_>>().join(", ");
        self.lan.host(name).with_context(|| format!("there is no host {name:?}; the hosts are {}", known()))
    }

    /// The programs that the bed uses.
    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Where logs are: one file per component (`kube-apiserver.log`) and per container (`NAMESPACE_POD_CONTAINER.log`).
    #[must_use]
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// Kills a node as a power cut does: no carrier, every process killed, nothing left in its memory.
    ///
    /// # Errors
    /// When there is no such node, or something of it could not be removed.
    pub async fn kill_node(&self, name: &str) -> Result<()> {
        self.node(name)?.kill().await
    }

    /// Brings a killed node back, and returns when it is ready.
    ///
    /// # Errors
    /// When there is no such node or it does not become ready.
    pub async fn revive_node(&self, name: &str) -> Result<()> {
        let node = self.node(name)?;
        node.revive(self.plane.authority()).await?;
        node.wait_until_ready(&self.client(), NODE_DEADLINE).await
    }

    /// The processes of a Pod's containers, to be paused, killed or measured behind Kubernetes' back.
    ///
    /// # Errors
    /// When none runs.
    pub async fn pod_processes(&self, namespace: &str, pod: &str) -> Result<Vec<Process>> {
        for node in self.nodes.values() {
            let processes = node.pod_processes(namespace, pod).await;
            if !processes.is_empty() {
                return Ok(processes);
            }
        }
        bail!("no process of the Pod {namespace}/{pod} runs")
    }

    /// Runs kubectl with all rights and returns what it printed.
    ///
    /// # Errors
    /// When it fails, with its own words.
    pub async fn kubectl<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<String> {
        self.kubectl_with_input(arguments, "").await
    }

    /// Applies manifests (YAML or JSON) with `kubectl apply`.
    ///
    /// # Errors
    /// When kubectl fails, with its own words.
    pub async fn apply(&self, manifests: &str) -> Result<String> {
        self.kubectl_with_input(["apply", "-f", "-"], manifests).await
    }

    /// Runs a line of the documentation in a shell, at the root of the repository, where `kubectl` and `landfall` are on the
    /// path and have all rights; answers what it printed.
    ///
    /// # Errors
    /// When it fails or takes more than two minutes, with its words.
    pub async fn shell(&self, line: &str) -> Result<String> {
        let Programs { control_plane, landfall, .. } = &self.programs;
        let ours = landfall.as_deref().and_then(Path::parent);
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let inherited = std::env::split_paths(&inherited);
        let folders = ours.into_iter().chain([control_plane.as_path()]).map(Path::to_owned).chain(inherited);
        let mut command = tokio::process::Command::new("timeout");
        command.args(["120", "sh", "-ec", line]).current_dir(guide::repository()).env_clear();
        command.env("PATH", std::env::join_paths(folders)?).env("KUBECONFIG", self.kubeconfig());
        // kubectl keeps a cache in it.
        command.env("HOME", self.logs()).kill_on_drop(true);
        let output = command.output().await.with_context(|| format!("run {line}"))?;
        let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(
            output.status.success(),
            "{line}: {}\n{}{}",
            output.status,
            words(&output.stdout),
            words(&output.stderr)
        );
        Ok(words(&output.stdout))
    }

    /// Takes the bed down.
    ///
    /// # Errors
    /// With everything that could not be removed; the rest is gone.
    pub async fn teardown(self) -> Result<()> {
        futures::future::join_all(self.nodes.values().map(Node::stop)).await;
        let Self { nodes, plane, clients, programs: _, logs: _, lan } = self;
        drop((nodes, plane, clients));
        tokio::task::spawn_blocking(move || lan.teardown()).await??;
        Ok(())
    }

    async fn kubectl_with_input<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        input: &str,
    ) -> Result<String> {
        let mut command = tokio::process::Command::new(self.programs.control_plane("kubectl"));
        command.args(arguments).envs(kubectl_environment(self.kubeconfig())).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let line = format!("{:?}", command.as_std());
        let mut child = command.spawn().with_context(|| format!("run {line}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).await?;
        }
        let output = child.wait_with_output().await?;
        ensure!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8(output.stdout)?)
    }
}
