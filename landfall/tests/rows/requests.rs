//! §2.3 requests for an address, §2.4 requests for a pool.

use serde_json::{Value, json};

use crate::{
    check, row,
    service::{Service, pool, pool_with, service},
    services,
};

/// Two pools, one only on request, and one of somebody else.
fn pools() -> Vec<Value> {
    vec![
        pool("a", &["192.0.2.0/28", "2001:db8::/124"]),
        pool("b", &["198.51.100.0/28"]),
        pool_with("manual", &["203.0.113.0/28"], &json!({ "autoAssign": false })),
        pool_with(
            "pinned",
            &["203.0.113.16/28"],
            &json!({ "serviceAllocation": { "namespaces": ["bank"] } }),
        ),
    ]
}

fn ask(service: Service) -> Vec<Value> {
    [pools(), vec![service.made()]].concat()
}

fn beside(service: Service, other: Service) -> Vec<Value> {
    [pools(), vec![service.made(), other.made()]].concat()
}

#[test]
fn addresses_of_a_new_service() {
    let field = |service: Service, ip: &str| service.spec("loadBalancerIP", ip.into());
    check(
        vec![
            row(
                "§2.3 the field",
                ask(field(service("s"), "192.0.2.5")),
                ["s 192.0.2.5 a Allocated N:IPAllocated"],
            ),
            row(
                "§2.3 the field, of a dual Service",
                ask(field(service("s").dual("PreferDualStack"), "192.0.2.5")),
                ["=s - - FamilyMismatch W:AllocationFailed"],
            ),
            row(
                "§2.3 the annotation",
                ask(service("s").asks("192.0.2.5")),
                ["s 192.0.2.5 a Allocated N:IPAllocated"],
            ),
            row(
                "§2.3 the annotation, two families, blanks",
                ask(service("s").dual("RequireDualStack").asks(" 192.0.2.5 , 2001:db8::5")),
                ["s 192.0.2.5,2001:db8::5 a Allocated N:IPAllocated"],
            ),
            row(
                "§2.3 IPv6 first: the status is IPv4 first at once (§10 D18)",
                ask(service("s").dual("RequireDualStack").asks("2001:db8::5,192.0.2.5")),
                ["s 192.0.2.5,2001:db8::5 a Allocated N:IPAllocated"],
            ),
            row(
                "§2.3 both set",
                ask(field(service("s"), "192.0.2.5").asks("192.0.2.5")),
                ["=s - - InvalidRequest W:AllocationFailed"],
            ),
            row(
                "§2.3 unparseable",
                ask(service("s").asks("five")),
                ["=s - - InvalidRequest W:AllocationFailed"],
            ),
            row(
                "§2.3 three addresses",
                ask(service("s").asks("192.0.2.1,2001:db8::1,192.0.2.2")),
                ["=s - - InvalidRequest W:AllocationFailed"],
            ),
            row(
                "§2.3 two of one family",
                ask(service("s").dual("RequireDualStack").asks("192.0.2.1,192.0.2.2")),
                ["=s - - InvalidRequest W:AllocationFailed"],
            ),
            row(
                "§2.3 another family",
                ask(service("s").asks("2001:db8::5")),
                ["=s - - FamilyMismatch W:AllocationFailed"],
            ),
            row(
                "§2.3 a dual Service needs both, also with PreferDualStack",
                ask(service("s").dual("PreferDualStack").asks("192.0.2.5")),
                ["=s - - FamilyMismatch W:AllocationFailed"],
            ),
            row(
                "§2.3 outside every pool",
                ask(service("s").asks("10.9.9.9")),
                ["=s - - AddressNotInPools W:AllocationFailed"],
            ),
            row(
                "§2.3 in a pool with autoAssign: false",
                ask(service("s").asks("203.0.113.5")),
                ["s 203.0.113.5 manual Allocated N:IPAllocated"],
            ),
            row(
                "§2.3 in a pool that is for others",
                ask(service("s").asks("203.0.113.20")),
                ["=s - - NamespaceNotAllowed W:AllocationFailed !pinned:NamespaceNotAllowed"],
            ),
            row(
                "§2.3 in two pools",
                ask(service("s").dual("RequireDualStack").asks("198.51.100.1,2001:db8::1")),
                ["=s - - AddressesInDifferentPools W:AllocationFailed"],
            ),
            row(
                "§2.3 and a pool that is another one",
                ask(service("s").asks("192.0.2.5").says("address-pool", "b")),
                ["=s - - PoolMismatch W:AllocationFailed !a:PoolMismatch"],
            ),
            row(
                "§2.3 somebody has it",
                beside(service("held").has(&["192.0.2.5"], "a"), service("s").asks("192.0.2.5")),
                ["=held 192.0.2.5 a Allocated", "=s - - AddressInUse W:AllocationFailed"],
            ),
        ],
        services,
    );
}

