//! Takes back what Landfall wrote to a cluster and what would outlive its installation: addresses, conditions and the
//! annotation on Services; its Lease, its Secrets and its reports, which outlive it in a namespace that others share; and
//! what the API server was told of its webhooks.
//!
//! Ours is what the field managers of [`crate::names::manager`] own; nothing else is touched. Two of these names are also
//! MetalLB's: a MetalLB in the same namespace writes the same reports on the configuration, and writes them anew.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        admissionregistration::v1::{
            MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
        },
        coordination::v1::Lease,
        core::v1::{Secret, Service},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use landfall_model::{Classes, ServiceKey};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use crate::{
    api::{ConfigurationState, ServiceL2Status},
    names::{lease, manager},
    write::WriteError,
};

/// Objects per page of a list.
const PAGE: u32 = 500;

/// Which installation is to leave nothing behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    /// Its namespace.
    pub namespace: String,
    /// The Services that it handles.
    pub classes: Classes,
    /// The names of the Secrets that its controller makes.
    pub secrets: Vec<String>,
}

/// What is there of an installation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Services with fields of ours.
    pub services: Vec<ServiceKey>,
    /// Whole objects that are ours.
    pub objects: Vec<Object>,
}

/// An object that is ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// The controllers' Lease.
    Lease(String),
    /// A Secret that the controller made.
    Secret(String),
    /// A report of a speaker about a Service.
    Report(String),
    /// A report of a controller or a speaker about the configuration.
    State(String),
    /// What the API server was told of the webhooks; it belongs to no namespace.
    Webhooks(String),
    /// What it was told of the webhook for new Pods.
    PodWebhook(String),
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lease(name) => write!(f, "Lease {name}"),
            Self::Secret(name) => write!(f, "Secret {name}"),
            Self::Report(name) => write!(f, "ServiceL2Status {name}"),
            Self::State(name) => write!(f, "ConfigurationState {name}"),
            Self::Webhooks(name) => write!(f, "ValidatingWebhookConfiguration {name}"),
            Self::PodWebhook(name) => write!(f, "MutatingWebhookConfiguration {name}"),
        }
    }
}

/// Why nothing can be taken back.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// What is taken back would be written again.
    #[error(
        "a controller still runs: {holder} holds the Lease {namespace}/{name}; remove the installation's Deployment first, and try again"
    )]
    Running {
        /// The holder of the Lease.
        holder: String,
        /// The namespace of the Lease.
        namespace: String,
        /// Its name.
        name: &'static str,
    },
    /// The API server does not do what was asked.
    #[error(transparent)]
    Api(#[from] WriteError),
}

impl From<kube::Error> for CleanupError {
    fn from(error: kube::Error) -> Self {
        Self::Api(error.into())
    }
}

/// Looks for what is left of `install`.
///
/// # Errors
/// When one of its controllers runs, or something cannot be read.
pub async fn find(client: &Client, install: &Install) -> Result<Found, CleanupError> {
    let namespace = &install.namespace;
    let mut found = Found::default();
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    if let Some(lease) = leases.get_opt(lease::NAME).await? {
        if let Some(holder) = holder(&lease, Timestamp::now()) {
            return Err(CleanupError::Running { holder, namespace: namespace.clone(), name: lease::NAME });
        }
        found.objects.push(Object::Lease(lease.name_any()));
    }
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    for name in &install.secrets {
        let secret = secrets.get_metadata_opt(name).await?;
        if secret.is_some_and(|secret| is_of(&secret.metadata, manager::CONTROLLER)) {
            found.objects.push(Object::Secret(name.clone()));
        }
    }
    each(&Api::<ValidatingWebhookConfiguration>::all(client.clone()), |configuration| {
        let clients = configuration.webhooks.iter().flatten().map(|webhook| &webhook.client_config);
        if leads_into(namespace, &configuration.metadata, clients) {
            found.objects.push(Object::Webhooks(configuration.name_any()));
        }
    })
    .await?;
    each(&Api::<MutatingWebhookConfiguration>::all(client.clone()), |configuration| {
        let clients = configuration.webhooks.iter().flatten().map(|webhook| &webhook.client_config);
        if leads_into(namespace, &configuration.metadata, clients) {
            found.objects.push(Object::PodWebhook(configuration.name_any()));
        }
    })
    .await?;
    each(&Api::<ServiceL2Status>::namespaced(client.clone(), namespace), |status| {
        if is_of(&status.metadata, manager::SPEAKER) {
            found.objects.push(Object::Report(status.name_any()));
        }
    })
    .await?;
    each(&Api::<ConfigurationState>::namespaced(client.clone(), namespace), |state| {
        if [manager::POOL_RECONCILER, manager::CONFIG_RECONCILER]
            .iter()
            .any(|name| is_of(&state.metadata, name))
        {
            found.objects.push(Object::State(state.name_any()));
        }
    })
    .await?;
    each(&Api::<Service>::all(client.clone()), |service| {
        let class = service.spec.as_ref().and_then(|spec| spec.load_balancer_class.as_deref());
        if is_of(&service.metadata, manager::CONTROLLER) && install.classes.handles(class) {
            let namespace = service.namespace().unwrap_or_default();
            found.services.push(ServiceKey::new(&namespace, &service.name_any()));
        }
    })
    .await?;
    Ok(found)
}

