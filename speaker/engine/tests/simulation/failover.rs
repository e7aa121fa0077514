//! Nodes die, return, stand still and are cut off.

use std::time::Duration;

use landfall_model::Reason;

use crate::{
    lan::Lan,
    objects::{ip, see_service, see_slice, service, slice},
    start::{lan_with, ranked},
};

const ADDRESS: &str = "192.0.2.1";
/// The detection time of the default timing, one interval of slack for the last heartbeat, and the frames' way.
const BOUND: Duration = Duration::from_millis(210);

fn settled(seed: u64) -> (Lan, usize) {
    let mut lan = lan_with(&[ADDRESS, "192.0.2.2", "192.0.2.3"], seed);
    lan.run_ms(3_000);
    let owner = lan.who_has(ADDRESS);
    assert_eq!(owner.len(), 1);
    let owner = lan.index(owner[0]);
    (lan, owner)
}

#[test]
fn when_the_owner_dies_the_next_in_rank_takes_over() {
    for seed in 0..20 {
        let (mut lan, owner) = settled(seed);
        lan.kill(owner);
        let seen = lan.watch(ADDRESS, Duration::from_secs(3));
        let line = ranked(&["oak", "elm", "fir"], ADDRESS);
        assert_eq!(seen.len(), 2, "seed {seed}: {seen:?}");
        assert_eq!(seen[0].1, Vec::<&str>::new());
        assert_eq!(seen[1].1, [line[1]]);
        assert!(seen[1].0 <= BOUND, "seed {seed}: {seen:?}");
        let heir = lan.index(line[1]);
        let first = lan.announcements.iter().find(|sent| sent.node == heir && sent.address == ip(ADDRESS));
        assert!(first.is_some(), "the segment is told");
        let told = lan.hosts[heir].took_over.iter().rfind(|(address, ..)| *address == ip(ADDRESS));
        let (_, reason, after) = told.unwrap();
        assert_eq!(*reason, Reason::SpeakerNotAlive);
        // The last heartbeat was sent before the owner died, and took some time.
        let floor = seen[1].0.saturating_sub(Duration::from_millis(2));
        assert!(
            (floor..=BOUND + Duration::from_millis(50)).contains(after),
            "seed {seed}: {after:?}, {seen:?}"
        );
        for host in lan.hosts.iter().filter(|host| host.name != line[0]) {
            let [(lost, after)] = &host.lost[..] else { panic!("seed {seed}: {:?}", host.lost) };
            assert_eq!(**lost, *line[0]);
            assert!(*after <= BOUND + Duration::from_millis(50), "seed {seed}: {after:?}");
        }
        let last = |name: &str| {
            let moves = &lan.hosts[lan.index(name)].moves;
            moves.iter().rfind(|(address, ..)| *address == ip(ADDRESS)).unwrap().clone()
        };
        let (from, to) = (Some(line[0].into()), Some(line[1].into()));
        assert_eq!(last(line[1]), (ip(ADDRESS), from.clone(), to.clone(), Reason::SpeakerNotAlive));
        // The third one may hear the claim before it misses the owner itself.
        let seen = last(line[2]);
        assert_eq!((&seen.1, &seen.2), (&from, &to));
        assert!(matches!(seen.3, Reason::SpeakerNotAlive | Reason::NotOwner), "{seen:?}");
    }
}

#[test]
fn an_owner_that_returns_takes_nothing_back() {
    let (mut lan, owner) = settled(30);
    lan.kill(owner);
    lan.run_ms(2_000);
    let heir = lan.who_has(ADDRESS);
    assert_ne!(heir, [lan.hosts[owner].name]);
    lan.start(owner);
    let seen = lan.watch(ADDRESS, Duration::from_secs(10));
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].1, heir);
    // It is a full member again: when the heir dies, it may take over.
    let heir = lan.index(heir[0]);
    lan.kill(heir);
    lan.run_ms(2_000);
    assert_eq!(lan.who_has(ADDRESS), [lan.hosts[owner].name]);
}

#[test]
fn an_owner_whose_process_restarts_leaves_one_answer() {
    for (seed, millis) in [(40, 30), (41, 150), (42, 480), (43, 700)] {
        let (mut lan, owner) = settled(seed);
        lan.kill(owner);
        lan.run_ms(millis);
        lan.start(owner);
        let seen = lan.watch(ADDRESS, Duration::from_secs(5));
        assert!(seen.iter().all(|(_, answers)| answers.len() <= 1), "after {millis} ms: {seen:?}");
        let (last_change, answers) = seen.last().unwrap();
        assert_eq!(answers.len(), 1, "after {millis} ms: {seen:?}");
        assert!(*last_change < Duration::from_millis(1_500), "after {millis} ms: {seen:?}");
    }
}

