//! Whether it is this node that is cut off, when it hears no other any more. A node that is cut off must be silent and must
//! claim nothing: the others have taken over, and what it claims would count when the cut is mended.
//!
//! ```text
//!                    hears others
//!   Among ◀─────────────────────────────────────────────────── Returning ◀─┐
//!     │ hears nobody                                       ▲               │ hears somebody, or a gateway
//!     ├─ a gateway is a witness ─▶ Doubtful ─ one answers late             │
//!     │                               │  └──── none answers ───▶ CutOff ───┘
//!     │                               │ one answers at once
//!     └─ none is ─────────────────────┴──▶ Alone: the others are gone
//! ```
//!
//! The witness is a default gateway that answers ARP or neighbour solicitations: one that has answered while others were
//! heard. A gateway answers within a millisecond; for so long, and for two intervals at most, a node in doubt is silent and
//! decides nothing. What reaches it meanwhile is forwarded as ever, so a short false alarm costs nobody anything.
//! With [`Minority::Silent`] numbers decide instead of a witness: a side without more than half of the members is cut off.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use landfall_model::Instant;

use crate::{Mac, membership::Timing};

/// Gateways are asked this often while others are heard, so that it is known which of them answer.
const QUIET: Duration = Duration::from_secs(30);
/// A gateway that has left so many questions unanswered is no witness.
const MAX_UNANSWERED: u32 = 3;
/// So many gateways are asked; a node rarely has more than one of each family.
const MAX_GATEWAYS: usize = 4;

/// What becomes of addresses on a side of a split network that has no majority of the members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Minority {
    /// Each side serves its own clients; a single node without a gateway is silent.
    #[default]
    Serve,
    /// A side without more than half of the members is silent, so no address is ever served twice. Two nodes can then not
    /// lose one.
    Silent,
}

/// Where this node stands among the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It hears others, or there are none.
    Among,
    /// It hears nobody since then, and asks its gateways.
    Doubtful(Instant),
    /// It hears nobody, and as far as anybody can tell it is the others that are gone.
    Alone,
    /// It is cut off since then.
    CutOff(Instant),
    /// It was cut off, and waits for what the others have to say, until then at the latest.
    Returning(Instant),
}

/// Which of the other members are heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    pub(super) heard: usize,
    pub(super) members: usize,
    /// What those who are heard claim is known.
    pub(super) read: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Gateway {
    answered: Option<Instant>,
    unanswered: u32,
    card: Option<Mac>,
}

/// The standing of this node, and its gateways.
#[derive(Debug)]
pub(super) struct Isolation {
    minority: Minority,
    interval: Duration,
    settle: Duration,
    standing: Standing,
    /// Somebody was heard, so that nobody is means something.
    had_company: bool,
    gateways: BTreeMap<IpAddr, Gateway>,
    /// When the gateways are asked next; `None` while nobody needs to know.
    ask_at: Option<Instant>,
}

impl Isolation {
    pub(super) const fn new(minority: Minority, timing: Timing) -> Self {
        Self {
            minority,
            interval: timing.interval,
            settle: timing.settle,
            standing: Standing::Among,
            had_company: false,
            gateways: BTreeMap::new(),
            ask_at: None,
        }
    }

    /// Whether this node may answer for addresses, take them, and give them up.
    pub(super) const fn decides(&self) -> bool {
        matches!(self.standing, Standing::Among | Standing::Alone)
    }

    /// Whether it was found to be cut off, and has not come back yet.
    pub(super) const fn is_cut_off(&self) -> bool {
        matches!(self.standing, Standing::CutOff(_) | Standing::Returning(_))
    }

    pub(super) const fn is_returning(&self) -> bool {
        matches!(self.standing, Standing::Returning(_))
    }

    /// Whether an answer of a gateway may be on its way.
    pub(super) const fn is_asking(&self) -> bool {
        self.ask_at.is_some()
    }

