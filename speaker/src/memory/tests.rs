use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use landfall_kubernetes::source::{self, Directory, Source};
use landfall_model::{NodeView, Observation, ServiceKey};
use serde_json::value::{RawValue, to_raw_value};
use tempfile::TempDir;
use tokio::time::timeout;

use super::{Memory, MemoryError, Place, remembered};

const SOON: Duration = Duration::from_secs(10);

fn node(name: &str) -> Observation {
    let labels = [("zone".to_owned(), "a".to_owned())].into();
    let view = NodeView { name: name.into(), labels, ready: true, ..NodeView::default() };
    Observation::Node(name.into(), Some(Box::new(view)))
}

fn facts(memory: &Memory) -> Vec<Observation> {
    memory.facts(&BTreeSet::new()).unwrap()
}

fn keep(memory: &Memory, observations: &[Observation]) {
    let changes = observations
        .iter()
        .map(|observation| {
            let value = (!observation.is_gone()).then(|| to_raw_value(observation).unwrap());
            (observation.object().unwrap().to_string(), value)
        })
        .collect();
    memory.keep(&changes).unwrap();
}

#[test]
fn facts_outlive_the_process_and_a_deletion_forgets_them() {
    let directory = TempDir::new().unwrap();
    let memory = Memory::open(directory.path()).unwrap();
    assert_eq!(facts(&memory), []);
    keep(&memory, &[node("n1"), node("n2")]);
    drop(memory);

    let memory = Memory::open(directory.path()).unwrap();
    assert_eq!(facts(&memory), [node("n1"), node("n2")]);
    assert_eq!(memory.facts(&BTreeSet::from(["Node n1".to_owned()])).unwrap(), [node("n2")]);
    keep(&memory, &[node("n1").gone()]);
    assert_eq!(facts(&memory), [node("n2")]);
}

#[test]
fn every_start_has_a_higher_number_also_when_the_clock_went_back() {
    let directory = TempDir::new().unwrap();
    let first = Memory::open(directory.path()).unwrap().next_boot().unwrap();
    let second = Memory::open(directory.path()).unwrap().next_boot().unwrap();
    assert!(second > first, "{first} {second}: two starts within a second");
}

#[test]
fn facts_of_another_cluster_are_forgotten() {
    let directory = TempDir::new().unwrap();
    let memory = Memory::open(directory.path()).unwrap();
    let place = |cluster: &str, address: &str| Place {
        cluster_id: cluster.to_owned(),
        address: Some(address.parse().unwrap()),
    };
    assert_eq!(memory.place().unwrap(), None);
    memory.set_place(&place("one", "192.0.2.1")).unwrap();
    keep(&memory, &[node("n1")]);
    memory.set_place(&place("one", "192.0.2.2")).unwrap();
    assert_eq!(facts(&memory).len(), 1, "the node has another address");
    memory.set_place(&place("two", "192.0.2.2")).unwrap();
    assert_eq!(memory.place().unwrap(), Some(place("two", "192.0.2.2")));
    assert_eq!(facts(&memory), []);
}

#[test]
fn lines_that_are_no_facts_are_left_out() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("facts.jsonl");
    fs::write(&file, [&b"\xff\x00\n{}\n\n"[..], &b"no memory at all ".repeat(1_000)].concat()).unwrap();
    let memory = Memory::open(directory.path()).unwrap();
    assert_eq!(facts(&memory), []);
    keep(&memory, &[node("n1")]);
    assert_eq!(facts(&memory), [node("n1")]);
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 1);
}

#[test]
fn what_a_crash_cut_off_costs_one_fact_and_not_those_that_follow() {
    let directory = TempDir::new().unwrap();
    let memory = Memory::open(directory.path()).unwrap();
    let nodes: Vec<Observation> = (0..50).map(|number| node(&format!("n{number:03}"))).collect();
    keep(&memory, &nodes);
    drop(memory);
    let file = directory.path().join("facts.jsonl");
    let whole = fs::read(&file).unwrap();
    for part in (0..whole.len()).step_by(97) {
        fs::write(&file, &whole[..part]).unwrap();
        let memory = Memory::open(directory.path()).unwrap();
        let found = facts(&memory);
        assert_eq!(found, nodes[..found.len()], "{part} bytes of {}", whole.len());
        let lines = whole[..part].iter().filter(|byte| **byte == b'\n').count();
        // The line is whole but for its end.
        assert!((lines..=lines + 1).contains(&found.len()), "{} of {lines}", found.len());
        keep(&memory, &[node("later")]);
        assert_eq!(facts(&memory).len(), found.len() + 1);
    }
}

