//! The flags of cloud load balancers: those of the AWS Load Balancer Controller that concern Services, and a few of ours.

use std::{collections::BTreeMap, time::Duration};

use clap::{
    Args, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use landfall_aws_plan::{CLASS, Rhythm, Scheme, Settings, TargetType, go_bool};

use crate::go_flag::GoFlag as _;

/// Who makes load balancers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Provider {
    /// Addresses from pools, which speakers announce.
    Pool,
    /// Network Load Balancers of AWS.
    Aws,
}

/// What becomes of AWS objects whose Service is gone without having been released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Garbage {
    /// They are counted in a metric and stay.
    Report,
    /// They are deleted once they were seen in two listings and for five minutes.
    Delete,
}

/// One of the words that AWS knows.
fn word<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let words = PossibleValuesParser::new(all.iter().map(|one| name(*one)));
    words.try_map(move |text| {
        all.iter().copied().find(|one| name(*one) == text).ok_or("nobody knows this word")
    })
}

/// Load balancers of AWS, with `--provider aws`.
#[derive(Clone, Debug, Args)]
pub(crate) struct AwsArgs {
    /// Who makes load balancers, with commas between several
    #[arg(
        long,
        env = "LANDFALL_PROVIDER",
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "pool"
    )]
    provider: Vec<Provider>,

    /// Whose the Services without a class are [default: pool, if --provider names it]
    #[arg(long, env = "LANDFALL_DEFAULT_PROVIDER", value_name = "NAME")]
    default_provider: Option<Provider>,

    /// Name of the cluster, in the tags and names of all that is made in AWS; needed with --provider aws
    #[arg(long, env = "LANDFALL_CLUSTER_NAME", value_name = "NAME")]
    cluster_name: Option<String>,

    /// Region of AWS [env: AWS_REGION] [default: that of the nodes, else of instance metadata]
    #[arg(long, env = "LANDFALL_AWS_REGION", value_name = "REGION")]
    aws_region: Option<String>,

    /// VPC of the cluster [default: that of --aws-vpc-tags, else of the nodes' instances, else of instance metadata]
    #[arg(long, env = "LANDFALL_AWS_VPC_ID", value_name = "ID")]
    aws_vpc_id: Option<String>,

    /// Tags of the VPC, where its id is not told
    #[arg(long, env = "LANDFALL_AWS_VPC_TAGS", value_name = "KEY=VALUE,…", value_parser = pairs)]
    aws_vpc_tags: Option<BTreeMap<String, String>>,

    /// Endpoints that replace those of the region
    #[arg(
        long,
        env = "LANDFALL_AWS_API_ENDPOINTS",
        value_name = "SERVICE=URL,…",
        default_value = "",
        hide_default_value = true
    )]
    aws_api_endpoints: String,

    /// Give load balancers of AWS only to Services of this namespace; addresses from pools are not concerned [default: of all]
    #[arg(long, env = "LANDFALL_WATCH_NAMESPACE", value_name = "NAME")]
    watch_namespace: Option<String>,

    /// Class of the Services that get a load balancer of AWS
    #[arg(long, env = "LANDFALL_LOAD_BALANCER_CLASS", value_name = "CLASS", default_value = CLASS)]
    load_balancer_class: String,

    /// Targets of Services that name none
    #[arg(
        long,
        env = "LANDFALL_DEFAULT_TARGET_TYPE",
        value_name = "TYPE",
        default_value = "instance",
        value_parser = word(TargetType::ALL, TargetType::as_str)
    )]
    default_target_type: TargetType,

    /// Scheme of load balancers whose Service names none
    #[arg(
        long,
        env = "LANDFALL_DEFAULT_LOAD_BALANCER_SCHEME",
        value_name = "SCHEME",
        default_value = "internal",
        value_parser = word(Scheme::ALL, Scheme::as_str)
    )]
    default_load_balancer_scheme: Scheme,

    /// Security policy of TLS listeners whose Service names none
    #[arg(
        long,
        env = "LANDFALL_DEFAULT_SSL_POLICY",
        value_name = "POLICY",
        default_value = "ELBSecurityPolicy-2016-08"
    )]
    default_ssl_policy: String,

    /// Tags of everything that is made
    #[arg(long, env = "LANDFALL_DEFAULT_TAGS", value_name = "KEY=VALUE,…", value_parser = pairs)]
    default_tags: Option<BTreeMap<String, String>>,

    /// Tags that somebody else writes, which are left alone
    #[arg(long, env = "LANDFALL_EXTERNAL_MANAGED_TAGS", value_name = "KEY,…", value_delimiter = ',')]
    external_managed_tags: Vec<String>,

    /// Make one security group that nodes and pods let in, for all load balancers
    #[arg(long, env = "LANDFALL_ENABLE_BACKEND_SECURITY_GROUP", go_bool(), default_value_t = true)]
    enable_backend_security_group: bool,

    /// Use this security group for that instead of making one
    #[arg(long, env = "LANDFALL_BACKEND_SECURITY_GROUP", value_name = "ID")]
    backend_security_group: Option<String>,

    /// Write rules on the groups of nodes and pods also for load balancers whose groups the Service names
    #[arg(
        long,
        env = "LANDFALL_ENABLE_MANAGE_BACKEND_SECURITY_GROUP_RULES",
        go_bool(),
        default_value_t = false
    )]
    enable_manage_backend_security_group_rules: bool,

    /// Let those rules open all ports instead of the range in use
    #[arg(long, env = "LANDFALL_DISABLE_RESTRICTED_SG_RULES", go_bool(), default_value_t = false)]
    disable_restricted_sg_rules: bool,

    /// Tags that mark, beside the cluster's, the group of an interface that rules are written on
    #[arg(
        long,
        env = "LANDFALL_SERVICE_TARGET_ENI_SECURITY_GROUP_TAGS",
        value_name = "KEY=VALUE,…",
        value_parser = pairs
    )]
    service_target_eni_security_group_tags: Option<BTreeMap<String, String>>,

    /// Give new Pods readiness gates, in namespaces with the label elbv2.k8s.aws/pod-readiness-gate-inject=enabled; needs webhooks
    #[arg(long, env = "LANDFALL_ENABLE_POD_READINESS_GATE_INJECT", go_bool(), default_value_t = true)]
    enable_pod_readiness_gate_inject: bool,

    /// Most targets of a target group; 0 is no limit
    #[arg(long, env = "LANDFALL_MAX_TARGETS_PER_TARGET_GROUP", value_name = "COUNT", default_value_t = 0)]
    max_targets_per_target_group: usize,

    /// Gates of the AWS Load Balancer Controller; those that do not concern Services say nothing here
    #[arg(long, env = "LANDFALL_FEATURE_GATES", value_name = "GATE=BOOL,…", value_parser = gates)]
    feature_gates: Option<BTreeMap<String, bool>>,

    /// Seconds between complete listings of AWS, the same few calls for any number of Services
    #[arg(
        long,
        env = "LANDFALL_AWS_LIST_SECONDS",
        value_name = "SECONDS",
        default_value_t = 120,
        value_parser = clap::value_parser!(u64).range(10..=3600)
    )]
    aws_list_seconds: u64,

    /// Minutes in which every load balancer is compared in full once: how long a change by hand may last
    #[arg(
        long,
        env = "LANDFALL_AWS_AUDIT_MINUTES",
        value_name = "MINUTES",
        default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=1440)
    )]
    aws_audit_minutes: u64,

    /// What becomes of AWS objects whose Service is gone without having been released
    #[arg(long, env = "LANDFALL_AWS_GARBAGE", value_name = "MODE", default_value = "report")]
    aws_garbage: Garbage,
}

