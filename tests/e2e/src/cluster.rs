//! A bed with Landfall on it, and what the tests ask of both.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use landfall_lan::{Host, MacAddress};
use landfall_testbed::programs::Programs;
use landfall_testbed::{TestBed, guide};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

mod services;

pub use services::{both_families, conditions};

use crate::amount;
use crate::audit::Audit;
use crate::history::History;
use crate::manifests::{self, NAMESPACE, SHOP};
use crate::processes;
use crate::wait::until;

/// How long a roll-out may take. A busy machine with two cores needs a quarter of it.
pub const ROLLOUT: Duration = Duration::from_secs(90);

/// How long an address may take, on a busy machine.
pub const ASSIGNED: Duration = Duration::from_secs(10);

/// How long until the first answer, on a busy machine: announcement, kube-proxy and, for IPv6, the neighbour table.
pub const ANSWERED: Duration = Duration::from_secs(10);

/// From a controller that is ready to the configuration of its webhooks, or from the last one that serves to its end.
const CONFIGURED: Duration = Duration::from_secs(60);

/// A bed with three nodes (five in `make soak`) and two clients: `c1` is the client, `c2` watches the LAN.
pub struct Cluster {
    runtime: Runtime,
    bed: Option<TestBed>,
    history: History,
    audit: Audit,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("bed", &self.bed.as_ref().map(|bed| bed.lan().name()))
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// Brings the bed up, with the namespace [`SHOP`] in it and without Landfall.
    ///
    /// # Errors
    /// Without root, or when something does not come up.
    pub fn start() -> Result<Self> {
        Self::start_with(Programs::find()?)
    }

    /// The same, with other programs than those that were built last.
    ///
    /// # Errors
    /// Without root, or when something does not come up.
    pub fn start_with(programs: Programs) -> Result<Self> {
        let begun = Instant::now();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let audit = Audit::prepare()?;
        let name = landfall_lan::Lan::unique_name("e2e");
        let nodes = u16::try_from(amount(3, 5))?;
        let mut builder = TestBed::builder().name(name).programs(programs).nodes(nodes).clients(2);
        for flag in audit.flags() {
            builder = builder.api_flag(flag);
        }
        let bed = runtime.block_on(builder.start()).context("bring up the bed")?;
        let history = History::follow(bed.client(), runtime.handle());
        let cluster = Self { runtime, bed: Some(bed), history, audit };
        cluster.apply(&manifests::namespace(SHOP))?;
        eprintln!("the bed is up after {:.1} s", begun.elapsed().as_secs_f64());
        Ok(cluster)
    }

    /// Installs Landfall as the README says, and waits until it runs.
    ///
    /// # Errors
    /// When kubectl fails, or a part does not become ready.
    pub fn install(&self) -> Result<()> {
        let begun = Instant::now();
        for line in guide::commands("README.md", "## Install on a cluster")? {
            self.shell(&line)?;
        }
        eprintln!("Landfall runs {:.1} s after kubectl apply", begun.elapsed().as_secs_f64());
        Ok(())
    }

    /// Waits until both controllers and all speakers are ready.
    ///
    /// # Errors
    /// When they are not in time.
    pub fn rolled_out(&self) -> Result<()> {
        for what in ["deployment/landfall-controller", "daemonset/landfall-speaker"] {
            let timeout = format!("--timeout={}s", ROLLOUT.as_secs());
            self.kubectl(["rollout", "status", what, "-n", NAMESPACE, &timeout])?;
        }
        Ok(())
    }

    /// Turns the admission webhooks on or off, for who wants to store what they refuse; waits until the API server asks or asks
    /// no more.
    ///
    /// # Errors
    /// When the controllers do not roll out, or that is not so in time.
    pub fn serve_webhooks(&self, whether: bool) -> Result<()> {
        let mode = format!("--webhook-mode={}", if whether { "enabled" } else { "disabled" });
        let patch = serde_json::json!([
            { "op": "replace", "path": "/spec/template/spec/containers/0/args", "value": ["controller", mode] },
        ]);
        let target = ["patch", "deployment", "landfall-controller", "-n", NAMESPACE, "--type=json", "-p"];
        self.kubectl(target.into_iter().chain([patch.to_string().as_str()]))?;
        self.rolled_out()?;
        self.has_webhooks(whether)
    }

