use landfall_model::{Endpoint, RemoteAs};

use super::*;
use crate::objects::{ip, key, labels, node, pool, selector, service, slice};

fn peer(name: &str, address: &str) -> BgpPeer {
    BgpPeer::new(name, 64_500, RemoteAs::Number(64_501), PeerEndpoint::Address(ip(address)))
}

fn advertisement(name: &str) -> BgpAdvertisement {
    BgpAdvertisement { name: name.into(), ..BgpAdvertisement::default() }
}

/// One pool, one Service on it, endpoints on `n1`, and what is asked of them.
struct Site {
    advertisements: Vec<BgpAdvertisement>,
    peers: Vec<BgpPeer>,
    communities: BTreeMap<Box<str>, Community>,
    ignore_exclude_lb: bool,
    pool: Pool,
    service: ServiceView,
    slices: Vec<EndpointSlice>,
}

impl Site {
    fn new(advertisements: Vec<BgpAdvertisement>) -> Self {
        Self {
            advertisements,
            peers: vec![peer("tor", "192.0.2.1")],
            communities: BTreeMap::new(),
            ignore_exclude_lb: false,
            pool: pool("lan", &["198.51.100.0/24", "2001:db8::/64"]),
            service: service("web", &["198.51.100.8"]),
            slices: vec![slice("web", &["n1"])],
        }
    }

    fn with<T>(&self, ask: impl FnOnce(Routes<'_>, &Routed<'_>) -> T) -> T {
        let Self { advertisements, peers, communities, ignore_exclude_lb, pool, service, slices } = self;
        let routes = Routes { advertisements, peers, communities, ignore_exclude_lb: *ignore_exclude_lb };
        let of = |address| pool.ranges.iter().any(|range| range.contains(address)).then_some(pool);
        ask(routes, &routes.service(service, slices.iter(), of))
    }

    fn reason(&self, node: &NodeView) -> Option<Reason> {
        self.with(|routes, service| routes.reason(service, node))
    }

    /// Each update as `peer prefix localPref communities`.
    fn updates(&self, node: &NodeView) -> Vec<String> {
        self.with(|routes, service| {
            let updates = routes.updates(std::iter::once(service), node);
            let text = |((peer, prefix), update): ((&str, IpNet), Update)| {
                assert_eq!(update.services, BTreeSet::from([key("web")]));
                let communities: Vec<String> = update.communities.iter().map(ToString::to_string).collect();
                format!("{peer} {prefix} {} {}", update.local_pref, communities.join(","))
                    .trim_end()
                    .to_owned()
            };
            updates.into_iter().map(text).collect()
        })
    }
}

#[test]
fn each_reason_has_its_turn() {
    let n1 = || node("n1");
    let with = |change: &dyn Fn(&mut NodeView)| {
        let mut node = n1();
        change(&mut node);
        node
    };
    let site = Site::new(vec![advertisement("all")]);
    assert_eq!(site.reason(&n1()), None);
    assert_eq!(site.reason(&node("n2")), None, "policy Cluster: every node announces");
    assert_eq!(Site::new(vec![]).reason(&n1()), Some(Reason::NoMatchingAdvertisement));

    let elsewhere =
        BgpAdvertisement { node_selectors: vec![selector(&[("name", "n9")])], ..advertisement("far") };
    assert_eq!(Site::new(vec![elsewhere]).reason(&n1()), Some(Reason::NodeNotSelected));
    let others =
        BgpAdvertisement { service_selectors: vec![selector(&[("app", "db")])], ..advertisement("db") };
    assert_eq!(Site::new(vec![others]).reason(&n1()), Some(Reason::NoMatchingAdvertisement));

    let network = with(&|node| node.network_unavailable = true);
    assert_eq!(site.reason(&network), Some(Reason::NetworkUnavailable));
    let excluded = with(&|node| node.labels = labels(&[(landfall_model::EXCLUDE_LABEL, "")]));
    assert_eq!(site.reason(&excluded), Some(Reason::NodeExcluded));
    let ignoring = Site { ignore_exclude_lb: true, ..Site::new(vec![advertisement("all")]) };
    assert_eq!(ignoring.reason(&excluded), None);
    assert_eq!(site.reason(&with(&|node| node.leaving = true)), Some(Reason::NodeLeaving));

    let mut local = Site::new(vec![advertisement("all")]);
    local.service.traffic_policy = TrafficPolicy::Local;
    assert_eq!(local.reason(&n1()), None);
    assert_eq!(local.reason(&node("n2")), Some(Reason::NoLocalEndpoints));
    let dark = Site { slices: vec![], ..Site::new(vec![advertisement("all")]) };
    assert_eq!(dark.reason(&n1()), Some(Reason::NoEndpoints));
    let bare = Site { service: service("web", &[]), ..Site::new(vec![advertisement("all")]) };
    assert_eq!(bare.reason(&n1()), Some(Reason::NoAddress));
}

