//! What happens to the owner of an address, and what a client sees of it at a thousand questions a second. Machines without a
//! cluster: the same speaker as in a cluster, and nothing else that could be slow.
//!
//! `make soak` runs each case longer and more often.

mod many;
mod rivals;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use landfall_e2e::machines::PATIENCE;
use landfall_e2e::wait::{throughout, until};
use landfall_e2e::{Contender, Machines, amount};
use nix::sys::signal::Signal;

/// Longer than any gap that could be called a failover in a blink, on the busiest machine.
const BLINK: Duration = Duration::from_secs(1);

type Case = fn(&mut Machines) -> Result<()>;

fn on_machines(count: u16, addresses: u16, flags: &[&str], cases: &[(&str, Case)]) {
    let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    let mut machines = Machines::start(count, addresses, Contender::Landfall(flags)).expect("machines");
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
        &[],
        &[
            ("its port is cut and nobody is told", silent_cuts),
            ("its process stands still for a second", standstill),
            ("its process is killed and starts again", restart),
            ("one frame of ten is lost everywhere", loss),
            ("its process gets one fiftieth of a processor", squeezed),
            ("its process is told to end", told_to_end),
            ("the machines hear each other in two parts only", parted),
            ("the key changes, and processes start with the new one only", rekeyed),
        ],
    );
}

#[test]
#[ignore = "needs root and nft; make test runs it"]
fn an_owner_of_two_hundred_addresses_fails() {
    on_machines(5, many::ADDRESSES, &[], &[("all of its addresses move at once", many::all_move_at_once)]);
}

#[test]
#[ignore = "needs root and nft; make test runs it"]
fn a_host_that_is_no_machine_has_an_address() {
    on_machines(5, 1, &[], &[("before it is announced, and claims others later", rivals::rival)]);
}

#[test]
#[ignore = "needs root and nft; make test runs it"]
fn one_of_two_machines_is_cut_off() {
    on_machines(2, 1, &[], &[("the gateway tells which one", cut_off_alone)]);
}

#[test]
#[ignore = "needs root and nft; make test runs it"]
fn a_minority_is_to_be_silent() {
    on_machines(5, 1, &["--minority", "silent"], &[("two of five, the owner among them", minority)]);
}

/// What a machine says that is cut off.
const ALONE: &str = "it is cut off";

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
    for _ in 0..amount(1, 5) {
        nothing_happens(machines, |machines, owner| {
            machines.process(owner)?.pause()?;
            std::thread::sleep(Duration::from_secs(1));
            Ok(machines.process(owner)?.signal(Signal::SIGCONT)?)
        })?;
    }
    Ok(())
}

fn restart(machines: &mut Machines) -> Result<()> {
    for _ in 0..amount(1, 5) {
        nothing_happens(machines, |machines, owner| {
            machines.process(owner)?.kill()?;
            machines.run(owner)
        })?;
    }
    Ok(())
}

