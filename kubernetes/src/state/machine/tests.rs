use serde_json::{Value, json};

use super::*;

/// A program's machine with an API server that keeps one object.
struct Bench {
    machine: Machine,
    object: Option<Value>,
    version: u64,
    now: Instant,
    wall: Timestamp,
}

impl Bench {
    fn new() -> Self {
        let owner = OwnerPod { name: "speaker-x".into(), uid: "uid-x".into() };
        Self {
            machine: Machine::new(&Program::Speaker("n1".into()), Some(owner)),
            object: None,
            version: 10,
            now: Instant::now(),
            wall: "2026-01-01T00:00:00Z".parse().unwrap(),
        }
    }

    fn want(&mut self, faults: &[&str]) {
        self.machine.want(Verdict::of(faults.iter().map(|fault| (*fault).to_owned())));
    }

    fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.wall += Duration::from_secs(seconds);
    }

    fn next(&mut self) -> Option<Write> {
        self.machine.write(0, self.now, self.wall)
    }

    fn state(&self) -> Box<ConfigurationState> {
        serde_json::from_value(self.object.clone().unwrap()).unwrap()
    }

    /// The server does what is asked.
    fn serve(&mut self, write: &Write) {
        self.version += 1;
        let object = self.object.get_or_insert_with(|| json!({ "metadata": { "name": "speaker-n1" } }));
        match write {
            Write::Metadata => {
                let labels = json!({ "metallb.io/component-type": "speaker", "metallb.io/node-name": "n1", "own": "label" });
                object["metadata"]["labels"] = labels;
                object["metadata"]["ownerReferences"] =
                    json!([{ "apiVersion": "v1", "kind": "Pod", "name": "speaker-x", "uid": "uid-x" }]);
            }
            Write::Status(status) => object["status"] = json!(status),
        }
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
    }

    /// Carries out all that is asked for now, and says what it was.
    fn settle(&mut self) -> Vec<&'static str> {
        let mut asked = Vec::new();
        while let Some(write) = self.next() {
            assert!(self.next().is_none(), "one at a time");
            self.serve(&write);
            assert!(!self.machine.written(Ok(self.state()), 0, self.now));
            asked.push(match write {
                Write::Metadata => "metadata",
                Write::Status(_) => "status",
            });
            assert!(asked.len() < 10, "it never ends: {asked:?}");
        }
        asked
    }

    /// Somebody else changes the object.
    fn edit(&mut self, pointer: &str, value: Value) {
        self.version += 1;
        let object = self.object.as_mut().unwrap();
        *object.pointer_mut(pointer).unwrap() = value;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let state = self.state();
        self.machine.see(state);
    }

    fn says(&self) -> [String; 4] {
        let status = &self.object.as_ref().unwrap()["status"];
        let condition = &status["conditions"][0];
        assert_eq!(condition["type"], "configReconcilerValid");
        assert_eq!(condition["message"], status["errorSummary"]);
        [&status["result"], &status["errorSummary"], &condition["reason"], &condition["lastTransitionTime"]]
            .map(|text| text.as_str().unwrap().to_owned())
    }
}

fn in_place(faults: &[&str]) -> Bench {
    let mut bench = Bench::new();
    bench.machine.list(None);
    bench.want(faults);
    assert_eq!(bench.settle(), ["metadata", "status"]);
    bench
}

#[test]
fn nothing_is_written_before_there_is_something_to_say_and_to_compare() {
    let mut bench = Bench::new();
    assert_eq!(bench.next(), None);
    bench.want(&[]);
    assert_eq!(bench.next(), None, "the object is not known yet");
    bench.machine.list(None);
    assert_eq!(bench.settle(), ["metadata", "status"]);
    assert_eq!(bench.says(), ["Valid", "", "Reconciled", "2026-01-01T00:00:00Z"]);

    let mut bench = Bench::new();
    bench.machine.list(None);
    assert_eq!(bench.next(), None, "there is nothing to say yet");
}

#[test]
fn only_what_differs_is_written_and_the_time_follows_the_status() {
    let mut bench = in_place(&[]);
    bench.later(5);
    bench.want(&[]);
    assert_eq!(bench.settle(), [""; 0]);
    bench.want(&["b", "a"]);
    assert_eq!(bench.settle(), ["status"]);
    assert_eq!(bench.says(), ["Invalid", "a; b", "ConfigurationError", "2026-01-01T00:00:05Z"]);
    bench.later(5);
    bench.want(&["a", "c"]);
    assert_eq!(bench.settle(), ["status"]);
    assert_eq!(bench.says(), ["Invalid", "a; c", "ConfigurationError", "2026-01-01T00:00:05Z"]);
    bench.later(5);
    bench.want(&[]);
    assert_eq!(bench.settle(), ["status"]);
    assert_eq!(bench.says(), ["Valid", "", "Reconciled", "2026-01-01T00:00:15Z"]);
}

