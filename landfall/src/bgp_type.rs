use clap::ValueEnum;
use landfall_speaker::Mode;

/// What announces by BGP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BgpType {
    /// The speaker itself, as MetalLB's own implementation.
    Native,
    /// FRR beside the speaker.
    Frr,
    /// frr-k8s.
    FrrK8s,
}

impl From<BgpType> for Mode {
    fn from(bgp: BgpType) -> Self {
        match bgp {
            BgpType::Native => Self::Native,
            BgpType::Frr => Self::Frr,
            BgpType::FrrK8s => Self::FrrK8s,
        }
    }
}
