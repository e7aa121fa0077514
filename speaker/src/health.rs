//! Asks targets whether they are well, as `landfall_engine::health` decides.
//!
//! ```text
//! Source ─▶ ┌───────────────────────┐ ─(channel)─▶ Source
//!           │ one task: the machine │
//! answers ─▶└───────────────────────┘ ─▶ at most 64 questions in flight, one task each
//! ```
//!
//! Where more are due they wait, and the targets are asked less often; nothing is dropped.

use std::time::Duration;

use landfall_engine::health::{Command, Health, Target, Timing};
use landfall_kubernetes::{
    clock::{Clock, until},
    source::Source,
};
use landfall_model::{HealthCheck, Observation};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};

/// Questions in flight at once.
const IN_FLIGHT: usize = 64;
/// As much of an HTTP answer as is read: the status line.
const STATUS_LINE: usize = 64;

/// The observations of `source`, in which endpoints that do not answer are neither ready nor serving.
#[must_use]
pub fn checked(source: Source, timing: Timing) -> Source {
    source.through(|source, sender| check(source, sender, timing))
}

async fn check(mut source: Source, sender: mpsc::Sender<Observation>, timing: Timing) {
    let clock = Clock::start();
    let now = || clock.now();
    let mut health = Health::new(timing);
    let mut questions: JoinSet<(Target, bool)> = JoinSet::new();
    loop {
        while let Some(command) = health.next_command() {
            match command {
                Command::Tell(observation) => {
                    if sender.send(observation).await.is_err() {
                        return;
                    }
                }
                Command::Ask(target) => drop(questions.spawn(answers(target, timing.timeout))),
                Command::Changed { target, up: true } => {
                    tracing::info!(op = "check", address = %target.address, "the target answers again");
                }
                Command::Changed { target, up: false } => {
                    tracing::warn!(op = "check", address = %target.address, check = ?target.check, "the target does not \
                        answer and gets no more connections");
                }
                Command::Unreadable { service, value } => {
                    tracing::warn!(op = "check", %service, reason = "InvalidValue", "landfall.dev/health-check is {value:?}; use \
                        \"tcp\", \"http:/PATH\" or \"none\"; until then a TCP connection is asked for");
                }
            }
        }
        let due = health.poll_timeout().filter(|_| questions.len() < IN_FLIGHT);
        tokio::select! {
            biased;
            observation = source.next() => match observation {
                Some(observation) => health.observe(observation, now()),
                None => return,
            },
            Some(answer) = questions.join_next(), if !questions.is_empty() => {
                // A question that panicked is none that was answered; the target stays as it is.
                if let Ok((target, good)) = answer {
                    health.handle_answer(&target, good, now());
                }
            }
            () = until(due, now()) => health.handle_timeout(now()),
        }
    }
}

async fn answers(target: Target, limit: Duration) -> (Target, bool) {
    let good = matches!(timeout(limit, ask(&target)).await, Ok(Ok(true)));
    (target, good)
}

async fn ask(target: &Target) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(target.address).await?;
    let HealthCheck::Http(path) = &target.check else { return Ok(true) };
    let host = target.address;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: landfall\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut line = Vec::with_capacity(STATUS_LINE);
    while line.len() < STATUS_LINE && !line.contains(&b'\n') {
        if stream.read_buf(&mut line).await? == 0 {
            break;
        }
    }
    Ok(is_good(&line))
}

/// Whether an answer begins with a status line (RFC 9112 §4) with a status from 200 to 399.
fn is_good(answer: &[u8]) -> bool {
    let mut words = answer.splitn(3, |byte| *byte == b' ');
    let version = words.next().is_some_and(|word| word.starts_with(b"HTTP/1."));
    let status = words
        .next()
        .and_then(|word| std::str::from_utf8(word).ok())
        .and_then(|word| word.get(..3)?.parse::<u16>().ok());
    version && status.is_some_and(|status| (200..400).contains(&status))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_status_line_says_whether_all_is_well() {
        for (answer, good) in [
            (&b"HTTP/1.1 200 OK\r\n"[..], true),
            (b"HTTP/1.0 204 \r\n", true),
            (b"HTTP/1.1 302 Found\r\n", true),
            (b"HTTP/1.1 404 Not Found\r\n", false),
            (b"HTTP/1.1 503 Service Unavailable\r\n", false),
            (b"HTTP/1.1 2", false),
            (b"SSH-2.0-OpenSSH 200 x\r\n", false),
            (b"", false),
        ] {
            assert_eq!(is_good(answer), good, "{}", String::from_utf8_lossy(answer));
        }
    }

    #[tokio::test]
    async fn targets_are_asked_over_the_network() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 512];
                let len = stream.read(&mut request).await.unwrap_or(0);
                let status: &[u8] = if request[..len].starts_with(b"GET /ready HTTP/1.1\r\n") {
                    b"200 OK"
                } else {
                    b"404 No"
                };
                let answer = [b"HTTP/1.1 ", status, b"\r\n\r\n"].concat();
                // The one that only connects does not read it.
                drop(stream.write_all(&answer).await);
            }
        });
        let limit = Duration::from_secs(5);
        for (check, good) in [
            (HealthCheck::Tcp, true),
            (HealthCheck::Http("/ready".into()), true),
            (HealthCheck::Http("/other".into()), false),
        ] {
            let (_, found) = answers(Target { address, check: check.clone() }, limit).await;
            assert_eq!(found, good, "{check:?}");
        }
        server.abort();
        assert!(server.await.is_err());
        let (_, found) = answers(Target { address, check: HealthCheck::Tcp }, limit).await;
        assert!(!found, "nobody listens any more");
    }
}
