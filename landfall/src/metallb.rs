//! What MetalLB's manifests tell their programs, so that they need nothing but another image, and flags of the AWS Load Balancer
//! Controller.

use std::ffi::{OsStr, OsString};

use clap::{Arg, ArgMatches, Command};

/// MetalLB's environment names, which its manifests set, and the argument that each one stands for. The
/// argument's own `LANDFALL_…` name goes first.
pub(crate) const ENVIRONMENT: &[(&str, &str, &str)] = &[
    ("controller", "namespace", "METALLB_NAMESPACE"),
    ("controller", "pod_name", "METALLB_POD_NAME"),
    ("controller", "ml_secret_name", "METALLB_ML_SECRET_NAME"),
    ("controller", "deployment", "METALLB_DEPLOYMENT"),
    ("controller", "bgp_type", "METALLB_BGP_TYPE"),
    ("speaker", "namespace", "METALLB_NAMESPACE"),
    ("speaker", "node_name", "METALLB_NODE_NAME"),
    ("speaker", "pod_name", "METALLB_POD_NAME"),
    ("speaker", "bgp_type", "METALLB_BGP_TYPE"),
    ("speaker", "ml_bindaddr", "METALLB_ML_BIND_ADDR"),
    ("speaker", "ml_bindport", "METALLB_ML_BIND_PORT"),
    ("speaker", "ml_labels", "METALLB_ML_LABELS"),
    ("speaker", "ml_secret_key_path", "METALLB_ML_SECRET_KEY_PATH"),
];

/// Flags of other programs that say nothing here. They are taken, with a warning.
const UNUSED: &[(&str, &[&str])] = &[
    (
        "controller",
        &[
            "pprof-bind-address",
            "tls-cipher-suites",
            "tls-curve-preferences",
            "webhook-http2",
            // Of the AWS Load Balancer Controller.
            "alb-gateway-max-concurrent-reconciles",
            "allowed-certificate-authority-arns",
            "aws-api-throttle",
            "aws-max-retries",
            "aws-vpc-tag-key",
            "default-pca-arn",
            "disable-ingress-class-annotation",
            "disable-ingress-group-name-annotation",
            "enable-acm-certificates",
            "enable-endpoint-slices",
            "enable-leader-election",
            "enable-shield",
            "enable-waf",
            "enable-wafv2",
            "globalaccelerator-max-concurrent-reconciles",
            "globalaccelerator-max-exponential-backoff-delay",
            "health-probe-bind-addr",
            "ingress-class",
            "ingress-max-concurrent-reconciles",
            "kube-ca-pem-filepath",
            "lb-stabilization-monitor-interval",
            "leader-election-id",
            "leader-election-namespace",
            "metrics-bind-addr",
            "nlb-gateway-max-concurrent-reconciles",
            "service-max-concurrent-reconciles",
            "sync-period",
            "targetgroupbinding-max-concurrent-reconciles",
            "targetgroupbinding-max-exponential-backoff-delay",
            "targetgroupbinding-requeue-duration",
            "tolerate-non-existent-backend-action",
            "tolerate-non-existent-backend-service",
            "webhook-bind-port",
            "webhook-cert-dir",
            "webhook-cert-file",
            "webhook-key-file",
        ],
    ),
    (
        "speaker",
        &[
            "bgp-debounce-timeout",
            "frrk8s-namespace",
            "frrk8s-secret-passthrough",
            "host",
            "ml-wan-config",
            "pprof-bind-address",
            "tls-cipher-suites",
            "tls-curve-preferences",
        ],
    ),
];

/// Adds the unused flags, with a value or without, and not shown in the help.
pub(crate) fn with_flags(mut command: Command) -> Command {
    for (subcommand, flags) in UNUSED {
        command = command.mut_subcommand(subcommand, |command| {
            command.args(flags.iter().map(|flag| {
                Arg::new(*flag)
                    .long(*flag)
                    .num_args(0..=1)
                    .value_name("VALUE")
                    .hide(true)
                    .help("Another controller's; unused")
            }))
        });
    }
    command
}

/// The unused flags that were given.
pub(crate) fn unused(matches: &ArgMatches) -> Vec<&'static str> {
    let Some((name, matches)) = matches.subcommand() else { return Vec::new() };
    let flags = UNUSED.iter().filter(|(subcommand, _)| *subcommand == name).flat_map(|(_, flags)| *flags);
    flags.copied().filter(|flag| matches.contains_id(flag)).collect()
}

/// Says which flags were for others only.
pub(crate) fn warn(unused: &[&str]) {
    for flag in unused {
        tracing::warn!(
            op = "start",
            flag,
            "this flag is another controller's and says nothing here; take it out when you can"
        );
    }
}

/// MetalLB has an image for each program, so its manifests name none: what they set in the environment tells which one is
/// meant.
pub(crate) fn with_program(mut arguments: Vec<OsString>, is_set: impl Fn(&str) -> bool) -> Vec<OsString> {
    let asks = |argument: &OsStr| ["-h", "--help", "-V", "--version"].iter().any(|flag| argument == *flag);
    let named =
        arguments.get(1).is_some_and(|first| !first.as_encoded_bytes().starts_with(b"-") || asks(first));
    let program = if is_set("METALLB_NODE_NAME") {
        Some("speaker")
    } else if is_set("METALLB_ML_SECRET_NAME") || is_set("METALLB_DEPLOYMENT") {
        Some("controller")
    } else {
        None
    };
    if let Some(program) = program.filter(|_| !named && !arguments.is_empty()) {
        arguments.insert(1, program.into());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_tells_the_program_where_nothing_else_does() {
        let rows: &[(&[&str], &[&str], &[&str])] = &[
            (&["landfall", "--port=7472"], &["METALLB_NODE_NAME"], &["landfall", "speaker", "--port=7472"]),
            (&["landfall"], &["METALLB_DEPLOYMENT"], &["landfall", "controller"]),
            (
                &["landfall", "--port=7472"],
                &["METALLB_ML_SECRET_NAME"],
                &["landfall", "controller", "--port=7472"],
            ),
            (&["landfall", "status"], &["METALLB_NODE_NAME"], &["landfall", "status"]),
            (&["landfall", "--help"], &["METALLB_NODE_NAME"], &["landfall", "--help"]),
            (&["landfall", "--port=7472"], &[], &["landfall", "--port=7472"]),
            (&[], &["METALLB_NODE_NAME"], &[]),
        ];
        for (arguments, set, expected) in rows {
            let arguments = arguments.iter().map(OsString::from).collect();
            assert_eq!(with_program(arguments, |name| set.contains(&name)), *expected);
        }
    }
}
