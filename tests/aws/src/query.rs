//! The parameters of the Query protocol: a flat form in which lists and structures are spelled in the keys, such as
//! `Subnets.member.1` or `Tags.member.2.Key`.

use std::collections::BTreeMap;

use crate::refusal::Refusal;

/// The parameters of one call, `Action` and `Version` included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parameters(pub(crate) BTreeMap<String, String>);

impl Parameters {
    pub(crate) fn parse(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).map(|(k, v)| (k.into_owned(), v.into_owned())).collect())
    }

    pub(crate) fn encode(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }

    /// A call made of pairs.
    pub(crate) fn call(action: &str, version: &str, pairs: &[(&str, &str)]) -> Self {
        let fixed = [("Action", action), ("Version", version)];
        Self(fixed.iter().chain(pairs).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// A parameter that the API model requires.
    pub(crate) fn need(&self, key: &str) -> Result<&str, Refusal> {
        self.get(key).ok_or_else(|| Refusal::new("ValidationError", format!("{key} is required")))
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, Refusal> {
        let number = |text: &str| {
            text.parse().map_err(|_| {
                Refusal::new("ValidationError", format!("{key} is not a number in range: '{text}'"))
            })
        };
        self.get(key).map(number).transpose()
    }

    pub(crate) fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// Removes a parameter, with all members and fields of it.
    pub(crate) fn remove(&mut self, key: &str) {
        self.0.retain(|k, _| k != key && !k.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')));
    }

    /// Whether the parameter is there, be it as an empty list (`Key=`).
    pub(crate) fn has(&self, key: &str) -> bool {
        self.0
            .keys()
            .any(|k| k.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    }

    /// A list of texts, in order.
    pub(crate) fn texts(&self, name: &str) -> Vec<&str> {
        (1..).map_while(|n| self.get(&format!("{name}.member.{n}"))).collect()
    }

    /// A list of structures, in order, each with its own keys.
    pub(crate) fn members(&self, name: &str) -> Vec<Self> {
        let member = |n: usize| {
            let prefix = format!("{name}.member.{n}.");
            let own: BTreeMap<_, _> = self
                .0
                .iter()
                .filter_map(|(k, v)| Some((k.strip_prefix(&prefix)?.to_owned(), v.clone())))
                .collect();
            (!own.is_empty()).then_some(Self(own))
        };
        (1..).map_while(member).collect()
    }
}
