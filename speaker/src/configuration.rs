//! What a speaker says about its configuration: what cannot be read, and what cannot be in force together.

use std::collections::{BTreeMap, BTreeSet};

use landfall_model::{Invalid, ObjectName, Observation, Reason};
use landfall_verdict::{Fault, Mode, Objects, judge};

/// The objects that a speaker reads, and what is wrong with them.
pub(crate) struct Configuration {
    mode: Mode,
    objects: Objects,
    invalid: BTreeMap<ObjectName, Box<Invalid>>,
    /// What is wrong may have changed since it was judged.
    changed: bool,
    /// What was at fault then, so that each fault is logged once.
    faults: BTreeSet<String>,
}

impl Configuration {
    /// Nothing is known yet. The objects are in `namespace`.
    pub(crate) fn new(namespace: Box<str>, mode: Mode) -> Self {
        let objects = Objects { namespace, ..Objects::default() };
        Self { mode, objects, invalid: BTreeMap::new(), changed: true, faults: BTreeSet::new() }
    }

    /// Takes what the source says. Of an object that cannot be read the last good version stays.
    pub(crate) fn observe(&mut self, observation: &Observation) {
        self.changed |= self.objects.observe(observation);
        if let Observation::Invalid(object, invalid) = observation {
            match invalid {
                Some(invalid) => drop(self.invalid.insert(object.clone(), invalid.clone())),
                None => drop(self.invalid.remove(object)),
            }
            self.changed = true;
        }
    }

    /// All faults, a sentence each, if they may have changed since the last time. New ones are logged.
    pub(crate) fn judge(&mut self) -> Option<BTreeSet<String>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let unreadable = self.invalid.iter().map(|(object, invalid)| Fault::unreadable(object, invalid));
        let clashes = judge(&self.objects, self.mode);
        // Which of two pools that overlap is in force is up to the controller, who knows which one is in use.
        let clashes = clashes.into_iter().filter(|fault| fault.reason != Reason::Overlap);
        let mut told = BTreeSet::new();
        for fault in unreadable.chain(clashes) {
            let text = fault.to_string();
            if !self.faults.contains(&text) {
                let Fault { object, field, reason, message, transient } = fault;
                tracing::warn!(op = "judge", %reason, %object, %field, transient, "{message}");
            }
            told.insert(text);
        }
        self.faults.clone_from(&told);
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use landfall_model::{BgpObject, BgpPeer, PeerEndpoint, Pool, RemoteAs};

    use super::*;

    fn peer(name: &str, host: u8, my_asn: u32) -> Observation {
        let endpoint = PeerEndpoint::Address([192, 0, 2, host].into());
        let peer = BgpPeer::new(name, my_asn, RemoteAs::Number(64513), endpoint);
        Observation::Bgp(BgpObject::Peer(name.into(), Some(Box::new(peer))))
    }

    fn pool(name: &str) -> Observation {
        let pool = Pool {
            name: name.into(),
            labels: BTreeMap::new(),
            ranges: vec!["192.0.2.0/28".parse().unwrap()],
            auto_assign: true,
            avoid_buggy_ips: false,
            allocation: None,
            rules: landfall_model::PoolRules::default(),
        };
        Observation::Pool(name.into(), Some(Box::new(pool)))
    }

    #[test]
    fn faults_are_told_when_they_may_have_changed() {
        let mut configuration = Configuration::new("lb".into(), Mode::FrrK8s);
        let mut told = |observations: &[Observation]| -> Option<Vec<String>> {
            observations.iter().for_each(|one| configuration.observe(one));
            configuration.judge().map(|faults| faults.into_iter().collect())
        };
        assert_eq!(told(&[]), Some(vec![]), "that nothing is wrong is told once");
        assert_eq!(told(&[Observation::Synced]), None);
        assert_eq!(told(&[pool("a"), pool("b")]), Some(vec![]), "the controller tells which one is refused");
        assert_eq!(told(&[pool("a")]), None);

        let clash = told(&[peer("a", 1, 64500), peer("b", 2, 64501)]).unwrap();
        assert!(matches!(&clash[..], [one] if one.starts_with("BGPPeer lb/b: spec.myASN: ")), "{clash:?}");

        let object = ObjectName { kind: "BGPPeer", namespace: "lb".into(), name: "c".into() };
        let invalid =
            Invalid { field: "spec.myASN".into(), reason: Reason::InvalidValue, message: "is 0".into() };
        let both = told(&[Observation::Invalid(object.clone(), Some(Box::new(invalid)))]).unwrap();
        assert_eq!(both, [&*clash[0], "BGPPeer lb/c: spec.myASN: is 0"]);
        let gone = Observation::Bgp(BgpObject::Peer("b".into(), None));
        assert_eq!(told(&[Observation::Invalid(object, None), gone]), Some(vec![]));
    }
}
