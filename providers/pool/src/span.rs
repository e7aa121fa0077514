use std::collections::BTreeMap;

use landfall_model::AddressRange;

/// Which addresses of one range are taken, as runs of neighbours. An untouched range costs nothing, whatever its
/// size, and a range filled from below is one run, so its first free address is found in one step.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) range: AddressRange,
    last: u128,
    /// First to last offset of each run. Runs neither overlap nor touch.
    runs: BTreeMap<u128, u128>,
}

impl Span {
    pub(crate) fn new(range: AddressRange) -> Self {
        let last = range.offset(range.last()).expect("invariant: a range contains its last address");
        Self { range, last, runs: BTreeMap::new() }
    }

    /// The lowest offset that is not taken.
    pub(crate) fn first_free(&self) -> Option<u128> {
        match self.runs.first_key_value() {
            Some((0, end)) if *end >= self.last => None,
            Some((0, end)) => Some(end + 1),
            Some(_) | None => Some(0),
        }
    }

    /// Marks `offset` as taken; harmless if it is.
    pub(crate) fn take(&mut self, offset: u128) {
        let before = self.runs.range(..=offset).next_back().map(|(start, end)| (*start, *end));
        let start = match before {
            Some((_, end)) if end >= offset => return,
            Some((start, end)) if end + 1 == offset => start,
            Some(_) | None => offset,
        };
        let end = match offset.checked_add(1).and_then(|next| self.runs.remove(&next)) {
            Some(end) => end,
            None => offset,
        };
        self.runs.insert(start, end);
    }

    /// Marks `offset` as free; harmless if it is.
    pub(crate) fn release(&mut self, offset: u128) {
        let Some((start, end)) = self.runs.range(..=offset).next_back().map(|(s, e)| (*s, *e)) else {
            return;
        };
        if end < offset {
            return;
        }
        self.runs.remove(&start);
        if start < offset {
            self.runs.insert(start, offset - 1);
        }
        if offset < end {
            self.runs.insert(offset + 1, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_of_the_largest_range_are_usable() {
        let mut span = Span::new("::/0".parse().unwrap());
        span.take(u128::MAX);
        span.take(0);
        assert_eq!(span.first_free(), Some(1));
        span.take(u128::MAX - 1);
        span.release(u128::MAX);
        assert_eq!(span.runs, BTreeMap::from([(0, 0), (u128::MAX - 1, u128::MAX - 1)]));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_set(steps in prop::collection::vec((any::<bool>(), 0u128..16), 0..200)) {
            let mut span = Span::new("192.0.2.0/28".parse().unwrap());
            let mut taken = BTreeSet::new();
            for (take, offset) in steps {
                if take {
                    span.take(offset);
                    taken.insert(offset);
                } else {
                    span.release(offset);
                    taken.remove(&offset);
                }
                prop_assert_eq!(span.first_free(), (0..16).find(|o| !taken.contains(o)));
                prop_assert!(span.runs.len() <= 8);
            }
        }
    }
}
