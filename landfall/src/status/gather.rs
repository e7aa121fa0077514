//! Reads what the report needs: one list per kind, nothing else, with read-only rights.

use std::collections::BTreeMap;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::{Container, Pod, Service};
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use landfall_kubernetes::{
    api::{IPAddressPool, ServiceL2Status},
    convert,
    names::{annotation, label},
};
use landfall_model::{Classes, Invalid};
use landfall_pool::Allocator;

use super::report::{Component, Facts, Handled, Owner, Pool, ServiceFacts};
use crate::connection::{listed, patiently};

/// Where to look.
pub(super) struct Scope {
    /// Landfall's own namespace.
    pub(super) install_namespace: String,
    /// The namespace of the Services, or all.
    pub(super) services: Option<String>,
}

/// Reads everything once.
pub(super) async fn facts(client: &Client, scope: &Scope) -> anyhow::Result<Facts> {
    let own = &scope.install_namespace;
    let pods: Api<Pod> = Api::namespaced(client.clone(), own);
    let pools: Api<IPAddressPool> = Api::namespaced(client.clone(), own);
    let statuses: Api<ServiceL2Status> = Api::namespaced(client.clone(), own);
    let services: Api<Service> = match &scope.services {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let all = ListParams::default();
    let components = ListParams::default().labels("component in (controller, speaker)");
    let (pods, pools, statuses, services) = tokio::try_join!(
        async { listed(patiently(|| pods.list(&components)).await, "Pods", own) },
        async { listed(patiently(|| pools.list(&all)).await, "IPAddressPools", own) },
        async { listed(patiently(|| statuses.list(&all)).await, "ServiceL2Statuses", own) },
        async { patiently(|| services.list(&all)).await.context("cannot list Services") },
    )?;
    let mut owners: BTreeMap<(String, String), Vec<Owner>> = BTreeMap::new();
    for status in statuses {
        let labels = status.labels();
        let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
        let service = (label(label::STATUS_NAMESPACE), label(label::STATUS_SERVICE));
        let link = status.annotations().get(annotation::ANNOUNCED_ON).cloned();
        let verification = convert::announcement(&status).and_then(|announcement| announcement.verification);
        owners.entry(service).or_default().push(Owner {
            node: label(label::STATUS_NODE),
            link,
            verification,
        });
    }
    Ok(Facts {
        handled: pods.items.iter().find_map(handled).unwrap_or_default(),
        components: pods.into_iter().map(component).collect(),
        pool_faults: pool_faults(&pools.items),
        pools: pools.into_iter().map(pool).collect(),
        services: services.into_iter().filter_map(service).collect(),
        owners,
    })
}

/// Why pools are not in force: they cannot be read, or overlap another. Found by the controller's own code, which lets
/// those that are in use go first.
fn pool_faults(pools: &[IPAddressPool]) -> Vec<String> {
    let used = |pool: &IPAddressPool| {
        pool.status.is_some_and(|status| status.assigned_ipv4 > 0 || status.assigned_ipv6 > 0)
    };
    let mut ordered: Vec<&IPAddressPool> = pools.iter().collect();
    ordered.sort_by_key(|pool| (!used(pool), pool.name_any()));
    let mut faults = Vec::new();
    let mut allocator = Allocator::default();
    for pool in ordered {
        match convert::pool(pool) {
            Ok(pool) => drop(allocator.set_pool(pool)),
            Err(invalid) => {
                let (name, Invalid { field, message, reason: _ }) = (pool.name_any(), invalid);
                faults.push(format!("IPAddressPool {name} is not in force: {field}: {message}"));
            }
        }
    }
    let refused = allocator.refused();
    faults.extend(
        refused.map(|(name, refused)| format!("IPAddressPool {name} is not in force: {}", refused.message)),
    );
    faults.sort();
    faults
}

/// Which Services this install handles: what its controllers are told by a flag or, without one, the environment.
/// `None` of a Pod that is no controller.
fn handled(pod: &Pod) -> Option<Handled> {
    let is_controller = pod.labels().get("component").is_some_and(|component| component == "controller");
    let container = pod.spec.as_ref().filter(|_| is_controller)?.containers.first()?;
    let Ok(names) = told(container, "--lb-class", "LANDFALL_LB_CLASS") else { return Some(Handled::Unknown) };
    let Ok(unclassed) = told(container, "--handle-unclassed", "LANDFALL_HANDLE_UNCLASSED") else {
        return Some(Handled::Unknown);
    };
    let Ok(unclassed) = unclassed.last().map(|text| text.parse()).transpose() else {
        return Some(Handled::Unknown);
    };
    let classes = Classes::new(names.iter().flat_map(|names| names.split(',')), unclassed);
    Some(classes.map_or(Handled::Unknown, Handled::Services))
}

/// Whether a speaker's Pod lets its node announce although the node carries the exclude label.
pub(crate) fn ignores_exclusion(pod: &Pod) -> bool {
    let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    let told =
        container.map(|container| told(container, "--ignore-exclude-lb", "LANDFALL_IGNORE_EXCLUDE_LB"));
    told.is_some_and(|values| values.is_ok_and(|values| values.last().is_some_and(|value| value == "true")))
}

/// Whether a Pod is Ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The values that a container is told by a flag, which may stand without one, or else in the environment.
///
/// # Errors
/// When the environment refers to another object, which is not ours to read.
fn told(container: &Container, flag: &str, variable: &str) -> Result<Vec<String>, ()> {
    let mut values = Vec::new();
    let mut arguments = container.args.iter().chain(&container.command).flatten().peekable();
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix(flag) {
            Some("") => {
                let value = arguments.next_if(|next| !next.starts_with('-'));
                values.push(value.map_or_else(|| "true".to_owned(), Clone::clone));
            }
            Some(rest) => values.extend(rest.strip_prefix('=').map(str::to_owned)),
            None => {}
        }
    }
    if values.is_empty()
        && let Some(variable) = container.env.iter().flatten().find(|one| one.name == variable)
    {
        if variable.value_from.is_some() {
            return Err(());
        }
        values.extend(variable.value.clone());
    }
    Ok(values)
}

