//! From a snapshot to a report. Pure: it only puts the pure crates one behind the other.

use std::collections::BTreeSet;

use landfall_kubernetes::source::Snapshot;
use landfall_model::{Classes, CommunityName, NodeView, Reason};
use landfall_verdict::{Fault, Mode, Objects, judge};

use super::{
    announcements, assignment,
    report::{Config, ConfigError, Report},
};

/// What the user chose.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    pub(super) mode: Mode,
    /// The nodes with a speaker; `None`: all.
    pub(super) speakers: Option<BTreeSet<Box<str>>>,
    pub(super) ignore_exclude_lb: bool,
    pub(super) classes: Classes,
}

/// What would be, and whether a Service would lose an address that it has.
pub(super) fn plan(snapshot: Snapshot, options: &Options) -> (Report, bool) {
    let Snapshot { services, slices, namespaces, configuration, invalid } = snapshot;
    let faults = judge(&configuration, options.mode);
    let unreadable = invalid.iter().map(|(object, invalid)| Fault::unreadable(object, invalid));
    let mut errors: Vec<ConfigError> = unreadable.chain(faults.iter().cloned()).map(error).collect();
    let key = |error: &ConfigError| (error.kind.clone(), error.namespace.clone(), error.name.clone());
    errors.sort_by_key(key);
    let config = Config { valid: errors.iter().all(|error| error.transient), errors };

    let mut configuration = in_force(configuration, &faults);
    add_speakers(&mut configuration.nodes, options.speakers.iter().flatten());
    let assigned = assignment::assign(&services, namespaces, &configuration, &options.classes);
    let announced =
        announcements::Cluster { views: &assigned.views, slices: &slices, allocator: &assigned.allocator };
    let report = Report {
        config,
        services: assigned.services,
        layer2: announced.layer2(&configuration, options),
        bgp: announced.bgp(&configuration, options),
    };
    (report, assigned.lost)
}

fn error(fault: Fault) -> ConfigError {
    let Fault { object, field, reason, message, transient } = fault;
    ConfigError {
        kind: object.kind.to_owned(),
        namespace: object.namespace.into(),
        name: object.name.into(),
        field: field.into(),
        reason: reason.to_string(),
        message,
        transient,
    }
}

/// What is left without the objects that are at fault. A daemon that starts with this configuration has nothing better.
/// Of pools that overlap the allocator decides which one is in force, since it knows who uses them.
fn in_force(objects: Objects, faults: &[Fault]) -> Objects {
    let refused = faults.iter().filter(|fault| !fault.transient && fault.reason != Reason::Overlap);
    let mut objects = objects.without(refused);
    // A route without a mark may go where it should not, so an advertisement waits for its aliases.
    let known = objects.aliases();
    objects.bgp_advertisements.retain(|advertisement| {
        advertisement.communities.iter().all(|name| match name {
            CommunityName::Value(_) => true,
            CommunityName::Alias(alias) => known.contains_key(alias),
        })
    });
    objects
}

/// A speaker whose Node no manifest has runs on a Ready one without labels.
fn add_speakers<'a>(nodes: &mut Vec<NodeView>, speakers: impl Iterator<Item = &'a Box<str>>) {
    for name in speakers {
        if nodes.iter().all(|node| node.name != *name) {
            nodes.push(NodeView { name: name.clone(), ready: true, ..NodeView::default() });
        }
    }
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
}