#[test]
fn the_file_does_not_grow_with_the_number_of_changes() {
    let directory = TempDir::new().unwrap();
    let memory = Memory::open(directory.path()).unwrap();
    let nodes: Vec<Observation> = (0..2_000).map(|number| node(&format!("n{number:04}"))).collect();
    let mut largest = 0;
    for _ in 0..20 {
        keep(&memory, &nodes);
        largest = largest.max(fs::metadata(directory.path().join("facts.jsonl")).unwrap().len());
    }
    let lines = fs::read_to_string(directory.path().join("facts.jsonl")).unwrap().lines().count();
    assert!(lines < 4 * nodes.len() && largest < 2 << 20, "{lines} lines, {largest} bytes");
    assert_eq!(facts(&memory), nodes);
}

#[test]
fn a_fact_of_another_version_is_left_out() {
    let directory = TempDir::new().unwrap();
    let memory = Memory::open(directory.path()).unwrap();
    keep(&memory, &[node("n1")]);
    let strange = RawValue::from_string("{\"Machine\":1}".to_owned()).unwrap();
    memory.keep(&[("Node n2".to_owned(), Some(strange))].into()).unwrap();
    assert_eq!(facts(&memory), [node("n1")]);
}

#[test]
fn nothing_is_left_of_a_removed_memory_but_what_others_put_there() {
    let directory = TempDir::new().unwrap();
    let state = directory.path().join("state");
    Memory::remove(&state).unwrap();
    fs::create_dir(&state).unwrap();
    Memory::open(&state).unwrap().next_boot().unwrap();
    fs::write(state.join("facts.new"), "half").unwrap();
    assert_eq!(fs::read_dir(&state).unwrap().count(), 3);
    Memory::remove(&state).unwrap();
    assert!(!state.exists());

    drop(Memory::open(&state).unwrap());
    fs::write(state.join("other"), "").unwrap();
    Memory::remove(&state).unwrap();
    let left: Vec<_> = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["other"]);
}

#[test]
fn two_speakers_do_not_share_a_directory() {
    let directory = TempDir::new().unwrap();
    let _held = Memory::open(directory.path()).unwrap();
    let error = Memory::open(directory.path()).unwrap_err();
    assert!(matches!(&error, MemoryError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("--state-dir"), "{error}");
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    let error = Memory::open(&directory.path().join("file/inside")).unwrap_err().to_string();
    assert!(error.contains("file/inside") && error.contains("--state-dir"), "{error}");
}

/// A source of two nodes and a Service, read from `directory`.
fn manifests(directory: &Path, nodes: &[&str]) {
    let text: Vec<String> = nodes
        .iter()
        .map(|name| format!("apiVersion: v1\nkind: Node\nmetadata: {{ name: {name} }}\n"))
        .collect();
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("nodes.yaml"), text.join("---\n")).unwrap();
}

/// All that is said up to `Synced`.
async fn until_synced(source: &mut Source) -> Vec<Observation> {
    let mut said = Vec::new();
    while said.last() != Some(&Observation::Synced) {
        said.push(timeout(SOON, source.next()).await.expect("Synced comes").expect("the source lives"));
    }
    said
}

/// A source that never says anything, as if the API server were away.
fn silent(directory: &Path) -> Source {
    manifests(directory, &[]);
    source::files(Directory::new(directory)).unwrap().through(|source, sender| async move {
        let _kept = (source, sender);
        std::future::pending().await
    })
}

