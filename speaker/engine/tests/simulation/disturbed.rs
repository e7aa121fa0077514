//! Any mixture of troubles: when they are over, each address is answered by exactly one node, and all know which.

use landfall_model::EXCLUDE_LABEL;

use crate::{
    lan::{Lan, Random},
    objects::{ip, proxied, see_node, see_service, see_slice, service, slice},
};

const NAMES: [&str; 4] = ["oak", "elm", "fir", "ash"];
const ADDRESSES: [&str; 6] = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6"];

fn disturb(lan: &mut Lan, random: &mut Random) {
    let host = random.below(NAMES.len() as u64) as usize;
    match random.below(12) {
        0 => lan.kill(host),
        1 | 2 => {
            if lan.hosts[host].speaker.is_none() || lan.hosts[host].finished.is_some() {
                lan.start(host);
            }
        }
        3 => {
            let other = random.below(NAMES.len() as u64) as usize;
            lan.cut(&[host, other]);
        }
        4 => lan.heal(),
        5 => lan.pause(host),
        6 => lan.resume(host),
        7 => lan.set_api(false),
        8 => lan.set_api(true),
        9 => {
            if lan.hosts[host].finished.is_none() {
                lan.shut_down(host);
            }
        }
        10 => {
            let mut view = lan.node_view(host);
            if random.below(2) == 0 {
                view.labels.insert(EXCLUDE_LABEL.to_owned(), String::new());
            }
            lan.see(see_node(view));
        }
        _ => {
            let name = format!("s{}", random.below(3));
            let nodes: &[&str] = if random.below(2) == 0 { &[] } else { &NAMES };
            lan.see(see_slice(slice(&name, nodes)));
        }
    }
}

/// Everybody is up, connected, and a candidate.
fn calm(lan: &mut Lan) {
    lan.loss = 0;
    lan.heal();
    lan.set_api(true);
    for host in 0..NAMES.len() {
        lan.resume(host);
    }
    // Whoever was told to stop may need its two seconds.
    lan.run_ms(2_100);
    for host in 0..NAMES.len() {
        if lan.hosts[host].speaker.is_none() || lan.hosts[host].finished.is_some() {
            lan.start(host);
        }
        lan.see(see_node(lan.node_view(host)));
    }
    for name in ["s0", "s1", "s2", "s3", "s4"] {
        lan.see(see_slice(slice(name, &NAMES)));
    }
}

fn scenario(seed: u64) {
    let mut random = Random::new(seed.wrapping_mul(31).wrapping_add(7));
    let mut lan = Lan::new(&NAMES, seed);
    for (number, addresses) in [
        &["192.0.2.1"][..],
        &["192.0.2.2"],
        &["192.0.2.3", "192.0.2.4"],
        &["192.0.2.5"],
        &["192.0.2.6", "192.0.2.5"],
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("s{number}");
        lan.see(see_slice(slice(&name, &NAMES)));
        let service = service(&name, addresses);
        lan.see(see_service(if number == 1 { proxied(service) } else { service }));
    }
    lan.run_ms(random.below(4_000));
    lan.loss = random.below(30);
    for _ in 0..random.below(25) {
        disturb(&mut lan, &mut random);
        lan.run_ms(random.below(900));
    }
    calm(&mut lan);
    lan.run_ms(6_000);
    let mut last = Vec::new();
    for round in 0..20 {
        let owners: Vec<Vec<&str>> = ADDRESSES.iter().map(|address| lan.who_has(address)).collect();
        for (address, owners) in ADDRESSES.iter().zip(&owners) {
            assert_eq!(owners.len(), 1, "seed {seed}, round {round}: {address} is answered by {owners:?}");
            for host in &lan.hosts {
                let snapshot = host.speaker.as_ref().unwrap().snapshot();
                assert_eq!(&*snapshot.owners[&ip(address)].node, owners[0], "seed {seed}: {}", host.name);
            }
        }
        assert_eq!(owners[2], owners[3], "seed {seed}: one group");
        assert_eq!(owners[4], owners[5], "seed {seed}: one group");
        assert!(last.is_empty() || last == owners, "seed {seed}: it moved in a calm");
        last = owners;
        lan.run_ms(100);
    }
}

#[test]
fn after_any_troubles_each_address_has_one_owner() {
    for seed in 0..40 {
        scenario(seed);
    }
}
