use super::*;
use crate::Mac;

fn link(index: u32, name: &str, addresses: &[&str]) -> Link {
    Link {
        index: IfIndex(index),
        name: name.into(),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        running: true,
        broadcast: true,
        arp: true,
        enslaved: false,
        loopback: false,
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        default_v4: false,
        default_v6: false,
        gateways: Vec::new(),
    }
}

fn eth0() -> Link {
    link(2, "eth0", &["192.0.2.1/24", "2001:db8::1/64", "fe80::1/64"])
}

fn summary_of(link: Link) -> Result<LinkSummary, Skipped> {
    let mut links = Links::new(NamePattern::defaults());
    links.handle(link.index, Some(link));
    let skipped = links.skipped().map(|(_, reason)| reason).next();
    match (links.summary(), skipped) {
        ([summary], None) => Ok(summary.clone()),
        ([], Some(reason)) => Err(reason),
        (summary, skipped) => panic!("one or the other: {summary:?}, {skipped:?}"),
    }
}

fn names(names: &[&str]) -> BTreeSet<Box<str>> {
    names.iter().map(|name| Box::from(*name)).collect()
}

#[test]
fn an_interface_is_skipped_for_one_reason() {
    type Change = (&'static str, fn(&mut Link), Result<(bool, bool), Skipped>);
    let cases: [Change; 12] = [
        ("as it is", |_| {}, Ok((true, true))),
        ("no broadcast", |link| link.broadcast = false, Ok((false, true))),
        ("no link-local address", |link| link.addresses.truncate(2), Ok((true, false))),
        ("no address at all", |link| link.addresses.clear(), Ok((true, false))),
        ("excluded", |link| link.name = "veth0".into(), Err(Skipped::Excluded)),
        ("loopback", |link| link.loopback = true, Err(Skipped::Loopback)),
        ("down", |link| link.running = false, Err(Skipped::NotRunning)),
        ("in a bridge", |link| link.enslaved = true, Err(Skipped::Enslaved)),
        ("no MAC", |link| link.mac = None, Err(Skipped::NoMac)),
        ("NOARP", |link| link.arp = false, Err(Skipped::NoArp)),
        (
            "neither broadcast nor link-local",
            |link| {
                link.broadcast = false;
                link.addresses.truncate(2);
            },
            Err(Skipped::NoFamily),
        ),
        (
            "IPv4 link-local does not make neighbour discovery work",
            |link| {
                link.broadcast = false;
                link.addresses = vec!["169.254.0.1/16".parse().unwrap()];
            },
            Err(Skipped::NoFamily),
        ),
    ];
    for (name, change, expected) in cases {
        let mut link = eth0();
        change(&mut link);
        assert_eq!(summary_of(link).map(|link| (link.arp, link.ndp)), expected, "{name}");
    }
}

#[test]
fn the_summary_has_subnets_without_host_bits_and_without_link_local_ones() {
    let mut link = eth0();
    link.addresses.push("192.0.2.77/24".parse().unwrap());
    link.addresses.push("169.254.3.4/16".parse().unwrap());
    link.default_v6 = true;
    let summary = summary_of(link).unwrap();
    let expected: Vec<IpNet> = vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/64".parse().unwrap()];
    assert_eq!(summary.prefixes, expected);
    assert_eq!(summary.mac, eth0().mac, "by which others know our frames");
    assert!(!summary.default_v4 && summary.default_v6);
}

#[test]
fn the_default_patterns_exclude_what_metallb_excludes() {
    let patterns = NamePattern::defaults();
    let excluded = |name: &str| patterns.iter().any(|pattern| pattern.matches(name));
    for name in [
        "docker0",
        "cbr0",
        "dummy1",
        "virbr0-nic",
        "lxcbr0",
        "veth1a2b",
        "lo",
        "cali123",
        "tunl0",
        "flannel.1",
        "kube-ipvs0",
        "cni0",
        "nodelocaldns",
        "lxc1234",
    ] {
        assert!(excluded(name), "{name}");
    }
    for name in ["eth0", "ens18", "bond0.100", "br0", "lo0", "xdocker0", "wlan0", "wg0"] {
        assert!(!excluded(name), "{name}");
    }
}

#[test]
fn patterns_are_regular_expressions() {
    let pattern = NamePattern::parse("^(eno|ens)[0-9]+$").unwrap();
    assert!(pattern.matches("eno1") && pattern.matches("ens18") && !pattern.matches("ens18.5"));
    assert!(NamePattern::parse("br-").unwrap().matches("my-br-0"), "unanchored matches anywhere");
    let error = NamePattern::parse("^(veth").unwrap_err().to_string();
    assert!(error.contains("`^(veth`") && error.contains("`^veth.*`"), "{error}");
}

#[test]
fn handle_tells_whether_peers_must_know() {
    let mut links = Links::new(NamePattern::defaults());
    assert!(links.handle(IfIndex(2), Some(eth0())), "appears");
    assert!(!links.handle(IfIndex(2), Some(eth0())), "says the same again");
    let mut other_mac = eth0();
    other_mac.mac = Some(Mac([2, 0, 0, 0, 0, 2]));
    assert!(links.handle(IfIndex(2), Some(other_mac)), "peers know our frames by the Ethernet address");
    assert_eq!(links.get(IfIndex(2)).unwrap().mac, Some(Mac([2, 0, 0, 0, 0, 2])));
    assert!(!links.handle(IfIndex(3), Some(link(3, "veth0", &["198.51.100.1/24"]))), "excluded");
    assert!(!links.handle(IfIndex(3), None), "an excluded one goes");
    let mut renamed = eth0();
    renamed.name = "lan0".into();
    assert!(links.handle(IfIndex(2), Some(renamed)), "is renamed");
    assert_eq!(links.name(IfIndex(2)), Some("lan0"));
    assert!(links.handle(IfIndex(2), None), "goes");
    assert!(links.summary().is_empty());
    assert!(!links.handle(IfIndex(2), None), "is gone already");
}

#[test]
fn names_resolve_to_the_present_interfaces() {
    let mut links = Links::new(Vec::new());
    links.handle(IfIndex(2), Some(eth0()));
    links.handle(IfIndex(7), Some(link(7, "eth1", &[])));
    assert_eq!(links.resolve(&names(&["eth1", "eth9"])), BTreeSet::from([IfIndex(7)]));
    let summary: Vec<_> = links.summary().iter().map(|link| &*link.name).collect();
    assert_eq!(summary, ["eth0", "eth1"]);

    links.handle(IfIndex(7), Some(link(7, "eth0", &[])));
    links.handle(IfIndex(2), Some(link(2, "eth1", &[])));
    assert_eq!(
        links.resolve(&names(&["eth0"])),
        BTreeSet::from([IfIndex(7)]),
        "the names were swapped, seen in the other order"
    );
    assert_eq!(links.resolve(&names(&["eth1"])), BTreeSet::from([IfIndex(2)]));
    links.handle(IfIndex(7), None);
    assert_eq!(links.resolve(&names(&["eth0", "eth1"])), BTreeSet::from([IfIndex(2)]));
}

struct Case {
    name: &'static str,
    links: Vec<Link>,
    address: &'static str,
    allowed: Allowed,
    expected: Result<(&'static [&'static str], LinkChoice), NoUsableLink>,
}

