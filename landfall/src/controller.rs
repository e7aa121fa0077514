use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use landfall_controller::{Cluster, Settings};
use landfall_kubernetes::{
    client::{NAMESPACE_FILE, pod_namespace},
    source::Directory,
};
use landfall_model::Classes;
use landfall_probes::{Access, Addresses};

use crate::{
    aws::AwsArgs,
    classes::ClassArgs,
    connection::ConnectionArgs,
    logging::{self, LogLevel},
    metallb,
    metrics_access::MetricsArgs,
    run,
    webhooks::{WebhookArgs, Webhooks},
};

/// `landfall controller`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ControllerArgs {
    #[command(flatten)]
    connection: ConnectionArgs,

    /// Read manifests from this directory instead of an API server, and write statuses beside them
    #[arg(long, env = "LANDFALL_FILES", value_name = "DIR", conflicts_with_all = ["kubeconfig", "context"])]
    files: Option<PathBuf>,

    /// Namespace of Landfall's own objects [env: METALLB_NAMESPACE] [default: that of the pod]
    #[arg(long, env = "LANDFALL_NAMESPACE", value_name = "NAME")]
    namespace: Option<String>,

    /// Name of this pod, which identifies it in the leader's lease [env: METALLB_POD_NAME]
    #[arg(long, env = "LANDFALL_POD_NAME", value_name = "NAME", default_value = "landfall-controller")]
    pod_name: String,

    #[command(flatten)]
    classes: ClassArgs,

    #[command(flatten)]
    aws: AwsArgs,

    /// Secret with the speakers' shared key, created when absent [env: METALLB_ML_SECRET_NAME]
    #[arg(long, env = "LANDFALL_ML_SECRET_NAME", value_name = "NAME", default_value = "memberlist")]
    ml_secret_name: String,

    /// Deployment of the controller; accepted for MetalLB's manifests and not needed [env: METALLB_DEPLOYMENT]
    #[arg(long, env = "LANDFALL_DEPLOYMENT", value_name = "NAME", hide = true)]
    deployment: Option<String>,

    /// Address of /healthz and /readyz
    #[arg(long, env = "LANDFALL_HEALTH_ADDRESS", value_name = "IP", default_value = "::")]
    health_address: IpAddr,

    /// Port of /healthz and /readyz; 0 turns them off
    #[arg(long, env = "LANDFALL_HEALTH_PROBE_PORT", value_name = "PORT", default_value_t = 17472)]
    health_probe_port: u16,

    /// Address of /metrics
    #[arg(long, env = "LANDFALL_METRICS_ADDRESS", value_name = "IP", default_value = "::")]
    metrics_address: IpAddr,

    /// Port of /metrics; 0 turns it off
    #[arg(long, env = "LANDFALL_PORT", value_name = "PORT", default_value_t = 9120)]
    port: u16,

    #[command(flatten)]
    metrics: MetricsArgs,

    #[command(flatten)]
    webhooks: WebhookArgs,

    /// How much to log
    #[arg(long, env = "LANDFALL_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    log_level: LogLevel,

    /// Flags that were given and say nothing here.
    #[arg(skip)]
    pub(crate) unused: Vec<&'static str>,
}

impl ControllerArgs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self {
            connection,
            files,
            namespace,
            pod_name,
            classes,
            aws,
            ml_secret_name,
            deployment,
            health_address,
            health_probe_port,
            metrics_address,
            port,
            metrics,
            webhooks,
            log_level,
            unused,
        } = self;
        let dial = logging::start(log_level);
        metallb::warn(&unused);
        if let Some(deployment) = deployment {
            tracing::debug!(op = "start", deployment, "the Deployment's name is not needed");
        }
        let namespace = own_namespace(namespace);
        let Webhooks { served, withdraws, competes } = webhooks.settings(&namespace, metrics.oldest());
        let pools = aws.pools();
        let classes = match (pools, aws.takes_unclassed()) {
            (true, false) => classes.classes()?,
            (true, true) => classes.without_unclassed()?,
            (false, _) => Classes::default(),
        };
        let cloud = aws.cloud()?;
        if cloud.is_some() && files.is_some() {
            anyhow::bail!("--provider aws needs an API server: leave out --files");
        }
        let leaves_aws = cloud.is_some();
        let cloud = cloud.map(|cloud| cloud.settings(&namespace, &pod_name)).transpose()?;
        let mut settings = Settings {
            webhooks: served.filter(|_| files.is_none()),
            withdraws,
            competes,
            makes_namespace: !Path::new(NAMESPACE_FILE).exists(),
            namespace,
            pod_name,
            pools,
            classes,
            leaves_aws,
            cloud,
            secret_name: ml_secret_name,
            addresses: Addresses {
                health: socket(health_address, health_probe_port),
                metrics: socket(metrics_address, port),
                access: Access::default(),
            },
        };
        run::daemon(dial, async |shutdown| {
            let cluster = match files {
                Some(directory) => Cluster::Files(Directory::new(&directory), None),
                None => Cluster::Api(connection.connect().await?),
            };
            settings.addresses.access = metrics.access(match &cluster {
                Cluster::Api(connection) => Some(connection.client.clone()),
                Cluster::Files(..) => None,
            });
            Ok(landfall_controller::run(settings, cluster, shutdown).await?)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The namespace of Landfall's own objects: as told, else the pod's, else that of the manifests in `deploy/`.
pub(crate) fn own_namespace(told: Option<String>) -> String {
    told.or_else(|| pod_namespace(Path::new(NAMESPACE_FILE))).unwrap_or_else(|| "landfall-system".to_owned())
}

/// Where to listen; port 0 means nowhere.
pub(crate) fn socket(address: IpAddr, port: u16) -> Option<SocketAddr> {
    (port != 0).then(|| SocketAddr::new(address, port))
}
