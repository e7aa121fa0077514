use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The labels of an object.
pub type Labels = BTreeMap<String, String>;

/// A Kubernetes label selector. The empty selector matches everything.
///
/// See the `LabelSelector` type of `meta/v1`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Selector {
    requirements: BTreeSet<Requirement>,
}

/// One condition of a [`Selector`]; all of them must hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What the label must be.
    pub operator: Operator,
}

/// What a [`Requirement`] asks of a label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Operator {
    /// The label is there and has one of these values.
    In(BTreeSet<String>),
    /// The label is missing or has none of these values.
    NotIn(BTreeSet<String>),
    /// The label is there.
    Exists,
    /// The label is missing.
    DoesNotExist,
}

impl Selector {
    /// The selector of `matchLabels` and `matchExpressions`, the latter as (key, operator, values).
    ///
    /// # Errors
    /// When an operator is unknown, its values do not fit it, a key is not a label key, a value is not one of a label, or
    /// the same value or the same expression stands twice.
    pub fn parse<'a>(
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        expressions: impl IntoIterator<Item = (&'a str, &'a str, &'a [String])>,
    ) -> Result<Self, SelectorError> {
        let mut requirements = BTreeSet::new();
        for (key, value) in labels {
            check_key(key)?;
            check_value(key, value)?;
            let operator = Operator::In(BTreeSet::from([value.to_owned()]));
            requirements.insert(Requirement { key: key.to_owned(), operator });
        }
        // Compared among themselves only: one of them may say what a label says already.
        let mut written = BTreeSet::new();
        for (key, operator, values) in expressions {
            check_key(key)?;
            values.iter().try_for_each(|value| check_value(key, value))?;
            let operator = Operator::parse(key, operator, values)?;
            if !written.insert(Requirement { key: key.to_owned(), operator }) {
                return Err(SelectorError::DuplicateExpression { key: key.to_owned() });
            }
        }
        requirements.append(&mut written);
        Ok(Self { requirements })
    }

    /// Whether `labels` fulfil every requirement.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(labels))
    }

    /// Its requirements, in a fixed order.
    pub fn requirements(&self) -> impl Iterator<Item = &Requirement> {
        self.requirements.iter()
    }
}

impl Requirement {
    fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.contains(value)),
            Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

impl Operator {
    fn parse(key: &str, operator: &str, values: &[String]) -> Result<Self, SelectorError> {
        let set: BTreeSet<String> = values.iter().cloned().collect();
        if set.len() != values.len() {
            return Err(SelectorError::DuplicateValue { key: key.to_owned() });
        }
        match (operator, set.is_empty()) {
            ("In", false) => Ok(Self::In(set)),
            ("NotIn", false) => Ok(Self::NotIn(set)),
            ("Exists", true) => Ok(Self::Exists),
            ("DoesNotExist", true) => Ok(Self::DoesNotExist),
            ("In" | "NotIn", true) => {
                Err(SelectorError::ValuesMissing { key: key.to_owned(), operator: operator.to_owned() })
            }
            ("Exists" | "DoesNotExist", false) => {
                Err(SelectorError::ValuesForbidden { key: key.to_owned(), operator: operator.to_owned() })
            }
            (_, _) => {
                Err(SelectorError::UnknownOperator { key: key.to_owned(), operator: operator.to_owned() })
            }
        }
    }
}

/// Checks the form of a label key: an optional DNS prefix and a slash, then a name of at most 63 characters.
fn check_key(key: &str) -> Result<(), SelectorError> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let prefix_ok = prefix.is_none_or(|prefix| {
        (1..=253).contains(&prefix.len())
            && prefix.split('.').all(|part| {
                !part.is_empty()
                    && part.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
                    && !part.starts_with('-')
                    && !part.ends_with('-')
            })
    });
    if is_name(name) && prefix_ok { Ok(()) } else { Err(SelectorError::BadKey { key: key.to_owned() }) }
}

/// Checks the form of a label's value: nothing, or a name of at most 63 characters.
fn check_value(key: &str, value: &str) -> Result<(), SelectorError> {
    if value.is_empty() || is_name(value) {
        return Ok(());
    }
    Err(SelectorError::BadValue { key: key.to_owned(), value: value.to_owned() })
}

fn is_name(text: &str) -> bool {
    let edge = |c: u8| c.is_ascii_alphanumeric();
    (1..=63).contains(&text.len())
        && text.bytes().all(|c| edge(c) || matches!(c, b'-' | b'_' | b'.'))
        && text.bytes().next().is_some_and(edge)
        && text.bytes().last().is_some_and(edge)
}

