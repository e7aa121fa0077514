//! `landfall log-level`: more words from a daemon that runs.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// `landfall log-level`.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogLevelArgs {
    /// In which direction
    change: Change,

    /// The daemon's process; in a container it is the first one
    #[arg(long, env = "LANDFALL_PID", value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    pid: i32,
}

/// In which direction the log level changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Change {
    /// One level more, up to `all`; the same as SIGUSR1.
    Raise,
    /// Back to what the command line says; the same as SIGUSR2.
    Reset,
}

impl LogLevelArgs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { change, pid } = self;
        let signal = match change {
            Change::Raise => Signal::SIGUSR1,
            Change::Reset => Signal::SIGUSR2,
        };
        kill(Pid::from_raw(pid), signal)
            .with_context(|| format!("cannot send {signal} to the process {pid}"))?;
        Ok(ExitCode::SUCCESS)
    }
}
