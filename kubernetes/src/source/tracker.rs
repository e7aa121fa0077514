use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    marker::PhantomData,
};

use landfall_model::{Invalid, ObjectName, Observation, ServiceKey};

use super::{kind::Kind, seen::Outcome};

/// Remembers of every object what was said about it, as a fingerprint, and turns events and lists into the
/// observations that say something new. Pure.
pub(super) struct Tracker<K> {
    known: BTreeMap<ServiceKey, Known>,
    /// Number of the list that is going on or was the last.
    list: u64,
    kind: PhantomData<K>,
}

#[derive(Default)]
struct Known {
    /// Fingerprint of the value that is in force.
    value: Option<u64>,
    /// Fingerprint of the reason why the newest version is not in force.
    invalid: Option<u64>,
    /// The list that had it last.
    list: u64,
}

impl<K: Kind> Tracker<K> {
    pub(super) const fn new() -> Self {
        Self { known: BTreeMap::new(), list: 0, kind: PhantomData }
    }

    /// A list begins: what it does not hold by its end is gone.
    pub(super) const fn begin(&mut self) {
        self.list += 1;
    }

    /// An object was listed, added or changed.
    pub(super) fn apply(&mut self, key: ServiceKey, outcome: Outcome<K::Model>) -> Vec<Observation> {
        let mut said = Vec::new();
        match outcome {
            Ok(Some(model)) => {
                if !self.known.contains_key(&key) && !K::relevant(&model) {
                    return said;
                }
                let known = self.known.entry(key.clone()).or_default();
                known.list = self.list;
                let mended = known.invalid.take().is_some();
                let fingerprint = fingerprint(&model);
                if known.value.replace(fingerprint) != Some(fingerprint) {
                    said.push(K::observation(&key, Some(model)));
                }
                // Last, so that nobody sees an object that is neither in force nor invalid.
                if mended {
                    said.push(Observation::Invalid(object_name::<K>(&key), None));
                }
            }
            Ok(None) => said = self.delete(&key),
            Err(invalid) => {
                let known = self.known.entry(key.clone()).or_default();
                known.list = self.list;
                let fingerprint = fingerprint(&invalid);
                if known.invalid.replace(fingerprint) != Some(fingerprint) {
                    said.push(invalid_observation::<K>(&key, invalid));
                }
            }
        }
        said
    }

    /// An object is gone.
    pub(super) fn delete(&mut self, key: &ServiceKey) -> Vec<Observation> {
        self.known.remove(key).map_or_else(Vec::new, |known| gone::<K>(key, &known))
    }

    /// The list is complete.
    pub(super) fn finish(&mut self) -> Vec<Observation> {
        let list = self.list;
        let gone_keys: Vec<ServiceKey> =
            self.known.iter().filter(|(_, known)| known.list != list).map(|(key, _)| key.clone()).collect();
        gone_keys.iter().flat_map(|key| self.delete(key)).collect()
    }
}

fn gone<K: Kind>(key: &ServiceKey, known: &Known) -> Vec<Observation> {
    let invalid = known.invalid.map(|_| Observation::Invalid(object_name::<K>(key), None));
    let value = known.value.map(|_| K::observation(key, None));
    invalid.into_iter().chain(value).collect()
}

fn invalid_observation<K: Kind>(key: &ServiceKey, invalid: Invalid) -> Observation {
    Observation::Invalid(object_name::<K>(key), Some(Box::new(invalid)))
}

fn object_name<K: Kind>(key: &ServiceKey) -> ObjectName {
    ObjectName { kind: K::KIND, namespace: key.namespace.clone(), name: key.name.clone() }
}

/// 64 bits that change with the value. That two successive versions of one object meet by chance is less likely
/// than a broken memory cell.
fn fingerprint(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