/// Takes everything back that was found. What is gone already is no error, so it can be repeated.
///
/// Returns the Services that have an address still, because somebody else wrote it too.
///
/// # Errors
/// When something cannot be written; what is left can be found again.
pub async fn remove(
    client: &Client,
    install: &Install,
    found: &Found,
) -> Result<Vec<ServiceKey>, CleanupError> {
    let mut kept = Vec::new();
    for key in &found.services {
        match release(client, key).await {
            Ok(true) => kept.push(key.clone()),
            Ok(false) | Err(WriteError::Gone { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    for object in &found.objects {
        match object {
            Object::Lease(name) => delete::<Lease>(&namespaced(client, install), name).await?,
            Object::Secret(name) => delete::<Secret>(&namespaced(client, install), name).await?,
            Object::Report(name) => delete::<ServiceL2Status>(&namespaced(client, install), name).await?,
            Object::State(name) => delete::<ConfigurationState>(&namespaced(client, install), name).await?,
            Object::Webhooks(name) => {
                delete::<ValidatingWebhookConfiguration>(&Api::all(client.clone()), name).await?;
            }
            Object::PodWebhook(name) => {
                delete::<MutatingWebhookConfiguration>(&Api::all(client.clone()), name).await?;
            }
        }
    }
    Ok(kept)
}

/// Gives up all fields of the controller: an apply without any. Says whether an address is left.
async fn release(client: &Client, key: &ServiceKey) -> Result<bool, WriteError> {
    let api: Api<Service> = Api::namespaced(client.clone(), &key.namespace);
    let nothing = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": key.name } });
    let parameters = PatchParams::apply(manager::CONTROLLER).force();
    let service = api.patch_status(&key.name, &parameters, &Patch::Apply(nothing)).await?;
    let status = service.status.and_then(|status| status.load_balancer);
    Ok(status.and_then(|status| status.ingress).is_some_and(|ingress| !ingress.is_empty()))
}

fn namespaced<K>(client: &Client, install: &Install) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), &install.namespace)
}

async fn delete<K: Clone + fmt::Debug + DeserializeOwned>(
    api: &Api<K>,
    name: &str,
) -> Result<(), WriteError> {
    match api.delete(name, &DeleteParams::default()).await.map_err(WriteError::from) {
        Ok(_) | Err(WriteError::Gone { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Calls `look` for every object, page by page. A kind that the API server does not know has none.
async fn each<K>(api: &Api<K>, mut look: impl FnMut(K)) -> Result<(), WriteError>
where
    K: Clone + fmt::Debug + for<'de> Deserialize<'de>,
{
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = match api.list(&page).await.map_err(WriteError::from) {
            Ok(list) => list,
            Err(WriteError::Gone { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        list.items.into_iter().for_each(&mut look);
        match list.metadata.continue_ {
            Some(next) if !next.is_empty() => page = page.continue_token(&next),
            Some(_) | None => return Ok(()),
        }
    }
}

fn is_of(metadata: &ObjectMeta, manager: &str) -> bool {
    let managers = metadata.managed_fields.iter().flatten();
    managers.filter_map(|fields| fields.manager.as_deref()).any(|name| name == manager)
}

/// Whether `manager` owns fields of it by an apply, and not only by a patch of somebody else's object.
fn applied_by(metadata: &ObjectMeta, manager: &str) -> bool {
    let managers = metadata.managed_fields.iter().flatten();
    managers
        .filter(|fields| fields.operation.as_deref() == Some("Apply"))
        .any(|fields| fields.manager.as_deref() == Some(manager))
}

/// Whether our controller made a configuration of webhooks that are served in this namespace. MetalLB's is MetalLB's, whoever
/// told the API server whom to trust.
fn leads_into<'a>(
    namespace: &str,
    metadata: &ObjectMeta,
    clients: impl Iterator<Item = &'a WebhookClientConfig>,
) -> bool {
    let mut services = clients.filter_map(|client| client.service.as_ref());
    applied_by(metadata, manager::CONTROLLER) && services.any(|service| service.namespace == namespace)
}

/// Who leads, unless the Lease was given back or has run out.
fn holder(lease: &Lease, now: Timestamp) -> Option<String> {
    let spec = lease.spec.as_ref()?;
    let holder = spec.holder_identity.as_ref().filter(|holder| !holder.is_empty())?;
    let renewed = spec.renew_time.as_ref()?.0;
    let lasts = SignedDuration::from_secs(i64::from(spec.lease_duration_seconds.unwrap_or_default()));
    (now < renewed.checked_add(lasts).ok()?).then(|| holder.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_says_whether_somebody_leads() {
        let lease = |holder: &str, renewed: &str| {
            let spec = json!({ "holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 15 });
            serde_json::from_value::<Lease>(json!({ "metadata": {}, "spec": spec })).unwrap()
        };
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        for (holder_is, renewed, leads) in [
            ("a", "2026-01-01T00:00:50.000000Z", true),
            ("a", "2026-01-01T00:00:45.000000Z", false),
            ("", "2026-01-01T00:00:59.000000Z", false),
        ] {
            let found = holder(&lease(holder_is, renewed), now);
            assert_eq!(found.is_some(), leads, "{holder_is:?} {renewed}");
        }
    }
}
