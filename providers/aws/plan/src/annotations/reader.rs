//! The syntax of annotations, the same as that of the AWS Load Balancer Controller, and the memory of what was read.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use crate::{Map, Problem, Warning, annotations::PREFIX};

/// Reads annotations and gathers what is wrong with them.
pub(super) struct Reader<'a> {
    /// By name without prefix.
    values: BTreeMap<&'a str, &'a str>,
    read: BTreeSet<String>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(annotations: &'a BTreeMap<String, String>) -> Self {
        let values =
            annotations.iter().filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value.as_str())));
        Self { values: values.collect(), read: BTreeSet::new(), problems: Vec::new() }
    }

    /// The value as written, not trimmed.
    pub(super) fn text(&mut self, name: &str) -> Option<&'a str> {
        self.seen(name);
        self.values.get(name).copied()
    }

    /// Notes that an annotation is known although it has no effect here.
    pub(super) fn seen(&mut self, name: &str) {
        self.read.insert(name.to_owned());
    }

    /// A value that `parse` accepts.
    pub(super) fn checked<T>(
        &mut self,
        name: &str,
        allowed: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.text(name)?;
        let parsed = parse(value);
        if parsed.is_none() {
            self.refuse(name, value, allowed);
        }
        parsed
    }

    /// One of a closed set of words.
    pub(super) fn word<T: Copy>(&mut self, name: &str, all: &[T], spell: fn(T) -> &'static str) -> Option<T> {
        let words: Vec<&str> = all.iter().map(|value| spell(*value)).collect();
        let allowed = format!("use {}", words.join(", "));
        self.checked(name, &allowed, |value| all.iter().copied().find(|word| spell(*word) == value))
    }

    pub(super) fn bool(&mut self, name: &str) -> Option<bool> {
        self.checked(name, "failed to parse bool annotation; use true or false", go_bool)
    }

    /// `on`; `off` is the default.
    pub(super) fn on(&mut self, name: &str) -> bool {
        self.checked(name, "use on or off", |value| match value {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        })
        .unwrap_or(false)
    }

    pub(super) fn int(&mut self, name: &str) -> Option<i32> {
        self.checked(name, "use a whole number", |value| value.parse().ok())
    }

    /// Split at commas, each trimmed, empty ones dropped.
    pub(super) fn list(&mut self, name: &str) -> Vec<String> {
        let items = self.text(name).unwrap_or_default().split(',').map(str::trim);
        items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// A list of values of one type.
    pub(super) fn parsed_list<T: FromStr>(&mut self, name: &str, what: &str) -> Vec<T> {
        let mut values = Vec::new();
        for item in self.list(name) {
            match item.parse() {
                Ok(value) => values.push(value),
                Err(_) => self.refuse(name, &item, &format!("each entry must be {what}")),
            }
        }
        values
    }

    /// `k=v` pairs between commas; `\,` is a comma of a value.
    pub(super) fn map(&mut self, name: &str) -> Map {
        let value = self.text(name).unwrap_or_default();
        let mut map = Map::new();
        for pair in split_escaped(value) {
            let pair = pair.trim();
            if pair.is_empty() {
                continue;
            }
            match pair.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
                Some((key, value)) if !key.is_empty() => _ = map.insert(key.to_owned(), value.to_owned()),
                _ => self.refuse(
                    name,
                    pair,
                    "failed to parse stringMap annotation; use key=value between commas",
                ),
            }
        }
        map
    }

    /// Annotations whose name begins with `stem`: the name, and the rest of it.
    pub(super) fn suffixed(&mut self, stem: &str) -> Vec<(String, String)> {
        let found = self
            .values
            .keys()
            .filter_map(|name| Some(((*name).to_owned(), name.strip_prefix(stem)?.to_owned())));
        let found: Vec<_> = found.collect();
        self.read.extend(found.iter().map(|(name, _)| name.clone()));
        found
    }

    pub(super) fn refuse(&mut self, name: &str, value: &str, allowed: &str) {
        let (annotation, value, allowed) = (name.to_owned(), value.to_owned(), allowed.to_owned());
        self.problem(Problem::Annotation { annotation, value, allowed });
    }

    pub(super) fn refuse_as_written(&mut self, name: &str, allowed: &str) {
        let value = self.values.get(name).copied().unwrap_or_default();
        self.refuse(name, value, allowed);
    }

    pub(super) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Annotations of load balancers that nobody asked for.
    pub(super) fn unknown(&self) -> Vec<Warning> {
        let names = self
            .values
            .keys()
            .filter(|name| name.starts_with("aws-load-balancer-") && !self.read.contains(**name));
        names.map(|name| Warning { annotation: (*name).to_owned(), nearest: self.nearest(name) }).collect()
    }

    fn nearest(&self, name: &str) -> Option<String> {
        let near = self.read.iter().map(|known| (distance(name, known), known));
        near.filter(|(distance, _)| *distance <= 4).min().map(|(_, known)| known.clone())
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}

/// Go's `strconv.ParseBool`: how annotations and flags of programs in Go spell a boolean.
#[must_use]
pub fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

fn split_escaped(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' if chars.peek() == Some(&',') => {
                chars.next();
                push(&mut parts, ',');
            }
            ',' => parts.push(String::new()),
            other => push(&mut parts, other),
        }
    }
    parts
}

fn push(parts: &mut [String], char: char) {
    if let Some(last) = parts.last_mut() {
        last.push(char);
    }
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != *y)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}
