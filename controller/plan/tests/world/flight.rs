//! Writes that are under way, lost, refused or late.

use std::time::Duration;

use landfall_model::{Instant, Observation, ServiceStatusWrite};
use landfall_plan::{Effect, Outcome};

use crate::cluster::*;

fn cluster() -> Cluster {
    Cluster::new(&[pool("a", &["192.0.2.0/29"])])
}

/// Plans, and returns the only Service write and the time of the next look.
fn one_write(cluster: &mut Cluster) -> (ServiceStatusWrite, Option<Instant>) {
    let plan = cluster.world.plan(cluster.now);
    let mut writes = Vec::new();
    for effect in plan.effects {
        match effect {
            Effect::Service(write) => writes.push(*write),
            Effect::Event { reason, message, .. } => cluster.events.push(format!("{reason}: {message}")),
            Effect::PoolStatus { .. } => {}
        }
    }
    assert_eq!(writes.len(), 1, "{writes:?}");
    (writes.remove(0), plan.recheck)
}

fn writes(cluster: &mut Cluster) -> usize {
    let effects = cluster.world.plan(cluster.now).effects;
    effects.iter().filter(|effect| matches!(effect, Effect::Service(_))).count()
}

#[test]
fn nothing_is_planned_twice_while_a_write_is_under_way() {
    let mut cluster = cluster();
    cluster.apply(service("web"));
    let (write, _) = one_write(&mut cluster);
    assert_eq!(writes(&mut cluster), 0);
    cluster.apply(service("web").asks("192.0.2.5"));
    assert_eq!(writes(&mut cluster), 0, "a change meanwhile waits");
    cluster.world.written(&write, Outcome::Conflict, cluster.now);
    let (write, _) = one_write(&mut cluster);
    assert_eq!(write.resource_version, cluster.stored[&key("web")].resource_version);
    assert_eq!(cluster.write(&write), Outcome::Applied { resource_version: Some("3".into()) });
    assert_eq!(cluster.status("web"), ["192.0.2.5"]);
}

#[test]
fn after_a_conflict_the_next_version_is_waited_for() {
    let mut cluster = cluster();
    cluster.apply(service("web"));
    let (write, _) = one_write(&mut cluster);
    cluster.world.written(&write, Outcome::Conflict, cluster.now);
    cluster.now += Duration::from_secs(600);
    assert_eq!(writes(&mut cluster), 0);
    cluster.apply(service("web"));
    cluster.settle();
    assert_eq!(cluster.status("web"), ["192.0.2.0"]);
    let told = cluster.take_events();
    assert_eq!(told, ["IPAllocated: Assigned IP [\"192.0.2.0\"]"], "and told once");
}

#[test]
fn failures_are_repeated_with_growing_delays() {
    let mut cluster = cluster();
    cluster.apply(service("web"));
    for (outcome, longest) in [(Outcome::Failed { retry_after: None }, 5_000), (Outcome::Refused, 60_000)] {
        let mut cluster = cluster.clone();
        let mut delays = Vec::new();
        for _ in 0..12 {
            let (write, _) = one_write(&mut cluster);
            cluster.world.written(&write, outcome.clone(), cluster.now);
            let recheck = cluster.world.plan(cluster.now).recheck.unwrap();
            delays.push(recheck.since(cluster.now).as_millis());
            cluster.now = recheck - Duration::from_micros(1);
            assert_eq!(writes(&mut cluster), 0, "not before its time");
            cluster.now = recheck;
        }
        assert_eq!(&delays[..4], [100, 200, 400, 800]);
        assert_eq!(delays.last(), Some(&longest));
    }
    let (write, _) = one_write(&mut cluster);
    cluster.world.written(
        &write,
        Outcome::Failed { retry_after: Some(Duration::from_secs(90)) },
        cluster.now,
    );
    let recheck = cluster.world.plan(cluster.now).recheck.unwrap();
    assert_eq!(recheck.since(cluster.now).as_secs(), 90);
    assert_eq!(cluster.events.len(), 1, "one event for all of it: {:?}", cluster.events);
    cluster.pass(Duration::from_secs(90));
    assert_eq!(cluster.status("web"), ["192.0.2.0"]);
}

