//! ARP as a client sees it: how soon and how often an owner answers.

use std::{
    io::{self, Read as _},
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use landfall_e2e::{
    asker,
    frames::{self, Sender},
};
use landfall_testbed::Host;

use crate::figures::Figures;

/// Questions asked one after the other.
const SINGLES: usize = 1_000;
/// Questions without an answer at any time while the rate is measured.
const WINDOW: usize = 64;
/// How long the rate is measured.
const RATE_TIME: Duration = Duration::from_secs(2);

pub(crate) fn measure(figures: &mut Figures, client: &Host, address: IpAddr) -> anyhow::Result<()> {
    let sender = Sender {
        mac: client.mac().context("the client has a port of the switch")?,
        v4: client.ipv4().context("the client has IPv4")?,
        v6: client.ipv6().context("the client has IPv6")?,
    };
    let socket = client.within(asker::open)?.context("cannot open a raw socket")?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let question = frames::question(sender, address);
    let answer = || -> io::Result<()> {
        let mut buffer = [0; 2048];
        loop {
            let length = (&socket).read(&mut buffer)?;
            if frames::claim(&buffer[..length])
                .is_some_and(|claim| claim.address == address && claim.source != sender.mac)
            {
                return Ok(());
            }
        }
    };
    let mut samples = Vec::with_capacity(SINGLES);
    for _ in 0..SINGLES {
        let asked = Instant::now();
        socket.send(&question)?;
        answer().context("no answer within a second")?;
        samples.push(asked.elapsed().as_secs_f64() * 1e6);
    }
    figures.add_samples("ARP reply", samples, "us", None);

    let start = Instant::now();
    let mut answers = 0_u32;
    for _ in 0..WINDOW {
        socket.send(&question)?;
    }
    while start.elapsed() < RATE_TIME {
        answer().context("the owner fell silent under load")?;
        answers += 1;
        socket.send(&question)?;
    }
    ensure!(answers > 0, "the owner answered nothing");
    figures.add(
        "ARP replies of one speaker",
        f64::from(answers) / start.elapsed().as_secs_f64(),
        "replies/s",
        None,
    );
    Ok(())
}
