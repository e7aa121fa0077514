use std::time::Duration;

use landfall_model::Instant;

/// Frames are counted over so long.
const SPAN: Duration = Duration::from_millis(100);
/// So many in that time are a flood: a socket's buffer holds about as many, and the kernel drops what does not fit.
const MANY: u32 = 1_000;

/// Whether so many frames come in that others are lost: what a peer did not hear then says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flood {
    began: Instant,
    count: u32,
    before: u32,
}

impl Flood {
    /// A frame came in.
    pub(super) fn note(&mut self, now: Instant) {
        let passed = now.since(self.began);
        if passed >= SPAN {
            let before = if passed < SPAN * 2 { self.count } else { 0 };
            *self = Self { began: now, count: 0, before };
        }
        self.count = self.count.saturating_add(1);
    }

    /// There is a flood, or was one a moment ago.
    pub(super) fn is_on(&self, now: Instant) -> bool {
        now.since(self.began) < SPAN * 2 && self.count.max(self.before) >= MANY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_many_frames_in_a_short_time_and_soon_over() {
        let at = |millis: u64| Instant::ZERO + Duration::from_millis(millis);
        let mut flood = Flood::default();
        assert!(!flood.is_on(at(0)));
        (0..5_000).for_each(|number| flood.note(at(1_000 + number)));
        assert!(!flood.is_on(at(6_000)), "a frame for each millisecond");
        (0..10_000).for_each(|number| flood.note(at(7_000 + number / 20)));
        assert!(flood.is_on(at(7_500)) && flood.is_on(at(7_599)), "twenty are too many");
        assert!(!flood.is_on(at(7_700)));
        flood.note(at(7_700));
        assert!(!flood.is_on(at(7_700)));
    }
}
