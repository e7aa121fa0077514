//! The commands of `landfall-testbed`.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use landfall_lan::Lan;
use tokio::signal::unix::{SignalKind, signal};

use crate::ask::until;
use crate::backend::{self, BackendSpec};
use crate::bed::{TestBed, kubectl_environment};
use crate::container;
use crate::node::ProxyMode;
use crate::server::{self, Status, Verb};

/// The client library calls it an error that an API server is not ready yet, which is what the bed waits for.
const LOG: &str = "warn,kube_client::client::builder=off";

/// A real Kubernetes control plane, nodes and clients in network namespaces of this machine.
#[derive(Debug, Parser)]
#[command(name = "landfall-testbed", version, max_term_width = 120)]
pub struct Arguments {
    /// Name of the bed; several may be up at once.
    #[arg(long, env = "LANDFALL_TESTBED_NAME", default_value = "bed", global = true)]
    name: String,
    /// What is logged to standard error: error, warn, info, debug, trace, or a filter such as landfall_testbed=debug.
    #[arg(long, env = "LANDFALL_LOG", default_value = LOG, global = true)]
    log: String,
    #[command(subcommand)]
    command: Cli,
}

#[derive(Debug, Subcommand)]
enum Cli {
    /// Brings a bed up and keeps it until Ctrl-C, SIGTERM or `down`.
    Up(Up),
    /// Takes the bed down.
    Down,
    /// Removes what killed beds and demos left on this machine; those that are up stay.
    Sweep,
    /// Shows hosts, Pods, addresses and where the kubeconfig is.
    Status,
    /// Opens a shell, or runs a command, inside a host or Pod. The beginning of a name is enough.
    Shell {
        /// The host or Pod, as `status` shows it.
        host: String,
        /// The command; by default $SHELL.
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    /// Runs kubectl against the bed with all rights.
    Kubectl {
        /// kubectl's own arguments, after `--`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Cuts a node's power: no carrier, every process killed.
    KillNode {
        /// The node.
        node: String,
    },
    /// Brings a killed node back and waits until it is ready.
    ReviveNode {
        /// The node.
        node: String,
    },
    /// Takes a host's port out of the switch, or loses everything between two hosts; nobody loses carrier.
    Cut {
        /// The host.
        host: String,
        /// The other host, when only the traffic between these two is to be lost.
        other: Option<String>,
    },
    /// Loses a share of the packets from and to a host.
    Drop {
        /// The host.
        host: String,
        /// How many percent, per direction; 0 ends it.
        #[arg(value_parser = clap::value_parser!(u32).range(0..=100))]
        percent: u32,
    },
    /// Ends all faults of a host.
    Heal {
        /// The host.
        host: String,
    },
    /// Prints what the containers of matching Pods wrote.
    Logs {
        /// A part of NAMESPACE_POD_CONTAINER, or of a component's name such as kube-apiserver.
        part: String,
    },
    /// Sends a signal to the processes of a Pod, such as SIGSTOP, SIGCONT or SIGKILL.
    Signal {
        /// The Pod.
        pod: String,
        /// The signal.
        signal: String,
        /// The Pod's namespace.
        #[arg(short, long, env = "LANDFALL_TESTBED_NAMESPACE", default_value = "default")]
        namespace: String,
    },
    /// Stops the API server from running; connections stay open and nobody answers.
    PauseApi,
    /// Lets the paused API server run again.
    ResumeApi,
    /// Kills the API server.
    StopApi,
    /// Starts the killed API server.
    StartApi,
    /// Answers HTTP and UDP with its own name and the client's address: the workload of the bed.
    Backend(Backend),
    /// Becomes a container's program; the bed calls this.
    #[command(hide = true)]
    RunContainer {
        /// The launch file.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Up {
    /// Number of nodes: n1, n2, …
    #[arg(long, env = "LANDFALL_TESTBED_NODES", default_value_t = 3)]
    nodes: u16,
    /// Number of clients: c1, c2, …
    #[arg(long, env = "LANDFALL_TESTBED_CLIENTS", default_value_t = 1)]
    clients: u16,
    /// How kube-proxy programs the nodes.
    #[arg(long, env = "LANDFALL_TESTBED_PROXY_MODE", value_enum, default_value_t)]
    proxy_mode: ProxyMode,
    /// Seconds of silence after which a node counts as not ready.
    #[arg(long, env = "LANDFALL_TESTBED_NODE_GRACE", default_value_t = 50)]
    node_grace: u64,
    /// Directory for logs that are to stay after the bed; without it they go with the bed.
    #[arg(long, env = "LANDFALL_TESTBED_LOGS")]
    logs: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Backend {
    /// What it calls itself; in a Pod, the Pod's name.
    #[arg(long, env = "HOSTNAME", default_value = "backend")]
    as_name: String,
    /// TCP port that speaks HTTP; may be given several times.
    #[arg(long, env = "LANDFALL_TESTBED_HTTP", value_delimiter = ',', default_value = "8080")]
    http: Vec<u16>,
    /// UDP port; may be given several times.
    #[arg(long, env = "LANDFALL_TESTBED_UDP", value_delimiter = ',', default_value = "8081")]
    udp: Vec<u16>,
}

impl Arguments {
    /// Does what was asked for.
    ///
    /// # Errors
    /// When it did not work, in words for the user.
    pub fn run(self) -> Result<()> {
        let Self { name, log, command } = self;
        if let Cli::RunContainer { file } = &command {
            // Before anything that starts a thread: a mount namespace can only be left by a process with one thread.
            return container::run(file).map(|never: Infallible| match never {});
        }
        let filter = tracing_subscriber::EnvFilter::try_new(&log).context("--log")?;
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(command.run(&name))
    }
}

impl Cli {
    async fn run(self, name: &str) -> Result<()> {
        let verb = match self {
            Self::Up(up) => return up.run(name).await,
            Self::Backend(Backend { as_name, http, udp }) => {
                return backend::run(BackendSpec { name: as_name, http, udp }).await;
            }
            Self::RunContainer { file } => return container::run(&file).map(|never| match never {}),
            Self::Status => return print_status(&status(name).await?),
            Self::Sweep => {
                for swept in Lan::sweep("")? {
                    println!("removed {swept}");
                }
                return Ok(());
            }
            Self::Logs { part } => return print_logs(&status(name).await?, &part),
            Self::Shell { host, command } => return shell(&status(name).await?, &host, &command),
            Self::Kubectl { arguments } => {
                let status = status(name).await?;
                let mut kubectl = Command::new(status.programs.join("kubectl"));
                kubectl.args(arguments).envs(kubectl_environment(&status.kubeconfig));
                return Err(kubectl.exec()).context("run kubectl");
            }
            Self::Down => Verb::Down,
            Self::KillNode { node } => Verb::KillNode(node),
            Self::ReviveNode { node } => Verb::ReviveNode(node),
            Self::Cut { host, other: None } => Verb::Cut(host),
            Self::Cut { host, other: Some(other) } => Verb::CutBetween(host, other),
            Self::Drop { host, percent } => Verb::Drop(host, percent * 10),
            Self::Heal { host } => Verb::Heal(host),
            Self::Signal { pod, signal, namespace } => Verb::Signal(namespace, pod, signal),
            Self::PauseApi => Verb::PauseApi,
            Self::ResumeApi => Verb::ResumeApi,
            Self::StopApi => Verb::StopApi,
            Self::StartApi => Verb::StartApi,
        };
        server::call(name, &verb).await?;
        if verb == Verb::Down {
            let state = Lan::state_directory_of(name);
            until("the bed is gone", Duration::from_secs(60), || async {
                ensure!(!state.exists(), "{} is there", state.display());
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}

impl Up {
    async fn run(self, name: &str) -> Result<()> {
        let Self { nodes, clients, proxy_mode, node_grace, logs } = self;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let begun = Instant::now();
        let mut builder = TestBed::builder()
            .name(name)
            .nodes(nodes)
            .clients(clients)
            .proxy_mode(proxy_mode)
            .node_grace(Duration::from_secs(node_grace));
        if let Some(logs) = logs {
            builder = builder.logs(logs);
        }
        let bed = tokio::select! {
            bed = builder.start() => bed?,
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        };
        println!("The bed {name:?} is up after {:.1} s.", begun.elapsed().as_secs_f64());
        println!("  export KUBECONFIG={}", bed.kubeconfig().display());
        println!(
            "  landfall-testbed --name {name} status | shell HOST | kubectl -- get nodes | kill-node n1 | down"
        );
        tokio::select! {
            served = server::serve(&bed) => served?,
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        bed.teardown().await
    }
}

async fn status(name: &str) -> Result<Status> {
    serde_json::from_str(&server::call(name, &Verb::Status).await?).context("understand the bed's answer")
}

fn print_status(status: &Status) -> Result<()> {
    println!("bed         {}", status.name);
    println!("kubeconfig  {}", status.kubeconfig.display());
    println!("programs    {}", status.programs.display());
    println!("logs        {}", status.logs.display());
    for host in &status.hosts {
        let addresses: Vec<String> = host.addresses.iter().map(ToString::to_string).collect();
        println!("{:<11} {:<34} {}", host.name, addresses.join(" "), host.node);
    }
    Ok(())
}

fn print_logs(status: &Status, part: &str) -> Result<()> {
    let entries =
        std::fs::read_dir(&status.logs).with_context(|| format!("list {}", status.logs.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.file_name().is_some_and(|name| name.to_string_lossy().contains(part)));
    files.sort();
    for file in &files {
        println!("==> {}", file.display());
        print!("{}", String::from_utf8_lossy(&std::fs::read(file)?));
    }
    if files.is_empty() {
        bail!("no log in {} has {part:?} in its name", status.logs.display())
    } else {
        Ok(())
    }
}

fn shell(status: &Status, wanted: &str, command: &[OsString]) -> Result<()> {
    let exact = status.hosts.iter().filter(|host| host.name == wanted);
    let beginning = status.hosts.iter().filter(|host| host.name.starts_with(wanted));
    let mut found = exact.chain(beginning);
    let Some(host) = found.next() else {
        let names: Vec<&str> = status.hosts.iter().map(|host| host.name.as_str()).collect();
        bail!("there is no host {wanted:?}; there are {}", names.join(", "));
    };
    let default = [std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into())];
    let command = if command.is_empty() { &default } else { command };
    let mut inside = Command::new("ip");
    inside.args(["netns", "exec", &host.namespace]).args(command).env("KUBECONFIG", &status.kubeconfig);
    Err(inside.exec()).context("run ip netns exec")
}
