//! From annotations to a [`Request`]. Every annotation is read here, once; all errors are told at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    AddressType, Alpn, HealthCheckRequest, HealthPort, HealthProtocol, Map, Problem, ProxyProtocol, Request,
    Scheme, Service, Settings, TargetType, TlsRequest, annotations::reader::Reader,
};

mod actions;
mod reader;

pub use reader::go_bool;

/// Prefix of every annotation that AWS load balancer controllers read.
pub const PREFIX: &str = "service.beta.kubernetes.io/";
/// An existing load balancer to use, by ARN or name. Ours.
pub const ADOPT: &str = "landfall.dev/aws-adopt-load-balancer";
/// How a load balancer that cannot be changed is replaced. Ours.
pub const REPLACE: &str = "landfall.dev/aws-replace";

/// A request, and what was odd about the annotations without being wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// What is asked for.
    pub request: Request,
    /// What was odd.
    pub warnings: Vec<Warning>,
}

/// An annotation that is not read by anybody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("annotation {PREFIX}{annotation} is not known and has no effect{}", .nearest.as_ref().map(|name| format!("; did you mean {PREFIX}{name}?")).unwrap_or_default())]
pub struct Warning {
    /// Without its prefix.
    pub annotation: String,
    /// The known annotation with the nearest spelling, if one is near.
    pub nearest: Option<String>,
}

impl Request {
    /// What the Service asks for.
    ///
    /// # Errors
    ///
    /// Every annotation or field that cannot be read, in the order in which they are read.
    pub fn parse(service: &Service, settings: &Settings) -> Result<Parsed, Vec<Problem>> {
        let mut read = Reader::new(&service.annotations);
        let request = Self {
            name: read.checked("aws-load-balancer-name", "use at most 32 characters", |name| {
                (!name.is_empty() && name.chars().count() <= 32).then(|| name.to_owned())
            }),
            scheme: scheme(&mut read),
            address_type: read
                .word("aws-load-balancer-ip-address-type", AddressType::ALL, AddressType::as_str)
                .unwrap_or(AddressType::Ipv4),
            target_type: target_type(&mut read, settings),
            subnets: read.list("aws-load-balancer-subnets"),
            eip_allocations: read.list("aws-load-balancer-eip-allocations"),
            private_ipv4: read.parsed_list("aws-load-balancer-private-ipv4-addresses", "an IPv4 address"),
            ipv6: read.parsed_list("aws-load-balancer-ipv6-addresses", "an IPv6 address"),
            source_nat: read.on("aws-load-balancer-enable-prefix-for-ipv6-source-nat"),
            source_nat_prefixes: read.list("aws-load-balancer-source-nat-ipv6-prefixes"),
            source_ranges: source_ranges(&mut read, service),
            prefix_lists: read.list("aws-load-balancer-security-group-prefix-lists"),
            security_groups: read.list("aws-load-balancer-security-groups"),
            manage_backend_rules: read.bool("aws-load-balancer-manage-backend-security-group-rules"),
            without_security_groups: read.bool("aws-load-balancer-disable-nlb-sg").unwrap_or(false),
            private_link_rules: read.checked(
                "aws-load-balancer-inbound-sg-rules-on-private-link-traffic",
                "use on or off",
                |value| matches!(value, "on" | "off").then(|| value.to_owned()),
            ),
            icmp_path_mtu: read.text("aws-load-balancer-enable-icmp-for-path-mtu-discovery") == Some("on"),
            attributes: attributes(&mut read),
            capacity_units: capacity(&mut read),
            target_group_attributes: target_group_attributes(&mut read),
            target_group_attributes_by_port: target_group_attributes_by_port(&mut read),
            proxy_protocol: proxy_protocol(&mut read),
            node_labels: read.map("aws-load-balancer-target-node-labels"),
            health_check: health_check(&mut read),
            tls: tls(&mut read, settings),
            backend_tls: read.text("aws-load-balancer-backend-protocol") == Some("ssl"),
            alpn: read.word("aws-load-balancer-alpn-policy", Alpn::ALL, Alpn::as_str).unwrap_or(Alpn::None),
            listener_attributes: listener_attributes(&mut read),
            actions: actions::read(&mut read),
            merge_tcp_udp: read.bool("aws-load-balancer-enable-tcp-udp-listener"),
            quic_ports: read.list("aws-load-balancer-quic-enabled-ports"),
            shared_target_groups: read.bool("aws-load-balancer-multi-cluster-target-group").unwrap_or(false),
            tags: tags(&mut read, settings),
            adopt: service.annotations.get(ADOPT).filter(|name| !name.is_empty()).cloned(),
            create_before_delete: create_before_delete(&mut read, service),
        };
        let warnings = read.unknown();
        let problems = read.into_problems();
        if problems.is_empty() { Ok(Parsed { request, warnings }) } else { Err(problems) }
    }
}