/// What the flags say.
#[cfg_attr(not(feature = "aws"), expect(dead_code, reason = "only read to say that this binary has no AWS"))]
pub(crate) struct Cloud {
    pub(crate) plan: Settings,
    pub(crate) rhythm: Rhythm,
    pub(crate) region: Option<String>,
    pub(crate) vpc: Option<String>,
    pub(crate) vpc_tags: BTreeMap<String, String>,
    pub(crate) endpoints: String,
    pub(crate) gates: bool,
}

impl AwsArgs {
    /// Whether addresses are handed out from pools.
    pub(crate) fn pools(&self) -> bool {
        self.provider.contains(&Provider::Pool)
    }

    /// Whether Services without a class are for AWS.
    pub(crate) fn takes_unclassed(&self) -> bool {
        self.default_provider == Some(Provider::Aws)
    }

    /// What is asked of AWS, if anything is.
    pub(crate) fn cloud(self) -> anyhow::Result<Option<Cloud>> {
        if let Some(default) = self.default_provider
            && !self.provider.contains(&default)
        {
            anyhow::bail!("--default-provider names one that --provider does not: add it there");
        }
        if !self.provider.contains(&Provider::Aws) {
            return Ok(None);
        }
        let claim_classless = self.takes_unclassed();
        let name = self.cluster_name.filter(|name| !name.is_empty());
        let Some(cluster) = name else {
            anyhow::bail!(
                "--provider aws needs --cluster-name: it tells the load balancers of this cluster from those of others"
            );
        };
        let gates = self.feature_gates.unwrap_or_default();
        let gate = |name: &str, default: bool| gates.get(name).copied().unwrap_or(default);
        let defaults = Settings::new(&cluster, "");
        let plan = Settings {
            namespace: self.watch_namespace.filter(|name| !name.is_empty()),
            class: self.load_balancer_class,
            claim_classless,
            load_balancer_type_only: gate("ServiceTypeLoadBalancerOnly", defaults.load_balancer_type_only),
            default_target_type: self.default_target_type,
            default_scheme: self.default_load_balancer_scheme,
            default_ssl_policy: self.default_ssl_policy,
            default_tags: self.default_tags.unwrap_or_default(),
            external_managed_tags: self.external_managed_tags.into_iter().collect(),
            default_tags_low_priority: gate(
                "EnableDefaultTagsLowPriority",
                defaults.default_tags_low_priority,
            ),
            backend_security_group: self.enable_backend_security_group,
            backend_security_group_id: self.backend_security_group.as_deref().map(Into::into),
            manage_backend_rules: self.enable_manage_backend_security_group_rules,
            unrestricted_backend_rules: self.disable_restricted_sg_rules,
            target_interface_tags: self.service_target_eni_security_group_tags.unwrap_or_default(),
            security_groups: gate("NLBSecurityGroup", defaults.security_groups),
            subnets_cluster_tag_check: gate("SubnetsClusterTagCheck", defaults.subnets_cluster_tag_check),
            subnets_by_reachability: gate("SubnetDiscoveryByReachability", defaults.subnets_by_reachability),
            endpoints_fail_open: gate("EndpointsFailOpen", defaults.endpoints_fail_open),
            ip_targets: gate("EnableIPTargetType", defaults.ip_targets),
            advanced_health_checks: gate("NLBHealthCheckAdvancedConfig", defaults.advanced_health_checks),
            tag_listeners: gate("ListenerRulesTagging", defaults.tag_listeners),
            merge_tcp_udp: gate("EnableTCPUDPListener", defaults.merge_tcp_udp),
            max_targets: self.max_targets_per_target_group,
            ..defaults
        };
        Ok(Some(Cloud {
            plan,
            rhythm: Rhythm {
                listing: Duration::from_secs(self.aws_list_seconds),
                audit: Duration::from_mins(self.aws_audit_minutes),
                collect_garbage: self.aws_garbage == Garbage::Delete,
            },
            region: self.aws_region,
            vpc: self.aws_vpc_id,
            vpc_tags: self.aws_vpc_tags.unwrap_or_default(),
            endpoints: self.aws_api_endpoints,
            gates: self.enable_pod_readiness_gate_inject,
        }))
    }
}

