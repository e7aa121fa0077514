mod identity;
mod place;

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;
use landfall_engine::{cluster, forwarding::TableName, links::NamePattern};
use landfall_kubernetes::write::describe;
use landfall_probes::Addresses;
use landfall_speaker::{Settings, memory::Memory, nftables::Nftables};

use self::place::Member;
use crate::{
    bgp_type::BgpType,
    classes::ClassArgs,
    connection::ConnectionArgs,
    controller::{own_namespace, socket},
    delay::Delay,
    detection::Detection,
    logging::{self, LogLevel},
    metallb,
    metrics_access::MetricsArgs,
    minority::Minority,
    run,
};

/// `landfall speaker`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SpeakerArgs {
    #[command(flatten)]
    connection: ConnectionArgs,

    /// Read manifests from this directory instead of an API server
    #[arg(long, env = "LANDFALL_FILES", value_name = "DIR", conflicts_with_all = ["kubeconfig", "context"])]
    files: Option<PathBuf>,

    /// Namespace of Landfall's own objects [env: METALLB_NAMESPACE] [default: that of the pod]
    #[arg(long, env = "LANDFALL_NAMESPACE", value_name = "NAME")]
    namespace: Option<String>,

    /// Name of the node that this speaker runs on [env: METALLB_NODE_NAME]
    #[arg(long, env = "LANDFALL_NODE_NAME", value_name = "NAME")]
    node_name: String,

    /// Name of this pod, which owns its status objects [env: METALLB_POD_NAME]
    #[arg(long, env = "LANDFALL_POD_NAME", value_name = "NAME")]
    pod_name: Option<String>,

    #[command(flatten)]
    classes: ClassArgs,

    /// Address for heartbeats between speakers [env: METALLB_ML_BIND_ADDR] [default: that of the pod]
    #[arg(long, env = "LANDFALL_ML_BINDADDR", value_name = "IP")]
    ml_bindaddr: Option<IpAddr>,

    /// UDP port for heartbeats, the same on all nodes [env: METALLB_ML_BIND_PORT]
    #[arg(long, env = "LANDFALL_ML_BINDPORT", value_name = "PORT", default_value_t = 7946)]
    ml_bindport: u16,

    /// How soon a silent node counts as dead; when nodes differ, the slower of two counts between them
    #[arg(long, env = "LANDFALL_DETECTION", value_name = "PROFILE", default_value = "default")]
    detection: Detection,

    /// Label selector of the speakers' pods [env: METALLB_ML_LABELS]
    #[arg(
        long,
        env = "LANDFALL_ML_LABELS",
        value_name = "SELECTOR",
        default_value = "app=landfall,component=speaker"
    )]
    ml_labels: String,

    /// Directory or file with the shared key of the speakers [env: METALLB_ML_SECRET_KEY_PATH]
    #[arg(
        long,
        env = "LANDFALL_ML_SECRET_KEY_PATH",
        value_name = "PATH",
        default_value = "/etc/ml_secret_key"
    )]
    ml_secret_key_path: PathBuf,

    /// Directory for what this node remembers, so that it serves again when it starts while the API server is away
    #[arg(long, env = "LANDFALL_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// What announces by BGP, which decides about the settings that it can have [env: METALLB_BGP_TYPE]
    #[arg(long, env = "LANDFALL_BGP_TYPE", value_name = "TYPE", default_value = "frr-k8s")]
    bgp_type: BgpType,

    /// Let nodes own addresses although they carry the label node.kubernetes.io/exclude-from-external-load-balancers
    #[arg(long, env = "LANDFALL_IGNORE_EXCLUDE_LB")]
    ignore_exclude_lb: bool,

    /// What becomes of addresses on a side of a split network that has no majority of the speakers
    #[arg(long, env = "LANDFALL_MINORITY", value_name = "WHAT", default_value = "serve")]
    minority: Minority,

    /// After how long as the best candidate this node takes an address back from one that lives, such as 5m, or off: the
    /// owner keeps it
    #[arg(long, env = "LANDFALL_FAIL_BACK", value_name = "DURATION", default_value = "off")]
    fail_back: Delay,

    /// How often each address that this node owns is announced again, such as 5m, or off; at most ten are in a second
    #[arg(long, env = "LANDFALL_REFRESH", value_name = "DURATION", default_value = "5m")]
    refresh: Delay,

    /// The nftables table with the forwarding rules; two installs on one node need two
    #[arg(long, env = "LANDFALL_NFT_TABLE", value_name = "NAME", default_value = "landfall")]
    nft_table: TableName,

    /// Address of /healthz and /readyz
    #[arg(long, env = "LANDFALL_HEALTH_ADDRESS", value_name = "IP", default_value = "127.0.0.1")]
    health_address: IpAddr,

    /// Port of /healthz and /readyz; 0 turns them off
    #[arg(long, env = "LANDFALL_HEALTH_PROBE_PORT", value_name = "PORT", default_value_t = 17472)]
    health_probe_port: u16,

    /// Address of /metrics [default: that of the heartbeats]
    #[arg(long, env = "LANDFALL_METRICS_ADDRESS", value_name = "IP")]
    metrics_address: Option<IpAddr>,

    /// Port of /metrics; 0 turns it off
    #[arg(long, env = "LANDFALL_PORT", value_name = "PORT", default_value_t = 9120)]
    port: u16,

    #[command(flatten)]
    metrics: MetricsArgs,

    /// How much to log
    #[arg(long, env = "LANDFALL_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    log_level: LogLevel,

    /// Flags that were given and say nothing here.
    #[arg(skip)]
    pub(crate) unused: Vec<&'static str>,
}

