use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use proptest::{collection::vec, prelude::*};

use crate::membership::{
    Claim, Epoch,
    claims::{ClaimChanges, Ledger},
};

/// A small world, so that operations meet.
pub(super) fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0_u8..40).prop_map(|last| Ipv4Addr::new(192, 0, 2, last).into()),
        (0_u16..40).prop_map(|last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into()),
    ]
}

pub(super) fn claim() -> impl Strategy<Value = Claim> {
    (0_u64..4).prop_map(|epoch| Claim { epoch: Epoch(epoch) })
}

fn ledger(claims: &BTreeMap<IpAddr, Claim>) -> Ledger {
    let mut ledger = Ledger::default();
    for (address, claim) in claims {
        ledger.set(*address, Some(*claim));
    }
    ledger
}

fn apply(ledger: &mut Ledger, changes: ClaimChanges) {
    for (address, claim) in changes {
        assert!(ledger.set(address, claim), "a difference names only what differs: {address}");
    }
}

proptest! {
    #[test]
    fn the_digest_depends_on_the_claims_and_not_on_their_history(
        operations in vec((address(), proptest::option::of(claim())), 0..80),
    ) {
        let mut kept = Ledger::default();
        let mut model = BTreeMap::new();
        for (address, claim) in operations {
            let before = model.get(&address).copied();
            prop_assert_eq!(kept.set(address, claim), before != claim);
            match claim {
                Some(claim) => model.insert(address, claim),
                None => model.remove(&address),
            };
        }
        prop_assert_eq!(kept.claims(), &model);
        prop_assert_eq!(kept.digest(), ledger(&model).digest());
    }

    #[test]
    fn a_difference_leads_to_its_target(
        from in proptest::collection::btree_map(address(), claim(), 0..40),
        to in proptest::collection::btree_map(address(), claim(), 0..40),
    ) {
        let mut ledger = ledger(&from);
        let difference = ledger.difference(&to);
        apply(&mut ledger, difference);
        prop_assert_eq!(ledger.claims(), &to);
        prop_assert_eq!(from == to, ledger.difference(&from).is_empty());
    }

    #[test]
    fn ranges_of_any_length_lead_to_the_claims_they_were_cut_from(
        from in proptest::collection::btree_map(address(), claim(), 0..40),
        to in proptest::collection::btree_map(address(), claim(), 0..40),
        step in 1_usize..9,
    ) {
        let (mut copy, source) = (ledger(&from), ledger(&to));
        let mut after = None;
        loop {
            let entries: Vec<_> = source.after(after).take(step).collect();
            let upto = entries.last().filter(|_| entries.len() == step).map(|(address, _)| *address);
            let changes = copy.range_changes(after, upto, &entries);
            apply(&mut copy, changes);
            after = upto;
            if upto.is_none() {
                break;
            }
        }
        prop_assert_eq!(copy.claims(), &to);
        prop_assert_eq!(copy.digest(), source.digest());
    }

    #[test]
    fn a_range_that_makes_no_sense_harms_nobody(
        claims in proptest::collection::btree_map(address(), claim(), 0..40),
        after in proptest::option::of(address()),
        upto in proptest::option::of(address()),
    ) {
        // Backward ranges must not panic in the map's range query.
        let changes = ledger(&claims).range_changes(after, upto, &[]);
        prop_assert!(changes.values().all(Option::is_none));
    }
}
