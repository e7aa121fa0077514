use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use landfall_engine::{cluster, links::NamePattern, membership::Timing, speaker::Minority};
use landfall_kubernetes::{
    source::{self, Directory},
    write::{FileWriter, Store},
};
use landfall_lan::Host;
use landfall_model::Classes;
use landfall_probes::{Access, Addresses};
use landfall_speaker::{
    Error, Mode, Settings,
    nftables::Nftables,
    sockets::{FrameKind, FrameSocket},
};
use tokio_util::sync::CancellationToken;

use super::{
    forwarding::{NODE_PORT, V4, V6, ask, serve_on_all, server},
    lan, on, run,
    wire::interface_number,
};

const POOL: &str = "\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: { name: lan, namespace: landfall-system }
spec: { addresses: [10.77.0.200-10.77.0.209, 'fd77::200-fd77::209'] }
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: { name: lan, namespace: landfall-system }
spec: {}
";

/// A folder with manifests and the secret, removed at the end.
pub(super) struct Manifests(PathBuf);

impl Manifests {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn of(nodes: &[Host]) -> Self {
        let directory = std::env::temp_dir().join(landfall_lan::Lan::unique_name("landfall-manifests"));
        fs::create_dir_all(directory.join("key")).unwrap();
        fs::write(directory.join("key/secretkey"), "a secret").unwrap();
        fs::write(directory.join("pool.yaml"), POOL).unwrap();
        let mut text = format!(
            "\
apiVersion: v1
kind: Service
metadata: {{ name: web, namespace: shop, uid: u1, annotations: {{ landfall.dev/forwarding: node-port }} }}
spec:
  type: LoadBalancer
  clusterIPs: [10.96.0.80, 'fd96::80']
  ipFamilies: [IPv4, IPv6]
  ipFamilyPolicy: RequireDualStack
  externalTrafficPolicy: Cluster
  ports: [{{ name: http, protocol: TCP, port: 80, nodePort: {NODE_PORT} }}]
status: {{ loadBalancer: {{ ingress: [{{ ip: {V4}, ipMode: Proxy }}, {{ ip: '{V6}', ipMode: Proxy }}] }} }}
"
        );
        for (number, node) in nodes.iter().enumerate() {
            let (name, v4, v6) = (node.name(), node.ipv4().unwrap(), node.ipv6().unwrap());
            for (kind, address) in [("IPv4", IpAddr::from(v4)), ("IPv6", v6.into())] {
                let suffix = kind.to_lowercase();
                write!(
                    text,
                    "\
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: web-{number}-{suffix}, namespace: shop, labels: {{ kubernetes.io/service-name: web }} }}
addressType: {kind}
ports: [{{ name: http, protocol: TCP, port: {NODE_PORT} }}]
endpoints: [{{ addresses: ['{address}'], nodeName: {name}, conditions: {{ ready: true }} }}]
"
                )
                .unwrap();
            }
            write!(
                text,
                "\
---
apiVersion: v1
kind: Node
metadata: {{ name: {name} }}
status:
  addresses: [{{ type: InternalIP, address: {v4} }}, {{ type: InternalIP, address: '{v6}' }}]
  conditions: [{{ type: Ready, status: 'True' }}]
---
apiVersion: v1
kind: Pod
metadata: {{ name: speaker-{name}, namespace: landfall-system, labels: {{ component: speaker }} }}
spec: {{ nodeName: {name}, hostNetwork: true, containers: [{{ name: speaker }}] }}
status: {{ phase: Running, podIP: {v4}, podIPs: [{{ ip: {v4} }}] }}
"
            )
            .unwrap();
        }
        fs::write(directory.join("cluster.yaml"), text).unwrap();
        Self(directory)
    }
}

impl Drop for Manifests {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) struct Running {
    pub(super) stop: CancellationToken,
    pub(super) thread: JoinHandle<Result<(), Error>>,
}

/// Runs a speaker on a host, on a thread of its own.
pub(super) fn run_speaker(node: &Host, manifests: &Path) -> Running {
    let stop = CancellationToken::new();
    let (node, directory, shutdown) = (node.clone(), manifests.to_owned(), stop.clone());
    let speaker = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let address = node.ipv4().unwrap();
        node.within(|| runtime.block_on(speak(node.name(), address, &directory, shutdown))).unwrap()
    };
    Running { stop, thread: thread::spawn(speaker) }
}

