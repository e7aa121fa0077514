use proptest::prelude::*;

use super::*;

const RETRY: Duration = Duration::from_secs(2);

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

fn held_by(holder: &str, renewed: i64) -> Record {
    Record { holder: holder.into(), duration: Duration::from_secs(15), acquired: 1, renewed, transitions: 3 }
}

fn found(holder: &str, renewed: i64) -> Observed {
    Observed::Found { record: held_by(holder, renewed), version: format!("v{renewed}").into() }
}

fn done(holder: &str, renewed: i64) -> Written {
    Written::Done { record: held_by(holder, renewed), version: format!("v{renewed}").into() }
}

/// A machine that began to lead at `start`.
fn leader(start: Instant) -> Machine {
    let mut machine = Machine::new("a", Timing::default());
    assert_eq!(machine.step(start), Step::Read);
    machine.read(Observed::Missing, start);
    assert!(matches!(machine.step(start), Step::Write { version: None, .. }));
    machine.written(done("a", 1), start, start);
    machine
}

#[test]
fn the_first_one_creates_the_lease_and_renews_it() {
    let mut machine = leader(at(0));
    assert_eq!(machine.leads_until(), Some(at(10)));
    assert_eq!(machine.step(at(1)), Step::Wait(at(2)));
    let Step::Write { record, version } = machine.step(at(2)) else { panic!("a leader renews") };
    assert_eq!((record, version.as_deref()), (held_by("a", 1), Some("v1")));
    machine.written(done("a", 2), at(2), at(3));
    assert_eq!(machine.leads_until(), Some(at(12)), "counted from the start of the write");
}

#[test]
fn who_holds_it_decides_when_it_may_be_taken() {
    for (holder, seen_at, taken) in [
        ("b", at(0), false),
        ("b", at(12), false),
        // The next step is two seconds later.
        ("b", at(13), true),
        ("", at(0), true),
        ("a", at(0), true),
    ] {
        let mut machine = Machine::new("a", Timing::default());
        machine.read(found(holder, 1), at(0));
        machine.read(found(holder, 1), seen_at);
        let step = machine.step(seen_at + RETRY);
        let wrote = matches!(&step, Step::Write { record, version }
            if &*record.holder == "a" && record.transitions == 4 && version.as_deref() == Some("v1"));
        assert_eq!(wrote, taken, "{holder:?} at {seen_at:?}: {step:?}");
    }
}

#[test]
fn each_renewal_that_is_seen_starts_the_wait_anew() {
    let mut machine = Machine::new("a", Timing::default());
    machine.read(found("b", 1), at(0));
    machine.read(found("b", 2), at(14));
    assert_eq!(machine.step(at(28)), Step::Read);
    assert!(matches!(machine.step(at(29)), Step::Write { .. }));
}

#[test]
fn a_leader_that_slept_is_none() {
    let mut machine = leader(at(0));
    assert_eq!(machine.step(at(10)), Step::Read);
    assert_eq!(machine.leads_until(), None);
    machine.read(found("b", 9), at(10));
    assert_eq!(machine.leads_until(), None);
    assert_eq!(machine.step(at(10)), Step::Wait(at(12)));
}

#[test]
fn a_leader_survives_a_failed_renewal_until_its_deadline() {
    let mut machine = leader(at(0));
    machine.written(Written::Failed, at(2), at(6));
    assert_eq!(machine.leads_until(), Some(at(10)));
    assert_eq!(machine.step(at(8)), Step::Read, "the write may have happened");
    machine.read(found("a", 2), at(8));
    assert!(matches!(machine.step(at(8)), Step::Write { version: Some(version), .. } if &*version == "v2"));
}

#[test]
fn a_conflict_makes_a_leader_look_at_once() {
    for (holder, leads) in [("a", Some(at(10))), ("b", None)] {
        let mut machine = leader(at(0));
        machine.written(Written::Conflict, at(2), at(2));
        assert_eq!(machine.step(at(2)), Step::Read);
        machine.read(found(holder, 2), at(2));
        assert_eq!(machine.leads_until(), leads, "{holder}");
    }
}

