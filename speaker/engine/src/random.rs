use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014): enough for jitter, useless for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `duration` ± 10 %.
    pub(crate) fn jittered(&mut self, duration: Duration) -> Duration {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 2);
        let tenth = micros / 10;
        let micros = micros.saturating_sub(tenth).saturating_add(self.next() % (tenth * 2 + 1));
        Duration::from_micros(micros)
    }
}
