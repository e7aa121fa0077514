//! Made-up scripts, for some seconds: `LANDFALL_SIMULATION_SECONDS` says how many, `LANDFALL_SIMULATION_SEED` where to
//! begin. The seeds differ from run to run; what breaks a rule is printed as a short script, to be kept in `regressions`.

use std::{
    env,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use landfall_simulation::{Script, World, make_up, shrink};

const SECONDS: u64 = 8;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn no_made_up_script_breaks_a_rule() {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let first = number("LANDFALL_SIMULATION_SEED").unwrap_or(clock << 20);
    let budget = Duration::from_secs(number("LANDFALL_SIMULATION_SECONDS").unwrap_or(SECONDS));
    let start = Instant::now();
    let mut runs = 0;
    for seed in first.. {
        if start.elapsed() >= budget {
            break;
        }
        runs += 1;
        let (_, violations) = World::play(&make_up(seed));
        if let Some(violation) = violations.first() {
            let rule = violation.rule;
            let breaks = |script: &Script| World::play(script).1.iter().any(|other| other.rule == rule);
            let short = shrink(&make_up(seed), breaks);
            let (log, violations) = World::play(&short);
            panic!("seed {seed}: {}\n\n{short}\n{}", violations[0], log.join("\n"));
        }
    }
    println!("{runs} scripts from seed {first} on");
    assert!(runs > 0);
}
