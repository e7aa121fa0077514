//! Reads what the report needs: one list per kind, nothing else, with read-only rights.

use std::collections::BTreeMap;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use landfall_kubernetes::{
    api::{IPAddressPool, ServiceL2Status},
    names::{annotation, condition, label},
};

use super::report::{Component, Facts, Owner, Pool, ServiceFacts};

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
        async { pods.list(&components).await.with_context(|| format!("cannot list Pods in {own}")) },
        async { pools.list(&all).await.with_context(|| format!("cannot list IPAddressPools in {own}")) },
        async {
            statuses.list(&all).await.with_context(|| format!("cannot list ServiceL2Statuses in {own}"))
        },
        async { services.list(&all).await.context("cannot list Services") },
    )?;
    let mut owners: BTreeMap<(String, String), Vec<Owner>> = BTreeMap::new();
    for status in statuses {
        let labels = status.labels();
        let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
        let service = (label(label::STATUS_NAMESPACE), label(label::STATUS_SERVICE));
        let link = status.annotations().get(annotation::ANNOUNCED_ON).cloned();
        owners.entry(service).or_default().push(Owner { node: label(label::STATUS_NODE), link });
    }
    Ok(Facts {
        components: pods.into_iter().map(component).collect(),
        pools: pools.into_iter().map(pool).collect(),
        services: services.into_iter().filter_map(service).collect(),
        owners,
    })
}

fn component(pod: Pod) -> Component {
    let component = pod.labels().get("component").cloned().unwrap_or_default();
    let name = pod.name_any();
    let spec = pod.spec.unwrap_or_default();
    let conditions = pod.status.and_then(|status| status.conditions).unwrap_or_default();
    let image = spec.containers.first().and_then(|container| container.image.clone()).unwrap_or_default();
    Component {
        component,
        pod: name,
        node: spec.node_name.unwrap_or_default(),
        version: version(&image).to_owned(),
        ready: conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True"),
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
    let spec = service.spec.filter(|spec| spec.type_.as_deref() == Some("LoadBalancer"))?;
    let status = service.status.unwrap_or_default();
    let ingress = status.load_balancer.and_then(|balancer| balancer.ingress).unwrap_or_default();
    let allocated =
        status.conditions.unwrap_or_default().into_iter().find(|c| c.type_ == condition::ALLOCATED);
    Some(ServiceFacts {
        namespace,
        name,
        class: spec.load_balancer_class,
        addresses: ingress.into_iter().filter_map(|entry| entry.ip.or(entry.hostname)).collect(),
        pool,
        allocated: allocated.map(|c| (c.status == "True", c.reason, c.message)),
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
}
