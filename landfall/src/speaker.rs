use std::{net::IpAddr, path::PathBuf, process::ExitCode};

use clap::Args;

use crate::{
    connection::ConnectionArgs,
    logging::{self, LogLevel},
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

    /// Handle Services of this load balancer class; without it, Services without a class
    #[arg(long, env = "LANDFALL_LB_CLASS", value_name = "CLASS")]
    lb_class: Option<String>,

    /// Address for heartbeats between speakers [env: METALLB_ML_BIND_ADDR] [default: the node's own]
    #[arg(long, env = "LANDFALL_ML_BINDADDR", value_name = "IP")]
    ml_bindaddr: Option<IpAddr>,

    /// UDP port for heartbeats, the same on all nodes [env: METALLB_ML_BIND_PORT]
    #[arg(long, env = "LANDFALL_ML_BINDPORT", value_name = "PORT", default_value_t = 7946)]
    ml_bindport: u16,

    /// Label selector of the speakers' pods [env: METALLB_ML_LABELS]
    #[arg(long, env = "LANDFALL_ML_LABELS", value_name = "SELECTOR", default_value = "app=landfall,component=speaker")]
    ml_labels: String,

    /// Directory or file with the shared key of the speakers [env: METALLB_ML_SECRET_KEY_PATH]
    #[arg(long, env = "LANDFALL_ML_SECRET_KEY_PATH", value_name = "PATH")]
    ml_secret_key_path: Option<PathBuf>,

    /// Let nodes own addresses although they carry the label node.kubernetes.io/exclude-from-external-load-balancers
    #[arg(long, env = "LANDFALL_IGNORE_EXCLUDE_LB")]
    ignore_exclude_lb: bool,

    /// Address of /healthz and /readyz
    #[arg(long, env = "LANDFALL_HEALTH_ADDRESS", value_name = "IP", default_value = "127.0.0.1")]
    health_address: IpAddr,

    /// Port of /healthz and /readyz; 0 turns them off
    #[arg(long, env = "LANDFALL_HEALTH_PROBE_PORT", value_name = "PORT", default_value_t = 17472)]
    health_probe_port: u16,

    /// Port of /metrics; 0 turns it off
    #[arg(long, env = "LANDFALL_PORT", value_name = "PORT", default_value_t = 9120)]
    port: u16,

    /// How much to log
    #[arg(long, env = "LANDFALL_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    log_level: LogLevel,
}
