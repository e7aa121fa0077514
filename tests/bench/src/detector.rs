//! What it costs speakers to watch each other: CPU and frames of real processes with nothing else to do.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use landfall_e2e::{Contender, Machines};

use crate::{figures::Figures, process};

const MACHINES: [u16; 2] = [5, 30];
/// After the last announcement is repeated, and each speaker's own start is forgotten.
const CALM: Duration = Duration::from_secs(4);
const SPAN: Duration = Duration::from_secs(10);

pub(crate) fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    for count in MACHINES {
        let machines = Machines::start(count, 1, Contender::Landfall(Vec::new()))?;
        let seen = idle(&machines, count).with_context(|| machines.diagnosis());
        machines.teardown()?;
        let Cost { cpu, largest, frames } = seen?;
        let what = format!("{count} speakers that watch each other");
        figures.add(format!("{what}: CPU of one, mean"), cpu, "% of a core", None);
        figures.add(format!("{what}: CPU of one, largest"), largest, "% of a core", None);
        figures.add(format!("{what}: frames of one, sent and received, mean"), frames, "frames/s", None);
    }
    Ok(())
}

/// Of one speaker.
struct Cost {
    cpu: f64,
    largest: f64,
    frames: f64,
}

fn idle(machines: &Machines, count: u16) -> anyhow::Result<Cost> {
    // Nobody asks for the address while it is measured.
    machines.asker.forget(machines.address(0));
    thread::sleep(CALM);
    let each = || 0..usize::from(count);
    let used = || each().map(|index| process::cpu_seconds(machines.process(index)?.pid()));
    let counted = || -> anyhow::Result<u64> {
        each()
            .map(|index| process::frames(machines.host(index)).map(|(received, sent)| received + sent))
            .sum()
    };
    let (start, frames) = (Instant::now(), counted()?);
    let before = used().collect::<anyhow::Result<Vec<_>>>()?;
    thread::sleep(SPAN);
    let after = used().collect::<anyhow::Result<Vec<_>>>()?;
    let (frames, seconds) = (counted()? - frames, start.elapsed().as_secs_f64());
    let percent: Vec<f64> =
        before.iter().zip(&after).map(|(before, after)| (after - before) / seconds * 100.0).collect();
    Ok(Cost {
        cpu: percent.iter().sum::<f64>() / f64::from(count),
        largest: percent.iter().copied().fold(0.0, f64::max),
        frames: frames as f64 / seconds / f64::from(count),
    })
}
