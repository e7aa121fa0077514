use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use landfall_model::Instant;
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{IfIndex, links::Way, membership::Question};

const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 9]);

fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(1_000 + millis)
}

fn ip(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

/// The node's own address.
fn host() -> IpAddr {
    ip(201)
}

fn ours(mac: Mac) -> bool {
    mac == OURS
}

/// What becomes of one question.
#[derive(Clone, Debug)]
enum Answer {
    /// The peer says nothing.
    Lost,
    /// It hears the node itself, or not, and these for the address.
    Seen(bool, Vec<Mac>),
}

/// The owner of one address, and the peer that it asks.
struct Owner {
    checks: Checks,
    now: Instant,
}

impl Owner {
    fn new() -> Self {
        let mut checks = Checks::default();
        checks.begin(ip(9), at(0));
        Self { checks, now: at(0) }
    }

    /// Waits for the next question, if there is one, and answers it. Gives the time waited for, the turn, and what follows.
    fn round(&mut self, answer: &Answer) -> Option<(Duration, usize, Step)> {
        let began = self.now;
        let turn = loop {
            self.now = self.now.max(self.checks.next()?);
            if let [(_, turn)] = *self.checks.take_due(10, self.now) {
                break turn;
            }
        };
        let waited = self.now.since(began);
        self.checks.asked(ip(9), "peer", host(), self.now);
        let step = match answer {
            Answer::Lost => Step::Nothing,
            Answer::Seen(witness, macs) => {
                let own: &[Mac] = if *witness { &[OURS] } else { &[] };
                assert_eq!(self.checks.seen("peer", host(), own, ours, self.now), Step::Nothing);
                self.checks.seen("peer", ip(9), macs, ours, self.now)
            }
        };
        Some((waited, turn, step))
    }

    fn verified(&self) -> Verified {
        self.checks.of(ip(9)).unwrap().0.clone()
    }
}

fn silence() -> Answer {
    Answer::Seen(true, Vec::new())
}

#[test]
fn the_first_right_answer_is_enough() {
    let mut owner = Owner::new();
    assert_eq!(owner.round(&silence()), Some((FIRST, 0, Step::Announce)));
    assert_eq!(owner.verified(), Verified::Pending, "one silence is nothing to tell");
    let right = Answer::Seen(true, vec![OURS]);
    assert_eq!(owner.round(&right), Some((RETRIES[0], 1, Step::Confirmed)), "by the next peer");
    assert_eq!(owner.verified(), Verified::Confirmed { at: owner.now, by: "peer".into() });
    assert_eq!(owner.round(&right), None, "nothing is asked any more");
    owner.checks.begin(ip(9), owner.now);
    assert_eq!(owner.round(&right), None, "it is announced as before");
    assert_eq!(owner.checks.counters(), Counters { confirmed: 1, silent: 1, wrong: 0 });
}

#[test]
fn what_stays_wrong_is_told_once_and_asked_for_ever_less_often() {
    for (macs, answer, shared) in
        [(vec![], None, false), (vec![OTHER], Some(OTHER), false), (vec![OURS, OTHER], Some(OTHER), true)]
    {
        let mut owner = Owner::new();
        let wrong = Answer::Seen(true, macs);
        let steps: Vec<_> = (0..4).map(|_| owner.round(&wrong).unwrap()).collect();
        let times: Vec<_> = steps.iter().map(|(waited, ..)| *waited).collect();
        assert_eq!(times, [FIRST, RETRIES[0], RETRIES[1], RETRIES[2]]);
        let follows: Vec<_> = steps.iter().map(|(.., step)| *step).collect();
        assert_eq!(follows, [Step::Announce, Step::Nothing, Step::Nothing, Step::StaysWrong(!shared)]);
        let told = owner.verified();
        assert_eq!(told, Verified::Wrong { at: owner.now, by: "peer".into(), answer, shared });
        let later: Vec<_> = (0..8).map(|_| owner.round(&wrong).unwrap()).collect();
        assert!(later.iter().all(|(.., step)| *step == Step::Nothing), "{later:?}");
        assert_eq!(later[0].0, SLOW);
        assert_eq!((later[1].0, later[7].0), (SLOW * 2, SLOW * 32));
        assert_eq!(owner.verified(), told, "since when it is so");
        // With other links it is a new question, and told again.
        owner.checks.restart(owner.now);
        let follows: Vec<_> = (0..4).map(|_| owner.round(&wrong).unwrap().2).collect();
        assert_eq!(follows, [Step::Announce, Step::Nothing, Step::Nothing, Step::StaysWrong(!shared)]);
        assert_eq!(owner.round(&Answer::Seen(true, vec![OURS])).unwrap().2, Step::Confirmed);
    }
}

#[test]
fn who_does_not_hear_the_node_itself_proves_nothing_by_silence() {
    for (answer, witness) in [
        (Answer::Seen(false, vec![]), false),
        (Answer::Seen(false, vec![OTHER]), false),
        (Answer::Lost, true),
    ] {
        let mut owner = Owner::new();
        for turn in 0..PATIENCE {
            let (waited, asked, step) = owner.round(&answer).unwrap();
            assert_eq!((asked, step), (turn, Step::Nothing), "the next peer is asked");
            assert!(waited < Duration::from_secs(1));
        }
        let (waited, ..) = owner.round(&answer).unwrap();
        assert!(waited >= SLOW, "{waited:?}: in time nobody is troubled any more");
        assert_eq!(owner.verified(), Verified::Unable);
        assert_eq!(owner.checks.counters(), Counters::default(), "{witness}");
        // A peer that hears the address hears the node.
        assert_eq!(owner.round(&Answer::Seen(false, vec![OURS])).unwrap().2, Step::Confirmed);
    }
}

#[test]
fn without_a_peer_it_waits_for_one() {
    let mut owner = Owner::new();
    owner.now += FIRST;
    assert_eq!(owner.checks.take_due(10, owner.now), [(ip(9), 0)]);
    owner.checks.unable(ip(9));
    assert_eq!((owner.verified(), owner.checks.next()), (Verified::Unable, None));
    owner.checks.revive(owner.now);
    assert_eq!(owner.round(&Answer::Seen(true, vec![OURS])).unwrap().2, Step::Confirmed);
    owner.checks.revive(owner.now);
    assert_eq!(owner.checks.next(), None, "what was confirmed stays so");
    owner.checks.restart(owner.now);
    assert_eq!(owner.round(&silence()).unwrap().2, Step::Announce, "with other links all is asked anew");
}

#[test]
fn an_answer_of_somebody_who_was_not_asked_changes_nothing() {
    let mut owner = Owner::new();
    let step = owner.checks.seen("peer", ip(9), &[], ours, owner.now);
    assert_eq!((step, owner.verified()), (Step::Nothing, Verified::Pending));
    owner.now += FIRST;
    owner.checks.take_due(1, owner.now);
    owner.checks.asked(ip(9), "peer", host(), owner.now);
    assert_eq!(owner.checks.seen("another", ip(9), &[OURS], ours, owner.now), Step::Nothing);
    owner.checks.end(ip(9));
    assert_eq!(owner.checks.seen("peer", ip(9), &[OURS], ours, owner.now), Step::Nothing);
    assert_eq!(owner.checks.next(), None);
}

#[test]
fn what_was_given_up_stays_so_until_it_is_heard_or_the_links_change() {
    let mut checks = Checks::default();
    assert!(checks.give_up(ip(9)) && !checks.give_up(ip(9)), "once");
    checks.begin(ip(9), at(0));
    checks.end(ip(9));
    assert!(checks.given_up().contains(&ip(9)));
    assert!(checks.regain(ip(9)) && !checks.regain(ip(9)));
    checks.give_up(ip(9));
    checks.restart(at(1));
    assert!(checks.given_up().is_empty());
    checks.give_up(ip(9));
    assert!(checks.forget(ip(9)) && checks.given_up().is_empty());
}

#[test]
fn many_addresses_are_asked_for_in_batches() {
    let mut checks = Checks::default();
    (0..200).for_each(|last| checks.begin(ip(last), at(0)));
    let (mut now, mut batches) = (at(50), Vec::new());
    while let Some(next) = checks.next().filter(|next| *next < at(400)) {
        now = now.max(next);
        let taken = checks.take_due(32, now);
        taken.iter().for_each(|(address, _)| checks.asked(*address, "peer", host(), now));
        batches.push((now, taken.len()));
    }
    assert_eq!(batches.iter().map(|(_, many)| many).sum::<usize>(), 200);
    assert_eq!(batches.len(), 7);
    assert!(batches.windows(2).all(|pair| pair[1].0.since(pair[0].0) == Duration::from_millis(20)));
}

fn way() -> Way {
    Way { interface: IfIndex(2), mac: OTHER, source: ip(202) }
}

/// Runs it for a while; `answers` has who answers for an address. Gives the frames and what is told.
fn look(looks: &mut Looks, answers: &BTreeMap<IpAddr, Vec<Mac>>) -> (Vec<(Instant, IpAddr)>, Vec<Question>) {
    let (mut frames, mut told, mut now) = (Vec::new(), Vec::new(), at(0));
    while let Some(next) = looks.next() {
        now = now.max(next);
        while let Some((address, _)) = looks.pop(now) {
            frames.push((now, address));
            for mac in answers.get(&address).into_iter().flatten() {
                looks.answer(address, *mac, now);
            }
        }
        told.extend(looks.take_seen(now).into_values().flatten());
    }
    (frames, told)
}

#[test]
fn a_peer_asks_three_times_at_most_and_tells_all_answers() {
    let mut looks = Looks::default();
    let answers = BTreeMap::from([(ip(1), vec![OURS]), (ip(2), vec![OURS, OTHER])]);
    for last in [1, 2, 3, 3] {
        looks.begin("owner", ip(last), way(), at(0));
    }
    assert!(looks.is_asking());
    assert_eq!(looks.way(ip(1), IfIndex(2)), Some(way()));
    assert_eq!((looks.way(ip(1), IfIndex(3)), looks.way(ip(4), IfIndex(2))), (None, None));
    let (frames, told) = look(&mut looks, &answers);
    let asked = |last| frames.iter().filter(|(_, address)| *address == ip(last)).count();
    assert_eq!([asked(1), asked(2), asked(3)], [1, 1, usize::from(QUESTIONS)]);
    let seen = |last, answers: &[Mac]| Question::Seen { address: ip(last), answers: answers.to_vec() };
    assert_eq!(told, [seen(1, &[OURS]), seen(2, &[OURS, OTHER]), seen(3, &[])]);
    assert!(!looks.is_asking());
}

proptest! {
    /// Whatever is asked for and answered: each address is told once, frames are paced, and it ends.
    #[test]
    fn a_peer_tells_each_address_once(asked in vec(any::<u16>(), 0..700), answered in vec(any::<u16>(), 0..700)) {
        let address = |number: u16| IpAddr::from([10, 0, (number >> 8) as u8, number as u8]);
        let mut looks = Looks::default();
        asked.iter().for_each(|number| looks.begin("owner", address(*number), way(), at(0)));
        let answers = answered.iter().map(|number| (address(*number), vec![OURS])).collect();
        let (frames, told) = look(&mut looks, &answers);
        let mut expected: Vec<_> = asked.iter().map(|number| address(*number)).collect();
        expected.sort_unstable();
        expected.dedup();
        prop_assert_eq!(told.len(), expected.len().min(MOST_OPEN));
        for (start, _) in &frames {
            let within = frames.iter().filter(|(at, _)| *at >= *start && at.since(*start) < Duration::from_millis(10));
            prop_assert!(within.count() <= 121, "at most 100 at once, and two for each millisecond");
        }
    }

    /// Whatever peers answer: an address is given up only after four wrong answers of witnesses without a right one in
    /// between, and the last word is what the last witness said.
    #[test]
    fn nothing_is_given_up_on_less_than_four_witnesses(
        answers in vec(
            prop_oneof![
                Just(Answer::Lost),
                (any::<bool>(), vec(prop_oneof![Just(OURS), Just(OTHER)], 0..2))
                    .prop_map(|(witness, macs)| Answer::Seen(witness, macs)),
            ],
            0..40,
        ),
    ) {
        let mut owner = Owner::new();
        let mut wrong = 0;
        for answer in &answers {
            let Some((_, _, step)) = owner.round(answer) else {
                let confirmed = matches!(owner.verified(), Verified::Confirmed { .. });
                prop_assert!(confirmed);
                break;
            };
            let heard = matches!(answer, Answer::Seen(_, macs) if macs.contains(&OURS));
            let witness = matches!(answer, Answer::Seen(true, _));
            wrong += usize::from(witness && !heard);
            prop_assert_eq!(step == Step::Confirmed, heard);
            if step == Step::StaysWrong(true) {
                prop_assert!(wrong > RETRIES.len());
            }
        }
    }
}
