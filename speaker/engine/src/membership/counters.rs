/// Why a datagram was thrown away. The order is the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// It came from an address of no member. Checked before everything else, so a flood costs one lookup.
    UnknownSource,
    /// Not one of our packets, too short, or too long.
    Malformed,
    /// Its sender speaks no version that we understand.
    Version,
    /// We have no key yet.
    NoKey,
    /// Signed with a key that we do not have.
    UnknownKey,
    /// The tag is wrong: forged or damaged.
    Forged,
    /// Authentic, but its fields make no sense. A defect of the sender.
    BadField,
    /// Meant for another node.
    NotForUs,
    /// It carries our own name: two speakers run under one node name.
    OwnName,
    /// Its sender is no member.
    UnknownSender,
    /// It came from an address of another member.
    WrongSource,
    /// Older than what was accepted before, or the same again.
    Replayed,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 12] = [
        Self::UnknownSource,
        Self::Malformed,
        Self::Version,
        Self::NoKey,
        Self::UnknownKey,
        Self::Forged,
        Self::BadField,
        Self::NotForUs,
        Self::OwnName,
        Self::UnknownSender,
        Self::WrongSource,
        Self::Replayed,
    ];

    /// For a metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownSource => "unknown_source",
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::NoKey => "no_key",
            Self::UnknownKey => "unknown_key",
            Self::Forged => "forged",
            Self::BadField => "bad_field",
            Self::NotForUs => "not_for_us",
            Self::OwnName => "own_name",
            Self::UnknownSender => "unknown_sender",
            Self::WrongSource => "wrong_source",
            Self::Replayed => "replayed",
        }
    }
}

/// Why a member counts as dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// No heartbeat came for the whole detection time, and its node's kernel did not answer, or could not be asked.
    NodeSilent,
    /// Its node's kernel answers, but no heartbeat came for [`super::Timing::hold`].
    ProcessSilent,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 2] = [Self::NodeSilent, Self::ProcessSilent];

    /// For a metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NodeSilent => "node_silent",
            Self::ProcessSilent => "process_silent",
        }
    }
}

/// What was counted since the machine was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams handed out for sending.
    pub sent: u64,
    /// Datagrams accepted.
    pub accepted: u64,
    /// Sends that were left out because there is no key.
    pub unsigned: u64,
    /// Requests for a peer's profile or claims.
    pub pulls: u64,
    /// Own stalls that restarted all windows.
    pub stalls: u64,
    /// Times that our boot id had to be raised because peers knew a later one: the wall clock went back.
    pub boot_raised: u64,
    /// Links left out of our profile because it was over its limit.
    pub links_left_out: u64,
    /// Profiles of peers that could not be read.
    pub unreadable_profiles: u64,
    /// Questions to kernels of silent peers.
    pub questions: u64,
    /// Their answers.
    pub answers: u64,
    /// Times that a member was suspected, and the others told so.
    pub suspicions: u64,
    /// Suspicions that were taken back.
    pub taken_back: u64,
    dropped: [u64; DropReason::ALL.len()],
    verdicts: [u64; Cause::ALL.len()],
}

impl Counters {
    /// Datagrams thrown away for this reason.
    #[must_use]
    pub const fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Members that counted as dead for this cause.
    #[must_use]
    pub const fn verdicts(&self, cause: Cause) -> u64 {
        self.verdicts[cause as usize]
    }

    pub(super) fn count_verdict(&mut self, cause: Cause) {
        self.verdicts[cause as usize] += 1;
    }

    pub(super) fn drop(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }
}