/// Why a label selector is refused. A retry does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// The key is not a label key.
    #[error("{key:?} is not a label key: expected [prefix/]name with letters, digits, '-', '_' and '.'")]
    BadKey {
        /// The key as written.
        key: String,
    },
    /// No label can have the value.
    #[error(
        "{value:?} is not a value of the label {key:?}: expected at most 63 letters, digits, '-', '_' and '.'"
    )]
    BadValue {
        /// The label's key.
        key: String,
        /// The value as written.
        value: String,
    },
    /// No such operator.
    #[error("operator {operator:?} of key {key:?} is unknown; use In, NotIn, Exists or DoesNotExist")]
    UnknownOperator {
        /// The expression's key.
        key: String,
        /// The operator as written.
        operator: String,
    },
    /// `In` or `NotIn` without values.
    #[error("operator {operator} of key {key:?} needs at least one value")]
    ValuesMissing {
        /// The expression's key.
        key: String,
        /// The operator as written.
        operator: String,
    },
    /// `Exists` or `DoesNotExist` with values.
    #[error("operator {operator} of key {key:?} takes no values")]
    ValuesForbidden {
        /// The expression's key.
        key: String,
        /// The operator as written.
        operator: String,
    },
    /// The same value twice in one expression.
    #[error("the expression of key {key:?} names a value twice")]
    DuplicateValue {
        /// The expression's key.
        key: String,
    },
    /// The same expression twice in one selector.
    #[error("the expression of key {key:?} stands twice")]
    DuplicateExpression {
        /// The expression's key.
        key: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn expression(key: &str, operator: &str, values: &[&str]) -> Result<Selector, SelectorError> {
        let values: Vec<String> = values.iter().map(|v| (*v).to_owned()).collect();
        Selector::parse([], [(key, operator, values.as_slice())])
    }

    #[test]
    fn the_empty_selector_matches_everything() {
        assert!(Selector::default().matches(&labels(&[])));
    }

    #[test]
    fn operators_follow_the_kubernetes_rules() {
        let zone_a = labels(&[("zone", "a")]);
        let none = labels(&[]);
        for (operator, values, with, without) in [
            ("In", &["a", "b"][..], true, false),
            ("In", &["b"][..], false, false),
            ("NotIn", &["a"][..], false, true),
            ("NotIn", &["b"][..], true, true),
            ("Exists", &[][..], true, false),
            ("DoesNotExist", &[][..], false, true),
        ] {
            let selector = expression("zone", operator, values).unwrap();
            assert_eq!(selector.matches(&zone_a), with, "{operator} {values:?} on zone=a");
            assert_eq!(selector.matches(&none), without, "{operator} {values:?} on no label");
        }
    }

    #[test]
    fn bad_selectors_are_refused() {
        for (key, operator, values) in [
            ("zone", "Near", &["a"][..]),
            ("zone", "In", &[][..]),
            ("zone", "Exists", &["a"][..]),
            ("zone", "In", &["a", "a"][..]),
            ("zone", "NotIn", &["a", "no value"][..]),
            ("zone", "In", &["-a"][..]),
            ("-zone", "Exists", &[][..]),
            ("/zone", "Exists", &[][..]),
            ("Bad.Prefix/zone", "Exists", &[][..]),
            ("", "Exists", &[][..]),
        ] {
            assert!(expression(key, operator, values).is_err(), "{key} {operator} {values:?}");
        }
    }

    #[test]
    fn an_expression_may_say_what_a_label_says_and_not_what_another_expression_says() {
        let values = ["a".to_owned()];
        let one = ("zone", "In", &values[..]);
        assert_eq!(Selector::parse([("zone", "a")], [one]), Selector::parse([("zone", "a")], []));
        let twice = Err(SelectorError::DuplicateExpression { key: "zone".into() });
        assert_eq!(Selector::parse([], [one, one]), twice);
    }

    #[test]
    fn a_label_has_a_value_that_it_can_have() {
        assert!(Selector::parse([("zone", "")], []).is_ok());
        let long = "a".repeat(64);
        for value in ["a b", "-a", "a.", "\u{e4}", &long] {
            let error = Err(SelectorError::BadValue { key: "zone".into(), value: value.into() });
            assert_eq!(Selector::parse([("zone", value)], []), error);
        }
    }
}