#[cfg(not(feature = "aws"))]
impl Cloud {
    /// There is no provider.
    pub(crate) fn settings(self, _: &str, _: &str) -> anyhow::Result<landfall_controller::Cloud> {
        anyhow::bail!(
            "this binary was built without AWS: take the image, or build it without --no-default-features"
        );
    }
}

#[cfg(feature = "aws")]
impl Cloud {
    /// What the provider needs to know.
    pub(crate) fn settings(
        self,
        namespace: &str,
        pod_name: &str,
    ) -> anyhow::Result<landfall_controller::Cloud> {
        use landfall_controller::aws;
        Ok(aws::Settings {
            plan: self.plan,
            rhythm: self.rhythm,
            gates: self.gates,
            options: aws::Options {
                region: self.region,
                vpc: self.vpc,
                vpc_tags: self.vpc_tags,
                endpoints: self
                    .endpoints
                    .parse()
                    .map_err(|error| anyhow::anyhow!("--aws-api-endpoints: {error}"))?,
            },
            namespace: namespace.to_owned(),
            pod_name: pod_name.to_owned(),
        })
    }
}

/// `KEY=VALUE` pairs with commas between.
fn pairs(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut pairs = BTreeMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("{pair:?} is not KEY=VALUE"))?;
        pairs.insert(key.trim().to_owned(), value.trim().to_owned());
    }
    Ok(pairs)
}

