//! What a client on the LAN does: asks an address, and waits for something to become true.

use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use landfall_lan::Host;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use crate::access::connect_from;
use crate::backend::Answer;

/// Asks a backend by HTTP over a new connection from this host, and waits at most `patience`.
///
/// # Errors
/// When there is no answer in time, or it is not a backend's.
pub async fn http(host: &Host, address: SocketAddr, patience: Duration) -> Result<Answer> {
    let body = tokio::time::timeout(patience, get(host, address, "/"))
        .await
        .with_context(|| format!("no answer from http://{address} within {patience:?}"))??;
    serde_json::from_str(&body).with_context(|| format!("not a backend's answer: {body:?}"))
}

/// Fetches a path by HTTP/1.1 over a new connection from this host, and returns the body.
///
/// # Errors
/// When the connection fails or the status is not 200.
pub async fn get(host: &Host, address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = connect_from(host, address).await.with_context(|| format!("connect to {address}"))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let (head, body) = text.split_once("\r\n\r\n").context("not an HTTP answer")?;
    let line = head.lines().next().unwrap_or_default();
    ensure!(line.split(' ').nth(1) == Some("200"), "{address} answered {line:?}");
    Ok(body.to_owned())
}

/// Asks a backend by one UDP datagram from a new port of this host, and waits at most `patience`.
///
/// # Errors
/// When there is no answer in time, or it is not a backend's.
pub async fn udp(host: &Host, address: SocketAddr, text: &str, patience: Duration) -> Result<Answer> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = host.within(|| std::net::UdpSocket::bind(any))??;
    socket.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(socket)?;
    // Connected, so that an answer from another address is not taken for one.
    socket.connect(address).await?;
    socket.send(text.as_bytes()).await?;
    let mut buffer = vec![0; 4096];
    let length = tokio::time::timeout(patience, socket.recv(&mut buffer))
        .await
        .with_context(|| format!("no answer from udp://{address} within {patience:?}"))??;
    serde_json::from_slice(&buffer[..length]).context("not a backend's answer")
}

/// Asks again and again until the answer is `Ok`, and returns what it holds.
///
/// # Errors
/// After `patience`, with the last answer.
pub async fn until<T, F>(what: &str, patience: Duration, mut ask: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let deadline = Instant::now() + patience;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() > deadline => {
                bail!("not within {patience:?}: {what}; at last: {error:#}");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
