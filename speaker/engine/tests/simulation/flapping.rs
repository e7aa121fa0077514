//! Nodes that come and go.

use std::time::Duration;

use landfall_model::Reason;

use crate::{
    lan::Lan,
    objects::{see_service, see_slice, service, slice},
    start::ranked,
};

const ADDRESS: &str = "192.0.2.1";

/// Takes addresses back after half a second, and has settled.
fn eager(names: &[&'static str], gateway: Option<u32>, seed: u64) -> Lan {
    let mut lan = Lan::new(names, seed);
    lan.gateway = gateway;
    lan.fail_back = Some(Duration::from_millis(500));
    for index in 0..names.len() {
        lan.kill(index);
        lan.start(index);
    }
    lan.see(see_slice(slice("web", names)));
    lan.see(see_service(service("web", &[ADDRESS])));
    lan.run_ms(4_000);
    lan
}

#[test]
fn the_best_node_that_comes_and_goes_moves_an_address_a_bounded_number_of_times() {
    for names in [&["oak", "elm", "fir"][..], &["oak", "elm"]] {
        let mut lan = eager(names, Some(0), 7);
        let best = ranked(names, ADDRESS)[0];
        let index = lan.index(best);
        let mut owners = vec![lan.who_has(ADDRESS)];
        assert_eq!(owners, [[best]]);
        for _ in 0..10 {
            lan.cut(&[index]);
            lan.run_ms(2_000);
            owners.push(lan.who_has(ADDRESS));
            lan.heal();
            lan.run_ms(2_000);
            owners.push(lan.who_has(ADDRESS));
        }
        assert!(owners.iter().all(|answers| answers.len() == 1), "{owners:?}");
        owners.dedup();
        assert!((2..=5).contains(&owners.len()), "{owners:?}");
        lan.run(Duration::from_secs(50));
        owners.push(lan.who_has(ADDRESS));
        owners.dedup();
        assert!(owners.len() <= 5, "it must be there for longer: {owners:?}");
        lan.run(Duration::from_secs(15));
        assert_eq!(lan.who_has(ADDRESS), [best], "it was there for a minute");
    }
}

/// Then each side has an owner, and which of them stays is decided by their claims each time.
#[test]
fn without_a_gateway_a_node_that_comes_and_goes_takes_nothing_back_for_being_better() {
    let names = ["oak", "elm", "fir"];
    let mut lan = eager(&names, None, 7);
    let best = ranked(&names, ADDRESS)[0];
    let index = lan.index(best);
    for _ in 0..10 {
        lan.cut(&[index]);
        lan.run_ms(2_000);
        lan.heal();
        lan.run_ms(2_000);
        assert_eq!(lan.who_has(ADDRESS).len(), 1);
    }
    let back = |reason| lan.hosts[index].moves.iter().filter(|(.., why)| *why == reason).count();
    assert!(back(Reason::BetterNode) <= 2, "{:?}", lan.hosts[index].moves);
}

#[test]
fn a_node_that_comes_and_goes_serves_when_it_is_the_only_one() {
    let names = ["oak", "elm", "fir"];
    let mut lan = eager(&names, Some(0), 8);
    let best = ranked(&names, ADDRESS)[0];
    let index = lan.index(best);
    for _ in 0..5 {
        lan.cut(&[index]);
        lan.run_ms(2_000);
        lan.heal();
        lan.run_ms(2_000);
    }
    let owner = lan.who_has(ADDRESS);
    assert_ne!(owner, [best]);
    for other in (0..names.len()).filter(|other| *other != index) {
        lan.kill(other);
    }
    lan.run_ms(1_000);
    assert_eq!(lan.who_has(ADDRESS), [best]);
}
