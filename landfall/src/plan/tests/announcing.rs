//! Who announces: candidates, owners and routes.

use super::*;

fn site(more: Vec<Value>) -> Vec<Value> {
    let mut objects = vec![
        pool("lan", &["192.0.2.8/32", "192.0.2.9/32"], json!({})),
        node("n1", json!({})),
        node("n2", json!({})),
        node("n3", json!({})),
        service("web", json!({})),
        slice("web", &["n1"]),
    ];
    objects.extend(more);
    objects
}

fn candidates(report: &Report) -> Vec<String> {
    let [entry] = &report.layer2[..] else { panic!("{:?}", report.layer2) };
    entry.candidates.iter().map(|one| format!("{} {}", one.node, one.reason)).collect()
}

fn owner(report: &Report) -> Option<&str> {
    report.layer2.first().and_then(|entry| entry.owner.as_deref())
}

#[test]
fn the_owner_is_metallbs() {
    // The least of sha256("n1#192.0.2.8"), sha256("n2#192.0.2.8") and sha256("n3#192.0.2.8"), as any tool computes them.
    let report = planned(&site(vec![l2("all", json!({}))]));
    let expected = ["n1", "n2", "n3"]
        .into_iter()
        .min_by_key(|node| landfall_engine::ownership::digest(node, "192.0.2.8".parse().unwrap()));
    assert_eq!(owner(&report), expected);
    assert_eq!(candidates(&report).iter().filter(|one| one.ends_with(" NotOwner")).count(), 2);
}

#[test]
fn candidates_are_rejected_with_a_reason() {
    let all = || l2("all", json!({}));
    let rows: Vec<(&str, Vec<Value>, [&str; 3])> = vec![
        ("no advertisement", vec![], ["NoMatchingAdvertisement"; 3]),
        (
            "an advertisement for one node",
            vec![l2("one", json!({"nodeSelectors": [{"matchLabels": {"name": "n2"}}]}))],
            ["NodeNotSelected", "Owner", "NodeNotSelected"],
        ),
        (
            "an advertisement for other Services",
            vec![l2("one", json!({"serviceSelectors": [{"matchLabels": {"app": "db"}}]}))],
            ["NoMatchingAdvertisement"; 3],
        ),
        (
            "policy Local",
            vec![all(), service("web", json!({"spec": {"externalTrafficPolicy": "Local"}}))],
            ["Owner", "NoLocalEndpoints", "NoLocalEndpoints"],
        ),
        ("no endpoint", vec![all(), slice("web", &[])], ["NoEndpoints"; 3]),
        (
            "nodes that must not",
            vec![
                all(),
                node(
                    "n1",
                    json!({"status": {"conditions": [{"type": "NetworkUnavailable", "status": "True"}]}}),
                ),
                node(
                    "n2",
                    json!({"metadata": {"labels": {"node.kubernetes.io/exclude-from-external-load-balancers": ""}}}),
                ),
            ],
            ["NetworkUnavailable", "NodeExcluded", "Owner"],
        ),
    ];
    for (title, more, expected) in rows {
        // What is given again takes the place of what is there.
        let name = |object: &Value| (object["kind"].clone(), object["metadata"]["name"].clone());
        let mut objects = site(vec![]);
        objects.retain(|object| more.iter().all(|other| name(other) != name(object)));
        objects.extend(more);
        let report = planned(&objects);
        let found: Vec<String> =
            candidates(&report).iter().map(|one| one.split(' ').next_back().unwrap().to_owned()).collect();
        assert_eq!(found, expected, "{title}");
    }
}

#[test]
fn speakers_that_are_not_named_are_dead_and_those_without_a_manifest_live() {
    let options = Options { speakers: Some(["n2".into(), "n9".into()].into()), ..Options::default() };
    let report = planned_with(&site(vec![l2("all", json!({}))]), &options);
    let dead: Vec<String> =
        candidates(&report).into_iter().filter(|one| one.ends_with("SpeakerNotAlive")).collect();
    assert_eq!(dead, ["n1 SpeakerNotAlive", "n3 SpeakerNotAlive"]);
    assert!(matches!(owner(&report), Some("n2" | "n9")), "{report:?}");
}

