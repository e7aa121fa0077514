//! `landfall demo`, as a person runs it: twice, and nothing is left.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use landfall_testbed::programs::Programs;
use serde_json::Value;

/// All namespaces and files of a demo's LAN, and the command lines of its processes, have this and its process id in them.
const PREFIX: &str = "lf-demo";

/// The demo's promise (it also builds nothing and needs no cluster).
const LIMIT: Duration = Duration::from_secs(20);

#[test]
#[ignore = "needs root; make test runs it"]
fn the_demo_runs_twice_and_leaves_nothing() {
    let program = Programs::find().expect("the control plane and the binaries are built").landfall;
    let program = program.expect("landfall is built: cargo build -p landfall");
    let before = Machine::look("");
    for round in 1..=2 {
        let begun = Instant::now();
        let mut command = Command::new(&program);
        command.args(["demo", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let demo = command.spawn().expect("it starts");
        let prefix = format!("{PREFIX}-{}", demo.id());
        let output = demo.wait_with_output().expect("it ends");
        let (text, words) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "round {round} ended with {}:\n{text}\n{words}", output.status);
        assert!(begun.elapsed() < LIMIT, "round {round} took {:?}", begun.elapsed());
        let line = text.lines().last().expect("it prints something");
        check(&serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}")));
        assert!(text.lines().count() >= 5, "it tells what happens: {text}");
        eprintln!("round {round}, {:.1} s: {line}", begun.elapsed().as_secs_f64());

        let after = Machine::look(&prefix);
        assert!(after.traces.is_empty(), "round {round} left {:?}", after.traces);
        assert_eq!(after.links, before.links, "round {round} left links on the machine");
        assert_eq!(after.tables, before.tables, "round {round} left rules on the machine");
    }
}

/// The last line: `{"address","owner","requests":{"ok","failed"},"failover":{"from","to","gap_ms"}}`, nothing else.
fn check(outcome: &Value) {
    let keys = |value: &Value| -> BTreeSet<String> {
        value.as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
    };
    let named =
        |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    assert_eq!(keys(outcome), named(&["address", "owner", "requests", "failover"]), "{outcome}");
    assert_eq!(keys(&outcome["requests"]), named(&["ok", "failed"]), "{outcome}");
    assert_eq!(keys(&outcome["failover"]), named(&["from", "to", "gap_ms"]), "{outcome}");
    let address = outcome["address"].as_str().expect("an address");
    assert!(address.parse::<std::net::IpAddr>().is_ok(), "{outcome}");
    let node = |value: &Value| value.as_str().expect("a node").to_owned();
    let (owner, from, to) =
        (node(&outcome["owner"]), node(&outcome["failover"]["from"]), node(&outcome["failover"]["to"]));
    assert_eq!(owner, from, "the owner is the one that was killed");
    assert_ne!(from, to, "another node took over");
    assert!(outcome["requests"]["ok"].as_u64().is_some_and(|ok| ok >= 100), "{outcome}");
    assert!(outcome["requests"]["failed"].is_u64(), "{outcome}");
    let gap = outcome["failover"]["gap_ms"].as_u64().expect("a gap");
    assert!((1..5_000).contains(&gap), "the client saw a gap of {gap} ms");
}

/// What could be left on a machine.
struct Machine {
    /// Namespaces, files and processes of one demo.
    traces: Vec<String>,
    links: String,
    tables: String,
}

impl Machine {
    fn look(prefix: &str) -> Self {
        let mut traces = Vec::new();
        if !prefix.is_empty() {
            for folder in ["/run/netns", "/run/landfall-lan"] {
                let paths = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
                let names = paths.map(|path| path.display().to_string());
                traces.extend(names.filter(|path| path.contains(prefix)));
            }
            traces.extend(processes(prefix));
        }
        Self { traces, links: said("ip", &["-o", "link", "show"]), tables: said("nft", &["list", "tables"]) }
    }
}

/// The command lines of processes that name this; a demo's daemons read manifests from its folder.
fn processes(prefix: &str) -> Vec<String> {
    let folders = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let lines = folders.filter_map(|folder| {
        let line = fs::read(folder.join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.filter(|line| line.contains(prefix)).collect()
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    // Counters and times of other interfaces are not printed by these commands; names and indices are.
    String::from_utf8_lossy(&output.stdout).into_owned()
}
