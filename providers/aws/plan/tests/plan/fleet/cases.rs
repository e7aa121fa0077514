use std::collections::BTreeMap;
use std::time::Duration;

use landfall_aws_plan::{
    Answer, Failure, FailureKind, GatedPod, Hostname, Job, Line, Need, Observation, Op, PodEndpoint,
    READINESS_GATE, Rhythm, Settings, Written,
};
use landfall_model::ServiceKey;

use super::Fleet;
use crate::{aws::Aws, world};

#[test]
fn a_service_is_held_made_shown_and_let_go() {
    let mut fleet = Fleet::new(1, Rhythm::default());
    fleet.settle();
    assert_eq!(fleet.writes[0].what, Written::Finalizer(true), "before anything is made");
    assert_eq!(fleet.status("web-0"), (Hostname::Clear, "Provisioning"), "no name before it answers");
    fleet.aws.settle();
    fleet.pass(Duration::from_secs(11));
    let lb = fleet.aws.load_balancers.values().next().unwrap();
    assert_eq!(fleet.status("web-0"), (Hostname::Publish(lb.dns_name.clone()), "Active"));
    assert_eq!(
        fleet.events("web-0"),
        ["EnsuringLoadBalancer", "EnsuredLoadBalancer", "SuccessfullyReconciled"]
    );

    fleet.change("web-0", |service| service.deleting = true);
    fleet.pass(Duration::from_mins(2));
    assert!(fleet.services.is_empty(), "the finalizer is gone");
    assert!(fleet.aws.load_balancers.is_empty() && fleet.aws.target_groups.is_empty());
    assert_eq!(fleet.aws.security_groups.len(), 2, "those that were there before");
    assert!(fleet.aws.security_groups.values().all(|group| group.ingress.is_empty()));
    assert_eq!(fleet.events("web-0")[3..], ["DeletingLoadBalancer", "DeletedLoadBalancer"]);
}

#[test]
fn no_name_is_published_before_targets_are_registered() {
    let mut fleet = Fleet::new(1, Rhythm::default());
    fleet.fail = Some(("RegisterTargets", FailureKind::Unavailable));
    fleet.settle();
    fleet.aws.settle();
    fleet.world.answered(
        Job::States(fleet.aws.load_balancers.keys().cloned().collect()),
        Ok(Answer::States(
            fleet.aws.load_balancers.iter().map(|(arn, lb)| (arn.clone(), (lb.state, None))).collect(),
        )),
        fleet.now,
    );
    fleet.settle();
    assert_eq!(fleet.status("web-0"), (Hostname::Clear, "Unavailable"));
    fleet.converge();
    assert_eq!(fleet.status("web-0").1, "Active");
    // Later failures leave the name where it is.
    fleet.fail = Some(("RegisterTargets", FailureKind::Refused));
    let (name, node) = world::node("n3", "i-03");
    fleet.world.observe(Observation::Node(name, Some(node)));
    fleet.settle();
    assert!(matches!(fleet.status("web-0"), (Hostname::Publish(_), "Refused")));
}

#[test]
fn a_class_that_is_taken_away_lets_go_and_clears_the_status() {
    let mut fleet = Fleet::new(2, Rhythm::default());
    fleet.converge();
    fleet.change("web-0", |service| service.class = Some("other".into()));
    fleet.pass(Duration::from_mins(2));
    assert_eq!(fleet.aws.load_balancers.len(), 1);
    assert_eq!(fleet.status("web-0"), (Hostname::Clear, ""));
    assert!(fleet.services[&ServiceKey::new("shop", "web-0")].finalizers.is_empty());
    assert_eq!(fleet.status("web-1").1, "Active");
}

