use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Stdio,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use ipnet::IpNet;
use landfall_engine::forwarding::{ForwardingTable, HealthyNodes, Ruleset, TableName};
use landfall_lan::{Host, PodSpec};
use landfall_model::{
    Endpoint, EndpointPort, EndpointSlice, FamilyPolicy, Labels, NodePort, NodeView, PortSpec, Protocol,
    Requests, ServiceKey, ServiceView, TrafficPolicy,
};
use landfall_speaker::nftables::{Applied, Commits, NftError, Nftables};
use tokio::io::AsyncWriteExt as _;

use super::{lan, on, run};

pub(super) const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 200));
pub(super) const V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x200));
pub(super) const NODE_PORT: u16 = 30_080;

fn service(policy: TrafficPolicy) -> ServiceView {
    let port = |name: &str, protocol| PortSpec {
        name: name.into(),
        protocol,
        port: 80,
        node_port: Some(NodePort(NODE_PORT)),
    };
    ServiceView {
        key: ServiceKey::new("shop", "web"),
        uid: "u".into(),
        resource_version: "1".into(),
        generation: 0,
        created: 0,
        deleting: false,
        load_balancer: true,
        class: None,
        labels: Labels::default(),
        requests: Requests::default(),
        cluster_families: Vec::new(),
        family_policy: FamilyPolicy::SingleStack,
        traffic_policy: policy,
        client_affinity: false,
        selector: BTreeMap::new(),
        ports: vec![port("tcp", Protocol::Tcp), port("udp", Protocol::Udp)],
        health_check_node_port: None,
        ingress: Vec::new(),
        conditions: Vec::new(),
    }
}

fn slice(node: &str, address: IpAddr, ports: &[(&str, Protocol, u16)]) -> EndpointSlice {
    let port = |(name, protocol, port): &(&str, _, _)| EndpointPort {
        name: (*name).into(),
        protocol: *protocol,
        port: *port,
    };
    EndpointSlice {
        service: ServiceKey::new("shop", "web"),
        endpoints: vec![Endpoint { address, node: Some(node.into()), ready: true, serving: true }],
        ports: ports.iter().map(port).collect(),
    }
}

fn healthy(nodes: &[Host]) -> HealthyNodes {
    let views: Vec<NodeView> = nodes
        .iter()
        .map(|host| NodeView {
            name: host.name().into(),
            addresses: vec![host.ipv4().unwrap().into(), host.ipv6().unwrap().into()],
            ready: true,
            ..NodeView::default()
        })
        .collect();
    HealthyNodes::new(&views, false, |_| true)
}

/// The rules of `own` for both addresses, where a plain process listens at the NodePort of every node.
pub(super) fn plain_rules(own: &str, nodes: &[Host], client_affinity: bool) -> Ruleset {
    Ruleset::of(&plain_table(own, nodes, client_affinity))
}

pub(super) fn plain_table(own: &str, nodes: &[Host], client_affinity: bool) -> ForwardingTable {
    let mut table = ForwardingTable::new(own);
    let service = ServiceView { client_affinity, ..service(TrafficPolicy::Cluster) };
    for address in [V4, V6] {
        table.add(address, &service, [&slice("n1", address, &[])], &healthy(nodes)).unwrap();
    }
    table
}

pub(super) fn load(host: &Host, rules: &Ruleset) -> Applied {
    on(host, async || Nftables::default().apply(rules).await.unwrap())
}

/// Answers TCP connections and datagrams with the host's name and the client's address.
fn serve(host: &Host, address: IpAddr, port: u16) {
    let name = host.name().to_owned();
    let listener = host.within(move || TcpListener::bind((address, port))).unwrap().unwrap();
    let answer = name.clone();
    std::thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            let _ = write!(stream, "{answer} {}", peer.ip());
        }
    });
    let socket = host.within(move || UdpSocket::bind((address, port))).unwrap().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 16];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let question = String::from_utf8_lossy(&buffer[..length]);
            let _ = socket.send_to(format!("{name} {} {question}", peer.ip()).as_bytes(), peer);
        }
    });
}

pub(super) fn serve_on_all(nodes: &[Host]) {
    for node in nodes {
        serve(node, node.ipv4().unwrap().into(), NODE_PORT);
        serve(node, node.ipv6().unwrap().into(), NODE_PORT);
    }
}

/// Sends the client's packets for both service addresses to `owner`, as an answer to its ARP request would.
pub(super) fn send_through(client: &Host, owner: &Host) {
    for (address, via) in [(V4, IpAddr::from(owner.ipv4().unwrap())), (V6, owner.ipv6().unwrap().into())] {
        client.add_route(IpNet::from(address), via).unwrap();
    }
}

