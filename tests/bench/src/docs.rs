//! Writes `performance.md`, `performance.json` and the plots.

use std::{fs, path::Path};

use anyhow::Context as _;

use crate::{
    figures::{Figures, Series},
    plot,
};

const INTRODUCTION: &str = "\
# Performance

Written by `make bench`, in one run on one machine. Machines are small and noisy: compare rows of one run, not runs.
Targets are those of the design; a row without a target is there for orientation. What each row measures is said
in `tests/bench/src`, one file per part.

Missed: the memory of an idle speaker. Most of it are pages of the binary, which the kernel keeps once for all processes and can drop; two
megabytes are its own.

";

const FAILOVER: &str = "failover gap";

/// Replaces the report in `directory`.
pub(crate) fn write(directory: &Path, figures: &Figures) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let (failover, others): (Vec<&Series>, Vec<&Series>) =
        figures.series.iter().partition(|series| series.name.starts_with(FAILOVER));
    // One axis has one unit.
    let (latency, arp): (Vec<&Series>, Vec<&Series>) =
        others.into_iter().partition(|series| series.unit == "ms");
    let mut text = format!("{INTRODUCTION}{}", figures.table());
    for (file, title, series) in [
        (
            "latency.svg",
            "From the creation of a Service to its address: every sample, the median in red",
            latency,
        ),
        ("arp.svg", "From an ARP request to the reply: every sample, the median in red", arp),
        ("failover.svg", "Failover: what a client waited for, every kill", failover),
    ] {
        if !series.is_empty() {
            put(directory, file, &plot::svg(title, &series))?;
            text.push_str(&format!("\n![{title}]({file})\n"));
        }
    }
    put(directory, "performance.md", &text)?;
    put(directory, "performance.json", &format!("{}\n", figures.json()?))
}

fn put(directory: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = directory.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
