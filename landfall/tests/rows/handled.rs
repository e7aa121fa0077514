//! §2.1 which Services are handled, §2.2 annotations, §2.8 what a status may hold.

use serde_json::json;

use crate::{
    Row, check, row,
    service::{pool, service},
    services,
};

#[test]
fn which_services() {
    let a = || pool("a", &["192.0.2.0/28"]);
    let class = |name: &str, class: &str| service(name).spec("loadBalancerClass", class.into());
    check(
        vec![
            row("§2.1 no class", vec![a(), service("s").made()], ["s 192.0.2.0 a Allocated N:IPAllocated"]),
            row("§2.1 a class, and none set", vec![a(), class("s", "x").made()], ["=s - - ForeignClass"]),
            row(
                "§2.1 --lb-class=x",
                vec![a(), class("s", "x").made(), class("t", "y").made(), service("u").made()],
                ["s 192.0.2.0 a Allocated N:IPAllocated", "=t - - ForeignClass", "=u - - ForeignClass"],
            )
            .with(&["--lb-class", "x"]),
            row(
                "§2.1 several classes",
                vec![a(), class("s", "x").made(), class("t", "y").made(), service("u").made()],
                [
                    "s 192.0.2.0 a Allocated N:IPAllocated",
                    "t 192.0.2.1 a Allocated N:IPAllocated",
                    "=u - - ForeignClass",
                ],
            )
            .with(&["--lb-class", "x,y"]),
            row(
                "§2.1 a class, and those without one",
                vec![a(), class("s", "x").made(), class("t", "y").made(), service("u").made()],
                [
                    "s 192.0.2.0 a Allocated N:IPAllocated",
                    "=t - - ForeignClass",
                    "u 192.0.2.1 a Allocated N:IPAllocated",
                ],
            )
            .with(&["--lb-class", "x", "--handle-unclassed"]),
            row("§2.1 another type", vec![a(), service("s").spec("type", "ClusterIP".into()).made()], []),
            row(
                "§2.1 another type, and it has an address",
                vec![a(), service("s").spec("type", "NodePort".into()).has(&["192.0.2.3"], "a").made()],
                ["s - - NotLoadBalancer"],
            ),
            row(
                "§2.1 its address is free for others at once",
                vec![
                    a(),
                    service("s").spec("type", "ClusterIP".into()).has(&["192.0.2.0"], "a").made(),
                    service("t").made(),
                ],
                ["s - - NotLoadBalancer", "t 192.0.2.0 a Allocated N:IPAllocated"],
            ),
            row(
                "§2.1 no ClusterIP",
                vec![
                    a(),
                    service("s").spec("clusterIP", "None".into()).spec("clusterIPs", json!(["None"])).made(),
                ],
                ["=s - - NoClusterIp"],
            ),
            row(
                "§2.1 no pools: an address of ours goes",
                vec![service("s").has(&["192.0.2.3"], "a").made()],
                ["s - - NoPools N:ClearAssignment,W:AllocationFailed"],
            ),
            row(
                "§2.1 no pools: what others wrote stays, unlike MetalLB (§11)",
                vec![service("s").shows(&["203.0.113.9"]).made()],
                ["=s 203.0.113.9 - ForeignStatus"],
            ),
            row(
                "§2.1 what is never read",
                vec![
                    a(),
                    service("s")
                        .spec("externalIPs", json!(["203.0.113.1"]))
                        .spec("loadBalancerSourceRanges", json!(["203.0.113.0/24"]))
                        .spec("allocateLoadBalancerNodePorts", json!(false))
                        .spec("sessionAffinity", "ClientIP".into())
                        .spec("healthCheckNodePort", json!(31000))
                        .made(),
                ],
                ["s 192.0.2.0 a Allocated N:IPAllocated"],
            ),
        ],
        services,
    );
}

#[test]
fn annotations() {
    let pools = || vec![pool("a", &["192.0.2.0/28"]), pool("b", &["198.51.100.0/28"])];
    let with = |what, service: crate::service::Service, expected| -> Row {
        row(what, [pools(), vec![service.made()]].concat(), [expected])
    };
    check(
        vec![
            with(
                "§2.2 address-pool",
                service("s").says("address-pool", "b"),
                "s 198.51.100.0 b Allocated N:IPAllocated",
            ),
            with(
                "§2.2 address-pool, legacy",
                service("s").says("metallb.universe.tf/address-pool", "b"),
                "s 198.51.100.0 b Allocated N:IPAllocated,W:deprecatedAnnotation",
            ),
            with(
                "§2.2 loadBalancerIPs, legacy",
                service("s").says("metallb.universe.tf/loadBalancerIPs", "198.51.100.4"),
                "s 198.51.100.4 b Allocated N:IPAllocated,W:deprecatedAnnotation",
            ),
            with(
                "§2.2 both prefixes: the preferred one wins",
                service("s").says("metallb.universe.tf/loadBalancerIPs", "198.51.100.4").asks("192.0.2.4"),
                "s 192.0.2.4 a Allocated N:IPAllocated,W:deprecatedAnnotation",
            ),
            with(
                "§2.2 both prefixes: also an empty one",
                service("s").says("metallb.universe.tf/loadBalancerIPs", "198.51.100.4").asks(""),
                "s 192.0.2.0 a Allocated N:IPAllocated,W:deprecatedAnnotation",
            ),
            with(
                "§2.2 both prefixes: an empty pool",
                service("s").says("metallb.universe.tf/address-pool", "b").says("address-pool", ""),
                "s 192.0.2.0 a Allocated N:IPAllocated,W:deprecatedAnnotation",
            ),
            with(
                "§2.2 a legacy key warns only when something changes",
                service("s").says("metallb.universe.tf/address-pool", "b").has(&["198.51.100.0"], "b"),
                "=s 198.51.100.0 b Allocated",
            ),
            with(
                "§2.2 ip-allocated-from-pool is no request",
                service("s").says("ip-allocated-from-pool", "b"),
                "s 192.0.2.0 a Allocated N:IPAllocated",
            ),
            with(
                "§2.2 the legacy ip-allocated-from-pool says nothing",
                service("s").says("metallb.universe.tf/ip-allocated-from-pool", "b"),
                "s 192.0.2.0 a Allocated N:IPAllocated,W:deprecatedAnnotation",
            ),
        ],
        services,
    );
}
