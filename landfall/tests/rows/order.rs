//! §3.1 which address comes first.

use serde_json::{Value, json};

use crate::{
    check, row,
    service::{pool, pool_with, service},
    services,
};

fn pinned(name: &str, addresses: &[&str], priority: i32) -> Value {
    pool_with(
        name,
        addresses,
        &json!({ "serviceAllocation": { "priority": priority, "namespaces": ["shop"] } }),
    )
}

fn one(pools: Vec<Value>) -> Vec<Value> {
    [pools, vec![service("s").made()]].concat()
}

#[test]
fn of_pools() {
    let general = || pool("a", &["192.0.2.0/28"]);
    let off = |mut pool: Value| {
        pool["spec"]["autoAssign"] = false.into();
        pool
    };
    check(
        vec![
            row(
                "§3.1 an explicit address before all",
                vec![general(), pinned("p", &["198.51.100.0/28"], 1), service("s").asks("192.0.2.9").made()],
                ["s 192.0.2.9 a Allocated N:IPAllocated"],
            ),
            row(
                "§3.1 the pool that is asked for before pinned ones",
                vec![
                    general(),
                    pinned("p", &["198.51.100.0/28"], 1),
                    service("s").says("address-pool", "a").made(),
                ],
                ["s 192.0.2.0 a Allocated N:IPAllocated"],
            ),
            row(
                "§3.1 pinned before general",
                one(vec![general(), pinned("p", &["198.51.100.0/28"], 0)]),
                ["s 198.51.100.0 p Allocated N:IPAllocated"],
            ),
            row(
                "§3.1 priority 1, then 2, then 0",
                one(vec![
                    pinned("zero", &["198.51.100.0/28"], 0),
                    pinned("two", &["198.51.100.16/28"], 2),
                    pinned("one", &["198.51.100.32/28"], 1),
                ]),
                ["s 198.51.100.32 one Allocated N:IPAllocated"],
            ),
            row(
                "§3.1 the next priority when the first is full",
                vec![
                    pinned("one", &["198.51.100.32/32"], 1),
                    pinned("zero", &["198.51.100.0/28"], 0),
                    pinned("two", &["198.51.100.16/28"], 2),
                    service("held").has(&["198.51.100.32"], "one").made(),
                    service("s").made(),
                ],
                ["=held 198.51.100.32 one Allocated", "s 198.51.100.16 two Allocated N:IPAllocated"],
            ),
            row(
                "§3.1 general when the pinned ones are full",
                vec![
                    general(),
                    pinned("one", &["198.51.100.32/32"], 1),
                    service("held").has(&["198.51.100.32"], "one").made(),
                    service("s").made(),
                ],
                ["=held 198.51.100.32 one Allocated", "s 192.0.2.0 a Allocated N:IPAllocated"],
            ),
            row(
                "§3.1 a pinned one with autoAssign: false is left out",
                one(vec![general(), off(pinned("p", &["198.51.100.0/28"], 1))]),
                ["s 192.0.2.0 a Allocated N:IPAllocated"],
            ),
            row(
                "§3.1 general ones by name, where MetalLB takes any",
                one(vec![pool("b", &["198.51.100.0/28"]), general()]),
                ["s 192.0.2.0 a Allocated N:IPAllocated"],
            ),
            row(
                "§3.1 only pools on request",
                one(vec![off(general())]),
                ["=s - - NoAvailableAddresses W:AllocationFailed !a:NotAutoAssigned"],
            ),
        ],
        services,
    );
}

#[test]
fn of_addresses() {
    let buggy = |addresses: &[&str]| pool_with("a", addresses, &json!({ "avoidBuggyIPs": true }));
    check(
        vec![
            row(
                "§3.1 entries in their order",
                one(vec![pool("a", &["198.51.100.0/28", "192.0.2.0/28"])]),
                ["s 198.51.100.0 a Allocated N:IPAllocated"],
            ),
            row(
                "§3.1 the lowest of a range",
                one(vec![pool("a", &["192.0.2.3-192.0.2.9"])]),
                ["s 192.0.2.3 a Allocated N:IPAllocated"],
            ),
            row(
                "§3.1 network and broadcast addresses too",
                one(vec![pool("a", &["192.0.2.255/32"])]),
                ["s 192.0.2.255 a Allocated N:IPAllocated"],
            ),
            row(
                "§3.1 not with avoidBuggyIPs",
                one(vec![buggy(&["192.0.2.255-192.0.3.1"])]),
                ["s 192.0.3.1 a Allocated N:IPAllocated"],
            ),
            row(
                "§3.1 a freed address comes at once",
                vec![
                    pool("a", &["192.0.2.0/30"]),
                    service("s").has(&["192.0.2.0"], "a").made(),
                    service("t").has(&["192.0.2.2"], "a").made(),
                    service("u").made(),
                    service("v").made(),
                ],
                [
                    "=s 192.0.2.0 a Allocated",
                    "=t 192.0.2.2 a Allocated",
                    "u 192.0.2.1 a Allocated N:IPAllocated",
                    "v 192.0.2.3 a Allocated N:IPAllocated",
                ],
            ),
        ],
        services,
    );
}
