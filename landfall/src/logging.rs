use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer as _, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// How much a daemon logs; MetalLB's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// Everything, each packet included.
    All,
    /// Every decision.
    Debug,
    /// What a user would notice.
    #[default]
    Info,
    /// What somebody should look at tomorrow.
    Warn,
    /// What is broken.
    Error,
    /// Nothing.
    None,
}

impl LogLevel {
    const fn filter(self) -> LevelFilter {
        match self {
            Self::All => LevelFilter::TRACE,
            Self::Debug => LevelFilter::DEBUG,
            Self::Info => LevelFilter::INFO,
            Self::Warn => LevelFilter::WARN,
            Self::Error => LevelFilter::ERROR,
            Self::None => LevelFilter::OFF,
        }
    }
}

/// Sends log lines to standard error: JSON, one object a line, or plain text where a person reads along.
///
/// Libraries say at most what a user would notice; packets and decisions are ours. The Kubernetes client calls every
/// request that fails an error, also one that is tried again, so what it logs of its own is left out: we say ourselves
/// what a failure means.
pub(crate) fn start(level: LogLevel) {
    let filter = Targets::new()
        .with_default(level.filter().min(LevelFilter::INFO))
        .with_target("landfall", level.filter())
        .with_target("kube_client::client::builder", LevelFilter::OFF)
        .with_target("kube_runtime::watcher", LevelFilter::OFF);
    let text = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(text);
    let lines = if text {
        lines.with_target(false).boxed()
    } else {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
}
