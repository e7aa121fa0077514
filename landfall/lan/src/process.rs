//! Processes inside a host, each in a process group of its own, none of which survives this process.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::{Error, Result};

/// A process inside a host. Clones mean the same process; dropping them does not end it, tearing down its host does.
#[derive(Clone, Debug)]
pub struct Process {
    name: String,
    pid: u32,
    child: Arc<Mutex<Child>>,
}

impl Process {
    /// Starts a command in its own process group; SIGKILL reaches it when this process dies in any way.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.process_group(0);
        // SAFETY: the closure runs between fork and exec and makes only one prctl system call, which is async-signal-safe.
        unsafe { command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?)) };
        let child = spawn_from_lasting_thread(command)
            .map_err(|source| Error::io(format!("start {name:?}"), source))?;
        let pid = child.id();
        Ok(Self { name, pid, child: Arc::new(Mutex::new(child)) })
    }

    /// The program that was started.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, which is also the id of its process group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal to the process and all of its group. Nothing happens when it has ended already.
    ///
    /// # Errors
    /// When the kernel refuses the signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let mut child = self.lock();
        if matches!(child.try_wait(), Ok(Some(_))) {
            return Ok(());
        }
        match killpg(self.id(), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(source) => Err(Error::io(format!("send {signal} to {:?} ({})", self.name, self.pid), source)),
        }
    }

    /// Stops the process and its group from running (SIGSTOP), and returns when every thread of the process has stopped: the
    /// signal alone leaves threads running until the scheduler comes to them. [`Process::signal`] with SIGCONT ends it.
    ///
    /// # Errors
    /// When the kernel refuses the signal, or a thread has not stopped after 5 seconds.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)?;
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.is_paused() {
            if Instant::now() > deadline {
                return Err(Error::Unpaused { name: self.name.clone(), pid: self.pid });
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Whether every thread is stopped, or the process has ended.
    fn is_paused(&self) -> bool {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.pid)) else { return true };
        threads.flatten().all(|thread| {
            let Ok(stat) = fs::read_to_string(thread.path().join("stat")) else { return true };
            // The state follows the name, which is in parentheses and may itself contain some (proc_pid_stat(5)).
            let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
            matches!(state, Some('T' | 't' | 'Z' | 'X'))
        })
    }

    /// Kills the process and its group and waits for its end.
    ///
    /// # Errors
    /// When the kernel refuses the signal or does not know the process.
    pub fn kill(&self) -> Result<ExitStatus> {
        self.signal(Signal::SIGKILL)?;
        self.wait()
    }

    /// Waits until the process ends. Blocks the thread; other threads may use this handle meanwhile.
    ///
    /// # Errors
    /// When the kernel does not know the process.
    pub fn wait(&self) -> Result<ExitStatus> {
        // Without the lock and without reaping, so that `signal` stays possible and its target cannot be a stranger.
        match waitid(Id::Pid(self.id()), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Ok(_) | Err(Errno::ECHILD) => {}
            Err(source) => return Err(self.failed_wait(source.into())),
        }
        self.lock().wait().map_err(|source| self.failed_wait(source))
    }

    /// How the process ended, or `None` while it runs.
    ///
    /// # Errors
    /// When the kernel does not know the process.
    pub fn try_wait(&self) -> Result<Option<ExitStatus>> {
        self.lock().try_wait().map_err(|source| self.failed_wait(source))
    }

    fn id(&self) -> Pid {
        Pid::from_raw(self.pid.cast_signed())
    }

    fn failed_wait(&self, source: io::Error) -> Error {
        Error::io(format!("wait for {:?} ({})", self.name, self.pid), source)
    }

    fn lock(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Job = (Command, mpsc::SyncSender<io::Result<Child>>);

/// Starts a command from a thread that lives as long as this process.
///
/// The parent-death signal is sent when the *thread* that forked ends (prctl(2), `PR_SET_PDEATHSIG`); callers may be on
/// short-lived threads, such as a test's or a pool's.
fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for (mut command, answer) in jobs {
                // The caller waits for this answer, so it is there to take it.
                drop(answer.send(command.spawn()));
            }
        });
        sender
    });
    let (answer, started) = mpsc::sync_channel(1);
    let gone = || io::Error::other("the thread that starts processes is gone");
    starter.send((command, answer)).map_err(|_| gone())?;
    started.recv().map_err(|_| gone())?
}
