//! What a new Service gets: §2.3 (requests), §2.4 (pool annotation), §2.5 (families),
//! §3.1 (order). The row is named in each case.

use crate::cluster::*;
use landfall_model::{Family, FamilyPolicy, Labels, Pool, Reason, ServiceAllocation, ServiceView};
use landfall_pool::Request;

struct Case {
    row: &'static str,
    service: ServiceView,
    expected: Result<&'static [&'static str], (Reason, &'static str)>,
}

fn case(
    row: &'static str,
    service: ServiceView,
    expected: Result<&'static [&'static str], (Reason, &'static str)>,
) -> Case {
    Case { row, service, expected }
}

fn check(pools: &[Pool], cases: Vec<Case>) {
    for Case { row, service, expected } in cases {
        let mut allocator = allocator(pools);
        match (allocate(&mut allocator, &service), expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{row}"),
            (Err(got), Err((reason, cause))) => {
                assert_eq!((got.reason, got.cause.as_str()), (reason, cause), "{row}");
            }
            (got, expected) => panic!("{row}: got {got:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn explicit_requests() {
    let pools = [
        pool("a", &["192.0.2.0/28", "2001:db8::/124"]),
        pool("b", &["198.51.100.0/28", "2001:db8:1::/124"]),
        Pool { auto_assign: false, ..pool("manual", &["203.0.113.0/28"]) },
        pinned("others", &["203.0.113.64/28"], 1, &["other"]),
        Pool { avoid_buggy_ips: true, ..pool("careful", &["10.0.0.0/24"]) },
    ];
    let bad = |cause| Err((Reason::InvalidRequest, cause));
    check(
        &pools,
        vec![
            case("§2.3 loadBalancerIP only", service("s").field("192.0.2.5"), Ok(&["192.0.2.5"])),
            case("§2.3 annotation only", service("s").asks(" 192.0.2.5 "), Ok(&["192.0.2.5"])),
            case("§2.2 empty annotation asks for nothing", service("s").asks(""), Ok(&["192.0.2.0"])),
            case(
                "§2.3 both set",
                service("s").asks("192.0.2.5").field("192.0.2.5"),
                bad(
                    "spec.loadBalancerIP and the annotation loadBalancerIPs are both set; remove one of them",
                ),
            ),
            case(
                "§2.3 unparseable",
                service("s").asks("192.0.2.x"),
                bad("\"192.0.2.x\" in \"192.0.2.x\" is not an IP address"),
            ),
            case(
                "§2.3 three addresses",
                service("s").require_dual().asks("192.0.2.1,192.0.2.2,2001:db8::1"),
                bad("\"192.0.2.1,192.0.2.2,2001:db8::1\" names more than 2 address(es)"),
            ),
            case(
                "§2.3 two of one family",
                service("s").require_dual().asks("192.0.2.1,192.0.2.2"),
                bad("\"192.0.2.1,192.0.2.2\" names two IPv4 addresses"),
            ),
            case(
                "§2.3 two in the field",
                service("s").require_dual().field("192.0.2.1,2001:db8::1"),
                bad("\"192.0.2.1,2001:db8::1\" names more than 1 address(es)"),
            ),
            case(
                "§2.3 family mismatch",
                service("s").v6().asks("192.0.2.1"),
                Err((
                    Reason::FamilyMismatch,
                    "requested loadBalancer IP(s) [\"192.0.2.1\"] are not of the Service's families, IPv6",
                )),
            ),
            case(
                "§2.3 a dual Service needs both, also with PreferDualStack",
                service("s").prefer_dual().field("192.0.2.1"),
                Err((
                    Reason::FamilyMismatch,
                    "requested loadBalancer IP(s) [\"192.0.2.1\"] are not of the Service's families, IPv4 and IPv6",
                )),
            ),
            case(
                "§2.3 dual, listed v6 first; §10 D18: v4 first at once",
                service("s").require_dual().asks("2001:db8::5, 192.0.2.5"),
                Ok(&["192.0.2.5", "2001:db8::5"]),
            ),
            case(
                "§2.3 outside every pool",
                service("s").asks("192.0.2.99"),
                Err((Reason::AddressNotInPools, "[\"192.0.2.99\"] is not allowed in config")),
            ),
            case("§2.3 autoAssign: false", service("s").asks("203.0.113.1"), Ok(&["203.0.113.1"])),
            case(
                "§2.3 serviceAllocation does not match",
                service("s").asks("203.0.113.65"),
                Err((Reason::NamespaceNotAllowed, "pool others not compatible for ip assignment")),
            ),
            case(
                "§2.3 two pools",
                service("s").require_dual().asks("192.0.2.1,2001:db8:1::1"),
                Err((
                    Reason::AddressesInDifferentPools,
                    "[\"192.0.2.1\" \"2001:db8:1::1\"] is not allowed in config",
                )),
            ),
            case(
                "§2.3 another pool named",
                service("s").asks("192.0.2.1").of_pool("b"),
                Err((Reason::PoolMismatch, "[\"192.0.2.1\"] is of pool a, requested is pool b")),
            ),
            case("§2.3 its own pool named", service("s").asks("192.0.2.1").of_pool("a"), Ok(&["192.0.2.1"])),
            case(
                "§1.1 avoidBuggyIPs",
                service("s").asks("10.0.0.255"),
                Err((Reason::BuggyAddress, "[\"10.0.0.255\"] is not allowed in config")),
            ),
        ],
    );
}

#[test]
fn a_requested_address_in_use_is_refused() {
    let mut allocator = allocator(&[pool("a", &["192.0.2.0/28"])]);
    allocate(&mut allocator, &service("first").asks("192.0.2.7")).unwrap();
    let rejection = allocate(&mut allocator, &service("second").asks("192.0.2.7")).unwrap_err();
    assert_eq!(rejection.reason, Reason::AddressInUse);
    let cause = "can't change sharing key for \"shop/second\", address also in use by shop/first";
    assert!(rejection.cause.starts_with(cause), "§2.9: {}", rejection.cause);
}

#[test]
fn the_pool_annotation() {
    let pools = [
        pool("a", &["192.0.2.0/28"]),
        Pool { auto_assign: false, ..pool("manual", &["203.0.113.0/28"]) },
        pinned("others", &["203.0.113.64/28"], 1, &["other"]),
        pinned("mine", &["203.0.113.128/28"], 1, &["shop"]),
    ];
    check(
        &pools,
        vec![
            case("§2.4 ignores priority", service("s").of_pool("a"), Ok(&["192.0.2.0"])),
            case("§2.4 ignores autoAssign: false", service("s").of_pool("manual"), Ok(&["203.0.113.0"])),
            case("§2.2 empty names no pool", service("s").of_pool(""), Ok(&["203.0.113.128"])),
            case(
                "§2.4 unknown pool",
                service("s").of_pool("x"),
                Err((Reason::UnknownPool, "unknown pool \"x\"")),
            ),
            case(
                "§2.4 excluded",
                service("s").of_pool("others"),
                Err((Reason::NamespaceNotAllowed, "pool others not compatible for ip assignment")),
            ),
            case(
                "§2.4 family missing; §10 D15: said plainly",
                service("s").v6().of_pool("a"),
                Err((Reason::FamilyMissing, "no available IPs in pool a: it has no IPv6 addresses")),
            ),
        ],
    );
    let mut allocator = allocator(&[pool("a", &["192.0.2.0/32"]), pool("b", &["192.0.2.1/32"])]);
    allocate(&mut allocator, &service("first").of_pool("a")).unwrap();
    let rejection = allocate(&mut allocator, &service("second").of_pool("a")).unwrap_err();
    assert_eq!(
        (rejection.reason, rejection.cause.as_str()),
        (Reason::PoolExhausted, "no available IPs in pool a")
    );
}

#[test]
fn families() {
    let v6_first = |policy| service("s").families(policy, &[Family::V6, Family::V4]);
    let dual = [pool("a4", &["192.0.2.0/28"]), pool("dual", &["2001:db8::/124", "198.51.100.0/28"])];
    check(
        &dual,
        vec![
            case("§2.5 SingleStack v4", service("s"), Ok(&["192.0.2.0"])),
            case("§2.5 SingleStack v6, dual pool", service("s").v6(), Ok(&["2001:db8::"])),
            case(
                "§2.5 RequireDualStack: one pool, v4 then v6",
                service("s").require_dual(),
                Ok(&["198.51.100.0", "2001:db8::"]),
            ),
            case(
                "§2.5 PreferDualStack: the first pool with both",
                service("s").prefer_dual(),
                Ok(&["198.51.100.0", "2001:db8::"]),
            ),
            case(
                "§10 D1 PreferDualStack with one cluster IP is single-stack",
                service("s").families(FamilyPolicy::PreferDualStack, &[Family::V6]),
                Ok(&["2001:db8::"]),
            ),
            case(
                "§2.5 RequireDualStack with one cluster IP",
                service("s").families(FamilyPolicy::RequireDualStack, &[Family::V4]),
                Err((
                    Reason::NotEnoughClusterIps,
                    "RequireDualStack needs cluster IPs of both families, the Service has IPv4 only",
                )),
            ),
            case(
                "§2.1 no cluster IP",
                service("s").families(FamilyPolicy::SingleStack, &[]),
                Err((Reason::NoClusterIp, "the Service has no cluster IP yet")),
            ),
        ],
    );
    let apart = [pool("a4", &["192.0.2.0/28"]), pool("b6", &["2001:db8::/124"])];
    check(
        &apart,
        vec![
            case(
                "§2.5 RequireDualStack, one family of each of two pools, where MetalLB needs one with both",
                service("s").require_dual(),
                Ok(&["192.0.2.0", "2001:db8::"]),
            ),
            case("§2.5 PreferDualStack, primary v4", service("s").prefer_dual(), Ok(&["192.0.2.0"])),
            case(
                "§2.5 PreferDualStack, primary v6",
                v6_first(FamilyPolicy::PreferDualStack),
                Ok(&["2001:db8::"]),
            ),
        ],
    );
    let own = [
        pinned("own4", &["192.0.2.0/28"], 1, &["shop"]),
        pinned("own6", &["2001:db8:6::/124"], 2, &["shop"]),
        pool("dual", &["2001:db8::/124", "198.51.100.0/28"]),
    ];
    check(
        &own,
        vec![
            case(
                "a pinned pool with one family before a general one",
                service("s").prefer_dual(),
                Ok(&["192.0.2.0"]),
            ),
            case(
                "of the pinned pools that with the primary family",
                v6_first(FamilyPolicy::PreferDualStack),
                Ok(&["2001:db8:6::"]),
            ),
            case(
                "RequireDualStack passes by those with one",
                service("s").require_dual(),
                Ok(&["198.51.100.0", "2001:db8::"]),
            ),
        ],
    );
    check(
        &apart[..1],
        vec![case("§2.5 … else the other", v6_first(FamilyPolicy::PreferDualStack), Ok(&["192.0.2.0"]))],
    );
}

#[test]
fn pools_are_tried_by_priority_then_name() {
    let one = |index: u8| format!("192.0.2.{index}/32");
    let ranges: Vec<String> = (0..8).map(one).collect();
    let range = |index: usize| [ranges[index].as_str()];
    // Listed in the order in which they are to be used: §3.1 steps 3 and 4, and negative priorities first.
    let pools = [
        pinned("z-negative", &range(0), -3, &[]),
        pinned("y-one", &range(1), 1, &["shop"]),
        pinned("x-two", &range(2), 2, &[]),
        pinned("x-two-too", &range(3), 2, &[]),
        pinned("a-zero", &range(4), 0, &["shop"]),
        pool("a-general", &range(5)),
        pool("b-general", &range(6)),
    ];
    let mut offered = pools.to_vec();
    offered.reverse();
    offered.push(pinned("others", &range(7), 1, &["other"]));
    offered.push(Pool { auto_assign: false, ..pool("a-manual", &["198.51.100.0/24"]) });
    let mut allocator = allocator(&offered);
    for (index, pool) in pools.iter().enumerate() {
        let got = allocate(&mut allocator, &service(&format!("s{index}"))).unwrap();
        assert_eq!(allocator.pool_of(got[0].parse().unwrap()), Some(&*pool.name));
    }
    let rejection = allocate(&mut allocator, &service("late")).unwrap_err();
    assert_eq!(
        (rejection.reason, rejection.cause.as_str()),
        (Reason::NoAvailableAddresses, "no available IPs")
    );
    let late = service("late");
    let labels = Labels::new();
    let why_not = allocator.why_not(&Request::of(&late, &labels).unwrap());
    let reasons: Vec<(&str, Reason)> = why_not.iter().map(|(name, reason)| (&**name, *reason)).collect();
    assert_eq!(
        reasons,
        [
            ("z-negative", Reason::PoolExhausted),
            ("others", Reason::NamespaceNotAllowed),
            ("y-one", Reason::PoolExhausted),
            ("x-two", Reason::PoolExhausted),
            ("x-two-too", Reason::PoolExhausted),
            ("a-zero", Reason::PoolExhausted),
            ("a-general", Reason::PoolExhausted),
            ("a-manual", Reason::NotAutoAssigned),
            ("b-general", Reason::PoolExhausted),
        ]
    );
}

#[test]
fn inside_a_pool_listed_order_then_lowest_first() {
    let careful = Pool {
        avoid_buggy_ips: true,
        ..pool("a", &["192.0.2.254-192.0.3.1", "198.51.100.255/32", "192.0.2.8/31"])
    };
    let mut allocator = allocator(&[careful]);
    assert_eq!(allocator.counts("a").map(|c| (c.assigned_v4, c.available_v4)), Some((0, 4)));
    let mut got = Vec::new();
    while let Ok(address) = allocate(&mut allocator, &service(&format!("s{}", got.len()))) {
        got.extend(address);
    }
    assert_eq!(got, ["192.0.2.254", "192.0.3.1", "192.0.2.8", "192.0.2.9"], "§3.1, §1.1 avoidBuggyIPs");
    assert_eq!(allocator.counts("a").map(|c| (c.assigned_v4, c.available_v4)), Some((4, 0)));
    allocator.release(&service("s1").key);
    assert_eq!(allocate(&mut allocator, &service("t")).unwrap(), ["192.0.3.1"], "§3.1 reused at once");
}

#[test]
fn service_allocation_shapes() {
    let by =
        |allocation: ServiceAllocation| Pool { allocation: Some(allocation), ..pool("p", &["192.0.2.0/28"]) };
    let web = || vec![selector("app", "web")];
    let no_namespace =
        ServiceAllocation { namespace_selectors: vec![selector("team", "x")], ..Default::default() };
    let both = ServiceAllocation {
        namespaces: [Box::from("shop")].into(),
        service_selectors: web(),
        ..ServiceAllocation::default()
    };
    for (row, allocation, service, admitted) in [
        ("§1.1 {} matches every Service", ServiceAllocation::default(), service("s"), true),
        ("§1.1 §10 D4 selectors without a match admit nobody", no_namespace.clone(), service("s"), false),
        ("§10 D4 … nor on request", no_namespace, service("s").asks("192.0.2.1"), false),
        ("§1.1 both must hold: yes", both.clone(), service("s").label("app", "web"), true),
        ("§1.1 both must hold: wrong label", both.clone(), service("s").label("app", "x"), false),
        (
            "§1.1 both must hold: wrong namespace",
            both,
            service("s").in_namespace("n").label("app", "web"),
            false,
        ),
    ] {
        assert_eq!(allocate(&mut allocator(&[by(allocation)]), &service).is_ok(), admitted, "{row}");
    }
    let teams = ServiceAllocation { namespace_selectors: vec![selector("team", "x")], ..Default::default() };
    let labels = Labels::from([("team".to_owned(), "x".to_owned())]);
    let service = service("s");
    let request = Request::of(&service, &labels).unwrap();
    assert!(allocator(&[by(teams)]).allocate(&request).is_ok(), "namespace labels count");
}

#[test]
fn capacities_never_overflow() {
    let huge = pool("huge", &["2001:db8::/32", "2001:db9::/32", "10.0.0.0/8"]);
    let mut allocator = allocator(&[huge]);
    allocate(&mut allocator, &service("s").v6()).unwrap();
    let counts = allocator.counts("huge").unwrap();
    assert_eq!((counts.available_v6, counts.assigned_v6), (i64::MAX, 1), "§10 D5");
    assert_eq!(counts.available_v4, 1 << 24);
}
