//! Annotations: syntax, every one of them, and what is told about those that cannot be read.

use landfall_aws_plan::{
    AddressType, Alpn, HealthPort, HealthProtocol, PREFIX, ProxyProtocol, Request, Scheme, TargetType,
};

use crate::world::{World, map};

fn request(annotations: &[(&str, &str)]) -> Request {
    let mut world = World::new();
    annotations.iter().for_each(|(name, value)| _ = world.annotate(name, value));
    world.request().unwrap()
}

fn refusal(name: &str, value: &str) -> String {
    let mut world = World::new();
    world.annotate(name, value);
    let problems = world.request().expect_err(&format!("{name}: {value} was accepted"));
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn defaults_without_annotations() {
    let request = request(&[]);
    assert_eq!((request.name, request.scheme, request.address_type), (None, None, AddressType::Ipv4));
    assert_eq!(
        (request.target_type, request.proxy_protocol, request.alpn),
        (TargetType::Instance, ProxyProtocol::Unset, Alpn::None)
    );
    assert_eq!((request.tls, request.capacity_units, request.merge_tcp_udp), (None, None, None));
    assert!(
        !request.backend_tls
            && !request.source_nat
            && !request.icmp_path_mtu
            && !request.create_before_delete
    );
    assert!(
        request.attributes.is_empty()
            && request.target_group_attributes.is_empty()
            && request.tags.is_empty()
    );
}

#[test]
fn booleans_are_gos() {
    for (text, value) in
        [("1", true), ("t", true), ("T", true), ("TRUE", true), ("true", true), ("True", true)]
            .into_iter()
            .chain([
                ("0", false),
                ("f", false),
                ("F", false),
                ("FALSE", false),
                ("false", false),
                ("False", false),
            ])
    {
        let request = request(&[("aws-load-balancer-disable-nlb-sg", text)]);
        assert_eq!(request.without_security_groups, value, "{text}");
    }
    for text in ["", "yes", "on", "tRUE", " true"] {
        assert!(
            refusal("aws-load-balancer-disable-nlb-sg", text).contains("failed to parse bool annotation")
        );
    }
}

#[test]
fn lists_are_trimmed_and_empty_items_dropped() {
    assert_eq!(request(&[("aws-load-balancer-subnets", " a, ,b,")]).subnets, ["a", "b"]);
}

#[test]
fn maps_take_escaped_commas_and_equal_signs() {
    let request = request(&[("aws-load-balancer-additional-resource-tags", r"a=b\,c,d=e=f, g = h ,i=")]);
    assert_eq!(request.tags, map(&[("a", "b,c"), ("d", "e=f"), ("g", "h"), ("i", "")]));
    for wrong in ["a", "=b", "a=b,c"] {
        let text = refusal("aws-load-balancer-additional-resource-tags", wrong);
        assert!(text.contains("failed to parse stringMap annotation"), "{text}");
    }
}

/// Annotations, and whether the request shows them.
type Row = (&'static [(&'static str, &'static str)], fn(&Request) -> bool);

#[test]
fn each_annotation_is_read() {
    let rows: &[Row] = &[
        (&[("aws-load-balancer-type", "nlb-ip")], |r| r.target_type == TargetType::Ip),
        (&[("aws-load-balancer-nlb-target-type", "ip")], |r| r.target_type == TargetType::Ip),
        (&[("aws-load-balancer-name", "front")], |r| r.name.as_deref() == Some("front")),
        (&[("aws-load-balancer-scheme", "internet-facing")], |r| r.scheme == Some(Scheme::InternetFacing)),
        (&[("aws-load-balancer-internal", "false")], |r| r.scheme == Some(Scheme::InternetFacing)),
        (&[("aws-load-balancer-internal", "false"), ("aws-load-balancer-scheme", "internal")], |r| {
            r.scheme == Some(Scheme::Internal)
        }),
        (&[("aws-load-balancer-ip-address-type", "dualstack")], |r| r.address_type == AddressType::Dualstack),
        (&[("aws-load-balancer-eip-allocations", "e1,e2")], |r| r.eip_allocations == ["e1", "e2"]),
        (&[("aws-load-balancer-private-ipv4-addresses", "10.0.0.9")], |r| r.private_ipv4.len() == 1),
        (&[("aws-load-balancer-ipv6-addresses", "fd00::9")], |r| r.ipv6.len() == 1),
        (&[("aws-load-balancer-enable-prefix-for-ipv6-source-nat", "on")], |r| r.source_nat),
        (&[("aws-load-balancer-source-nat-ipv6-prefixes", "auto_assigned")], |r| {
            r.source_nat_prefixes == ["auto_assigned"]
        }),
        (&[("load-balancer-source-ranges", "10.0.0.0/8, fd00::/8")], |r| r.source_ranges.len() == 2),
        (&[("aws-load-balancer-security-group-prefix-lists", "pl-1")], |r| r.prefix_lists == ["pl-1"]),
        (&[("aws-load-balancer-security-groups", "sg-1,mine")], |r| r.security_groups == ["sg-1", "mine"]),
        (&[("aws-load-balancer-manage-backend-security-group-rules", "true")], |r| {
            r.manage_backend_rules == Some(true)
        }),
        (&[("aws-load-balancer-inbound-sg-rules-on-private-link-traffic", "off")], |r| {
            r.private_link_rules.as_deref() == Some("off")
        }),
        (&[("aws-load-balancer-enable-icmp-for-path-mtu-discovery", "on")], |r| r.icmp_path_mtu),
        (&[("aws-load-balancer-attributes", "a=b")], |r| r.attributes == map(&[("a", "b")])),
        (
            &[
                ("aws-load-balancer-access-log-enabled", "true"),
                ("aws-load-balancer-access-log-s3-bucket-name", "logs"),
                ("aws-load-balancer-attributes", "access_logs.s3.enabled=false"),
            ],
            |r| {
                r.attributes
                    == map(&[
                        ("access_logs.s3.enabled", "true"),
                        ("access_logs.s3.bucket", "logs"),
                        ("access_logs.s3.prefix", ""),
                    ])
            },
        ),
        (
            &[
                ("aws-load-balancer-cross-zone-load-balancing-enabled", "true"),
                ("aws-load-balancer-attributes", "load_balancing.cross_zone.enabled=false"),
            ],
            |r| r.attributes == map(&[("load_balancing.cross_zone.enabled", "true")]),
        ),
        (&[("aws-load-balancer-minimum-load-balancer-capacity", "CapacityUnits=3000")], |r| {
            r.capacity_units == Some(3000)
        }),
        (&[("aws-load-balancer-target-group-attributes", "a=b")], |r| {
            r.target_group_attributes == map(&[("a", "b")])
        }),
        (&[("aws-load-balancer-target-group-attributes.80", "a=c")], |r| {
            r.target_group_attributes_by_port[&80] == map(&[("a", "c")])
        }),
        (&[("aws-load-balancer-proxy-protocol", "*")], |r| r.proxy_protocol == ProxyProtocol::All),
        (&[("aws-load-balancer-proxy-protocol-per-target-group", "80, 443")], |r| {
            r.proxy_protocol == ProxyProtocol::Ports([80, 443].into())
        }),
        (&[("aws-load-balancer-target-node-labels", "pool=edge")], |r| {
            r.node_labels == map(&[("pool", "edge")])
        }),
        (&[("aws-load-balancer-healthcheck-protocol", "hTTps")], |r| {
            r.health_check.protocol == Some(HealthProtocol::Https)
        }),
        (&[("aws-load-balancer-healthcheck-port", "traffic-port")], |r| {
            r.health_check.port == Some(HealthPort::Traffic)
        }),
        (&[("aws-load-balancer-healthcheck-port", "8080")], |r| {
            r.health_check.port == Some(HealthPort::Number(8080))
        }),
        (&[("aws-load-balancer-healthcheck-port", "http")], |r| {
            r.health_check.port == Some(HealthPort::Name("http".to_owned()))
        }),
        (&[("aws-load-balancer-healthcheck-path", "/up")], |r| r.health_check.path.as_deref() == Some("/up")),
        (&[("aws-load-balancer-healthcheck-success-codes", "200")], |r| {
            r.health_check.success_codes.as_deref() == Some("200")
        }),
        (&[("aws-load-balancer-healthcheck-interval", "30")], |r| r.health_check.interval == Some(30)),
        (&[("aws-load-balancer-healthcheck-timeout", "5")], |r| r.health_check.timeout == Some(5)),
        (&[("aws-load-balancer-healthcheck-healthy-threshold", "4")], |r| {
            r.health_check.healthy_threshold == Some(4)
        }),
        (&[("aws-load-balancer-healthcheck-unhealthy-threshold", "5")], |r| {
            r.health_check.unhealthy_threshold == Some(5)
        }),
        (&[("aws-load-balancer-ssl-cert", "one,two")], |r| {
            r.tls.as_ref().is_some_and(|tls| {
                tls.certificates == ["one", "two"] && tls.policy == "ELBSecurityPolicy-2016-08"
            })
        }),
        (
            &[
                ("aws-load-balancer-ssl-cert", "one"),
                ("aws-load-balancer-ssl-ports", "https"),
                ("aws-load-balancer-ssl-negotiation-policy", "new"),
            ],
            |r| r.tls.as_ref().is_some_and(|tls| tls.ports == ["https"] && tls.policy == "new"),
        ),
        (&[("aws-load-balancer-backend-protocol", "ssl")], |r| r.backend_tls),
        (&[("aws-load-balancer-backend-protocol", "tcp")], |r| !r.backend_tls),
        (&[("aws-load-balancer-alpn-policy", "HTTP2Preferred")], |r| r.alpn == Alpn::Http2Preferred),
        (&[("aws-load-balancer-listener-attributes.TCP-80", "a=b")], |r| {
            r.listener_attributes[&("TCP".to_owned(), 80)] == map(&[("a", "b")])
        }),
        (&[("aws-load-balancer-enable-tcp-udp-listener", "false")], |r| r.merge_tcp_udp == Some(false)),
        (&[("aws-load-balancer-quic-enabled-ports", "443")], |r| r.quic_ports == ["443"]),
        (&[("aws-load-balancer-multi-cluster-target-group", "false")], |r| !r.shared_target_groups),
        (&[("aws-load-balancer-multi-cluster-target-group", "true")], |r| r.shared_target_groups),
    ];
    for (annotations, read) in rows {
        assert!(read(&request(annotations)), "{annotations:?}");
    }
}

#[test]
fn what_cannot_be_read_is_named_with_its_value_and_the_rule() {
    let long = "x".repeat(33);
    let rows = [
        ("aws-load-balancer-nlb-target-type", "pod", "instance, ip"),
        ("aws-load-balancer-name", &*long, "32 characters"),
        ("aws-load-balancer-scheme", "public", "internal, internet-facing"),
        ("aws-load-balancer-ip-address-type", "ipv6", "ipv4, dualstack"),
        ("aws-load-balancer-ipv6-addresses", "10.0.0.1", "an IPv6 address"),
        ("aws-load-balancer-enable-prefix-for-ipv6-source-nat", "true", "on or off"),
        ("load-balancer-source-ranges", "10.0.0.0", "a block like 10.0.0.0/8"),
        ("aws-load-balancer-inbound-sg-rules-on-private-link-traffic", "yes", "on or off"),
        (
            "aws-load-balancer-attributes",
            "dns_record.client_routing_policy=near",
            "availability_zone_affinity",
        ),
        ("aws-load-balancer-minimum-load-balancer-capacity", "Units=1", "CapacityUnits=<number>"),
        ("aws-load-balancer-minimum-load-balancer-capacity", "CapacityUnits=1,a=b", "CapacityUnits=<number>"),
        ("aws-load-balancer-target-group-attributes", "preserve_client_ip.enabled=maybe", "true or false"),
        ("aws-load-balancer-target-group-attributes.http", "a=b", "the number of a Service port"),
        ("aws-load-balancer-proxy-protocol", "80", "only value currently supported is *"),
        ("aws-load-balancer-proxy-protocol-per-target-group", "http", "the number of a Service port"),
        ("aws-load-balancer-healthcheck-protocol", "udp", "unsupported health check protocol"),
        ("aws-load-balancer-healthcheck-port", "70000", "traffic-port"),
        ("aws-load-balancer-healthcheck-interval", "10s", "a whole number"),
        ("aws-load-balancer-alpn-policy", "h2", "HTTP1Only"),
        ("aws-load-balancer-listener-attributes.80", "a=b", "like TCP-443"),
        ("aws-load-balancer-multi-cluster-target-group", "yes", "failed to parse bool annotation"),
    ];
    for (name, value, rule) in rows {
        let text = refusal(name, value);
        assert!(text.contains(&format!("{PREFIX}{name}")) && text.contains(rule), "{text}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let mut world = World::new();
    world
        .annotate("aws-load-balancer-scheme", "public")
        .annotate("aws-load-balancer-healthcheck-interval", "soon");
    world.service.source_ranges = vec!["all".to_owned()];
    assert_eq!(world.request().unwrap_err().len(), 3);
}

#[test]
fn the_spec_wins_over_the_source_range_annotation() {
    let mut world = World::new();
    world.annotate("load-balancer-source-ranges", "10.0.0.0/8");
    world.service.source_ranges = vec!["10.1.0.0/16".to_owned()];
    assert_eq!(world.request().unwrap().source_ranges, ["10.1.0.0/16".parse().unwrap()]);
}

#[test]
fn externally_managed_tags_cannot_be_asked_for() {
    let mut world = World::new();
    world.settings.external_managed_tags.insert("cost".to_owned());
    world.annotate("aws-load-balancer-additional-resource-tags", "cost=7");
    let text = world.request().unwrap_err()[0].to_string();
    assert!(text.contains("external managed tag key cannot be specified"), "{text}");
}

#[test]
fn ip_targets_need_their_gate() {
    let mut world = World::new();
    world.settings.ip_targets = false;
    world.annotate("aws-load-balancer-nlb-target-type", "ip");
    assert!(world.request().unwrap_err()[0].to_string().contains("EnableIPTargetType"));
}

#[test]
fn an_unknown_annotation_is_told_with_the_nearest_known_one() {
    let mut world = World::new();
    world
        .annotate("aws-load-balancer-shceme", "internal")
        .annotate("aws-load-balancer-wherever-it-may-be", "x")
        .annotate("other", "x");
    let warnings = Request::parse(&world.service, &world.settings).unwrap().warnings;
    let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(
        texts[0].ends_with("did you mean service.beta.kubernetes.io/aws-load-balancer-scheme?"),
        "{texts:?}"
    );
    assert!(texts[1].ends_with("has no effect"), "{texts:?}");
}

#[test]
fn a_replacement_is_one_of_two_words() {
    let mut world = World::new();
    world.service.annotations.insert(landfall_aws_plan::REPLACE.to_owned(), "quickly".to_owned());
    assert!(
        world.request().unwrap_err()[0].to_string().contains("create-before-delete or delete-before-create")
    );
}
