//! Who leads, decided from what is read and written. Pure: its IO sibling is the module above.
//!
//! A leader writes the lease every [`Timing::retry`] and counts as leader for [`Timing::renew`] after the start of
//! its last successful write. The others wait until the record has not changed for its whole duration, by their own
//! clock from the moment that they saw it; so clocks need not agree, and as long as `renew` is shorter than the
//! duration, two never lead at once.

use std::time::Duration;

use landfall_model::Instant;

/// How long things last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long the others wait after the last renewal that they saw, in whole seconds.
    pub duration: Duration,
    /// How long a leader counts as one after the start of its last successful renewal; shorter than `duration`.
    pub renew: Duration,
    /// Between two attempts.
    pub retry: Duration,
}

impl Default for Timing {
    /// The values of the Kubernetes components: 15, 10 and 2 seconds.
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// What a Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// `spec.holderIdentity`; empty when it was given back.
    pub holder: Box<str>,
    /// `spec.leaseDurationSeconds`.
    pub duration: Duration,
    /// `spec.acquireTime` in microseconds since 1970; 0 stands for the time of writing.
    pub acquired: i64,
    /// `spec.renewTime` in microseconds since 1970, only compared for equality.
    pub renewed: i64,
    /// `spec.leaseTransitions`.
    pub transitions: i32,
}

/// The answer to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// The Lease as it is.
    Found {
        /// What it says.
        record: Record,
        /// Its `resourceVersion`.
        version: Box<str>,
    },
    /// There is none.
    Missing,
    /// No answer.
    Failed,
}

/// The answer to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is written.
    Done {
        /// What it says now, times included.
        record: Record,
        /// Its new `resourceVersion`.
        version: Box<str>,
    },
    /// Somebody else wrote in the meantime.
    Conflict,
    /// No answer, or refused. It may have been written.
    Failed,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this time.
    Wait(Instant),
    /// Read the Lease, then call [`Machine::read`].
    Read,
    /// Write the Lease, then call [`Machine::written`].
    Write {
        /// What it is to say, with the time of writing as `renewTime`.
        record: Record,
        /// Replace exactly this version; `None`: create it.
        version: Option<Box<str>>,
    },
}

/// One competitor. Ask [`Machine::step`], do what it says, report the answer, repeat.
#[derive(Clone, Debug)]
pub struct Machine {
    identity: Box<str>,
    timing: Timing,
    known: Known,
    /// What is known may be out of date: read before the next write.
    stale: bool,
    /// When this process stops to lead, unless it renews; `None` when it does not lead.
    leads_until: Option<Instant>,
    next: Instant,
}

#[derive(Clone, Debug)]
enum Known {
    /// There is no Lease.
    Missing,
    /// The Lease, and when it was first seen to say so.
    Lease { record: Record, version: Box<str>, since: Instant },
}

impl Machine {
    /// A competitor that knows nothing yet.
    #[must_use]
    pub fn new(identity: &str, timing: Timing) -> Self {
        Self {
            identity: identity.into(),
            timing,
            known: Known::Missing,
            stale: true,
            leads_until: None,
            next: Instant::ZERO,
        }
    }

    /// Until when this process leads, if it does. It leads no longer once this time has come.
    #[must_use]
    pub const fn leads_until(&self) -> Option<Instant> {
        self.leads_until
    }

    /// What to do now. Harmless when asked early or twice.
    #[must_use]
    pub fn step(&mut self, now: Instant) -> Step {
        if self.leads_until.is_some_and(|until| until <= now) {
            self.leads_until = None;
            // Somebody else may hold it by now.
            self.stale = true;
        }
        if now < self.next {
            return Step::Wait(self.next);
        }
        if self.stale {
            return Step::Read;
        }
        match &self.known {
            Known::Missing => Step::Write { record: self.claim(0), version: None },
            Known::Lease { record, version, .. } if self.leads_until.is_some() => {
                Step::Write { record: record.clone(), version: Some(version.clone()) }
            }
            Known::Lease { record, version, since } if self.is_free(record, *since, now) => {
                let transitions = record.transitions.saturating_add(1);
                Step::Write { record: self.claim(transitions), version: Some(version.clone()) }
            }
            Known::Lease { .. } => Step::Read,
        }
    }

    /// Takes the answer to a read.
    pub fn read(&mut self, observed: Observed, now: Instant) {
        match observed {
            Observed::Failed => self.next = now + self.timing.retry,
            Observed::Missing => {
                self.known = Known::Missing;
                self.stale = false;
                self.leads_until = None;
            }
            Observed::Found { record, version } => {
                let since = match &self.known {
                    Known::Lease { record: before, since, .. } if *before == record => *since,
                    Known::Lease { .. } | Known::Missing => now,
                };
                if record.holder != self.identity {
                    self.leads_until = None;
                }
                if !self.is_free(&record, since, now) {
                    self.next = now + self.timing.retry;
                }
                self.known = Known::Lease { record, version, since };
                self.stale = false;
            }
        }
    }

    /// Takes the answer to a write that began at `began`.
    pub fn written(&mut self, written: Written, began: Instant, now: Instant) {
        self.next = now + self.timing.retry;
        match written {
            Written::Done { record, version } => {
                self.known = Known::Lease { record, version, since: now };
                self.stale = false;
                self.leads_until = Some(began + self.timing.renew);
            }
            // Somebody changed the Lease. Only a read tells whether that was another competitor, so a leader keeps
            // its deadline and hurries; nobody else may take over before it.
            Written::Conflict => {
                self.stale = true;
                if self.leads_until.is_some() {
                    self.next = now;
                }
            }
            // The write may have happened, then the version is another one.
            Written::Failed => self.stale = true,
        }
    }

    /// Stops leading. Returns the record that says so and the version to replace, if this process led.
    #[must_use]
    pub fn release(&mut self) -> Option<(Record, Box<str>)> {
        self.leads_until.take()?;
        let Known::Lease { record, version, .. } = &self.known else { return None };
        let free = Record { holder: "".into(), duration: Duration::from_secs(1), ..record.clone() };
        Some((free, version.clone()))
    }

    fn claim(&self, transitions: i32) -> Record {
        Record {
            holder: self.identity.clone(),
            duration: self.timing.duration,
            acquired: 0,
            renewed: 0,
            transitions,
        }
    }

    /// Whether the lease may be taken: nobody holds it, it is ours already, or its holder did not renew it.
    fn is_free(&self, record: &Record, since: Instant, now: Instant) -> bool {
        record.holder.is_empty() || record.holder == self.identity || now >= since + record.duration
    }
}

#[cfg(test)]
mod tests;
