//! The programs that are measured, and what the kernel says of them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use landfall_lan::Host;
use nix::{time::clock_getcpuclockid, unistd::Pid};

/// The `landfall` binary beside this one, or the one that `LANDFALL_BIN` names.
pub(crate) fn landfall() -> anyhow::Result<PathBuf> {
    if let Some(path) = env::var_os("LANDFALL_BIN") {
        return Ok(path.into());
    }
    let path = env::current_exe().context("cannot find the path of this program")?.with_file_name("landfall");
    ensure!(path.exists(), "{} is not built: run make bench", path.display());
    Ok(path)
}

/// A process that is killed when it goes out of scope.
pub(crate) struct Running(Child);

impl Running {
    /// Starts a command; its output goes to a file.
    pub(crate) fn start(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let log = fs::File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(Self(command.spawn().context("cannot start a process")?))
    }

    /// CPU seconds used so far.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        cpu_seconds(self.0.id())
    }

    /// The most memory that it ever used, in MiB.
    pub(crate) fn peak_mib(&self) -> anyhow::Result<f64> {
        memory_mib(self.0.id(), "VmHWM")
    }

    /// The memory that it uses now, in MiB.
    pub(crate) fn resident_mib(&self) -> anyhow::Result<f64> {
        memory_mib(self.0.id(), "VmRSS")
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub(crate) fn end(mut self) -> anyhow::Result<()> {
        let status = Command::new("kill").arg(self.0.id().to_string()).status().context("cannot run kill")?;
        ensure!(status.success(), "kill failed");
        self.0.wait().context("cannot wait for a process")?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only when the process has ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// CPU seconds that a process used so far, user and system, with those of threads that have ended.
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed())).context("the process has ended")?;
    let time = clock.now().context("the process has ended")?;
    Ok(Duration::from(time).as_secs_f64())
}

/// A memory figure of `/proc/PID/status` in MiB.
pub(crate) fn memory_mib(pid: u32, field: &str) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the process has ended")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.with_context(|| format!("/proc/{pid}/status has no {field}"))? / 1024.0)
}

/// The processes that run a program of this name with `argument` among their arguments. Inside a Pod the program has
/// another path.
pub(crate) fn find(program: &Path, argument: &str) -> anyhow::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process may end at any moment, and then it is not one of those that are looked for.
        let runs =
            fs::read_link(entry.path().join("exe")).is_ok_and(|path| path.file_name() == program.file_name());
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if runs && arguments.split(|byte| *byte == 0).any(|word| word == argument.as_bytes()) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Frames that a host received and sent so far.
pub(crate) fn frames(host: &Host) -> anyhow::Result<(u64, u64)> {
    // `/proc/net` shows the namespace of the thread that reads it, and not that of the process.
    let table = host.within(|| fs::read_to_string("/proc/thread-self/net/dev"))?.context("no counters")?;
    let line =
        table.lines().find_map(|line| line.trim_start().strip_prefix(Host::INTERFACE)?.strip_prefix(':'));
    let counters: Vec<u64> =
        line.context("no such interface")?.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    match counters[..] {
        // Eight of each: bytes and frames come first.
        [_, received, _, _, _, _, _, _, _, sent, ..] => Ok((received, sent)),
        _ => anyhow::bail!("the counters of the interface are too few"),
    }
}
