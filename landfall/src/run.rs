use std::future::Future;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::logging::Dial;

/// Runs a daemon on one thread until it ends by itself or a SIGTERM or SIGINT asks it to. The token tells the
/// daemon to hand over and return; a second signal ends the process at once. SIGUSR1 and SIGUSR2 turn the `dial`.
pub(crate) fn daemon(
    mut dial: Dial,
    body: impl AsyncFnOnce(CancellationToken) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        let mut raise = signal(SignalKind::user_defined1()).context("cannot listen for SIGUSR1")?;
        let mut reset = signal(SignalKind::user_defined2()).context("cannot listen for SIGUSR2")?;
        let mut body = std::pin::pin!(body(shutdown.clone()));
        loop {
            let name = tokio::select! {
                result = &mut body => return result,
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
                _ = raise.recv() => {
                    dial.raise();
                    continue;
                }
                _ = reset.recv() => {
                    dial.reset();
                    continue;
                }
            };
            if shutdown.is_cancelled() {
                anyhow::bail!("{name} came a second time, so the hand-over was cut short");
            }
            tracing::info!(op = "shutdown", reason = name, "handing over");
            shutdown.cancel();
        }
    })
}

/// Runs a command that asks the cluster something and ends.
pub(crate) fn command<F: Future<Output = anyhow::Result<()>>>(body: F) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?
        .block_on(body)
}