#[test]
fn interfaces_are_chosen_by_subnet_then_route_then_name_then_being_the_only_one() {
    let eth1 = || link(3, "eth1", &["198.51.100.1/24", "fe80::2/64"]);
    let routed = |mut link: Link| {
        link.default_v4 = true;
        link.default_v6 = true;
        link
    };
    let v4_only = || link(4, "eth2", &["203.0.113.1/24"]);
    let named = |list: &[&str]| Allowed::Named(names(list));
    let cases = [
        Case {
            name: "the subnet decides",
            links: vec![eth0(), routed(eth1())],
            address: "192.0.2.50",
            allowed: Allowed::All,
            expected: Ok((&["eth0"], LinkChoice::Subnet)),
        },
        Case {
            name: "two interfaces in the subnet",
            links: vec![eth0(), link(3, "eth1", &["192.0.2.2/24"])],
            address: "192.0.2.50",
            allowed: Allowed::All,
            expected: Ok((&["eth0", "eth1"], LinkChoice::Subnet)),
        },
        Case {
            name: "IPv6 by subnet",
            links: vec![eth0(), routed(eth1())],
            address: "2001:db8::50",
            allowed: Allowed::All,
            expected: Ok((&["eth0"], LinkChoice::Subnet)),
        },
        Case {
            name: "the subnet's interface is not allowed",
            links: vec![eth0(), routed(eth1())],
            address: "192.0.2.50",
            allowed: named(&["eth1"]),
            expected: Ok((&["eth1"], LinkChoice::DefaultRoute)),
        },
        Case {
            name: "no subnet, a default route",
            links: vec![eth0(), routed(eth1())],
            address: "203.0.113.50",
            allowed: Allowed::All,
            expected: Ok((&["eth1"], LinkChoice::DefaultRoute)),
        },
        Case {
            name: "the default route is of the other family",
            links: vec![eth0(), Link { default_v6: true, ..eth1() }],
            address: "203.0.113.50",
            allowed: Allowed::All,
            expected: Err(NoUsableLink::Undecided),
        },
        Case {
            name: "nothing but names",
            links: vec![eth0(), eth1(), v4_only()],
            address: "10.9.9.9",
            allowed: named(&["eth0", "eth1", "eth7"]),
            expected: Ok((&["eth0", "eth1"], LinkChoice::Named)),
        },
        Case {
            name: "nothing, but only one interface",
            links: vec![eth0()],
            address: "10.9.9.9",
            allowed: Allowed::All,
            expected: Ok((&["eth0"], LinkChoice::Only)),
        },
        Case {
            name: "nothing and two interfaces",
            links: vec![eth0(), eth1()],
            address: "10.9.9.9",
            allowed: Allowed::All,
            expected: Err(NoUsableLink::Undecided),
        },
        Case {
            name: "only those able of the family count",
            links: vec![eth0(), v4_only()],
            address: "2001:db8:9::9",
            allowed: Allowed::All,
            expected: Ok((&["eth0"], LinkChoice::Only)),
        },
        Case {
            name: "none is able",
            links: vec![v4_only()],
            address: "2001:db8::50",
            allowed: Allowed::All,
            expected: Err(NoUsableLink::NotAble),
        },
        Case {
            name: "no interface",
            links: vec![],
            address: "192.0.2.50",
            allowed: Allowed::All,
            expected: Err(NoUsableLink::NotAble),
        },
        Case {
            name: "none is allowed",
            links: vec![eth0(), eth1()],
            address: "192.0.2.50",
            allowed: named(&["eth9"]),
            expected: Err(NoUsableLink::NotAllowed),
        },
        Case {
            name: "an empty list allows nothing",
            links: vec![eth0()],
            address: "192.0.2.50",
            allowed: named(&[]),
            expected: Err(NoUsableLink::NotAllowed),
        },
    ];
    for Case { name, links: given, address, allowed, expected } in cases {
        let mut links = Links::new(NamePattern::defaults());
        for link in given {
            links.handle(link.index, Some(link));
        }
        let chosen = usable(links.summary(), address.parse().unwrap(), &allowed);
        let expected = expected.map(|(list, choice)| Usable { interfaces: names(list), choice });
        assert_eq!(chosen, expected, "{name}");
    }
}

#[test]
fn a_nearer_choice_is_the_smaller_one() {
    let choices = [LinkChoice::Subnet, LinkChoice::DefaultRoute, LinkChoice::Named, LinkChoice::Only];
    assert!(choices.is_sorted());
    assert!(choices.iter().all(|choice| format!("{choice:?}") == choice.as_str()));
}

#[test]
fn people_read_names_and_reason() {
    let interfaces = names(&["eth1", "eth0"]);
    let usable = Usable { interfaces, choice: LinkChoice::DefaultRoute };
    assert_eq!(usable.to_string(), "eth0,eth1 (DefaultRoute)");
}
