//! What the speaker's shell does with a real kernel: on hosts of a LAN of network namespaces.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod bridges;
mod forwarding;
mod links;
mod processes;
mod relays;
mod rivals;
mod speakers;
mod wire;

use std::{future::Future, process::Output, time::Duration};

use landfall_lan::{Host, HostSpec, Lan, Subnets};

/// A LAN with hosts of these names; the first has number 1. The ones that begin with `n` forward packets.
fn lan<const N: usize>(names: [&str; N]) -> (Lan, [Host; N]) {
    let lan = Lan::create(&Lan::unique_name("speaker"), Subnets::default()).unwrap();
    let mut number = 0;
    let hosts = names.map(|name| {
        number += 1;
        let spec = HostSpec::new(name, number);
        lan.add_host(if name.starts_with('n') { spec.forwarding() } else { spec }).unwrap()
    });
    (lan, hosts)
}

/// Runs `work` inside the host, on a runtime of its own, with a limit of 20 s.
fn on<T: Send, F: Future<Output = T>>(host: &Host, work: impl FnOnce() -> F + Send) -> T {
    let limited = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), work()).await.unwrap() })
    };
    host.within(limited).unwrap()
}

/// Runs a command inside the host and returns what it printed; it must succeed.
fn run(host: &Host, command: &str) -> String {
    let mut words = command.split(' ');
    let Output { status, stdout, stderr } = host.command(words.next().unwrap()).args(words).output().unwrap();
    assert!(status.success(), "{command}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}
