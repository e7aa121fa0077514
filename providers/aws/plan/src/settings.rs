//! The flags of the controller that change what is planned, named as the AWS Load Balancer Controller names them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Scheme, SecurityGroupId, TargetType};

/// The class that claims a Service (`--load-balancer-class`).
pub const CLASS: &str = "service.k8s.aws/nlb";

/// Settings that hold for every Service of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `--cluster-name`: the value of the cluster tag, and part of every generated name.
    pub cluster: String,
    /// `--aws-vpc-id`, or what was found: where groups are made and subnets are looked for.
    pub vpc: String,
    /// `--watch-namespace`: only its Services are told of. What AWS has for those of others is somebody else's.
    pub namespace: Option<String>,
    /// `--load-balancer-class`.
    pub class: String,
    /// Whether Services of type LoadBalancer without a class and without a legacy annotation are ours (`--default-provider`).
    pub claim_classless: bool,
    /// Gate `ServiceTypeLoadBalancerOnly`: other types are not claimed, whatever their annotations say.
    pub load_balancer_type_only: bool,
    /// `--default-target-type`.
    pub default_target_type: TargetType,
    /// `--default-load-balancer-scheme`.
    pub default_scheme: Scheme,
    /// `--default-ssl-policy`.
    pub default_ssl_policy: String,
    /// `--default-tags`.
    pub default_tags: BTreeMap<String, String>,
    /// `--external-managed-tags`: keys that are left alone.
    pub external_managed_tags: BTreeSet<String>,
    /// Gate `EnableDefaultTagsLowPriority`: annotations win over default tags.
    pub default_tags_low_priority: bool,
    /// `--enable-backend-security-group`.
    pub backend_security_group: bool,
    /// `--backend-security-group`: use this one instead of making one.
    pub backend_security_group_id: Option<SecurityGroupId>,
    /// `--enable-manage-backend-security-group-rules`.
    pub manage_backend_rules: bool,
    /// `--disable-restricted-sg-rules`: rules on nodes and pods open all ports.
    pub unrestricted_backend_rules: bool,
    /// `--service-target-eni-security-group-tags`: tags, beside the cluster's, that mark the group to put rules on.
    pub target_interface_tags: BTreeMap<String, String>,
    /// Gate `NLBSecurityGroup`.
    pub security_groups: bool,
    /// Gate `SubnetsClusterTagCheck`.
    pub subnets_cluster_tag_check: bool,
    /// Gate `SubnetDiscoveryByReachability`.
    pub subnets_by_reachability: bool,
    /// Gate `EndpointsFailOpen`: with no Ready node, nodes of unknown state serve.
    pub endpoints_fail_open: bool,
    /// Gate `EnableIPTargetType`.
    pub ip_targets: bool,
    /// Gate `NLBHealthCheckAdvancedConfig`: success codes and timeout are honoured.
    pub advanced_health_checks: bool,
    /// Gate `ListenerRulesTagging`: listeners carry tags.
    pub tag_listeners: bool,
    /// Gate `EnableTCPUDPListener`: TCP and UDP on one number share a listener even where the annotation does not ask.
    pub merge_tcp_udp: bool,
    /// `--max-targets-per-target-group`; 0 is no limit.
    pub max_targets: usize,
}

impl Settings {
    /// The defaults of every flag for a cluster and a VPC.
    #[must_use]
    pub fn new(cluster: &str, vpc: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            vpc: vpc.to_owned(),
            namespace: None,
            class: CLASS.to_owned(),
            claim_classless: false,
            load_balancer_type_only: false,
            default_target_type: TargetType::Instance,
            default_scheme: Scheme::Internal,
            default_ssl_policy: "ELBSecurityPolicy-2016-08".to_owned(),
            default_tags: BTreeMap::new(),
            external_managed_tags: BTreeSet::new(),
            default_tags_low_priority: false,
            backend_security_group: true,
            backend_security_group_id: None,
            manage_backend_rules: false,
            unrestricted_backend_rules: false,
            target_interface_tags: BTreeMap::new(),
            security_groups: true,
            subnets_cluster_tag_check: true,
            subnets_by_reachability: true,
            endpoints_fail_open: true,
            ip_targets: true,
            advanced_health_checks: true,
            tag_listeners: true,
            merge_tcp_udp: true,
            max_targets: 0,
        }
    }

    /// Whether the Services of this namespace are told of.
    #[must_use]
    pub fn watches(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|only| only == namespace)
    }
}