fn names(observations: &[Observation]) -> Vec<String> {
    observations
        .iter()
        .map(|observation| {
            let gone = if observation.is_gone() { "no " } else { "" };
            observation.object().map_or_else(|| "Synced".to_owned(), |object| format!("{gone}{object}"))
        })
        .collect()
}

#[tokio::test]
async fn what_was_seen_is_served_while_the_server_is_away_and_corrected_when_it_is_back() {
    let place = TempDir::new().unwrap();
    let (live, state) = (place.path().join("live"), place.path().join("state"));
    let memory = Memory::open(&state).unwrap();
    manifests(&live, &["n1", "n2"]);
    let mut source =
        remembered(source::files(Directory::new(&live)).unwrap(), memory.clone(), Duration::from_secs(3600));
    assert_eq!(names(&until_synced(&mut source).await), ["Node n1", "Node n2", "Synced"]);
    until(|| facts(&memory).len() == 2).await;
    drop(source);

    // Away: memory stands in.
    let mut source = remembered(silent(&place.path().join("away")), memory.clone(), Duration::ZERO);
    assert_eq!(names(&until_synced(&mut source).await), ["Node n1", "Node n2", "Synced"]);
    drop(source);

    // Back, with another node: what is gone is said, before `Synced`, and forgotten.
    manifests(&live, &["n2", "n3"]);
    let mut source =
        remembered(source::files(Directory::new(&live)).unwrap(), memory.clone(), Duration::from_secs(3600));
    assert_eq!(names(&until_synced(&mut source).await), ["Node n2", "Node n3", "no Node n1", "Synced"]);
    until(|| names(&facts(&memory)) == ["Node n2", "Node n3"]).await;
}

#[tokio::test]
async fn a_server_that_comes_back_late_is_listened_to() {
    let place = TempDir::new().unwrap();
    let memory = Memory::open(&place.path().join("state")).unwrap();
    keep(&memory, &[node("n1"), node("n2")]);
    let live = place.path().join("live");
    manifests(&live, &["n2"]);
    let (open, opened) = tokio::sync::oneshot::channel::<()>();
    let late = source::files(Directory::new(&live)).unwrap().through(|mut source, sender| async move {
        let _ = opened.await;
        while let Some(observation) = source.next().await {
            if sender.send(observation).await.is_err() {
                return;
            }
        }
    });
    let mut source = remembered(late, memory, Duration::from_millis(50));
    assert_eq!(names(&until_synced(&mut source).await), ["Node n1", "Node n2", "Synced"]);
    open.send(()).unwrap();
    assert_eq!(names(&until_synced(&mut source).await), ["Node n2", "no Node n1", "Synced"]);
}

#[tokio::test]
async fn a_memory_of_nothing_does_not_stand_in() {
    let place = TempDir::new().unwrap();
    let memory = Memory::open(&place.path().join("state")).unwrap();
    let mut source = remembered(silent(&place.path().join("away")), memory, Duration::ZERO);
    let said = timeout(Duration::from_millis(300), source.next()).await;
    assert!(said.is_err(), "{said:?}: without facts nothing may be decided");
}

async fn until(condition: impl Fn() -> bool) {
    let waited = timeout(SOON, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("in time");
}

#[test]
fn a_service_is_remembered_whole() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: { name: web, namespace: shop, uid: u1, labels: { a: b } }\n\
        spec: { type: LoadBalancer, clusterIPs: [10.0.0.1], ports: [{ port: 80, nodePort: 30080 }] }\n\
        status: { loadBalancer: { ingress: [{ ip: 192.0.2.7, ipMode: Proxy }, { hostname: x.example }] } }\n";
    let place = TempDir::new().unwrap();
    fs::write(place.path().join("web.yaml"), text).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let said = runtime
        .block_on(async { until_synced(&mut source::files(Directory::new(place.path())).unwrap()).await });
    let web = Observation::Service(ServiceKey::new("shop", "web"), None).object();
    let service = said.iter().find(|said| said.object() == web).expect("the Service");
    let memory = Memory::open(&place.path().join("state")).unwrap();
    keep(&memory, std::slice::from_ref(service));
    assert_eq!(facts(&memory), std::slice::from_ref(service));
}
