//! What the LAN promises, on the real kernel.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use landfall_lan::{Error, Host, HostSpec, Lan, PodSpec, Subnets};

/// Sends `count` datagrams from one host to an address of another and counts those that arrive.
fn arrivals(from: &Host, to: &Host, address: IpAddr, count: usize) -> usize {
    let socket = to.within(|| UdpSocket::bind((address, 0))).unwrap().unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let target = socket.local_addr().unwrap();
    let any: SocketAddr = match address {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let sender = from.within(move || UdpSocket::bind(any)).unwrap().unwrap();
    let mut buffer = [0; 16];
    let mut arrived = 0;
    for _ in 0..count {
        // A host without carrier refuses to send; that counts as lost.
        drop(sender.send_to(b"hello", target));
    }
    while arrived < count && socket.recv(&mut buffer).is_ok() {
        arrived += 1;
    }
    arrived
}

fn hears(from: &Host, to: &Host) -> bool {
    arrivals(from, to, to.ipv4().unwrap().into(), 1) == 1
}

fn namespaces(lan: &str) -> Vec<String> {
    let entries = fs::read_dir("/run/netns").map(|e| e.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let names = entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(&format!("lf-{lan}."))).collect()
}

/// Nothing of this LAN is on the machine.
fn is_gone(lan: &str) -> bool {
    namespaces(lan).is_empty()
        && !Path::new(&format!("/run/landfall-lan/{lan}")).exists()
        && !Path::new(&format!("/run/landfall-lan/{lan}.lock")).exists()
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "still not: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_running(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}/ns/net")).exists() && fs::read_link(format!("/proc/{pid}/exe")).is_ok()
}

#[test]
#[ignore = "needs root and iproute2"]
fn hosts_hear_each_other_and_faults_do_what_they_say() {
    let lan = Lan::create(&Lan::unique_name("faults"), Subnets::default()).unwrap();
    let one = lan.add_host(HostSpec::new("n1", 11)).unwrap();
    let two = lan.add_host(HostSpec::new("n2", 12)).unwrap();
    let three = lan.add_host(HostSpec::new("n3", 13)).unwrap();
    assert!(hears(&one, &two));
    assert_eq!(arrivals(&one, &two, two.ipv6().unwrap().into(), 1), 1, "IPv6 works at once");

    one.cut().unwrap();
    assert!(!hears(&one, &two) && !hears(&two, &one));
    let carrier = one.command("cat").arg("/proc/net/dev").output().unwrap();
    assert!(String::from_utf8_lossy(&carrier.stdout).contains("eth0"));
    one.heal().unwrap();
    assert!(hears(&one, &two));

    two.link_down().unwrap();
    assert!(!hears(&one, &two));
    two.link_up().unwrap();
    assert!(hears(&one, &two), "at once");

    lan.cut_between(&one, &two).unwrap();
    assert!(!hears(&one, &two) && !hears(&two, &one), "cut apart");
    assert!(hears(&one, &three) && hears(&three, &two), "everybody else still hears both");
    lan.join(&two, &one).unwrap();
    assert!(hears(&one, &two));

    lan.cut_one_way(&one, &two).unwrap();
    three.drop_share(0).unwrap();
    assert!(!hears(&one, &two));
    one.heal().unwrap();

    // The neighbour entries exist by now, so only the datagrams themselves are subject to loss.
    assert!(hears(&one, &three));
    three.drop_share(500).unwrap();
    let arrived = arrivals(&one, &three, three.ipv4().unwrap().into(), 400);
    assert!((100..300).contains(&arrived), "half of 400 should arrive, {arrived} did");
    three.heal().unwrap();
    assert_eq!(arrivals(&one, &three, three.ipv4().unwrap().into(), 100), 100);
    lan.teardown().unwrap();
}

