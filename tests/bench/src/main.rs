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

use anyhow::ensure;
use clap::Parser;
use tokio::runtime::Runtime;

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

    fn measure(self, figures: &mut Figures, args: &Args, runtime: &Runtime) -> anyhow::Result<()> {
        match self {
            Self::Allocation => allocation::measure(figures),
            Self::Controller => runtime.block_on(controller::measure(figures, args.services, args.growth)),
            Self::Aws => runtime.block_on(aws::measure(figures, 50, 200)),
            Self::Speaker => failover::measure(figures, args.kills),
            Self::Detector => detector::measure(figures),
            Self::Arp => arp::measure(figures),
            Self::Rivals => rivals::measure(figures, args.kills),
        }
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut figures = Figures::default();
    size::measure(&mut figures)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // Many minutes were spent on the parts before: one that ends early does not take their figures along.
    let mut failed = Vec::new();
    for part in Part::ALL.into_iter().filter(|part| args.only.contains(part)) {
        if let Err(error) = part.measure(&mut figures, &args, &runtime) {
            eprintln!("{part:?} ended early: {error:#}");
            failed.push(format!("{part:?}"));
        }
    }
    println!("{}", figures.table());
    println!("{}", figures.json()?);
    if let Some(directory) = args.docs {
        docs::write(&directory, &figures)?;
    }
    ensure!(failed.is_empty(), "these parts ended early, and their rows are missing: {}", failed.join(", "));
    Ok(())
}