impl SpeakerArgs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self {
            connection,
            files,
            namespace,
            node_name,
            pod_name,
            classes,
            ml_bindaddr,
            ml_bindport,
            detection,
            ml_labels,
            ml_secret_key_path,
            state_dir,
            bgp_type,
            ignore_exclude_lb,
            minority,
            fail_back,
            refresh,
            nft_table,
            health_address,
            health_probe_port,
            metrics_address,
            port,
            metrics,
            log_level,
            unused,
        } = self;
        let dial = logging::start(log_level);
        metallb::warn(&unused);
        let namespace = own_namespace(namespace);
        let classes = classes.classes()?;
        run::daemon(dial, async |shutdown| {
            let member = Member {
                node: &node_name,
                namespace: &namespace,
                pod: pod_name.as_deref(),
                labels: &ml_labels,
            };
            let memory = state_dir.as_deref().and_then(open_memory);
            let boot = landfall_speaker::boot(memory.as_ref());
            let (place, access) = match &files {
                Some(directory) => (member.in_files(directory)?, metrics.access(None)),
                None => {
                    let client = connection.connect().await?.client;
                    let access = metrics.access(Some(client.clone()));
                    tokio::select! {
                        place = member.in_cluster(client, memory) => (place, access),
                        () = shutdown.cancelled() => return Ok(()),
                    }
                }
            };
            let address = ml_bindaddr
                .or(place.address)
                .context("the address for heartbeats is not known: set --ml-bindaddr to one of this node")?;
            let settings = Settings {
                node: node_name.as_str().into(),
                namespace: namespace.as_str().into(),
                bgp: bgp_type.into(),
                cluster: cluster::Settings { classes, ignore_exclude_lb },
                membership: SocketAddr::new(address, ml_bindport),
                timing: detection.into(),
                secret: ml_secret_key_path,
                boot,
                cluster_id: place.cluster_id,
                exclude: NamePattern::defaults(),
                nftables: Nftables::new("nft", nft_table),
                standalone: None,
                minority: minority.into(),
                fail_back: fail_back.into(),
                refresh: refresh.into(),
                addresses: Addresses {
                    health: socket(health_address, health_probe_port),
                    metrics: socket(metrics_address.unwrap_or(address), port),
                    access,
                },
            };
            tokio::select! {
                ended = landfall_speaker::run(settings, place.source, place.store, shutdown) => Ok(ended?),
                mistaken = place.mistaken => Err(mistaken),
            }
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The memory in `directory`. One that cannot be used is said so; a speaker works without.
pub(crate) fn open_memory(directory: &Path) -> Option<Memory> {
    Memory::open(directory)
        .inspect_err(|error| {
            let error = describe(error);
            tracing::warn!(op = "remember", error, "this node remembers nothing");
        })
        .ok()
}
