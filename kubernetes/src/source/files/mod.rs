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
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use futures::StreamExt as _;
use inotify::{Event, EventMask, EventStream, Inotify, WatchDescriptor, WatchMask};
use tokio::task::JoinSet;

pub use self::{library::is_manifest, manifest::parse as documents, snapshot::Snapshot};

use self::library::{Library, Shelf};
use super::{Outlet, Source};
use crate::{convert, overlay::Overlay};

/// What says that a file is complete: it was closed, moved here or away, or deleted.
const CHANGES: WatchMask =
    WatchMask::CLOSE_WRITE.union(WatchMask::MOVED_TO).union(WatchMask::MOVED_FROM).union(WatchMask::DELETE);

/// So many of them are taken in together.
const CHANGES_AT_ONCE: usize = 1024;

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
    let of_manifests = inotify.watches().add(manifests, CHANGES).map_err(unreadable)?;
    inotify.watches().add(statuses, CHANGES).map_err(unreadable)?;
    let changes = inotify.into_event_stream(vec![0; 16 * 1024]).map_err(unreadable)?;
    let mut library = Library::new(manifests);
    library.read_all().map_err(unreadable)?;
    let (outlet, observations) = Outlet::new(&["File"]);
    let health = outlet.health.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(follow(library, of_manifests, Shelf::new(directory), changes, outlet));
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

async fn follow(
    mut library: Library,
    of_manifests: WatchDescriptor,
    mut shelf: Shelf,
    changes: EventStream<Vec<u8>>,
    outlet: Outlet,
) {
    if !outlet.send(shelf.compare(&library)).await || !outlet.listed().await {
        return;
    }
    let mut changes = changes.ready_chunks(CHANGES_AT_ONCE);
    while let Some(changes) = changes.next().await {
        let (news, read) = take_in(&mut library, &of_manifests, changes);
        if let Err(error) = &read {
            tracing::warn!(%error, "the directory of manifests cannot be read; what is known stays in force");
        }
        let said = match news {
            News::Nothing if read.is_ok() => continue,
            News::Nothing => Vec::new(),
            News::Statuses(names) => shelf.compare_statuses(&library, &names),
            News::Manifests => shelf.compare(&library),
        };
        outlet.health.set_failing("File", read.is_err());
        if !outlet.send(said).await {
            return;
        }
    }
}

/// What changed of what is looked at.
enum News {
    Nothing,
    /// The names of the files, and no manifest.
    Statuses(BTreeSet<String>),
    /// Perhaps statuses, too.
    Manifests,
}

/// Reads the manifests that changed; says what did, and the last error.
fn take_in(
    library: &mut Library,
    of_manifests: &WatchDescriptor,
    changes: Vec<io::Result<Event<OsString>>>,
) -> (News, io::Result<()>) {
    let (mut manifests, mut statuses, mut all, mut read) = (BTreeSet::new(), BTreeSet::new(), false, Ok(()));
    for change in changes {
        match change {
            Ok(change) if change.mask.contains(EventMask::Q_OVERFLOW) => all = true,
            Ok(change) => {
                let Some(name) = change.name.and_then(|name| name.into_string().ok()) else { continue };
                if change.wd == *of_manifests {
                    manifests.extend(is_manifest(&name).then_some(name));
                } else if Overlay::is_name(&name) {
                    statuses.insert(name);
                }
            }
            Err(error) => read = Err(error),
        }
    }
    let news = match (all || !manifests.is_empty(), statuses.is_empty()) {
        (true, _) => News::Manifests,
        (false, false) => News::Statuses(statuses),
        (false, true) => News::Nothing,
    };
    if all {
        read = read.and(library.read_all());
    }
    for name in manifests {
        read = library.read(&name).and(read);
    }
    (news, read)
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
