//! The test bed by hand: its own page and the one for contributors, typed line by line.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use landfall_e2e::wait::until;
use landfall_lan::Lan;
use landfall_testbed::guide;
use landfall_testbed::programs::Programs;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(60);
/// How long a bed may be up.
const LONGEST: Duration = Duration::from_secs(600);

#[test]
#[ignore = "needs root and the control plane; make test runs it"]
fn the_page_of_the_test_bed_is_true() {
    typed("tests/testbed/README.md", "## By hand").expect("every line works");
}

#[test]
#[ignore = "needs root and the control plane; make test runs it"]
fn what_contributors_are_told_to_try_works() {
    typed("CONTRIBUTING.md", "## Try something by hand").expect("every line works");
}

/// A person at a bash prompt, as root.
struct Person {
    /// The name of the bed, where the pages have `bed`.
    name: String,
    programs: PathBuf,
    aliases: String,
}

impl Person {
    fn command(&self, line: &str, limit: Duration) -> Command {
        // Where there is no sudo, we are root already.
        let typed = format!("shopt -s expand_aliases\nsudo() {{ env \"$@\"; }}\n{}{line}", self.aliases);
        let typed = typed.replace("target/debug", &self.programs.display().to_string());
        let typed = typed.replace("/run/landfall-lan/bed/", &format!("/run/landfall-lan/{}/", self.name));
        let mut command = Command::new("timeout");
        command
            .arg(limit.as_secs().to_string())
            .args(["bash", "-ec", &typed])
            .current_dir(guide::repository());
        command.env("LANDFALL_TESTBED_NAME", &self.name);
        command
    }

    fn types(&self, line: &str) -> Result<String> {
        eprintln!("   $ {line}");
        let Output { status, stdout, stderr } = self.command(line, PATIENCE).output()?;
        let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(status.success(), "{line}: {status}\n{}{}", words(&stdout), words(&stderr));
        Ok(words(&stdout))
    }
}

/// `landfall-testbed up`, which ends with this.
struct Up(Child);

impl Drop for Up {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None))
            && let Ok(pid) = i32::try_from(self.0.id())
        {
            // It takes its bed down.
            _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            _ = self.0.wait();
        }
    }
}

fn typed(page: &str, heading: &str) -> Result<()> {
    let programs = Programs::find()?.testbed.parent().context("programs lie in a folder")?.to_owned();
    let mut person = Person { name: Lan::unique_name("hand"), programs, aliases: String::new() };
    let mut up = None;
    for line in guide::commands(page, heading)? {
        if line.starts_with("alias ") {
            person.aliases = format!("{line}\n");
        } else if line.contains("landfall-testbed up") {
            // No shell between it and us, so that a signal reaches it.
            let line = format!("exec env {}", line.trim_start_matches("sudo ").trim_end_matches('&'));
            let mut command = person.command(&line, LONGEST);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            up = Some(Up(command.spawn().context("start a bed")?));
            until("the bed to be up", PATIENCE, || {
                let status =
                    person.command("sudo target/debug/landfall-testbed status", PATIENCE).output()?;
                ensure!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
                Ok(())
            })?;
        } else if line.contains("landfall status") {
            until("a Service that is served", PATIENCE, || {
                let status = person.types(&line)?;
                ensure!(status.starts_with("OK") && status.contains("served"), "{status}");
                Ok(())
            })?;
        } else if line.contains("curl") {
            asks(&person, &line)?;
        } else if line.contains(" signal ") {
            let pods =
                person.types("bed kubectl -- get pods -n landfall-system -l component=speaker -o name")?;
            let pod = pods.lines().next().and_then(|name| name.strip_prefix("pod/")).context("a speaker")?;
            // Its process is there a moment after its Pod.
            let line = line.replace("landfall-speaker-x7k2p", pod);
            until(&line, PATIENCE, || person.types(&line).map(drop))?;
        } else {
            let printed = person.types(&line)?;
            ensure!(line != "bed logs speaker" || printed.contains("the speaker runs"), "{printed}");
            if line.starts_with("bed kill-node") && heading == "## Try something by hand" {
                asks(&person, "bed shell c1 -- curl -s --max-time 2 http://10.77.0.200/")?;
            }
        }
    }
    let mut up = up.context("no bed was brought up")?;
    until("`up` to end after `down`", PATIENCE, || {
        let ended = up.0.try_wait()?.context("it runs still")?;
        ensure!(ended.success(), "{ended}");
        Ok(())
    })
}

fn asks(person: &Person, line: &str) -> Result<()> {
    until("an answer", PATIENCE, || {
        let answer = person.types(line)?;
        ensure!(answer.contains("web-"), "{answer:?}");
        Ok(())
    })
}
