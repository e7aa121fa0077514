use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use landfall_model::Instant;

use super::pacing::Pace;

/// When an address is announced, counted from its first announcement.
pub const ANNOUNCE_AT: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(500),
    Duration::from_millis(1000),
    Duration::from_millis(2000),
];

/// Which of the announcements of an address this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    First,
    Repeat,
    /// The last repeat, or the only announcement.
    Last,
}

/// What one interface has to announce. First announcements and repeats have a pace each, so that repeats never hold up
/// a takeover.
#[derive(Debug)]
pub(super) struct Schedule {
    first: Queue,
    repeat: Queue,
    waiting: BTreeMap<IpAddr, Waiting>,
    serial: u64,
}

/// Due time and a serial number: first come, first served.
type Turn = (Instant, u64);

#[derive(Debug)]
struct Queue {
    pace: Pace,
    turns: BTreeMap<Turn, IpAddr>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    turn: Turn,
    /// Announcements so far.
    sent: usize,
    /// When the first of them left.
    started: Instant,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            first: Queue::new(Pace::first()),
            repeat: Queue::new(Pace::repeat()),
            waiting: BTreeMap::new(),
            serial: 0,
        }
    }
}

impl Schedule {
    /// Announces the address from the beginning. One that still waits for its first announcement keeps its turn.
    pub(super) fn start(&mut self, address: IpAddr, now: Instant) {
        if self.waiting.get(&address).is_some_and(|waiting| waiting.sent == 0) {
            return;
        }
        self.stop(address);
        self.enqueue(address, now, 0, now);
    }

    /// Announces the address once more. False when it will be anyway.
    pub(super) fn once(&mut self, address: IpAddr, now: Instant) -> bool {
        let idle = !self.waiting.contains_key(&address);
        if idle {
            self.enqueue(address, now, ANNOUNCE_AT.len() - 1, now);
        }
        idle
    }

    /// Announces the address no more.
    pub(super) fn stop(&mut self, address: IpAddr) {
        if let Some(waiting) = self.waiting.remove(&address) {
            self.queue(waiting.sent).turns.remove(&waiting.turn);
        }
    }

    /// Announces nothing more; the pace stays, so that a flapping interface is no way around it.
    pub(super) fn clear(&mut self) {
        self.first.turns.clear();
        self.repeat.turns.clear();
        self.waiting.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When [`Self::pop`] has something to give.
    pub(super) fn next(&self) -> Option<Instant> {
        self.first.next().into_iter().chain(self.repeat.next()).min()
    }

    /// The next address to announce at `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(IpAddr, Round)> {
        let address = self.first.pop(now).or_else(|| self.repeat.pop(now))?;
        let Waiting { sent, started, .. } = self.waiting.remove(&address)?;
        let started = if sent == 0 { now } else { started };
        let Some(offset) = ANNOUNCE_AT.get(sent + 1) else { return Some((address, Round::Last)) };
        self.enqueue(address, started + *offset, sent + 1, started);
        Some((address, if sent == 0 { Round::First } else { Round::Repeat }))
    }

    fn enqueue(&mut self, address: IpAddr, due: Instant, sent: usize, started: Instant) {
        let turn = (due, self.serial);
        self.serial += 1;
        self.queue(sent).turns.insert(turn, address);
        self.waiting.insert(address, Waiting { turn, sent, started });
    }

    fn queue(&mut self, sent: usize) -> &mut Queue {
        if sent == 0 { &mut self.first } else { &mut self.repeat }
    }
}

impl Queue {
    fn new(pace: Pace) -> Self {
        Self { pace, turns: BTreeMap::new() }
    }

    fn next(&self) -> Option<Instant> {
        let ((due, _), _) = self.turns.first_key_value()?;
        Some((*due).max(self.pace.ready()))
    }

    fn pop(&mut self, now: Instant) -> Option<IpAddr> {
        if self.next()? > now {
            return None;
        }
        let (_, address) = self.turns.pop_first()?;
        self.pace.take(now);
        Some(address)
    }
}

#[cfg(test)]
mod tests;
