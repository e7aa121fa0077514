use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;

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
pub(crate) fn start(level: LogLevel) {
    let text = std::io::stderr().is_terminal();
    let subscriber =
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level.filter()).with_ansi(text);
    if text {
        subscriber.with_target(false).init();
    } else {
        subscriber.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
    }
}
