//! Starts a container's program: the last step before its first instruction.
//!
//! The stand-in for the kubelet runs `landfall-testbed run-container FILE` inside the Pod's network namespace. That process
//! gives itself a mount namespace, a root file system of its own (the machine's or an image's, copied on write, with the
//! volumes on top), the container's rights and user, and becomes the program. When the program ends, its mounts are gone.

use std::convert::Infallible;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, chdir, chroot, getppid, setgid, setgroups, setuid};
use serde::{Deserialize, Serialize};

/// Everything that a container's start needs, as the stand-in writes it to a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The program and its arguments; a program without a slash is looked up in the container's `PATH`.
    pub argv: Vec<String>,
    /// The whole environment.
    pub environment: Vec<(String, String)>,
    /// The working directory inside the container.
    pub working_directory: PathBuf,
    /// The directory of the machine that is the root file system; what is written there stays in the container.
    pub root: PathBuf,
    /// Files and directories of the machine that appear inside, in this order.
    pub mounts: Vec<Mount>,
    /// An empty directory for what is written.
    pub scratch: PathBuf,
    /// The user to run as; root where it is not set.
    pub user: Option<u32>,
    /// The group to run as.
    pub group: Option<u32>,
    /// The bounding set, as bit numbers of capabilities(7). No program inside can have more.
    pub capabilities: Vec<u8>,
    /// Whether only volumes can be written.
    pub read_only_root: bool,
    /// Whether programs with the set-user-ID bit gain nothing.
    pub no_new_privileges: bool,
}

/// One bind mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The file or directory of the machine.
    pub source: PathBuf,
    /// Where it appears inside.
    pub target: PathBuf,
    /// Whether it can only be read there.
    pub read_only: bool,
}

/// Becomes the program of the launch file. Returns only when that is not possible.
///
/// # Errors
/// Names the step that failed.
pub fn run(file: &Path) -> Result<Infallible> {
    let text = fs::read(file).with_context(|| format!("read {}", file.display()))?;
    let launch: Launch = serde_json::from_slice(&text).context("understand the launch file")?;
    let (program, arguments) = launch.argv.split_first().context("the container has no command")?;
    enter_root(&launch)?;
    confine(&launch)?;
    let path = launch.environment.iter().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value);
    let error = Command::new(find_program(program, path)?)
        .arg0(program)
        .args(arguments)
        .env_clear()
        .envs(launch.environment.iter().map(|(name, value)| (name, value)))
        .exec();
    Err(error).with_context(|| format!("start {program}"))
}

fn enter_root(launch: &Launch) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("make a mount namespace")?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("make mounts private")?;
    let scratch = &launch.scratch;
    mount(Some("tmpfs"), scratch, Some("tmpfs"), MsFlags::empty(), none).context("mount a tmpfs")?;
    let at = |name: &str| scratch.join(name);
    for directory in ["upper", "work", "root"] {
        fs::create_dir(at(directory))?;
    }
    let root = at("root");
    let lower = launch.root.display();
    let layers =
        format!("lowerdir={lower},upperdir={},workdir={}", at("upper").display(), at("work").display());
    mount(Some("overlay"), &root, Some("overlay"), MsFlags::empty(), Some(layers.as_str()))
        .with_context(|| format!("mount the root file system {lower} (overlay)"))?;
    for shared in ["proc", "dev"] {
        bind(&Path::new("/").join(shared), &root.join(shared), false)?;
    }
    // A fresh one, because /sys/class/net shows the interfaces of the namespace that mounted it.
    fs::create_dir_all(root.join("sys"))?;
    mount(Some("sysfs"), &root.join("sys"), Some("sysfs"), MsFlags::empty(), none).context("mount sysfs")?;
    for Mount { source, target, read_only } in &launch.mounts {
        bind(source, &inside(&root, target)?, *read_only)?;
    }
    if launch.read_only_root {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        mount(none, &root, none, flags, none).context("make the root file system read-only")?;
    }
    chroot(&root).context("enter the root file system")?;
    chdir(&launch.working_directory).with_context(|| format!("enter {}", launch.working_directory.display()))
}

