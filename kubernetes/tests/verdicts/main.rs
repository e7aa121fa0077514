//! Our verdict on a set of objects, and the addresses of its Services, beside those of MetalLB's own parser and allocator,
//! which `tests/interop/metallb/build oracle` builds: nothing differs but what is listed.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod allocation;
mod answers;
mod deliberate;
mod generator;
mod oracle;
mod rows;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    env,
};

use landfall_verdict::Mode;
use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use serde_json::Value;

use self::{
    answers::{Outcome, compare, ours},
    deliberate::DELIBERATE,
    oracle::Oracle,
};

/// How many sets are made up when nobody says otherwise. They are the same in each run.
const SETS: u32 = 6_000;

/// A configuration to be judged.
#[derive(Clone, Debug)]
struct Set {
    mode: Mode,
    objects: Vec<Value>,
}

#[test]
#[ignore = "needs MetalLB's parser, which Go builds; make test runs it"]
fn each_rule_of_metallb_is_one_of_ours() {
    let mut oracle = Oracle::start();
    let mut used = BTreeSet::new();
    let mut wrong = Vec::new();
    for row in rows::all() {
        for &mode in row.modes {
            let set = Set { mode, objects: row.objects.clone() };
            let theirs = oracle.ask(&set);
            if theirs.outcome() != row.expected {
                wrong.push(format!(
                    "{} ({mode}): MetalLB is said to be {:?}, and it is {theirs:?}",
                    row.what, row.expected
                ));
            }
            match compare(&set, &theirs, &ours(&set)) {
                Ok(differences) => used.extend(differences),
                Err(difference) => wrong.push(format!("{} ({mode}): {difference}", row.what)),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let listed: BTreeSet<&str> = DELIBERATE.iter().map(|difference| difference.what).collect();
    assert_eq!(used, listed, "left: the differences that some row shows; right: those that are listed");
}

#[test]
#[ignore = "needs MetalLB's parser, which Go builds; make test runs it"]
fn random_sets_have_the_verdict_of_metallb() {
    let oracle = RefCell::new(Oracle::start());
    let seen: RefCell<BTreeMap<(Mode, Outcome), u32>> = RefCell::default();
    run(&generator::set(), |set| {
        let theirs = oracle.borrow_mut().ask(set);
        *seen.borrow_mut().entry((set.mode, theirs.outcome())).or_default() += 1;
        compare(set, &theirs, &ours(set)).map(drop).map_err(TestCaseError::fail)
    });
    // A generator whose sets all break some rule finds nothing.
    let seen = seen.into_inner();
    let total: u32 = seen.values().sum();
    println!("{seen:?}");
    for &mode in Mode::ALL {
        for outcome in [Outcome::Accepted, Outcome::Refused] {
            let count = seen.get(&(mode, outcome)).copied().unwrap_or(0);
            assert!(count * 20 > total, "{count} of {total} are {outcome:?} in the mode {mode}: {seen:?}");
        }
    }
}

/// Checks many sets, the same in each run; `LANDFALL_SETS=100000` makes that many, other ones each time.
///
/// # Panics
/// When one fails, with the least that does.
fn run(sets: &impl Strategy<Value = Set>, check: impl Fn(&Set) -> Result<(), TestCaseError>) {
    let asked = env::var("LANDFALL_SETS").ok().map(|text| text.parse().expect("LANDFALL_SETS is a number"));
    let config = Config {
        cases: asked.unwrap_or(SETS),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let mut runner = match asked {
        Some(_) => TestRunner::new(config),
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    match runner.run(sets, |set| check(&set)) {
        Ok(()) => {}
        Err(TestError::Fail(difference, set)) => {
            let objects: Vec<String> = set.objects.iter().map(ToString::to_string).collect();
            panic!("{difference}\nshrunk to this, in mode {}:\n{}", set.mode, objects.join("\n"));
        }
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}
