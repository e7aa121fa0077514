use std::time::Duration;

use landfall_model::{
    BgpAdvertisement, BgpObject, BgpPeer, CommunityName, Observation, PeerEndpoint, PeerPassword, Pool,
    RemoteAs, Selector,
};
use landfall_verdict::{Mode, Objects, SecretKind, judge};
use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::objects::*;

const NAMES: &[&str] = &["a", "b", "c", "d"];
/// No two of these overlap, and each of [`WIDE`] overlaps some.
const NARROW: &[&str] = &["10.0.0.0/30", "10.0.0.4-10.0.0.9", "10.0.1.0/24", "2001:db8::/126"];
const WIDE: &[&str] = &["10.0.0.0/16", "10.0.0.8-10.0.1.0", "2001:db8::2-2001:db8::9"];

fn name() -> impl Strategy<Value = &'static str> {
    select(NAMES)
}

fn selectors() -> impl Strategy<Value = Vec<Selector>> {
    option::of(name()).prop_map(|node| node.map(on).unwrap_or_default())
}

fn a_pool() -> impl Strategy<Value = Pool> {
    let ranges = prop_oneof![
        proptest::sample::subsequence(NARROW, 1..=3),
        select(WIDE).prop_map(|range| vec![range]),
    ];
    (name(), ranges).prop_map(|(name, ranges)| pool(name, &ranges))
}

fn an_advertisement() -> impl Strategy<Value = BgpAdvertisement> {
    let communities = vec(select(&["1:2", "large:1:2:3", "x", "y"][..]), 0..3);
    let lists = (option::of(name()), option::of(name()), selectors(), selectors());
    (name(), lists, select(&[8_u8, 24, 32][..]), select(&[64_u8, 126, 128][..]), 0..3_u32, communities)
        .prop_map(|(name, (pool, peer, nodes, services), v4, v6, local_pref, communities)| BgpAdvertisement {
            pools: pool.into_iter().map(Into::into).collect(),
            peers: peer.into_iter().map(Into::into).collect(),
            node_selectors: nodes,
            service_selectors: services,
            aggregation_length: v4,
            aggregation_length_v6: v6,
            local_pref,
            communities: communities
                .into_iter()
                .map(|text| {
                    text.parse().map_or_else(|_| CommunityName::Alias(text.into()), CommunityName::Value)
                })
                .collect(),
            ..advertisement(name)
        })
}

fn a_peer() -> impl Strategy<Value = BgpPeer> {
    let endpoint = prop_oneof![
        select(&["10.9.0.1", "10.9.0.2"][..]).prop_map(|text| PeerEndpoint::Address(ip(text))),
        Just(PeerEndpoint::Interface("eth0".into())),
    ];
    let ids = (64512..64514_u32, option::of(select(&["10.9.9.1", "10.9.9.2"][..])), any::<[bool; 5]>());
    let names = (option::of(name()), option::of(name()), select(&["", "", "red"][..]));
    (name(), endpoint, ids, names, selectors()).prop_map(
        |(name, endpoint, (my_asn, router_id, flags), (secret, profile, vrf), nodes)| BgpPeer {
            endpoint,
            my_asn,
            router_id: router_id.map(ip),
            password: secret.map_or(PeerPassword::None, |name| PeerPassword::Secret(name.into())),
            bfd_profile: profile.map(Into::into),
            vrf: vrf.into(),
            node_selectors: nodes,
            remote: if flags[0] { RemoteAs::External } else { RemoteAs::Number(1) },
            keepalive_given: flags[1],
            connect_time: flags[2].then_some(Duration::from_secs(1)),
            disable_mp: flags[3],
            dual_stack: flags[4],
            ..peer(name, "10.9.0.1")
        },
    )
}

fn objects() -> impl Strategy<Value = Objects> {
    let secret = select(&[SecretKind::Password, SecretKind::OtherType, SecretKind::NoPassword][..]);
    let aliases = vec((select(&["x", "y"][..]), select(&["1:2", "large:1:2:3"][..])), 0..2);
    (
        vec(a_pool(), 0..5),
        vec(an_advertisement(), 0..5),
        vec(a_peer(), 0..5),
        vec((name(), any::<bool>()), 0..3),
        vec((name(), aliases), 0..3),
        proptest::sample::subsequence(NAMES, 0..=3),
        vec((name(), secret), 0..3),
    )
        .prop_map(|(pools, bgp_advertisements, peers, profiles, named, nodes, secrets)| Objects {
            pools,
            bgp_advertisements,
            peers,
            bfd_profiles: profiles.into_iter().map(|(name, echo)| profile(name, echo)).collect(),
            communities: named.iter().map(|(name, aliases)| communities(name, aliases)).collect(),
            nodes: nodes.into_iter().map(node).collect(),
            secrets: Some(secrets.into_iter().map(|(name, kind)| (name.into(), kind)).collect()),
            ..none()
        })
}

