use clap::ValueEnum;
use landfall_engine::membership::Timing;

/// How soon a silent node counts as dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Detection {
    /// 80 ms: machines of your own on a quiet network, without a CPU limit.
    Fast,
    /// 150 ms: a LAN.
    Default,
    /// 400 ms: virtual machines that migrate, shared switches.
    Calm,
    /// 5 s: about as `MetalLB`.
    Slow,
}

impl From<Detection> for Timing {
    fn from(detection: Detection) -> Self {
        match detection {
            Detection::Fast => Self::FAST,
            Detection::Default => Self::DEFAULT,
            Detection::Calm => Self::CALM,
            Detection::Slow => Self::SLOW,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_tells_the_detection_times() {
        for detection in Detection::value_variants() {
            let help =
                detection.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string));
            let millis = Timing::from(*detection).detection().as_millis();
            let time = if millis < 1_000 { format!("{millis} ms") } else { format!("{} s", millis / 1_000) };
            assert!(help.is_some_and(|help| help.starts_with(&time)), "{detection:?}: {time}");
        }
    }
}
