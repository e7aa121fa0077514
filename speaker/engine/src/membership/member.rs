/// How a member stands, as this node sees it.
///
/// | State | Its claims | May take over |
/// |---|---|---|
/// | `Unknown` | none seen | no |
/// | `Alive { settled: true }` | hold | yes |
/// | `Alive { settled: false }` | hold | where no other may, until it was heard for long enough, see `probation.rs` |
/// | `Degraded` | hold, since it speaks | no |
/// | `Held` | hold, since its node's kernel answers | no |
/// | `Dead` | void | no |
/// | `Leaving` | pass to others, without a gap | no |
/// | `Gone` | void | no |
///
/// Whoever is heard for the first time counts at once: nobody has a reason to distrust it, and at a cold start of
/// the whole cluster everybody must rank everybody. Whoever was lost must first be stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberState {
    /// A member that was never heard.
    Unknown,
    /// Heard, and it hears us.
    Alive {
        /// It counts as a candidate like any other. `false` for a while after it came back.
        settled: bool,
    },
    /// Heard, but it says that it does not hear us. Such a peer sees us dead, so the pair is broken for both
    /// ends: one-way loss counts as loss.
    Degraded,
    /// Not heard for the whole detection time, but its node's kernel answers: its process stands still, or is gone and
    /// may come back. It stays so for at most [`super::Timing::hold`].
    Held {
        /// Whether it could take addresses over when it was last heard, and can again once it is.
        settled: bool,
    },
    /// It was heard once, and then not for the whole detection time, nor was its node's kernel, neither by us nor by
    /// another juror, if there is one.
    Dead,
    /// It is shutting down and still serves.
    Leaving,
    /// It is no member any more.
    Gone,
}

impl MemberState {
    /// It may take addresses over, as far as membership is concerned.
    #[must_use]
    pub const fn is_alive(self) -> bool {
        match self {
            Self::Alive { settled: _ } => true,
            Self::Unknown | Self::Degraded | Self::Held { .. } | Self::Dead | Self::Leaving | Self::Gone => {
                false
            }
        }
    }

    /// The same, and nothing speaks for another one because of it: it is no flapping member, and did not come back just now.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        match self {
            Self::Alive { settled } => settled,
            Self::Unknown | Self::Degraded | Self::Held { .. } | Self::Dead | Self::Leaving | Self::Gone => {
                false
            }
        }
    }

    /// Its packets, or those of its node's kernel, reach us or others, so its claims count.
    #[must_use]
    pub const fn is_heard(self) -> bool {
        match self {
            Self::Alive { .. } | Self::Degraded | Self::Held { .. } | Self::Leaving => true,
            Self::Unknown | Self::Dead | Self::Gone => false,
        }
    }
}

/// What happened to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// A packet that proves that it hears this process.
    Heard,
    /// The same, or that it does not hear us, and that it is leaving.
    HeardLeaving,
    /// A packet that says that it heard this process before, and does not now.
    Deaf,
    /// A packet that proves nothing about us: its sender has only just started, or somebody plays back what was
    /// sent before we started. It keeps nobody alive.
    Unproven,
    /// The silence window ended, and its node's kernel answers.
    Held,
    /// The silence window ended, and so did what its node's kernel is good for, and another juror says so too.
    Silent,
    /// It was heard for as long as it must be.
    Stable,
    /// It was taken out of the set of members.
    Removed,
}

/// The state after `signal`. Pure; the table in the tests is complete.
pub(super) const fn next_state(state: MemberState, signal: Signal) -> MemberState {
    use MemberState::{Alive, Dead, Degraded, Gone, Held, Leaving, Unknown};
    match (state, signal) {
        (Gone, _) | (_, Signal::Removed) => Gone,
        (_, Signal::HeardLeaving) => Leaving,
        (_, Signal::Deaf) => Degraded,
        // A process that was away for a moment was not lost.
        (Alive { settled } | Held { settled }, Signal::Heard) => Alive { settled },
        (Unknown, Signal::Heard) => Alive { settled: true },
        (Degraded | Dead | Leaving, Signal::Heard) => Alive { settled: false },
        (Alive { .. }, Signal::Stable) => Alive { settled: true },
        (Alive { settled }, Signal::Held) => Held { settled },
        (Degraded, Signal::Held) => Held { settled: false },
        (Alive { .. } | Degraded | Held { .. } | Leaving, Signal::Silent) | (Leaving, Signal::Held) => Dead,
        (Unknown | Dead, Signal::Silent | Signal::Held)
        | (Held { .. }, Signal::Held)
        | (Unknown | Degraded | Held { .. } | Dead | Leaving, Signal::Stable)
        | (_, Signal::Unproven) => state,
    }
}
