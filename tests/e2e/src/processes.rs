//! The processes of Pods, as the machine sees them, and what processes said.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// The ids of the processes whose environment says that they belong to this Pod, as the kubelet's contract has it: `HOSTNAME`
/// is the Pod's name. A process that is about to end has no environment any more and is not among them.
///
/// # Errors
/// When there is none.
pub fn of_pod(pod: &str) -> Result<Vec<i32>> {
    let wanted = format!("HOSTNAME={pod}");
    let entries = fs::read_dir("/proc").context("list the processes")?;
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let of_pod = pids.filter(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    });
    let found: Vec<i32> = of_pod.collect();
    ensure!(!found.is_empty(), "no process of the Pod {pod} runs");
    Ok(found)
}

/// The end of a log, under its name, to be shown when a test fails.
#[must_use]
pub fn last_words(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    format!("{}:\n{}", log.display(), lines[lines.len().saturating_sub(40)..].join("\n"))
}
