//! The test bed on the command line.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match landfall_testbed::cli::Arguments::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("landfall-testbed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
