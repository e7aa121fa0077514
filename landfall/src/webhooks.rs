//! The flags of the controller's webhooks.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use landfall_controller::admission::{Certificate, FailurePolicy, Settings};
use landfall_kubernetes::client::NAMESPACE_FILE;
use landfall_probes::tls::Version;

use crate::{bgp_type::BgpType, go_flag::GoFlag as _};

/// Where MetalLB's manifests put the certificate.
const DIRECTORY: &str = "/tmp/k8s-webhook-server/serving-certs";

/// Admission and conversion webhooks.
#[derive(Clone, Debug, Args)]
pub(crate) struct WebhookArgs {
    /// Whether to serve admission webhooks, or nothing else [default: enabled in a pod, else disabled]
    #[arg(long, env = "LANDFALL_WEBHOOK_MODE", value_name = "MODE")]
    webhook_mode: Option<Mode>,

    /// What becomes of objects while no webhook answers
    #[arg(long, env = "LANDFALL_WEBHOOK_FAILURE_POLICY", value_name = "POLICY", default_value = "fail")]
    webhook_failure_policy: Policy,

    /// Address of the webhooks
    #[arg(long, env = "LANDFALL_WEBHOOK_ADDRESS", value_name = "IP", default_value = "::")]
    webhook_address: IpAddr,

    /// Port of the webhooks
    #[arg(long, env = "LANDFALL_WEBHOOK_PORT", value_name = "PORT", default_value_t = 9443)]
    webhook_port: u16,

    /// The ValidatingWebhookConfiguration that tells the API server of the webhooks; two installs in one cluster need two
    #[arg(
        long,
        env = "LANDFALL_WEBHOOK_CONFIGURATION",
        value_name = "NAME",
        default_value = "landfall-webhook"
    )]
    webhook_configuration: String,

    /// The Service that leads to the webhooks
    #[arg(long, env = "LANDFALL_CERT_SERVICE_NAME", value_name = "NAME", default_value = "landfall-webhook")]
    cert_service_name: String,

    /// Secret with the webhooks' certificate, which is made and renewed in it
    #[arg(
        long,
        env = "LANDFALL_WEBHOOK_SECRET",
        value_name = "NAME",
        default_value = "landfall-webhook-cert"
    )]
    webhook_secret: String,

    /// Make no certificate: somebody else keeps one in --cert-dir, and tells the API server of the webhooks
    #[arg(long, env = "LANDFALL_DISABLE_CERT_ROTATION", go_bool(), default_value_t = false)]
    disable_cert_rotation: bool,

    /// Directory with tls.crt and tls.key, read again when they change; only with --disable-cert-rotation
    #[arg(long, env = "LANDFALL_CERT_DIR", value_name = "DIR", default_value = DIRECTORY)]
    cert_dir: PathBuf,

    /// What announces by BGP, which decides about the settings that it can have [env: METALLB_BGP_TYPE]
    #[arg(long, env = "LANDFALL_BGP_TYPE", value_name = "TYPE", default_value = "frr-k8s")]
    bgp_type: BgpType,
}

/// Whether webhooks are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Beside everything else.
    Enabled,
    /// Not at all.
    Disabled,
    /// And nothing else: this replica assigns no address.
    Onlywebhook,
}

/// What becomes of objects while no webhook answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Policy {
    /// They are refused.
    Fail,
    /// They are taken as they are, and the daemons say what is wrong.
    Ignore,
}

/// What a controller does about webhooks.
pub(crate) struct Webhooks {
    pub(crate) served: Option<Settings>,
    /// The configuration that is taken away when nobody serves.
    pub(crate) withdraws: Option<String>,
    /// Whether it does anything else.
    pub(crate) competes: bool,
}

impl WebhookArgs {
    /// What a controller in this namespace does about webhooks.
    pub(crate) fn settings(self, namespace: &str, oldest: Version) -> Webhooks {
        let in_pod = Path::new(NAMESPACE_FILE).exists();
        let mode = self.webhook_mode.unwrap_or(if in_pod { Mode::Enabled } else { Mode::Disabled });
        let settings = Settings {
            namespace: namespace.to_owned(),
            bgp: self.bgp_type.into(),
            address: SocketAddr::new(self.webhook_address, self.webhook_port),
            oldest,
            service: self.cert_service_name,
            configuration: self.webhook_configuration,
            failure_policy: match self.webhook_failure_policy {
                Policy::Fail => FailurePolicy::Fail,
                Policy::Ignore => FailurePolicy::Ignore,
            },
            certificate: if self.disable_cert_rotation {
                Certificate::Directory(self.cert_dir)
            } else {
                Certificate::Secret(self.webhook_secret)
            },
        };
        let withdraws = settings.configuration.clone();
        match mode {
            Mode::Enabled => Webhooks { served: Some(settings), withdraws: None, competes: true },
            Mode::Disabled => Webhooks { served: None, withdraws: Some(withdraws), competes: true },
            Mode::Onlywebhook => Webhooks { served: Some(settings), withdraws: None, competes: false },
        }
    }
}
