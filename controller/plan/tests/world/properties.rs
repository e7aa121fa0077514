//! What holds whatever happens in whatever order.

use std::collections::BTreeMap;

use landfall_model::{Pool, ServiceView};
use proptest::prelude::*;

use crate::{cluster::*, faults::check_nobody_waits_in_vain};

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Set(Box<ServiceView>),
    Delete(u8),
    Pool(Box<Pool>),
    RemovePool(u8),
    /// The controller is replaced.
    Restart,
}

pub(crate) fn name(index: u8) -> String {
    format!("s{index}")
}

fn some_service() -> impl Strategy<Value = ServiceView> {
    (0u8..8, 0u8..4, 0u8..3, 0u8..4, 0u8..14).prop_map(|(index, families, sharing, port, special)| {
        let mut service = service(&name(index)).created(i64::from(index % 3)).udp(u16::from(port % 2) + 1);
        service = match families {
            0 => service,
            1 => service.v6(),
            2 => service.require_dual(),
            _ => service.prefer_dual(),
        };
        if sharing > 0 {
            service = service.key(&format!("k{sharing}"));
        }
        match special {
            0 => service.of_pool("p0"),
            1 => service.of_pool("p1"),
            2 => service.asks("192.0.2.2"),
            3 => service.asks("nonsense"),
            4 => service.with(|s| s.load_balancer = false),
            5 => service.with(|s| s.class = Some("other".into())),
            6 => service.with(|s| s.cluster_families.truncate(1)),
            _ => service,
        }
    })
}

fn some_pool() -> impl Strategy<Value = Pool> {
    (0u8..3, prop::sample::subsequence(vec![0usize, 1, 2, 3], 1..4), 0u8..5).prop_map(
        |(index, ranges, kind)| {
            let all = ["192.0.2.0/31", "192.0.2.1-192.0.2.3", "2001:db8::/127", "2001:db8::1-2001:db8::2"];
            let ranges: Vec<&str> = ranges.into_iter().map(|index| all[index]).collect();
            let name = format!("p{index}");
            match kind {
                0 => Pool { avoid_buggy_ips: true, ..pool(&name, &ranges) },
                1 => Pool { auto_assign: false, ..pool(&name, &ranges) },
                2 => pinned(&name, &ranges, &["shop"]),
                _ => pool(&name, &ranges),
            }
        },
    )
}

pub(crate) fn some_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => some_service().prop_map(|service| Step::Set(Box::new(service))),
        3 => (0u8..8).prop_map(Step::Delete),
        2 => some_pool().prop_map(|pool| Step::Pool(Box::new(pool))),
        1 => (0u8..3).prop_map(Step::RemovePool),
        1 => Just(Step::Restart),
    ]
}

/// Never twice unless shared, always inside a pool that is in force.
pub(crate) fn check(cluster: &Cluster) {
    check_nobody_waits_in_vain(cluster);
    let mut waiting = BTreeMap::new();
    for (_, reason, _) in cluster.world.waiting() {
        *waiting.entry(reason).or_default() += 1;
    }
    assert_eq!(&waiting, cluster.world.waiting_by_reason());
    for (address, users) in cluster.users() {
        // What came from a pool that is refused now stays as it is, also where its users may not share it any more.
        let allocator = cluster.world.allocator();
        if allocator.pool_of(address).is_none() {
            assert!(allocator.refused().count() > 0, "{address} is in no pool");
            continue;
        }
        for (index, one) in users.iter().enumerate() {
            for other in &users[index + 1..] {
                assert!(one.requests.sharing_key.is_some(), "{address} is used twice");
                assert_eq!(one.requests.sharing_key, other.requests.sharing_key, "{address}");
                assert_ne!(one.ports[0].port, other.ports[0].port, "{address}");
            }
        }
    }
}

fn statuses(cluster: &Cluster) -> BTreeMap<&str, Vec<String>> {
    cluster.stored.keys().map(|key| (&*key.name, cluster.status(&key.name))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn addresses_are_safe_stable_and_survive_restarts(steps in prop::collection::vec(some_step(), 1..40)) {
        let mut cluster = Cluster::new(&[pool("p0", &["192.0.2.0/31", "2001:db8::/127"])]);
        for step in steps {
            let before = cluster.clone();
            let mut unrelated = None;
            match step {
                Step::Set(service) => {
                    unrelated = Some(service.key.name.clone());
                    cluster.set(*service);
                }
                Step::Delete(index) => {
                    unrelated = Some(name(index).into());
                    cluster.delete(&name(index));
                }
                Step::Pool(pool) => cluster.set_pool(*pool),
                Step::RemovePool(index) => cluster.remove_pool(&format!("p{index}")),
                Step::Restart => {}
            }
            cluster.settle();
            check(&cluster);
            if let Some(changed) = unrelated {
                for (name, addresses) in statuses(&before) {
                    let kept = cluster.status(name);
                    let stays = addresses.iter().all(|address| kept.contains(address));
                    prop_assert!(*name == *changed || stays, "{} had {:?}, has {:?}", name, addresses, kept);
                }
            }
            // Refusals of overlapping pools depend on which was in force; a restart may decide them anew.
            if cluster.world.allocator().refused().count() == 0 {
                let restarted = cluster.restarted();
                prop_assert_eq!(&restarted.writes, &[], "a restart writes nothing");
                prop_assert_eq!(&restarted.events, &[""; 0]);
                prop_assert_eq!(restarted.pool_writes, 0);
                cluster = restarted;
            }
        }
    }

    #[test]
    fn the_order_of_arrival_does_not_matter_at_start(
        services in prop::collection::vec((some_service(), prop::option::of(0u8..4), any::<bool>()), 1..8),
        seed in any::<prop::sample::Index>(),
    ) {
        let mut unique = BTreeMap::new();
        for (service, address, marked) in services {
            let service = match address {
                Some(index) => service.status(&[&format!("192.0.2.{index}")]),
                None => service,
            };
            unique.insert(service.key.clone(), if marked { service.marked("p0") } else { service });
        }
        let pools = [pool("p0", &["192.0.2.0/30", "2001:db8::/127"])];
        let sorted: Vec<ServiceView> = unique.into_values().collect();
        let mut rotated = sorted.clone();
        rotated.rotate_left(seed.index(sorted.len()));
        rotated.reverse();
        let (one, other) = (Cluster::with_services(&pools, &sorted), Cluster::with_services(&pools, &rotated));
        prop_assert_eq!(statuses(&one), statuses(&other));
    }
}
