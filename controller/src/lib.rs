//! The controller: watches in, plan, writes out. An IO crate; what it does is decided in `landfall-plan`.
//!
//! ```text
//! elector task ──Leadership──▶ ┌────────────────────┐
//! watch tasks  ──Source──────▶ │ driver (one loop)  │ ──▶ at most 16 statuses and 4 notices in flight ──▶ Store
//!                              └────────────────────┘ ◀── outcome of each write
//!                                  │ Verdict, the latest
//! owner task ──our Pod──▶ reporter task ──▶ ConfigurationState, at most one write in flight
//! probes task: /healthz /readyz /metrics
//! webhooks task; with AWS a task that keeps the gates of new Pods for it
//! ```
//!
//! A replica plans, and watches what it plans with, only while it leads; see `docs/decisions/0001-followers-keep-nothing.md`.

mod driver;
mod metrics;
mod outbox;

use std::{sync::Arc, time::Duration};

use futures::FutureExt as _;
pub use landfall_admission as admission;
use landfall_admission::{Webhooks, counters};
#[cfg(feature = "aws")]
pub use landfall_aws as aws;
use landfall_kubernetes::{
    client::Connection,
    lease::{self, Leadership, LeaseOptions, machine::Timing},
    names,
    namespace::ensure_namespace,
    secret::ensure_secret,
    source::{self, Directory, FilesError, Interests},
    write::{FileWriter, OwnerPod, Store, Writer, WriterIdentity, own_pod},
};
use landfall_model::Classes;
use landfall_probes::{Addresses, BindError, Description, Gate, Meter, Probes};
use tokio::sync::SetOnce;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use self::{driver::Driver, metrics::Metrics};

/// Load balancers of AWS.
#[cfg(feature = "aws")]
pub type Cloud = aws::Settings;
/// Load balancers of AWS, which this build has not.
#[cfg(not(feature = "aws"))]
pub type Cloud = std::convert::Infallible;

/// What a controller needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespace of Landfall's own objects.
    pub namespace: String,
    /// Name of this pod; identifies the replica in the Lease and in events.
    pub pod_name: String,
    /// Whether addresses are handed out from pools.
    pub pools: bool,
    /// The Services that get addresses from pools.
    pub classes: Classes,
    /// Services without a class that AWS annotations claim get none.
    pub leaves_aws: bool,
    /// Load balancers of AWS, beside addresses from pools or instead of them.
    pub cloud: Option<Cloud>,
    /// Secret with the speakers' shared key, created when absent.
    pub secret_name: String,
    /// Where health and metrics are served.
    pub addresses: Addresses,
    /// The webhooks, if any are served. Without an API server there are none.
    pub webhooks: Option<admission::Settings>,
    /// Where no webhooks are served: what API servers were told of earlier ones, by name.
    pub withdraws: Option<String>,
    /// Whether to compete for the lease; else this replica only serves webhooks.
    pub competes: bool,
    /// Make the namespace of Landfall's own objects where it is missing. A Pod has one.
    pub makes_namespace: bool,
}

/// Where the cluster's objects are.
pub enum Cluster {
    /// In an API server.
    Api(Connection),
    /// In a directory of manifests. Without leadership this is the only controller of the directory, and always leads.
    Files(Directory, Option<Leadership>),
}

/// Why a controller cannot run. None of these is worth a retry without a change from outside.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port is taken.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The directory of manifests cannot be read.
    #[error("the manifests cannot be read")]
    Files(#[from] FilesError),
    /// The system has no entropy.
    #[error(
        "the system gives no random numbers, which the identity in the lease and the speakers' key need: {0}"
    )]
    Entropy(getrandom::Error),
    /// A metric has been registered twice.
    #[error("the metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
}

/// Every metric of a controller.
///
/// # Errors
/// When two have the same name.
pub fn metrics() -> prometheus::Result<Vec<Description>> {
    let mut meter = Meter::default();
    Metrics::new(&mut meter)?;
    counters(&mut meter)?;
    #[cfg(feature = "aws")]
    aws::Metrics::new(&mut meter)?;
    meter.process()?;
    Ok(meter.descriptions().to_vec())
}

