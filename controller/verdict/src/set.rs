use std::collections::BTreeMap;

use landfall_model::{
    BfdProfile, BgpAdvertisement, BgpPeer, Communities, L2Advertisement, NodeView, Pool, Reason,
};

use crate::{Objects, SecretKind, fault::Faults};

pub(crate) const POOL: &str = "IPAddressPool";
pub(crate) const BGP_ADVERTISEMENT: &str = "BGPAdvertisement";
pub(crate) const PEER: &str = "BGPPeer";
pub(crate) const BFD_PROFILE: &str = "BFDProfile";
pub(crate) const COMMUNITY: &str = "Community";
pub(crate) const L2_ADVERTISEMENT: &str = "L2Advertisement";

/// The objects by name, each name once. Rules speak of them by their place in these lists, which is the order of names.
pub(crate) struct Set<'a> {
    pub(crate) pools: Vec<&'a Pool>,
    pub(crate) advertisements: Vec<&'a BgpAdvertisement>,
    pub(crate) peers: Vec<&'a BgpPeer>,
    pub(crate) profiles: Vec<&'a BfdProfile>,
    pub(crate) communities: Vec<&'a Communities>,
    pub(crate) nodes: &'a [NodeView],
    pub(crate) secrets: Option<&'a BTreeMap<Box<str>, SecretKind>>,
}

impl<'a> Set<'a> {
    /// Of several objects of one name the first one counts, the others are at fault and count no further. A cluster has
    /// no such objects; files may.
    pub(crate) fn new(objects: &'a Objects, faults: &mut Faults<'_>) -> Self {
        let l2: &[L2Advertisement] = &objects.l2_advertisements;
        drop(once(L2_ADVERTISEMENT, l2, |one| &one.name, faults));
        Self {
            pools: once(POOL, &objects.pools, |one| &one.name, faults),
            advertisements: once(BGP_ADVERTISEMENT, &objects.bgp_advertisements, |one| &one.name, faults),
            peers: once(PEER, &objects.peers, |one| &one.name, faults),
            profiles: once(BFD_PROFILE, &objects.bfd_profiles, |one| &one.name, faults),
            communities: once(COMMUNITY, &objects.communities, |one| &one.name, faults),
            nodes: &objects.nodes,
            secrets: objects.secrets.as_ref(),
        }
    }

    pub(crate) fn profile(&self, name: &str) -> Option<&'a BfdProfile> {
        let place = self.profiles.binary_search_by(|profile| (*profile.name).cmp(name));
        place.ok().map(|place| self.profiles[place])
    }
}

fn once<'a, T>(
    kind: &'static str,
    objects: &'a [T],
    name: impl Fn(&T) -> &str,
    faults: &mut Faults<'_>,
) -> Vec<&'a T> {
    let mut sorted: Vec<&T> = objects.iter().collect();
    sorted.sort_by(|a, b| name(a).cmp(name(b)));
    sorted.dedup_by(|later, first| {
        let twice = name(later) == name(first);
        if twice {
            let message = "another object has the same kind and name; rename one of them, or remove it";
            faults.permanent((kind, name(later)), "metadata.name", Reason::Duplicate, message);
        }
        twice
    });
    sorted
}