fn loss(machines: &mut Machines) -> Result<()> {
    let (stream, owner) = (machines.stream(0)?, machines.owner(0)?);
    stream.answered_after(Instant::now(), PATIENCE)?;
    let (begin, mac) = (Instant::now(), machines.host(owner).mac());
    // From one machine to another a frame passes two ports, so one of ten is lost.
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
    eprintln!("   {} datagrams lost in {span:.0?}", stream.lost_since(begin));
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
/// What another process does not know yet, or no longer, must not part it from the others.
fn rekeyed(machines: &mut Machines) -> Result<()> {
    nothing_happens(machines, |machines, owner| {
        let taken = |machines: &Machines, index| {
            anyhow::Ok(machines.log(index)?.matches("took over the speakers' secret").count())
        };
        let before = (0..5).map(|index| taken(machines, index)).collect::<Result<Vec<_>>>()?;
        machines.change_key("another key of this test\n")?;
        until("every machine to know the new key", PATIENCE, || {
            (0..5).try_for_each(|index| {
                ensure!(taken(machines, index)? > before[index], "machine {index} does not");
                Ok(())
            })
        })?;
        for index in [(owner + 1) % 5, owner] {
            machines.process(index)?.kill()?;
            machines.run(index)?;
            until("all to hear each other", PATIENCE, || {
                // Those that came and went in the cases before are heard, too.
                let states = ["alive", "flapping"]
                    .map(|state| format!("landfall_speaker_members{{state=\"{state}\"}}"));
                let heard: u64 = states.iter().map(|name| machines.metric(name)).sum::<Result<u64>>()?;
                ensure!(heard == 5 * 4, "{heard} of 20 times");
                Ok(())
            })?;
        }
        Ok(())
    })
}

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

/// Five machines in two parts that do not hear each other; everybody else hears both.
struct Parts {
    /// The owner and another one.
    small: [usize; 2],
    large: [usize; 3],
}

impl Parts {
    fn around(owner: usize) -> Self {
        let after = |distance: usize| (owner + distance) % 5;
        Self { small: [owner, after(1)], large: [after(2), after(3), after(4)] }
    }

    fn across(&self, change: impl Fn(usize, usize) -> landfall_lan::Result<()>) -> Result<()> {
        for one in self.small {
            self.large.into_iter().try_for_each(|other| change(one, other))?;
        }
        Ok(())
    }

    fn cut(&self, machines: &Machines) -> Result<()> {
        self.across(|one, other| machines.lan().cut_between(machines.host(one), machines.host(other)))
    }

    fn join(&self, machines: &Machines) -> Result<()> {
        self.across(|one, other| machines.lan().join(machines.host(one), machines.host(other)))
    }

    /// The one that answers in the small part, and the one in the large part.
    fn owners(&self, machines: &Machines) -> Result<(usize, usize)> {
        let owners = machines.owners(0)?;
        let [one, other] = owners[..] else { bail!("{owners:?} answer") };
        match (self.small.contains(&one), self.small.contains(&other)) {
            (true, false) => Ok((one, other)),
            (false, true) => Ok((other, one)),
            (true, true) | (false, false) => bail!("{one} and {other} answer, both in one part"),
        }
    }
}

/// The owner is in the smaller part. Each part has one owner then. Once they hear each other again the one with the higher
/// epoch, which took over, stays and says so; the other one says nothing any more.
fn parted(machines: &mut Machines) -> Result<()> {
    for _ in 0..amount(1, 10) {
        part_and_meet(machines)?;
    }
    Ok(())
}

fn part_and_meet(machines: &Machines) -> Result<()> {
    let before = until("one owner", PATIENCE, || machines.owner(0))?;
    let parts = Parts::around(before);
    parts.cut(machines)?;
    let (small, large) = until("one owner in each part", PATIENCE, || parts.owners(machines))?;
    ensure!(small == before, "{small} is the owner in the part of {before}");
    throughout("each part has one owner", BLINK * amount(2, 10), || {
        let owners = parts.owners(machines)?;
        ensure!(owners == (small, large), "{owners:?}");
        Ok(())
    })?;
    let healed = Instant::now();
    parts.join(machines)?;
    let met = Instant::now();
    let winner = machines.host(large).mac();
    let stream = machines.stream(0)?;
    throughout("one owner", 3 * BLINK, || {
        let heard = machines.asker.heard_since(machines.address(0), met + BLINK);
        let stranger = heard.iter().find(|heard| Some(heard.mac) != winner);
        ensure!(stranger.is_none(), "{:?} after they met: {stranger:?}", met.elapsed());
        Ok(())
    })?;
    ensure!(machines.owner(0)? == large, "somebody else has it");
    let mut announced = machines.asker.heard_since(machines.address(0), healed);
    announced.retain(|heard| heard.announced);
    let times: Vec<_> = announced.iter().map(|heard| heard.at.duration_since(healed).as_millis()).collect();
    eprintln!("   the winner announced itself after {times:?} ms");
    ensure!(
        announced.iter().all(|heard| Some(heard.mac) == winner),
        "the loser has announced itself: {announced:?}"
    );
    // Six times in two forms.
    ensure!((12..=24).contains(&announced.len()), "{} announcements: {times:?}", announced.len());
    let lost = stream.lost_since(met + BLINK);
    ensure!(lost == 0, "{lost} datagrams were lost after the parts had met");
    Ok(())
}

fn minority(machines: &mut Machines) -> Result<()> {
    let before = machines.owner(0)?;
    let parts = Parts::around(before);
    let stream = machines.stream(0)?;
    stream.answered_after(Instant::now(), PATIENCE)?;
    // Each of them is cut off until it hears the first others.
    let told =
        |machines: &Machines, index, what| Ok::<_, anyhow::Error>(machines.log(index)?.matches(what).count());
    let at_start = (0..5).map(|index| told(machines, index, ALONE)).collect::<Result<Vec<_>>>()?;
    let cut = Instant::now();
    parts.cut(machines)?;
    let after = machines.successor(0, before)?;
    ensure!(parts.large.contains(&after), "{after} is in the minority");
    let alone = Instant::now();
    throughout("only the majority answers", BLINK * amount(2, 10), || {
        let heard = machines.asker.heard_since(machines.address(0), alone);
        let stranger = heard.iter().find(|heard| Some(heard.mac) != machines.host(after).mac());
        ensure!(stranger.is_none(), "{stranger:?} answers as well");
        Ok(())
    })?;
    stream.answered_after(alone, PATIENCE)?;
    eprintln!("   longest gap {:.0?}", stream.longest_gap_since(cut));
    for index in parts.small {
        let times = told(machines, index, ALONE)?;
        ensure!(times == at_start[index] + 1, "{index} does not say that it is cut off");
    }
    let healed = Instant::now();
    parts.join(machines)?;
    for index in parts.small {
        until("the minority to be back", PATIENCE, || {
            let times = told(machines, index, "no longer cut off")?;
            ensure!(times == at_start[index] + 1, "{index} does not say so");
            Ok(())
        })?;
    }
    throughout("nothing moves", 2 * BLINK, || {
        let heard = machines.asker.heard_since(machines.address(0), healed);
        let stranger = heard.iter().find(|heard| Some(heard.mac) != machines.host(after).mac());
        ensure!(stranger.is_none(), "{stranger:?} answers again");
        Ok(())
    })?;
    for index in parts.large {
        let times = told(machines, index, ALONE)?;
        ensure!(times == at_start[index], "{index} is of the majority and thinks that it is cut off");
    }
    Ok(())
}
