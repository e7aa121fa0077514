//! Carries forwarding rules into the kernel with the `nft` tool: text on its standard input, one transaction for each
//! change, so no packet meets half of a table. The rules outlive the process.
//!
//! Rules are in force before the tool ends: on its way out it waits until the kernel has freed the rules before them, on a
//! busy machine for half a second. A takeover does not wait for that, see [`Rest`].

mod commits;

use std::{
    ffi::{OsStr, OsString},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::Stdio,
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use landfall_engine::forwarding::{ForwardingTable, Ruleset, TableName};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    task::spawn_blocking,
    time::timeout,
};

pub use self::commits::Commits;

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

/// What is left of a run of the tool whose rules are in force.
#[must_use = "the next change has to wait until the tool has ended"]
pub struct Rest(BoxFuture<'static, Result<(), NftError>>);

impl Rest {
    /// Waits for the end of the tool.
    ///
    /// # Errors
    /// See [`NftError`]. What is in force then is not known.
    pub async fn ended(self) -> Result<(), NftError> {
        self.0.await
    }
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

    /// Makes `rules` the rules in force, and waits for the end of the tool. Leaves equal ones alone, see [`Self::has`].
    ///
    /// # Errors
    /// See [`NftError`]; what was in force before stays so.
    pub async fn apply(&self, rules: &Ruleset) -> Result<Applied, NftError> {
        if self.has(rules).await? {
            return Ok(Applied::Adopted);
        }
        self.load(rules, None).await?.ended().await?;
        Ok(Applied::Loaded)
    }

    /// Whether `rules` are in force. No rules at all always are where the tool is missing, since then there never were any.
    /// Those that only keep what others began are where there is nothing to keep.
    ///
    /// # Errors
    /// See [`NftError`].
    pub async fn has(&self, rules: &Ruleset) -> Result<bool, NftError> {
        let table = &self.table;
        let Some(stamp) = rules.stamp() else {
            return match self.exists(&format!("table {table}")).await {
                Ok(exists) => Ok(!exists),
                Err(NftError::Missing { .. }) => Ok(true),
                Err(error) => Err(error),
            };
        };
        if rules.only_keeps() && !self.exists(&format!("table {table}")).await? {
            return Ok(true);
        }
        self.exists(&format!("chain {table} {stamp}")).await
    }

    /// Makes `rules` the rules in force without looking first: one run of the tool instead of two, for who knows that others
    /// are in force. Waits until the kernel says that they are, or for the end of the tool where nobody hears it.
    ///
    /// # Errors
    /// See [`NftError`]; what was in force before stays so.
    pub async fn load(&self, rules: &Ruleset, commits: Option<&Commits>) -> Result<Rest, NftError> {
        let child = self.spawn(&["-f", "-"]).await?;
        // It does nothing before it has its input.
        let heard = commits.zip(child.id()).filter(|(commits, process)| commits.listen(*process).is_ok());
        let mut end = self.finish(child, rules.text(&self.table));
        let in_force = async {
            match heard {
                Some((commits, process)) => commits.of(process).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            result = &mut end => result.map(|()| Rest(std::future::ready(Ok(())).boxed())),
            () = in_force => Ok(Rest(end)),
        }
    }

    /// Whether the tool is there and may list tables, which needs NET_ADMIN.
    ///
    /// # Errors
    /// See [`NftError`].
    pub async fn check(&self) -> Result<(), NftError> {
        self.run(&["list", "tables"], "").await
    }

    /// Whether tool and kernel can relay connections ([`ForwardingTable::relay`]), which takes `nft_dup_ipv4` and
    /// `nft_dup_ipv6`: the kernel is shown such rules, and does not take them.
    ///
    /// # Errors
    /// See [`NftError`].
    pub async fn check_relays(&self) -> Result<(), NftError> {
        let mut table = ForwardingTable::default();
        for any in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            table.relay(any, any);
        }
        self.run(&["-c", "-f", "-"], &Ruleset::of(&table).text(&self.table)).await
    }

    /// Removes all our rules. Nothing to remove is no error.
    ///
    /// # Errors
    /// See [`NftError`].
    pub async fn cleanup(&self) -> Result<(), NftError> {
        self.run(&["-f", "-"], &Ruleset::of(&ForwardingTable::default()).text(&self.table)).await
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
        let child = self.spawn(arguments).await?;
        self.finish(child, input.to_owned()).await
    }

    /// Whoever starts a program stands still until it is loaded, on a busy machine for a tenth of a second. The thread that
    /// hears and answers the others must not.
    async fn spawn(&self, arguments: &[&str]) -> Result<Child, NftError> {
        let mut command = Command::new(&self.tool);
        command
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let spawned = spawn_blocking(move || command.spawn()).await.map_err(io::Error::other);
        spawned.flatten().map_err(|source| failed(&self.tool, source))
    }

    /// Gives the tool its input and waits for its end.
    fn finish(&self, mut child: Child, input: String) -> BoxFuture<'static, Result<(), NftError>> {
        let tool = self.tool.clone();
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
        async move {
            let ended = timeout(TIME_LIMIT, work).await.map_err(|_| NftError::TimedOut)?;
            let (written, output): (io::Result<()>, _) = ended.map_err(|source| failed(&tool, source))?;
            if !output.status.success() {
                return Err(NftError::Refused { message: first_lines(&output.stderr) });
            }
            written.map_err(|source| failed(&tool, source))
        }
        .boxed()
    }
}

fn failed(tool: &OsStr, source: io::Error) -> NftError {
    let tool = tool.to_owned();
    if source.kind() == io::ErrorKind::NotFound {
        NftError::Missing { tool }
    } else {
        NftError::Run { tool, source }
    }
}

/// Enough to see what is wrong; nft repeats whole maps otherwise.
fn first_lines(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<String> = text.lines().take(2).map(|line| line.chars().take(300).collect()).collect();
    lines.join("; ")
}
