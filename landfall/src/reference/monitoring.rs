//! What deploy/monitoring asks Prometheus for exists: metrics, and the labels by which they are chosen and grouped.
//!
//! This is no parser of `PromQL`. It looks at words:
//! - each word that begins with `metallb_` or `landfall_` is a metric of one of the daemons, and each that begins with
//!   `landfall:` is recorded in alerts.yaml,
//! - a label in braces belongs to the metric before them, and one of the two reasons' labels is compared with reasons,
//! - a label after `by` belongs to every metric in the parentheses behind it, so `by` must come before what it groups,
//! - a label after `on`, in a legend or in an annotation belongs to some metric of the expression.
//!
//! The labels that deploy/monitoring/monitors.yaml gives every target belong to every metric, and a label that
//! `label_replace` makes to all in its expression.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use landfall_model::Reason;
use serde_json::Value;

/// The labels of a target, by the operator and by monitors.yaml.
const TARGET: [&str; 3] = ["namespace", "node", "pod"];
/// The metrics whose label `reason` is a [`Reason`].
const REASONED: [&str; 2] = ["landfall_services_waiting", "landfall_speaker_owner_changes_total"];

type Known = BTreeMap<String, BTreeSet<String>>;

fn file(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/monitoring").join(name);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn yaml(name: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every metric of the daemons, with its labels.
fn metrics() -> Known {
    let all = [landfall_controller::metrics().unwrap(), landfall_speaker::metrics().unwrap()].concat();
    all.into_iter().map(|metric| (metric.name, metric.labels.into_iter().collect())).collect()
}

/// The rules of alerts.yaml.
fn rules() -> Vec<Value> {
    let documents = yaml("alerts.yaml");
    let groups = documents.iter().flat_map(|document| list(&document["spec"]["groups"]));
    // Of metrics that this build has not.
    let groups = groups.filter(|group| cfg!(feature = "aws") || group["name"] != "landfall.aws");
    groups.flat_map(|group| list(&group["rules"])).cloned().collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// The metrics, and what alerts.yaml records, whose labels are those of its first `by`.
fn metrics_and_records() -> Known {
    let mut known = metrics();
    for rule in rules().iter().filter(|rule| rule["record"].is_string()) {
        let (_, grouped) = text(rule, "expr").split_once("by (").expect("a recording rule groups");
        known.insert(text(rule, "record").to_owned(), names(grouped.split(')').next().unwrap()));
    }
    known
}

fn names(list: &str) -> BTreeSet<String> {
    list.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// The words of an expression with their ends, those in quotation marks left out.
fn words(expression: &str) -> Vec<(&str, usize)> {
    let part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    let (mut words, mut start, mut quoted) = (Vec::new(), None, false);
    for (at, letter) in expression.char_indices().chain([(expression.len(), ' ')]) {
        if letter == '"' {
            quoted = !quoted;
        }
        match start {
            None if part(letter) && !quoted => start = Some(at),
            Some(from) if !part(letter) => {
                words.push((&expression[from..at], at));
                start = None;
            }
            None | Some(_) => {}
        }
    }
    words
}

/// What is between the bracket that the text begins with, after spaces, and the one that closes it; and what follows.
fn inside(text: &str, open: char, close: char) -> Option<(&str, &str)> {
    let text = text.trim_start().strip_prefix(open)?;
    let (mut depth, mut quoted) = (1, false);
    for (at, letter) in text.char_indices() {
        if letter == '"' {
            quoted = !quoted;
        } else if !quoted && letter == open {
            depth += 1;
        } else if !quoted && letter == close {
            depth -= 1;
            if depth == 0 {
                return Some((&text[..at], &text[at + close.len_utf8()..]));
            }
        }
    }
    None
}

fn is_ours(word: &str) -> bool {
    ["metallb_", "landfall_", "landfall:"].iter().any(|prefix| word.starts_with(prefix))
}

fn named(expression: &str) -> Vec<&str> {
    words(expression).into_iter().map(|(word, _)| word).filter(|word| is_ours(word)).collect()
}

/// The labels that `label_replace` makes: the first of its texts.
fn made(expression: &str) -> BTreeSet<String> {
    let calls = expression.split("label_replace").skip(1);
    calls
        .filter_map(|call| inside(call, '(', ')'))
        .filter_map(|(arguments, _)| {
            let mut arguments = arguments.rsplit(',').map(|argument| argument.trim().trim_matches('"'));
            arguments.nth(3).map(str::to_owned)
        })
        .collect()
}

/// Whether the metric has the label.
fn has(known: &Known, metric: &str, label: &str) -> bool {
    TARGET.contains(&label) || known.get(metric).is_some_and(|labels| labels.contains(label))
}

/// Whether some metric of the expression has the label.
fn any_has(known: &Known, expression: &str, label: &str) -> bool {
    made(expression).contains(label) || named(expression).iter().any(|metric| has(known, metric, label))
}

/// What an expression asks for and does not exist.
fn faults(known: &Known, expression: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let made = made(expression);
    for (word, end) in words(expression) {
        let rest = &expression[end..];
        if is_ours(word) {
            if !known.contains_key(word) {
                faults.push(format!("there is no metric {word}"));
            }
            if let Some((chosen, _)) = rest.starts_with('{').then(|| inside(rest, '{', '}')).flatten() {
                faults.extend(chosen_faults(known, word, chosen));
            }
        } else if word == "by" {
            let Some((labels, rest)) = inside(rest, '(', ')') else { continue };
            let Some((grouped, _)) = inside(rest, '(', ')') else {
                faults.push(format!("write `by ({labels})` before what it groups"));
                continue;
            };
            for label in names(labels).difference(&made) {
                let without = named(grouped).into_iter().filter(|metric| !has(known, metric, label));
                faults.extend(without.map(|metric| format!("{metric} is grouped by {label} and has none")));
            }
        } else if word == "on" {
            let labels = inside(rest, '(', ')').map(|(labels, _)| names(labels)).unwrap_or_default();
            let missing = labels.iter().filter(|label| !any_has(known, expression, label));
            faults.extend(missing.map(|label| format!("nothing has the label {label} of `on`")));
        }
    }
    faults
}

/// The faults in the braces behind a metric.
fn chosen_faults(known: &Known, metric: &str, chosen: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (label, end) in words(chosen) {
        if !has(known, metric, label) {
            faults.push(format!("{metric} has no label {label}"));
        }
        if label == "reason" && REASONED.contains(&metric) {
            let values = chosen[end..].split('"').nth(1).unwrap_or_default();
            let unknown = values.split('|').filter(|value| Reason::parse(value).is_none());
            faults.extend(unknown.map(|value| format!("{metric} is never shown with the reason {value}")));
        }
    }
    faults
}

/// The labels that a template names between `{{` and `}}`, after the given beginning.
fn templated<'a>(template: &'a str, beginning: &str) -> Vec<&'a str> {
    let parts = template.split("{{").skip(1).filter_map(|part| part.split("}}").next());
    parts.filter_map(|part| part.trim().strip_prefix(beginning)).collect()
}

#[test]
fn alerts_ask_for_what_exists_and_say_what_it_means() {
    let known = metrics_and_records();
    let mut seen = BTreeSet::new();
    for rule in rules() {
        let expression = text(&rule, "expr");
        let name = rule["alert"].as_str().or(rule["record"].as_str()).unwrap();
        assert!(seen.insert(name.to_owned()), "{name} stands twice");
        assert_eq!(faults(&known, expression), Vec::<String>::new(), "{name}");
        assert!(!named(expression).is_empty(), "{name} asks for nothing of ours");
        if rule["record"].is_string() {
            continue;
        }
        assert!(!text(&rule, "for").is_empty(), "{name} waits for no time");
        let severity = text(&rule["labels"], "severity");
        assert!(["info", "warning", "critical"].contains(&severity), "{name} has the severity {severity:?}");
        for field in ["summary", "description"] {
            let annotation = text(&rule["annotations"], field);
            assert!(!annotation.is_empty(), "{name} has no {field}");
            for label in templated(annotation, "$labels.") {
                assert!(
                    any_has(&known, expression, label),
                    "{name}: nothing has the label {label} of its {field}"
                );
            }
        }
    }
    for name in ["StaleConfig", "ConfigNotLoaded", "AddressPoolExhausted"] {
        assert!(seen.contains(&format!("MetalLB{name}")), "MetalLB's users miss {name}");
    }
    for usage in [75, 85, 95] {
        assert!(
            seen.contains(&format!("MetalLBAddressPoolUsage{usage}Percent")),
            "MetalLB's users miss {usage} %"
        );
    }
}

#[test]
fn our_own_alerts_are_explained() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/monitoring.md");
    let page = fs::read_to_string(page).unwrap();
    for rule in rules() {
        let name = text(&rule, "alert");
        assert!(
            page.contains(&format!("`{name}`")) || name.is_empty(),
            "docs/monitoring.md does not explain {name}"
        );
    }
}