/// Runs a controller until `shutdown`; then it gives the lease back and returns.
///
/// # Errors
/// See [`Error`]. An API server that is away is no error: the controller waits for it.
pub async fn run(settings: Settings, cluster: Cluster, shutdown: CancellationToken) -> Result<(), Error> {
    let Settings {
        namespace,
        pod_name,
        pools,
        classes,
        leaves_aws,
        cloud,
        secret_name,
        addresses,
        webhooks,
        withdraws,
        competes,
        makes_namespace,
    } = settings;
    let mut meter = Meter::default();
    let metrics = Metrics::new(&mut meter)?;
    let asked = counters(&mut meter)?;
    #[cfg(feature = "aws")]
    let cloud_metrics = cloud.is_some().then(|| aws::Metrics::new(&mut meter)).transpose()?;
    meter.process()?;
    let gate = Gate::new("competing for the lease, or leading with everything claimed");
    let mut gates = vec![gate.clone()];
    let webhooks = match webhooks {
        Some(settings) => {
            let certified = Gate::new("a certificate for the webhooks");
            gates.push(certified.clone());
            Some(Webhooks::bind(settings, asked, certified).await?)
        }
        None => None,
    };
    let probes = Probes::bind(addresses).await?;
    let probes = tokio::spawn(probes.serve(meter.into_registry(), gates, shutdown.clone()));
    let world = landfall_plan::Settings { classes, leaves_aws };
    match cluster {
        Cluster::Files(directory, leadership) => {
            let store = Store::Files(FileWriter::new(&directory.statuses));
            let term = |source, leadership| {
                let (world, store) = (world.clone(), store.clone());
                Driver { world, store, leadership, metrics: &metrics, gate: &gate }.lead(source, &shutdown)
            };
            match leadership {
                None => term(source::files(directory)?, None).await,
                Some(mut leadership) => {
                    gate.set(true);
                    while wait_until_leading(&mut leadership, &shutdown).await {
                        term(source::files(directory.clone())?, Some(leadership.clone())).await;
                        gate.set(true);
                    }
                }
            }
        }
        Cluster::Api(connection) => {
            let client = &connection.client;
            #[cfg(feature = "aws")]
            let (gates, keeping) = cloud
                .as_ref()
                .filter(|cloud| cloud.gates && webhooks.is_some())
                .map(|cloud| aws::gates(client, cloud))
                .unzip();
            #[cfg(feature = "aws")]
            let _keeping = keeping.map(|task| AbortOnDropHandle::new(tokio::spawn(task)));
            #[cfg(not(feature = "aws"))]
            let gates = None;
            let webhooks = webhooks.map(|webhooks| webhooks.serve(client.clone(), gates, shutdown.clone()));
            let webhooks = webhooks.map(|serving| AbortOnDropHandle::new(tokio::spawn(serving)));
            let withdrawing =
                withdraws.map(|name| admission::withdraw(client.clone(), name, shutdown.clone()));
            let _withdrawing = withdrawing.map(|task| AbortOnDropHandle::new(tokio::spawn(task)));
            if !competes {
                gate.set(true);
                shutdown.cancelled().await;
                if let Some(webhooks) = webhooks {
                    drop(webhooks.await);
                }
                drop(probes.await);
                return Ok(());
            }
            let identity = lease::identity(&pod_name).map_err(Error::Entropy)?;
            let options = LeaseOptions {
                namespace: namespace.clone(),
                name: names::lease::NAME.to_owned(),
                identity,
                timing: Timing::default(),
            };
            let _making = makes_namespace
                .then(|| make_namespace(connection.clone(), namespace.clone()))
                .map(|task| AbortOnDropHandle::new(tokio::spawn(task)));
            let released = CancellationToken::new();
            let (mut leadership, elector) = lease::compete(client.clone(), options, released.clone());
            let owner: Arc<SetOnce<Option<OwnerPod>>> = Arc::default();
            let writer = WriterIdentity {
                namespace: namespace.clone(),
                manager: names::manager::CONTROLLER,
                component: names::event::CONTROLLER,
                instance: pod_name.clone(),
                owner: Arc::clone(&owner),
            };
            let store = Store::Api(Writer::new(client.clone(), writer));
            gate.set(true);
            while wait_until_leading(&mut leadership, &shutdown).await {
                gate.set(false);
                let mut key = [0; 32];
                getrandom::fill(&mut key).map_err(Error::Entropy)?;
                let sharing = share_key(connection.clone(), namespace.clone(), secret_name.clone(), key);
                let finding =
                    find_owner(connection.clone(), namespace.clone(), pod_name.clone(), Arc::clone(&owner));
                let _tasks =
                    [sharing.boxed(), finding.boxed()].map(|task| AbortOnDropHandle::new(tokio::spawn(task)));
                let driver = Driver {
                    world: world.clone(),
                    store: store.clone(),
                    leadership: Some(leadership.clone()),
                    metrics: &metrics,
                    gate: &gate,
                };
                let from_pools = async {
                    if pools {
                        let source = source::watch(client.clone(), &Interests::controller(&namespace));
                        driver.lead(source, &shutdown).await;
                    } else {
                        gate.set(true);
                    }
                };
                let from_cloud = async {
                    #[cfg(feature = "aws")]
                    if let (Some(cloud), Some(metrics)) = (&cloud, &cloud_metrics) {
                        aws::lead(cloud, client.clone(), leadership.clone(), metrics, &shutdown).await;
                    }
                    #[cfg(not(feature = "aws"))]
                    if let Some(cloud) = &cloud {
                        match *cloud {}
                    }
                };
                tokio::join!(from_pools, from_cloud);
                gate.set(true);
            }
            released.cancel();
            // The elector only ends early when its task panicked, and then there is no lease to give back.
            drop(elector.await);
            if let Some(webhooks) = webhooks {
                drop(webhooks.await);
            }
        }
    }
    drop(probes.await);
    Ok(())
}

