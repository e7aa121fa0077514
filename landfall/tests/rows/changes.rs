//! §2.7 what happens when something changes, §3.2 what takes an address away and what does not.

use serde_json::{Value, json};

use crate::{
    check, row,
    service::{namespace, pool, pool_with, service},
    services,
};

/// A Service that has 192.0.2.3 of the pool `a`, when these are the pools now.
fn now(pools: Vec<Value>) -> Vec<Value> {
    [pools, vec![service("s").has(&["192.0.2.3"], "a").made()]].concat()
}

#[test]
fn addresses_that_stay() {
    const STAYS: [&str; 1] = ["=s 192.0.2.3 a Allocated"];
    let pin = |namespace: &str, priority: i32| json!({ "serviceAllocation": { "priority": priority, "namespaces": [namespace] } });
    check(
        vec![
            row("§2.7 nothing changed; a restart", now(vec![pool("a", &["192.0.2.0/28"])]), STAYS),
            row(
                "§2.7 a pool that comes before it",
                now(vec![pool("a", &["192.0.2.0/28"]), pool("A", &["198.51.100.0/28"])]),
                STAYS,
            ),
            row(
                "§2.7 a pool with a better priority",
                now(vec![
                    pool("a", &["192.0.2.0/28"]),
                    pool_with("best", &["198.51.100.0/28"], &pin("shop", 1)),
                ]),
                STAYS,
            ),
            row("§2.7 the pool grows", now(vec![pool("a", &["192.0.2.0/24"])]), STAYS),
            row("§2.7 the pool shrinks elsewhere", now(vec![pool("a", &["192.0.2.2-192.0.2.3"])]), STAYS),
            row(
                "§3.2 its ranges are in another order",
                now(vec![pool("a", &["198.51.100.0/28", "192.0.2.0/28"])]),
                STAYS,
            ),
            row(
                "§2.7 autoAssign goes off",
                now(vec![pool_with("a", &["192.0.2.0/28"], &json!({ "autoAssign": false }))]),
                STAYS,
            ),
            row(
                "§2.7 it is pinned to this namespace",
                now(vec![pool_with("a", &["192.0.2.0/28"], &pin("shop", 5))]),
                STAYS,
            ),
            row(
                "§2.7 renamed, and still covered",
                now(vec![pool("b", &["192.0.2.0/28"])]),
                ["=s 192.0.2.3 b Allocated"],
            ),
            row(
                "§2.7 split, and still covered",
                now(vec![pool("a", &["192.0.2.0-192.0.2.2"]), pool("b", &["192.0.2.3-192.0.2.9"])]),
                ["=s 192.0.2.3 b Allocated"],
            ),
            row(
                "§2.7 a restart: what is held is claimed before anything is given",
                vec![
                    pool("a", &["192.0.2.0/28"]),
                    service("a-new").made(),
                    service("z-old").has(&["192.0.2.0"], "a").made(),
                ],
                ["a-new 192.0.2.1 a Allocated N:IPAllocated", "=z-old 192.0.2.0 a Allocated"],
            ),
        ],
        services,
    );
}

