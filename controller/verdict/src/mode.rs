use std::fmt;

/// Which back end announces by BGP; it decides which settings there can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// The speaker itself, with the least of BGP.
    Native,
    /// FRR beside the speaker.
    Frr,
    /// FRR as an install of its own.
    #[default]
    FrrK8s,
}

impl Mode {
    /// Every mode.
    pub const ALL: &'static [Self] = &[Self::Native, Self::Frr, Self::FrrK8s];

    /// The name, as MetalLB's settings have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Frr => "frr",
            Self::FrrK8s => "frr-k8s",
        }
    }

    /// The mode of this name, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|mode| mode.as_str() == text)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for mode in Mode::ALL {
            assert_eq!(Mode::parse(mode.as_str()), Some(*mode));
        }
        assert_eq!((Mode::parse("FRR"), Mode::parse(""), Mode::default()), (None, None, Mode::FrrK8s));
    }
}
