//! Tells API servers of the webhooks, once they can be trusted, and puts right what somebody changes.
//!
//! The configuration is in no manifest: API servers ask webhooks from the moment that one is configured, and after an
//! install that moment must not come before the webhooks answer.

use std::{fmt, time::Duration};

use futures::{StreamExt as _, stream};
use k8s_openapi::{
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        core::v1::{Namespace, Service},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
};
use landfall_kubernetes::{
    names::manager,
    source::follow,
    write::{WriteError, describe},
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    Settings,
    knock::knock,
    wanted::{METALLB, PEERS, configuration, conversion, for_pods, injection, is_as_wanted, leads_here},
};

/// How long to wait after something failed, or before somebody answers.
const PAUSE: Duration = Duration::from_secs(2);
/// How long somebody may take to answer.
const ANSWERED: Duration = Duration::from_secs(2);

/// Keeps what API servers know of the webhooks.
pub(crate) struct Registrar {
    pub(crate) client: Client,
    pub(crate) settings: Settings,
    /// Whether API servers are to ask about new Pods.
    pub(crate) gating: bool,
    /// Whom to trust; nothing is told before that is known.
    pub(crate) authorities: watch::Receiver<Option<String>>,
}

/// What there is now; the outer `None`: not known yet.
#[derive(Default)]
struct Shown {
    ours: Option<Option<ValidatingWebhookConfiguration>>,
    metallb: Option<Option<ValidatingWebhookConfiguration>>,
    pods: Option<Option<MutatingWebhookConfiguration>>,
    peers: Option<Option<CustomResourceDefinition>>,
}

impl Registrar {
    /// Runs for ever.
    pub(crate) async fn run(mut self) {
        let configurations: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        let definitions: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let kind = "ValidatingWebhookConfiguration";
        let mut ours = follow(configurations.clone(), kind, &self.settings.configuration);
        let mut metallb = follow(configurations.clone(), kind, METALLB);
        let mutating: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let mut pods = if self.gating {
            follow(mutating.clone(), "MutatingWebhookConfiguration", &self.settings.configuration)
        } else {
            stream::pending().boxed()
        };
        let mut peers = follow(definitions.clone(), "CustomResourceDefinition", PEERS);
        let mut shown = Shown::default();
        let (mut failed, mut again) = (false, false);
        loop {
            tokio::select! {
                Some(object) = ours.next() => shown.ours = Some(object),
                Some(object) = metallb.next() => shown.metallb = Some(object),
                Some(object) = pods.next() => shown.pods = Some(object),
                Some(object) = peers.next() => shown.peers = Some(object),
                Ok(()) = self.authorities.changed() => {}
                () = sleep(PAUSE), if again => {}
            }
            let Some(authorities) = self.authorities.borrow_and_update().clone() else { continue };
            let admission = self.admission(&configurations, &shown, &authorities).await;
            let pods = match &shown.pods {
                Some(ours) => {
                    self.keep(&mutating, ours.as_ref(), for_pods, |ours| &ours.webhooks, &authorities).await
                }
                None => Ok(true),
            };
            let patch = shown.peers.as_ref().and_then(Option::as_ref);
            let patch = patch.and_then(|peers| conversion(peers, &self.settings.namespace, &authorities));
            let peers = merge(&definitions, PEERS, patch.map(Patch::Merge)).await;
            let was_failing = failed;
            failed = false;
            again = admission == Ok(false) || pods == Ok(false);
            for error in [admission.map(drop), pods.map(drop), peers].into_iter().filter_map(Result::err) {
                (failed, again) = (true, true);
                if was_failing {
                    tracing::debug!(
                        op = "webhooks",
                        error,
                        "the API server is still not told of the webhooks"
                    );
                } else {
                    tracing::warn!(
                        op = "webhooks",
                        error,
                        "the API server is not told of the webhooks; it is tried again"
                    );
                }
            }
        }
    }