    /// Waits until the API server has the configuration of the webhooks, or has it no more.
    ///
    /// # Errors
    /// When that is not so in time.
    pub fn has_webhooks(&self, whether: bool) -> Result<()> {
        until("the configuration of the webhooks", CONFIGURED, || {
            let names = self.kubectl(["get", "validatingwebhookconfigurations", "-o", "name"])?;
            ensure!(names.contains("landfall-webhook") == whether, "{names}");
            Ok(())
        })
    }

    /// Makes a Deployment of backends and waits for all of them.
    ///
    /// # Errors
    /// When they do not become ready.
    pub fn deploy_backends(&self, app: &str, replicas: u32) -> Result<()> {
        self.apply(&manifests::backends(app, replicas))?;
        self.kubectl(["rollout", "status", &format!("deployment/{app}"), "-n", SHOP, "--timeout=60s"])?;
        Ok(())
    }

    /// The bed itself.
    ///
    /// # Panics
    /// After [`Cluster::teardown`], which takes the cluster.
    #[must_use]
    pub fn bed(&self) -> &TestBed {
        self.bed.as_ref().expect("invariant: the bed is there until teardown, which takes the cluster")
    }

    /// Every address that any Service has ever had.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What Landfall asked of the API server.
    #[must_use]
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Waits for something asynchronous, such as a method of the bed.
    pub fn wait_for<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Runs something asynchronous beside the test.
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.spawn(future)
    }

    /// Runs kubectl with all rights; answers what it printed.
    ///
    /// # Errors
    /// When it fails, with its words.
    pub fn kubectl<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
        self.wait_for(self.bed().kubectl(arguments))
    }

    /// `kubectl apply` of one object or list.
    ///
    /// # Errors
    /// When kubectl fails, with its words.
    pub fn apply(&self, object: &Value) -> Result<()> {
        self.wait_for(self.bed().apply(&object.to_string())).map(drop)
    }

    /// The client on the LAN that uses the Services.
    #[must_use]
    pub fn client(&self) -> &Host {
        &self.bed().clients()[0]
    }

    /// The machine on the LAN that watches.
    #[must_use]
    pub fn watcher(&self) -> &Host {
        &self.bed().clients()[1]
    }

    /// The name of the node with this MAC.
    ///
    /// # Errors
    /// When it is no node's.
    pub fn node_of(&self, mac: MacAddress) -> Result<String> {
        let mut nodes = self.bed().nodes();
        let node = nodes.find(|node| node.host().mac() == Some(mac));
        node.map(|node| node.host().name().to_owned()).with_context(|| format!("{mac} is the MAC of no node"))
    }

    /// The Pods with a label in a namespace.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn pods(&self, namespace: &str, selector: &str) -> Result<Vec<Pod>> {
        let api: Api<Pod> = Api::namespaced(self.bed().client(), namespace);
        Ok(self.wait_for(api.list(&ListParams::default().labels(selector)))?.items)
    }

    /// The names of the ready backends of `app`.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn backends(&self, app: &str) -> Result<BTreeSet<String>> {
        let pods = self.pods(SHOP, &format!("app={app}"))?;
        Ok(pods.iter().filter(|pod| is_ready(pod)).map(ResourceExt::name_any).collect())
    }

    /// The controller that leads, by the name of its Pod.
    ///
    /// # Errors
    /// When none holds a lease that is still good.
    pub fn leader(&self) -> Result<String> {
        let leases: Api<Lease> = Api::namespaced(self.bed().client(), NAMESPACE);
        let lease = self.wait_for(leases.get("landfall-controller"))?;
        let spec = lease.spec.context("the lease is empty")?;
        let holder =
            spec.holder_identity.filter(|holder| !holder.is_empty()).context("nobody holds the lease")?;
        let pods = self.pods(NAMESPACE, "component=controller")?;
        let names: Vec<String> = pods.iter().map(ResourceExt::name_any).collect();
        let named = names.iter().find(|name| holder.starts_with(name.as_str()));
        named.cloned().with_context(|| format!("the holder {holder:?} is none of {names:?}"))
    }

    /// Sends a signal to every process of a Pod's containers.
    ///
    /// # Errors
    /// When it has none, or the kernel refuses.
    pub fn signal_pod(&self, pod: &str, signal: Signal) -> Result<()> {
        for pid in processes::of_pod(pod)? {
            kill(Pid::from_raw(pid), signal).with_context(|| format!("send {signal} to {pid} of {pod}"))?;
        }
        Ok(())
    }

    /// The `landfall` binary under test.
    ///
    /// # Errors
    /// When it was not built.
    pub fn landfall(&self) -> Result<&Path> {
        self.bed()
            .programs()
            .landfall
            .as_deref()
            .context("landfall is not built: run `cargo build -p landfall`")
    }

    /// Runs `landfall` on the machine outside the LAN, as a person would with this kubeconfig.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run_landfall(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(self.landfall()?);
        command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("KUBECONFIG", self.bed().kubeconfig());
        command.output().context("run landfall")
    }

    /// Runs a line of the documentation in a shell; see [`TestBed::shell`].
    ///
    /// # Errors
    /// When it fails, with its words.
    pub fn shell(&self, line: &str) -> Result<String> {
        eprintln!("   $ {line}");
        self.wait_for(self.bed().shell(line))
    }

    /// The log of a container, all of its starts.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn log(&self, namespace: &str, pod: &str, container: &str) -> Result<String> {
        let path = self.bed().logs().join(format!("{namespace}_{pod}_{container}.log"));
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    /// The logs of every Landfall container there ever was, by the name of the file.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn landfall_logs(&self) -> Result<BTreeMap<String, String>> {
        let mut logs = BTreeMap::new();
        for entry in fs::read_dir(self.bed().logs())?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&format!("{NAMESPACE}_")) {
                logs.insert(name, fs::read_to_string(entry.path())?);
            }
        }
        Ok(logs)
    }

    /// Checks that nothing was forbidden to Landfall so far, and that none of its processes has panicked.
    ///
    /// # Errors
    /// Names the call or the line of the log.
    pub fn ensure_rights(&self) -> Result<()> {
        let forbidden = self.audit.forbidden()?;
        ensure!(forbidden.is_empty(), "forbidden: {forbidden:?}");
        for (file, log) in self.landfall_logs()? {
            let panic = log.lines().find(|line| line.contains("panicked at"));
            ensure!(panic.is_none(), "{file}: {panic:?}");
        }
        Ok(())
    }

    /// What a person would look at after a failure: Landfall's own status, Services, Pods and the end of every log.
    #[must_use]
    pub fn diagnosis(&self) -> String {
        let mut text = String::from("---- the state of the cluster ----\n");
        let mut show = |title: &str, shown: Result<String>| {
            _ = writeln!(text, "-- {title}\n{}", shown.unwrap_or_else(|error| format!("{error:#}")));
        };
        let status = self.run_landfall(&["status", "-A"]);
        show(
            "landfall status",
            status.map(|out| String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()),
        );
        let quick = "--request-timeout=5s";
        show("Services", self.kubectl(["get", "services", "-n", SHOP, "-o", "wide", quick]));
        show("Pods", self.kubectl(["get", "pods", "-A", "-o", "wide", quick]));
        show("owners", self.kubectl(["get", "servicel2statuses", "-n", NAMESPACE, "--show-labels", quick]));
        show(
            "events",
            self.kubectl(["get", "events", "-A", "--sort-by=.lastTimestamp", quick])
                .map(|all| tail(&all, 25)),
        );
        for (name, log) in self.landfall_logs().unwrap_or_default() {
            show(&name, Ok(tail(&log, 25)));
        }
        text
    }

    /// Takes the bed down.
    ///
    /// # Errors
    /// With what could not be removed.
    pub fn teardown(mut self) -> Result<()> {
        let bed = self.bed.take().context("it is down already")?;
        self.runtime.block_on(bed.teardown())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(bed) = self.bed.take()
            && let Err(error) = self.runtime.block_on(bed.teardown())
        {
            eprintln!("the bed was not removed: {error:#}");
        }
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}

fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
