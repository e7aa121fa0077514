#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one observation among many")]

use std::{fs, net::IpAddr, path::Path, time::Duration};

use landfall_model::{
    Assigned, Assignment, Condition, Family, Forwarding, IpMode, Observation, Reason, ServiceKey,
    ServiceStatusWrite, ServiceView,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{super::Source, *};
use crate::{
    api::IPAddressPoolStatus,
    write::{FileWriter, L2Status, L2StatusWrite, Store, WriteError},
};

const WEB: &str = "
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { type: LoadBalancer, ports: [{ port: 80, nodePort: 30080 }] }
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: { name: gold, namespace: landfall-system }
spec: { addresses: [192.0.2.0/24] }
";

/// The new content arrives in one step, as an editor or a mounted volume would bring it.
fn put(directory: &Path, name: &str, text: &str) {
    let draft = directory.join(".draft");
    fs::write(&draft, text).unwrap();
    fs::rename(draft, directory.join(name)).unwrap();
}

async fn until(source: &mut Source, mut last: impl FnMut(&Observation) -> bool) -> Vec<Observation> {
    let mut seen = Vec::new();
    let search = async {
        while let Some(observation) = source.next().await {
            let found = last(&observation);
            seen.push(observation);
            if found {
                break;
            }
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), search).await.is_ok(), "only saw {seen:#?}");
    seen
}

async fn until_synced(source: &mut Source) -> Vec<Observation> {
    until(source, |one| *one == Observation::Synced).await
}

fn web() -> ServiceKey {
    ServiceKey::new("shop", "web")
}

fn view_of(observation: &Observation) -> Option<&ServiceView> {
    match observation {
        Observation::Service(_, view) => view.as_deref(),
        _ => None,
    }
}

#[tokio::test]
async fn everything_in_the_directory_comes_before_the_barrier() {
    let directory = TempDir::new().unwrap();
    put(directory.path(), "web.yaml", WEB);
    put(directory.path(), "notes.txt", "not a manifest");
    let list = r#"{"kind": "List", "items": [
        {"kind": "Node", "metadata": {"name": "n1"}},
        {"kind": "Node", "metadata": {"name": "n2"}, "status": {"conditions": []}},
        {"kind": "Pod", "metadata": {"name": "s1"}, "spec": {"nodeName": "n1", "containers": []}, "status": {"podIP": "192.0.2.1"}},
        {"kind": "ConfigMap", "metadata": {"name": "ignored"}}
    ]}"#;
    put(directory.path(), "list.json", list);
    let mut source = files(Directory::new(directory.path())).unwrap();
    let seen = until_synced(&mut source).await;
    let view = seen.iter().find_map(view_of).expect("the Service");
    assert_eq!((view.key.clone(), &*view.resource_version), (web(), "0"));
    assert_eq!(view.cluster_families, [Family::V4]);
    assert!(seen.iter().any(|one| matches!(one, Observation::Pool(name, Some(_)) if &**name == "gold")));
    let ready = |name: &str| {
        seen.iter().find_map(|one| match one {
            Observation::Node(node, Some(view)) if &**node == name => Some(view.ready),
            _ => None,
        })
    };
    assert_eq!((ready("n1"), ready("n2")), (Some(true), Some(false)));
    assert!(seen.iter().any(|one| matches!(one, Observation::Speaker(name, Some(_)) if &**name == "s1")));
    let namespaces: Vec<&str> = seen
        .iter()
        .filter_map(|one| match one {
            Observation::Namespace(name, Some(_)) => Some(&**name),
            _ => None,
        })
        .collect();
    assert_eq!(namespaces, ["default", "landfall-system", "shop"]);
    assert!(source.health().synced() && source.health().failing().next().is_none());
}

