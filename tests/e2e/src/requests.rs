//! A client on the LAN that has never heard of Kubernetes: plain HTTP and UDP from its own namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use landfall_lan::Host;
use landfall_testbed::backend::Answer;

use crate::lock;
use crate::wait::until;

/// A request without an answer within this time is lost: longer than a busy machine holds a process back, and shorter than the second
/// after which a kernel asks once more for a connection.
pub const TIMEOUT: Duration = Duration::from_millis(500);

/// Between two requests of [`Traffic`].
const PACE: Duration = Duration::from_millis(10);
/// So many threads send them in turn: one more than can be under way, so that a lost request holds up none.
const TURNS: u32 = 51;

/// One HTTP request over a connection of its own.
///
/// # Errors
/// When it is not answered in time, or not by a backend of the bed.
pub fn http(from: &Host, target: SocketAddr, timeout: Duration) -> Result<Answer> {
    from.within(|| ask_http(target, timeout))?
}

/// What a program on this host shows at `/metrics` of this port of the loopback address.
///
/// # Errors
/// When it is not answered in time.
pub fn metrics(on: &Host, port: u16) -> Result<String> {
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    on.within(|| fetch(connect(target, TIMEOUT)?, target, "/metrics"))?
}

/// One datagram and its answer, from a fresh port.
///
/// # Errors
/// When it is not answered in time, or not by a backend of the bed.
pub fn udp(from: &Host, target: SocketAddr, timeout: Duration) -> Result<Answer> {
    from.within(|| ask_udp(target, timeout))?
}

/// One request by `curl`, as a person would do it; answers what it printed.
///
/// # Errors
/// When curl fails; with its words.
pub fn curl(from: &Host, target: SocketAddr) -> Result<Answer> {
    let output = from
        .command("curl")
        .args(["--silent", "--show-error", "--max-time", "2", "--noproxy", "*", &format!("http://{target}/")])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .output()
        .context("run curl")?;
    ensure!(
        output.status.success(),
        "curl http://{target}/: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{target} answered {:?}", String::from_utf8_lossy(&output.stdout)))
}

/// Waits for the first answer.
///
/// # Errors
/// When there is none in time.
pub fn first_answer(from: &Host, target: SocketAddr, patience: Duration) -> Result<Answer> {
    until(format!("an answer of {target} to {}", from.name()), patience, || http(from, target, TIMEOUT))
}

/// Waits until twenty requests in a row are answered: kube-proxy on every node needs a moment to know a new Service, and refuses
/// connections to it until then.
///
/// # Errors
/// When that takes longer than `patience`.
pub fn settled(from: &Host, target: SocketAddr, patience: Duration) -> Result<()> {
    until(format!("{target} to answer every request of {}", from.name()), patience, || {
        counted(20, || http(from, target, TIMEOUT)).map(drop)
    })
}

/// Asks `count` times with `ask` and counts the answers of each backend.
///
/// # Errors
/// When one request fails.
pub fn counted(count: u32, mut ask: impl FnMut() -> Result<Answer>) -> Result<BTreeMap<String, u32>> {
    let mut answers = BTreeMap::new();
    for number in 1..=count {
        let answer = ask().with_context(|| format!("request {number} of {count}"))?;
        *answers.entry(answer.name).or_default() += 1;
    }
    Ok(answers)
}

/// Asks until every one of `backends` has answered.
///
/// # Errors
/// When one has not after `count` requests, or a request fails.
pub fn every_backend(
    backends: &BTreeSet<String>,
    count: u32,
    mut ask: impl FnMut() -> Result<Answer>,
) -> Result<Vec<Answer>> {
    let mut answers: Vec<Answer> = Vec::new();
    for number in 1..=count {
        let answer = ask().with_context(|| format!("request {number} of {count}"))?;
        ensure!(
            backends.contains(&answer.name),
            "{:?} is no backend of this Service: {backends:?}",
            answer.name
        );
        answers.push(answer);
        let seen: BTreeSet<&String> = answers.iter().map(|answer| &answer.name).collect();
        if seen.len() == backends.len() {
            return Ok(answers);
        }
    }
    let seen: BTreeSet<&String> = answers.iter().map(|answer| &answer.name).collect();
    Err(anyhow!("after {count} requests only {seen:?} of {backends:?} have answered"))
}

