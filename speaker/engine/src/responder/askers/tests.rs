use std::net::Ipv4Addr;

use super::*;

fn host(number: u32, mac: u8) -> Neighbor {
    Neighbor { address: Ipv4Addr::from(0x0a01_0000 + number).into(), mac: Mac([2, 0, 0, 0, 0, mac]) }
}

fn target(number: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + number).into()
}

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

#[test]
fn the_last_eight_of_an_address_are_known_each_once() {
    let mut askers = Askers::default();
    for number in 0..10 {
        askers.note(target(0), host(number, 1), at(number.into()));
    }
    let kept: Vec<_> = askers.of(target(0), at(10)).collect();
    assert_eq!(kept, (2..10).map(|number| host(number, 1)).collect::<Vec<_>>());
    // Again, from another card, which makes it the last one to go.
    askers.note(target(0), host(2, 7), at(10));
    assert_eq!(askers.of(target(0), at(10)).count(), ASKERS_OF_ADDRESS);
    assert_eq!(askers.of(target(0), at(10)).last(), Some(host(2, 7)));
}

#[test]
fn the_one_that_asked_longest_ago_makes_room() {
    let mut askers = Askers::default();
    for number in 0..100 {
        askers.note(target(number), host(number, 1), at(number.into()));
    }
    let known = (0..100).filter(|number| askers.of(target(*number), at(100)).count() == 1);
    assert_eq!(known.collect::<Vec<_>>(), (36..100).collect::<Vec<_>>());
    assert_eq!(askers.asked.len(), ASKERS);
}

#[test]
fn who_has_not_asked_for_long_is_not_told() {
    let mut askers = Askers::default();
    askers.note(target(0), host(0, 1), at(0));
    askers.note(target(1), host(0, 1), at(60));
    assert_eq!(askers.of(target(0), at(1_200)).count(), 1);
    assert_eq!(askers.of(target(0), at(1_201)).count(), 0);
    assert_eq!(askers.of(target(1), at(1_201)).count(), 1);
    askers.note(target(0), host(0, 1), at(1_300));
    assert_eq!(askers.of(target(0), at(1_301)).count(), 1);
}