#[tokio::test]
async fn changes_are_followed_and_bad_files_change_nothing() {
    let directory = TempDir::new().unwrap();
    put(directory.path(), "web.yaml", WEB);
    let mut source = files(Directory::new(directory.path())).unwrap();
    until_synced(&mut source).await;

    put(directory.path(), "web.yaml", "kind: [broken");
    let seen = until(&mut source, |one| matches!(one, Observation::Invalid(..))).await;
    assert!(
        matches!(&seen[..], [Observation::Invalid(name, Some(_))] if name.to_string() == "File web.yaml"),
        "{seen:?}"
    );

    put(directory.path(), "web.yaml", &WEB.replace("192.0.2.0/24", "192.0.2.0/33"));
    let seen = until(
        &mut source,
        |one| matches!(one, Observation::Invalid(name, _) if name.kind == "IPAddressPool"),
    )
    .await;
    assert!(matches!(&seen[0], Observation::Invalid(name, None) if name.kind == "File"), "{seen:?}");
    let field = seen.last().and_then(|one| match one {
        Observation::Invalid(_, Some(why)) => Some(why.field.to_string()),
        _ => None,
    });
    assert_eq!((seen.len(), field.as_deref()), (2, Some("spec.addresses[0]")), "the pool stays as it was");

    put(directory.path(), "web.yaml", &WEB.replace("port: 80", "port: 81"));
    let seen =
        until(&mut source, |one| view_of(one).is_some() || matches!(one, Observation::Invalid(_, Some(_))))
            .await;
    assert_eq!(seen.last().and_then(view_of).map(|view| view.ports[0].port), Some(81), "{seen:?}");
    let mended =
        |one: &Observation| matches!(one, Observation::Invalid(name, None) if name.kind == "IPAddressPool");
    assert!(seen.iter().any(mended), "{seen:?}");

    put(directory.path(), "twice.yaml", WEB);
    let seen = until(&mut source, |_| true).await;
    assert!(
        matches!(&seen[..], [Observation::Invalid(name, Some(_))] if name.to_string() == "File web.yaml"),
        "the first file in order of names counts: {seen:?}"
    );
    fs::remove_file(directory.path().join("web.yaml")).unwrap();
    until(&mut source, |one| matches!(one, Observation::Invalid(_, None))).await;
    fs::remove_file(directory.path().join("twice.yaml")).unwrap();
    until(&mut source, |one| *one == Observation::Service(web(), None)).await;
}

fn allocated(status: bool) -> Condition {
    let reason = if status { Reason::Allocated } else { Reason::NoPools };
    Condition { kind: "landfall.dev/Allocated".into(), status, reason, message: "".into(), generation: 0 }
}

fn write(view: &ServiceView, assignment: Assignment, status: bool) -> ServiceStatusWrite {
    ServiceStatusWrite {
        key: view.key.clone(),
        uid: view.uid.clone(),
        resource_version: view.resource_version.clone(),
        assignment,
        observed_addresses: view.addresses().collect(),
        conditions: vec![allocated(status)],
        observed_conditions: view.conditions.clone(),
    }
}

#[tokio::test]
async fn what_is_written_comes_back() {
    let directory = TempDir::new().unwrap();
    put(directory.path(), "web.yaml", WEB);
    let mut source = files(Directory::new(directory.path())).unwrap();
    let store = Store::Files(FileWriter::new(&directory.path().join("status")));
    let seen = until_synced(&mut source).await;
    let first = seen.iter().find_map(view_of).unwrap().clone();
    let address: IpAddr = "192.0.2.7".parse().unwrap();
    let set = Assignment::Set { ingress: vec![(address, IpMode::Proxy)], pool: Some("gold".into()) };
    store.service_status(&write(&first, set.clone(), true)).await.unwrap();
    let seen = until(&mut source, |one| view_of(one).is_some()).await;
    let second = seen.last().and_then(view_of).unwrap();
    assert_eq!(second.addresses().collect::<Vec<_>>(), [address]);
    assert_eq!(second.requests.allocated_from.as_deref(), Some("gold"));
    assert_eq!(second.conditions, [allocated(true)]);

    let stale = store.service_status(&write(&first, set, true)).await;
    assert!(matches!(stale, Err(WriteError::Conflict { .. })), "{stale:?}");

    // A source that starts later finds the address again.
    let mut restarted = files(Directory::new(directory.path())).unwrap();
    let seen = until_synced(&mut restarted).await;
    assert_eq!(seen.iter().find_map(view_of), Some(second));

    store.service_status(&write(second, Assignment::Release, false)).await.unwrap();
    let seen = until(&mut source, |one| view_of(one).is_some()).await;
    let third = seen.last().and_then(view_of).unwrap();
    assert_eq!((third.ingress.len(), third.requests.allocated_from.as_ref()), (0, None));
    assert_eq!(third.conditions, [allocated(false)]);
}