#[test]
fn a_successor_goes_by_what_it_finds() {
    let mut before = in_place(&["a"]);
    before.later(60);
    let mut bench = Bench { machine: Bench::new().machine, ..before };
    let found = bench.state();
    bench.machine.list(Some(found));
    bench.want(&["a"]);
    assert_eq!(bench.settle(), [""; 0], "it says so already");
    bench.want(&["b"]);
    bench.settle();
    assert_eq!(bench.says()[3], "2026-01-01T00:00:00Z", "it was invalid before");
    // In another Pod it is another's to delete.
    let pod = OwnerPod { name: "speaker-y".into(), uid: "uid-y".into() };
    let mut other = Machine::new(&Program::Speaker("n1".into()), Some(pod));
    other.list(Some(bench.state()));
    other.want(Verdict::of(["b".to_owned()]));
    assert_eq!(other.write(0, bench.now, bench.wall), Some(Write::Metadata));
}

#[test]
fn echoes_of_own_writes_are_no_edits() {
    let mut bench = in_place(&["a"]);
    let old = bench.state();
    bench.want(&["b"]);
    bench.settle();
    bench.machine.see(old.clone());
    assert_eq!(bench.next(), None);
    bench.machine.gone(&old);
    assert_eq!(bench.next(), None, "one of its name is there since");
    let newest = bench.state();
    bench.machine.list(Some(newest));
    assert_eq!((bench.next(), bench.machine.wake()), (None, None));
}

#[test]
fn what_somebody_else_changes_is_mended_ever_more_slowly() {
    let mut bench = in_place(&["a"]);
    let mut pauses = Vec::new();
    for (pointer, value, mends) in [
        ("/status/result", json!("Valid"), "status"),
        ("/status/errorSummary", json!("nothing"), "status"),
        ("/status/conditions/0/reason", json!("Bored"), "status"),
        ("/metadata/labels/metallb.io~1node-name", json!("n2"), "metadata"),
        ("/metadata/ownerReferences", json!([]), "metadata"),
    ] {
        bench.edit(pointer, value);
        assert_eq!(bench.next(), None);
        let at = bench.machine.wake().unwrap();
        pauses.push((at - bench.now).as_millis());
        bench.now = at;
        assert_eq!(bench.settle(), [mends], "{pointer}");
        assert_eq!(bench.machine.wake(), None);
    }
    assert_eq!(pauses, [250, 500, 1000, 2000, 4000]);
    bench.edit("/metadata/labels/own", json!("changed"));
    assert_eq!((bench.next(), bench.machine.wake()), (None, None), "not ours");
    // What has changed here does not wait for that.
    bench.want(&["b"]);
    assert_eq!(bench.settle(), ["status"]);
}

#[test]
fn a_deleted_one_comes_back_as_it_was() {
    let mut bench = in_place(&["a"]);
    bench.later(30);
    bench.version += 1;
    let mut deleted = bench.state();
    deleted.metadata.resource_version = Some(bench.version.to_string());
    bench.object = None;
    bench.machine.gone(&deleted);
    assert_eq!(bench.next(), None);
    bench.now = bench.machine.wake().unwrap();
    assert_eq!(bench.settle(), ["metadata", "status"]);
    assert_eq!(bench.says(), ["Invalid", "a", "ConfigurationError", "2026-01-01T00:00:00Z"]);
}

#[test]
fn a_failed_write_is_tried_again_as_the_server_asks() {
    let mut bench = in_place(&[]);
    bench.want(&["a"]);
    let unavailable = || WriteError::Unavailable { message: "away".into() };
    let rejected = || WriteError::Rejected { code: 403, reason: "Forbidden".into(), message: String::new() };
    for (error, first, pause) in [
        (unavailable(), true, 250),
        (unavailable(), false, 500),
        (WriteError::Throttled { after: Duration::from_secs(7) }, false, 8_000),
        (rejected(), false, 32_000),
    ] {
        assert!(matches!(bench.next(), Some(Write::Status(_))));
        assert_eq!(bench.machine.written(Err(&error), 0, bench.now), first);
        assert_eq!(bench.next(), None);
        let at = bench.machine.wake().unwrap();
        assert_eq!((at - bench.now).as_millis(), pause, "{error}");
        // Another verdict does not make the server well.
        bench.want(&["a", &pause.to_string()]);
        assert_eq!(bench.next(), None);
        bench.now = at;
    }
    assert_eq!(bench.settle(), ["status"]);
    assert!(bench.machine.wake().is_none());
    bench.want(&[]);
    assert!(bench.next().is_some());
    assert!(bench.machine.written(Err(&unavailable()), 0, bench.now), "the first one since a success");
}

#[test]
fn a_status_without_its_object_brings_the_object_back() {
    let mut bench = in_place(&[]);
    bench.object = None;
    bench.want(&["a"]);
    assert!(matches!(bench.next(), Some(Write::Status(_))));
    bench.machine.written(Err(&WriteError::Gone { message: String::new() }), 0, bench.now);
    bench.now = bench.machine.wake().unwrap();
    assert_eq!(bench.settle(), ["metadata", "status"]);
}

#[test]
fn a_server_that_makes_something_else_of_it_is_not_kept_busy() {
    let mut bench = Bench::new();
    bench.machine.list(None);
    bench.want(&["a"]);
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let write = bench.next().unwrap();
        bench.serve(&write);
        bench.object.as_mut().unwrap()["metadata"]["labels"] = json!({});
        let state = bench.state();
        bench.machine.written(Ok(state), 0, bench.now);
        assert_eq!(bench.next(), None);
        let at = bench.machine.wake().unwrap();
        pauses.push((at - bench.now).as_millis());
        bench.now = at;
    }
    assert_eq!(pauses, [250, 500, 1000, 2000]);
}
