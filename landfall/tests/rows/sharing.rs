//! §2.6 sharing one address.

use serde_json::{Value, json};

use crate::{
    check, row,
    service::{Service, pool, service},
    services,
};

/// One that has the address, and one that asks for it.
fn pair(first: Service, second: Service) -> Vec<Value> {
    let first = first.has(&["192.0.2.3"], "a").made();
    vec![pool("a", &["192.0.2.0/28"]), first, second.asks("192.0.2.3").made()]
}

fn shares(name: &str, key: &str, port: u16) -> Service {
    service(name).says("allow-shared-ip", key).port("TCP", port)
}

#[test]
fn who_may_share() {
    const BOTH: [&str; 2] = ["=s 192.0.2.3 a Allocated", "t 192.0.2.3 a Allocated N:IPAllocated"];
    const NO: [&str; 2] = ["=s 192.0.2.3 a Allocated", "=t - - SharingConflict W:AllocationFailed"];
    let selects = |service: Service, app: &str| service.local().spec("selector", json!({ "app": app }));
    let elsewhere = |service: Service| {
        let mut object = service.made();
        object["metadata"]["namespace"] = "bank".into();
        object
    };
    let mut apart = pair(shares("s", "k", 80), shares("t", "k", 443));
    apart[2] = elsewhere(shares("t", "k", 443).asks("192.0.2.3"));
    check(
        vec![
            row("§2.6 one key, two ports", pair(shares("s", "k", 80), shares("t", "k", 443)), BOTH),
            row(
                "§2.6 no key",
                pair(service("s"), service("t").port("TCP", 443)),
                ["=s 192.0.2.3 a Allocated", "=t - - AddressInUse W:AllocationFailed"],
            ),
            row(
                "§2.6 an empty key",
                pair(shares("s", "", 80), shares("t", "", 443)),
                ["=s 192.0.2.3 a Allocated", "=t - - AddressInUse W:AllocationFailed"],
            ),
            row("§2.6 another key", pair(shares("s", "k", 80), shares("t", "l", 443)), NO),
            row("§2.6 the same port", pair(shares("s", "k", 80), shares("t", "k", 80)), NO),
            row(
                "§2.6 the same port, other protocols",
                pair(shares("s", "k", 53), shares("t", "k", 53).port("UDP", 53)),
                BOTH,
            ),
            row(
                "§2.6 Local and Cluster",
                pair(shares("s", "k", 80).local().spec("selector", json!({"a": "b"})), shares("t", "k", 443)),
                NO,
            ),
            row(
                "§2.6 Local and Local, one selector",
                pair(selects(shares("s", "k", 80), "x"), selects(shares("t", "k", 443), "x")),
                BOTH,
            ),
            row(
                "§2.6 Local and Local, two selectors",
                pair(selects(shares("s", "k", 80), "x"), selects(shares("t", "k", 443), "y")),
                NO,
            ),
            row(
                "§2.6 Local without a selector is as Cluster",
                pair(shares("s", "k", 80).local(), shares("t", "k", 443)),
                BOTH,
            ),
            row(
                "§2.6 namespaces do not matter",
                apart,
                ["t 192.0.2.3 a Allocated N:IPAllocated", "=s 192.0.2.3 a Allocated"],
            ),
        ],
        services,
    );
}

#[test]
fn sharing_is_a_permission_and_no_wish() {
    let a = || pool("a", &["192.0.2.0/28"]);
    let held = |address: &str| shares("s", "k", 80).has(&[address], "a").made();
    check(
        vec![
            row(
                "§2.6 the shareable address is the lowest",
                vec![a(), held("192.0.2.0"), shares("t", "k", 443).made()],
                ["=s 192.0.2.0 a Allocated", "t 192.0.2.0 a Allocated N:IPAllocated"],
            ),
            row(
                "§2.6 a free one is lower",
                vec![a(), held("192.0.2.3"), shares("t", "k", 443).made()],
                ["=s 192.0.2.3 a Allocated", "t 192.0.2.0 a Allocated N:IPAllocated"],
            ),
            row(
                "§2.6 a lone user changes key, port and policy in place",
                vec![a(), shares("s", "new", 81).local().has(&["192.0.2.3"], "a").made()],
                ["=s 192.0.2.3 a Allocated"],
            ),
            row(
                "§2.6 one of two that do not fit any more moves",
                vec![
                    a(),
                    shares("s", "k", 80).has(&["192.0.2.3"], "a").made(),
                    shares("t", "new", 443).has(&["192.0.2.3"], "a").made(),
                ],
                ["=s 192.0.2.3 a Allocated", "t 192.0.2.0 a Allocated N:ClearAssignment,N:IPAllocated"],
            ),
        ],
        services,
    );
}
