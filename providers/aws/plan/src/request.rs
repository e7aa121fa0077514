//! What a Service's annotations ask for, parsed once. [`Request::parse`] is in `annotations.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

use crate::{AddressType, Alpn, HealthProtocol, Map, Scheme, TargetGroupArn, TargetPort, TargetType};

/// Everything that a Service may ask of its load balancer, with the defaults filled in that depend on nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `aws-load-balancer-name`; `None` generates one.
    pub name: Option<String>,
    /// `aws-load-balancer-scheme`, or `aws-load-balancer-internal`.
    pub scheme: Option<Scheme>,
    /// `aws-load-balancer-ip-address-type`.
    pub address_type: AddressType,
    /// `aws-load-balancer-nlb-target-type`, type `nlb-ip`, or the default of the settings.
    pub target_type: TargetType,
    /// `aws-load-balancer-subnets`: ids or values of the tag `Name`; empty discovers.
    pub subnets: Vec<String>,
    /// `aws-load-balancer-eip-allocations`.
    pub eip_allocations: Vec<String>,
    /// `aws-load-balancer-private-ipv4-addresses`.
    pub private_ipv4: Vec<Ipv4Addr>,
    /// `aws-load-balancer-ipv6-addresses`.
    pub ipv6: Vec<Ipv6Addr>,
    /// `aws-load-balancer-enable-prefix-for-ipv6-source-nat` is `on`.
    pub source_nat: bool,
    /// `aws-load-balancer-source-nat-ipv6-prefixes`: `auto_assigned` or a /80.
    pub source_nat_prefixes: Vec<String>,
    /// `spec.loadBalancerSourceRanges`, or `load-balancer-source-ranges`; empty is everybody unless prefix lists are given.
    pub source_ranges: Vec<IpNet>,
    /// `aws-load-balancer-security-group-prefix-lists`.
    pub prefix_lists: Vec<String>,
    /// `aws-load-balancer-security-groups`: ids or values of the tag `Name`; empty makes one.
    pub security_groups: Vec<String>,
    /// `aws-load-balancer-manage-backend-security-group-rules`.
    pub manage_backend_rules: Option<bool>,
    /// `aws-load-balancer-disable-nlb-sg`.
    pub without_security_groups: bool,
    /// `aws-load-balancer-inbound-sg-rules-on-private-link-traffic`: `on` or `off`.
    pub private_link_rules: Option<String>,
    /// `aws-load-balancer-enable-icmp-for-path-mtu-discovery` is `on`.
    pub icmp_path_mtu: bool,
    /// `aws-load-balancer-attributes` and the older annotations that win over it.
    pub attributes: Map,
    /// `aws-load-balancer-minimum-load-balancer-capacity`.
    pub capacity_units: Option<i32>,
    /// `aws-load-balancer-target-group-attributes`.
    pub target_group_attributes: Map,
    /// `aws-load-balancer-target-group-attributes.<port>`, by Service port.
    pub target_group_attributes_by_port: BTreeMap<u16, Map>,
    /// `aws-load-balancer-proxy-protocol` and `…-per-target-group`.
    pub proxy_protocol: ProxyProtocol,
    /// `aws-load-balancer-target-node-labels`.
    pub node_labels: Map,
    /// `aws-load-balancer-healthcheck-*`.
    pub health_check: HealthCheckRequest,
    /// `aws-load-balancer-ssl-*`; `None` without certificates.
    pub tls: Option<TlsRequest>,
    /// `aws-load-balancer-backend-protocol` is `ssl`.
    pub backend_tls: bool,
    /// `aws-load-balancer-alpn-policy`.
    pub alpn: Alpn,
    /// `aws-load-balancer-listener-attributes.<PROTO>-<port>`.
    pub listener_attributes: BTreeMap<(String, u16), Map>,
    /// `actions.<PROTO>-<port>`, by protocol and port of the listener.
    pub actions: BTreeMap<(String, u16), Action>,
    /// `aws-load-balancer-enable-tcp-udp-listener`; `None` leaves it to the settings.
    pub merge_tcp_udp: Option<bool>,
    /// `aws-load-balancer-quic-enabled-ports`.
    pub quic_ports: Vec<String>,
    /// `aws-load-balancer-multi-cluster-target-group`: other clusters register targets in the Service's target groups too.
    pub shared_target_groups: bool,
    /// `aws-load-balancer-additional-resource-tags`.
    pub tags: Map,
    /// `landfall.dev/aws-adopt-load-balancer`: ARN or name of one that exists.
    pub adopt: Option<String>,
    /// `landfall.dev/aws-replace: create-before-delete`: where a load balancer must be replaced, the new one serves first.
    pub create_before_delete: bool,
}

/// `actions.<PROTO>-<port>`: how a listener's traffic is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// `baseServiceWeight`: that of the Service itself.
    pub base: u16,
    /// `targetGroups`.
    pub others: Vec<Weighted>,
    /// `targetGroupStickinessConfig.enabled`.
    pub sticky: bool,
}

/// One of `targetGroups`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighted {
    /// Which.
    pub to: WeightedTo,
    /// `weight`.
    pub weight: u16,
}

/// Which target group a [`Weighted`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WeightedTo {
    /// `targetGroupARN`: one that somebody else has made.
    Group(TargetGroupArn),
    /// That of another Service of the namespace.
    Service {
        /// `serviceName`.
        name: Box<str>,
        /// `servicePort`: number or name.
        port: TargetPort,
        /// `decrypt`: a TLS listener passes traffic on as TCP.
        decrypt: bool,
    },
}

/// Which target groups speak proxy protocol version 2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// What the attributes say.
    #[default]
    Unset,
    /// All.
    All,
    /// Those of these Service ports, and no others.
    Ports(BTreeSet<u16>),
}

/// `aws-load-balancer-healthcheck-*`; `None` takes the default of the traffic policy and the target type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthCheckRequest {
    /// `…-protocol`.
    pub protocol: Option<HealthProtocol>,
    /// `…-port`.
    pub port: Option<HealthPort>,
    /// `…-path`.
    pub path: Option<String>,
    /// `…-success-codes`.
    pub success_codes: Option<String>,
    /// `…-interval`, seconds.
    pub interval: Option<i32>,
    /// `…-timeout`, seconds.
    pub timeout: Option<i32>,
    /// `…-healthy-threshold`.
    pub healthy_threshold: Option<i32>,
    /// `…-unhealthy-threshold`.
    pub unhealthy_threshold: Option<i32>,
}

/// `aws-load-balancer-healthcheck-port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthPort {
    /// `traffic-port`.
    Traffic,
    /// A number.
    Number(u16),
    /// The name of a Service port.
    Name(String),
}

/// `aws-load-balancer-ssl-*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsRequest {
    /// `…-cert`: ARNs; the first is the default.
    pub certificates: Vec<String>,
    /// `…-ports`: names or numbers; empty is every port that is not UDP.
    pub ports: Vec<String>,
    /// `…-negotiation-policy`, or the default of the settings.
    pub policy: String,
}
