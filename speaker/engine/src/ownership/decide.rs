use std::time::Duration;

/// Each further candidate waits this much longer, so that a wrong view of the best one leaves no hole.
pub const STEP: Duration = Duration::from_millis(100);
/// No candidate waits longer than this, however many are before it.
pub const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// An owner that should not own any more answers at most this long, waiting for its successor's claim.
pub const YIELD: Duration = Duration::from_secs(1);

/// Who holds a group, as this node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody who is heard claims it.
    Nobody,
    /// This node.
    Me,
    /// Another node that is heard.
    Other,
}

/// All that a decision about one group depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation {
    /// Who holds it.
    pub holder: Holder,
    /// The holder may keep it.
    pub keeps: bool,
    /// In what time this node is to have it from a living holder that may keep it, if ever: it was asked for, or it takes
    /// back what it is the best candidate for.
    pub due: Option<Duration>,
    /// How many candidates are better than this node; `None` when it is no candidate.
    pub position: Option<u32>,
    /// Some node is a candidate.
    pub candidates: bool,
    /// For how long the holder has been missing, or been one that may not keep it.
    pub since: Duration,
    /// For how long this node must still leave a living holder alone, because it lost against one lately.
    pub damped: Duration,
}

/// What to do about a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Keep it.
    Hold,
    /// Claim it, with an epoch above all that were seen.
    Take,
    /// Be ready to take it; decide again after this time.
    Wait(Duration),
    /// Go on answering until the successor claims it; decide again after this time.
    Yield(Duration),
    /// Stop answering now.
    Release,
    /// Nothing.
    Leave,
}

/// The whole policy. The table in the tests is complete.
#[must_use]
pub fn decide(situation: Situation) -> Decision {
    let Situation { holder, keeps, due, position, candidates, since, damped } = situation;
    match (holder, keeps) {
        (Holder::Me, true) => Decision::Hold,
        (Holder::Me, false) if candidates && since < YIELD => Decision::Yield(YIELD - since),
        (Holder::Me, false) => Decision::Release,
        (Holder::Other, true) => due.map_or(Decision::Leave, |due| take_after(due.max(damped))),
        (Holder::Other, false) => succeed(position, since, damped),
        (Holder::Nobody, _) => succeed(position, since, Duration::ZERO),
    }
}

fn succeed(position: Option<u32>, since: Duration, damped: Duration) -> Decision {
    let Some(position) = position else { return Decision::Leave };
    let turn = STEP.saturating_mul(position).min(LONGEST_WAIT);
    take_after(turn.saturating_sub(since).max(damped))
}

fn take_after(wait: Duration) -> Decision {
    if wait.is_zero() { Decision::Take } else { Decision::Wait(wait) }
}