#[test]
fn a_write_is_not_examined_again_when_the_watch_shows_it() {
    for echo_first in [true, false] {
        let mut cluster = cluster();
        cluster.apply(service("web"));
        let (write, _) = one_write(&mut cluster);
        let outcome = cluster.write(&write);
        let echo = Observation::Service(key("web"), Some(Box::new(cluster.stored[&key("web")].clone())));
        if echo_first {
            cluster.world.observe(echo.clone());
        }
        cluster.world.written(&write, outcome, cluster.now);
        if !echo_first {
            cluster.world.observe(echo);
        }
        assert_eq!(cluster.examined(|_| ()), 0, "echo first: {echo_first}");
        assert_eq!(cluster.world.examined(), 1);
    }
}

#[test]
fn a_change_that_overtakes_the_result_of_a_write_is_not_lost() {
    let mut cluster = cluster();
    cluster.apply(service("web"));
    let (write, _) = one_write(&mut cluster);
    let outcome = cluster.write(&write);
    let changed = cluster.stored[&key("web")].clone().asks("192.0.2.5");
    cluster.apply(changed);
    assert_eq!(writes(&mut cluster), 0);
    cluster.world.written(&write, outcome, cluster.now);
    cluster.settle();
    assert_eq!(cluster.status("web"), ["192.0.2.5"]);
}

#[test]
fn a_writer_that_does_not_learn_the_version_is_waited_for() {
    let mut cluster = cluster();
    cluster.apply(service("web"));
    let (write, _) = one_write(&mut cluster);
    let stale = cluster.world.service(&key("web")).unwrap().clone();
    assert!(matches!(cluster.write(&write), Outcome::Applied { .. }));
    cluster.world.written(&write, Outcome::Applied { resource_version: None }, cluster.now);
    cluster.world.observe(Observation::Service(key("web"), Some(Box::new(stale))));
    cluster.remove_pool("a");
    let plan = cluster.world.plan(cluster.now);
    assert_eq!(plan.effects, [], "the view is that of before the write");
    assert_eq!(plan.recheck, Some(cluster.now + Duration::from_secs(1)), "and if the watch never shows it");
    let echo = cluster.stored[&key("web")].clone();
    cluster.world.observe(Observation::Service(key("web"), Some(Box::new(echo))));
    cluster.settle();
    assert_eq!(cluster.status("web"), [""; 0]);
}

#[test]
fn a_result_for_a_service_of_the_same_name_that_is_gone_is_ignored() {
    let mut cluster = cluster();
    cluster.apply(service("web"));
    let (old, _) = one_write(&mut cluster);
    cluster.apply(service("web").with(|s| s.uid = "successor".into()));
    let (new, _) = one_write(&mut cluster);
    assert_eq!(&*new.uid, "successor");
    cluster.world.written(&old, Outcome::Gone, cluster.now);
    let outcome = cluster.write(&new);
    cluster.world.written(&new, outcome, cluster.now);
    assert_eq!(cluster.status("web"), ["192.0.2.0"]);
    assert_eq!(writes(&mut cluster), 0);
}

#[test]
fn pool_counters_are_written_one_at_a_time_and_repeated() {
    let mut cluster = cluster();
    let reports = |cluster: &mut Cluster| {
        let effects = cluster.world.plan(cluster.now).effects;
        let counts = |effect| match effect {
            Effect::PoolStatus { counts, .. } => Some(counts.assigned_v4),
            Effect::Service(_) | Effect::Event { .. } => None,
        };
        effects.into_iter().filter_map(counts).collect::<Vec<_>>()
    };
    for name in ["a", "b", "c"] {
        cluster.apply(service(name));
    }
    assert_eq!(reports(&mut cluster), [3], "one write for three changes");
    cluster.apply(service("d"));
    assert_eq!(reports(&mut cluster), [0; 0], "one at a time");
    cluster.world.pool_written("a", &Outcome::Failed { retry_after: None }, cluster.now);
    assert_eq!(reports(&mut cluster), [0; 0]);
    cluster.now += Duration::from_millis(100);
    assert_eq!(reports(&mut cluster), [4]);
    cluster.world.pool_written("a", &Outcome::Applied { resource_version: None }, cluster.now);
    assert_eq!(reports(&mut cluster), [0; 0]);
}

#[test]
fn a_pool_made_anew_gets_its_counters_again() {
    let mut cluster = cluster();
    assert_eq!(cluster.pool_writes, 1);
    cluster.remove_pool("a");
    cluster.set_pool(pool("a", &["192.0.2.0/29"]));
    cluster.settle();
    assert_eq!(cluster.pool_writes, 2);
}
