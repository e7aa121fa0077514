//! ARP as a client sees it: how soon and how often an owner of few and of many addresses answers, and what requests for
//! addresses of others cost it.

use std::{
    io::{self, Read as _},
    net::{IpAddr, Ipv4Addr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use landfall_e2e::{
    Contender, Machines, asker,
    frames::{self, Sender},
};
use landfall_testbed::Host;

use crate::{figures::Figures, process};

/// Addresses of the one speaker.
const ADDRESSES: [u16; 2] = [10, 10_000];
/// Questions asked one after the other.
const SINGLES: usize = 1_000;
/// Questions without an answer at any time while the rate is measured.
const WINDOW: usize = 64;
/// How long the rate is measured.
const RATE_TIME: Duration = Duration::from_secs(2);
/// Requests for addresses that the speaker does not have, so many at a time, and the pause between two times.
const FOREIGN: u32 = 50_000;
const BURST: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    for addresses in ADDRESSES {
        let machines = Machines::start(1, addresses, Contender::Landfall(Vec::new()))?;
        let measured = one(figures, &machines, addresses).with_context(|| machines.diagnosis());
        machines.teardown()?;
        measured?;
    }
    Ok(())
}

fn one(figures: &mut Figures, machines: &Machines, count: u16) -> anyhow::Result<()> {
    let addresses: Vec<IpAddr> = (0..count).map(|number| machines.address(number)).collect();
    addresses.iter().for_each(|address| machines.asker.forget(*address));
    let client = Client::new(&machines.client)?;
    let mut turns = addresses.iter().copied().cycle();
    let mut next = || turns.next().unwrap_or(addresses[0]);

    // Each of them once, so that none is missing.
    for address in &addresses {
        client.ask(*address)?;
        client.answer(|answered| answered == *address)?;
    }
    let mut samples = Vec::with_capacity(SINGLES);
    for _ in 0..SINGLES {
        let address = next();
        let asked = Instant::now();
        client.ask(address)?;
        client.answer(|answered| answered == address)?;
        samples.push(asked.elapsed().as_secs_f64() * 1e6);
    }
    figures.add_samples(&format!("ARP reply, one of {count} addresses"), samples, "us", None);

    let start = Instant::now();
    let mut answers = 0_u32;
    for _ in 0..WINDOW {
        client.ask(next())?;
    }
    while start.elapsed() < RATE_TIME {
        client.answer(|_| true).context("the owner fell silent under load")?;
        answers += 1;
        client.ask(next())?;
    }
    let rate = f64::from(answers) / start.elapsed().as_secs_f64();
    figures.add(format!("ARP replies of one speaker with {count} addresses"), rate, "replies/s", None);

    let milliseconds = foreign(&client, machines)?;
    figures.add(
        format!("{FOREIGN} ARP requests for addresses of others: CPU of a speaker with {count}"),
        milliseconds,
        "ms",
        None,
    );
    Ok(())
}

/// What the speaker does while it is asked for what it does not have, less what it does in the same time anyway.
fn foreign(client: &Client, machines: &Machines) -> anyhow::Result<f64> {
    let spent = |work: &dyn Fn() -> anyhow::Result<()>| -> anyhow::Result<f64> {
        let pid = machines.process(0)?.pid();
        let before = process::cpu_seconds(pid)?;
        work()?;
        Ok((process::cpu_seconds(pid)? - before) * 1e3)
    };
    let (received, _) = process::frames(machines.host(0))?;
    let start = Instant::now();
    let asked = spent(&|| {
        for number in 0..FOREIGN {
            let [.., high, low] = number.to_be_bytes();
            client.ask(Ipv4Addr::new(10, 77, 128 | (high & 0x7f), low).into())?;
            if number % BURST == BURST - 1 {
                thread::sleep(PAUSE);
            }
        }
        Ok(())
    })?;
    let span = start.elapsed();
    let (now, _) = process::frames(machines.host(0))?;
    ensure!(now - received >= u64::from(FOREIGN), "only {} frames reached the machine", now - received);
    let idle = spent(&|| {
        thread::sleep(span);
        Ok(())
    })?;
    Ok((asked - idle).max(0.0))
}

/// Asks and listens on a raw socket.
struct Client {
    sender: Sender,
    socket: socket2::Socket,
}

impl Client {
    fn new(host: &Host) -> anyhow::Result<Self> {
        let sender = Sender {
            mac: host.mac().context("the client has a port of the switch")?,
            v4: host.ipv4().context("the client has IPv4")?,
            v6: host.ipv6().context("the client has IPv6")?,
        };
        let socket = host.within(asker::open)?.context("cannot open a raw socket")?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok(Self { sender, socket })
    }

    fn ask(&self, address: IpAddr) -> io::Result<()> {
        self.socket.send(&frames::question(self.sender, address)).map(drop)
    }

    /// Waits for an answer that another machine gives for an address that is `wanted`.
    fn answer(&self, wanted: impl Fn(IpAddr) -> bool) -> anyhow::Result<()> {
        let mut buffer = [0; 2048];
        loop {
            let length = (&self.socket).read(&mut buffer).context("no answer within a second")?;
            let claim = frames::claim(&buffer[..length]).filter(|claim| claim.source != self.sender.mac);
            if claim.is_some_and(|claim| wanted(claim.address)) {
                return Ok(());
            }
        }
    }
}
