//! Who owns a LAN: a lock file, and a guard that removes the LAN when its owner dies without doing so.
//!
//! The lock is held by two processes, owner and guard, through one open file description. So it is free exactly when the
//! owner is gone and the guard has finished, and whoever gets it may remove what is left.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

use crate::{Error, Result};

const DIRECTORY: &str = "/run/landfall-lan";

/// How long a guard may take to clean up after a dead owner.
const GUARD_DEADLINE: Duration = Duration::from_secs(20);

/// Waits for the end of its input. The word `done` means that the owner has removed everything itself.
/// `$1` is the prefix of the namespaces, the other arguments are files to remove.
const GUARD: &str = r#"
read -r word && [ "$word" = done ] && exit 0
prefix=$1; shift
exec >/dev/null 2>&1
for round in 1 2 3 4 5; do
    for path in /run/netns/"$prefix"*; do
        [ -e "$path" ] || continue
        for pid in $(ip netns pids "${path##*/}"); do kill -KILL "$pid"; done
    done
done
for path in /run/netns/"$prefix"*; do
    [ -e "$path" ] && ip netns del "${path##*/}"
done
rm -rf -- "$@"
"#;

/// The right to a name, until it is released or its holder dies.
#[derive(Debug)]
pub(crate) struct Claim {
    lock: Flock<File>,
    lock_path: PathBuf,
    state: PathBuf,
    guard: Option<(Child, ChildStdin)>,
}

impl Claim {
    /// Claims a name, waiting while the guard of a dead owner still cleans up.
    pub(crate) fn take(name: &str) -> Result<Self> {
        let deadline = Instant::now() + GUARD_DEADLINE;
        loop {
            match Self::try_take(name)? {
                Ok(claim) => return Ok(claim),
                Err(owner) if is_alive(&owner) || Instant::now() > deadline => {
                    return Err(Error::InUse { name: name.to_owned(), owner });
                }
                Err(_dead) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Claims a name if nobody holds it. The inner error is the process that does.
    pub(crate) fn try_take(name: &str) -> Result<Result<Self, String>> {
        let directory = Path::new(DIRECTORY);
        let failed = |source| Error::StateDirectory { path: directory.to_owned(), source };
        fs::create_dir_all(directory).map_err(failed)?;
        let lock_path = directory.join(format!("{name}.lock"));
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(&lock_path)
                .map_err(|source| Error::io(format!("open {}", lock_path.display()), source))?;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) if is_same_file(&lock, &lock_path) => {
                    let mut claim = Self { lock, state: Self::state_of(name), lock_path, guard: None };
                    claim.write_owner()?;
                    return Ok(Ok(claim));
                }
                // The former owner unlinked the file between our open and our lock: the name has a new file now.
                Ok(_stale) => {}
                Err((mut file, _busy)) => {
                    let mut owner = String::new();
                    // Unreadable or still empty only means that the name of the owner is unknown.
                    drop(file.read_to_string(&mut owner));
                    return Ok(Err(owner.trim().to_owned()));
                }
            }
        }
    }

    /// The names that are or were claimed, in order.
    pub(crate) fn names() -> Vec<String> {
        let Ok(entries) = fs::read_dir(DIRECTORY) else { return Vec::new() };
        let files = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> =
            files.filter_map(|file| file.strip_suffix(".lock").map(str::to_owned)).collect();
        names.sort();
        names
    }

    /// Makes the state directory (readable by root only) and starts the guard over `prefix`.
    pub(crate) fn establish(&mut self, prefix: &str) -> Result<()> {
        let failed = |source| Error::StateDirectory { path: self.state.clone(), source };
        DirBuilder::new().mode(0o700).create(&self.state).map_err(failed)?;
        let lock = self.lock.try_clone().map_err(|source| Error::io("share the lock", source))?;
        let mut child = Command::new("sh")
            .args(["-c", GUARD, "landfall-lan-guard", prefix])
            .args([&self.state, &self.lock_path])
            .stdin(Stdio::piped())
            // Standard output is how the guard inherits the lock; it writes nothing there.
            .stdout(Stdio::from(lock))
            .stderr(Stdio::null())
            // Out of the terminal's foreground group, or Ctrl-C would end it together with its owner.
            .process_group(0)
            .current_dir("/")
            .spawn()
            .map_err(|source| Error::io("start the guard (sh)", source))?;
        self.guard = child.stdin.take().map(|stdin| (child, stdin));
        Ok(())
    }

    /// The state directory that belongs to a name.
    pub(crate) fn state_of(name: &str) -> PathBuf {
        Path::new(DIRECTORY).join(name)
    }

    /// The directory for files that go when the LAN goes.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// Removes the state directory and gives the name back.
    pub(crate) fn release(mut self) -> Result<()> {
        let removed = match fs::remove_dir_all(&self.state) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::StateDirectory { path: self.state.clone(), source })
            }
            Ok(()) | Err(_) => Ok(()),
        };
        if let Some((mut child, mut stdin)) = self.guard.take() {
            // A guard that is gone already cannot be told; it is only collected.
            drop(stdin.write_all(b"done\n"));
            drop(stdin);
            drop(child.wait());
        }
        drop(fs::remove_file(&self.lock_path));
        removed
    }

    fn write_owner(&mut self) -> Result<()> {
        let failed = |source| Error::io(format!("write {}", self.lock_path.display()), source);
        self.lock.set_len(0).map_err(failed)?;
        writeln!(&*self.lock, "{}", std::process::id()).map_err(failed)
    }
}

fn is_same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

fn is_alive(pid: &str) -> bool {
    pid.parse::<u32>().is_ok_and(|pid| Path::new("/proc").join(pid.to_string()).exists())
}
