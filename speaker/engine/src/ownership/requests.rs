use std::collections::BTreeMap;

use landfall_model::ServiceKey;

use crate::cluster::{Appraisal, Preference};

/// Moves that people asked for and that were not made yet: the Service that names the node, and the node.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests(BTreeMap<ServiceKey, Box<str>>);

impl Requests {
    pub(super) fn set(&mut self, service: ServiceKey, node: Option<Box<str>>) {
        match node {
            Some(node) => self.0.insert(service, node),
            None => self.0.remove(&service),
        };
    }

    /// The one that counts for a group. What another of its Services asks for waits.
    pub(super) fn of<'a>(&self, appraisal: &Appraisal<'a>) -> Option<Preference<'a>> {
        let preference = appraisal.preference()?;
        let asked = self.0.get(preference.service)?;
        (**asked == *preference.node).then_some(preference)
    }

    /// Whether the group is where it was asked to be, so that nothing is asked for any more.
    pub(super) fn fulfil(&mut self, request: Preference<'_>, holder: Option<&str>) -> bool {
        let done = holder == Some(request.node);
        if done {
            self.0.remove(request.service);
        }
        done
    }
}