/// `GATE=BOOL` pairs with commas between.
fn gates(text: &str) -> Result<BTreeMap<String, bool>, String> {
    let gate = |(name, value): (String, String)| {
        let on =
            go_bool(&value).ok_or_else(|| format!("{name}={value}: write {name}=true or {name}=false"))?;
        Ok((name, on))
    };
    pairs(text)?.into_iter().map(gate).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        aws: AwsArgs,
    }

    fn parse(line: &str) -> AwsArgs {
        Command::try_parse_from(format!("x {line}").split_whitespace()).unwrap().aws
    }

    fn cloud(line: &str) -> Result<Option<Cloud>, String> {
        parse(line).cloud().map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_word_there_are_only_pools() {
        assert!(parse("").pools() && cloud("").unwrap().is_none());
        assert!(cloud("--provider aws").err().unwrap().contains("--cluster-name"));
        assert!(cloud("--default-provider aws").err().unwrap().contains("--provider"));
    }

    #[test]
    fn aws_has_the_services_without_a_class_only_on_request() {
        for (line, aws) in [
            ("--provider pool,aws --cluster-name x", false),
            ("--provider aws --cluster-name x", false),
            ("--provider pool,aws --default-provider aws --cluster-name x", true),
            ("--provider aws --default-provider aws --cluster-name x", true),
        ] {
            assert_eq!(cloud(line).unwrap().unwrap().plan.claim_classless, aws, "{line}");
        }
    }

    #[test]
    fn flags_of_the_other_controller_mean_the_same() {
        let line = "--provider aws --cluster-name harbor --aws-region eu-west-1 --aws-vpc-id vpc-1 \
                    --default-target-type=ip --default-load-balancer-scheme=internet-facing --default-tags=a=b,c=d \
                    --feature-gates=EnableIPTargetType=false,SomethingElse=true --enable-backend-security-group=false \
                    --watch-namespace=shop";
        let cloud = cloud(line).unwrap().unwrap();
        assert_eq!(cloud.plan.default_target_type, TargetType::Ip);
        assert_eq!(cloud.plan.default_scheme, Scheme::InternetFacing);
        assert_eq!(cloud.plan.default_tags["c"], "d");
        assert!(cloud.plan.watches("shop") && !cloud.plan.watches("other"));
        assert!(!cloud.plan.ip_targets && !cloud.plan.backend_security_group && cloud.plan.security_groups);
        assert_eq!((cloud.region.as_deref(), cloud.vpc.as_deref()), (Some("eu-west-1"), Some("vpc-1")));
    }

    #[test]
    fn an_empty_namespace_is_all_of_them() {
        let plan = cloud("--provider aws --cluster-name x --watch-namespace=").unwrap().unwrap().plan;
        assert!(plan.watches("shop") && plan.watches("other"));
    }

    #[test]
    fn wrong_pairs_are_refused() {
        assert!(pairs("a").is_err() && pairs("=b").is_err());
        assert_eq!(gates("A=perhaps").unwrap_err(), "A=perhaps: write A=true or A=false");
        let read = gates("A=1,B=t,C=TRUE,D=0,E=False").unwrap();
        assert_eq!(read.into_values().collect::<Vec<_>>(), [true, true, true, false, false]);
    }
}
