use std::fmt;

use crate::wire::WireError;

/// What was counted for one announced address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressCounters {
    /// Requests and solicitations that were answered (`metallb_layer2_requests_received`).
    pub requests_received: u64,
    /// Answers handed to the interface (`metallb_layer2_responses_sent`).
    pub responses_sent: u64,
    /// Announcement frames handed to the interface (`metallb_layer2_gratuitous_sent`); one announcement of an IPv4
    /// address has two.
    pub gratuitous_sent: u64,
}

/// What was counted about other hosts that have, or want, an address of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConflictCounters {
    /// Addresses that nobody had when they were asked for.
    pub clear: u64,
    /// Tries to announce an address that ended because another host had it.
    pub yielded: u64,
    /// Claims of other hosts to addresses that this node announces.
    pub claims: u64,
    /// Announcements that were sent because of such a claim.
    pub defences: u64,
}

/// What was counted about announcements that nobody needed when all went well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefreshCounters {
    /// Announcements of an address on an interface that were due because of the time alone.
    pub segments: u64,
    /// Frames that told a default gateway, and nobody else, where an address is.
    pub gateways: u64,
    /// The same to a host that had asked for the address.
    pub askers: u64,
}

/// Why a frame was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ignored {
    /// It is not a frame that Landfall supports, or breaks a rule.
    Invalid(WireError),
    /// This node does not announce the target. Most frames of a segment are such.
    NotAnnounced,
    /// This node announces the target, but not on the interface where the frame came in.
    OtherInterface,
    /// This node will perhaps announce the target, and is silent about it until nobody else has it.
    Silent,
    /// It is a reply or an advertisement.
    NotRequest,
    /// It is a unicast frame to another Ethernet address, or its two destinations do not fit.
    OtherDestination,
    /// This node sent it.
    OwnFrame,
    /// Its sender claims to have the address that this node announces. It is no request, so there is nothing to answer.
    Conflict,
}

impl Ignored {
    /// The CamelCase name, for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid(error) => error.as_str(),
            Self::NotAnnounced => "NotAnnounced",
            Self::OtherInterface => "OtherInterface",
            Self::Silent => "Silent",
            Self::NotRequest => "NotRequest",
            Self::OtherDestination => "OtherDestination",
            Self::OwnFrame => "OwnFrame",
            Self::Conflict => "Conflict",
        }
    }
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<WireError> for Ignored {
    fn from(error: WireError) -> Self {
        Self::Invalid(error)
    }
}
