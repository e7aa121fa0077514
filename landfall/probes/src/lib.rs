//! Health, readiness and metrics of a daemon over HTTP: `/healthz`, `/readyz` and `/metrics`. An IO crate that
//! controller and speaker share; and [`tls`], by which a daemon serves HTTPS.
//!
//! `/healthz` answers as long as the daemon's runtime runs. `/readyz` answers 200 once every [`Gate`] is open,
//! and 503 with the names of those that are shut before and whenever one shuts again.

mod meter;
pub mod tls;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use prometheus::{Encoder as _, Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::meter::{ClientMetrics, Description, Meter, Shown};

/// Where to listen; `None` turns an endpoint off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// For `/healthz` and `/readyz`.
    pub health: Option<SocketAddr>,
    /// For `/metrics`.
    pub metrics: Option<SocketAddr>,
}

/// One thing that a daemon must have before it is ready. Shut at first.
#[derive(Clone, Debug)]
pub struct Gate(Arc<(&'static str, AtomicBool)>);

impl Gate {
    /// A gate of this name, which `/readyz` shows while it is shut.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self(Arc::new((name, AtomicBool::new(false))))
    }

    /// Opens or shuts it.
    pub fn set(&self, open: bool) {
        self.0.1.store(open, Ordering::Relaxed);
    }

    fn shut(&self) -> Option<&'static str> {
        (!self.0.1.load(Ordering::Relaxed)).then_some(self.0.0)
    }
}

/// The listening sockets, before anything is served.
#[derive(Debug)]
pub struct Probes {
    health: Option<TcpListener>,
    metrics: Option<TcpListener>,
}

/// Why a socket could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {purpose}")]
pub struct BindError {
    /// The address that was asked for.
    pub address: SocketAddr,
    /// What it was to serve.
    pub purpose: &'static str,
    /// What the kernel said; a retry helps only when another process gives the port back.
    pub source: std::io::Error,
}

impl Probes {
    /// Opens the sockets.
    ///
    /// # Errors
    /// When an address is taken or not this machine's.
    pub async fn bind(addresses: Addresses) -> Result<Self, BindError> {
        let Addresses { health, metrics } = addresses;
        Ok(Self {
            health: listen(health, "/healthz and /readyz").await?,
            metrics: listen(metrics, "/metrics").await?,
        })
    }

    /// Serves until `shutdown`.
    pub async fn serve(self, registry: Registry, gates: Vec<Gate>, shutdown: CancellationToken) {
        let Self { health, metrics } = self;
        let health_routes = Router::new()
            .route("/healthz", get(|| async { "ok" }))
            .route("/readyz", get(ready))
            .with_state(Arc::new(gates));
        let metrics_routes = Router::new().route("/metrics", get(render)).with_state(registry);
        tokio::join!(run(health, health_routes, &shutdown), run(metrics, metrics_routes, &shutdown));
    }
}

async fn listen(
    address: Option<SocketAddr>,
    purpose: &'static str,
) -> Result<Option<TcpListener>, BindError> {
    let Some(address) = address else { return Ok(None) };
    TcpListener::bind(address).await.map(Some).map_err(|source| BindError { address, purpose, source })
}

async fn run(listener: Option<TcpListener>, routes: Router, shutdown: &CancellationToken) {
    let Some(listener) = listener else { return };
    let stop = shutdown.clone().cancelled_owned();
    if let Err(error) = axum::serve(listener, routes).with_graceful_shutdown(stop).await {
        tracing::error!(op = "probes", %error, "an HTTP endpoint ended");
    }
}

async fn ready(State(gates): State<Arc<Vec<Gate>>>) -> (StatusCode, String) {
    let shut: Vec<&str> = gates.iter().filter_map(Gate::shut).collect();
    if shut.is_empty() {
        (StatusCode::OK, "ok".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}", shut.join(", ")))
    }
}

async fn render(State(registry): State<Registry>) -> Result<String, StatusCode> {
    let mut text = Vec::new();
    TextEncoder::new()
        .encode(&registry.gather(), &mut text)
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    String::from_utf8(text).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn readiness_follows_the_gates_and_health_does_not() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let probes = Probes::bind(Addresses { health: Some(any), metrics: Some(any) }).await.unwrap();
        let health = probes.health.as_ref().unwrap().local_addr().unwrap();
        let metrics = probes.metrics.as_ref().unwrap().local_addr().unwrap();
        let registry = Registry::new();
        registry.register(Box::new(prometheus::IntGauge::new("answer", "An answer").unwrap())).unwrap();
        let (one, two) = (Gate::new("synced"), Gate::new("sockets"));
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(probes.serve(registry, vec![one.clone(), two.clone()], shutdown.clone()));

        assert!(ask(health, "/healthz").await.starts_with("HTTP/1.1 200"));
        let answer = ask(health, "/readyz").await;
        assert!(
            answer.starts_with("HTTP/1.1 503") && answer.ends_with("not ready: synced, sockets"),
            "{answer}"
        );
        one.set(true);
        assert!(ask(health, "/readyz").await.ends_with("not ready: sockets"));
        two.set(true);
        assert!(ask(health, "/readyz").await.starts_with("HTTP/1.1 200"));
        two.set(false);
        assert!(ask(health, "/readyz").await.starts_with("HTTP/1.1 503"));
        assert!(ask(metrics, "/metrics").await.contains("answer 0"));

        shutdown.cancel();
        served.await.unwrap();
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = Probes::bind(Addresses { health: Some(address), metrics: None }).await.unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {address} for /healthz and /readyz"));
    }
}
