use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use landfall_kubernetes::client::{self, ConnectOptions, Connection};

/// Which cluster a command talks to.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConnectionArgs {
    /// Path of the kubeconfig; without it $KUBECONFIG, then ~/.kube/config, then the service account of the pod
    #[arg(long, env = "LANDFALL_KUBECONFIG", value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig; without it the current one
    #[arg(long, env = "LANDFALL_CONTEXT", value_name = "NAME")]
    pub(crate) context: Option<String>,
}

impl ConnectionArgs {
    /// Prepares a client; nothing is sent yet.
    pub(crate) async fn connect(self) -> anyhow::Result<Connection> {
        let Self { kubeconfig, context } = self;
        Ok(client::connect(&ConnectOptions { kubeconfig, context }).await?)
    }
}

/// How often a busy API server is asked before the last time.
const TRIES: u32 = 3;

/// Asks again, as often as a person has patience, after as long as a busy API server asks to wait: it is busy for a moment
/// with each kind that has just been defined.
pub(crate) async fn patiently<T>(mut ask: impl AsyncFnMut() -> kube::Result<T>) -> kube::Result<T> {
    for _ in 0..TRIES {
        let asked_to_wait = |status: &kube::core::Status| {
            status.details.as_ref().map_or(0, |details| details.retry_after_seconds)
        };
        match ask().await {
            Err(kube::Error::Api(status)) if matches!(asked_to_wait(&status), 1..=5) => {
                tokio::time::sleep(Duration::from_secs(asked_to_wait(&status).into())).await;
            }
            answer => return answer,
        }
    }
    ask().await
}

/// A list, or what its failure means to a person.
pub(crate) fn listed<T>(answer: kube::Result<T>, kind: &str, namespace: &str) -> anyhow::Result<T> {
    match answer {
        // The API server knows no such kind.
        Err(kube::Error::Api(status)) if status.code == 404 => {
            bail!(
                "the cluster does not know {kind}: is Landfall installed? `kubectl apply -k deploy/` does it"
            )
        }
        answer => answer.with_context(|| format!("cannot list {kind} in {namespace}")),
    }
}
