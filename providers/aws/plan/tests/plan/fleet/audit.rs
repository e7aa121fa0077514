//! Each object is asked for its details once in a round, at a steady pace, whatever comes, goes or fails meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use landfall_aws_plan::{ADOPT, FailureKind, Job, Need, Op, Rhythm, Turn};
use landfall_model::Instant;

use super::Fleet;

/// A short round, and no listing in it.
const ROUND: Duration = Duration::from_mins(2);
const SHORT: Rhythm = Rhythm { listing: Duration::from_hours(1), audit: ROUND, collect_garbage: false };
/// How far a test looks.
const LOOK: Duration = Duration::from_millis(50);

/// Lets time pass. When each object was asked for; other jobs stay in the fleet.
fn asked(fleet: &mut Fleet, time: Duration) -> BTreeMap<Need, Vec<Instant>> {
    let mut asked: BTreeMap<Need, Vec<Instant>> = BTreeMap::new();
    let end = fleet.now + time;
    fleet.jobs.clear();
    let mut others = Vec::new();
    while fleet.now < end {
        fleet.pass(LOOK);
        for job in fleet.jobs.drain(..) {
            match job {
                Job::Describe(need, _) => asked.entry(need).or_default().push(fleet.now),
                Job::List(_) | Job::States(_) | Job::Instances(_) | Job::Call(..) => others.push(job),
            }
        }
    }
    fleet.jobs = others;
    asked
}

/// Every object that a round asks for.
fn objects(fleet: &Fleet) -> Vec<Need> {
    let balancers = fleet.aws.load_balancers.keys().cloned().map(Need::LoadBalancer);
    let groups = fleet.aws.target_groups.keys().cloned();
    balancers.chain(groups.flat_map(|arn| [Need::TargetGroup(arn.clone()), Need::Targets(arn)])).collect()
}

/// The longest time that an object was not asked for, from `start` to `end`.
fn longest(times: Option<&Vec<Instant>>, start: Instant, end: Instant) -> Duration {
    let times = times.into_iter().flatten().copied();
    let all: Vec<Instant> = [start].into_iter().chain(times).chain([end]).collect();
    all.windows(2).map(|pair| pair[1].since(pair[0])).max().unwrap_or_default()
}

#[test]
fn a_short_round_of_many_objects_keeps_its_promise_and_asks_no_more_than_that() {
    for count in [1, 20, 200] {
        let mut fleet = Fleet::new(count, SHORT);
        fleet.settle();
        fleet.aws.settle();
        // What has just been made has its first turn within a round, too.
        let (start, end) = (fleet.now, fleet.now + 3 * ROUND);
        let asked = asked(&mut fleet, 3 * ROUND);
        let objects = objects(&fleet);
        assert_eq!(objects.len(), 5 * count);
        for need in &objects {
            let longest = longest(asked.get(need), start, end);
            assert!(longest <= ROUND + LOOK, "{count} Services: {longest:?} without asking for {need}");
        }
        let questions: usize = asked.values().map(Vec::len).sum();
        let most = 3 * (objects.len() + objects.len() / 16 + 1);
        assert!(questions <= most, "{count} Services: {questions} questions");
        let most_at_once = asked.values().flatten().fold(BTreeMap::new(), |mut counts, at| {
            *counts.entry(at).or_insert(0_usize) += 1;
            counts
        });
        let most_at_once = most_at_once.values().max().copied().unwrap_or(0);
        assert!(most_at_once <= 2, "{count} Services: {most_at_once} questions at a time");
    }
}

#[test]
fn what_comes_and_goes_takes_nobody_s_turn() {
    let mut fleet = Fleet::new(60, SHORT);
    fleet.converge();
    let start = fleet.now;
    let mut all = asked(&mut fleet, ROUND / 2);
    let leave = |number: usize| number.is_multiple_of(2);
    for number in (0..60).filter(|number| leave(*number)) {
        fleet.change(&format!("web-{number}"), |service| service.deleting = true);
    }
    let mut new = fleet.services.values().next().unwrap().clone();
    new.finalizers.clear();
    new.deleting = false;
    for number in 60..90 {
        (new.key, new.uid) = (
            landfall_model::ServiceKey::new("shop", &format!("web-{number}")),
            format!("uid-{number}").into(),
        );
        fleet.set(new.clone());
    }
    let changed = fleet.now;
    fleet.settle();
    fleet.aws.settle();
    for (need, times) in asked(&mut fleet, 2 * ROUND) {
        all.entry(need).or_default().extend(times);
    }
    assert_eq!(fleet.aws.load_balancers.len(), 60);
    for need in objects(&fleet) {
        let is_new = (60..90).any(|number| need.subject().unwrap().contains(&format!("web{number}-")));
        let longest = longest(all.get(&need), if is_new { changed } else { start }, fleet.now);
        assert!(longest <= ROUND + LOOK, "{longest:?} without asking for {need}");
    }
    let listings = fleet.jobs.iter().filter(|job| matches!(job, Job::List(_))).count();
    assert_eq!(listings, 0, "nobody asked for what is gone");
}

