use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use landfall_model::Instant;

use crate::{
    IfIndex, Mac,
    links::Way,
    membership::{MOST_ANSWERS, Question},
    responder::Pace,
};

/// How often an address is asked for, as long as nobody answers.
pub const QUESTIONS: u8 = 3;
/// Between two questions, and after the last one.
const ASK_EVERY: Duration = Duration::from_millis(30);
/// After the first answer others may come.
const COLLECT: Duration = Duration::from_millis(20);
/// What is seen within this time goes into one packet: of two that follow each other closely one may overtake the other,
/// which is then thrown away.
const TELL: Duration = Duration::from_millis(5);
/// So many addresses are looked for at a time; more are not, and their owners ask again.
pub const MOST_OPEN: usize = 512;

/// The addresses that this node looks for, because their owners asked it to.
#[derive(Debug)]
pub struct Looks {
    open: BTreeMap<IpAddr, Look>,
    due: BTreeSet<(Instant, IpAddr)>,
    pace: Pace,
    /// What [`Self::take_seen`] has not given yet.
    seen: BTreeMap<Box<str>, Vec<Question>>,
    /// When the first of it is told.
    telling: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Look {
    owner: Box<str>,
    way: Way,
    asked: u8,
    answers: BTreeSet<Mac>,
    due: Instant,
}

impl Default for Looks {
    fn default() -> Self {
        Self {
            open: BTreeMap::new(),
            due: BTreeSet::new(),
            pace: Pace::probe(),
            seen: BTreeMap::new(),
            telling: None,
        }
    }
}

impl Looks {
    /// A member asks for this address, to which `way` leads. One that it asked for before is not asked for anew.
    pub fn begin(&mut self, owner: &str, address: IpAddr, way: Way, now: Instant) {
        let known = self.open.get(&address);
        let same = known.is_some_and(|look| *look.owner == *owner && look.way == way);
        if same || (known.is_none() && self.open.len() >= MOST_OPEN) {
            return;
        }
        self.end(address);
        self.due.insert((now, address));
        let look = Look { owner: owner.into(), way, asked: 0, answers: BTreeSet::new(), due: now };
        self.open.insert(address, look);
    }

    /// Whether any address is looked for.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        !self.open.is_empty()
    }

    /// How the address is asked for, if it is looked for on this interface.
    #[must_use]
    pub fn way(&self, address: IpAddr, interface: IfIndex) -> Option<Way> {
        self.open.get(&address).map(|look| look.way).filter(|way| way.interface == interface)
    }

    /// The address is said to be at `mac`.
    pub fn answer(&mut self, address: IpAddr, mac: Mac, now: Instant) {
        let Some(look) = self.open.get_mut(&address) else { return };
        if look.answers.is_empty() {
            self.due.remove(&(look.due, address));
            look.due = now + COLLECT;
            self.due.insert((look.due, address));
        }
        if look.answers.len() < MOST_ANSWERS {
            look.answers.insert(mac);
        }
    }

    /// When [`Self::pop`] or [`Self::take_seen`] has something to do.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let due = self.due.first().map(|(at, _)| (*at).max(self.pace.ready()));
        due.into_iter().chain(self.telling).min()
    }

    /// The next address to ask for. To be called until it gives `None`; then [`Self::take_seen`] has what is to be told.
    pub fn pop(&mut self, now: Instant) -> Option<(IpAddr, Way)> {
        while self.pace.ready() <= now
            && let Some((_, address)) = self.due.first().copied().filter(|(at, _)| *at <= now)
        {
            let look = self.open.get_mut(&address).expect("invariant: what is due is open");
            self.due.pop_first();
            if look.answers.is_empty() && look.asked < QUESTIONS {
                look.asked += 1;
                look.due = now + ASK_EVERY;
                self.due.insert((look.due, address));
                self.pace.take(now);
                return Some((address, look.way));
            }
            let answers = std::mem::take(&mut look.answers).into_iter().collect();
            let owner = std::mem::take(&mut look.owner);
            self.seen.entry(owner).or_default().push(Question::Seen { address, answers });
            self.open.remove(&address);
            self.telling.get_or_insert(now + TELL);
        }
        None
    }

    /// What is to be told now, by the member that asked for it.
    pub fn take_seen(&mut self, now: Instant) -> BTreeMap<Box<str>, Vec<Question>> {
        if self.telling.take_if(|at| *at <= now).is_none() {
            return BTreeMap::new();
        }
        std::mem::take(&mut self.seen)
    }

    fn end(&mut self, address: IpAddr) {
        if let Some(look) = self.open.remove(&address) {
            self.due.remove(&(look.due, address));
        }
    }
}
