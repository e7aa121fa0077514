//! What a real API server makes of a program's `ConfigurationState`.

use std::{sync::Arc, time::Duration};

use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use landfall_kubernetes::{
    api::{ConfigurationResult, ConfigurationState},
    lease::Appointment,
    names,
    state::{Program, Reporter, Verdict},
    write::{OwnerPod, Store, Writer, WriterIdentity},
};
use serde_json::{Value, json};

use super::{NAMESPACE, PATIENCE, cluster};

/// How long nothing happens when nothing should.
const QUIET: Duration = Duration::from_secs(1);

fn store(client: &Client, owner: Option<OwnerPod>) -> Store {
    let identity = WriterIdentity {
        namespace: NAMESPACE.to_owned(),
        manager: names::manager::SPEAKER,
        component: names::event::SPEAKER,
        instance: "test".to_owned(),
        owner: Arc::default(),
    };
    identity.owner.set(owner).unwrap();
    Store::Api(Writer::new(client.clone(), identity))
}

fn verdict(faults: &[&str]) -> Verdict {
    Verdict::of(faults.iter().map(|fault| (*fault).to_owned()))
}

/// The next outcomes, which must be good.
async fn written(reporter: &mut Reporter, requests: usize) {
    for _ in 0..requests {
        let outcome = tokio::time::timeout(PATIENCE, reporter.next()).await.expect("a request");
        assert_eq!(outcome, Some("ok"));
    }
}

async fn quiet(reporter: &mut Reporter) {
    let outcome = tokio::time::timeout(QUIET, reporter.next()).await;
    assert!(outcome.is_err(), "it writes without a reason: {outcome:?}");
}

fn says(object: &ConfigurationState) -> (ConfigurationResult, String, Value) {
    let status = object.status.clone().unwrap();
    let ours =
        status.conditions.unwrap().into_iter().find(|one| one.kind == "configReconcilerValid").unwrap();
    (status.result.unwrap(), status.error_summary.unwrap(), json!(ours.last_transition_time))
}

#[tokio::test]
#[ignore = "needs root and the control plane; make test runs it"]
async fn a_report_on_the_configuration_is_kept_as_it_should_be() {
    let (_bed, client) = cluster().await;
    let states: Api<ConfigurationState> = Api::namespaced(client.clone(), NAMESPACE);
    let read = || async { states.get("speaker-n1").await.unwrap() };
    // No such Pod needs to be there: nothing collects garbage here.
    let pod = |name: &str| Some(OwnerPod { name: name.into(), uid: format!("uid-of-{name}") });
    let program = Program::Speaker("n1".into());
    let mut reporter = Reporter::start(&store(&client, pod("a")), program.clone(), None);
    quiet(&mut reporter).await;
    reporter.tell(verdict(&[]));
    written(&mut reporter, 2).await;
    let first = read().await;
    let (result, summary, since) = says(&first);
    assert_eq!((result, &*summary), (ConfigurationResult::Valid, ""));
    assert_eq!(first.labels()[names::label::STATE_COMPONENT], "speaker");
    assert_eq!(first.labels()[names::label::STATE_NODE], "n1");
    let managers: Vec<_> = first.managed_fields().iter().filter_map(|one| one.manager.as_deref()).collect();
    assert_eq!(managers, ["configReconciler"; 2]);

    // Others may add what is theirs.
    let theirs = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "ConfigurationState",
        "metadata": { "labels": { "example.com/team": "blue" } },
        "status": { "conditions": [{
            "type": "example.com/Seen", "status": "True", "reason": "Seen", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }] },
    });
    let other = PatchParams::apply("other").force();
    states.patch("speaker-n1", &other, &Patch::Apply(&theirs)).await.unwrap();
    states.patch_status("speaker-n1", &other, &Patch::Apply(&theirs)).await.unwrap();
    reporter.tell(verdict(&[]));
    quiet(&mut reporter).await;

    // Times of the API are in whole seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    reporter.tell(verdict(&["one"]));
    written(&mut reporter, 1).await;
    let (result, summary, turned) = says(&read().await);
    assert_eq!((result, &*summary), (ConfigurationResult::Invalid, "one"));
    assert_ne!(turned, since);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    reporter.tell(verdict(&["one", "two"]));
    written(&mut reporter, 1).await;
    let object = read().await;
    assert_eq!(says(&object), (ConfigurationResult::Invalid, "one; two".to_owned(), turned.clone()));
    assert_eq!(object.labels()["example.com/team"], "blue");
    let conditions = object.status.unwrap().conditions.unwrap();
    assert!(conditions.iter().any(|one| one.kind == "example.com/Seen"), "{conditions:?}");

    // Changed by somebody, and deleted by somebody: it comes back as it was.
    let edit = Patch::Merge(json!({ "status": { "result": "Valid", "errorSummary": "" } }));
    states.patch_status("speaker-n1", &PatchParams::default(), &edit).await.unwrap();
    written(&mut reporter, 1).await;
    let whole = (ConfigurationResult::Invalid, "one; two".to_owned(), turned);
    assert_eq!(says(&read().await), whole);
    states.delete("speaker-n1", &DeleteParams::default()).await.unwrap();
    written(&mut reporter, 2).await;
    assert_eq!(says(&read().await), whole);
    quiet(&mut reporter).await;

    // A successor in another Pod writes only that it is its own now.
    reporter.stop();
    assert_eq!(reporter.next().await, None);
    let mut successor = Reporter::start(&store(&client, pod("b")), program, None);
    successor.tell(verdict(&["one", "two"]));
    written(&mut successor, 1).await;
    quiet(&mut successor).await;
    let object = read().await;
    assert_eq!(says(&object), whole);
    let owners: Vec<_> = object.owner_references().iter().map(|owner| &*owner.uid).collect();
    assert_eq!(owners, ["uid-of-b"]);
}

#[tokio::test]
#[ignore = "needs root and the control plane; make test runs it"]
async fn only_a_leader_reports() {
    let (_bed, client) = cluster().await;
    let states: Api<ConfigurationState> = Api::namespaced(client.clone(), NAMESPACE);
    let (appointment, leadership) = Appointment::new();
    let mut reporter = Reporter::start(&store(&client, None), Program::Controller, Some(leadership));
    reporter.tell(verdict(&["one"]));
    quiet(&mut reporter).await;
    assert!(states.get_opt("controller").await.unwrap().is_none());
    appointment.set(true);
    written(&mut reporter, 2).await;
    let object = states.get("controller").await.unwrap();
    let condition = &object.status.as_ref().unwrap().conditions.as_ref().unwrap()[0];
    assert_eq!((&*condition.kind, &*condition.reason), ("poolReconcilerValid", "ConfigurationError"));
    assert_eq!(object.owner_references().len(), 0, "it runs in no Pod");
    appointment.set(false);
    reporter.tell(verdict(&[]));
    quiet(&mut reporter).await;
    assert_eq!(states.get("controller").await.unwrap().resource_version(), object.resource_version());
}
