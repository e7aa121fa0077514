use std::time::Duration;

use super::message::BootId;

/// What a [`super::Membership`] needs to know of its process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of our node, at most 253 bytes.
    pub node: Box<str>,
    /// This run of the process.
    pub boot: BootId,
    /// Intervals and windows.
    pub timing: Timing,
    /// Random bits for the jitter.
    pub seed: u64,
}

/// Intervals and windows. Nodes need not agree on them: each tells its interval, and the longer one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats to one peer, ± 10 % jitter. At least 1 ms, at most 60 s.
    pub interval: Duration,
    /// A peer is dead after this many intervals without a packet, if its node's kernel is silent too. At least 1.
    pub missed: u32,
    /// A peer whose node's kernel answers may be silent this long: its process stands still, or is gone and comes back.
    pub hold: Duration,
    /// A cold start waits this long, and a member that was lost must be heard at least this long before it counts again.
    pub settle: Duration,
}

impl Default for Timing {
    /// [`Timing::DEFAULT`].
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Timing {
    /// 20 ms, 4 missed: for machines of our own on a quiet network, without a CPU limit.
    pub const FAST: Self = Self::profile(20, 4);
    /// 50 ms, 3 missed: for a LAN.
    pub const DEFAULT: Self = Self::profile(50, 3);
    /// 100 ms, 4 missed: for virtual machines that migrate, and shared switches.
    pub const CALM: Self = Self::profile(100, 4);
    /// 1 s, 5 missed: about what MetalLB needs.
    pub const SLOW: Self = Self::profile(1_000, 5);

    const fn profile(millis: u64, missed: u32) -> Self {
        let interval = Duration::from_millis(millis);
        Self { interval, missed, hold: Duration::from_secs(2), settle: Duration::from_secs(1) }
    }

    /// The longest silence of a live peer with the same interval.
    #[must_use]
    pub const fn detection(&self) -> Duration {
        self.interval.saturating_mul(self.missed)
    }

    /// The same for a peer that announces `interval`.
    pub(super) fn window(&self, interval: Duration) -> Duration {
        self.interval.max(interval).saturating_mul(self.missed)
    }

    pub(super) fn within_limits(self) -> Self {
        Self {
            interval: self.interval.clamp(Duration::from_millis(1), Duration::from_secs(60)),
            missed: self.missed.max(1),
            hold: self.hold,
            settle: self.settle,
        }
    }
}