#[test]
fn two_hundred_services_cost_a_listing_and_an_audit() {
    let mut fleet = Fleet::new(200, Rhythm::default());
    fleet.converge();
    assert_eq!(fleet.aws.load_balancers.len(), 200);
    let examined = fleet.world.examined();
    fleet.change("web-7", |service| _ = service.annotations.insert("x".to_owned(), "y".to_owned()));
    fleet.settle();
    assert_eq!(fleet.world.examined(), examined + 1, "one change, one Service");

    (fleet.jobs, fleet.writes) = (Vec::new(), Vec::new());
    fleet.pass(Duration::from_mins(30));
    assert_eq!(fleet.calls(), 0);
    assert_eq!(fleet.writes, []);
    let listings = fleet.jobs.iter().filter(|job| matches!(job, Job::List(_))).count();
    assert_eq!(listings, 15);
    let mut audited = BTreeMap::new();
    for job in &fleet.jobs {
        if let Job::Describe(need, _) = job {
            *audited.entry(need.clone()).or_insert(0) += 1;
        }
    }
    assert!(fleet.asked() <= 15 + 1200, "{} questions", fleet.asked());
    assert!(audited.len() >= 990, "nearly each object once: {}", audited.len());
}

#[test]
fn after_a_restart_nothing_is_called_and_each_target_group_is_asked_once() {
    let mut fleet = Fleet::new(20, Rhythm::default());
    fleet.converge();
    fleet.jobs.clear();
    fleet.restart(Rhythm::default());
    fleet.settle();
    assert_eq!(fleet.calls(), 0);
    // The listing, the instances, and the targets of each group.
    assert_eq!(fleet.asked(), 2 + 40);
}

#[test]
fn a_kill_at_any_call_is_repaired() {
    let mut whole = Fleet::new(1, Rhythm::default());
    whole.converge();
    let (total, expected) = (whole.calls(), picture(&whole.aws));
    assert!(total > 5);
    for killed in 0..total {
        let mut fleet = Fleet::new(1, Rhythm::default());
        let mut left = killed;
        for _ in 0..200 {
            if fleet.step(&mut left) == 0 {
                break;
            }
        }
        fleet.restart(Rhythm::default());
        fleet.converge();
        assert_eq!(picture(&fleet.aws), expected, "killed after {killed} calls");
        fleet.change("web-0", |service| service.deleting = true);
        let mut left = killed.min(5);
        for _ in 0..200 {
            if fleet.step(&mut left) == 0 {
                break;
            }
        }
        fleet.restart(Rhythm::default());
        fleet.pass(Duration::from_mins(2));
        assert!(fleet.aws.load_balancers.is_empty() && fleet.aws.target_groups.is_empty());
        assert_eq!(fleet.aws.security_groups.len(), 2, "killed after {killed} calls");
    }
}

pub(super) fn picture(aws: &Aws) -> Vec<String> {
    let mut lines: Vec<String> =
        aws.load_balancers.values().map(|lb| format!("{} {:?}", lb.name, lb.tags)).collect();
    lines.extend(aws.target_groups.values().map(|group| {
        let targets = group.targets.as_ref().unwrap().keys().collect::<Vec<_>>();
        format!("{} {targets:?}", group.name)
    }));
    lines.extend(aws.security_groups.values().map(|group| format!("{} {}", group.name, group.ingress.len())));
    lines
}

#[test]
fn failures_are_told_and_tried_again_later_and_later() {
    let mut fleet = Fleet::new(2, Rhythm::default());
    fleet.fail = Some(("CreateLoadBalancer", FailureKind::Refused));
    fleet.settle();
    let failed: Vec<&str> = ["web-0", "web-1"]
        .into_iter()
        .filter(|name| fleet.events(name).contains(&"FailedDeployModel"))
        .collect();
    assert_eq!(failed.len(), 1, "the other one is not held up");
    assert_eq!(fleet.aws.load_balancers.len(), 1);
    assert_eq!(fleet.status(failed[0]), (Hostname::Clear, "Refused"));
    let calls = fleet.calls();
    fleet.pass(Duration::from_millis(4900));
    assert_eq!(fleet.calls(), calls, "not before its time");
    fleet.aws.settle();
    fleet.pass(Duration::from_secs(30));
    assert_eq!(fleet.aws.load_balancers.len(), 2);
    fleet.converge();
    assert_eq!(fleet.status(failed[0]).1, "Active");
}