#[test]
fn the_dashboard_asks_for_what_exists_and_says_what_it_shows() {
    let known = metrics_and_records();
    let board: Value = serde_json::from_str(&file("dashboard.json")).unwrap();
    assert!(!text(&board, "title").is_empty() && board["schemaVersion"].is_u64());
    let variables = list(&board["templating"]["list"]);
    for name in ["datasource", "namespace", "pool"] {
        assert!(
            variables.iter().any(|variable| text(variable, "name") == name),
            "there is no variable {name}"
        );
    }
    for variable in variables.iter().filter(|variable| text(variable, "type") == "query") {
        let query = text(&variable["query"], "query");
        let (arguments, _) =
            query.strip_prefix("label_values").and_then(|call| inside(call, '(', ')')).unwrap();
        let (from, label) = arguments.rsplit_once(',').unwrap();
        assert_eq!(faults(&known, from), Vec::<String>::new(), "{query}");
        assert!(any_has(&known, from, label.trim()), "{query}");
    }
    let mut ids = BTreeSet::new();
    for panel in list(&board["panels"]) {
        let title = text(panel, "title");
        assert!(!title.is_empty(), "a panel without a title");
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is taken");
        if text(panel, "type") == "row" {
            continue;
        }
        assert!(text(panel, "description").ends_with('.'), "{title} has no description");
        assert!(!text(&panel["fieldConfig"]["defaults"], "unit").is_empty(), "{title} has no unit");
        assert_eq!(text(&panel["datasource"], "uid"), "${datasource}", "{title}");
        assert!(!list(&panel["targets"]).is_empty(), "{title} asks for nothing");
        for target in list(&panel["targets"]) {
            let expression = text(target, "expr");
            assert_eq!(faults(&known, expression), Vec::<String>::new(), "{title}");
            for label in templated(text(target, "legendFormat"), "") {
                assert!(
                    any_has(&known, expression, label),
                    "{title}: nothing has the label {label} of its legend"
                );
            }
        }
    }
}

