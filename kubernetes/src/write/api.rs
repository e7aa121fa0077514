use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams, ValidationDirective},
};
use landfall_model::ServiceStatusWrite;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::sync::SetOnce;

use super::{EventWrite, L2Status, L2StatusFound, L2StatusWrite, WriteError};
use crate::{
    api::{ConfigurationState, IPAddressPool, IPAddressPoolStatus},
    names::manager,
    state::{Program, machine::Write},
};

/// How long one request may take before it counts as unanswered.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes to the API server by server-side apply. Clones share one memory of what was written.
#[derive(Clone)]
pub struct Writer {
    pub(crate) client: Client,
    pub(crate) identity: Arc<WriterIdentity>,
    /// How often each event was seen, by name, so that a repetition is one request. Bounded, see `event`.
    pub(super) events: Arc<Mutex<BTreeMap<String, i32>>>,
    /// The `ServiceL2Status` objects whose metadata this process has written, by name, with what they say, which can
    /// change.
    pub(super) owned: Arc<Mutex<BTreeMap<String, L2Status>>>,
}

/// In whose name a [`Writer`] writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterIdentity {
    /// Namespace of pools and of `ServiceL2Status` objects.
    pub namespace: String,
    /// Owner of fields, see [`crate::names::manager`].
    pub manager: &'static str,
    /// Reporting component of events: [`crate::names::event::CONTROLLER`] or [`crate::names::event::SPEAKER`].
    pub component: &'static str,
    /// Name of this Pod or process, the reporting instance of events.
    pub instance: String,
    /// The Pod that owns `ServiceL2Status` and `ConfigurationState` objects, so that they go when it goes; `None` for a
    /// process outside of one. May be set later: the first kind is then written without an owner until it is, the second
    /// not at all.
    pub owner: Arc<SetOnce<Option<OwnerPod>>>,
}

/// The Pod that a process runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerPod {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
}

impl OwnerPod {
    /// Its entry in `metadata.ownerReferences`.
    pub(super) fn reference(&self) -> Value {
        json!({ "apiVersion": "v1", "kind": "Pod", "name": self.name, "uid": self.uid })
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Writer {
    /// A writer that speaks as `identity`.
    #[must_use]
    pub fn new(client: Client, identity: WriterIdentity) -> Self {
        Self { client, identity: Arc::new(identity), events: Arc::default(), owned: Arc::default() }
    }

    pub(super) async fn service_status(&self, write: &ServiceStatusWrite) -> Result<Box<str>, WriteError> {
        super::service::write(self, write).await
    }

    pub(super) async fn pool_status(
        &self,
        pool: &str,
        status: IPAddressPoolStatus,
    ) -> Result<(), WriteError> {
        let api: Api<IPAddressPool> = Api::namespaced(self.client.clone(), &self.identity.namespace);
        let document = json!({
            "apiVersion": "metallb.io/v1beta1",
            "kind": "IPAddressPool",
            "metadata": { "name": pool },
            "status": status,
        });
        answered(api.patch_status(pool, &self.apply(), &Patch::Apply(document))).await.map(drop)
    }

    pub(crate) async fn configuration_state(
        &self,
        program: &Program,
        write: &Write,
    ) -> Result<ConfigurationState, WriteError> {
        super::configuration_state::write(self, program, write).await
    }

    /// The Pod that this process runs in, if it does and that is known.
    pub(super) fn owner(&self) -> Option<&OwnerPod> {
        self.identity.owner.get().and_then(Option::as_ref)
    }

    pub(super) async fn event(&self, event: &EventWrite) -> Result<(), WriteError> {
        super::event::write(self, event).await
    }

    pub(super) async fn l2_status(&self, write: &L2StatusWrite) -> Result<(), WriteError> {
        super::l2_status::write(self, write).await
    }

    pub(super) async fn l2_statuses(&self, node: &str) -> Result<Vec<L2StatusFound>, WriteError> {
        super::l2_status::list(self, node).await
    }

    pub(super) async fn delete_l2_status(&self, name: &str) -> Result<(), WriteError> {
        super::l2_status::delete(self, name).await
    }

    /// Server-side apply in our name. It takes fields over from others: the caller writes only what is ours.
    ///
    /// The server is asked not to look for unknown and double fields. It would parse the document a second time for that,
    /// 7 % of what a write costs it; an apply with a field that its schema does not have is refused all the same.
    pub(super) fn apply(&self) -> PatchParams {
        apply_as(self.identity.manager)
    }
}

/// As [`Writer::apply`], in the name of `manager`.
pub(super) fn apply_as(manager: &str) -> PatchParams {
    PatchParams { field_validation: Some(ValidationDirective::Ignore), ..PatchParams::apply(manager) }.force()
}

/// The Pod of this name; `None` if there is none, as for a process that runs outside of one.
///
/// # Errors
/// See [`WriteError`]: when it cannot be read.
pub async fn own_pod(client: &Client, namespace: &str, name: &str) -> Result<Option<OwnerPod>, WriteError> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pod = answered(api.get_metadata_opt(name)).await?;
    Ok(pod.and_then(|pod| Some(OwnerPod { name: pod.metadata.name?, uid: pod.metadata.uid? })))
}

/// Creates an object in the controller's name, and says whether it did: one of this name may be there already.
pub(crate) async fn create_once<K>(api: &Api<K>, object: &K) -> Result<bool, WriteError>
where
    K: Clone + DeserializeOwned + Serialize + fmt::Debug,
{
    let ours = PostParams { field_manager: Some(manager::CONTROLLER.to_owned()), ..PostParams::default() };
    match api.create(&ours, object).await.map_err(WriteError::from) {
        Ok(_) => Ok(true),
        Err(WriteError::Conflict { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The answer to one request, or [`WriteError::Unavailable`] after [`REQUEST_TIMEOUT`].
pub async fn answered<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, WriteError> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(answer) => answer.map_err(WriteError::from),
        Err(_) => {
            let message = format!("no answer within {} s", REQUEST_TIMEOUT.as_secs());
            Err(WriteError::Unavailable { message })
        }
    }
}
