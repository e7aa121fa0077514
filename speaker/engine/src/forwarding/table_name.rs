use std::{fmt, str::FromStr};

/// The longest name that is taken. The kernel would take more.
const LONGEST: usize = 64;

/// The nftables table that holds all rules of one installation. Two on the same node need two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName(Box<str>);

/// A text that cannot be the name of a table of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot be the name of the nftables table; begin with \"landfall\" and go on with lower-case letters, digits, \
     '-' and '_', at most {LONGEST} characters in all"
)]
pub struct BadTableName(String);

impl Default for TableName {
    fn default() -> Self {
        Self("landfall".into())
    }
}

impl TableName {
    /// The same name in the three families that rules are kept in, each as the `nft` tool wants it. The first table is there
    /// whenever one of the others is.
    #[must_use]
    pub fn in_all_families(&self) -> [String; 3] {
        ["inet", "ip", "ip6"].map(|family| format!("{family} {}", self.0))
    }
}

/// The first table, as the `nft` tool wants it.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inet {}", self.0)
    }
}

impl FromStr for TableName {
    type Err = BadTableName;

    /// Takes only names that begin as ours do: the table is replaced as a whole, which must hit nobody else's.
    fn from_str(text: &str) -> Result<Self, BadTableName> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        if text.starts_with("landfall") && text.len() <= LONGEST && text.chars().all(plain) {
            Ok(Self(text.into()))
        } else {
            Err(BadTableName(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_nobody_else_uses_are_taken() {
        for name in ["landfall", "landfall-second", "landfall_2"] {
            assert_eq!(name.parse::<TableName>().map(|name| name.to_string()), Ok(format!("inet {name}")));
        }
        let long = format!("landfall{}", "x".repeat(LONGEST));
        for name in [
            "",
            "kube-proxy",
            "filter",
            "Landfall",
            "landfall;flush ruleset",
            "landfall x",
            "landfäll",
            &long,
        ] {
            assert!(name.parse::<TableName>().is_err(), "{name}");
        }
        assert_eq!(TableName::default(), "landfall".parse().unwrap());
    }
}
