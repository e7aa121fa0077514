//! Addresses are announced again, long after they were taken.

use std::{net::IpAddr, time::Duration};

use landfall_model::Instant;

use crate::{
    lan::{Announcement, Lan},
    objects::{see_service, see_slice, service, slice},
};

const NAMES: [&str; 2] = ["oak", "elm"];
const ADDRESS: &str = "192.0.2.1";

/// So many Services, announced some seconds ago.
fn served(count: u8, refresh: Duration) -> Lan {
    let mut lan = Lan::new(&NAMES, 3);
    lan.refresh = refresh;
    lan.gateway = Some(0);
    for host in 0..NAMES.len() {
        lan.kill(host);
        lan.start(host);
    }
    for number in 1..=count {
        let name = format!("s{number}");
        lan.see(see_slice(slice(&name, &NAMES)));
        lan.see(see_service(service(&name, &[&format!("192.0.2.{number}")])));
    }
    lan.run_ms(5_000);
    lan.announcements.clear();
    lan.told_gateway.clear();
    lan
}

/// When something was said about an address; both forms of an announcement count once.
fn times(said: &[Announcement], about: impl Fn(&Announcement) -> bool) -> Vec<Instant> {
    let mut times: Vec<Instant> = said.iter().filter(|said| about(said)).map(|said| said.at).collect();
    times.dedup();
    times
}

#[test]
fn every_address_is_announced_again_at_a_rate_with_a_bound() {
    for (count, refresh, longest) in [(40, 20, 25), (180, 1, 12)] {
        let mut lan = served(count, Duration::from_secs(refresh));
        let start = lan.now;
        lan.run(Duration::from_secs(60));
        for number in 1..=count {
            let address = IpAddr::from([192, 0, 2, number]);
            let times = times(&lan.announcements, |said| said.address == address);
            let stops = [start].into_iter().chain(times).chain([lan.now]).collect::<Vec<_>>();
            let gap = stops.windows(2).map(|pair| pair[1].since(pair[0])).max().unwrap();
            assert!(gap <= Duration::from_secs(longest), "{address} waits for {gap:?}");
        }
        for node in 0..NAMES.len() {
            let times = times(&lan.announcements, |said| said.node == node);
            assert!(times.len() > 40, "it owns many: {}", times.len());
            let close = times.windows(2).find(|pair| pair[1].since(pair[0]) < Duration::from_millis(90));
            assert_eq!(close, None, "one after the other");
            let told = lan.told_gateway.iter().filter(|said| said.node == node).count();
            assert_eq!(told, times.len(), "the gateway is told each time");
        }
    }
}

#[test]
fn a_client_that_asked_the_owner_is_told_again_and_the_heir_tells_the_gateway() {
    let mut lan = served(1, Duration::from_secs(30));
    let owner = lan.who_has(ADDRESS);
    let owner = lan.index(owner[0]);
    lan.run(Duration::from_secs(100));
    let told = times(&lan.told_client, |said| said.node == owner);
    assert!((3..=4).contains(&told.len()), "{told:?}");
    lan.kill(owner);
    lan.told_client.clear();
    lan.told_gateway.clear();
    lan.run(Duration::from_secs(5));
    let told = times(&lan.told_gateway, |said| said.node != owner);
    let first = times(&lan.announcements, |said| said.node != owner)[0];
    assert_eq!(told, [first, first + Duration::from_secs(2)]);
    assert_eq!(lan.told_client, [], "it has asked the heir for nothing");
}
