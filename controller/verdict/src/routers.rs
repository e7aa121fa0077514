use std::{collections::BTreeMap, net::IpAddr};

use landfall_model::{BgpPeer, PeerEndpoint, Reason};

use crate::{
    fault::Faults,
    nodes,
    set::{PEER, Set},
};

/// The peers of one node, as FRR has them: all share a router id, those of a VRF share its autonomous system, and a VRF
/// has an address or an interface once. Peers without a common node do not meet.
pub(crate) fn judge(set: &Set<'_>, faults: &mut Faults<'_>) {
    let places: Vec<Vec<usize>> =
        set.peers.iter().map(|peer| nodes::selected(set.nodes, |labels| peer.selects_node(labels))).collect();
    let mut vrfs: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut endpoints: BTreeMap<(&str, &PeerEndpoint), Vec<usize>> = BTreeMap::new();
    for (place, peer) in set.peers.iter().enumerate() {
        vrfs.entry(&peer.vrf).or_default().push(place);
        endpoints.entry((&peer.vrf, &peer.endpoint)).or_default().push(place);
    }
    let clashes = |members: &[usize], fit: fn(&BgpPeer, &BgpPeer) -> bool| {
        clashes(members, &places, |one, other| fit(set.peers[one], set.peers[other]))
    };

    let everyone: Vec<usize> = (0..set.peers.len()).collect();
    for clash in clashes(&everyone, |one, other| one.router_id == other.router_id) {
        let (peer, other, node) = clash.spell(set);
        let message = format!(
            "{} here, and {} in {PEER} {:?}, both on {node}; write the same in both, or choose different nodes",
            shown(peer.router_id),
            shown(other.router_id),
            other.name
        );
        faults.permanent((PEER, &peer.name), "spec.routerID", Reason::Conflict, message);
    }
    for members in vrfs.values() {
        for clash in clashes(members, |one, other| one.my_asn == other.my_asn) {
            let (peer, other, node) = clash.spell(set);
            let message = format!(
                "{} here, and {} in {PEER} {:?}, both on {node} {}; write the same in both and use localASN where a \
                 router expects another one, or choose different nodes",
                peer.my_asn,
                other.my_asn,
                other.name,
                vrf(peer)
            );
            faults.permanent((PEER, &peer.name), "spec.myASN", Reason::Conflict, message);
        }
    }
    for members in endpoints.values() {
        for clash in clashes(members, |_, _| false) {
            let (peer, other, node) = clash.spell(set);
            let (field, endpoint) = match &peer.endpoint {
                PeerEndpoint::Address(address) => ("spec.peerAddress", address.to_string()),
                PeerEndpoint::Interface(interface) => ("spec.interface", interface.to_string()),
            };
            let message = format!(
                "{PEER} {:?} has {endpoint} too, on {node} {}; remove one of the two, or choose different nodes",
                other.name,
                vrf(peer)
            );
            faults.permanent((PEER, &peer.name), field, Reason::Conflict, message);
        }
    }
}

/// Two peers that meet on a node and do not fit, by their places; the first one is at fault.
struct Clash {
    peer: usize,
    other: usize,
    node: usize,
}

impl Clash {
    fn spell<'a>(&self, set: &Set<'a>) -> (&'a BgpPeer, &'a BgpPeer, String) {
        (set.peers[self.peer], set.peers[self.other], nodes::name(set.nodes, self.node))
    }
}

/// The members that do not fit the first one, of those in force, on some node. What fits must fit both ways and along a
/// chain, so that comparing with the first is enough.
fn clashes(members: &[usize], nodes_of: &[Vec<usize>], fit: impl Fn(usize, usize) -> bool) -> Vec<Clash> {
    let mut first: BTreeMap<usize, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for &peer in members {
        let clash = nodes_of[peer].iter().find_map(|&node| {
            let other = *first.get(&node)?;
            (!fit(peer, other)).then_some(Clash { peer, other, node })
        });
        match clash {
            Some(clash) => found.push(clash),
            None => {
                for &node in &nodes_of[peer] {
                    first.entry(node).or_insert(peer);
                }
            }
        }
    }
    found
}

fn shown(router_id: Option<IpAddr>) -> String {
    router_id.map_or_else(|| "no router id".to_owned(), |id| format!("the router id {id}"))
}

fn vrf(peer: &BgpPeer) -> String {
    if peer.vrf.is_empty() { "in the default VRF".to_owned() } else { format!("in the VRF {:?}", peer.vrf) }
}
