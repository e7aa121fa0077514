//! The speaker: one per node. It carries out what the pure `landfall-engine` decides: sockets, netlink, the `nft` tool,
//! timers. Needs the host's network namespace, NET_RAW, and NET_ADMIN for mode `node-port`.

mod clock;
mod configuration;
mod driver;
mod forwarder;
pub mod health;
pub mod memory;
mod metrics;
pub mod netlink;
pub mod nftables;
mod outbox;
pub mod secret;
pub mod sockets;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use landfall_engine::{
    IfIndex, Link, cluster,
    links::NamePattern,
    membership::{BootId, Timing},
    speaker::{self, Minority, Speaker},
};
use landfall_kubernetes::{
    lease::Appointment,
    source::Source,
    state::{Program, Reporter},
    write::{Store, describe},
};
use landfall_probes::{Addresses, BindError, Description, Gate, Meter, Probes};
pub use landfall_verdict::Mode;
use tokio::{sync::mpsc, time::sleep};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use self::{
    clock::BootClock,
    configuration::Configuration,
    driver::Driver,
    forwarder::forward,
    memory::Memory,
    metrics::{Metrics, Now, Read, Shared},
    netlink::{LinkError, Links},
    nftables::Nftables,
    outbox::Outbox,
    secret::{Secret, SecretError},
    sockets::{FrameKind, FrameSocket, Groups, OpenError, PeerSocket},
};

/// Says whether packets are forwarded between interfaces.
const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// What a speaker needs to know.
#[derive(Debug)]
pub struct Settings {
    /// The name of the node that it runs on.
    pub node: Box<str>,
    /// The namespace of the configuration.
    pub namespace: Box<str>,
    /// What announces by BGP on this node, which decides about the settings that it can have.
    pub bgp: Mode,
    /// Which Services and nodes count.
    pub cluster: cluster::Settings,
    /// Where heartbeats are sent and received: an address of this node, and a port that is the same on all nodes.
    pub membership: SocketAddr,
    /// Intervals and windows of membership.
    pub timing: Timing,
    /// The file with the secret that all speakers share, or the directory with a file `secretkey`. It may appear later;
    /// without it the speaker hears no other.
    pub secret: PathBuf,
    /// Rises with every start on this node, see [`memory::Memory::next_boot`] and [`boot`].
    pub boot: u64,
    /// What tells this cluster from others with the same secret: the UID of the namespace `kube-system`.
    pub cluster_id: String,
    /// Interfaces that never announce.
    pub exclude: Vec<NamePattern>,
    /// The `nft` tool.
    pub nftables: Nftables,
    /// Where health and metrics are served.
    pub addresses: Addresses,
    /// Without an API server: whether this machine decides about addresses is said here.
    pub standalone: Option<Appointment>,
    /// What becomes of addresses on a side of a split network without a majority.
    pub minority: Minority,
    /// After how long as the best candidate this node takes addresses back from a living owner; `None`: never.
    pub fail_back: Option<Duration>,
    /// How often an address that this node owns is announced again; `None`: never.
    pub refresh: Option<Duration>,
}

