use std::collections::BTreeMap;

use landfall_model::{BfdProfile, BgpAdvertisement, BgpPeer, Communities, L2Advertisement, NodeView, Pool};

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
    /// The Secrets of the namespace, at least those that a peer names.
    pub secrets: BTreeMap<Box<str>, SecretKind>,
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
