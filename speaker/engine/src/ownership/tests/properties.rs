//! Delayed, lost and repeated messages, and moves that people ask for meanwhile.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// One node evaluates the group.
    Evaluate(usize),
    /// One node's full claims reach another.
    Tell(usize, usize),
    /// Time passes.
    Pass(u64),
    /// A person asks for a node, or for none any more.
    Prefer(Option<usize>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3_usize).prop_map(Step::Evaluate),
        3 => (0..3_usize, 0..3_usize).prop_map(|(from, to)| Step::Tell(from, to)),
        1 => (1..400_u64).prop_map(Step::Pass),
        1 => proptest::option::of(0..3_usize).prop_map(Step::Prefer),
    ]
}

proptest! {
    /// However messages were delayed or lost, once all are heard there is exactly one owner, all agree on it, and it does
    /// not change any more, unless a person asks for another one, who gets it then.
    #[test]
    fn whatever_happened_one_owner_is_left(
        steps in proptest::collection::vec(step(), 0..60),
        fail_back in proptest::option::of(0..4_u64),
        wanted in 0..3_usize,
    ) {
        let mut fleet = Fleet::with_fail_back(|_| fail_back.map(Duration::from_secs));
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Evaluate(node) => { fleet.evaluate(NAMES[node]); }
                Step::Tell(from, to) if from != to => sync(&mut fleet, NAMES[from], NAMES[to]),
                Step::Tell(_, _) => {}
                Step::Pass(millis) => fleet.pass(millis),
                Step::Prefer(node) => fleet.prefer(node.map(|node| NAMES[node]), &number.to_string()),
            }
        }
        fleet.live(Duration::from_secs(90));
        let owner = fleet.owner();
        let epoch = fleet.epoch(owner);
        fleet.live(Duration::from_secs(600));
        prop_assert_eq!((fleet.owner(), fleet.epoch(owner)), (owner, epoch));
        fleet.prefer(Some(NAMES[wanted]), "at last");
        fleet.live(Duration::from_secs(90));
        prop_assert_eq!(fleet.owner(), NAMES[wanted]);
    }
}
