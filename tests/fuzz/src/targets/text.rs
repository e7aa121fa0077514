//! Texts and secrets that people write: ranges, selectors, interface patterns, keys.

use std::collections::BTreeSet;

use arbitrary::Arbitrary;
use landfall_engine::{links::NamePattern, membership::Key};
use landfall_model::{AddressRange, Family, Labels, Operator, Selector};

/// A range of addresses, as a pool lists it.
pub(crate) fn range(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let range: AddressRange = match text.parse() {
        Ok(range) => range,
        Err(error) => return explains(&error),
    };
    assert!(range.first() <= range.last() && !range.is_empty());
    assert_eq!(Family::of(range.first()), Family::of(range.last()));
    assert_eq!(range.to_string().parse(), Ok(range), "{text:?}");
    assert!(range.contains(range.first()) && range.contains(range.last()) && range.overlaps(&range));
    assert_eq!(range.nth(0), Some(range.first()));
    for address in [range.first(), range.last()] {
        let offset = range.offset(address).expect("it lies inside");
        assert_eq!(range.nth(offset), Some(address));
    }
    let last = range.offset(range.last()).expect("it lies inside");
    assert_eq!(range.len(), last.saturating_add(1));
    assert_eq!(last.checked_add(1).and_then(|beyond| range.nth(beyond)), None);
}

/// A refusal is a sentence for people, not the bare name of a case.
fn explains(error: &dyn std::error::Error) {
    assert!(error.to_string().contains(' '), "{error:?}");
}

#[derive(Arbitrary, Debug)]
struct Selection {
    labels: Vec<(String, String)>,
    expressions: Vec<(String, Named, Vec<String>)>,
    /// The labels of an object.
    object: Labels,
}

#[derive(Arbitrary, Debug)]
enum Named {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Other(String),
}

impl Named {
    fn as_str(&self) -> &str {
        match self {
            Self::In => "In",
            Self::NotIn => "NotIn",
            Self::Exists => "Exists",
            Self::DoesNotExist => "DoesNotExist",
            Self::Other(text) => text,
        }
    }
}

/// A label selector, and an object to match.
pub(crate) fn selector(input: &[u8]) {
    let Some(Selection { labels, expressions, object }) = super::operations(input, 1).pop() else { return };
    let pairs = || labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let triples = || {
        expressions.iter().map(|(key, operator, values)| (key.as_str(), operator.as_str(), values.as_slice()))
    };
    let selector = match Selector::parse(pairs(), triples()) {
        Ok(selector) => selector,
        Err(error) => return explains(&error),
    };
    // The meaning of a selector (`LabelSelector` of meta/v1), said once more.
    let has = |key: &str, values: &[String]| object.get(key).is_some_and(|value| values.contains(value));
    let expected = pairs().all(|(key, value)| object.get(key).is_some_and(|its| its == value))
        && expressions.iter().all(|(key, operator, values)| match operator.as_str() {
            "In" => has(key, values),
            "NotIn" => !has(key, values),
            "Exists" => object.contains_key(key),
            "DoesNotExist" => !object.contains_key(key),
            other => panic!("{other:?} was let through"),
        });
    assert_eq!(selector.matches(&object), expected, "{selector:?} on {object:?}");
    assert_eq!(again(&selector), selector);
}

/// The same selector, read from its own requirements.
fn again(selector: &Selector) -> Selector {
    let values = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
    let written: Vec<(&str, &str, Vec<String>)> = selector
        .requirements()
        .map(|requirement| {
            let (operator, values) = match &requirement.operator {
                Operator::In(set) => ("In", values(set)),
                Operator::NotIn(set) => ("NotIn", values(set)),
                Operator::Exists => ("Exists", Vec::new()),
                Operator::DoesNotExist => ("DoesNotExist", Vec::new()),
            };
            (requirement.key.as_str(), operator, values)
        })
        .collect();
    let expressions = written.iter().map(|(key, operator, values)| (*key, *operator, values.as_slice()));
    Selector::parse([], expressions).expect("what was read is valid")
}

/// A pattern of interface names, and after the first line break a name.
pub(crate) fn pattern(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (pattern, name) = text.split_once('\n').unwrap_or((text, "eth0"));
    // Longer ones cannot be names of interfaces (IFNAMSIZ).
    let name = &name[..name.floor_char_boundary(15)];
    match NamePattern::parse(pattern) {
        Ok(read) => {
            let matched = read.matches(name);
            if pattern.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                assert_eq!(matched, name.contains(pattern), "{pattern:?} on {name:?}");
            }
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(pattern), "the message shows the pattern: {text}");
        }
    }
}

#[derive(Arbitrary, Debug)]
struct Secrets {
    cluster: String,
    secret: Vec<u8>,
    other: Vec<u8>,
}

/// The secret of a cluster, and another one.
pub(crate) fn key(input: &[u8]) {
    let Some(Secrets { cluster, secret, other }) = super::operations(input, 1).pop() else { return };
    let derived = Key::derive(&secret, &cluster);
    assert_eq!(derived.is_err(), secret.is_empty());
    let Ok(key) = derived else { return };
    assert_eq!(Key::derive(&secret, &cluster), Ok(key.clone()));
    assert_ne!(
        Key::derive(&secret, &format!("{cluster}+")),
        Ok(key.clone()),
        "clusters have keys of their own"
    );
    assert!(other == secret || Key::derive(&other, &cluster) != Ok(key.clone()));
    assert_eq!(format!("{key:?}"), "Key(…)", "a key is never shown");
}
