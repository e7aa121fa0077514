use std::cmp::Reverse;

use landfall_model::{
    EXCLUDE_LABEL, L2Advertisement, NodePreference, Observation, ServiceView, TrafficPolicy,
};

use super::*;
use crate::objects::{
    advertisement, ip, key, labels, node, pool, proxied, see_advertisement, see_node, see_pool, see_service,
    see_slice, selector, service, slice,
};

mod groups;

fn link(name: &str, prefix: &str) -> LinkSummary {
    LinkSummary {
        name: name.into(),
        prefixes: vec![prefix.parse().unwrap()],
        default_v4: false,
        default_v6: false,
        arp: true,
        ndp: true,
        mac: None,
    }
}

fn member() -> Member {
    let links = vec![link("eth0", "192.0.2.0/24")];
    Member { links: Some(links), node_port: true, ..Member::unread(MemberState::Alive { settled: true }) }
}

/// Nodes `a`, `b`, `c`, all alike, with a pool for 192.0.2.0/24 that is advertised everywhere.
fn cluster() -> Cluster {
    let mut cluster = Cluster::new(Settings::default());
    for name in ["a", "b", "c"] {
        cluster.observe(see_node(node(name)));
        cluster.set_member(name, Some(member()));
    }
    cluster.observe(see_pool(pool("lan", &["192.0.2.0/24", "2001:db8::/64"])));
    cluster.observe(see_advertisement(advertisement("all")));
    cluster
}

/// A Service with an endpoint on each node.
fn serve(cluster: &mut Cluster, service: ServiceView) {
    cluster.observe(see_slice(slice(&service.key.name, &["a", "b", "c"])));
    cluster.observe(see_service(service));
}

/// What each node may do: nothing when it may take the group, otherwise the reason.
fn reasons(cluster: &Cluster, address: &str) -> Vec<Option<Reason>> {
    let appraisal = cluster.appraise(cluster.groups().of(ip(address)).unwrap()).unwrap();
    ["a", "b", "c"].into_iter().map(|node| appraisal.verdict(node).reason()).collect()
}

fn advertise(change: impl FnOnce(&mut L2Advertisement)) -> Observation {
    let mut all = advertisement("all");
    change(&mut all);
    see_advertisement(all)
}

use landfall_model::Reason;

#[test]
fn each_filter_takes_out_its_node_and_says_why() {
    type Change = Box<dyn Fn(&mut Cluster)>;
    let change_node = |change: fn(&mut NodeView)| -> Change {
        Box::new(move |cluster| {
            let mut view = node("a");
            change(&mut view);
            cluster.observe(see_node(view));
        })
    };
    let change_member = |change: fn(&mut Member)| -> Change {
        Box::new(move |cluster| {
            let mut changed = member();
            change(&mut changed);
            cluster.set_member("a", Some(changed));
        })
    };
    let rows: Vec<(Change, Reason, bool)> = vec![
        (change_member(|member| member.state = MemberState::Dead), Reason::SpeakerNotAlive, false),
        (change_member(|member| member.state = MemberState::Unknown), Reason::SpeakerNotAlive, false),
        (change_member(|member| member.state = MemberState::Gone), Reason::SpeakerNotAlive, false),
        (change_member(|member| member.state = MemberState::Degraded), Reason::SpeakerNotAlive, true),
        (Box::new(|cluster| cluster.set_member("a", None)), Reason::SpeakerNotAlive, false),
        (change_node(|node| node.network_unavailable = true), Reason::NetworkUnavailable, false),
        (
            change_node(|node| {
                node.labels.insert(EXCLUDE_LABEL.to_owned(), String::new());
            }),
            Reason::NodeExcluded,
            false,
        ),
        (change_node(|node| node.leaving = true), Reason::NodeLeaving, false),
        (change_member(|member| member.state = MemberState::Leaving), Reason::NodeLeaving, false),
        (
            Box::new(|cluster| cluster.observe(Observation::Node("a".into(), None))),
            Reason::NodeLeaving,
            false,
        ),
        (
            change_node(|node| {
                node.labels.remove("name");
                node.network_unavailable = true;
                node.leaving = true;
            }),
            Reason::NetworkUnavailable,
            false,
        ),
        (change_member(|member| member.links = None), Reason::NoUsableLink, true),
        (change_member(|member| member.links = Some(Vec::new())), Reason::NoUsableLink, false),
    ];
    for (row, (change, reason, keeps)) in rows.into_iter().enumerate() {
        let mut cluster = cluster();
        serve(&mut cluster, service("web", &["192.0.2.10"]));
        assert_eq!(reasons(&cluster, "192.0.2.10"), [None, None, None], "row {row}");
        cluster.take_touched();
        change(&mut cluster);
        assert_eq!(reasons(&cluster, "192.0.2.10"), [Some(reason), None, None], "row {row}");
        let appraisal = cluster.appraise(cluster.groups().of(ip("192.0.2.10")).unwrap()).unwrap();
        assert_eq!(matches!(appraisal.verdict("a"), Verdict::Keep(_)), keeps, "row {row}");
        let touched = cluster.take_touched();
        assert_eq!(touched.nodes, BTreeSet::from(["a".into()]), "row {row}: a node touches no group");
        assert!(touched.groups.is_empty(), "row {row}");
    }
}

