//! docs/reference/metrics.md, written from what the daemons register.

use std::fmt::Write as _;

use landfall_probes::Description;

const HEAD: &str = "\
# Metrics

Written from the daemons' own descriptions by a test of the binary; do not edit. `LANDFALL_BLESS=1 cargo test -p landfall`
writes it anew. They are read at `/metrics`, as Prometheus' text. Those that begin with `metallb_` have MetalLB's names and
labels. A metric with labels is shown as soon as it has a value.
";

#[test]
fn the_reference_of_metrics_is_that_of_the_daemons() {
    let mut text = HEAD.to_owned();
    section(&mut text, "Controller", &landfall_controller::metrics().unwrap());
    section(&mut text, "Speaker", &landfall_speaker::metrics().unwrap());
    super::is_up_to_date("metrics.md", &text);
}

fn section(text: &mut String, title: &str, metrics: &[Description]) {
    let _ = write!(text, "\n## {title}\n\n| Name | Kind | Labels | Meaning |\n| --- | --- | --- | --- |\n");
    let mut metrics: Vec<&Description> = metrics.iter().collect();
    metrics.sort_by(|one, other| one.name.cmp(&other.name));
    for Description { name, kind, labels, help } in metrics {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(text, "| `{name}` | {kind} | {} | {help} |", labels.join(", "));
    }
}
