use std::{collections::BTreeMap, fs, path::Path};

use crate::graph::Graph;

/// Row and purity of every crate. A crate uses lower rows only.
const CRATES: &[(&str, u8, Purity)] = &[
    ("landfall-model", 1, Purity::Pure),
    ("landfall-pool", 2, Purity::Pure),
    ("landfall-aws-plan", 2, Purity::Pure),
    ("landfall-verdict", 2, Purity::Pure),
    ("landfall-plan", 3, Purity::Pure),
    ("landfall-engine", 3, Purity::Pure),
    ("landfall-kubernetes", 4, Purity::Io),
    ("landfall-lan", 4, Purity::Io),
    ("landfall-probes", 4, Purity::Io),
    ("landfall-admission", 5, Purity::Io),
    ("landfall-aws", 5, Purity::Io),
    ("landfall-speaker", 5, Purity::Io),
    ("landfall-controller", 6, Purity::Io),
    ("landfall", 7, Purity::Io),
    ("landfall-aws-double", 8, Purity::Io),
    ("landfall-testbed", 8, Purity::Io),
    ("landfall-e2e", 9, Purity::Io),
    ("landfall-bench", 10, Purity::Io),
    ("landfall-fuzz", 10, Purity::Io),
    ("landfall-simulation", 10, Purity::Io),
    ("landfall-structure", 10, Purity::Io),
];

/// What a pure crate must not reach: runtimes, sockets, clocks, entropy, the environment, Kubernetes clients.
const FORBIDDEN: &[&str] = &[
    "async-io",
    "async-std",
    "chrono",
    "getrandom",
    "hyper",
    "inotify",
    "jiff",
    "k8s-openapi",
    "kube",
    "kube-client",
    "kube-core",
    "kube-runtime",
    "mio",
    "netlink-sys",
    "nix",
    "pnet_datalink",
    "pnet_sys",
    "pnet_transport",
    "polling",
    "rand",
    "rand_core",
    "reqwest",
    "rtnetlink",
    "rustix",
    "rustls",
    "smol",
    "socket2",
    "time",
    "tokio",
    "tokio-util",
    "tracing-subscriber",
];

/// The file of bans that lies in every pure crate, seen from the crate's folder.
const BANS: &str = "clippy.toml";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purity {
    Pure,
    Io,
}

/// Every fault of the workspace's shape, as a sentence that names the crate, the rule and the way out.
pub(crate) fn faults(graph: &Graph) -> Vec<String> {
    let crates: BTreeMap<&str, (u8, Purity)> =
        CRATES.iter().map(|(name, row, purity)| (*name, (*row, *purity))).collect();
    let mut faults = Vec::new();
    let mut bans: Option<String> = None;
    for (name, folder) in graph.members() {
        let Some(&(row, purity)) = crates.get(name) else {
            faults.push(format!("{name} has no row: add it to the table in tests/structure"));
            continue;
        };
        for dep in graph.direct(name) {
            match crates.get(dep) {
                Some(&(lower, _)) if lower < row => {}
                Some(&(other, _)) => faults.push(format!(
                    "{name} (row {row}) uses {dep} (row {other}): a crate uses lower rows only"
                )),
                None => {}
            }
        }
        if purity == Purity::Pure {
            faults.extend(impure(graph, name));
            faults.extend(missing_bans(name, folder, &mut bans));
        }
    }
    faults
}

fn impure(graph: &Graph, name: &str) -> Vec<String> {
    let reached = graph.reached(name);
    FORBIDDEN
        .iter()
        .filter_map(|forbidden| {
            let through = reached.get(forbidden)?;
            Some(format!("{name} is pure and reaches {forbidden} through {through}: see cargo tree -p {name} -i {forbidden}"))
        })
        .collect()
}

/// The bans of all pure crates are one text; the first crate's is the measure.
fn missing_bans(name: &str, folder: &Path, bans: &mut Option<String>) -> Option<String> {
    let Ok(text) = fs::read_to_string(folder.join(BANS)) else {
        return Some(format!("{name} is pure and has no {BANS} with the bans: copy it from model"));
    };
    match bans {
        None => {
            let banned =
                ["std::time::Instant", "std::env::var", "std::fs::read"].iter().all(|ban| text.contains(ban));
            *bans = Some(text);
            (!banned).then(|| format!("the {BANS} of {name} bans neither clock nor environment nor files"))
        }
        Some(first) => {
            (*first != text).then(|| format!("the {BANS} of {name} differs from those of other pure crates"))
        }
    }
}
