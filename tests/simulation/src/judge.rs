use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    time::Duration,
};

use landfall_model::{Instant, Reason};

use crate::{wires::service_address, world::World};

/// Two nodes that reach each other both answer at most this long. They learn of each other with the next heartbeat.
const DOUBLE: Duration = Duration::from_millis(70);
/// The same while packets are lost.
const DOUBLE_WITH_LOSS: Duration = Duration::from_secs(2);
/// After one trouble in a calm, an address that a node could answer for is without an answer at most this long: three
/// missed heartbeats, a second juror, and the turn of the next candidate.
const GAP: Duration = Duration::from_millis(250);
/// The same when only a process went away: its kernel answers, so its peers wait for it before they take over.
const GAP_OF_PROCESS: Duration = Duration::from_millis(2_250);
/// So long after the last trouble everything is settled: detection, the return of a member, a handover that nobody takes.
const CALM: Duration = Duration::from_secs(6);
/// While it is calm, the world is looked at this often.
const AGAIN: Duration = Duration::from_secs(1);
/// A process that is away for less than this loses nothing to others, as long as its kernel answers.
const HOLD: Duration = Duration::from_secs(2);
/// Who takes over now may have seen the segment as it was this long ago.
const MEMORY: Duration = Duration::from_secs(1);

/// What must hold whatever happens. Outcomes only: how the speakers bring them about is their business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Of nodes that reach each other, one answers for an address.
    OneAnswer,
    /// After one trouble that befalls a calm world, somebody answers soon.
    GapsAreShort,
    /// When all is calm, each side of the segment with a candidate has somebody who answers, and else nobody does.
    SomebodyAnswers,
    /// When all is calm, the nodes of one side name the same owner.
    SameOwner,
    /// Who does not own an address says nothing in its name.
    LosersAreSilent,
    /// Nothing is taken from a node whose kernel answers because its process is away for a moment.
    KernelsCount,
    /// Nothing is taken from a node because a single one does not hear it.
    OneIsNotEnough,
}

impl Rule {
    /// Those that the speakers are known to break. A run reports no violation of them; each leaves this list together
    /// with the change that keeps it.
    pub const UNMET: &[Self] = &[];
}

/// A rule was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// When, in milliseconds since the speakers were started.
    pub at: u64,
    /// By whom.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is broken at {}: {}", self.rule, self.at, self.what)
    }
}

/// Watches a [`World`].
#[derive(Debug)]
pub struct Judge {
    start: Instant,
    disturbed: Instant,
    /// How long it may leave an address without an answer.
    gap: Duration,
    /// The trouble before that one.
    disturbed_before: Instant,
    checked: Instant,
    /// The last gap that was looked at, by when the trouble was that made it.
    gap_seen: Instant,
    /// Since when its process has been away, by node.
    away: Vec<Option<Instant>>,
    /// Since when it has run, by node.
    here: Vec<Option<Instant>>,
    /// Two who answer for the same and reach each other, since when, and whether that was found fault with.
    doubles: BTreeMap<(IpAddr, usize, usize), (Instant, bool)>,
    violations: Vec<Violation>,
}

