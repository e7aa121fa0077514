//! The client of the demo: plain TCP requests from its own namespace, and what it measures.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, ensure};
use landfall_lan::Host;

use super::manifests::SERVICE_PORT;

/// How long a client waits on a healthy LAN: longer than a busy machine holds a process back.
const PATIENT: Duration = Duration::from_secs(2);

/// How long a client waits while a node dies: short, so that the next request soon finds the new owner.
const HASTY: Duration = Duration::from_millis(100);

/// Pause between two requests of the running traffic.
const PACE: Duration = Duration::from_millis(5);

/// What a client saw of some requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Answered requests.
    pub(super) ok: u32,
    /// Requests without an answer.
    pub(super) failed: u32,
    /// The longest time between two answers.
    pub(super) gap: Duration,
    /// Answers by the name of the backend.
    pub(super) answers: BTreeMap<String, u32>,
    last: Option<Instant>,
}

impl Seen {
    fn count(&mut self, answer: std::io::Result<String>) {
        match answer {
            Ok(name) => {
                let now = Instant::now();
                self.ok += 1;
                self.gap = self.gap.max(self.last.map_or(Duration::ZERO, |last| now - last));
                self.last = Some(now);
                *self.answers.entry(name).or_default() += 1;
            }
            Err(_) => self.failed += 1,
        }
    }
}

/// One request from inside `host`.
pub(super) fn request(host: &Host, address: IpAddr) -> anyhow::Result<std::io::Result<String>> {
    Ok(host.within(|| ask(address, PATIENT))?)
}

/// `count` requests from inside `host`, one after the other.
pub(super) fn burst(host: &Host, address: IpAddr, count: u32) -> anyhow::Result<Seen> {
    Ok(host.within(|| {
        let mut seen = Seen::default();
        for _ in 0..count {
            seen.count(ask(address, PATIENT));
        }
        seen
    })?)
}

fn ask(address: IpAddr, timeout: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address, SERVICE_PORT), timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    stream.write_all(b"who are you?\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.trim().to_owned())
}

/// The MAC that `host` has for `address` in its neighbour table, if it has one.
pub(super) fn neighbour(host: &Host, address: IpAddr) -> anyhow::Result<Option<String>> {
    let output =
        host.command("ip").args(["neigh", "show", &address.to_string()]).output().context("cannot run ip")?;
    ensure!(output.status.success(), "ip neigh failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let mut words = text.split_whitespace().skip_while(|word| *word != "lladdr");
    Ok(words.nth(1).map(str::to_owned))
}

/// Requests that go on in the background until they are stopped.
pub(super) struct Traffic {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: JoinHandle<Result<(), landfall_lan::Error>>,
}

impl Traffic {
    /// Starts one request after the other from inside `host`.
    pub(super) fn start(host: &Host, address: IpAddr) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let thread = std::thread::Builder::new()
            .name("client".to_owned())
            .spawn({
                let (host, stop, seen) = (host.clone(), Arc::clone(&stop), Arc::clone(&seen));
                move || {
                    host.within(|| {
                        while !stop.load(Ordering::Relaxed) {
                            let answer = ask(address, HASTY);
                            seen.lock().unwrap_or_else(PoisonError::into_inner).count(answer);
                            std::thread::sleep(PACE);
                        }
                    })
                }
            })
            .context("cannot start the client")?;
        Ok(Self { stop, seen, thread })
    }

    /// Waits until twenty more requests have been answered.
    pub(super) fn wait_for_answers(&self, patience: Duration) -> anyhow::Result<()> {
        let answered = || self.seen.lock().unwrap_or_else(PoisonError::into_inner).ok;
        let (start, goal) = (Instant::now(), answered() + 20);
        while answered() < goal {
            ensure!(start.elapsed() < patience, "waited {patience:?} for answers");
            std::thread::sleep(PACE);
        }
        Ok(())
    }

    /// Ends the requests and says what the client saw.
    pub(super) fn stop(self) -> anyhow::Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the client panicked"))??;
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(seen.clone())
    }
}
