//! The lease: competitors whose requests are late, lost, or done without an answer.

use std::time::Duration;

use arbitrary::Arbitrary;
use landfall_kubernetes::lease::machine::{Machine, Observed, Record, Step, Timing, Written};
use landfall_model::Instant;

const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Arbitrary, Debug)]
enum Operation {
    /// A competitor does its next step.
    Step {
        who: u8,
        millis: u16,
        answer: Answer,
    },
    /// A competitor is told to stop. What it then writes may get lost.
    Release {
        who: u8,
        written: bool,
    },
    /// A competitor's process is replaced.
    Restart {
        who: u8,
    },
    Pass {
        millis: u16,
    },
    /// Somebody edits the Lease by hand. Two may lead then; that is not ours to prevent.
    Edit {
        holder: u8,
        seconds: u64,
        transitions: i32,
    },
    Delete,
}

#[derive(Arbitrary, Debug)]
enum Answer {
    Given,
    /// The server did not get the request.
    Lost,
    /// The server did it and the answer was lost.
    DoneUnheard,
}

struct Bed {
    machines: [Machine; 3],
    lease: Option<(Record, u64)>,
    writes: u64,
    now: Instant,
    /// Somebody may edit the Lease by hand.
    edited: bool,
}

/// Three competitors for one Lease, which an odd first byte lets others edit.
pub(crate) fn lease(input: &[u8]) {
    let Some((first, input)) = input.split_first() else { return };
    let machines = NAMES.map(|name| Machine::new(name, Timing::default()));
    let mut bed = Bed { machines, lease: None, writes: 0, now: Instant::ZERO, edited: first & 1 == 1 };
    for operation in super::operations(input, 200) {
        bed.apply(operation);
        bed.check();
    }
}

impl Bed {
    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Step { who, millis, answer } => {
                self.step(usize::from(who) % 3, Duration::from_millis(u64::from(millis) % 4_000), &answer);
            }
            Operation::Release { who, written } => {
                let released = self.machines[usize::from(who) % 3].release();
                if let Some((record, version)) = released
                    && written
                    && self.version() == Some(version)
                {
                    self.store(record);
                }
            }
            Operation::Restart { who } => {
                let who = usize::from(who) % 3;
                self.machines[who] = Machine::new(NAMES[who], Timing::default());
            }
            Operation::Pass { millis } => self.now += Duration::from_millis(u64::from(millis) % 12_000),
            Operation::Edit { .. } | Operation::Delete if !self.edited => {}
            Operation::Edit { holder, seconds, transitions } => {
                let holder = ["a", "b", "c", "", "somebody"][usize::from(holder) % 5];
                let duration = Duration::from_secs(seconds);
                self.store(Record { holder: holder.into(), duration, acquired: 1, renewed: 0, transitions });
            }
            Operation::Delete => self.lease = None,
        }
    }

    fn step(&mut self, who: usize, takes: Duration, answer: &Answer) {
        let began = self.now;
        match self.machines[who].step(began) {
            Step::Wait(until) => assert!(until > began, "it waits for the past"),
            Step::Read => {
                let seen = match (&self.lease, answer) {
                    (_, Answer::Lost | Answer::DoneUnheard) => Observed::Failed,
                    (None, Answer::Given) => Observed::Missing,
                    (Some((record, version)), Answer::Given) => {
                        Observed::Found { record: record.clone(), version: version.to_string().into() }
                    }
                };
                self.now += takes;
                self.machines[who].read(seen, self.now);
            }
            Step::Write { record, version } => {
                assert_eq!(&*record.holder, NAMES[who], "it writes its own name");
                let fits = self.version() == version;
                if fits && !matches!(answer, Answer::Lost) {
                    self.store(record);
                }
                let written = match (&self.lease, answer) {
                    (_, Answer::Lost | Answer::DoneUnheard) => Written::Failed,
                    (Some((record, version)), Answer::Given) if fits => {
                        Written::Done { record: record.clone(), version: version.to_string().into() }
                    }
                    (_, Answer::Given) => Written::Conflict,
                };
                self.now += takes;
                self.machines[who].written(written, began, self.now);
            }
        }
    }

    fn version(&self) -> Option<Box<str>> {
        self.lease.as_ref().map(|(_, version)| version.to_string().into())
    }

    fn store(&mut self, record: Record) {
        self.writes += 1;
        let renewed = i64::try_from(self.writes).expect("inputs are short");
        self.lease = Some((Record { renewed, ..record }, self.writes));
    }

    fn leads(&self, who: usize) -> bool {
        self.machines[who].leads_until().is_some_and(|until| self.now < until)
    }

    fn check(&self) {
        let leading: Vec<&str> = (0..3).filter(|who| self.leads(*who)).map(|who| NAMES[who]).collect();
        if self.edited {
            return;
        }
        assert!(leading.len() <= 1, "{leading:?} lead at {:?}", self.now);
        if let (Some(leader), Some((record, _))) = (leading.first(), &self.lease) {
            assert_eq!(*leader, &*record.holder, "who leads is who the Lease names");
        }
    }
}
