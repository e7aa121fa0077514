//! What is read of the cluster and asked of it.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use futures::{StreamExt as _, pin_mut};
use k8s_openapi::api::{
    core::v1::{Event, Node, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{ApiResource, DynamicObject, ListParams, TypeMeta},
    core::NamespaceResourceScope,
    runtime::watcher::{self, watcher},
};
use landfall_engine::speaker::MOVE_WAITS;
use landfall_kubernetes::{
    api::{IPAddressPool, L2Advertisement, ServiceL2Status},
    convert, moves,
    names::{label, label_value},
};
use landfall_model::{ServiceKey, ServiceView};
use serde::Serialize;
use serde_json::Value;

use super::target::Chosen;
use crate::{
    connection::{listed, patiently},
    plan::{self, Candidates, Question},
    status::{ignores_exclusion, is_ready},
};

/// The cluster, and where Landfall is in it.
pub(super) struct Cluster {
    pub(super) client: Client,
    pub(super) install_namespace: String,
}

impl Cluster {
    /// All Services of type LoadBalancer.
    pub(super) async fn services(&self) -> anyhow::Result<Vec<ServiceView>> {
        let services: Api<Service> = Api::all(self.client.clone());
        let all = ListParams::default();
        let services = patiently(|| services.list(&all)).await.context("cannot list Services")?;
        let views = services.iter().filter_map(|service| convert::service(service).ok());
        Ok(views.filter(|view| view.load_balancer).collect())
    }

    /// Which nodes may announce a Service, as far as that is known outside of the nodes.
    pub(super) async fn candidates(&self, chosen: &Chosen) -> anyhow::Result<Candidates> {
        let own = &self.install_namespace;
        let all = ListParams::default();
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), own);
        let nodes: Api<Node> = Api::all(self.client.clone());
        let component = ListParams::default().labels("component=speaker");
        let pods = listed(patiently(|| pods.list(&component)).await, "Pods", own)?;
        let nodes = patiently(|| nodes.list(&all)).await.context("cannot list Nodes")?;
        let mut objects = values(nodes.items)?;
        objects.extend(self.listed::<IPAddressPool>(own, &all, "IPAddressPools").await?);
        objects.extend(self.listed::<L2Advertisement>(own, &all, "L2Advertisements").await?);
        for key in &chosen.together {
            let services: Api<Service> = Api::namespaced(self.client.clone(), &key.namespace);
            let service =
                services.get_opt(&key.name).await.with_context(|| format!("cannot get Service {key}"))?;
            objects.extend(values(service)?);
            let slices = ListParams::default().labels(&format!("{}={}", label::SERVICE_NAME, key.name));
            objects.extend(self.listed::<EndpointSlice>(&key.namespace, &slices, "EndpointSlices").await?);
        }
        let ready = pods.iter().filter(|pod| is_ready(pod));
        let speakers = ready.filter_map(|pod| pod.spec.as_ref()?.node_name.as_deref()).map(Into::into);
        plan::candidates(Question {
            objects,
            service: &chosen.named,
            class: chosen.class.as_deref(),
            install_namespace: own,
            speakers: speakers.collect(),
            ignore_exclude_lb: pods.iter().any(ignores_exclusion),
        })
    }

    /// As they are: what may be left out, as the `spec` of an advertisement for all, is no fault.
    async fn listed<K>(
        &self,
        namespace: &str,
        parameters: &ListParams,
        kind: &str,
    ) -> anyhow::Result<Vec<Value>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let resource = ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let mut objects = listed(patiently(|| api.list(parameters)).await, kind, namespace)?.items;
        for object in &mut objects {
            // The items of a list do not say it.
            let (api_version, kind) = (resource.api_version.clone(), resource.kind.clone());
            object.types = Some(TypeMeta { api_version, kind });
        }
        values(objects)
    }

    /// The nodes that announce a Service.
    pub(super) async fn announcers(&self, service: &ServiceKey) -> anyhow::Result<BTreeSet<String>> {
        let api = self.reports();
        let selected = ListParams::default().labels(&of_service(service));
        let reports = patiently(|| api.list(&selected)).await;
        let reports = listed(reports, "ServiceL2Statuses", &self.install_namespace)?;
        Ok(reports.iter().map(node_of).collect())
    }

    /// Asks for another node, or takes the request back.
    pub(super) async fn prefer(&self, service: &ServiceKey, node: Option<&str>) -> anyhow::Result<()> {
        let written = moves::prefer(&self.client, service, node).await;
        written.with_context(|| format!("cannot annotate Service {service}, so nothing was asked for"))
    }

    /// Returns when the node announces the Service.
    pub(super) async fn until_announced(&self, service: &ServiceKey, node: &str) -> anyhow::Result<()> {
        let reports = watcher(self.reports(), watcher::Config::default().labels(&of_service(service)));
        pin_mut!(reports);
        while let Some(event) = reports.next().await {
            let event = event.with_context(|| {
                format!(
                    "the move was asked for, and ServiceL2Statuses in {} cannot be watched",
                    self.install_namespace
                )
            })?;
            let report = match event {
                watcher::Event::Apply(report) | watcher::Event::InitApply(report) => report,
                watcher::Event::Init | watcher::Event::InitDone | watcher::Event::Delete(_) => continue,
            };
            if node_of(&report) == node {
                return Ok(());
            }
        }
        bail!("the move was asked for, and the API server ended the watch of ServiceL2Statuses")
    }

    /// What the node that goes on says about a move that waits, if it did and if we may read it.
    pub(super) async fn why_waiting(&self, service: &ServiceKey) -> Option<String> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &service.namespace);
        let about = format!("involvedObject.name={},reason={MOVE_WAITS}", service.name);
        let events = api.list(&ListParams::default().fields(&about)).await.ok()?;
        let newest =
            events.items.into_iter().max_by_key(|event| event.metadata.creation_timestamp.clone())?;
        newest.message
    }

    fn reports(&self) -> Api<ServiceL2Status> {
        Api::namespaced(self.client.clone(), &self.install_namespace)
    }
}

fn values<T: Serialize>(objects: impl IntoIterator<Item = T>) -> anyhow::Result<Vec<Value>> {
    objects.into_iter().map(|object| serde_json::to_value(object).context("cannot write JSON")).collect()
}

fn of_service(service: &ServiceKey) -> String {
    let (name, namespace) = (label_value(&service.name), label_value(&service.namespace));
    format!("{}={name},{}={namespace}", label::STATUS_SERVICE, label::STATUS_NAMESPACE)
}

/// The status has the whole name, and comes a moment after the label.
fn node_of(report: &ServiceL2Status) -> String {
    let whole = report.status.as_ref().and_then(|status| status.node.clone());
    whole.or_else(|| report.labels().get(label::STATUS_NODE).cloned()).unwrap_or_default()
}
