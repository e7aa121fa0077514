use std::{fmt, str::FromStr, time::Duration};

use crate::duration::duration;

/// A time after which something is done, if it is done at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delay {
    /// Never.
    Off,
    /// After so long.
    After(Duration),
}

impl FromStr for Delay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            text => duration(text).map(Self::After).map_err(|error| format!("{error}, or off")),
        }
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::After(time) => write!(f, "{time:?}"),
        }
    }
}

impl From<Delay> for Option<Duration> {
    fn from(delay: Delay) -> Self {
        match delay {
            Delay::Off => None,
            Delay::After(time) => Some(time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_off_or_a_time() {
        for (text, expected) in [
            ("off", Some(Delay::Off)),
            ("0", Some(Delay::After(Duration::ZERO))),
            ("1m30s", Some(Delay::After(Duration::from_secs(90)))),
            ("500ms", Some(Delay::After(Duration::from_millis(500)))),
            ("90", None),
            ("-1s", None),
            ("on", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text:?}");
        }
        let error = "90".parse::<Delay>().unwrap_err();
        assert!(error.contains("90s") && error.ends_with("or off"), "{error}");
    }
}
