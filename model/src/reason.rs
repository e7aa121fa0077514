use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Why something was decided, or not decided. The CamelCase name is part of the interface: it stands in
        /// conditions, events, metrics and the output of every command.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// Every reason, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// What it means, as a sentence without its full stop.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                let meaning = match self {
                    $(Self::$name => concat!($($doc),+),)+
                };
                meaning.trim().trim_end_matches('.')
            }

            /// The CamelCase name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }
    };
}

reasons! {
    /// The Service has the addresses it should have.
    Allocated,
    /// No address is free in any pool that may serve the Service.
    NoAvailableAddresses,
    /// There is no pool at all.
    NoPools,
    /// The requested pool does not exist.
    UnknownPool,
    /// The pool is for other namespaces.
    NamespaceNotAllowed,
    /// The pool is for Services with other labels.
    ServiceNotSelected,
    /// The pool is used only on request (`autoAssign: false`).
    NotAutoAssigned,
    /// The pool has no address of a needed family.
    FamilyMissing,
    /// Every address of the pool is in use.
    PoolExhausted,
    /// The pool exists, and no version of it is in force: it cannot be read, or overlaps another.
    PoolNotInForce,
    /// The requested address is in no pool.
    AddressNotInPools,
    /// The requested addresses lie in different pools.
    AddressesInDifferentPools,
    /// The requested address lies in another pool than the requested one.
    PoolMismatch,
    /// Another Service holds the address and does not share it.
    AddressInUse,
    /// The sharing keys, ports or backends of two Services on one address do not fit.
    SharingConflict,
    /// The address ends in 0 or 255 and the pool avoids such.
    BuggyAddress,
    /// The pool excludes the address.
    AddressExcluded,
    /// The pool reserves the address for another Service.
    AddressReserved,
    /// A node has the address.
    NodeAddress,
    /// Another Service gave the address back a short while ago.
    Quarantined,
    /// The namespace has as many addresses of the pool as it may have.
    QuotaExceeded,
    /// The request cannot be read, or contradicts itself.
    InvalidRequest,
    /// The requested families are not those of the Service.
    FamilyMismatch,
    /// The Service needs two families and has cluster addresses of one.
    NotEnoughClusterIps,
    /// The Service has no cluster address yet.
    NoClusterIp,
    /// The status was written by somebody else, so it is left alone.
    ForeignStatus,
    /// The Service belongs to another load balancer class.
    ForeignClass,
    /// The Service is not of type LoadBalancer.
    NotLoadBalancer,
    /// The Service is being deleted.
    ServiceDeleted,
    /// A pool or setting changed, so the address is taken back.
    NotAllowedByConfig,
    /// The Service has no address yet.
    NoAddress,
    /// No advertisement covers the address.
    NoMatchingAdvertisement,
    /// Two advertisements ask for the same route with different preferences.
    ConflictingAdvertisements,
    /// Sharers of an address cannot be told apart by an advertisement with `serviceSelectors`.
    SharedAddressWithServiceSelector,
    /// No endpoint serves.
    NoEndpoints,
    /// Policy Local, and no serving endpoint is on the node.
    NoLocalEndpoints,
    /// The Services that use the address together have no node in common.
    NoCommonNode,
    /// The node's speaker is not alive.
    SpeakerNotAlive,
    /// The node was lost a short while ago, and must be heard for longer before it is preferred to others.
    NodeUnsettled,
    /// The node's network is not available.
    NetworkUnavailable,
    /// The node carries the exclude label.
    NodeExcluded,
    /// The node is leaving the cluster.
    NodeLeaving,
    /// The node is not Ready.
    NodeNotReady,
    /// No advertisement selects the node.
    NodeNotSelected,
    /// The node has no usable link for the address.
    NoUsableLink,
    /// The node may own the address, and another one does.
    NotOwner,
    /// The node owns the address.
    Owner,
    /// A person asked for this owner.
    MoveRequested,
    /// A better candidate took the address from a node that could have kept it.
    BetterNode,
    /// There is no node of this name.
    UnknownNode,
    /// The node reaches the addresses by a worse kind of link than their owner, is not Ready, or lacks some of them.
    WorseThanOwner,
    /// The node owns the address and is silent about it: a host that is no node of the cluster has it.
    AddressConflict,
    /// A peer asked for the addresses on the wire, and the node that announces them answered.
    Verified,
    /// A node announces the addresses, and nobody looked for them on the wire.
    Unverified,
    /// A node announces the addresses, and a peer that asks for them on the wire does not hear it.
    NotHeard,
    /// Another host than the node that announces the addresses answers for them on the wire.
    OtherHostAnswers,
    /// No speaker announces the addresses.
    NotAnnounced,
    /// No node may own the address.
    NoCandidates,
    /// The forwarding mode asked for does not exist.
    UnknownForwarding,
    /// The node cannot forward in the mode asked for.
    ForwardingUnavailable,
    /// The address range is taken already, by another object of the same kind or in the same one.
    Overlap,
    /// A value cannot be read, or is out of its range.
    InvalidValue,
    /// An address or a range of addresses cannot be read.
    InvalidAddress,
    /// A label selector cannot be read.
    InvalidSelector,
    /// Something stands twice: an entry of a list, a name, or the object itself.
    Duplicate,
    /// A field that cannot be left out is missing or empty.
    MissingField,
    /// Two fields of the object exclude each other.
    Contradiction,
    /// The way in which BGP is spoken here cannot do it.
    Unsupported,
    /// The object names another one that does not exist.
    UnknownReference,
    /// The object is in a namespace that is not read.
    WrongNamespace,
    /// Each object is fine alone, and together they cannot be in force.
    Conflict,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Reason {
    /// The reason of this name, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
    }
}
