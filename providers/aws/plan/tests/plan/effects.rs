//! Annotations, and what is in AWS in the end.

use landfall_aws_plan::{AddressType, Alpn, HealthProtocol, Scheme};

use crate::world::{World, map};

/// Annotations, and whether what is in AWS in the end shows them.
type Effect = (&'static [(&'static str, &'static str)], fn(&World) -> bool);

fn balancer(world: &World) -> &landfall_aws_plan::LoadBalancer {
    world.aws.load_balancers.values().next().expect("a load balancer")
}

fn attribute(world: &World, key: &str) -> Option<String> {
    balancer(world).attributes.as_ref()?.get(key).cloned()
}

fn checks(world: &World) -> impl Iterator<Item = &landfall_aws_plan::HealthCheck> {
    world.aws.target_groups.values().map(|group| &group.health_check)
}

/// What other tests show of an annotation in AWS is not shown here again: claims, subnets, groups, ports, targets.
#[test]
fn each_annotation_reaches_aws() {
    let rows: &[Effect] = &[
        (&[("aws-load-balancer-name", "front")], |w| balancer(w).name == "front"),
        (&[("aws-load-balancer-internal", "false")], |w| balancer(w).scheme == Scheme::InternetFacing),
        (
            &[
                ("aws-load-balancer-scheme", "internet-facing"),
                ("aws-load-balancer-eip-allocations", "e1,e2"),
            ],
            |w| {
                let allocations = balancer(w).subnets.iter().map(|mapping| mapping.allocation.as_deref());
                allocations.eq([Some("e1"), Some("e2")])
            },
        ),
        (&[("aws-load-balancer-private-ipv4-addresses", "10.0.97.9,10.0.98.9")], |w| {
            let addresses = balancer(w).subnets.iter().map(|mapping| mapping.private_ipv4.is_some());
            addresses.eq([true, true])
        }),
        (
            &[
                ("aws-load-balancer-ip-address-type", "dualstack"),
                ("aws-load-balancer-ipv6-addresses", "fd00:0:0:61::9,fd00:0:0:62::9"),
                ("aws-load-balancer-enable-prefix-for-ipv6-source-nat", "on"),
                ("aws-load-balancer-source-nat-ipv6-prefixes", "auto_assigned,fd00:0:0:62:1::/80"),
            ],
            |w| {
                let lb = balancer(w);
                let prefixes = lb.subnets.iter().map(|mapping| mapping.source_nat_prefix.as_deref());
                lb.address_type == AddressType::Dualstack
                    && lb.source_nat == Some(true)
                    && lb.subnets.iter().all(|mapping| mapping.ipv6.is_some())
                    && prefixes.eq([Some("auto_assigned"), Some("fd00:0:0:62:1::/80")])
            },
        ),
        (
            &[("aws-load-balancer-attributes", "dns_record.client_routing_policy=any_availability_zone")],
            |w| attribute(w, "dns_record.client_routing_policy").as_deref() == Some("any_availability_zone"),
        ),
        (
            &[
                ("aws-load-balancer-access-log-enabled", "true"),
                ("aws-load-balancer-access-log-s3-bucket-name", "logs"),
                ("aws-load-balancer-access-log-s3-bucket-prefix", "web"),
            ],
            |w| {
                let found =
                    ["enabled", "bucket", "prefix"].map(|key| attribute(w, &format!("access_logs.s3.{key}")));
                found == ["true", "logs", "web"].map(|value| Some(value.to_owned()))
            },
        ),
        (&[("aws-load-balancer-cross-zone-load-balancing-enabled", "true")], |w| {
            attribute(w, "load_balancing.cross_zone.enabled").as_deref() == Some("true")
        }),
        (&[("aws-load-balancer-minimum-load-balancer-capacity", "CapacityUnits=3000")], |w| {
            balancer(w).capacity_units == Some(3000)
        }),
        (&[("aws-load-balancer-target-group-attributes", "deregistration_delay.timeout_seconds=30")], |w| {
            let set = |group: &landfall_aws_plan::TargetGroup| group.attributes.as_ref().unwrap().len() == 1;
            w.aws.target_groups.values().all(set)
        }),
        (
            &[
                ("aws-load-balancer-healthcheck-protocol", "HTTPS"),
                ("aws-load-balancer-healthcheck-port", "8443"),
                ("aws-load-balancer-healthcheck-path", "/up"),
                ("aws-load-balancer-healthcheck-success-codes", "204"),
                ("aws-load-balancer-healthcheck-interval", "30"),
                ("aws-load-balancer-healthcheck-timeout", "5"),
                ("aws-load-balancer-healthcheck-healthy-threshold", "4"),
                ("aws-load-balancer-healthcheck-unhealthy-threshold", "5"),
            ],
            |w| {
                let wanted = landfall_aws_plan::HealthCheck {
                    protocol: HealthProtocol::Https,
                    port: Some(8443),
                    path: Some("/up".to_owned()),
                    matcher: Some("204".to_owned()),
                    interval: 30,
                    timeout: Some(5),
                    healthy_threshold: 4,
                    unhealthy_threshold: 5,
                };
                checks(w).all(|check| *check == wanted)
            },
        ),
        (
            &[
                ("aws-load-balancer-ssl-cert", "arn:one"),
                ("aws-load-balancer-ssl-negotiation-policy", "ELBSecurityPolicy-TLS13-1-2-2021-06"),
                ("aws-load-balancer-alpn-policy", "HTTP2Only"),
            ],
            |w| {
                balancer(w).listeners.as_ref().unwrap().values().all(|listener| {
                    listener.ssl_policy.as_deref() == Some("ELBSecurityPolicy-TLS13-1-2-2021-06")
                        && listener.alpn == Some(Alpn::Http2Only)
                })
            },
        ),
        (&[("aws-load-balancer-listener-attributes.TCP-80", "tcp.idle_timeout.seconds=60")], |w| {
            let listeners = balancer(w).listeners.as_ref().unwrap();
            listeners[&80].attributes == Some(map(&[("tcp.idle_timeout.seconds", "60")]))
                && listeners[&443].attributes == Some(map(&[]))
        }),
        (&[("aws-load-balancer-additional-resource-tags", "team=shop")], |w| {
            let has = |tags: &landfall_aws_plan::Map| tags.get("team").is_some_and(|team| team == "shop");
            let lb = balancer(w);
            let listeners = lb.listeners.as_ref().unwrap().values();
            let made = w.aws.security_groups.values().filter(|group| group.name.starts_with("k8s-shop"));
            has(&lb.tags)
                && listeners.map(|listener| &listener.tags).all(has)
                && w.aws.target_groups.values().map(|group| &group.tags).all(has)
                && made.map(|group| &group.tags).all(has)
        }),
    ];
    for (annotations, shown) in rows {
        let mut world = World::new();
        annotations.iter().for_each(|(name, value)| _ = world.annotate(name, value));
        world.converge();
        assert!(shown(&world), "{annotations:?}");
        // Asked for on a live load balancer, it is there as well, where AWS can change it.
        let fixed = ["name", "eip-allocations", "private-ipv4-addresses", "ipv6-addresses"];
        if annotations.iter().any(|(name, _)| fixed.iter().any(|end| name.ends_with(end))) {
            continue;
        }
        let mut world = World::new();
        world.converge();
        annotations.iter().for_each(|(name, value)| _ = world.annotate(name, value));
        world.converge();
        assert!(shown(&world), "{annotations:?} on a live load balancer");
    }
}