fn bind(source: &Path, target: &Path, read_only: bool) -> Result<()> {
    let explain = || format!("mount {} at {}", source.display(), target.display());
    if fs::metadata(source).with_context(explain)?.is_dir() {
        fs::create_dir_all(target).with_context(explain)?;
    } else {
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).with_context(explain)?;
        }
        if !target.exists() {
            File::create(target).with_context(explain)?;
        }
    }
    let none = None::<&str>;
    mount(Some(source), target, none, MsFlags::MS_BIND | MsFlags::MS_REC, none).with_context(explain)?;
    if read_only {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        mount(none, target, none, flags, none).with_context(explain)?;
    }
    Ok(())
}

/// Gives up every right that the container must not have.
fn confine(launch: &Launch) -> Result<()> {
    let last: u8 = fs::read_to_string("/proc/sys/kernel/cap_last_cap")?.trim().parse()?;
    for capability in (0..=last).filter(|capability| !launch.capabilities.contains(capability)) {
        drop_from_bounding_set(capability)?;
    }
    if launch.no_new_privileges {
        nix::sys::prctl::set_no_new_privs().context("give up new privileges")?;
    }
    if launch.user.is_some() || launch.group.is_some() {
        setgroups(&[]).context("leave all groups")?;
    }
    if let Some(group) = launch.group {
        setgid(Gid::from_raw(group)).with_context(|| format!("become group {group}"))?;
    }
    if let Some(user) = launch.user {
        setuid(Uid::from_raw(user)).with_context(|| format!("become user {user}"))?;
    }
    // A change of user clears this (prctl(2)). If the parent died in between, nobody would end us.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    ensure!(getppid().as_raw() != 1, "the parent has died");
    Ok(())
}

fn drop_from_bounding_set(capability: u8) -> Result<()> {
    // The machine itself may lack a capability; then there is nothing to drop.
    // SAFETY: prctl with this option reads one integer and touches no memory of ours.
    let failed = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) } != 0;
    if failed {
        let error = std::io::Error::last_os_error();
        return Err(error).with_context(|| format!("drop capability {capability}"));
    }
    Ok(())
}

/// Where a path of the container is, seen from outside. Links on the way are followed as the container would: `/var/run`
/// may be a link to `/run`, and that must not lead to the machine's `/run`.
fn inside(root: &Path, path: &Path) -> Result<PathBuf> {
    let mut left: Vec<PathBuf> = parts(path);
    let mut done = root.to_owned();
    let mut links = 0;
    while let Some(part) = left.pop() {
        if part == Path::new("..") {
            if done != root {
                done.pop();
            }
            continue;
        }
        let next = done.join(&part);
        match fs::read_link(&next) {
            Ok(link) => {
                links += 1;
                ensure!(links < 40, "too many links in {}", path.display());
                if link.is_absolute() {
                    done = root.to_owned();
                }
                left.extend(parts(&link));
            }
            Err(_) => done = next,
        }
    }
    Ok(done)
}

/// The parts of a path, last first.
fn parts(path: &Path) -> Vec<PathBuf> {
    let named = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    });
    let mut parts: Vec<PathBuf> = named.collect();
    parts.reverse();
    parts
}

fn find_program(program: &str, path: &str) -> Result<PathBuf> {
    if program.contains('/') {
        return Ok(PathBuf::from(program));
    }
    let found = path.split(':').map(|folder| Path::new(folder).join(program)).find(|path| path.is_file());
    match found {
        Some(path) => Ok(path),
        None => bail!("there is no program {program:?} in {path:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_never_lead_out_of_the_root() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("var")).unwrap();
        fs::create_dir_all(root.join("run")).unwrap();
        symlink("/run", root.join("var/run")).unwrap();
        symlink("../../../../run", root.join("var/up")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        for (path, expected) in [
            ("/etc/landfall", "etc/landfall"),
            ("/var/run/secrets", "run/secrets"),
            ("/var/up/x", "run/x"),
            ("/../../etc", "etc"),
        ] {
            assert_eq!(inside(root, Path::new(path)).unwrap(), root.join(expected), "{path}");
        }
        assert!(inside(root, Path::new("/loop/x")).is_err());
    }
}
