//! The Landfall binary: a load balancer for Kubernetes, on metal and in the cloud.

mod args;
mod aws;
mod bgp_type;
mod classes;
mod cleanup;
mod connection;
mod controller;
mod crds;
mod delay;
mod demo;
mod detection;
mod duration;
mod go_flag;
mod log_level;
mod logging;
mod metallb;
mod metrics_access;
mod minority;
mod output;
mod plan;
mod planned_move;
#[cfg(test)]
mod reference;
mod run;
mod speaker;
mod standalone;
mod status;
mod webhooks;

use std::process::ExitCode;

fn main() -> ExitCode {
    let command = match args::parse() {
        Ok(command) => command,
        // Help and version go to standard output with code 0; a wrong call explains itself with code 2.
        Err(error) => error.exit(),
    };
    match command.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("landfall: {}", explain(&error));
            ExitCode::from(2)
        }
    }
}

/// The error with its causes on one line, leaving out causes that the text before them tells already.
fn explain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        said if said.contains(&cause) => text,
        said => format!("{said}: {cause}"),
    })
}