/// Opens a connection and returns what the server says; `None` when there is no answer.
pub(super) fn ask(client: &Host, address: IpAddr) -> Option<String> {
    client
        .within(|| {
            let mut stream =
                TcpStream::connect_timeout(&SocketAddr::new(address, 80), Duration::from_secs(3)).ok()?;
            let mut answer = String::new();
            stream.set_read_timeout(Some(Duration::from_secs(3))).ok()?;
            stream.read_to_string(&mut answer).ok()?;
            Some(answer)
        })
        .unwrap()
}

/// How many of `count` connections each (server, client address) answered. None may fail.
fn ask_many(client: &Host, address: IpAddr, count: usize) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    for _ in 0..count {
        *answers.entry(ask(client, address).expect("every connection is answered")).or_default() += 1;
    }
    answers
}

/// A socket of the client that speaks to the service at this address.
fn datagrams_to(client: &Host, address: IpAddr) -> UdpSocket {
    let any =
        if address.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = client.within(|| UdpSocket::bind((any, 0))).unwrap().unwrap();
    socket.connect((address, 80)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    socket
}

/// Who answers this question on this socket, within five seconds.
fn ask_udp(socket: &UdpSocket, question: &str) -> Option<String> {
    let mut buffer = [0; 128];
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        socket.send(question.as_bytes()).unwrap();
        if let Ok(length) = socket.recv(&mut buffer) {
            let answer = String::from_utf8_lossy(&buffer[..length]);
            if answer.ends_with(question) {
                return Some(server(&answer).to_owned());
            }
        }
    }
    None
}

pub(super) fn server(answer: &str) -> &str {
    answer.split(' ').next().unwrap()
}

#[test]
#[ignore = "needs root and nft"]
fn connections_spread_over_all_nodes() {
    let (_lan, [n1, n2, n3, client]) = lan(["n1", "n2", "n3", "c1"]);
    let nodes = [n1.clone(), n2, n3];
    serve_on_all(&nodes);
    load(&n1, &plain_rules("n1", &nodes, false));
    send_through(&client, &n1);
    for address in [V4, V6] {
        let answers = ask_many(&client, address, 300);
        let servers: BTreeSet<&str> = answers.keys().map(|answer| server(answer)).collect();
        assert_eq!(servers, BTreeSet::from(["n1", "n2", "n3"]), "{answers:?}");
        assert!(answers.values().all(|count| (50..=150).contains(count)), "uneven: {answers:?}");
        // Others see the owner, so that their answers come back through it.
        let owner = if address.is_ipv4() { "10.77.0.1" } else { "fd77::1" };
        assert!(answers.contains_key(&format!("n2 {owner}")), "{answers:?}");
    }
}

#[test]
#[ignore = "needs root and nft"]
fn a_flow_goes_to_the_same_node_through_every_owner() {
    let (_lan, [n1, n2, n3, client]) = lan(["n1", "n2", "n3", "c1"]);
    let nodes = [n1.clone(), n2.clone(), n3];
    serve_on_all(&nodes);
    for owner in &nodes {
        load(owner, &plain_rules(owner.name(), &nodes, false));
    }
    let flows: Vec<UdpSocket> =
        (0..30).flat_map(|_| [V4, V6]).map(|address| datagrams_to(&client, address)).collect();
    let through = |owner: &Host| -> Vec<String> {
        send_through(&client, owner);
        flows.iter().map(|flow| ask_udp(flow, owner.name()).expect("every datagram is answered")).collect()
    };
    let first = through(&n1);
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 3, "{first:?}");
    assert_eq!(through(&n2), first);
}

#[test]
#[ignore = "needs root and nft"]
fn client_affinity_keeps_a_client_on_one_node() {
    let (_lan, [n1, n2, n3, client]) = lan(["n1", "n2", "n3", "c1"]);
    let nodes = [n1.clone(), n2, n3];
    serve_on_all(&nodes);
    load(&n1, &plain_rules("n1", &nodes, true));
    send_through(&client, &n1);
    for address in [V4, V6] {
        let answers = ask_many(&client, address, 30);
        assert_eq!(answers.len(), 1, "{answers:?}");
    }
}

