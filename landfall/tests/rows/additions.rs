//! What Landfall adds to MetalLB's pools.

use serde_json::{Value, json};

use crate::{
    check, row,
    service::{Service, pool, service},
    services,
};

/// The pool with an annotation.
fn with(mut pool: Value, annotation: &str, value: &str) -> Value {
    pool["metadata"]["annotations"][annotation] = value.into();
    pool
}

fn of(pool: Value, services: Vec<Service>) -> Vec<Value> {
    [vec![pool], services.into_iter().map(Service::made).collect()].concat()
}

#[test]
fn annotations_of_pools() {
    let a = || pool("a", &["192.0.2.0/29"]);
    let exclude = |value: &str| with(a(), "landfall.dev/exclude", value);
    let reserve = |value: &str| with(a(), "landfall.dev/reserve", value);
    let quota = |value: &str| with(a(), "landfall.dev/quota-per-namespace", value);
    check(
        vec![
            row(
                "exclude",
                of(exclude("192.0.2.0/31, 192.0.2.2, 192.0.2.4-192.0.2.5"), vec![service("s"), service("t")]),
                ["s 192.0.2.3 a Allocated N:IPAllocated", "t 192.0.2.6 a Allocated N:IPAllocated"],
            ),
            row(
                "exclude: asked for",
                of(exclude("192.0.2.5"), vec![service("s").asks("192.0.2.5")]),
                ["=s - - AddressExcluded W:AllocationFailed !a:AddressExcluded"],
            ),
            row(
                "exclude: somebody has it",
                of(exclude("192.0.2.5"), vec![service("s").has(&["192.0.2.5"], "a")]),
                ["=s 192.0.2.5 a Allocated"],
            ),
            row(
                "exclude: not to be read, so nothing is handed out",
                of(exclude("192.0.2.5,x"), vec![service("s")]),
                ["=s - - NoPools W:AllocationFailed"],
            ),
            row(
                "reserve",
                of(reserve("shop/t=192.0.2.0"), vec![service("s"), service("t")]),
                ["s 192.0.2.1 a Allocated N:IPAllocated", "t 192.0.2.0 a Allocated N:IPAllocated"],
            ),
            row(
                "reserve: asked for",
                of(reserve("bank/t=192.0.2.0"), vec![service("s").asks("192.0.2.0")]),
                ["=s - - AddressReserved W:AllocationFailed !a:AddressReserved"],
            ),
            row(
                "quota",
                of(quota("1"), vec![service("s"), service("t")]),
                [
                    "s 192.0.2.0 a Allocated N:IPAllocated",
                    "=t - - QuotaExceeded W:AllocationFailed !a:QuotaExceeded",
                ],
            ),
            row(
                "quota: what is held stays",
                of(
                    quota("1"),
                    vec![service("s").has(&["192.0.2.3"], "a"), service("t").has(&["192.0.2.4"], "a")],
                ),
                ["=s 192.0.2.3 a Allocated", "=t 192.0.2.4 a Allocated"],
            ),
        ],
        services,
    );
}

#[test]
fn nodes_and_families() {
    let node = |address: &str| {
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n1" },
            "status": { "addresses": [{ "type": "InternalIP", "address": address }] },
        })
    };
    let a = || pool("a", &["192.0.2.0/29"]);
    let dual = |policy: &str| service("s").dual(policy).made();
    let apart = |policy: &str| vec![a(), pool("b", &["2001:db8::/124"]), dual(policy)];
    check(
        vec![
            row(
                "a node has the first address",
                vec![a(), node("192.0.2.0"), service("s").made()],
                ["s 192.0.2.1 a Allocated N:IPAllocated"],
            ),
            row(
                "a node has what is asked for",
                vec![a(), node("192.0.2.5"), service("s").asks("192.0.2.5").made()],
                ["=s - - NodeAddress W:AllocationFailed !a:NodeAddress"],
            ),
            row(
                "RequireDualStack, a family of each of two pools",
                apart("RequireDualStack"),
                ["s 192.0.2.0,2001:db8:: a,b Allocated N:IPAllocated"],
            ),
            row(
                "PreferDualStack is content with one, as with MetalLB",
                apart("PreferDualStack"),
                ["s 192.0.2.0 a Allocated N:IPAllocated,N:AdditionalAssignFailed"],
            ),
        ],
        services,
    );
}
