//! What speakers say of a Service becomes its condition `landfall.dev/Announced`.

use std::time::Duration;

use landfall_model::{Announcement, Observation, Reason, Verdict, Verification};
use landfall_plan::condition::ANNOUNCED;

use crate::cluster::*;

const SETTLE: Duration = Duration::from_secs(1);

fn cluster() -> Cluster {
    let mut cluster = Cluster::new(&[pool("a", &["192.0.2.0/29"])]);
    cluster.set(service("web"));
    cluster.take_writes();
    cluster.take_events();
    cluster
}

fn says(cluster: &mut Cluster, node: &str, verification: Option<Verification>) {
    let said = Announcement { service: key("web"), node: node.into(), verification };
    cluster.world.observe(Observation::Announcement(format!("l2-{node}").into(), Some(Box::new(said))));
    cluster.settle();
}

fn takes_back(cluster: &mut Cluster, node: &str) {
    cluster.world.observe(Observation::Announcement(format!("l2-{node}").into(), None));
    cluster.settle();
}

fn found(result: Verdict, by: &str) -> Option<Verification> {
    let since = Some("2026-11-27T15:00:00Z".into());
    Some(Verification { result, since, by: Some(by.into()), other: None, gap_ms: Some(170) })
}

fn announced(cluster: &Cluster) -> Option<(bool, Reason, String)> {
    cluster.condition("web", ANNOUNCED).map(|one| (one.status, one.reason, one.message.to_string()))
}

#[test]
fn each_result_is_a_reason_and_the_message_says_by_whom() {
    for (result, status, reason, part) in [
        (
            Verdict::Verified,
            true,
            Reason::Verified,
            "verified on the wire by node \"n2\", since 2026-11-27T15:00:00Z",
        ),
        (Verdict::Pending, true, Reason::Unverified, "not verified yet"),
        (Verdict::Unable, true, Reason::Unverified, "no other speaker on the segment"),
        (Verdict::Silent, false, Reason::NotHeard, "not heard on the wire by node \"n2\""),
        (
            Verdict::Wrong,
            false,
            Reason::OtherHostAnswers,
            "another host answers on the wire, found by node \"n2\"",
        ),
    ] {
        let mut cluster = cluster();
        assert_eq!(announced(&cluster), None, "nobody announced it yet");
        says(&mut cluster, "n1", found(result, "n2"));
        cluster.pass(SETTLE);
        let (was, why, message) = announced(&cluster).unwrap();
        assert_eq!((was, why), (status, reason));
        for part in ["node \"n1\" announces it", part, "nobody had it for 170 ms at the last takeover"] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!((cluster.take_writes().len(), cluster.take_events()), (1, Vec::<String>::new()));
        assert_eq!(
            cluster.allocated("web"),
            Some((true, Reason::Allocated)),
            "which it has nothing to do with"
        );
    }
}

#[test]
fn of_the_steps_of_a_takeover_only_the_last_one_is_written() {
    let mut cluster = cluster();
    says(&mut cluster, "n1", None);
    cluster.pass(SETTLE);
    assert_eq!(announced(&cluster).unwrap().2, "node \"n1\" announces it", "an older version says no more");
    cluster.take_writes();
    says(&mut cluster, "n2", found(Verdict::Pending, "n3"));
    takes_back(&mut cluster, "n1");
    cluster.pass(SETTLE / 4);
    says(&mut cluster, "n2", found(Verdict::Verified, "n3"));
    cluster.pass(SETTLE / 4);
    assert!(cluster.take_writes().is_empty());
    cluster.pass(SETTLE);
    assert_eq!(cluster.take_writes().len(), 1);
    assert_eq!(announced(&cluster).unwrap().1, Reason::Verified);
    cluster.pass(SETTLE * 60);
    assert!(cluster.take_writes().is_empty(), "nothing is written without a change");
}

#[test]
fn what_goes_to_and_fro_is_written_once_a_second() {
    let mut cluster = cluster();
    for step in 0..100 {
        let result = if step % 2 == 0 { Verdict::Verified } else { Verdict::Silent };
        says(&mut cluster, "n1", found(result, "n2"));
        cluster.pass(SETTLE / 10);
    }
    assert!(cluster.take_writes().len() <= 10);
}

#[test]
fn who_was_verified_counts_while_two_announce() {
    let mut cluster = cluster();
    says(&mut cluster, "n1", found(Verdict::Silent, "n3"));
    says(&mut cluster, "n2", found(Verdict::Verified, "n3"));
    cluster.pass(SETTLE);
    assert!(announced(&cluster).unwrap().2.starts_with("node \"n2\""));
}

#[test]
fn when_nobody_announces_it_any_more_it_says_so() {
    let mut cluster = cluster();
    says(&mut cluster, "n1", found(Verdict::Verified, "n2"));
    cluster.pass(SETTLE);
    takes_back(&mut cluster, "n1");
    cluster.pass(SETTLE);
    let (status, reason, _) = announced(&cluster).unwrap();
    assert_eq!((status, reason), (false, Reason::NotAnnounced));
    assert!(cluster.take_events().is_empty());
}

#[test]
fn a_controller_that_cannot_see_what_speakers_say_leaves_it_as_it_is() {
    let mut cluster = cluster();
    says(&mut cluster, "n1", found(Verdict::Verified, "n2"));
    cluster.pass(SETTLE);
    let mut restarted = cluster.restarted();
    restarted.pass(SETTLE * 60);
    assert!(restarted.take_writes().is_empty());
    assert_eq!(announced(&restarted).unwrap().1, Reason::Verified);
}