/// The deprecated synonym loses to `scheme`.
fn scheme(read: &mut Reader<'_>) -> Option<Scheme> {
    let old = read
        .bool("aws-load-balancer-internal")
        .map(|internal| if internal { Scheme::Internal } else { Scheme::InternetFacing });
    read.word("aws-load-balancer-scheme", Scheme::ALL, Scheme::as_str).or(old)
}

fn target_type(read: &mut Reader<'_>, settings: &Settings) -> TargetType {
    const NAME: &str = "aws-load-balancer-nlb-target-type";
    let asked = read.word(NAME, TargetType::ALL, TargetType::as_str);
    let forced = (read.text("aws-load-balancer-type") == Some("nlb-ip")).then_some(TargetType::Ip);
    let chosen = forced.or(asked).unwrap_or(settings.default_target_type);
    if chosen == TargetType::Ip && !settings.ip_targets {
        read.refuse(NAME, "ip", "use instance: feature gate EnableIPTargetType is off");
    }
    chosen
}

/// The spec wins over the annotation.
fn source_ranges(read: &mut Reader<'_>, service: &Service) -> Vec<ipnet::IpNet> {
    const NAME: &str = "load-balancer-source-ranges";
    let annotated = read.parsed_list(NAME, "a block like 10.0.0.0/8");
    let mut ranges = Vec::new();
    for text in &service.source_ranges {
        match text.trim().parse::<ipnet::IpNet>() {
            Ok(range) => ranges.push(range),
            Err(_) => read.problem(Problem::Conflict(format!(
                "spec.loadBalancerSourceRanges: {text:?} is not a block like 10.0.0.0/8; correct or remove it"
            ))),
        }
    }
    if service.source_ranges.is_empty() { annotated } else { ranges }
}

/// The older annotations win over the map.
fn attributes(read: &mut Reader<'_>) -> Map {
    const NAME: &str = "aws-load-balancer-attributes";
    const ROUTING: &str = "dns_record.client_routing_policy";
    let mut attributes = read.map(NAME);
    let policies =
        ["availability_zone_affinity", "partial_availability_zone_affinity", "any_availability_zone"];
    if let Some(policy) = attributes.get(ROUTING).filter(|policy| !policies.contains(&policy.as_str())) {
        read.refuse(NAME, &format!("{ROUTING}={policy}"), &format!("use one of {}", policies.join(", ")));
    }
    if let Some(enabled) = read.bool("aws-load-balancer-access-log-enabled") {
        attributes.insert("access_logs.s3.enabled".to_owned(), enabled.to_string());
        let bucket = read.text("aws-load-balancer-access-log-s3-bucket-name");
        let prefix = read.text("aws-load-balancer-access-log-s3-bucket-prefix");
        if enabled {
            attributes.insert("access_logs.s3.bucket".to_owned(), bucket.unwrap_or_default().to_owned());
            attributes.insert("access_logs.s3.prefix".to_owned(), prefix.unwrap_or_default().to_owned());
        }
    } else {
        read.seen("aws-load-balancer-access-log-s3-bucket-name");
        read.seen("aws-load-balancer-access-log-s3-bucket-prefix");
    }
    if let Some(enabled) = read.bool("aws-load-balancer-cross-zone-load-balancing-enabled") {
        attributes.insert("load_balancing.cross_zone.enabled".to_owned(), enabled.to_string());
    }
    attributes
}

fn capacity(read: &mut Reader<'_>) -> Option<i32> {
    const NAME: &str = "aws-load-balancer-minimum-load-balancer-capacity";
    const KEY: &str = "CapacityUnits";
    let map = read.map(NAME);
    let units = map.get(KEY).and_then(|units| units.parse::<i32>().ok()).filter(|units| *units >= 0);
    if !map.is_empty() && (units.is_none() || map.len() > 1) {
        read.refuse_as_written(NAME, "use CapacityUnits=<number> and no other key");
    }
    units
}

fn target_group_attributes(read: &mut Reader<'_>) -> Map {
    const NAME: &str = "aws-load-balancer-target-group-attributes";
    let map = read.map(NAME);
    check_preserve(read, NAME, &map);
    map
}

fn target_group_attributes_by_port(read: &mut Reader<'_>) -> BTreeMap<u16, Map> {
    let mut by_port = BTreeMap::new();
    for (name, port) in read.suffixed("aws-load-balancer-target-group-attributes.") {
        let map = read.map(&name);
        check_preserve(read, &name, &map);
        match port.parse::<u16>() {
            Ok(port) => _ = by_port.insert(port, map),
            Err(_) => read.refuse_as_written(&name, "end its name with the number of a Service port"),
        }
    }
    by_port
}