    /// Says whether all is told that is to be told.
    async fn admission(
        &self,
        api: &Api<ValidatingWebhookConfiguration>,
        shown: &Shown,
        authorities: &str,
    ) -> Result<bool, String> {
        let namespace = &self.settings.namespace;
        // Whether MetalLB's is there must be known before a second one is made.
        let Some(metallb) = &shown.metallb else { return Ok(true) };
        if let Some(metallb) = metallb
            && let Some(service) = leads_here(metallb, namespace)
        {
            if !self.exists(service).await? {
                return Err(format!(
                    "{METALLB} leads to the Service {namespace}/{service}, which is gone, so the API server \
                    refuses every change of the configuration; delete it"
                ));
            }
            let patch = injection(metallb, namespace, authorities).map(Patch::Strategic);
            merge(api, METALLB, patch).await?;
            if let None | Some(None) = &shown.ours {
                return Ok(true);
            }
        }
        let Some(ours) = &shown.ours else { return Ok(true) };
        self.keep(api, ours.as_ref(), configuration, |ours| &ours.webhooks, authorities).await
    }

    /// Makes one of our configurations what it should be, once somebody answers; says whether it is.
    async fn keep<K, W>(
        &self,
        api: &Api<K>,
        ours: Option<&K>,
        wanted: fn(&Settings, &str, &str) -> K,
        webhooks: fn(&K) -> &W,
        authorities: &str,
    ) -> Result<bool, String>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + serde::Serialize + fmt::Debug,
        W: PartialEq,
    {
        let Some(uid) = self.answered(ours.is_none(), authorities).await? else { return Ok(false) };
        let wanted = wanted(&self.settings, authorities, &uid);
        let is_so =
            |ours: &K| is_as_wanted((ours.meta(), webhooks(ours)), (wanted.meta(), webhooks(&wanted)));
        if !ours.is_some_and(is_so) {
            merge(api, &self.settings.configuration, Some(Patch::Apply(wanted))).await?;
        }
        Ok(true)
    }

    /// The UID of the install's namespace, once somebody answers at the Service; `new` is what the API server does not know yet.
    async fn answered(&self, new: bool, authorities: &str) -> Result<Option<String>, String> {
        let Settings { namespace, service, .. } = &self.settings;
        if !self.exists(service).await? {
            return Err(format!("there is no Service {namespace}/{service} that leads to them"));
        }
        // From the moment that the API server is told it asks, so somebody must answer by then.
        let knocked = knock(&self.client, namespace, service, authorities.as_bytes());
        if new && !matches!(timeout(ANSWERED, knocked).await, Ok(Ok(()))) {
            return Ok(None);
        }
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let uid = namespaces.get(namespace).await.map_err(|error| describe(&error))?.metadata.uid;
        Ok(Some(uid.unwrap_or_default()))
    }

    /// Whether there is such a Service in the install's namespace.
    async fn exists(&self, service: &str) -> Result<bool, String> {
        let services: Api<Service> = Api::namespaced(self.client.clone(), &self.settings.namespace);
        services.get_opt(service).await.map(|found| found.is_some()).map_err(|error| describe(&error))
    }
}

/// Writes what there is to write.
async fn merge<K, P>(api: &Api<K>, name: &str, patch: Option<Patch<P>>) -> Result<(), String>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + fmt::Debug,
    P: serde::Serialize + fmt::Debug,
{
    let Some(patch) = patch else { return Ok(()) };
    let mut ours =
        PatchParams { field_manager: Some(manager::CONTROLLER.to_owned()), ..PatchParams::default() };
    ours.force = matches!(patch, Patch::Apply(_));
    api.patch(name, &ours, &patch)
        .await
        .map_err(|error| format!("{} {name}: {}", K::kind(&()), WriteError::from(error)))?;
    tracing::info!(op = "webhooks", object = name, "the API server was told of the webhooks");
    Ok(())
}
