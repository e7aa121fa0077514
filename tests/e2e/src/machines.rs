//! Machines without a cluster that share addresses: by `landfall standalone`, or by keepalived for comparison.
//!
//! ```text
//!   n1 … n5 ──┐                       10.77.1.0 and on: UDP port 7 is forwarded to the echo, whoever owns the address
//!   echo    ──┼── switch ── client (a Stream), watcher (an Asker)
//!             the default gateway of n1 … n5
//! ```

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use ipnet::Ipv4Net;
use landfall_lan::{Host, HostSpec, Lan, MacAddress, Process, Subnets};
use landfall_testbed::programs::Programs;

use crate::Asker;
use crate::layouts;
use crate::processes::last_words;
use crate::requests::metrics;
use crate::stream::Stream;
use crate::wait::{throughout, until};

/// The UDP port of every address, and of the host behind it.
pub const PORT: u16 = 7;
/// Where the announcing half shows its metrics.
const METRICS: u16 = 9120;
/// The manifest of all that machines start with.
const ALL: &str = "all.yaml";
/// From a healed cut until one owner is heard, and no longer the other, which nothing has told that it was cut off.
const HEALED: Duration = Duration::from_millis(300);
/// How long it is watched then.
const SETTLED: Duration = Duration::from_secs(1);
/// So many addresses are asked for all the time at most, spread over all of them.
const ASKED: usize = 200;
/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What gives an address to one of the machines.
#[derive(Clone, Debug)]
pub enum Contender {
    /// `landfall standalone` with these flags more.
    Landfall(Vec<String>),
    /// keepalived, VRRP version 3, with this much time between two advertisements.
    Keepalived(Duration),
}

/// A machine, and the program that runs on it.
#[derive(Debug)]
struct Machine {
    host: Host,
    process: Option<Process>,
}

/// The machines, their client and the one who watches.
#[derive(Debug)]
pub struct Machines {
    lan: Lan,
    machines: Vec<Machine>,
    /// Whom the addresses serve.
    pub client: Host,
    /// Hears and asks who has which address.
    pub asker: Asker,
    echo: Host,
    contender: Contender,
    addresses: u16,
    programs: Programs,
}

