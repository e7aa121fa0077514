use std::net::IpAddr;

use landfall_engine::Link;
use landfall_lan::Host;
use landfall_speaker::netlink::Links;

use super::{lan, on, run};

/// Waits for a report of the interface to the LAN that fits.
async fn until(links: &mut Links, fits: impl Fn(Option<&Link>) -> bool) {
    loop {
        for (_, link) in links.changes().await.unwrap() {
            let other = link.as_ref().is_some_and(|link| &*link.name != Host::INTERFACE);
            if !other && fits(link.as_ref()) {
                return;
            }
        }
    }
}

#[test]
#[ignore = "needs root"]
fn every_change_of_an_interface_is_reported_whole() {
    let (_lan, [node, router]) = lan(["n1", "n2"]);
    on(&node, async || {
        let mut links = Links::open().unwrap();
        let mac = node.mac().unwrap().0;
        let v4 = "10.77.0.1/24".parse().unwrap();
        let v6 = "fd77::1/64".parse().unwrap();
        until(&mut links, |link| {
            link.is_some_and(|link| {
                link.running
                    && link.broadcast
                    && link.arp
                    && link.mac.is_some_and(|found| found.0 == mac)
                    && link.addresses.contains(&v4)
                    && link.addresses.contains(&v6)
                    && !link.default_v4
            })
        })
        .await;

        node.add_route("0.0.0.0/0".parse().unwrap(), router.ipv4().unwrap().into()).unwrap();
        until(&mut links, |link| link.is_some_and(|link| link.default_v4 && !link.default_v6)).await;
        node.add_route("::/0".parse().unwrap(), router.ipv6().unwrap().into()).unwrap();
        let gateways: [IpAddr; 2] = [router.ipv4().unwrap().into(), router.ipv6().unwrap().into()];
        let known = |link: &Link| link.default_v4 && link.default_v6 && link.gateways == gateways;
        until(&mut links, |link| link.is_some_and(known)).await;

        node.add_address("192.0.2.7/25".parse().unwrap()).unwrap();
        let added = "192.0.2.7/25".parse().unwrap();
        until(&mut links, |link| link.is_some_and(|link| link.addresses.contains(&added))).await;

        run(&node, "ip link set eth0 address 02:00:00:00:99:01");
        until(&mut links, |link| {
            link.is_some_and(|link| link.mac.is_some_and(|mac| mac.to_string() == "02:00:00:00:99:01"))
        })
        .await;

        // The routes go with the link, although the kernel does not report those of IPv4.
        run(&node, "ip link set eth0 down");
        until(&mut links, |link| link.is_some_and(|link| !link.running && !link.default_v4)).await;
        run(&node, "ip link delete eth0");
        until(&mut links, |link| link.is_none()).await;
    });
}
