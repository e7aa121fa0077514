use std::path::PathBuf;

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
