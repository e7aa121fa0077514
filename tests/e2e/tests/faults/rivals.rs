//! A host that is no machine has an address before anybody announces it, and claims others that are announced.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use landfall_e2e::layouts;
use landfall_e2e::machines::{PATIENCE, PORT};
use landfall_e2e::wait::{throughout, until};
use landfall_e2e::{Machines, Rival, Stream, amount};
use landfall_lan::MacAddress;

use crate::BLINK;

/// An address that somebody else has is asked for again after this time, and is defended once in it (RFC 5227 §2.4(c)).
const INTERVAL: Duration = Duration::from_secs(10);
/// The announcements of who takes an address take so long.
const ANNOUNCED: Duration = Duration::from_millis(2_200);

/// Counts the addresses that a machine is silent about because another host has them.
const CONTESTED: &str = "landfall_speaker_addresses_contested";

/// The rival has these.
const TAKEN: [&str; 2] = ["10.77.9.1", "fd77::9:1"];
/// It claims this one later, beside the first IPv4 address of all.
const OPEN: &str = "fd77::9:9";

pub(crate) fn rival(machines: &mut Machines) -> Result<()> {
    let rival = Rival::plug_in(machines.lan())?;
    let taken = TAKEN.map(|text| text.parse::<IpAddr>().expect("an address"));
    let open = OPEN.parse::<IpAddr>()?;
    taken.iter().try_for_each(|address| rival.take(*address))?;
    taken.iter().chain([&open]).for_each(|address| machines.asker.ask_for(*address));
    until("the rival to answer", PATIENCE, || {
        taken.iter().try_for_each(|address| machines.asker.owner(*address).map(drop))
    })?;

    let stream = machines.stream(0)?;
    stream.answered_after(Instant::now(), PATIENCE)?;
    let asked = Instant::now();
    machines.put("rivals.yaml", &manifest(machines, &taken, open)?)?;
    // A Service that comes with them is served.
    until("an owner of the address that is free", PATIENCE, || machines.owner_of(open).map(drop))?;
    left_to(machines, &rival, &taken, asked)?;
    ensure!(stream.lost_since(asked) == 0, "another address lost {} datagrams", stream.lost_since(asked));
    taken.iter().try_for_each(|address| rival.leave(*address))?;

    // Until it is asked for again there is time to see how the other ones are defended.
    defended(machines, &rival, &[machines.address(0), open])?;
    for address in taken {
        until("the address to be served", INTERVAL + PATIENCE, || machines.owner_of(address).map(drop))?;
        machines.stream_to(address)?.answered_after(Instant::now(), PATIENCE)?;
    }
    eprintln!("   what it had was served {:.1?} after it was asked for", asked.elapsed());
    ensure!(machines.metric(CONTESTED)? == 0, "somebody is still silent about an address");
    Ok(())
}

fn manifest(machines: &Machines, taken: &[IpAddr], open: IpAddr) -> Result<String> {
    let echo = machines.echo();
    let (v4, v6) = (echo.ipv4().context("IPv4")?.into(), echo.ipv6().context("IPv6")?.into());
    let ranges: Vec<String> =
        taken.iter().chain([&open]).map(|address| format!("{address}-{address}")).collect();
    let mut text = layouts::pool("rivals", &ranges);
    for (name, address) in [("taken-4", taken[0]), ("taken-6", taken[1]), ("open-6", open)] {
        let behind = if address.is_ipv4() { v4 } else { v6 };
        text.push_str(&layouts::service(name, address, PORT, behind));
    }
    Ok(text)
}

/// No machine answers for what the rival has, and one of them says so about each.
fn left_to(machines: &Machines, rival: &Rival, taken: &[IpAddr], since: Instant) -> Result<()> {
    until("somebody to notice", PATIENCE, || {
        let contested = machines.metric(CONTESTED)?;
        ensure!(contested == 2, "{contested} addresses are contested");
        Ok(())
    })?;
    throughout("the rival answers alone", 2 * BLINK, || {
        for address in taken {
            let heard = machines.asker.heard_since(*address, since);
            let machine = heard.iter().find(|heard| heard.mac != rival.mac());
            ensure!(machine.is_none(), "{machine:?} answers for {address}");
        }
        Ok(())
    })?;
    for address in taken {
        let told = warnings(machines, &format!("does not announce {address}:"))?;
        ensure!(told.len() == 1, "one warning about {address}, not {told:?}");
        ensure!(told[0].contains(&rival.mac().to_string()), "{told:?} does not say who it is");
    }
    Ok(())
}

