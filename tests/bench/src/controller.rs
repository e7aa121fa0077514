//! The controller with a real API server: how soon a Service has its address, and what that costs.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::{
    api::core::v1::{Namespace, Service, ServicePort, ServiceSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::PostParams,
    runtime::watcher::{self, Event, watcher},
};
use landfall_testbed::{
    TestBed,
    access::{Credentials, write_kubeconfig},
};
use tokio::{sync::Notify, task::AbortHandle};

use crate::{
    figures::Figures,
    growth, pools,
    process::{Running, landfall},
};

pub(crate) const NAMESPACE: &str = "bench";
pub(crate) const SYSTEM: &str = "landfall-system";
/// Services created one after the other for a latency figure.
const SINGLES: usize = 100;
/// Requests in flight while many Services are created.
pub(crate) const WIDTH: usize = 16;
const PATIENCE: Duration = Duration::from_secs(180);

const POOL: &str = "\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: { name: bench, namespace: landfall-system }
spec: { addresses: [10.100.0.0/16] }
";

/// `services` is the number of the large case, and `growth` that of the largest.
pub(crate) async fn measure(figures: &mut Figures, services: usize, growth: usize) -> anyhow::Result<()> {
    let bed = TestBed::builder().nodes(0).clients(0).start().await.context("cannot bring up the test bed")?;
    let result = all(figures, services, growth, &bed).await;
    let down = bed.teardown().await;
    result?;
    down
}

async fn all(figures: &mut Figures, services: usize, growth: usize, bed: &TestBed) -> anyhow::Result<()> {
    let client = bed.client();
    for namespace in [NAMESPACE, SYSTEM] {
        let metadata = ObjectMeta { name: Some(namespace.to_owned()), ..ObjectMeta::default() };
        let namespaces: Api<Namespace> = Api::all(client.clone());
        namespaces.create(&PostParams::default(), &Namespace { metadata, ..Namespace::default() }).await?;
    }
    bed.apply(&landfall_kubernetes::api::crds_yaml()).await?;
    bed.kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]).await?;
    bed.apply(POOL).await?;
    let watch = AddressWatch::start(client.clone());
    let deployment = Deployment::prepare(bed).await?;

    let controller = deployment.start()?;
    let empty = singles(&client, &watch, "empty").await?;
    figures.add_samples("create to address, no other Services", empty, "ms", Some(100.0));
    controller.end()?;

    create_many(&client, 0..services).await?;
    let begin = Instant::now();
    let controller = deployment.start()?;
    watch.wait_for(services + SINGLES, PATIENCE).await?;
    let took = begin.elapsed();
    figures.add(
        format!("{services} waiting Services, start to last address"),
        took.as_secs_f64(),
        "s",
        Some(8.0),
    );
    figures.add("the same, CPU of the controller", controller.cpu_seconds()?, "s", Some(3.0));
    figures.add("the same, peak memory of the controller", controller.peak_mib()?, "MiB", Some(60.0));

    let full = singles(&client, &watch, "full").await?;
    figures.add_samples(&format!("create to address, {services} other Services"), full, "ms", Some(100.0));
    controller.end()?;

    let begin = Instant::now();
    let controller = deployment.start()?;
    create(&client, "after-restart").await?;
    watch.address_of("after-restart", PATIENCE).await?;
    figures.add(
        format!("restart with {services} assigned, to the first new address"),
        begin.elapsed().as_secs_f64(),
        "s",
        Some(2.0),
    );
    ensure!(watch.moved() == 0, "a restart moved {} addresses", watch.moved());

    create_many(&client, services..growth).await?;
    // Those of the first figures and the one after the restart are there too.
    watch.wait_for(growth + 2 * SINGLES + 1, PATIENCE).await?;
    let grown = singles(&client, &watch, "grown").await?;
    figures.add_samples(&format!("create to address, {growth} other Services"), grown, "ms", Some(100.0));
    figures.add("the same, memory of the controller", controller.resident_mib()?, "MiB", None);
    pools::add(&client).await?;
    let pooled = singles(&client, &watch, "pooled").await?;
    figures.add_samples("create to address, with 1000 pools more", pooled, "ms", Some(100.0));
    figures.add("the same, memory of the controller", controller.resident_mib()?, "MiB", None);
    pools::edit(figures, &client, &controller).await?;
    controller.end()?;
    growth::measure(figures, bed, growth).await
}

/// The controller as a Pod would run it, with the token and the rights of its service account, on the machine of the
/// control plane, so that its traffic takes no way through the bed.
struct Deployment<'a> {
    bed: &'a TestBed,
    kubeconfig: PathBuf,
}

impl<'a> Deployment<'a> {
    async fn prepare(bed: &'a TestBed) -> anyhow::Result<Self> {
        bed.apply(include_str!("../../../deploy/base/rbac-controller.yaml")).await?;
        let account = ["-n", SYSTEM, "create", "token", "landfall-controller", "--duration=1h"];
        let token = bed.kubectl(account).await?;
        let (plane, kubeconfig) = (bed.control_plane(), bed.logs().join("bench.kubeconfig"));
        write_kubeconfig(&kubeconfig, plane.address(), plane.authority(), Credentials::Token(token.trim()))?;
        Ok(Self { bed, kubeconfig })
    }

