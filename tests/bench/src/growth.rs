//! A large cluster: what ten thousand Services with ten endpoints each cost a controller and a speaker, and what the API
//! server has to tell each speaker.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use landfall_lan::Host;
use landfall_testbed::{
    TestBed,
    access::{Credentials, connect_from, write_kubeconfig},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

use crate::{
    controller::{NAMESPACE, SYSTEM, WIDTH},
    figures::Figures,
    process::{Running, landfall},
};

/// Endpoints of a Service, all in one slice.
const ENDPOINTS: usize = 10;
/// Slices that are changed one after the other.
const CHANGES: usize = 100;
const PATIENCE: Duration = Duration::from_secs(300);

/// Adds slices to the `services` that are there, and measures a speaker that watches all of it.
pub(crate) async fn measure(figures: &mut Figures, bed: &TestBed, services: usize) -> anyhow::Result<()> {
    let client = bed.client();
    create_slices(&client, services).await?;
    bed.apply(include_str!("../../../deploy/base/rbac-speaker.yaml")).await?;
    let relay = Relay::start(bed.control_plane().host().clone(), bed.control_plane().address()).await?;
    let speaker = Speaker::start(bed, &relay).await?;
    let size = format!("{services} Services, {} endpoints", services * ENDPOINTS);
    speaker.synced(services).await?;
    figures.add(
        format!("{size}: memory of a speaker that owns none"),
        speaker.process.resident_mib()?,
        "MiB",
        None,
    );
    figures.add("the same, peak while it lists", speaker.process.peak_mib()?, "MiB", None);
    figures.add("the same, CPU until it is ready", speaker.process.cpu_seconds()?, "s", None);
    figures.add("the same, what the API server sends for it", relay.received() / 1e6, "MB", None);

    let before = (relay.received(), speaker.process.cpu_seconds()?, speaker.updates().await?);
    let slices: Api<EndpointSlice> = Api::namespaced(client, NAMESPACE);
    for n in 0..CHANGES {
        slices.patch(&format!("many-{n}"), &PatchParams::default(), &Patch::Merge(slice(n, false))).await?;
    }
    speaker.until(|updates| updates >= before.2 + CHANGES as f64).await?;
    let bytes = (relay.received() - before.0) / CHANGES as f64;
    figures.add(format!("the same, sent for one change of a slice of {ENDPOINTS}"), bytes / 1e3, "kB", None);
    let cpu = (speaker.process.cpu_seconds()? - before.1) / CHANGES as f64;
    figures.add("the same, CPU of the speaker for it", cpu * 1e3, "ms", None);
    speaker.process.end()
}

fn slice(n: usize, ready: bool) -> serde_json::Value {
    let endpoint = |k: usize| {
        json!({
            "addresses": [format!("10.{}.{}.{}", 128 + n / 2_560, n / 10 % 256, n % 10 * ENDPOINTS + k)],
            "conditions": { "ready": ready, "serving": ready, "terminating": false },
            "nodeName": format!("node-{}", (n + k) % 1_000),
            "targetRef": {
                "kind": "Pod", "namespace": NAMESPACE, "name": format!("many-{n}-5d8f7c9b6d-x{k}"),
                "uid": format!("00000000-0000-0000-0000-{n:06}{k:06}"),
            },
        })
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": format!("many-{n}"),
            "labels": { "kubernetes.io/service-name": format!("many-{n}") },
        },
        "endpoints": (0..ENDPOINTS).map(endpoint).collect::<Vec<_>>(),
        "ports": [{ "name": "", "port": 8080, "protocol": "TCP" }],
    })
}

async fn create_slices(client: &Client, count: usize) -> anyhow::Result<()> {
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), NAMESPACE);
    futures::stream::iter(0..count)
        .map(|n| {
            let slices = slices.clone();
            async move {
                let object = serde_json::from_value(slice(n, true))?;
                slices.create(&PostParams::default(), &object).await.context("cannot create a slice")?;
                anyhow::Ok(())
            }
        })
        .buffer_unordered(WIDTH)
        .try_collect()
        .await
}

/// A speaker on the control plane's machine, with the token of its service account; all that it hears goes through a relay.
struct Speaker {
    process: Running,
    host: Host,
}

impl Speaker {
    async fn start(bed: &TestBed, relay: &Relay) -> anyhow::Result<Self> {
        let plane = bed.control_plane();
        let account = ["-n", SYSTEM, "create", "token", "landfall-speaker", "--duration=1h"];
        let token = bed.kubectl(account).await?;
        let file = |name: &str| -> PathBuf { bed.logs().join(name) };
        let kubeconfig = file("bench-speaker.kubeconfig");
        write_kubeconfig(&kubeconfig, relay.address, plane.authority(), Credentials::Token(token.trim()))?;
        std::fs::write(file("bench-speaker.key"), [7; 128])?;
        let host = plane.host().clone();
        let mut command = host.command(landfall()?);
        command.args([
            "speaker",
            "--node-name",
            "bench",
            "--namespace",
            SYSTEM,
            "--ml-bindaddr",
            "127.0.0.1",
        ]);
        command.arg("--kubeconfig").arg(&kubeconfig);
        command.arg("--ml-secret-key-path").arg(file("bench-speaker.key"));
        command.arg("--state-dir").arg(file("bench-speaker-state"));
        let process = Running::start(command, &file("bench-speaker.log"))?;
        Ok(Self { process, host })
    }

    /// Waits until all Services and slices have been seen.
    async fn synced(&self, services: usize) -> anyhow::Result<()> {
        self.until(|updates| updates >= 2.0 * services as f64).await
    }

    async fn until(&self, reached: impl Fn(f64) -> bool) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            let updates = self.updates().await.unwrap_or_default();
            if reached(updates) {
                return Ok(());
            }
            ensure!(start.elapsed() < PATIENCE, "the speaker has seen {updates} updates only");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// How many changes of objects it has seen.
    async fn updates(&self) -> anyhow::Result<f64> {
        const COUNTER: &str = "metallb_k8s_client_updates_total";
        let mut stream = connect_from(&self.host, ([127, 0, 0, 1], 9120).into()).await?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        let line = text.lines().find(|line| line.starts_with(COUNTER)).context("no such metric")?;
        Ok(line.rsplit(' ').next().unwrap_or_default().parse()?)
    }
}

/// Carries connections to the API server and counts what comes back, TLS included.
struct Relay {
    address: std::net::SocketAddr,
    received: Arc<AtomicU64>,
    task: AbortHandle,
}

impl Relay {
    async fn start(host: Host, target: std::net::SocketAddr) -> anyhow::Result<Self> {
        let listener = host.within(|| std::net::TcpListener::bind("127.0.0.1:0"))??;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let received = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&received);
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (host, counted) = (host.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    if let Ok(far) = connect_from(&host, target).await {
                        carry(near, far, &counted).await;
                    }
                });
            }
        });
        Ok(Self { address, received, task: task.abort_handle() })
    }

    fn received(&self) -> f64 {
        self.received.load(Ordering::Relaxed) as f64
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Until one side is done.
async fn carry(mut near: TcpStream, mut far: TcpStream, counted: &AtomicU64) {
    let (mut from_near, mut to_near) = near.split();
    let (mut from_far, mut to_far) = far.split();
    let back = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length) = from_far.read(&mut buffer).await {
            counted.fetch_add(length as u64, Ordering::Relaxed);
            if length == 0 || to_near.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = copy(&mut from_near, &mut to_far) => {}
        () = back => {}
    }
}
