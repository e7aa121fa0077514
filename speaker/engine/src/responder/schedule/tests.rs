use std::{collections::BTreeMap, net::Ipv4Addr};

use proptest::prelude::*;

use super::*;

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + number).into()
}

const START: Instant = Instant::from_micros(7_000_000);

fn pop(schedule: &mut Schedule, now: Instant) -> Option<IpAddr> {
    schedule.pop(now).map(|(address, _)| address)
}

/// Runs the schedule as a driver does, always at [`Schedule::next`], and gives the milliseconds since `START` at which
/// each address was announced.
fn run(schedule: &mut Schedule) -> Vec<(u64, IpAddr)> {
    let mut announced = Vec::new();
    while let Some(now) = schedule.next() {
        let before = announced.len();
        while let Some(address) = pop(schedule, now) {
            announced.push((now.since(START).as_micros().try_into().unwrap(), address));
        }
        assert!(announced.len() > before, "next() promised something at {now:?}");
    }
    announced.iter().map(|(micros, address): &(u64, IpAddr)| (micros / 1000, *address)).collect()
}

#[test]
fn one_address_keeps_the_schedule_exactly() {
    let mut schedule = Schedule::default();
    schedule.start(address(1), START);
    let times: Vec<_> = run(&mut schedule).into_iter().map(|(time, _)| time).collect();
    assert_eq!(times, [0, 50, 150, 500, 1000, 2000]);
    assert!(schedule.is_empty());
}

#[test]
fn fifty_first_announcements_leave_at_once_and_then_one_per_millisecond() {
    let mut schedule = Schedule::default();
    for number in 0..70 {
        schedule.start(address(number), START);
    }
    let announced = run(&mut schedule);
    let mut first = BTreeMap::new();
    for (time, address) in &announced {
        first.entry(*address).or_insert(*time);
    }
    for (number, (_, time)) in (0..).zip(&first) {
        assert_eq!(*time, if number < 50 { 0 } else { number - 49 }, "address {number}");
    }
    assert_eq!(announced.len(), 70 * ANNOUNCE_AT.len());
}

#[test]
fn repeats_run_at_half_of_it() {
    let mut schedule = Schedule::default();
    for number in 0..50 {
        schedule.start(address(number), START);
    }
    let second: Vec<_> = run(&mut schedule).into_iter().skip(50).take(50).map(|(time, _)| time).collect();
    let expected: Vec<u64> =
        (0..50).map(|number| if number < 25 { 50 } else { 50 + 2 * (number - 24) }).collect();
    assert_eq!(second, expected);
}

#[test]
fn repeats_do_not_hold_up_a_takeover() {
    let mut schedule = Schedule::default();
    for number in 0..200 {
        schedule.start(address(number), START);
    }
    let soon = START + Duration::from_millis(300);
    while schedule.next().is_some_and(|next| next <= soon) {
        let now = schedule.next().unwrap();
        while schedule.pop(now).is_some() {}
    }
    schedule.start(address(999), soon);
    assert_eq!(pop(&mut schedule, soon), Some(address(999)));

    let much_later = START + Duration::from_secs(60);
    schedule.start(address(998), much_later);
    assert_eq!(pop(&mut schedule, much_later), Some(address(998)), "before the repeats that are due");
}

#[test]
fn a_late_driver_loses_nothing_and_counts_from_the_first_announcement() {
    let mut schedule = Schedule::default();
    schedule.start(address(1), START);
    let late = START + Duration::from_millis(40);
    assert_eq!(pop(&mut schedule, late), Some(address(1)));
    assert_eq!(pop(&mut schedule, late), None);
    assert_eq!(schedule.next(), Some(late + Duration::from_millis(50)));
}

#[test]
fn starting_again_while_waiting_keeps_the_turn_and_afterwards_starts_over() {
    let mut schedule = Schedule::default();
    for number in 0..51 {
        schedule.start(address(number), START);
    }
    while schedule.pop(START).is_some() {}
    schedule.start(address(50), START);
    schedule.start(address(0), START);
    let now = START + Duration::from_millis(1);
    assert_eq!(pop(&mut schedule, now), Some(address(50)), "its turn is older");
    assert_eq!(pop(&mut schedule, now + Duration::from_millis(1)), Some(address(0)));
    let zero = run(&mut schedule).into_iter().filter(|(_, announced)| *announced == address(0)).count();
    assert_eq!(zero, ANNOUNCE_AT.len() - 1);
}

#[test]
fn a_stopped_address_is_never_announced() {
    let mut schedule = Schedule::default();
    schedule.start(address(1), START);
    schedule.start(address(2), START);
    assert_eq!(pop(&mut schedule, START), Some(address(1)));
    schedule.stop(address(1));
    schedule.stop(address(3));
    assert!(run(&mut schedule).into_iter().all(|(_, announced)| announced == address(2)));
    schedule.start(address(1), START);
    schedule.clear();
    assert!(schedule.is_empty() && schedule.next().is_none() && schedule.pop(START).is_none());
}

#[test]
fn an_idle_interface_gets_its_burst_back() {
    let mut schedule = Schedule::default();
    let mut burst = |now| {
        for number in 0..80 {
            schedule.start(address(number), now);
        }
        let mut count = 0;
        while schedule.pop(now).is_some() {
            count += 1;
        }
        schedule.clear();
        count
    };
    assert_eq!(burst(START), 50);
    assert_eq!(burst(START), 0, "a flapping interface is no way around the pace");
    assert_eq!(burst(START + Duration::from_millis(10)), 10);
    assert_eq!(burst(START + Duration::from_secs(5)), 50);
}

proptest! {
    /// Within any window, first announcements stay below 50 plus one per millisecond, and repeats below half of it.
    #[test]
    fn pacing_bounds_hold_for_any_arrivals(arrivals in proptest::collection::vec((0..400u64, 0..300u32), 1..300)) {
        let mut arrivals = arrivals;
        arrivals.sort_unstable();
        let mut schedule = Schedule::default();
        let mut first = Vec::new();
        let mut repeat = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        let mut arrivals = arrivals.into_iter().peekable();
        loop {
            let arrival = arrivals.peek().map(|(time, _)| START + Duration::from_millis(*time));
            let Some(now) = arrival.into_iter().chain(schedule.next()).min() else { break };
            while let Some((_, number)) = arrivals.next_if(|(time, _)| START + Duration::from_millis(*time) <= now) {
                if seen.insert(number) {
                    schedule.start(address(number), now);
                }
            }
            while let Some(announced) = pop(&mut schedule, now) {
                let is_first = !first.iter().any(|(_, before)| *before == announced);
                if is_first { first.push((now, announced)) } else { repeat.push((now, announced)) }
            }
        }
        prop_assert_eq!(first.len(), seen.len());
        prop_assert_eq!(repeat.len(), seen.len() * (ANNOUNCE_AT.len() - 1));
        for (times, burst, interval) in [(&first, 50, 1), (&repeat, 25, 2)] {
            for (index, (from, _)) in times.iter().enumerate() {
                if let Some((to, _)) = times.get(index + burst) {
                    prop_assert!(to.since(*from) >= Duration::from_millis(interval));
                }
                if let Some((to, _)) = times.get(index + burst + 9) {
                    prop_assert!(to.since(*from) >= Duration::from_millis(10 * interval));
                }
            }
        }
    }
}
