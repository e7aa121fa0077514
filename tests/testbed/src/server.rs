//! How the other commands talk to the process that holds the bed: one JSON line there, one back, over a Unix socket in
//! the bed's state directory.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use landfall_lan::Lan;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::bed::TestBed;

/// What can be asked of a running bed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Say what there is.
    Status,
    /// Cut a node's power.
    KillNode(String),
    /// Bring it back.
    ReviveNode(String),
    /// Take a host's port out of the switch.
    Cut(String),
    /// Lose what two hosts send each other.
    CutBetween(String, String),
    /// Lose a share, in per mille, of what a host sends and hears.
    Drop(String, u32),
    /// End all faults of a host.
    Heal(String),
    /// Send a signal, by its name, to the processes of a Pod (namespace, name).
    Signal(String, String, String),
    /// Stop the API server's process from running.
    PauseApi,
    /// Let it run again.
    ResumeApi,
    /// Kill the API server.
    StopApi,
    /// Start it.
    StartApi,
    /// Take the bed down.
    Down,
}

/// What is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The bed's name.
    pub name: String,
    /// A kubeconfig with all rights.
    pub kubeconfig: PathBuf,
    /// The folder with kubectl and the others.
    pub programs: PathBuf,
    /// Where the logs are.
    pub logs: PathBuf,
    /// All hosts and Pods.
    pub hosts: Vec<HostStatus>,
}

/// One host or Pod.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostStatus {
    /// Its name on the LAN.
    pub name: String,
    /// Its network namespace.
    pub namespace: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// `alive` or `killed` for a node, empty for others.
    pub node: String,
}

/// Serves a bed's socket until somebody asks for its end.
///
/// # Errors
/// When the socket cannot be made.
pub async fn serve(bed: &TestBed) -> Result<()> {
    let path = socket_of(bed.lan().name());
    let listener = UnixListener::bind(&path).with_context(|| format!("open {}", path.display()))?;
    loop {
        let (stream, _) = listener.accept().await?;
        // One at a time: the verbs change one bed, and people type slowly.
        match answer(bed, stream).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => tracing::debug!(op = "answer", error = format!("{error:#}"), "a caller went away"),
        }
    }
}

/// Asks the bed of this name.
///
/// # Errors
/// When there is no such bed, or it could not do it.
pub async fn call(name: &str, verb: &Verb) -> Result<String> {
    let path = socket_of(name);
    let stream = UnixStream::connect(&path).await.with_context(|| {
        format!("there is no bed {name:?} ({}): start one with `landfall-testbed up`", path.display())
    })?;
    let mut stream = BufReader::new(stream);
    let mut line = serde_json::to_string(verb)?;
    line.push('\n');
    stream.write_all(line.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_line(&mut answer).await?;
    match serde_json::from_str::<std::result::Result<String, String>>(&answer).context("the bed hung up")? {
        Ok(text) => Ok(text),
        Err(text) => bail!("{text}"),
    }
}

/// Answers one caller; `true` when it asked for the end.
async fn answer(bed: &TestBed, stream: UnixStream) -> Result<bool> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let verb: Verb = serde_json::from_str(&line)?;
    let done = perform(bed, &verb).await.map_err(|error| format!("{error:#}"));
    let mut line = serde_json::to_string(&done)?;
    line.push('\n');
    stream.write_all(line.as_bytes()).await?;
    Ok(verb == Verb::Down)
}

async fn perform(bed: &TestBed, verb: &Verb) -> Result<String> {
    let plane = bed.control_plane();
    match verb {
        Verb::Status => return Ok(serde_json::to_string(&status(bed).await)?),
        Verb::KillNode(node) => bed.kill_node(node).await?,
        Verb::ReviveNode(node) => bed.revive_node(node).await?,
        Verb::Cut(host) => bed.host(host)?.cut()?,
        Verb::CutBetween(one, other) => bed.lan().cut_between(&bed.host(one)?, &bed.host(other)?)?,
        Verb::Drop(host, per_mille) => bed.host(host)?.drop_share(*per_mille)?,
        Verb::Heal(host) => bed.host(host)?.heal()?,
        Verb::Signal(namespace, pod, signal) => {
            let signal: Signal =
                signal.parse().ok().with_context(|| format!("{signal:?} is not a signal: try SIGKILL"))?;
            for process in bed.pod_processes(namespace, pod).await? {
                if signal == Signal::SIGSTOP { process.pause()? } else { process.signal(signal)? }
            }
        }
        Verb::PauseApi => plane.pause_api().await?,
        Verb::ResumeApi => plane.resume_api().await?,
        Verb::StopApi => plane.stop_api().await?,
        Verb::StartApi => plane.start_api().await?,
        Verb::Down => {}
    }
    Ok(String::new())
}

async fn status(bed: &TestBed) -> Status {
    let mut hosts = Vec::new();
    for host in bed.lan().hosts() {
        let node = match bed.node(host.name()) {
            Ok(node) if node.is_alive().await => "alive",
            Ok(_) => "killed",
            Err(_) => "",
        };
        hosts.push(HostStatus {
            name: host.name().to_owned(),
            namespace: host.namespace().to_owned(),
            addresses: host.addresses().iter().map(ipnet::IpNet::addr).collect(),
            node: node.to_owned(),
        });
    }
    Status {
        name: bed.lan().name().to_owned(),
        kubeconfig: bed.kubeconfig().to_owned(),
        programs: bed.programs().control_plane.clone(),
        logs: bed.logs().to_owned(),
        hosts,
    }
}

fn socket_of(name: &str) -> PathBuf {
    Path::new(&Lan::state_directory_of(name)).join("testbed.sock")
}
