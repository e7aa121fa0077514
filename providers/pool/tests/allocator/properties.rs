//! What holds after any sequence of operations, and at any size.

use std::{collections::BTreeMap, net::IpAddr};

use landfall_model::{Family, FamilyPolicy, Pool, Protocol, Reason, ServiceView};
use landfall_pool::{Allocator, Counts};
use proptest::prelude::*;

use crate::cluster::*;

#[derive(Clone, Debug)]
enum Step {
    Allocate(ServiceView),
    Keep(ServiceView),
    Release(u8),
    Set(Pool),
    Remove(u8),
}

fn some_service() -> impl Strategy<Value = ServiceView> {
    let wishes = (0u8..10, 0u8..4, 0u8..3, 80u16..82, any::<bool>(), 0u8..12);
    wishes.prop_map(|(index, families, key, port, udp, ask)| {
        let protocol = if udp { Protocol::Udp } else { Protocol::Tcp };
        let mut service = service(&format!("s{index}")).port(protocol, port);
        service = match families {
            0 => service,
            1 => service.v6(),
            2 => service.require_dual(),
            _ => service.prefer_dual(),
        };
        if key > 0 {
            service = service.key(&format!("k{key}"));
        }
        match ask {
            0 => service.of_pool("p0"),
            1 => service.of_pool("p1"),
            2 => service.asks("192.0.2.2"),
            _ => service,
        }
    })
}

fn some_pool() -> impl Strategy<Value = Pool> {
    (0u8..3, prop::sample::subsequence(vec![0usize, 1, 2, 3, 4], 0..4), any::<bool>()).prop_map(
        |(index, ranges, avoid_buggy_ips)| {
            let all = [
                "192.0.2.0/31",
                "192.0.2.1-192.0.2.3",
                "2001:db8::/127",
                "192.0.2.255/32",
                "2001:db8::2/128",
            ];
            let ranges: Vec<&str> = ranges.into_iter().map(|index| all[index]).collect();
            Pool { avoid_buggy_ips, ..pool(&format!("p{index}"), &ranges) }
        },
    )
}

fn some_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => some_service().prop_map(Step::Allocate),
        3 => some_service().prop_map(Step::Keep),
        3 => (0u8..10).prop_map(Step::Release),
        2 => some_pool().prop_map(Step::Set),
        1 => (0u8..3).prop_map(Step::Remove),
    ]
}

/// Checks everything that must hold between any two operations. `known` has the traits under which a Service last
/// came through.
fn check(allocator: &Allocator, known: &BTreeMap<String, ServiceView>) {
    let mut users: BTreeMap<IpAddr, Vec<&ServiceView>> = BTreeMap::new();
    for service in known.values() {
        let Some(holding) = allocator.holding(&service.key) else { continue };
        assert!(holding.addresses.is_sorted() && holding.addresses.len() <= 2);
        for address in &holding.addresses {
            users.entry(*address).or_default().push(service);
            assert!(allocator.users(*address).any(|user| *user == service.key));
        }
    }
    for (address, users) in &users {
        for (index, one) in users.iter().enumerate() {
            for other in &users[index + 1..] {
                assert_eq!(one.requests.sharing_key, other.requests.sharing_key, "{address}");
                assert!(one.requests.sharing_key.is_some(), "{address} is shared without a key");
                assert_ne!(
                    (one.ports[0].protocol, one.ports[0].port),
                    (other.ports[0].protocol, other.ports[0].port),
                    "{address}"
                );
            }
        }
    }
    for pool in allocator.pools() {
        let inside = |family| {
            let count = users
                .keys()
                .filter(|a| Family::of(**a) == family && allocator.pool_of(**a) == Some(&*pool.name));
            i64::try_from(count.count()).unwrap()
        };
        let counts = allocator.counts(&pool.name).unwrap();
        assert_eq!(
            (counts.assigned_v4, counts.assigned_v6),
            (inside(Family::V4), inside(Family::V6)),
            "{pool:?}"
        );
    }
    let pools: Vec<&Pool> = allocator.pools().collect();
    for (index, one) in pools.iter().enumerate() {
        for other in &pools[index + 1..] {
            assert!(one.ranges.iter().all(|a| other.ranges.iter().all(|b| !a.overlaps(b))), "pools overlap");
        }
    }
}

