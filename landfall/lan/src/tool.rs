//! Runs `ip` and `nft`, and says what went wrong when they fail.

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// Runs `ip [-n NAMESPACE] -batch -` with these lines, one command each, and stops at the first that fails.
pub(crate) fn ip(namespace: Option<&str>, lines: &[String]) -> Result<()> {
    run_ip(namespace, &[], lines)
}

/// As [`ip`], but goes on after a line that fails; the error then holds the complaints of all lines.
pub(crate) fn ip_each(namespace: Option<&str>, lines: &[String]) -> Result<()> {
    run_ip(namespace, &["-force"], lines)
}

/// Waits until the kernel uses an interface. It takes note of a new carrier a little later, on a work queue, and loses
/// everything that is sent before.
pub(crate) fn wait_until_up(namespace: &str, interface: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut command = Command::new("ip");
        command.args(["-n", namespace, "-brief", "link", "show", "dev", interface]);
        let line = format!("{command:?}").replace('"', "'");
        let output = command.output().map_err(|source| Error::io(format!("run {line}"), source))?;
        let state = String::from_utf8_lossy(&output.stdout).into_owned();
        if state.split_whitespace().nth(1) == Some("UP") {
            return Ok(());
        }
        if !output.status.success() || Instant::now() > deadline {
            let stderr = format!("{}{state}", String::from_utf8_lossy(&output.stderr)).trim().to_owned();
            return Err(Error::Command { command: line, status: output.status.to_string(), stderr });
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Loads a rule set inside a namespace, all of it or nothing.
pub(crate) fn nft(namespace: &str, rules: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, "nft", "-f", "-"]);
    run(command, rules)
}

fn run_ip(namespace: Option<&str>, options: &[&str], lines: &[String]) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut command = Command::new("ip");
    if let Some(namespace) = namespace {
        command.args(["-n", namespace]);
    }
    command.args(options).args(["-batch", "-"]);
    run(command, &(lines.join("\n") + "\n"))
}

fn run(mut command: Command, input: &str) -> Result<()> {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let program = command.get_program().to_string_lossy().into_owned();
    let line = format!("{command:?} <<< {input:?}").replace('"', "'");
    let mut child = command.spawn().map_err(|source| {
        if source.kind() == io::ErrorKind::NotFound {
            Error::MissingTool { program, package: "iproute2" }
        } else {
            Error::io(format!("run {line}"), source)
        }
    })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A tool that stops early closes its input; its own words on standard error say more than this error would.
        drop(stdin.write_all(input.as_bytes()));
    }
    let output = child.wait_with_output().map_err(|source| Error::io(format!("wait for {line}"), source))?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if stderr.contains("exec of \"nft\" failed") {
        return Err(Error::MissingTool { program: "nft".to_owned(), package: "nftables" });
    }
    Err(Error::Command { command: line, status: output.status.to_string(), stderr })
}