#[tokio::test]
async fn reports_of_speakers_and_pools_are_files_too() {
    let directory = TempDir::new().unwrap();
    let store = Store::Files(FileWriter::new(&directory.path().join("status")));
    let said = |announced_on: Option<&str>| L2StatusWrite {
        service: web(),
        node: "n1".into(),
        status: announced_on.map(|text| L2Status {
            interfaces: ["eth0".into()].into(),
            announced_on: text.into(),
            verification: None,
        }),
    };
    assert_eq!(store.l2_statuses("n1").await.unwrap(), []);
    for text in ["eth0 (Subnet)", "eth0 (Named)"] {
        store.l2_status(&said(Some(text))).await.unwrap();
        let found = store.l2_statuses("n1").await.unwrap();
        let [one] = &found[..] else { panic!("{found:?}") };
        assert!(one.service == web() && one.ours, "{one:?}");
        let path = directory.path().join(format!("status/ServiceL2Status.{}.json", one.name));
        let file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert_eq!((&file["interfaces"], &file["announcedOn"]), (&json!(["eth0"]), &json!(text)));
    }
    assert_eq!(store.l2_statuses("n2").await.unwrap(), []);
    store.l2_status(&said(None)).await.unwrap();
    store.l2_status(&said(None)).await.unwrap();
    assert_eq!(store.l2_statuses("n1").await.unwrap(), []);
    let status = IPAddressPoolStatus { available_ipv4: 256, ..Default::default() };
    store.pool_status("gold", status).await.unwrap();
    let text = fs::read_to_string(directory.path().join("status/IPAddressPool.gold.json")).unwrap();
    assert!(text.contains("\"availableIPv4\": 256"), "{text}");
}

/// Speakers, by node, and their addresses.
fn speakers(seen: &[Observation]) -> Vec<(String, Vec<String>)> {
    let speaker = |one: &Observation| match one {
        Observation::Speaker(_, Some(view)) => {
            Some((view.node.to_string(), view.addresses.iter().map(ToString::to_string).collect()))
        }
        _ => None,
    };
    seen.iter().filter_map(speaker).collect()
}

#[tokio::test]
async fn standalone_machines_are_nodes_with_speakers() {
    let directory = TempDir::new().unwrap();
    let state = TempDir::new().unwrap();
    put(directory.path(), "web.yaml", WEB);
    let node = "kind: Node\nmetadata: { name: n2, labels: { rack: a } }\nstatus: { addresses: [{ type: InternalIP, address: 192.0.2.22 }] }\n";
    put(directory.path(), "n2.yaml", node);
    let pod = "kind: Pod\nmetadata: { name: other }\nspec: { nodeName: n9, containers: [] }\nstatus: { podIP: 192.0.2.99 }\n";
    put(directory.path(), "pod.yaml", pod);
    let members = [("n1", "192.0.2.11"), ("n2", "192.0.2.12")];
    let members = members.map(|(name, address)| (name.to_owned(), vec![address.parse().unwrap()]));
    let standalone = Directory {
        manifests: directory.path().to_owned(),
        statuses: state.path().join("status"),
        members: Some(members.into()),
    };
    let mut source = files(standalone.clone()).unwrap();
    let seen = until_synced(&mut source).await;
    let expected = [("n1", "192.0.2.11"), ("n2", "192.0.2.22")];
    assert_eq!(speakers(&seen), expected.map(|(name, address)| (name.into(), vec![address.into()])));
    let ready =
        seen.iter().filter(|one| matches!(one, Observation::Node(_, Some(node)) if node.ready)).count();
    assert_eq!(ready, 2);
    assert_eq!(node_addresses(directory.path(), "n2"), ["192.0.2.22".parse::<IpAddr>().unwrap()]);
    assert_eq!(node_addresses(directory.path(), "n1"), [] as [IpAddr; 0]);
    let forwarding = seen.iter().find_map(view_of).unwrap().requests.forwarding.clone();
    assert_eq!(forwarding, Some(Ok(Forwarding::NodePort)), "no kube-proxy takes the packets");

    // A Node is a file away from being a member.
    put(directory.path(), "n3.yaml", &node.replace("n2", "n3").replace("192.0.2.22", "192.0.2.13"));
    let seen = until(&mut source, |one| matches!(one, Observation::Speaker(..))).await;
    assert_eq!(speakers(&seen), [("n3".into(), vec!["192.0.2.13".into()])]);
    fs::remove_file(directory.path().join("n3.yaml")).unwrap();
    until(&mut source, |one| matches!(one, Observation::Speaker(_, None))).await;
    assert!(!directory.path().join("status").exists(), "the manifests are only read");
}