/// An HTTP connection that stays open (RFC 9112 §9.3), to one backend.
#[derive(Debug)]
pub struct Open {
    stream: BufReader<TcpStream>,
    backend: String,
}

impl Open {
    /// Connects, and asks once.
    ///
    /// # Errors
    /// When it is not answered.
    pub fn start(from: &Host, target: SocketAddr) -> Result<Self> {
        let stream = from.within(|| connect(target, TIMEOUT))??;
        let mut open = Self { stream: BufReader::new(stream), backend: String::new() };
        open.backend = open.fetch()?.name;
        Ok(open)
    }

    /// Asks once more on the same connection.
    ///
    /// # Errors
    /// When it is not answered by the same backend.
    pub fn ask(&mut self) -> Result<()> {
        let name = self.fetch()?.name;
        ensure!(name == self.backend, "{name} answers on a connection to {}", self.backend);
        Ok(())
    }

    fn fetch(&mut self) -> Result<Answer> {
        let mut stream = self.stream.get_ref();
        write!(stream, "GET / HTTP/1.1\r\nHost: test\r\n\r\n").context("ask on an open connection")?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).context("read from an open connection")?;
            ensure!(!line.is_empty(), "an open connection was closed");
            match line.trim().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse()?
                }
                Some(_) => {}
                None if line.trim().is_empty() => break,
                None => ensure!(line.starts_with("HTTP/1.1 200"), "{line:?}"),
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).context("read from an open connection")?;
        Ok(serde_json::from_slice(&body)?)
    }
}

/// What one request of [`Traffic`] came to.
#[derive(Clone, Debug)]
pub struct Request {
    /// When it was sent.
    pub sent: Instant,
    /// When it was answered, or what went wrong.
    pub answered: Result<Instant, String>,
}

/// A hundred requests a second in the background, whatever becomes of the ones before, until it is stopped or dropped.
#[derive(Debug)]
pub struct Traffic {
    stop: Arc<AtomicBool>,
    requests: Arc<Mutex<Vec<Request>>>,
    thread: Option<JoinHandle<()>>,
}

impl Traffic {
    /// Starts an HTTP request every 10 ms, each over a connection of its own, each lost after [`TIMEOUT`].
    ///
    /// A client that waited for the end of one request before it sends the next one would see nothing shorter than that end: with
    /// 200 ms for a request a gap of 150 ms as one of 210 ms, and one of 220 ms as 420 ms.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(from: &Host, target: SocketAddr) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let thread = thread::Builder::new().name("client".to_owned()).spawn({
            let (from, stop, requests) = (from.clone(), Arc::clone(&stop), Arc::clone(&requests));
            move || {
                // Threads are born into the namespace of the one that starts them.
                let ran = from.within(|| {
                    let begin = Instant::now();
                    thread::scope(|scope| {
                        for turn in 0..TURNS {
                            let (stop, requests) = (&stop, &requests);
                            scope.spawn(move || take_turns(target, begin + PACE * turn, stop, requests));
                        }
                    });
                });
                if let Err(error) = ran {
                    eprintln!("the client on {} did not run: {error}", from.name());
                }
            }
        })?;
        Ok(Self { stop, requests, thread: Some(thread) })
    }

    /// Waits until a request that was sent after `since` is answered, and returns how long after `since` that was.
    ///
    /// # Errors
    /// When that takes longer than `patience`.
    pub fn answered_after(&self, since: Instant, patience: Duration) -> Result<Duration> {
        until("an answer to the client", patience, || {
            let requests = lock(&self.requests);
            let later = requests.iter().filter(|request| request.sent >= since);
            let lost = later.clone().filter(|request| request.answered.is_err()).count();
            let first = later.filter_map(|request| request.answered.as_ref().ok()).min();
            first.map(|at| at.duration_since(since)).with_context(|| format!("{lost} lost requests"))
        })
    }

    /// The longest time without an answer that began after `since`; it may still go on.
    #[must_use]
    pub fn longest_gap_since(&self, since: Instant) -> Duration {
        let requests = lock(&self.requests);
        let answers = requests.iter().filter_map(|request| request.answered.as_ref().ok().copied());
        longest_gap(since, answers, Instant::now())
    }

    /// How many of the requests sent since then were lost.
    #[must_use]
    pub fn lost_since(&self, since: Instant) -> usize {
        let requests = lock(&self.requests);
        requests.iter().filter(|request| request.sent >= since && request.answered.is_err()).count()
    }

    /// What became of the requests sent since then: how many were answered, and each lost one with its reason.
    #[must_use]
    pub fn told_since(&self, since: Instant) -> String {
        let requests = lock(&self.requests);
        let later = requests.iter().filter(|request| request.sent >= since);
        let (answered, lost): (Vec<&Request>, Vec<&Request>) =
            later.partition(|request| request.answered.is_ok());
        let one = |request: &&Request| {
            let after = request.sent.duration_since(since).as_secs_f64();
            format!("{after:.2} s: {}", request.answered.as_ref().err().map_or("", |why| why))
        };
        let lost: Vec<String> = lost.iter().map(one).collect();
        format!("{} answered, {} lost ({})", answered.len(), lost.len(), lost.join("; "))
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the client was reported by its own thread.
            drop(thread.join());
        }
    }
}

