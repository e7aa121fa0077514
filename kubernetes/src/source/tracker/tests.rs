use std::collections::BTreeMap;

use landfall_model::{Labels, Reason};

use super::{super::kind::Namespaces, *};

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("", name)
}

fn labels(value: &str) -> Labels {
    BTreeMap::from([("team".to_owned(), value.to_owned())])
}

fn namespace(name: &str, value: Option<&str>) -> Observation {
    Observation::Namespace(name.into(), value.map(labels))
}

fn broken(message: &str) -> Invalid {
    Invalid { field: "spec".into(), reason: Reason::InvalidValue, message: message.into() }
}

fn invalid(name: &str, message: Option<&str>) -> Observation {
    let name = ObjectName { kind: "Namespace", namespace: "".into(), name: name.into() };
    Observation::Invalid(name, message.map(|message| Box::new(broken(message))))
}

#[test]
fn only_differences_are_said() {
    let mut tracker = Tracker::<Namespaces>::new();
    tracker.begin();
    assert_eq!(tracker.apply(key("a"), Ok(Some(labels("x")))), [namespace("a", Some("x"))]);
    assert_eq!(tracker.apply(key("b"), Ok(Some(labels("x")))), [namespace("b", Some("x"))]);
    assert_eq!(tracker.finish(), []);
    assert_eq!(tracker.apply(key("a"), Ok(Some(labels("x")))), []);
    assert_eq!(tracker.apply(key("a"), Ok(Some(labels("y")))), [namespace("a", Some("y"))]);
    assert_eq!(tracker.delete(&key("a")), [namespace("a", None)]);
    assert_eq!(tracker.delete(&key("a")), []);
}

#[test]
fn a_new_list_reports_what_it_lacks() {
    let mut tracker = Tracker::<Namespaces>::new();
    tracker.begin();
    for name in ["a", "b", "c"] {
        tracker.apply(key(name), Ok(Some(labels("x"))));
    }
    tracker.finish();
    // A list that breaks off says nothing about what it had not reached.
    tracker.begin();
    assert_eq!(tracker.apply(key("c"), Ok(Some(labels("x")))), []);
    tracker.begin();
    assert_eq!(tracker.apply(key("b"), Ok(Some(labels("z")))), [namespace("b", Some("z"))]);
    assert_eq!(tracker.finish(), [namespace("a", None), namespace("c", None)]);
}

#[test]
fn a_broken_version_leaves_the_last_valid_one_in_force() {
    let mut tracker = Tracker::<Namespaces>::new();
    tracker.apply(key("a"), Ok(Some(labels("x"))));
    assert_eq!(tracker.apply(key("a"), Err(broken("no"))), [invalid("a", Some("no"))]);
    assert_eq!(tracker.apply(key("a"), Err(broken("no"))), []);
    assert_eq!(tracker.apply(key("a"), Err(broken("worse"))), [invalid("a", Some("worse"))]);
    assert_eq!(tracker.apply(key("a"), Ok(Some(labels("x")))), [invalid("a", None)]);
    tracker.apply(key("a"), Err(broken("no")));
    assert_eq!(tracker.delete(&key("a")), [invalid("a", None), namespace("a", None)]);
}

#[test]
fn an_object_that_was_never_valid_leaves_without_a_deletion() {
    let mut tracker = Tracker::<Namespaces>::new();
    assert_eq!(tracker.apply(key("a"), Err(broken("no"))), [invalid("a", Some("no"))]);
    assert_eq!(tracker.delete(&key("a")), [invalid("a", None)]);
}

#[test]
fn a_mended_object_is_in_force_before_it_is_no_longer_invalid() {
    let mut tracker = Tracker::<Namespaces>::new();
    tracker.apply(key("a"), Err(broken("no")));
    assert_eq!(
        tracker.apply(key("a"), Ok(Some(labels("x")))),
        [namespace("a", Some("x")), invalid("a", None)]
    );
}
