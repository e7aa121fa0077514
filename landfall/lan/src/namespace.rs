//! Named network namespaces, and the processes that live in them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Error, Result, tool};

const DIRECTORY: &str = "/run/netns";

/// How long processes may take to disappear after SIGKILL. They need a moment to free their memory.
const EXIT_DEADLINE: Duration = Duration::from_secs(10);

/// What tells one namespace from all others: device and inode of its file in nsfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity(u64, u64);

impl Identity {
    /// Of the namespace that a process (its main thread) is in; `None` when there is no such process any more.
    pub(crate) fn of_process(pid: i32) -> Option<Self> {
        fs::metadata(format!("/proc/{pid}/ns/net")).ok().map(|file| Self(file.dev(), file.ino()))
    }

    /// Of an open namespace.
    pub(crate) fn of(namespace: &OwnedFd) -> Result<Self> {
        let failed = |source| Error::io("look at a network namespace", source);
        let file = File::from(namespace.try_clone().map_err(failed)?);
        file.metadata().map(|data| Self(data.dev(), data.ino())).map_err(failed)
    }
}

/// The file under which `ip netns` keeps the namespace of this name.
pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(DIRECTORY).join(name)
}

/// Makes an empty namespace with loopback up and IPv6 free of surprises, and opens it.
///
/// Every interface made in it later has no duplicate address detection (addresses are usable at once, as on a machine
/// that has been up for long), sends no router solicitations and takes neither router advertisements nor redirects.
pub(crate) fn create(name: &str, sysctls: &[(String, String)]) -> Result<OwnedFd> {
    tool::ip(None, &[format!("netns add {name}")])?;
    let namespace = open(name)?;
    within(&namespace, || {
        for scope in ["all", "default"] {
            for (key, value) in [("accept_dad", "0"), ("accept_ra", "0"), ("router_solicitations", "0")] {
                write_sysctl(&format!("net/ipv6/conf/{scope}/{key}"), value)?;
            }
            // A node whose pods are not there yet would send their traffic to the router, and all others for minutes.
            for key in [
                "ipv4/conf/{}/accept_redirects",
                "ipv4/conf/{}/send_redirects",
                "ipv6/conf/{}/accept_redirects",
            ] {
                write_sysctl(&format!("net/{}", key.replace("{}", scope)), "0")?;
            }
        }
        sysctls.iter().try_for_each(|(key, value)| write_sysctl(key, value))
    })??;
    Ok(namespace)
}

/// Opens the namespace of this name.
pub(crate) fn open(name: &str) -> Result<OwnedFd> {
    let path = path(name);
    File::open(&path)
        .map(OwnedFd::from)
        .map_err(|source| Error::io(format!("open the network namespace {}", path.display()), source))
}

/// The names of all namespaces that begin with `prefix`, in order.
pub(crate) fn list(prefix: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(DIRECTORY) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(prefix)).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Runs `work` on a thread of its own inside the namespace and returns what it returned.
///
/// A panic inside `work` continues here.
pub(crate) fn within<T: Send>(namespace: &OwnedFd, work: impl FnOnce() -> T + Send) -> Result<T> {
    let done = thread::scope(|scope| {
        let inside = move || {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
            Ok::<T, nix::Error>(work())
        };
        scope.spawn(inside).join()
    });
    match done {
        Ok(result) => result.map_err(|source| Error::io("enter a network namespace", source)),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Writes one kernel setting; the calling thread's namespace decides which copy of `net/…` that is.
pub(crate) fn write_sysctl(key: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{}", key.replace('.', "/"));
    fs::write(&path, value).map_err(|source| Error::io(format!("write {value} to {path}"), source))
}

/// Kills every process inside these namespaces and waits until they are gone. `reap` is called between looks, so that
/// the caller can collect its own children: a dead child stays visible until then.
pub(crate) fn kill_residents(namespaces: &BTreeSet<Identity>, mut reap: impl FnMut()) -> Result<()> {
    let deadline = Instant::now() + EXIT_DEADLINE;
    loop {
        let pids = residents(namespaces);
        if pids.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let namespaces = format!("{namespaces:?}");
            return Err(Error::Survivors { namespaces, pids });
        }
        for pid in pids {
            // The process may have ended by itself since; then there is nothing to kill.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        reap();
        // There is nothing to wait on for processes that are not our children; a look at /proc is the condition.
        thread::sleep(Duration::from_millis(5));
    }
}

/// Removes namespaces and with them all their interfaces, rules and routes.
pub(crate) fn delete(names: &[String]) -> Result<()> {
    let lines: Vec<String> = names.iter().map(|name| format!("netns del {name}")).collect();
    tool::ip_each(None, &lines)
}

/// The live processes inside these namespaces, except this one. Zombies have left their namespaces already.
fn residents(namespaces: &BTreeSet<Identity>) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let own = std::process::id() as i32;
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| Identity::of_process(*pid).is_some_and(|inside| namespaces.contains(&inside)))
        .collect()
}
