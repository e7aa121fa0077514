//! Checks the shape of the workspace, as `make lint` runs it: every crate has a row, uses lower rows only, and a
//! pure crate reaches nothing that does IO, not even through others.
//!
//! It also checks that THIRD-PARTY.md names what the binary links; `LANDFALL_BLESS=1` writes the file.
//!
//! The graph is what `cargo metadata` says about normal and build dependencies; those of tests are free.

mod graph;
mod notices;
mod rules;

use std::process::{Command, ExitCode};

use anyhow::{Context as _, ensure};

fn main() -> ExitCode {
    match check() {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            for fault in &faults {
                eprintln!("structure: {fault}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("structure: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn check() -> anyhow::Result<Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .output()
        .context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    let graph = graph::Graph::parse(&output.stdout)?;
    let mut faults = rules::faults(&graph);
    faults.extend(notices::fault(&graph)?);
    Ok(faults)
}