    /// When [`Self::questions`] or [`Self::judge`] is to be called because of the time.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let end = match self.standing {
            Standing::Doubtful(since) => Some(since + self.patience()),
            Standing::Returning(until) => Some(until),
            Standing::Among | Standing::Alone | Standing::CutOff(_) => None,
        };
        end.into_iter().chain(self.ask_at).min()
    }

    /// Makes these the gateways. New ones are asked at once.
    pub(super) fn set_gateways(&mut self, gateways: impl IntoIterator<Item = IpAddr>, now: Instant) {
        let mut known = std::mem::take(&mut self.gateways);
        let mut new = false;
        for gateway in gateways.into_iter().take(MAX_GATEWAYS) {
            let before = known.remove(&gateway);
            new |= before.is_none();
            self.gateways.insert(gateway, before.unwrap_or_default());
        }
        if self.gateways.is_empty() {
            self.ask_at = None;
        } else if new && self.had_company {
            self.ask_at = Some(now);
        }
    }

    /// A gateway answered with this card. Says whether it had another one before.
    pub(super) fn answer(&mut self, gateway: IpAddr, card: Mac, now: Instant) -> bool {
        let Some(gateway) = self.gateways.get_mut(&gateway) else { return false };
        let before =
            std::mem::replace(gateway, Gateway { answered: Some(now), unanswered: 0, card: Some(card) });
        before.card != Some(card)
    }

    /// The card that a gateway last answered with.
    pub(super) fn card(&self, gateway: IpAddr) -> Option<Mac> {
        self.gateways.get(&gateway)?.card
    }

    /// The gateways to ask now: the card that answered the question before, if it did, and else everybody.
    pub(super) fn questions(&mut self, now: Instant) -> Vec<(IpAddr, Option<Mac>)> {
        if self.ask_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let again = match self.standing {
            Standing::Doubtful(_) => self.interval / 4,
            Standing::CutOff(_) => self.interval,
            Standing::Among | Standing::Alone | Standing::Returning(_) => QUIET,
        };
        self.ask_at = Some(now + again);
        let asked = self.gateways.iter_mut().map(|(address, gateway)| {
            let card = gateway.card.filter(|_| gateway.unanswered == 0);
            gateway.unanswered = gateway.unanswered.saturating_add(1);
            (*address, card)
        });
        asked.collect()
    }

    /// Takes in who is heard. Says where this node stands now, if that is new.
    pub(super) fn judge(&mut self, reach: Reach, now: Instant) -> Option<Standing> {
        let standing = self.next(reach, now);
        let first = reach.heard > 0 && !self.had_company;
        self.had_company |= first;
        let new = standing != self.standing;
        self.standing = standing;
        let must_know = matches!(standing, Standing::Doubtful(_) | Standing::CutOff(_)) && new;
        if (first || must_know) && !self.gateways.is_empty() {
            self.ask_at = Some(now);
        }
        new.then_some(standing)
    }

    /// The whole rule. The table in the tests is complete.
    fn next(&self, reach: Reach, now: Instant) -> Standing {
        let Reach { heard, members, read } = reach;
        let by_numbers = self.minority == Minority::Silent;
        let outvoted = by_numbers && heard < members.div_ceil(2);
        match self.standing {
            _ if members == 0 => Standing::Among,
            Standing::CutOff(since) if outvoted => Standing::CutOff(since),
            _ if outvoted => Standing::CutOff(now),
            Standing::CutOff(since) if by_numbers || heard > 0 || self.has_answered(since) => {
                Standing::Returning(now + self.settle)
            }
            Standing::Returning(until) if until > now && !(read && heard == members) => {
                Standing::Returning(until)
            }
            Standing::Among | Standing::Doubtful(_) | Standing::Alone | Standing::Returning(_)
                if heard > 0 || !self.had_company =>
            {
                Standing::Among
            }
            Standing::Among | Standing::Returning(_) if !by_numbers && self.has_witness() => {
                Standing::Doubtful(now)
            }
            // The cut was short, if there was one; others may have taken over all the same.
            Standing::Doubtful(since)
                if self.has_answered(since) && now.since(since) >= self.interval / 4 =>
            {
                Standing::Returning(now + self.patience())
            }
            Standing::Doubtful(since) if !self.has_answered(since) => {
                if now.since(since) < self.patience() {
                    Standing::Doubtful(since)
                } else {
                    Standing::CutOff(now)
                }
            }
            Standing::Among | Standing::Doubtful(_) | Standing::Alone | Standing::Returning(_) => {
                Standing::Alone
            }
            Standing::CutOff(since) => Standing::CutOff(since),
        }
    }

    fn patience(&self) -> Duration {
        self.interval * 2
    }

    fn has_witness(&self) -> bool {
        let known = |gateway: &Gateway| gateway.answered.is_some() && gateway.unanswered <= MAX_UNANSWERED;
        self.gateways.values().any(known)
    }

    fn has_answered(&self, since: Instant) -> bool {
        self.gateways.values().any(|gateway| gateway.answered.is_some_and(|at| at >= since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Instant = Instant::from_micros(1_000_000_000);
    const GATEWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const CARD: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn ms(millis: u64) -> Instant {
        T0 + Duration::from_millis(millis)
    }

    fn timing() -> Timing {
        Timing { interval: Duration::from_millis(50), settle: Duration::from_secs(1), ..Timing::default() }
    }

    const fn of(members: usize, heard: usize) -> Reach {
        Reach { heard, members, read: true }
    }

    /// Among others, with a gateway that answers at first if it is a witness.
    fn among(minority: Minority, witness: bool) -> Isolation {
        let mut isolation = Isolation::new(minority, timing());
        isolation.set_gateways([GATEWAY], ms(0));
        assert_eq!(isolation.judge(of(2, 2), ms(0)), None);
        assert_eq!(isolation.questions(ms(0)), [(GATEWAY, None)], "who is a witness is found out at once");
        if witness {
            isolation.answer(GATEWAY, CARD, ms(1));
        }
        isolation
    }

    #[test]
    fn every_standing_leads_on_as_the_picture_says() {
        use Standing::{Alone, Among, CutOff, Doubtful, Returning};
        let unread = |heard| Reach { heard, members: 2, read: false };
        let (long_ago, late) = (ms(10_000), ms(11_000));
        let [serve, silent] = [Minority::Serve, Minority::Silent];
        // Before, the rule, whether the gateway is a witness, whether it has answered since then, who is heard, after.
        let rows = [
            (Among, serve, true, false, of(2, 1), Among),
            (Among, serve, true, false, of(2, 0), Doubtful(late)),
            (Among, serve, false, false, of(2, 0), Alone),
            (Among, serve, true, false, of(0, 0), Among),
            (Among, silent, true, false, of(2, 1), Among),
            (Among, silent, true, false, of(2, 0), CutOff(late)),
            (Among, silent, true, false, of(3, 1), CutOff(late)),
            (Among, silent, true, false, of(4, 2), Among),
            (Among, silent, true, false, of(1, 0), CutOff(late)),
            (Doubtful(late), serve, true, false, of(2, 0), Doubtful(late)),
            (Doubtful(ms(10_990)), serve, true, true, of(2, 0), Alone),
            (Doubtful(ms(10_980)), serve, true, true, of(2, 0), Returning(ms(11_100))),
            (Doubtful(long_ago), serve, true, false, of(2, 0), CutOff(late)),
            (Doubtful(long_ago), serve, true, false, of(2, 1), Among),
            (Doubtful(long_ago), serve, true, false, of(0, 0), Among),
            (Alone, serve, true, false, of(2, 0), Alone),
            (Alone, serve, true, false, of(2, 1), Among),
            (CutOff(long_ago), serve, true, false, of(2, 0), CutOff(long_ago)),
            (CutOff(long_ago), serve, true, true, of(2, 0), Returning(ms(12_000))),
            (CutOff(long_ago), serve, true, false, of(2, 1), Returning(ms(12_000))),
            (CutOff(long_ago), silent, true, true, of(2, 0), CutOff(long_ago)),
            (CutOff(long_ago), silent, true, false, of(2, 1), Returning(ms(12_000))),
            (CutOff(long_ago), serve, true, false, of(0, 0), Among),
            (Returning(ms(11_001)), serve, true, false, of(2, 1), Returning(ms(11_001))),
            (Returning(ms(11_001)), serve, true, false, unread(2), Returning(ms(11_001))),
            (Returning(ms(11_001)), serve, true, false, of(2, 2), Among),
            (Returning(late), serve, true, false, unread(1), Among),
            (Returning(late), serve, true, false, of(2, 0), Doubtful(late)),
            (Returning(late), silent, true, false, of(2, 0), CutOff(late)),
        ];
        for (number, (before, minority, witness, answers, reach, after)) in rows.into_iter().enumerate() {
            let mut isolation = among(minority, witness);
            if answers {
                isolation.answer(GATEWAY, CARD, ms(10_999));
            }
            isolation.standing = before;
            isolation.judge(reach, late);
            assert_eq!(isolation.standing, after, "row {number}: {before:?}, {minority:?}, {reach:?}");
        }
    }

    #[test]
    fn who_has_never_heard_anybody_is_not_cut_off() {
        let mut isolation = Isolation::new(Minority::Serve, timing());
        isolation.set_gateways([GATEWAY], ms(0));
        for at in [0, 5_000, 60_000] {
            assert_eq!(isolation.judge(of(2, 0), ms(at)), None);
            assert_eq!(isolation.questions(ms(at)), [], "nobody needs to know");
        }
        assert_eq!(isolation.poll_timeout(), None);
    }

    #[test]
    fn a_gateway_is_asked_seldom_in_the_quiet_and_often_in_doubt() {
        let mut isolation = among(Minority::Serve, true);
        assert_eq!(isolation.poll_timeout(), Some(ms(30_000)));
        assert_eq!(isolation.questions(ms(29_999)), []);
        assert_eq!(isolation.questions(ms(30_000)), [(GATEWAY, Some(CARD))], "the card that is known");
        assert_eq!(
            isolation.questions(ms(60_000)),
            [(GATEWAY, None)],
            "it did not answer: everybody is asked"
        );
        isolation.answer(GATEWAY, CARD, ms(60_001));
        isolation.judge(of(2, 0), ms(70_000));
        let mut asked = 0;
        let mut now = ms(70_000);
        while isolation.standing == Standing::Doubtful(ms(70_000)) {
            asked += isolation.questions(now).len();
            now = isolation.poll_timeout().unwrap();
            isolation.judge(of(2, 0), now);
        }
        assert_eq!((asked, now), (8, ms(70_100)), "every quarter of an interval, for two intervals");
        assert_eq!(isolation.standing, Standing::CutOff(ms(70_100)));
        assert!(isolation.is_cut_off() && !isolation.decides());
    }

    #[test]
    fn a_gateway_that_no_longer_answers_is_no_witness() {
        let mut isolation = among(Minority::Serve, true);
        for round in 1..=4 {
            isolation.questions(ms(30_000 * round));
        }
        assert_eq!(isolation.judge(of(2, 0), ms(125_000)), Some(Standing::Alone));
        // Nor is one that is no gateway any more.
        let mut isolation = among(Minority::Serve, true);
        isolation.set_gateways([], ms(2));
        assert_eq!(isolation.judge(of(2, 0), ms(3)), Some(Standing::Alone));
        assert_eq!(isolation.poll_timeout(), None);
    }
}