#[test]
fn a_node_that_came_back_just_now_serves_where_no_other_can() {
    let unsettled = || Member { state: MemberState::Alive { settled: false }, ..member() };
    let mut cluster = cluster();
    serve(&mut cluster, service("web", &["192.0.2.10"]));
    cluster.set_member("a", Some(unsettled()));
    let merits = |cluster: &Cluster| {
        let appraisal = cluster.appraise(cluster.groups().of(ip("192.0.2.10")).unwrap()).unwrap();
        ["a", "b"].map(|node| appraisal.verdict(node).merit().unwrap())
    };
    let [unsettled, settled] = merits(&cluster);
    assert!(settled < unsettled && !unsettled.serves_as_well_as(settled));
    assert!(settled.serves_as_well_as(unsettled));
    let mut better = node("a");
    better.ready = false;
    better.name = "b".into();
    cluster.observe(see_node(better));
    let [unsettled, not_ready] = merits(&cluster);
    assert!(not_ready < unsettled, "nothing is worse than to come and go");
    let appraisal = cluster.appraise(cluster.groups().of(ip("192.0.2.10")).unwrap()).unwrap();
    let asked = Preference { service: &key("web"), node: "a" };
    assert_eq!(appraisal.refusal(asked, "b"), Some(Reason::NodeUnsettled), "nobody can move it there yet");
}

#[test]
fn a_node_that_came_back_just_now_gathers_no_services_of_others() {
    let mut cluster = cluster();
    // "a" alone has endpoints of both, which share an address.
    for (name, nodes) in [("one", ["a", "b"]), ("two", ["a", "c"])] {
        let mut view = service(name, &["192.0.2.10"]);
        view.traffic_policy = TrafficPolicy::Local;
        cluster.observe(see_slice(slice(name, &nodes)));
        cluster.observe(see_service(view));
    }
    let takes = |cluster: &Cluster| {
        let appraisal = cluster.appraise(cluster.groups().of(ip("192.0.2.10")).unwrap()).unwrap();
        ["a", "b", "c"].map(|node| appraisal.verdict(node).merit().is_some())
    };
    assert_eq!(takes(&cluster), [true, false, false]);
    let state = MemberState::Alive { settled: false };
    cluster.set_member("a", Some(Member { state, ..member() }));
    assert_eq!(takes(&cluster), [true, true, false], "the oldest Service decides, as without it");
    for node in ["b", "c"] {
        cluster.set_member(node, None);
    }
    assert_eq!(takes(&cluster), [true, false, false]);
}

#[test]
fn the_exclude_label_can_be_ignored() {
    let mut cluster = cluster();
    cluster.settings.ignore_exclude_lb = true;
    serve(&mut cluster, service("web", &["192.0.2.10"]));
    let mut view = node("a");
    view.labels.insert(EXCLUDE_LABEL.to_owned(), String::new());
    cluster.observe(see_node(view));
    assert_eq!(reasons(&cluster, "192.0.2.10"), [None, None, None]);
}