#[tokio::test]
async fn a_decision_of_another_machine_is_taken_over_unless_there_is_a_newer_one() {
    let directory = TempDir::new().unwrap();
    put(directory.path(), "web.yaml", WEB);
    let mut source = files(Directory::new(directory.path())).unwrap();
    let store = Store::Files(FileWriter::new(&directory.path().join("status")));
    until_synced(&mut source).await;
    let decision = |version: u64, address: &str, pool: Option<&str>| Assigned {
        service: web(),
        version,
        ingress: vec![(address.parse().unwrap(), IpMode::Proxy)],
        pool: pool.map(Into::into),
    };
    store.adopt(&decision(4, "192.0.2.7", Some("gold"))).await.unwrap();
    let seen = until(&mut source, |one| view_of(one).is_some()).await;
    let view = seen.last().and_then(view_of).unwrap();
    assert_eq!((&*view.resource_version, view.requests.allocated_from.as_deref()), ("4", Some("gold")));
    assert_eq!(view.addresses().collect::<Vec<_>>(), ["192.0.2.7".parse::<IpAddr>().unwrap()]);

    let older = store.adopt(&decision(3, "192.0.2.8", None)).await;
    assert!(matches!(older, Err(WriteError::Conflict { .. })), "{older:?}");

    store.adopt(&decision(5, "192.0.2.9", None)).await.unwrap();
    let seen = until(&mut source, |one| view_of(one).is_some()).await;
    let view = seen.last().and_then(view_of).unwrap();
    assert_eq!((&*view.resource_version, view.requests.allocated_from.as_deref()), ("5", None));
}

#[test]
fn hostile_documents_are_refused_without_panic() {
    for text in [
        "kind: Service\nmetadata: text",
        "- 1\n- 2",
        "just text",
        "kind: Service\nmetadata: { name: [a] }",
        "kind: List",
        "kind: List\nitems: 3",
        "kind: List\nitems: [1]",
    ] {
        assert!(manifest::parse(text).is_err(), "{text}");
    }
    assert_eq!(manifest::parse("---\n---\n"), Ok(vec![]));
    let directory = TempDir::new().unwrap();
    for (kind, rest) in [
        ("Service", "status: 3"),
        ("Service", "spec: text"),
        ("Node", "status: text"),
        ("Namespace", "spec: 1"),
        ("IPAddressPool", "spec: { addresses: text }"),
    ] {
        let text = format!("kind: {kind}\nmetadata: {{ name: x, labels: 3, annotations: text }}\n{rest}");
        put(directory.path(), "x.yaml", &text);
        let mut library = Library::new(directory.path());
        library.read_all().unwrap();
        let said = Shelf::new(Directory::new(directory.path())).compare(&library);
        assert!(said.iter().any(|one| matches!(one, Observation::Invalid(_, Some(_)))), "{text}: {said:?}");
    }
}