/// The longest time without an answer between the two; answers come in any order.
pub(crate) fn longest_gap(since: Instant, answers: impl Iterator<Item = Instant>, now: Instant) -> Duration {
    let mut ends: Vec<Instant> = answers.filter(|at| *at >= since).chain([now]).collect();
    ends.sort_unstable();
    let begins = [since].into_iter().chain(ends.iter().copied());
    begins.zip(&ends).map(|(begin, end)| end.duration_since(begin)).max().unwrap_or_default()
}

/// One thread of [`Traffic`]: a request at `due`, and again after all others have sent one.
fn take_turns(target: SocketAddr, mut due: Instant, stop: &AtomicBool, requests: &Mutex<Vec<Request>>) {
    loop {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let sent = Instant::now();
        let answered = ask_once(target).map_err(|error| format!("{error:#}"));
        lock(requests).push(Request { sent, answered });
        // Turns that a busy machine missed are not made up for.
        due = (due + PACE * TURNS).max(Instant::now());
    }
}

/// One request of [`Traffic`], and when it was answered.
fn ask_once(target: SocketAddr) -> Result<Instant> {
    let begin = Instant::now();
    let stream = connect(target, TIMEOUT)?;
    // The answer has what the connection left of the time; none at all would mean no limit.
    stream.set_read_timeout(Some(TIMEOUT.saturating_sub(begin.elapsed()).max(Duration::from_millis(1))))?;
    ask_on(stream, target)?;
    Ok(Instant::now())
}

fn ask_http(target: SocketAddr, timeout: Duration) -> Result<Answer> {
    ask_on(connect(target, timeout)?, target)
}

fn ask_on(stream: TcpStream, target: SocketAddr) -> Result<Answer> {
    let body = fetch(stream, target, "/")?;
    serde_json::from_str(&body).with_context(|| format!("{target} answered {body:?}"))
}

fn connect(target: SocketAddr, timeout: Duration) -> Result<TcpStream> {
    let stream =
        TcpStream::connect_timeout(&target, timeout).with_context(|| format!("connect to {target}"))?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    Ok(stream)
}

fn fetch(mut stream: TcpStream, target: SocketAddr, path: &str) -> Result<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text).with_context(|| format!("read the answer of {target}"))?;
    let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("{target} answered {text:?}"))?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{target} answered {head:?}");
    Ok(body.to_owned())
}

fn ask_udp(target: SocketAddr, timeout: Duration) -> Result<Answer> {
    let any: IpAddr =
        if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(timeout))?;
    socket.send_to(b"hello", target)?;
    let mut buffer = [0; 2048];
    let (length, from) =
        socket.recv_from(&mut buffer).with_context(|| format!("no datagram from {target}"))?;
    ensure!(from == target, "a datagram to {target} was answered from {from}");
    serde_json::from_slice(&buffer[..length]).with_context(|| format!("what {target} answered"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_lies_between_two_answers_or_before_the_first_or_after_the_last_one() {
        let since = Instant::now();
        let gap = |answers: &[u64], now| {
            let at = |millis: &u64| since + Duration::from_millis(*millis);
            longest_gap(since + Duration::from_millis(100), answers.iter().map(at), at(&now)).as_millis()
        };
        assert_eq!(gap(&[110, 180, 120, 90], 200), 60, "in any order");
        assert_eq!(gap(&[150, 160], 170), 50);
        assert_eq!(gap(&[110, 120], 190), 70);
        assert_eq!(gap(&[50, 99], 130), 30, "answers before count for nothing");
    }
}
