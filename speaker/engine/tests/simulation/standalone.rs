//! Machines without an API server come to the same addresses, and one of them decides.

use landfall_model::{IpMode, ServiceView};

use crate::{
    lan::Lan,
    objects::{ip, key, see_slice, service, slice},
};

const NAMES: [&str; 3] = ["elm", "fir", "oak"];

/// Three machines with the same files: Services `web` and `dns` that have no address yet.
fn machines(seed: u64) -> Lan {
    let mut lan = Lan::standalone(&NAMES, seed);
    for index in 0..NAMES.len() {
        lan.write(index, fresh("web"));
        lan.write(index, fresh("dns"));
    }
    lan.see(see_slice(slice("web", &["elm", "fir", "oak"])));
    lan.see(see_slice(slice("dns", &["elm", "fir", "oak"])));
    lan.run_ms(3_000);
    lan
}

fn fresh(name: &str) -> ServiceView {
    ServiceView { resource_version: "0".into(), ..service(name, &[]) }
}

/// The controller of a machine decides, as its allocator would.
fn decide(lan: &mut Lan, index: usize, name: &str, address: &str) {
    assert!(lan.hosts[index].leads, "{} decides and does not lead", NAMES[index]);
    let before = &lan.hosts[index].files[&key(name)];
    let version = before.resource_version.parse::<u64>().unwrap() + 1;
    let mut view = service(name, &[address]);
    view.resource_version = version.to_string().into();
    view.requests.allocated_from = Some("lan".into());
    lan.write(index, view);
}

fn leaders(lan: &Lan) -> Vec<&'static str> {
    lan.hosts.iter().filter(|host| host.leads && host.speaker.is_some()).map(|host| host.name).collect()
}

/// What each machine's files say.
fn addresses(lan: &Lan, name: &str) -> Vec<String> {
    let of = |view: &ServiceView| view.addresses().map(|a| a.to_string()).collect::<Vec<_>>().join(",");
    lan.hosts.iter().map(|host| of(&host.files[&key(name)])).collect()
}

#[test]
fn the_first_machine_that_comes_and_goes_decides_again_once_it_stays() {
    let mut lan = machines(3);
    for wait in [1, 2, 4, 8] {
        lan.kill(0);
        lan.run_ms(2_000);
        assert_eq!(leaders(&lan), ["fir"]);
        lan.start(0);
        lan.run_ms(wait * 1_000 - 100);
        assert_eq!(leaders(&lan), ["fir"], "it has not been there for {wait} s");
        lan.run_ms(400);
        assert_eq!(leaders(&lan), ["elm"], "it was there for {wait} s");
    }
}

#[test]
fn one_machine_decides_and_all_announce_what_it_decided() {
    for seed in 0..10 {
        let mut lan = machines(seed);
        assert_eq!(leaders(&lan), ["elm"], "the first by name");
        decide(&mut lan, 0, "web", "192.0.2.1");
        lan.run_ms(500);
        assert_eq!(addresses(&lan, "web"), ["192.0.2.1"; 3]);
        assert_eq!(lan.who_has("192.0.2.1").len(), 1);
        let owner = lan.who_has("192.0.2.1")[0];
        lan.kill(lan.index(owner));
        lan.run_ms(2_000);
        assert_eq!(lan.who_has("192.0.2.1").len(), 1, "another has it too");
    }
}

#[test]
fn the_next_one_decides_when_the_first_is_gone_and_gives_way_when_it_is_back() {
    let mut lan = machines(1);
    decide(&mut lan, 0, "web", "192.0.2.1");
    lan.run_ms(500);
    lan.kill(0);
    lan.run_ms(1_000);
    assert_eq!(leaders(&lan), ["fir"]);
    decide(&mut lan, 1, "web", "192.0.2.7");
    decide(&mut lan, 1, "dns", "192.0.2.2");
    lan.run_ms(500);
    lan.start(0);
    while lan.hosts[0].files[&key("web")].addresses().next() != Some(ip("192.0.2.7")) {
        assert!(!lan.hosts[0].leads, "it decides before it knows what was decided");
        lan.run_ms(10);
    }
    lan.run_ms(3_000);
    assert_eq!(leaders(&lan), ["elm"]);
    assert_eq!(
        (addresses(&lan, "web"), addresses(&lan, "dns")),
        (vec!["192.0.2.7".into(); 3], vec!["192.0.2.2".into(); 3])
    );
}

#[test]
fn a_machine_that_lost_its_files_learns_them_from_the_others() {
    let mut lan = machines(2);
    decide(&mut lan, 0, "web", "192.0.2.1");
    lan.run_ms(500);
    lan.kill(0);
    lan.hosts[0].files = [fresh("web"), fresh("dns")].map(|view| (view.key.clone(), view)).into();
    lan.run_ms(1_000);
    lan.start(0);
    lan.run_ms(4_000);
    assert_eq!(addresses(&lan, "web"), ["192.0.2.1"; 3]);
    assert_eq!(leaders(&lan), ["elm"]);
}

#[test]
fn after_a_cut_all_follow_the_same_decision() {
    for seed in 0..10 {
        let mut lan = machines(seed);
        lan.cut(&[2]);
        lan.run_ms(2_000);
        assert_eq!(leaders(&lan), ["elm", "oak"], "one on each side");
        decide(&mut lan, 0, "web", "192.0.2.1");
        decide(&mut lan, 2, "web", "192.0.2.9");
        decide(&mut lan, 0, "dns", "192.0.2.9");
        lan.run_ms(500);
        decide(&mut lan, 2, "dns", "192.0.2.8");
        lan.run_ms(500);
        decide(&mut lan, 2, "dns", "192.0.2.7");
        lan.run_ms(500);
        lan.heal();
        lan.run_ms(4_000);
        assert_eq!(addresses(&lan, "web"), ["192.0.2.1"; 3], "as new: the lesser address");
        assert_eq!(addresses(&lan, "dns"), ["192.0.2.7"; 3], "the newer decision");
        assert_eq!(leaders(&lan), ["elm"]);
        assert_eq!(lan.who_has("192.0.2.9"), [""; 0], "given up everywhere");
    }
}

#[test]
fn a_manifest_that_comes_later_finds_the_decision_of_the_others() {
    let mut lan = machines(3);
    let late = key("late");
    lan.write(0, fresh("late"));
    lan.run_ms(200);
    decide(&mut lan, 0, "late", "192.0.2.4");
    lan.run_ms(500);
    assert!(!lan.hosts[1].files.contains_key(&late), "it is nobody's business yet");
    lan.write(1, fresh("late"));
    lan.run_ms(500);
    assert_eq!(lan.hosts[1].files[&late].addresses().next(), Some(ip("192.0.2.4")));
}

#[test]
fn with_lost_packets_they_agree_all_the_same() {
    let mut lan = machines(4);
    lan.loss = 30;
    decide(&mut lan, 0, "web", "192.0.2.1");
    lan.run_ms(3_000);
    assert_eq!(addresses(&lan, "web"), ["192.0.2.1"; 3]);
    let modes: Vec<_> = lan.hosts.iter().flat_map(|host| &host.files[&key("web")].ingress).collect();
    assert!(
        modes
            .iter()
            .all(|ingress| matches!(ingress, landfall_model::Ingress::Address { mode: IpMode::Vip, .. }))
    );
}
