//! Runs `ip` and `nft`, and says what went wrong when they fail.

use std::io::{self, Write};
use std::process::{Command, Stdio};

use crate::{Error, Result};

/// Runs `ip [-n NAMESPACE] -batch -` with these lines, one command each, and stops at the first that fails.
pub(crate) fn ip(namespace: Option<&str>, lines: &[String]) -> Result<()> {
    run_ip(namespace, &[], lines)
}

/// As [`ip`], but goes on after a line that fails; the error then holds the complaints of all lines.
pub(crate) fn ip_each(namespace: Option<&str>, lines: &[String]) -> Result<()> {
    run_ip(namespace, &["-force"], lines)
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