/// Without NodePorts and without kube-proxy, as in a standalone installation: the same flow has the same endpoint through
/// every owner, the owner's own process among them.
#[test]
#[ignore = "needs root and nft"]
fn endpoints_without_node_ports_are_reached_through_every_owner() {
    let (_lan, [n1, n2, n3, client]) = lan(["n1", "n2", "n3", "c1"]);
    let nodes = [n1.clone(), n2.clone(), n3];
    serve_on_all(&nodes);
    let mut service = service(TrafficPolicy::Cluster);
    service.ports.iter_mut().for_each(|port| port.node_port = None);
    let ports = [("tcp", Protocol::Tcp, NODE_PORT), ("udp", Protocol::Udp, NODE_PORT)];
    let slices: Vec<EndpointSlice> = nodes
        .iter()
        .flat_map(|node| {
            [node.ipv4().unwrap().into(), node.ipv6().unwrap().into()].map(|address| (node, address))
        })
        .map(|(node, address)| slice(node.name(), address, &ports))
        .collect();
    for owner in &nodes {
        let mut table = ForwardingTable::new(owner.name());
        for address in [V4, V6] {
            table.add(address, &service, &slices, &HealthyNodes::default()).unwrap();
        }
        load(owner, &Ruleset::of(&table));
    }
    let flows: Vec<UdpSocket> =
        (0..30).flat_map(|_| [V4, V6]).map(|address| datagrams_to(&client, address)).collect();
    let through = |owner: &Host| -> Vec<String> {
        send_through(&client, owner);
        flows.iter().map(|flow| ask_udp(flow, owner.name()).expect("every datagram is answered")).collect()
    };
    let first = through(&n1);
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 3, "{first:?}");
    assert_eq!(through(&n2), first);
    for address in [V4, V6] {
        let answers = ask_many(&client, address, 60);
        let servers: BTreeSet<&str> = answers.keys().map(|answer| server(answer)).collect();
        assert_eq!(servers, BTreeSet::from(["n1", "n2", "n3"]), "{answers:?}");
    }
}

