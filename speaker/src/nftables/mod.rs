//! Carries forwarding rules into the kernel with the `nft` tool: text on its standard input, one transaction for each
//! change, so no packet meets half of a table. The rules outlive the process.

use std::{
    ffi::{OsStr, OsString},
    io,
    process::Stdio,
    time::Duration,
};

use landfall_engine::forwarding::{Ruleset, TableName};
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

/// 10,000 entries take about a second on a slow machine.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Why rules are not in force.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// The tool is not installed. Mode `announce` needs it not.
    #[error(
        "the tool {tool:?} is not installed, so node-port forwarding is unavailable on this node; install nftables"
    )]
    Missing {
        /// What was to be run.
        tool: OsString,
    },
    /// The tool could not be run. A retry may help.
    #[error("cannot run {tool:?}")]
    Run {
        /// What was to be run.
        tool: OsString,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// The tool took too long. A retry may help.
    #[error("nft did not end within {} s", TIME_LIMIT.as_secs())]
    TimedOut,
    /// The tool refused. A retry does not help as long as tool, kernel and capabilities stay the same.
    #[error("nft refuses the rules: {message}")]
    Refused {
        /// The first lines of what it said.
        message: String,
    },
}

impl NftError {
    /// Whether the same may work later.
    #[must_use]
    pub const fn retry_helps(&self) -> bool {
        match self {
            Self::Run { .. } | Self::TimedOut => true,
            Self::Missing { .. } | Self::Refused { .. } => false,
        }
    }
}

/// Whether [`Nftables::apply`] had to do anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The same rules were in force already, for instance from the process before.
    Adopted,
    /// They were loaded.
    Loaded,
}

/// Runs the `nft` tool, for one table.
#[derive(Clone, Debug)]
pub struct Nftables {
    tool: OsString,
    table: TableName,
}

impl Default for Nftables {
    fn default() -> Self {
        Self::new("nft", TableName::default())
    }
}

impl Nftables {
    /// Uses the tool of this name or path. Nothing but `table` is ever touched.
    #[must_use]
    pub fn new(tool: impl AsRef<OsStr>, table: TableName) -> Self {
        Self { tool: tool.as_ref().to_owned(), table }
    }

    /// Makes `rules` the rules in force. Leaves equal ones alone. No rules at all are always in force where the tool
    /// is missing, since then there never were any.
    ///
    /// # Errors
    /// See [`NftError`]; what was in force before stays so.
    pub async fn apply(&self, rules: &Ruleset) -> Result<Applied, NftError> {
        let table = &self.table;
        let in_force = match rules.stamp() {
            Some(stamp) => self.exists(&format!("chain {table} {stamp}")).await?,
            None => match self.exists(&format!("table {table}")).await {
                Ok(exists) => !exists,
                Err(NftError::Missing { .. }) => true,
                Err(error) => return Err(error),
            },
        };
        if in_force {
            return Ok(Applied::Adopted);
        }
        self.load(rules).await?;
        Ok(Applied::Loaded)
    }

    /// Makes `rules` the rules in force without looking first: one run of the tool instead of two, for who knows that others
    /// are in force.
    ///
    /// # Errors
    /// See [`NftError`]; what was in force before stays so.
    pub async fn load(&self, rules: &Ruleset) -> Result<(), NftError> {
        self.run(&["-f", "-"], &rules.text(&self.table)).await
    }

    /// Whether the tool is there and may list tables, which needs NET_ADMIN.
    ///
    /// # Errors
    /// See [`NftError`].
    pub async fn check(&self) -> Result<(), NftError> {
        self.run(&["list", "tables"], "").await
    }

    /// Removes all our rules. Nothing to remove is no error.
    ///
    /// # Errors
    /// See [`NftError`].
    pub async fn cleanup(&self) -> Result<(), NftError> {
        let table = &self.table;
        // Adding the table first makes it work whether or not it is there, in one transaction.
        self.run(&["-f", "-"], &format!("add table {table}\ndelete table {table}\n")).await
    }

    async fn exists(&self, what: &str) -> Result<bool, NftError> {
        let mut arguments = vec!["-t", "list"];
        arguments.extend(what.split(' '));
        match self.run(&arguments, "").await {
            Ok(()) => Ok(true),
            Err(NftError::Refused { message }) if message.contains("No such file or directory") => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn run(&self, arguments: &[&str], input: &str) -> Result<(), NftError> {
        let failed = |source: io::Error| {
            let tool = self.tool.clone();
            if source.kind() == io::ErrorKind::NotFound {
                NftError::Missing { tool }
            } else {
                NftError::Run { tool, source }
            }
        };
        let mut child = Command::new(&self.tool)
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let mut stdin = child.stdin.take();
        let work = async move {
            let write = async {
                if let Some(mut stdin) = stdin.take() {
                    stdin.write_all(input.as_bytes()).await?;
                }
                Ok(())
            };
            let (written, output) = futures::join!(write, child.wait_with_output());
            // A tool that refuses early closes its input; what it says matters more than the broken pipe.
            output.map(|output| (written, output))
        };
        let (written, output): (io::Result<()>, _) =
            timeout(TIME_LIMIT, work).await.map_err(|_| NftError::TimedOut)?.map_err(failed)?;
        if !output.status.success() {
            return Err(NftError::Refused { message: first_lines(&output.stderr) });
        }
        written.map_err(failed)
    }
}

/// Enough to see what is wrong; nft repeats whole maps otherwise.
fn first_lines(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<String> = text.lines().take(2).map(|line| line.chars().take(300).collect()).collect();
    lines.join("; ")
}
