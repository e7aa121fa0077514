//! Ports, protocols, health checks and attributes of target groups.

use landfall_aws_plan::{
    Alpn, HealthProtocol, ListenerProtocol, ServicePort, ServiceType, TargetFamily, TargetPort, TargetType,
};
use landfall_model::{Family, NodePort, Protocol, TrafficPolicy};

use crate::world::{World, map, port};

fn world(ports: Vec<ServicePort>) -> World {
    let mut world = World::new();
    world.service.ports = ports;
    world
}

fn tcp(number: u16) -> ServicePort {
    port("tcp", Protocol::Tcp, number, 30000 + number)
}

fn udp(number: u16) -> ServicePort {
    port("udp", Protocol::Udp, number, 30000 + number)
}

/// Protocols of the listener and the target group of one port.
fn protocols(world: &mut World, port: u16) -> (ListenerProtocol, ListenerProtocol) {
    let stack = world.stack().unwrap();
    (stack.listeners[&port].protocol, stack.target_groups[&format!("shop/web:{port}")].create.protocol)
}

type Annotations<'a> = &'a [(&'a str, &'a str)];
/// Name, ports, annotations, protocols of the listener and the target group.
type Served<'a> = (&'a str, Vec<ServicePort>, Annotations<'a>, (ListenerProtocol, ListenerProtocol));
/// Ports, annotations, part of the problem.
type Refused<'a> = (Vec<ServicePort>, Annotations<'a>, &'a str);

#[test]
fn each_protocol_has_its_listener_and_target_group() {
    use ListenerProtocol::{Quic, Tcp, TcpQuic, TcpUdp, Tls, Udp};
    let cert = ("aws-load-balancer-ssl-cert", "one");
    let rows: &[Served<'_>] = &[
        ("TCP", vec![tcp(443)], &[], (Tcp, Tcp)),
        ("TCP with a certificate", vec![tcp(443)], &[cert], (Tls, Tcp)),
        (
            "TCP, not of the TLS ports",
            vec![tcp(443), tcp(80)],
            &[cert, ("aws-load-balancer-ssl-ports", "80")],
            (Tcp, Tcp),
        ),
        (
            "TLS to the target",
            vec![tcp(443)],
            &[cert, ("aws-load-balancer-backend-protocol", "ssl")],
            (Tls, Tls),
        ),
        ("UDP", vec![udp(443)], &[cert], (Udp, Udp)),
        ("UDP as QUIC", vec![udp(443)], &[("aws-load-balancer-quic-enabled-ports", "443")], (Quic, Quic)),
        ("TCP and UDP on one number", vec![tcp(443), udp(443)], &[], (TcpUdp, TcpUdp)),
        (
            "TCP and QUIC on one number",
            vec![tcp(443), udp(443)],
            &[("aws-load-balancer-quic-enabled-ports", "udp")],
            (TcpQuic, TcpQuic),
        ),
    ];
    for (row, ports, annotations, expected) in rows {
        let mut world = world(ports.clone());
        annotations.iter().for_each(|(name, value)| _ = world.annotate(name, value));
        assert_eq!(protocols(&mut world, 443), *expected, "{row}");
    }
}

