//! A client that asks a thousand times a second, and what it missed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use landfall_lan::Host;

use crate::lock;
use crate::requests::longest_gap;
use crate::wait::until;

/// Between two datagrams.
pub const PACE: Duration = Duration::from_millis(1);
/// One that is not answered within this time is lost.
const LOST: Duration = Duration::from_millis(200);

/// One datagram, and when its answer came.
#[derive(Clone, Copy, Debug)]
struct Datagram {
    sent: Instant,
    answered: Option<Instant>,
}

/// Numbered datagrams to one UDP address from one port, in the background, until it is dropped.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    datagrams: Arc<Mutex<Vec<Datagram>>>,
    thread: Option<JoinHandle<()>>,
}

impl Stream {
    /// Starts to ask.
    ///
    /// # Errors
    /// When the socket or the thread cannot be had.
    pub fn start(from: &Host, target: SocketAddr) -> Result<Self> {
        let socket = from.within(|| -> io::Result<UdpSocket> {
            let any: IpAddr =
                if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            let socket = UdpSocket::bind((any, 0))?;
            socket.connect(target)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })?;
        let socket = socket.with_context(|| format!("a socket to {target}"))?;
        let (stop, datagrams) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<Datagram>>>::default());
        let inside = (Arc::clone(&stop), Arc::clone(&datagrams));
        let thread = std::thread::Builder::new()
            .name("stream".to_owned())
            .spawn(move || run(&socket, &inside.0, &inside.1))?;
        Ok(Self { stop, datagrams, thread: Some(thread) })
    }

    /// Waits until a datagram that was sent after `since` is answered.
    ///
    /// # Errors
    /// When that takes longer than `patience`.
    pub fn answered_after(&self, since: Instant, patience: Duration) -> Result<()> {
        until("an answer to the stream", patience, || {
            let datagrams = lock(&self.datagrams);
            let later = datagrams.iter().rev().take_while(|datagram| datagram.sent >= since);
            later.filter_map(|datagram| datagram.answered).next().map(drop).context("none")
        })
    }

    /// The longest time without an answer that began after `since`; it may still go on.
    #[must_use]
    pub fn longest_gap_since(&self, since: Instant) -> Duration {
        let datagrams = lock(&self.datagrams);
        longest_gap(since, datagrams.iter().filter_map(|datagram| datagram.answered), Instant::now())
    }

    /// How many of those that were sent since then got no answer in time.
    #[must_use]
    pub fn lost_since(&self, since: Instant) -> usize {
        let datagrams = lock(&self.datagrams);
        let due = datagrams.iter().filter(|d| d.sent >= since && d.sent.elapsed() > LOST);
        due.filter(|datagram| datagram.answered.is_none()).count()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the stream was reported by its own thread.
            drop(thread.join());
        }
    }
}

fn run(socket: &UdpSocket, stop: &AtomicBool, datagrams: &Mutex<Vec<Datagram>>) {
    let mut buffer = [0; 512];
    while !stop.load(Ordering::Relaxed) {
        let number = {
            let mut datagrams = lock(datagrams);
            datagrams.push(Datagram { sent: Instant::now(), answered: None });
            datagrams.len() - 1
        };
        // The network may refuse it for a moment; then it is lost.
        drop(socket.send(format!("#{number}#").as_bytes()));
        std::thread::sleep(PACE);
        loop {
            match socket.recv(&mut buffer) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&buffer[..length]);
                    let number = text.split('#').nth(1).and_then(|number| number.parse::<usize>().ok());
                    let mut datagrams = lock(datagrams);
                    if let Some(datagram) = number.and_then(|number| datagrams.get_mut(number)) {
                        datagram.answered.get_or_insert_with(Instant::now);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // What a router or a host said about a datagram before.
                Err(_) => {}
            }
        }
    }
}
