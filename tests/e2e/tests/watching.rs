//! The watcher itself: it must notice two machines with one address, or the other tests could not fail.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use landfall_e2e::Asker;
use landfall_e2e::wait::until;
use landfall_lan::{HostSpec, Lan, Subnets};

#[test]
#[ignore = "needs root and iproute2; make test runs it"]
fn two_machines_with_one_address_are_noticed() {
    let lan = Lan::create(&Lan::unique_name("e2e-watching"), Subnets::default()).expect("a LAN");
    let one = lan.add_host(HostSpec::new("n1", 11)).expect("a host");
    let two = lan.add_host(HostSpec::new("n2", 12)).expect("a host");
    let watcher = lan.add_host(HostSpec::new("c1", 100)).expect("a host");
    let asker = Asker::start(&watcher).expect("a raw socket");
    let shared: [IpAddr; 2] = ["10.77.0.200".parse().expect("IPv4"), "fd77::c8:0".parse().expect("IPv6")];
    let begun = Instant::now();
    shared.iter().for_each(|address| asker.ask_for(*address));
    for address in shared {
        assert!(asker.owner(address).is_err(), "nobody has {address} yet");
        asker.ensure_silent_since(address, begun).expect("silence");
        let prefix = if address.is_ipv4() { 24 } else { 64 };
        let net = format!("{address}/{prefix}").parse().expect("a prefix");
        one.add_address(net).expect("an address");
        let owner =
            until("the first owner", Duration::from_secs(5), || asker.owner(address)).expect("one owner");
        assert_eq!(Some(owner), one.mac());
        let long_ago = begun.checked_sub(landfall_e2e::asker::SETTLED).expect("the machine runs for longer");
        asker.ensure_single_owner(address, long_ago, Instant::now()).expect("one owner is well");
        assert!(asker.ensure_silent_since(address, begun).is_err(), "it was claimed");

        two.add_address(net).expect("the same address");
        until("two owners", Duration::from_secs(5), || {
            anyhow::ensure!(asker.owner(address).is_err(), "only one is heard");
            Ok(())
        })
        .expect("two answer");
        let noticed = asker.ensure_single_owner(address, long_ago, Instant::now());
        let text = noticed.expect_err("two answer").to_string();
        for mac in [one.mac(), two.mac()].into_iter().flatten() {
            assert!(text.contains(&mac.to_string()), "{text}");
        }
    }
    drop(asker);
    lan.teardown().expect("nothing is left");
}
