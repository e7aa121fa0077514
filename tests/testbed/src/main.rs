//! The test bed on the command line.

use clap::Parser;

fn main() -> anyhow::Result<()> {
    landfall_testbed::cli::Arguments::parse().run()
}