#[test]
fn addresses_that_go() {
    let moved = |address: &'static str| [address];
    let b = || pool("b", &["198.51.100.0/28"]);
    let labels = |tier: &str| namespace("shop", &json!({ "tier": tier }));
    let selects =
        json!({ "serviceAllocation": { "namespaceSelectors": [{ "matchLabels": { "tier": "gold" } }] } });
    let by_label =
        json!({ "serviceAllocation": { "serviceSelectors": [{ "matchLabels": { "app": "web" } }] } });
    const ELSEWHERE: &str = "s 198.51.100.0 b Allocated N:ClearAssignment,N:IPAllocated";
    check(
        vec![
            row("§2.7 the pool is gone, and there is another", now(vec![b()]), moved(ELSEWHERE)),
            row(
                "§2.7 it shrank away",
                now(vec![pool("a", &["192.0.2.0-192.0.2.2"])]),
                moved("s 192.0.2.0 a Allocated N:ClearAssignment,N:IPAllocated"),
            ),
            row(
                "§2.7 it shrank away, and nothing is free",
                [now(vec![pool("a", &["192.0.2.0/32"])]), vec![service("t").has(&["192.0.2.0"], "a").made()]]
                    .concat(),
                [
                    "s - - NoAvailableAddresses N:ClearAssignment,W:AllocationFailed !a:PoolExhausted",
                    "=t 192.0.2.0 a Allocated",
                ],
            ),
            row(
                "§2.7 avoidBuggyIPs goes on",
                vec![
                    pool_with("a", &["192.0.2.0/24"], &json!({ "avoidBuggyIPs": true })),
                    service("s").has(&["192.0.2.0"], "a").made(),
                    service("t").has(&["192.0.2.255"], "a").made(),
                    service("u").has(&["192.0.2.9"], "a").made(),
                ],
                [
                    "s 192.0.2.1 a Allocated N:ClearAssignment,N:IPAllocated",
                    "t 192.0.2.2 a Allocated N:ClearAssignment,N:IPAllocated",
                    "=u 192.0.2.9 a Allocated",
                ],
            ),
            row(
                "§2.7 it is pinned to others",
                now(vec![
                    pool_with(
                        "a",
                        &["192.0.2.0/28"],
                        &json!({ "serviceAllocation": { "namespaces": ["bank"] } }),
                    ),
                    b(),
                ]),
                moved(ELSEWHERE),
            ),
            row(
                "§2.7 it is pinned to Services with other labels",
                now(vec![pool_with("a", &["192.0.2.0/28"], &by_label), b()]),
                moved(ELSEWHERE),
            ),
            row(
                "§2.7 the namespace's label fits",
                now(vec![pool_with("a", &["192.0.2.0/28"], &selects), b(), labels("gold")]),
                ["=s 192.0.2.3 a Allocated"],
            ),
            row(
                "§2.7 the namespace's label fits no more",
                now(vec![pool_with("a", &["192.0.2.0/28"], &selects), b(), labels("iron")]),
                moved(ELSEWHERE),
            ),
            row(
                "§2.7 a hostname beside the address: it is somebody else's, and left alone, unlike MetalLB (§11)",
                vec![
                    pool("a", &["192.0.2.0/28"]),
                    service("s")
                        .says("ip-allocated-from-pool", "a")
                        .ingress(json!([{ "ip": "192.0.2.3" }, { "hostname": "lb.example.com" }]))
                        .made(),
                ],
                ["=s 192.0.2.3 a ForeignStatus"],
            ),
            row(
                "§2.7 a status that somebody edited, and it may have that",
                vec![pool("a", &["192.0.2.0/28"]), service("s").has(&["192.0.2.9"], "a").made()],
                ["=s 192.0.2.9 a Allocated"],
            ),
            row(
                "§2.7 a status that somebody edited, and it may not",
                vec![pool("a", &["192.0.2.0/28"]), service("s").has(&["203.0.113.9"], "a").made()],
                moved("s 192.0.2.0 a Allocated N:ClearAssignment,N:IPAllocated"),
            ),
        ],
        services,
    );
}

#[test]
fn services_that_wait() {
    let held = || service("s").has(&["192.0.2.3"], "a").made();
    check(
        vec![
            row(
                "§2.7 they wait",
                vec![pool("a", &["192.0.2.3/32"]), held(), service("t").made()],
                [
                    "=s 192.0.2.3 a Allocated",
                    "=t - - NoAvailableAddresses W:AllocationFailed !a:PoolExhausted",
                ],
            ),
            row(
                "§2.7 a Service is deleted: the next one takes its address",
                vec![pool("a", &["192.0.2.3/32"]), service("t").made()],
                ["t 192.0.2.3 a Allocated N:IPAllocated"],
            ),
            row(
                "§2.7 a pool is added: they are served, and nobody moves",
                vec![
                    pool("a", &["192.0.2.3/32"]),
                    pool("b", &["198.51.100.0/28"]),
                    held(),
                    service("t").made(),
                ],
                ["=s 192.0.2.3 a Allocated", "t 198.51.100.0 b Allocated N:IPAllocated"],
            ),
        ],
        services,
    );
}