#[test]
fn advertisements_select_nodes_services_and_pools() {
    let only_b = |all: &mut L2Advertisement| all.node_selectors = vec![selector(&[("name", "b")])];
    let other = Some(Reason::NodeNotSelected);
    let none = Some(Reason::NoMatchingAdvertisement);
    let rows: Vec<(Vec<Observation>, [Option<Reason>; 3])> = vec![
        (vec![advertise(only_b)], [other, None, other]),
        // The union over all advertisements of the pool.
        (
            vec![advertise(only_b), {
                let mut second = advertisement("second");
                second.node_selectors = vec![selector(&[("name", "c")])];
                see_advertisement(second)
            }],
            [other, None, None],
        ),
        (vec![advertise(|all| all.service_selectors = vec![selector(&[("app", "web")])])], [None; 3]),
        (vec![advertise(|all| all.service_selectors = vec![selector(&[("app", "other")])])], [none; 3]),
        (vec![advertise(|all| all.pools = BTreeSet::from(["elsewhere".into()]))], [none; 3]),
        (vec![advertise(|all| all.pools = BTreeSet::from(["lan".into()]))], [None; 3]),
        (vec![Observation::L2Advertisement("all".into(), None)], [none; 3]),
    ];
    for (row, (observations, expected)) in rows.into_iter().enumerate() {
        let mut cluster = cluster();
        serve(&mut cluster, service("web", &["192.0.2.10"]));
        cluster.take_touched();
        observations.into_iter().for_each(|observation| cluster.observe(observation));
        assert_eq!(reasons(&cluster, "192.0.2.10"), expected, "row {row}");
        assert!(!cluster.take_touched().groups.is_empty(), "row {row}: the group is looked at again");
    }
}

#[test]
fn sharers_cannot_be_told_apart_by_service_selectors() {
    let mut cluster = cluster();
    let mut shared = service("web", &["192.0.2.10"]);
    shared.requests.sharing_key = Some("".into());
    serve(&mut cluster, shared);
    assert_eq!(reasons(&cluster, "192.0.2.10"), [None; 3]);
    cluster.observe(advertise(|all| all.service_selectors = vec![selector(&[("app", "web")])]));
    assert_eq!(reasons(&cluster, "192.0.2.10"), [Some(Reason::SharedAddressWithServiceSelector); 3]);
}