#[test]
fn a_status_is_taken_in_for_the_service_that_has_its_name_and_for_no_other() {
    let directory = TempDir::new().unwrap();
    let statuses = directory.path().join("status");
    fs::create_dir(&statuses).unwrap();
    let services = ["a", "b", "c"]
        .map(|name| format!("kind: Service\nmetadata: {{ name: {name}, namespace: shop }}\nspec: {{}}\n"));
    let [a, b, c] = &services;
    put(directory.path(), "some.yaml", &format!("{a}---\n{b}"));
    put(directory.path(), "more.yaml", &format!("{b}---\n{c}"));
    let mut library = Library::new(directory.path());
    library.read_all().unwrap();
    let mut shelf = Shelf::new(Directory::new(directory.path()));
    shelf.compare(&library);
    let give = |name: &str, address: &str| {
        let text = json!({ "resourceVersion": "1", "status": { "loadBalancer": { "ingress": [{ "ip": address }] } } });
        fs::write(statuses.join(format!("shop.{name}.json")), text.to_string()).unwrap();
    };
    let mut told = |library: &Library, names: &[&str]| -> Vec<String> {
        let names = names.iter().map(|name| format!("shop.{name}.json")).collect();
        let said = shelf.compare_statuses(library, &names);
        let one = |said: &Observation| {
            let view = view_of(said).unwrap();
            format!("{} {:?}", view.key.name, view.addresses().collect::<Vec<_>>())
        };
        said.iter().map(one).collect()
    };
    for (name, address) in [("a", "192.0.2.1"), ("b", "192.0.2.2"), ("c", "192.0.2.3"), ("d", "192.0.2.4")] {
        give(name, address);
    }
    assert_eq!(told(&library, &["c", "d"]), ["c [192.0.2.3]"], "d has no manifest");
    assert_eq!(told(&library, &["a", "b", "c"]), ["a [192.0.2.1]", "b [192.0.2.2]"], "c is known");
    fs::remove_file(statuses.join("shop.b.json")).unwrap();
    assert_eq!(told(&library, &["b"]), ["b []"]);
    // A manifest that is gone by now has nothing to be told of.
    fs::remove_file(directory.path().join("more.yaml")).unwrap();
    library.read("more.yaml").unwrap();
    give("c", "192.0.2.9");
    assert_eq!(told(&library, &["c"]), [""; 0]);
}

#[test]
fn names_are_those_that_the_api_server_lets_through() {
    let parse =
        |kind: &str, metadata: &str| manifest::parse(&format!("kind: {kind}\nmetadata: {{ {metadata} }}"));
    for (kind, metadata) in [
        ("Service", "name: web"),
        ("Service", "name: web.v1-2, namespace: shop-1"),
        ("Node", "name: n1, namespace: ../of/no/meaning"),
        ("ClusterRole", "name: \"system:a/b\""),
    ] {
        assert!(parse(kind, metadata).is_ok(), "{kind} {metadata}");
    }
    for (kind, metadata) in [
        ("Service", "name: ../../etc/web"),
        ("Service", "name: .."),
        ("Service", "name: Web"),
        ("Service", "name: web, namespace: .."),
        ("Service", "name: web, namespace: shop.a"),
        ("Node", "name: -n1"),
    ] {
        let error = parse(kind, metadata).unwrap_err();
        assert!(error.contains("use lower-case letters"), "{kind} {metadata}: {error}");
    }
}

#[test]
fn a_few_lines_cannot_stand_for_gigabytes() {
    let list = |name: char, of: &str| format!("{name}: &{name} [{}]\n", [of; 10].join(","));
    let mut text = list('a', "x");
    for pair in ["ab", "bc", "cd", "de", "ef", "fg"] {
        let (from, to) = (&pair[..1], pair.chars().nth(1).unwrap());
        text.push_str(&list(to, &format!("*{from}")));
    }
    let error = manifest::parse(&text).unwrap_err();
    assert!(error.contains("alias"), "{error}");
    let shared = "kind: Service\nmetadata: { name: web, labels: &all { a: b } }\nspec: { selector: *all }";
    assert_eq!(manifest::parse(shared).unwrap()[0]["spec"]["selector"]["a"], "b");
}

#[tokio::test]
async fn an_advertisement_without_a_spec_is_for_everything() {
    for spec in ["", "spec: null\n", "spec: {}\n"] {
        let directory = tempfile::tempdir().unwrap();
        let text = format!(
            "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {{ name: all }}\n{spec}"
        );
        put(directory.path(), "advertisement.yaml", &text);
        let mut source = files(Directory::new(directory.path())).unwrap();
        let seen = until_synced(&mut source).await;
        let everything = landfall_model::L2Advertisement { name: "all".into(), ..Default::default() };
        let expected = Observation::L2Advertisement("all".into(), Some(Box::new(everything)));
        assert!(seen.contains(&expected), "{spec:?}: {seen:?}");
    }
}
