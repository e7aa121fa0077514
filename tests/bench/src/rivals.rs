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
        let rival = matches!(contender, Contender::Keepalived(_));
        let machines = Machines::start(MACHINES, 1, contender).with_context(|| name.to_owned())?;
        let quiet = silent_cuts(&machines, cuts, rival);
        let busy = Busy::start().and_then(|busy| {
            let seen = silent_cuts(&machines, cuts, rival);
            drop(busy);
            seen
        });
        let words = machines.diagnosis();
        machines.teardown()?;
        let cuts = quiet.and_then(|quiet| Ok([(quiet, ""), (busy?, ", six busy loops beside it")]));
        for (Cuts { gaps, unsettled }, when) in cuts.with_context(|| format!("{name}: {words}"))? {
            let target = target.filter(|_| when.is_empty());
            let what = format!("failover gap, silent cut{when}: {name}");
            if unsettled > 0 {
                figures.add(
                    format!("{what}, cuts without one lasting owner"),
                    f64::from(unsettled),
                    "cuts",
                    None,
                );
            }
            if !gaps.is_empty() {
                figures.add_samples(&what, gaps, "ms", target);
            }
        }
    }
    Ok(())
}

struct Cuts {
    gaps: Vec<f64>,
    /// After these several went on to answer, or nobody did. A rival that cannot do better on this machine is no reason to stop.
    unsettled: u32,
}

fn silent_cuts(machines: &Machines, cuts: usize, rival: bool) -> anyhow::Result<Cuts> {
    let stream = machines.stream(0)?;
    stream.answered_after(Instant::now(), PATIENCE)?;
    let mut seen = Cuts { gaps: Vec::new(), unsettled: 0 };
    for _ in 0..cuts {
        match machines.cut_owner(0, &stream) {
            Ok(gap) => seen.gaps.push(gap.as_secs_f64() * 1e3),
            Err(error) if rival => {
                eprintln!("{error:#}");
                seen.unsettled += 1;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(seen)
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
