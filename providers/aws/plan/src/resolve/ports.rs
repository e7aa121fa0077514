//! Ports to listeners and target groups.

use std::collections::{BTreeMap, BTreeSet};

use landfall_model::{Family, Protocol};

use super::{Unresolved, health, shares};
use crate::{
    AddressType, Alpn, Backends, CreateTargetGroup, HealthCheck, ListenerProtocol, Map, Problem,
    ProxyProtocol, Request, Scheme, Service, ServicePort, ServiceType, Settings, TargetFamily, TargetPort,
    TargetType, WantedForward, WantedListener, WantedTargetGroup, names, tags,
};

/// What all ports of a Service share.
pub(super) struct Context<'a> {
    pub(super) service: &'a Service,
    pub(super) request: &'a Request,
    pub(super) settings: &'a Settings,
    pub(super) address_type: AddressType,
    pub(super) scheme: Scheme,
    /// The Services that weighted actions name; `None` leaves them out.
    pub(super) backends: Option<&'a Backends>,
}

/// One listener's port: a Service port, or two of TCP and UDP that share a number.
pub(super) struct Merged<'a> {
    pub(super) port: &'a ServicePort,
    pub(super) protocol: ListenerProtocol,
}

/// One element per port number, in order.
pub(super) fn merge<'a>(
    service: &'a Service,
    request: &Request,
    settings: &Settings,
) -> Result<Vec<Merged<'a>>, Unresolved> {
    let mut by_number: BTreeMap<u16, Vec<&ServicePort>> = BTreeMap::new();
    for port in &service.ports {
        by_number.entry(port.port).or_default().push(port);
    }
    let mut problems = unused_names(
        "aws-load-balancer-ssl-ports",
        service,
        request.tls.as_ref().map_or(&[], |tls| &tls.ports),
    );
    problems.extend(unused_names("aws-load-balancer-quic-enabled-ports", service, &request.quic_ports));
    let mut merged = Vec::new();
    for ports in by_number.values() {
        match protocol(ports, request, settings) {
            Ok(protocol) => merged.push(Merged { port: ports[0], protocol }),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(merged) } else { Err(Unresolved::Problems(problems)) }
}

fn unused_names(annotation: &str, service: &Service, names: &[String]) -> Vec<Problem> {
    let unused = names.iter().filter(|name| !service.ports.iter().any(|port| is(port, name)));
    let problem = |name: &String| Problem::Annotation {
        annotation: annotation.to_owned(),
        value: name.clone(),
        allowed: format!(
            "Unused port in {} annotation; name a port of the Service by name or number",
            annotation.trim_start_matches("aws-load-balancer-")
        ),
    };
    unused.map(problem).collect()
}

fn is(port: &ServicePort, name: &str) -> bool {
    *port.name == *name || port.port.to_string() == name
}

fn protocol(
    ports: &[&ServicePort],
    request: &Request,
    settings: &Settings,
) -> Result<ListenerProtocol, Problem> {
    let refuse = |text: &str| Problem::Port { port: ports[0].port, text: text.to_owned() };
    let tls = |port: &ServicePort| {
        request
            .tls
            .as_ref()
            .is_some_and(|tls| tls.ports.is_empty() || tls.ports.iter().any(|name| is(port, name)))
    };
    let quic = ports.iter().any(|port| request.quic_ports.iter().any(|name| is(port, name)));
    match ports {
        [port] => match port.protocol {
            Protocol::Tcp if quic => Err(refuse(
                "QUIC runs over UDP; make the port UDP or remove it from aws-load-balancer-quic-enabled-ports",
            )),
            Protocol::Tcp if tls(port) => Ok(ListenerProtocol::Tls),
            Protocol::Tcp => Ok(ListenerProtocol::Tcp),
            Protocol::Udp if quic => Ok(ListenerProtocol::Quic),
            Protocol::Udp => Ok(ListenerProtocol::Udp),
            Protocol::Sctp => Err(refuse("a Network Load Balancer does not speak SCTP; use TCP or UDP")),
        },
        [one, two]
            if one.protocol != two.protocol
                && one.protocol != Protocol::Sctp
                && two.protocol != Protocol::Sctp =>
        {
            if !request.merge_tcp_udp.unwrap_or(settings.merge_tcp_udp) {
                return Err(refuse(
                    "TCP and UDP on one number need a merged listener; set aws-load-balancer-enable-tcp-udp-listener: \"true\"",
                ));
            }
            if ports.iter().any(|port| port.protocol == Protocol::Tcp && tls(port)) {
                return Err(refuse(
                    "TLS and UDP cannot share a number; move one of them or leave it out of aws-load-balancer-ssl-ports",
                ));
            }
            let same = match request.target_type {
                TargetType::Instance => one.node_port == two.node_port,
                TargetType::Ip => one.target == two.target,
            };
            match (same, request.target_type) {
                (true, _) => Ok(if quic { ListenerProtocol::TcpQuic } else { ListenerProtocol::TcpUdp }),
                (false, TargetType::Instance) => Err(refuse(
                    "TCP and UDP share a listener but have different nodePorts; give both ports the same nodePort",
                )),
                (false, TargetType::Ip) => Err(refuse(
                    "TCP and UDP share a listener but have different targetPorts; give both ports the same targetPort",
                )),
            }
        }
        _ => Err(refuse("can only merge two ports, one TCP and one UDP; use another number for the others")),
    }
}

