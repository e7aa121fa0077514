use std::path::PathBuf;

use landfall_kubernetes::write::FileWriter;

use super::*;

/// A store in a folder of its own, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("landfall-outbox-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("status")).unwrap();
        Self(path)
    }

    fn store(&self) -> Store {
        Store::Files(FileWriter::new(&self.0.join("status")))
    }

    async fn services(&self, node: &str) -> Vec<String> {
        let found = self.store().l2_statuses(node).await.unwrap();
        let mut names: Vec<String> = found.into_iter().map(|found| found.service.name.into()).collect();
        names.sort_unstable();
        names
    }

    async fn write(&self, node: &str, service: &str) {
        let status = Some(L2Status::default());
        let write = L2StatusWrite { service: key(service), node: node.into(), status };
        self.store().l2_status(&write).await.unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn key(service: &str) -> ServiceKey {
    ServiceKey::new("shop", service)
}

fn event() -> EventWrite {
    EventWrite {
        service: key("a"),
        uid: "u".into(),
        severity: landfall_kubernetes::write::Severity::Normal,
        reason: "nodeAssigned",
        action: "Announce",
        message: String::new(),
    }
}

async fn drain(outbox: &mut Outbox) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    while let Some(done) = outbox.next().await {
        let (kind, error) = done.outcome();
        assert!(error.is_none(), "{kind}: {error:?}");
        kinds.push(kind);
    }
    kinds
}

#[tokio::test]
async fn the_latest_status_of_a_service_stays() {
    let place = Place::new("latest");
    let mut outbox = Outbox::new(place.store(), "n1");
    for (service, announced) in [
        ("a", true),
        ("b", true),
        ("a", false),
        ("b", false),
        ("b", true),
        ("c", false),
        ("a", true),
        ("a", false),
    ] {
        outbox.status(key(service), announced.then(L2Status::default));
    }
    let writes = drain(&mut outbox).await.len();
    assert_eq!(place.services("n1").await, ["b"]);
    assert!(writes <= 5, "what was replaced while it waited was not written: {writes}");
    assert!(outbox.is_idle());
}

#[tokio::test]
async fn writes_that_fail_again_and_again_hold_up_none_of_the_others() {
    let place = Place::new("failing");
    let failing: Vec<String> = (0..=IN_FLIGHT).map(|number| format!("a{number}")).collect();
    for service in &failing {
        place.write("n1", service).await;
    }
    // A folder in the place of each file, so that it cannot be replaced.
    for file in std::fs::read_dir(place.0.join("status")).unwrap() {
        let file = file.unwrap().path();
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir_all(file.join("in the way")).unwrap();
    }
    let mut outbox = Outbox::new(place.store(), "n1");
    for service in &failing {
        outbox.status(key(service), Some(L2Status::default()));
    }
    outbox.status(key("z"), Some(L2Status::default()));
    assert!(outbox.event(event()));
    let mut missing = BTreeSet::from(["event", "status"]);
    let all = async {
        while !missing.is_empty() {
            let done = outbox.next().await.unwrap();
            let (kind, error) = done.outcome();
            if error.is_none() {
                missing.remove(kind);
            }
        }
    };
    tokio::time::timeout(SHORT_PAUSE * 10, all).await.unwrap();
}

#[tokio::test]
async fn statuses_that_an_earlier_process_left_go() {
    let place = Place::new("own");
    for service in ["kept", "left", "back"] {
        place.write("n1", service).await;
    }
    place.write("n2", "left").await;
    let mut outbox = Outbox::new(place.store(), "n1");
    outbox.status(key("kept"), Some(L2Status::default()));
    outbox.status(key("back"), None);
    outbox.status(key("back"), Some(L2Status::default()));
    outbox.tidy("n1");
    drain(&mut outbox).await;
    assert_eq!(place.services("n1").await, ["back", "kept"]);
    assert_eq!(place.services("n2").await, ["left"], "not ours to judge");
}

#[tokio::test]
async fn statuses_of_a_dead_node_go_where_this_node_took_over() {
    let place = Place::new("dead");
    for service in ["taken", "elsewhere"] {
        place.write("n2", service).await;
    }
    let mut outbox = Outbox::new(place.store(), "n1");
    outbox.status(key("taken"), Some(L2Status::default()));
    drain(&mut outbox).await;
    outbox.tidy("n2");
    drain(&mut outbox).await;
    assert_eq!(place.services("n2").await, ["elsewhere"]);
    assert_eq!(place.services("n1").await, ["taken"]);
}

#[tokio::test]
async fn what_nobody_took_goes_again_and_what_was_refused_does_not() {
    let place = Place::new("again");
    let mut outbox = Outbox::new(place.store(), "n1");
    let message = String::new();
    let refused = |code| WriteError::Rejected { code, reason: message.clone(), message: message.clone() };
    for (error, again) in [
        (refused(403), false),
        (WriteError::Throttled { after: Duration::ZERO }, true),
        (WriteError::Gone { message: message.clone() }, false),
        (WriteError::Unavailable { message: message.clone() }, true),
        // It may not have read the roles yet.
        (refused(403), true),
        (refused(422), false),
    ] {
        let event = Done::Event(Box::new(event()), Err(error));
        outbox.take_in(&event);
        outbox.start();
        let expected: &[&str] = if again { &["event"] } else { &[] };
        assert_eq!(drain(&mut outbox).await, expected, "{:?}", event.outcome());
    }
}

#[tokio::test]
async fn what_could_not_be_removed_is_looked_for_again_once() {
    let place = Place::new("removed");
    place.write("n2", "taken").await;
    let mut outbox = Outbox::new(place.store(), "n1");
    outbox.status(key("taken"), Some(L2Status::default()));
    drain(&mut outbox).await;
    for _ in 0..3 {
        let error = WriteError::Unavailable { message: String::new() };
        outbox.take_in(&Done::Removed("n2".into(), Err(error)));
    }
    outbox.start();
    assert_eq!(drain(&mut outbox).await, ["list", "removal"]);
    assert!(place.services("n2").await.is_empty());
}

#[tokio::test]
async fn events_are_bounded() {
    let place = Place::new("events");
    let mut outbox = Outbox::new(place.store(), "n1");
    let taken = (0..EVENTS_WAITING * 2).filter(|_| outbox.event(event())).count();
    assert_eq!(taken, EVENTS_WAITING + IN_FLIGHT);
    assert_eq!(drain(&mut outbox).await.len(), taken);
}
