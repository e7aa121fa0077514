//! How a real API server takes what this crate writes. Each test has one of its own, from the test bed.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{net::IpAddr, sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        core::v1::{Namespace, Service},
        events::v1::Event,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use landfall_kubernetes::{
    api::{self, IPAddressPoolStatus},
    client::{ConnectOptions, connect},
    convert,
    lease::{self, LeaseOptions, compete, machine::Timing},
    names,
    namespace::ensure_namespace,
    secret::ensure_secret,
    source::{Interests, Source, watch},
    write::{EventWrite, L2Status, L2StatusWrite, Severity, Store, WriteError, Writer, WriterIdentity},
};
use landfall_model::{
    Assignment, Condition, Ingress, IpMode, Observation, Reason, ServiceKey, ServiceStatusWrite, ServiceView,
    Verification,
};
use landfall_testbed::TestBed;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

#[path = "api_server/kinds.rs"]
mod kinds;
#[path = "api_server/state.rs"]
mod state;

const NAMESPACE: &str = "landfall-writes";
const PATIENCE: Duration = Duration::from_secs(20);

/// A bed without nodes, with our kinds and a namespace, and a client for it.
async fn cluster() -> (TestBed, Client) {
    let bed = TestBed::builder().nodes(0).clients(0).start().await.expect("the bed comes up");
    let options = ConnectOptions { kubeconfig: Some(bed.kubeconfig().to_owned()), context: None };
    let client = connect(&options).await.expect("the bed's kubeconfig is good").client;
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in api::crds() {
        let name = crd.metadata.name.clone().unwrap();
        let parameters = PatchParams::apply("test").force();
        crds.patch(&name, &parameters, &Patch::Apply(&crd)).await.expect("the schema is structural");
        tokio::time::timeout(PATIENCE, async {
            loop {
                let status = crds.get(&name).await.unwrap().status.unwrap_or_default();
                let conditions = status.conditions.unwrap_or_default();
                if conditions.iter().any(|one| one.type_ == "Established" && one.status == "True") {
                    assert!(
                        conditions.iter().all(|one| one.type_ != "NonStructuralSchema"),
                        "{name}: {conditions:?}"
                    );
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
        .expect("the kind is served");
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    namespaces
        .patch(NAMESPACE, &PatchParams::apply("test").force(), &Patch::Apply(&namespace))
        .await
        .unwrap();
    (bed, client)
}

fn store(client: &Client) -> Store {
    let identity = WriterIdentity {
        namespace: NAMESPACE.to_owned(),
        manager: names::manager::CONTROLLER,
        component: names::event::CONTROLLER,
        instance: "test".to_owned(),
        owner: Arc::default(),
    };
    Store::Api(Writer::new(client.clone(), identity))
}

async fn new_service(client: &Client, name: &str) -> Service {
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    drop(services.delete(name, &DeleteParams::default()).await);
    let service = serde_json::from_value(json!({
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": {
            "type": "LoadBalancer",
            "allocateLoadBalancerNodePorts": false,
            "ports": [{ "port": 80, "protocol": "TCP" }],
        },
    }))
    .unwrap();
    services.create(&PostParams::default(), &service).await.unwrap()
}

async fn get(client: &Client, name: &str) -> Service {
    Api::<Service>::namespaced(client.clone(), NAMESPACE).get(name).await.unwrap()
}

fn view(service: &Service) -> ServiceView {
    convert::service(service).unwrap()
}

fn allocated(status: bool, message: &str) -> Condition {
    Condition {
        kind: "landfall.dev/Allocated".into(),
        status,
        reason: if status { Reason::Allocated } else { Reason::PoolExhausted },
        message: message.into(),
        generation: 1,
    }
}

fn write(view: &ServiceView, assignment: Assignment, condition: Condition) -> ServiceStatusWrite {
    ServiceStatusWrite {
        key: view.key.clone(),
        uid: view.uid.clone(),
        resource_version: view.resource_version.clone(),
        assignment,
        observed_addresses: view.addresses().collect(),
        conditions: vec![condition],
        observed_conditions: view.conditions.clone(),
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn assigned(text: &str) -> Assignment {
    Assignment::Set { ingress: vec![(address(text), IpMode::Vip)], pool: Some("gold".into()) }
}

fn transition(service: &Service) -> Value {
    json!(service.status.as_ref().unwrap().conditions.as_ref().unwrap()[0])["lastTransitionTime"].clone()
}

#[tokio::test]
#[ignore = "needs root and the control plane; make test runs it"]
async fn assigns_keeps_times_and_releases() {
    let (_bed, client) = cluster().await;
    let store = store(&client);
    let first = view(&new_service(&client, "web").await);
    store.service_status(&write(&first, assigned("192.0.2.7"), allocated(true, "one"))).await.unwrap();
    let service = get(&client, "web").await;
    let second = view(&service);
    assert_eq!(second.ingress, [Ingress::Address { address: address("192.0.2.7"), mode: IpMode::Vip }]);
    assert_eq!(second.requests.allocated_from.as_deref(), Some("gold"));
    assert_eq!(second.conditions, [allocated(true, "one")]);
    let since = transition(&service);

    // The old version is refused, and changes nothing.
    let stale = store.service_status(&write(&first, assigned("192.0.2.8"), allocated(true, "two"))).await;
    assert!(matches!(stale, Err(WriteError::Conflict { .. })), "{stale:?}");
    let mut impostor = write(&second, assigned("192.0.2.8"), allocated(true, "two"));
    impostor.uid = "00000000-0000-0000-0000-000000000000".into();
    let refused = store.service_status(&impostor).await;
    assert!(matches!(refused, Err(WriteError::Conflict { .. })), "{refused:?}");
    assert_eq!(view(&get(&client, "web").await), second);

    // Times have whole seconds: only after one can a kept time be told from a new one.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    store.service_status(&write(&second, assigned("192.0.2.7"), allocated(true, "two"))).await.unwrap();
    let service = get(&client, "web").await;
    assert_eq!(transition(&service), since, "the status did not change");

    let third = view(&service);
    store.service_status(&write(&third, Assignment::Release, allocated(false, "gone"))).await.unwrap();
    let service = get(&client, "web").await;
    assert_ne!(transition(&service), since, "the status changed");
    let fourth = view(&service);
    assert_eq!((fourth.ingress.len(), fourth.requests.allocated_from), (0, None));

    Api::<Service>::namespaced(client.clone(), NAMESPACE)
        .delete("web", &DeleteParams::default())
        .await
        .unwrap();
    let gone = store.service_status(&write(&third, Assignment::Release, allocated(false, "gone"))).await;
    assert!(matches!(gone, Err(WriteError::Gone { .. })), "{gone:?}");
}

/// MetalLB writes status and annotation by a plain update of the subresource. Ours takes all of it over.
#[tokio::test]
#[ignore = "needs root and the control plane; make test runs it"]
async fn takes_over_and_releases_what_another_manager_wrote() {
    let (_bed, client) = cluster().await;
    let store = store(&client);
    for (name, assign_first) in [("foreign", false), ("adopted", true)] {
        let mut service = new_service(&client, name).await;
        service
            .metadata
            .annotations
            .get_or_insert_default()
            .insert(names::annotation::ALLOCATED_FROM.to_owned(), "gold".to_owned());
        let status = json!({ "loadBalancer": { "ingress": [{ "ip": "192.0.2.9" }] } });
        service.status = Some(serde_json::from_value(status).unwrap());
        let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
        let parameters = PostParams { field_manager: Some("controller".to_owned()), ..PostParams::default() };
        let mut current = view(&services.replace_status(name, &parameters, &service).await.unwrap());
        assert_eq!(current.requests.allocated_from.as_deref(), Some("gold"));
        if assign_first {
            store
                .service_status(&write(&current, assigned("192.0.2.9"), allocated(true, "kept")))
                .await
                .unwrap();
            current = view(&get(&client, name).await);
        }
        store.service_status(&write(&current, Assignment::Release, allocated(false, "gone"))).await.unwrap();
        let after = view(&get(&client, name).await);
        assert_eq!((after.ingress.len(), after.requests.allocated_from), (0, None), "{name}");
        assert_eq!(after.conditions.len(), 1, "{name}");
    }
}

#[tokio::test]
#[ignore = "needs root and the control plane; make test runs it"]
async fn leaves_a_foreign_status_alone() {
    let (_bed, client) = cluster().await;
    let store = store(&client);
    let mut service = new_service(&client, "cloud").await;
    let status = json!({ "loadBalancer": { "ingress": [{ "hostname": "lb.example.com" }] } });
    service.status = Some(serde_json::from_value(status).unwrap());
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    let current = view(&services.replace_status("cloud", &PostParams::default(), &service).await.unwrap());
    for message in ["once", "again"] {
        let current = ServiceView { ..view(&get(&client, "cloud").await) };
        let condition = Condition { reason: Reason::ForeignStatus, ..allocated(false, message) };
        store.service_status(&write(&current, Assignment::Leave, condition)).await.unwrap();
    }
    assert_eq!(view(&get(&client, "cloud").await).ingress, current.ingress);
}

#[tokio::test]
#[ignore = "needs root and the control plane; make test runs it"]
async fn a_change_of_type_can_still_be_written_about() {
    let (_bed, client) = cluster().await;
    let store = store(&client);
    let first = view(&new_service(&client, "turned").await);
    store.service_status(&write(&first, assigned("192.0.2.7"), allocated(true, "one"))).await.unwrap();
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    let turn = Patch::Merge(json!({ "spec": { "type": "ClusterIP" } }));
    let turned = view(&services.patch("turned", &PatchParams::default(), &turn).await.unwrap());
    assert_eq!(turned.ingress, [], "the API server clears the addresses");
    assert_eq!(turned.requests.allocated_from.as_deref(), Some("gold"), "and leaves the annotation");
    let mut release = write(&turned, Assignment::Release, allocated(false, ""));
    release.conditions.clear();
    store.service_status(&release).await.unwrap();
    let after = view(&get(&client, "turned").await);
    assert_eq!((after.ingress.len(), after.requests.allocated_from, after.conditions.len()), (0, None, 0));
}

#[tokio::test]
#[ignore = "needs root and the control plane; make test runs it"]
async fn writes_pool_status_events_and_l2_status() {
    let (_bed, client) = cluster().await;
    let store = store(&client);
    let pools: Api<api::IPAddressPool> = Api::namespaced(client.clone(), NAMESPACE);
    let spec = api::IPAddressPoolSpec { addresses: vec!["192.0.2.0/24".into()], ..Default::default() };
    let pool = api::IPAddressPool::new("gold", spec);
    pools.patch("gold", &PatchParams::apply("test").force(), &Patch::Apply(&pool)).await.unwrap();
    let status = IPAddressPoolStatus { assigned_ipv4: 3, available_ipv4: 253, ..Default::default() };
    store.pool_status("gold", status).await.unwrap();
    let pool = pools.get("gold").await.unwrap();
    assert_eq!((pool.status, pool.spec.auto_assign), (Some(status), Some(true)));
    let missing = store.pool_status("none", status).await;
    assert!(matches!(missing, Err(WriteError::Gone { .. })), "{missing:?}");

    let service = view(&new_service(&client, "told").await);
    let event = EventWrite {
        service: service.key.clone(),
        uid: service.uid.clone(),
        severity: Severity::Normal,
        reason: "IPAllocated",
        action: "Allocate",
        message: "Assigned IP [\"192.0.2.7\"]".to_owned(),
    };
    for _ in 0..2 {
        store.event(&event).await.unwrap();
    }
    // Another replica does not know of it, and still meets the same object.
    self::store(&client).event(&event).await.unwrap();
    let events: Api<Event> = Api::namespaced(client.clone(), NAMESPACE);
    let all = events.list(&ListParams::default()).await.unwrap().items;
    let about: Vec<&Event> = all
        .iter()
        .filter(|one| one.regarding.as_ref().unwrap().uid.as_deref() == Some(&*service.uid))
        .collect();
    assert_eq!(about.len(), 1);
    assert_eq!(about[0].series.as_ref().map(|series| series.count), Some(2));
    assert_eq!(about[0].reporting_controller.as_deref(), Some("metallb-controller"));

    let said = |limit: &[&str], announced_on: &str| L2StatusWrite {
        service: service.key.clone(),
        node: "n1".into(),
        status: Some(L2Status {
            interfaces: limit.iter().map(|&name| name.into()).collect(),
            announced_on: announced_on.into(),
            verification: None,
        }),
    };
    let unsaid = L2StatusWrite { status: None, ..said(&[], "") };
    store.l2_status(&said(&["eth0", "eth1"], "eth1 (Subnet)")).await.unwrap();
    store.l2_status(&said(&["eth1"], "eth1 (Subnet)")).await.unwrap();
    let found = store.l2_statuses("n1").await.unwrap();
    assert_eq!(found.len(), 1);
    assert!(found[0].ours && found[0].service == service.key, "{found:?}");
    let statuses: Api<api::ServiceL2Status> = Api::namespaced(client.clone(), NAMESPACE);
    let read = || async {
        let object = statuses.get(&found[0].name).await.unwrap();
        let announced_on = object.annotations().get(names::annotation::ANNOUNCED_ON).cloned();
        (json!(object.status.unwrap().interfaces), announced_on.unwrap(), object.metadata.resource_version)
    };
    let first = read().await;
    assert_eq!((&first.0, &*first.1), (&json!([{ "name": "eth1" }]), "eth1 (Subnet)"));
    store.l2_status(&said(&["eth1"], "eth1 (Subnet)")).await.unwrap();
    assert_eq!(read().await, first, "the same again writes nothing");
    store.l2_status(&said(&["eth1"], "eth1 (Named)")).await.unwrap();
    let second = read().await;
    assert_eq!((&second.0, &*second.1), (&first.0, "eth1 (Named)"));
    let verification = json!({ "result": "Verified", "by": "n2", "gapMs": 170 });
    let verification: Verification = serde_json::from_value(verification).unwrap();
    let mut verified = said(&["eth1"], "eth1 (Named)");
    verified.status.as_mut().unwrap().verification = Some(verification.clone());
    store.l2_status(&verified).await.unwrap();
    let third = read().await;
    assert_eq!((&third.0, &third.1), (&second.0, &second.1));
    let announcement = convert::announcement(&statuses.get(&found[0].name).await.unwrap()).unwrap();
    assert_eq!((announcement.service, announcement.verification), (service.key.clone(), Some(verification)));
    let moved = Patch::Merge(json!({ "status": { "node": "n2" } }));
    let refused = statuses.patch_status(&found[0].name, &PatchParams::default(), &moved).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("cannot change once it is set")));
    for _ in 0..2 {
        store.l2_status(&unsaid).await.unwrap();
    }
    assert_eq!(store.l2_statuses("n1").await.unwrap(), []);
    // It can come back, although this process has written it before.
    store.l2_status(&said(&[], "eth1 (Named)")).await.unwrap();
    store.delete_l2_status(&found[0].name).await.unwrap();
}

#[tokio::test]
#[ignore = "needs root and the control plane; make test runs it"]
async fn the_secret_and_the_namespace_are_created_once() {
    let (_bed, client) = cluster().await;
    assert!(ensure_namespace(&client, "made-for-it").await.unwrap());
    assert!(!ensure_namespace(&client, "made-for-it").await.unwrap());
    let name = format!("key-{:08x}", getrandom::u32().unwrap());
    assert!(ensure_secret(client.clone(), NAMESPACE, &name, "secretkey", b"first").await.unwrap());
    assert!(!ensure_secret(client.clone(), NAMESPACE, &name, "secretkey", b"second").await.unwrap());
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(client, NAMESPACE);
    assert_eq!(secrets.get(&name).await.unwrap().data.unwrap()["secretkey"].0, b"first");
}

#[tokio::test]
#[ignore = "needs root and the control plane; make test runs it"]
async fn one_leads_and_hands_over() {
    let (_bed, client) = cluster().await;
    let name = format!("lease-{:08x}", getrandom::u32().unwrap());
    let compete_as = |who: &str, stop: &CancellationToken| {
        let options = LeaseOptions {
            namespace: NAMESPACE.to_owned(),
            name: name.clone(),
            identity: lease::identity(who).unwrap(),
            timing: Timing { retry: Duration::from_millis(200), ..Timing::default() },
        };
        compete(client.clone(), options, stop.clone())
    };
    let (stop_first, stop_second) = (CancellationToken::new(), CancellationToken::new());
    let (mut first, first_task) = compete_as("first", &stop_first);
    assert_eq!(tokio::time::timeout(PATIENCE, first.changed()).await.unwrap(), Some(true));
    let (mut second, second_task) = compete_as("second", &stop_second);
    // Long enough for several attempts of the second.
    let early = tokio::time::timeout(Duration::from_secs(1), second.changed()).await;
    assert!(early.is_err() && first.is_current() && !second.is_current());
    stop_first.cancel();
    first_task.await.unwrap();
    assert!(!first.is_current());
    // Far sooner than the lease would have run out.
    assert_eq!(tokio::time::timeout(Duration::from_secs(3), second.changed()).await.unwrap(), Some(true));
    assert!(second.is_current());
    stop_second.cancel();
    second_task.await.unwrap();
}

async fn until(source: &mut Source, mut found: impl FnMut(&Observation) -> bool) -> Vec<Observation> {
    let mut seen = Vec::new();
    let search = async {
        loop {
            let observation = source.next().await.expect("the source lives");
            let last = found(&observation);
            seen.push(observation);
            if last {
                return;
            }
        }
    };
    assert!(tokio::time::timeout(PATIENCE, search).await.is_ok(), "only saw {seen:#?}");
    seen
}

#[tokio::test]
#[ignore = "needs root and the control plane; make test runs it"]
async fn the_watch_opens_its_barrier_and_reports_changes() {
    let (_bed, client) = cluster().await;
    new_service(&client, "watched").await;
    let key = ServiceKey::new(NAMESPACE, "watched");
    let mut interests = Interests::speaker(NAMESPACE, "component=speaker");
    interests.namespaces = true;
    let mut source = watch(client.clone(), &interests);
    let first = until(&mut source, |one| *one == Observation::Synced).await;
    assert!(first.iter().any(|one| matches!(one, Observation::Service(k, Some(_)) if *k == key)));
    assert!(first.iter().any(|one| matches!(one, Observation::Namespace(n, Some(_)) if &**n == NAMESPACE)));
    assert!(
        !first.iter().any(|one| matches!(one, Observation::Service(k, _) if &*k.name == "kubernetes")),
        "a Service that never was a load balancer costs nothing"
    );
    assert!(source.health().synced());
    let pools: Api<api::IPAddressPool> = Api::namespaced(client.clone(), NAMESPACE);
    let pool = |range: &str| {
        let spec = api::IPAddressPoolSpec { addresses: vec![range.to_owned()], ..Default::default() };
        api::IPAddressPool::new("silver", spec)
    };
    let parameters = PatchParams::apply("test").force();
    pools.patch("silver", &parameters, &Patch::Apply(pool("198.51.100.0/24"))).await.unwrap();
    until(&mut source, |one| matches!(one, Observation::Pool(n, Some(_)) if &**n == "silver")).await;
    pools.patch("silver", &parameters, &Patch::Apply(pool("198.51.100.0/33"))).await.unwrap();
    until(&mut source, |one| {
        matches!(one, Observation::Invalid(name, Some(why))
            if &*name.name == "silver" && &*why.field == "spec.addresses[0]")
    })
    .await;
    pools.delete("silver", &DeleteParams::default()).await.unwrap();
    until(&mut source, |one| matches!(one, Observation::Pool(n, None) if &**n == "silver")).await;
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    services.delete("watched", &DeleteParams::default()).await.unwrap();
    until(&mut source, |one| matches!(one, Observation::Service(k, None) if *k == key)).await;
}
