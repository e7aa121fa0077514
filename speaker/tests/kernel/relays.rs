//! What is open when an address moves.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use landfall_engine::forwarding::{ForwardingTable, Ruleset};
use landfall_lan::Host;
use landfall_speaker::nftables::{Applied, Nftables};

use super::{
    forwarding::{NODE_PORT, V4, V6, load, plain_rules, plain_table, send_through},
    lan, on, run,
};

/// Sends what comes on each connection back on it, from the NodePort of a host.
fn echo(host: &Host) {
    for address in [host.ipv4().unwrap().into(), host.ipv6().unwrap().into()] {
        let bind = move || TcpListener::bind(SocketAddr::new(address, NODE_PORT));
        let listener = host.within(bind).unwrap().unwrap();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
            }
        });
    }
}

/// Whether a connection still carries a question there and the answer back.
fn is_open(mut connection: &TcpStream) -> bool {
    let mut answer = [0; 4];
    connection.write_all(b"ping").is_ok() && connection.read_exact(&mut answer).is_ok() && answer == *b"ping"
}

#[test]
#[ignore = "needs root and nft"]
fn what_is_open_stays_open_when_the_address_moves() {
    let (_lan, [n1, n2, n3, client]) = lan(["n1", "n2", "n3", "c1"]);
    let nodes = [n1.clone(), n2.clone(), n3];
    nodes.iter().for_each(echo);
    for owner in &nodes {
        load(owner, &plain_rules(owner.name(), &nodes, false));
    }
    let connect = |address| {
        let target = SocketAddr::new(address, 80);
        let connect = || TcpStream::connect_timeout(&target, Duration::from_secs(3)).unwrap();
        let connection = client.within(connect).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        assert!(is_open(&connection));
        connection
    };
    send_through(&client, &n1);
    let before: Vec<TcpStream> = (0..10).flat_map(|_| [V4, V6]).map(connect).collect();

    let mut table = plain_table("n2", &nodes, false);
    table.relay(V4, n1.ipv4().unwrap().into());
    table.relay(V6, n1.ipv6().unwrap().into());
    on(&n2, async || Nftables::default().check_relays().await.unwrap());
    load(&n2, &Ruleset::of(&table));
    // The owner before has its translations without the rules that made them.
    let mut kept = ForwardingTable::new("n1");
    kept.keep_translations();
    let kept = Ruleset::of(&kept);
    assert_eq!([load(&n1, &kept), load(&n1, &kept)], [Applied::Loaded, Applied::Adopted]);
    send_through(&client, &n2);
    assert!(before.iter().all(is_open));
    let after: Vec<TcpStream> = (0..10).flat_map(|_| [V4, V6]).map(connect).collect();
    assert!(before.iter().chain(&after).all(is_open));

    load(&n2, &plain_rules("n2", &nodes, false));
    assert!(!before.iter().any(is_open), "the new owner knows none of them");
    assert!(after.iter().all(is_open), "and all of these");
    on(&n2, async || Nftables::default().cleanup().await.unwrap());
    assert_eq!(run(&n2, "nft list tables"), "");
    assert_eq!(load(&n2, &kept), Applied::Adopted, "where there is nothing to keep");
    assert_eq!(run(&n2, "nft list tables"), "");
}