fn component(pod: Pod) -> Component {
    let component = pod.labels().get("component").cloned().unwrap_or_default();
    let (name, ready) = (pod.name_any(), is_ready(&pod));
    let spec = pod.spec.unwrap_or_default();
    let image = spec.containers.first().and_then(|container| container.image.clone()).unwrap_or_default();
    Component {
        component,
        pod: name,
        node: spec.node_name.unwrap_or_default(),
        version: version(&image).to_owned(),
        ready,
    }
}

/// The tag or digest of an image reference; the whole of one that has neither.
fn version(image: &str) -> &str {
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split_once('@').or_else(|| name.split_once(':')).map_or(name, |(_, version)| version)
}

fn pool(pool: IPAddressPool) -> Pool {
    let status = pool.status.unwrap_or_default();
    let used = status.assigned_ipv4.saturating_add(status.assigned_ipv6);
    let free = status.available_ipv4.saturating_add(status.available_ipv6);
    Pool { name: pool.name_any(), size: used.saturating_add(free), used, free }
}

fn service(service: Service) -> Option<ServiceFacts> {
    let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
    let pool = service.annotations().get(annotation::ALLOCATED_FROM).cloned();
    let preferred_node = service.annotations().get(annotation::PREFERRED_NODE).cloned();
    let spec = service.spec.filter(|spec| spec.type_.as_deref() == Some("LoadBalancer"))?;
    let status = service.status.unwrap_or_default();
    let ingress = status.load_balancer.and_then(|balancer| balancer.ingress).unwrap_or_default();
    let condition = |kind: &str| {
        let found = status.conditions.iter().flatten().find(|condition| condition.type_ == kind);
        found.cloned().map(|c| (c.status == "True", c.reason, c.message))
    };
    Some(ServiceFacts {
        namespace,
        name,
        class: spec.load_balancer_class,
        addresses: ingress.into_iter().filter_map(|entry| entry.ip.or(entry.hostname)).collect(),
        pool,
        preferred_node: preferred_node.filter(|node| !node.is_empty()),
        allocated: condition(landfall_plan::condition::ALLOCATED),
        provisioned: condition(landfall_aws_plan::CONDITION),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_tag_or_digest() {
        for (image, expected) in [
            ("ghcr.io/landfall/landfall:v0.1.0", "v0.1.0"),
            ("registry:5000/landfall", "landfall"),
            ("landfall@sha256:abc", "sha256:abc"),
            ("landfall", "landfall"),
            ("", ""),
        ] {
            assert_eq!(version(image), expected, "{image}");
        }
    }

    #[test]
    fn the_class_is_what_the_controller_is_told() {
        let class = |component: &str, container: serde_json::Value| {
            handled(
                &serde_json::from_value(serde_json::json!({
                    "metadata": { "name": "one", "labels": { "component": component } },
                    "spec": { "containers": [container] },
                }))
                .unwrap(),
            )
        };
        let env = |value: &str| serde_json::json!([{ "name": "LANDFALL_LB_CLASS", "value": value }]);
        let of = |class: &str| Some(Handled::Services(Classes::only(class)));
        let both = |names: &[&str], unclassed| {
            Some(Handled::Services(Classes::new(names.iter().copied(), unclassed).unwrap()))
        };
        let none = Some(Handled::Services(Classes::default()));
        for (container, expected) in [
            (serde_json::json!({ "name": "c", "args": ["controller"] }), none.clone()),
            (serde_json::json!({ "name": "c", "args": ["controller", "--lb-class=x"] }), of("x")),
            (serde_json::json!({ "name": "c", "args": ["controller", "--lb-class", "x"] }), of("x")),
            (
                serde_json::json!({ "name": "c", "command": ["landfall", "controller", "--lb-class=x"] }),
                of("x"),
            ),
            (
                serde_json::json!({ "name": "c", "args": ["--lb-class=x,y", "--lb-class", "z"] }),
                both(&["x", "y", "z"], None),
            ),
            (
                serde_json::json!({ "name": "c", "args": ["--handle-unclassed", "--lb-class=x"] }),
                both(&["x"], Some(true)),
            ),
            (
                serde_json::json!({ "name": "c", "args": ["--handle-unclassed=perhaps"] }),
                Some(Handled::Unknown),
            ),
            (
                serde_json::json!({ "name": "c", "args": ["--handle-unclassed=false"] }),
                Some(Handled::Unknown),
            ),
            (serde_json::json!({ "name": "c", "env": env("y") }), of("y")),
            (serde_json::json!({ "name": "c", "env": env("") }), none.clone()),
            (serde_json::json!({ "name": "c", "args": ["--lb-class=x"], "env": env("y") }), of("x")),
            (serde_json::json!({ "name": "c", "args": ["--lb-class="], "env": env("y") }), none),
            (
                serde_json::json!({ "name": "c", "env": [{ "name": "LANDFALL_LB_CLASS",
                    "valueFrom": { "configMapKeyRef": { "name": "a", "key": "b" } } }] }),
                Some(Handled::Unknown),
            ),
        ] {
            assert_eq!(class("controller", container.clone()), expected, "{container}");
            assert_eq!(class("speaker", container), None);
        }
    }

    #[test]
    fn pools_that_are_not_in_force_are_told_with_the_reason() {
        let pool = |name: &str, addresses: &str, used: i64| -> IPAddressPool {
            serde_json::from_value(serde_json::json!({
                "apiVersion": "metallb.io/v1beta1",
                "kind": "IPAddressPool",
                "metadata": { "name": name },
                "spec": { "addresses": [addresses] },
                "status": { "assignedIPv4": used, "assignedIPv6": 0, "availableIPv4": 0, "availableIPv6": 0 },
            }))
            .unwrap()
        };
        let faults = pool_faults(&[
            pool("a-new", "192.0.2.0/24", 0),
            pool("b-used", "192.0.2.128/25", 3),
            pool("c-bad", "192.0.2.7", 0),
            pool("d-fine", "198.51.100.0/24", 0),
        ]);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(
            faults[0].starts_with("IPAddressPool a-new is not in force") && faults[0].contains("b-used"),
            "{faults:?}"
        );
        assert!(
            faults[1].starts_with("IPAddressPool c-bad is not in force: spec.addresses[0]"),
            "{faults:?}"
        );
    }
}
