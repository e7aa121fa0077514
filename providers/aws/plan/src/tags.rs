//! Tags that say whose an object is: the same as the AWS Load Balancer Controller's, so that either can take over, and three of
//! our own. Ownership is the tags, never the name.

use landfall_model::ServiceKey;

use crate::{Map, Service, Settings};

/// The cluster's name.
pub const CLUSTER: &str = "elbv2.k8s.aws/cluster";
/// An older spelling of [`CLUSTER`], accepted and never written.
pub const LEGACY_CLUSTER: &str = "ingress.k8s.aws/cluster";
/// `namespace/name` of the Service.
pub const STACK: &str = "service.k8s.aws/stack";
/// Which object of the stack it is.
pub const RESOURCE: &str = "service.k8s.aws/resource";
/// Marks the shared back-end group, with the value [`BACKEND`].
pub const SHARED_RESOURCE: &str = "elbv2.k8s.aws/resource";
/// The value of [`SHARED_RESOURCE`].
pub const BACKEND: &str = "backend-sg";
/// UID of the Service: tells a recreated Service from the one before. Ours.
pub const UID: &str = "landfall.dev/service-uid";
/// On the load balancer: the hash of all that was asked for, written when all of it is in place. Ours.
pub const FINGERPRINT: &str = "landfall.dev/fingerprint";
/// The value of [`FINGERPRINT`] while a change is under way: written before its first call.
pub const CHANGING: &str = "changing";
/// On a target group in which other clusters register targets too, with the value `true`: it stays for as long as theirs are in
/// it. Ours.
pub const SHARED: &str = "landfall.dev/shared";

/// Whether other clusters may have targets in the target group with these tags.
#[must_use]
pub fn is_shared(tags: &Map) -> bool {
    tags.get(SHARED).is_some_and(|value| value == "true")
}

/// Whether tags name `cluster`, in either spelling.
#[must_use]
pub fn of_cluster(tags: &Map, cluster: &str) -> bool {
    [CLUSTER, LEGACY_CLUSTER].iter().any(|key| tags.get(*key).is_some_and(|value| value == cluster))
}

/// Whether an object with these tags belongs to the Service: cluster and stack are its own.
#[must_use]
pub fn owned(tags: &Map, cluster: &str, key: &ServiceKey) -> bool {
    of_cluster(tags, cluster) && tags.get(STACK).is_some_and(|stack| *stack == key.to_string())
}

/// All tags of one object of a Service's stack. Ownership wins over `--default-tags`, and those over the annotation unless
/// the gate `EnableDefaultTagsLowPriority` says otherwise.
pub(crate) fn wanted(settings: &Settings, service: &Service, extra: &Map, resource: &str) -> Map {
    let (low, high) = if settings.default_tags_low_priority {
        (&settings.default_tags, extra)
    } else {
        (extra, &settings.default_tags)
    };
    let mut tags = low.clone();
    tags.extend(high.clone());
    tags.insert(CLUSTER.to_owned(), settings.cluster.clone());
    tags.insert(STACK.to_owned(), service.key.to_string());
    tags.insert(RESOURCE.to_owned(), resource.to_owned());
    tags.insert(UID.to_owned(), service.uid.to_string());
    tags
}

/// What to add and which keys to remove so that `have` becomes `want`. The cluster tag is never rewritten (the published
/// policy forbids it); foreign managed keys, `aws:*` and the fingerprint are left alone.
pub(crate) fn difference(have: &Map, want: &Map, settings: &Settings) -> (Map, Vec<String>) {
    let add = want.iter().filter(|(key, value)| have.get(*key) != Some(value) && !fixed(key, have));
    let kept = |key: &String| {
        want.contains_key(key)
            || settings.external_managed_tags.contains(key)
            || key.starts_with("aws:")
            || [LEGACY_CLUSTER, CLUSTER, FINGERPRINT].contains(&key.as_str())
    };
    let remove = have.keys().filter(|key| !kept(key)).cloned();
    (add.map(|(key, value)| (key.clone(), value.clone())).collect(), remove.collect())
}

fn fixed(key: &str, have: &Map) -> bool {
    key == CLUSTER && (have.contains_key(CLUSTER) || have.contains_key(LEGACY_CLUSTER))
}