/// Target groups by resource, and listeners by port.
type Resolved = (BTreeMap<String, WantedTargetGroup>, BTreeMap<u16, WantedListener>);

/// The target group and the listener of every port.
pub(super) fn resolve(context: &Context<'_>, merged: &[Merged<'_>]) -> Result<Resolved, Unresolved> {
    let Context { service, request, .. } = context;
    let health_check = health::resolve(service, request, context.settings)?;
    let mut problems = Vec::new();
    let family = family(service, context).unwrap_or_else(|problem| {
        problems.push(problem);
        TargetFamily::Ipv4
    });
    problems.extend(shares::unused(context, merged));
    let (mut groups, mut listeners) = (BTreeMap::new(), BTreeMap::new());
    for Merged { port, protocol } in merged {
        let udp = matches!(protocol, ListenerProtocol::Udp | ListenerProtocol::TcpUdp);
        if udp && context.address_type == AddressType::Dualstack && !request.source_nat {
            problems.push(Problem::Port {
                port: port.port,
                text: "UDP on a dual-stack load balancer needs aws-load-balancer-enable-prefix-for-ipv6-source-nat: \"on\"".to_owned(),
            });
        }
        let group_protocol = match protocol {
            ListenerProtocol::Tls if request.backend_tls => ListenerProtocol::Tls,
            ListenerProtocol::Tls => ListenerProtocol::Tcp,
            ListenerProtocol::Tcp
            | ListenerProtocol::Udp
            | ListenerProtocol::TcpUdp
            | ListenerProtocol::Quic
            | ListenerProtocol::TcpQuic => *protocol,
        };
        let of = Source { service, port, protocol: group_protocol, family, health_check: &health_check };
        let resource = of.resource();
        match group(context, &of) {
            Ok(group) => {
                let added = shares::add(&mut groups, &resource, group);
                problems.extend(added.err().map(|text| Problem::Port { port: port.port, text }));
            }
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        }
        let forward = shares::forward(context, port, *protocol, resource, &mut groups);
        let forward = forward.unwrap_or_else(|(own, more)| {
            problems.extend(more);
            own
        });
        listeners.insert(port.port, listener(context, port.port, *protocol, forward));
    }
    if problems.is_empty() { Ok((groups, listeners)) } else { Err(Unresolved::Problems(problems)) }
}

/// What a target group is made of.
pub(super) struct Source<'a> {
    /// Its targets are this Service's.
    pub(super) service: &'a Service,
    pub(super) port: &'a ServicePort,
    pub(super) protocol: ListenerProtocol,
    pub(super) family: TargetFamily,
    pub(super) health_check: &'a HealthCheck,
}

impl Source<'_> {
    pub(super) fn resource(&self) -> String {
        format!("{}:{}", self.service.key, self.port.port)
    }
}

/// The family of a Service's targets.
pub(super) fn family(service: &Service, context: &Context<'_>) -> Result<TargetFamily, Problem> {
    match (service.families.contains(&Family::V6), context.address_type) {
        (true, AddressType::Ipv4) => Err(Problem::Conflict(
            "spec.ipFamilies holds IPv6, but lb not dual-stack: set annotation aws-load-balancer-ip-address-type: dualstack".to_owned(),
        )),
        (true, AddressType::Dualstack) => Ok(TargetFamily::Ipv6),
        (false, _) => Ok(TargetFamily::Ipv4),
    }
}

