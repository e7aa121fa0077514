//! The status of a Service in a file, for a store without an API server: `NAMESPACE.NAME.json` in a folder of
//! statuses.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use k8s_openapi::api::core::v1::ServiceStatus;
use landfall_model::ServiceKey;
use serde::{Deserialize, Serialize};

/// The version of a Service whose status was never written.
pub(crate) const FIRST_VERSION: &str = "0";

/// What was written about one Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Overlay {
    /// Counts the writes.
    pub(crate) resource_version: String,
    /// Annotations that a controller set.
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
    /// The status, in the form of the API.
    #[serde(default)]
    pub(crate) status: ServiceStatus,
}

impl Overlay {
    /// Where the status of `service` is, in the folder `statuses`.
    pub(crate) fn path(statuses: &Path, service: &ServiceKey) -> PathBuf {
        statuses.join(format!("{}.{}.json", service.namespace, service.name))
    }

    /// Whether a file of this name can be one: those of other kinds begin with the kind, drafts with a dot.
    pub(crate) fn is_name(file: &str) -> bool {
        !file.starts_with(|first: char| first == '.' || first.is_ascii_uppercase())
    }

    /// Reads a status; `None` where none was written.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        serde_json::from_slice(&text).map(Some).map_err(io::Error::from)
    }
}

/// Replaces a file in one step: a reader sees the old content or the new, never a part.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let draft = folder.join(format!(".{}.{number}.draft", std::process::id()));
    fs::write(&draft, content)?;
    fs::rename(&draft, path).inspect_err(|_| drop(fs::remove_file(&draft)))
}