fn nft(host: &Host, rules: &str) {
    let output = host.command("nft").arg(rules).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Rules like kube-proxy's in nftables mode: the NodePort leads to a pod, and nothing listens there.
fn kube_proxy(node: &Host, pod: IpAddr) {
    nft(
        node,
        &format!(
            "add table ip proxy; \
             add chain ip proxy pre {{ type nat hook prerouting priority -100; }}; \
             add rule ip proxy pre fib daddr type local tcp dport {NODE_PORT} dnat to {pod}:8080"
        ),
    );
}

#[test]
#[ignore = "needs root and nft"]
fn beside_kube_proxy_the_local_share_reaches_local_pods_with_the_clients_address() {
    let (_lan, [n1, n2, client]) = lan(["n1", "n2", "c1"]);
    let nodes = [n1.clone(), n2.clone()];
    let pods =
        [(&n1, Ipv4Addr::new(10, 80, 1, 2)), (&n2, Ipv4Addr::new(10, 80, 2, 2))].map(|(node, address)| {
            let pod = node.add_pod(PodSpec::new(format!("pod-{}", node.name()), [address.into()])).unwrap();
            serve(&pod, address.into(), 8080);
            kube_proxy(node, address.into());
            (node.name(), IpAddr::V4(address))
        });
    let mut table = ForwardingTable::new("n1");
    let slices = pods.map(|(node, address)| slice(node, address, &[("tcp", Protocol::Tcp, 8080)]));
    let tcp_only = ServiceView {
        ports: service(TrafficPolicy::Cluster).ports[..1].to_vec(),
        ..service(TrafficPolicy::Cluster)
    };
    table.add(V4, &tcp_only, &slices, &healthy(&nodes)).unwrap();
    load(&n1, &Ruleset::of(&table));
    nft(
        &n1,
        "add table ip seen; add chain ip seen pre { type filter hook prerouting priority -50; }; \
         add rule ip seen pre meta mark != 0 counter",
    );
    send_through(&client, &n1);
    let answers = ask_many(&client, V4, 100);
    let expected = BTreeSet::from(["pod-n1 10.77.0.3", "pod-n2 10.77.0.1"]);
    assert_eq!(answers.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected, "{answers:?}");
    let marked = run(&n1, "nft list table ip seen");
    assert!(marked.contains("counter packets 0"), "a packet kept our mark: {marked}");
    // A client on the owner itself, and a pod that may reach itself.
    let pod = n1.pods().unwrap().remove(0);
    for inside in [&n1, &pod] {
        let answers = ask_many(inside, V4, 40);
        let servers: BTreeSet<&str> = answers.keys().map(|answer| server(answer)).collect();
        assert_eq!(servers, BTreeSet::from(["pod-n1", "pod-n2"]), "from {}: {answers:?}", inside.name());
    }
}

#[test]
#[ignore = "needs root and nft"]
fn rules_are_adopted_replaced_and_cleaned_up() {
    let (_lan, [n1, n2]) = lan(["n1", "n2"]);
    let one = plain_rules("n1", std::slice::from_ref(&n1), false);
    let two = plain_rules("n1", &[n1.clone(), n2], false);
    let none = Ruleset::of(&ForwardingTable::new("n1"));
    assert_eq!(load(&n1, &none), Applied::Adopted);
    assert_eq!(load(&n1, &one), Applied::Loaded);
    assert_eq!(load(&n1, &one), Applied::Adopted);
    assert_eq!(load(&n1, &two), Applied::Loaded);
    assert_eq!(load(&n1, &one), Applied::Loaded);
    run(&n1, "nft flush ruleset");
    assert_eq!(load(&n1, &one), Applied::Loaded);
    assert_eq!(load(&n1, &none), Applied::Loaded);
    on(&n1, async || {
        let commits = Commits::open().unwrap();
        for rules in [&one, &two] {
            let rest = Nftables::default().load(rules, Some(&commits)).await.unwrap();
            assert!(Nftables::default().has(rules).await.unwrap(), "in force before the tool has ended");
            rest.ended().await.unwrap();
        }
    });
    assert_eq!(load(&n1, &two), Applied::Adopted);
    // A second installation has a table of its own, and each removes only its own.
    let second = Nftables::new("nft", "landfall-second".parse().unwrap());
    on(&n1, async || second.apply(&one).await.unwrap());
    assert_eq!(load(&n1, &two), Applied::Adopted);
    for _ in 0..2 {
        on(&n1, async || Nftables::default().cleanup().await.unwrap());
        assert_eq!(run(&n1, "nft list tables").trim(), "table inet landfall-second");
    }
    assert_eq!(on(&n1, async || second.apply(&one).await.unwrap()), Applied::Adopted);
    for _ in 0..2 {
        on(&n1, async || second.cleanup().await.unwrap());
        assert_eq!(run(&n1, "nft list tables"), "");
    }
}

#[test]
#[ignore = "needs root and nft"]
fn the_kernel_says_whose_rules_are_in_force() {
    let (_lan, [n1]) = lan(["n1"]);
    on(&n1, async || {
        let commits = Commits::open().unwrap();
        let run = |table: &str| {
            let mut command = tokio::process::Command::new("nft");
            let child = command.args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
            (child, format!("add table inet {table}\n"))
        };
        let ((mut ours, text), (mut other, others)) = (run("ours"), run("others"));
        let process = ours.id().unwrap();
        commits.listen(process).unwrap();
        other.stdin.take().unwrap().write_all(others.as_bytes()).await.unwrap();
        assert!(other.wait().await.unwrap().success());
        assert!(commits.of(process).now_or_never().is_none(), "that was another one");
        ours.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
        commits.of(process).await;
        assert!(ours.wait().await.unwrap().success());
    });
    assert_eq!(run(&n1, "nft list tables"), "table inet others\ntable inet ours\n");
}

#[test]
#[ignore = "needs root and nft"]
fn a_refusal_leaves_the_rules_in_force() {
    let (_lan, [n1]) = lan(["n1"]);
    let rules = plain_rules("n1", std::slice::from_ref(&n1), false);
    load(&n1, &rules);
    let missing =
        on(&n1, async || Nftables::new("landfall-no-such-tool", TableName::default()).apply(&rules).await);
    assert!(matches!(missing, Err(NftError::Missing { .. })), "{missing:?}");
    assert_eq!(load(&n1, &rules), Applied::Adopted);
}

#[test]
#[ignore = "needs root and nft"]
fn ten_thousand_entries_load_in_bounded_time() {
    let (_lan, [n1, n2]) = lan(["n1", "n2"]);
    let nodes = healthy(&[n1.clone(), n2]);
    let mut table = ForwardingTable::new("n1");
    for i in 0..5_000_u32 {
        let pod = IpAddr::V4(Ipv4Addr::from_bits(0x0a50_0000 + i));
        let slice = slice("n1", pod, &[("tcp", Protocol::Tcp, 8080), ("udp", Protocol::Udp, 8080)]);
        let address = IpAddr::V4(Ipv4Addr::from_bits(0x0a4e_0000 + i));
        table.add(address, &service(TrafficPolicy::Cluster), [&slice], &nodes).unwrap();
    }
    assert_eq!(table.iter().count(), 10_000);
    let start = Instant::now();
    load(&n1, &Ruleset::of(&table));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}