#[test]
fn monitors_name_ports_and_labels_of_the_manifests() {
    let base = |name: &str| -> Value {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/base").join(name);
        let documents: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(file).unwrap()).unwrap();
        documents.into_iter().next().unwrap()["spec"]["template"].clone()
    };
    let monitors = yaml("monitors.yaml");
    for (monitor, pod) in monitors.iter().zip([base("controller.yaml"), base("speaker.yaml")]) {
        let name = text(&monitor["metadata"], "name");
        assert_eq!(monitor["spec"]["selector"]["matchLabels"], pod["metadata"]["labels"], "{name}");
        let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
        let ports = list(&pod["spec"]["containers"][0]["ports"]);
        match endpoint["port"].as_str() {
            Some(port) => assert!(ports.iter().any(|found| text(found, "name") == port), "{name}"),
            // An address of its own is needed only where the Pod declares no port.
            None => assert!(ports.is_empty() && endpoint.to_string().contains(":9120"), "{name}"),
        }
        assert_eq!(text(endpoint, "path"), "/metrics", "{name}");
    }
    let kustomization = &yaml("kustomization.yaml")[0];
    let resources: Vec<&str> = list(&kustomization["resources"]).iter().filter_map(Value::as_str).collect();
    assert_eq!((monitors.len(), &*resources), (2, &["monitors.yaml", "alerts.yaml"][..]));
}

#[test]
fn what_does_not_exist_is_found() {
    let known = metrics_and_records();
    for (expression, fault) in [
        ("sum(landfall_nothing) > 0", "there is no metric landfall_nothing"),
        (r#"landfall_speaker_members{kind="dead"}"#, "landfall_speaker_members has no label kind"),
        (
            "max by (pool) (landfall_services_waiting)",
            "landfall_services_waiting is grouped by pool and has none",
        ),
        ("sum(landfall_services_waiting) by (reason)", "write `by (reason)` before what it groups"),
        (
            r#"landfall_services_waiting{reason=~"NoPools|NoPool"}"#,
            "landfall_services_waiting is never shown with the reason NoPool",
        ),
        (
            "landfall_services_waiting and on (pool) landfall_speaker_members",
            "nothing has the label pool of `on`",
        ),
    ] {
        assert_eq!(faults(&known, expression), [fault], "{expression}");
    }
    let fine = r#"sum by (namespace, reason) (landfall_services_waiting{pod="a{b",reason="NoPools"}) > 0"#;
    assert_eq!(faults(&known, fine), Vec::<String>::new());
}
