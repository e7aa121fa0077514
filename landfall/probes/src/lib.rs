//! Health, readiness and metrics of a daemon over HTTP: `/healthz`, `/readyz` and `/metrics`. An IO crate that
//! controller and speaker share; and [`tls`], by which a daemon serves HTTPS.
//!
//! `/healthz` answers as long as the daemon's runtime runs. `/readyz` answers 200 once every [`Gate`] is open,
//! and 503 with the names of those that are shut before and whenever one shuts again.

mod access;
mod meter;
pub mod tls;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{Router, extract::State, http::StatusCode, middleware::from_fn_with_state, routing::get};
use prometheus::{Encoder as _, Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

pub use self::{
    access::{Access, Answer, Reviewer},
    meter::{ClientMetrics, Description, Meter, Shown, WatchAge},
};

use self::{
    access::Encrypted,
    tls::{Identity, TlsListener},
};

/// Where to listen; `None` turns an endpoint off.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// For `/healthz` and `/readyz`.
    pub health: Option<SocketAddr>,
    /// For `/metrics`.
    pub metrics: Option<SocketAddr>,
    /// Who sees `/metrics`, and how.
    pub access: Access,
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
    metrics: Option<TlsListener>,
    access: Access,
    identity: Identity,
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
        let Addresses { health, metrics, access } = addresses;
        let health = match health {
            Some(address) => {
                let failed = |source| BindError { address, purpose: "/healthz and /readyz", source };
                Some(TcpListener::bind(address).await.map_err(failed)?)
            }
            None => None,
        };
        let identity = Identity::default();
        let metrics = match metrics {
            Some(address) => {
                let plain = !access.token_only;
                Some(TlsListener::bind(address, "/metrics", identity.clone(), access.oldest, plain).await?)
            }
            None => None,
        };
        Ok(Self { health, metrics, access, identity })
    }

    /// Serves until `shutdown`.
    pub async fn serve(self, registry: Registry, gates: Vec<Gate>, shutdown: CancellationToken) {
        let Self { health, metrics, access, identity } = self;
        let _certificate = AbortOnDropHandle::new(tokio::spawn(access.clone().certify(identity)));
        let health_routes = Router::new()
            .route("/healthz", get(|| async { "ok" }))
            .route("/readyz", get(ready))
            .with_state(Arc::new(gates));
        let metrics_routes = Router::new()
            .route("/metrics", get(render))
            .with_state(registry)
            .layer(from_fn_with_state(access, access::admit))
            .into_make_service_with_connect_info::<Encrypted>();
        let stopped = || shutdown.clone().cancelled_owned();
        let serve_health = async {
            if let Some(listener) = health {
                told(axum::serve(listener, health_routes).with_graceful_shutdown(stopped()).await);
            }
        };
        let serve_metrics = async {
            if let Some(listener) = metrics {
                told(axum::serve(listener, metrics_routes).with_graceful_shutdown(stopped()).await);
            }
        };
        tokio::join!(serve_health, serve_metrics);
    }
}

fn told(ended: std::io::Result<()>) {
    if let Err(error) = ended {
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
        let probes =
            Probes::bind(Addresses { health: Some(any), metrics: Some(any), ..Addresses::default() })
                .await
                .unwrap();
        let health = probes.health.as_ref().unwrap().local_addr().unwrap();
        let metrics = probes.metrics.as_ref().unwrap().address();
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

    /// The status of `GET /metrics` over a stream.
    async fn status(
        mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
        token: Option<&str>,
    ) -> String {
        let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!("GET /metrics HTTP/1.1\r\nhost: probe\r\n{token}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // Whoever closes without a word at the end of TLS has said all.
        drop(stream.read_to_end(&mut answer).await);
        String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn metrics_over_https_are_for_who_may() {
        let made = rcgen::generate_simple_self_signed(["landfall".to_owned()]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("tls.crt"), made.cert.pem()).unwrap();
        std::fs::write(directory.path().join("tls.key"), made.signing_key.serialize_pem()).unwrap();
        let reviewer = Reviewer::new(|token| {
            Box::pin(async move {
                match token.as_str() {
                    "good" => Answer::Allowed,
                    "poor" => Answer::Forbidden,
                    "slow" => Answer::Unknown,
                    _ => Answer::Unauthorized,
                }
            })
        });
        for token_only in [false, true] {
            let access = Access {
                token_only,
                certificate: Some(directory.path().to_owned()),
                reviewer: Some(reviewer.clone()),
                ..Access::default()
            };
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let probes = Probes::bind(Addresses { health: None, metrics: Some(any), access }).await.unwrap();
            let (address, identity) = (probes.metrics.as_ref().unwrap().address(), probes.identity.clone());
            let shutdown = CancellationToken::new();
            let served = tokio::spawn(probes.serve(Registry::new(), vec![], shutdown.clone()));
            while !identity.is_set() {
                tokio::task::yield_now().await;
            }
            for (token, expected) in [
                (None, "401"),
                (Some("good"), "200"),
                (Some("poor"), "403"),
                (Some("x"), "401"),
                (Some("slow"), "503"),
            ] {
                let stream = tls::tests::connect_by(
                    address,
                    made.cert.der().clone(),
                    "landfall",
                    &[&rustls::version::TLS13],
                )
                .await
                .unwrap();
                assert_eq!(status(stream, token).await, expected, "{token:?}");
            }
            let plain = tokio::net::TcpStream::connect(address).await.unwrap();
            let expected = if token_only { "" } else { "200" };
            assert_eq!(status(plain, None).await, expected, "by plain HTTP");
            shutdown.cancel();
            served.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let error =
            Probes::bind(Addresses { health: Some(address), ..Addresses::default() }).await.unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {address} for /healthz and /readyz"));
    }
}
