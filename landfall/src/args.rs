use std::{env, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::{
    cleanup::CleanupArgs, controller::ControllerArgs, crds::CrdsArgs, demo::DemoArgs,
    log_level::LogLevelArgs, metallb, plan::PlanArgs, planned_move::MoveArgs, speaker::SpeakerArgs,
    standalone::StandaloneArgs, status::StatusArgs,
};

/// A load balancer for Kubernetes clusters on bare metal.
///
/// The controller gives every Service of type LoadBalancer an address; a speaker on each node announces it on
/// the LAN and forwards. The other commands show who has which address, and why.
#[derive(Debug, Parser)]
#[command(name = "landfall", version, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Assign addresses to Services (one Deployment in the cluster)
    Controller(Box<ControllerArgs>),
    /// Announce addresses and forward to endpoints (one on each node)
    Speaker(SpeakerArgs),
    /// Assign, announce and forward without a cluster, from manifests in a directory (one on each machine)
    Standalone(StandaloneArgs),
    /// Show who has which address, and why not
    Status(StatusArgs),
    /// Move the addresses of a Service to a node, without a gap
    Move(MoveArgs),
    /// Show what would be, from manifests alone: whether they are valid, and who gets and announces what
    Plan(PlanArgs),
    /// Show the main job on this machine: real ARP and TCP, a node dies, another takes over (needs root)
    Demo(DemoArgs),
    /// Remove what Landfall left on this node, or in the cluster
    Cleanup(CleanupArgs),
    /// Let a running daemon log more, or as much as before
    LogLevel(LogLevelArgs),
    /// Print the custom resource definitions as YAML
    Crds(CrdsArgs),
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { command } = self;
        match command {
            Command::Controller(args) => args.run(),
            Command::Speaker(args) => args.run(),
            Command::Standalone(args) => args.run(),
            Command::Status(args) => args.run(),
            Command::Move(args) => args.run(),
            Command::Plan(args) => args.run(),
            Command::Demo(args) => args.run(),
            Command::Cleanup(args) => args.run(),
            Command::LogLevel(args) => args.run(),
            Command::Crds(args) => args.run(),
        }
    }
}

/// Parses the command line and the environment.
pub(crate) fn parse() -> Result<Args, clap::Error> {
    // An empty value says nothing, as in MetalLB.
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let arguments = metallb::with_program(env::args_os().collect(), is_set);
    let matches = command(is_set).try_get_matches_from(arguments)?;
    let mut args = Args::from_arg_matches(&matches)?;
    args.command.ignore(metallb::unused(&matches));
    Ok(args)
}

impl Command {
    /// Lets a daemon say which flags were for MetalLB only.
    fn ignore(&mut self, unused: Vec<&'static str>) {
        match self {
            Self::Controller(args) => args.unused = unused,
            Self::Speaker(args) => args.unused = unused,
            Self::Standalone(_)
            | Self::Status(_)
            | Self::Move(_)
            | Self::Plan(_)
            | Self::Demo(_)
            | Self::Cleanup(_)
            | Self::LogLevel(_)
            | Self::Crds(_) => {}
        }
    }
}

/// The command with each argument bound to the environment name that is set, ours before MetalLB's.
fn command(is_set: impl Fn(&str) -> bool) -> clap::Command {
    let mut command = metallb::with_flags(Args::command());
    for &(subcommand, argument, name) in metallb::ENVIRONMENT {
        let ours = format!("LANDFALL_{}", argument.to_uppercase());
        if is_set(name) && !is_set(&ours) {
            command =
                command.mut_subcommand(subcommand, |command| command.mut_arg(argument, |arg| arg.env(name)));
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command(|_| true).debug_assert();
        command(|_| false).debug_assert();
    }

    #[test]
    fn what_is_left_out_has_a_valid_default() {
        for line in [
            &["controller"][..],
            &["speaker", "--node-name", "n1"],
            &["standalone", "-f", "manifests"],
            &["status"],
            &["move", "shop/web"],
            &["demo"],
            &["cleanup"],
            &["cleanup", "cluster"],
            &["crds"],
        ] {
            let parsed = command(|_| false).try_get_matches_from([&["landfall"], line].concat());
            assert!(parsed.is_ok(), "{line:?}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn every_metallb_name_stands_beside_one_of_ours() {
        let command = Args::command();
        for (subcommand, argument, name) in metallb::ENVIRONMENT {
            let subcommand = command.find_subcommand(subcommand).unwrap();
            let argument = subcommand.get_arguments().find(|a| a.get_id() == argument).unwrap();
            let ours = argument.get_env().unwrap().to_str().unwrap();
            assert_eq!(ours, format!("LANDFALL_{}", argument.get_id().as_str().to_uppercase()), "{name}");
        }
    }

    #[test]
    fn every_flag_has_an_environment_name_and_help() {
        for subcommand in Args::command().get_subcommands() {
            for argument in subcommand.get_opts() {
                let name = argument.get_id();
                assert!(argument.get_help().is_some(), "{} {name}", subcommand.get_name());
                if matches!(subcommand.get_name(), "controller" | "speaker" | "standalone") {
                    assert!(argument.get_env().is_some(), "{} {name}", subcommand.get_name());
                }
            }
        }
    }
}
