use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::{IfIndex, Mac};

const START: Instant = Instant::from_micros(7_000_000);

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + number).into()
}

fn rival(number: u32, mac: u8) -> Claimant {
    Claimant { address: address(number), interface: IfIndex(2), mac: Mac([2, 0, 0, 0, 0, mac]) }
}

fn at(millis: u64) -> Instant {
    START + Duration::from_millis(millis)
}

/// Does what is due until `end`, always at [`Probes::next`]: the milliseconds since `START`, and what was to be done.
fn run(probes: &mut Probes, end: Instant) -> Vec<(u64, Step)> {
    let mut steps = Vec::new();
    while let Some(now) = probes.next().filter(|now| *now <= end) {
        let before = steps.len();
        while let Some(step) = probes.pop(now) {
            steps.push((u64::try_from(now.since(START).as_millis()).unwrap(), step));
        }
        assert!(steps.len() > before, "next() promised something at {now:?}");
    }
    steps
}

fn asked(steps: &[(u64, Step)]) -> Vec<u64> {
    steps.iter().filter(|(_, step)| matches!(step, Step::Ask(_))).map(|(at, _)| *at).collect()
}

#[test]
fn an_address_is_clear_after_three_questions_without_an_answer() {
    let (mut probes, one) = (Probes::default(), address(1));
    probes.start(one, START);
    assert!(probes.contains(one) && probes.is_asking(one));
    let (ask, clear) = (Step::Ask(one), Step::Clear(one));
    assert_eq!(run(&mut probes, at(10_000)), [(0, ask), (50, ask), (100, ask), (150, clear)]);
    assert!(!probes.contains(one));
    assert_eq!(probes.next(), None);
}

#[test]
fn a_claim_at_any_time_of_the_try_ends_it() {
    for millis in [0, 1, 50, 99, 100, 149] {
        let mut probes = Probes::default();
        probes.start(address(1), START);
        run(&mut probes, at(millis));
        assert!(probes.contest(rival(1, 9), at(millis)), "a new one, at {millis}");
        assert!(probes.contains(address(1)) && !probes.is_asking(address(1)));
        assert_eq!(probes.rival(address(1)), Some(rival(1, 9)));
        assert_eq!(probes.next(), Some(at(millis) + FIRST_RETRY));
        let steps = run(&mut probes, at(60_000));
        assert_eq!(asked(&steps), [0, 50, 100].map(|after| millis + 10_000 + after));
        assert_eq!(steps.last(), Some(&(millis + 10_150, Step::Clear(address(1)))));
    }
}

#[test]
fn tries_get_rarer_up_to_a_limit() {
    let mut probes = Probes::default();
    probes.start(address(1), START);
    let mut waits = Vec::new();
    for round in 0..8 {
        let now = probes.next().unwrap();
        assert_eq!(probes.pop(now), Some(Step::Ask(address(1))));
        assert_eq!(probes.contest(rival(1, 9), now), round == 0, "the same one as before is no news");
        waits.push(probes.next().unwrap().since(now).as_secs());
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300, 300]);
}

#[test]
fn claims_between_two_tries_change_the_rival_and_not_the_time() {
    let mut probes = Probes::default();
    probes.start(address(1), START);
    probes.contest(rival(1, 9), START);
    let next = probes.next();
    assert!(!probes.contest(rival(1, 9), at(4_000)));
    assert!(probes.contest(rival(1, 8), at(5_000)));
    probes.start(address(1), at(6_000));
    assert_eq!((probes.next(), probes.rival(address(1))), (next, Some(rival(1, 8))));
    assert!(!probes.contest(rival(2, 9), at(7_000)), "an address that nobody asks for");
}

#[test]
fn nothing_is_clear_where_nobody_can_be_asked() {
    let mut probes = Probes::default();
    probes.start(address(1), START);
    probes.pop(START);
    probes.park(address(1));
    assert_eq!(run(&mut probes, at(60_000)), []);
    assert!(probes.contains(address(1)));
    probes.start(address(1), at(60_000));
    assert_eq!(run(&mut probes, at(70_000)).last(), Some(&(60_150, Step::Clear(address(1)))));
}

#[test]
fn of_many_addresses_the_first_are_clear_soon_and_the_segment_is_not_flooded() {
    let mut probes = Probes::default();
    for number in 0..2_000 {
        probes.start(address(number), START);
    }
    let steps = run(&mut probes, at(60_000));
    let times = asked(&steps);
    assert_eq!(times.len(), 6_000);
    for (index, at) in times.iter().enumerate().skip(300) {
        assert!(at - times[index - 300] >= 100, "300 questions within {} ms", at - times[index - 300]);
    }
    let clear: Vec<u64> =
        steps.iter().filter(|(_, step)| matches!(step, Step::Clear(_))).map(|(at, _)| *at).collect();
    assert_eq!(clear.len(), 2_000);
    assert!(clear[0] <= 160 && clear[50] <= 300, "{:?}", &clear[..51]);
    assert!(clear[1_999] <= 3_200, "{}", clear[1_999]);
}

proptest! {
    /// Whatever happens, an address is clear only after three questions in a row, none of which was contested.
    #[test]
    fn an_address_is_clear_only_after_three_questions(
        operations in proptest::collection::vec((0..6_u8, 0..3_u32, 0..200_u64), 1..80),
    ) {
        let mut probes = Probes::default();
        let mut questions = BTreeMap::<IpAddr, u8>::new();
        let mut now = START;
        for (operation, number, millis) in operations {
            let address = address(number);
            match operation {
                0 => {
                    let waits = probes.contains(address) && !probes.is_asking(address);
                    probes.start(address, now);
                    if !waits {
                        questions.insert(address, 0);
                    }
                }
                1 if probes.contains(address) => {
                    probes.contest(rival(number, 9), now);
                    questions.insert(address, 0);
                }
                2 => prop_assert_eq!(probes.stop(address), questions.remove(&address).is_some()),
                _ => now += Duration::from_millis(millis),
            }
            while let Some(step) = probes.pop(now) {
                match step {
                    Step::Ask(address) => *questions.entry(address).or_default() += 1,
                    Step::Clear(address) => prop_assert_eq!(questions.remove(&address), Some(QUESTIONS)),
                }
            }
            prop_assert!(probes.next().is_none_or(|next| next > now));
        }
    }
}
