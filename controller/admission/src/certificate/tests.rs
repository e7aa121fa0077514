use landfall_probes::tls::Identity;

use super::*;

const NOW: i64 = 1_800_000_000;

fn names() -> Vec<String> {
    ["landfall-webhook.lb.svc", "metallb-webhook-service.lb.svc"].map(str::to_owned).to_vec()
}

fn made(now: i64) -> Bundle {
    Bundle::default().make(Step::Everything, &names(), now).unwrap()
}

/// The step at a time, carried out.
fn stepped(bundle: &Bundle, now: i64) -> (Step, Bundle) {
    let step = bundle.step(&names(), now);
    (
        step,
        if let Step::Nothing { .. } = step {
            bundle.clone()
        } else {
            bundle.make(step, &names(), now).unwrap()
        },
    )
}

#[test]
fn what_is_made_can_be_served_and_lasts() {
    let bundle = made(NOW);
    Identity::default().set(bundle.certificate.as_bytes(), bundle.key.as_bytes()).unwrap();
    let until = NOW + CERTIFICATE - REPLACED;
    for now in [NOW, NOW + HOUR, until - 1] {
        assert_eq!(bundle.step(&names(), now), Step::Nothing { until });
    }
    assert_eq!(bundle.step(&names(), until), Step::Certificate);
    let stored: BTreeMap<&str, &str> = bundle.entries();
    let read = Bundle::read(|key| stored.get(key).map(|text| text.as_bytes().to_vec()));
    assert!(read.as_ref() == Some(&bundle));
    assert!(Bundle::read(|key| (key != key::CERTIFICATE).then(Vec::new)).is_none());
}

#[test]
fn what_cannot_be_used_is_made_anew() {
    let bundle = made(NOW);
    let other = made(NOW - 1);
    let more = [names(), vec!["other.lb.svc".to_owned()]].concat();
    assert_eq!(bundle.step(&more, NOW), Step::Certificate, "a name is missing");
    let changed = |change: fn(&mut Bundle, Bundle)| {
        let mut changed = bundle.clone();
        change(&mut changed, other.clone());
        changed
    };
    for (row, stored, step) in [
        ("nothing", Bundle::default(), Step::Everything),
        ("no text", changed(|one, _| one.authorities = "?".into()), Step::Everything),
        ("no authority's key", changed(|one, _| one.authority_key = "?".into()), Step::Everything),
        ("no certificate", changed(|one, _| one.certificate.clear()), Step::Everything),
        ("no key", changed(|one, _| one.key = "?".into()), Step::Certificate),
        (
            "of another authority",
            changed(|one, other| one.certificate = other.certificate),
            Step::Certificate,
        ),
    ] {
        assert_eq!(stored.step(&names(), NOW), step, "{row}");
    }
    assert_eq!(bundle.step(&names(), NOW + CERTIFICATE), Step::Certificate, "it ended");
    assert_eq!(bundle.step(&names(), NOW + AUTHORITY), Step::Everything, "the authority ended");
}

#[test]
fn a_new_authority_is_known_before_it_vouches() {
    let mut bundle = made(NOW);
    let mut now = NOW;
    let mut steps = Vec::new();
    // Twenty years, from one step to the next.
    while now < NOW + 2 * AUTHORITY {
        let trusted = bundle.authorities.clone();
        let (step, next) = stepped(&bundle, now);
        if let Step::Nothing { until } = step {
            assert!(until > now, "it gets on");
            now = until;
            continue;
        }
        if step == Step::Authority {
            assert!(next.certificate == bundle.certificate, "the old certificate goes on");
            assert!(
                next.authorities.contains(pieces(&trusted).next().unwrap()),
                "and its authority is still trusted"
            );
        }
        if step == Step::Certificate {
            assert!(next.authorities == trusted, "who vouches for it has been known");
        }
        assert_ne!(step, Step::Everything, "never without a warning");
        steps.push(step);
        bundle = next;
    }
    assert!(steps.iter().filter(|step| **step == Step::Authority).count() >= 2);
    assert!(pieces(&bundle.authorities).count() <= AUTHORITIES);
}
