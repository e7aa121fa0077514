use std::{
    collections::BTreeMap,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ServiceStatus;
use landfall_model::{Assigned, Assignment, IpMode, ServiceKey, ServiceStatusWrite, Verification};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{EventWrite, L2Status, L2StatusFound, L2StatusWrite, Severity, WriteError, l2_status, service};
use crate::{
    api::IPAddressPoolStatus,
    names::annotation::ALLOCATED_FROM,
    overlay::{FIRST_VERSION, Overlay, replace},
};

/// Writes statuses into the folder that [`crate::source::files`] reads them from. Every file is replaced in one step.
/// Events become log lines.
#[derive(Clone, Debug)]
pub struct FileWriter {
    statuses: PathBuf,
}

/// A `ServiceL2Status` as a file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct L2File {
    node: String,
    service_namespace: String,
    service_name: String,
    interfaces: Vec<String>,
    /// What [`crate::names::annotation::ANNOUNCED_ON`] says on an object of the API server.
    #[serde(default)]
    announced_on: String,
    /// What [`crate::names::annotation::VERIFIED`] says there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verified: Option<Verification>,
}

impl FileWriter {
    /// A writer into the folder `statuses`, which is made when it is missing.
    #[must_use]
    pub fn new(statuses: &Path) -> Self {
        Self { statuses: statuses.to_owned() }
    }

    pub(super) async fn service_status(&self, write: &ServiceStatusWrite) -> Result<Box<str>, WriteError> {
        let (statuses, write) = (self.statuses.clone(), write.clone());
        blocking(move || write_overlay(&statuses, &write)).await
    }

    pub(super) async fn adopt(&self, assigned: &Assigned) -> Result<(), WriteError> {
        let (statuses, assigned) = (self.statuses.clone(), assigned.clone());
        blocking(move || adopt(&statuses, &assigned)).await
    }

    pub(super) async fn pool_status(
        &self,
        pool: &str,
        status: IPAddressPoolStatus,
    ) -> Result<(), WriteError> {
        let path = self.statuses.join(format!("IPAddressPool.{pool}.json"));
        blocking(move || Ok(replace(&path, &pretty(&json!({ "status": status })))?)).await
    }

    pub(super) fn event(&self, event: &EventWrite) {
        let (service, reason, message) = (&event.service, event.reason, &event.message);
        match event.severity {
            Severity::Normal => {
                tracing::info!(%service, reason, directory = %self.statuses.display(), "{message}")
            }
            Severity::Warning => {
                tracing::warn!(%service, reason, directory = %self.statuses.display(), "{message}")
            }
        }
    }

    pub(super) async fn l2_status(&self, write: &L2StatusWrite) -> Result<(), WriteError> {
        let name = l2_status::object_name(&write.node, &write.service);
        let Some(L2Status { interfaces, announced_on, verification }) = &write.status else {
            return self.delete_l2_status(&name).await;
        };
        let file = L2File {
            node: write.node.to_string(),
            service_namespace: write.service.namespace.to_string(),
            service_name: write.service.name.to_string(),
            interfaces: interfaces.iter().map(ToString::to_string).collect(),
            announced_on: announced_on.to_string(),
            verified: verification.clone(),
        };
        let path = self.l2_path(&name);
        blocking(move || Ok(replace(&path, &pretty(&json!(file)))?)).await
    }

    pub(super) async fn l2_statuses(&self, node: &str) -> Result<Vec<L2StatusFound>, WriteError> {
        let (folder, node) = (self.statuses.clone(), node.to_owned());
        blocking(move || {
            let mut found = Vec::new();
            for (name, file) in l2_files(&folder)? {
                if file.node == node {
                    let service = ServiceKey::new(&file.service_namespace, &file.service_name);
                    found.push(L2StatusFound { name: name.into(), service, ours: true });
                }
            }
            Ok(found)
        })
        .await
    }

