//! What can go wrong, with what to do about it.

use std::io;
use std::path::PathBuf;

/// Why something on the LAN could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Network namespaces need root. A retry does not help.
    #[error("a LAN of network namespaces needs root: run this as root or with sudo")]
    NotRoot,
    /// A program is not installed. A retry does not help.
    #[error("the program {program:?} was not found: install the Debian package {package}")]
    MissingTool {
        /// The program.
        program: String,
        /// Where Debian has it.
        package: &'static str,
    },
    /// A name does not fit. A retry does not help.
    #[error("the {what} name {name:?} is not usable: {rule}")]
    Name {
        /// What the name was for: `LAN`, `host`, `pod`.
        what: &'static str,
        /// The name.
        name: String,
        /// What it must look like.
        rule: &'static str,
    },
    /// Another process that is alive has a LAN of that name.
    #[error("the LAN {name:?} is in use by process {owner}: choose another name or end that process")]
    InUse {
        /// The name.
        name: String,
        /// The process that made it.
        owner: String,
    },
    /// There is already a host of that name or number.
    #[error("the LAN already has a host {0:?}")]
    HostExists(String),
    /// A host number lies outside the subnet.
    #[error("host number {number} does not fit into {subnet}: use a smaller number or a larger subnet")]
    HostNumber {
        /// The number asked for.
        number: u16,
        /// The subnet that is too small.
        subnet: String,
    },
    /// The LAN was torn down.
    #[error("the LAN of {0:?} was torn down")]
    Gone(String),
    /// The host is not plugged into the switch itself (it is a pod behind a node).
    #[error("{0:?} is a pod and has no port of the switch: use the node that it is on")]
    NoPort(String),
    /// A command failed.
    #[error("`{command}` failed ({status}): {stderr}")]
    Command {
        /// The command line, and its input where it had one.
        command: String,
        /// The exit status.
        status: String,
        /// What it wrote to standard error.
        stderr: String,
    },
    /// A system call or file operation failed.
    #[error("cannot {operation}")]
    Io {
        /// What was tried, on what.
        operation: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A command was started in a namespace other than the host's.
    #[error("process {pid} did not start inside {host:?}: build the command with Host::command")]
    WrongNamespace {
        /// The host that it was meant for.
        host: String,
        /// The process, which was killed.
        pid: u32,
    },
    /// A process did not stop running although it was told to.
    #[error("{name:?} ({pid}) got SIGSTOP and still runs")]
    Unpaused {
        /// The program.
        name: String,
        /// The process.
        pid: u32,
    },
    /// Processes did not go away although they were killed.
    #[error("processes {pids:?} inside {namespaces} were killed and are still there")]
    Survivors {
        /// The namespaces.
        namespaces: String,
        /// The processes.
        pids: Vec<i32>,
    },
    /// Parts of a teardown failed; everything else was removed.
    #[error("the LAN was not removed completely: {}", .0.iter().map(chain).collect::<Vec<_>>().join("; "))]
    Teardown(Vec<Error>),
    /// A state directory could not be created or removed.
    #[error("cannot use {path}", path = path.display())]
    StateDirectory {
        /// The directory.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(operation: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io { operation: operation.into(), source: source.into() }
    }
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}