#[test]
fn a_mistake_is_told_once_and_touches_nothing() {
    let mut fleet = Fleet::new(2, Rhythm::default());
    fleet.converge();
    let before = picture(&fleet.aws);
    fleet.jobs.clear();
    fleet.change("web-0", |service| {
        let name = format!("{}aws-load-balancer-scheme", landfall_aws_plan::PREFIX);
        service.annotations.insert(name, "public".to_owned());
    });
    fleet.pass(Duration::from_mins(5));
    assert_eq!(fleet.events("web-0").iter().filter(|reason| **reason == "FailedBuildModel").count(), 1);
    assert_eq!(fleet.status("web-0"), (Hostname::Leave, "InvalidAnnotation"));
    assert_eq!((fleet.calls(), picture(&fleet.aws)), (0, before));
}

#[test]
fn what_is_changed_by_hand_is_put_back_within_a_round() {
    let mut fleet = Fleet::new(3, Rhythm::default());
    fleet.converge();
    let wanted = picture(&fleet.aws);
    let lb = fleet.aws.load_balancers.values_mut().next().unwrap();
    let arn = lb.arn.clone();
    lb.listeners.as_mut().unwrap().remove(&443).expect("a listener");
    let group = fleet.aws.target_groups.values_mut().last().unwrap();
    group.targets.as_mut().unwrap().pop_first();
    fleet.pass(Duration::from_mins(31));
    assert_eq!(fleet.aws.load_balancers[&arn].listeners.as_ref().unwrap().len(), 2);
    assert_eq!(picture(&fleet.aws), wanted);

    let gone = fleet.aws.load_balancers.pop_first().unwrap().0;
    fleet.pass(Duration::from_mins(3));
    fleet.aws.settle();
    fleet.pass(Duration::from_secs(11));
    assert_eq!(fleet.aws.load_balancers.len(), 3, "made again after {gone} was deleted");
}

#[test]
fn a_node_that_joins_is_registered_once_for_each_group() {
    let mut fleet = Fleet::new(20, Rhythm::default());
    fleet.converge();
    fleet.jobs.clear();
    let (name, node) = world::node("n3", "i-03");
    fleet.world.observe(Observation::Node(name, Some(node)));
    fleet.settle();
    assert_eq!(fleet.calls(), 40, "{:#?}", fleet.jobs);
    assert_eq!(fleet.asked(), 1, "the instance");
}

#[test]
fn garbage_is_deleted_only_on_request_and_not_at_once() {
    for delete in [false, true] {
        let rhythm = Rhythm { collect_garbage: delete, ..Rhythm::default() };
        let mut fleet = Fleet::new(2, rhythm.clone());
        fleet.converge();
        // Its finalizer was taken away by hand.
        fleet.services.pop_first();
        fleet.restart(rhythm);
        fleet.pass(Duration::from_mins(3));
        assert_eq!(fleet.world.garbage().count(), 1);
        assert_eq!(fleet.aws.load_balancers.len(), 2);
        fleet.pass(Duration::from_mins(20));
        assert_eq!(fleet.aws.load_balancers.len(), if delete { 1 } else { 2 });
        assert_eq!(fleet.aws.target_groups.len(), if delete { 2 } else { 4 });
        assert_eq!(fleet.world.garbage().count(), usize::from(!delete));
    }
}