#[test]
fn preferences_and_interfaces_are_those_of_the_advertisements() {
    let preferred = json!({
        "interfaces": ["eth1", "eth0"],
        "preferredNodeSelectors": [{"weight": 10, "preference": {"matchLabels": {"name": "n3"}}}],
    });
    let report = planned(&site(vec![l2("all", preferred)]));
    assert_eq!(owner(&report), Some("n3"));
    assert_eq!(report.layer2[0].interfaces, ["eth0", "eth1"]);
}

#[test]
fn the_preferred_node_of_a_service_goes_before_those_of_advertisements() {
    let by_weight = json!({
        "preferredNodeSelectors": [{"weight": 10, "preference": {"matchLabels": {"name": "n3"}}}],
    });
    let mut objects = site(vec![l2("all", by_weight)]);
    objects.retain(|object| object["kind"] != "Service");
    for (node, reason) in [("n1", "Owner"), ("n2", "Owner"), ("n3", "Owner"), ("n9", "UnknownNode")] {
        let mut all = objects.clone();
        all.push(service("web", annotated("landfall.dev/preferred-node", node)));
        let report = planned(&all);
        let eligible = reason == "Owner";
        assert_eq!(owner(&report), Some(if eligible { node } else { "n3" }));
        let preferred = report.layer2[0].preferred.as_ref().unwrap();
        assert_eq!((&*preferred.node, &*preferred.reason, preferred.eligible), (node, reason, eligible));
        let table = super::super::render::text(&report);
        assert_eq!(table.contains("n9 (UnknownNode)"), !eligible, "{table}");
    }
}

#[test]
fn routes_go_from_every_node_to_every_peer_that_is_meant() {
    let objects = site(vec![
        bgp("all", json!({"communities": ["64500:7", "blue"], "localPref": 150})),
        metallb(
            "Community",
            "v1beta1",
            "names",
            json!({"communities": [{"name": "blue", "value": "64500:8"}]}),
        ),
        peer("tor-a", json!({})),
        peer(
            "tor-b",
            json!({"peerAddress": "192.0.2.2", "nodeSelectors": [{"matchLabels": {"name": "n1"}}]}),
        ),
    ]);
    let report = planned(&objects);
    assert!(report.config.valid, "{:?}", report.config.errors);
    assert_eq!(report.bgp.services[0].nodes, ["n1", "n2", "n3"]);
    let updates: Vec<String> = report
        .bgp
        .updates
        .iter()
        .map(|update| {
            assert_eq!((update.local_pref, &update.services[..]), (150, &["shop/web".to_owned()][..]));
            format!("{} {} {} {}", update.node, update.peer, update.prefix, update.communities.join(","))
        })
        .collect();
    assert_eq!(
        updates,
        [
            "n1 tor-a 192.0.2.8/32 64500:7,64500:8",
            "n1 tor-b 192.0.2.8/32 64500:7,64500:8",
            "n2 tor-a 192.0.2.8/32 64500:7,64500:8",
            "n3 tor-a 192.0.2.8/32 64500:7,64500:8",
        ]
    );
}

#[test]
fn a_route_waits_for_its_alias() {
    let report = planned(&site(vec![bgp("all", json!({"communities": ["blue"]})), peer("tor", json!({}))]));
    assert!(report.config.valid, "{:?}", report.config.errors);
    let [error] = &report.config.errors[..] else { panic!("{:?}", report.config.errors) };
    assert!(error.transient && error.field == "spec.communities", "{error:?}");
    assert_eq!(report.bgp.updates, []);
    assert_eq!(report.bgp.services[0].rejected[0].reason, "NoMatchingAdvertisement");
}
