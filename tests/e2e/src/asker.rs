//! A machine on the LAN that keeps asking who has an address, and remembers every answer.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::{Context, Result, anyhow, ensure};
use landfall_lan::{Host, MacAddress};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::frames::{self, Sender};
use crate::lock;

/// How often each address is asked for, if they are few.
const PACE: Duration = Duration::from_millis(40);
/// At least so long between two questions, on average: every machine hears all of them.
const EACH: Duration = Duration::from_micros(800);

/// Who hands an address over does not have it again sooner.
const TURN: Duration = Duration::from_millis(200);

/// From this long after a change of who is there, one address may have one MAC only.
pub const SETTLED: Duration = Duration::from_secs(2);

/// One claim of an address, and when it was heard.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// When.
    pub at: Instant,
    /// Who, by the MAC that the claim names.
    pub mac: MacAddress,
    /// To everybody, and not to us because we had asked.
    pub announced: bool,
}

/// Asks in the background, until it is dropped.
#[derive(Debug)]
pub struct Asker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    asked: Mutex<BTreeSet<IpAddr>>,
    heard: Mutex<BTreeMap<IpAddr, Vec<Heard>>>,
}

impl Asker {
    /// Starts on a host of the LAN that is neither a node nor the client under test: answers to it reach nobody else, so
    /// they do not refresh the client's neighbour table.
    ///
    /// # Errors
    /// When the raw socket cannot be opened.
    pub fn start(host: &Host) -> Result<Self> {
        let sender = Sender {
            mac: host.mac().context("the asker needs a port of the switch")?,
            v4: host.ipv4().context("the asker needs IPv4")?,
            v6: host.ipv6().context("the asker needs IPv6")?,
        };
        let socket = host.within(open)?.context("open a raw socket for the asker")?;
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            asked: Mutex::default(),
            heard: Mutex::default(),
        });
        let inside = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("asker".to_owned())
            .spawn(move || inside.run(&socket, sender))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Asks for this address from now on.
    pub fn ask_for(&self, address: IpAddr) {
        lock(&self.shared.asked).insert(address);
    }

    /// Asks for it no more.
    pub fn forget(&self, address: IpAddr) {
        lock(&self.shared.asked).remove(&address);
    }

    /// All claims of an address since then.
    #[must_use]
    pub fn heard_since(&self, address: IpAddr, since: Instant) -> Vec<Heard> {
        let heard = lock(&self.shared.heard);
        heard.get(&address).into_iter().flatten().filter(|heard| heard.at >= since).copied().collect()
    }

    /// The machines that claimed an address within the last half second.
    #[must_use]
    pub fn owners(&self, address: IpAddr) -> BTreeSet<MacAddress> {
        let now = Instant::now();
        let recent = self.heard_since(address, now.checked_sub(Duration::from_millis(500)).unwrap_or(now));
        recent.iter().map(|heard| heard.mac).collect()
    }

    /// The one machine that claims an address now.
    ///
    /// # Errors
    /// When nobody or more than one did within the last half second.
    pub fn owner(&self, address: IpAddr) -> Result<MacAddress> {
        let macs = self.owners(address);
        let mut all = macs.iter();
        match (all.next(), all.next()) {
            (Some(owner), None) => Ok(*owner),
            (None, _) => Err(anyhow!("nobody answers for {address}")),
            (Some(_), Some(_)) => Err(anyhow!("several answer for {address}: {}", listed(&macs))),
        }
    }

    /// Checks that from two seconds after a change until `end` one machine at most claimed the address.
    ///
    /// # Errors
    /// When two did: names them and when they were heard.
    pub fn ensure_single_owner(&self, address: IpAddr, change: Instant, end: Instant) -> Result<()> {
        let mut heard = self.heard_since(address, change + SETTLED);
        heard.retain(|heard| heard.at <= end);
        let macs: BTreeSet<MacAddress> = heard.iter().map(|heard| heard.mac).collect();
        if macs.len() > 1 {
            let last: Vec<String> = macs
                .iter()
                .filter_map(|mac| heard.iter().rfind(|heard| heard.mac == *mac))
                .map(|last| format!("{} at {:.2} s", last.mac, last.at.duration_since(change).as_secs_f64()))
                .collect();
            return Err(anyhow!(
                "{address} has {} MACs after a change: last {}",
                macs.len(),
                last.join(", ")
            ));
        }
        Ok(())
    }

    /// Checks that since then whoever owned the address was silent once another machine had it: nobody speaks again within
    /// [`TURN`] of the other one's first word. Two that answer the same questions do so all the time.
    ///
    /// # Errors
    /// When two spoke in turns: names them, and when.
    pub fn ensure_one_at_a_time(&self, address: IpAddr, since: Instant) -> Result<()> {
        let mut turns = self.heard_since(address, since);
        turns.dedup_by_key(|heard| heard.mac);
        for line in turns.windows(3) {
            let [before, other, again] = line else { continue };
            let after = again.at.duration_since(other.at);
            ensure!(
                before.mac != again.mac || after > TURN,
                "{} spoke for {address} again {after:.0?} after {} had it, {:.2} s after the change",
                again.mac,
                other.mac,
                again.at.duration_since(since).as_secs_f64()
            );
        }
        Ok(())
    }

    /// Checks that nobody has claimed the address since then, although it was asked for.
    ///
    /// # Errors
    /// When somebody did.
    pub fn ensure_silent_since(&self, address: IpAddr, since: Instant) -> Result<()> {
        let heard = self.heard_since(address, since);
        let macs = heard.iter().map(|heard| heard.mac).collect();
        ensure!(
            heard.is_empty(),
            "{address} should be silent, but was claimed {} times by {}",
            heard.len(),
            listed(&macs)
        );
        Ok(())
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the asker was reported by its own thread.
            drop(thread.join());
        }
    }
}

