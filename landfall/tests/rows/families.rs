//! §2.5 IP families.

use serde_json::{Value, json};

use crate::{
    check, row,
    service::{Service, pool, service},
    services,
};

const V4: &[&str] = &["192.0.2.0/28"];
const V6: &[&str] = &["2001:db8::/124"];
const BOTH: &[&str] = &["192.0.2.0/28", "2001:db8::/124"];

fn with(pools: Vec<Value>, service: Service) -> Vec<Value> {
    [pools, vec![service.made()]].concat()
}

#[test]
fn of_a_new_service() {
    let dual = |policy: &str| service("s").dual(policy);
    check(
        vec![
            row(
                "§2.5 single, IPv4",
                with(vec![pool("a", V4)], service("s").single(4)),
                ["s 192.0.2.0 a Allocated N:IPAllocated"],
            ),
            row(
                "§2.5 single, IPv6",
                with(vec![pool("a", V6)], service("s").single(6)),
                ["s 2001:db8:: a Allocated N:IPAllocated"],
            ),
            row(
                "§2.5 single, from a pool with both",
                with(vec![pool("a", BOTH)], service("s").single(6)),
                ["s 2001:db8:: a Allocated N:IPAllocated"],
            ),
            row(
                "§2.5 RequireDualStack",
                with(vec![pool("a", BOTH)], dual("RequireDualStack")),
                ["s 192.0.2.0,2001:db8:: a Allocated N:IPAllocated"],
            ),
            row(
                "§2.5 RequireDualStack, IPv6 first in the Service",
                with(
                    vec![pool("a", BOTH)],
                    service("s").families("RequireDualStack", &["IPv6", "IPv4"], &["fd00::7", "10.96.0.7"]),
                ),
                ["s 192.0.2.0,2001:db8:: a Allocated N:IPAllocated"],
            ),
            row(
                "§2.5 RequireDualStack, one family",
                with(vec![pool("a", V4)], dual("RequireDualStack")),
                ["=s - - NoAvailableAddresses W:AllocationFailed !a:FamilyMissing"],
            ),
            row(
                "§2.5 RequireDualStack, one ClusterIP",
                with(vec![pool("a", BOTH)], service("s").spec("ipFamilyPolicy", "RequireDualStack".into())),
                ["=s - - NotEnoughClusterIps W:not enough clusterips"],
            ),
            row(
                "§2.5 PreferDualStack",
                with(vec![pool("a", BOTH)], dual("PreferDualStack")),
                ["s 192.0.2.0,2001:db8:: a Allocated N:IPAllocated"],
            ),
            row(
                "§2.5 PreferDualStack: the first pool with both",
                with(vec![pool("a", &["198.51.100.0/28"]), pool("b", BOTH)], dual("PreferDualStack")),
                ["s 192.0.2.0,2001:db8:: b Allocated N:IPAllocated"],
            ),
            row(
                "§2.5 PreferDualStack, only the other family",
                with(vec![pool("a", V6)], dual("PreferDualStack")),
                ["s 2001:db8:: a Allocated N:IPAllocated,N:AdditionalAssignFailed"],
            ),
            row(
                "§2.5 PreferDualStack with one ClusterIP: one address, and it stays (§10 D1)",
                with(vec![pool("a", BOTH)], service("s").spec("ipFamilyPolicy", "PreferDualStack".into())),
                ["s 192.0.2.0 a Allocated N:IPAllocated"],
            ),
        ],
        services,
    );
}

#[test]
fn of_one_that_has_addresses() {
    let dual = |policy: &str| service("s").dual(policy);
    check(
        vec![
            row(
                "§2.5 PreferDualStack with one address: the other is added",
                with(vec![pool("a", BOTH)], dual("PreferDualStack").has(&["192.0.2.3"], "a")),
                ["s 192.0.2.3,2001:db8:: a Allocated N:IPAllocated"],
            ),
            row(
                "§2.5 PreferDualStack with one address, and no more in its pool",
                with(vec![pool("a", V4)], dual("PreferDualStack").has(&["192.0.2.3"], "a")),
                ["=s 192.0.2.3 a Allocated N:AdditionalAssignFailed"],
            ),
            row(
                "§2.5 PreferDualStack with one address, and a pool with both appears: it stays",
                with(
                    vec![pool("a", V4), pool("b", &["198.51.100.0/28", "2001:db8::/124"])],
                    dual("PreferDualStack").has(&["192.0.2.3"], "a"),
                ),
                ["=s 192.0.2.3 a Allocated N:AdditionalAssignFailed"],
            ),
            row(
                "§2.5 the pool loses a family: both from another pool",
                with(
                    vec![pool("a", V4), pool("b", &["198.51.100.0/28", "2001:db8:1::/124"])],
                    dual("RequireDualStack").has(&["192.0.2.3", "2001:db8::3"], "a"),
                ),
                ["s 198.51.100.0,2001:db8:1:: b Allocated N:ClearAssignment,N:IPAllocated"],
            ),
            row(
                "§2.5 families of the Service change",
                with(vec![pool("a", BOTH)], service("s").single(6).has(&["192.0.2.3"], "a")),
                ["s 2001:db8:: a Allocated N:IPAllocated"],
            ),
            row(
                "§2.5 three addresses in the status",
                with(
                    vec![pool("a", BOTH)],
                    service("s").has(&["192.0.2.3", "2001:db8::3", "192.0.2.4"], "a"),
                ),
                ["s 192.0.2.0 a Allocated W:nolbIPsIPFamily,N:IPAllocated"],
            ),
            row(
                "§2.5 an address that is none",
                with(
                    vec![pool("a", BOTH)],
                    service("s").says("ip-allocated-from-pool", "a").ingress(json!([{ "ip": "three" }])),
                ),
                ["s 192.0.2.0 a Allocated W:nolbIPsIPFamily,N:IPAllocated"],
            ),
        ],
        services,
    );
}