/// What an exhaustive search would choose first for one family: listed order, lowest first, free or shareable.
fn first_fit(
    allocator: &Allocator,
    known: &BTreeMap<String, ServiceView>,
    service: &ServiceView,
) -> Option<IpAddr> {
    let family = service.cluster_families[0];
    for pool in allocator.pools() {
        for range in pool.ranges.iter().filter(|range| range.family() == family) {
            for offset in 0..range.len() {
                let address = range.nth(offset).unwrap();
                if pool.avoid_buggy_ips
                    && ["0", "255"].contains(&address.to_string().rsplit('.').next().unwrap())
                {
                    continue;
                }
                let fits = allocator.users(address).all(|user| {
                    let user = &known[&*user.name];
                    user.requests.sharing_key.is_some()
                        && user.requests.sharing_key == service.requests.sharing_key
                        && (user.ports[0].protocol, user.ports[0].port)
                            != (service.ports[0].protocol, service.ports[0].port)
                });
                if fits {
                    return Some(address);
                }
            }
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_is_held_twice_and_first_fit_is_first(steps in prop::collection::vec(some_step(), 1..60)) {
        let mut allocator = allocator(&[pool("p0", &["192.0.2.0/31", "2001:db8::/127"])]);
        let mut known: BTreeMap<String, ServiceView> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Allocate(service) => {
                    allocator.release(&service.key);
                    let plain = service.family_policy == FamilyPolicy::SingleStack
                        && service.requests.pool.is_none()
                        && service.requests.addresses.is_none();
                    let expected = first_fit(&allocator, &known, &service);
                    let got = allocate(&mut allocator, &service);
                    if plain {
                        prop_assert_eq!(got.ok().map(|got| got[0].parse().unwrap()), expected);
                    }
                    known.insert(service.key.name.to_string(), service);
                }
                Step::Keep(service) => {
                    if keep(&mut allocator, &service).is_ok() {
                        known.insert(service.key.name.to_string(), service);
                    }
                }
                Step::Release(index) => drop(allocator.release(&service(&format!("s{index}")).key)),
                Step::Set(pool) => drop(allocator.set_pool(pool)),
                Step::Remove(index) => drop(allocator.remove_pool(&format!("p{index}"))),
            }
            check(&allocator, &known);
        }
        allocator.release_all();
        check(&allocator, &known);
        prop_assert!(known.values().all(|service| allocator.holding(&service.key).is_none()));
    }
}

#[test]
fn sixteen_thousand_services_and_an_exhausted_pool() {
    let mut allocator = allocator(&[pool("a", &["10.0.0.0/18", "2001:db8::/64"])]);
    for index in 0..16_384 {
        allocate(&mut allocator, &service(&format!("s{index}"))).unwrap();
    }
    let full = Counts { assigned_v4: 16_384, available_v4: 0, assigned_v6: 0, available_v6: i64::MAX };
    assert_eq!(allocator.counts("a"), Some(full));
    for index in 0..16_384 {
        let late = service(&format!("t{index}")).key("k");
        assert_eq!(allocate(&mut allocator, &late).unwrap_err().reason, Reason::NoAvailableAddresses);
    }
    for index in (0..16_384).step_by(2) {
        allocator.release(&service(&format!("s{index}")).key);
    }
    for index in 0..8_192u32 {
        let expected = IpAddr::from((0x0a00_0000 + 2 * index).to_be_bytes());
        let got = allocate(&mut allocator, &service(&format!("u{index}"))).unwrap();
        assert_eq!(got, [expected.to_string()]);
    }
}