#[test]
fn an_endpoint_that_still_serves_counts_and_one_without_a_node_is_on_none() {
    let mut site = Site::new(vec![advertisement("all")]);
    site.service.traffic_policy = TrafficPolicy::Local;
    let endpoint = |node: Option<&str>, ready, serving| Endpoint {
        address: ip("10.244.0.1"),
        node: node.map(Into::into),
        ready,
        serving,
    };
    for (endpoint, expected) in [
        (endpoint(Some("n1"), true, false), None),
        (endpoint(Some("n1"), false, true), None),
        (endpoint(Some("n1"), false, false), Some(Reason::NoLocalEndpoints)),
        (endpoint(None, true, true), Some(Reason::NoLocalEndpoints)),
    ] {
        site.slices[0].endpoints = vec![endpoint.clone()];
        assert_eq!(site.reason(&node("n1")), expected, "{endpoint:?}");
    }
}

#[test]
fn preferences_that_disagree_silence_the_service() {
    let prefer = |name: &str, local_pref| BgpAdvertisement { local_pref, ..advertisement(name) };
    let told = |name: &str, local_pref, peers: &[&str]| BgpAdvertisement {
        peers: peers.iter().map(|peer| (*peer).into()).collect(),
        ..prefer(name, local_pref)
    };
    let conflict = Some(Reason::ConflictingAdvertisements);
    let n1 = node("n1");
    assert_eq!(Site::new(vec![prefer("a", 100), prefer("b", 200)]).reason(&n1), conflict);
    assert_eq!(Site::new(vec![prefer("a", 100), prefer("b", 100)]).reason(&n1), None);
    assert_eq!(Site::new(vec![told("a", 100, &["x"]), told("b", 200, &["y"])]).reason(&n1), None);
    assert_eq!(Site::new(vec![told("a", 100, &["x", "y"]), told("b", 200, &["y"])]).reason(&n1), conflict);
    assert_eq!(Site::new(vec![told("a", 100, &["x"]), prefer("b", 200)]).reason(&n1), conflict);
    let longer = BgpAdvertisement { as_path_prepend: 2, ..prefer("b", 100) };
    assert_eq!(Site::new(vec![prefer("a", 100), longer]).reason(&n1), conflict, "two lengths of one path");
    let wide = BgpAdvertisement { aggregation_length: 24, ..prefer("b", 200) };
    assert_eq!(Site::new(vec![prefer("a", 100), wide]).reason(&n1), None, "two different routes");
    let elsewhere =
        BgpAdvertisement { node_selectors: vec![selector(&[("name", "n2")])], ..prefer("b", 200) };
    assert_eq!(Site::new(vec![prefer("a", 100), elsewhere]).reason(&n1), None);
}

#[test]
fn updates_are_masked_and_marks_add_up() {
    let marked = |name: &str, communities: &[&str]| BgpAdvertisement {
        communities: communities
            .iter()
            .map(|text| {
                text.parse().map_or_else(|_| CommunityName::Alias((*text).into()), CommunityName::Value)
            })
            .collect(),
        ..advertisement(name)
    };
    let mut site = Site::new(vec![marked("a", &["64500:7", "known"]), marked("b", &["large:1:2:3"])]);
    site.communities.insert("known".into(), Community::Standard(64_500, 9));
    assert_eq!(site.updates(&node("n1")), ["tor 198.51.100.8/32 0 64500:7,64500:9,large:1:2:3"]);

    let wide = BgpAdvertisement { aggregation_length: 24, local_pref: 150, ..advertisement("wide") };
    assert_eq!(Site::new(vec![wide]).updates(&node("n1")), ["tor 198.51.100.0/24 150"]);
}

#[test]
fn a_peer_hears_what_is_meant_for_it_and_its_session_carries() {
    let mut site = Site::new(vec![advertisement("all")]);
    site.service = service("web", &["198.51.100.8", "2001:db8::8"]);
    site.peers = vec![
        peer("four", "192.0.2.1"),
        peer("six", "2001:db8:1::1"),
        BgpPeer { dual_stack: true, ..peer("both", "192.0.2.2") },
        BgpPeer { endpoint: PeerEndpoint::Interface("eth0".into()), ..peer("link", "192.0.2.3") },
        BgpPeer { node_selectors: vec![selector(&[("name", "n2")])], ..peer("elsewhere", "192.0.2.4") },
    ];
    assert_eq!(
        site.updates(&node("n1")),
        [
            "both 198.51.100.8/32 0",
            "both 2001:db8::8/128 0",
            "four 198.51.100.8/32 0",
            "link 198.51.100.8/32 0",
            "link 2001:db8::8/128 0",
            "six 2001:db8::8/128 0",
        ]
    );
    site.advertisements[0].peers = BTreeSet::from(["six".into(), "unknown".into()]);
    assert_eq!(site.updates(&node("n1")), ["six 2001:db8::8/128 0"]);
    assert_eq!(site.updates(&NodeView { network_unavailable: true, ..node("n1") }), [""; 0]);
}
