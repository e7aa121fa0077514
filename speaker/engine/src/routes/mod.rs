//! Which node announces which Service by BGP, to whom, and why not: the rules of MetalLB's speakers. Who holds a session
//! and what is on the wire is not decided here.
//!
//! Unlike layer 2, every node that may announce does: routers spread the traffic over all of them.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use landfall_model::{
    BgpAdvertisement, BgpPeer, Community, CommunityName, EndpointSlice, Family, NodeView, PeerEndpoint, Pool,
    Reason, ServiceKey, ServiceView, TrafficPolicy,
};

use crate::cluster::Serving;

/// A configuration that was found valid. An advertisement with an alias that `communities` does not have must not be in
/// it: a route without a mark may go where it should not.
#[derive(Clone, Copy, Debug)]
pub struct Routes<'a> {
    /// The advertisements, by name.
    pub advertisements: &'a [BgpAdvertisement],
    /// The peers, by name.
    pub peers: &'a [BgpPeer],
    /// What the aliases stand for.
    pub communities: &'a BTreeMap<Box<str>, Community>,
    /// Let nodes announce although they carry the exclude label.
    pub ignore_exclude_lb: bool,
}

/// A Service that is handled here, with what decides about its routes.
#[derive(Clone, Debug)]
pub struct Routed<'a> {
    view: &'a ServiceView,
    /// Each address with the advertisements of its pool.
    addresses: Vec<(IpAddr, Vec<&'a BgpAdvertisement>)>,
    serving: Serving,
}

/// A route that a node tells a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// LOCAL_PREF for peers of the own autonomous system; 0: none.
    pub local_pref: u32,
    /// How often the own autonomous system is repeated in the path.
    pub as_path_prepend: u8,
    /// The communities of all advertisements that ask for the route.
    pub communities: BTreeSet<Community>,
    /// The Services behind it.
    pub services: BTreeSet<ServiceKey>,
}

/// The routes of one node, by the name of the peer and the prefix.
pub type Updates<'a> = BTreeMap<(&'a str, IpNet), Update>;

