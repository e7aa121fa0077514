//! The workload of the bed: says by HTTP and UDP who it is and whom it sees.

use std::net::{Ipv6Addr, SocketAddr};

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::ConnectInfo;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use axum::routing::get;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, UdpSocket};

/// What a backend answers, as one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The backend's name; in a Pod, the Pod's.
    pub name: String,
    /// The address that the backend saw the request come from.
    pub client: std::net::IpAddr,
    /// And the port.
    pub port: u16,
    /// What was sent (UDP only).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub echo: String,
}

/// Which doors a backend opens.
#[derive(Clone, Debug)]
pub struct BackendSpec {
    /// What it calls itself.
    pub name: String,
    /// TCP ports that speak HTTP: any path answers, `/healthz` with `ok`.
    pub http: Vec<u16>,
    /// UDP ports: every datagram is answered from the address that it was sent to.
    pub udp: Vec<u16>,
}

/// Serves until the process is told to stop (SIGTERM, SIGINT).
///
/// # Errors
/// When a port cannot be opened.
pub async fn run(spec: BackendSpec) -> Result<()> {
    let BackendSpec { name, http, udp } = spec;
    let mut doors = tokio::task::JoinSet::new();
    for port in http {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
            .await
            .with_context(|| format!("open TCP port {port}"))?;
        doors.spawn(serve_http(listener, name.clone()));
    }
    for port in udp {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))
            .await
            .with_context(|| format!("open UDP port {port}"))?;
        doors.spawn(serve_udp(socket, name.clone()));
    }
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
        Some(ended) = doors.join_next() => ended?,
    }
}

async fn serve_http(listener: TcpListener, name: String) -> Result<()> {
    let answer = move |ConnectInfo(from): ConnectInfo<SocketAddr>| async move {
        axum::Json(answer_to(name, from, String::new()))
    };
    let routes: Router = Router::new().route("/healthz", get(|| async { "ok\n" })).fallback(answer);
    let service: IntoMakeServiceWithConnectInfo<Router, SocketAddr> =
        routes.into_make_service_with_connect_info();
    axum::serve(listener, service).await.context("serve HTTP")
}

async fn serve_udp(socket: UdpSocket, name: String) -> Result<()> {
    let mut buffer = vec![0; 2048];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.context("receive")?;
        let echo = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let mut line = serde_json::to_vec(&answer_to(name.clone(), from, echo))?;
        line.push(b'\n');
        if let Err(error) = socket.send_to(&line, from).await {
            tracing::debug!(op = "answer", peer = %from, %error, "not sent");
        }
    }
}

fn answer_to(name: String, from: SocketAddr, echo: String) -> Answer {
    Answer { name, client: from.ip().to_canonical(), port: from.port(), echo }
}
