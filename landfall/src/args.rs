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

    /// Those that concern Services, and all others of its page "Controller configuration options".
    #[test]
    fn every_flag_of_the_aws_load_balancer_controller_is_taken() {
        let used = "--cluster-name=harbor --aws-region=eu-west-1 --aws-vpc-id=vpc-1 --aws-vpc-tags=Name=harbor \
                    --aws-api-endpoints=ec2=http://127.0.0.1:1,sts=http://127.0.0.1:2 --load-balancer-class=x \
                    --default-target-type=ip --default-load-balancer-scheme=internal --default-tags=a=b \
                    --default-ssl-policy=ELBSecurityPolicy-2016-08 --external-managed-tags=a,b \
                    --enable-backend-security-group=1 --backend-security-group=sg-1 --disable-restricted-sg-rules=F \
                    --enable-manage-backend-security-group-rules --enable-pod-readiness-gate-inject=TRUE \
                    --service-target-eni-security-group-tags=a=b --max-targets-per-target-group=9 \
                    --watch-namespace=shop --log-level=debug --kubeconfig=file \
                    --feature-gates=NLBSecurityGroup=1,EnableTCPUDPListener=t,SubnetsClusterTagCheck=TRUE,\
                    SubnetDiscoveryByReachability=true,EndpointsFailOpen=True,EnableIPTargetType=0,\
                    ListenerRulesTagging=f,ServiceTypeLoadBalancerOnly=FALSE,LBCapacityReservation=true,\
                    NLBHealthCheckAdvancedConfig=true,EnableRGTAPI=false,EnableDefaultTagsLowPriority=false,\
                    EnableServiceController=true,WeightedTargetGroups=true";
        let unused = "--service-max-concurrent-reconciles=3 --targetgroupbinding-max-concurrent-reconciles=3 \
                      --targetgroupbinding-max-exponential-backoff-delay=16m40s --targetgroupbinding-requeue-duration=15s \
                      --sync-period=10h --lb-stabilization-monitor-interval=2m --aws-max-retries=10 \
                      --aws-api-throttle=ELBv2:.*=10:40 --enable-leader-election --leader-election-id=x \
                      --leader-election-namespace=x --webhook-bind-port=9443 --webhook-cert-dir=/tmp/certs \
                      --webhook-cert-file=tls.crt --webhook-key-file=tls.key --metrics-bind-addr=:8080 \
                      --health-probe-bind-addr=:61779 --ingress-class=alb --ingress-max-concurrent-reconciles=3 \
                      --aws-vpc-tag-key=Name --allowed-certificate-authority-arns=a --enable-acm-certificates=false \
                      --default-pca-arn=a --disable-ingress-class-annotation --disable-ingress-group-name-annotation \
                      --enable-endpoint-slices=true --enable-shield=false --enable-waf=false --enable-wafv2=false \
                      --globalaccelerator-max-concurrent-reconciles=1 --kube-ca-pem-filepath=file \
                      --globalaccelerator-max-exponential-backoff-delay=1m --tolerate-non-existent-backend-service=true \
                      --tolerate-non-existent-backend-action=true --alb-gateway-max-concurrent-reconciles=3 \
                      --nlb-gateway-max-concurrent-reconciles=3";
        for (line, ignored) in [(used, false), (unused, true)] {
            for flag in line.split_whitespace() {
                let given = ["landfall", "controller", flag];
                let matches =
                    command(|_| false).try_get_matches_from(given).unwrap_or_else(|e| panic!("{e}"));
                let name = flag.trim_start_matches('-').split('=').next().unwrap();
                let expected: &[&str] = if ignored { &[name] } else { &[] };
                assert_eq!(metallb::unused(&matches), expected, "{flag}");
                assert!(Args::from_arg_matches(&matches).is_ok(), "{flag}");
            }
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