impl<'a> Routes<'a> {
    /// Gathers what decides about a Service. `pool_of` tells the pool of an address. Costs its addresses, its endpoints
    /// and all advertisements.
    pub fn service(
        &self,
        view: &'a ServiceView,
        slices: impl Iterator<Item = &'a EndpointSlice>,
        pool_of: impl Fn(IpAddr) -> Option<&'a Pool>,
    ) -> Routed<'a> {
        let of_pool = |address| {
            let pool = pool_of(address);
            let all = self.advertisements.iter();
            all.filter(|advertisement| pool.is_some_and(|pool| advertisement.selects_pool(pool))).collect()
        };
        let addresses = view.addresses().map(|address| (address, of_pool(address))).collect();
        Routed { view, addresses, serving: Serving::of(slices) }
    }

    /// Why `node` does not announce the Service; `None` when it does. The order of the checks is the order in which
    /// reasons are told.
    #[must_use]
    pub fn reason(&self, service: &Routed<'_>, node: &NodeView) -> Option<Reason> {
        let view = service.view;
        if service.addresses.is_empty() {
            return Some(Reason::NoAddress);
        }
        let all = || service.addresses.iter().flat_map(|(_, list)| list);
        if all().next().is_none() {
            return Some(Reason::NoMatchingAdvertisement);
        }
        let mut selecting = all().filter(|advertisement| advertisement.selects_node(&node.labels)).peekable();
        if selecting.peek().is_none() {
            return Some(Reason::NodeNotSelected);
        }
        if !selecting.any(|advertisement| advertisement.selects_service(&view.labels)) {
            return Some(Reason::NoMatchingAdvertisement);
        }
        if service.addresses.iter().any(|(address, list)| disagree(*address, &matching(list, view, node))) {
            return Some(Reason::ConflictingAdvertisements);
        }
        let serving = &service.serving;
        let unserved = match view.traffic_policy {
            TrafficPolicy::Local => (!serving.nodes.contains(&node.name)).then_some(Reason::NoLocalEndpoints),
            TrafficPolicy::Cluster => (!serving.anywhere).then_some(Reason::NoEndpoints),
        };
        node.refusal(self.ignore_exclude_lb).or(unserved)
    }

    /// What `node` tells its peers. Costs the Services, their advertisements and the node's peers.
    pub fn updates<'s>(
        &self,
        services: impl Iterator<Item = &'s Routed<'s>>,
        node: &NodeView,
    ) -> Updates<'a> {
        let peers: Vec<&BgpPeer> = self.peers.iter().filter(|peer| peer.selects_node(&node.labels)).collect();
        let mut updates = Updates::new();
        for service in services.filter(|service| self.reason(service, node).is_none()) {
            for (address, list) in &service.addresses {
                for advertisement in matching(list, service.view, node) {
                    let prefix = prefix(*address, advertisement);
                    let told = peers.iter().filter(|peer| advertisement.selects_peer(&peer.name));
                    for peer in told.filter(|peer| carries(peer, Family::of(*address))) {
                        let update = updates.entry((&*peer.name, prefix)).or_insert_with(|| Update {
                            local_pref: advertisement.local_pref,
                            as_path_prepend: 0,
                            communities: BTreeSet::new(),
                            services: BTreeSet::new(),
                        });
                        // Aggregates of different pools may ask for different things.
                        update.local_pref = update.local_pref.max(advertisement.local_pref);
                        update.as_path_prepend = update.as_path_prepend.max(advertisement.as_path_prepend);
                        update.communities.extend(self.resolve(advertisement));
                        update.services.insert(service.view.key.clone());
                    }
                }
            }
        }
        updates
    }

    fn resolve(&self, advertisement: &BgpAdvertisement) -> impl Iterator<Item = Community> {
        advertisement.communities.iter().filter_map(|name| match name {
            CommunityName::Value(community) => Some(*community),
            CommunityName::Alias(alias) => self.communities.get(alias).copied(),
        })
    }
}

fn matching<'a>(
    list: &[&'a BgpAdvertisement],
    view: &ServiceView,
    node: &NodeView,
) -> Vec<&'a BgpAdvertisement> {
    let matches = |advertisement: &&&BgpAdvertisement| {
        advertisement.selects_node(&node.labels) && advertisement.selects_service(&view.labels)
    };
    list.iter().filter(matches).copied().collect()
}

/// Whether two of the advertisements ask for one route to one peer with different preferences or paths.
fn disagree(address: IpAddr, advertisements: &[&BgpAdvertisement]) -> bool {
    let clash = |one: &BgpAdvertisement, other: &BgpAdvertisement| {
        let common = one.peers.is_empty() || other.peers.is_empty() || !one.peers.is_disjoint(&other.peers);
        let values =
            |advertisement: &BgpAdvertisement| (advertisement.local_pref, advertisement.as_path_prepend);
        common && values(one) != values(other) && prefix(address, one) == prefix(address, other)
    };
    let pairs = advertisements.iter().enumerate();
    pairs
        .flat_map(|(index, one)| advertisements[index + 1..].iter().map(move |other| (one, other)))
        .any(|(one, other)| clash(one, other))
}

fn prefix(address: IpAddr, advertisement: &BgpAdvertisement) -> IpNet {
    let length = match address {
        IpAddr::V4(_) => advertisement.aggregation_length,
        IpAddr::V6(_) => advertisement.aggregation_length_v6,
    };
    IpNet::new(address, length).map_or_else(|_| address.into(), |net| net.trunc())
}

/// Whether routes of this family go over the session: those of its own, both where it is asked to carry both, and both
/// between neighbours on an interface, who have no address to tell a family by.
fn carries(peer: &BgpPeer, family: Family) -> bool {
    match &peer.endpoint {
        PeerEndpoint::Address(address) => peer.dual_stack || Family::of(*address) == family,
        PeerEndpoint::Interface(_) => true,
    }
}
