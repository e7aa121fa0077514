use std::{collections::BTreeSet, fmt};

/// Which Services an install handles, by their `spec.loadBalancerClass`. The default is MetalLB's: those without a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classes {
    names: BTreeSet<Box<str>>,
    unclassed: bool,
}

/// Nothing would be handled: no class is named, and Services without one are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no Service would be handled: name a load balancer class, or do not leave out the Services without one"
)]
pub struct NoClasses;

impl Classes {
    /// The classes of these names; white space around a name is cut off and an empty name says nothing. Services without a
    /// class belong to them if `unclassed` says so; where it says nothing, if no class is named.
    ///
    /// # Errors
    /// When no Service could belong to them.
    pub fn new<'a>(
        names: impl IntoIterator<Item = &'a str>,
        unclassed: Option<bool>,
    ) -> Result<Self, NoClasses> {
        let names = names.into_iter().map(str::trim).filter(|name| !name.is_empty()).map(Into::into);
        let names: BTreeSet<Box<str>> = names.collect();
        let unclassed = unclassed.unwrap_or(names.is_empty());
        if names.is_empty() && !unclassed { Err(NoClasses) } else { Ok(Self { names, unclassed }) }
    }

    /// The Services of one class and no others.
    #[must_use]
    pub fn only(name: &str) -> Self {
        Self { names: BTreeSet::from([name.into()]), unclassed: false }
    }

    /// Whether a Service of this class, or of none, is handled.
    #[must_use]
    pub fn handles(&self, class: Option<&str>) -> bool {
        class.map_or(self.unclassed, |class| self.names.contains(class))
    }
}

impl Default for Classes {
    fn default() -> Self {
        Self { names: BTreeSet::new(), unclassed: true }
    }
}

/// For a sentence such as `this install handles …`.
impl fmt::Display for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.names.iter().map(|name| format!("{name:?}")).collect();
        match (names.as_slice(), self.unclassed) {
            ([], _) => f.write_str("Services without a class"),
            ([name], false) => write!(f, "Services of class {name}"),
            (names, false) => write!(f, "Services of the classes {}", names.join(", ")),
            (names, true) => write!(f, "Services of class {}, or of none", names.join(" or ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handled_follows_names_and_choice() {
        /// Names, choice; whether Services of no class, class a, class b are handled; in words.
        type Row = (&'static [&'static str], Option<bool>, [bool; 3], &'static str);
        let rows: &[Row] = &[
            (&[], None, [true, false, false], "Services without a class"),
            (&[""], None, [true, false, false], "Services without a class"),
            (&[], Some(true), [true, false, false], "Services without a class"),
            (&["a"], None, [false, true, false], "Services of class \"a\""),
            (&["a"], Some(false), [false, true, false], "Services of class \"a\""),
            (&["a"], Some(true), [true, true, false], "Services of class \"a\", or of none"),
            (&[" a", "b ", ""], None, [false, true, true], "Services of the classes \"a\", \"b\""),
            (
                &["b", "a", "a"],
                Some(true),
                [true, true, true],
                "Services of class \"a\" or \"b\", or of none",
            ),
        ];
        for (names, unclassed, expected, words) in rows {
            let classes = Classes::new(names.iter().copied(), *unclassed).unwrap();
            assert_eq!(
                [None, Some("a"), Some("b")].map(|class| classes.handles(class)),
                *expected,
                "{names:?}"
            );
            assert!(!classes.handles(Some("c")) && !classes.handles(Some("")), "{names:?}");
            assert_eq!(classes.to_string(), *words);
        }
        assert_eq!(Classes::new([], None), Ok(Classes::default()));
        assert_eq!(Classes::new(["a"], None), Ok(Classes::only("a")));
        for names in [vec![], vec![""], vec![" "]] {
            assert_eq!(Classes::new(names, Some(false)), Err(NoClasses));
        }
    }
}
