//! A host that is no node has the addresses of a Service.

use std::{
    net::{IpAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use landfall_engine::{
    Mac,
    responder::{DEFEND_INTERVAL, FIRST_RETRY},
    wire::{ArpOperation, ArpRepr, BROADCAST, EtherType, EthernetRepr, Frame},
};
use landfall_lan::Host;
use landfall_speaker::sockets::{FrameKind, FrameSocket};

use super::{
    forwarding::{V4, V6, serve_on_all},
    lan, on, run,
    speakers::{Manifests, Running, answered_within, owner, run_speaker, show_logs, sum},
    wire::{interface_number, knock},
};

const PATIENCE: Duration = Duration::from_secs(20);

fn total(nodes: &[Host], metric: &str) -> f64 {
    nodes.iter().map(|node| sum(node, metric)).sum()
}

pub(super) fn wait_until(what: &str, limit: Duration, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < limit, "{what}: not after {limit:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn announcements(nodes: &[Host], address: IpAddr) -> f64 {
    total(nodes, &format!("metallb_layer2_gratuitous_sent{{ip=\"{address}\"}}"))
}

/// Says that it has the IPv4 address, every 100 ms for so long.
fn insist(rival: &Host, span: Duration) {
    let (IpAddr::V4(sender), mac) = (V4, Mac(rival.mac().unwrap().0)) else { unreachable!() };
    let ethernet = EthernetRepr { destination: BROADCAST, source: mac, ether_type: EtherType::Arp };
    let operation = ArpOperation::Reply;
    let arp = ArpRepr { operation, sender_mac: mac, sender, target_mac: mac, target: sender };
    let frame = Frame::Arp { ethernet, arp }.emit();
    let interface = interface_number(rival);
    on(rival, async || {
        let socket = FrameSocket::open(FrameKind::Arp).unwrap();
        let start = Instant::now();
        while start.elapsed() < span {
            socket.send(interface, &frame).unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
}

#[test]
#[ignore = "needs root and nft"]
fn an_address_that_another_host_has_is_left_to_it_and_kept_from_it_later() {
    show_logs();
    let (_lan, [n1, n2, client, rival]) = lan(["n1", "n2", "c1", "r1"]);
    let nodes = [n1, n2];
    let nets = [(V4, 24), (V6, 64)].map(|(address, len)| IpNet::new(address, len).unwrap());
    for net in nets {
        rival.add_address(net).unwrap();
    }
    wait_until("its kernel has them", PATIENCE, || run(&rival, "ip -6 addr show tentative").is_empty());
    serve_on_all(&nodes);
    let manifests = Manifests::of(&nodes);
    let speakers: Vec<Running> = nodes.iter().map(|node| run_speaker(node, manifests.path())).collect();
    let runs = |node: &Host| node.within(|| TcpStream::connect(("127.0.0.1", 9120)).is_ok()).unwrap();
    wait_until("the speakers run", PATIENCE, || nodes.iter().all(runs));
    let contested = || total(&nodes, "landfall_speaker_addresses_contested");
    wait_until("both families are found", PATIENCE, || (contested() - 2.0).abs() < 0.1);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        assert!(total(&nodes, "metallb_layer2_gratuitous_sent") < 0.1, "nothing is announced");
        for address in [V4, V6] {
            knock(&client, address);
            assert!(owner(&client, &nodes, address).is_none(), "no node answers for {address}");
        }
        thread::sleep(Duration::from_millis(100));
    }
    for address in [V4, V6] {
        let line = run(&client, &format!("ip neigh show {address}"));
        assert!(line.contains(&rival.mac().unwrap().to_string()), "{line}");
    }

    // It is gone, and what it had is taken at the next try.
    for net in nets {
        run(&rival, &format!("ip addr del {net} dev eth0"));
    }
    for address in [V4, V6] {
        answered_within(&client, address, FIRST_RETRY * 3);
    }
    assert!(contested() < 0.1);
    let first = owner(&client, &nodes, V4).expect("the client knows who answers").name();

    // It is back. The schedule of announcements has run out by then.
    thread::sleep(Duration::from_millis(2_500));
    let stalls = || total(&nodes, "landfall_speaker_stalls_total");
    let before = (announcements(&nodes, V4), stalls());
    insist(&rival, DEFEND_INTERVAL + Duration::from_secs(2));
    let defended = announcements(&nodes, V4) - before.0;
    let claims = total(&nodes, "landfall_speaker_foreign_claims_total");
    let defences = total(&nodes, "landfall_speaker_defences_total");
    println!("{claims} claims, {defences} defences, {defended} frames");
    assert!(claims > 50.0 && (defences - 2.0).abs() < 0.1);
    // In both forms each. Whoever stood still begins to count anew.
    assert!((defended - 4.0).abs() < 0.1 || stalls() > before.1);
    assert!(contested() < 0.1, "it is kept");
    run(&client, "ip neigh flush all");
    answered_within(&client, V4, PATIENCE);
    assert_eq!(owner(&client, &nodes, V4).map(Host::name), Some(first));
    for Running { stop, thread } in speakers {
        stop.cancel();
        thread.join().unwrap().unwrap();
    }
}