    fn start(&self) -> anyhow::Result<Running> {
        let mut command = self.bed.control_plane().host().command(landfall()?);
        command.arg("controller").arg("--kubeconfig").arg(&self.kubeconfig).args([
            "--namespace",
            SYSTEM,
            "--port",
            "0",
            "--health-probe-port",
            "0",
        ]);
        Running::start(command, &self.bed.logs().join("bench-controller.log"))
    }
}

/// Creates Services one after the other; milliseconds from the request to the address on a watch.
async fn singles(client: &Client, watch: &AddressWatch, prefix: &str) -> anyhow::Result<Vec<f64>> {
    let mut samples = Vec::with_capacity(SINGLES);
    // The first one waits for the controller's start, which is another figure.
    for n in 0..=SINGLES {
        let name = format!("{prefix}-{n}");
        let begin = Instant::now();
        create(client, &name).await?;
        let seen = watch.address_of(&name, PATIENCE).await?;
        if n > 0 {
            samples.push((seen - begin).as_secs_f64() * 1e3);
        }
    }
    Ok(samples)
}

async fn create_many(client: &Client, numbers: Range<usize>) -> anyhow::Result<()> {
    futures::stream::iter(numbers)
        .map(|n| async move { create(client, &format!("many-{n}")).await })
        .buffer_unordered(WIDTH)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}

async fn create(client: &Client, name: &str) -> anyhow::Result<()> {
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    let port = ServicePort { port: 80, ..ServicePort::default() };
    let spec = ServiceSpec {
        type_: Some("LoadBalancer".to_owned()),
        // The range of node ports has room for 2,768 Services only.
        allocate_load_balancer_node_ports: Some(false),
        ports: Some(vec![port]),
        ..ServiceSpec::default()
    };
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let service = Service { metadata, spec: Some(spec), ..Service::default() };
    services
        .create(&PostParams::default(), &service)
        .await
        .with_context(|| format!("cannot create Service {name}"))?;
    Ok(())
}

/// When each Service was first seen with an address, and how often an address changed afterwards.
struct AddressWatch {
    state: Arc<Mutex<Seen>>,
    changed: Arc<Notify>,
    task: AbortHandle,
}

#[derive(Default)]
struct Seen {
    addresses: BTreeMap<String, (String, Instant)>,
    moved: usize,
}

impl AddressWatch {
    fn start(client: Client) -> Self {
        let state = Arc::new(Mutex::new(Seen::default()));
        let changed = Arc::new(Notify::new());
        let task = tokio::spawn({
            let (state, changed) = (Arc::clone(&state), Arc::clone(&changed));
            async move {
                let services: Api<Service> = Api::namespaced(client, NAMESPACE);
                let mut events = std::pin::pin!(watcher(services, watcher::Config::default()));
                while let Some(event) = events.next().await {
                    let (Ok(Event::Apply(service)) | Ok(Event::InitApply(service))) = event else { continue };
                    let address = service.status.as_ref().and_then(|status| {
                        status.load_balancer.as_ref()?.ingress.as_ref()?.first()?.ip.clone()
                    });
                    let mut seen = state.lock().unwrap_or_else(PoisonError::into_inner);
                    let known = seen.addresses.get(&service.name_any()).map(|(address, _)| address.clone());
                    match (address, known) {
                        (Some(address), None) => {
                            seen.addresses.insert(service.name_any(), (address, Instant::now()));
                        }
                        (now, Some(before)) if now.as_ref() != Some(&before) => seen.moved += 1,
                        (_, _) => {}
                    }
                    drop(seen);
                    changed.notify_waiters();
                }
            }
        });
        Self { state, changed, task: task.abort_handle() }
    }

    /// When the Service was first seen with an address.
    async fn address_of(&self, name: &str, patience: Duration) -> anyhow::Result<Instant> {
        self.until(patience, |seen| seen.addresses.get(name).map(|(_, at)| *at))
            .await
            .with_context(|| format!("{name} has no address after {patience:?}"))
    }

    /// Waits until so many Services have been seen with an address.
    async fn wait_for(&self, count: usize, patience: Duration) -> anyhow::Result<()> {
        self.until(patience, |seen| (seen.addresses.len() >= count).then_some(()))
            .await
            .with_context(|| format!("not {count} Services have an address after {patience:?}"))
    }

    /// How often a Service's address changed or went.
    fn moved(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).moved
    }

    async fn until<T>(
        &self,
        patience: Duration,
        mut found: impl FnMut(&Seen) -> Option<T>,
    ) -> anyhow::Result<T> {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                let mut changed = std::pin::pin!(changed);
                // Registered before the look, so that a change in between is not missed.
                changed.as_mut().enable();
                if let Some(found) = found(&self.state.lock().unwrap_or_else(PoisonError::into_inner)) {
                    return found;
                }
                changed.await;
            }
        };
        Ok(tokio::time::timeout(patience, wait).await?)
    }
}

impl Drop for AddressWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
