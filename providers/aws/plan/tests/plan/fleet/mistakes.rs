//! A live Service that asks for something that cannot be: its load balancer stays, and its targets are followed.

use std::time::Duration;

use landfall_aws_plan::{Hostname, Observation, Rhythm};
use landfall_model::ServiceKey;

use super::{Fleet, shared, weighted};
use crate::targets::pod;

/// Something that cannot be, and no way to tell what was meant.
fn mistake(fleet: &mut Fleet) {
    fleet.annotate("web-0", "aws-load-balancer-scheme", "public");
    fleet.settle();
    assert_eq!(fleet.status("web-0"), (Hostname::Leave, "InvalidAnnotation"));
}

#[test]
fn nodes_are_followed_after_a_mistake() {
    let mut fleet = Fleet::new(1, Rhythm::default());
    fleet.converge();
    mistake(&mut fleet);
    fleet.change("web-0", |service| service.ports.truncate(1));
    fleet.jobs.clear();
    fleet.node("n3", Some("i-03"));
    fleet.settle();
    fleet.node("n2", None);
    fleet.pass(Duration::from_mins(5));
    let wanted = vec!["i-01".to_owned(), "i-03".to_owned()];
    assert_eq!(fleet.registered(), [wanted.clone(), wanted], "both ports, as before the mistake");
    assert_eq!(fleet.calls(), 4, "nothing else is touched: {:?}", fleet.kinds());
    assert_eq!(fleet.status("web-0"), (Hostname::Leave, "InvalidAnnotation"));

    fleet.change("web-0", |service| service.annotations.clear());
    fleet.converge();
    assert!(matches!(fleet.status("web-0"), (Hostname::Publish(_), "Active")));
    assert_eq!(fleet.aws.target_groups.len(), 1, "now the other port goes");
}

#[test]
fn who_never_saw_it_without_the_mistake_follows_nobody() {
    let mut fleet = Fleet::new(1, Rhythm::default());
    fleet.converge();
    mistake(&mut fleet);
    fleet.restart(Rhythm::default());
    fleet.node("n3", Some("i-03"));
    fleet.pass(Duration::from_mins(5));
    assert_eq!(fleet.registered(), [["i-01", "i-02"], ["i-01", "i-02"]]);
}

#[test]
fn pods_are_followed_after_a_mistake_and_those_of_a_service_that_is_gone_stay() {
    let mut fleet = weighted::fleet(1, "ip");
    let theirs = weighted::theirs(&fleet);
    weighted::observe(&mut fleet, Some(theirs));
    weighted::slice(&mut fleet, &[("c-1", "10.0.97.5")]);
    fleet.slice("web-0-x", "web-0", vec![pod("a", "10.0.97.4")]);
    fleet.converge();
    assert_eq!(fleet.status("web-0").1, "Active");
    let own = |fleet: &Fleet| fleet.registered().into_iter().flatten().collect::<Vec<_>>();
    let (before, relists) = (weighted::targets(&fleet), fleet.relists);

    weighted::observe(&mut fleet, None);
    fleet.world.observe(Observation::Slice(ServiceKey::new("shop", "canary-x"), None));
    fleet.slice("web-0-x", "web-0", vec![pod("b", "10.0.97.7")]);
    fleet.pass(Duration::from_mins(1));
    assert_eq!(fleet.status("web-0").1, "Conflict");
    assert_eq!(weighted::targets(&fleet), before);
    let all = own(&fleet);
    assert!(all.contains(&"10.0.97.7".to_owned()) && !all.contains(&"10.0.97.4".to_owned()), "{all:?}");

    mistake(&mut fleet);
    fleet.slice("web-0-x", "web-0", vec![pod("c", "10.0.97.8")]);
    fleet.pass(Duration::from_mins(1));
    assert!(own(&fleet).contains(&"10.0.97.8".to_owned()));
    assert_eq!(fleet.relists, relists, "nothing that is needed was forgotten");
    fleet.annotate("web-0", "aws-load-balancer-scheme", "internal");
    let theirs = weighted::theirs(&fleet);
    weighted::observe(&mut fleet, Some(theirs));
    weighted::slice(&mut fleet, &[("c-2", "10.0.97.6")]);
    fleet.converge();
    assert_eq!(fleet.status("web-0").1, "Active");
    assert_ne!(weighted::targets(&fleet), before);
}

#[test]
fn a_service_remembers_the_targets_that_it_gets_after_a_mistake() {
    let mut fleet = shared::fleet(Rhythm::default());
    fleet.converge();
    shared::join(&mut fleet);
    mistake(&mut fleet);
    fleet.node("n3", Some("i-03"));
    fleet.settle();
    fleet.node("n2", None);
    fleet.pass(Duration::from_mins(5));
    assert_eq!(shared::there(&fleet), ["i-01", "i-03", "i-99"]);
    let ledger = shared::ledger(&fleet).unwrap();
    assert!(ledger.contains("i-03") && !ledger.contains("i-99"), "{ledger}");
}
