//! Which addresses matter, as a search tree of instructions: a frame costs as many comparisons as the tree is deep.

use std::net::IpAddr;

use landfall_model::AddressRange;
use libc::sock_filter;

use super::filter::{ACCEPT, JUMP_NOT_LESS, jump, op};

/// More ranges than that are brought together. A program for both places of a request then has 6 KiB, of the 20 that Linux
/// before 6.8 allows a socket, and two must fit: the new one comes before the old one goes.
const MAX_RANGES: usize = 64;

/// Words of four octets that may be those of an address of interest. There may be more words than such addresses, and
/// never fewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Disjoint, in order, not next to each other.
    ranges: Vec<(u32, u32)>,
}

/// An instruction of the tree.
#[derive(Clone, Copy)]
enum Step {
    Do(sock_filter),
    /// To the end of the tree.
    Leave,
}

impl Wanted {
    pub(super) fn everything() -> Self {
        Self { ranges: vec![(0, u32::MAX)] }
    }

    /// The last four octets of the addresses in these ranges.
    pub(super) fn of<'a>(ranges: impl Iterator<Item = &'a AddressRange>) -> Self {
        let mut words: Vec<(u32, u32)> = ranges.flat_map(words).collect();
        words.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::new();
        for (first, last) in words {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                Some(_) | None => merged.push((first, last)),
            }
        }
        if merged.len() > MAX_RANGES {
            // The narrowest gaps are filled.
            let gap = |at: usize| merged[at].0 - merged[at - 1].1;
            let mut gaps: Vec<usize> = (1..merged.len()).collect();
            gaps.sort_unstable_by_key(|at| (gap(*at), *at));
            let mut kept = gaps.split_off(merged.len() - MAX_RANGES);
            kept.sort_unstable();
            let starts = std::iter::once(0).chain(kept.iter().copied());
            let ends = kept.iter().copied().chain([merged.len()]);
            merged = starts.zip(ends).map(|(start, end)| (merged[start].0, merged[end - 1].1)).collect();
        }
        Self { ranges: merged }
    }

    /// Instructions that accept the frame if the word in the accumulator is of interest, and else go on after the last one.
    pub(super) fn accept(&self) -> Vec<sock_filter> {
        // Where a word begins to be of interest, and where it ceases to be.
        let ends = |(first, last): &(u32, u32)| [Some(*first), last.checked_add(1)];
        let bounds: Vec<u32> = self.ranges.iter().flat_map(ends).flatten().collect();
        let mut steps = Vec::new();
        branch(&bounds, false, &mut steps);
        let length = steps.len();
        let instruction = |(at, step)| match step {
            Step::Do(instruction) => instruction,
            Step::Leave => jump(distance(length - at - 1)),
        };
        steps.into_iter().enumerate().map(instruction).collect()
    }
}

/// The tree for these bounds. `inside`: a word below all of them is of interest.
fn branch(bounds: &[u32], inside: bool, steps: &mut Vec<Step>) {
    let middle = bounds.len() / 2;
    let Some((bound, above)) = bounds.get(middle..).and_then(|rest| rest.split_first()) else {
        steps.push(if inside { Step::Do(ACCEPT) } else { Step::Leave });
        return;
    };
    let mut below = Vec::new();
    branch(&bounds[..middle], inside, &mut below);
    // A conditional jump reaches over 255 instructions, an unconditional one over any number.
    steps.push(Step::Do(op(JUMP_NOT_LESS, 0, 1, *bound)));
    steps.push(Step::Do(jump(distance(below.len()))));
    steps.append(&mut below);
    branch(above, inside == (middle % 2 == 1), steps);
}

fn distance(instructions: usize) -> u32 {
    u32::try_from(instructions).expect("invariant: a program has at most 4,096 instructions")
}

