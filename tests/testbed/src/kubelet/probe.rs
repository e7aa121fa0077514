//! Asks a container whether it is well, from inside its Pod's network.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use landfall_lan::Host;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::access::connect_from;

/// How often and how patiently a probe asks; defaults as Kubernetes documents them on `Probe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rhythm {
    pub(crate) delay: Duration,
    pub(crate) period: Duration,
    pub(crate) timeout: Duration,
    pub(crate) failures: u32,
    pub(crate) successes: u32,
}

impl Rhythm {
    pub(crate) fn of(probe: &Probe) -> Self {
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default))
        };
        let count = |value: Option<i32>, default: u32| {
            value.and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(default)
        };
        Self {
            delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10).max(Duration::from_secs(1)),
            timeout: seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1)),
            failures: count(probe.failure_threshold, 3),
            successes: count(probe.success_threshold, 1),
        }
    }
}

/// Asks once over the network; `None` when the probe runs a command, which only the container's owner can do.
pub(crate) async fn ask(
    host: &Host,
    address: IpAddr,
    container: &Container,
    probe: &Probe,
) -> Option<Result<()>> {
    if probe.exec.is_some() {
        return None;
    }
    let question = async {
        if let Some(http) = &probe.http_get {
            return get(host, address, container, http).await;
        }
        if let Some(tcp) = &probe.tcp_socket {
            let to = target(tcp.host.as_deref(), address, container, &tcp.port)?;
            return connect_from(host, to).await.map(drop);
        }
        bail!("the test bed knows the probes httpGet (HTTP), tcpSocket and exec")
    };
    let limit = Rhythm::of(probe).timeout;
    Some(match tokio::time::timeout(limit, question).await {
        Ok(answer) => answer,
        Err(_) => Err(anyhow::anyhow!("no answer within {limit:?}")),
    })
}

async fn get(host: &Host, address: IpAddr, container: &Container, http: &HTTPGetAction) -> Result<()> {
    if http.scheme.as_deref().unwrap_or("HTTP") != "HTTP" {
        bail!("the test bed probes by HTTP only, not HTTPS");
    }
    let to = target(http.host.as_deref(), address, container, &http.port)?;
    let mut stream = connect_from(host, to).await?;
    let path = http.path.as_deref().unwrap_or("/");
    let mut request =
        format!("GET {path} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: kube-probe/1.34\r\nConnection: close\r\n");
    for header in http.http_headers.iter().flatten() {
        request.push_str(&format!("{}: {}\r\n", header.name, header.value));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer).await?;
    let line = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
    let code: u16 = line.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no HTTP answer")?;
    if !(200..400).contains(&code) {
        bail!("HTTP probe failed with statuscode: {code}");
    }
    Ok(())
}

fn target(
    host: Option<&str>,
    address: IpAddr,
    container: &Container,
    port: &IntOrString,
) -> Result<SocketAddr> {
    let address = host.map_or(Ok(address), str::parse).context("a probe's host must be an address")?;
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let mut named = container.ports.iter().flatten().filter(|port| port.name.as_ref() == Some(name));
            match (named.next(), name.parse()) {
                (Some(port), _) => port.container_port,
                (None, Ok(number)) => number,
                (None, Err(_)) => bail!("the container has no port named {name:?}"),
            }
        }
    };
    Ok(SocketAddr::new(address, u16::try_from(number).context("a probe's port")?))
}