impl Shared {
    fn run(&self, socket: &Socket, sender: Sender) {
        let mut next = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            if Instant::now() >= next {
                let asked = lock(&self.asked).clone();
                let pace = PACE.max(EACH * asked.len() as u32);
                for address in asked {
                    // A lost question is asked again in a moment.
                    drop(socket.send(&frames::question(sender, address)));
                }
                next = Instant::now() + pace;
            }
            self.listen(socket, sender.mac);
        }
    }

    /// Takes what has come, and waits up to a few milliseconds for more.
    fn listen(&self, socket: &Socket, own: MacAddress) {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 2048];
        while let Ok(length) = socket.recv(&mut buffer) {
            let frame: Vec<u8> = buffer[..length]
                .iter()
                // SAFETY: `recv` says that the kernel has written this many bytes from the start.
                .map(|byte| unsafe { byte.assume_init() })
                .collect();
            let Some(claim) = frames::claim(&frame) else { continue };
            if claim.source != own {
                let heard = Heard { at: Instant::now(), mac: claim.mac, announced: claim.announced };
                lock(&self.heard).entry(claim.address).or_default().push(heard);
            }
        }
    }
}

/// A raw socket on `eth0` of the calling thread's namespace.
pub fn open() -> io::Result<Socket> {
    let index = fs::read_to_string("/proc/thread-self/net/dev_mcast")
        .ok()
        .and_then(|text| index_of(&text, Host::INTERFACE));
    let index = index.ok_or_else(|| io::Error::other("the host has no eth0"))?;
    let all = (libc::ETH_P_ALL as u16).to_be();
    let socket = Socket::new_raw(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(all))))?;
    // SAFETY: `try_init` hands out zeroed storage that fits every socket address; `sockaddr_ll` is one, all zeroes is a
    // valid value of it, and the length is what was written.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let link = &mut *storage.cast::<libc::sockaddr_ll>();
            link.sll_family = libc::AF_PACKET as libc::sa_family_t;
            link.sll_protocol = all;
            link.sll_ifindex = index;
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })?
    };
    socket.bind(&address)?;
    socket.set_recv_buffer_size(1 << 20)?;
    socket.set_read_timeout(Some(Duration::from_millis(5)))?;
    Ok(socket)
}

/// The index of an interface, from `/proc/thread-self/net/dev_mcast`, whose lines begin with index and name. It shows the
/// namespace of the thread that reads it, unlike `/sys`.
fn index_of(text: &str, interface: &str) -> Option<i32> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let index = words.next()?.parse().ok()?;
        (words.next()? == interface).then_some(index)
    })
}

fn listed(macs: &BTreeSet<MacAddress>) -> String {
    macs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
