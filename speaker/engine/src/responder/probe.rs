use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use landfall_model::Instant;

use super::{conflict::Claimant, pacing::Pace};

/// How often an address is asked for before it is announced.
pub const QUESTIONS: u8 = 3;
/// Between two questions, and from the last one to the announcement. RFC 5227 §1.1 has one to two seconds, for hosts
/// behind ports that take as long to forward; a node whose speaker has heard others, or waited for them, has none.
pub const ASK_EVERY: Duration = Duration::from_millis(50);
/// After the first conflict an address is asked for again after this time, and after twice as long each time.
pub const FIRST_RETRY: Duration = Duration::from_secs(10);
/// The longest time between two tries.
pub const LAST_RETRY: Duration = Duration::from_secs(5 * 60);

/// The addresses that nobody may hear of yet: whether another host has them is being asked, or one does.
///
/// ```text
/// start ─▶ ask ─50 ms─▶ ask ─50 ms─▶ ask ─50 ms─▶ Clear
///           ▲ └────────────┴────────────┴─ contest
///           └───── 10 s, 20 s … 5 min ─────┘
/// ```
#[derive(Debug)]
pub(super) struct Probes {
    probes: BTreeMap<IpAddr, Probe>,
    /// Due times, by the number of questions so far. Those that are nearly done go first, so that of many addresses the
    /// first ones are announced soon.
    due: [BTreeSet<(Instant, IpAddr)>; QUESTIONS as usize + 1],
    pace: Pace,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    asked: u8,
    /// `None`: nobody can be asked for now.
    due: Option<Instant>,
    /// The next try after a conflict waits so long.
    retry: Duration,
    rival: Option<Claimant>,
}

/// What is to be done about one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask everybody who has it.
    Ask(IpAddr),
    /// Nobody has it.
    Clear(IpAddr),
}

impl Default for Probes {
    fn default() -> Self {
        Self { probes: BTreeMap::new(), due: Default::default(), pace: Pace::probe() }
    }
}

impl Probes {
    /// Asks for an address, from the first question on. One with a conflict goes on to wait.
    pub(super) fn start(&mut self, address: IpAddr, now: Instant) {
        let new = Probe { asked: 0, due: None, retry: FIRST_RETRY, rival: None };
        let probe = *self.probes.entry(address).or_insert(new);
        if !probe.waits() {
            self.set(address, Probe { asked: 0, due: Some(now), ..probe });
        }
    }

    /// There is nobody to ask until [`Self::start`]: no interface of the address can send.
    pub(super) fn park(&mut self, address: IpAddr) {
        if let Some(probe) = self.probes.get(&address).copied() {
            self.set(address, Probe { asked: 0, due: None, ..probe });
        }
    }

    /// Asks no more. Says whether the address was one of these.
    pub(super) fn stop(&mut self, address: IpAddr) -> bool {
        let Some(probe) = self.probes.remove(&address) else { return false };
        self.unset(address, probe);
        true
    }

    /// Somebody else has the address. Says whether that is another one than before.
    pub(super) fn contest(&mut self, rival: Claimant, now: Instant) -> bool {
        let Some(probe) = self.probes.get(&rival.address).copied() else { return false };
        let mut after = Probe { rival: Some(rival), ..probe };
        if !probe.waits() {
            let retry = (probe.retry * 2).min(LAST_RETRY);
            after = Probe { asked: 0, due: Some(now + probe.retry), retry, ..after };
        }
        self.set(rival.address, after);
        probe.rival != Some(rival)
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.probes.contains_key(&address)
    }

    /// Whether a claim now would end a try.
    pub(super) fn is_asking(&self, address: IpAddr) -> bool {
        self.probes.get(&address).is_some_and(|probe| !probe.waits())
    }

    /// Everybody who was found to have one of these addresses.
    pub(super) fn rivals(&self) -> impl Iterator<Item = Claimant> {
        self.probes.values().filter_map(|probe| probe.rival)
    }

    /// Who was found to have the address.
    pub(super) fn rival(&self, address: IpAddr) -> Option<Claimant> {
        self.probes.get(&address)?.rival
    }

    /// When [`Self::pop`] has something to give.
    pub(super) fn next(&self) -> Option<Instant> {
        let [questions @ .., done] = &self.due;
        let first = |due: &BTreeSet<(Instant, IpAddr)>| due.first().map(|(at, _)| *at);
        let question = questions.iter().filter_map(first).min();
        let question = question.map(|at| at.max(self.pace.ready()));
        question.into_iter().chain(first(done)).min()
    }

    /// The next thing to do at `now`. A question counts as asked.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Step> {
        let may_ask = self.pace.ready() <= now;
        let is_due = |due: &BTreeSet<(Instant, IpAddr)>| due.first().filter(|(at, _)| *at <= now).copied();
        let [questions @ .., done] = &self.due;
        if let Some((_, address)) = is_due(done) {
            self.stop(address);
            return Some(Step::Clear(address));
        }
        let (_, address) = questions.iter().rev().filter(|_| may_ask).find_map(is_due)?;
        let probe = *self.probes.get(&address)?;
        self.pace.take(now);
        self.set(address, Probe { asked: probe.asked + 1, due: Some(now + ASK_EVERY), ..probe });
        Some(Step::Ask(address))
    }

    fn set(&mut self, address: IpAddr, probe: Probe) {
        if let Some(before) = self.probes.insert(address, probe) {
            self.unset(address, before);
        }
        if let Some(at) = probe.due {
            self.due[usize::from(probe.asked)].insert((at, address));
        }
    }

    fn unset(&mut self, address: IpAddr, probe: Probe) {
        if let Some(at) = probe.due {
            self.due[usize::from(probe.asked)].remove(&(at, address));
        }
    }
}

impl Probe {
    /// It lost, and has not begun its next try.
    const fn waits(&self) -> bool {
        self.rival.is_some() && self.asked == 0 && self.due.is_some()
    }
}

#[cfg(test)]
mod tests;