#[test]
#[ignore = "needs root and iproute2"]
fn pods_are_reached_through_their_node() {
    let lan = Lan::create(&Lan::unique_name("pods"), Subnets::default()).unwrap();
    let node = lan.add_host(HostSpec::new("n1", 11).forwarding()).unwrap();
    let client = lan.add_host(HostSpec::new("c1", 100)).unwrap();
    let addresses: [IpAddr; 2] = ["10.244.1.5".parse().unwrap(), "fd77:244:1::5".parse().unwrap()];
    let pod = node.add_pod(PodSpec::new("shop-web-0", addresses)).unwrap();
    client.add_route("10.244.1.0/24".parse().unwrap(), node.ipv4().unwrap().into()).unwrap();
    client.add_route("fd77:244:1::/64".parse().unwrap(), node.ipv6().unwrap().into()).unwrap();
    for address in addresses {
        assert_eq!(arrivals(&client, &pod, address, 1), 1, "{address} from the client");
        assert_eq!(arrivals(&node, &pod, address, 1), 1, "{address} from the node");
    }
    let sibling = node.add_pod(PodSpec::new("shop-web-1", ["10.244.1.6".parse().unwrap()])).unwrap();
    assert_eq!(arrivals(&sibling, &pod, addresses[0], 1), 1, "from pod to pod");
    assert_eq!(node.pods().unwrap().len(), 2);
    assert!(matches!(pod.cut(), Err(Error::NoPort(_))));

    pod.remove().unwrap();
    let again = node.add_pod(PodSpec::new("shop-web-0", addresses)).unwrap();
    assert_eq!(arrivals(&client, &again, addresses[0], 1), 1, "the same name and address at once");
    lan.teardown().unwrap();
}

