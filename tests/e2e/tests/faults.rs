//! What happens to the owner of an address, and what a client sees of it at a thousand questions a second. Machines without a
//! cluster: the same speaker as in a cluster, and nothing else that could be slow.
//!
//! `make soak` runs each case longer and more often.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use landfall_e2e::machines::PATIENCE;
use landfall_e2e::wait::{throughout, until};
use landfall_e2e::{Contender, Machines};
use nix::sys::signal::Signal;

/// How often, or how long: in `make test`, and in `make soak`.
fn amount(short: u32, long: u32) -> u32 {
    if std::env::var_os("LANDFALL_SOAK").is_some() { long } else { short }
}

/// Longer than any gap that could be called a failover in a blink, on the busiest machine.
const BLINK: Duration = Duration::from_secs(1);

type Case = fn(&mut Machines) -> Result<()>;

fn on_machines(count: u16, addresses: u8, cases: &[(&str, Case)]) {
    let mut machines = Machines::start(count, addresses, Contender::Landfall(Vec::new())).expect("machines");
    let mut failed = Vec::new();
    for (title, case) in cases {
        eprintln!("== {title}");
        if let Err(error) = case(&mut machines) {
            eprintln!("   FAILED: {error:#}\n{}", machines.diagnosis());
            failed.push(*title);
        }
    }
    machines.teardown().expect("nothing is left");
    assert!(failed.is_empty(), "failed: {failed:?}");
}

#[test]
#[ignore = "needs root and nft; make test runs it"]
fn the_owner_of_an_address_fails() {
    on_machines(
        5,
        1,
        &[
            ("its port is cut and nobody is told", silent_cuts),
            ("its process stands still for a second", standstill),
            ("its process is killed and starts again", restart),
            ("one frame of ten is lost everywhere", loss),
            ("its process gets one fiftieth of a processor", squeezed),
            ("its process is told to end", told_to_end),
            ("the machines hear each other in two parts only", parted),
        ],
    );
}

#[test]
#[ignore = "needs root and nft; make test runs it"]
fn an_owner_of_two_hundred_addresses_fails() {
    on_machines(3, 200, &[("all of its addresses move at once", many_addresses)]);
}

#[test]
#[ignore = "needs root and nft; make test runs it"]
fn one_of_two_machines_is_cut_off() {
    on_machines(2, 1, &[("the gateway tells which one", cut_off_alone)]);
}

/// Both hear nobody, and only one of them hears the gateway: that one serves, and the other one knows better.
fn cut_off_alone(machines: &mut Machines) -> Result<()> {
    let stream = machines.stream(0)?;
    let owner = machines.owner(0)?;
    let cut = Instant::now();
    machines.host(owner).cut()?;
    let other = machines.successor(0, owner)?;
    until("the owner to know that it is cut off", PATIENCE, || {
        ensure!(machines.log(owner)?.contains("it is cut off"), "it does not say so");
        Ok(())
    })?;
    stream.answered_after(Instant::now(), PATIENCE)?;
    eprintln!("   longest gap {:.0?}", stream.longest_gap_since(cut));
    let healed = Instant::now();
    machines.host(owner).heal()?;
    until("the owner to be back", PATIENCE, || {
        ensure!(machines.log(owner)?.contains("no longer cut off"), "it does not say so");
        Ok(())
    })?;
    throughout("the other one serves", BLINK, || {
        let heard = machines.asker.heard_since(machines.address(0), healed);
        let mac = machines.host(other).mac();
        ensure!(heard.iter().all(|heard| Some(heard.mac) == mac), "the one that was cut off answers");
        Ok(())
    })?;
    ensure!(!machines.log(other)?.contains("it is cut off"), "the wrong one thinks that it is cut off");
    Ok(())
}

fn silent_cuts(machines: &mut Machines) -> Result<()> {
    let stream = machines.stream(0)?;
    let mut gaps = Vec::new();
    for _ in 0..amount(3, 20) {
        gaps.push(machines.cut_owner(0, &stream)?);
    }
    gaps.sort_unstable();
    let (middle, worst) = (gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
    eprintln!("   {} cuts: median {middle:.0?}, worst {worst:.0?}", gaps.len());
    ensure!(worst < BLINK, "a client waited for {worst:?}");
    Ok(())
}

/// Nothing moves and nothing is lost while `fault` is done to the owner, and for a moment after it.
fn nothing_happens(
    machines: &mut Machines,
    fault: impl FnOnce(&mut Machines, usize) -> Result<()>,
) -> Result<()> {
    let stream = machines.stream(0)?;
    stream.answered_after(Instant::now(), PATIENCE)?;
    let owner = machines.owner(0)?;
    let (begin, mac) = (Instant::now(), machines.host(owner).mac());
    fault(machines, owner)?;
    until("the owner to answer", PATIENCE, || {
        ensure!(machines.owner(0)? == owner, "it has moved");
        Ok(())
    })?;
    throughout("the owner keeps it", BLINK, || {
        let strangers = machines.asker.heard_since(machines.address(0), begin);
        ensure!(strangers.iter().all(|heard| Some(heard.mac) == mac), "another machine has claimed it");
        Ok(())
    })?;
    let (lost, gap) = (stream.lost_since(begin), stream.longest_gap_since(begin));
    eprintln!("   {lost} lost, longest gap {gap:.0?}");
    ensure!(lost == 0, "{lost} datagrams were lost");
    Ok(())
}

fn standstill(machines: &mut Machines) -> Result<()> {
    nothing_happens(machines, |machines, owner| {
        machines.process(owner)?.pause()?;
        std::thread::sleep(Duration::from_secs(1));
        Ok(machines.process(owner)?.signal(Signal::SIGCONT)?)
    })
}

fn restart(machines: &mut Machines) -> Result<()> {
    nothing_happens(machines, |machines, owner| {
        machines.process(owner)?.kill()?;
        machines.run(owner)
    })
}

fn loss(machines: &mut Machines) -> Result<()> {
    let owner = machines.owner(0)?;
    let (begin, mac) = (Instant::now(), machines.host(owner).mac());
    for index in 0..5 {
        machines.host(index).drop_share(50)?;
    }
    let span = Duration::from_secs(amount(8, 60).into());
    let held = throughout("the owner keeps it", span, || {
        let heard = machines.asker.heard_since(machines.address(0), begin);
        let stranger = heard.iter().find(|heard| Some(heard.mac) != mac);
        ensure!(stranger.is_none(), "{stranger:?} has claimed it");
        Ok(())
    });
    for index in 0..5 {
        machines.host(index).heal()?;
    }
    held
}

fn squeezed(machines: &mut Machines) -> Result<()> {
    nothing_happens(machines, |machines, owner| {
        let process = machines.process(owner)?;
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let squeeze = scope.spawn(|| -> Result<()> {
                while !stop.load(Ordering::Relaxed) {
                    process.signal(Signal::SIGSTOP)?;
                    std::thread::sleep(Duration::from_millis(98));
                    process.signal(Signal::SIGCONT)?;
                    std::thread::sleep(Duration::from_millis(2));
                }
                Ok(())
            });
            std::thread::sleep(Duration::from_secs(amount(5, 30).into()));
            stop.store(true, Ordering::Relaxed);
            squeeze.join().expect("it does not panic")
        })
    })
}