    pub(super) async fn delete_l2_status(&self, name: &str) -> Result<(), WriteError> {
        let path = self.l2_path(name);
        blocking(move || match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        })
        .await
    }

    fn l2_path(&self, name: &str) -> PathBuf {
        self.statuses.join(format!("ServiceL2Status.{name}.json"))
    }
}

fn write_overlay(statuses: &Path, write: &ServiceStatusWrite) -> Result<Box<str>, WriteError> {
    let path = Overlay::path(statuses, &write.key);
    let mut overlay = read_or_first(&path)?;
    if *overlay.resource_version != *write.resource_version {
        let message =
            format!("the status has version {}, not {}", overlay.resource_version, write.resource_version);
        return Err(WriteError::Conflict { message });
    }
    let earlier: BTreeMap<_, _> = overlay
        .status
        .conditions
        .iter()
        .flatten()
        .map(|old| (old.type_.clone(), (old.status.clone(), old.last_transition_time.clone())))
        .collect();
    let document = service::document(write, &earlier, Timestamp::now());
    let status: ServiceStatus =
        serde_json::from_value(document["status"].clone()).map_err(io::Error::from)?;
    match &write.assignment {
        Assignment::Leave => {}
        Assignment::Release => {
            overlay.annotations.remove(ALLOCATED_FROM);
            overlay.status.load_balancer = status.load_balancer;
        }
        Assignment::Set { pool, .. } => {
            overlay.annotations.remove(ALLOCATED_FROM);
            if let Some(pool) = pool {
                overlay.annotations.insert(ALLOCATED_FROM.to_owned(), pool.to_string());
            }
            overlay.status.load_balancer = status.load_balancer;
        }
    }
    overlay.status.conditions = status.conditions;
    let version: u64 = overlay.resource_version.parse().unwrap_or(0);
    overlay.resource_version = version.saturating_add(1).to_string();
    replace(&path, &pretty(&json!(overlay)))?;
    Ok(overlay.resource_version.into())
}

/// Makes the status that of another machine, with its version, unless it is newer by now.
fn adopt(statuses: &Path, assigned: &Assigned) -> Result<(), WriteError> {
    let path = Overlay::path(statuses, &assigned.service);
    let mut overlay = read_or_first(&path)?;
    if overlay.resource_version.parse().is_ok_and(|version: u64| version > assigned.version) {
        let message = format!("the status has version {} by now", overlay.resource_version);
        return Err(WriteError::Conflict { message });
    }
    let entry = |(address, mode): &(IpAddr, IpMode)| json!({ "ip": address, "ipMode": mode.as_str() });
    let ingress: Vec<Value> = assigned.ingress.iter().map(entry).collect();
    overlay.status =
        serde_json::from_value(json!({ "loadBalancer": { "ingress": ingress } })).map_err(io::Error::from)?;
    overlay.annotations.remove(ALLOCATED_FROM);
    overlay
        .annotations
        .extend(assigned.pool.as_ref().map(|pool| (ALLOCATED_FROM.to_owned(), pool.to_string())));
    overlay.resource_version = assigned.version.to_string();
    Ok(replace(&path, &pretty(&json!(overlay)))?)
}

fn read_or_first(path: &Path) -> io::Result<Overlay> {
    let first = || Overlay { resource_version: FIRST_VERSION.to_owned(), ..Overlay::default() };
    Ok(Overlay::read(path)?.unwrap_or_else(first))
}

fn l2_files(folder: &Path) -> io::Result<Vec<(String, L2File)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = BTreeMap::new();
    for entry in entries {
        let path = entry?.path();
        let file_name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(name) =
            file_name.strip_prefix("ServiceL2Status.").and_then(|name| name.strip_suffix(".json"))
        else {
            continue;
        };
        // A file that cannot be read says nothing; its speaker writes it anew.
        if let Some(file) = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
            files.insert(name.to_owned(), file);
        }
    }
    Ok(files.into_iter().collect())
}

fn pretty(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WriteError> + Send + 'static,
) -> Result<T, WriteError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(WriteError::Unavailable { message: error.to_string() }),
    }
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Unavailable { message: error.to_string() }
    }
}
