//! One container: started, probed, waited for, started again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, Probe};
use landfall_lan::{Host, Process};
use nix::sys::signal::Signal;
use tokio::sync::watch;

use super::environment::{self, Sources, expand};
use super::probe::{self, Rhythm};
use super::status::{Run, State};
use super::{Context, capabilities, volumes};
use crate::container::{Launch, Mount};
use crate::control_plane::open_log;

/// The first and the longest pause before a container is started again (the kubelet: 10 s and 5 min; a bed lives shorter).
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// A container that ran for so long starts with the first pause again.
const SETTLED: Duration = Duration::from_secs(60);

/// What the containers of one Pod share.
pub(crate) struct Sandbox {
    pub(crate) context: Arc<Context>,
    /// The Pod as it was when it started, with its addresses in `status`.
    pub(crate) pod: Pod,
    /// Where its processes run: a namespace of its own, or the node's.
    pub(crate) host: Host,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) directory: PathBuf,
    pub(crate) volumes: Mutex<BTreeMap<String, PathBuf>>,
    /// What all containers do; the reporter watches it.
    pub(crate) board: watch::Sender<Vec<Run>>,
    /// Every process that was started and may still run.
    processes: Mutex<Vec<Process>>,
    launches: AtomicU32,
}

impl Sandbox {
    pub(crate) fn new(
        context: Arc<Context>,
        pod: Pod,
        host: Host,
        addresses: Vec<IpAddr>,
        directory: PathBuf,
    ) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let statuses =
            pod.status.as_ref().and_then(|status| status.container_statuses.clone()).unwrap_or_default();
        // A container that is known to have run belongs to a node that was dead in between.
        let restarts = |name: &str| {
            let ran = |known: &&ContainerStatus| known.name == name && known.container_id.is_some();
            statuses.iter().find(ran).map_or(0, |known| known.restart_count + 1)
        };
        let waiting = |container: &Container, init: bool| Run {
            name: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            init,
            state: State::Waiting { reason: "ContainerCreating", message: String::new() },
            last: None,
            restarts: restarts(&container.name),
            started: false,
            ready: false,
        };
        let init = spec.init_containers.iter().flatten().map(|container| waiting(container, true));
        let own = spec.containers.iter().map(|container| waiting(container, false));
        let board = watch::Sender::new(init.chain(own).collect());
        Self {
            context,
            pod,
            host,
            addresses,
            directory,
            volumes: Mutex::default(),
            board,
            processes: Mutex::default(),
            launches: AtomicU32::new(0),
        }
    }

    /// The processes that may still run.
    pub(crate) fn running(&self) -> Vec<Process> {
        let mut processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        processes.retain(|known| matches!(known.try_wait(), Ok(None)));
        processes.clone()
    }

    /// Runs a container for ever; returns only when its Pod's restart policy wants it to stay ended.
    pub(crate) async fn keep_running(self: Arc<Self>, container: Container) {
        let policy =
            self.pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always");
        let mut pause = PAUSE.0;
        loop {
            let begun = Instant::now();
            let Some(code) = self.run_once(&container).await else {
                // It did not start; the reason is on the board, and may go away (a Secret that comes later).
                tokio::time::sleep(PAUSE.0).await;
                continue;
            };
            if policy == "Never" || (policy == "OnFailure" && code == 0) {
                return;
            }
            pause = if begun.elapsed() > SETTLED { PAUSE.0 } else { pause };
            self.change(&container, |run| {
                let message = format!("ended with code {code}; starts again in {pause:?}");
                let ended =
                    std::mem::replace(&mut run.state, State::Waiting { reason: "CrashLoopBackOff", message });
                run.last = Some(ended);
                run.restarts += 1;
            });
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Runs a container once and returns its exit code, or `None` when it could not be started.
    pub(crate) async fn run_once(self: &Arc<Self>, container: &Container) -> Option<i32> {
        let process = match self.start(container, None).await {
            Ok(process) => process,
            Err(error) => {
                let message = format!("{error:#}");
                tracing::debug!(
                    op = "start a container",
                    node = self.context.name(),
                    error = message,
                    "again"
                );
                self.change(container, |run| {
                    run.state = State::Waiting { reason: "CreateContainerConfigError", message };
                });
                return None;
            }
        };
        let since = Timestamp::now();
        let init = self.board.borrow().iter().any(|run| run.init && run.name == container.name);
        self.change(container, |run| run.state = State::Running { since });
        let ended = tokio::select! {
            status = wait(&process) => status,
            reason = self.look_after(container) => {
                tracing::info!(op = "probe", node = self.context.name(), reason, "a container is ended");
                self.end(&process).await
            }
        };
        let (code, signal) = match ended {
            Ok(status) => exit_code(status),
            Err(error) => {
                tracing::warn!(op = "wait", node = self.context.name(), error = format!("{error:#}"), "lost");
                (137, None)
            }
        };
        self.change(container, |run| {
            run.state = State::Terminated { code, signal, started: since, finished: Timestamp::now() };
            run.ready = init && code == 0;
            run.started = false;
        });
        Some(code)
    }

    /// Starts a container's program, or another command in a container like it.
    async fn start(&self, container: &Container, command: Option<&[String]>) -> Result<Process> {
        let launch = self.launch(container, command).await?;
        let number = self.launches.fetch_add(1, Ordering::Relaxed);
        let file = self.directory.join(format!("launch-{number}.json"));
        std::fs::create_dir_all(&launch.scratch)?;
        std::fs::write(&file, serde_json::to_vec(&launch)?)?;
        let meta = &self.pod.metadata;
        let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
        let log =
            format!("{}_{}_{}", namespace.unwrap_or_default(), name.unwrap_or_default(), container.name);
        let log = open_log(&self.context.settings.logs, &log)?;
        let mut program = self.host.command(&self.context.settings.programs.testbed);
        program.arg("run-container").arg(&file);
        program.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = self.host.spawn(program)?;
        let mut processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        processes.retain(|known| matches!(known.try_wait(), Ok(None)));
        processes.push(process.clone());
        Ok(process)
    }

    async fn launch(&self, container: &Container, command: Option<&[String]>) -> Result<Launch> {
        let settings = &self.context.settings;
        let sources = self.sources(container).await?;
        let host = settings.api.ip().to_string();
        let environment =
            environment::environment(&self.pod, container, (&host, settings.api.port()), &sources)?;
        let expanded = |texts: Option<&Vec<String>>| {
            texts.into_iter().flatten().map(|text| expand(text, &environment)).collect::<Vec<_>>()
        };
        let image = settings.programs.of_image(container.image.as_deref().unwrap_or_default())?;
        let argv = match (command, container.command.as_ref().filter(|command| !command.is_empty())) {
            (Some(command), _) => command.to_vec(),
            (None, Some(entry)) => {
                let mut argv = expanded(Some(entry));
                // Wherever the real image has its program, here it is where the bed puts it.
                if let Some((_, inside)) = &image.installed
                    && PathBuf::from(&argv[0]).file_name() == inside.file_name()
                {
                    argv[0] = inside.display().to_string();
                }
                argv.extend(expanded(container.args.as_ref()));
                argv
            }
            (None, None) => image.entry.into_iter().chain(expanded(container.args.as_ref())).collect(),
        };
        let security = container.security_context.as_ref();
        let of_pod = self.pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
        let user = security.and_then(|own| own.run_as_user).or(of_pod.and_then(|pod| pod.run_as_user));
        let group = security.and_then(|own| own.run_as_group).or(of_pod.and_then(|pod| pod.run_as_group));
        let mut mounts = self.mounts(container)?;
        if let Some((source, target)) = image.installed {
            mounts.insert(0, Mount { source, target, read_only: true });
        }
        let user = user.map(u32::try_from).transpose().context("runAsUser")?;
        let group = group.map(u32::try_from).transpose().context("runAsGroup")?;
        Ok(Launch {
            argv,
            environment,
            working_directory: container.working_dir.as_deref().unwrap_or("/").into(),
            root: image.root,
            mounts,
            scratch: self.directory.join("scratch"),
            user: user.or(image.user.map(|(user, _)| user)),
            group: group.or(image.user.map(|(_, group)| group)),
            capabilities: capabilities::bounding_set(security)?,
            read_only_root: security.and_then(|own| own.read_only_root_filesystem).unwrap_or(false),
            no_new_privileges: security.and_then(|own| own.allow_privilege_escalation) == Some(false),
        })
    }

    fn mounts(&self, container: &Container) -> Result<Vec<Mount>> {
        let volumes = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut mounts = Vec::new();
        for wanted in container.volume_mounts.iter().flatten() {
            if wanted.sub_path.is_some() || wanted.sub_path_expr.is_some() {
                bail!("volumeMount {:?}: the test bed does not know subPath", wanted.name);
            }
            let source = volumes.get(&wanted.name).with_context(|| format!("no volume {:?}", wanted.name))?;
            let named = |volume: &&k8s_openapi::api::core::v1::Volume| volume.name == wanted.name;
            let volume = self.pod.spec.as_ref().and_then(|spec| spec.volumes.iter().flatten().find(named));
            // Everything that the API server fills is read-only, as with the kubelet.
            let filled =
                volume.is_some_and(|volume| volume.empty_dir.is_none() && volume.host_path.is_none());
            mounts.push(Mount {
                source: source.clone(),
                target: wanted.mount_path.clone().into(),
                read_only: filled || wanted.read_only.unwrap_or(false),
            });
        }
        Ok(mounts)
    }

    async fn sources(&self, container: &Container) -> Result<Sources> {
        let (secrets, maps) = environment::references(container);
        let text = |data: BTreeMap<String, Vec<u8>>| {
            data.into_iter()
                .map(|(key, value)| (key, String::from_utf8_lossy(&value).into_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        let mut sources = Sources::default();
        for name in secrets {
            if let Some(data) = volumes::secret(&self.context, &self.pod, &name).await? {
                sources.secrets.insert(name, text(data));
            }
        }
        for name in maps {
            if let Some(data) = volumes::config_map(&self.context, &self.pod, &name).await? {
                sources.config_maps.insert(name, text(data));
            }
        }
        Ok(sources)
    }

    /// Follows a container's probes; returns only when it must be ended, with the reason.
    async fn look_after(&self, container: &Container) -> String {
        if let Some(probe) = &container.startup_probe {
            tokio::time::sleep(Rhythm::of(probe).delay).await;
            if let Err(reason) = self.until(container, probe, true).await {
                return reason;
            }
        }
        self.change(container, |run| {
            run.started = true;
            run.ready = container.readiness_probe.is_none();
        });
        let readiness = async {
            let Some(probe) = &container.readiness_probe else { return std::future::pending().await };
            tokio::time::sleep(Rhythm::of(probe).delay).await;
            loop {
                // Unready until enough answers were good, then ready until enough were bad.
                while self.until(container, probe, true).await.is_err() {}
                self.change(container, |run| run.ready = true);
                drop(self.until(container, probe, false).await);
                self.change(container, |run| run.ready = false);
            }
        };
        let liveness = async {
            let Some(probe) = &container.liveness_probe else { return std::future::pending().await };
            tokio::time::sleep(Rhythm::of(probe).delay).await;
            match self.until(container, probe, false).await {
                Ok(()) => "liveness probe failed".to_owned(),
                Err(reason) => reason,
            }
        };
        tokio::select! {
            reason = readiness => reason,
            reason = liveness => reason,
        }
    }

    /// Asks until the threshold of good answers (`wanted`) or of bad ones is reached, and succeeds when it is the wanted
    /// one. Waiting for bad answers never fails; waiting for good ones fails after the threshold of bad ones.
    async fn until(&self, container: &Container, probe: &Probe, wanted: bool) -> Result<(), String> {
        let rhythm = Rhythm::of(probe);
        let (mut good, mut bad) = (0, 0);
        loop {
            let answer = self.ask(container, probe).await;
            match &answer {
                Ok(()) => (good, bad) = (good + 1, 0),
                Err(_) => (good, bad) = (0, bad + 1),
            }
            match (wanted, answer) {
                (true, Ok(())) if good >= rhythm.successes => return Ok(()),
                (true, Err(error)) if bad >= rhythm.failures => return Err(format!("{error:#}")),
                (false, Err(_)) if bad >= rhythm.failures => return Ok(()),
                (_, Ok(()) | Err(_)) => {}
            }
            // A container that has not been good yet is asked more often, as a kubelet's first second would show anyway.
            let pause = if wanted { rhythm.period.min(Duration::from_millis(250)) } else { rhythm.period };
            tokio::time::sleep(pause).await;
        }
    }

    async fn ask(&self, container: &Container, probe: &Probe) -> Result<()> {
        let address = self.addresses.first().context("the Pod has no address")?;
        if let Some(answer) = probe::ask(&self.host, *address, container, probe).await {
            return answer;
        }
        let command = probe.exec.as_ref().and_then(|exec| exec.command.as_deref()).unwrap_or_default();
        let process = self.start(container, Some(command)).await?;
        match tokio::time::timeout(Rhythm::of(probe).timeout, wait(&process)).await {
            Ok(status) if status.as_ref().is_ok_and(ExitStatus::success) => Ok(()),
            Ok(status) => bail!("the command ended badly: {status:?}"),
            Err(_) => {
                process.signal(Signal::SIGKILL)?;
                bail!("the command did not end in time")
            }
        }
    }

    /// Ends one container: SIGTERM, the Pod's grace period, SIGKILL.
    async fn end(&self, process: &Process) -> Result<ExitStatus> {
        let seconds =
            self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
        end(process, Duration::from_secs(seconds.unsigned_abs())).await
    }

    fn change(&self, container: &Container, change: impl FnOnce(&mut Run)) {
        self.board.send_modify(|runs| {
            if let Some(run) = runs.iter_mut().find(|run| run.name == container.name) {
                change(run);
            }
        });
    }
}

/// Ends a process: SIGTERM, a grace period, SIGKILL.
pub(crate) async fn end(process: &Process, grace: Duration) -> Result<ExitStatus> {
    process.signal(Signal::SIGTERM)?;
    match tokio::time::timeout(grace, wait(process)).await {
        Ok(status) => status,
        Err(_) => {
            process.signal(Signal::SIGKILL)?;
            wait(process).await
        }
    }
}

async fn wait(process: &Process) -> Result<ExitStatus> {
    let process = process.clone();
    Ok(tokio::task::spawn_blocking(move || process.wait()).await??)
}

/// The exit code as Kubernetes shows it: 128 and the number of the signal when one ended the process.
fn exit_code(status: ExitStatus) -> (i32, Option<i32>) {
    match (status.code(), status.signal()) {
        (Some(code), _) => (code, None),
        (None, signal) => (128 + signal.unwrap_or(0), signal),
    }
}
