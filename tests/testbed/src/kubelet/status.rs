//! What a Pod's status says, from what its containers do. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

/// One container, as its runner sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) init: bool,
    pub(crate) state: State,
    pub(crate) last: Option<State>,
    pub(crate) restarts: i32,
    pub(crate) started: bool,
    pub(crate) ready: bool,
}

/// What a container does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    Waiting { reason: &'static str, message: String },
    Running { since: Timestamp },
    Terminated { code: i32, signal: Option<i32>, started: Timestamp, finished: Timestamp },
}

/// What does not change while a Pod runs.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) host_addresses: Vec<IpAddr>,
    pub(crate) pod_addresses: Vec<IpAddr>,
    pub(crate) start: Timestamp,
}

/// Since when each condition has the value that it has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transitions(BTreeMap<&'static str, (bool, Timestamp)>);

impl Transitions {
    fn since(&mut self, kind: &'static str, value: bool, now: Timestamp) -> Timestamp {
        let entry = self.0.entry(kind).or_insert((value, now));
        if entry.0 != value {
            *entry = (value, now);
        }
        entry.1
    }
}

/// The status as a patch (strategic merge: conditions of others stay).
pub(crate) fn status(
    pod: &Pod,
    place: &Place,
    runs: &[Run],
    transitions: &mut Transitions,
    now: Timestamp,
) -> Value {
    let policy = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always");
    let initialised = runs.iter().filter(|run| run.init).all(succeeded);
    let ready = initialised && runs.iter().filter(|run| !run.init).all(|run| run.ready);
    let mut condition = |kind: &'static str, value: bool, reason: &str| {
        let since = transitions.since(kind, value, now);
        json!({"type": kind, "status": if value { "True" } else { "False" },
            "lastTransitionTime": seconds(since), "lastProbeTime": null,
            "reason": if value { Value::Null } else { json!(reason) }})
    };
    // A strategic merge would add the addresses to those of an earlier sandbox, and the API server refuse all of them.
    let list = |addresses: &[IpAddr]| {
        let entries = addresses.iter().map(|ip| json!({"ip": ip.to_string()}));
        entries.chain([json!({"$patch": "replace"})]).collect::<Vec<_>>()
    };
    let first = |addresses: &[IpAddr]| addresses.first().map(ToString::to_string);
    let of = |init: bool| runs.iter().filter(|run| run.init == init).map(container).collect::<Vec<_>>();
    json!({
        "phase": phase(runs, policy),
        "startTime": seconds(place.start),
        "hostIP": first(&place.host_addresses),
        "hostIPs": list(&place.host_addresses),
        "podIP": first(&place.pod_addresses),
        "podIPs": list(&place.pod_addresses),
        "conditions": [
            condition("PodReadyToStartContainers", true, ""),
            condition("Initialized", initialised, "ContainersNotInitialized"),
            condition("ContainersReady", ready, "ContainersNotReady"),
            condition("Ready", ready && gates_open(pod), "ContainersNotReady"),
        ],
        "initContainerStatuses": of(true),
        "containerStatuses": of(false),
    })
}

/// The phase, as Kubernetes defines it (Pod Lifecycle).
pub(crate) fn phase(runs: &[Run], policy: &str) -> &'static str {
    let failed = |run: &Run| matches!(run.state, State::Terminated { code, .. } if code != 0);
    if runs.iter().any(|run| run.init && failed(run) && policy == "Never") {
        return "Failed";
    }
    if !runs.iter().filter(|run| run.init).all(succeeded) {
        return "Pending";
    }
    let own = || runs.iter().filter(|run| !run.init);
    if own().any(|run| matches!(run.state, State::Waiting { .. }) && run.last.is_none()) {
        return "Pending";
    }
    let ended = own().all(|run| matches!(run.state, State::Terminated { .. }));
    let any_failed = own().any(failed);
    match policy {
        "Never" if ended && any_failed => "Failed",
        "Never" | "OnFailure" if ended && !any_failed => "Succeeded",
        _ => "Running",
    }
}

fn succeeded(run: &Run) -> bool {
    matches!(run.state, State::Terminated { code: 0, .. })
}