#[test]
fn endpoints_decide_who_serves() {
    let local = |mut service: ServiceView| {
        service.traffic_policy = TrafficPolicy::Local;
        service
    };
    let unnamed = || {
        let mut slice = slice("web", &["a"]);
        slice.endpoints[0].node = None;
        slice
    };
    let terminating = || {
        let mut slice = slice("web", &["a"]);
        slice.endpoints[0].ready = false;
        slice
    };
    let stopped = || {
        let mut slice = terminating();
        slice.endpoints[0].serving = false;
        slice
    };
    let web = || service("web", &["192.0.2.10"]);
    let away = Some(Reason::NoLocalEndpoints);
    for (row, (service, slice, expected)) in [
        (web(), None, [Some(Reason::NoEndpoints); 3]),
        (web(), Some(slice("web", &[])), [Some(Reason::NoEndpoints); 3]),
        (web(), Some(slice("web", &["b"])), [None; 3]),
        (web(), Some(unnamed()), [None; 3]),
        (web(), Some(terminating()), [None; 3]),
        (web(), Some(stopped()), [Some(Reason::NoEndpoints); 3]),
        (local(web()), Some(slice("web", &["b"])), [away, None, away]),
        (local(web()), Some(terminating()), [None, away, away]),
        (local(web()), Some(unnamed()), [away; 3]),
        (local(web()), Some(stopped()), [Some(Reason::NoEndpoints); 3]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut cluster = cluster();
        cluster.observe(see_service(service));
        cluster.take_touched();
        if let Some(slice) = slice {
            cluster.observe(see_slice(slice));
            assert_eq!(cluster.take_touched().groups.len(), 1, "row {row}");
        }
        assert_eq!(reasons(&cluster, "192.0.2.10"), expected, "row {row}");
    }
}

#[test]
fn links_and_forwarding_must_fit() {
    let mut cluster = cluster();
    serve(&mut cluster, service("web", &["192.0.2.10"]));
    cluster.observe(advertise(|all| all.interfaces = BTreeSet::from(["eth1".into()])));
    assert_eq!(reasons(&cluster, "192.0.2.10"), [Some(Reason::NoUsableLink); 3]);
    let with_eth1 = Member { links: Some(vec![link("eth1", "192.0.2.0/24")]), ..member() };
    cluster.set_member("b", Some(with_eth1));
    assert_eq!(reasons(&cluster, "192.0.2.10")[1], None);
    cluster.observe(see_advertisement(advertisement("second")));
    assert_eq!(reasons(&cluster, "192.0.2.10"), [None; 3], "one advertisement without a list permits all");

    serve(&mut cluster, proxied(service("proxied", &["192.0.2.11"])));
    cluster.set_member("c", Some(Member { node_port: false, ..member() }));
    assert_eq!(reasons(&cluster, "192.0.2.11"), [None, None, Some(Reason::ForwardingUnavailable)]);
    assert_eq!(reasons(&cluster, "192.0.2.10"), [None; 3], "mode announce needs nothing");
}

#[test]
fn merits_put_the_better_owner_first() {
    let mut cluster = cluster();
    serve(&mut cluster, service("web", &["192.0.2.10", "2001:db8::10"]));
    let both = |name: &str| {
        let mut link = link(name, "192.0.2.0/24");
        link.prefixes.push("2001:db8::/64".parse().unwrap());
        link
    };
    for name in ["a", "b", "c"] {
        cluster.set_member(name, Some(Member { links: Some(vec![both("eth0")]), ..member() }));
    }
    let merit = |cluster: &Cluster, node: &str| {
        let id = cluster.groups().of(ip("192.0.2.10")).unwrap();
        cluster.appraise(id).unwrap().verdict(node).merit().unwrap()
    };
    let alike = merit(&cluster, "a");
    assert_eq!(alike, merit(&cluster, "b"));
    assert_eq!((alike.missing, alike.not_ready, alike.preference), (0, false, Reverse(0)));

    cluster.observe(advertise(|all| {
        let prefer = |weight, name: &str| NodePreference { weight, nodes: selector(&[("name", name)]) };
        all.preferences = vec![prefer(10, "b"), prefer(5, "b"), prefer(12, "c")];
    }));
    assert_eq!(merit(&cluster, "b").preference, Reverse(15), "weights of one node are added up");
    assert!(merit(&cluster, "b") < merit(&cluster, "c"));
    assert!(merit(&cluster, "c") < merit(&cluster, "a"));

    let mut sick = node("b");
    sick.ready = false;
    cluster.observe(see_node(sick));
    assert!(merit(&cluster, "a") < merit(&cluster, "b"), "NotReady ranks last, whatever its weight");

    let blind = LinkSummary { ndp: false, ..both("eth0") };
    cluster.set_member("a", Some(Member { links: Some(vec![blind]), ..member() }));
    assert_eq!(merit(&cluster, "a").missing, 1);
    assert!(merit(&cluster, "b") < merit(&cluster, "a"), "one family less ranks behind everything");
    let id = cluster.groups().of(ip("192.0.2.10")).unwrap();
    let announced = cluster.appraise(id).unwrap().announcements("a");
    assert_eq!(announced.keys().copied().collect::<Vec<_>>(), [ip("192.0.2.10")]);
}

#[test]
fn only_our_services_and_addresses_of_pools_count() {
    let web = || service("web", &["192.0.2.10"]);
    let rows = [
        (web(), true),
        (ServiceView { class: Some("other".into()), ..web() }, false),
        (ServiceView { load_balancer: false, ..web() }, false),
        (ServiceView { deleting: true, ..web() }, false),
        (service("web", &["198.51.100.1"]), false),
        (service("web", &[]), false),
    ];
    for (row, (service, counts)) in rows.into_iter().enumerate() {
        let mut cluster = cluster();
        serve(&mut cluster, service);
        assert_eq!(cluster.groups().iter().count(), usize::from(counts), "row {row}");
    }
    let mut cluster = cluster();
    serve(&mut cluster, service("web", &["198.51.100.1"]));
    cluster.observe(see_pool(pool("more", &["198.51.100.0/24"])));
    assert!(cluster.groups().of(ip("198.51.100.1")).is_some(), "the pool came later");
    cluster.take_touched();
    cluster.observe(Observation::Pool("more".into(), None));
    assert!(cluster.groups().of(ip("198.51.100.1")).is_none());
    assert_eq!(cluster.take_touched().orphans, BTreeSet::from([ip("198.51.100.1")]));
}

#[test]
fn an_unchanged_object_touches_nothing() {
    let mut cluster = cluster();
    serve(&mut cluster, service("web", &["192.0.2.10"]));
    assert!(!cluster.take_touched().is_empty());
    serve(&mut cluster, service("web", &["192.0.2.10"]));
    cluster.observe(see_node(node("a")));
    cluster.observe(see_pool(pool("lan", &["192.0.2.0/24", "2001:db8::/64"])));
    cluster.observe(see_advertisement(advertisement("all")));
    cluster.set_member("a", Some(member()));
    assert!(cluster.take_touched().is_empty());
    let mut other = node("a");
    other.labels = labels(&[("zone", "1")]);
    cluster.observe(see_node(other));
    assert!(!cluster.take_touched().is_empty());
}