/// One target group of the stack.
pub(super) fn group(context: &Context<'_>, of: &Source<'_>) -> Result<WantedTargetGroup, Problem> {
    let Context { service: base, request, settings, .. } = context;
    let Source { service, port, protocol, family, health_check } = of;
    let target = target_port(service, request, port)?;
    let name = names::TargetGroupName {
        port: target,
        service_port: port.port,
        target_type: request.target_type,
        protocol: *protocol,
        health_check,
        base: Some(*base).filter(|base| base.key != service.key),
    };
    let mut tags = tags::wanted(settings, base, &request.tags, &of.resource());
    if request.shared_target_groups {
        tags.insert(tags::SHARED.to_owned(), "true".to_owned());
    }
    Ok(WantedTargetGroup {
        of: (service.key.clone(), port.port),
        create: CreateTargetGroup {
            name: names::target_group(&settings.cluster, service, &name),
            protocol: *protocol,
            port: target,
            vpc: settings.vpc.clone(),
            target_type: request.target_type,
            family: *family,
            health_check: (*health_check).clone(),
            tags,
        },
        attributes: attributes(request, port.port),
    })
}

/// The target group's own port: nodePort, numeric targetPort, or 1 where pods differ.
fn target_port(service: &Service, request: &Request, port: &ServicePort) -> Result<u16, Problem> {
    let refuse = |text: &str| Problem::Port { port: port.port, text: text.to_owned() };
    match request.target_type {
        TargetType::Ip => Ok(match port.target {
            TargetPort::Number(number) => number,
            TargetPort::Name(_) => 1,
        }),
        TargetType::Instance if !matches!(service.kind, ServiceType::NodePort | ServiceType::LoadBalancer) => {
            Err(refuse("instance targets need a Service of type NodePort or LoadBalancer; use aws-load-balancer-nlb-target-type: ip"))
        }
        TargetType::Instance => port.node_port.map(|port| port.0).ok_or_else(|| {
            refuse("unallocated NodePort; set spec.allocateLoadBalancerNodePorts: true or aws-load-balancer-nlb-target-type: ip")
        }),
    }
}

/// The base set, the port's own over it (an empty value does not override), proxy protocol over all.
fn attributes(request: &Request, port: u16) -> Map {
    let mut attributes = request.target_group_attributes.clone();
    let own = request.target_group_attributes_by_port.get(&port).into_iter().flatten();
    attributes
        .extend(own.filter(|(_, value)| !value.is_empty()).map(|(key, value)| (key.clone(), value.clone())));
    let proxy = match &request.proxy_protocol {
        ProxyProtocol::Unset => None,
        ProxyProtocol::All => Some(true),
        ProxyProtocol::Ports(ports) => Some(ports.contains(&port)),
    };
    if let Some(enabled) = proxy {
        attributes.insert("proxy_protocol_v2.enabled".to_owned(), enabled.to_string());
    }
    attributes
}

fn listener(
    context: &Context<'_>,
    port: u16,
    protocol: ListenerProtocol,
    forward: WantedForward,
) -> WantedListener {
    let Context { service, request, settings, .. } = context;
    let tls = request.tls.as_ref().filter(|_| protocol == ListenerProtocol::Tls);
    let certificates = tls.map_or(&[][..], |tls| &tls.certificates);
    let attributes = request.listener_attributes.get(&(protocol.as_str().to_owned(), port));
    WantedListener {
        protocol,
        forward,
        certificate: certificates.first().cloned(),
        more_certificates: certificates.iter().skip(1).cloned().collect::<BTreeSet<_>>(),
        ssl_policy: tls.map(|tls| tls.policy.clone()),
        alpn: tls.map(|_| request.alpn).filter(|alpn| *alpn != Alpn::None),
        // What is left out is told by a notice.
        attributes: attributes.filter(|_| protocol.has_attributes()).cloned().unwrap_or_default(),
        tags: if settings.tag_listeners {
            tags::wanted(settings, service, &request.tags, &port.to_string())
        } else {
            Map::new()
        },
    }
}