#[test]
fn questions_that_aws_has_no_time_for_do_not_pile_up_and_give_way() {
    let mut fleet = Fleet::new(100, SHORT);
    fleet.converge();
    let mut waiting = Vec::new();
    for _ in 0..600 {
        fleet.now += Duration::from_secs(1);
        let jobs = fleet.world.plan(fleet.now).jobs;
        for job in &jobs {
            assert_eq!(fleet.world.turn(job), Turn::LAST, "{job}");
        }
        waiting.extend(jobs);
    }
    assert!((1..=8).contains(&waiting.len()), "{} questions are under way", waiting.len());
    // As fast as it is answered, and no faster than the round asks for when it is quick again.
    for job in waiting.drain(..) {
        let answer = fleet.send(&job);
        fleet.world.answered(job, answer, fleet.now);
    }
    let asked = asked(&mut fleet, ROUND);
    let questions: usize = asked.values().map(Vec::len).sum();
    assert!((500..=500 + 500 / 16 + 20).contains(&questions), "{questions} questions");
}

#[test]
fn a_question_without_an_answer_is_asked_again_soon() {
    for kind in [FailureKind::Throttled, FailureKind::Unavailable] {
        let mut fleet = Fleet::new(10, SHORT);
        fleet.converge();
        fleet.jobs.clear();
        fleet.fail = Some(("DescribeTargets", kind));
        while fleet.fail.is_some() {
            fleet.pass(LOOK);
        }
        let Some(Job::Describe(failed, _)) = fleet.jobs.last().cloned() else { panic!("{:?}", fleet.jobs) };
        let asked = asked(&mut fleet, Duration::from_secs(6));
        assert_eq!(asked.get(&failed).map(Vec::len), Some(1), "{kind:?}: {asked:?}");
    }
}

#[test]
fn what_is_refused_for_good_takes_one_turn_of_a_round() {
    let mut fleet = Fleet::new(20, SHORT);
    fleet.converge();
    fleet.refused.insert("DescribeTargetGroup");
    let asked = asked(&mut fleet, 2 * ROUND);
    for need in objects(&fleet) {
        let times = asked.get(&need).map_or(0, Vec::len);
        assert!((1..=3).contains(&times), "{need}: {times}");
    }
}

/// The listener of one port, deleted by hand, on a load balancer that is not ours.
#[test]
fn what_is_ours_on_an_adopted_load_balancer_is_put_back() {
    let mut fleet = Fleet::new(1, SHORT);
    fleet.converge();
    let mut lb = fleet.aws.load_balancers.values().next().unwrap().clone();
    (lb.arn, lb.name) = (format!("{}f", lb.arn).as_str().into(), "theirs".to_owned());
    (lb.tags, lb.listeners) = (BTreeMap::new(), Some(BTreeMap::new()));
    let theirs = lb.arn.clone();
    fleet.aws.load_balancers.insert(theirs.clone(), lb);
    fleet.change("web-0", |service| _ = service.annotations.insert(ADOPT.to_owned(), "theirs".to_owned()));
    fleet.restart(SHORT);
    fleet.pass(Duration::from_mins(10));
    let ports = |fleet: &Fleet| {
        let listeners = fleet.aws.load_balancers[&theirs].listeners.as_ref().unwrap();
        listeners.keys().copied().collect::<Vec<_>>()
    };
    assert_eq!(ports(&fleet), [80, 443]);
    let lb = fleet.aws.load_balancers.get_mut(&theirs).unwrap();
    lb.listeners.as_mut().unwrap().remove(&443);
    fleet.pass(ROUND);
    assert_eq!(ports(&fleet), [80, 443]);
}

#[test]
fn a_capacity_that_was_changed_by_hand_is_put_back() {
    let mut fleet = Fleet::new(1, SHORT);
    fleet.annotate("web-0", "aws-load-balancer-minimum-load-balancer-capacity", "CapacityUnits=3000");
    fleet.converge();
    fleet.aws.load_balancers.values_mut().next().unwrap().capacity_units = Some(0);
    fleet.jobs.clear();
    fleet.pass(ROUND + LOOK);
    assert_eq!(fleet.aws.load_balancers.values().next().unwrap().capacity_units, Some(3000));
    let set = |job: &Job| matches!(job, Job::Call(_, Op::ModifyCapacityReservation { .. }));
    assert_eq!(fleet.jobs.iter().filter(|job| set(job)).count(), 1);
    assert_eq!(fleet.drifts, ["load_balancer"]);
}
