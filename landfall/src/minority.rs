use clap::ValueEnum;
use landfall_engine::speaker;

/// What becomes of addresses on a side of a split network without a majority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Minority {
    /// Each side serves its own clients.
    Serve,
    /// A side without more than half of the speakers is silent.
    Silent,
}

impl From<Minority> for speaker::Minority {
    fn from(minority: Minority) -> Self {
        match minority {
            Minority::Serve => Self::Serve,
            Minority::Silent => Self::Silent,
        }
    }
}