#[test]
fn addresses_of_one_that_has_some() {
    let has = || service("s").has(&["192.0.2.3"], "a");
    check(
        vec![
            row(
                "§2.3 the field",
                ask(has().spec("loadBalancerIP", "192.0.2.5".into())),
                ["s 192.0.2.5 a Allocated N:IPAllocated"],
            ),
            row(
                "§2.3 the annotation",
                ask(has().asks("198.51.100.5")),
                ["s 198.51.100.5 b Allocated N:IPAllocated"],
            ),
            row(
                "§2.3 both set: it keeps its address",
                ask(has().spec("loadBalancerIP", "192.0.2.5".into()).asks("192.0.2.5")),
                ["=s 192.0.2.3 a InvalidRequest W:LoadBalancerFailed"],
            ),
            row(
                "§2.3 unparseable: it keeps its address",
                ask(has().asks("five")),
                ["=s 192.0.2.3 a InvalidRequest W:LoadBalancerFailed"],
            ),
            row(
                "§2.3 three addresses: it keeps its address",
                ask(has().asks("192.0.2.1,2001:db8::1,192.0.2.2")),
                ["=s 192.0.2.3 a InvalidRequest W:LoadBalancerFailed"],
            ),
            row(
                "§2.3 another family",
                ask(has().asks("2001:db8::5")),
                ["s - - FamilyMismatch W:AllocationFailed"],
            ),
            row(
                "§2.3 outside every pool",
                ask(has().asks("10.9.9.9")),
                ["s - - AddressNotInPools W:AllocationFailed"],
            ),
            row(
                "§2.3 in a pool that is for others",
                ask(has().asks("203.0.113.20")),
                ["s - - NamespaceNotAllowed W:AllocationFailed !pinned:NamespaceNotAllowed"],
            ),
            row(
                "§2.3 somebody has it",
                beside(service("held").has(&["192.0.2.5"], "a"), has().asks("192.0.2.5")),
                ["=held 192.0.2.5 a Allocated", "s - - AddressInUse W:AllocationFailed"],
            ),
            row(
                "§2.3 the same ones in another order",
                ask(service("s")
                    .dual("RequireDualStack")
                    .asks("2001:db8::5,192.0.2.5")
                    .has(&["192.0.2.5", "2001:db8::5"], "a")),
                ["=s 192.0.2.5,2001:db8::5 a Allocated"],
            ),
            row("§2.3 the request is gone", ask(has()), ["=s 192.0.2.3 a Allocated"]),
        ],
        services,
    );
}

#[test]
fn pools_by_name() {
    let from = |pool: &str| service("s").says("address-pool", pool);
    let has = |pool: &str| from(pool).has(&["192.0.2.3"], "a");
    let full = || {
        let mut objects = pools();
        objects.push(pool("tiny", &["192.0.2.99/32"]));
        objects.push(service("other").has(&["192.0.2.99"], "tiny").made());
        objects
    };
    check(
        vec![
            row("§2.4 a pool", ask(from("b")), ["s 198.51.100.0 b Allocated N:IPAllocated"]),
            row(
                "§2.4 autoAssign: false does not matter",
                ask(from("manual")),
                ["s 203.0.113.0 manual Allocated N:IPAllocated"],
            ),
            row(
                "§2.4 an unknown one",
                ask(from("x")),
                ["=s - - UnknownPool W:AllocationFailed !x:UnknownPool"],
            ),
            row(
                "§2.4 one for others",
                ask(from("pinned")),
                ["=s - - NamespaceNotAllowed W:AllocationFailed !pinned:NamespaceNotAllowed"],
            ),
            row(
                "§2.4 without the family, in words that say so (§10 D15)",
                ask(from("b").single(6)),
                ["=s - - FamilyMissing W:AllocationFailed !b:FamilyMissing"],
            ),
            row("§2.4 another one than before", ask(has("b")), ["s 198.51.100.0 b Allocated N:IPAllocated"]),
            row(
                "§2.4 another one than before, and it is full",
                [full(), vec![has("tiny").made()]].concat(),
                [
                    "=other 192.0.2.99 tiny Allocated",
                    "s - - PoolExhausted W:AllocationFailed !tiny:PoolExhausted",
                ],
            ),
            row(
                "§2.4 the annotation is gone",
                ask(service("s").has(&["198.51.100.3"], "b")),
                ["=s 198.51.100.3 b Allocated"],
            ),
            row(
                "§2.4 one that does not exist, instead of one that does",
                ask(has("x")),
                ["s - - UnknownPool W:AllocationFailed !x:UnknownPool"],
            ),
        ],
        services,
    );
}
