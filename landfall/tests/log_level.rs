//! How much a running daemon logs is changed from outside, as `kubectl exec POD -- landfall log-level raise` does.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

struct Daemon {
    child: Child,
    lines: Receiver<Value>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Daemon {
    /// A controller of a directory without manifests: it needs nothing and goes on until it is ended.
    fn start(directory: &std::path::Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
        command.args(["controller", "--port", "0", "--health-probe-port", "0", "--files"]).arg(directory);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                drop(sender.send(serde_json::from_str(&line).expect("each line is JSON")));
            }
        });
        Self { child, lines }
    }

    /// Before it listens for signals, one would end it.
    fn listens(&self) {
        const SIGUSR2: u64 = 1 << 11;
        let path = format!("/proc/{}/status", self.child.id());
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let status = fs::read_to_string(&path).expect("it runs");
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a mask");
            if u64::from_str_radix(caught.trim(), 16).expect("a mask") & SIGUSR2 != 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not listen");
    }

    fn turn(&self, change: &str) {
        let pid = self.child.id().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
        let status = command.args(["log-level", change, "--pid", &pid]).status().expect("it runs");
        assert!(status.success());
    }

    /// The level that the next line about a change names.
    fn level(&self) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("a line about the level");
            if line["op"] == "log" {
                return line["level"].as_str().expect("a level").to_owned();
            }
        }
    }
}

#[test]
fn a_running_daemon_logs_more_and_less() {
    let directory = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(directory.path());
    daemon.listens();
    for (change, level) in
        [("raise", "Debug"), ("raise", "All"), ("raise", "All"), ("reset", "Info"), ("raise", "Debug")]
    {
        daemon.turn(change);
        assert_eq!(daemon.level(), level, "after {change}");
    }
}

#[test]
fn a_process_that_is_not_there_is_named() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
    let output = command.args(["log-level", "raise", "--pid", "2147483647"]).output().expect("it runs");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && words.contains("2147483647"), "{output:?}");
}