/// Why a speaker cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A TCP port is taken.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A socket could not be opened.
    #[error(transparent)]
    Socket(#[from] OpenError),
    /// The interfaces cannot be followed.
    #[error(transparent)]
    Links(#[from] LinkError),
    /// The secret cannot be followed.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The system has no entropy.
    #[error("the system gives no random numbers, which the speakers' heartbeats need: {0}")]
    Entropy(getrandom::Error),
    /// A metric has been registered twice.
    #[error("the metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
}

/// Every metric of a speaker.
///
/// # Errors
/// When two have the same name.
pub fn metrics() -> prometheus::Result<Vec<Description>> {
    metrics::descriptions()
}

/// Runs a speaker until `shutdown`; then it hands its addresses over and returns. Forwarding rules stay in force for
/// the next process; see [`Nftables::cleanup`]. Dropping the future stops everything at once, as a crash would.
///
/// # Errors
/// See [`Error`]; only before anything was announced. An API server that is away is no error.
pub async fn run(
    settings: Settings,
    source: Source,
    store: Store,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let Settings {
        node,
        namespace,
        bgp,
        cluster,
        membership,
        timing,
        secret,
        boot,
        cluster_id,
        exclude,
        nftables,
        addresses,
        standalone,
        minority,
        fail_back,
        refresh,
    } = settings;
    let probes = Probes::bind(addresses).await?;
    let peers = PeerSocket::open(membership)?;
    let arp = Arc::new(FrameSocket::open(FrameKind::Arp)?);
    let neighbors = Arc::new(FrameSocket::open(FrameKind::Neighbor)?);
    let groups = Groups::open()?;
    let links = Links::open()?;
    let secret = Secret::follow(&secret, &cluster_id)?;
    let node_port = match nftables.check().await {
        Ok(()) => true,
        Err(error) => {
            // What may pass is met again, and retried, when there is something to forward.
            let retry = error.retry_helps();
            let error = describe(&error);
            tracing::warn!(op = "forward", node = %node, error, retry, "this node cannot forward in mode node-port");
            retry
        }
    };
    if node_port && std::fs::read_to_string(IP_FORWARD).is_ok_and(|value| value.trim() == "0") {
        let setting = IP_FORWARD;
        tracing::warn!(op = "forward", node = %node, setting, "this node forwards no packets, so mode node-port reaches \
            nothing but itself; set net.ipv4.ip_forward=1");
    }
    let relays = match nftables.check_relays().await {
        Ok(()) => true,
        Err(error) if node_port => {
            let error = describe(&error);
            tracing::warn!(op = "forward", node = %node, error, "this node cannot send packets of open connections to the owner \
                before it, so they end when an address moves here");
            false
        }
        Err(_) => false,
    };
    let (random, seed) = entropy().map_err(Error::Entropy)?;
    let machine = Shared::new(Speaker::new(speaker::Settings {
        node: node.clone(),
        cluster,
        boot: BootId { seconds: boot, random },
        seed,
        timing,
        port: membership.port(),
        exclude,
        node_port,
        relays,
        version: env!("CARGO_PKG_VERSION").into(),
        standalone: standalone.is_some(),
        minority,
        fail_back,
        refresh,
    }));
    let sockets = [(FrameKind::Arp, Arc::clone(&arp)), (FrameKind::Neighbor, Arc::clone(&neighbors))];
    let mut meter = Meter::default();
    meter.collector(Now::new(&node, Read { machine: machine.clone(), sockets })?)?;
    let metrics = Metrics::new(&mut meter)?;
    meter.process()?;
    let health = source.health();
    metrics.watch_age.follow(move || health.ages().collect());

    let (link_sender, link_receiver) = mpsc::channel(64);
    let (key_sender, key_receiver) = mpsc::channel(1);
    let (table_sender, table_receiver) = mpsc::channel(1);
    let (result_sender, result_receiver) = mpsc::channel(1);
    let _tasks = [
        AbortOnDropHandle::new(tokio::spawn(follow_links(links, link_sender))),
        AbortOnDropHandle::new(tokio::spawn(secret.run(key_sender))),
        AbortOnDropHandle::new(tokio::spawn(forward(nftables, table_receiver, result_sender))),
    ];
    let synced = Gate::new("first lists of the API server complete, or remembered");
    let keyed = Gate::new("key shared with the other speakers");
    let stop_probes = CancellationToken::new();
    let probes =
        probes.serve(meter.into_registry(), vec![synced.clone(), keyed.clone()], stop_probes.clone());
    let probes = AbortOnDropHandle::new(tokio::spawn(probes));
    tracing::info!(op = "start", node = %node, membership = %membership, node_port, "the speaker runs");
    Driver {
        machine,
        metrics,
        reporter: Reporter::start(&store, Program::Speaker(node.clone()), None),
        outbox: Outbox::new(store, &node),
        node,
        peers,
        arp,
        neighbors,
        groups,
        links: link_receiver,
        keys: key_receiver,
        tables: table_sender,
        forwarded: result_receiver,
        source,
        appointment: standalone,
        synced,
        keyed,
        configuration: Configuration::new(namespace, bgp),
        listed: false,
        tidy: BTreeMap::new(),
        clock: BootClock::start(),
        finished: false,
    }
    .run(&shutdown)
    .await;
    stop_probes.cancel();
    drop(probes.await);
    Ok(())
}

/// Sends every change of an interface, for ever.
async fn follow_links(mut links: Links, sender: mpsc::Sender<(IfIndex, Option<Link>)>) {
    loop {
        match links.changes().await {
            Ok(changes) => {
                for change in changes {
                    if sender.send(change).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => {
                tracing::warn!(
                    op = "links",
                    error = describe(&error),
                    "interfaces cannot be followed for now"
                );
                sleep(Duration::from_secs(1)).await;
                // If that fails too, the next round says so.
                if let LinkError::Closed = error {
                    drop(links.reopen());
                }
            }
        }
    }
}

/// The number of a start on this node: what its memory says, or the seconds since 1970 without one.
#[must_use]
pub fn boot(memory: Option<&Memory>) -> u64 {
    let remembered = memory.map(Memory::next_boot).transpose().unwrap_or_else(|error| {
        let error = describe(&error);
        tracing::warn!(op = "remember", error, "this start cannot be remembered");
        None
    });
    remembered.unwrap_or_else(memory::clock)
}

fn entropy() -> Result<(u64, u64), getrandom::Error> {
    Ok((getrandom::u64()?, getrandom::u64()?))
}
