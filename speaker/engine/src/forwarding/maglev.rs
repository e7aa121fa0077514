use sha2::{Digest, Sha256};

/// How many slots a table has: a prime, so that every step of a node's walk reaches every slot. With 3 nodes the
/// loss of one moves about 1 % of the slots of the others, with 20 about 4 %.
pub const SLOTS: u16 = 1_021;

/// Which node has each of the [`SLOTS`] slots: indices into `names`, which must be sorted and without repetition;
/// empty when there are no names.
///
/// This is the table of Maglev (Eisenbud and others, NSDI 2016, §3.4): in turn, each node takes the next free
/// slot of its own permutation. Shares differ by at most one slot as long as there are no more nodes than slots,
/// and a node that comes or goes moves few slots of the others. The result depends on the names alone, so all
/// speakers compute the same.
#[must_use]
pub fn slots<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<u16> {
    let mut walks: Vec<Walk> = names.into_iter().take(usize::from(SLOTS)).map(Walk::of).collect();
    if walks.is_empty() {
        return Vec::new();
    }
    let mut table: Vec<Option<u16>> = vec![None; usize::from(SLOTS)];
    let mut free = table.len();
    'turns: loop {
        for (node, walk) in (0..).zip(&mut walks) {
            let slot = walk.next_free(&table);
            table[slot] = Some(node);
            free -= 1;
            if free == 0 {
                break 'turns;
            }
        }
    }
    table.into_iter().flatten().collect()
}

/// A node's permutation of the slots, and how far it has come.
struct Walk {
    slot: u16,
    step: u16,
}

impl Walk {
    fn of(name: &str) -> Self {
        let hash = Sha256::digest(name.as_bytes());
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&hash[at..at + 8]);
            u64::from_be_bytes(bytes)
        };
        let below = |value: u64, bound: u16| {
            u16::try_from(value % u64::from(bound)).expect("invariant: a remainder is below its divisor")
        };
        Self { slot: below(word(0), SLOTS), step: below(word(8), SLOTS - 1) + 1 }
    }

    /// The next slot of the permutation that is still free. The caller makes sure that there is one.
    fn next_free(&mut self, table: &[Option<u16>]) -> usize {
        loop {
            let slot = usize::from(self.slot);
            self.slot = (self.slot + self.step) % SLOTS;
            if table[slot].is_none() {
                return slot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("node-{i:04}")).collect()
    }

    fn owners(names: &[String]) -> Vec<&str> {
        slots(names.iter().map(String::as_str)).into_iter().map(|i| names[usize::from(i)].as_str()).collect()
    }

    #[test]
    fn shares_differ_by_one_slot_at_most() {
        for count in [1, 2, 3, 5, 10, 20, 100, 1_000, 1_021] {
            let names = names(count);
            let owners = owners(&names);
            assert_eq!(owners.len(), usize::from(SLOTS));
            let share = |name: &String| owners.iter().filter(|owner| *owner == name).count();
            let shares: Vec<usize> = names.iter().map(share).collect();
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            assert!(most - least <= 1, "{count} nodes: {least} to {most} slots");
        }
    }

    #[test]
    fn a_node_that_leaves_moves_few_slots_of_the_others() {
        for (count, percent) in [(3, 2.5), (5, 3.5), (10, 5.5), (20, 6.5)] {
            let before = names(count);
            let mut moved = 0;
            let mut kept = 0;
            for gone in 0..count {
                let mut after = before.clone();
                let gone = after.remove(gone);
                for (old, new) in owners(&before).into_iter().zip(owners(&after)) {
                    if old != gone {
                        kept += usize::from(old == new);
                        moved += usize::from(old != new);
                    }
                }
            }
            let share = 100.0 * moved as f64 / (moved + kept) as f64;
            assert!(share <= percent, "{count} nodes: {share:.1} % of the other slots moved");
        }
    }

    #[test]
    fn no_node_and_too_many_nodes_do_no_harm() {
        assert!(slots([]).is_empty());
        let names = names(2_000);
        assert_eq!(owners(&names).len(), usize::from(SLOTS));
    }

    #[test]
    fn the_table_of_three_nodes_is_fixed() {
        // All speakers of a cluster, also of different versions, must agree; a change here breaks connections.
        let table = slots(["n1", "n2", "n3"]);
        assert_eq!(table[..24], FIRST_OF_THREE);
    }

    const FIRST_OF_THREE: [u16; 24] =
        [1, 0, 0, 0, 2, 0, 0, 2, 1, 2, 2, 0, 1, 1, 2, 2, 2, 1, 0, 2, 1, 1, 2, 0];
}
