use std::{fmt, str::FromStr, time::Duration};

use crate::duration::duration;

/// Whether the best candidate takes addresses back from an owner that lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FailBack {
    /// Never.
    #[default]
    Off,
    /// When it has been the best candidate for so long.
    After(Duration),
}

impl FromStr for FailBack {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            text => duration(text).map(Self::After).map_err(|error| format!("{error}, or off")),
        }
    }
}

impl fmt::Display for FailBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::After(delay) => write!(f, "{delay:?}"),
        }
    }
}

impl From<FailBack> for Option<Duration> {
    fn from(fail_back: FailBack) -> Self {
        match fail_back {
            FailBack::Off => None,
            FailBack::After(delay) => Some(delay),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_off_or_a_time() {
        for (text, expected) in [
            ("off", Some(FailBack::Off)),
            ("0", Some(FailBack::After(Duration::ZERO))),
            ("1m30s", Some(FailBack::After(Duration::from_secs(90)))),
            ("500ms", Some(FailBack::After(Duration::from_millis(500)))),
            ("90", None),
            ("-1s", None),
            ("on", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text:?}");
        }
        let error = "90".parse::<FailBack>().unwrap_err();
        assert!(error.contains("90s") && error.ends_with("or off"), "{error}");
    }
}