fn gates_open(pod: &Pod) -> bool {
    let gates = pod.spec.as_ref().and_then(|spec| spec.readiness_gates.as_deref()).unwrap_or_default();
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    gates.iter().all(|gate| {
        conditions
            .iter()
            .any(|condition| condition.type_ == gate.condition_type && condition.status == "True")
    })
}

fn container(run: &Run) -> Value {
    let Run { name, image, init: _, state, last, restarts, started, ready } = run;
    json!({
        "name": name,
        "image": image,
        "imageID": image,
        "containerID": if *started || last.is_some() { json!(format!("landfall-testbed://{name}")) } else { Value::Null },
        "ready": ready,
        "started": started,
        "restartCount": restarts,
        "state": describe(state),
        "lastState": last.as_ref().map_or(json!({}), describe),
    })
}

fn describe(state: &State) -> Value {
    match state {
        State::Waiting { reason, message } => json!({"waiting": {"reason": reason, "message": message}}),
        State::Running { since } => json!({"running": {"startedAt": seconds(*since)}}),
        State::Terminated { code, signal, started, finished } => json!({"terminated": {
            "exitCode": code,
            "signal": signal,
            "reason": if *code == 0 { "Completed" } else { "Error" },
            "startedAt": seconds(*started),
            "finishedAt": seconds(*finished),
        }}),
    }
}

/// A time as Kubernetes writes it.
fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(init: bool, state: State) -> Run {
        let ready = matches!(state, State::Running { .. });
        Run {
            name: "c".into(),
            image: "i".into(),
            init,
            state,
            last: None,
            restarts: 0,
            started: ready,
            ready,
        }
    }

    fn waiting() -> State {
        State::Waiting { reason: "ContainerCreating", message: String::new() }
    }

    fn running() -> State {
        State::Running { since: Timestamp::UNIX_EPOCH }
    }

    fn ended(code: i32) -> State {
        let at = Timestamp::UNIX_EPOCH;
        State::Terminated { code, signal: None, started: at, finished: at }
    }

    #[test]
    fn phases() {
        let restarted = Run { last: Some(ended(1)), ..run(false, waiting()) };
        for (runs, policy, expected) in [
            (vec![run(false, waiting())], "Always", "Pending"),
            (vec![run(true, running()), run(false, waiting())], "Always", "Pending"),
            (vec![run(true, ended(0)), run(false, running())], "Always", "Running"),
            (vec![run(true, ended(1)), run(false, waiting())], "Never", "Failed"),
            (vec![restarted], "Always", "Running"),
            (vec![run(false, ended(0))], "Never", "Succeeded"),
            (vec![run(false, ended(0))], "OnFailure", "Succeeded"),
            (vec![run(false, ended(1))], "OnFailure", "Running"),
            (vec![run(false, ended(0)), run(false, ended(1))], "Never", "Failed"),
            (vec![run(false, ended(0))], "Always", "Running"),
        ] {
            assert_eq!(phase(&runs, policy), expected, "{runs:?} {policy}");
        }
    }

    #[test]
    fn a_condition_keeps_its_time_until_it_changes() {
        let pod = Pod::default();
        let place = Place { host_addresses: vec![], pod_addresses: vec![], start: Timestamp::UNIX_EPOCH };
        let mut transitions = Transitions::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let ready_since = |value: &Value| value["conditions"][3]["lastTransitionTime"].clone();
        let first = status(&pod, &place, &[run(false, waiting())], &mut transitions, at(1));
        let second = status(&pod, &place, &[run(false, waiting())], &mut transitions, at(2));
        assert_eq!(ready_since(&first), ready_since(&second));
        let third = status(&pod, &place, &[run(false, running())], &mut transitions, at(3));
        assert_eq!(ready_since(&third), "1970-01-01T00:00:03Z");
        assert_eq!(third["conditions"][3]["status"], "True");
    }

    #[test]
    fn a_closed_gate_keeps_a_pod_unready() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {}, "spec": {"containers": [], "readinessGates": [{"conditionType": "x"}]}}))
        .unwrap();
        let place = Place { host_addresses: vec![], pod_addresses: vec![], start: Timestamp::UNIX_EPOCH };
        let now = Timestamp::UNIX_EPOCH;
        let value = status(&pod, &place, &[run(false, running())], &mut Transitions::default(), now);
        assert_eq!(value["conditions"][2]["status"], "True");
        assert_eq!(value["conditions"][3]["status"], "False");
    }
}
