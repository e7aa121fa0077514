use std::collections::{BTreeMap, BTreeSet};

use landfall_model::{
    BfdProfile, BgpAdvertisement, BgpObject, BgpPeer, Communities, Community, L2Advertisement, NodeView,
    Observation, Pool,
};

use crate::{
    Fault,
    set::{BFD_PROFILE, BGP_ADVERTISEMENT, COMMUNITY, L2_ADVERTISEMENT, PEER, POOL},
};

/// All that a configuration is made of, in any order. Objects that cannot be read are not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// The namespace of the install, where all objects but the nodes are.
    pub namespace: Box<str>,
    /// `IPAddressPool`s.
    pub pools: Vec<Pool>,
    /// `L2Advertisement`s.
    pub l2_advertisements: Vec<L2Advertisement>,
    /// `BGPAdvertisement`s.
    pub bgp_advertisements: Vec<BgpAdvertisement>,
    /// `BGPPeer`s.
    pub peers: Vec<BgpPeer>,
    /// `BFDProfile`s.
    pub bfd_profiles: Vec<BfdProfile>,
    /// `Community` objects.
    pub communities: Vec<Communities>,
    /// The nodes. Empty means that they are not known; then any two objects that select nodes are taken to share one.
    pub nodes: Vec<NodeView>,
    /// The Secrets of the namespace, at least those that a peer names; `None`: they are not known, and nothing is said
    /// about them.
    pub secrets: Option<BTreeMap<Box<str>, SecretKind>>,
}

impl Objects {
    /// What the names of communities stand for.
    #[must_use]
    pub fn aliases(&self) -> BTreeMap<Box<str>, Community> {
        self.communities.iter().flat_map(|one| one.aliases.iter().cloned()).collect()
    }

    /// Takes what became of an object of these kinds; true if that may change what is at fault. To be used on objects that
    /// came in this way only: they are kept by name.
    pub fn observe(&mut self, observation: &Observation) -> bool {
        match observation {
            Observation::Pool(name, pool) => put(&mut self.pools, name, pool.as_deref(), |one| &one.name),
            Observation::L2Advertisement(name, advertisement) => {
                put(&mut self.l2_advertisements, name, advertisement.as_deref(), |one| &one.name)
            }
            Observation::Bgp(BgpObject::Advertisement(name, advertisement)) => {
                put(&mut self.bgp_advertisements, name, advertisement.as_deref(), |one| &one.name)
            }
            Observation::Bgp(BgpObject::Peer(name, peer)) => {
                put(&mut self.peers, name, peer.as_deref(), |one| &one.name)
            }
            Observation::Bgp(BgpObject::BfdProfile(name, profile)) => {
                put(&mut self.bfd_profiles, name, profile.as_deref(), |one| &one.name)
            }
            Observation::Bgp(BgpObject::Community(name, communities)) => {
                put(&mut self.communities, name, communities.as_deref(), |one| &one.name)
            }
            Observation::Node(name, node) => {
                put(&mut self.nodes, name, node.as_deref(), |one| &one.name)
                    && !(self.peers.is_empty() && self.bgp_advertisements.is_empty())
            }
            Observation::Service(..)
            | Observation::EndpointSlice(..)
            | Observation::Namespace(..)
            | Observation::Speaker(..)
            | Observation::Announcement(..)
            | Observation::Invalid(..)
            | Observation::Synced => false,
        }
    }

    /// What is left without the objects at fault.
    #[must_use]
    pub fn without<'a>(mut self, faults: impl IntoIterator<Item = &'a Fault>) -> Self {
        let at_fault: BTreeSet<(&str, &str)> =
            faults.into_iter().map(|fault| (fault.object.kind, &*fault.object.name)).collect();
        self.retain(|kind, name| !at_fault.contains(&(kind, name)));
        self
    }

    /// What is left without the object of this kind and name.
    #[must_use]
    pub fn without_object(mut self, object: (&str, &str)) -> Self {
        self.retain(|kind, name| (kind, name) != object);
        self
    }

    fn retain(&mut self, fine: impl Fn(&str, &str) -> bool) {
        self.pools.retain(|one| fine(POOL, &one.name));
        self.l2_advertisements.retain(|one| fine(L2_ADVERTISEMENT, &one.name));
        self.bgp_advertisements.retain(|one| fine(BGP_ADVERTISEMENT, &one.name));
        self.peers.retain(|one| fine(PEER, &one.name));
        self.bfd_profiles.retain(|one| fine(BFD_PROFILE, &one.name));
        self.communities.retain(|one| fine(COMMUNITY, &one.name));
    }
}

/// Makes `object` the one of this name; true if that changes something. Lists come in the order of names, so that most
/// objects are added at the end.
fn put<T: Clone + PartialEq>(
    objects: &mut Vec<T>,
    name: &str,
    object: Option<&T>,
    name_of: impl Fn(&T) -> &str,
) -> bool {
    let place = objects.binary_search_by(|one| name_of(one).cmp(name));
    match (place, object) {
        (Ok(at), Some(object)) if objects[at] == *object => return false,
        (Ok(at), Some(object)) => objects[at] = object.clone(),
        (Err(at), Some(object)) => objects.insert(at, object.clone()),
        (Ok(at), None) => drop(objects.remove(at)),
        (Err(_), None) => return false,
    }
    true
}

/// What is known of a Secret that a peer may name. The password itself is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretKind {
    /// It has the type `kubernetes.io/basic-auth` and the key `password`.
    Password,
    /// It has another type.
    OtherType,
    /// It has the type, and no key `password`.
    NoPassword,
}
