//! What MetalLB does with a Service, row by row, through `landfall plan`. The sections are those of MetalLB's behaviour as
//! it was observed (`reference/metallb.md`): §1.9 verdicts, §2 Services, §3 allocator, §4.1 election. Where Landfall differs
//! on purpose, the row says so.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod additions;
mod answers;
mod changes;
mod election;
mod families;
mod handled;
mod order;
mod requests;
mod service;
mod sharing;
#[path = "../../../kubernetes/tests/verdicts/rows/mod.rs"]
mod verdicts;

use self::answers::Outcome;

use std::{
    collections::BTreeSet,
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

/// Manifests, and what becomes of them.
pub(crate) struct Row {
    /// Section and case.
    what: &'static str,
    flags: &'static [&'static str],
    objects: Vec<Value>,
    expected: Vec<&'static str>,
}

/// A row whose lines are those of [`services`], or of [`owners`].
pub(crate) fn row<const N: usize>(
    what: &'static str,
    objects: Vec<Value>,
    expected: [&'static str; N],
) -> Row {
    Row { what, flags: &[], objects, expected: expected.to_vec() }
}

impl Row {
    pub(crate) fn with(self, flags: &'static [&'static str]) -> Self {
        Self { flags, ..self }
    }
}

/// Runs each row and compares the lines that `read` makes of the answer. Feeding the answer back must change nothing.
pub(crate) fn check(rows: Vec<Row>, read: impl Fn(&Value) -> Vec<String>) {
    let mut wrong = Vec::new();
    for Row { what, flags, mut objects, expected } in rows {
        let answer = plan(&objects, flags);
        let lines = read(&answer);
        if lines != expected {
            wrong.push(format!("{what}\n  expected {expected:#?}\n  and it is {lines:#?}"));
        }
        for service in answer["services"].as_array().into_iter().flatten() {
            feed(&mut objects, service);
        }
        let again = plan(&objects, flags);
        let moved =
            again["services"].as_array().into_iter().flatten().filter(|service| service["changed"] == true);
        wrong.extend(moved.map(|service| format!("{what}\n  the answer is no end: {service}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What `landfall plan` answers about these objects.
pub(crate) fn plan(objects: &[Value], flags: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
    command.args(["plan", "-f", "-", "-o", "json"]).args(flags);
    command
        .env_remove("LANDFALL_NAMESPACE")
        .env_remove("LANDFALL_LB_CLASS")
        .env_remove("LANDFALL_HANDLE_UNCLASSED");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string();
    child.stdin.take().expect("a pipe").write_all(list.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// A line for each Service: name, addresses, pool, reason, events; `=` before it where nothing changes, and after it the
/// pools that would not serve one that waits.
pub(crate) fn services(answer: &Value) -> Vec<String> {
    let services = answer["services"].as_array().into_iter().flatten();
    services
        .map(|service| {
            let text = |field: &str| service[field].as_str().unwrap_or("-").to_owned();
            let same = if service["changed"] == false { "=" } else { "" };
            let addresses = joined(&service["addresses"], |one| one.as_str().map(str::to_owned));
            let addresses = if addresses.is_empty() { "-".to_owned() } else { addresses };
            let mut line = format!("{same}{} {addresses} {} {}", text("name"), text("pool"), text("reason"));
            let events = joined(&service["events"], |one| one.as_str().map(str::to_owned));
            let rejected = joined(&service["rejected"], |one| {
                Some(format!("{}:{}", one["pool"].as_str()?, one["reason"].as_str()?))
            });
            let rejected = if service["pool"].is_null() { rejected } else { String::new() };
            for (mark, words) in [(" ", events), (" !", rejected)] {
                if !words.is_empty() {
                    line.push_str(mark);
                    line.push_str(&words);
                }
            }
            line
        })
        .collect()
}

/// A line for each address of each Service: name, address, owner, then the other nodes with their reasons.
pub(crate) fn owners(answer: &Value) -> Vec<String> {
    let owners = answer["layer2"].as_array().into_iter().flatten();
    owners
        .map(|one| {
            let text = |field: &str| one[field].as_str().unwrap_or("-").to_owned();
            let candidates = joined(&one["candidates"], |candidate| {
                let (node, reason) = (candidate["node"].as_str()?, candidate["reason"].as_str()?);
                (reason != "Owner").then(|| format!("{node}:{reason}"))
            });
            format!("{} {} {} {candidates}", text("name"), text("address"), text("owner"))
                .trim_end()
                .to_owned()
        })
        .collect()
}

fn joined(list: &Value, text: impl Fn(&Value) -> Option<String>) -> String {
    list.as_array().into_iter().flatten().filter_map(text).collect::<Vec<_>>().join(",")
}

/// Makes the answer about a Service its status.
fn feed(objects: &mut [Value], service: &Value) {
    let object = objects.iter_mut().find(|object| {
        object["kind"] == "Service"
            && object["metadata"]["name"] == service["name"]
            && object["metadata"]["namespace"] == service["namespace"]
    });
    let Some(object) = object.filter(|_| service["changed"] == true) else { return };
    let addresses = service["addresses"].as_array().into_iter().flatten();
    let ingress: Vec<Value> = addresses.map(|ip| json!({ "ip": ip })).collect();
    object["status"] = json!({ "loadBalancer": { "ingress": ingress } });
    object["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"] = service["pool"].clone();
    if service["pool"].is_null()
        && let Some(annotations) = object["metadata"]["annotations"].as_object_mut()
    {
        annotations.remove("metallb.io/ip-allocated-from-pool");
    }
}

/// Verdicts that differ on purpose; `kubernetes/tests/verdicts/deliberate.rs` says why.
const DELIBERATE: &[&str] = &[
    "BGPAdvertisement: asPathPrepend 0",
    "BGPAdvertisement: asPathPrepend 11",
    "BGPPeer: a higher port",
    "BGPPeer: localASN 0",
    "asPathPrepend: no Node is known",
    "communities: a name like a value",
    "lengths: 0 and no pool",
    "lengths: IPv4 in IPv6",
    "lengths: IPv6 -1 and no pool with IPv6",
    "localPref: no Node is known",
    "preferredNodeSelectors: a value twice",
    "preferredNodeSelectors: weight 0",
    "preferredNodeSelectors: weight 101",
    "serviceAllocation: a large priority",
    "timers: a keepalive below 0",
    "timers: connectTime 0",
    "timers: connectTime with a fraction",
    "two peers: an interface like another and its VRF",
    "two peers: one address in two forms",
    "two peers: one router id in two forms",
    "two pools: overlap, one in the form of IPv6",
    "v1beta1: keepalive alone",
];

#[test]
fn verdicts() {
    let mut wrong = Vec::new();
    let mut different = BTreeSet::new();
    for row in verdicts::all() {
        for mode in row.modes {
            let answer = plan(&row.objects, &["--mode", mode.as_str()]);
            let config = &answer["config"];
            let errors = config["errors"].as_array().map_or(0, Vec::len);
            let verdict = match (config["valid"] == true, errors) {
                (true, 0) => Outcome::Accepted,
                (true, _) => Outcome::Transient,
                (false, _) => Outcome::Refused,
            };
            if verdict == row.expected {
                continue;
            }
            if let Some(known) = DELIBERATE.iter().find(|known| **known == row.what) {
                different.insert(*known);
                continue;
            }
            let what = row.what.as_str();
            wrong.push(format!(
                "{what} ({mode}): {:?} by MetalLB, and here {verdict:?}: {config}",
                row.expected
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(different.into_iter().collect::<Vec<_>>(), DELIBERATE, "one of them is no difference");
}
