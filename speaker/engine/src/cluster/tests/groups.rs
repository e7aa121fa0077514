//! Services that use addresses together.

use proptest::prelude::*;

use super::*;

fn groups(cluster: &Cluster) -> Vec<Vec<String>> {
    let text = |group: &Group| group.addresses.iter().map(ToString::to_string).collect();
    cluster.groups().iter().map(|(_, group)| text(group)).collect()
}

#[test]
fn services_that_use_addresses_together_form_one_group() {
    let mut cluster = cluster();
    let aged =
        |name: &str, created: i64, addresses: &[&str]| ServiceView { created, ..service(name, addresses) };
    serve(&mut cluster, aged("one", 3, &["192.0.2.10"]));
    serve(&mut cluster, aged("two", 2, &["192.0.2.20", "2001:db8::20"]));
    assert_eq!(groups(&cluster), [vec!["192.0.2.10"], vec!["192.0.2.20", "2001:db8::20"]]);

    // A third Service shares with both; it is the oldest, so its first address ranks.
    serve(&mut cluster, aged("link", 1, &["2001:db8::20", "192.0.2.10"]));
    assert_eq!(groups(&cluster), [vec!["2001:db8::20", "192.0.2.10", "192.0.2.20"]]);
    let group = cluster.appraise(GroupId(ip("192.0.2.10"))).unwrap().group().clone();
    assert_eq!(group.services, [key("link"), key("two"), key("one")]);

    cluster.take_touched();
    cluster.observe(Observation::Service(key("link"), None));
    assert_eq!(groups(&cluster), [vec!["192.0.2.10"], vec!["192.0.2.20", "2001:db8::20"]]);
    let touched = cluster.take_touched();
    assert_eq!(touched.groups, BTreeSet::from([GroupId(ip("192.0.2.10")), GroupId(ip("192.0.2.20"))]));
    assert!(touched.gone.is_empty() && touched.orphans.is_empty());
}

#[test]
fn a_service_that_nobody_can_serve_does_not_silence_its_sharers() {
    let mut cluster = cluster();
    let mut old = service("old", &["192.0.2.10"]);
    old.created = 1;
    cluster.observe(see_service(old));
    serve(&mut cluster, service("web", &["192.0.2.10"]));
    assert_eq!(reasons(&cluster, "192.0.2.10"), [None; 3]);
    let appraisal = cluster.appraise(GroupId(ip("192.0.2.10"))).unwrap();
    assert_eq!(appraisal.reason(&key("old"), "a"), Some(Reason::NoEndpoints));
    assert_eq!(appraisal.reason(&key("web"), "a"), None);
}

#[test]
fn without_a_common_node_the_oldest_service_decides() {
    let mut cluster = cluster();
    let local = |name: &str, created| ServiceView {
        traffic_policy: TrafficPolicy::Local,
        created,
        ..service(name, &["192.0.2.10"])
    };
    cluster.observe(see_service(local("old", 1)));
    cluster.observe(see_service(local("new", 2)));
    cluster.observe(see_slice(slice("old", &["a", "b"])));
    cluster.observe(see_slice(slice("new", &["b", "c"])));
    let away = Some(Reason::NoLocalEndpoints);
    assert_eq!(reasons(&cluster, "192.0.2.10"), [away, None, away], "the intersection");
    cluster.observe(see_slice(slice("new", &["c"])));
    assert_eq!(reasons(&cluster, "192.0.2.10"), [None, None, away], "the oldest one's");
    let appraisal = cluster.appraise(GroupId(ip("192.0.2.10"))).unwrap();
    assert_eq!(appraisal.reason(&key("old"), "a"), None);
    assert_eq!(appraisal.reason(&key("new"), "a"), Some(Reason::NoCommonNode));
    assert_eq!(appraisal.reason(&key("new"), "c"), Some(Reason::NoCommonNode));
    assert_eq!(appraisal.announcements("a").len(), 1);
}

fn address(number: u8) -> String {
    format!("192.0.2.{}", number + 1)
}

proptest! {
    /// After any sequence of changes the groups are what they would be if they were formed from nothing.
    #[test]
    fn groups_do_not_depend_on_history(
        steps in proptest::collection::vec(
            (0..6_u8, proptest::option::of(proptest::collection::vec(0..8_u8, 0..3)), 0..3_i64), 1..40,
        ),
    ) {
        let mut changed = cluster();
        let mut last: BTreeMap<u8, (Vec<u8>, i64)> = BTreeMap::new();
        for (name, addresses, created) in steps {
            let observation = match &addresses {
                Some(addresses) => {
                    let texts: Vec<_> = addresses.iter().map(|number| address(*number)).collect();
                    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
                    see_service(ServiceView { created, ..service(&name.to_string(), &texts) })
                }
                None => Observation::Service(key(&name.to_string()), None),
            };
            changed.observe(observation);
            match addresses {
                Some(addresses) => last.insert(name, (addresses, created)),
                None => last.remove(&name),
            };
        }
        let mut fresh = cluster();
        for (name, (addresses, created)) in &last {
            let texts: Vec<_> = addresses.iter().map(|number| address(*number)).collect();
            let texts: Vec<_> = texts.iter().map(String::as_str).collect();
            fresh.observe(see_service(ServiceView { created: *created, ..service(&name.to_string(), &texts) }));
        }
        let all = |cluster: &Cluster| {
            cluster.groups().iter().map(|(id, group)| (id, group.clone())).collect::<Vec<_>>()
        };
        prop_assert_eq!(all(&changed), all(&fresh));
        for (id, group) in changed.groups().iter() {
            for address in &group.addresses {
                prop_assert_eq!(changed.groups().of(*address), Some(id));
            }
        }
        let touched = changed.take_touched();
        prop_assert!(touched.gone.is_disjoint(&touched.groups));
        for orphan in touched.orphans {
            prop_assert_eq!(changed.groups().of(orphan), None);
        }
        for id in touched.groups {
            prop_assert!(changed.groups().get(id).is_some());
        }
    }
}
