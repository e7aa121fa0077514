//! An owner of many addresses.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use landfall_e2e::machines::PATIENCE;
use landfall_e2e::wait::{throughout, until};
use landfall_e2e::{Machines, amount};
use nix::sys::signal::Signal;

use crate::BLINK;

/// The addresses of the owner.
pub(crate) const ADDRESSES: u16 = 200;

/// From the cut to the first frame by which the last address has another owner, in milliseconds: in `make test`, an unoptimised
/// build on a machine that may do other things, and in `make soak`.
const ALL_MOVED: (u32, u32) = (2_000, 600);

/// A machine that is cut off is heard no longer than this.
const ON_ITS_WAY: Duration = Duration::from_millis(50);

pub(crate) fn all_move_at_once(machines: &mut Machines) -> Result<()> {
    for _ in 0..amount(1, 5) {
        let owner = gather(machines)?;
        die(machines, owner)?;
    }
    Ok(())
}

/// Gives all addresses to one machine.
fn gather(machines: &mut Machines) -> Result<usize> {
    let owner = until("an owner", PATIENCE, || machines.owner(0))?;
    let others: Vec<usize> = (0..5).filter(|index| *index != owner).collect();
    let owns_all = |machines: &Machines| {
        (0..ADDRESSES).try_for_each(|number| {
            ensure!(machines.owner(number)? == owner, "another one has the address with the number {number}");
            Ok(())
        })
    };
    // Whoever comes later takes nothing, so the one that stays has all of them.
    for index in &others {
        machines.process(*index)?.signal(Signal::SIGTERM)?;
        machines.process(*index)?.wait()?;
    }
    until("one owner of all addresses", PATIENCE, || owns_all(machines))?;
    let begin = Instant::now();
    for index in &others {
        machines.run(*index)?;
    }
    // Four processes that start take what a small machine has, so answers may be late meanwhile.
    let mac = machines.host(owner).mac();
    throughout("nobody takes an address from it", 3 * BLINK, || {
        (0..ADDRESSES).map(|number| machines.address(number)).try_for_each(|address| {
            let heard = machines.asker.heard_since(address, begin);
            let stranger = heard.iter().find(|heard| Some(heard.mac) != mac);
            ensure!(stranger.is_none(), "{stranger:?} has claimed {address}");
            Ok(())
        })
    })?;
    until("one owner of all addresses", PATIENCE, || owns_all(machines))?;
    Ok(owner)
}

/// Each address has exactly one other owner within the time. Nobody asks meanwhile: five thousand questions a second, which five
/// machines on one processor read, would be most of what is measured.
fn die(machines: &Machines, owner: usize) -> Result<()> {
    let every = || (0..ADDRESSES).map(|number| machines.address(number));
    every().for_each(|address| machines.asker.forget(address));
    let cut = Instant::now();
    machines.host(owner).cut()?;
    // Without what was on its way when the cut came.
    let heard_of = |address| {
        let mut heard = machines.asker.heard_since(address, cut);
        let dead = machines.host(owner).mac();
        heard.retain(|heard| Some(heard.mac) != dead || heard.at.duration_since(cut) > ON_ITS_WAY);
        heard
    };
    let mut moved = Vec::new();
    for address in every() {
        let first = until("an heir that says so", PATIENCE, || {
            heard_of(address)
                .into_iter()
                .find(|heard| heard.announced)
                .with_context(|| format!("none of {address}"))
        })?;
        let after = first.at.duration_since(cut);
        ensure!(
            Some(first.mac) != machines.host(owner).mac(),
            "who was cut off has announced {address} after {after:.0?}"
        );
        moved.push(after);
    }
    moved.sort_unstable();
    let (half, last) = (moved[moved.len() / 2], moved[moved.len() - 1]);
    eprintln!(
        "   {ADDRESSES} addresses had another owner: half of them after {half:.0?}, all after {last:.0?}"
    );

    every().for_each(|address| machines.asker.ask_for(address));
    for address in every() {
        until("one owner", PATIENCE, || machines.owner_of(address))?;
    }
    throughout("each address has had one heir", BLINK, || {
        every().try_for_each(|address| {
            let mut heard = heard_of(address);
            heard.dedup_by_key(|heard| heard.mac);
            ensure!(heard.len() == 1, "{address} had several: {heard:?}");
            Ok(())
        })
    })?;
    machines.host(owner).heal()?;
    let limit = Duration::from_millis(amount(ALL_MOVED.0, ALL_MOVED.1).into());
    ensure!(last < limit, "the last one after {last:.0?}");
    Ok(())
}