#[test]
fn what_namespaces_that_are_not_watched_have_is_left_alone() {
    let mut fleet = Fleet::new(1, Rhythm::default());
    let mut other = fleet.services.values().next().unwrap().clone();
    other.key = ServiceKey::new("other", "web");
    other.uid = "uid-other".into();
    fleet.set(other);
    fleet.converge();
    fleet.services.retain(|key, _| &*key.namespace == "shop");
    let rules = |fleet: &Fleet| fleet.aws.security_groups[&"sg-nodes".into()].ingress.clone();
    let before = rules(&fleet);
    let settings = Settings { namespace: Some("shop".to_owned()), ..Settings::new("harbor", "vpc-1") };
    fleet.restart_with(settings, Rhythm { collect_garbage: true, ..Rhythm::default() });
    fleet.pass(Duration::from_mins(30));
    assert_eq!((fleet.world.garbage().count(), fleet.aws.load_balancers.len()), (0, 2));
    fleet.change("web-0", |service| service.deleting = true);
    fleet.pass(Duration::from_mins(30));
    let left: Vec<&str> = fleet.aws.load_balancers.values().map(|lb| &*lb.name).collect();
    assert!(matches!(left[..], [name] if name.starts_with("k8s-other-web-")), "{left:?}");
    assert!(fleet.services.is_empty() && !before.is_empty());
    assert_eq!(rules(&fleet), before, "the other one is still let in");
}

#[test]
fn pods_wait_for_their_target_and_open_the_group_of_their_interface() {
    let mut fleet = Fleet::new(0, Rhythm::default());
    let mut service = world::World::new().service;
    service
        .annotations
        .insert(format!("{}aws-load-balancer-nlb-target-type", landfall_aws_plan::PREFIX), "ip".to_owned());
    service.ports.truncate(1);
    fleet.set(service);
    let endpoint = PodEndpoint {
        pod: "web-a".into(),
        address: "10.0.97.5".parse().unwrap(),
        node: Some("n1".into()),
        port_name: "http".into(),
        port: 8080,
        ready: false,
        serving: false,
        terminating: false,
        containers_ready: false,
        readiness_gates: Vec::new(),
    };
    let slice = ServiceKey::new("shop", "web-x");
    fleet.world.observe(Observation::Slice(slice, Some(("web".into(), vec![endpoint]))));
    fleet.converge();
    let group = fleet.aws.target_groups.values().next().unwrap();
    assert!(group.targets.as_ref().unwrap().is_empty());
    assert_eq!(fleet.status("web").1, "NoTargets");

    let gate = format!("{READINESS_GATE}{}", group.name);
    let gated = GatedPod { containers_ready: true, gates: vec![gate.as_str().into()] };
    fleet.world.observe(Observation::Pod(ServiceKey::new("shop", "web-a"), Some(gated)));
    fleet.settle();
    let told = |fleet: &Fleet| {
        let gates = fleet.writes.iter().filter_map(|write| match &write.what {
            Written::Gate(gate) => Some((gate.healthy, gate.reason)),
            Written::Finalizer(_) | Written::Status(_) | Written::Event(..) | Written::Ledger(_) => None,
        });
        gates.collect::<Vec<_>>()
    };
    assert_eq!(told(&fleet), [(false, "NotRegistered"), (false, "initial")]);
    assert_eq!(fleet.aws.security_groups[&"sg-nodes".into()].ingress.len(), 1);
    fleet.aws.settle();
    fleet.pass(Duration::from_secs(11));
    assert_eq!(told(&fleet).last(), Some(&(true, "healthy")));
    fleet.jobs.clear();
    fleet.pass(Duration::from_secs(60));
    assert_eq!(fleet.asked(), 0, "nobody waits any more");
}