#[test]
fn a_failed_attempt_does_not_start_the_wait_anew() {
    let mut machine = Machine::new("a", Timing::default());
    machine.read(found("b", 1), at(0));
    assert!(matches!(machine.step(at(15)), Step::Write { .. }));
    machine.written(Written::Failed, at(15), at(19));
    assert_eq!(machine.step(at(21)), Step::Read);
    machine.read(found("b", 1), at(21));
    assert!(matches!(machine.step(at(21)), Step::Write { .. }));
}

#[test]
fn a_leader_gives_the_lease_back_and_stops() {
    let mut machine = leader(at(0));
    let (record, version) = machine.release().expect("it led");
    assert_eq!((&*record.holder, &*version), ("", "v1"));
    assert_eq!(machine.leads_until(), None);
    assert_eq!(Machine::new("b", Timing::default()).release(), None);
}

#[derive(Clone, Debug)]
enum Op {
    /// Competitor `who` does its next step, which takes `millis` and may get no answer.
    Step { who: usize, millis: u64, answered: bool, applied: bool },
    /// Everybody waits.
    Pass { millis: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..3_usize, 0..3000_u64, prop::bool::weighted(0.8), any::<bool>())
            .prop_map(|(who, millis, answered, applied)| Op::Step { who, millis, answered, applied }),
        1 => (0..20_000_u64).prop_map(|millis| Op::Pass { millis }),
    ]
}

proptest! {
    /// Whatever answers get lost and however long the pauses: two never lead at one moment, and whoever leads
    /// is the holder that the Lease names.
    #[test]
    fn two_never_lead_at_once(ops in prop::collection::vec(op(), 1..200)) {
        let names = ["a", "b", "c"];
        let mut machines = names.map(|name| Machine::new(name, Timing::default()));
        let mut lease: Option<(Record, u64)> = None;
        let mut now = Instant::ZERO;
        for op in ops {
            match op {
                Op::Pass { millis } => now += Duration::from_millis(millis),
                Op::Step { who, millis, answered, applied } => {
                    let step = machines[who].step(now);
                    let began = now;
                    match step {
                        Step::Wait(_) => {}
                        Step::Read => {
                            let seen = match &lease {
                                _ if !answered => Observed::Failed,
                                None => Observed::Missing,
                                Some((record, version)) =>
                                    Observed::Found { record: record.clone(), version: version.to_string().into() },
                            };
                            now += Duration::from_millis(millis);
                            machines[who].read(seen, now);
                        }
                        Step::Write { record, version } => {
                            let current = lease.as_ref().map(|(_, version)| version.to_string());
                            let fits = current.as_deref() == version.as_deref();
                            if fits && (answered || applied) {
                                let next = lease.as_ref().map_or(1, |(_, version)| version + 1);
                                let renewed = i64::try_from(next).expect("small");
                                lease = Some((Record { renewed, ..record }, next));
                            }
                            let written = match &lease {
                                _ if !answered => Written::Failed,
                                Some((record, version)) if fits => Written::Done {
                                    record: record.clone(), version: version.to_string().into(),
                                },
                                Some(_) | None => Written::Conflict,
                            };
                            now += Duration::from_millis(millis);
                            machines[who].written(written, began, now);
                        }
                    }
                }
            }
            let leading: Vec<&str> = machines
                .iter()
                .zip(names)
                .filter(|(machine, _)| machine.leads_until().is_some_and(|until| now < until))
                .map(|(_, name)| name)
                .collect();
            prop_assert!(leading.len() <= 1, "{leading:?} at {now:?}");
            if let (Some(leader), Some((record, _))) = (leading.first(), &lease) {
                prop_assert_eq!(*leader, &*record.holder);
            }
        }
    }
}
