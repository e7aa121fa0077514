//! `landfall status`: who has which address, and why not.

mod gather;
mod render;
mod report;

pub(crate) use gather::{ignores_exclusion, is_ready};

use std::{io::IsTerminal as _, process::ExitCode, time::Duration};

use clap::Args;

use self::{
    gather::Scope,
    report::{Report, Verdict},
};
use crate::{
    connection::ConnectionArgs,
    output::{Output, print},
    run,
};

/// Pause between two looks with `--watch`.
const REFRESH: Duration = Duration::from_secs(1);

/// Clears a terminal.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// `landfall status`.
#[derive(Clone, Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    connection: ConnectionArgs,

    /// Services of this namespace only; without it, of the kubeconfig's context
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_namespaces")]
    namespace: Option<String>,

    /// Services of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,

    /// Namespace of the install to show; Services that another install handles are left out
    #[arg(long, env = "LANDFALL_NAMESPACE", value_name = "NAME", default_value = "landfall-system")]
    install_namespace: String,

    /// Form of the answer
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    output: Output,

    /// Look again every second and print what has changed, until interrupted
    #[arg(short, long)]
    watch: bool,
}

impl StatusArgs {
    /// Exit code 0: everything is served; 1: something is not; 2 (an error): the cluster could not be asked.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { connection, namespace, all_namespaces, install_namespace, output, watch } = self;
        let mut verdict = Verdict::Down;
        run::command(async {
            let connection = connection.connect().await?;
            let scope = Scope {
                install_namespace,
                services: (!all_namespaces).then(|| namespace.unwrap_or(connection.namespace.clone())),
            };
            let mut shown = String::new();
            loop {
                let report = Report::of(gather::facts(&connection.client, &scope).await?);
                verdict = report.verdict;
                let text = output.render(&report, render::text)?;
                if text != shown {
                    // On a terminal each table takes the place of the one before.
                    let replace = watch && output == Output::Table && std::io::stdout().is_terminal();
                    if !print(&format!("{}{text}", if replace { CLEAR } else { "" }))? {
                        return Ok(());
                    }
                    shown = text;
                }
                if !watch {
                    return Ok(());
                }
                tokio::time::sleep(REFRESH).await;
            }
        })?;
        Ok(ExitCode::from(u8::from(verdict != Verdict::Ok)))
    }
}