proptest! {
    #[test]
    fn what_is_left_without_the_faults_has_none(objects in objects(), mode in select(Mode::ALL)) {
        let faults = judge(&objects, mode);
        prop_assert!(faults.is_sorted_by_key(|fault| &fault.object));
        for fault in &faults {
            prop_assert!(!fault.message.is_empty() && !fault.to_string().contains(": :"));
        }
        let left = judge(&objects.without(faults.iter().filter(|fault| !fault.transient)), mode);
        prop_assert!(left.iter().all(|fault| fault.transient), "{left:?}");
    }

    #[test]
    fn the_order_of_the_objects_does_not_matter(objects in objects(), mode in select(Mode::ALL)) {
        let objects = each_once(objects);
        let mut turned = objects.clone();
        turned.pools.reverse();
        turned.bgp_advertisements.reverse();
        turned.peers.reverse();
        prop_assert_eq!(judge(&objects, mode), judge(&turned, mode));
    }

    #[test]
    fn objects_that_were_observed_are_those_that_are_there(objects in objects(), mode in select(Mode::ALL)) {
        let objects = each_once(objects);
        let mut observed = none();
        observed.secrets.clone_from(&objects.secrets);
        for observation in observations(&objects).iter().rev() {
            prop_assert!(!observation.is_gone());
            observed.observe(observation);
            prop_assert!(!observed.observe(observation), "again, it is nothing new");
        }
        prop_assert_eq!(judge(&observed, mode), judge(&objects, mode));
        for observation in observations(&objects) {
            observed.observe(&observation.gone());
        }
        prop_assert_eq!(observed, Objects { secrets: objects.secrets, ..none() });
    }
}

/// By name, and each name once, as a cluster has them.
fn each_once(mut objects: Objects) -> Objects {
    fn once<T>(all: &mut Vec<T>, name: impl Fn(&T) -> Box<str>) {
        all.sort_by_key(&name);
        all.dedup_by_key(|one| name(one));
    }
    once(&mut objects.pools, |one| one.name.clone());
    once(&mut objects.l2_advertisements, |one| one.name.clone());
    once(&mut objects.bgp_advertisements, |one| one.name.clone());
    once(&mut objects.peers, |one| one.name.clone());
    once(&mut objects.bfd_profiles, |one| one.name.clone());
    once(&mut objects.communities, |one| one.name.clone());
    once(&mut objects.nodes, |one| one.name.clone());
    objects
}

fn observations(objects: &Objects) -> Vec<Observation> {
    fn now<T: Clone>(one: &T) -> Option<Box<T>> {
        Some(Box::new(one.clone()))
    }
    let Objects {
        namespace: _,
        pools,
        l2_advertisements,
        bgp_advertisements,
        peers,
        bfd_profiles,
        communities,
        nodes,
        secrets: _,
    } = objects;
    let routes = bgp_advertisements.iter().map(|one| BgpObject::Advertisement(one.name.clone(), now(one)));
    let peers = peers.iter().map(|one| BgpObject::Peer(one.name.clone(), now(one)));
    let profiles = bfd_profiles.iter().map(|one| BgpObject::BfdProfile(one.name.clone(), now(one)));
    let communities = communities.iter().map(|one| BgpObject::Community(one.name.clone(), now(one)));
    let bgp = routes.chain(peers).chain(profiles).chain(communities).map(Observation::Bgp);
    let pools = pools.iter().map(|one| Observation::Pool(one.name.clone(), now(one)));
    let links = l2_advertisements.iter().map(|one| Observation::L2Advertisement(one.name.clone(), now(one)));
    let nodes = nodes.iter().map(|one| Observation::Node(one.name.clone(), now(one)));
    pools.chain(links).chain(nodes).chain(bgp).collect()
}
