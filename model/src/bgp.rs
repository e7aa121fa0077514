use std::{collections::BTreeSet, fmt, net::IpAddr, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    Labels, Pool, Selector,
    advertisement::{any_or_empty, selects_pool},
};

/// A `BGPAdvertisement` whose every field has been parsed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BgpAdvertisement {
    /// `metadata.name`.
    pub name: Box<str>,
    /// `spec.ipAddressPools`; names that do not exist have no effect.
    pub pools: BTreeSet<Box<str>>,
    /// `spec.ipAddressPoolSelectors`; union with `pools`, both empty means every pool.
    pub pool_selectors: Vec<Selector>,
    /// `spec.nodeSelectors`, any of which must match; empty means every node.
    pub node_selectors: Vec<Selector>,
    /// `spec.serviceSelectors`, any of which must match; empty means every Service.
    pub service_selectors: Vec<Selector>,
    /// `spec.peers`, the names of those that are told; empty means all. Names that do not exist have no effect.
    pub peers: BTreeSet<Box<str>>,
    /// `spec.aggregationLength`: the length of IPv4 prefixes, from 1 to 32.
    pub aggregation_length: u8,
    /// `spec.aggregationLengthV6`: the length of IPv6 prefixes, from 0 to 128.
    pub aggregation_length_v6: u8,
    /// `spec.localPref`; 0 means that none is given.
    pub local_pref: u32,
    /// `spec.asPathPrepend`: how often the own AS is repeated in the path, 0 to 10.
    pub as_path_prepend: u8,
    /// `spec.communities`.
    pub communities: BTreeSet<CommunityName>,
}

impl Default for BgpAdvertisement {
    /// One that the API server's defaults make: each address for itself, of every pool, from every node, to every peer.
    fn default() -> Self {
        Self {
            name: Box::default(),
            pools: BTreeSet::new(),
            pool_selectors: Vec::new(),
            node_selectors: Vec::new(),
            service_selectors: Vec::new(),
            peers: BTreeSet::new(),
            aggregation_length: 32,
            aggregation_length_v6: 128,
            local_pref: 0,
            as_path_prepend: 0,
            communities: BTreeSet::new(),
        }
    }
}

impl BgpAdvertisement {
    /// Whether it advertises addresses of `pool`.
    #[must_use]
    pub fn selects_pool(&self, pool: &Pool) -> bool {
        selects_pool(&self.pools, &self.pool_selectors, pool)
    }

    /// Whether a node with these labels announces for it.
    #[must_use]
    pub fn selects_node(&self, labels: &Labels) -> bool {
        any_or_empty(&self.node_selectors, labels)
    }

    /// Whether it is for a Service with these labels.
    #[must_use]
    pub fn selects_service(&self, labels: &Labels) -> bool {
        any_or_empty(&self.service_selectors, labels)
    }

    /// Whether the peer of this name is told.
    #[must_use]
    pub fn selects_peer(&self, peer: &str) -> bool {
        self.peers.is_empty() || self.peers.contains(peer)
    }
}

/// What an advertisement writes into `communities`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CommunityName {
    /// The community itself.
    Value(Community),
    /// The name that a `Community` object gives to one.
    Alias(Box<str>),
}

/// A mark on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Community {
    /// Two numbers of 16 bits (RFC 1997), written `64500:7`.
    Standard(u16, u16),
    /// Three numbers of 32 bits (RFC 8092), written `large:64500:1:7`.
    Large(u32, u32, u32),
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(high, low) => write!(f, "{high}:{low}"),
            Self::Large(one, two, three) => write!(f, "large:{one}:{two}:{three}"),
        }
    }
}

/// Why a text is not a [`Community`]. A retry does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommunityError {
    /// It does not have the parts of one. It may be an alias.
    #[error("{text:?} is no community; write it as 64500:7, or large:64500:1:7")]
    Shape {
        /// The text as written.
        text: String,
    },
    /// It has four parts, and the first is not the mark of a large one.
    #[error("{part:?} in {text:?} is not \"large\"; write a large community as large:64500:1:7")]
    Mark {
        /// The whole text.
        text: String,
        /// The first part.
        part: String,
    },
    /// It has the parts, and one of them is no number of its size.
    #[error("{part:?} in {text:?} is not a number from 0 to {most}")]
    Number {
        /// The whole text.
        text: String,
        /// The part that cannot be read.
        part: String,
        /// The largest number that fits.
        most: u32,
    },
}

impl FromStr for Community {
    type Err = CommunityError;

    fn from_str(text: &str) -> Result<Self, CommunityError> {
        let number = |part: &str, most: u32| -> Result<u32, CommunityError> {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            let value = digits.then(|| part.parse().ok()).flatten().filter(|value| *value <= most);
            value.ok_or_else(|| CommunityError::Number { text: text.to_owned(), part: part.to_owned(), most })
        };
        let half = |part: &str| {
            number(part, u32::from(u16::MAX)).map(|value| u16::try_from(value).unwrap_or(u16::MAX))
        };
        match text.split(':').collect::<Vec<_>>()[..] {
            [high, low] => Ok(Self::Standard(half(high)?, half(low)?)),
            ["large", one, two, three] => {
                Ok(Self::Large(number(one, u32::MAX)?, number(two, u32::MAX)?, number(three, u32::MAX)?))
            }
            [part, _, _, _] => Err(CommunityError::Mark { text: text.to_owned(), part: part.to_owned() }),
            _ => Err(CommunityError::Shape { text: text.to_owned() }),
        }
    }
}

