use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use landfall_model::Instant;

use super::Verified;
use crate::Mac;

/// From the announcement to the first question.
pub const FIRST: Duration = Duration::from_millis(50);
/// After a wrong answer, or none, from a witness: the next question. After the last one the address stays wrong.
pub const RETRIES: [Duration; 3] =
    [Duration::from_millis(150), Duration::from_millis(500), Duration::from_secs(1)];
/// A peer tells what it saw within this time, or is not waited for.
const REPORT: Duration = Duration::from_millis(400);
/// So many questions in a row may bring nothing, because packets were lost or peers are no witnesses.
pub const PATIENCE: usize = 6;
/// After that, and while it stays wrong, an address is asked for so much later, and twice as long each time.
pub const SLOW: Duration = Duration::from_secs(10);
/// How often that is doubled: to five minutes.
const DOUBLINGS: usize = 5;
/// That a peer heard this node itself is remembered for so long. It counts for what was asked before.
const WITNESS: Duration = Duration::from_secs(1);
/// Between two batches of questions.
const BATCH_EVERY: Duration = Duration::from_millis(20);

/// What follows from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The address is where it should be.
    Confirmed,
    /// The first wrong answer: announce the address again.
    Announce,
    /// It stays wrong. `true`: this node was not heard at all, and gives the address up if another node may have it.
    StaysWrong(bool),
    /// Nothing new.
    Nothing,
}

/// What was found so far, each time counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// This node alone answered.
    pub confirmed: u64,
    /// Another host answered.
    pub wrong: u64,
    /// Nobody answered, though the peer hears this node.
    pub silent: u64,
}

/// The addresses that this node announces, and what peers saw of them.
#[derive(Debug, Default)]
pub struct Checks {
    checks: BTreeMap<IpAddr, Check>,
    due: BTreeSet<(Instant, IpAddr)>,
    /// The next batch of questions may leave then.
    ready: Instant,
    /// What this node is not heard for. It stays so until a peer hears it, or the node's links change.
    given_up: BTreeSet<IpAddr>,
    /// Which peer heard which address of the node itself, and when.
    witnesses: BTreeMap<(Box<str>, IpAddr), Instant>,
    /// What [`Self::take_news`] has not given yet.
    news: BTreeSet<IpAddr>,
    counters: Counters,
}

#[derive(Clone, Debug)]
struct Check {
    began: Instant,
    verified: Verified,
    /// Wrong answers of witnesses in a row.
    bad: usize,
    /// Questions in a row that brought nothing.
    tries: usize,
    asked: Option<Asked>,
    due: Option<Instant>,
}

/// A question that is on its way.
#[derive(Clone, Debug)]
struct Asked {
    peer: Box<str>,
    /// The address of this node that the peer looks for as well.
    host: IpAddr,
    at: Instant,
}

impl Checks {
    /// This node announces the address. Again does nothing.
    pub fn begin(&mut self, address: IpAddr, now: Instant) {
        if self.checks.contains_key(&address) {
            return;
        }
        let verified = Verified::Pending;
        let check = Check { began: now, verified, bad: 0, tries: 0, asked: None, due: None };
        self.checks.insert(address, check);
        self.set_due(address, Some(now + FIRST));
    }

    /// This node does not announce it any more.
    pub fn end(&mut self, address: IpAddr) {
        self.set_due(address, None);
        self.checks.remove(&address);
    }

    /// No Service uses the address any more.
    pub fn forget(&mut self, address: IpAddr) -> bool {
        self.end(address);
        self.given_up.remove(&address)
    }

    /// The links of this node changed: all that was found may be different now.
    pub fn restart(&mut self, now: Instant) {
        self.given_up.clear();
        self.witnesses.clear();
        for address in self.checks.keys().copied().collect::<Vec<_>>() {
            if matches!(self.of(address), Some((Verified::Wrong { .. }, _))) {
                self.find(address, Verified::Pending);
            }
            self.again(address, now + FIRST);
        }
    }

    /// A peer changed: perhaps there is somebody to ask now. Where there was, the next question comes in its time.
    pub fn revive(&mut self, now: Instant) {
        let waits = |check: &Check| check.verified == Verified::Unable && check.due.is_none();
        let unable = self.checks.iter().filter(|(_, check)| waits(check));
        for address in unable.map(|(address, _)| *address).collect::<Vec<_>>() {
            self.again(address, now + FIRST);
        }
    }

