use landfall_model::{Labels, NodeView};

/// The places of the nodes that are selected, in order. Nodes that are not known count as one that everybody selects.
pub(crate) fn selected(nodes: &[NodeView], selects: impl Fn(&Labels) -> bool) -> Vec<usize> {
    if nodes.is_empty() {
        return vec![0];
    }
    nodes.iter().enumerate().filter(|(_, node)| selects(&node.labels)).map(|(place, _)| place).collect()
}

/// Whether two sorted lists have an entry in common.
pub(crate) fn overlap(one: &[usize], other: &[usize]) -> bool {
    let (mut one, mut other) = (one, other);
    while let (Some(a), Some(b)) = (one.first(), other.first()) {
        match a.cmp(b) {
            std::cmp::Ordering::Less => one = &one[1..],
            std::cmp::Ordering::Greater => other = &other[1..],
            std::cmp::Ordering::Equal => return true,
        }
    }
    false
}

/// What to call the node at a place.
pub(crate) fn name(nodes: &[NodeView], place: usize) -> String {
    nodes.get(place).map_or_else(|| "the same node".to_owned(), |node| format!("node {}", node.name))
}

#[cfg(test)]
mod tests {
    use super::overlap;

    #[test]
    fn lists_overlap_where_an_entry_is_in_both() {
        for (one, other, expected) in [
            (&[][..], &[][..], false),
            (&[1, 2], &[], false),
            (&[1, 3, 5], &[0, 2, 4], false),
            (&[1, 3, 5], &[0, 2, 5], true),
            (&[7], &[1, 2, 7, 8], true),
        ] {
            assert_eq!((overlap(one, other), overlap(other, one)), (expected, expected), "{one:?} {other:?}");
        }
    }
}
