//! The flags about who sees the metrics of a daemon.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use futures::FutureExt as _;
use kube::Client;
use landfall_kubernetes::access::{Right, Rights};
use landfall_kubernetes::write::describe;
use landfall_probes::{Access, Answer, Reviewer, tls::Version};

/// Who sees `/metrics`.
#[derive(Clone, Debug, Args)]
pub(crate) struct MetricsArgs {
    /// Show metrics only by HTTPS and to who has a token that may get /metrics; else HTTP shows them to everybody
    #[arg(long, env = "LANDFALL_METRICS_TOKEN_ONLY")]
    metrics_token_only: bool,

    /// Directory with tls.crt and tls.key for the metrics, read again when they change; without it one is made at each start
    #[arg(long, env = "LANDFALL_METRICS_CERT_DIR", value_name = "DIR")]
    metrics_cert_dir: Option<PathBuf>,

    /// The oldest version of TLS that is spoken
    #[arg(long, env = "LANDFALL_TLS_MIN_VERSION", value_name = "VERSION", default_value = "VersionTLS12")]
    tls_min_version: Oldest,
}

/// The oldest version of TLS, by the names of Go's flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Oldest {
    /// TLS 1.2.
    #[value(name = "VersionTLS12")]
    Tls12,
    /// TLS 1.3.
    #[value(name = "VersionTLS13")]
    Tls13,
}

impl MetricsArgs {
    pub(crate) const fn oldest(&self) -> Version {
        match self.tls_min_version {
            Oldest::Tls12 => Version::Tls12,
            Oldest::Tls13 => Version::Tls13,
        }
    }

    /// Who sees them; the API server behind `client` knows tokens.
    pub(crate) fn access(self, client: Option<Client>) -> Access {
        let oldest = self.oldest();
        Access {
            token_only: self.metrics_token_only,
            certificate: self.metrics_cert_dir,
            oldest,
            reviewer: client.map(reviewer),
        }
    }
}

fn reviewer(client: Client) -> Reviewer {
    let rights = Rights::new(client, "/metrics");
    Reviewer::new(move |token| {
        let rights = rights.clone();
        async move {
            match rights.of(&token).await {
                Ok(Right::Granted) => Answer::Allowed,
                Ok(Right::Denied) => Answer::Forbidden,
                Ok(Right::NoToken) => Answer::Unauthorized,
                Err(error) => {
                    tracing::warn!(
                        op = "metrics",
                        error = describe(&error),
                        "a token could not be looked at"
                    );
                    Answer::Unknown
                }
            }
        }
        .boxed()
    })
}