    /// When [`Self::take_due`] has something to give.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| (*at).max(self.ready))
    }

    /// At most so many addresses to ask for now, each with the number of the peer to ask, counted by rank.
    /// For each of them [`Self::asked`], [`Self::unable`] or [`Self::later`] must follow.
    pub fn take_due(&mut self, limit: usize, now: Instant) -> Vec<(IpAddr, usize)> {
        let mut taken = Vec::new();
        if self.ready > now {
            return taken;
        }
        while taken.len() < limit
            && let Some((_, address)) = self.due.first().copied().filter(|(at, _)| *at <= now)
        {
            self.due.pop_first();
            let check = self.checks.get_mut(&address).expect("invariant: what is due is checked");
            check.due = None;
            if check.asked.take().is_some() && self.fail(address, now) {
                continue;
            }
            if let Some(check) = self.checks.get(&address) {
                taken.push((address, check.bad + check.tries));
            }
        }
        if !taken.is_empty() {
            self.ready = now + BATCH_EVERY;
        }
        taken
    }

    /// The peer was asked to look for the address, and for `host` of this node.
    pub fn asked(&mut self, address: IpAddr, peer: &str, host: IpAddr, now: Instant) {
        if let Some(check) = self.checks.get_mut(&address) {
            check.asked = Some(Asked { peer: peer.into(), host, at: now });
        }
        self.set_due(address, Some(now + REPORT));
    }

    /// There is no peer to ask, until [`Self::revive`] or [`Self::restart`].
    pub fn unable(&mut self, address: IpAddr) {
        self.find(address, Verified::Unable);
        self.set_due(address, None);
    }

    /// The address is silent for a moment.
    pub fn later(&mut self, address: IpAddr, now: Instant) {
        self.set_due(address, Some(now + REPORT));
    }

    /// The peer looked for an address and saw it at these Ethernet addresses. `ours` tells those of this node.
    pub fn seen(
        &mut self,
        peer: &str,
        address: IpAddr,
        answers: &[Mac],
        ours: impl Fn(Mac) -> bool,
        now: Instant,
    ) -> Step {
        let heard = answers.iter().any(|mac| ours(*mac));
        let other = answers.iter().copied().find(|mac| !ours(*mac));
        self.witnesses.retain(|_, at| now.since(*at) < WITNESS);
        if heard {
            self.witnesses.insert((peer.into(), address), now);
        }
        let Some(check) = self.checks.get_mut(&address) else { return Step::Nothing };
        let Some(asked) = check.asked.take_if(|asked| *asked.peer == *peer) else { return Step::Nothing };
        let witness = self.witnesses.get(&(asked.peer, asked.host)).is_some_and(|at| *at >= asked.at);
        if !heard && !witness {
            if !self.fail(address, now) {
                self.set_due(address, Some(now));
            }
            return Step::Nothing;
        }
        check.tries = 0;
        if heard && other.is_none() {
            check.bad = 0;
            if !matches!(check.verified, Verified::Confirmed { .. }) {
                self.find(address, Verified::Confirmed { at: now, by: peer.into() });
            }
            self.counters.confirmed += 1;
            self.set_due(address, None);
            return Step::Confirmed;
        }
        let before = check.bad;
        check.bad += 1;
        match other {
            Some(_) => self.counters.wrong += 1,
            None => self.counters.silent += 1,
        }
        match RETRIES.get(before) {
            Some(retry) => {
                self.set_due(address, Some(now + *retry));
                if before == 0 { Step::Announce } else { Step::Nothing }
            }
            None => {
                self.set_due(address, Some(now + slow(before - RETRIES.len())));
                self.stays_wrong(address, peer, (other, heard), now)
            }
        }
    }

    /// The addresses of which something else is known than at the last call.
    pub fn take_news(&mut self) -> BTreeSet<IpAddr> {
        std::mem::take(&mut self.news)
    }

    /// This node gives the address up. Says whether that is new.
    pub fn give_up(&mut self, address: IpAddr) -> bool {
        self.given_up.insert(address)
    }

    /// This node is heard for the address after all. Says whether that is new.
    pub fn regain(&mut self, address: IpAddr) -> bool {
        self.given_up.remove(&address)
    }

    /// What this node is not heard for.
    #[must_use]
    pub const fn given_up(&self) -> &BTreeSet<IpAddr> {
        &self.given_up
    }

    /// What is known of an address that is announced, and since when it is.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Option<(&Verified, Instant)> {
        self.checks.get(&address).map(|check| (&check.verified, check.began))
    }

    /// How many addresses are announced and stay wrong.
    #[must_use]
    pub fn wrong(&self) -> usize {
        self.checks.values().filter(|check| matches!(check.verified, Verified::Wrong { .. })).count()
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// A question brought nothing. `true` when the next one has to wait.
    fn fail(&mut self, address: IpAddr, now: Instant) -> bool {
        let Some(check) = self.checks.get_mut(&address) else { return true };
        check.tries += 1;
        if check.tries < PATIENCE {
            return false;
        }
        let wait = slow(check.tries - PATIENCE);
        if check.verified == Verified::Pending {
            self.find(address, Verified::Unable);
        }
        self.set_due(address, Some(now + wait));
        true
    }

    fn stays_wrong(
        &mut self,
        address: IpAddr,
        peer: &str,
        (answer, shared): (Option<Mac>, bool),
        now: Instant,
    ) -> Step {
        let known = self.of(address).is_some_and(|(verified, _)| match verified {
            Verified::Wrong { answer: before, shared: was, .. } => (*before, *was) == (answer, shared),
            Verified::Confirmed { .. } | Verified::Pending | Verified::Unable => false,
        });
        if known {
            return Step::Nothing;
        }
        self.find(address, Verified::Wrong { at: now, by: peer.into(), answer, shared });
        Step::StaysWrong(!shared)
    }

    fn find(&mut self, address: IpAddr, verified: Verified) {
        if let Some(check) = self.checks.get_mut(&address).filter(|check| check.verified != verified) {
            check.verified = verified;
            self.news.insert(address);
        }
    }

    fn again(&mut self, address: IpAddr, at: Instant) {
        if let Some(check) = self.checks.get_mut(&address) {
            (check.bad, check.tries, check.asked) = (0, 0, None);
        }
        self.set_due(address, Some(at));
    }

    fn set_due(&mut self, address: IpAddr, due: Option<Instant>) {
        let Some(check) = self.checks.get_mut(&address) else { return };
        if let Some(before) = std::mem::replace(&mut check.due, due) {
            self.due.remove(&(before, address));
        }
        self.due.extend(due.map(|due| (due, address)));
    }
}

fn slow(times: usize) -> Duration {
    SLOW * (1 << times.min(DOUBLINGS))
}