/// A `Community` object: names for communities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Communities {
    /// `metadata.name`.
    pub name: Box<str>,
    /// `spec.communities`, in their order. No name stands twice.
    pub aliases: Vec<(Box<str>, Community)>,
}

/// A `BFDProfile` (RFC 5880) whose every field lies in its range. `None`: not set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BfdProfile {
    /// `metadata.name`.
    pub name: Box<str>,
    /// `spec.receiveInterval`.
    pub receive_interval: Option<Duration>,
    /// `spec.transmitInterval`.
    pub transmit_interval: Option<Duration>,
    /// `spec.detectMultiplier`.
    pub detect_multiplier: Option<u8>,
    /// `spec.echoInterval`.
    pub echo_interval: Option<Duration>,
    /// `spec.echoMode`.
    pub echo_mode: bool,
    /// `spec.passiveMode`.
    pub passive_mode: bool,
    /// `spec.minimumTtl`.
    pub minimum_ttl: Option<u8>,
}

/// A `BGPPeer` whose every field has been parsed. Its password is not in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BgpPeer {
    /// `metadata.name`.
    pub name: Box<str>,
    /// `spec.myASN`, never 0.
    pub my_asn: u32,
    /// `spec.peerASN` or `spec.dynamicASN`.
    pub remote: RemoteAs,
    /// `spec.localASN`, which this peer sees in place of `myASN`.
    pub local_asn: Option<u32>,
    /// `spec.peerAddress` or `spec.interface`.
    pub endpoint: PeerEndpoint,
    /// `spec.sourceAddress`.
    pub source: Option<IpAddr>,
    /// `spec.peerPort`.
    pub port: u16,
    /// `spec.holdTime` in whole seconds, 0 (off) or at least 3 s; three times `keepaliveTime` where only that is set.
    pub hold_time: Option<Duration>,
    /// `spec.keepaliveTime`, at most the hold time; a third of it where only that is set.
    pub keepalive_time: Option<Duration>,
    /// Whether `spec.keepaliveTime` itself says more than 0; MetalLB's native mode refuses that, and not what follows
    /// from the hold time.
    pub keepalive_given: bool,
    /// `spec.connectTime`.
    pub connect_time: Option<Duration>,
    /// `spec.routerID`.
    pub router_id: Option<IpAddr>,
    /// `spec.nodeSelectors`, any of which must match; empty means every node.
    pub node_selectors: Vec<Selector>,
    /// `spec.password` or `spec.passwordSecret`.
    pub password: PeerPassword,
    /// `spec.bfdProfile`.
    pub bfd_profile: Option<Box<str>>,
    /// `spec.ebgpMultiHop`.
    pub multi_hop: bool,
    /// `spec.enableGracefulRestart`.
    pub graceful_restart: bool,
    /// `spec.vrf`; empty means the default one.
    pub vrf: Box<str>,
    /// `spec.disableMP`.
    pub disable_mp: bool,
    /// `spec.dualStackAddressFamily`.
    pub dual_stack: bool,
}

impl BgpPeer {
    /// A session with no more than what must be said, from every node.
    #[must_use]
    pub fn new(name: &str, my_asn: u32, remote: RemoteAs, endpoint: PeerEndpoint) -> Self {
        Self {
            name: name.into(),
            my_asn,
            remote,
            local_asn: None,
            endpoint,
            source: None,
            port: 179,
            hold_time: None,
            keepalive_time: None,
            keepalive_given: false,
            connect_time: None,
            router_id: None,
            node_selectors: Vec::new(),
            password: PeerPassword::None,
            bfd_profile: None,
            multi_hop: false,
            graceful_restart: false,
            vrf: Box::default(),
            disable_mp: false,
            dual_stack: false,
        }
    }

    /// Whether a node with these labels holds this session.
    #[must_use]
    pub fn selects_node(&self, labels: &Labels) -> bool {
        any_or_empty(&self.node_selectors, labels)
    }
}

/// The autonomous system of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RemoteAs {
    /// This one.
    Number(u32),
    /// Whatever it says, as long as it is ours.
    Internal,
    /// Whatever it says, as long as it is not ours.
    External,
}

/// Where a peer is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PeerEndpoint {
    /// At this address.
    Address(IpAddr),
    /// The neighbour on this interface.
    Interface(Box<str>),
}

/// Where the password of a peer's session (RFC 2385) is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PeerPassword {
    /// There is none.
    #[default]
    None,
    /// In the object itself.
    Plain,
    /// In the Secret of this name, in the install's namespace.
    Secret(Box<str>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communities_are_read_and_written_alike() {
        for text in ["0:0", "64500:7", "65535:65535", "large:4294967295:0:1"] {
            assert_eq!(text.parse::<Community>().unwrap().to_string(), text);
        }
        for text in
            ["", "7", "65536:1", "1:-1", "1:+1", "a:b", "1:2:3", "huge:1:2:3", "large:1:2:4294967296", "1: 2"]
        {
            assert!(text.parse::<Community>().is_err(), "{text:?}");
        }
    }
}
