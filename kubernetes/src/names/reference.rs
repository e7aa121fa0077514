//! docs/reference/names.md: annotations, labels, conditions, events and reasons, written from the constants and their
//! documentation. `LANDFALL_BLESS=1` writes it anew.

use std::fmt::Write as _;

use crate::golden;

const HEAD: &str = "\
# Names

Written from the source by a test; do not edit. `LANDFALL_BLESS=1 cargo test -p landfall-kubernetes` writes it anew. These names
are part of the interface.
";

const NAMES: &str = include_str!("../names.rs");
const CLOUD: &str = include_str!("../../../providers/aws/plan/src/status.rs");
const EFFECTS: &str = include_str!("../../../controller/plan/src/effect.rs");
const REPORTS: &str = include_str!("../../../speaker/engine/src/speaker/report.rs");
const REASONS: &str = include_str!("../../../model/src/reason.rs");

#[test]
fn the_reference_of_names_is_that_of_the_code() {
    golden::is_up_to_date("../docs/reference/names.md", &text());
}

fn text() -> String {
    let mut text = HEAD.to_owned();
    let either =
        |value: &str| if value.contains('/') { value.to_owned() } else { format!("metallb.io/{value}") };
    let annotations = constants(module(NAMES, "annotation"));
    section(&mut text, "Annotations", annotations.iter().filter(|(value, _)| !value.ends_with('/')), either);
    section(&mut text, "Labels", &constants(module(NAMES, "label")), str::to_owned);
    let mut conditions = constants(module(EFFECTS, "condition"));
    conditions.extend(constants(CLOUD).into_iter().filter(|(value, _)| value.starts_with("landfall.dev/")));
    section(&mut text, "Conditions of a Service", &conditions, str::to_owned);
    let mut events = constants(module(EFFECTS, "event"));
    events.extend(constants(REPORTS).into_iter().filter(|(value, _)| value.starts_with(char::is_alphabetic)));
    section(&mut text, "Reasons of events", &events, str::to_owned);
    section(&mut text, "Reasons of events of AWS", &cloud_events(), str::to_owned);
    section(&mut text, "Reasons of decisions", &variants(REASONS), str::to_owned);
    text
}

fn section<'a>(
    text: &mut String,
    title: &str,
    rows: impl IntoIterator<Item = &'a (String, String)>,
    name: impl Fn(&str) -> String,
) {
    let _ = write!(text, "\n## {title}\n\n| Name | Meaning |\n| --- | --- |\n");
    let before = text.len();
    for (value, meaning) in rows {
        let _ = writeln!(text, "| `{}` | {meaning} |", name(value));
    }
    assert!(text.len() > before, "{title}: nothing was found, so the source has another shape now");
}

/// The body of `pub mod NAME { … }`.
fn module<'a>(source: &'a str, name: &str) -> &'a str {
    let (_, body) = source.split_once(&format!("pub mod {name} {{\n")).expect(name);
    body.split_once("\n}").expect(name).0
}

/// The texts of string constants with their documentation.
fn constants(source: &str) -> Vec<(String, String)> {
    documented(source, |line| {
        let (_, value) = line.split_once("&str = \"")?;
        (line.starts_with("pub const") || line.starts_with("const"))
            .then(|| value.trim_end_matches("\";").to_owned())
    })
}

/// The reasons that the variants of an enum are told as.
fn cloud_events() -> Vec<(String, String)> {
    let (_, body) = CLOUD.split_once("\npub enum Event {\n").expect("the events of AWS");
    let variants = documented(body.split_once("\n}").expect("its end").0, |line| {
        line.strip_suffix(',').map(str::to_owned)
    });
    let reason = |variant: &str| {
        let (_, arm) = CLOUD.split_once(&format!("Self::{variant} => \"")).expect(variant);
        arm.split('"').next().unwrap_or_default().to_owned()
    };
    variants.into_iter().map(|(variant, meaning)| (reason(&variant), meaning)).collect()
}

/// The names listed in the macro call of the reasons.
fn variants(source: &str) -> Vec<(String, String)> {
    let (_, list) = source.split_once("\nreasons! {\n").expect("the list of reasons");
    documented(list.split_once("\n}").expect("its end").0, |line| line.strip_suffix(',').map(str::to_owned))
}

/// Every line that `name` takes, with the documentation before it.
fn documented(source: &str, name: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let (mut found, mut meaning) = (Vec::new(), String::new());
    for line in source.lines().map(str::trim) {
        if let Some(more) = line.strip_prefix("///") {
            meaning.push_str(more);
            continue;
        }
        let said = std::mem::take(&mut meaning).replace("[`", "`").replace("`]", "`").replace('|', "\\|");
        if let Some(name) = name(line) {
            found.push((name, said.trim().to_owned()));
        }
    }
    found
}
