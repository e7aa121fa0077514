//! A directory of ordinary manifests instead of an API server.
//!
//! Every `*.yaml`, `*.yml` and `*.json` file of the directory is read, not those below it. A file may hold several
//! documents and `List` objects. Kinds that Landfall does not read are skipped. A file that cannot be parsed is
//! reported as `Invalid` under the kind `File`, and its last good content stays in force; so does the last valid
//! version of an object in a good file.
//!
//! What a controller wrote about a Service is read from `NAMESPACE.NAME.json` in the folder of statuses, see
//! [`crate::write::FileWriter`].

mod library;
mod manifest;
mod snapshot;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use futures::StreamExt as _;
use inotify::{EventMask, EventStream, Inotify, WatchMask};
use tokio::task::JoinSet;

pub use self::{library::is_manifest, manifest::parse as documents, snapshot::Snapshot};

use self::library::{Library, Shelf};
use super::{Outlet, Source};
use crate::convert;

/// What says that a file is complete: it was closed, moved here or away, or deleted.
const CHANGES: WatchMask =
    WatchMask::CLOSE_WRITE.union(WatchMask::MOVED_TO).union(WatchMask::MOVED_FROM).union(WatchMask::DELETE);

/// A directory of manifests, and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The manifests. They are only read.
    pub manifests: PathBuf,
    /// Where statuses are kept, a folder that is made when it is missing.
    pub statuses: PathBuf,
    /// Standalone: these nodes with their addresses are there, every Node has a speaker, and since there is no
    /// kube-proxy, Services are forwarded in mode `node-port` where they do not say otherwise. A Node of the same name
    /// among the manifests replaces its entry. `None`: Nodes and the speakers' Pods come from manifests only.
    pub members: Option<BTreeMap<String, Vec<IpAddr>>>,
}

impl Directory {
    /// The manifests in `directory`, with the statuses in its folder `status`.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { manifests: directory.to_owned(), statuses: directory.join("status"), members: None }
    }
}

/// Reads the manifests of `directory` and follows its changes, in a task of the current tokio runtime.
///
/// The observations are those of [`super::watch`] with every interest; all Pods count as speakers. Namespaces that
/// objects use are reported even without a manifest. Files cannot hold what only a cluster knows, so a Service
/// without cluster addresses has the families that `ipFamilies` or `ipFamilyPolicy` name, IPv4 without either; and
/// a Node without conditions counts as ready.
///
/// # Errors
/// When the directory cannot be read or watched.
pub fn files(directory: Directory) -> Result<Source, FilesError> {
    let Directory { manifests, statuses, .. } = &directory;
    let unreadable = |source| FilesError { directory: manifests.clone(), source };
    fs::create_dir_all(statuses).map_err(|source| FilesError { directory: statuses.clone(), source })?;
    let inotify = Inotify::init().map_err(unreadable)?;
    // Watching comes before reading: a change in between is then seen twice, never missed.
    inotify.watches().add(manifests, CHANGES).map_err(unreadable)?;
    inotify.watches().add(statuses, CHANGES).map_err(unreadable)?;
    let changes = inotify.into_event_stream(vec![0; 16 * 1024]).map_err(unreadable)?;
    let mut library = Library::new(manifests);
    library.read_all().map_err(unreadable)?;
    let (outlet, observations) = Outlet::new(&["File"]);
    let health = outlet.health.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(follow(library, Shelf::new(directory), changes, outlet));
    Ok(Source { observations, health, _tasks: tasks })
}

/// The internal addresses that a Node among the manifests of a directory has, in its order; none where there is no such
/// Node, or the directory cannot be read.
#[must_use]
pub fn node_addresses(manifests: &Path, node: &str) -> Vec<IpAddr> {
    let mut library = Library::new(manifests);
    // Whoever reads the directory for its content says what is wrong with it.
    if library.read_all().is_err() {
        return Vec::new();
    }
    let view = library.documents().find_map(|document| {
        let (kind, key) = manifest::identity(document);
        let found = kind == "Node" && *key.name == *node;
        found.then(|| convert::node(&serde_json::from_value(document.clone()).ok()?).ok()).flatten()
    });
    view.map(|view| view.addresses).unwrap_or_default()
}

async fn follow(mut library: Library, mut shelf: Shelf, mut changes: EventStream<Vec<u8>>, outlet: Outlet) {
    if !outlet.send(shelf.compare(&library)).await || !outlet.listed().await {
        return;
    }
    while let Some(change) = changes.next().await {
        let read = match change {
            Ok(event) if event.mask.contains(EventMask::Q_OVERFLOW) => library.read_all(),
            Ok(event) => match event.name.as_ref().and_then(|name| name.to_str()) {
                Some(name) => library.read(name),
                None => Ok(()),
            },
            Err(error) => Err(error),
        };
        if let Err(error) = read {
            tracing::warn!(%error, "the directory of manifests cannot be read; what is known stays in force");
            outlet.health.set_failing("File", true);
            continue;
        }
        outlet.health.set_failing("File", false);
        if !outlet.send(shelf.compare(&library)).await {
            return;
        }
    }
}

/// The directory of manifests cannot be used. A retry helps only after it has been mended.
#[derive(Debug, thiserror::Error)]
#[error("the directory of manifests {} cannot be read", directory.display())]
pub struct FilesError {
    /// The directory.
    pub directory: PathBuf,
    /// Why not.
    pub source: io::Error,
}
