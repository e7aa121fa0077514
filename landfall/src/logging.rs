use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer as _, filter::Targets, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
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
    /// The next one that says more.
    const fn raised(self) -> Self {
        match self {
            Self::None => Self::Error,
            Self::Error => Self::Warn,
            Self::Warn => Self::Info,
            Self::Info => Self::Debug,
            Self::Debug | Self::All => Self::All,
        }
    }

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

/// Changes how much a running daemon logs.
pub(crate) struct Dial {
    configured: LogLevel,
    current: LogLevel,
    set: Box<dyn Fn(Targets) -> Result<(), reload::Error>>,
}

impl Dial {
    /// One level more, up to `all`.
    pub(crate) fn raise(&mut self) {
        self.turn(self.current.raised());
    }

    /// What the command line said.
    pub(crate) fn reset(&mut self) {
        self.turn(self.configured);
    }

    fn turn(&mut self, level: LogLevel) {
        self.current = level;
        match (self.set)(targets(level)) {
            Ok(()) => tracing::warn!(op = "log", level = ?level, "the log level was changed by a signal"),
            Err(error) => tracing::error!(op = "log", %error, "the log level cannot be changed"),
        }
    }
}

/// Sends log lines to standard error: JSON, one object a line, or plain text where a person reads along.
///
/// Libraries say at most what a user would notice; packets and decisions are ours. The Kubernetes client calls every
/// request that fails an error, also one that is tried again, so what it logs of its own is left out: we say ourselves
/// what a failure means.
pub(crate) fn start(level: LogLevel) -> Dial {
    let (filter, handle) = reload::Layer::new(targets(level));
    let text = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(text);
    let lines = if text {
        lines.with_target(false).boxed()
    } else {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
    Dial { configured: level, current: level, set: Box::new(move |targets| handle.reload(targets)) }
}

fn targets(level: LogLevel) -> Targets {
    Targets::new()
        .with_default(level.filter().min(LevelFilter::INFO))
        .with_target("landfall", level.filter())
        .with_target("kube_client::client::builder", LevelFilter::OFF)
        .with_target("kube_runtime::watcher", LevelFilter::OFF)
}
