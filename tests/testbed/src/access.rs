//! How programs and clients of the Kubernetes API get at it: kubeconfig files, and ways into the namespaces.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use landfall_lan::Host;
use serde_json::json;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use crate::certificates::{Authority, Identity};

/// How somebody proves to the API server who they are.
#[derive(Clone, Copy, Debug)]
pub enum Credentials<'a> {
    /// By a certificate, as people and the control plane do.
    Certificate(&'a Identity),
    /// By the token of a service account, as Pods do.
    Token(&'a str),
}

/// Writes a kubeconfig (JSON is YAML) for one identity against one server address.
///
/// # Errors
/// When the file cannot be written.
pub fn write_kubeconfig(
    path: &Path,
    server: SocketAddr,
    authority: &Authority,
    credentials: Credentials<'_>,
) -> Result<PathBuf> {
    let user = match credentials {
        Credentials::Certificate(identity) => {
            json!({ "client-certificate": identity.certificate, "client-key": identity.key })
        }
        Credentials::Token(token) => json!({ "token": token }),
    };
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "testbed",
        "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "testbed"}}],
        "clusters": [{"name": "testbed", "cluster": {
            "server": format!("https://{server}"),
            "certificate-authority": authority.certificate(),
        }}],
        "users": [{"name": "testbed", "user": user}],
    });
    std::fs::write(path, serde_json::to_string_pretty(&config)?)
        .with_context(|| format!("write {}", path.display()))?;
    Ok(path.to_owned())
}

/// A client of the Kubernetes API from a kubeconfig file.
///
/// # Errors
/// When the file is not usable.
pub async fn client(kubeconfig: &Path) -> Result<kube::Client> {
    let file = Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("read the kubeconfig {}", kubeconfig.display()))?;
    let mut config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    config.connect_timeout = Some(Duration::from_secs(5));
    Ok(kube::Client::try_from(config)?)
}

/// A loopback port of the machine that leads to a TCP address as seen from inside a host. It closes when this is dropped.
#[derive(Debug)]
pub struct Forwarder {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Forwarder {
    /// Opens a free port on 127.0.0.1 and connects each caller to `target` from inside `host`. So what breaks the host's
    /// network breaks these connections too.
    ///
    /// # Errors
    /// When no port can be opened.
    pub async fn start(host: Host, target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("open a loopback port")?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            // One task per connection; they end with their connections, or with the runtime.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                match listener.accept().await {
                    Ok((caller, _)) => drop(connections.spawn(relay(host.clone(), target, caller))),
                    Err(error) => {
                        tracing::warn!(op = "accept", node = host.name(), %error, "a caller was lost");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, task })
    }

    /// The address to connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(host: Host, target: SocketAddr, mut caller: TcpStream) {
    let connected = async {
        let mut stream = tokio::time::timeout(Duration::from_secs(5), connect_from(&host, target)).await??;
        tokio::io::copy_bidirectional(&mut caller, &mut stream).await?;
        anyhow::Ok(())
    };
    if let Err(error) = connected.await {
        tracing::debug!(op = "forward", node = host.name(), address = %target, error = format!("{error:#}"), "ended");
    }
}

/// Connects to a TCP address from inside a host. The connection breaks when the other end has not answered for 15 seconds.
///
/// # Errors
/// When the connection is refused or times out.
pub async fn connect_from(host: &Host, target: SocketAddr) -> Result<TcpStream> {
    let socket =
        host.within(|| if target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() })??;
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(5)).with_interval(Duration::from_secs(5));
    let raw = SockRef::from(&socket);
    raw.set_tcp_keepalive(&keepalive)?;
    raw.set_tcp_user_timeout(Some(Duration::from_secs(15)))?;
    socket.set_nodelay(true)?;
    Ok(socket.connect(target).await?)
}
