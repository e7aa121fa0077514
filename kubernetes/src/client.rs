//! Connects to the API server, from a kubeconfig or from inside a Pod.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use http::{HeaderValue, header::USER_AGENT};
use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
};
use tower::util::MapResponseLayer;

use crate::busy;

/// Where the API server is and who is asking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    /// This kubeconfig file. Without it: `KUBECONFIG`, then `~/.kube/config`, then the Pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; without it, its current one.
    pub context: Option<String>,
}

/// A connected client and the namespace that its configuration names.
#[derive(Clone)]
pub struct Connection {
    /// The client.
    pub client: Client,
    /// Namespace of the kubeconfig's context or of the service account.
    pub namespace: String,
}

/// Prepares a client. No request is sent yet, so it succeeds while the API server is away.
///
/// Requests are not retried inside the client: the caller decides, because it must look at its lease again.
///
/// # Errors
/// When no configuration is found or it cannot be used; a retry helps only after the file has been mended.
pub async fn connect(options: &ConnectOptions) -> Result<Connection, ConnectError> {
    install_crypto();
    let mut config = configuration(options).await?;
    config.connect_timeout = Some(Duration::from_secs(5));
    config.write_timeout = Some(Duration::from_secs(10));
    // Longer than any watch lasts, see `source`: it ends a list whose server vanished without a word.
    config.read_timeout = Some(Duration::from_secs(240));
    config.reset_reader_on_write = true;
    config.default_retry = false;
    let agent = HeaderValue::from_static(concat!("landfall/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, agent));
    let namespace = config.default_namespace.clone();
    let client =
        ClientBuilder::try_from(config).map_err(|error| ConnectError::Client { source: Box::new(error) })?;
    let client = client.with_layer(&MapResponseLayer::new(busy::told)).build();
    Ok(Connection { client, namespace })
}

async fn configuration(options: &ConnectOptions) -> Result<Config, ConnectError> {
    let choice = KubeConfigOptions { context: options.context.clone(), cluster: None, user: None };
    if let Some(path) = &options.kubeconfig {
        let error = |source| ConnectError::Kubeconfig { path: path.clone(), source: Box::new(source) };
        let file = Kubeconfig::read_from(path).map_err(error)?;
        return Config::from_custom_kubeconfig(file, &choice).await.map_err(error);
    }
    if options.context.is_some() {
        return Config::from_kubeconfig(&choice)
            .await
            .map_err(|source| ConnectError::Context { source: Box::new(source) });
    }
    Config::infer().await.map_err(|source| ConnectError::Infer { source: Box::new(source) })
}

/// Makes `ring` the process's only provider of cryptography. Harmless when called again.
pub fn install_crypto() {
    // Fails only when a provider is installed already, which is what is wanted.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// Where a Pod finds the name of its namespace.
pub const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The namespace in which this Pod runs, read from `file`, usually [`NAMESPACE_FILE`]. `None` outside a Pod.
#[must_use]
pub fn pod_namespace(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let name = text.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig that was named cannot be used.
    #[error("the kubeconfig {} cannot be used", path.display())]
    Kubeconfig {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: Box<kube::config::KubeconfigError>,
    },
    /// The context that was named cannot be used.
    #[error("the context cannot be used")]
    Context {
        /// Why not.
        source: Box<kube::config::KubeconfigError>,
    },
    /// Neither a kubeconfig nor a service account was found.
    #[error("no API server is configured: set KUBECONFIG, pass a kubeconfig, or run inside a Pod")]
    Infer {
        /// What was tried.
        source: Box<kube::config::InferConfigError>,
    },
    /// The configuration is there, but no client can be built from it.
    #[error("the client cannot be built from its configuration")]
    Client {
        /// Why not.
        source: Box<kube::Error>,
    },
}