impl Judge {
    pub(crate) fn new(nodes: usize, now: Instant) -> Self {
        Self {
            start: now,
            disturbed: now,
            gap: GAP,
            disturbed_before: now,
            checked: now,
            gap_seen: now,
            away: vec![None; nodes],
            here: vec![Some(now); nodes],
            doubles: BTreeMap::new(),
            violations: Vec::new(),
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Violation> {
        self.violations.retain(|violation| !Rule::UNMET.contains(&violation.rule));
        self.violations
    }

    pub(crate) fn disturbed(&mut self, now: Instant) {
        self.disturbed_before = self.disturbed;
        self.disturbed = now;
        self.gap = GAP;
    }

    /// The last trouble was that a process died or stood still, and its kernel did not.
    pub(crate) fn process_away(&mut self) {
        self.gap = GAP_OF_PROCESS;
    }

    /// When [`Self::check`] has something to do.
    pub(crate) fn next_check(&self) -> Option<Instant> {
        let doubles = self.doubles.values().filter(|(_, told)| !told).map(|(since, _)| *since);
        // Both limits, since packets may begin and cease to be lost meanwhile.
        let doubles = doubles.flat_map(|since| [since + DOUBLE, since + DOUBLE_WITH_LOSS]);
        let calm = (self.disturbed + CALM).max(self.checked + AGAIN);
        let gap =
            self.alone().then_some(self.disturbed + self.gap).filter(|_| self.gap_seen < self.disturbed);
        doubles.filter(|at| *at > self.checked).chain([calm]).chain(gap).min()
    }

    /// The last trouble befell a calm world.
    fn alone(&self) -> bool {
        self.disturbed.since(self.disturbed_before) >= CALM
    }

    /// Somebody began or ceased to answer, or something befell the world.
    pub(crate) fn answers_changed(world: &mut World) {
        let now = world.now;
        let mut present = BTreeSet::new();
        for (one, host) in world.hosts.iter().enumerate().filter(|(_, host)| !host.answers.is_empty()) {
            for (other, second) in world.hosts.iter().enumerate().skip(one + 1) {
                if !second.answers.is_empty() && world.wires.joined(one, other) {
                    present.extend(host.answers.intersection(&second.answers).map(|a| (*a, one, other)));
                }
            }
        }
        let doubles = &mut world.judge().doubles;
        doubles.retain(|pair, _| present.contains(pair));
        for pair in present {
            doubles.entry(pair).or_insert((now, false));
        }
    }

    /// Looks at processes and wires after something befell the world.
    pub(crate) fn look_around(world: &mut World) {
        let now = world.now;
        let runs: Vec<bool> = world.hosts.iter().map(|host| host.runs()).collect();
        let judge = world.judge();
        for (node, runs) in runs.into_iter().enumerate() {
            let since = |before: Option<Instant>| before.or(Some(now));
            judge.away[node] = if runs { None } else { since(judge.away[node]) };
            judge.here[node] = if runs { since(judge.here[node]) } else { None };
        }
        Self::answers_changed(world);
    }

    pub(crate) fn check(world: &mut World) {
        let now = world.now;
        let limit = if world.wires.loss > 0 { DOUBLE_WITH_LOSS } else { DOUBLE };
        let mut found = Vec::new();
        let judge = world.judge();
        for ((address, one, other), (since, told)) in &mut judge.doubles {
            if !*told && now.since(*since) >= limit {
                *told = true;
                found.push((Rule::OneAnswer, format!("n{one} and n{other} answer for {address}")));
            }
        }
        let calm = now.since(judge.disturbed) >= CALM;
        judge.checked = now;
        let gap =
            judge.alone() && judge.gap_seen < judge.disturbed && now.since(judge.disturbed) >= judge.gap;
        if gap {
            judge.gap_seen = judge.disturbed;
        }
        if gap && world.is_peaceful() {
            found.extend(Self::gaps(world).map(|what| (Rule::GapsAreShort, what)));
        }
        if calm && world.is_peaceful() {
            found.extend(Self::faults_in_calm(world));
        }
        for (rule, what) in found {
            world.judge().blame(rule, what, now);
        }
    }

    /// A node says that it takes an address over.
    pub(crate) fn takes(
        world: &mut World,
        node: usize,
        address: IpAddr,
        from: Option<usize>,
        reason: Reason,
    ) {
        let now = world.now;
        let Some(from) = from.filter(|_| reason == Reason::SpeakerNotAlive) else { return };
        if Self::heard_by_others(world, node, from) {
            let what = format!("n{node} takes {address} from n{from}, which others hear");
            world.judge().blame(Rule::OneIsNotEnough, what, now);
        }
        let answers = world.hosts[from].has_kernel() && world.wires.joined(node, from);
        let judge = world.judge();
        let away = judge.away[from];
        // What befell the world just now may be why; that the process went away may not.
        let fresh = now.since(judge.disturbed) < MEMORY && away != Some(judge.disturbed);
        let short = away.is_none_or(|since| now.since(since) < HOLD);
        if answers && short && !fresh && world.wires.loss == 0 && !world.wires.one_way() {
            let what = format!("n{node} takes {address} from n{from}, whose kernel answers");
            world.judge().blame(Rule::KernelsCount, what, now);
        }
    }

    /// In a world that was calm before the last trouble, nobody but `node` fails to hear `from`, and somebody else, whom
    /// `node` hears, does hear it.
    fn heard_by_others(world: &World, node: usize, from: usize) -> bool {
        let judge = &world.judge;
        let calm = judge.alone() && world.wires.loss == 0;
        let runs = |host: usize| world.hosts[host].runs() && judge.here[host] < Some(judge.disturbed);
        let others = |host: &usize| ![node, from].contains(host) && runs(*host);
        let mut others = (0..world.hosts.len()).filter(others).peekable();
        let some = others.peek().is_some();
        calm && runs(from)
            && some
            && others.all(|host| world.wires.joined(host, from) && world.wires.joined(host, node))
    }

    /// A node sends a frame in the name of an address.
    pub(crate) fn speaks(world: &mut World, node: usize, address: IpAddr) {
        let host = &world.hosts[node];
        let believes = host.believes.get(&address).cloned().flatten();
        if believes.as_deref() != Some(&*host.name) {
            let what = format!("n{node} speaks for {address}, which it says is owned by {believes:?}");
            let now = world.now;
            world.judge().blame(Rule::LosersAreSilent, what, now);
        }
    }

    /// Addresses that nobody answers for on a side where somebody could.
    fn gaps(world: &World) -> impl Iterator<Item = String> {
        let silent = move |side: Vec<usize>| {
            // Whoever has only just begun must first hear what the others own.
            let ran_before =
                |node: usize| world.judge.here[node].is_some_and(|since| since < world.judge.disturbed);
            let able =
                |node: &usize| ran_before(*node) && world.hosts[*node].runs() && !world.hosts[*node].excluded;
            let able = side.iter().any(able);
            let answered =
                move |address: &IpAddr| side.iter().any(|node| world.hosts[*node].answers.contains(address));
            let served = world.served.iter().enumerate().filter(move |(_, served)| able && **served);
            served.map(|(service, _)| service_address(service)).filter(move |address| !answered(address))
        };
        sides(world)
            .into_iter()
            .flat_map(silent)
            .map(|address| format!("nobody answers for {address} for {:?}", world.judge.gap))
    }

    fn faults_in_calm(world: &World) -> Vec<(Rule, String)> {
        let mut faults = Vec::new();
        for side in sides(world) {
            let runs = |node: &usize| world.hosts[*node].runs() && !world.hosts[*node].finished;
            let able: Vec<usize> =
                side.iter().copied().filter(|node| runs(node) && !world.hosts[*node].excluded).collect();
            for (service, served) in world.served.iter().enumerate() {
                let address = service_address(service);
                let answering: Vec<usize> = side
                    .iter()
                    .copied()
                    .filter(|node| world.hosts[*node].answers.contains(&address))
                    .collect();
                let wanted = usize::from(*served && !able.is_empty());
                if answering.len() != wanted {
                    let what = format!("{answering:?} answer for {address} where {able:?} could");
                    faults.push((Rule::SomebodyAnswers, what));
                    continue;
                }
                for node in side.iter().copied().filter(runs) {
                    let named = world.hosts[node].believes.get(&address).cloned().flatten();
                    let owner = answering.first().map(|owner| world.hosts[*owner].name.clone());
                    if named != owner {
                        let what =
                            format!("n{node} names {named:?} for {address}, which {owner:?} answers for");
                        faults.push((Rule::SameOwner, what));
                    }
                }
            }
        }
        faults
    }

    fn blame(&mut self, rule: Rule, what: String, now: Instant) {
        let at = u64::try_from(now.since(self.start).as_millis()).unwrap_or(u64::MAX);
        self.violations.push(Violation { rule, at, what });
    }
}

/// The nodes with a kernel and a plugged port, those together that reach each other.
fn sides(world: &World) -> Vec<Vec<usize>> {
    let mut sides: Vec<Vec<usize>> = Vec::new();
    for node in
        (0..world.hosts.len()).filter(|node| world.hosts[*node].has_kernel() && world.wires.is_plugged(*node))
    {
        match sides.iter_mut().find(|side| world.wires.joined(side[0], node)) {
            Some(side) => side.push(node),
            None => sides.push(vec![node]),
        }
    }
    sides
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        objects::{see_slice, slice},
        script::Script,
    };

    /// A world of three nodes that has been calm for a while, then changed by hand, and what the judge says of it.
    fn after(tamper: impl FnOnce(&mut World)) -> Vec<Rule> {
        let script = Script { nodes: 3, services: 1, fail_back: None, seed: 5, until: 0, steps: Vec::new() };
        let mut world = World::new(&script);
        world.run_until(world.now + Duration::from_secs(9));
        assert!(world.judge().violations.is_empty(), "{:?}", world.judge().violations);
        tamper(&mut world);
        Judge::answers_changed(&mut world);
        world.run_until(world.now + Duration::from_secs(3));
        let rules: BTreeSet<Rule> = world.judge().violations.iter().map(|violation| violation.rule).collect();
        rules.into_iter().collect()
    }

    fn owner(world: &World) -> usize {
        let answers = |host: &crate::host::Host| !host.answers.is_empty();
        world.hosts.iter().position(answers).expect("invariant: somebody answers in a calm")
    }

    #[test]
    fn a_judge_finds_each_kind_of_fault() {
        let address = service_address(0);
        assert_eq!(after(|_| {}), []);
        let second = after(|world| {
            let other = (owner(world) + 1) % 3;
            world.wires.away.insert(other);
            world.run_until(world.now + Duration::from_secs(3));
            world.wires.away.clear();
            // They reach each other and never learn of it.
            world.wires.loss = 100;
        });
        assert_eq!(second, [Rule::OneAnswer]);
        let nobody = after(|world| world.see(see_slice(slice("s0", &[]))));
        assert_eq!(nobody, [Rule::SomebodyAnswers]);
        let gap = after(|world| {
            world.see(see_slice(slice("s0", &[])));
            let now = world.now;
            world.judge().disturbed(now);
        });
        assert_eq!(gap, [Rule::GapsAreShort]);
        let nobodys = after(|world| world.served[0] = false);
        assert_eq!(nobodys, [Rule::SomebodyAnswers]);
        let other_name = after(|world| {
            let other = (owner(world) + 1) % 3;
            world.hosts[other].believes.insert(address, Some("n9".into()));
        });
        assert_eq!(other_name, [Rule::SameOwner]);
        let loser = after(|world| {
            let other = (owner(world) + 1) % 3;
            Judge::speaks(world, other, address);
        });
        assert_eq!(loser, [Rule::LosersAreSilent]);
        let taken = after(|world| {
            let owner = owner(world);
            Judge::takes(world, (owner + 1) % 3, address, Some(owner), Reason::SpeakerNotAlive);
        });
        assert_eq!(taken, [Rule::KernelsCount]);
        let alone = after(|world| {
            let (owner, now) = (owner(world), world.now);
            world.judge().disturbed(now);
            world.wires.deaf.insert((owner, (owner + 1) % 3));
            Judge::takes(world, (owner + 1) % 3, address, Some(owner), Reason::SpeakerNotAlive);
            world.wires.deaf.clear();
        });
        assert_eq!(alone, [Rule::OneIsNotEnough]);
        let dead = after(|world| {
            let owner = owner(world);
            world.hosts[owner].machine = crate::host::Machine::Off;
            Judge::takes(world, (owner + 1) % 3, address, Some(owner), Reason::SpeakerNotAlive);
            world.hosts[owner].machine = crate::host::Machine::Up;
        });
        assert_eq!(dead, []);
    }
}