/// True when this replica leads, false on shutdown.
async fn wait_until_leading(leadership: &mut Leadership, shutdown: &CancellationToken) -> bool {
    loop {
        if shutdown.is_cancelled() {
            return false;
        }
        if leadership.is_current() {
            return true;
        }
        tokio::select! {
            () = shutdown.cancelled() => return false,
            changed = leadership.changed() => if changed.is_none() { return false },
        }
    }
}

/// Makes the namespace unless it is there, and tries again until that is known. A controller that is run from a shell needs
/// one for its lease.
async fn make_namespace(connection: Connection, namespace: String) {
    let mut pauses = Pauses::default();
    loop {
        match ensure_namespace(&connection.client, &namespace).await {
            Ok(true) => {
                tracing::info!(op = "start", "created the Namespace {namespace}");
                return;
            }
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(op = "start", %error, "cannot create the Namespace {namespace}");
                let Some(least) = error.retry_after() else { return };
                pauses.next(least).await;
            }
        }
    }
}

/// Finds the Pod of this process, which owns its report, and tries again until there is an answer.
async fn find_owner(
    connection: Connection,
    namespace: String,
    pod: String,
    owner: Arc<SetOnce<Option<OwnerPod>>>,
) {
    let mut pauses = Pauses::default();
    while !owner.initialized() {
        match own_pod(&connection.client, &namespace, &pod).await {
            // Nobody else sets it meanwhile: the one of an earlier term has ended.
            Ok(found) => drop(owner.set(found)),
            Err(error) => {
                tracing::warn!(op = "start", pod, %error, "our Pod is not known, so the configuration's state is not written");
                pauses.next(error.retry_after().unwrap_or_default()).await;
            }
        }
    }
}

/// Creates the speakers' shared key when there is none, and tries again until it is there: without it the speakers cannot
/// hear each other.
async fn share_key(connection: Connection, namespace: String, name: String, key: [u8; 32]) {
    let mut pauses = Pauses::default();
    loop {
        match ensure_secret(connection.client.clone(), &namespace, &name, names::secret::KEY, &key).await {
            Ok(true) => {
                tracing::info!(op = "secret", "created the Secret {namespace}/{name} with the speakers' key");
                return;
            }
            Ok(false) => return,
            Err(error) => {
                tracing::error!(op = "secret", %error, "cannot create the Secret {namespace}/{name} that speakers need");
                pauses.next(error.retry_after().unwrap_or_default()).await;
            }
        }
    }
}

/// Pauses between tries at the start, from a second to a minute.
struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(Duration::from_secs(1))
    }
}

impl Pauses {
    /// Waits, not shorter than `least`.
    async fn next(&mut self, least: Duration) {
        tokio::time::sleep(self.0.max(least)).await;
        self.0 = (self.0 * 2).min(Duration::from_secs(60));
    }
}
