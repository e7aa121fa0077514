//! A silent cut of the owner's port, with Landfall and with keepalived, on the same machines without a cluster.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use landfall_e2e::{Contender, Machines, machines::PATIENCE};

use crate::figures::Figures;

/// Busy loops beside them in the second half.
const LOOPS: usize = 6;
const MACHINES: u16 = 5;

/// The design's bound for Landfall; keepalived has none here.
const TARGET: f64 = 300.0;

/// `cuts` of each, in a quiet and in a busy time.
pub(crate) fn measure(figures: &mut Figures, cuts: usize) -> anyhow::Result<()> {
    let keepalived = |advert| Contender::Keepalived(Duration::from_millis(advert));
    for (name, contender, target) in [
        ("Landfall", Contender::Landfall(Vec::new()), Some(TARGET)),
        ("keepalived, adverts of 100 ms", keepalived(100), None),
        ("keepalived, adverts of 1 s", keepalived(1_000), None),
    ] {
        let machines = Machines::start(MACHINES, 1, contender).with_context(|| name.to_owned())?;
        let quiet = silent_cuts(&machines, cuts);
        let busy = Busy::start().and_then(|busy| {
            let gaps = silent_cuts(&machines, cuts);
            drop(busy);
            gaps
        });
        let words = machines.diagnosis();
        machines.teardown()?;
        let gaps = quiet.and_then(|quiet| Ok([(quiet, ""), (busy?, ", six busy loops beside it")]));
        for (gaps, when) in gaps.with_context(|| format!("{name}: {words}"))? {
            let target = target.filter(|_| when.is_empty());
            figures.add_samples(&format!("failover gap, silent cut{when}: {name}"), gaps, "ms", target);
        }
    }
    Ok(())
}

fn silent_cuts(machines: &Machines, cuts: usize) -> anyhow::Result<Vec<f64>> {
    let stream = machines.stream(0)?;
    stream.answered_after(Instant::now(), PATIENCE)?;
    let gaps = (0..cuts).map(|_| Ok(machines.cut_owner(0, &stream)?.as_secs_f64() * 1e3));
    gaps.collect()
}

/// Threads that do nothing, and do not stop, until this is dropped.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn start() -> anyhow::Result<Self> {
        let busy = Self(Arc::default());
        for number in 0..LOOPS {
            let stop = Arc::clone(&busy.0);
            let work = move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            };
            thread::Builder::new().name(format!("busy {number}")).spawn(work)?;
        }
        Ok(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