#[test]
fn an_answer_that_is_older_than_a_call_is_not_believed() {
    let mut fleet = Fleet::new(1, Rhythm::default());
    fleet.converge();
    fleet.restart(Rhythm::default());
    let effects = fleet.world.plan(fleet.now);
    for job in effects.jobs {
        let answer = fleet.send(&job);
        fleet.world.answered(job, answer, fleet.now);
    }
    // Targets are asked for; before the answer, a change to another part has been made and recorded.
    let late: Vec<(Job, Result<Answer, Failure>)> = fleet
        .world
        .plan(fleet.now)
        .jobs
        .into_iter()
        .map(|job| {
            let answer = fleet.send(&job);
            (job, answer)
        })
        .collect();
    let about = |job: &Job| matches!(job, Job::Describe(Need::Targets(_), _));
    assert_eq!(late.iter().filter(|(job, _)| about(job)).count(), 2);
    let arn = fleet.aws.target_groups.keys().next().unwrap().clone();
    let target = fleet.aws.target_groups[&arn].targets.as_ref().unwrap().keys().next().unwrap().clone();
    let op = Op::DeregisterTargets { arn: arn.clone(), targets: vec![target] };
    let outcome = fleet.aws.apply(&op).unwrap();
    let line = Line::Service(ServiceKey::new("shop", "web-0"));
    fleet.world.answered(Job::Call(line, op), Ok(Answer::Called(outcome)), fleet.now);
    for (job, answer) in late {
        fleet.world.answered(job, answer, fleet.now);
    }
    let known = |fleet: &Fleet, arn| fleet.world.inventory().target_group(arn).unwrap().targets.is_some();
    assert!(!known(&fleet, &arn), "it may not know of the call");
    fleet.settle();
    assert!(known(&fleet, &arn), "asked again");
    fleet.aws.settle();
    fleet.pass(Duration::from_mins(31));
    assert_eq!(fleet.aws.target_groups[&arn].targets.as_ref().unwrap().len(), 2);
}

#[test]
fn what_is_begun_is_finished_first_and_what_serves_goes_before_what_is_new() {
    let mut fleet = Fleet::new(3, Rhythm::default());
    let line = |name: &str| Line::Service(ServiceKey::new("shop", name));
    let any = Op::DeleteSecurityGroup { group: "sg-1".into() };
    for _ in 0..3 {
        fleet.step(&mut usize::MAX.clone());
    }
    let turns = ["web-0", "web-1", "web-2"].map(|name| fleet.world.turn(&Job::Call(line(name), any.clone())));
    assert!(turns.is_sorted() && turns[0] < turns[2], "{turns:?}");
    fleet.converge();
    fleet.change("web-2", |service| _ = service.ports.pop());
    let mut new = fleet.services.values().next().unwrap().clone();
    (new.key, new.uid) = (ServiceKey::new("shop", "new"), "uid-new".into());
    new.finalizers = vec![landfall_aws_plan::FINALIZER.into()];
    fleet.set(new);
    fleet.change("web-1", |service| service.deleting = true);
    let jobs = fleet.world.plan(fleet.now).jobs;
    let turn = |name: &str| {
        let of = jobs.iter().find(|job| matches!(job, Job::Call(of, _) if *of == line(name)));
        fleet.world.turn(of.unwrap_or_else(|| panic!("{name}: {jobs:?}")))
    };
    assert!(turn("web-1") < turn("web-2") && turn("web-2") < turn("new"));
    let backend = fleet.world.turn(&Job::Call(Line::Backend, any));
    assert!(backend < turn("web-2"), "its rules let all of them through");
}

#[test]
fn a_load_balancer_that_is_set_up_is_asked_for_soon_and_then_at_leisure() {
    let mut fleet = Fleet::new(30, Rhythm { listing: Duration::from_hours(1), ..Rhythm::default() });
    fleet.settle();
    fleet.jobs.clear();
    let start = fleet.now;
    let mut asked = Vec::new();
    while fleet.now < start + Duration::from_mins(4) {
        fleet.pass(Duration::from_millis(500));
        let states = fleet.jobs.drain(..).filter_map(|job| match job {
            Job::States(arns) => Some(arns.len()),
            Job::List(_) | Job::Describe(..) | Job::Instances(_) | Job::Call(..) => None,
        });
        asked.extend(states);
    }
    assert!(asked.iter().all(|count| *count <= 30) && (25..=30).contains(&asked.len()), "{asked:?}");
    assert_eq!(fleet.status("web-0"), (Hostname::Clear, "Provisioning"));
    fleet.aws.settle();
    fleet.pass(Duration::from_secs(10));
    assert!((0..30).all(|number| fleet.status(&format!("web-{number}")).1 == "Active"));
}
