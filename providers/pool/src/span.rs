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

    /// Marks all from `first` to `last` as taken, at the cost of the runs in between.
    pub(crate) fn take_all(&mut self, first: u128, last: u128) {
        let inside: Vec<u128> = self.runs.range(first..=last).map(|(start, _)| *start).collect();
        let end = inside.iter().filter_map(|start| self.runs.remove(start)).fold(last, u128::max);
        // What begins before it, or right behind it, becomes one run with it.
        let before = self.runs.range(..first).next_back().map(|(start, end)| (*start, *end));
        let (start, end) = match before {
            Some((start, before)) if before >= first || before + 1 == first => (start, end.max(before)),
            Some(_) | None => (first, end),
        };
        let end = end.checked_add(1).and_then(|next| self.runs.remove(&next)).unwrap_or(end);
        self.runs.insert(start, end);
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
        fn it_agrees_with_a_plain_set(steps in prop::collection::vec((any::<bool>(), 0u128..16, 0u128..6), 0..200)) {
            let mut span = Span::new("192.0.2.0/28".parse().unwrap());
            let mut taken = BTreeSet::new();
            for (take, offset, more) in steps {
                match (take, more) {
                    (true, 0) => span.take(offset),
                    (true, more) => span.take_all(offset, (offset + more).min(15)),
                    (false, _) => span.release(offset),
                }
                if take {
                    taken.extend(offset..=(offset + more).min(15));
                } else {
                    taken.remove(&offset);
                }
                prop_assert_eq!(span.first_free(), (0..16).find(|o| !taken.contains(o)));
                prop_assert!(span.runs.len() <= 8);
            }
        }
    }
}