#[test]
#[ignore = "needs root and iproute2"]
fn processes_run_inside_and_end_with_the_lan() {
    let name = Lan::unique_name("processes");
    let lan = Lan::create(&name, Subnets::default()).unwrap();
    let host = lan.add_host(HostSpec::new("n1", 11)).unwrap();
    let listed = host.command("ip").args(["-4", "-brief", "address", "show", "eth0"]).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("10.77.0.11/24"));

    let mut sleeper = host.command("sh");
    sleeper.args(["-c", "sleep 1000 & sleep 1000"]);
    // Started from a thread that ends at once: it must live on.
    let process = std::thread::scope(|scope| scope.spawn(|| host.spawn(sleeper)).join().unwrap()).unwrap();
    assert!(process.try_wait().unwrap().is_none());
    let mut detached = host.command("setsid");
    detached.args(["--fork", "sleep", "1000"]).stdin(Stdio::null()).stdout(Stdio::null());
    assert!(detached.status().unwrap().success());

    let mut stray = Command::new("sleep");
    stray.arg("1000");
    assert!(matches!(host.spawn(stray), Err(Error::WrongNamespace { .. })));

    assert!(fs::write(lan.state_directory().join("file"), "x").is_ok());
    lan.teardown().unwrap();
    assert!(is_gone(&name));
    assert!(process.try_wait().unwrap().is_some());
    assert!(matches!(host.spawn(host.command("true")), Err(Error::Gone(_))));
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_paused_process_does_nothing() {
    let lan = Lan::create(&Lan::unique_name("pause"), Subnets::default()).unwrap();
    let host = lan.add_host(HostSpec::new("n1", 11)).unwrap();
    let file = lan.state_directory().join("count");
    let mut counter = host.command("sh");
    counter.args(["-c", "while true; do echo >> \"$0\"; done"]).arg(&file);
    let process = host.spawn(counter).unwrap();
    let size = || fs::metadata(&file).map_or(0, |file| file.len());
    until("it counts", || size() > 0);
    process.pause().unwrap();
    let paused = size();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(size(), paused);
    process.signal(nix::sys::signal::Signal::SIGCONT).unwrap();
    until("it counts again", || size() > paused);
    assert!(!process.kill().unwrap().success());
    process.pause().unwrap();
    lan.teardown().unwrap();
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_panic_removes_everything() {
    let name = Lan::unique_name("panic");
    let lan = Lan::create(&name, Subnets::default()).unwrap();
    let panicked = std::panic::catch_unwind(move || {
        let host = lan.add_host(HostSpec::new("n1", 11)).unwrap();
        let mut sleeper = host.command("sleep");
        sleeper.arg("1000");
        host.spawn(sleeper).unwrap();
        panic!("as a failing test does");
    });
    assert!(panicked.is_err());
    assert!(is_gone(&name));
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_name_in_use_is_refused_and_a_duplicate_host_too() {
    let name = Lan::unique_name("busy");
    let lan = Lan::create(&name, Subnets::default()).unwrap();
    assert!(matches!(Lan::create(&name, Subnets::default()), Err(Error::InUse { .. })));
    assert_eq!(Lan::sweep(&name).unwrap(), Vec::<String>::new(), "a LAN in use is not swept");
    lan.add_host(HostSpec::new("n1", 11)).unwrap();
    assert!(matches!(lan.add_host(HostSpec::new("n1", 12)), Err(Error::HostExists(_))));
    assert!(matches!(lan.add_host(HostSpec::new("n2", 11)), Err(Error::HostExists(_))));
    lan.teardown().unwrap();
    assert!(is_gone(&name));
}

/// The process that the next two tests kill: this test binary again, which makes a LAN and waits for its end.
#[test]
#[ignore = "needs root and iproute2"]
fn victim() {
    let Ok(name) = std::env::var("LANDFALL_LAN_VICTIM") else { return };
    let lan = Lan::create(&name, Subnets::default()).unwrap();
    let host = lan.add_host(HostSpec::new("n1", 11)).unwrap();
    let mut sleeper = host.command("sleep");
    sleeper.arg("1000");
    let process = host.spawn(sleeper).unwrap();
    let mut detached = host.command("setsid");
    detached
        .args(["--fork", "sleep", "1000"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    assert!(detached.status().unwrap().success());
    fs::write(lan.state_directory().join("file"), "x").unwrap();
    println!("\nvictim ready {}", process.pid());
    loop {
        std::thread::park();
    }
}

/// Removes what is left of a LAN whose guard a test has killed, also when that test fails.
struct Sweeper(String);

impl Drop for Sweeper {
    fn drop(&mut self) {
        let guard_is_dead = || Lan::sweep(&self.0).is_ok_and(|_| is_gone(&self.0));
        until("the leftovers are gone", guard_is_dead);
    }
}

/// Starts the victim and returns it with the process id of what runs inside its LAN.
fn start_victim(name: &str) -> (std::process::Child, u32) {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--include-ignored", "--nocapture"])
        .env("LANDFALL_LAN_VICTIM", name)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let inside = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("victim ready ").and_then(|pid| pid.parse().ok()))
        .expect("the victim says that it is ready");
    (victim, inside)
}

#[test]
#[ignore = "needs root and iproute2"]
fn the_guard_removes_what_a_killed_process_left() {
    let name = Lan::unique_name("guard");
    let (mut victim, inside) = start_victim(&name);
    assert!(!is_gone(&name) && is_running(inside));
    victim.kill().unwrap();
    victim.wait().unwrap();
    until("everything is gone", || is_gone(&name) && !is_running(inside));
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_name_is_free_again_and_a_sweep_removes_what_even_the_guard_left() {
    let name = Lan::unique_name("sweep");
    let _sweeper = Sweeper(name.clone());
    let (mut victim, inside) = start_victim(&name);
    let guard = guard_of(victim.id());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(guard), nix::sys::signal::Signal::SIGKILL).unwrap();
    victim.kill().unwrap();
    victim.wait().unwrap();
    until("the process inside died with its parent", || !is_running(inside));
    until("the guard, which holds the name too, is dead", || !is_running(guard.cast_unsigned()));
    assert_eq!(namespaces(&name).len(), 2, "nobody has cleaned up");
    assert_eq!(Lan::sweep(&name).unwrap(), vec![name.clone()]);
    assert!(is_gone(&name));
    Lan::create(&name, Subnets::default()).unwrap().teardown().unwrap();
    assert!(is_gone(&name));
}

/// The guard is the only `sh` among the children of a LAN's owner.
fn guard_of(owner: u32) -> i32 {
    let children = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
        let parent: u32 = rest.split(' ').nth(1)?.parse().ok()?;
        (parent == owner && name == "sh").then_some(pid)
    });
    children.last().expect("the owner has a guard")
}
