//! A host that hears no other: whether it is the one that is cut off, and what it must not do then.

use std::time::Duration;

use crate::{
    lan::Lan,
    objects::{see_service, see_slice, service, slice},
};

const NAMES: [&str; 3] = ["oak", "elm", "fir"];
const ADDRESSES: [&str; 6] = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6"];

fn served(names: &[&'static str], gateway: Option<u32>) -> Lan {
    let mut lan = Lan::new(names, 7);
    lan.gateway = gateway;
    for (number, address) in ADDRESSES.iter().enumerate() {
        let name = format!("s{number}");
        lan.see(see_slice(slice(&name, names)));
        lan.see(see_service(service(&name, &[address])));
    }
    lan.run_ms(4_000);
    lan
}

fn owners(lan: &mut Lan) -> Vec<Vec<&'static str>> {
    ADDRESSES.iter().map(|address| lan.who_has(address)).collect()
}

#[test]
fn a_host_that_is_cut_off_falls_silent_and_takes_nothing_when_it_is_back() {
    let mut lan = served(&NAMES, Some(0));
    let before = owners(&mut lan);
    lan.cut(&[0]);
    lan.run_ms(3_000);
    assert!(lan.hosts[0].cut_off, "it knows");
    for address in ADDRESSES {
        assert_eq!(
            lan.who_has_on(1, address),
            [] as [&str; 0],
            "{address} is answered on the side without anybody"
        );
        assert_eq!(lan.who_has(address).len(), 1, "{address} is not answered on the side of the others");
    }
    let taken_over = owners(&mut lan);
    let announced = lan.announcements.len();
    lan.heal();
    for address in ADDRESSES {
        // Nothing moves, and nobody answers twice, not even for a moment.
        let seen = lan.watch(address, Duration::from_millis(600));
        assert_eq!(seen.len(), 1, "{address}: {seen:?}");
    }
    assert_eq!(owners(&mut lan), taken_over);
    assert!(!lan.hosts[0].cut_off);
    for (address, (before, after)) in ADDRESSES.iter().zip(before.iter().zip(&taken_over)) {
        assert!(before == after || before == &["oak"], "{address} moved without need");
    }
    assert!(lan.announcements[announced..].iter().all(|said| said.node != 0), "the loser speaks");
}

#[test]
fn of_two_hosts_the_one_that_the_gateway_answers_goes_on() {
    for (gateway, expected) in [(Some(0), ["elm"].as_slice()), (None, &["elm"])] {
        let mut lan = served(&NAMES[..2], gateway);
        lan.cut(&[0]);
        lan.run_ms(3_000);
        for address in ADDRESSES {
            assert_eq!(lan.who_has(address), expected, "{gateway:?}: {address}");
            let elsewhere = lan.who_has_on(1, address);
            // Without a witness both may be right, and each serves its side.
            assert_eq!(elsewhere.is_empty(), gateway.is_some(), "{gateway:?}: {address} {elsewhere:?}");
        }
    }
}

#[test]
fn the_last_host_takes_over_as_soon_as_the_gateway_has_answered() {
    let mut lan = served(&NAMES[..2], Some(0));
    lan.kill(0);
    let seen = lan.watch(ADDRESSES[0], Duration::from_millis(1_500));
    let (at, last) = seen.last().unwrap();
    assert_eq!(last, &["elm"]);
    let without = {
        let mut lan = served(&NAMES[..2], None);
        lan.kill(0);
        lan.watch(ADDRESSES[0], Duration::from_millis(1_500)).last().unwrap().0
    };
    assert!(at.saturating_sub(without) < Duration::from_millis(5), "{at:?} instead of {without:?}");
    assert!(!lan.hosts[1].cut_off);
}

#[test]
fn a_minority_is_silent_where_it_must_be() {
    let names = ["oak", "elm", "fir", "ash", "bay"];
    let mut lan = Lan::strict(&names, 3);
    for (number, address) in ADDRESSES.iter().enumerate() {
        let name = format!("s{number}");
        lan.see(see_slice(slice(&name, &names)));
        lan.see(see_service(service(&name, &[address])));
    }
    lan.run_ms(4_000);
    lan.cut(&[0, 1]);
    lan.run_ms(3_000);
    for address in ADDRESSES {
        assert_eq!(lan.who_has(address).len(), 1, "{address} on the side of three");
        assert_eq!(lan.who_has_on(1, address).len(), 0, "{address} on the side of two");
    }
    assert!(lan.hosts[0].cut_off && lan.hosts[1].cut_off && !lan.hosts[2].cut_off);
    let owners_before = owners(&mut lan);
    lan.heal();
    for address in ADDRESSES {
        let seen = lan.watch(address, Duration::from_millis(600));
        assert_eq!(seen.len(), 1, "{address}: {seen:?}");
    }
    assert_eq!(owners(&mut lan), owners_before);
}