#[test]
fn each_side_of_a_cut_has_one_owner_and_the_healed_segment_too() {
    for seed in 50..62 {
        let (mut lan, owner) = settled(seed);
        let others: Vec<usize> = (0..3).filter(|index| *index != owner).collect();
        let away = if seed % 2 == 0 { vec![owner] } else { others };
        lan.cut(&away);
        lan.run_ms(2_000);
        for side in [0, 1] {
            assert_eq!(lan.who_has_on(side, ADDRESS).len(), 1, "seed {seed}, side {side}");
        }
        assert_ne!(lan.who_has_on(0, ADDRESS), lan.who_has_on(1, ADDRESS));
        lan.heal();
        let healed = lan.now;
        let seen = lan.watch(ADDRESS, Duration::from_secs(5));
        let (at, winner) = seen.last().unwrap();
        assert_eq!(winner.len(), 1, "seed {seed}: {seen:?}");
        assert!(*at < Duration::from_millis(400), "seed {seed}: {seen:?}");
        // The side that took over has the higher epoch. Nobody but the winner told the segment anything.
        assert_ne!(winner[0], lan.hosts[owner].name, "seed {seed}");
        let winner = lan.index(winner[0]);
        let after = lan.announcements.iter().filter(|sent| sent.at >= healed && sent.address == ip(ADDRESS));
        let speakers: Vec<usize> = after.map(|sent| sent.node).collect();
        assert!(!speakers.is_empty(), "seed {seed}: clients of the loser must be told");
        assert!(speakers.iter().all(|node| *node == winner), "seed {seed}: {speakers:?}");
    }
}

#[test]
fn an_owner_that_nobody_took_over_from_announces_again_after_a_cut() {
    // The cut is shorter than the detection time: nothing happened.
    let (mut lan, owner) = settled(70);
    lan.cut(&[owner]);
    lan.run_ms(60);
    lan.heal();
    let seen = lan.watch(ADDRESS, Duration::from_secs(3));
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].1, [lan.hosts[owner].name]);
}

#[test]
fn without_the_api_server_nothing_changes_and_failover_works() {
    let (mut lan, owner) = settled(80);
    lan.set_api(false);
    let seen = lan.watch(ADDRESS, Duration::from_secs(30));
    assert_eq!(seen.len(), 1, "{seen:?}");
    lan.kill(owner);
    lan.run(BOUND);
    let heir = lan.who_has(ADDRESS);
    assert_eq!(heir.len(), 1);
    // What changed meanwhile is seen when it is back, and moves nothing.
    lan.see(see_slice(slice("late", &["oak"])));
    lan.see(see_service(service("late", &["192.0.2.77"])));
    lan.run_ms(1_000);
    assert_eq!(lan.who_has("192.0.2.77"), Vec::<&str>::new());
    lan.set_api(true);
    lan.run_ms(1_000);
    assert_eq!(lan.who_has("192.0.2.77").len(), 1);
    assert_eq!(lan.who_has(ADDRESS), heir);
}

#[test]
fn an_owner_that_stood_still_does_not_answer_beside_its_heir() {
    for (seed, millis) in [(90, 300), (91, 700), (92, 3_000), (93, 30_000)] {
        let (mut lan, owner) = settled(seed);
        lan.pause(owner);
        lan.run_ms(millis);
        lan.resume(owner);
        let seen = lan.watch(ADDRESS, Duration::from_secs(3));
        let double = seen.iter().find(|(_, answers)| answers.len() > 1);
        assert_eq!(double, None, "after {millis} ms: {seen:?}");
        assert_eq!(seen.last().unwrap().1.len(), 1, "after {millis} ms: {seen:?}");
    }
}

#[test]
fn a_machine_that_was_suspended_asks_before_it_answers() {
    for (seed, millis) in [(95, 700), (96, 3_000), (97, 30_000)] {
        let (mut lan, owner) = settled(seed);
        lan.pause(owner);
        lan.run_ms(millis);
        let heir = lan.who_has(ADDRESS);
        assert_eq!(heir.len(), 1);
        lan.wake(owner);
        let seen = lan.watch(ADDRESS, Duration::from_secs(3));
        assert_eq!(seen.len(), 1, "after {millis} ms: {seen:?}");
        assert_eq!(seen[0].1, heir);
    }
}

#[test]
fn two_owners_die_one_after_the_other() {
    let (mut lan, owner) = settled(100);
    lan.kill(owner);
    lan.run_ms(1_000);
    let heir = lan.who_has(ADDRESS);
    let heir = lan.index(heir[0]);
    lan.kill(heir);
    lan.run(BOUND);
    assert_eq!(lan.who_has(ADDRESS), [ranked(&["oak", "elm", "fir"], ADDRESS)[2]]);
    // The last one goes on alone.
    lan.run_ms(10_000);
    assert_eq!(lan.who_has(ADDRESS).len(), 1);
}