#[test]
fn what_cannot_share_a_number_is_refused_with_the_way_out() {
    let mut other_node_port = udp(80);
    other_node_port.node_port = Some(NodePort(31111));
    let mut other_target = udp(80);
    other_target.target = TargetPort::Number(99);
    let sctp = ServicePort { protocol: Protocol::Sctp, ..tcp(80) };
    let ip = ("aws-load-balancer-nlb-target-type", "ip");
    let cert = ("aws-load-balancer-ssl-cert", "one");
    let rows: &[Refused<'_>] = &[
        (vec![tcp(80), other_node_port], &[], "different nodePorts"),
        (vec![tcp(80), other_target], &[ip], "different targetPorts"),
        (
            vec![tcp(80), udp(80)],
            &[("aws-load-balancer-enable-tcp-udp-listener", "false")],
            "need a merged listener",
        ),
        (vec![tcp(80), udp(80), tcp(80)], &[], "can only merge two ports"),
        (vec![tcp(80), sctp.clone()], &[], "can only merge two ports"),
        (vec![sctp], &[], "does not speak SCTP"),
        (vec![tcp(80), udp(80)], &[cert], "TLS and UDP cannot share a number"),
        (vec![tcp(80)], &[("aws-load-balancer-quic-enabled-ports", "80")], "QUIC runs over UDP"),
        (vec![tcp(80)], &[cert, ("aws-load-balancer-ssl-ports", "*")], "Unused port in ssl-ports annotation"),
        (
            vec![tcp(80)],
            &[cert, ("aws-load-balancer-ssl-ports", "tcp,443")],
            "Unused port in ssl-ports annotation",
        ),
        (
            vec![udp(80)],
            &[("aws-load-balancer-ip-address-type", "dualstack")],
            "enable-prefix-for-ipv6-source-nat",
        ),
    ];
    for (ports, annotations, part) in rows {
        let mut world = world(ports.clone());
        annotations.iter().for_each(|(name, value)| _ = world.annotate(name, value));
        let text = world.problem();
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn instance_targets_need_a_node_port_and_ip_targets_do_not() {
    let mut without = tcp(80);
    without.node_port = None;
    let mut world = world(vec![without]);
    assert!(world.problem().contains("unallocated NodePort"));
    world.annotate("aws-load-balancer-nlb-target-type", "ip");
    let create = world.stack().unwrap().target_groups["shop/web:80"].create.clone();
    assert_eq!((create.target_type, create.port), (TargetType::Ip, 8080));
    world.service.ports[0].target = TargetPort::Name("web".into());
    assert_eq!(world.stack().unwrap().target_groups["shop/web:80"].create.port, 1);
    world.service.annotations.clear();
    world.service.kind = ServiceType::ClusterIp;
    assert!(world.problem().contains("type NodePort or LoadBalancer"));
}

#[test]
fn ipv6_targets_need_a_dual_stack_load_balancer() {
    let mut world = world(vec![tcp(80)]);
    world.service.families = vec![Family::V4, Family::V6];
    assert!(world.problem().contains("lb not dual-stack"));
    world.annotate("aws-load-balancer-ip-address-type", "dualstack");
    assert_eq!(world.stack().unwrap().target_groups["shop/web:80"].create.family, TargetFamily::Ipv6);
}

#[test]
fn certificates_and_alpn_belong_to_tls_listeners_only() {
    let mut world = world(vec![tcp(443), tcp(80)]);
    world
        .annotate("aws-load-balancer-ssl-cert", "one,two,three")
        .annotate("aws-load-balancer-ssl-ports", "443");
    world
        .annotate("aws-load-balancer-alpn-policy", "HTTP2Only")
        .annotate("aws-load-balancer-listener-attributes.TLS-443", "a=b");
    world.annotate("aws-load-balancer-listener-attributes.TCP-80", "a=b");
    let stack = world.stack().unwrap();
    let (tls, plain) = (&stack.listeners[&443], &stack.listeners[&80]);
    assert_eq!(tls.certificate.as_deref(), Some("one"));
    assert!(tls.more_certificates.iter().eq(["three", "two"]));
    assert_eq!(
        (tls.alpn, tls.ssl_policy.as_deref()),
        (Some(Alpn::Http2Only), Some("ELBSecurityPolicy-2016-08"))
    );
    assert!(tls.attributes.is_empty());
    assert_eq!((&plain.certificate, plain.alpn, &plain.ssl_policy), (&None, None, &None));
    assert_eq!(plain.attributes, map(&[("a", "b")]));
    world.converge();
    assert_eq!(
        world.aws.load_balancers.values().next().unwrap().listeners.as_ref().unwrap()[&443]
            .more_certificates
            .len(),
        2
    );
}

#[test]
fn health_checks_have_the_defaults_of_the_traffic_policy() {
    let check =
        |world: &mut World| world.stack().unwrap().target_groups["shop/web:80"].create.health_check.clone();
    let mut world = world(vec![tcp(80)]);
    let cluster = check(&mut world);
    assert_eq!(
        (cluster.protocol, cluster.port, cluster.path, cluster.matcher),
        (HealthProtocol::Tcp, None, None, None)
    );
    assert_eq!(
        (cluster.interval, cluster.timeout, cluster.healthy_threshold, cluster.unhealthy_threshold),
        (10, Some(10), 3, 3)
    );
    world.service.traffic_policy = TrafficPolicy::Local;
    world.service.health_check_node_port = Some(NodePort(32000));
    let local = check(&mut world);
    assert_eq!(
        (local.protocol, local.port, local.path.as_deref(), local.matcher.as_deref()),
        (HealthProtocol::Http, Some(32000), Some("/healthz"), Some("200-399"))
    );
    assert_eq!(
        (local.interval, local.timeout, local.healthy_threshold, local.unhealthy_threshold),
        (10, Some(6), 2, 2)
    );
    world.annotate("aws-load-balancer-nlb-target-type", "ip");
    assert_eq!(check(&mut world), landfall_aws_plan::HealthCheck { ..world_default() });
    world.settings.advanced_health_checks = false;
    world.annotate("aws-load-balancer-healthcheck-protocol", "http");
    let plain = check(&mut world);
    assert_eq!((plain.path.as_deref(), plain.matcher, plain.timeout), (Some("/"), None, None));
}

fn world_default() -> landfall_aws_plan::HealthCheck {
    landfall_aws_plan::HealthCheck {
        protocol: HealthProtocol::Tcp,
        port: None,
        path: None,
        matcher: None,
        interval: 10,
        timeout: Some(10),
        healthy_threshold: 3,
        unhealthy_threshold: 3,
    }
}

#[test]
fn a_health_check_port_may_be_named() {
    let mut world = world(vec![tcp(80)]);
    let check =
        |world: &mut World| world.stack().unwrap().target_groups["shop/web:80"].create.health_check.port;
    world.annotate("aws-load-balancer-healthcheck-port", "tcp");
    assert_eq!(check(&mut world), Some(30080));
    world.annotate("aws-load-balancer-nlb-target-type", "ip");
    assert_eq!(check(&mut world), Some(8080));
    world.service.ports[0].target = TargetPort::Name("web".into());
    assert!(world.problem().contains("failed to resolve healthCheckPort"));
    world.annotate("aws-load-balancer-healthcheck-port", "nowhere");
    assert!(world.problem().contains("no port of this name"));
}

#[test]
fn attributes_of_a_port_override_and_proxy_protocol_beats_all() {
    let attributes = |world: &mut World, port: u16| {
        world.stack().unwrap().target_groups[&format!("shop/web:{port}")].attributes.clone()
    };
    let mut world = world(vec![tcp(80), tcp(443)]);
    world.annotate("aws-load-balancer-target-group-attributes", "a=1,b=2,proxy_protocol_v2.enabled=true");
    world.annotate("aws-load-balancer-target-group-attributes.80", "a=3,b=");
    assert_eq!(
        attributes(&mut world, 80),
        map(&[("a", "3"), ("b", "2"), ("proxy_protocol_v2.enabled", "true")])
    );
    world.annotate("aws-load-balancer-proxy-protocol-per-target-group", "443");
    assert_eq!(attributes(&mut world, 80)["proxy_protocol_v2.enabled"], "false");
    assert_eq!(attributes(&mut world, 443)["proxy_protocol_v2.enabled"], "true");
    world.annotate("aws-load-balancer-proxy-protocol", "*");
    assert_eq!(attributes(&mut world, 80)["proxy_protocol_v2.enabled"], "true");
}

#[test]
fn listener_attributes_are_for_tcp_and_the_others_are_told() {
    let cert = ("aws-load-balancer-ssl-cert", "one");
    let quic = ("aws-load-balancer-quic-enabled-ports", "443");
    let rows: &[(&str, Vec<ServicePort>, Annotations<'_>, bool)] = &[
        ("TCP", vec![tcp(443)], &[], true),
        ("TCP_UDP", vec![tcp(443), udp(443)], &[], true),
        ("TLS", vec![tcp(443)], &[cert], false),
        ("UDP", vec![udp(443)], &[], false),
        ("QUIC", vec![udp(443)], &[quic], false),
        ("TCP_QUIC", vec![tcp(443), udp(443)], &[quic], false),
    ];
    for (protocol, ports, annotations, used) in rows {
        let mut world = world(ports.clone());
        annotations.iter().for_each(|(name, value)| _ = world.annotate(name, value));
        world.annotate(&format!("aws-load-balancer-listener-attributes.{protocol}-443"), "a=b");
        let (stack, request) = (world.stack().unwrap(), world.request().unwrap());
        assert_eq!(stack.listeners[&443].attributes.is_empty(), !used, "{protocol}");
        let notices = landfall_aws_plan::notices(&stack, &request, &world.settings, &world.inventory);
        let told: Vec<String> = notices.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), usize::from(!used), "{protocol}: {told:?}");
        assert!(told.iter().all(|text| text.contains(&format!("{protocol}-443 is not used"))), "{told:?}");
        world.converge();
    }
}

#[test]
fn attributes_that_aws_does_not_tell_are_set_once() {
    const NAME: &str = "aws-load-balancer-listener-attributes.TCP-80";
    let mut world = world(vec![tcp(80)]);
    world.annotate(NAME, "a=b").converge();
    let set = |op: &landfall_aws_plan::Op| op.kind().as_str() == "ModifyListenerAttributes";
    for (attributes, calls) in [("a=b", 0), ("a=c", 1), ("a=c", 0)] {
        let lb = world.aws.load_balancers.values_mut().next().unwrap();
        lb.listeners.as_mut().unwrap().get_mut(&80).unwrap().attributes = None;
        world.restart();
        world.aws.calls.clear();
        world.annotate(NAME, attributes).converge();
        assert_eq!(world.aws.calls.iter().filter(|op| set(op)).count(), calls, "{attributes}");
    }
    world.service.deleting = true;
    world.converge();
    assert!(world.aws.load_balancers.is_empty());
}
