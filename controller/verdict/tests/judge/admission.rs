use landfall_model::BgpPeer;
use landfall_verdict::{Mode, Objects, admit, removal};

use crate::objects::*;

/// What is refused and what is warned of when `before` becomes `after` by a change of this object.
fn said(before: &Objects, after: &Objects, changed: (&str, &str)) -> [Vec<String>; 2] {
    let admission = admit(before, after, changed, Mode::FrrK8s);
    [admission.refused, admission.warned].map(|faults| {
        let texts = faults.iter().map(|fault| {
            format!("{} {} {} {}", fault.object.kind, fault.object.name, fault.field, fault.reason)
        });
        texts.collect()
    })
}

fn with_pools(pools: &[(&str, &str)]) -> Objects {
    Objects { pools: pools.iter().map(|(name, range)| pool(name, &[range])).collect(), ..none() }
}

#[test]
fn a_change_may_break_nothing() {
    const WIDE: &str = "192.0.2.0/24";
    const NARROW: &str = "192.0.2.0/25";
    const OTHER: &str = "198.51.100.0/24";
    let broken = &[("b", WIDE), ("c", NARROW)][..];
    for (row, before, after, changed, refused) in [
        ("a good one", &[][..], &[("a", WIDE)][..], "a", &[][..]),
        ("the later of two", &[("a", WIDE)], &[("a", WIDE), ("b", NARROW)], "b", &["b"]),
        (
            "the earlier of two puts the other at fault",
            &[("b", WIDE)],
            &[("a", NARROW), ("b", WIDE)],
            "a",
            &["b"],
        ),
        ("a good one beside a broken one", broken, &[("a", OTHER), ("b", WIDE), ("c", NARROW)], "a", &[]),
        ("an edit that mends", broken, &[("b", WIDE), ("c", OTHER)], "c", &[]),
        ("an edit that does not", broken, &[("b", WIDE), ("c", "192.0.2.0/26")], "c", &["c"]),
        (
            "an edit of the one that is not at fault",
            broken,
            &[("b", "192.0.2.0/23"), ("c", NARROW)],
            "b",
            &[],
        ),
        (
            "an edit that mends one clash, and another one shows behind it",
            &[("a", "192.0.2.0/28"), ("b", WIDE), ("c", "192.0.2.240/28")],
            &[("a", OTHER), ("b", WIDE), ("c", "192.0.2.240/28")],
            "a",
            &[],
        ),
        (
            "the fault goes over to another",
            &[("b", WIDE), ("c", NARROW)],
            &[("a", WIDE), ("b", WIDE), ("c", NARROW)],
            "a",
            &["b"],
        ),
    ] {
        let [refusals, warnings] = said(&with_pools(before), &with_pools(after), ("IPAddressPool", changed));
        let expected: Vec<String> =
            refused.iter().map(|name| format!("IPAddressPool {name} spec.addresses[0] Overlap")).collect();
        assert_eq!((refusals, warnings), (expected, vec![]), "{row}");
    }
}

#[test]
fn a_pool_may_not_make_an_advertisement_impossible() {
    let advertised = |range: &str| Objects {
        bgp_advertisements: vec![landfall_model::BgpAdvertisement {
            aggregation_length: 26,
            ..advertisement("all")
        }],
        ..with_pools(&[("a", range)])
    };
    let [refused, _] = said(&advertised("192.0.2.0/26"), &advertised("192.0.2.0/28"), ("IPAddressPool", "a"));
    assert!(
        matches!(&refused[..], [one] if one.starts_with("BGPAdvertisement all spec.aggregationLength")),
        "{refused:?}"
    );
}

#[test]
fn what_is_missing_is_a_warning() {
    let one = BgpPeer { bfd_profile: Some("calm".into()), ..peer("tor", "192.0.2.1") };
    let waiting = Objects { peers: vec![one], ..none() };
    let [refused, warned] = said(&none(), &waiting, ("BGPPeer", "tor"));
    assert_eq!((refused, warned), (vec![], vec!["BGPPeer tor spec.bfdProfile UnknownReference".to_owned()]));

    let complete = Objects { bfd_profiles: vec![profile("calm", false)], ..waiting.clone() };
    assert_eq!(said(&waiting, &complete, ("BFDProfile", "calm")), [Vec::<String>::new(), vec![]]);
    let fault = removal(&complete, "calm").unwrap().to_string();
    assert_eq!(
        fault,
        "BFDProfile lb/calm: BGPPeer \"tor\" names it in spec.bfdProfile; take it out there first"
    );
    assert_eq!((removal(&complete, "other"), removal(&none(), "calm")), (None, None));
}