/// The lines about rivals with these words, in the logs of all machines.
fn warnings(machines: &Machines, words: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for index in 0..5 {
        let log = machines.log(index)?;
        let lines = log.lines().filter(|line| line.contains("addressConflict") && line.contains(words));
        found.extend(lines.map(str::to_owned));
    }
    Ok(found)
}

/// An address that somebody claims, and what is seen of it.
struct Claimed {
    address: IpAddr,
    /// The MAC of its owner.
    owner: MacAddress,
    /// So many frames announce it once.
    frames: usize,
    stream: Stream,
}

impl Claimed {
    /// How often its owner has announced it since then.
    fn announced(&self, machines: &Machines, since: Instant) -> usize {
        let heard = machines.asker.heard_since(self.address, since);
        heard.iter().filter(|heard| heard.announced && heard.mac == self.owner).count()
    }

    /// The client ends at the owner, by its neighbour table and by an answer.
    fn is_served(&self, machines: &Machines) -> Result<()> {
        machines.leads_to(self.address, self.owner)?;
        self.stream.answered_after(Instant::now(), PATIENCE)
    }
}

/// The owner announces the address once more when somebody claims it, and once in ten seconds however often that is.
fn defended(machines: &Machines, rival: &Rival, addresses: &[IpAddr]) -> Result<()> {
    let claimed = addresses.iter().map(|address| {
        let owner = machines.host(machines.owner_of(*address)?).mac().context("it has a port")?;
        let stream = machines.stream_to(*address)?;
        stream.answered_after(Instant::now(), PATIENCE)?;
        // An ARP request and a reply, or an advertisement.
        let frames = if address.is_ipv4() { 2 } else { 1 };
        Ok(Claimed { address: *address, owner, frames, stream })
    });
    let claimed = claimed.collect::<Result<Vec<_>>>()?;
    until("the announcements of the takeover to be over", PATIENCE, || {
        let since = Instant::now().checked_sub(ANNOUNCED).context("the machine has run for longer")?;
        let one = claimed.iter().find(|one| one.announced(machines, since) > 0);
        ensure!(one.is_none(), "{:?} is still announced", one.map(|one| one.address));
        Ok(())
    })?;

    let counted = || {
        let [claims, defences, stalls] = ["foreign_claims", "defences", "stalls"]
            .map(|name| machines.metric(&format!("landfall_speaker_{name}_total")));
        anyhow::Ok([claims?, defences?, stalls?])
    };
    let (before, both) = (counted()?, claimed.len() as u64);
    let claim = || addresses.iter().try_for_each(|address| rival.claim(*address));
    let (begin, rounds, mut claims) = (Instant::now(), amount(1, 3), 0);
    let frames = |one: &Claimed| (rounds as usize * one.frames, one.announced(machines, begin));
    for round in 1..=rounds {
        // After the first round it is claimed in vain until it may be defended again.
        until("a defence", INTERVAL + PATIENCE, || {
            claims += 1;
            claim()?;
            until("the frames", BLINK, || {
                let due = |one: &&Claimed| one.announced(machines, begin) < round as usize * one.frames;
                let waits = claimed.iter().find(due);
                ensure!(waits.is_none(), "{:?} is not defended", waits.map(|one| one.address));
                Ok(())
            })
        })?;
        ensure!(begin.elapsed() >= INTERVAL * (round - 1), "defended again after {:.1?}", begin.elapsed());
        claimed.iter().try_for_each(|one| one.is_served(machines))?;
    }
    claims += 1;
    claim()?;
    let risen = |after: [u64; 3]| [0, 1, 2].map(|index| after[index] - before[index]);
    throughout("it is not defended again", 2 * BLINK, || {
        let [_, defences, stalls] = risen(counted()?);
        // Who stood still begins to announce anew.
        if stalls == 0 {
            ensure!(defences == u64::from(rounds) * both, "{defences} defences");
            for one in &claimed {
                let (expected, seen) = frames(one);
                ensure!(seen == expected, "{seen} frames announce {}, not {expected}", one.address);
            }
        }
        Ok(())
    })?;
    let [heard, ..] = risen(counted()?);
    ensure!(heard == claims * both, "{heard} claims were counted of {}", claims * both);
    for address in addresses {
        let told = warnings(machines, &format!("announces {address} and keeps it"))?;
        ensure!(told.len() == 1, "one warning about {address}, not {told:?}");
    }
    Ok(())
}