impl Machines {
    /// So many machines with so many addresses to share, all of them started and serving.
    ///
    /// # Errors
    /// When something does not come up; with the last words of each machine.
    pub fn start(count: u16, addresses: u16, contender: Contender) -> Result<Self> {
        let programs = Programs::find()?;
        let subnets =
            Subnets { v4: Some(Ipv4Net::new_assert(Ipv4Addr::new(10, 77, 0, 0), 16)), ..Subnets::default() };
        let lan = Lan::create(&Lan::unique_name("lf-mach"), subnets)?;
        let echo = lan.add_host(HostSpec::new("echo", 90))?;
        let gateway = echo.ipv4().context("the LAN has IPv4")?.into();
        let machine = |number| {
            let host = lan.add_host(HostSpec::new(format!("n{number}"), 10 + number).forwarding())?;
            host.add_route("0.0.0.0/0".parse()?, gateway)?;
            anyhow::Ok(Machine { host, process: None })
        };
        let machines = (1..=count).map(machine).collect::<Result<Vec<_>>>()?;
        let client = lan.add_host(HostSpec::new("client", 100))?;
        let watcher = lan.add_host(HostSpec::new("watcher", 101))?;
        let mut command = echo.command(&programs.testbed);
        command.args(["backend", "--as-name", "echo", "--udp", &PORT.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        echo.spawn(command)?;
        let asker = Asker::start(&watcher)?;
        let mut all = Self { lan, machines, client, asker, echo, contender, addresses, programs };
        let started = all.start_all();
        started.map_err(|error| anyhow!("{error:#}\n{}", all.diagnosis()))?;
        Ok(all)
    }

    fn start_all(&mut self) -> Result<()> {
        let echo = self.echo.ipv4().context("the LAN has IPv4")?;
        for index in 0..self.machines.len() {
            match &self.contender {
                Contender::Landfall(_) => self.lay_out_manifests(index, echo)?,
                Contender::Keepalived(advert) => self.lay_out_keepalived(index, echo, *advert)?,
            }
            self.run(index)?;
        }
        let step = usize::from(self.addresses).div_ceil(ASKED).max(1);
        for number in (0..self.addresses).step_by(step) {
            self.asker.ask_for(self.address(number));
        }
        // Each is a Service that is read, decided about, written down, claimed and announced.
        let patience = PATIENCE + Duration::from_millis(100) * u32::from(self.addresses);
        until("an owner of each address", patience, || {
            (0..self.addresses).step_by(step).try_for_each(|number| self.owner(number).map(drop))
        })?;
        // An answer by any path, before somebody counts.
        let stream = self.stream(0)?;
        stream.answered_after(Instant::now(), PATIENCE)
    }

    /// The address with this number, from 0.
    #[must_use]
    pub fn address(&self, number: u16) -> IpAddr {
        let [high, low] = number.to_be_bytes();
        Ipv4Addr::new(10, 77, 1 + high, low).into()
    }

    /// Asks the address with this number a thousand times a second.
    ///
    /// # Errors
    /// When the client has no socket.
    pub fn stream(&self, number: u16) -> Result<Stream> {
        self.stream_to(self.address(number))
    }

    /// Asks the address a thousand times a second.
    ///
    /// # Errors
    /// When the client has no socket.
    pub fn stream_to(&self, address: IpAddr) -> Result<Stream> {
        Stream::start(&self.client, SocketAddr::new(address, PORT))
    }

    /// The machine that answers for the address, by its index.
    ///
    /// # Errors
    /// When none or more than one does.
    pub fn owner(&self, number: u16) -> Result<usize> {
        self.owner_of(self.address(number))
    }

    /// The machine that answers for an address that was asked for, by its index.
    ///
    /// # Errors
    /// When none or more than one does.
    pub fn owner_of(&self, address: IpAddr) -> Result<usize> {
        self.machine(self.asker.owner(address)?)
    }

    /// The machines that have answered for the address within the last half second, by their indices.
    ///
    /// # Errors
    /// When somebody else has.
    pub fn owners(&self, number: u16) -> Result<Vec<usize>> {
        let macs = self.asker.owners(self.address(number));
        macs.into_iter().map(|mac| self.machine(mac)).collect()
    }

    /// Waits until another machine than `before` is the only one that answers.
    ///
    /// # Errors
    /// When that takes too long.
    pub fn successor(&self, number: u16, before: usize) -> Result<usize> {
        until("another owner", PATIENCE, || {
            let owner = self.owner(number)?;
            ensure!(owner != before, "it is still {}", self.host(before).name());
            Ok(owner)
        })
    }

    /// Cuts the owner's port without telling anybody, waits for another owner, and heals the port; answers how long the stream
    /// of that address was silent.
    ///
    /// # Errors
    /// When nobody takes over, or Landfall's successor does not keep the address.
    pub fn cut_owner(&self, number: u16, stream: &Stream) -> Result<Duration> {
        let owner = until("one owner", PATIENCE, || self.owner(number))?;
        if let Contender::Keepalived(_) = self.contender {
            // After two masters at once clients may be left with the one that gave way; they would not notice the cut.
            self.neighbor("flush", self.address(number))?;
        }
        self.leads_to(self.address(number), self.host(owner).mac().context("it has a port")?)?;
        let cut = Instant::now();
        self.host(owner).cut()?;
        let seen = self.successor(number, owner).and_then(|after| {
            stream.answered_after(Instant::now(), PATIENCE)?;
            Ok((after, stream.longest_gap_since(cut)))
        });
        self.host(owner).heal()?;
        let (after, gap) = seen?;
        match self.contender {
            Contender::Landfall(_) => self.keeps(number, after)?,
            // Both are masters when they meet, and the one with the higher priority stays: the one that was laid out first.
            Contender::Keepalived(advert) => self.agree(number, owner.min(after), 4 * advert + HEALED)?,
        }
        Ok(gap)
    }

    /// Waits until the client's neighbour table has this Ethernet address for the address.
    ///
    /// # Errors
    /// When that takes too long.
    pub fn leads_to(&self, address: IpAddr, mac: MacAddress) -> Result<()> {
        until("the client to be led to the owner", PATIENCE, || {
            let text = self.neighbor("show", address)?;
            ensure!(text.contains(&mac.to_string()), "{text:?}, not {mac}");
            Ok(())
        })
    }

    /// What the tool `ip` says when it does that with the client's neighbours of this address.
    fn neighbor(&self, what: &str, address: IpAddr) -> Result<String> {
        let output =
            self.client.command("ip").args(["neighbor", what, "to", &address.to_string()]).output()?;
        ensure!(output.status.success(), "ip: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until only this machine has answered for the address for `calm`, from now on.
    fn agree(&self, number: u16, owner: usize, calm: Duration) -> Result<()> {
        let healed = Instant::now();
        let mac = self.host(owner).mac();
        until("one master", PATIENCE, || {
            ensure!(healed.elapsed() >= calm, "it is too early to tell");
            let since = Instant::now().checked_sub(calm).unwrap_or(healed);
            let heard = self.asker.heard_since(self.address(number), since);
            let stranger = heard.iter().find(|heard| Some(heard.mac) != mac);
            ensure!(stranger.is_none(), "{stranger:?} answers, not only {}", self.host(owner).name());
            ensure!(self.owner(number)? == owner, "it is another one");
            Ok(())
        })
    }

    /// Nobody else answers for the address for a while, once who was cut off has had a moment to find out.
    fn keeps(&self, number: u16, owner: usize) -> Result<()> {
        let healed = Instant::now();
        let mac = self.host(owner).mac();
        throughout("the successor keeps the address", HEALED + SETTLED, || {
            let heard = self.asker.heard_since(self.address(number), healed + HEALED);
            let stranger = heard.iter().find(|heard| Some(heard.mac) != mac);
            ensure!(stranger.is_none(), "{stranger:?} has claimed it, not {}", self.host(owner).name());
            Ok(())
        })?;
        until("the successor to answer", PATIENCE, || {
            ensure!(self.owner(number)? == owner, "it is another one");
            Ok(())
        })
    }

    /// A machine's host.
    #[must_use]
    pub fn host(&self, index: usize) -> &Host {
        &self.machines[index].host
    }

    /// The LAN, to break it.
    #[must_use]
    pub fn lan(&self) -> &Lan {
        &self.lan
    }

    /// The program on a machine.
    ///
    /// # Errors
    /// When it was taken.
    pub fn process(&self, index: usize) -> Result<&Process> {
        self.machines[index].process.as_ref().context("it does not run")
    }

    /// Starts the program on a machine, where it does not run.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&mut self, index: usize) -> Result<()> {
        let host = &self.machines[index].host;
        let folder = self.folder(index);
        let mut command = match &self.contender {
            Contender::Landfall(flags) => {
                let landfall = self.programs.landfall.as_ref();
                let mut command =
                    host.command(landfall.context("landfall is not built: run `cargo build -p landfall`")?);
                command.arg("standalone").arg("-f").arg(folder.join("manifests"));
                command.args(["--node-name", host.name(), "--check-interval", "0.2"]).args(flags);
                command.arg("--state-dir").arg(folder.join("state"));
                command.arg("--key-file").arg(self.key());
                for machine in &self.machines {
                    let address = machine.host.ipv4().context("the LAN has IPv4")?;
                    command.arg(format!("--peer={}={address}", machine.host.name()));
                }
                command
            }
            Contender::Keepalived(_) => {
                let mut command = host.command("keepalived");
                command.args(["-n", "-l", "-D", "-P"]);
                for (flag, file) in [("-f", "keepalived.conf"), ("-p", "pid"), ("-r", "vrrp.pid")] {
                    command.arg(flag).arg(folder.join(file));
                }
                command
            }
        };
        let log = fs::File::options().create(true).append(true).open(folder.join("log"))?;
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = host.spawn(command)?;
        self.machines[index].process = Some(process);
        Ok(())
    }

    /// Writes into every machine's manifests that this machine should have the address; `requested` tells one request from
    /// the next.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn prefer(&self, number: u16, index: usize, requested: &str) -> Result<()> {
        let plain = layouts::asks_for(self.address(number));
        let node = self.host(index).name();
        let wish = format!("landfall.dev/preferred-node: {node}, landfall.dev/move-requested: {requested:?}");
        // They are the same everywhere.
        let text = fs::read_to_string(self.folder(index).join("manifests").join(ALL))?;
        ensure!(text.contains(&plain), "{ALL} has another shape");
        self.put(ALL, &text.replace(&plain, &format!("{plain}, {wish}")))
    }

    /// Gives all machines another key.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn change_key(&self, key: &str) -> Result<()> {
        let (file, staged) = (self.key(), self.lan.state_directory().join("staged-key"));
        fs::write(&staged, key)?;
        Ok(fs::rename(staged, file)?)
    }

    fn key(&self) -> PathBuf {
        self.lan.state_directory().join("key")
    }

    /// Gives every machine a manifest more, or another one of this name.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn put(&self, name: &str, text: &str) -> Result<()> {
        for machine in 0..self.machines.len() {
            let (folder, staged) = (self.folder(machine), self.folder(machine).join("staged"));
            fs::write(&staged, text)?;
            fs::rename(staged, folder.join("manifests").join(name))?;
        }
        Ok(())
    }

