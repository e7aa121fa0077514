//! Whole speakers on one segment, with troubles. When these are over, each address has one owner and all know which.

use arbitrary::Arbitrary;
use landfall_model::{EXCLUDE_LABEL, Observation, TrafficPolicy};

use crate::{
    lan::Lan,
    objects::{ip, key, proxied, see_node, see_service, see_slice, service, slice},
};

const NAMES: [&str; 3] = ["oak", "elm", "fir"];
const ADDRESSES: [&str; 4] = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
/// Each Service's addresses; the last two share one.
const SERVICES: [&[&str]; 4] = [&["192.0.2.1"], &["192.0.2.2"], &["192.0.2.3"], &["192.0.2.4", "192.0.2.3"]];

#[derive(Arbitrary, Debug)]
enum Trouble {
    Kill {
        host: u8,
    },
    Start {
        host: u8,
    },
    Cut {
        one: u8,
        other: u8,
    },
    Heal,
    Pause {
        host: u8,
    },
    Resume {
        host: u8,
    },
    /// It stood still with its kernel: what was sent to it is lost.
    Wake {
        host: u8,
    },
    Api {
        reachable: bool,
    },
    ShutDown {
        host: u8,
    },
    Rules {
        host: u8,
        fail: bool,
    },
    Node {
        host: u8,
        excluded: bool,
        ready: bool,
    },
    Endpoints {
        service: u8,
        hosts: u8,
    },
    Service {
        number: u8,
        local: bool,
        gone: bool,
    },
    Loss {
        percent: u8,
    },
    Pass {
        millis: u16,
    },
}

/// Three speakers.
pub(crate) fn speakers(input: &[u8]) {
    let mut lan = Lan::new(&NAMES, u64::from(input.first().copied().unwrap_or_default()));
    for number in 0..SERVICES.len() {
        see(&mut lan, number, false);
        lan.see(see_slice(slice(&format!("s{number}"), &NAMES)));
    }
    for trouble in super::operations(input, 30) {
        disturb(&mut lan, &trouble);
    }
    calm(&mut lan);
    lan.run_ms(6_000);
    check(&mut lan);
}

fn see(lan: &mut Lan, number: usize, local: bool) {
    let mut view = service(&format!("s{number}"), SERVICES[number]);
    if local {
        view.traffic_policy = TrafficPolicy::Local;
    }
    lan.see(see_service(if number == 1 { proxied(view) } else { view }));
}

fn disturb(lan: &mut Lan, trouble: &Trouble) {
    let host = |number: u8| usize::from(number) % NAMES.len();
    match *trouble {
        Trouble::Kill { host: number } => lan.kill(host(number)),
        Trouble::Start { host: number } => {
            let index = host(number);
            if lan.hosts[index].speaker.is_none() || lan.hosts[index].finished.is_some() {
                lan.start(index);
            }
        }
        Trouble::Cut { one, other } => lan.cut(&[host(one), host(other)]),
        Trouble::Heal => lan.heal(),
        Trouble::Pause { host: number } => lan.pause(host(number)),
        Trouble::Resume { host: number } => lan.resume(host(number)),
        Trouble::Wake { host: number } => lan.wake(host(number)),
        Trouble::Api { reachable } => lan.set_api(reachable),
        Trouble::ShutDown { host: number } => {
            if lan.hosts[host(number)].finished.is_none() {
                lan.shut_down(host(number));
            }
        }
        Trouble::Rules { host: number, fail } => lan.hosts[host(number)].forward_fails = fail,
        Trouble::Node { host: number, excluded, ready } => {
            let mut view = lan.node_view(host(number));
            view.ready = ready;
            if excluded {
                view.labels.insert(EXCLUDE_LABEL.to_owned(), String::new());
            }
            lan.see(see_node(view));
        }
        Trouble::Endpoints { service, hosts } => {
            let chosen = NAMES.iter().enumerate().filter(|(bit, _)| hosts & (1 << bit) != 0);
            let chosen: Vec<&str> = chosen.map(|(_, name)| *name).collect();
            lan.see(see_slice(slice(&format!("s{}", service % 4), &chosen)));
        }
        Trouble::Service { number, gone: true, .. } => {
            lan.see(Observation::Service(key(&format!("s{}", number % 4)), None));
        }
        Trouble::Service { number, local, gone: false } => see(lan, usize::from(number) % 4, local),
        Trouble::Loss { percent } => lan.loss = u64::from(percent) % 40,
        Trouble::Pass { millis } => lan.run_ms(u64::from(millis) % 2_000),
    }
}

/// Everybody is up, connected, and a candidate.
fn calm(lan: &mut Lan) {
    lan.loss = 0;
    lan.heal();
    lan.set_api(true);
    for host in 0..NAMES.len() {
        lan.hosts[host].forward_fails = false;
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
    for number in 0..SERVICES.len() {
        see(lan, number, false);
        lan.see(see_slice(slice(&format!("s{number}"), &NAMES)));
    }
}

fn check(lan: &mut Lan) {
    let mut last = Vec::new();
    for _ in 0..5 {
        let owners: Vec<Vec<&str>> = ADDRESSES.iter().map(|address| lan.who_has(address)).collect();
        for (address, owners) in ADDRESSES.iter().zip(&owners) {
            assert_eq!(owners.len(), 1, "{address} is answered by {owners:?}");
            for host in &lan.hosts {
                let snapshot = host.speaker.as_ref().expect("it was started").snapshot();
                let known = snapshot.owners.get(&ip(address)).map(|owner| &*owner.node);
                assert_eq!(known, Some(owners[0]), "{} on {address}", host.name);
            }
        }
        assert_eq!(owners[2], owners[3], "one group has one owner");
        assert!(last.is_empty() || last == owners, "it moved in a calm");
        last = owners;
        lan.run_ms(100);
    }
}
