use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use landfall_controller::Cluster;
use landfall_engine::{cluster, forwarding::TableName, health, links::NamePattern};
use landfall_kubernetes::{
    lease::Appointment,
    source::{self, Directory},
    write::{FileWriter, Store},
};
use landfall_probes::{Access, Addresses};
use landfall_speaker::{Mode, health::checked, nftables::Nftables};
use tokio_util::sync::CancellationToken;

use crate::{
    classes::ClassArgs,
    controller::socket,
    delay::Delay,
    detection::Detection,
    logging::{self, LogLevel},
    minority::Minority,
    run,
    speaker::open_memory,
};

/// The namespace of what the manifests configure; they need not name it.
const NAMESPACE: &str = "standalone";

/// `landfall standalone`.
#[derive(Clone, Debug, Args)]
pub(crate) struct StandaloneArgs {
    /// Directory of manifests: Services, EndpointSlices, IPAddressPools, L2Advertisements and, if you like, Nodes; the
    /// same on all machines, read again when it changes
    #[arg(short = 'f', long = "files", env = "LANDFALL_FILES", value_name = "DIR")]
    files: PathBuf,

    /// Name of this machine, the same in the peer lists of the others [default: the host name]
    #[arg(long, env = "LANDFALL_NODE_NAME", value_name = "NAME")]
    node_name: Option<String>,

    /// Another machine or this one, by name and address; repeat it for each. Nodes among the manifests count as well
    #[arg(long = "peer", env = "LANDFALL_PEERS", value_name = "NAME=IP", value_delimiter = ',', value_parser = peer)]
    peers: Vec<Peer>,

    /// File with the key that all machines share; it may be replaced while running
    #[arg(long, env = "LANDFALL_KEY_FILE", value_name = "FILE", default_value = "/etc/landfall/key")]
    key_file: PathBuf,

    /// Directory for what must survive a restart: the addresses that were assigned
    #[arg(long, env = "LANDFALL_STATE_DIR", value_name = "DIR", default_value = "/var/lib/landfall")]
    state_dir: PathBuf,

    /// Tells installations with the same key on one network from each other
    #[arg(long, env = "LANDFALL_INSTALLATION", value_name = "NAME", default_value = "standalone")]
    installation: String,

    #[command(flatten)]
    classes: ClassArgs,

    /// Address of this machine for heartbeats [default: that of its entry among the peers]
    #[arg(long, env = "LANDFALL_BIND_ADDRESS", value_name = "IP")]
    bind_address: Option<IpAddr>,

    /// UDP port for heartbeats, the same on all machines
    #[arg(long, env = "LANDFALL_BIND_PORT", value_name = "PORT", default_value_t = 7946)]
    bind_port: u16,

    /// How soon a silent machine counts as dead; when machines differ, the slower of two counts between them
    #[arg(long, env = "LANDFALL_DETECTION", value_name = "PROFILE", default_value = "default")]
    detection: Detection,

    /// What becomes of addresses on a side of a split network that has no majority of the machines
    #[arg(long, env = "LANDFALL_MINORITY", value_name = "WHAT", default_value = "serve")]
    minority: Minority,

    /// After how long as the best candidate this machine takes an address back from one that lives, such as 5m, or off: the
    /// owner keeps it
    #[arg(long, env = "LANDFALL_FAIL_BACK", value_name = "DURATION", default_value = "off")]
    fail_back: Delay,

    /// How often each address that this machine owns is announced again, such as 5m, or off; at most ten are in a second
    #[arg(long, env = "LANDFALL_REFRESH", value_name = "DURATION", default_value = "5m")]
    refresh: Delay,

    /// The nftables table with the forwarding rules; two installs on one machine need two
    #[arg(long, env = "LANDFALL_NFT_TABLE", value_name = "NAME", default_value = "landfall")]
    nft_table: TableName,

    /// Time between two health checks of a target
    #[arg(long, env = "LANDFALL_CHECK_INTERVAL", value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    check_interval: Duration,

    /// Time that a target has for its answer
    #[arg(long, env = "LANDFALL_CHECK_TIMEOUT", value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    check_timeout: Duration,

    /// Answers in a row that bring a target back
    #[arg(long, env = "LANDFALL_CHECK_RISE", value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    check_rise: u32,

    /// Failures in a row that take a target out
    #[arg(long, env = "LANDFALL_CHECK_FALL", value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    check_fall: u32,

    /// Address of /healthz, /readyz and /metrics
    #[arg(long, env = "LANDFALL_HEALTH_ADDRESS", value_name = "IP", default_value = "127.0.0.1")]
    health_address: IpAddr,

    /// Port of /healthz and /readyz of the announcing half; 0 turns them off
    #[arg(long, env = "LANDFALL_HEALTH_PROBE_PORT", value_name = "PORT", default_value_t = 17472)]
    health_probe_port: u16,

    /// Port of /metrics of the announcing half; the assigning half has the next one; 0 turns both off
    #[arg(long, env = "LANDFALL_PORT", value_name = "PORT", default_value_t = 9120)]
    port: u16,

