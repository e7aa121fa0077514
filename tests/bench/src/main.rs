//! `make bench`: the figures of the design, measured side by side in one run on the test bed.
//!
//! It prints a table and writes `docs/performance.md`, `docs/performance.json` and the plots beside them. It never
//! fails because something is slow: machines differ, and the table shows each figure beside its target.

mod allocation;
mod arp;
mod aws;
mod controller;
mod detector;
mod docs;
mod failover;
mod figures;
mod growth;
mod plot;
mod pools;
mod process;
mod rivals;
mod size;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;

use self::figures::Figures;

/// Measure Landfall on the test bed and write what was found.
#[derive(Debug, Parser)]
struct Args {
    /// Measure only these parts
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::ALL)]
    only: Vec<Part>,

    /// Services in the large case
    #[arg(long, default_value_t = 5_000, value_name = "COUNT")]
    services: usize,

    /// Services in the largest case, each with ten endpoints
    #[arg(long, default_value_t = 10_000, value_name = "COUNT")]
    growth: usize,

    /// Times that the owner of an address is killed
    #[arg(long, default_value_t = 10, value_name = "COUNT")]
    kills: usize,

    /// Write the report into this directory; without it the report is only printed
    #[arg(long, value_name = "DIR")]
    docs: Option<PathBuf>,
}

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The allocator alone.
    Allocation,
    /// The controller with an API server.
    Controller,
    /// The controller with an API server and the double of AWS.
    Aws,
    /// Speakers in a cluster: memory, failover.
    Speaker,
    /// What watching each other costs speakers.
    Detector,
    /// ARP with few and with many addresses, and requests for those of others.
    Arp,
    /// Failover beside keepalived.
    Rivals,
}

impl Part {
    const ALL: [Self; 7] = [
        Self::Allocation,
        Self::Controller,
        Self::Aws,
        Self::Speaker,
        Self::Detector,
        Self::Arp,
        Self::Rivals,
    ];
}

fn main() -> anyhow::Result<()> {
    let Args { only, services, growth, kills, docs } = Args::parse();
    let mut figures = Figures::default();
    size::measure(&mut figures)?;
    if only.contains(&Part::Allocation) {
        allocation::measure(&mut figures)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if only.contains(&Part::Controller) {
        runtime
            .block_on(controller::measure(&mut figures, services, growth))
            .context("the controller's figures")?;
    }
    if only.contains(&Part::Aws) {
        runtime.block_on(aws::measure(&mut figures, 50, 200)).context("the figures of AWS")?;
    }
    if only.contains(&Part::Speaker) {
        failover::measure(&mut figures, kills).context("the speaker's figures")?;
    }
    if only.contains(&Part::Detector) {
        detector::measure(&mut figures).context("the detector's figures")?;
    }
    if only.contains(&Part::Arp) {
        arp::measure(&mut figures).context("the figures of ARP")?;
    }
    if only.contains(&Part::Rivals) {
        rivals::measure(&mut figures, kills).context("failover beside keepalived")?;
    }
    println!("{}", figures.table());
    println!("{}", figures.json()?);
    if let Some(directory) = docs {
        docs::write(&directory, &figures)?;
    }
    Ok(())
}
