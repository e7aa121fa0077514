use crate::script::{Action, Script, Step};

/// A random sequence (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, below `limit`, which is not zero.
    pub const fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn pick(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap_or(0)
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// A script of troubles, with a calm now and then, for two to seven nodes.
#[must_use]
pub fn make_up(seed: u64) -> Script {
    let mut random = Random::new(seed);
    let nodes = 2 + random.pick(6);
    let services = 1 + random.pick(4);
    let fail_back = random.coin().then(|| random.below(4_000));
    let mut at = 200 + random.below(4_000);
    let mut steps = Vec::new();
    for _ in 0..1 + random.below(14) {
        steps.push(Step { at, action: trouble(&mut random, nodes, services) });
        at += if random.below(3) == 0 { 4_000 + random.below(8_000) } else { random.below(1_200) };
    }
    Script { nodes, services, fail_back, seed, until: at + 9_000, steps }
}

fn trouble(random: &mut Random, nodes: usize, services: usize) -> Action {
    let node = random.pick(nodes);
    match random.below(26) {
        0 => Action::Kill(node),
        1 | 2 => Action::Start(node),
        3 => Action::Leave(node),
        4 => Action::Stall(node),
        5 | 6 => Action::Resume(node),
        7 => Action::PowerOff(node),
        8 | 9 => Action::PowerOn(node),
        10 => Action::Suspend(node),
        11 => Action::Freeze(node),
        12 | 13 => Action::Wake(node),
        14 => Action::Unplug(node),
        15 => Action::Plug(node),
        16 => Action::Cut(node),
        17 => Action::Heal,
        18 => Action::Deaf(node, random.pick(nodes)),
        19 => Action::Loss(if random.coin() { 0 } else { u32::try_from(random.below(20)).unwrap_or(0) }),
        20 => Action::Drift(node, i32::try_from(random.below(401)).unwrap_or(0) - 200),
        21 => Action::Api(random.coin()),
        22 => Action::Exclude(node, random.coin()),
        23 | 24 => Action::Prefer(random.pick(services), (random.below(4) > 0).then_some(node)),
        _ => match random.below(2) {
            0 => Action::Ready(node, random.coin()),
            _ => Action::Endpoints(random.pick(services), random.coin()),
        },
    }
}