fn check_preserve(read: &mut Reader<'_>, name: &str, map: &Map) {
    if let Some(value) = map.get("preserve_client_ip.enabled").filter(|value| go_bool(value).is_none()) {
        read.refuse(name, value, "use true or false for preserve_client_ip.enabled");
    }
}

fn proxy_protocol(read: &mut Reader<'_>) -> ProxyProtocol {
    const ALL: &str = "aws-load-balancer-proxy-protocol";
    const PORTS: &str = "aws-load-balancer-proxy-protocol-per-target-group";
    let all =
        read.checked(ALL, "the only value currently supported is *", |value| (value == "*").then_some(()));
    let ports: Vec<u16> = read.parsed_list(PORTS, "the number of a Service port");
    match (all, read.text(PORTS)) {
        (Some(()), _) => ProxyProtocol::All,
        (None, Some(_)) => ProxyProtocol::Ports(ports.into_iter().collect::<BTreeSet<_>>()),
        (None, None) => ProxyProtocol::Unset,
    }
}

fn health_check(read: &mut Reader<'_>) -> HealthCheckRequest {
    HealthCheckRequest {
        protocol: read.checked(
            "aws-load-balancer-healthcheck-protocol",
            "unsupported health check protocol; use tcp, http or https",
            |value| HealthProtocol::parse(&value.to_ascii_uppercase()),
        ),
        port: read.checked(
            "aws-load-balancer-healthcheck-port",
            "use traffic-port, a port number or the name of a Service port",
            |value| match value {
                "" | "0" => None,
                "traffic-port" => Some(HealthPort::Traffic),
                number if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                    number.parse().ok().map(HealthPort::Number)
                }
                name => Some(HealthPort::Name(name.to_owned())),
            },
        ),
        path: read.text("aws-load-balancer-healthcheck-path").map(str::to_owned),
        success_codes: read.text("aws-load-balancer-healthcheck-success-codes").map(str::to_owned),
        interval: read.int("aws-load-balancer-healthcheck-interval"),
        timeout: read.int("aws-load-balancer-healthcheck-timeout"),
        healthy_threshold: read.int("aws-load-balancer-healthcheck-healthy-threshold"),
        unhealthy_threshold: read.int("aws-load-balancer-healthcheck-unhealthy-threshold"),
    }
}

fn tls(read: &mut Reader<'_>, settings: &Settings) -> Option<TlsRequest> {
    let certificates = read.list("aws-load-balancer-ssl-cert");
    let ports = read.list("aws-load-balancer-ssl-ports");
    let policy =
        read.text("aws-load-balancer-ssl-negotiation-policy").unwrap_or(&settings.default_ssl_policy);
    (!certificates.is_empty()).then(|| TlsRequest { certificates, ports, policy: policy.to_owned() })
}

fn listener_attributes(read: &mut Reader<'_>) -> BTreeMap<(String, u16), Map> {
    let mut by_listener = BTreeMap::new();
    for (name, suffix) in read.suffixed("aws-load-balancer-listener-attributes.") {
        let map = read.map(&name);
        match listener_key(&suffix) {
            Some(key) => _ = by_listener.insert(key, map),
            None => read.refuse_as_written(&name, "end its name with a protocol and a port, like TCP-443"),
        }
    }
    by_listener
}

fn tags(read: &mut Reader<'_>, settings: &Settings) -> Map {
    const NAME: &str = "aws-load-balancer-additional-resource-tags";
    let tags = read.map(NAME);
    for key in tags.keys().filter(|key| settings.external_managed_tags.contains(*key)) {
        read.refuse(
            NAME,
            key,
            "external managed tag key cannot be specified: it is in --external-managed-tags",
        );
    }
    tags
}

fn create_before_delete(read: &mut Reader<'_>, service: &Service) -> bool {
    let value = service.annotations.get(REPLACE).map(String::as_str);
    if let Some(other) =
        value.filter(|value| !["create-before-delete", "delete-before-create"].contains(value))
    {
        read.problem(Problem::Conflict(format!(
            "annotation {REPLACE}: {other:?} is not allowed: use create-before-delete or delete-before-create"
        )));
    }
    value == Some("create-before-delete")
}

/// A listener's protocol and port, like `TCP-443`.
fn listener_key(suffix: &str) -> Option<(String, u16)> {
    let (protocol, port) = suffix.rsplit_once('-')?;
    Some((protocol.to_owned(), port.parse().ok()?))
}