    /// The sum of a metric of the announcing half over its labels and all machines.
    ///
    /// # Errors
    /// When a machine does not tell, or what it tells is no whole number.
    pub fn metric(&self, name: &str) -> Result<u64> {
        let mut sum = 0;
        for machine in &self.machines {
            let text = metrics(&machine.host, METRICS)?;
            for line in text.lines().filter(|line| line.starts_with(name)) {
                let value = line.rsplit(' ').next().unwrap_or_default();
                sum += value.parse::<u64>().with_context(|| line.to_owned())?;
            }
        }
        Ok(sum)
    }

    /// The host behind all addresses, by its own ones.
    #[must_use]
    pub fn echo(&self) -> &Host {
        &self.echo
    }

    /// What the program on a machine has said so far.
    ///
    /// # Errors
    /// When it has said nothing.
    pub fn log(&self, index: usize) -> Result<String> {
        Ok(fs::read_to_string(self.folder(index).join("log"))?)
    }

    /// The last words of every machine.
    #[must_use]
    pub fn diagnosis(&self) -> String {
        let words = (0..self.machines.len()).map(|index| last_words(&self.folder(index).join("log")));
        words.collect::<Vec<_>>().join("\n")
    }

    /// Ends everything.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn teardown(self) -> Result<()> {
        Ok(self.lan.teardown()?)
    }

    fn machine(&self, mac: MacAddress) -> Result<usize> {
        let index = self.machines.iter().position(|machine| machine.host.mac() == Some(mac));
        index.with_context(|| format!("{mac} is no machine's"))
    }

    fn folder(&self, index: usize) -> PathBuf {
        self.lan.state_directory().join(self.host(index).name())
    }

    fn lay_out_manifests(&self, index: usize, echo: Ipv4Addr) -> Result<()> {
        if !self.key().exists() {
            self.change_key("a key of this test that nobody else has\n")?;
        }
        let folder = self.folder(index).join("manifests");
        fs::create_dir_all(&folder)?;
        let last = self.address(self.addresses - 1);
        let mut text = layouts::pool("lan", &[format!("{}-{last}", self.address(0))]);
        for number in 0..self.addresses {
            text.push_str(&layouts::service(&format!("s{number}"), self.address(number), PORT, echo.into()));
        }
        Ok(fs::write(folder.join(ALL), text)?)
    }

    fn lay_out_keepalived(&self, index: usize, echo: Ipv4Addr, advert: Duration) -> Result<()> {
        let folder = self.folder(index);
        fs::create_dir_all(&folder)?;
        let addresses = (0..self.addresses).map(|number| self.address(number));
        let configuration = layouts::keepalived(self.host(index).name(), index, advert, addresses);
        fs::write(folder.join("keepalived.conf"), configuration)?;
        let file = folder.join("rules.nft");
        fs::write(&file, layouts::rules(PORT, echo))?;
        let output = self.host(index).command("nft").arg("-f").arg(&file).output()?;
        ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}
