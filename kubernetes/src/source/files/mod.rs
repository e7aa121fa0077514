//! A directory of ordinary manifests instead of an API server.
//!
//! Every `*.yaml`, `*.yml` and `*.json` file of the directory is read, not those below it. A file may hold several
//! documents and `List` objects. Kinds that Landfall does not read are skipped. A file that cannot be parsed is
//! reported as `Invalid` under the kind `File`, and its last good content stays in force; so does the last valid
//! version of an object in a good file.
//!
//! What a controller wrote about a Service is read from `status/NAMESPACE.NAME.json`, see
//! [`crate::write::FileWriter`].

mod library;
mod manifest;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use futures::StreamExt as _;
use inotify::{EventMask, EventStream, Inotify, WatchMask};
use tokio::task::JoinSet;

use self::library::{Library, Shelf};
use super::{Outlet, Source};
use crate::overlay::FOLDER;

/// What says that a file is complete: it was closed, moved here or away, or deleted.
const CHANGES: WatchMask =
    WatchMask::CLOSE_WRITE.union(WatchMask::MOVED_TO).union(WatchMask::MOVED_FROM).union(WatchMask::DELETE);

/// Reads the manifests of `directory` and follows its changes, in a task of the current tokio runtime. Creates its
/// folder `status` when that is missing.
///
/// The observations are those of [`super::watch`] with every interest; all Pods count as speakers. Namespaces that
/// objects use are reported even without a manifest. Files cannot hold what only a cluster knows, so a Service
/// without cluster addresses has the families that `ipFamilies` or `ipFamilyPolicy` name, IPv4 without either; and
/// a Node without conditions counts as ready.
///
/// # Errors
/// When the directory cannot be read or watched.
pub fn files(directory: &Path) -> Result<Source, FilesError> {
    let unreadable = |source| FilesError { directory: directory.to_owned(), source };
    fs::create_dir_all(directory.join(FOLDER)).map_err(unreadable)?;
    let inotify = Inotify::init().map_err(unreadable)?;
    // Watching comes before reading: a change in between is then seen twice, never missed.
    inotify.watches().add(directory, CHANGES).map_err(unreadable)?;
    inotify.watches().add(directory.join(FOLDER), CHANGES).map_err(unreadable)?;
    let changes = inotify.into_event_stream(vec![0; 16 * 1024]).map_err(unreadable)?;
    let mut library = Library::new(directory);
    library.read_all().map_err(unreadable)?;
    let (outlet, observations) = Outlet::new(&["File"]);
    let health = outlet.health.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(follow(library, changes, outlet));
    Ok(Source { observations, health, _tasks: tasks })
}

async fn follow(mut library: Library, mut changes: EventStream<Vec<u8>>, outlet: Outlet) {
    let mut shelf = Shelf::default();
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