/// Whoever takes over speaks before the owner is silent, so nothing is lost; after that the owner does not speak again.
fn told_to_end(machines: &mut Machines) -> Result<()> {
    let stream = machines.stream(0)?;
    stream.answered_after(Instant::now(), PATIENCE)?;
    let before = machines.owner(0)?;
    let told = Instant::now();
    machines.process(before)?.signal(Signal::SIGTERM)?;
    let after = machines.successor(0, before)?;
    let code = machines.process(before)?.wait()?;
    ensure!(code.success(), "it ended with {code}");
    std::thread::sleep(BLINK);
    let (lost, gap) = (stream.lost_since(told), stream.longest_gap_since(told));
    eprintln!("   {lost} lost, longest gap {gap:.0?}");
    ensure!(lost == 0, "{lost} datagrams were lost");
    let heard = machines.asker.heard_since(machines.address(0), told);
    let mut owners: Vec<_> = heard.iter().map(|heard| heard.mac).collect();
    owners.dedup();
    let expected: Vec<_> = [before, after].into_iter().filter_map(|one| machines.host(one).mac()).collect();
    ensure!(expected.ends_with(&owners), "first {expected:?}, but it was {owners:?}");
    machines.run(before)?;
    throughout("the successor keeps it", 2 * BLINK, || {
        ensure!(machines.owner(0)? == after, "it has moved");
        Ok(())
    })
}

/// The owner is in the smaller part. Each part has an owner then; once they hear each other again, one of them gives way.
fn parted(machines: &mut Machines) -> Result<()> {
    let owner = machines.owner(0)?;
    let parts = |index: usize| index == owner || index == (owner + 1) % 5;
    let across = |change: &dyn Fn(usize, usize) -> Result<()>| -> Result<()> {
        for one in (0..5).filter(|one| parts(*one)) {
            (0..5).filter(|other| !parts(*other)).try_for_each(|other| change(one, other))?;
        }
        Ok(())
    };
    let begin = Instant::now();
    let lan = machines.lan();
    across(&|one, other| Ok(lan.cut_between(machines.host(one), machines.host(other))?))?;
    until("an owner in each part", PATIENCE, || {
        let heard = machines.asker.heard_since(machines.address(0), begin);
        let inside = |part: bool| {
            let of_part = (0..5).filter(|index| parts(*index) == part);
            let macs: Vec<_> = of_part.map(|index| machines.host(index).mac()).collect();
            heard.iter().any(|heard| macs.contains(&Some(heard.mac)))
        };
        ensure!(inside(true) && inside(false), "one only");
        Ok(())
    })?;
    across(&|one, other| Ok(lan.join(machines.host(one), machines.host(other))?))?;
    let owner = until("one owner", PATIENCE, || machines.owner(0))?;
    let stream = machines.stream(0)?;
    throughout("one owner", 2 * BLINK, || {
        ensure!(machines.owner(0)? == owner, "it has moved");
        Ok(())
    })?;
    let lost = stream.lost_since(Instant::now().checked_sub(BLINK).unwrap_or(begin));
    ensure!(lost == 0, "{lost} datagrams were lost after the parts had met");
    Ok(())
}

fn many_addresses(machines: &mut Machines) -> Result<()> {
    let owner = machines.owner(0)?;
    let mac = machines.host(owner).mac();
    let owned = (0..200).filter(|number| machines.owner(*number).is_ok_and(|one| one == owner));
    let owned: Vec<u8> = owned.collect();
    let cut = Instant::now();
    machines.host(owner).cut()?;
    let mut last = Duration::ZERO;
    for number in &owned {
        let claimed = until("a successor", PATIENCE, || {
            let heard = machines.asker.heard_since(machines.address(*number), cut);
            let first = heard.into_iter().find(|heard| Some(heard.mac) != mac);
            first.map(|heard| heard.at.duration_since(cut)).context("nobody has claimed it")
        })?;
        last = last.max(claimed);
    }
    eprintln!("   {} addresses had another owner after {last:.0?}", owned.len());
    ensure!(owned.len() > 20 && last < 2 * BLINK, "{} addresses, {last:?}", owned.len());
    Ok(machines.host(owner).heal()?)
}
