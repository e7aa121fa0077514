//! What is broken on the switch, as one nftables rule set. Pure: sets in, text out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// The faults of all ports. The rule set is written whole on each change, so there is nothing to get out of step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Frames from the first port to the second are lost.
    pub(crate) cuts: BTreeSet<(String, String)>,
    /// Of the frames through this port, in each direction, so many in a thousand are lost, at random.
    pub(crate) drops: BTreeMap<String, u32>,
}

impl Faults {
    /// Loses everything between two ports, both ways.
    pub(crate) fn cut_between(&mut self, one: &str, other: &str) {
        self.cut_from(one, other);
        self.cut_from(other, one);
    }

    /// Loses everything from one port to another, not the other way.
    pub(crate) fn cut_from(&mut self, from: &str, to: &str) {
        self.cuts.insert((from.to_owned(), to.to_owned()));
    }

    /// Ends a cut between two ports, both ways.
    pub(crate) fn join(&mut self, one: &str, other: &str) {
        self.cuts.retain(|(from, to)| !((from == one && to == other) || (from == other && to == one)));
    }

    /// Loses this share of the frames through a port; 0 ends it, more than 1000 counts as all.
    pub(crate) fn drop_share(&mut self, port: &str, per_mille: u32) {
        match per_mille {
            0 => self.drops.remove(port),
            some => self.drops.insert(port.to_owned(), some.min(1000)),
        };
    }

    /// Ends every fault that this port has a part in.
    pub(crate) fn heal(&mut self, port: &str) {
        self.cuts.retain(|(from, to)| from != port && to != port);
        self.drops.remove(port);
    }

    /// The rule set for `nft -f`, which replaces the one before in one transaction.
    pub(crate) fn rules(&self) -> String {
        let mut text = "table bridge faults\ndelete table bridge faults\n".to_owned();
        if self == &Self::default() {
            return text;
        }
        text.push_str("table bridge faults {\n  chain forward {\n    type filter hook forward priority 0; policy accept;\n");
        // Writing to a String cannot fail.
        for (from, to) in &self.cuts {
            let _ = writeln!(text, "    iifname \"{from}\" oifname \"{to}\" drop");
        }
        for (port, per_mille) in &self.drops {
            let _ = writeln!(text, "    iifname \"{port}\" numgen random mod 1000 < {per_mille} drop");
            let _ = writeln!(text, "    oifname \"{port}\" numgen random mod 1000 < {per_mille} drop");
        }
        text.push_str("  }\n}\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn healed_faults_leave_no_table() {
        let mut faults = Faults::default();
        faults.cut_between("n1", "n2");
        faults.cut_from("n1", "n3");
        faults.drop_share("n1", 300);
        assert!(faults.rules().contains("chain forward"));
        faults.heal("n1");
        assert_eq!(faults.rules(), "table bridge faults\ndelete table bridge faults\n");
    }

    #[test]
    fn a_cut_has_two_directions_and_a_join_ends_both() {
        let mut faults = Faults::default();
        faults.cut_between("n1", "n2");
        faults.cut_from("n1", "n3");
        let rules = faults.rules();
        for line in
            ["iifname \"n1\" oifname \"n2\" drop", "iifname \"n2\" oifname \"n1\" drop", "oifname \"n3\""]
        {
            assert!(rules.contains(line), "{line} is missing in {rules}");
        }
        assert!(!rules.contains("iifname \"n3\""), "one way only: {rules}");
        faults.join("n2", "n1");
        assert_eq!(faults.cuts.len(), 1);
    }

    #[test]
    fn a_share_is_lost_in_each_direction_and_zero_ends_it() {
        let mut faults = Faults::default();
        faults.drop_share("n1", 5000);
        let rules = faults.rules();
        assert!(rules.contains("iifname \"n1\" numgen random mod 1000 < 1000 drop"), "{rules}");
        assert!(rules.contains("oifname \"n1\" numgen random mod 1000 < 1000 drop"), "{rules}");
        faults.drop_share("n1", 0);
        assert_eq!(faults, Faults::default());
    }
}
