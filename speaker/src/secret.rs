//! The secret that authenticates heartbeats: a file, followed through inotify.
//!
//! A new secret reaches the nodes at different times, since each kubelet writes it when it gets to it. So for
//! [`GRACE`] after a change the old secret still signs, and both are accepted: by then every node has the new one. The old one
//! is accepted for as long again, since nodes do not change over at once, and then for nothing.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::StreamExt;
use inotify::{EventStream, Inotify, WatchMask};
use landfall_engine::membership::{Key, KeyError};
use landfall_kubernetes::names;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// How long the old secret signs after a change: longer than a kubelet takes to bring a changed Secret to its pods.
pub const GRACE: Duration = Duration::from_secs(180);

/// A kubelet replaces a directory by a symbolic link, others replace or rewrite the file.
const CHANGES: WatchMask = WatchMask::CREATE.union(WatchMask::MOVED_TO).union(WatchMask::CLOSE_WRITE);

/// Why the secret cannot be followed.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch {path} for the speakers' secret; check --ml-secret-key-path")]
pub struct SecretError {
    /// The directory.
    pub path: PathBuf,
    /// What the kernel says.
    #[source]
    pub source: io::Error,
}

/// Follows the file with the secret.
#[derive(Debug)]
pub struct Secret {
    file: PathBuf,
    cluster: String,
    changes: EventStream<Vec<u8>>,
    ring: Ring,
}

impl Secret {
    /// Follows `path`: a file, or a directory with a file `secretkey`, as a Secret is mounted. The file may appear
    /// later. `cluster` is the UID of the namespace `kube-system`. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the directory does not exist; a retry helps once it does.
    pub fn follow(path: &Path, cluster: &str) -> Result<Self, SecretError> {
        let file = if path.is_dir() { path.join(names::secret::KEY) } else { path.to_owned() };
        let directory = match file.parent() {
            Some(parent) if parent != Path::new("") => parent,
            Some(_) | None => Path::new("."),
        };
        let failed = |source| SecretError { path: directory.to_owned(), source };
        let inotify = Inotify::init().map_err(failed)?;
        inotify.watches().add(directory, CHANGES).map_err(failed)?;
        let changes = inotify.into_event_stream(vec![0; 4 * 1024]).map_err(failed)?;
        Ok(Self { file, cluster: cluster.to_owned(), changes, ring: Ring::default() })
    }

    /// Sends the keys whenever they change, the one that signs first, until nobody listens.
    pub async fn run(mut self, keys: mpsc::Sender<Vec<Key>>) {
        self.read(&keys).await;
        loop {
            let due = self.ring.due;
            tokio::select! {
                change = self.changes.next() => match change {
                    Some(Ok(_)) => self.read(&keys).await,
                    Some(Err(error)) => tracing::warn!(op = "secret", %error, "watching the secret failed"),
                    None => return,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    let what = self.ring.go_on(Instant::now() + GRACE);
                    drop(keys.send(self.ring.keys()).await);
                    tracing::info!(op = "secret", "{what}");
                }
                () = keys.closed() => return,
            }
        }
    }

    async fn read(&mut self, keys: &mpsc::Sender<Vec<Key>>) {
        let key = match std::fs::read(&self.file) {
            Ok(secret) => Key::derive(&secret, &self.cluster),
            Err(error) => {
                let path = self.file.display();
                tracing::warn!(op = "secret", %error, %path, "the speakers' secret cannot be read; the old one stays");
                return;
            }
        };
        match key {
            Ok(key) => {
                if self.ring.add(key, Instant::now() + GRACE) {
                    tracing::info!(op = "secret", "took over the speakers' secret");
                    drop(keys.send(self.ring.keys()).await);
                }
            }
            // The message names no part of the secret.
            Err(error @ KeyError::Empty) => tracing::warn!(op = "secret", %error, "the old one stays"),
        }
    }
}

/// The keys in force.
#[derive(Debug, Default)]
struct Ring {
    /// The one that signs first; at most two.
    keys: Vec<Key>,
    /// The second one is newer than the first.
    rises: bool,
    /// When the second one takes over, or is forgotten.
    due: Option<Instant>,
}

impl Ring {
    /// Takes over a key, which will sign from `promotion` on, or at once when it is the first. False when it is the
    /// newest one already.
    fn add(&mut self, key: Key, promotion: Instant) -> bool {
        let newest = if self.rises { self.keys.last() } else { self.keys.first() };
        if newest == Some(&key) {
            return false;
        }
        self.keys.truncate(1);
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
        self.rises = self.keys.len() > 1;
        self.due = self.rises.then_some(promotion);
        true
    }

    /// At [`Self::due`]: the new key signs, and the old one is accepted until `retirement`; or that one is forgotten.
    fn go_on(&mut self, retirement: Instant) -> &'static str {
        if std::mem::take(&mut self.rises) {
            self.keys.reverse();
            self.due = Some(retirement);
            "the new secret signs now"
        } else {
            self.keys.truncate(1);
            self.due = None;
            "the old secret is not accepted any more"
        }
    }

    fn keys(&self) -> Vec<Key> {
        self.keys.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &str) -> Key {
        Key::derive(secret.as_bytes(), "cluster").unwrap()
    }

    #[tokio::test]
    async fn a_new_key_is_accepted_before_it_signs_and_the_old_one_after() {
        let now = Instant::now();
        let (later, last) = (now + GRACE, now + 2 * GRACE);
        let mut ring = Ring::default();
        assert!(ring.add(key("a"), later));
        assert_eq!((ring.keys(), ring.due), (vec![key("a")], None), "the first one signs at once");
        assert!(!ring.add(key("a"), later));

        assert!(ring.add(key("b"), later));
        assert_eq!((ring.keys(), ring.due), (vec![key("a"), key("b")], Some(later)));
        assert!(!ring.add(key("b"), last), "reading it again does not put it off");
        assert_eq!(ring.due, Some(later));
        ring.go_on(last);
        assert_eq!((ring.keys(), ring.due), (vec![key("b"), key("a")], Some(last)));
        assert!(!ring.add(key("b"), later));
        ring.go_on(last + GRACE);
        assert_eq!((ring.keys(), ring.due), (vec![key("b")], None));

        assert!(ring.add(key("c"), later));
        assert_eq!(ring.keys(), [key("b"), key("c")]);
        assert!(ring.add(key("b"), later), "taken back before it signed");
        assert_eq!((ring.keys(), ring.due), (vec![key("b")], None));

        assert!(ring.add(key("c"), later));
        ring.go_on(last);
        assert!(ring.add(key("d"), last), "the next one while the last but one is still accepted");
        assert_eq!((ring.keys(), ring.due), (vec![key("c"), key("d")], Some(last)));
    }

    #[tokio::test]
    async fn a_secret_that_appears_or_changes_is_taken_over() {
        let directory = std::env::temp_dir().join(format!("landfall-secret-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (sender, mut keys) = mpsc::channel(1);
        let secret = Secret::follow(&directory, "cluster").unwrap();
        let task = tokio::spawn(secret.run(sender));
        let file = directory.join("secretkey");
        std::fs::write(&file, "").unwrap();
        // The way a kubelet does it: complete under another name, then moved.
        std::fs::write(directory.join("new"), "a").unwrap();
        std::fs::rename(directory.join("new"), &file).unwrap();
        assert_eq!(keys.recv().await, Some(vec![key("a")]));
        std::fs::write(&file, "b").unwrap();
        assert_eq!(keys.recv().await, Some(vec![key("a"), key("b")]));
        drop(keys);
        task.await.unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
