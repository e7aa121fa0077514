use regex_lite::Regex;

/// MetalLB's default list (`announcedInterfacesToExclude`), kept so that a migration changes nothing.
const DEFAULTS: [&str; 14] = [
    "^docker.*",
    "^cbr.*",
    "^dummy.*",
    "^virbr.*",
    "^lxcbr.*",
    "^veth.*",
    "^lo$",
    "^cali.*",
    "^tunl.*",
    "^flannel.*",
    "^kube-ipvs.*",
    "^cni.*",
    "^nodelocaldns.*",
    "^lxc.*",
];

/// A regular expression over interface names, matched anywhere in the name unless it is anchored.
#[derive(Clone, Debug)]
pub struct NamePattern(Regex);

/// A pattern that cannot be read. Trying again does not help; the pattern has to be mended.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{pattern}` is not a regular expression for interface names: {cause}; write one such as `^veth.*` or `^lo$`"
)]
pub struct PatternError {
    pattern: Box<str>,
    cause: regex_lite::Error,
}

impl NamePattern {
    /// Reads a pattern such as `^veth.*`.
    ///
    /// # Errors
    ///
    /// When it is not a regular expression.
    pub fn parse(pattern: &str) -> Result<Self, PatternError> {
        Regex::new(pattern).map(Self).map_err(|cause| PatternError { pattern: pattern.into(), cause })
    }

    /// What is excluded unless configured otherwise: loopback, and the interfaces that container runtimes and network
    /// plugins make.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let parse = |pattern| Self::parse(pattern).expect("invariant: the default patterns are valid");
        DEFAULTS.into_iter().map(parse).collect()
    }

    /// Whether the name matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}