/// Runs a speaker where this is called.
pub(super) async fn speak(
    node: &str,
    address: Ipv4Addr,
    manifests: &Path,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let settings = Settings {
        node: node.into(),
        namespace: "landfall-system".into(),
        bgp: Mode::default(),
        cluster: cluster::Settings { classes: Classes::default(), ignore_exclude_lb: false },
        membership: (address, 7946).into(),
        timing: Timing::default(),
        secret: manifests.join("key"),
        boot: landfall_speaker::boot(None),
        cluster_id: "test".to_owned(),
        exclude: NamePattern::defaults(),
        nftables: Nftables::default(),
        addresses: Addresses {
            health: Some(([127, 0, 0, 1], 17_472).into()),
            metrics: Some(([127, 0, 0, 1], 9120).into()),
            access: Access::default(),
        },
        standalone: None,
        minority: Minority::Serve,
        fail_back: None,
        refresh: None,
    };
    let directory = Directory::new(manifests);
    let store = Store::Files(FileWriter::new(&directory.statuses));
    let source = source::files(directory).unwrap();
    landfall_speaker::run(settings, source, store, shutdown).await
}

/// Who has the address, by the neighbour table of the client.
pub(super) fn owner<'a>(client: &Host, nodes: &'a [Host], address: IpAddr) -> Option<&'a Host> {
    let line = run(client, &format!("ip neigh show {address}"));
    nodes.iter().find(|node| line.contains(&node.mac().unwrap().to_string()))
}

/// Asks the Service until it answers, at most `limit`, and says how long that took.
pub(super) fn answered_within(client: &Host, address: IpAddr, limit: Duration) -> Duration {
    let start = Instant::now();
    while start.elapsed() < limit {
        if ask(client, address).is_some() {
            return start.elapsed();
        }
    }
    panic!("{address} did not answer within {limit:?}");
}

pub(super) fn get(host: &Host, port: u16, path: &str) -> String {
    host.within(|| {
        let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    })
    .unwrap()
}

/// Shown with --nocapture, or after a failure.
pub(super) fn show_logs() {
    let logs = tracing_subscriber::fmt().with_test_writer().with_max_level(tracing::Level::DEBUG);
    // Another test of this process may have done it.
    let _ = logs.try_init();
}

/// What the speakers write about Services that they announce.
fn reports(manifests: &Path) -> Vec<String> {
    let files = fs::read_dir(manifests.join("status")).into_iter().flatten();
    let paths = files.map(|file| file.unwrap().path());
    let reports = paths.filter(|path| path.to_string_lossy().contains("ServiceL2Status."));
    reports.filter_map(|path| fs::read_to_string(path).ok()).collect()
}