    /// How much to log
    #[arg(long, env = "LANDFALL_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    log_level: LogLevel,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Peer {
    name: String,
    address: IpAddr,
}

fn peer(text: &str) -> Result<Peer, String> {
    let (name, address) = text.split_once('=').ok_or("use NAME=IP, such as n2=192.0.2.12")?;
    let name = name.trim();
    if name.is_empty() || name.len() > 253 {
        return Err("the name before = must have 1 to 253 bytes".to_owned());
    }
    let address = address.trim().parse().map_err(|_| format!("{address:?} is no IP address; use NAME=IP"))?;
    Ok(Peer { name: name.to_owned(), address })
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "use a number of seconds, such as 2 or 0.5".to_owned())?;
    if !(0.05..=3600.0).contains(&seconds) {
        return Err("use 0.05 to 3600 seconds".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

impl StandaloneArgs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self {
            files,
            node_name,
            peers,
            key_file,
            state_dir,
            installation,
            classes,
            bind_address,
            bind_port,
            detection,
            minority,
            fail_back,
            refresh,
            nft_table,
            check_interval,
            check_timeout,
            check_rise,
            check_fall,
            health_address,
            health_probe_port,
            port,
            log_level,
        } = self;
        let dial = logging::start(log_level);
        let node = match node_name {
            Some(name) => name,
            None => host_name()?,
        };
        let mut members: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        for Peer { name, address } in peers {
            members.entry(name).or_default().push(address);
        }
        if let Some(address) = bind_address {
            members.entry(node.clone()).or_insert_with(|| vec![address]);
        }
        let bind_address = bind_address
            .or_else(|| members.get(&node)?.first().copied())
            .or_else(|| address_of(&files, &node))
            .with_context(|| {
                format!(
                    "the address of this machine, {node}, is not known: set --bind-address, name it with --peer, or add a \
                     Node {node} with an InternalIP to {}",
                    files.display()
                )
            })?;
        ensure!(
            !bind_address.is_unspecified(),
            "--bind-address must be an address of this machine, not {bind_address}"
        );
        let directory =
            Directory { manifests: files, statuses: state_dir.join("status"), members: Some(members) };
        let classes = classes.classes()?;
        let (appointment, leadership) = Appointment::new();
        let controller = landfall_controller::Settings {
            namespace: NAMESPACE.to_owned(),
            pod_name: node.clone(),
            pools: true,
            classes: classes.clone(),
            leaves_aws: false,
            cloud: None,
            secret_name: String::new(),
            webhooks: None,
            withdraws: None,
            competes: true,
            makes_namespace: false,
            addresses: Addresses {
                health: None,
                metrics: port
                    .checked_add(1)
                    .filter(|_| port != 0)
                    .and_then(|next| socket(health_address, next)),
                access: Access::default(),
            },
        };
        let memory = open_memory(&state_dir);
        let speaker = landfall_speaker::Settings {
            node: node.into(),
            namespace: NAMESPACE.into(),
            bgp: Mode::default(),
            cluster: cluster::Settings { classes, ignore_exclude_lb: false },
            membership: SocketAddr::new(bind_address, bind_port),
            timing: detection.into(),
            secret: key_file,
            boot: landfall_speaker::boot(memory.as_ref()),
            cluster_id: installation,
            exclude: NamePattern::defaults(),
            nftables: Nftables::new("nft", nft_table),
            addresses: Addresses {
                health: socket(health_address, health_probe_port),
                metrics: socket(health_address, port),
                access: Access::default(),
            },
            standalone: Some(appointment),
            minority: minority.into(),
            fail_back: fail_back.into(),
            refresh: refresh.into(),
        };
        let checks = health::Timing {
            interval: check_interval,
            timeout: check_timeout,
            rise: check_rise,
            fall: check_fall,
        };
        run::daemon(dial, async |shutdown| {
            let source = source::files(directory.clone()).context("the manifests cannot be read")?;
            let store = Store::Files(FileWriter::new(&directory.statuses));
            let speaker = landfall_speaker::run(speaker, checked(source, checks), store, shutdown.clone());
            let cluster = Cluster::Files(directory, Some(leadership));
            let controller = landfall_controller::run(controller, cluster, shutdown.clone());
            both(speaker, controller, shutdown).await
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Runs both halves. When one fails, the other one hands over and ends too.
async fn both(
    speaker: impl Future<Output = Result<(), landfall_speaker::Error>>,
    controller: impl Future<Output = Result<(), landfall_controller::Error>>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let ended = || shutdown.cancel();
    let speaker = async { speaker.await.inspect_err(|_| ended()).context("the announcing half failed") };
    let controller = async { controller.await.inspect_err(|_| ended()).context("the assigning half failed") };
    let (speaker, controller) = tokio::join!(speaker, controller);
    speaker.and(controller)
}

fn host_name() -> anyhow::Result<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .context("the host name cannot be read; set --node-name")?;
    Ok(name.trim().to_owned())
}

/// The first internal address of a Node among the manifests.
fn address_of(manifests: &Path, node: &str) -> Option<IpAddr> {
    source::node_addresses(manifests, node).into_iter().next()
}
