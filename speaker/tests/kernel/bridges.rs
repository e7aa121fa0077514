//! A node whose network is rebuilt while it announces: clients follow, unasked. Bonds change in the same ways; not every kernel has
//! them, so a bridge stands for both.

use std::time::Duration;

use landfall_lan::Host;

use super::{
    forwarding::{V4, V6, serve_on_all},
    lan,
    rivals::wait_until,
    run,
    speakers::{Manifests, Running, answered_within, run_speaker, show_logs},
};

const BRIDGE: &str = "02:00:00:00:00:b0";
const ANOTHER: &str = "02:00:00:00:00:b1";

/// The client, which asks nobody, has learned that both addresses are there.
fn led_to(client: &Host, mac: &str) {
    wait_until(&format!("the client is led to {mac}"), Duration::from_secs(10), || {
        [V4, V6].iter().all(|address| run(client, &format!("ip neighbor show to {address}")).contains(mac))
    });
}

#[test]
#[ignore = "needs root and nft"]
fn clients_follow_an_address_onto_a_bridge_and_to_another_mac() {
    show_logs();
    let (_lan, [node, client]) = lan(["n1", "c1"]);
    let nodes = [node];
    let [node] = &nodes;
    serve_on_all(&nodes);
    let manifests = Manifests::of(&nodes);
    let Running { stop, thread } = run_speaker(node, manifests.path());
    for address in [V4, V6] {
        answered_within(&client, address, Duration::from_secs(15));
    }
    led_to(&client, &node.mac().unwrap().to_string());

    run(node, &format!("ip link add br0 address {BRIDGE} type bridge"));
    run(node, "ip link set br0 up");
    run(node, "ip link set eth0 master br0");
    for address in node.addresses() {
        run(node, &format!("ip address delete {address} dev eth0"));
        run(node, &format!("ip address add {address} dev br0 nodad"));
    }
    led_to(&client, BRIDGE);
    run(node, &format!("ip link set br0 address {ANOTHER}"));
    led_to(&client, ANOTHER);
    for address in [V4, V6] {
        answered_within(&client, address, Duration::from_secs(5));
    }
    stop.cancel();
    thread.join().unwrap().unwrap();
}