/// The sum of a metric over its labels.
pub(super) fn sum(host: &Host, metric: &str) -> f64 {
    let metrics = get(host, 9120, "/metrics");
    let lines = metrics.lines().filter(|line| line.starts_with(metric));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[test]
#[ignore = "needs root and nft"]
fn a_flood_of_requests_moves_no_address() {
    show_logs();
    let (_lan, [n1, n2, n3, client]) = lan(["n1", "n2", "n3", "c1"]);
    let nodes = [n1, n2, n3];
    serve_on_all(&nodes);
    let manifests = Manifests::of(&nodes);
    let speakers: Vec<Running> = nodes.iter().map(|node| run_speaker(node, &manifests.0)).collect();
    for address in [V4, V6] {
        answered_within(&client, address, Duration::from_secs(15));
    }
    let everybody_hears_everybody = || {
        let alive = "landfall_speaker_members{state=\"alive\"} 2";
        nodes.iter().all(|node| get(node, 9120, "/metrics").contains(alive))
    };
    let start = Instant::now();
    while !everybody_hears_everybody() {
        assert!(start.elapsed() < Duration::from_secs(10), "the speakers do not hear each other");
        thread::sleep(Duration::from_millis(50));
    }
    let changes = || nodes.iter().map(|node| sum(node, "landfall_speaker_owner_changes_total")).sum::<f64>();
    let owner = owner(&client, &nodes, V4).expect("the client knows who answers");
    let before = (changes(), sum(owner, "metallb_layer2_responses_sent"));

    let interface = interface_number(&client);
    let IpAddr::V4(target) = V4 else { unreachable!() };
    let mut request = [owner.mac().unwrap().0, client.mac().unwrap().0].concat();
    request.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    request.extend(client.mac().unwrap().0);
    request.extend(client.ipv4().unwrap().octets());
    request.extend([0; 6]);
    request.extend(target.octets());
    let flood = Duration::from_secs(3);
    on(&client, async || {
        let sender = FrameSocket::open(FrameKind::Arp).unwrap();
        let start = Instant::now();
        while start.elapsed() < flood {
            let _ = sender.send(interface, &request);
        }
    });
    let answers = sum(owner, "metallb_layer2_responses_sent") - before.1;
    println!("{:.0} answers per second", answers / flood.as_secs_f64());
    assert!(answers > 1_000.0, "{answers} answers to a flood");
    assert!((changes() - before.0).abs() < f64::EPSILON, "an owner changed under the flood");
    for Running { stop, thread } in speakers {
        stop.cancel();
        thread.join().unwrap().unwrap();
    }
}

#[test]
#[ignore = "needs root and nft"]
fn a_service_is_answered_and_survives_the_loss_of_its_owner() {
    show_logs();
    let (_lan, [n1, n2, n3, client]) = lan(["n1", "n2", "n3", "c1"]);
    let nodes = [n1, n2, n3];
    serve_on_all(&nodes);
    let manifests = Manifests::of(&nodes);
    let mut speakers: Vec<Option<Running>> =
        nodes.iter().map(|node| Some(run_speaker(node, &manifests.0))).collect();
    for address in [V4, V6] {
        answered_within(&client, address, Duration::from_secs(15));
    }
    let first = owner(&client, &nodes, V4).expect("the client knows who answers");
    assert_eq!(
        owner(&client, &nodes, V6).map(Host::name),
        Some(first.name()),
        "both families have one owner"
    );
    let answers: std::collections::BTreeSet<String> =
        (0..60).map(|_| server(&ask(&client, V4).unwrap()).to_owned()).collect();
    assert_eq!(answers.len(), 3, "{answers:?}");

    assert!(get(first, 17_472, "/readyz").starts_with("HTTP/1.1 200"));
    let metrics = get(first, 9120, "/metrics");
    for line in [
        format!(
            "metallb_speaker_announced{{ip=\"{V4}\",node=\"{}\",protocol=\"layer2\",service=\"shop/web\"}} 1",
            first.name()
        ),
        "landfall_speaker_members{state=\"alive\"} 2".to_owned(),
        "metallb_k8s_client_config_loaded_bool 1".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line} is missing in\n{metrics}");
    }
    assert!(metrics.contains("metallb_layer2_gratuitous_sent{ip="), "{metrics}");
    let started = Instant::now();
    let node = format!("\"node\": \"{}\"", first.name());
    let is_told =
        |report: &String| report.contains(&node) && report.contains("\"announcedOn\": \"eth0 (Subnet)\"");
    while !reports(&manifests.0).iter().any(is_told) {
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", reports(&manifests.0));
        thread::sleep(Duration::from_millis(20));
    }

    // The owner dies without a word.
    first.cut().unwrap();
    for address in [V4, V6] {
        let gap = answered_within(&client, address, Duration::from_secs(5));
        println!("{address} answered again after {gap:?}");
    }
    let second = owner(&client, &nodes, V4).expect("the client knows who answers");
    assert_ne!(second.name(), first.name());

    // It comes back and takes nothing back; the one that has it leaves in order.
    first.heal().unwrap();
    // Long enough for a node to count as stable again: a move would have happened by then.
    let place = nodes.iter().position(|node| node.name() == second.name()).unwrap();
    thread::sleep(Duration::from_secs(2));
    assert_eq!(owner(&client, &nodes, V4).map(Host::name), Some(second.name()));
    let Running { stop, thread } = speakers[place].take().unwrap();
    stop.cancel();
    thread.join().unwrap().unwrap();
    let gap = answered_within(&client, V4, Duration::from_secs(5));
    assert!(gap < Duration::from_secs(1), "the hand-over cost {gap:?}");
    // Until its successor has announced itself, packets take the old way, and are served there.
    let start = Instant::now();
    while owner(&client, &nodes, V4).is_none_or(|third| third.name() == second.name()) {
        assert!(start.elapsed() < Duration::from_secs(5), "nobody took over");
        assert!(ask(&client, V4).is_some(), "a request was lost during the hand-over");
    }
    assert!(run(second, "nft list tables").contains("inet landfall"), "the rules outlive the process");

    for Running { stop, thread } in speakers.into_iter().flatten() {
        stop.cancel();
        thread.join().unwrap().unwrap();
    }
}
