use crate::script::Script;

/// A script with as few steps as possible that is still `bad`, by leaving out steps, the largest runs of them first.
/// Asks `bad` at most a few hundred times.
pub fn shrink(script: &Script, bad: impl Fn(&Script) -> bool) -> Script {
    let mut best = script.clone();
    let mut run = best.steps.len().div_ceil(2);
    while run > 0 {
        let mut from = 0;
        while from < best.steps.len() {
            let mut shorter = best.clone();
            shorter.steps.drain(from..(from + run).min(best.steps.len()));
            if bad(&shorter) {
                best = shorter;
            } else {
                from += run;
            }
        }
        run /= 2;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Action, Step};

    #[test]
    fn what_does_not_matter_is_left_out() {
        let steps =
            (0..20).map(|at| Step { at, action: Action::Kill(usize::try_from(at).unwrap_or(0) % 10) });
        let script =
            Script { nodes: 10, services: 1, fail_back: None, seed: 1, until: 30, steps: steps.collect() };
        let kills = |script: &Script, node| script.steps.iter().any(|step| step.action == Action::Kill(node));
        let short = shrink(&script, |script| kills(script, 3) && kills(script, 7));
        assert_eq!(short.steps.len(), 2, "{short}");
    }
}