fn words(range: &AddressRange) -> Vec<(u32, u32)> {
    match (range.first(), range.last()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => vec![(first.to_bits(), last.to_bits())],
        (first, last) => {
            let word = |address: IpAddr| match address {
                IpAddr::V4(address) => address.to_bits(),
                IpAddr::V6(address) => address.to_bits() as u32,
            };
            match (word(first), word(last)) {
                _ if range.len() > u128::from(u32::MAX) => vec![(0, u32::MAX)],
                (first, last) if first <= last => vec![(first, last)],
                (first, last) => vec![(0, last), (first, u32::MAX)],
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the kernel would do with the word in its accumulator: `true` if it accepts, `false` if it gets to the end.
    fn accepts(program: &[sock_filter], word: u32) -> bool {
        let (mut at, mut steps) = (0, 0);
        while let Some(sock_filter { code, jt, jf, k }) = program.get(at).copied() {
            steps += 1;
            assert!(steps <= 20, "a tree of 128 bounds is not so deep");
            at += 1;
            match code {
                JUMP_NOT_LESS => at += usize::from(if word >= k { jt } else { jf }),
                code if code == jump(0).code => at += k as usize,
                code => {
                    assert_eq!(code, ACCEPT.code);
                    return true;
                }
            }
        }
        assert_eq!(at, program.len(), "it leaves right after the end");
        false
    }

    fn of(ranges: &[&str]) -> Wanted {
        let ranges: Vec<AddressRange> = ranges.iter().map(|range| range.parse().unwrap()).collect();
        Wanted::of(ranges.iter())
    }

    #[test]
    fn ranges_that_touch_are_one() {
        let words = |ranges: &[&str]| of(ranges).ranges;
        assert_eq!(words(&[]), []);
        assert_eq!(words(&["0.0.0.5/32", "0.0.0.7-0.0.0.9", "0.0.0.6/32"]), [(5, 9)]);
        assert_eq!(words(&["0.0.0.5-0.0.0.9", "0.0.0.6-0.0.0.7", "0.0.0.11/32"]), [(5, 9), (11, 11)]);
        assert_eq!(words(&["fd00::1-fd00::9", "fd77::5-fd77::ff"]), [(1, 255)]);
        assert_eq!(words(&["fd00::ffff:fffe-fd00::1:0:3"]), [(0, 3), (u32::MAX - 1, u32::MAX)]);
        assert_eq!(words(&["fd00::/64"]), [(0, u32::MAX)]);
        assert_eq!(of(&["0.0.0.0/0"]), Wanted::everything());
    }

    #[test]
    fn the_narrowest_gaps_are_filled_when_there_are_too_many_ranges() {
        let range = |number: u32| AddressRange::from(IpAddr::V4((number * 1_000 + number % 7).into()));
        let ranges: Vec<AddressRange> = (0..5_000).map(range).collect();
        let wanted = Wanted::of(ranges.iter());
        assert_eq!(wanted.ranges.len(), MAX_RANGES);
        let program = wanted.accept();
        assert!(program.len() <= 3 * 2 * MAX_RANGES + 1, "{}", program.len());
        let word = |number: u32| number * 1_000 + number % 7;
        assert!((0..5_000).all(|number| accepts(&program, word(number))));
        assert!(!accepts(&program, word(4_999) + 1));
    }

    proptest! {
        #[test]
        fn the_tree_accepts_what_is_of_interest_and_no_more(
            ends in proptest::collection::vec((any::<u32>(), any::<u32>()), 0..40),
            words in proptest::collection::vec(any::<u32>(), 40),
        ) {
            let address = |word: u32| IpAddr::V4(word.into());
            let ranges: Vec<AddressRange> = ends
                .iter()
                .map(|(one, other)| AddressRange::new(address(*one.min(other)), address(*one.max(other))).unwrap())
                .collect();
            let program = Wanted::of(ranges.iter()).accept();
            let near = ends.iter().flat_map(|(one, other)| [*one, *other]);
            let near = near.flat_map(|word| [word.wrapping_sub(1), word, word.wrapping_add(1)]);
            for word in words.into_iter().chain(near).chain([0, u32::MAX]) {
                let wanted = ranges.iter().any(|range| range.contains(address(word)));
                prop_assert_eq!(accepts(&program, word), wanted, "{}", word);
            }
        }
    }
}
